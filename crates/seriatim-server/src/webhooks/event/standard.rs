//! Standard Webhooks say how to sign, not what; where the fields are and what the events mean is configured.

use super::super::Malformed;
use super::body::wanted;
use super::{Body, Meaning, PaymentEvent};

/// Where the fields of a body are (JSON pointers), and which events mean what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers {
    /// The event's name.
    pub event: String,
    /// The payment's reference.
    pub reference: String,
    /// The amount, in minor units.
    pub amount: String,
    /// The currency.
    pub currency: String,
    /// The payment's own time.
    pub time: String,
    /// Names of events, and what each means; the rest is [`Meaning::Other`].
    pub meanings: Vec<(String, Meaning)>,
}

impl Default for Pointers {
    fn default() -> Self {
        let usual = [Meaning::Paid, Meaning::Authorized, Meaning::Failed, Meaning::Refunded];
        Self {
            event: "/type".to_string(),
            reference: "/data/payment_id".to_string(),
            amount: "/data/amount".to_string(),
            currency: "/data/currency".to_string(),
            time: "/timestamp".to_string(),
            meanings: usual.map(|meaning| (format!("payment.{meaning}"), meaning)).to_vec(),
        }
    }
}

/// A webhook.
pub(in crate::webhooks) fn parse(
    body: &Body,
    pointers: &Pointers,
    event_id: String,
) -> Result<PaymentEvent, Malformed> {
    let name = body.name(&pointers.event)?;
    let known = pointers.meanings.iter().find(|(known, _)| *known == name);
    let meaning = known.map_or(Meaning::Other, |(_, meaning)| *meaning);
    Ok(PaymentEvent {
        event_id,
        reference: body.payment(&name, meaning, &[&pointers.reference])?,
        also: Vec::new(),
        given: None,
        money: wanted(meaning, body.money(&pointers.amount, &pointers.currency))?,
        at: wanted(meaning, body.time(&pointers.time))?,
        name,
        meaning,
    })
}
