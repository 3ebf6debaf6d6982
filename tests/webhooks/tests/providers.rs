//! What the providers' libraries sign verifies here, and what is signed here verifies there.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use seriatim_core::Timestamp;
use seriatim_server::webhooks::{Scheme, Secret, Unverified};

const SECRETS: [(Scheme, &str); 3] = [
    (Scheme::Stripe, "whsec_test_secret"),
    (Scheme::Razorpay, "rzp secret with ünïcode"),
    (Scheme::Standard, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
];

const BODIES: [&str; 3] = [
    r#"{"id":"evt_1","object":"event","type":"payment.captured"}"#,
    "{ \"id\": \"evt_1\",\n\t\"object\": \"event\", \"name\": \"रसीद ₹ \\u20ac\" }",
    r#"{"id":"evt_1","object":"event","amount":1.0,"amount":2}"#,
];

/// Their libraries read the clock of the machine; so does this.
fn now() -> i64 {
    use seriatim_server::webhooks::WINDOW_SECONDS;
    let output = Command::new("date").arg("+%s").output().unwrap();
    let now: i64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert!(now > WINDOW_SECONDS);
    now
}

/// What their libraries answer, one by one.
fn node(asked: &[Value]) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = folder.join("node_modules/stripe");
    assert!(
        packages.exists(),
        "the Node packages are not there; run `npm ci` in tests/webhooks"
    );
    let mut child = Command::new("node")
        .arg("check.mjs")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> = asked.iter().map(|asked| format!("{asked}\n")).collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.concat().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), asked.len());
    answers
}

fn every() -> impl Iterator<Item = (Scheme, &'static str, &'static str)> {
    SECRETS
        .into_iter()
        .flat_map(|(scheme, secret)| BODIES.map(|body| (scheme, secret, body)))
}

#[test]
fn what_the_providers_libraries_sign_verifies_here() {
    let now = now();
    let at = Timestamp::from_micros(now * 1_000_000);
    let asked: Vec<Value> = every()
        .map(|(scheme, secret, body)| {
            json!({ "does": "sign", "scheme": scheme.as_str(), "secret": secret, "body": body, "now": now })
        })
        .collect();
    for ((scheme, secret, body), answer) in every().zip(node(&asked)) {
        let mut headers = HeaderMap::new();
        for (name, value) in answer["ok"].as_object().unwrap() {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
        }
        let secrets = [Secret::parse(scheme, secret).unwrap()];
        let verify = |body: &str| scheme.verify(&headers, body.as_bytes(), at, &secrets);
        assert!(verify(body).is_ok(), "{scheme}: {answer}");
        assert_eq!(verify(&format!("{body} ")).unwrap_err(), Unverified::Mismatch);
    }
}

#[test]
fn what_is_signed_here_verifies_with_the_providers_libraries() {
    let now = now();
    let at = Timestamp::from_micros(now * 1_000_000);
    let mut asked = Vec::new();
    for (scheme, secret, body) in every() {
        let key = Secret::parse(scheme, secret).unwrap();
        let signed = scheme.sign(body.as_bytes(), &key, at, "msg_1").unwrap();
        let headers: serde_json::Map<String, Value> = signed
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), Value::String(value)))
            .collect();
        for body in [body.to_string(), format!("{body} ")] {
            asked.push(json!({
                "does": "check", "scheme": scheme.as_str(), "secret": secret, "body": body, "headers": headers, "now": now,
            }));
        }
    }
    for (index, answer) in node(&asked).into_iter().enumerate() {
        // Every second body has a space more than what was signed.
        assert_eq!(answer["ok"].is_null(), index % 2 == 1, "{}: {answer}", asked[index]);
    }
}
