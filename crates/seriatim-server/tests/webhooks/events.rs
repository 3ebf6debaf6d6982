//! What each provider's bodies mean, and which bodies are not understood.

use bytes::Bytes;
use expect_test::{Expect, expect};
use seriatim_server::webhooks::{BODY_BYTES_MAX, PaymentEvent, Refused, Scheme};

use crate::support::{NOW, at, headers, secret, source, usual_secret};

fn receive(scheme: Scheme, body: &str) -> Result<PaymentEvent, Refused> {
    let secret = secret(scheme, usual_secret(scheme));
    let signed = scheme.sign(body.as_bytes(), &secret, at(NOW), "evt_header").unwrap();
    let pairs: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let received = source(scheme).receive(&headers(&pairs), Bytes::from(body.to_string()), at(NOW));
    received.map(|received| received.event)
}

fn line(scheme: Scheme, body: &str) -> String {
    match receive(scheme, body) {
        Ok(event) => {
            let reference = event
                .reference
                .map_or("-".to_string(), |reference| reference.to_string());
            let mut also: Vec<String> = event.also.iter().map(ToString::to_string).collect();
            also.extend(event.given.iter().map(|given| format!("given: {given}")));
            let money = event
                .money
                .map_or("-".to_string(), |money| format!("{} {}", money.minor, money.currency));
            let at = event.at.map_or("-".to_string(), |at| at.to_string());
            format!("{} {} {reference} {also:?} {money} {at}", event.name, event.meaning)
        }
        Err(refused) => format!("{} {}: {refused}", refused.status(), refused.code()),
    }
}

fn check(scheme: Scheme, bodies: &[&str], expected: Expect) {
    let lines: Vec<String> = bodies.iter().map(|body| line(scheme, body) + "\n").collect();
    expected.assert_eq(&lines.concat());
}

fn callback(json: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    format!(r#"{{"response":"{text}"}}"#)
}

#[test]
fn razorpay_is_known_by_its_payment() {
    check(
        Scheme::Razorpay,
        &[
            r#"{"event":"payment.captured","payload":{"payment":{"entity":{"id":"pay_1","order_id":"order_1","amount":100,"currency":"INR","created_at":1700000000}}}}"#,
            r#"{"event":"payment.authorized","payload":{"payment":{"entity":{"id":"pay_1","order_id":null,"amount":100,"currency":"INR"}}}}"#,
            r#"{"event":"order.paid","payload":{"payment":{"entity":{"id":"pay_1","order_id":"order_1","amount":100,"currency":"INR"}},"order":{"entity":{"id":"order_1"}}}}"#,
            r#"{"event":"payment.failed","payload":{"payment":{"entity":{"id":"pay_1"}}}}"#,
            r#"{"event":"refund.processed","payload":{"payment":{"entity":{"id":"pay_1","amount":100,"currency":"INR"}},"refund":{"entity":{"payment_id":"pay_1","amount":40,"currency":"INR"}}}}"#,
            r#"{"event":"settlement.processed","payload":{}}"#,
        ],
        expect![[r#"
            payment.captured paid pay_1 ["order_1"] 100 INR 2023-11-14T22:13:20.000000Z
            payment.authorized authorized pay_1 [] 100 INR -
            order.paid paid pay_1 ["order_1"] 100 INR -
            payment.failed failed pay_1 [] - -
            refund.processed refunded pay_1 [] 40 INR -
            settlement.processed other - [] - -
        "#]],
    );
}

#[test]
fn stripe_is_known_by_its_intent_whatever_the_object() {
    check(
        Scheme::Stripe,
        &[
            r#"{"id":"evt_1","type":"payment_intent.succeeded","created":1700000000,"data":{"object":{"id":"pi_1","amount":100,"amount_received":90,"currency":"eur","latest_charge":"ch_1"}}}"#,
            r#"{"id":"evt_1","type":"charge.succeeded","created":1700000000,"data":{"object":{"id":"ch_1","payment_intent":"pi_1","captured":true,"amount":100,"amount_captured":100,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"charge.succeeded","data":{"object":{"id":"ch_1","payment_intent":"pi_1","captured":false,"amount":100,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"charge.succeeded","data":{"object":{"id":"ch_1","payment_intent":null,"captured":true,"amount_captured":100,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"checkout.session.completed","data":{"object":{"id":"cs_1","payment_intent":"pi_1","client_reference_id":"cart/7","payment_status":"paid","amount_total":100,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"checkout.session.completed","data":{"object":{"id":"cs_1","payment_intent":"pi_1","payment_status":"unpaid","amount_total":100,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"charge.refunded","data":{"object":{"id":"ch_1","payment_intent":"pi_1","amount":100,"amount_refunded":30,"currency":"eur"}}}"#,
            r#"{"id":"evt_1","type":"customer.created","data":{"object":{"id":"cus_1"}}}"#,
            r#"{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}"#,
        ],
        expect![[r#"
            payment_intent.succeeded paid pi_1 ["ch_1"] 90 EUR 2023-11-14T22:13:20.000000Z
            charge.succeeded paid pi_1 ["ch_1"] 100 EUR 2023-11-14T22:13:20.000000Z
            charge.succeeded authorized pi_1 ["ch_1"] 100 EUR -
            charge.succeeded paid ch_1 [] 100 EUR -
            checkout.session.completed paid pi_1 ["cs_1", "given: cart/7"] 100 EUR -
            checkout.session.completed other pi_1 ["cs_1"] 100 EUR -
            charge.refunded refunded pi_1 ["ch_1"] 30 EUR -
            customer.created other - ["cus_1"] - -
            400 missing_field: not understood: the body has no /id
        "#]],
    );
}

#[test]
fn phonepe_is_known_by_the_shops_own_reference() {
    check(
        Scheme::PhonepeXVerify,
        &[
            &callback(
                r#"{"success":true,"code":"PAYMENT_SUCCESS","data":{"merchantTransactionId":"T1","transactionId":"P1","amount":100,"state":"COMPLETED"}}"#,
            ),
            &callback(
                r#"{"success":true,"code":"PAYMENT_SUCCESS","data":{"merchantTransactionId":"T1","amount":100,"state":"FAILED"}}"#,
            ),
            &callback(
                r#"{"success":false,"code":"PAYMENT_PENDING","data":{"merchantTransactionId":"T1","amount":100}}"#,
            ),
            &callback(
                r#"{"success":false,"code":"PAYMENT_DECLINED","data":{"merchantTransactionId":"T1","amount":100}}"#,
            ),
            &callback(r#"{"success":true,"code":"PAYMENT_SUCCESS"}"#),
            &callback("nonsense"),
            r#"{"response":"***"}"#,
        ],
        expect![[r#"
            PAYMENT_SUCCESS paid T1 ["P1"] 100 INR -
            PAYMENT_SUCCESS other T1 [] 100 INR -
            PAYMENT_PENDING other T1 [] 100 INR -
            PAYMENT_DECLINED failed T1 [] 100 INR -
            400 no_payment_reference: not understood: the event PAYMENT_SUCCESS names no payment; /data/merchantTransactionId is empty
            400 not_json: not understood: the body is not JSON: line 1, column 2
            400 not_base64: not understood: `response` in the body is no base64
        "#]],
    );
    check(
        Scheme::PhonepeHmac,
        &[
            r#"{"event":"checkout.order.completed","payload":{"merchantOrderId":"M1","orderId":"O1","state":"COMPLETED","amount":100,"paymentDetails":[{"state":"FAILED","timestamp":1699999990000},{"state":"COMPLETED","timestamp":1700000000123}]}}"#,
            r#"{"event":"checkout.order.completed","payload":{"merchantOrderId":"M1","state":"PENDING","amount":100}}"#,
            r#"{"event":"checkout.order.failed","payload":{"merchantOrderId":"M1","state":"FAILED","amount":100}}"#,
            r#"{"event":"pg.refund.completed","payload":{"merchantRefundId":"R1","originalMerchantOrderId":"M1","state":"COMPLETED","amount":100}}"#,
            r#"{"event":"checkout.order.completed","payload":{"state":"COMPLETED"}}"#,
        ],
        expect![[r#"
            checkout.order.completed paid M1 ["O1"] 100 INR 2023-11-14T22:13:20.123000Z
            checkout.order.completed other M1 [] 100 INR -
            checkout.order.failed failed M1 [] 100 INR -
            pg.refund.completed refunded M1 [] 100 INR -
            400 no_payment_reference: not understood: the event checkout.order.completed names no payment; /payload/merchantOrderId, /payload/originalMerchantOrderId is empty
        "#]],
    );
}

#[test]
fn what_cannot_be_a_payment_is_refused_with_its_reason() {
    let long = format!(
        r#"{{"type":"payment.paid","data":{{"payment_id":"{}"}}}}"#,
        "x".repeat(500)
    );
    let fits = format!(
        r#"{{"type":"payment.paid","data":{{"payment_id":"{}"}}}}"#,
        "x".repeat(255)
    );
    assert!(receive(Scheme::Standard, &fits).is_ok());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    check(
        Scheme::Standard,
        &[
            &long,
            &deep,
            "",
            "not json",
            r#"{"type":"payment.paid","data":{}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":7}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":""}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":" p"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p\u0000"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"pä"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"../a'b\"c/d"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":-1,"currency":"INR"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":1.5,"currency":"INR"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":"100","currency":"INR"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":1e3,"currency":"INR"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":9223372036854775808,"currency":"INR"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":1,"currency":"rupees"}}"#,
            r#"{"type":"payment.paid","data":{"payment_id":"p","amount":1}}"#,
            r#"{"type":"payment.paid","timestamp":"soon","data":{"payment_id":"p"}}"#,
            r#"{"type":"payment.paid","timestamp":"2026-03-31T23:59:59+05:30","data":{"payment_id":"p"}}"#,
            r#"{"data":{"payment_id":"p"}}"#,
            r#"{"type":"something.else"}"#,
        ],
        expect![[r#"
            400 invalid_payment_reference: not understood: the payment reference in /data/payment_id has more than 255 characters
            400 missing_field: not understood: the body has no /type
            400 not_json: not understood: the body is not JSON: line 1, column 0
            400 not_json: not understood: the body is not JSON: line 1, column 2
            400 no_payment_reference: not understood: the event payment.paid names no payment; /data/payment_id is empty
            400 invalid_field: not understood: /data/payment_id in the body is no text
            400 invalid_payment_reference: not understood: the payment reference in /data/payment_id is empty
            400 invalid_payment_reference: not understood: the payment reference in /data/payment_id begins or ends with a space
            400 invalid_payment_reference: not understood: the payment reference in /data/payment_id is not printable ASCII
            400 invalid_payment_reference: not understood: the payment reference in /data/payment_id is not printable ASCII
            payment.paid paid ../a'b"c/d [] - -
            400 invalid_amount: not understood: the amount in /data/amount is no whole number of minor units, zero or more
            400 invalid_amount: not understood: the amount in /data/amount is no whole number of minor units, zero or more
            400 invalid_amount: not understood: the amount in /data/amount is no whole number of minor units, zero or more
            400 invalid_amount: not understood: the amount in /data/amount is no whole number of minor units, zero or more
            400 invalid_amount: not understood: the amount in /data/amount is no whole number of minor units, zero or more
            400 invalid_currency: not understood: the currency in /data/currency is not three letters
            400 missing_field: not understood: the body has no /data/currency
            400 invalid_field: not understood: /timestamp in the body is neither a unix time nor one like 2026-03-31T23:59:59+05:30
            payment.paid paid p [] - 2026-03-31T18:29:59.000000Z
            400 missing_field: not understood: the body has no /type
            something.else other - [] - -
        "#]],
    );
}

#[test]
fn a_body_over_the_limit_is_refused_before_its_signature_is_looked_at() {
    let refused = source(Scheme::Razorpay).receive(&headers(&[]), Bytes::from(vec![b' '; BODY_BYTES_MAX + 1]), at(NOW));
    assert_eq!(refused.unwrap_err().status(), 413);
    let refused = source(Scheme::Razorpay).receive(&headers(&[]), Bytes::from(vec![b' '; BODY_BYTES_MAX]), at(NOW));
    assert_eq!(refused.unwrap_err().status(), 401);
}

#[test]
fn an_event_has_the_providers_id_or_the_hash_of_its_body() {
    let body = r#"{"event":"x.y","payload":{}}"#;
    assert_eq!(receive(Scheme::Razorpay, body).unwrap().event_id, "evt_header");
    assert_eq!(
        receive(Scheme::Standard, r#"{"type":"x"}"#).unwrap().event_id,
        "evt_header"
    );
    assert_eq!(
        receive(Scheme::Stripe, r#"{"id":"evt_9","type":"x.y"}"#)
            .unwrap()
            .event_id,
        "evt_9"
    );
    // sha256sum of the body.
    let hash = "c25a0ef59711a57bfd50f0a9f0f282e5b6af5cea4e3197b7df6677f64fe3f565";
    assert_eq!(receive(Scheme::PhonepeHmac, body).unwrap().event_id, hash);
    let secret = secret(Scheme::Razorpay, usual_secret(Scheme::Razorpay));
    let signed = Scheme::Razorpay.sign(body.as_bytes(), &secret, at(NOW), "x").unwrap();
    let only_signature = headers(&[("x-razorpay-signature", &signed[0].1)]);
    let received = source(Scheme::Razorpay)
        .receive(&only_signature, Bytes::from(body), at(NOW))
        .unwrap();
    assert_eq!(received.event.event_id, hash);
}

/// They were refused for a field that nobody needs, and the provider tried each again for days.
#[test]
fn of_an_event_that_no_money_follows_from_only_what_is_needed_must_read() {
    check(
        Scheme::Stripe,
        &[
            r#"{"id":"evt_1","type":"issuing_transaction.created","data":{"object":{"amount":-100,"currency":"usd"}}}"#,
            r#"{"id":"evt_1","type":"customer.updated","data":{"object":{"charge":{"id":"ch_1"},"payment_intent":7}}}"#,
            r#"{"id":"evt_1","type":"charge.refunded","created":"soon","data":{"object":{"id":"ch_1","payment_intent":"pi_1","amount_refunded":1.5,"currency":"usd"}}}"#,
            r#"{"id":"evt_1","type":"charge.refunded","data":{"object":{"payment_intent":7}}}"#,
            r#"{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","amount_received":-100,"currency":"usd"}}}"#,
        ],
        expect![[r#"
            issuing_transaction.created other - [] - -
            customer.updated other - [] - -
            charge.refunded refunded pi_1 ["ch_1"] - -
            400 invalid_field: not understood: /data/object/payment_intent in the body is no text
            400 invalid_amount: not understood: the amount in /data/object/amount_received is no whole number of minor units, zero or more
        "#]],
    );
    check(
        Scheme::Razorpay,
        &[
            r#"{"event":"payment.failed","payload":{"payment":{"entity":{"id":"pay_1","amount":100}}}}"#,
            r#"{"event":"settlement.processed","payload":{"payment":{"entity":{"id":7,"amount":"x"}}}}"#,
        ],
        expect![[r#"
            payment.failed failed pay_1 [] - -
            settlement.processed other - [] - -
        "#]],
    );
    check(
        Scheme::Standard,
        &[
            r#"{"type":"stock.changed","timestamp":"soon","data":{"payment_id":12,"amount":12.5}}"#,
            r#"{"type":"payment.failed","data":{"payment_id":"p_1","amount":12}}"#,
        ],
        expect![[r#"
            stock.changed other - [] - -
            payment.failed failed p_1 [] - -
        "#]],
    );
    let other = callback(r#"{"code":"PAYMENT_PENDING","data":{"amount":"x","state":7,"transactionId":7}}"#);
    check(
        Scheme::PhonepeXVerify,
        &[&other],
        expect![[r#"
        PAYMENT_PENDING other - [] - -
    "#]],
    );
    let other = r#"{"event":"settlement.done","payload":{"amount":-1,"state":{},"merchantOrderId":[]}}"#;
    check(
        Scheme::PhonepeAuthorization,
        &[other],
        expect![[r#"
        settlement.done other - [] - -
    "#]],
    );
}
