//! Decimals that are not money: 1.5 kg, 2.5 percent. Never a float.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A decimal with up to six places, given as an integer or as text: `3`, `"1.5"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    millionths: i64,
}

const PLACES: usize = 6;
pub(crate) const ONE: i128 = 1_000_000;

impl Quantity {
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let fits = whole.len() <= 12 && part.len() <= PLACES;
        if !(is_digits(whole) && is_digits(part) && fits) {
            return None;
        }
        let millionths = format!("{whole}{part:0<PLACES$}").parse().ok()?;
        let text = text.to_string();
        Some(Self { text, millionths })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn millionths(&self) -> i128 {
        i128::from(self.millionths)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer or a decimal as text with up to 6 places, such as 3 or \"1.5\"")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Quantity, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        Quantity::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
