//! What a caller hears whose answer does not come in time: whether it may have happened, and whether the same request may
//! be sent again.

mod http;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::World;
use serde_json::{Value, json};
use seriatim::{Clock, Issuer, Memory, Options, SystemClock, Timestamp};
use seriatim_server::app::{App, AppOptions};
use seriatim_server::routes::router;

/// A clock that takes as many milliseconds as it is told, and with it whoever decides by it.
#[derive(Default)]
struct Slow(AtomicU64);

impl Clock for Slow {
    fn now(&self) -> Timestamp {
        std::thread::sleep(Duration::from_millis(self.0.load(Ordering::Acquire)));
        SystemClock.now()
    }
}

/// A service whose callers wait for 100 ms, with one number.
async fn furnished() -> (World, Arc<Slow>, String) {
    let clock = Arc::new(Slow::default());
    let options = Options {
        deadline: Duration::from_millis(100),
        clock: clock.clone(),
        ..Options::default()
    };
    let issuer = Issuer::with(Arc::new(Memory::new()), options).await.unwrap();
    let app = App::new(issuer, AppOptions::default());
    let world = World {
        router: router(app.clone()),
        app,
    };
    let series = json!({"format": "INV-{seq:3}", "keys": "optional"});
    world.put("/v1/series/invoice", series).await.is(201);
    let entry = world.issue("invoice", json!({"key": "first"})).await.text("id");
    (world, clock, entry)
}

/// One command whose commit takes longer than its caller waits, sent once and then again.
async fn twice(method: &str, path: &str, body: Value) -> (Value, Value) {
    let (world, clock, entry) = furnished().await;
    let path = path.replace("ENTRY", &entry);
    clock.0.store(250, Ordering::Release);
    let lost = world.ask(method, &path).json(&body).send().await;
    let lost = lost.problem(503, "unknown_outcome");
    assert_eq!(lost.text("outcome"), "unknown");
    clock.0.store(0, Ordering::Release);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = world.ask(method, &path).json(&body).send().await;
    (lost.json, again.json)
}

fn is_said(lost: &Value, retry: &str, words: &str) {
    assert_eq!(lost["retry"], retry, "{lost}");
    let detail = lost["detail"].as_str().unwrap();
    assert!(detail.contains(words), "{lost}");
    assert!(detail.starts_with("the commit was not confirmed within 1"), "{lost}");
    assert!(detail.split(';').next().unwrap().len() < 50, "{lost}");
}

const ENTRIES: &str = "/v1/series/invoice/entries";

/// A caller without a key was told to ask again with the same key; he did, and had two numbers.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_number_is_not_asked_for_again() {
    for (path, body) in [
        (ENTRIES, json!({})),
        ("/v1/series/invoice/entries/batch", json!({"count": 2})),
        ("/v1/series/invoice/entries/batch", json!({"items": [{"key": "a"}, {}]})),
        ("/v1/series/invoice/reservations", json!({"ttl": "1h"})),
        ("/v1/keys", json!({"label": "till", "scopes": ["issue"]})),
    ] {
        let (lost, _) = twice("POST", path, body).await;
        is_said(&lost, "never", "look whether it is there before you send it again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_key_a_number_is_asked_for_again_and_is_the_same() {
    for (path, body) in [
        (ENTRIES, json!({"key": "a"})),
        ("/v1/series/invoice/entries/batch", json!({"key": "a", "count": 1})),
        ("/v1/series/invoice/entries/batch", json!({"items": [{"key": "a"}]})),
        ("/v1/series/invoice/reservations", json!({"key": "a", "ttl": "1h"})),
        (
            "/v1/gates/claim",
            json!({"key": "a", "effect": "receipt", "subject": "pay_1", "ttl": "1m", "holder": "w"}),
        ),
    ] {
        let (lost, again) = twice("POST", path, body).await;
        is_said(&lost, "retry_same_key", "ask again with the same key");
        let entry = if again["data"].is_array() {
            &again["data"][0]
        } else {
            &again
        };
        let is_the_first = entry["number"] == "INV-002" || again["token"] == 1;
        assert!(is_the_first, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_happen_twice_is_sent_again_and_says_what_became_of_it() {
    let void = json!({"reason_code": "spoiled", "reason": "blot", "reissue": true});
    for (method, path, body, said) in [
        ("POST", "/v1/entries/ENTRY/void", void, "already_voided"),
        (
            "POST",
            "/v1/series/invoice/advance",
            json!({"to": 9, "reason": "books"}),
            "advance_too_low",
        ),
        (
            "POST",
            "/v1/periods/close",
            json!({"series": "invoice", "period": "all", "reason": "audited"}),
            "period_closed",
        ),
        (
            "POST",
            "/v1/series/invoice/adopt",
            json!({"number": "INV-009", "date": "2026-01-01"}),
            "",
        ),
    ] {
        let (lost, again) = twice(method, path, body).await;
        is_said(&lost, "retry", "send it again, and the answer says whether it had");
        let code = again["code"].as_str().unwrap();
        assert!(said.is_empty() || code == said, "{again}");
    }
}

/// Who waited by `Prefer` for longer than requests under way may take when the server ends was cut off without an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_shortens_a_long_wait_to_the_usual_deadline() {
    let (world, clock, _) = furnished().await;
    clock.0.store(3_000, Ordering::Release);
    let began = Instant::now();
    let body = json!({"key": "a"});
    let ask = world
        .ask("POST", ENTRIES)
        .header("prefer", "wait=20")
        .json(&body)
        .send();
    let (answer, ()) = tokio::join!(ask, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        clock.0.store(0, Ordering::Release);
        world.app.begin_shutdown();
    });
    answer.problem(503, "unknown_outcome");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
