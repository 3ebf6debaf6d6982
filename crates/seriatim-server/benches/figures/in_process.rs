//! The issuer over SQLite, in this process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use seriatim::store::sqlite::SqliteOptions;
use seriatim::{Issuer, Options, SeriesSpec, Sqlite};

use crate::machine::{fdatasync_rate, median, verdict};

const CALLERS: u64 = 1_000;

struct Bench {
    store: Sqlite,
    issuer: Issuer,
    /// Makes keys that are never the same and fall anywhere in an index.
    drawn: Arc<AtomicU64>,
}

impl Bench {
    async fn open(folder: &Path, keys: bool) -> Result<Self> {
        let store = Sqlite::open(folder.join("bench.db"), SqliteOptions::default()).await?;
        let issuer = Issuer::with(Arc::new(store.clone()), Options::default()).await?;
        let spec = SeriesSpec {
            format: "INV-{year}-{seq:5}".into(),
            reset: Some("yearly".into()),
            keys: Some(if keys { "required" } else { "optional" }.into()),
            ..SeriesSpec::default()
        };
        issuer.define("bench", spec).await?;
        Ok(Self {
            store,
            issuer,
            drawn: Arc::default(),
        })
    }

    /// Issues `count` numbers from a thousand callers; the rate in numbers a second.
    async fn rate(&self, count: u64, keys: bool) -> Result<f64> {
        let started = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| tokio::spawn(call(self.issuer.clone(), self.drawn.clone(), count / CALLERS, keys)))
            .collect();
        for caller in callers {
            caller.await??;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    async fn close(self) {
        self.issuer.close().await;
        self.store.close().await;
    }
}

async fn call(issuer: Issuer, drawn: Arc<AtomicU64>, count: u64, keys: bool) -> Result<()> {
    for _ in 0..count {
        if keys {
            let draw = drawn
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
            issuer.issue("bench").key(&format!("pay_{draw:016x}")).await?;
        } else {
            issuer.issue("bench").await?;
        }
    }
    Ok(())
}

/// Numbers a second from a thousand callers, without keys and with random ones.
pub async fn issue() -> Result<()> {
    let folder = tempfile::tempdir()?;
    println!("\nissue in process, SQLite, {CALLERS} callers");
    println!("  fdatasync of 4 KiB: {:.0} a second", fdatasync_rate(folder.path())?);
    for (keys, hold) in [(false, 150_000.0), (true, 40_000.0)] {
        let mut rates = Vec::new();
        for _ in 0..5 {
            let folder = tempfile::tempdir()?;
            let bench = Bench::open(folder.path(), keys).await?;
            bench.rate(10_000, keys).await?;
            rates.push(bench.rate(300_000, keys).await?);
            bench.close().await;
        }
        let rate = median(&mut rates);
        let what = if keys { "random keys" } else { "no key" };
        println!(
            "  {what}: {rate:.0} a second, the median of {:.0?} (hold > {hold}): {}",
            rates,
            verdict(rate > hold)
        );
    }
    Ok(())
}

/// How much of the rate is left when a store has grown.
pub async fn growth(size: u64) -> Result<()> {
    println!("\ngrowth: rate at {size} entries / at 10,000");
    for (keys, hold) in [(false, 0.8), (true, 0.4)] {
        let folder = tempfile::tempdir()?;
        let bench = Bench::open(folder.path(), keys).await?;
        bench.rate(10_000, keys).await?;
        let young = bench.rate(200_000, keys).await?;
        let filled = Instant::now();
        bench.rate(size.saturating_sub(210_000), keys).await?;
        let filled = filled.elapsed().as_secs_f64();
        let old = bench.rate(200_000, keys).await?;
        let what = if keys { "random keys" } else { "no key" };
        println!(
            "  {what}: {young:.0} -> {old:.0} a second, ratio {:.2} (hold >= {hold}): {}; filled in {filled:.0} s",
            old / young,
            verdict(old / young >= hold)
        );
        bench.close().await;
    }
    Ok(())
}
