//! Every published vector verifies; everything near one does not, and says why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seriatim_server::webhooks::{SIGNATURES_MAX, Scheme, Unverified, WINDOW_SECONDS};

use crate::support::{BODY, NOW, at, headers, secret, usual_secret};

struct Delivery {
    scheme: Scheme,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    now: i64,
    secrets: Vec<&'static str>,
}

impl Delivery {
    fn verified(&self) -> Result<Option<String>, Unverified> {
        let pairs: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let secrets: Vec<_> = self.secrets.iter().map(|text| secret(self.scheme, text)).collect();
        let verified = self
            .scheme
            .verify(&headers(&pairs), &self.body, at(self.now), &secrets)?;
        assert_eq!(verified.must_confirm, self.scheme == Scheme::PhonepeAuthorization);
        Ok(verified.event_id)
    }

    fn refused(&self) -> &'static str {
        self.verified().unwrap_err().code()
    }

    fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = self.headers.clone();
        headers
            .iter_mut()
            .filter(|(known, _)| *known == name)
            .for_each(|(_, known)| known.clear());
        headers.retain(|(_, value)| !value.is_empty());
        headers.push((name, value.into()));
        Self {
            headers,
            ..self.again()
        }
    }

    fn again(&self) -> Self {
        Self {
            scheme: self.scheme,
            headers: self.headers.clone(),
            body: self.body.clone(),
            now: self.now,
            secrets: self.secrets.clone(),
        }
    }

    fn with_body(&self, body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            ..self.again()
        }
    }

    fn at(&self, now: i64) -> Self {
        Self { now, ..self.again() }
    }

    fn with_secrets(&self, secrets: &[&'static str]) -> Self {
        Self {
            secrets: secrets.to_vec(),
            ..self.again()
        }
    }
}

fn vector(scheme: Scheme, headers: &[(&'static str, &str)], body: &[u8], now: i64) -> Delivery {
    Delivery {
        scheme,
        headers: headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_string()))
            .collect(),
        body: body.to_vec(),
        now,
        secrets: vec![usual_secret(scheme)],
    }
}

const STRIPE: &str = "t=1700000000,v1=443baa95fa108c58d0f3289580bf607d190656f0f9e30df6b9868d845a92c8b0";
const RAZORPAY: &str = "c2142705d56630b5eec2139ed0e49ac7edc68417d9e11106183bdcd045e14c10";
const X_VERIFY: &str = "41ca0c9e1c8a9e3f691e583cf2e5d476c48a4e391022001d9b89f7fe98228d3d###1";
const AUTHORIZATION: &str = "04666934945b8265e0dd58c9ec732feda50bef1e3af5cb166ed4a7cd1fced51b";
const CHECKSUM: &str = "ab54f0723fb40fcb496b32e3360608cb5bd190028f7834a1d72f3ca002d064b1";
const ENVELOPE: &[u8] = br#"{"response":"eyJzdWNjZXNzIjp0cnVlLCJjb2RlIjoiUEFZTUVOVF9TVUNDRVNTIn0="}"#;

fn stripe() -> Delivery {
    vector(Scheme::Stripe, &[("stripe-signature", STRIPE)], BODY, NOW)
}

fn razorpay() -> Delivery {
    vector(Scheme::Razorpay, &[("x-razorpay-signature", RAZORPAY)], BODY, NOW)
}

fn x_verify() -> Delivery {
    vector(Scheme::PhonepeXVerify, &[("x-verify", X_VERIFY)], ENVELOPE, NOW)
}

fn authorization() -> Delivery {
    vector(
        Scheme::PhonepeAuthorization,
        &[("authorization", AUTHORIZATION)],
        BODY,
        NOW,
    )
}

fn checksum() -> Delivery {
    vector(
        Scheme::PhonepeHmac,
        &[("x-phonepe-checksum-signature", CHECKSUM)],
        BODY,
        NOW,
    )
}

fn standard() -> Delivery {
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    vector(Scheme::Standard, &headers, br#"{"test": 2432232314}"#, 1_614_265_330)
}

fn vectors() -> [(Delivery, &'static str); 6] {
    [
        (stripe(), "stripe-signature"),
        (razorpay(), "x-razorpay-signature"),
        (x_verify(), "x-verify"),
        (authorization(), "authorization"),
        (checksum(), "x-phonepe-checksum-signature"),
        (standard(), "webhook-signature"),
    ]
}

#[test]
fn every_published_vector_verifies() {
    for (delivery, _) in vectors() {
        let event_id = delivery.verified().unwrap();
        assert_eq!(
            event_id.is_some(),
            delivery.scheme == Scheme::Standard,
            "{}",
            delivery.scheme
        );
    }
}

#[test]
fn what_is_signed_here_is_what_was_published() {
    for (delivery, name) in vectors() {
        let (id, secret) = (
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            secret(delivery.scheme, delivery.secrets[0]),
        );
        let signed = delivery
            .scheme
            .sign(&delivery.body, &secret, at(delivery.now), id)
            .unwrap();
        let find = |(known, value): (&str, String)| known.eq_ignore_ascii_case(name).then_some(value);
        let value = signed.into_iter().find_map(find).unwrap();
        let published = &delivery.headers.last().unwrap().1;
        assert_eq!(value, *published, "{}", delivery.scheme);
    }
}

#[test]
fn a_missing_header_a_repeated_one_and_one_that_is_no_ascii_are_refused() {
    for (delivery, name) in vectors() {
        let mut without = delivery.again();
        without.headers.retain(|(known, _)| *known != name);
        assert_eq!(without.refused(), "missing_header", "{name}");
        let mut twice = delivery.again();
        twice.headers.push((name, delivery.headers.last().unwrap().1.clone()));
        assert_eq!(twice.refused(), "repeated_header", "{name}");
        assert_eq!(delivery.with(name, "h\u{e4}").refused(), "malformed_header", "{name}");
    }
}

#[test]
fn a_signature_one_bit_off_is_refused() {
    let off = |text: &str| if text.ends_with('0') { "1" } else { "0" };
    for (delivery, name) in vectors() {
        let value = delivery.headers.last().unwrap().1.clone();
        let bent = match delivery.scheme {
            Scheme::PhonepeXVerify => value.replacen("41c", "41d", 1),
            Scheme::Standard => value.replacen("g0h", "g1h", 1),
            _ => format!("{}{}", &value[..value.len() - 1], off(&value)),
        };
        assert_eq!(delivery.with(name, bent).refused(), "mismatch", "{name}");
    }
}

#[test]
fn a_signature_that_is_too_short_or_empty_is_refused() {
    assert_eq!(
        razorpay().with("x-razorpay-signature", &RAZORPAY[..62]).refused(),
        "mismatch"
    );
    assert_eq!(
        stripe().with("stripe-signature", "t=1700000000,v1=").refused(),
        "mismatch"
    );
    assert_eq!(standard().with("webhook-signature", "v1,").refused(), "mismatch");
    assert_eq!(x_verify().with("x-verify", "###1").refused(), "mismatch");
}

#[test]
fn json_that_was_written_anew_is_refused() {
    let anew = br#"{"event": "payment.captured", "id": "evt_1"}"#;
    for delivery in [stripe(), razorpay(), checksum()] {
        assert_eq!(delivery.with_body(anew).refused(), "mismatch", "{}", delivery.scheme);
    }
    assert_eq!(standard().with_body(br#"{"test":2432232314}"#).refused(), "mismatch");
    // Here the text inside is what is signed: space around it changes nothing, and another text does.
    let spaced = br#"{ "response": "eyJzdWNjZXNzIjp0cnVlLCJjb2RlIjoiUEFZTUVOVF9TVUNDRVNTIn0=" }"#;
    assert!(x_verify().with_body(spaced).verified().is_ok());
    let unpadded = br#"{"response":"eyJzdWNjZXNzIjp0cnVlLCJjb2RlIjoiUEFZTUVOVF9TVUNDRVNTIn0"}"#;
    assert_eq!(x_verify().with_body(unpadded).refused(), "mismatch");
    // Of two texts only one would have been verified.
    let two = br#"{"response":"eyJzdWNjZXNzIjp0cnVlLCJjb2RlIjoiUEFZTUVOVF9TVUNDRVNTIn0=","response":"e30="}"#;
    assert_eq!(x_verify().with_body(two).refused(), "no_signed_text");
    assert_eq!(x_verify().with_body(b"[]").refused(), "no_signed_text");
}

#[test]
fn an_unknown_secret_is_refused_and_each_of_several_is_taken() {
    let others = [
        ("whsec_other", stripe()),
        ("other", razorpay()),
        ("1:other", x_verify()),
        ("user:other", authorization()),
        ("other", checksum()),
        ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", standard()),
    ];
    for (other, delivery) in others {
        let usual = usual_secret(delivery.scheme);
        assert_eq!(delivery.with_secrets(&[other]).refused(), "mismatch", "{other}");
        assert!(delivery.with_secrets(&[other, usual]).verified().is_ok(), "{other}");
        assert!(delivery.with_secrets(&[usual, other]).verified().is_ok(), "{other}");
    }
}

#[test]
fn a_salt_is_picked_by_its_index() {
    let hash = X_VERIFY.split('#').next().unwrap();
    assert_eq!(
        x_verify().with("x-verify", format!("{hash}###2")).refused(),
        "unknown_salt_index"
    );
    let both = x_verify().with_secrets(&["2:099eb0cd-02cf-4e2a-8aca-3e6c6aff0399", "1:other"]);
    assert_eq!(both.refused(), "mismatch");
    assert!(both.with("x-verify", format!("{hash}###2")).verified().is_ok());
    for header in [
        hash.to_string(),
        format!("{hash}###"),
        format!("{hash}###-1"),
        format!("{hash}####1"),
    ] {
        assert_eq!(
            x_verify().with("x-verify", header.clone()).refused(),
            "malformed_header",
            "{header}"
        );
    }
    // Their examples are upper case.
    assert!(
        x_verify()
            .with("x-verify", format!("{}###1", hash.to_uppercase()))
            .verified()
            .is_ok()
    );
}

#[test]
fn the_window_is_closed_on_both_sides() {
    for (delivery, signed_at) in [(stripe(), NOW), (standard(), 1_614_265_330)] {
        assert!(delivery.at(signed_at + WINDOW_SECONDS).verified().is_ok());
        assert!(delivery.at(signed_at - WINDOW_SECONDS).verified().is_ok());
        assert_eq!(delivery.at(signed_at + WINDOW_SECONDS + 1).refused(), "too_old");
        assert_eq!(delivery.at(signed_at - WINDOW_SECONDS - 1).refused(), "from_future");
    }
    // The time is signed: a fresh one under an old signature is no way in.
    let fresh = STRIPE.replacen("1700000000", "1700000400", 1);
    assert_eq!(
        stripe().with("stripe-signature", fresh).at(NOW + 400).refused(),
        "mismatch"
    );
}

#[test]
fn what_does_not_decode_is_refused() {
    assert_eq!(
        razorpay().with("x-razorpay-signature", "zz").refused(),
        "undecodable_signature"
    );
    assert_eq!(
        checksum().with("x-phonepe-checksum-signature", "abc").refused(),
        "undecodable_signature"
    );
    assert_eq!(
        authorization().with("authorization", "Basic abc").refused(),
        "undecodable_signature"
    );
    assert_eq!(x_verify().with("x-verify", "xy###1").refused(), "undecodable_signature");
    assert_eq!(
        stripe().with("stripe-signature", "t=1700000000,v1=xy").refused(),
        "undecodable_signature"
    );
    assert_eq!(
        standard().with("webhook-signature", "v1,*").refused(),
        "undecodable_signature"
    );
}

#[test]
fn stripes_header_is_read_strictly_and_other_schemes_in_it_are_left_alone() {
    let v1 = STRIPE.split("v1=").nth(1).unwrap();
    let others = format!("t=1700000000,v0=00,v1=00,v1={v1}");
    assert!(stripe().with("stripe-signature", others).verified().is_ok());
    for header in [
        format!("v1={v1}"),
        "t=1700000000".to_string(),
        format!("t=1700000000,t=1700000000,v1={v1}"),
        format!("t=+1700000000,v1={v1}"),
        format!("t=99999999999999999999,v1={v1}"),
        "nonsense".to_string(),
        // v0 alone would be a downgrade.
        format!("t=1700000000,v0={v1}"),
    ] {
        assert_eq!(
            stripe().with("stripe-signature", header.clone()).refused(),
            "malformed_header",
            "{header}"
        );
    }
}

#[test]
fn standards_headers_are_read_strictly() {
    let good = &standard().headers[2].1;
    assert!(
        standard()
            .with("webhook-signature", format!("v9,xx v1,AAAA {good}"))
            .verified()
            .is_ok()
    );
    assert_eq!(
        standard().with("webhook-signature", "v9,xx").refused(),
        "malformed_header"
    );
    assert_eq!(standard().with("webhook-id", "msg_a.b").refused(), "malformed_header");
    assert_eq!(
        standard().with("webhook-timestamp", "1614265330.0").refused(),
        "malformed_header"
    );
}

/// Each signature of a header was a MAC over the whole body of its own: two deliveries with thousands of signatures, which
/// anybody can send, kept the server busy for minutes.
#[test]
fn a_header_with_more_signatures_than_a_provider_sends_is_refused_whatever_they_are() {
    let good = STRIPE.split("v1=").nth(1).unwrap();
    let stripe_with = |others: usize, other: &str| {
        let header = format!("t=1700000000,{}v1={good}", format!("v1={other},").repeat(others));
        stripe().with("stripe-signature", header)
    };
    let good = &standard().headers[2].1;
    let standard_with = |others: usize, other: &str| {
        let header = format!("{}{good}", format!("{other} ").repeat(others));
        standard().with("webhook-signature", header)
    };
    let (hex, base64) = ("00".repeat(32), STANDARD.encode([0; 32]));
    for other in ["", "00", "xy", &hex] {
        assert!(stripe_with(SIGNATURES_MAX - 1, other).verified().is_ok(), "{other}");
        for others in [SIGNATURES_MAX, 10_000] {
            let refused = stripe_with(others, other).refused();
            assert_eq!(refused, "too_many_signatures", "{others} of `{other}`");
        }
    }
    for other in ["v1,".to_string(), "v1,*".to_string(), format!("v1,{base64}")] {
        assert!(standard_with(SIGNATURES_MAX - 1, &other).verified().is_ok(), "{other}");
        for others in [SIGNATURES_MAX, 10_000] {
            let refused = standard_with(others, &other).refused();
            assert_eq!(refused, "too_many_signatures", "{others} of `{other}`");
        }
    }
    let ed25519 = format!("v1a,{}", STANDARD.encode([0; 64]));
    assert!(standard_with(4, &ed25519).verified().is_ok());
    assert_eq!(standard_with(5, &ed25519).refused(), "too_many_signatures");
    // Of versions that are not known there may be any number.
    assert!(standard_with(10_000, "v9,xx").verified().is_ok());
}

#[test]
fn ed25519_signs_with_the_secret_half_and_verifies_with_the_public_one() {
    // RFC 8032, test 1: seed and public key.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let encode = |prefix: &str, hex: &str| format!("{prefix}{}", STANDARD.encode(hex::decode(hex).unwrap()));
    let scheme = Scheme::Standard;
    let signing = secret(scheme, &encode("whsk_", seed));
    let both = secret(scheme, &encode("whsk_", &format!("{seed}{public}")));
    let verifying = secret(scheme, &encode("whpk_", public));
    let signed = scheme.sign(BODY, &signing, at(NOW), "msg_1").unwrap();
    assert_eq!(signed, scheme.sign(BODY, &both, at(NOW), "msg_1").unwrap());
    let pairs: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(pairs[2].1.starts_with("v1a,"));
    let verify = |body: &[u8], known: &_| scheme.verify(&headers(&pairs), body, at(NOW), std::slice::from_ref(known));
    assert!(verify(BODY, &verifying).is_ok());
    assert!(verify(BODY, &signing).is_ok());
    assert_eq!(verify(b"{}", &verifying).unwrap_err(), Unverified::Mismatch);
    // A secret of the other version fits nothing of this one.
    assert_eq!(
        verify(BODY, &secret(scheme, usual_secret(scheme))).unwrap_err(),
        Unverified::Mismatch
    );
    assert!(scheme.sign(BODY, &verifying, at(NOW), "msg_1").is_err());
}
