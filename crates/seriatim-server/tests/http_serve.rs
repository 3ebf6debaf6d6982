//! The server on real sockets: its limits, its local door, and its end.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use seriatim::{Issuer, Memory, SeriesSpec};
use seriatim_server::app::{App, AppOptions, Limits};
use seriatim_server::serve::{Listening, ServeOptions, run_until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Server {
    app: App,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<anyhow::Result<()>>,
    directory: tempfile::TempDir,
}

impl Server {
    async fn start(limits: Limits, shutdown_delay: Duration, drain: Duration) -> Self {
        let issuer = Issuer::open(Memory::new()).await.unwrap();
        let spec = SeriesSpec {
            format: "INV-{seq:3}".into(),
            ..SeriesSpec::default()
        };
        issuer.define("invoice", spec).await.unwrap();
        let options = AppOptions {
            limits,
            ..AppOptions::default()
        };
        let app = App::new(issuer, options);
        let directory = tempfile::tempdir().unwrap();
        let options = ServeOptions {
            http_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            socket: Some(directory.path().join("seriatim.sock")),
            store: None,
            shutdown_delay,
            drain,
        };
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let running = app.clone();
        let ended = tokio::spawn(async move {
            let until = async { drop(stopped.await) };
            let tell = |address| ready.send(address).unwrap();
            let listening = Listening::on(&options).await?;
            run_until(running, listening, options, tell, until).await
        });
        Self {
            address: is_ready.await.unwrap(),
            app,
            stop: Some(stop),
            ended,
            directory,
        }
    }

    async fn usual() -> Self {
        Self::start(Limits::default(), Duration::ZERO, Duration::from_secs(5)).await
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("seriatim.sock")
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn issued(&self) -> u64 {
        let heads = self.app.issuer().reads().heads().await.unwrap();
        heads.counters.iter().map(|counter| counter.counts.issued).sum()
    }

    async fn key(&self) -> String {
        let body = r#"{"scopes": ["admin"]}"#;
        let request = format!(
            "POST /v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = over(&mut UnixStream::connect(self.socket()).await.unwrap(), &request).await;
        let start = answer.find("\"srt_").unwrap_or_else(|| panic!("{answer}")) + 1;
        answer[start..].split('"').next().unwrap().to_string()
    }
}

/// Sends a request and reads until the connection ends.
async fn over<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(stream: &mut S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(stream).await
}

async fn rest<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes));
    // A connection that is reset has said what it had to say.
    let _ = read.await.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

fn issue_head(key: &str, length: usize) -> String {
    format!(
        "POST /v1/series/invoice/entries HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let limits = Limits {
        head_within: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(limits, Duration::ZERO, Duration::ZERO).await;
    let answer = over(&mut server.connect().await, "GET /livez HTTP/1.1\r\nhost: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = over(&mut server.connect().await, &get("/livez")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let limits = Limits {
        head_within: Duration::from_millis(200),
        connections_max: 3,
        ..Limits::default()
    };
    let server = Server::start(limits, Duration::ZERO, Duration::ZERO).await;
    let mut silent = Vec::new();
    for said in ["", "P", "PRI * HTTP/2.0\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    // There is no room for it before the others are closed.
    let answer = over(&mut server.connect().await, &get("/livez")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in silent {
        assert_eq!(rest(&mut stream).await, "");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::usual().await;
    let large = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    let answer = over(&mut server.connect().await, &large).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many: String = (0..200).map(|i| format!("x-{i}: 1\r\n")).collect();
    let answer = over(
        &mut server.connect().await,
        &format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_writes_nothing() {
    let server = Server::usual().await;
    let key = server.key().await;
    let body = r#"{"key": "a"}"#;
    let mut stream = server.connect().await;
    // All that a parser would need has arrived, but not all that was announced.
    stream
        .write_all(format!("{}{body}", issue_head(&key, body.len() + 5)).as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.contains("body_incomplete"), "{answer}");
    assert_eq!(server.issued().await, 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let limits = Limits {
        body_within: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::start(limits, Duration::ZERO, Duration::ZERO).await;
    let key = server.key().await;
    let answer = over(&mut server.connect().await, &issue_head(&key, 100)).await;
    assert!(
        answer.starts_with("HTTP/1.1 408")
            && answer.contains("body_timeout")
            && answer.contains(r#""outcome":"nothing","retry":"retry""#),
        "{answer}"
    );
    assert_eq!(server.issued().await, 0);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let server = Server::usual().await;
    let key = server.key().await;
    let answer = over(&mut server.connect().await, &issue_head(&key, 500_000_000)).await;
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
        "{answer}"
    );
}

/// The connection was closed with the body unread, and a client that wrote first saw a broken pipe and no answer.
#[tokio::test]
async fn who_writes_a_large_body_first_still_reads_why_it_is_refused() {
    let server = Server::usual().await;
    let key = server.key().await;
    let body = "x".repeat(7 * 512 * 1024);
    let head = issue_head(&key, body.len());
    let chunked = head.replace(&format!("content-length: {}", body.len()), "transfer-encoding: chunked");
    for request in [
        format!("{head}{body}"),
        format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        let request = request.replacen("host: x", "host: x\r\nconnection: close", 1);
        let answer = over(&mut server.connect().await, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let mut server = Server::usual().await;
    let key = server.key().await;
    let body = r#"{"key": "a"}"#;
    let (first, second) = body.split_at(5);
    let mut stream = server.connect().await;
    stream
        .write_all(format!("{}{first}", issue_head(&key, body.len())).as_bytes())
        .await
        .unwrap();
    // The head must have been read: a connection that has asked nothing yet is closed at once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "it still listens");
    stream.write_all(second.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 201") && answer.contains("INV-001"),
        "{answer}"
    );
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn readiness_ends_at_once_and_listening_after_the_delay() {
    let mut server = Server::start(Limits::default(), Duration::from_millis(600), Duration::from_secs(1)).await;
    let ready = over(&mut server.connect().await, &get("/readyz")).await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ready = over(&mut server.connect().await, &get("/readyz?verbose")).await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("[-]shutdown begun"),
        "{ready}"
    );
    let alive = over(&mut server.connect().await, &get("/livez")).await;
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
    server.ended.await.unwrap().unwrap();
    assert!(!server.directory.path().join("seriatim.sock").exists());
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let mut server = Server::start(Limits::default(), Duration::ZERO, Duration::from_millis(200)).await;
    let key = server.key().await;
    let mut stream = server.connect().await;
    stream.write_all(issue_head(&key, 100).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    let ended = tokio::time::timeout(Duration::from_secs(3), server.ended).await;
    ended.expect("it waits for a body that does not come").unwrap().unwrap();
}

/// Who waited for a gate kept the server for the rest of his wait, or was cut off without an answer.
#[tokio::test]
async fn who_waits_for_a_gate_is_answered_when_the_shutdown_begins() {
    let mut server = Server::start(Limits::default(), Duration::ZERO, Duration::from_secs(20)).await;
    let body = r#"{"effect":"receipt","subject":"pay_1","ttl":"1m","holder":"w"}"#;
    let claim = format!(
        "POST /v1/gates/claim HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut local = UnixStream::connect(server.socket()).await.unwrap();
    let claimed = over(&mut local, &claim).await;
    let at = claimed.find("gat_").expect(&claimed);
    let id: String = claimed[at..].chars().take_while(|c| *c != '"').collect();
    let mut waiting = UnixStream::connect(server.socket()).await.unwrap();
    let ask = format!("GET /v1/gates/{id}?wait=20s HTTP/1.1\r\nhost: x\r\n\r\n");
    waiting.write_all(ask.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop();
    let answer = tokio::time::timeout(Duration::from_secs(3), rest(&mut waiting)).await;
    let answer = answer.expect("the wait goes on");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains(r#""state":"claimed""#),
        "{answer}"
    );
    server.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_socket_is_the_owners_door() {
    let server = Server::usual().await;
    let mode = std::fs::metadata(server.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let series = get("/v1/series");
    let local = over(&mut UnixStream::connect(server.socket()).await.unwrap(), &series).await;
    assert!(
        local.starts_with("HTTP/1.1 200") && local.contains("invoice"),
        "{local}"
    );
    let remote = over(&mut server.connect().await, &series).await;
    assert!(
        remote.starts_with("HTTP/1.1 401") && remote.contains("api_key_required"),
        "{remote}"
    );
}

#[tokio::test]
async fn a_socket_that_a_killed_server_left_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Path::new(&path).exists());
    let issuer = Issuer::open(Memory::new()).await.unwrap();
    let options = ServeOptions {
        http_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        socket: Some(path),
        ..ServeOptions::default()
    };
    let app = App::new(issuer, AppOptions::default());
    let listening = Listening::on(&options).await.unwrap();
    let ended = run_until(app, listening, options, |_| {}, std::future::ready(()));
    ended.await.unwrap();
}

#[tokio::test]
async fn http_2_is_spoken_without_tls() {
    let server = Server::usual().await;
    let stream = hyper_util::rt::TokioIo::new(server.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("http://x/livez")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, hyper::Version::HTTP_2)
    );
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = Server::usual().await;
    let options = ServeOptions {
        http_addr: server.address,
        ..ServeOptions::default()
    };
    let error = Listening::on(&options).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
}
