//! A client of the service that knows when it got no answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An administrator's key that all servers are told of.
pub const KEY: &str = "srt_servertest_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub replayed: bool,
    pub text: String,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// A field of a body that is JSON.
    pub fn field(&self, name: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        body[name].as_str().unwrap_or_default().to_string()
    }
}

/// One request on a connection of its own; an error means that there was no whole answer.
pub async fn call(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<Reply> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        // A PDF is no text; who wants it takes the bytes.
        let text = String::from_utf8_lossy(&bytes);
        let lost = || std::io::Error::other("no whole answer");
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(lost)?;
        Ok(Reply {
            status: head
                .get(9..12)
                .and_then(|status| status.parse().ok())
                .ok_or_else(lost)?,
            replayed: head.to_ascii_lowercase().contains("idempotent-replayed: true"),
            text: body.to_string(),
            bytes: bytes
                .windows(4)
                .position(|end| end == b"\r\n\r\n")
                .map_or_else(Vec::new, |end| bytes[end + 4..].to_vec()),
        })
    };
    tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .map_err(std::io::Error::other)?
}

/// Takes a number; it must be given.
pub async fn issue(address: &str, key: &str) -> String {
    let reply = try_issue(address, key).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.field("number")
}

/// Asks for a number.
pub async fn try_issue(address: &str, key: &str) -> Reply {
    let body = format!(r#"{{"key": "{key}"}}"#);
    let reply = call(address, "POST", "/v1/series/invoice/entries", &body).await;
    reply.expect("an answer")
}

/// Defines the series that everybody here takes numbers of.
pub async fn define(address: &str) {
    let defined = call(address, "PUT", "/v1/series/invoice", r#"{"format": "INV-{seq:5}"}"#).await;
    assert_eq!(defined.expect("an answer").status, 201);
}
