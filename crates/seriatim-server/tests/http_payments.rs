//! Payments over HTTP, within one process: what a shop may expect, what is held, and what strangers cannot do.

mod http;
mod provider;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Answer, World};
use serde_json::{Value, json};
use seriatim::{
    Access, Actor, Answer as Done, Claim, Command, Document, Effect, Gate, GatePolicy, Holder, Issuer, Memory, Reason,
    Request, Subject, Tenant, Timestamp, Ttl,
};
use seriatim_server::app::{App, AppOptions};
use seriatim_server::config::{Config, ConfigError};
use seriatim_server::payments::{Pace, Payments, Workers};
use seriatim_server::routes::router;
use seriatim_server::webhooks::sample::Sample;
use seriatim_server::webhooks::{Money, PaymentReference, Pointers, Scheme, Secret, Source};

const SECRET: &str = "topsecret";
const STRIPE_SECRET: &str = "whsec_topsecret";
/// Behind the settings of the shop's own source.
const STRIPE: &str =
    "[sources.stripe]\nscheme = \"stripe\"\nseries = \"receipt\"\nsecrets = [\"whsec_topsecret\"]\ntest = true\n";

/// The same with a series of its own.
const STRIPE_OTHER: &str =
    "[sources.stripe]\nscheme = \"stripe\"\nseries = \"other\"\nsecrets = [\"whsec_topsecret\"]\ntest = true\n";

/// A second source of the shop's provider, with the series of the first, and with one of its own.
const SECOND: &str =
    "[sources.second]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"topsecret\"]\ntest = true\n";
const SECOND_OTHER: &str =
    "[sources.second]\nscheme = \"razorpay\"\nseries = \"other\"\nsecrets = [\"topsecret\"]\ntest = true\n";

/// A service that takes payments of one source, and its workers. Nothing renders receipts.
struct Shop {
    world: World,
    _workers: Workers,
}

impl Shop {
    async fn open() -> Self {
        Self::open_with("").await
    }

    async fn open_with(settings: &str) -> Self {
        let issuer = Issuer::open(Memory::new()).await.unwrap();
        let payments = Arc::new(Payments::new(issuer.clone(), sources(settings), None, pace()).unwrap());
        let options = AppOptions {
            payments: Some(payments.clone()),
            production: true,
            ..AppOptions::default()
        };
        let app = App::new(issuer, options);
        let world = World {
            router: router(app.clone()),
            app,
        };
        world
            .put("/v1/series/receipt", json!({"format": "RCP-{seq:4}", "test": true}))
            .await
            .is(201);
        Self {
            world,
            _workers: Workers::start(payments),
        }
    }

    async fn expect(&self, payment: &str) -> Answer {
        let body = json!({"amount_minor": 100, "currency": "INR", "document": document()});
        self.world.put(&format!("/v1/payments/{payment}"), body).await
    }

    /// The provider says that 100 were paid.
    async fn deliver(&self, payment: &str) -> Answer {
        let body = captured(payment, self.world.app.issuer().clock().now());
        self.post(body, &event_of(payment)).await
    }

    /// An event of a payment that belongs to an order, as the provider sends it.
    async fn deliver_of_order(&self, event: &str, payment: &str, order: &str) {
        let entity = json!({"id": payment, "amount": 100, "currency": "INR", "status": "captured", "order_id": order,
            "created_at": jiff::Timestamp::now().as_second()});
        let body = json!({"event": "payment.captured", "payload": {"payment": {"entity": entity}}});
        self.post(body.to_string().into_bytes(), event).await.is(200);
    }

    async fn post(&self, body: Vec<u8>, event: &str) -> Answer {
        self.post_to("shop", Scheme::Razorpay, SECRET, body, event).await
    }

    async fn post_to(&self, source: &str, scheme: Scheme, secret: &str, body: Vec<u8>, event: &str) -> Answer {
        let secret = Secret::parse(scheme, secret).unwrap();
        let at = self.world.app.issuer().clock().now();
        let signed = scheme.sign(&body, &secret, at, event).unwrap();
        let path = format!("/v1/webhooks/{source}");
        let mut ask = self.world.ask("POST", &path).who(&http::Who::Nobody);
        for (name, value) in &signed {
            ask = ask.header(name, value);
        }
        ask.body(body).send().await
    }

    /// A checkout of Stripe's, with the name that its link gave it.
    async fn deliver_session(&self, intent: &str, given: &str, amount: i64) {
        let session = json!({"id": format!("cs_{intent}"), "payment_intent": intent, "client_reference_id": given,
            "payment_status": "paid", "amount_total": amount, "currency": "inr"});
        let body = json!({"id": format!("evt_{intent}"), "type": "checkout.session.completed",
            "created": jiff::Timestamp::now().as_second(), "data": {"object": session}});
        let body = body.to_string().into_bytes();
        self.post_to("stripe", Scheme::Stripe, STRIPE_SECRET, body, "")
            .await
            .is(200);
    }

    /// Asks the store as its other doors do, past HTTP.
    async fn execute(&self, command: Command) -> Done {
        let request = Request {
            actor: Actor::parse("db:ann").unwrap(),
            on_behalf_of: None,
            access: Access::full(),
            rehearsal: false,
            command,
        };
        self.world.app.issuer().execute(request).await.unwrap()
    }

    async fn claim(&self, effect: &str, subject: &str) -> Arc<Gate> {
        let claim = Claim {
            tenant: Tenant::default(),
            effect: Effect::parse(effect).unwrap(),
            subject: Subject::parse(subject).unwrap(),
            ttl: Ttl::from_seconds(60).unwrap(),
            holder: Holder::parse("another").unwrap(),
            key: None,
            policy: GatePolicy::default(),
        };
        match self.execute(Command::Claim(Box::new(claim))).await {
            Done::Claim { gate, .. } => gate,
            other => panic!("{other:?}"),
        }
    }

    async fn payment(&self, payment: &str) -> Value {
        self.world.get(&format!("/v1/payments/{payment}")).await.is(200).json
    }

    /// What is found at a path, once it is as it should be.
    async fn until(&self, path: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let found = self.world.get(path).await.is(200).json;
            if is_there(&found) {
                return found;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{path}: {found}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_paid(&self, payment: &str) -> Value {
        let path = format!("/v1/payments/{payment}");
        self.until(&path, |shown| shown["state"] == "paid").await
    }

    /// Razorpay says of a payment to a source that so much was paid, a second of the clock ago.
    async fn deliver_to(&self, source: &str, event: &str, payment: &str, amount: i64) {
        self.deliver_at(source, event, payment, amount, jiff::Timestamp::now().as_second() - 1)
            .await;
    }

    async fn deliver_at(&self, source: &str, event: &str, payment: &str, amount: i64, at: i64) {
        let entity =
            json!({"id": payment, "amount": amount, "currency": "INR", "status": "captured", "created_at": at});
        let body = json!({"event": "payment.captured", "payload": {"payment": {"entity": entity}}, "id": event});
        let body = body.to_string().into_bytes();
        self.post_to(source, Scheme::Razorpay, SECRET, body, event)
            .await
            .is(200);
    }

    async fn retry(&self, gate: &Value) {
        let path = format!("/v1/gates/{}/retry", gate["id"].as_str().unwrap());
        self.world.post(&path, json!({"reason": "put right"})).await.is(200);
    }

    /// The gate of a payment.
    async fn gate_of(&self, payment: &str) -> Value {
        let gates = self.world.get("/v1/gates?effect=payment").await.is(200);
        let gates = gates.json["data"].as_array().unwrap().clone();
        gates.into_iter().find(|gate| gate["subject"] == payment).unwrap()
    }

    /// All events were done, none held.
    async fn until_all_done(&self, events: usize) {
        let all = "/v1/gates?effect=payment-event&limit=500";
        self.until(all, |found| {
            let list = found["data"].as_array().unwrap();
            assert!(list.iter().all(|gate| gate["state"] != "dead"), "{found}");
            list.iter().filter(|gate| gate["state"] == "done").count() == events
        })
        .await;
    }

    /// The first gate that somebody must look at.
    async fn until_held(&self) -> Value {
        let found = self.until("/v1/gates?state=dead", |found| count(found) > 0).await;
        found["data"][0].clone()
    }
}

fn count(list: &Value) -> usize {
    list["data"].as_array().map_or(0, Vec::len)
}

/// The provider's event that 100 were paid.
fn captured(payment: &str, at: Timestamp) -> Vec<u8> {
    let sample = Sample {
        event: "payment.captured",
        payment: &PaymentReference::parse(payment).unwrap(),
        money: &Money {
            minor: 100,
            currency: "INR".to_string(),
        },
        at,
    };
    sample.body(Scheme::Razorpay, &Pointers::default()).unwrap()
}

fn pace() -> Pace {
    Pace {
        workers: 2,
        lease: Ttl::from_seconds(60).unwrap(),
        policy: GatePolicy::default(),
    }
}

fn sources(settings: &str) -> Vec<Source> {
    read_sources(settings).unwrap()
}

fn read_sources(settings: &str) -> Result<Vec<Source>, ConfigError> {
    let file = format!(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"{SECRET}\"]\ntest = true\n{settings}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seriatim.toml");
    std::fs::write(&path, file).unwrap();
    let config = Config::load(Some(Path::new(&path)), Default::default(), &|_| None).unwrap();
    Source::all(&config)
}

fn event_of(payment: &str) -> String {
    format!("evt_{payment}")
}

fn document() -> Value {
    json!({
        "currency": "INR", "locale": "en-IN", "seller": {"name": "Shop"},
        "lines": [{"description": "Tea", "quantity": 1, "unit_price": 100, "amount": 100}],
        "totals": {"subtotal": 100, "total": 100}
    })
}

#[tokio::test]
async fn a_payment_whose_number_is_void_or_only_reserved_is_held() {
    // It was shown as paid, with a receipt, on a number that is on no document.
    let reserve = json!({"key": "pay_1", "ttl": "1h"});
    for (taken, then, code) in [
        ("entries", Some("void"), "voided"),
        ("reservations", Some("release"), "key_reused"),
        ("reservations", None, "key_reused"),
    ] {
        let shop = Shop::open().await;
        let body = if taken == "entries" {
            json!({"key": "pay_1"})
        } else {
            reserve.clone()
        };
        let path = format!("/v1/series/receipt/{taken}");
        let id = shop.world.post(&path, body).await.is(201).text("id");
        if let Some(verb) = then {
            let body = match verb {
                "void" => json!({"reason_code": "spoiled", "reason": "torn"}),
                _ => json!({"reason": "left"}),
            };
            shop.world.post(&format!("/v1/entries/{id}/{verb}"), body).await.is(200);
        }
        shop.expect("pay_1").await.is(200);
        shop.deliver("pay_1").await.is(200);
        let why = shop.until_held().await["last_error"].as_str().unwrap().to_string();
        assert!(why.starts_with(code), "{why}");
        let payment = shop.payment("pay_1").await;
        assert_eq!(
            (&payment["state"], &payment["receipt"]),
            (&json!("expected"), &json!(null))
        );
    }
}

#[tokio::test]
async fn a_payment_takes_the_number_that_its_reference_has() {
    let shop = Shop::open().await;
    let confirmed = json!({"key": "pay_1", "ttl": "1h"});
    let id = shop
        .world
        .post("/v1/series/receipt/reservations", confirmed)
        .await
        .is(201)
        .text("id");
    shop.world
        .post(&format!("/v1/entries/{id}/confirm"), json!({}))
        .await
        .is(200);
    shop.expect("pay_1").await.is(200);
    shop.deliver("pay_1").await.is(200);
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
    let mut another = document();
    another["note"] = json!("later");
    let other = json!({"amount_minor": 100, "currency": "INR", "document": another});
    let late = shop.world.put("/v1/payments/pay_1", other).await;
    let late = late.problem(409, "gate_fixed");
    assert!(
        late.json["errors"].is_null() && late.text("detail").starts_with("payment pay_1 "),
        "{}",
        late.raw
    );
}

#[tokio::test]
async fn the_gates_of_payments_are_moved_by_nobody_else() {
    // A key that may claim gates swallowed a delivery, said that a payment is paid, and kept one from being expected.
    let shop = Shop::open().await;
    let worker = shop.world.key(json!({"scopes": ["gate"]})).await;
    let ask = |path: &str, body: Value| shop.world.ask("POST", path).key(&worker).json(&body).send();
    let claim = |effect: &str, subject: &str| {
        ask(
            "/v1/gates/claim",
            json!({"effect": effect, "subject": subject, "ttl": "60s", "holder": "x"}),
        )
    };
    for (effect, subject) in [
        ("payment-event", "shop:evt_pay_1"),
        ("payment", "pay_1"),
        ("receipt", "pay_1"),
    ] {
        let refused = claim(effect, subject)
            .await
            .problem(403, "reserved_effect")
            .at("/effect");
        assert_eq!(refused.json["outcome"], "nothing");
    }
    claim("payout", "pay_1").await.is(200);
    shop.expect("pay_1").await.is(200);
    assert_eq!(shop.deliver("pay_1").await.is(200).json["duplicate"], false);
    shop.until_paid("pay_1").await;
    let kept = shop.world.get("/v1/gates").await.is(200);
    let kept: Vec<&Value> = kept.json["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|gate| gate["effect"] != "payout")
        .collect();
    assert_eq!(kept.len(), 3);
    for gate in kept {
        let id = gate["id"].as_str().unwrap();
        for (verb, body) in [
            ("renew", json!({"token": 1, "ttl": "60s"})),
            ("complete", json!({"token": 1, "result": {}})),
            ("fail", json!({"token": 1, "error": "no"})),
        ] {
            ask(&format!("/v1/gates/{id}/{verb}"), body)
                .await
                .problem(403, "reserved_effect");
        }
    }
    let without = Shop::open_with("effects = []\n").await;
    let own = json!({"effect": "receipt", "subject": "pay_1", "ttl": "60s", "holder": "x"});
    without.world.post("/v1/gates/claim", own).await.is(200);
}

#[tokio::test]
async fn a_payment_is_paid_only_if_its_entry_says_so_too() {
    // Whoever claims gates past HTTP wrote a number that nobody had issued, and the payment was paid.
    let shop = Shop::open_with("effects = []\n").await;
    shop.expect("pay_1").await.is(200);
    shop.deliver("pay_1").await.is(200);
    let paid = shop.until_paid("pay_1").await;
    let (entry, number) = (&paid["entry"], &paid["number"]);
    for (payment, result) in [
        (
            "pay_2",
            json!({"entry": "ent_0000000000000000_1", "number": "FORGED-1", "event": "none"}),
        ),
        (
            "pay_3",
            json!({"entry": entry, "number": "FORGED-1", "event": "evt_pay_1"}),
        ),
        ("pay_4", json!({"entry": entry, "number": number, "event": "evt_pay_1"})),
        (
            "pay_5",
            json!({"entry": "none", "number": number, "event": "evt_pay_1"}),
        ),
        ("pay_6", json!({"paid": true})),
    ] {
        shop.expect(payment).await.is(200);
        let gate = shop.claim("payment", payment).await;
        let complete = Command::Complete {
            gate: gate.id,
            token: gate.token,
            result: Document::parse(&result.to_string()).unwrap(),
        };
        shop.execute(complete).await;
        let shown = shop.payment(payment).await;
        assert_eq!(shown["state"], "expected", "{shown}");
        assert!(
            shown["number"].is_null() && shown["entry"].is_null() && shown["event_id"].is_null(),
            "{shown}"
        );
    }
    // When it is paid after all it gets a number of its own.
    shop.deliver("pay_4").await.is(200);
    let issued = |found: &Value| count(found) == 1;
    shop.until("/v1/entries?series=receipt&key=pay_4", issued).await;
}

#[tokio::test]
async fn a_delivery_is_not_acknowledged_while_another_holds_its_gate() {
    let shop = Shop::open().await;
    // As whoever writes into the store through another door can.
    shop.claim("payment-event", "shop:evt_pay_1").await;
    let refused = shop.deliver("pay_1").await.problem(409, "gate_fixed");
    assert!(refused.text("detail").contains("not stored"), "{}", refused.raw);
}

#[tokio::test]
async fn a_verification_waits_for_the_payment_that_another_events_worker_is_about_to_close() {
    let answer = json!({"entity": "payment", "id": "pay_1", "status": "captured", "amount": 100, "currency": "INR",
        "created_at": jiff::Timestamp::now().as_second(), "order_id": null});
    let shop = Shop::open_with(&format!(
        "status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:{}\"\nstatus_id = \"me\"\nstatus_secret = \"mine\"\n",
        provider::start(&Arc::new(Mutex::new(answer.to_string())))
    ))
    .await;
    shop.expect("pay_1").await.is(200);
    let gate = shop.claim("payment", "pay_1").await;
    let ask = shop.world.ask("POST", "/v1/payments/pay_1/verify").send();
    let close = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Who does not hold the payment issues nothing for it.
        let none = shop.world.get("/v1/entries?series=receipt").await.is(200);
        assert_eq!(count(&none.json), 0);
        let key = json!({"key": "pay_1"});
        let entry = shop.world.post("/v1/series/receipt/entries", key).await.is(201).json;
        let result = json!({"entry": entry["id"], "number": entry["number"], "event": "another"}).to_string();
        let command = Command::Complete {
            gate: gate.id,
            token: gate.token,
            result: Document::parse(&result).unwrap(),
        };
        shop.execute(command).await
    };
    let (answer, _) = tokio::join!(ask, close);
    let answer = answer.is(200);
    assert_eq!(
        (answer.text("number"), answer.text("event_id")),
        ("RCP-0001".to_string(), "another".to_string())
    );
}

#[tokio::test]
async fn the_document_of_a_payment_is_kept_as_it_was_received() {
    // It went through a map: digits were lost, and names sorted.
    let shop = Shop::open_with("effects = []\n").await;
    let text = r#"{ "z": 12345678901234567890.125,  "a": {"x": 1e2, "b": []} }"#;
    let put = |payment: &str, document: &str| {
        let body = format!(r#"{{"amount_minor": 100, "currency": "INR", "document": {document}}}"#);
        let ask = shop.world.ask("PUT", &format!("/v1/payments/{payment}"));
        ask.header("content-type", "application/json").body(body).send()
    };
    for (payment, document, begin) in [
        (
            "pay_1",
            text,
            r#"{ "z": 12345678901234567890.125,  "a": {"x": 1e2, "b": []} ,"payment":{"#,
        ),
        ("pay_2", "{}", r#"{"payment":{"#),
    ] {
        put(payment, document).await.is(200);
        shop.deliver(payment).await.is(200);
        let entry = shop.until_paid(payment).await["entry"].as_str().unwrap().to_string();
        let shown = shop.world.get(&format!("/v1/entries/{entry}")).await.is(200);
        assert!(shown.raw.contains(begin), "{}", shown.raw);
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65));
    let large = format!(r#"{{"a": "{}"}}"#, "x".repeat(61_440));
    for (document, status, code, pointer) in [
        (r#"{"a": 1, "a": 2}"#, 400, "invalid_document", "/document"),
        (deep.as_str(), 400, "invalid_document", "/document"),
        (large.as_str(), 413, "document_too_large", "/document"),
        ("[]", 400, "wrong_type", "/document"),
        (r#"{"payment": 1}"#, 400, "invalid_document", "/document/payment"),
    ] {
        put("pay_3", document).await.problem(status, code).at(pointer);
    }
}

#[tokio::test]
async fn what_was_expected_before_documents_were_checked_still_gets_its_number() {
    let shop = Shop::open_with("effects = []\n").await;
    for (payment, document) in [
        ("pay_1", json!({"payment": "mine"})),
        ("pay_2", json!(["a"])),
        ("pay_3", json!({"a": 1})),
    ] {
        let task = json!({"amount_minor": 100, "currency": "INR", "document": document}).to_string();
        let open = Command::OpenGate {
            tenant: Tenant::default(),
            effect: Effect::parse("payment").unwrap(),
            subject: Subject::parse(payment).unwrap(),
            policy: GatePolicy::default(),
            task: Some(Document::stored(&task)),
            change: Some(0),
        };
        shop.execute(open).await;
        shop.deliver(payment).await.is(200);
        shop.until_paid(payment).await;
    }
}

#[tokio::test]
async fn what_cannot_be_a_receipt_is_not_expected_where_receipts_follow() {
    // The number was issued, the receipt held for ever: a payment that is paid takes no other document.
    let shop = Shop::open().await;
    let mut wrong = document();
    wrong["totals"]["total"] = json!(99);
    for (document, pointer) in [
        (wrong.clone(), "/document/totals/total"),
        (json!({}), "/document"),
        (json!(null), "/document"),
    ] {
        let body = json!({"amount_minor": 100, "currency": "INR", "document": document});
        let refused = shop.world.put("/v1/payments/pay_1", body).await;
        refused.problem(400, "invalid_payment").at(pointer);
    }
    shop.world
        .get("/v1/payments/pay_1")
        .await
        .problem(404, "unknown_payment");
    let without = Shop::open_with("effects = []\n").await;
    let body = json!({"amount_minor": 100, "currency": "INR", "document": wrong});
    without.world.put("/v1/payments/pay_1", body).await.is(200);
}

#[tokio::test]
async fn who_said_what_is_expected_is_in_the_journal() {
    let shop = Shop::open().await;
    let key = shop.world.key(json!({"scopes": ["issue"]})).await;
    let body = json!({"amount_minor": 100, "currency": "INR", "document": document()});
    let ask = shop.world.ask("PUT", "/v1/payments/pay_1").key(&key);
    ask.header("seriatim-actor", "user:ann")
        .json(&body)
        .send()
        .await
        .is(200);
    let gates = shop.world.get("/v1/gates?effect=payment").await.is(200);
    let id = gates.json["data"][0]["id"].as_str().unwrap().to_string();
    let gate = shop.world.get(&format!("/v1/gates/{id}")).await.is(200);
    let opened = &gate.json["events"][0];
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(
        (&opened["actor"], &opened["on_behalf_of"]),
        (&json!(format!("key:{id}")), &json!("user:ann"))
    );
}

#[tokio::test]
async fn a_payment_that_is_expected_under_two_of_its_names_has_one_number() {
    let shop = Shop::open().await;
    shop.expect("order_1").await.is(200);
    shop.deliver_of_order("evt_1", "pay_1", "order_1").await;
    assert_eq!(shop.until_paid("order_1").await["number"], "RCP-0001");
    // The other name is known as paid too, so that nothing more is expected of it.
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
    assert_eq!(shop.expect("pay_1").await.is(409).text("code"), "gate_fixed");

    // Said of both before either is paid.
    for reference in ["order_2", "pay_2"] {
        shop.expect(reference).await.is(200);
    }
    for event in ["evt_2", "evt_3"] {
        shop.deliver_of_order(event, "pay_2", "order_2").await;
    }
    assert_eq!(shop.until_paid("order_2").await["number"], "RCP-0002");
    assert_eq!(shop.until_paid("pay_2").await["number"], "RCP-0002");
    // An event that uses but one of the names finds what there is.
    shop.deliver("pay_1").await.is(200);
    shop.deliver("order_2").await.is(200);
    let done = "/v1/gates?state=done&effect=payment-event";
    shop.until(done, |found| count(found) == 5).await;
    let entries = shop.world.get("/v1/entries?series=receipt").await.is(200);
    assert_eq!(count(&entries.json), 2);
    let receipts = shop.world.get("/v1/gates?effect=receipt").await.is(200);
    assert_eq!(count(&receipts.json), 2);
}

#[tokio::test]
async fn payments_that_share_a_name_have_numbers_of_their_own() {
    let shop = Shop::open_with(STRIPE).await;
    // Two payments of one order, and the shop expects each.
    for reference in ["order_1", "pay_1", "pay_2"] {
        shop.expect(reference).await.is(200);
    }
    shop.deliver_of_order("evt_1", "pay_1", "order_1").await;
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
    shop.deliver_of_order("evt_2", "pay_2", "order_1").await;
    assert_eq!(shop.until_paid("pay_2").await["number"], "RCP-0002");
    // A customer's own name, on each of his payments.
    for (intent, number) in [("pi_1", "RCP-0003"), ("pi_2", "RCP-0004")] {
        shop.expect(intent).await.is(200);
        shop.deliver_session(intent, "cust-7", 100).await;
        assert_eq!(shop.until_paid(intent).await["number"], number);
    }
    shop.world
        .get("/v1/payments/cust-7")
        .await
        .problem(404, "unknown_payment");
}

#[tokio::test]
async fn whoever_names_another_payment_in_a_link_does_not_pay_it() {
    let shop = Shop::open_with(STRIPE).await;
    let dear = json!({"amount_minor": 999_900, "currency": "INR"});
    shop.world.put("/v1/payments/pi_dear", dear).await.is(400);
    let mut document = document();
    document["lines"][0] = json!({"description": "Tea", "quantity": 1, "unit_price": 999_900, "amount": 999_900});
    document["totals"] = json!({"subtotal": 999_900, "total": 999_900});
    let dear = json!({"amount_minor": 999_900, "currency": "INR", "document": document});
    shop.world.put("/v1/payments/pi_dear", dear).await.is(200);
    shop.expect("pi_cheap").await.is(200);
    shop.deliver_session("pi_cheap", "pi_dear", 100).await;
    assert_eq!(shop.until_paid("pi_cheap").await["number"], "RCP-0001");
    assert_eq!(shop.payment("pi_dear").await["state"], "expected");
    shop.deliver_session("pi_dear", "whatever", 999_900).await;
    assert_eq!(shop.until_paid("pi_dear").await["number"], "RCP-0002");
}

#[tokio::test]
async fn a_second_payment_of_an_order_that_is_paid_is_held() {
    let shop = Shop::open().await;
    shop.expect("order_1").await.is(200);
    shop.deliver_of_order("evt_1", "pay_1", "order_1").await;
    assert_eq!(shop.until_paid("order_1").await["number"], "RCP-0001");
    shop.deliver_of_order("evt_2", "pay_2", "order_1").await;
    let held = shop.until_held().await;
    let why = held["last_error"].as_str().unwrap();
    assert!(why.contains("order_1 was paid before by payment pay_1"), "{why}");
    shop.world
        .get("/v1/payments/pay_2")
        .await
        .problem(404, "unknown_payment");
}

#[tokio::test]
async fn a_known_event_id_with_another_body_is_another_event() {
    // The header is not signed: whoever has seen one delivery can give its id to it again.
    let shop = Shop::open().await;
    shop.expect("pay_1").await.is(200);
    let body = |event: &str, status: &str| {
        let entity = json!({"id": "pay_1", "amount": 100, "currency": "INR", "status": status,
            "created_at": jiff::Timestamp::now().as_second()});
        let body = json!({"event": event, "payload": {"payment": {"entity": entity}}});
        body.to_string().into_bytes()
    };
    let first = body("payment.authorized", "authorized");
    for duplicate in [false, true] {
        let answer = shop.post(first.clone(), "evt_1").await.is(200);
        assert_eq!(answer.json["duplicate"], duplicate);
    }
    let captured = shop.post(body("payment.captured", "captured"), "evt_1").await.is(200);
    assert_eq!(captured.json["duplicate"], false);
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
}

#[tokio::test]
async fn what_nobody_reads_of_an_event_does_not_matter() {
    let shop = Shop::open().await;
    shop.expect("pay_1").await.is(200);
    // Half a character, as a text that was cut gives, and a number beyond all bounds.
    let at = jiff::Timestamp::now().as_second();
    let body = format!(
        r#"{{"event": "payment.captured", "payload": {{"payment": {{"entity": {{"id": "pay_1", "amount": 100, "currency": "INR",
            "notes": {{"name": "Asha \ud83d", "x": 1e400}}, "created_at": {at}}}}}}}}}"#
    );
    shop.post(body.into_bytes(), "evt_1").await.is(200);
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
}

#[tokio::test]
async fn an_event_is_left_to_the_node_that_knows_its_source() {
    let shop = Shop::open().await;
    shop.world
        .put("/v1/series/other", json!({"format": "O-{seq}", "test": true}))
        .await
        .is(201);
    let issuer = shop.world.app.issuer().clone();
    let other = sources(STRIPE)
        .into_iter()
        .filter(|source| source.name == "stripe")
        .collect();
    let stranger = Payments::new(issuer.clone(), sources(""), None, pace()).unwrap();
    let here = Payments::new(issuer, other, None, pace()).unwrap();
    // Its own workers would be first: the event is of a third node's source.
    let desk = stranger.desk("shop").unwrap();
    let mut source = desk.source.clone();
    source.name = "elsewhere".to_string();
    let _here = Workers::start(Arc::new(here));
    let now = shop.world.app.issuer().clock().now();
    let body = captured("pay_1", now);
    let secret = Secret::parse(Scheme::Razorpay, SECRET).unwrap();
    let signed = Scheme::Razorpay.sign(&body, &secret, now, "evt_1").unwrap();
    let headers = signed.iter().map(|(name, value)| {
        let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, axum::http::HeaderValue::from_str(value).unwrap())
    });
    let received = source.receive(&headers.collect(), body.into(), now).unwrap();
    stranger.deliver(&source, &received).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let events = shop.world.get("/v1/gates?effect=payment-event").await.is(200);
    assert_eq!(events.json["data"][0]["state"], "open");
    assert_eq!(events.json["data"][0]["attempts"], 0);
}

#[test]
fn a_test_and_a_live_source_do_not_share_a_tenant() {
    let live = "[sources.live]\nscheme = \"razorpay\"\nseries = \"invoice\"\nsecrets = [\"x\"]\n";
    let refused = read_sources(live).unwrap_err().to_string();
    assert!(
        refused.contains("sources.live") && refused.contains("tenant"),
        "{refused}"
    );
    assert_eq!(read_sources(&format!("{live}tenant = \"acme\"\n")).unwrap().len(), 2);
}

#[tokio::test]
async fn a_payment_says_that_its_number_is_void_and_what_stands_in_its_place() {
    let shop = Shop::open().await;
    shop.expect("pay_1").await.is(200);
    shop.deliver("pay_1").await.is(200);
    let mut entry = shop.until_paid("pay_1").await["entry"].clone();
    assert!(shop.payment("pay_1").await["voided"].is_null());
    for replacement in ["RCP-0002", "RCP-0003"] {
        let void = json!({"reason_code": "spoiled", "reason": "torn", "reissue": true});
        let path = format!("/v1/entries/{}/void", entry.as_str().unwrap());
        entry = shop.world.post(&path, void).await.is(200).json["replacement"]["id"].clone();
        let payment = shop.payment("pay_1").await;
        assert_eq!(
            (&payment["number"], &payment["voided"]),
            (&json!("RCP-0001"), &json!(true))
        );
        assert_eq!(payment["replacement"], json!({"entry": entry, "number": replacement}));
    }
}

/// A parameter that does nothing was taken, and who gave it believed that it did something.
#[tokio::test]
async fn a_source_is_named_only_where_it_is_asked() {
    let shop = Shop::open().await;
    let path = "/v1/payments/pay_1?source=nope";
    let put = shop
        .world
        .put(path, json!({"amount_minor": 100, "currency": "INR"}))
        .await;
    put.problem(400, "unknown_parameter").at("/source");
    shop.expect("pay_1").await.is(200);
    shop.world
        .get(path)
        .await
        .problem(400, "unknown_parameter")
        .at("/source");
    let ask = shop.world.ask("POST", "/v1/payments/pay_1/verify?source=nope");
    ask.send().await.problem(404, "unknown_source").at("/source");
}

/// They were refused when the money had come, and could not be put right any more.
#[tokio::test]
async fn params_that_no_number_can_take_are_refused_before_anything_is_paid() {
    let shop = Shop::open().await;
    let with =
        |params: Value| json!({"amount_minor": 100, "currency": "INR", "document": document(), "params": params});
    let path = "/v1/payments/pay_1";
    let put = shop.world.put(path, with(json!({"branch": "07"}))).await;
    put.problem(422, "unknown_param").at("/params/branch");
    shop.world.get(path).await.problem(404, "unknown_payment");
    shop.world.put(path, with(json!({}))).await.is(200);
    // Another source may issue it, so it is not for this check to say no.
    let two = Shop::open_with(STRIPE_OTHER).await;
    let other = json!({"format": "O-{branch}-{seq}", "test": true, "params": {"branch": {"digits": 2}}});
    two.world.put(path, with(json!({"branch": "7"}))).await.is(200);
    two.world.put("/v1/series/other", other).await.is(201);
    two.world.put(path, with(json!({"branch": "8"}))).await.is(200);
    two.world
        .put(path, with(json!({"till": "8"})))
        .await
        .problem(422, "unknown_param");
}

/// Whoever lost the claim issued too, and in another series the key kept nobody apart: one payment had two numbers.
#[tokio::test]
async fn two_sources_with_series_of_their_own_give_a_payment_one_number() {
    const PAYMENTS: usize = 30;
    let shop = Shop::open_with(SECOND_OTHER).await;
    let other = json!({"format": "OTH-{seq:4}", "test": true, "replay": "strict"});
    shop.world.put("/v1/series/other", other).await.is(201);
    for i in 0..PAYMENTS {
        let payment = format!("pay_{i}");
        shop.expect(&payment).await.is(200);
        // The same event of the provider to both, and another one.
        let (event, another) = (format!("evt_{i}"), format!("evt_{i}_too"));
        tokio::join!(
            shop.deliver_to("shop", &event, &payment, 100),
            shop.deliver_to("second", &event, &payment, 100),
            shop.deliver_to("second", &another, &payment, 100),
        );
    }
    shop.until_all_done(3 * PAYMENTS).await;
    let mut numbers = 0;
    for series in ["receipt", "other"] {
        let path = format!("/v1/entries?limit=500&series={series}");
        numbers += count(&shop.world.get(&path).await.is(200).json);
    }
    assert_eq!(numbers, PAYMENTS);
    for i in 0..PAYMENTS {
        assert_eq!(shop.payment(&format!("pay_{i}")).await["state"], "paid");
    }
}

/// The claim of an event that was held kept every other one out until its lease ran out; these ended all the same, and the
/// payment was never shown as paid.
#[tokio::test]
async fn an_event_that_is_held_gives_the_payment_back() {
    let shop = Shop::open().await;
    let reserve = json!({"key": "pay_1", "ttl": "1h"});
    let path = "/v1/series/receipt/reservations";
    let id = shop.world.post(path, reserve).await.is(201).text("id");
    shop.expect("pay_1").await.is(200);
    shop.deliver_to("shop", "evt_1", "pay_1", 100).await;
    let held = shop.until_held().await;
    assert!(held["last_error"].as_str().unwrap().starts_with("key_reused"), "{held}");
    assert_eq!(shop.gate_of("pay_1").await["state"], "open");
    // Nobody is at it and it has no number: what is expected may still be put right.
    let mut document = document();
    document["note"] = json!("later");
    let changed = json!({"amount_minor": 100, "currency": "INR", "document": document});
    shop.world.put("/v1/payments/pay_1", changed).await.is(200);
    let path = format!("/v1/entries/{id}/confirm");
    shop.world.post(&path, json!({})).await.is(200);
    shop.expect("pay_1").await.problem(409, "gate_fixed");
    shop.deliver_to("shop", "evt_2", "pay_1", 100).await;
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
    shop.retry(&held).await;
    shop.until_all_done(2).await;
}

/// Each try cost the payment an attempt, though nothing was wrong with it.
#[tokio::test]
async fn what_the_series_refuses_costs_a_payment_nothing_and_can_be_put_right() {
    let shop = Shop::open_with(SECOND_OTHER).await;
    shop.expect("pay_1").await.is(200);
    shop.deliver_to("second", "evt_1", "pay_1", 100).await;
    let all = "/v1/gates?effect=payment-event";
    let tried = |found: &Value| found["data"][0]["attempts"].as_u64() > Some(1);
    shop.until(all, tried).await;
    let other = json!({"format": "O-{branch}-{seq}", "test": true, "params": {"branch": {"digits": 2}}});
    shop.world.put("/v1/series/other", other).await.is(201);
    let held = shop.until_held().await;
    assert!(
        held["last_error"].as_str().unwrap().starts_with("missing_param"),
        "{held}"
    );
    assert_eq!(shop.gate_of("pay_1").await["attempts"], 0);
    let right = json!({"amount_minor": 100, "currency": "INR", "document": document(), "params": {"branch": "7"}});
    shop.world.put("/v1/payments/pay_1", right).await.is(200);
    shop.retry(&held).await;
    assert_eq!(shop.until_paid("pay_1").await["number"], "O-07-1");
}

/// The number followed, and the payment was never shown as paid, though its gate was retried.
#[tokio::test]
async fn a_payment_whose_gate_is_dead_waits_for_its_retry() {
    let shop = Shop::open().await;
    shop.expect("pay_1").await.is(200);
    let gate = shop.claim("payment", "pay_1").await;
    let give_up = Command::Fail {
        gate: gate.id,
        token: gate.token,
        error: Reason::parse("enough").unwrap(),
        retry_in: None,
        give_up: true,
    };
    shop.execute(give_up).await;
    shop.deliver("pay_1").await.is(200);
    let said = |found: &Value| found["data"][0]["last_error"].is_string();
    let event = shop.until("/v1/gates?effect=payment-event", said).await["data"][0].clone();
    let why = event["last_error"].as_str().unwrap();
    assert!(why.contains(&format!("gate retry {}", gate.id)), "{why}");
    let none = shop.world.get("/v1/entries?series=receipt").await.is(200);
    assert_eq!(count(&none.json), 0);
    shop.retry(&shop.gate_of("pay_1").await).await;
    assert_eq!(shop.until_paid("pay_1").await["number"], "RCP-0001");
}

/// It was looked for under the name of the second source, not found, and counted as the same payment.
#[tokio::test]
async fn an_order_that_is_paid_twice_over_two_sources_is_held() {
    let shop = Shop::open_with(SECOND).await;
    shop.expect("order_1").await.is(200);
    shop.deliver_of_order("evt_1", "pay_1", "order_1").await;
    shop.until_paid("order_1").await;
    let entity = json!({"id": "pay_2", "amount": 100, "currency": "INR", "status": "captured", "order_id": "order_1"});
    let body = json!({"event": "payment.captured", "payload": {"payment": {"entity": entity}}}).to_string();
    // Ids of events are each source's own.
    shop.post_to("second", Scheme::Razorpay, SECRET, body.into_bytes(), "evt_1")
        .await
        .is(200);
    let held = shop.until_held().await;
    let why = held["last_error"].as_str().unwrap();
    assert!(why.contains("order_1 was paid before by payment pay_1"), "{why}");
}

/// Only the first event was compared: of a capture of less than was authorized nobody heard.
#[tokio::test]
async fn another_amount_is_held_also_when_the_payment_has_its_number() {
    let shop = Shop::open().await;
    shop.expect("pay_1").await.is(200);
    shop.deliver("pay_1").await.is(200);
    shop.until_paid("pay_1").await;
    shop.deliver_to("shop", "evt_2", "pay_1", 40).await;
    let held = shop.until_held().await;
    let why = held["last_error"].as_str().unwrap();
    assert!(
        why.contains("40 INR were paid, and RCP-0001 was issued for 100 INR"),
        "{why}"
    );
}

/// Each payment whose webhook came after midnight was held, and a retry said the same.
#[tokio::test]
async fn a_late_event_takes_the_day_of_its_number_where_dates_must_not_run_backwards() {
    let shop = Shop::open_with(SECOND_OTHER).await;
    let other = json!({"format": "OTH-{seq:4}", "test": true, "date_order": "required"});
    shop.world.put("/v1/series/other", other).await.is(201);
    let now = jiff::Timestamp::now().as_second();
    for (payment, at) in [("pay_1", now), ("pay_2", now - 2 * 86_400)] {
        shop.expect(payment).await.is(200);
        shop.deliver_at("second", &event_of(payment), payment, 100, at).await;
        shop.until_paid(payment).await;
    }
    let list = shop.world.get("/v1/entries?series=other").await.is(200).json;
    assert_eq!(count(&list), 2);
    assert_eq!(list["data"][0]["date"], list["data"][1]["date"]);
}
