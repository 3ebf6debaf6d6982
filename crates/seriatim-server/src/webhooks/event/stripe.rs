//! Stripe. The reference is the payment intent (`pi_…`) wherever there is one, so that the events of intent, charge and
//! checkout session are of one payment; else the charge or session itself.

use super::super::Malformed;
use super::body::wanted;
use super::{Body, Meaning, PaymentEvent};

const OBJECT: &str = "/data/object";

/// A webhook.
pub(in crate::webhooks) fn parse(body: &Body) -> Result<PaymentEvent, Malformed> {
    let event_id = body.name("/id")?;
    let name = body.name("/type")?;
    let meaning = meaning(&name, body)?;
    let at = |field: &str| format!("{OBJECT}/{field}");
    let reference = body.payment(&name, meaning, &payment_pointers(&name))?;
    let aliases = ["latest_charge", "charge", "id"].map(at);
    let amount = at(amount_field(&name, meaning));
    Ok(PaymentEvent {
        event_id,
        also: wanted(
            meaning,
            body.also(reference.as_ref(), &aliases.each_ref().map(String::as_str)),
        )?,
        given: wanted(meaning, body.reference(&at("client_reference_id")))?,
        money: wanted(meaning, money(body, &amount))?,
        at: wanted(meaning, body.seconds("/created"))?,
        name,
        meaning,
        reference,
    })
}

fn meaning(name: &str, body: &Body) -> Result<Meaning, Malformed> {
    Ok(match name {
        "payment_intent.succeeded" | "charge.captured" | "checkout.session.async_payment_succeeded" => Meaning::Paid,
        // A charge that is only authorized succeeds as well.
        "charge.succeeded" if body.is_true("/data/object/captured") => Meaning::Paid,
        "charge.succeeded" | "payment_intent.amount_capturable_updated" => Meaning::Authorized,
        // A session is complete before a slow method of payment has paid.
        "checkout.session.completed" if body.text("/data/object/payment_status")?.as_deref() == Some("paid") => {
            Meaning::Paid
        }
        "payment_intent.payment_failed"
        | "payment_intent.canceled"
        | "charge.failed"
        | "checkout.session.async_payment_failed" => Meaning::Failed,
        "charge.refunded" => Meaning::Refunded,
        _ => Meaning::Other,
    })
}

/// An object's own id is a payment's only where the object is one: `re_…` or `cus_…` is not.
fn payment_pointers(name: &str) -> Vec<&'static str> {
    let kind = name.rsplit_once('.').map_or(name, |(kind, _)| kind);
    match kind {
        "payment_intent" => vec!["/data/object/id"],
        "charge" | "checkout.session" => vec!["/data/object/payment_intent", "/data/object/id"],
        _ => vec!["/data/object/payment_intent"],
    }
}

fn amount_field(name: &str, meaning: Meaning) -> &'static str {
    match (name.split('.').next().unwrap_or_default(), meaning) {
        ("payment_intent", Meaning::Paid) => "amount_received",
        ("payment_intent", Meaning::Authorized) => "amount_capturable",
        ("charge", Meaning::Paid) => "amount_captured",
        ("charge", Meaning::Refunded) => "amount_refunded",
        ("checkout", _) => "amount_total",
        _ => "amount",
    }
}

/// An object of another kind may have an `amount` that is none of a payment; without a currency it says nothing.
fn money(body: &Body, amount: &str) -> Result<Option<super::Money>, Malformed> {
    let currency = format!("{OBJECT}/currency");
    if body.has(&currency) {
        body.money(amount, &currency)
    } else {
        Ok(None)
    }
}

/// The answer of `GET /v1/payment_intents/{id}` with its latest charge expanded.
pub(in crate::webhooks) fn parse_intent(body: &Body, event_id: String) -> Result<PaymentEvent, Malformed> {
    let name = body.name("/status")?;
    let meaning = match name.as_str() {
        "succeeded" if body.is_true("/latest_charge/refunded") => Meaning::Refunded,
        "succeeded" => Meaning::Paid,
        "requires_capture" => Meaning::Authorized,
        "canceled" => Meaning::Failed,
        _ => Meaning::Other,
    };
    let reference = body.reference("/id")?;
    let amount = match meaning {
        Meaning::Paid | Meaning::Refunded => "/amount_received",
        Meaning::Authorized => "/amount_capturable",
        Meaning::Failed | Meaning::Other => "/amount",
    };
    let charged_at = body.seconds("/latest_charge/created")?;
    Ok(PaymentEvent {
        event_id,
        also: body.also(reference.as_ref(), &["/latest_charge/id"])?,
        given: None,
        money: body.money(amount, "/currency")?,
        at: charged_at.map_or_else(|| body.seconds("/created"), |at| Ok(Some(at)))?,
        name,
        meaning,
        reference,
    })
}
