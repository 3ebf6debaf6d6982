//! Listening: sockets, limits, signals, and an end that loses nothing.
//!
//! This module must never know a route.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use seriatim::Actor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

use crate::app::{App, Limits};
use crate::auth::Local;
use crate::first_bytes::FirstBytes;
use crate::payments::Workers;
use crate::routes::router;
use crate::transport::STORE;

/// Where to listen, and how to end.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where HTTP is answered; port 0 takes a free one.
    pub http_addr: SocketAddr,
    /// Where the owner of the store is answered without an API key; made with mode 0600.
    pub socket: Option<PathBuf>,
    /// Which database is behind the socket; said in every answer there, so that whoever was led to the wrong socket
    /// sees it.
    pub store: Option<HeaderValue>,
    /// How long `/readyz` says no before listening ends, so that nobody is sent here any more.
    pub shutdown_delay: Duration,
    /// How long requests under way may then take.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            http_addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            socket: None,
            store: None,
            shutdown_delay: Duration::ZERO,
            drain: Duration::from_secs(20),
        }
    }
}

/// The most bytes and fields that the head of a request may have.
const HEAD_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// How many connections to the socket there may be, whatever strangers hold.
const LOCAL_MAX: usize = 256;
/// How long commits under way are waited for at least, whatever draining took.
const LETS_GO: Duration = Duration::from_secs(1);
/// How often overdue reservations are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often files are looked for that no receipt refers to.
const SWEEP_RECEIPTS_EVERY: Duration = Duration::from_secs(3_600);

/// What is listened on; nobody is let in yet.
#[derive(Debug)]
pub struct Listening {
    tcp: TcpListener,
    unix: Option<UnixListener>,
}

impl Listening {
    /// Takes the address and the socket.
    ///
    /// # Errors
    /// One of them cannot be listened on.
    pub async fn on(options: &ServeOptions) -> anyhow::Result<Self> {
        let cannot = || format!("cannot listen on {}", options.http_addr);
        let tcp = TcpListener::bind(options.http_addr).await.with_context(cannot)?;
        let unix = options.socket.as_deref().map(listen_unix).transpose()?;
        Ok(Self { tcp, unix })
    }
}

/// Serves until SIGTERM, SIGINT or SIGHUP (its terminal is closed), then ends without losing what is under way. A second
/// signal ends at once.
///
/// # Errors
/// Signals cannot be waited for.
pub async fn run(
    app: App,
    listening: Listening,
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => ("SIGTERM", 143),
            _ = interrupt.recv() => ("SIGINT", 130),
            _ = hang_up.recv() => ("SIGHUP", 129),
        }
    };
    let stop = async move {
        let (name, _) = next().await;
        tracing::info!(signal = name, "shutting down; a second signal ends at once");
        // Lives on: nobody waits for it.
        tokio::spawn(async move {
            let (_, code) = next().await;
            std::process::exit(code);
        });
    };
    run_until(app, listening, options, ready, stop).await
}

/// Serves until `stop` is done, then ends without losing what is under way.
///
/// # Errors
/// What is listened on has no address.
pub async fn run_until(
    app: App,
    listening: Listening,
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Listening { tcp, unix } = listening;
    let door = Door::new(router(app.clone()), &app.options().limits, options.store.clone());
    let sweeper = tokio::spawn(sweep(app.clone()));
    let workers = app.payments().map(|payments| Workers::start(payments.clone()));
    ready(tcp.local_addr()?);

    let mut stop = pin!(async {
        stop.await;
        app.begin_shutdown();
        tokio::time::sleep(options.shutdown_delay).await;
    });
    tokio::select! {
        () = &mut stop => {}
        () = accept_tcp(&door, &tcp) => {}
        () = accept_unix(&door, unix.as_ref()) => {}
    }
    drop((tcp, unix));
    if let Some(path) = &options.socket {
        // Only a courtesy: the next server removes it too.
        let _ = std::fs::remove_file(path);
    }
    let drained = Instant::now() + options.drain;
    door.drain(options.drain).await;
    sweeper.abort();
    if let Some(workers) = workers {
        // What was begun goes on for a while; what is not done then is taken over by another, or at the next start.
        if tokio::time::timeout(options.drain, workers.end()).await.is_err() {
            tracing::warn!("payment events or receipts under way were left; their leases run out");
        }
    }
    // A commit that nobody confirms, as while a synchronous standby is away, is no reason to live for ever.
    let left = drained.saturating_duration_since(Instant::now()).max(LETS_GO);
    if tokio::time::timeout(left, app.issuer().close()).await.is_err() {
        tracing::warn!(
            "commits were left that are not confirmed; who asks with the same key is told what became of them"
        );
    }
    Ok(())
}

/// The way in: one for all connections.
struct Door {
    router: Router,
    builder: Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    room: Arc<Semaphore>,
    local_room: Arc<Semaphore>,
    store: Option<HeaderValue>,
    first_within: Duration,
}

impl Door {
    fn new(router: Router, limits: &Limits, store: Option<HeaderValue>) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_within)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
            .max_concurrent_streams(250)
            .keep_alive_interval(limits.head_within)
            .keep_alive_timeout(limits.head_within);
        Self {
            router,
            builder,
            graceful: GracefulShutdown::new(),
            room: Arc::new(Semaphore::new(limits.connections_max)),
            local_room: Arc::new(Semaphore::new(LOCAL_MAX)),
            store,
            first_within: limits.head_within,
        }
    }

    fn let_in<S>(&self, stream: S, local: Option<Local>, room: Option<OwnedSemaphorePermit>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (builder, watcher) = (self.builder.clone(), self.graceful.watcher());
        let (router, store) = (self.router.clone(), self.store.clone());
        let stream = FirstBytes::within(stream, self.first_within);
        tokio::spawn(async move {
            let _room = room;
            match local {
                None => speak(&builder, watcher, stream, router).await,
                Some(local) => {
                    let marked = router
                        .map_request(move |mut request: Request<Incoming>| {
                            request.extensions_mut().insert(local.clone());
                            request
                        })
                        .map_response(move |mut response: Response| {
                            if let Some(store) = &store {
                                response.headers_mut().insert(STORE, store.clone());
                            }
                            response
                        });
                    speak(&builder, watcher, stream, marked).await;
                }
            }
        });
    }

    /// Lets requests under way end; those that take too long are cut off, their commands are not.
    async fn drain(self, within: Duration) {
        if tokio::time::timeout(within, self.graceful.shutdown()).await.is_err() {
            tracing::warn!(
                ?within,
                "requests still under way were cut off; their commands are finished"
            );
        }
    }
}

async fn speak<I, S>(builder: &Builder<TokioExecutor>, watcher: Watcher, stream: I, service: S)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Incoming>, Response = axum::response::Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    // A connection that breaks is the client's affair.
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// Waits until one more connection may come in.
async fn one_more(room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    room.clone().acquire_owned().await.ok()
}

async fn accept_tcp(door: &Door, listener: &TcpListener) {
    loop {
        let room = one_more(&door.room).await;
        match listener.accept().await {
            Ok((stream, _)) => door.let_in(prompt(stream), None, room),
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Answers are small and written at once: waiting for more to send would only delay them.
fn prompt(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    stream
}

async fn accept_unix(door: &Door, listener: Option<&UnixListener>) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        let room = one_more(&door.local_room).await;
        match listener.accept().await {
            Ok((stream, _)) => match peer(&stream) {
                Some(local) => door.let_in(stream, Some(local), room),
                None => tracing::warn!("a connection to the socket came from nobody; it was closed"),
            },
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of file descriptors, most likely: looking again at once would only burn the processor.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Who is at the other end of the socket.
fn peer(stream: &UnixStream) -> Option<Local> {
    let uid = stream.peer_cred().ok()?.uid();
    Actor::parse(&crate::open::os_user_of(uid)).ok().map(Local)
}

/// Listens for the owner of the store.
fn listen_unix(path: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let cannot = || format!("cannot listen on the socket {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(cannot),
        // Left from a server that was killed: the store's lock is ours, so nobody listens there.
        Ok(()) | Err(_) => {}
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path).with_context(cannot)?;
    // Before listening: until then nobody can connect, whatever the mode.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(cannot)?;
    socket.listen(128).with_context(cannot)
}

/// Voids reservations that ran out, where their series says so, and keeps the measurements small.
async fn sweep(app: App) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut receipts_next = Instant::now();
    loop {
        ticks.tick().await;
        if let Some(payments) = app.payments().filter(|_| Instant::now() >= receipts_next) {
            receipts_next = Instant::now() + SWEEP_RECEIPTS_EVERY;
            match payments.sweep_receipts().await {
                Ok(0) => {}
                Ok(swept) => tracing::info!(swept, "receipts that came too late were removed"),
                Err(error) => tracing::warn!(error, "cannot look for receipts that nothing refers to"),
            }
        }
        match app.issuer().sweep().await {
            Ok(0) => {}
            Ok(voided) => tracing::info!(voided, "reservations ran out and were voided"),
            Err(failure) => tracing::warn!(%failure, "cannot look for reservations that ran out"),
        }
        if let Some(metrics) = &app.options().metrics {
            metrics.run_upkeep();
        }
    }
}
