//! Three real servers on one database take in payments: fifty deliveries of each to whichever is there, while one of
//! them is killed or paused past its leases at random. One number, one result, one receipt each. `SERIATIM_NODE_KILLS`
//! says how often (6; CI: 20).

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use ::seriatim::Issuer;
use ::seriatim::store::postgres::{Postgres as Stored, PostgresOptions};
use rand::RngExt as _;
use seriatim_servers_tests::{Postgres, provider};

use super::client::{KEY, call};
use super::seriatim::{Desk, Service};

const NODES: usize = 3;
const CONFIG: &str = r#"
lease = "1s"
[sources.shop]
scheme = "razorpay"
series = "receipt"
secrets = ["topsecret"]
test = true
"#;

fn start(desk: &Desk, url: &str) -> (Service, String) {
    // Receipts lie where all nodes find them.
    let service = desk.serve_with(
        &["--store", url, "--receipts-dir", "receipts"],
        &[("SERIATIM_ADMIN_KEY", KEY)],
    );
    let address = service.url.trim_start_matches("http://").to_string();
    (service, address)
}

pub(super) async fn expect(address: &str, payment: &str) {
    let body = r#"{"amount_minor": 100, "currency": "INR", "document": {"currency": "INR", "seller": {"name": "Shop"},
        "lines": [{"description": "Tea", "quantity": 1, "unit_price": 100, "amount": 100}],
        "totals": {"subtotal": 100, "total": 100}}}"#;
    let answer = call(address, "PUT", &format!("/v1/payments/{payment}"), body)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// So many deliveries of the same event to each node.
pub(super) fn deliver(desk: &Desk, addresses: &[String], payment: &str, repeat: u32) -> Vec<std::process::Child> {
    let repeat = repeat.to_string();
    let to = |address: &String| {
        let url = format!("http://{address}/v1/webhooks/shop");
        desk.spawn(&[
            "webhook",
            "send",
            "razorpay",
            "payment.captured",
            "--source",
            "shop",
            "--payment",
            payment,
            "--amount",
            "100",
            "--currency",
            "INR",
            "--to",
            &url,
            "--repeat",
            &repeat,
            "--parallel",
        ])
    };
    addresses.iter().map(to).collect()
}

async fn receipt(address: &str, payment: &str) -> Option<String> {
    let answer = call(address, "GET", &format!("/v1/payments/{payment}"), "")
        .await
        .ok()?;
    let body: serde_json::Value = serde_json::from_str(&answer.text).ok()?;
    Some(body["receipt"]["href"].as_str()?.to_string())
}

pub(super) fn signal(service: &Service, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(service.process().to_string())
        .status();
    assert!(sent.is_ok_and(|status| status.success()));
}

async fn start_three(desk: &Desk, url: &str, config: &str) -> Vec<(Service, String)> {
    std::fs::write(desk.path().join("seriatim.toml"), config).expect("a file");
    let nodes: Vec<(Service, String)> = (0..NODES).map(|_| start(desk, url)).collect();
    let series = r#"{"format": "RCP-{seq:4}", "test": true}"#;
    let defined = call(&nodes[0].1, "PUT", "/v1/series/receipt", series).await;
    assert_eq!(defined.expect("an answer").status, 201);
    nodes
}

async fn until_receipt(address: &str, payment: &str) -> String {
    let started = Instant::now();
    loop {
        if let Some(href) = receipt(address, payment).await {
            return href;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{payment} gets no receipt");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What `cargo xtask bench once` measures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_who_come_at_once_to_three_servers_half_by_verify_all_are_answered_and_one_receipt_is_made() {
    const PAYMENTS: usize = 4;
    let server = Postgres::start();
    let url = server.url_of(&server.create_database());
    let desk = Desk::new();
    let port = provider::start(100, 1_774_958_400).await.expect("a port");
    let status = format!(
        "status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:{port}\"\nstatus_id = \"me\"\nstatus_secret = \"mine\"\n"
    );
    let nodes = start_three(&desk, &url, &format!("{CONFIG}{status}")).await;
    let addresses: Vec<String> = nodes.iter().map(|(_, address)| address.clone()).collect();
    for i in 0..PAYMENTS {
        let payment = format!("pay_{i}");
        expect(&addresses[0], &payment).await;
        let mut senders = deliver(&desk, &addresses[..1], &payment, 9);
        senders.extend(deliver(&desk, &addresses[1..], &payment, 8));
        let verifying: Vec<_> = (0..25)
            .map(|caller| {
                let (address, path) = (
                    addresses[caller % NODES].clone(),
                    format!("/v1/payments/{payment}/verify"),
                );
                tokio::spawn(async move { call(&address, "POST", &path, "").await })
            })
            .collect();
        let mut numbers = BTreeSet::new();
        for verified in verifying {
            let answer = verified.await.expect("it ends").expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text);
            numbers.insert(answer.field("number"));
        }
        assert_eq!(numbers, BTreeSet::from([format!("RCP-{:04}", i + 1)]));
        for mut sender in senders {
            assert!(sender.wait().expect("it ends").success(), "a webhook was refused");
        }
        let href = until_receipt(&addresses[0], &payment).await;
        for address in &addresses {
            assert_eq!(call(address, "GET", &href, "").await.expect("an answer").status, 200);
        }
        let shown = call(&addresses[0], "GET", &format!("/v1/payments/{payment}"), "").await;
        let shown: serde_json::Value = serde_json::from_str(&shown.expect("an answer").text).expect("JSON");
        let gate = shown["receipt"]["gate"].as_str().expect("a gate").to_string();
        let ended = call(&addresses[1], "GET", &format!("/v1/gates/{gate}"), "").await;
        let ended: serde_json::Value = serde_json::from_str(&ended.expect("an answer").text).expect("JSON");
        let kinds = ended["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| event["kind"].as_str());
        assert_eq!(kinds.filter(|kind| *kind == Some("completed")).count(), 1, "{ended}");
        let files = std::fs::read_dir(desk.path().join("receipts").join(gate)).expect("a folder");
        assert_eq!(files.count(), 1);
    }
    let list = call(&addresses[2], "GET", "/v1/entries?series=receipt", "").await;
    let list: serde_json::Value = serde_json::from_str(&list.expect("an answer").text).expect("JSON");
    assert_eq!(list["data"].as_array().map(Vec::len), Some(PAYMENTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_make_each_receipt_once_though_they_are_killed_and_paused() {
    let kills: usize = std::env::var("SERIATIM_NODE_KILLS").map_or(6, |kills| kills.parse().expect("a number"));
    let server = Postgres::start();
    let url = server.url_of(&server.create_database());
    let desk = Desk::new();
    let mut nodes = start_three(&desk, &url, CONFIG).await;
    for i in 0..kills {
        let payment = format!("pay_{i}");
        expect(&nodes[0].1, &payment).await;
        let addresses: Vec<String> = nodes.iter().map(|(_, address)| address.clone()).collect();
        let senders = deliver(&desk, &addresses, &payment, 17);
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..400))).await;
        let victim = rand::rng().random_range(0..NODES);
        if i % 2 == 0 {
            drop(nodes.remove(victim));
            nodes.push(start(&desk, &url));
        } else {
            // Past its leases: another takes over, and what it says when it wakes up comes too late.
            signal(&nodes[victim].0, "STOP");
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            signal(&nodes[victim].0, "CONT");
        }
        for mut sender in senders {
            // Who spoke to the one that was killed has failed, and a provider sends again.
            let _ = sender.wait();
        }
        let addresses: Vec<String> = nodes.iter().map(|(_, address)| address.clone()).collect();
        for mut sender in deliver(&desk, &addresses, &payment, 17) {
            assert!(sender.wait().expect("it ends").success());
        }
    }
    for i in 0..kills {
        let href = until_receipt(&nodes[0].1, &format!("pay_{i}")).await;
        for (_, address) in &nodes {
            assert_eq!(call(address, "GET", &href, "").await.expect("an answer").status, 200);
        }
    }
    let store = Stored::open(&url, PostgresOptions::default()).await.expect("a store");
    let issuer = Issuer::open(store).await.expect("it can be read");
    let entries = issuer
        .reads()
        .entries(&Default::default(), 500)
        .await
        .expect("it can be read")
        .rows;
    let numbers: BTreeSet<String> = entries.iter().map(|entry| entry.number.to_string()).collect();
    assert_eq!((entries.len(), numbers.len()), (kills, kills));
    let report = ::seriatim::verify::verify(issuer.reads(), &Default::default(), &|_| {})
        .await
        .expect("it can be read");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}
