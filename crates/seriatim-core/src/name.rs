//! The words that callers choose: names, keys and free text. Each is checked once, when it is made.

use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use crate::refusal::{Code, Refusal};

macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $field:literal, $code:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and keeps it.
            ///
            /// # Errors
            /// A refusal that names the field and what is allowed in it.
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(text) {
                    Ok(()) => Ok(Self(Arc::from(text))),
                    Err(rule) => Err(Refusal::new($code, format!("{}: {rule}", $field)).at(concat!("/", $field))),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

word!(
    /// The name of a series: a lower-case letter, then up to 62 of `a-z 0-9 _ -`.
    ///
    /// ```
    /// use seriatim_core::SeriesName;
    /// assert!(SeriesName::parse("invoice").is_ok());
    /// assert!(SeriesName::parse("Invoice!").is_err());
    /// ```
    SeriesName, "series", Code::InvalidSeries, |text| {
        match check_name(text) {
            true => Ok(()),
            false => Err("a series name is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`"),
        }
    }
);

word!(
    /// Whose numbers they are: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit.
    Tenant, "tenant", Code::InvalidTenant, |text| {
        let tail = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        match text.as_bytes() {
            [first, rest @ ..] if first.is_ascii_alphanumeric() && rest.len() < 64 && rest.iter().all(|b| tail(*b)) => Ok(()),
            _ => Err("a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`"),
        }
    }
);

impl Default for Tenant {
    /// The tenant of those who have only one: `default`.
    fn default() -> Self {
        Self(Arc::from("default"))
    }
}

word!(
    /// The caller's idempotency key: 1 to 255 printable ASCII characters, best the business reference.
    ///
    /// It is kept for ever: the number itself is the record that the key was used.
    Key, "key", Code::InvalidKey, |text| check_reference(text, &ReferenceRules {
        empty: "a key must not be empty; use the business reference, e.g. the payment id",
        long: "a key has at most 255 characters",
        ascii: "a key is printable ASCII; hash or encode a reference that has other characters",
        space: "a key must not begin or end with a space",
    })
);

word!(
    /// What a gate lets one caller through to, e.g. `receipt`: a lower-case letter, then up to 62 of `a-z 0-9 _ -`.
    Effect, "effect", Code::InvalidEffect, |text| match check_name(text) {
        true => Ok(()),
        false => Err("an effect is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`"),
    }
);

word!(
    /// What the effect is for, best the business reference: 1 to 255 printable ASCII characters, as a key.
    Subject, "subject", Code::InvalidSubject, |text| check_reference(text, &ReferenceRules {
        empty: "a subject must not be empty; use the business reference, e.g. the payment id",
        long: "a subject has at most 255 characters",
        ascii: "a subject is printable ASCII; hash or encode a reference that has other characters",
        space: "a subject must not begin or end with a space",
    })
);

word!(
    /// Who holds a claim, for the person who looks later, e.g. `worker-3`: up to 255 characters.
    Holder, "holder", Code::InvalidText, |text| check_text(text, 255)
);

word!(
    /// A free reference kept with an entry, e.g. `order 42`: up to 255 characters without control or bidi marks.
    Reference, "reference", Code::InvalidText, |text| check_text(text, 255)
);

word!(
    /// Why something was done, for the person who asks later: 1 to 1,000 characters.
    Reason, "reason", Code::InvalidText, |text| check_text(text, 1000)
);

word!(
    /// Who did it: an API key id, a database user or an operating-system user.
    Actor, "actor", Code::InvalidText, |text| check_text(text, 255)
);

impl Reason {
    /// The reason when there are no better words.
    pub(crate) fn fallback() -> Self {
        Self(Arc::from("not issued here"))
    }

    /// What is said if nothing that can be said was given.
    #[must_use]
    pub fn unsaid() -> Self {
        Self(Arc::from("no reason was given"))
    }

    /// What is said of a lease whose holder has too long a name.
    pub(crate) fn fallback_lease() -> Self {
        Self(Arc::from("the lease ran out"))
    }
}

/// A lower-case letter, then up to 62 of `a-z 0-9 _ -`.
fn check_name(text: &str) -> bool {
    let tail = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    matches!(text.as_bytes(), [first, rest @ ..]
        if first.is_ascii_lowercase() && rest.len() < 63 && rest.iter().all(tail))
}

/// What is said of a business reference that breaks a rule.
struct ReferenceRules {
    empty: &'static str,
    long: &'static str,
    ascii: &'static str,
    space: &'static str,
}

/// A business reference: 1 to 255 printable ASCII characters, no space at its ends.
fn check_reference(text: &str, rules: &ReferenceRules) -> Result<(), &'static str> {
    if text.is_empty() {
        Err(rules.empty)
    } else if text.len() > 255 {
        Err(rules.long)
    } else if !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        Err(rules.ascii)
    } else if text.trim() != text {
        Err(rules.space)
    } else {
        Ok(())
    }
}

/// Text that a person will read: no control characters, and none that turn or hide what stands beside them.
fn check_text(text: &str, length_max: usize) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        Err("must not be empty")
    } else if text.chars().count() > length_max {
        Err("is too long; at most 255 characters (a reason: 1,000)")
    } else if text.chars().any(is_unprintable) {
        Err("must not contain control characters, line breaks or direction marks")
    } else {
        Ok(())
    }
}

/// Control characters, direction (bidi) marks, zero-width characters and other invisible ones.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
