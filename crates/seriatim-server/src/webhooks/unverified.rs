//! Why a delivery is not believed. The caller hears 401 and no more; the reason goes to the log and the metric.

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header that carries the signature is not there.
    #[error("header {0} is missing")]
    Missing(&'static str),
    /// A header comes twice; nobody can say which one was meant.
    #[error("header {0} comes more than once")]
    Repeated(&'static str),
    /// A header does not have the form that its scheme gives it.
    #[error("header {0}: {1}")]
    Malformed(&'static str, &'static str),
    /// More signatures than any provider sends, each of which would cost a look at the body.
    #[error("header {0} holds too many signatures; at most {max} are allowed, and 4 by Ed25519", max = super::SIGNATURES_MAX)]
    TooMany(&'static str),
    /// What should be a signature is no hex or base64.
    #[error("header {0} holds no signature that decodes")]
    Undecodable(&'static str),
    /// The signature names a salt that is not configured.
    #[error("salt index {0} is not among the secrets of this source")]
    UnknownSalt(u32),
    /// The body has no signed text where the scheme puts it.
    #[error("the body has no `response` text, which is what this scheme signs")]
    NoSignedText,
    /// Signed longer ago than the window allows.
    #[error("signed {0} s ago; at most {max} s are allowed", max = super::WINDOW_SECONDS)]
    TooOld(i64),
    /// Signed later than the window allows.
    #[error("signed {0} s ahead of this machine's clock; at most {max} s are allowed", max = super::WINDOW_SECONDS)]
    FromFuture(i64),
    /// Another body, another secret, or no signature of this provider at all: the three look alike.
    #[error("the signature fits none of the secrets of this source")]
    Mismatch,
}

impl Unverified {
    /// The reason as a stable word, for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing_header",
            Self::Repeated(_) => "repeated_header",
            Self::Malformed(..) => "malformed_header",
            Self::TooMany(_) => "too_many_signatures",
            Self::Undecodable(_) => "undecodable_signature",
            Self::UnknownSalt(_) => "unknown_salt_index",
            Self::NoSignedText => "no_signed_text",
            Self::TooOld(_) => "too_old",
            Self::FromFuture(_) => "from_future",
            Self::Mismatch => "mismatch",
        }
    }
}
