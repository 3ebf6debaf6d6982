//! The issuer in this process, and the service over HTTP, on the same server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use seriatim::store::postgres::{Postgres as Stored, PostgresOptions};
use seriatim::{Issuer, SeriesSpec};
use tempfile::TempDir;

use crate::figure::Measured;
use crate::process::{KEY, Process};
use crate::wire::Connection;

/// Keys that are never the same and fall anywhere in an index.
#[derive(Clone, Default)]
pub struct Keys(Arc<AtomicU64>);

impl Keys {
    fn draw(&self) -> u64 {
        self.0
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A node in this process.
pub async fn node(url: &str) -> Result<(Stored, Issuer)> {
    let store = Stored::open(url, PostgresOptions::default()).await?;
    let issuer = Issuer::open(store.clone()).await?;
    let spec = SeriesSpec {
        format: "INV-{seq:5}".into(),
        ..SeriesSpec::default()
    };
    issuer.define("invoice", spec).await?;
    Ok((store, issuer))
}

/// Issues from so many callers for a while, spread over nodes and tenants, with a key each.
pub async fn rate(nodes: &[&Issuer], keys: &Keys, callers: u32, tenants: u64, within: Duration) -> Result<Measured> {
    let started = Instant::now();
    let calls: Vec<_> = (0..callers as usize)
        .map(|caller| {
            let (issuer, keys) = (nodes[caller % nodes.len()].clone(), keys.clone());
            tokio::spawn(async move {
                let mut took = Histogram::<u64>::new(3)?;
                while started.elapsed() < within {
                    let draw = keys.draw();
                    let asked = Instant::now();
                    issuer
                        .issue("invoice")
                        .tenant(&format!("t{}", draw % tenants))
                        .key(&format!("pay_{draw:016x}"))
                        .await?;
                    took.record(u64::try_from(asked.elapsed().as_micros())?)?;
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    sum(calls, started).await
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
async fn sum(calls: Vec<tokio::task::JoinHandle<Result<Histogram<u64>>>>, started: Instant) -> Result<Measured> {
    let mut took = Histogram::<u64>::new(3)?;
    for call in calls {
        took.add(call.await??)?;
    }
    Ok(Measured {
        rate: took.len() as f64 / started.elapsed().as_secs_f64(),
        took,
    })
}

/// The service in a process of its own.
pub struct Service {
    process: Process,
    _folder: TempDir,
}

impl Service {
    pub async fn start(binary: &str, url: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            process: Process::serve(binary, folder.path(), &["--store", url]).await?,
            _folder: folder,
        })
    }

    /// Issues over so many connections for a while, with a key each.
    pub async fn rate(&self, keys: &Keys, connections: u32, within: Duration) -> Result<Measured> {
        let started = Instant::now();
        let calls: Vec<_> = (0..connections)
            .map(|_| {
                let (address, keys) = (self.process.address.clone(), keys.clone());
                tokio::spawn(async move {
                    let mut connection = Connection::open(&address).await?;
                    let mut took = Histogram::<u64>::new(3)?;
                    while started.elapsed() < within {
                        let body = format!(r#"{{"key": "pay_{:016x}"}}"#, keys.draw());
                        let answer = connection.post("/v1/series/invoice/entries", KEY, &body).await?;
                        ensure!(answer.status == 201, "{}: {}", answer.status, answer.body);
                        took.record(u64::try_from(answer.took.as_micros())?)?;
                    }
                    anyhow::Ok(took)
                })
            })
            .collect();
        sum(calls, started).await
    }
}
