//! Why a believed body is not understood.

/// Why a believed body is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`super::BODY_BYTES_MAX`].
    #[error("the body has {0} bytes; at most 1048576 are read")]
    TooLarge(usize),
    /// Not JSON at all.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The base64 text that holds the event does not decode.
    #[error("`response` in the body is no base64")]
    NotBase64,
    /// A field that names the event or its kind is not there.
    #[error("the body has no {0}")]
    Missing(String),
    /// A field is there and is not what it has to be.
    #[error("{field} in the body {what}")]
    Field {
        /// Its JSON pointer.
        field: String,
        /// What is the matter.
        what: &'static str,
    },
    /// It says that a payment went some way, and not which payment.
    #[error("the event {event} names no payment; {looked_for} is empty")]
    NoPayment {
        /// The provider's name of the event.
        event: String,
        /// Where the reference was looked for.
        looked_for: String,
    },
    /// A reference that cannot be a key.
    #[error("the payment reference in {field} {what}")]
    Reference {
        /// Its JSON pointer.
        field: String,
        /// The rule that it breaks.
        what: &'static str,
    },
    /// An amount that is no whole number of minor units, zero or more.
    #[error("the amount in {0} is no whole number of minor units, zero or more")]
    Amount(String),
    /// A currency that is not three letters.
    #[error("the currency in {0} is not three letters")]
    Currency(String),
}

impl Malformed {
    /// The reason as a stable word, for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "body_too_large",
            Self::NotJson(_) => "not_json",
            Self::NotBase64 => "not_base64",
            Self::Missing(_) => "missing_field",
            Self::Field { .. } => "invalid_field",
            Self::NoPayment { .. } => "no_payment_reference",
            Self::Reference { .. } => "invalid_payment_reference",
            Self::Amount(_) => "invalid_amount",
            Self::Currency(_) => "invalid_currency",
        }
    }
}
