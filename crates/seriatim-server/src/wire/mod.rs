//! What is written and read as JSON: plain structs, and plain functions between them and the core's types.
//!
//! No rule lives here; what the core refuses is refused by the core's own parsers.

mod audit;
mod counter;
mod entry;
mod event;
mod gate;
mod key;
mod number;
mod page;
mod payment;
mod period;
mod series;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use seriatim::Hash;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Object as Described, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

pub use audit::{CheckpointCompared, CheckpointDocument, Gaps, SummaryLine, VerificationAsk, VerificationReport};
pub use counter::{Advanced, Counter, Counts};
pub use entry::{Entry, EntryWithEvents, Issued, Note, Preview, Voided, unexpected};
pub use event::Event;
pub use gate::{ClaimAsk, Claimed, CompleteAsk, FailAsk, Gate, GateWithEvents, RenewAsk};
pub use key::{ApiKey, KeyAsk, NewApiKey};
pub use number::{
    AdoptAsk, AdoptBatchAsk, AdvanceAsk, Batch, BatchAsk, ConfirmAsk, IssueAsk, PreviewAsk, ReasonAsk, ReserveAsk,
    VoidAsk, tenant,
};
pub use page::{List, cursor_of, limit_of, next_cursor};
pub use payment::{Delivered, Payment, PaymentAsk, Pdf};
pub use period::{Closure, ClosureCounter, PeriodAsk};
pub use series::{Defined, Series, SeriesAsk, WipeAsk, Wiped};

/// Anything that prints itself, as a JSON string.
pub struct Shown<T>(pub T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A hash in hexadecimal; written in one go, for every answer has some.
pub struct Hex(pub Hash);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Params as a JSON object.
pub struct ParamsShown<'a>(pub &'a seriatim::Params);

impl Serialize for ParamsShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// Texts by name, no name twice.
#[derive(Debug, Default)]
pub struct Texts(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName(PhantomData)).map(Self)
    }
}

/// Values by name, no name twice.
#[derive(Debug)]
pub struct Named<T>(pub BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ByName(PhantomData)).map(Self)
    }
}

struct ByName<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = fields.next_entry::<String, T>()? {
            if values.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            values.insert(name, value);
        }
        Ok(values)
    }
}

/// A struct inside a body: only an object will do, where serde would take an array too.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// A number, or a text that holds one with its unit or its range: `2`, `"1..4"`, `"15m"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberOrText {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl PartialSchema for NumberOrText {
    fn schema() -> RefOr<Schema> {
        let either = SchemaType::from_iter([Type::Integer, Type::String]);
        let what = "A whole number, or a text with its unit (`90s`) or its range (`1..4`)";
        Described::builder().schema_type(either).description(Some(what)).into()
    }
}

impl ToSchema for NumberOrText {}

impl<'de> Deserialize<'de> for NumberOrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTextVisitor)
    }
}

struct NumberOrTextVisitor;

impl Visitor<'_> for NumberOrTextVisitor {
    type Value = NumberOrText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a string")
    }

    fn visit_u64<E>(self, number: u64) -> Result<NumberOrText, E> {
        Ok(NumberOrText::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<NumberOrText, E> {
        Ok(NumberOrText::Text(text.to_string()))
    }
}
