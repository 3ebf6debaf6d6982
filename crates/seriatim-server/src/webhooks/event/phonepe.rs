//! PhonePe. The reference is the one that the shop chose: `merchantTransactionId`, in v2 `merchantOrderId`. Amounts
//! are paise. There is no id of an event.

use super::super::Malformed;
use super::body::wanted;
use super::{Body, Meaning, PaymentEvent};

/// An older callback, or the answer of the older status API: the two look alike.
pub(in crate::webhooks) fn parse_callback(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/code")?;
    let meaning = match name.as_str() {
        // One field says paid and the other does not: a person has to look, and nothing is issued.
        "PAYMENT_SUCCESS" if matches!(body.text("/data/state")?.as_deref(), None | Some("COMPLETED")) => Meaning::Paid,
        "PAYMENT_ERROR" | "PAYMENT_DECLINED" | "PAYMENT_CANCELLED" | "TIMED_OUT" => Meaning::Failed,
        _ => Meaning::Other,
    };
    let reference = body.payment(&name, meaning, &["/data/merchantTransactionId"])?;
    Ok(PaymentEvent {
        event_id,
        also: wanted(meaning, body.also(reference.as_ref(), &["/data/transactionId"]))?,
        given: None,
        money: wanted(meaning, body.paise("/data/amount"))?,
        at: None,
        name,
        meaning,
        reference,
    })
}

/// An event of v2.
pub(in crate::webhooks) fn parse_event(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/event")?;
    // `type` is on its way out; `event` and the root state say it.
    let state = || body.text("/payload/state");
    let meaning = match name.as_str() {
        "checkout.order.completed" | "pg.order.completed" if state()?.as_deref() == Some("COMPLETED") => Meaning::Paid,
        "checkout.order.failed" | "pg.order.failed" => Meaning::Failed,
        "pg.refund.completed" if matches!(state()?.as_deref(), Some("COMPLETED" | "CONFIRMED")) => Meaning::Refunded,
        _ => Meaning::Other,
    };
    let pointers = ["/payload/merchantOrderId", "/payload/originalMerchantOrderId"];
    let reference = body.payment(&name, meaning, &pointers)?;
    Ok(PaymentEvent {
        event_id,
        also: wanted(meaning, body.also(reference.as_ref(), &["/payload/orderId"]))?,
        given: None,
        money: wanted(meaning, body.paise("/payload/amount"))?,
        at: wanted(meaning, paid_at(body, "/payload"))?,
        name,
        meaning,
        reference,
    })
}

/// The answer of the v2 order status API, which is like the payload of an event.
pub(in crate::webhooks) fn parse_order(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/state")?;
    let meaning = match name.as_str() {
        "COMPLETED" => Meaning::Paid,
        "FAILED" => Meaning::Failed,
        _ => Meaning::Other,
    };
    let reference = body.reference("/merchantOrderId")?;
    Ok(PaymentEvent {
        event_id,
        also: body.also(reference.as_ref(), &["/orderId"])?,
        given: None,
        money: body.paise("/amount")?,
        at: paid_at(body, "")?,
        name,
        meaning,
        reference,
    })
}

/// The time of the attempt that went through; an order may have failed ones before it.
fn paid_at(body: &Body, root: &str) -> Result<Option<seriatim_core::Timestamp>, Malformed> {
    for attempt in 0..body.len(&format!("{root}/paymentDetails")) {
        let attempt = format!("{root}/paymentDetails/{attempt}");
        if body.text(&format!("{attempt}/state"))?.as_deref() == Some("COMPLETED") {
            return body.millis(&format!("{attempt}/timestamp"));
        }
    }
    Ok(None)
}
