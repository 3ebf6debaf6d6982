//! What a provider says of a payment, in our words. This module must never know who signed it, nor what is done
//! with it.

mod body;
mod phonepe;
mod razorpay;
mod standard;
mod stripe;

use std::fmt;

use seriatim_core::Timestamp;

pub use standard::Pointers;

pub(super) use body::Body;
pub(super) use phonepe::{parse_callback, parse_event as parse_phonepe_event, parse_order};
pub(super) use razorpay::{parse as parse_razorpay, parse_payment};
pub(super) use standard::parse as parse_standard;
pub(super) use stripe::{parse as parse_stripe, parse_intent};

/// What an event says of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The money is the shop's.
    Paid,
    /// The money is set aside and not taken yet.
    Authorized,
    /// It did not work; a later attempt still may.
    Failed,
    /// Some or all of it went back.
    Refunded,
    /// Anything else: recorded, and nothing follows from it.
    Other,
}

impl Meaning {
    /// Every meaning.
    pub const ALL: [Self; 5] = [Self::Paid, Self::Authorized, Self::Failed, Self::Refunded, Self::Other];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Authorized => "authorized",
            Self::Failed => "failed",
            Self::Refunded => "refunded",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a payment is called: 1 to 255 printable ASCII characters. It becomes a key and never a file's name, so that
/// slashes and quotes may be in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentReference(String);

impl PaymentReference {
    /// Checks the text and keeps it.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            Err("is empty")
        } else if text.len() > 255 {
            Err("has more than 255 characters")
        } else if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            Err("is not printable ASCII")
        } else if text.trim() != text {
            Err("begins or ends with a space")
        } else {
            Ok(Self(text.to_string()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PaymentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An amount with its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// In the currency's smallest unit (paise, cents); never negative.
    pub minor: i64,
    /// Three capital letters.
    pub currency: String,
}

/// What a provider says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    /// The provider's id of the event; where it gives none, the SHA-256 of the body.
    pub event_id: String,
    /// The provider's name for what happened.
    pub name: String,
    /// What it means.
    pub meaning: Meaning,
    /// Which payment. It is there whatever the meaning, but for [`Meaning::Other`], which may be about no payment.
    pub reference: Option<PaymentReference>,
    /// Other references of the same payment (an order, a charge), under which the shop may expect it.
    pub also: Vec<PaymentReference>,
    /// What the shop called it, or whoever made the link to pay by: the shop may expect it under this name, but it may be
    /// the name of several payments, or of another's.
    pub given: Option<PaymentReference>,
    /// How much, if the provider says so.
    pub money: Option<Money>,
    /// When the payment was made, if the provider says so.
    pub at: Option<Timestamp>,
}

impl PaymentEvent {
    /// The references that are the payment's and nobody else's, its own first.
    pub(crate) fn own_references(&self) -> impl Iterator<Item = &PaymentReference> {
        self.reference.iter().chain(&self.also)
    }

    /// All references under which the shop may expect it, its own first.
    pub(crate) fn references(&self) -> impl Iterator<Item = &PaymentReference> {
        self.own_references().chain(&self.given)
    }

    /// Whether the two are of one payment: one of them is called what the other one is.
    pub(crate) fn is_of_one_payment_with(&self, other: &Self) -> bool {
        let names = |event: &Self, reference: Option<&PaymentReference>| {
            event.own_references().any(|name| Some(name) == reference)
        };
        names(self, other.reference.as_ref()) || names(other, self.reference.as_ref())
    }
}
