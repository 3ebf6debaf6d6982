//! The document that is stored with its number: JSON, kept byte for byte as it was received.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::journal::Hash;
use crate::refusal::{Code, Refusal};

/// A JSON document of up to 64 KiB and 64 levels.
///
/// ```
/// use seriatim_core::Document;
/// assert!(Document::parse(r#"{"total": 11800}"#).is_ok());
/// assert!(Document::parse(r#"{"total": 1, "total": 2}"#).is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: Arc<str>,
    sha256: Hash,
}

impl Document {
    /// The largest document, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
    /// The deepest nesting of objects and arrays.
    pub const DEPTH_MAX: usize = 64;

    /// Checks the text and keeps it as it is.
    ///
    /// # Errors
    /// `document_too_large`; `invalid_document` if it is not JSON, nests too deep or has a name twice in one object.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > Self::BYTES_MAX {
            let message = format!(
                "the document has {} bytes; at most {} are kept: store it elsewhere and keep a reference",
                text.len(),
                Self::BYTES_MAX
            );
            return Err(Refusal::new(Code::DocumentTooLarge, message).at("/document"));
        }
        let invalid = |what: String| Refusal::new(Code::InvalidDocument, what).at("/document");
        if depth(text) > Self::DEPTH_MAX {
            return Err(invalid(format!(
                "the document nests deeper than {} levels",
                Self::DEPTH_MAX
            )));
        }
        serde_json::from_str::<Strict>(text).map_err(|error| invalid(format!("the document is not valid: {error}")))?;
        Ok(Self::stored(text))
    }

    /// A document that was checked before it was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self {
            text: Arc::from(text),
            sha256: Hash::of(text.as_bytes()),
        }
    }

    /// The JSON text, byte for byte.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn sha256(&self) -> Hash {
        self.sha256
    }
}

impl fmt::Debug for Document {
    // The content may be personal; the hash tells two documents apart just as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({})", self.sha256)
    }
}

/// How deep brackets nest outside of strings; measured before parsing so that no parser's stack is at stake.
fn depth(text: &str) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Any JSON value whose objects name no field twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Strict, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            names.insert(name);
            fields.next_value::<Strict>()?;
        }
        Ok(Strict)
    }
}
