//! A JSON body and what is looked up in it by pointer. Fields that nobody asks for are left alone: what stands in them
//! may be half a character or a number beyond all bounds, and the payment is none the less paid.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use seriatim_core::Timestamp;

use super::super::Malformed;
use super::{Meaning, Money, PaymentReference};

/// What must read of an event that money may follow from. Of any other, what does not read counts as not said: nobody
/// needs it, and a provider that is refused tries again for days.
pub(super) fn wanted<T: Default>(meaning: Meaning, read: Result<T, Malformed>) -> Result<T, Malformed> {
    match meaning {
        Meaning::Paid | Meaning::Authorized => read,
        Meaning::Failed | Meaning::Refunded | Meaning::Other => Ok(read.unwrap_or_default()),
    }
}

/// A body that is JSON.
pub(in crate::webhooks) struct Body(Box<RawValue>);

impl Body {
    pub(in crate::webhooks) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let read = serde_json::from_slice(bytes).map(Self);
        // The position is said; a library's message could quote what is in the body.
        read.map_err(|error| Malformed::NotJson(format!("line {}, column {}", error.line(), error.column())))
    }

    fn value(&self, pointer: &str) -> Option<Value> {
        let mut at = self.0.get();
        for name in pointer.split('/').skip(1) {
            let name = name.replace("~1", "/").replace("~0", "~");
            let inner: Option<&RawValue> = match at.trim_start().as_bytes().first()? {
                b'{' => serde_json::from_str::<HashMap<String, &RawValue>>(at)
                    .ok()?
                    .remove(&name),
                b'[' => serde_json::from_str::<Vec<&RawValue>>(at)
                    .ok()?
                    .get(name.parse::<usize>().ok()?)
                    .copied(),
                _ => None,
            };
            at = inner?.get();
        }
        serde_json::from_str::<Value>(at).ok().filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, pointer: &str) -> bool {
        self.value(pointer).is_some()
    }

    pub(super) fn is_true(&self, pointer: &str) -> bool {
        self.value(pointer) == Some(Value::Bool(true))
    }

    pub(super) fn len(&self, pointer: &str) -> usize {
        self.value(pointer)
            .map_or(0, |value| value.as_array().map_or(0, Vec::len))
    }

    pub(super) fn text(&self, pointer: &str) -> Result<Option<String>, Malformed> {
        match self.value(pointer) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => wrong(pointer, "is no text"),
        }
    }

    /// A name that must be there; short, for it becomes a field of log lines.
    pub(super) fn name(&self, pointer: &str) -> Result<String, Malformed> {
        let text = self
            .text(pointer)?
            .ok_or_else(|| Malformed::Missing(pointer.to_string()))?;
        match PaymentReference::parse(&text) {
            Ok(_) => Ok(text),
            Err(what) => wrong(pointer, what),
        }
    }

    pub(super) fn reference(&self, pointer: &str) -> Result<Option<PaymentReference>, Malformed> {
        let parse = |text: String| {
            PaymentReference::parse(&text).map_err(|what| Malformed::Reference {
                field: pointer.to_string(),
                what,
            })
        };
        self.text(pointer)?.map(parse).transpose()
    }

    /// The first reference that is there; it must be, unless the event means nothing to us.
    pub(super) fn payment(
        &self,
        event: &str,
        meaning: Meaning,
        pointers: &[&str],
    ) -> Result<Option<PaymentReference>, Malformed> {
        for pointer in pointers {
            let found = match self.reference(pointer) {
                Err(_) if meaning == Meaning::Other => None,
                read => read?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        if meaning == Meaning::Other {
            return Ok(None);
        }
        Err(Malformed::NoPayment {
            event: event.to_string(),
            looked_for: pointers.join(", "),
        })
    }

    /// The references that are there, without the first one.
    pub(super) fn also(
        &self,
        payment: Option<&PaymentReference>,
        pointers: &[&str],
    ) -> Result<Vec<PaymentReference>, Malformed> {
        let mut also = Vec::new();
        for pointer in pointers {
            let found = self.reference(pointer)?;
            also.extend(found.filter(|found| Some(found) != payment));
        }
        also.dedup();
        Ok(also)
    }

    /// An amount in minor units with the currency beside it.
    pub(super) fn money(&self, amount: &str, currency: &str) -> Result<Option<Money>, Malformed> {
        let Some(minor) = self.minor(amount)? else {
            return Ok(None);
        };
        let text = self
            .text(currency)?
            .ok_or_else(|| Malformed::Missing(currency.to_string()))?;
        if text.len() != 3 || !text.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(Malformed::Currency(currency.to_string()));
        }
        let currency = text.to_ascii_uppercase();
        Ok(Some(Money { minor, currency }))
    }

    /// An amount of a provider that knows rupees only.
    pub(super) fn paise(&self, amount: &str) -> Result<Option<Money>, Malformed> {
        let currency = "INR".to_string();
        Ok(self.minor(amount)?.map(|minor| Money { minor, currency }))
    }

    fn minor(&self, pointer: &str) -> Result<Option<i64>, Malformed> {
        let Some(value) = self.value(pointer) else {
            return Ok(None);
        };
        let minor = value.as_i64().filter(|minor| *minor >= 0);
        minor.map(Some).ok_or_else(|| Malformed::Amount(pointer.to_string()))
    }

    /// An instant in whole seconds since 1970.
    pub(super) fn seconds(&self, pointer: &str) -> Result<Option<Timestamp>, Malformed> {
        self.instant(pointer, 1_000_000)
    }

    /// An instant in milliseconds since 1970.
    pub(super) fn millis(&self, pointer: &str) -> Result<Option<Timestamp>, Malformed> {
        self.instant(pointer, 1_000)
    }

    fn instant(&self, pointer: &str, micros: i64) -> Result<Option<Timestamp>, Malformed> {
        let Some(value) = self.value(pointer) else {
            return Ok(None);
        };
        let at = value.as_i64().and_then(|count| count.checked_mul(micros));
        match at {
            Some(at) => Ok(Some(Timestamp::from_micros(at))),
            None => wrong(pointer, "is no unix time"),
        }
    }

    /// An instant as whole seconds or as RFC 3339.
    pub(super) fn time(&self, pointer: &str) -> Result<Option<Timestamp>, Malformed> {
        match self.value(pointer) {
            Some(Value::String(text)) => match text.parse() {
                Ok(at) => Ok(Some(at)),
                Err(_) => wrong(pointer, "is neither a unix time nor one like 2026-03-31T23:59:59+05:30"),
            },
            _ => self.seconds(pointer),
        }
    }
}

fn wrong<T>(field: &str, what: &'static str) -> Result<T, Malformed> {
    Err(Malformed::Field {
        field: field.to_string(),
        what,
    })
}
