//! Razorpay. The reference is the payment's id (`pay_…`), as the status API wants it; the order's id is an alias.

use super::super::Malformed;
use super::body::wanted;
use super::{Body, Meaning, PaymentEvent};

const PAYMENT: &str = "/payload/payment/entity";
const REFUND: &str = "/payload/refund/entity";

/// A webhook.
pub(in crate::webhooks) fn parse(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/event")?;
    let meaning = match name.as_str() {
        "payment.captured" | "order.paid" | "payment_link.paid" | "invoice.paid" => Meaning::Paid,
        "payment.authorized" => Meaning::Authorized,
        "payment.failed" => Meaning::Failed,
        "refund.processed" => Meaning::Refunded,
        _ => Meaning::Other,
    };
    let pointers = [&*format!("{PAYMENT}/id"), &*format!("{REFUND}/payment_id")];
    let reference = body.payment(&name, meaning, &pointers)?;
    // What went back, not what was paid.
    let entity = if body.has(REFUND) { REFUND } else { PAYMENT };
    let aliases = [&*format!("{PAYMENT}/order_id"), "/payload/order/entity/id"];
    Ok(PaymentEvent {
        event_id,
        also: wanted(meaning, body.also(reference.as_ref(), &aliases))?,
        given: None,
        money: wanted(
            meaning,
            body.money(&format!("{entity}/amount"), &format!("{entity}/currency")),
        )?,
        at: wanted(meaning, body.seconds(&format!("{entity}/created_at")))?,
        name,
        meaning,
        reference,
    })
}

/// The answer of `GET /v1/payments/{id}`.
pub(in crate::webhooks) fn parse_payment(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/status")?;
    let meaning = match name.as_str() {
        "captured" => Meaning::Paid,
        "authorized" => Meaning::Authorized,
        "failed" => Meaning::Failed,
        "refunded" => Meaning::Refunded,
        _ => Meaning::Other,
    };
    let reference = body.reference("/id")?;
    Ok(PaymentEvent {
        event_id,
        also: body.also(reference.as_ref(), &["/order_id"])?,
        given: None,
        money: body.money("/amount", "/currency")?,
        at: body.seconds("/created_at")?,
        name,
        meaning,
        reference,
    })
}
