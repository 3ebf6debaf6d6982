//! A small HTTP/1.1 client that spends as little as possible, so that the server is what is measured.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection that is kept open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
pub struct Response {
    pub status: u16,
    pub replayed: bool,
    pub body: String,
    pub took: Duration,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4_096),
        })
    }

    pub async fn post(&mut self, path: &str, key: &str, body: &str) -> Result<Response> {
        self.post_with(path, &format!("authorization: Bearer {key}\r\n"), body)
            .await
    }

    /// With headers of its own, each a line with its end.
    pub async fn post_with(&mut self, path: &str, headers: &str, body: &str) -> Result<Response> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&request).await
    }

    pub async fn get(&mut self, path: &str, key: &str) -> Result<Response> {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n"
        ))
        .await
    }

    pub async fn put(&mut self, path: &str, key: &str, body: &str) -> Result<Response> {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&request).await
    }

    async fn send(&mut self, request: &str) -> Result<Response> {
        let started = Instant::now();
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let Some(length) = length.and_then(|length| length.trim().parse::<usize>().ok()) else {
            bail!("the answer has no length: {text}");
        };
        while self.buffer.len() < head + length {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the server hung up");
        }
        Ok(Response {
            status: text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0),
            replayed: text.contains("idempotent-replayed: true"),
            body: String::from_utf8_lossy(&self.buffer[head..head + length]).into_owned(),
            took: started.elapsed(),
        })
    }
}
