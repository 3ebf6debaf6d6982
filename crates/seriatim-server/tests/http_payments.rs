//! Payments over HTTP, within one process: what a shop may expect, what is held, and what strangers cannot do.

mod http;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Answer, World};
use serde_json::{Value, json};
use seriatim::{GatePolicy, Issuer, Memory, Ttl};
use seriatim_server::app::{App, AppOptions};
use seriatim_server::config::Config;
use seriatim_server::payments::{Pace, Payments, Workers};
use seriatim_server::routes::router;
use seriatim_server::webhooks::sample::Sample;
use seriatim_server::webhooks::{Money, PaymentReference, Pointers, Scheme, Secret, Source};

const SECRET: &str = "topsecret";

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
        let pace = Pace {
            workers: 2,
            lease: Ttl::from_seconds(60).unwrap(),
            policy: GatePolicy::default(),
        };
        let payments = Arc::new(Payments::new(issuer.clone(), sources(settings), None, pace).unwrap());
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
        let reference = PaymentReference::parse(payment).unwrap();
        let sample = Sample {
            event: "payment.captured",
            payment: &reference,
            money: &Money {
                minor: 100,
                currency: "INR".to_string(),
            },
            at: self.world.app.issuer().clock().now(),
        };
        let body = sample.body(Scheme::Razorpay, &Pointers::default()).unwrap();
        let secret = Secret::parse(Scheme::Razorpay, SECRET).unwrap();
        let signed = Scheme::Razorpay
            .sign(&body, &secret, sample.at, &event_of(payment))
            .unwrap();
        let mut ask = self.world.ask("POST", "/v1/webhooks/shop").who(&http::Who::Nobody);
        for (name, value) in &signed {
            ask = ask.header(name, value);
        }
        ask.body(body).send().await
    }

    async fn payment(&self, payment: &str) -> Value {
        self.world.get(&format!("/v1/payments/{payment}")).await.is(200).json
    }

    async fn until_paid(&self, payment: &str) -> Value {
        let started = Instant::now();
        loop {
            let shown = self.payment(payment).await;
            if shown["state"] == "paid" {
                return shown;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{shown}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The first gate that somebody must look at.
    async fn until_held(&self) -> Value {
        let started = Instant::now();
        loop {
            let dead = self.world.get("/v1/gates?state=dead").await.is(200);
            if let Some(gate) = dead.json["data"].get(0) {
                return gate.clone();
            }
            assert!(started.elapsed() < Duration::from_secs(30), "nothing is held");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn sources(settings: &str) -> Vec<Source> {
    let file = format!(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"{SECRET}\"]\ntest = true\n{settings}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seriatim.toml");
    std::fs::write(&path, file).unwrap();
    let config = Config::load(Some(Path::new(&path)), Default::default(), &|_| None).unwrap();
    Source::all(&config).unwrap()
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
}
