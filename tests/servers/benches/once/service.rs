//! The service in a process of its own, with one source.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::wire::Connection;

pub const KEY: &str = "srt_bench_0123456789abcdefghijklmnopqrstuvwxyzABCD";
pub const SECRET: &str = "topsecret";

/// It ends with its owner.
pub struct Service {
    child: Child,
    pub address: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    pub async fn start(binary: &str, folder: &Path, status: u16, flags: &[&str]) -> Result<Self> {
        let config = format!(
            "[sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"{SECRET}\"]\ntest = true\n\
             status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:{status}\"\nstatus_id = \"me\"\nstatus_secret = \"mine\"\n"
        );
        std::fs::write(folder.join("seriatim.toml"), config)?;
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(binary)
            .args(["serve", "--http-addr", &address])
            .args(flags)
            .current_dir(folder)
            .env("SERIATIM_ADMIN_KEY", KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {binary}"))?;
        let service = Self { child, address };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if let Ok(mut connection) = Connection::open(&service.address).await
                && connection
                    .get("/readyz", KEY)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(service);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the service at {} did not become ready", service.address)
    }
}

/// Defines the series of the source.
pub async fn define(node: &Service) -> Result<()> {
    let body = r#"{"format": "RCP-{seq:5}", "test": true}"#;
    let mut connection = Connection::open(&node.address).await?;
    let answer = connection.put("/v1/series/receipt", KEY, body).await?;
    ensure!(answer.status == 201, "{}", answer.body);
    Ok(())
}
