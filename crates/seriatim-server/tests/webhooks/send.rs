//! `seriatim webhook send`: what arrives is what the source takes, and real numbers are out of reach by a slip.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use expect_test::{Expect, expect};
use seriatim::{Clock as _, SystemClock};
use seriatim_server::webhooks::{Received, Refused, Scheme, Source};

use crate::cli_support::Desk;
use crate::support::{source, usual_secret};

/// The path that was called, and what became of the delivery.
type Got = (String, Result<Received, Refused>);

#[derive(Clone)]
struct Receiver {
    source: Arc<Source>,
    got: Arc<Mutex<Vec<Got>>>,
}

/// Takes deliveries as a route would; its URL, and what it got.
fn receiver(scheme: Scheme) -> (String, Receiver) {
    let receiver = Receiver {
        source: Arc::new(source(scheme)),
        got: Arc::default(),
    };
    async fn take(State(to): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
        let received = to.source.receive(&headers, body, SystemClock.now());
        let status = received.as_ref().map_or_else(Refused::status, |_| 200);
        to.got.lock().unwrap().push((uri.path().to_string(), received));
        StatusCode::from_u16(status).unwrap()
    }
    let router = Router::new().fallback(take).with_state(receiver.clone());
    let (said, url) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            said.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            axum::serve(listener, router).await
        })
    });
    (url.recv().unwrap(), receiver)
}

fn desk(scheme: Scheme, more: &str) -> Desk {
    let desk = Desk::new();
    let status = match scheme {
        Scheme::PhonepeAuthorization => {
            "status = \"phonepe\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_version = 1\n"
        }
        _ => "",
    };
    let secret = usual_secret(scheme);
    let file = format!(
        "[sources.shop]\nscheme = \"{scheme}\"\nseries = \"receipt\"\nsecrets = [\"{secret}\"]\n{status}{more}\n"
    );
    desk.write("seriatim.toml", &file);
    desk
}

#[test]
fn what_is_sent_is_taken_five_times_in_every_scheme() {
    let events = [
        (Scheme::PhonepeXVerify, "PAYMENT_SUCCESS"),
        (Scheme::PhonepeAuthorization, "checkout.order.completed"),
        (Scheme::PhonepeHmac, "checkout.order.completed"),
        (Scheme::Razorpay, "payment.captured"),
        (Scheme::Stripe, "charge.succeeded"),
        (Scheme::Standard, "payment.paid"),
    ];
    for (scheme, event) in events {
        let (url, receiver) = receiver(scheme);
        let desk = desk(scheme, "test = true");
        let ran = desk.run(&[
            "--server",
            &url,
            "webhook",
            "send",
            scheme.as_str(),
            event,
            "--payment",
            "pay_ABC",
            "--repeat",
            "5",
            "--parallel",
            "-o",
            "json",
        ]);
        let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&told["answer"], &told["times"]), (&"200".into(), &5.into()), "{ran:?}");
        assert_eq!(ran.code, 0);
        let got = receiver.got.lock().unwrap();
        let mut ids = Vec::new();
        for (path, received) in got.iter() {
            assert_eq!(path, "/v1/webhooks/shop");
            let event = &received.as_ref().unwrap().event;
            assert_eq!(event.reference.as_ref().unwrap().as_str(), "pay_ABC");
            ids.push(event.event_id.clone());
        }
        ids.dedup();
        assert_eq!((got.len(), ids.len()), (5, 1), "{scheme}");
    }
}

#[test]
fn a_refused_delivery_is_a_failure() {
    let (url, receiver) = receiver(Scheme::Razorpay);
    let desk = desk(Scheme::Razorpay, "test = true");
    desk.write("other", "another secret\n");
    let ran = desk.run(&[
        "webhook",
        "send",
        "razorpay",
        "payment.captured",
        "--payment",
        "p",
        "--repeat",
        "2",
        "--to",
        &url,
        "--secret-file",
        "other",
    ]);
    assert!(ran.stdout.starts_with("401\t2\t"), "{ran:?}");
    assert!(ran.stderr.contains("2 of 2 deliveries were not taken"), "{ran:?}");
    assert_eq!((ran.code, receiver.got.lock().unwrap().len()), (1, 2));
}

fn check(desk: &Desk, arguments: &[&str], expected: Expect) {
    expected.assert_eq(&desk.run(&[&["webhook", "send"], arguments].concat()).seen());
}

#[test]
fn real_numbers_are_not_issued_by_a_slip() {
    let usual = ["razorpay", "payment.captured", "--payment", "p"];
    check(
        &desk(Scheme::Razorpay, ""),
        &usual,
        expect![[r#"
        error: source shop issues real numbers, in series receipt; set test = true in [sources.shop], or say --live receipt
          code not_a_test_series; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk(Scheme::Stripe, ""),
        &usual,
        expect![[r#"
        error: no source of the configuration has the scheme razorpay, so nobody can tell whether real numbers would be issued; give --config with the server's [sources.NAME], or name the series with --live SERIES
          code not_a_test_series; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk(Scheme::Razorpay, ""),
        &[&usual[..], &["--live", "other"]].concat(),
        expect![[r#"
            error: source shop issues in series receipt, not in other
              code not_a_test_series; nothing was written; change the request
            exit 5
        "#]],
    );
    // It is let through, and finds nobody there.
    let live = [&usual[..], &["--live", "receipt", "--to", "http://127.0.0.1:1/"]].concat();
    let ran = desk(Scheme::Razorpay, "").run(&[&["webhook", "send"], &live[..]].concat());
    assert_eq!(
        (ran.code, ran.stdout.starts_with("no connection\t1")),
        (4, true),
        "{ran:?}"
    );
}

#[test]
fn what_cannot_be_sent_says_why() {
    let desk = desk(Scheme::Razorpay, "test = true");
    check(
        &desk,
        &["paypal", "x", "--payment", "p"],
        expect![[r#"
        error: invalid value 'paypal' for '<SCHEME>': use one of phonepe-x-verify, phonepe-authorization, phonepe-hmac, razorpay, stripe, standard

        For more information, try '--help'.
        exit 2
    "#]],
    );
    check(
        &desk,
        &["razorpay", "payment.lost", "--payment", "p"],
        expect![[r#"
        error: razorpay has no event `payment.lost` that can be built; there are payment.captured, payment.authorized, payment.failed, order.paid, refund.processed
        exit 2
    "#]],
    );
    check(
        &desk,
        &["razorpay", "payment.captured", "--payment", "ä"],
        expect![[r#"
        error: invalid value 'ä' for '--payment <REFERENCE>': it is not printable ASCII

        For more information, try '--help'.
        exit 2
    "#]],
    );
    check(
        &desk,
        &["razorpay", "payment.captured", "--payment", "p", "--source", "shap"],
        expect![[r#"
            error: there is no [sources.shap] in the configuration
            exit 2
        "#]],
    );
    check(
        &desk,
        &["stripe", "x", "--payment", "p", "--source", "shop"],
        expect![[r#"
            error: source shop has the scheme razorpay, not stripe
            exit 2
        "#]],
    );
    check(
        &desk,
        &["razorpay", "payment.captured", "--payment", "p", "--to", "ftp://x"],
        expect![[r#"
            error: --to ftp://x: write it like http://127.0.0.1:8080/v1/webhooks/NAME
            exit 2
        "#]],
    );
    check(
        &desk,
        &["stripe", "x", "--payment", "p", "--live", "a"],
        expect![[r#"
        error: say where to send it, with --to or --source
        exit 2
    "#]],
    );
}
