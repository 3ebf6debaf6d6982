//! Payments as they are sent and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use seriatim::{Code, Document, GateState, Refusal, Tenant};
use utoipa::ToSchema;

use super::Texts;
use crate::payments;
use crate::problem::Problem;
use crate::webhooks::PaymentReference;

/// What is expected of a payment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = PaymentRequest)]
pub struct PaymentAsk<'a> {
    /// In the currency's smallest unit: 49900 for 499.00.
    #[schema(example = 49900)]
    amount_minor: i64,
    /// Three capital letters.
    #[schema(example = "INR")]
    currency: String,
    /// What is stored with the number as it was received, and printed on the receipt: an object of up to 60 KiB. What the
    /// provider says is added to it as `payment`.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Map<String, serde_json::Value>>)]
    document: Option<&'a RawValue>,
    /// Values for the format of the number.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<Texts>,
}

impl PaymentAsk<'_> {
    /// What it says, checked.
    pub fn expected(self) -> Result<payments::Expected, Problem> {
        let wrong = |field: &str, what: &str| Err(Problem::malformed("invalid_payment", what).at(field));
        if self.amount_minor < 0 {
            return wrong(
                "/amount_minor",
                "amount_minor is not negative; it is in the currency's smallest unit",
            );
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return wrong("/currency", "currency is three capital letters, e.g. INR");
        }
        Ok(payments::Expected {
            amount_minor: self.amount_minor,
            currency: self.currency,
            document: self.document.map(document).transpose()?,
            params: self.params.unwrap_or_default().0,
        })
    }
}

/// What the provider says is stored with the document, and must find room.
const DOCUMENT_BYTES_MAX: usize = Document::BYTES_MAX - 4 * 1024;

/// A document that can be stored once the payment is made: what is wrong with it must be said before.
fn document(raw: &RawValue) -> Result<Box<RawValue>, Problem> {
    if raw.get().len() > DOCUMENT_BYTES_MAX {
        let message = format!(
            "the document has {} bytes; at most {DOCUMENT_BYTES_MAX} are kept beside what the provider says",
            raw.get().len()
        );
        return Err(Refusal::new(Code::DocumentTooLarge, message).at("/document").into());
    }
    Document::parse(raw.get())?;
    let fields = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get())
        .map_err(|_| Problem::malformed("wrong_type", "the document of a payment is an object").at("/document"))?;
    if fields.contains_key("payment") {
        let what = "the field payment is what the provider says of it; give yours another name";
        return Err(Problem::malformed("invalid_document", what).at("/document/payment"));
    }
    Ok(raw.to_owned())
}

/// A payment as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Payment {
    /// Its reference.
    reference: String,
    /// Whose.
    tenant: String,
    /// `expected` or `paid`.
    #[schema(value_type = String)]
    state: &'static str,
    /// What is expected, in the currency's smallest unit.
    amount_minor: Option<i64>,
    /// Three capital letters.
    currency: Option<String>,
    /// The entry of its number, once it is paid.
    entry: Option<String>,
    /// Its number.
    number: Option<String>,
    /// Whether its number was voided since; number and receipt stay what they were.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    voided: bool,
    /// The number that was issued in the place of a void one.
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<Replacement>,
    /// The event that was the first to say that it is paid.
    event_id: Option<String>,
    /// The receipt: `open`, `claimed`, `done` or `dead`.
    receipt: Option<Receipt>,
}

/// The number that stands in the place of a void one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentReplacement)]
pub struct Replacement {
    /// Its entry.
    entry: String,
    /// Its number.
    number: String,
}

/// The receipt of a payment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentReceipt)]
pub struct Receipt {
    /// Its gate.
    gate: String,
    /// `open`, `claimed`, `done` or `dead`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Where it is, once it is done.
    href: Option<String>,
    /// Why the last attempt failed.
    last_error: Option<String>,
}

impl Payment {
    /// A payment as it is shown.
    pub fn of(
        reference: &PaymentReference,
        tenant: &Tenant,
        payment: &payments::Payment,
        afterwards: &payments::Afterwards,
    ) -> Self {
        let expected = payment.expected.as_ref();
        let result = payment.result.as_ref();
        let receipt = payment.receipt.as_ref().map(|gate| Receipt {
            gate: gate.id.to_string(),
            state: gate.state.as_str(),
            href: result
                .filter(|_| gate.state == GateState::Done)
                .map(|result| format!("/v1/entries/{}/receipt", result.entry)),
            last_error: gate.last_error.as_ref().map(ToString::to_string),
        });
        Self {
            reference: reference.to_string(),
            tenant: tenant.to_string(),
            state: if result.is_some() { "paid" } else { "expected" },
            amount_minor: expected.map(|expected| expected.amount_minor),
            currency: expected.map(|expected| expected.currency.clone()),
            entry: result.map(|result| result.entry.clone()),
            number: result.map(|result| result.number.clone()),
            voided: afterwards.voided,
            replacement: afterwards.replacement.as_ref().map(|entry| Replacement {
                entry: entry.id.to_string(),
                number: entry.number.to_string(),
            }),
            event_id: result.map(|result| result.event.clone()),
            receipt,
        }
    }
}

/// A file; only its description is used.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its description is used")]
pub struct Pdf(Vec<u8>);

/// An event that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivered<'a> {
    /// The provider's id of it, or the SHA-256 of the body.
    #[schema(value_type = String)]
    pub event_id: &'a str,
    /// The gate that it goes through.
    pub gate: String,
    /// Whether it had been taken in before.
    pub duplicate: bool,
}
