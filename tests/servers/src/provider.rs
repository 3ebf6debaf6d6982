//! A stand-in for a payment provider's status API: every payment that is asked for was captured.

use std::io::Result;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The port where it listens; every payment was of this amount in paise, at this second.
pub async fn start(amount: i64, paid_at: u64) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, amount, paid_at));
        }
    });
    Ok(port)
}

async fn answer(mut stream: TcpStream, amount: i64, paid_at: u64) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let id = path.rsplit('/').next().unwrap_or_default();
    let body = format!(
        r#"{{"entity": "payment", "id": "{id}", "status": "captured", "amount": {amount}, "currency": "INR",
            "created_at": {paid_at}, "order_id": null}}"#
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await
}
