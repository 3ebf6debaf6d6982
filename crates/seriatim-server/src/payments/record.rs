//! What the gates of payments hold: tasks and results, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use seriatim::{EntryId, Timestamp};

use crate::webhooks::{Meaning, Money, PaymentEvent, PaymentReference};

/// An event that waits for a worker, with the body as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventTask {
    pub source: String,
    pub must_confirm: bool,
    pub event: EventRecord,
    pub body: String,
}

/// What a provider said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    pub id: String,
    pub name: String,
    pub meaning: String,
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    pub amount_minor: Option<i64>,
    pub currency: Option<String>,
    pub at: Option<String>,
}

/// What became of an event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventResult {
    /// `issued`, `already`, or why nothing follows.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

/// What the shop expects of a payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Expected {
    /// In the currency's smallest unit.
    pub amount_minor: i64,
    /// Three capital letters.
    pub currency: String,
    /// What is stored with the number, and printed on the receipt: byte for byte as it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Box<RawValue>>,
    /// Values for the format of the number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
}

/// What a payment led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaymentResult {
    /// The entry.
    pub entry: String,
    /// Its number.
    pub number: String,
    /// The event that was the first to say that it is paid.
    pub event: String,
}

/// Which entry is to get a receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReceiptTask {
    pub entry: String,
}

/// The receipt that counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptResult {
    /// Of which entry.
    pub entry: String,
    /// Within the directory of receipts.
    pub path: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// How large it is.
    pub bytes: usize,
}

macro_rules! json {
    ($($name:ident),*) => { $(
        impl $name {
            /// As a gate holds it.
            #[must_use]
            pub fn to_json(&self) -> String {
                // Texts and integers under names that are texts: this cannot fail.
                serde_json::to_string(self).unwrap_or_default()
            }

            /// Reads [`Self::to_json`] back; nothing if somebody else wrote it.
            #[must_use]
            pub fn from_json(text: &str) -> Option<Self> {
                serde_json::from_str(text).ok()
            }
        }
    )* };
}

json!(
    EventTask,
    EventResult,
    Expected,
    PaymentResult,
    ReceiptTask,
    ReceiptResult
);

impl EventRecord {
    pub fn of(event: &PaymentEvent) -> Self {
        Self {
            id: event.event_id.clone(),
            name: event.name.clone(),
            meaning: event.meaning.to_string(),
            reference: event.reference.as_ref().map(ToString::to_string),
            also: event.also.iter().map(ToString::to_string).collect(),
            given: event.given.as_ref().map(ToString::to_string),
            amount_minor: event.money.as_ref().map(|money| money.minor),
            currency: event.money.as_ref().map(|money| money.currency.clone()),
            at: event.at.map(|at| at.to_string()),
        }
    }

    /// The event, if it reads.
    pub fn event(&self) -> Option<PaymentEvent> {
        let reference = |text: &String| PaymentReference::parse(text).ok();
        Some(PaymentEvent {
            event_id: self.id.clone(),
            name: self.name.clone(),
            meaning: Meaning::ALL
                .into_iter()
                .find(|meaning| meaning.as_str() == self.meaning)?,
            reference: match &self.reference {
                Some(text) => Some(reference(text)?),
                None => None,
            },
            also: self.also.iter().map(reference).collect::<Option<_>>()?,
            given: match &self.given {
                Some(text) => Some(reference(text)?),
                None => None,
            },
            money: match (self.amount_minor, &self.currency) {
                (Some(minor), Some(currency)) => Some(Money {
                    minor,
                    currency: currency.clone(),
                }),
                _ => None,
            },
            at: match &self.at {
                Some(at) => Some(at.parse::<Timestamp>().ok()?),
                None => None,
            },
        })
    }
}

impl EventResult {
    /// Nothing follows from it.
    pub fn nothing(outcome: &str) -> Self {
        Self {
            outcome: outcome.to_string(),
            entry: None,
            number: None,
        }
    }

    /// A number followed from it.
    pub fn number(outcome: &str, entry: EntryId, number: &str) -> Self {
        Self {
            outcome: outcome.to_string(),
            entry: Some(entry.to_string()),
            number: Some(number.to_string()),
        }
    }
}
