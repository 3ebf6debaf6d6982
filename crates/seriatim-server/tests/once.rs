//! A real server takes in payments: many deliveries of one payment are one number and one receipt, also when it is
//! killed at random, when nothing was expected yet, and when somebody must look first. `SERIATIM_KILLS` as in the crash
//! test, at most forty here.

mod process;
mod provider;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::{Answer, Server, call_as, cli, get, post, put};
use serde_json::{Value, json};

const CONFIG: &str = r#"
lease = "1s"
[sources.shop]
scheme = "razorpay"
series = "receipt"
secrets = ["topsecret"]
test = true
"#;
const SERIES: &str = r#"{"format": "RCP-{seq:4}", "test": true}"#;

fn start(folder: &Path) -> Server {
    start_with(folder, CONFIG)
}

fn start_with(folder: &Path, config: &str) -> Server {
    std::fs::write(folder.join("seriatim.toml"), config).unwrap();
    let server = Server::start(folder);
    assert_eq!(put(&server.address, "/v1/series/receipt", SERIES).unwrap().status, 201);
    server
}

fn document(total: i64) -> Value {
    json!({
        "currency": "INR", "locale": "en-IN", "seller": {"name": "Shop"},
        "lines": [{"description": "Tea", "quantity": 1, "unit_price": total, "amount": total}],
        "totals": {"subtotal": total, "total": total}
    })
}

fn expect(server: &Server, payment: &str, total: i64) -> Answer {
    let body = json!({"amount_minor": total, "currency": "INR", "document": document(total)}).to_string();
    put(&server.address, &format!("/v1/payments/{payment}"), &body).unwrap()
}

/// Plays the provider, as often as it likes.
fn deliver(server: &Server, event: &str, payment: &str, amount: i64, repeat: u32) -> std::process::Output {
    let (amount, repeat) = (amount.to_string(), repeat.to_string());
    let url = format!("http://{}/v1/webhooks/shop", server.address);
    let config = server.folder.join("seriatim.toml").display().to_string();
    let arguments = [
        "--config",
        &config,
        "webhook",
        "send",
        "razorpay",
        event,
        "--source",
        "shop",
        "--payment",
        payment,
        "--amount",
        &amount,
        "--currency",
        "INR",
        "--to",
        &url,
        "--repeat",
        &repeat,
        "--parallel",
    ];
    cli(&server.folder, &arguments)
}

fn payment(server: &Server, payment: &str) -> Value {
    get(&server.address, &format!("/v1/payments/{payment}")).unwrap().json()
}

fn until(server: &Server, name: &str, what: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        // It may be starting again.
        if let Ok(answer) = get(&server.address, &format!("/v1/payments/{name}"))
            && answer.status == 200
            && what(&answer.json())
        {
            return answer.json();
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{}", payment(server, name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has_receipt(payment: &Value) -> bool {
    payment["receipt"]["state"] == "done"
}

fn entries(server: &Server) -> Vec<Value> {
    let list = get(&server.address, "/v1/entries?series=receipt&limit=500")
        .unwrap()
        .json();
    list["data"].as_array().unwrap().clone()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for gate in std::fs::read_dir(folder.join("data/receipts")).unwrap() {
        let gate = gate.unwrap().path();
        for file in std::fs::read_dir(&gate).into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "pdf") {
                found.insert(file.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

fn must_verify(server: &Server) {
    let verified = cli(&server.folder, &["verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn many_deliveries_of_one_payment_are_one_number_and_one_receipt() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    assert_eq!(expect(&server, "pay_1", 49_900).status, 200);
    let sent = deliver(&server, "payment.captured", "pay_1", 49_900, 50);
    assert!(sent.status.success(), "{sent:?}");
    // What came first must not swallow what counts.
    let sent = deliver(&server, "payment.authorized", "pay_1", 49_900, 3);
    assert!(sent.status.success(), "{sent:?}");
    let paid = until(&server, "pay_1", has_receipt);
    assert_eq!((&paid["state"], &paid["number"]), (&json!("paid"), &json!("RCP-0001")));
    let href = paid["receipt"]["href"].as_str().unwrap();
    let served = get(&server.address, href).unwrap();
    assert!(
        served.status == 200 && served.body.starts_with("%PDF-"),
        "{} {}",
        served.status,
        served.body
    );
    assert_eq!(entries(&server).len(), 1);
    assert_eq!(files(folder.path()).len(), 1);
    must_verify(&server);
}

#[test]
fn what_is_authorized_first_is_captured_later() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    expect(&server, "pay_1", 100);
    assert!(deliver(&server, "payment.authorized", "pay_1", 100, 2).status.success());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(payment(&server, "pay_1")["state"], "expected");
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 2).status.success());
    until(&server, "pay_1", has_receipt);
}

#[test]
fn what_differs_is_held_until_somebody_has_looked() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    expect(&server, "pay_1", 100);
    assert!(deliver(&server, "payment.captured", "pay_1", 99, 1).status.success());
    let started = Instant::now();
    let held = loop {
        let gates = get(&server.address, "/v1/gates?state=dead").unwrap().json();
        if let Some(gate) = gates["data"].get(0) {
            break gate.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is held");
        std::thread::sleep(Duration::from_millis(20));
    };
    let why = held["last_error"].as_str().unwrap();
    assert!(why.contains("99 INR were paid, 100 INR are expected"), "{why}");
    assert_eq!(entries(&server).len(), 0);
    // The shop was wrong: it says so, and somebody lets it go on.
    assert_eq!(expect(&server, "pay_1", 99).status, 200);
    let id = held["id"].as_str().unwrap();
    let retried = cli(
        &server.folder,
        &["gate", "retry", id, "--reason", "the price was changed"],
    );
    assert!(retried.status.success(), "{retried:?}");
    until(&server, "pay_1", has_receipt);
    // Once it is paid, nothing else can be expected of it.
    let late = expect(&server, "pay_1", 5);
    assert_eq!((late.status, late.text("code")), (409, "gate_fixed".to_string()));
}

#[test]
fn what_nobody_expected_yet_waits() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 1).status.success());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(get(&server.address, "/v1/payments/pay_1").unwrap().status, 404);
    expect(&server, "pay_1", 100);
    until(&server, "pay_1", has_receipt);
}

#[test]
fn a_server_that_is_killed_at_random_makes_each_receipt_once() {
    let kills = std::env::var("SERIATIM_KILLS")
        .map_or(6, |kills| kills.parse().unwrap_or(6))
        .min(40);
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path());
    for i in 0..kills {
        let name = format!("pay_{i}");
        expect(&server, &name, 100 + i64::from(i));
        assert!(
            deliver(&server, "payment.captured", &name, 100 + i64::from(i), 2)
                .status
                .success()
        );
        // Before the claim, in the middle of the number or of the PDF, before or after its result.
        std::thread::sleep(Duration::from_millis(rand::random::<u64>() % 250));
        server.kill();
        server.start_again();
    }
    for i in 0..kills {
        let is_over = |payment: &Value| has_receipt(payment) && payment["state"] == "paid";
        let paid = until(&server, &format!("pay_{i}"), is_over);
        let served = get(&server.address, paid["receipt"]["href"].as_str().unwrap()).unwrap();
        assert_eq!(served.status, 200, "{}", served.body);
    }
    let numbers: BTreeSet<String> = entries(&server)
        .iter()
        .map(|entry| entry["number"].to_string())
        .collect();
    assert_eq!(
        (entries(&server).len(), numbers.len()),
        (kills as usize, kills as usize)
    );
    must_verify(&server);
}

#[test]
fn what_is_not_believed_or_not_understood_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    let unsigned = post(&server.address, "/v1/webhooks/shop", r#"{"event": "payment.captured"}"#).unwrap();
    assert_eq!(
        (unsigned.status, unsigned.text("code")),
        (401, "invalid_signature".to_string())
    );
    let unknown = post(&server.address, "/v1/webhooks/nobody", "{}").unwrap();
    assert_eq!(
        (unknown.status, unknown.text("code")),
        (404, "unknown_source".to_string())
    );
    // What is announced as too large is refused before it is read.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = "POST /v1/webhooks/shop HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 1048577\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"),
        "{answer}"
    );
    for (body, code) in [
        (r#"{"amount_minor": -1, "currency": "INR"}"#, "invalid_payment"),
        (r#"{"amount_minor": 1, "currency": "rupees"}"#, "invalid_payment"),
        (r#"{"amount_minor": 1.5, "currency": "INR"}"#, "wrong_type"),
        (r#"{"amount_minor": 1}"#, "missing_field"),
        (r#"{"amount_minor": 1, "currency": "INR", "x": 1}"#, "unknown_field"),
    ] {
        let answer = put(&server.address, "/v1/payments/pay_1", body).unwrap();
        assert_eq!((answer.status, answer.text("code")), (400, code.to_string()), "{body}");
    }
    let long = put(
        &server.address,
        &format!("/v1/payments/{}", "p".repeat(256)),
        r#"{"amount_minor": 1, "currency": "INR"}"#,
    );
    assert_eq!(long.unwrap().text("code"), "invalid_reference");
    // Slashes and quotes are taken: nothing is ever named after them.
    assert_eq!(expect(&server, "a%2Fb%22..%2F..", 100).status, 200);
    assert!(
        deliver(&server, "payment.captured", "a/b\"../..", 100, 1)
            .status
            .success()
    );
    until(&server, "a%2Fb%22..%2F..", has_receipt);
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_key_reaches_the_payments_of_its_tenants_by_its_scopes() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    expect(&server, "pay_1", 100);
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 1).status.success());
    let href = until(&server, "pay_1", has_receipt)["receipt"]["href"]
        .as_str()
        .unwrap()
        .to_string();
    let made = |arguments: &[&str]| {
        let made = cli(
            &server.folder,
            &[&["-q", "key", "create", "--label", "x"], arguments].concat(),
        );
        String::from_utf8(made.stdout).unwrap().trim().to_string()
    };
    let reader = made(&["--scope", "read"]);
    let stranger = made(&["--scope", "read", "--scope", "issue", "--tenant", "other"]);
    let ask = |method: &str, path: &str, body: &str, key: &str| {
        let answer = call_as(&server.address, method, path, body, key).unwrap();
        (answer.status, answer.text("code"))
    };
    let no = |code: &str| (403, code.to_string());
    let body = r#"{"amount_minor": 1, "currency": "INR"}"#;
    assert_eq!(ask("PUT", "/v1/payments/pay_2", body, &reader), no("forbidden"));
    assert_eq!(ask("POST", "/v1/payments/pay_1/verify", "", &reader), no("forbidden"));
    assert_eq!(ask("GET", "/v1/payments/pay_1", "", &reader).0, 200);
    assert_eq!(ask("GET", &href, "", &reader).0, 200);
    assert_eq!(ask("GET", "/v1/payments/pay_1", "", &stranger), no("forbidden"));
    assert_eq!(ask("PUT", "/v1/payments/pay_2", body, &stranger), no("forbidden"));
    assert_eq!(ask("GET", &href, "", &stranger), (404, "unknown_entry".to_string()));
    for (method, path) in [
        ("GET", "/v1/payments/pay_1"),
        ("PUT", "/v1/payments/pay_1"),
        ("GET", href.as_str()),
    ] {
        assert_eq!(ask(method, path, body, "").0, 401, "{method} {path}");
    }
    // Nobody of this server can be asked, and it says so.
    let verified = post(&server.address, "/v1/payments/pay_1/verify", "").unwrap();
    assert_eq!(
        (verified.status, verified.text("code")),
        (404, "unknown_source".to_string())
    );
}

/// What happened to the receipt of a payment, event by event.
fn history(server: &Server, name: &str) -> Vec<String> {
    let gate = payment(server, name)["receipt"]["gate"].as_str().map(str::to_string);
    let Some(gate) = gate else { return Vec::new() };
    let shown = get(&server.address, &format!("/v1/gates/{gate}")).unwrap().json();
    let events = shown["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["kind"].as_str().unwrap().to_string())
        .collect()
}

fn count(history: &[String], kind: &str) -> usize {
    history.iter().filter(|found| *found == kind).count()
}

#[test]
fn a_receipt_that_fails_is_tried_again_and_in_the_end_somebody_must_look() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with(folder.path(), &format!("attempts = 4\n{CONFIG}"));
    let (receipts, aside) = (folder.path().join("data/receipts"), folder.path().join("aside"));
    // The directory is gone, and something else is in its place.
    let break_it = || {
        std::fs::rename(&receipts, &aside).unwrap();
        std::fs::write(&receipts, "").unwrap();
    };
    let mend = || {
        std::fs::remove_file(&receipts).unwrap();
        std::fs::rename(&aside, &receipts).unwrap();
    };
    let wait = |name: &str, what: &dyn Fn(&[String]) -> bool| {
        let started = Instant::now();
        loop {
            let history = history(&server, name);
            if what(&history) {
                return history;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{history:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    break_it();
    expect(&server, "pay_1", 100);
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 3).status.success());
    wait("pay_1", &|history| count(history, "failed") == 3);
    mend();
    let told = wait("pay_1", &|history| count(history, "completed") == 1);
    assert_eq!((count(&told, "failed"), count(&told, "died")), (3, 0), "{told:?}");

    break_it();
    expect(&server, "pay_2", 100);
    assert!(deliver(&server, "payment.captured", "pay_2", 100, 1).status.success());
    wait("pay_2", &|history| count(history, "died") == 1);
    let held = payment(&server, "pay_2");
    assert_eq!(
        (&held["state"], &held["receipt"]["state"]),
        (&json!("paid"), &json!("dead"))
    );
    let why = held["receipt"]["last_error"].as_str().unwrap();
    assert!(why.contains("receipts"), "{why}");
    let entry = held["entry"].as_str().unwrap();
    let served = get(&server.address, &format!("/v1/entries/{entry}/receipt")).unwrap();
    assert_eq!((served.status, served.text("code")), (409, "receipt_held".to_string()));
    mend();
    let gate = held["receipt"]["gate"].as_str().unwrap();
    assert!(
        cli(
            &server.folder,
            &["gate", "retry", gate, "--reason", "there is room again"]
        )
        .status
        .success()
    );
    until(&server, "pay_2", has_receipt);
    must_verify(&server);
}

/// A server that may ask the provider, who says that 100 were paid.
fn start_with_status(folder: &Path) -> Server {
    let answer = json!({"entity": "payment", "id": "ID", "status": "captured", "amount": 100, "currency": "INR",
        "created_at": jiff::Timestamp::now().as_second(), "order_id": null});
    let port = provider::start(&Arc::new(Mutex::new(answer.to_string())));
    let status = format!(
        "status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:{port}\"\nstatus_id = \"me\"\nstatus_secret = \"mine\"\n"
    );
    start_with(folder, &format!("{CONFIG}{status}"))
}

#[test]
fn webhooks_and_verifications_at_once_are_one_number_and_every_caller_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_with_status(folder.path());
    expect(&server, "pay_1", 100);
    let verifications: Vec<_> = (0..25)
        .map(|_| {
            let address = server.address.clone();
            std::thread::spawn(move || post(&address, "/v1/payments/pay_1/verify", "").unwrap())
        })
        .collect();
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 25).status.success());
    for verification in verifications {
        let answer = verification.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json()["number"], "RCP-0001", "{}", answer.body);
    }
    until(&server, "pay_1", has_receipt);
    assert_eq!((entries(&server).len(), files(folder.path()).len()), (1, 1));
    let entry = entries(&server)[0]["id"].as_str().unwrap().to_string();
    let receipt = || get(&server.address, &format!("/v1/entries/{entry}/receipt")).unwrap();
    let made = receipt().body;
    let file = folder.path().join(files(folder.path()).first().unwrap());
    // Gone, as on another node, and changed: it is made again, and is the same.
    std::fs::remove_file(&file).unwrap();
    let again = receipt();
    assert_eq!((again.status, &again.body), (200, &made));
    assert!(file.exists());
    std::fs::write(&file, "something else").unwrap();
    let again = receipt();
    assert_eq!((again.status, &again.body), (200, &made));
    must_verify(&server);
}

/// The receipt was served with the name on it, and without its file it was said to be damaged.
#[test]
fn the_receipt_of_a_redacted_document_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path());
    expect(&server, "pay_1", 100);
    assert!(deliver(&server, "payment.captured", "pay_1", 100, 1).status.success());
    let paid = until(&server, "pay_1", has_receipt);
    assert_eq!(files(folder.path()).len(), 1);
    let path = |verb: &str| format!("/v1/entries/{}/{verb}", paid["entry"].as_str().unwrap());
    let redacted = post(&server.address, &path("redact"), r#"{"reason": "erasure"}"#).unwrap();
    assert_eq!(redacted.status, 200, "{}", redacted.body);
    assert_eq!(files(folder.path()).len(), 0);
    let gone = get(&server.address, &path("receipt")).unwrap();
    assert_eq!((gone.status, gone.text("code")), (410, "receipt_redacted".to_string()));
    assert_eq!(payment(&server, "pay_1")["state"], "paid");
    must_verify(&server);
}

#[test]
fn a_template_with_a_mistake_is_named_at_the_start_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template");
    std::fs::create_dir(&template).unwrap();
    std::fs::write(template.join("receipt.typ"), "= Receipt\n#let x = (\n").unwrap();
    let config = format!("receipt_template = \"{}\"\n{CONFIG}", template.display());
    std::fs::write(folder.path().join("seriatim.toml"), config).unwrap();
    let config = folder.path().join("seriatim.toml").display().to_string();
    let started = cli(
        folder.path(),
        &["--config", &config, "serve", "--http-addr", "127.0.0.1:0"],
    );
    let said = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(2), "{said}");
    assert!(said.contains("receipt.typ:2:"), "{said}");
}

#[test]
fn a_body_that_nobody_signed_is_confirmed_by_the_provider_before_anything_is_issued() {
    let folder = tempfile::tempdir().unwrap();
    let says = |code: &str, amount: i64| {
        json!({"success": true, "code": code, "data": {"merchantTransactionId": "ID", "amount": amount}}).to_string()
    };
    let answer = Arc::new(Mutex::new(says("PAYMENT_PENDING", 100)));
    let config = format!(
        "lease = \"1s\"\n[sources.shop]\nscheme = \"phonepe-authorization\"\nseries = \"receipt\"\n\
         secrets = [\"merchant_hook:Passw0rd1\"]\ntest = true\nstatus = \"phonepe\"\n\
         status_url = \"http://127.0.0.1:{}\"\nstatus_id = \"M1\"\nstatus_secret = \"salt\"\nstatus_version = 1\n",
        provider::start(&answer)
    );
    let server = start_with(folder.path(), &config);
    let url = format!("http://{}/v1/webhooks/shop", server.address);
    let config = server.folder.join("seriatim.toml").display().to_string();
    let deliver = |payment: &str| {
        let arguments = [
            "--config",
            &config,
            "webhook",
            "send",
            "phonepe-authorization",
            "checkout.order.completed",
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
        ];
        let sent = cli(&server.folder, &arguments);
        assert!(sent.status.success(), "{sent:?}");
    };
    expect(&server, "order_1", 100);
    deliver("order_1");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(entries(&server).len(), 0, "the provider has not confirmed it");
    // Its status comes after its webhook, which is not sent again.
    *answer.lock().unwrap() = says("PAYMENT_SUCCESS", 100);
    until(&server, "order_1", has_receipt);
    // Whoever has seen one call can send any body: what the provider says is what counts.
    *answer.lock().unwrap() = says("PAYMENT_SUCCESS", 1);
    expect(&server, "order_2", 100);
    deliver("order_2");
    let started = Instant::now();
    while get(&server.address, "/v1/gates?state=dead").unwrap().json()["data"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        assert!(started.elapsed() < Duration::from_secs(30), "it is not held");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(entries(&server).len(), 1);
}
