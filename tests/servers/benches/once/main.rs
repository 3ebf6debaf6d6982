//! How long they wait who come too late: fifty deliveries of one payment at once, half of them webhooks and half
//! verifications, while its receipt is made. `cargo xtask bench once`.

#![allow(clippy::print_stdout, missing_docs, reason = "the figures are what this is for")]

#[path = "../../../../crates/seriatim-server/benches/figures/machine.rs"]
#[allow(dead_code, reason = "shared with the other figures")]
mod machine;
mod payment;
#[path = "../../../../crates/seriatim-server/benches/figures/process.rs"]
#[allow(dead_code, reason = "shared with the other figures")]
mod process;
mod service;
#[path = "../../../../crates/seriatim-server/benches/figures/wire.rs"]
#[allow(dead_code, reason = "shared with the other figures")]
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use seriatim_servers_tests::{Postgres, provider};

use machine::{describe, verdict};
use payment::Told;
use process::{KEY, Process};
use wire::Connection;

const PAYMENTS: usize = 200;
/// Not counted: connections, plans and counters come into being with the first.
const WARM_UP: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let binary = std::env::var("SERIATIM_BIN").context("say `cargo xtask bench once`, which builds the service")?;
    println!("{}", describe());
    println!("{PAYMENTS} payments one after the other, each with 25 webhooks and 25 verifications at once");
    let status = provider::start(payment::AMOUNT, payment::at()).await?;
    let folder = tempfile::tempdir()?;
    let one = service::start(&binary, folder.path(), status, &["--data-dir", "data"]).await?;
    measure("one node on SQLite", &[one], &folder.path().join("data/receipts")).await?;

    let server = Postgres::start();
    let url = server.url_of(&server.create_database());
    let folder = tempfile::tempdir()?;
    let flags = ["--store", &url, "--receipts-dir", "receipts"];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(service::start(&binary, folder.path(), status, &flags).await?);
    }
    measure("three nodes on PostgreSQL", &nodes, &folder.path().join("receipts")).await
}

async fn measure(what: &str, nodes: &[Process], receipts: &std::path::Path) -> Result<()> {
    service::define(&nodes[0]).await?;
    let mut all = Told::default();
    for i in 0..WARM_UP + PAYMENTS {
        let told = payment::run(nodes, &format!("pay_{i}")).await?;
        if i >= WARM_UP {
            all.add(told);
        }
    }
    let made = WARM_UP + PAYMENTS;
    let entries = count(&nodes[0], "/v1/entries?series=receipt&limit=500").await?;
    let files = files(receipts)?;
    println!("\n{what}");
    println!(
        "  {made} payments: {entries} entries, {} done events, {files} files",
        all.completed + WARM_UP
    );
    ensure!((entries, files, all.completed) == (made, made, PAYMENTS), "not once");
    say("webhooks", &all.webhooks);
    say("verifications, which wait for the number", &all.verifications);
    say("answers that came while the PDF was made", &all.during);
    say("claims of the receipt's gate meanwhile", &all.claims);
    say("the PDF, from claim to result", &all.pdf);
    let slowest = [&all.webhooks, &all.verifications, &all.during, &all.claims];
    let p99 = slowest.map(|took| took.value_at_quantile(0.99)).into_iter().max();
    println!(
        "  p99 of each kind of loser < 100 ms: {}",
        verdict(p99.is_some_and(|p99| p99 < 100_000))
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
fn say(what: &str, took: &Histogram<u64>) {
    let at = |quantile: f64| Duration::from_micros(took.value_at_quantile(quantile)).as_micros() as f64 / 1_000.0;
    println!(
        "  {what}: {} answers, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn count(node: &Process, path: &str) -> Result<usize> {
    let answer = Connection::open(&node.address).await?.get(path, KEY).await?;
    let page: serde_json::Value = serde_json::from_str(&answer.body)?;
    Ok(page["data"].as_array().context("no list")?.len())
}

fn files(receipts: &std::path::Path) -> Result<usize> {
    let mut files = 0;
    for gate in std::fs::read_dir(receipts)? {
        files += std::fs::read_dir(gate?.path())?.count();
    }
    Ok(files)
}
