//! A real `seriatim serve` that can be killed, and a client that knows when it got no answer.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// An administrator's key that the server is told of at its first start.
pub const ADMIN_KEY: &str = "srt_crashtest_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";

pub struct Server {
    pub folder: PathBuf,
    pub address: String,
    child: Child,
}

impl Server {
    /// Starts on a port that is free now, and keeps it over restarts.
    pub fn start(folder: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("admin.key"), ADMIN_KEY).unwrap();
        let child = spawn(folder, &address);
        let server = Self {
            folder: folder.to_path_buf(),
            address,
            child,
        };
        server.wait_ready();
        server
    }

    /// SIGKILL: no drain, no goodbye.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.folder, &self.address);
        self.wait_ready();
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn wait_ready(&self) {
        let started = Instant::now();
        loop {
            if get(&self.address, "/readyz").is_ok_and(|answer| answer.status == 200) {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the server did not become ready"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already, that is what it was for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, address: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_seriatim"))
        .args(["serve", "--http-addr", address, "--data-dir"])
        .arg(folder.join("data"))
        // A test may have put a seriatim.toml there.
        .current_dir(folder)
        .env("SERIATIM_ADMIN_KEY_FILE", folder.join("admin.key"))
        // The machine's zone must not matter.
        .env("TZ", "America/Los_Angeles")
        .stdout(Stdio::null())
        .stderr(
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(folder.join("log"))
                .unwrap(),
        )
        .spawn()
        .unwrap()
}

/// Runs one command of the binary on the server's data directory.
pub fn cli(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seriatim"))
        .args(arguments)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .output()
        .unwrap()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub replayed: bool,
    pub body: String,
}

impl Answer {
    /// The text of a field, of JSON without blanks.
    pub fn text(&self, field: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        value[field].as_str().unwrap_or_default().to_string()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub fn get(address: &str, path: &str) -> std::io::Result<Answer> {
    call(address, "GET", path, "")
}

pub fn put(address: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    call(address, "PUT", path, body)
}

pub fn post(address: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    call(address, "POST", path, body)
}

/// One request on a connection of its own; an error means that there was no whole answer.
fn call(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    call_as(address, method, path, body, ADMIN_KEY)
}

/// The same by another key; by none if it is empty.
pub fn call_as(address: &str, method: &str, path: &str, body: &str, key: &str) -> std::io::Result<Answer> {
    let bearer = match key {
        "" => String::new(),
        key => format!("authorization: Bearer {key}\r\n"),
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{bearer}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let lost = || std::io::Error::other("no whole answer");
    let at = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(lost)?;
    let (head, body) = (&bytes[..at], &bytes[at + 4..]);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return Err(lost());
    }
    Ok(Answer {
        status: head
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .ok_or_else(lost)?,
        replayed: head.contains("idempotent-replayed: true"),
        // A PDF is no text, and no test looks at more than its beginning.
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

/// Every entry of a series as (seq, number, key).
pub fn entries(address: &str, series: &str) -> Vec<(u64, String, String)> {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(address, &format!("/v1/entries?series={series}&limit=500{cursor}")).unwrap();
        assert_eq!(page.status, 200, "{}", page.body);
        let page = page.json();
        for entry in page["data"].as_array().unwrap() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_string();
            entries.push((entry["seq"].as_u64().unwrap(), text("number"), text("key")));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}
