//! What a real server measures and logs of gates, its own and those of workers who come over HTTP: who won, who came
//! too late, what failed, what was taken over, what is stale, how long it took.

mod process;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use process::{Answer, Server, cli, get, post, put};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../docs/reference/metrics.md");
const CONFIG: &str = r#"
attempts = 4
lease = "1s"
[sources.shop]
scheme = "razorpay"
series = "receipt"
secrets = ["topsecret"]
test = true
"#;

fn start(folder: &Path) -> Server {
    std::fs::write(folder.join("seriatim.toml"), CONFIG).unwrap();
    let server = Server::start(folder);
    let series = r#"{"format": "RCP-{seq:4}", "test": true}"#;
    assert_eq!(put(&server.address, "/v1/series/receipt", series).unwrap().status, 201);
    server
}

/// What is measured now.
struct Measured(String);

impl Measured {
    fn of(server: &Server) -> Self {
        Self(get(&server.address, "/metrics").unwrap().body)
    }

    /// The sum of all that have this name and these labels; 0 if there is none.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let is_it = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels
                    .iter()
                    .all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        let values = self
            .0
            .lines()
            .filter(is_it)
            .map(|line| line.rsplit(' ').next().unwrap());
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    fn events(&self, effect: &str, event: &str) -> u64 {
        self.value("seriatim_gate_events_total", &[("effect", effect), ("event", event)])
    }

    fn claims(&self, effect: &str, outcome: &str) -> u64 {
        self.value(
            "seriatim_gate_claims_total",
            &[("effect", effect), ("outcome", outcome)],
        )
    }

    fn names(&self) -> BTreeSet<&str> {
        let names = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        names.filter_map(|line| line.split(' ').next()).collect()
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{what} does not come about"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody's own worker claims a mail.
fn claim(server: &Server, subject: &str, holder: &str, ttl: &str, more: Value) -> Answer {
    let mut body = json!({"effect": "mail", "subject": subject, "holder": holder, "ttl": ttl});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(&server.address, "/v1/gates/claim", &body.to_string()).unwrap()
}

fn say(server: &Server, gate: &str, verb: &str, body: Value) -> u16 {
    let path = format!("/v1/gates/{gate}/{verb}");
    post(&server.address, &path, &body.to_string()).unwrap().status
}

#[test]
fn a_number_is_counted_once_whatever_becomes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let say = |path: &str, body: Value| {
        let answer = post(&server.address, path, &body.to_string()).unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.body);
        answer.json()["id"].as_str().unwrap_or_default().to_string()
    };
    let issued = say(
        "/v1/series/receipt/entries",
        json!({"key": "a", "document": {"total": 1}}),
    );
    let reserved = say("/v1/series/receipt/reservations", json!({"key": "b", "ttl": "1h"}));
    say(&format!("/v1/entries/{reserved}/confirm"), json!({}));
    say(&format!("/v1/entries/{issued}/redact"), json!({"reason": "asked to"}));
    assert_eq!(Measured::of(&server).value("seriatim_numbers_issued_total", &[]), 2);
    let void = json!({"reason_code": "rejected", "reason": "wrong address", "reissue": true});
    say(&format!("/v1/entries/{reserved}/void"), void);
    let void = json!({"reason_code": "spoiled", "reason": "torn"});
    say(&format!("/v1/entries/{issued}/void"), void);
    assert_eq!(Measured::of(&server).value("seriatim_numbers_issued_total", &[]), 3);
}

#[test]
fn what_workers_of_ones_own_do_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let keyed = || claim(&server, "a", "w1", "60s", json!({"key": "claim-1"}));
    let gate = keyed().json()["gate"]["id"].as_str().map(str::to_string).unwrap();
    assert_eq!(keyed().json()["outcome"], "won", "the same claim again");
    assert_eq!(claim(&server, "a", "w2", "60s", json!({})).json()["outcome"], "busy");
    let result = json!({"token": 1, "result": {"sent": true}});
    assert_eq!(say(&server, &gate, "complete", json!({"token": 7, "result": {}})), 409);
    assert_eq!(say(&server, &gate, "complete", result.clone()), 200);
    assert_eq!(
        say(&server, &gate, "complete", result),
        200,
        "the same completion again"
    );
    assert_eq!(claim(&server, "a", "w2", "60s", json!({})).json()["outcome"], "done");
    // A lease runs out and another takes over, fails, and gives up; later a person opens it again.
    claim(&server, "b", "w1", "1s", json!({}));
    std::thread::sleep(Duration::from_millis(1_100));
    let taken = claim(&server, "b", "w2", "60s", json!({})).json();
    let gate = taken["gate"]["id"].as_str().unwrap();
    assert_eq!(
        say(
            &server,
            gate,
            "fail",
            json!({"token": 2, "error": "no post", "give_up": true})
        ),
        200
    );
    assert_eq!(claim(&server, "b", "w3", "60s", json!({})).json()["outcome"], "dead");
    assert_eq!(say(&server, gate, "retry", json!({"reason": "there is post"})), 200);
    // The last lease of a gate runs out: it dies by a claim, and nobody failed.
    claim(&server, "c", "w1", "1s", json!({"attempts": 1}));
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(claim(&server, "c", "w2", "60s", json!({})).json()["outcome"], "dead");

    let measured = Measured::of(&server);
    for (event, count) in [
        ("opened", 3),
        ("claimed", 4),
        ("completed", 1),
        ("failed", 1),
        ("expired", 2),
        ("died", 2),
        ("retried", 1),
    ] {
        assert_eq!(measured.events("mail", event), count, "{event}\n{}", measured.0);
    }
    for (outcome, count) in [("won", 4), ("replayed", 1), ("busy", 1), ("done", 1), ("dead", 2)] {
        assert_eq!(measured.claims("mail", outcome), count, "{outcome}\n{}", measured.0);
    }
    assert_eq!(measured.value("seriatim_refusals_total", &[("code", "stale_token")]), 1);
    assert_eq!(measured.value("seriatim_conflicts_total", &[]), 0);
    assert!(
        measured.names().contains("seriatim_conflicts_total"),
        "that it is 0 can be seen"
    );
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.matches("a lease ran out").count(), 2, "{log}");
    assert_eq!(log.matches("a gate is dead").count(), 2, "{log}");
}

fn receipt(server: &Server) -> Value {
    get(&server.address, "/v1/payments/pay_1").unwrap().json()["receipt"].clone()
}

/// Five deliveries of a payment, whose receipt cannot be written at first.
fn pay(server: &Server) {
    let receipts = server.folder.join("data/receipts");
    let aside = server.folder.join("aside");
    std::fs::rename(&receipts, &aside).unwrap();
    std::fs::write(&receipts, "").unwrap();
    let document = json!({
        "currency": "INR", "locale": "en-IN", "seller": {"name": "Shop"},
        "lines": [{"description": "Tea", "quantity": 1, "unit_price": 100, "amount": 100}],
        "totals": {"subtotal": 100, "total": 100}
    });
    let expected = json!({"amount_minor": 100, "currency": "INR", "document": document}).to_string();
    assert_eq!(
        put(&server.address, "/v1/payments/pay_1", &expected).unwrap().status,
        200
    );
    let url = format!("http://{}/v1/webhooks/shop", server.address);
    let config = server.folder.join("seriatim.toml").display().to_string();
    let words =
        "webhook send razorpay payment.captured --source shop --payment pay_1 --amount 100 --currency INR --repeat 5";
    let words: Vec<&str> = ["--config", &config, "--to", &url]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    // Flags of a verb stand behind it.
    let (global, rest) = words.split_at(2);
    let (to, verb) = rest.split_at(2);
    let sent = cli(&server.folder, &[global, verb, to].concat());
    assert!(sent.status.success(), "{sent:?}");
    until("a failure", || receipt(server)["last_error"].is_string());
    std::fs::remove_file(&receipts).unwrap();
    std::fs::rename(&aside, &receipts).unwrap();
    until("a receipt", || receipt(server)["state"] == "done");
}

#[test]
fn what_became_of_a_payment_can_be_read_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    pay(&server);
    // What is done is counted when it is durable; a worker says so in the log a moment later.
    let times = |of: &Measured| of.value("seriatim_effect_duration_seconds_count", &[("effect", "receipt")]);
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    until("the last line of the log", || {
        log().matches(r#""message":"done""#).count() == 2
    });
    let measured = Measured::of(&server);
    let deliveries = |outcome| {
        let labels = [("source", "shop"), ("outcome", outcome)];
        measured.value("seriatim_webhook_deliveries_total", &labels)
    };
    assert_eq!(
        (deliveries("stored"), deliveries("duplicate")),
        (1, 4),
        "{}",
        measured.0
    );
    assert_eq!(
        (
            measured.events("receipt", "opened"),
            measured.events("receipt", "completed")
        ),
        (1, 1)
    );
    let failed = measured.events("receipt", "failed");
    assert!(failed > 0, "{}", measured.0);
    // Of all who won, one had success.
    assert_eq!(measured.claims("receipt", "won"), failed + 1, "{}", measured.0);
    assert_eq!(measured.events("receipt", "claimed"), failed + 1, "{}", measured.0);
    assert_eq!(measured.value("seriatim_conflicts_total", &[]), 0);
    assert_eq!(measured.value("seriatim_numbers_issued_total", &[]), 1);

    assert_eq!(times(&measured), failed + 1, "{}", measured.0);
    let log = log();
    let lines = |words: &str| log.lines().filter(|line| line.contains(words)).count() as u64;
    assert_eq!(lines("delivery skipped: delivered before"), 4, "{log}");
    assert_eq!(lines("reset after failure"), failed, "{log}");
    let claimed = measured.events("receipt", "claimed") + measured.events("payment-event", "claimed");
    assert_eq!(lines(r#""message":"won""#), claimed, "{log}");

    let unknown: Vec<&str> = measured
        .names()
        .into_iter()
        .filter(|name| !PAGE.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(
        unknown,
        [] as [&str; 0],
        "measured, and not in docs/reference/metrics.md"
    );
}

#[test]
fn a_number_that_was_only_rehearsed_is_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let adopt = |query: &str| {
        let body = json!({"items": [{"key": "a", "number": "RCP-0007", "date": "2026-04-01"}]}).to_string();
        let path = format!("/v1/series/receipt/adopt/batch{query}");
        let answer = post(&server.address, &path, &body).unwrap();
        assert!(answer.status < 300, "{}", answer.body);
        Measured::of(&server).value("seriatim_numbers_issued_total", &[])
    };
    assert_eq!(adopt("?dry_run=true"), 0);
    assert_eq!(adopt(""), 1);
    let measured = Measured::of(&server);
    for outcome in ["rehearsed", "done"] {
        let labels = [("verb", "adopt"), ("outcome", outcome)];
        assert_eq!(measured.value("seriatim_commands_total", &labels), 1, "{outcome}");
    }
}

/// A command that took many of them was counted as one, and one that adopted them not at all.
#[test]
fn each_number_near_the_end_or_behind_it_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let series = r#"{"format": "A-{seq:2}", "date_window": "-4000d..+32d", "test": true}"#;
    assert_eq!(put(&server.address, "/v1/series/short", series).unwrap().status, 201);
    let near_and_wide = || {
        let measured = Measured::of(&server);
        ["near_limit", "widened"].map(|name| {
            let name = format!("seriatim_{name}_total");
            assert!(
                measured.0.contains(&format!("\n{name} ")),
                "{name} is not there from the start"
            );
            measured.value(&name, &[])
        })
    };
    let say = |path: &str, body: Value| {
        let answer = post(&server.address, &format!("/v1/{path}"), &body.to_string()).unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.body);
        answer.json()["data"][0]["id"].as_str().unwrap_or_default().to_string()
    };
    let names = ["store_retries", "unknown_commits"].map(|name| format!("seriatim_{name}_total"));
    assert!(
        names
            .iter()
            .all(|name| Measured::of(&server).names().contains(name.as_str()))
    );
    assert_eq!(near_and_wide(), [0, 0]);
    let item = |number: &str| json!({"key": number, "number": number, "date": "2026-04-01"});
    let items = json!({"items": [item("A-90"), item("A-91"), item("A-92")]});
    say("series/short/adopt/batch", items.clone());
    assert_eq!(near_and_wide(), [2, 0], "the last tenth of 99 is 91 to 99");
    let first = say("series/short/entries/batch", json!({"key": "a", "count": 15}));
    assert_eq!(near_and_wide(), [9, 8], "93 to 99, and 100 to 107");
    // Given again, or changed: taken before.
    say("series/short/adopt/batch", items);
    say("series/short/entries/batch", json!({"key": "a", "count": 15}));
    say(
        &format!("entries/{first}/void"),
        json!({"reason_code": "spoiled", "reason": "torn"}),
    );
    assert_eq!(near_and_wide(), [9, 8]);
}

/// A status without a label of its own hides among `other`, where no alert looks for it.
#[test]
fn a_status_has_a_label_and_a_large_delivery_is_counted_and_logged() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let large = "x".repeat((1 << 20) + 1);
    // It is refused by its announced length, perhaps while we still write.
    let _ = post(&server.address, "/v1/webhooks/shop", &large);
    let refused = || Measured::of(&server).value("seriatim_http_requests_total", &[("status", "413")]);
    until("a refusal", || refused() == 1);
    assert_eq!(post(&server.address, "/v1/series", "{}").unwrap().status, 405);
    let measured = Measured::of(&server);
    let labels = [("source", "shop"), ("outcome", "body_too_large")];
    assert_eq!(measured.value("seriatim_webhook_deliveries_total", &labels), 1);
    assert_eq!(measured.value("seriatim_http_requests_total", &[("status", "405")]), 1);
    assert_eq!(
        measured.value("seriatim_http_requests_total", &[("status", "other")]),
        0
    );
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let refused = log.lines().find(|line| line.contains("delivery refused"));
    let refused = refused.unwrap_or_else(|| panic!("{log}"));
    assert!(
        refused.contains("\"reason\":\"body_too_large\"") && refused.contains("1048576"),
        "{refused}"
    );
}
