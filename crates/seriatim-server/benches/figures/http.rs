//! The service over HTTP, in a process of its own, beside a service that only checks the key and echoes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use hdrhistogram::Histogram;
use seriatim::Hash;
use seriatim_server::auth::Token;

use crate::machine::{median, peak_memory_mb, verdict};
use crate::process::{KEY, Process, free_address};
use crate::wire::Connection;

const ECHO_ADDRESS: &str = "SERIATIM_BENCH_ECHO";

/// The yardstick: reads the body, checks the key as we do, and gives the body back.
pub async fn echo_server() -> Result<()> {
    let address: SocketAddr = std::env::var(ECHO_ADDRESS)?.parse()?;
    let app = Router::new()
        .route("/echo", post(echo))
        .route("/readyz", get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = listener.tap_io(|stream| {
        // Without it every small answer would wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}

async fn echo(headers: HeaderMap, body: Bytes) -> Response {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let expected = Token::parse(KEY).map(|token| Hash::of(token.secret.as_bytes()));
    match bearer.and_then(Token::parse) {
        Some(token) if Some(Hash::of(token.secret.as_bytes())) == expected => {
            ([(CONTENT_TYPE, "application/json")], body).into_response()
        }
        Some(_) | None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn echo_process() -> Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--echo-server").env(ECHO_ADDRESS, &address);
    Process::start(command, address).await
}

async fn service(folder: &Path) -> Result<Process> {
    Process::serve(env!("CARGO_BIN_EXE_seriatim"), folder, &["--data-dir", "data"]).await
}

/// Posts over so many connections for a while; answers a second.
async fn rate(service: &Process, path: &'static str, connections: u64, run: u64) -> Result<f64> {
    let until = Instant::now() + Duration::from_secs(5);
    let callers: Vec<_> = (0..connections)
        .map(|caller| {
            let address = service.address.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await?;
                let mut count = 0u32;
                while Instant::now() < until {
                    let body = format!(r#"{{"key": "pay_{run}_{caller}_{count}", "reference": "order {count}"}}"#);
                    let answer = connection.post(path, KEY, &body).await?;
                    ensure!(answer.status < 300, "{}: {}", answer.status, answer.body);
                    count += 1;
                }
                anyhow::Ok(count)
            })
        })
        .collect();
    let started = Instant::now();
    let mut total = 0.0;
    for caller in callers {
        total += f64::from(caller.await??);
    }
    Ok(total / started.elapsed().as_secs_f64())
}

/// Issuing with key and auth over 64 connections, against the echo.
pub async fn ratio() -> Result<()> {
    const CONNECTIONS: u64 = 64;
    println!("\nissue over HTTP with key and auth, {CONNECTIONS} connections");
    let folder = tempfile::tempdir()?;
    let echo = echo_process().await?;
    let service = service(folder.path()).await?;
    define(&service, r#"{"format": "INV-{seq:5}"}"#).await?;
    let (mut echoes, mut issues) = (Vec::new(), Vec::new());
    // By turns, so that a noisy moment touches both.
    for run in 0..3 {
        echoes.push(rate(&echo, "/echo", CONNECTIONS, run).await?);
        issues.push(rate(&service, "/v1/series/invoice/entries", CONNECTIONS, run).await?);
    }
    let (echo, issue) = (median(&mut echoes), median(&mut issues));
    println!("  authenticated echo: {echo:.0} a second; issue: {issue:.0} a second");
    println!(
        "  ratio {:.2} (hold >= 0.3): {}",
        issue / echo,
        verdict(issue / echo >= 0.3)
    );
    Ok(())
}

async fn define(service: &Process, body: &str) -> Result<()> {
    let mut connection = Connection::open(&service.address).await?;
    let answer = connection.put("/v1/series/invoice", KEY, body).await?;
    ensure!(answer.status == 201, "{}", answer.body);
    Ok(())
}

/// A thousand payments at once on connections that are open already, each sent three times; and what it cost in memory.
pub async fn payments() -> Result<()> {
    const PAYMENTS: u64 = 1_000;
    println!("\n{PAYMENTS} concurrent payments, connections open, each sent three times");
    let folder = tempfile::tempdir()?;
    let service = service(folder.path()).await?;
    let body = r#"{"format": "INV-{fy}{admin}{channel}{seq:5}", "reset": "fiscal-year:04-01", "time_zone": "Asia/Kolkata",
        "params": {"admin": {"digits": 3}, "channel": {"digits": 3}}}"#;
    define(&service, body).await?;
    let mut connections = Vec::new();
    for _ in 0..PAYMENTS {
        connections.push(Connection::open(&service.address).await?);
    }
    let start = Arc::new(tokio::sync::Barrier::new(connections.len()));
    let payers: Vec<_> = connections
        .into_iter()
        .zip(0..PAYMENTS)
        .map(|(connection, payment)| tokio::spawn(pay(connection, payment, start.clone())))
        .collect();
    let mut took = Histogram::<u64>::new(3)?;
    let mut numbers = BTreeSet::new();
    let mut replays = 0;
    for payer in payers {
        let (number, durations, replayed) = payer.await??;
        numbers.insert(number);
        replays += replayed;
        for duration in durations {
            took.record(u64::try_from(duration.as_micros())?)?;
        }
    }
    let duplicates = PAYMENTS - numbers.len() as u64;
    let gaps = gaps(&service).await?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let at = |quantile: f64| took.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "  duplicates {duplicates}, gaps {gaps}, replays marked {replays} of {}",
        2 * PAYMENTS
    );
    println!(
        "  p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    let holds = duplicates == 0 && gaps == 0 && replays == 2 * PAYMENTS && at(0.99) < 100.0;
    println!("  0 duplicates, 0 gaps, p99 < 100 ms: {}", verdict(holds));
    memory(&service).await
}

async fn memory(service: &Process) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    let callers: Vec<_> = (0..1_000u64)
        .map(|caller| {
            let address = service.address.clone();
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await?;
                let mut count = 0u64;
                while Instant::now() < until {
                    let body =
                        format!(r#"{{"key": "m_{caller}_{count}", "params": {{"admin": "1", "channel": "2"}}}}"#);
                    let answer = connection.post("/v1/series/invoice/entries", KEY, &body).await?;
                    ensure!(answer.status == 201, "{}", answer.body);
                    count += 1;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    let peak = peak_memory_mb(service.child.id());
    println!(
        "\nmemory under 1,000 concurrent callers: {peak:.0} MB (hold < 100): {}",
        verdict(peak < 100.0)
    );
    Ok(())
}

/// Sends one payment three times; its number, how long each took, and how often it was marked as a replay.
async fn pay(
    mut connection: Connection,
    payment: u64,
    start: Arc<tokio::sync::Barrier>,
) -> Result<(String, Vec<Duration>, u64)> {
    let body = format!(r#"{{"key": "pay_{payment}", "params": {{"admin": "11", "channel": "22"}}}}"#);
    let mut durations = Vec::new();
    let mut replayed = 0;
    let mut number = None;
    start.wait().await;
    for _ in 0..3 {
        let answer = connection.post("/v1/series/invoice/entries", KEY, &body).await?;
        ensure!(answer.status == 201, "{}", answer.body);
        durations.push(answer.took);
        replayed += u64::from(answer.replayed);
        let entry: serde_json::Value = serde_json::from_str(&answer.body)?;
        let got = entry["number"]
            .as_str()
            .context("the answer has no number")?
            .to_string();
        ensure!(
            number.as_ref().is_none_or(|number| *number == got),
            "payment {payment} has two numbers"
        );
        number = Some(got);
    }
    Ok((number.context("no number")?, durations, replayed))
}

/// How far the counter's last seq is from the count of its numbers.
async fn gaps(service: &Process) -> Result<u64> {
    let mut connection = Connection::open(&service.address).await?;
    let answer = connection.get("/v1/series/invoice/counters", KEY).await?;
    let page: serde_json::Value = serde_json::from_str(&answer.body)?;
    let counter = &page["data"][0];
    let last = counter["last_seq"].as_u64().context("the counter has no last_seq")?;
    let entries = connection.get("/v1/audit/summary", KEY).await?;
    let summary: serde_json::Value = serde_json::from_str(&entries.body)?;
    let total = summary["data"][0]["total"]
        .as_u64()
        .context("the summary has no total")?;
    Ok(last - total)
}
