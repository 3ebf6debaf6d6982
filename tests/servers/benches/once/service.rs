//! A service with one source.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::process::{KEY, Process};
use crate::wire::Connection;

pub const SECRET: &str = "topsecret";

/// The service in this folder; it asks the provider at this port.
pub async fn start(binary: &str, folder: &Path, provider: u16, flags: &[&str]) -> Result<Process> {
    let config = format!(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"{SECRET}\"]\ntest = true\n\
         status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:{provider}\"\nstatus_id = \"me\"\nstatus_secret = \"mine\"\n"
    );
    std::fs::write(folder.join("seriatim.toml"), config)?;
    Process::serve(binary, folder, flags).await
}

/// Defines the series of the source.
pub async fn define(node: &Process) -> Result<()> {
    let body = r#"{"format": "RCP-{seq:5}", "test": true}"#;
    let mut connection = Connection::open(&node.address).await?;
    let answer = connection.put("/v1/series/receipt", KEY, body).await?;
    ensure!(answer.status == 201, "{}", answer.body);
    Ok(())
}
