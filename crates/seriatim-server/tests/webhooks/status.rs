//! Providers are asked over real HTTP; the server of a test checks the request as the provider would.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use reqwest::Url;
use seriatim::SystemClock;
use seriatim_server::webhooks::status::{Provider, StatusApi, StatusError, StatusSettings};
use seriatim_server::webhooks::{Meaning, PaymentEvent, PaymentReference};
use sha2::{Digest as _, Sha256};

type Answer = Arc<dyn Fn(Request) -> Response + Send + Sync>;

async fn serve(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> String {
    let answer: Answer = Arc::new(answer);
    let handler = |State(answer): State<Answer>, request: Request| async move { answer(request) };
    let router = Router::new().fallback(handler).with_state(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn ask(provider: Provider, base: &str, reference: &str) -> Result<PaymentEvent, StatusError> {
    api(provider, base)
        .status(&PaymentReference::parse(reference).unwrap())
        .await
}

fn api(provider: Provider, base: &str) -> StatusApi {
    let settings = StatusSettings {
        provider,
        url: Url::parse(&format!("{base}/base")).unwrap(),
        token_url: Url::parse(&format!("{base}/token")).unwrap(),
        id: "ID".to_string(),
        secret: "SECRET".to_string(),
        version: 1,
        within: Duration::from_millis(500),
    };
    StatusApi::new(settings, Arc::new(SystemClock)).unwrap()
}

fn header(request: &Request, name: &str) -> String {
    let value = request.headers().get(name);
    value
        .map(|value| value.to_str().unwrap().to_string())
        .unwrap_or_default()
}

fn denied() -> Response {
    (axum::http::StatusCode::UNAUTHORIZED, "no").into_response()
}

fn status(code: u16) -> Response {
    axum::http::StatusCode::from_u16(code).unwrap().into_response()
}

#[tokio::test]
async fn razorpay_is_asked_with_its_key() {
    let base = serve(|request| {
        let login = base64::engine::general_purpose::STANDARD.encode("ID:SECRET");
        if header(&request, "authorization") != format!("Basic {login}") {
            return denied();
        }
        assert_eq!(request.uri(), "/base/v1/payments/pay_1");
        r#"{"id":"pay_1","status":"captured","amount":100,"currency":"INR","order_id":"order_1","created_at":1700000000}"#.into_response()
    })
    .await;
    let event = ask(Provider::Razorpay, &base, "pay_1").await.unwrap();
    assert_eq!(event.meaning, Meaning::Paid);
    assert_eq!(event.money.unwrap().minor, 100);
    assert_eq!(event.also[0].as_str(), "order_1");
    assert_eq!(event.at.unwrap().as_micros(), 1_700_000_000_000_000);
}

#[tokio::test]
async fn stripe_is_asked_with_its_key_and_for_the_time_of_the_charge() {
    let base = serve(|request| {
        if header(&request, "authorization") != "Bearer SECRET" {
            return denied();
        }
        assert_eq!(request.uri(), "/base/v1/payment_intents/pi_1?expand%5B%5D=latest_charge");
        r#"{"id":"pi_1","status":"succeeded","amount":100,"amount_received":100,"currency":"eur","created":1,"latest_charge":{"id":"ch_1","created":1700000000}}"#.into_response()
    })
    .await;
    let event = ask(Provider::Stripe, &base, "pi_1").await.unwrap();
    assert_eq!(
        (event.meaning, event.at.unwrap().as_micros()),
        (Meaning::Paid, 1_700_000_000_000_000)
    );
}

#[tokio::test]
async fn phonepe_is_asked_with_a_signature_over_the_path() {
    let base = serve(|request| {
        let path = "/pg/v1/status/ID/T1";
        assert_eq!(request.uri().path(), format!("/base{path}"));
        let expected = hex::encode(Sha256::digest(format!("{path}SECRET"))) + "###1";
        if header(&request, "x-verify") != expected || header(&request, "x-merchant-id") != "ID" {
            return denied();
        }
        r#"{"success":true,"code":"PAYMENT_SUCCESS","data":{"merchantTransactionId":"T1","amount":100,"state":"COMPLETED"}}"#.into_response()
    })
    .await;
    let event = ask(Provider::Phonepe, &base, "T1").await.unwrap();
    assert_eq!(
        (event.meaning, event.money.unwrap().currency.as_str()),
        (Meaning::Paid, "INR")
    );
}

#[tokio::test]
async fn phonepe_v2_is_asked_with_a_token_that_is_kept_and_renewed_once() {
    let granted = Arc::new(AtomicUsize::new(0));
    let count = granted.clone();
    let base = serve(move |request| {
        if request.uri().path() == "/token" {
            let number = count.fetch_add(1, Ordering::SeqCst);
            return format!(r#"{{"access_token":"t{number}","expires_at":99999999999}}"#).into_response();
        }
        assert_eq!(request.uri(), "/base/checkout/v2/order/M1/status");
        // The first token was taken back.
        if header(&request, "authorization") != "O-Bearer t1" {
            return denied();
        }
        r#"{"orderId":"O1","state":"COMPLETED","amount":100,"paymentDetails":[{"state":"COMPLETED","timestamp":1700000000123}]}"#.into_response()
    })
    .await;
    let api = api(Provider::PhonepeV2, &base);
    for _ in 0..3 {
        let event = api.status(&PaymentReference::parse("M1").unwrap()).await.unwrap();
        assert_eq!(
            (event.meaning, event.reference.unwrap().as_str()),
            (Meaning::Paid, "M1")
        );
        assert_eq!(event.at.unwrap().as_micros(), 1_700_000_000_123_000);
    }
    assert_eq!(granted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_clients_credentials() {
    use http_body_util::BodyExt as _;
    let (seen, form) = std::sync::mpsc::channel();
    let base = serve(move |request| {
        let seen = seen.clone();
        tokio::spawn(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.send(String::from_utf8(body.to_vec()).unwrap()).unwrap();
        });
        denied()
    })
    .await;
    let error = ask(Provider::PhonepeV2, &base, "M1").await.unwrap_err();
    assert!(
        error.what.starts_with("no token: it answered 401") && !error.retry,
        "{error}"
    );
    let form = tokio::task::spawn_blocking(move || form.recv_timeout(Duration::from_secs(5)).unwrap())
        .await
        .unwrap();
    assert_eq!(
        form,
        "client_id=ID&client_version=1&client_secret=SECRET&grant_type=client_credentials"
    );
}

#[tokio::test]
async fn every_failure_says_whether_to_ask_again() {
    for (code, retry) in [
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (408, true),
        (429, true),
        (500, true),
        (503, true),
    ] {
        let base = serve(move |_| status(code)).await;
        let error = ask(Provider::Razorpay, &base, "pay_1").await.unwrap_err();
        assert_eq!((error.retry, error.not_found), (retry, code == 404), "{error}");
        assert!(error.what.contains(&code.to_string()), "{error}");
        assert!(!error.to_string().contains("SECRET"));
    }
    let nobody = ask(Provider::Razorpay, "http://127.0.0.1:1", "pay_1")
        .await
        .unwrap_err();
    assert!(nobody.retry, "{nobody}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = serve(|_| panic!("the credentials went elsewhere")).await;
    let base = serve(move |_| axum::response::Redirect::temporary(&elsewhere).into_response()).await;
    let error = ask(Provider::Stripe, &base, "pi_1").await.unwrap_err();
    assert!(error.what.contains("redirect") && !error.retry, "{error}");
}

#[tokio::test]
async fn a_provider_that_is_slow_is_given_up_and_may_be_asked_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let error = ask(Provider::Stripe, &base, "pi_1").await.unwrap_err();
    assert!(error.retry && error.what.contains("in time"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_too_long_not_json_or_about_another_payment_is_refused() {
    let answers = [
        ("x".repeat(2 * 1024 * 1024), "longer than"),
        ("<html>".to_string(), "not JSON"),
        (
            r#"{"id":"pay_2","status":"captured"}"#.to_string(),
            "another payment, pay_2",
        ),
        (r#"{"status":"captured"}"#.to_string(), "names no payment"),
        (
            r#"{"id":"pay_1","status":"captured","amount":-1,"currency":"INR"}"#.to_string(),
            "amount",
        ),
    ];
    for (answer, expected) in answers {
        let base = serve(move |_| answer.clone().into_response()).await;
        let error = ask(Provider::Razorpay, &base, "pay_1").await.unwrap_err();
        assert!(error.what.contains(expected) && !error.retry, "{error}");
    }
}

#[tokio::test]
async fn a_reference_stays_one_segment_of_the_path() {
    let base = serve(|request| {
        assert_eq!(request.uri().path(), "/base/v1/payments/..%2Fa%3Fb%23%22c");
        r#"{"id":"../a?b#\"c","status":"created"}"#.into_response()
    })
    .await;
    let event = ask(Provider::Razorpay, &base, "../a?b#\"c").await.unwrap();
    assert_eq!(event.meaning, Meaning::Other);
    assert!(!ask(Provider::Razorpay, &base, "..").await.unwrap_err().retry);
}
