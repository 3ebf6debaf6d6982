//! Whatever comes: a changed byte never verifies, and nothing that comes makes the reading fall over.

use bytes::Bytes;
use hyper::header::HeaderMap;
use proptest::prelude::*;
use seriatim_server::webhooks::sample::Sample;
use seriatim_server::webhooks::{Money, PaymentReference, Pointers, Refused, Scheme};

use crate::support::{NOW, at, headers, secret, source, usual_secret};

fn sample(scheme: Scheme) -> (&'static str, Vec<u8>, Vec<(&'static str, String)>) {
    let event = match scheme {
        Scheme::PhonepeXVerify => "PAYMENT_SUCCESS",
        Scheme::PhonepeAuthorization | Scheme::PhonepeHmac => "checkout.order.completed",
        Scheme::Razorpay => "payment.captured",
        Scheme::Stripe => "payment_intent.succeeded",
        Scheme::Standard => "payment.paid",
    };
    let payment = PaymentReference::parse("pay_ABC").unwrap();
    let money = Money {
        minor: 49_900,
        currency: "INR".to_string(),
    };
    let sample = Sample {
        event,
        payment: &payment,
        money: &money,
        at: at(NOW),
    };
    let body = sample.body(scheme, &Pointers::default()).unwrap();
    let secret = secret(scheme, usual_secret(scheme));
    let signed = scheme.sign(&body, &secret, at(NOW), &sample.event_id(scheme)).unwrap();
    (event, body, signed)
}

fn head(signed: &[(&'static str, String)]) -> HeaderMap {
    let pairs: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers(&pairs)
}

fn any_scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(Scheme::ALL.to_vec())
}

proptest! {
    #[test]
    fn a_changed_byte_of_the_body_never_verifies(scheme in any_scheme(), at_byte: prop::sample::Index, bits in 1u8..) {
        prop_assume!(scheme.protects_body());
        let (_, mut body, signed) = sample(scheme);
        // Around the signed text of the older callbacks is nothing that is read.
        let (from, to) = if scheme == Scheme::PhonepeXVerify { (13, body.len() - 2) } else { (0, body.len()) };
        body[from + at_byte.index(to - from)] ^= bits;
        prop_assert!(matches!(
            source(scheme).receive(&head(&signed), Bytes::from(body), at(NOW)),
            Err(Refused::Unverified(_))
        ));
    }

    #[test]
    fn a_changed_byte_of_the_signature_never_verifies(scheme in any_scheme(), at_byte: prop::sample::Index, bits in 1u8..) {
        let (_, body, mut signed) = sample(scheme);
        let unsigned = |name: &str| name == "X-Razorpay-Event-Id";
        let (name, value) = signed.iter_mut().rfind(|(name, _)| !unsigned(name)).unwrap();
        let mut changed = value.clone().into_bytes();
        let at_byte = at_byte.index(changed.len());
        changed[at_byte] ^= bits;
        let decodes_alike = changed.eq_ignore_ascii_case(value.as_bytes());
        let Ok(changed) = String::from_utf8(changed) else { return Ok(()); };
        prop_assume!(!decodes_alike || scheme == Scheme::Standard);
        prop_assume!(hyper::header::HeaderValue::from_str(&changed).is_ok());
        // A space is left alone between signatures, and nothing else is.
        prop_assume!(*name != "Webhook-Signature" || changed.trim() != value.trim());
        *value = changed;
        prop_assert!(matches!(
            source(scheme).receive(&head(&signed), Bytes::from(body), at(NOW)),
            Err(Refused::Unverified(_))
        ));
    }

    #[test]
    fn arbitrary_bytes_and_headers_are_refused_and_never_panic(
        scheme in any_scheme(),
        body in prop::collection::vec(any::<u8>(), 0..400),
        value in "[ -~]{0,120}",
    ) {
        let names = ["stripe-signature", "x-razorpay-signature", "x-verify", "authorization",
            "x-phonepe-checksum-signature", "webhook-id", "webhook-timestamp", "webhook-signature"];
        let pairs: Vec<(&str, &str)> = names.iter().map(|name| (*name, value.as_str())).collect();
        prop_assert!(source(scheme).receive(&headers(&pairs), Bytes::from(body), at(NOW)).is_err());
    }

    #[test]
    fn a_signed_body_of_any_bytes_never_panics(scheme in any_scheme(), cut: prop::sample::Index, at_byte: prop::sample::Index, byte: u8) {
        let (_, mut body, _) = sample(scheme);
        let index = at_byte.index(body.len());
        body[index] = byte;
        body.truncate(cut.index(body.len()) + 1);
        let secret = secret(scheme, usual_secret(scheme));
        if let Ok(signed) = scheme.sign(&body, &secret, at(NOW), "msg_1") {
            let received = source(scheme).receive(&head(&signed), Bytes::from(body), at(NOW));
            prop_assert!(!matches!(received, Err(Refused::Unverified(_))));
        }
    }
}

#[test]
fn what_is_sent_here_is_received_here() {
    for scheme in Scheme::ALL {
        let (event, body, signed) = sample(scheme);
        let received = source(scheme)
            .receive(&head(&signed), Bytes::from(body.clone()), at(NOW))
            .unwrap();
        assert_eq!(received.event.name, event);
        assert_eq!(received.event.meaning.as_str(), "paid", "{scheme}");
        assert_eq!(received.event.reference.as_ref().unwrap().as_str(), "pay_ABC");
        let money = received.event.money.unwrap();
        assert_eq!((money.minor, money.currency.as_str()), (49_900, "INR"));
        assert_eq!(received.must_confirm, scheme == Scheme::PhonepeAuthorization);
        assert_eq!(received.body, body);
    }
}
