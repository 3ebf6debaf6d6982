//! One payment: fifty callers at once, and who asks for its receipt's gate meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use seriatim::{Clock as _, SystemClock, Timestamp};
use sha2::Sha256;
use tokio::sync::Barrier;

use crate::process::{KEY, Process};
use crate::service::SECRET;
use crate::wire::{Connection, Response};

pub const AMOUNT: i64 = 49_900;
const CALLERS: usize = 50;

/// What callers were told, in microseconds.
pub struct Told {
    pub webhooks: Histogram<u64>,
    pub verifications: Histogram<u64>,
    pub during: Histogram<u64>,
    pub claims: Histogram<u64>,
    pub pdf: Histogram<u64>,
    /// Results of receipts.
    pub completed: usize,
}

impl Default for Told {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that are in order");
        Self {
            webhooks: empty(),
            verifications: empty(),
            during: empty(),
            claims: empty(),
            pdf: empty(),
            completed: 0,
        }
    }
}

impl Told {
    pub fn add(&mut self, other: Self) {
        self.webhooks += other.webhooks;
        self.verifications += other.verifications;
        self.during += other.during;
        self.claims += other.claims;
        self.pdf += other.pdf;
        self.completed += other.completed;
    }
}

/// Seconds, as providers write them.
pub fn at() -> u64 {
    micros().unsigned_abs() / 1_000_000
}

fn micros() -> i64 {
    SystemClock.now().as_micros()
}

/// When it was answered, and how long that took.
struct Answered {
    is_webhook: bool,
    at: i64,
    took: Duration,
}

/// Everybody at once; then what came of it.
pub async fn run(nodes: &[Process], payment: &str) -> Result<Told> {
    expect(&nodes[0], payment).await?;
    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let connection = Connection::open(&nodes[caller % nodes.len()].address).await?;
        // By pairs, so that each node gets both kinds.
        let is_webhook = caller % 2 == 0;
        callers.push(tokio::spawn(call(
            connection,
            payment.to_string(),
            is_webhook,
            start.clone(),
        )));
    }
    let mut told = Told::default();
    let gate = claim_meanwhile(&nodes[nodes.len() - 1], payment, &mut told).await?;
    let (from, to) = made(&gate)?;
    told.pdf.record(u64::try_from(to - from)?)?;
    told.completed = kinds(&gate).filter(|kind| *kind == "completed").count();
    for caller in callers {
        let answered = caller.await??;
        let took = u64::try_from(answered.took.as_micros())?;
        let of_kind = if answered.is_webhook {
            &mut told.webhooks
        } else {
            &mut told.verifications
        };
        of_kind.record(took)?;
        if (from..=to).contains(&answered.at) {
            told.during.record(took)?;
        }
    }
    Ok(told)
}

async fn expect(node: &Process, payment: &str) -> Result<()> {
    let body = json!({"amount_minor": AMOUNT, "currency": "INR", "document": {
        "currency": "INR", "locale": "en-IN", "seller": {"name": "Shop"},
        "lines": [{"description": "Tea", "quantity": 1, "unit_price": AMOUNT, "amount": AMOUNT}],
        "totals": {"subtotal": AMOUNT, "total": AMOUNT}}});
    let mut connection = Connection::open(&node.address).await?;
    let path = format!("/v1/payments/{payment}");
    must_be_ok(&connection.put(&path, KEY, &body.to_string()).await?)
}

fn must_be_ok(answer: &Response) -> Result<()> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    Ok(())
}

async fn call(mut connection: Connection, payment: String, is_webhook: bool, start: Arc<Barrier>) -> Result<Answered> {
    let (path, headers, body) = if is_webhook {
        let body = json!({"entity": "event", "event": "payment.captured", "created_at": at(), "payload": {"payment":
            {"entity": {"id": payment, "entity": "payment", "amount": AMOUNT, "currency": "INR", "status": "captured",
            "captured": true, "created_at": at()}}}})
        .to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
        mac.update(body.as_bytes());
        let signature: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let headers = format!("x-razorpay-signature: {signature}\r\nx-razorpay-event-id: evt_{payment}\r\n");
        ("/v1/webhooks/shop".to_string(), headers, body)
    } else {
        let headers = format!("authorization: Bearer {KEY}\r\n");
        (format!("/v1/payments/{payment}/verify"), headers, String::new())
    };
    start.wait().await;
    let answer = connection.post_with(&path, &headers, &body).await?;
    let at = micros();
    must_be_ok(&answer)?;
    Ok(Answered {
        is_webhook,
        at,
        took: answer.took,
    })
}

/// As soon as somebody makes the receipt, claims a gate beside it that is held, again and again, and hears `busy`, until
/// the receipt is done; its gate. Its own gate is claimed by the service alone.
async fn claim_meanwhile(node: &Process, payment: &str, told: &mut Told) -> Result<Value> {
    let mut connection = Connection::open(&node.address).await?;
    let claim =
        |holder: &str| json!({"effect": "beside", "subject": payment, "ttl": "1h", "holder": holder}).to_string();
    must_be_ok(&connection.post("/v1/gates/claim", KEY, &claim("first")).await?)?;
    let ask = claim("too late");
    let started = Instant::now();
    loop {
        ensure!(started.elapsed() < Duration::from_secs(60), "{payment} gets no receipt");
        let answer = connection.get(&format!("/v1/payments/{payment}"), KEY).await?;
        let shown: Value = serde_json::from_str(&answer.body)?;
        match shown["receipt"]["state"].as_str() {
            Some("claimed") => {
                let answer = connection.post("/v1/gates/claim", KEY, &ask).await?;
                must_be_ok(&answer)?;
                let outcome: Value = serde_json::from_str(&answer.body)?;
                ensure!(outcome["outcome"] != "won", "{}", answer.body);
                if outcome["outcome"] == "busy" {
                    told.claims.record(u64::try_from(answer.took.as_micros())?)?;
                }
            }
            Some("done") => {
                let gate = shown["receipt"]["gate"].as_str().context("a gate")?;
                let answer = connection.get(&format!("/v1/gates/{gate}"), KEY).await?;
                return Ok(serde_json::from_str(&answer.body)?);
            }
            // Not so far yet; the looks must not be what everybody waits for.
            Some(_) | None => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

fn kinds(gate: &Value) -> impl Iterator<Item = &str> {
    let events = gate["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["kind"].as_str())
}

/// From when to when the PDF was made, as the journal has it, in microseconds.
fn made(gate: &Value) -> Result<(i64, i64)> {
    let at = |kind: &str| {
        let events = gate["events"].as_array().context("events")?;
        let event = events.iter().find(|event| event["kind"] == kind).context("the event")?;
        let at: Timestamp = event["at"].as_str().context("a time")?.parse()?;
        anyhow::Ok(at.as_micros())
    };
    Ok((at("claimed")?, at("completed")?))
}
