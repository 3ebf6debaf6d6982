//! The figures of PostgreSQL: each a rate beside the same work written by hand, on one server, by turns.
//!
//! `cargo xtask bench postgres`; with `SERIATIM_BENCH_PART=service` or `door` only that half.

#![allow(clippy::print_stdout, missing_docs, reason = "the figures are what this is for")]

mod figure;
#[path = "../../../../crates/seriatim-server/benches/figures/machine.rs"]
#[allow(dead_code, reason = "shared with the figures of SQLite")]
mod machine;
mod pgbench;
#[path = "../../../../crates/seriatim-server/benches/figures/process.rs"]
#[allow(dead_code, reason = "shared with the figures of SQLite")]
mod process;
mod service;
#[path = "../../../../crates/seriatim-server/benches/figures/wire.rs"]
#[allow(dead_code, reason = "shared with the figures of SQLite")]
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use seriatim::store::postgres::{PostgresOptions, door};
use seriatim_servers_tests::Postgres;

use figure::Figure;
use machine::{describe, verdict};
use pgbench::Script;
use service::{Keys, Service, node, rate};

/// Each thing is measured this often, by turns.
const ROUNDS: u32 = 3;
const SECONDS: u32 = 4;
const WITHIN: Duration = Duration::from_secs(SECONDS as u64);
const CLIENTS: [u32; 3] = [1, 16, 100];

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let binary = std::env::var("SERIATIM_BIN").context("say `cargo xtask bench postgres`, which builds the service")?;
    let server = Postgres::start_with(&[
        ("shared_buffers", "512MB"),
        ("max_wal_size", "4GB"),
        ("autovacuum_naptime", "60s"),
    ]);
    println!("{}", describe());
    println!("{}", server.psql("postgres", "select version()"));
    println!(
        "disk: {:.0} fdatasync of 4 KiB a second",
        machine::fdatasync_rate(server.socket_folder())?
    );
    let wants = |part: &str| std::env::var("SERIATIM_BENCH_PART").map_or(true, |only| only == part);
    if wants("service") {
        the_service(&server, &binary).await?;
    }
    if wants("door") {
        the_door(&server).await?;
    }
    Ok(())
}

async fn the_service(server: &Postgres, binary: &str) -> Result<()> {
    let database = server.create_database();
    let url = server.url_of(&database);
    pgbench::prepare(server, &database);
    let keys = Keys::default();
    let (_, one) = node(&url).await?;
    let (_, other) = node(&url).await?;
    let http = Service::start(binary, &url).await?;
    let by_hand = |what: &str, clients| Figure::new(format!("by hand, {what}, {clients} clients"));
    let mut hand = CLIENTS.map(|clients| by_hand("one counter", clients));
    let mut hand_tenants = by_hand("1,000 tenants", 100);
    let mut issued = CLIENTS.map(|callers| Figure::new(format!("issuer, one counter, {callers} callers")));
    let mut issued_tenants = Figure::new("issuer, 1,000 tenants, 100 callers");
    let mut two = Figure::new("two issuers, one counter, 100 callers");
    let mut over_http = Figure::new("over HTTP, one counter, 100 connections");
    // Every tenant has its counter before anything is measured.
    rate(&[&one], &keys, 100, 1_000, WITHIN).await?;
    for _ in 0..ROUNDS {
        for ((clients, hand), issued) in CLIENTS.into_iter().zip(&mut hand).zip(&mut issued) {
            hand.add(pgbench::run(
                server,
                &database,
                Script::HandMade { tenants: 1 },
                clients,
                SECONDS,
            )?);
            issued.add(rate(&[&one], &keys, clients, 1, WITHIN).await?);
        }
        two.add(rate(&[&one, &other], &keys, 100, 1, WITHIN).await?);
        over_http.add(http.rate(&keys, 100, WITHIN).await?);
        hand_tenants.add(pgbench::run(
            server,
            &database,
            Script::HandMade { tenants: 1_000 },
            100,
            SECONDS,
        )?);
        issued_tenants.add(rate(&[&one], &keys, 100, 1_000, WITHIN).await?);
    }
    println!("\nissue on PostgreSQL with document, key and journal, beside BEGIN; UPDATE … RETURNING; INSERT; COMMIT");
    for figure in hand
        .iter()
        .chain([&hand_tenants])
        .chain(&issued)
        .chain([&issued_tenants, &two, &over_http])
    {
        println!("{}", figure.line());
    }
    let [.., at_100] = &hand;
    let [.., issued_at_100] = &issued;
    hold("100 callers on one counter / by hand", issued_at_100, at_100, 15.0);
    hold(
        "100 callers on 1,000 tenants / by hand on one counter",
        &issued_tenants,
        at_100,
        5.0,
    );
    say(
        "100 callers on 1,000 tenants / by hand on 1,000 tenants",
        &issued_tenants,
        &hand_tenants,
    );
    say("over HTTP / by hand", &over_http, at_100);
    hold("two nodes on one counter / one node", &two, issued_at_100, 0.5);
    // Nothing is worth anything that is not there and in order.
    let report = seriatim::verify::verify(one.reads(), &seriatim::verify::Options::default(), &|_| {}).await?;
    ensure!(report.findings.is_empty(), "{:?}", report.findings);
    println!("  verified: {} entries, nothing found", report.progress.entries);
    Ok(())
}

async fn the_door(server: &Postgres) -> Result<()> {
    let database = server.create_database();
    let (store, _) = node(&server.url_of(&database)).await?;
    store.close().await;
    door::install(&server.url_of(&database), &PostgresOptions::default()).await?;
    pgbench::prepare(server, &database);
    let scripts = [
        Script::HandMade { tenants: 1 },
        Script::HandMadeAtOnce,
        Script::Next,
        Script::NextWithKey,
    ];
    let names = [
        "by hand",
        "by hand in one round trip",
        "seriatim.next()",
        "seriatim.next() with a key",
    ];
    let figures = |clients| names.map(|name| Figure::new(format!("{name}, {clients} on a local socket")));
    let (mut alone, mut many) = (figures(1), figures(16));
    // One client alone waits for the disk half of its time, and the disk is in another mood every few seconds.
    for (clients, figures, rounds, seconds) in [(1, &mut alone, 15, 2), (16, &mut many, ROUNDS, SECONDS)] {
        for _ in 0..rounds {
            for (script, figure) in scripts.into_iter().zip(figures.iter_mut()) {
                figure.add(pgbench::run(server, &database, script, clients, seconds)?);
            }
        }
    }
    println!("\nseriatim.next() in the user's own transaction");
    for figure in alone.iter().chain(&many) {
        println!("{}", figure.line());
    }
    let [hand, at_once, next, with_key] = &alone;
    hold("next() / by hand, one client", next, hand, 0.7);
    hold("next() with a key / by hand, one client", with_key, hand, 0.6);
    // What is left of it where a round trip costs nothing.
    say("next() / by hand in one round trip, one client", next, at_once);
    say(
        "next() with a key / by hand in one round trip, one client",
        with_key,
        at_once,
    );
    let [hand, _, next, with_key] = &many;
    say("next() / by hand, 16 clients", next, hand);
    say("next() with a key / by hand, 16 clients", with_key, hand);
    Ok(())
}

fn say(what: &str, figure: &Figure, yardstick: &Figure) {
    println!("  {what}: {:.2}", figure.rate() / yardstick.rate());
}

fn hold(what: &str, figure: &Figure, yardstick: &Figure, least: f64) {
    let ratio = figure.rate() / yardstick.rate();
    println!("  {what}: {ratio:.2} (hold >= {least}): {}", verdict(ratio >= least));
}
