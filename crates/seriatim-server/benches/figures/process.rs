//! The service in a process of its own.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::wire::Connection;

/// The administrator's key.
pub const KEY: &str = "srt_bench_0123456789abcdefghijklmnopqrstuvwxyzABCD";

/// A process that ends with its owner.
pub struct Process {
    pub child: Child,
    pub address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// `seriatim serve` in this folder, when it is ready.
    pub async fn serve(binary: &str, folder: &Path, flags: &[&str]) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(binary);
        command.args(["serve", "--http-addr", &address]).args(flags);
        command.current_dir(folder).env("SERIATIM_ADMIN_KEY", KEY);
        Self::start(command, address).await
    }

    /// Whatever answers there, when it is ready.
    pub async fn start(mut command: Command, address: String) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = Self {
            child: child.with_context(|| format!("cannot start {}", command.get_program().display()))?,
            address,
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if let Ok(mut connection) = Connection::open(&process.address).await
                && connection
                    .get("/readyz", KEY)
                    .await
                    .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(process);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the service at {} did not become ready", process.address)
    }
}

/// Where nobody listens yet.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
