//! What a receipt costs: `cargo xtask bench receipts`.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use seriatim_receipt::{Folder, Issued, Pool, PoolOptions, Receipt, sample};

const RECEIPTS: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let program = env!("CARGO_BIN_EXE_seriatim-render-receipts");
    let options = PoolOptions {
        children_max: 1,
        ..PoolOptions::new(program, [""; 0])
    };
    let begun = Instant::now();
    let pool = Pool::start(Folder::builtin(), options)?;
    let start = begun.elapsed();
    let mut times = Vec::with_capacity(RECEIPTS);
    let mut bytes = 0;
    for at in 0..RECEIPTS {
        let document = document(at);
        let begun = Instant::now();
        let receipt = Receipt::read(&document, issued(at)?, sample::paid())?;
        bytes += pool.render(&receipt)?.len();
        times.push(begun.elapsed());
    }
    report(start, times, bytes);
    for child in pool.idle() {
        say("peak memory of the child", peak(&child.to_string())?);
    }
    say("peak memory of the parent", peak("self")?);
    Ok(())
}

fn report(start: Duration, mut times: Vec<Duration>, bytes: usize) {
    let total: Duration = times.iter().sum();
    times.sort();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    say("start of a child, until the template is compiled", ms(start));
    say(
        "receipts, one after the other, each unlike the others",
        times.len().to_string(),
    );
    say("median", ms(at(50)));
    say("p99", ms(at(99)));
    say("slowest", times.last().copied().map(ms).unwrap_or_default());
    say("all", format!("{:.1} s", total.as_secs_f64()));
    say("size of a PDF", format!("{} KiB", bytes / RECEIPTS / 1024));
}

#[allow(clippy::print_stdout, reason = "figures are for reading")]
fn say(what: &str, figure: String) {
    println!("{what:<55} {figure}");
}

/// The most that a process ever had in memory.
fn peak(process: &str) -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.ok_or("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    Ok(format!("{} MiB", kib / 1024))
}

fn issued(at: usize) -> Result<Issued, Box<dyn Error>> {
    Ok(Issued {
        number: format!("INV-2526-{:05}", at + 1),
        date: "2025-11-20".parse()?,
    })
}

/// The sample with other people, one to twelve lines, other amounts.
fn document(at: usize) -> String {
    let mut document: Value = serde_json::from_str(sample::DOCUMENT).unwrap_or_default();
    let line = |n: usize| {
        let price = 10_000 + 37 * at + 1_000 * n;
        json!({
            "description": format!("Article {at}-{n} with a description of usual length"), "code": "30049011",
            "quantity": n, "unit": "pc", "unit_price": price, "amount": price * n,
        })
    };
    let count = 1 + at % 12;
    let subtotal: usize = (1..=count).map(|n| (10_000 + 37 * at + 1_000 * n) * n).sum();
    let tax = subtotal * 18 / 100;
    document["buyer"]["name"] = json!(format!("श्रीमती कृष्णा क्षत्रिय {at}"));
    document["lines"] = (1..=count).map(line).collect();
    document["discounts"] = json!([]);
    document["taxes"] = json!([{"label": "IGST", "rate": 18, "base": subtotal, "amount": tax}]);
    document["totals"] = json!({"subtotal": subtotal, "tax": tax, "total": subtotal + tax});
    document.to_string()
}
