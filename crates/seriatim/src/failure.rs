//! What a caller hears when there is no answer, sorted by what he does next.

use std::time::Duration;

use seriatim_core::Refusal;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Change the request. Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing happened; the same request may succeed later.
    #[error("{message}")]
    Unavailable {
        /// What was tried and what is the matter.
        message: String,
        /// When to try again.
        retry_after: Duration,
        /// The stable code, e.g. `store_unavailable` or `queue_full`.
        code: &'static str,
    },
    /// It may or may not have happened; the same request with the same key tells.
    #[error("{message}")]
    Unknown {
        /// What was tried and what is the matter.
        message: String,
    },
    /// A human must look: what is stored contradicts itself.
    #[error("{message}")]
    Corrupt {
        /// What was found.
        message: String,
    },
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code.as_str(),
            Self::Unavailable { code, .. } => code,
            Self::Unknown { .. } => "unknown_outcome",
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// What happened: `nothing` or `unknown`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Unavailable { .. } | Self::Corrupt { .. } => "nothing",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// What to do: `retry`, `retry_same_key` or `never`.
    #[must_use]
    pub fn retry(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Corrupt { .. } => "never",
            Self::Unavailable { .. } => "retry",
            Self::Unknown { .. } => "retry_same_key",
        }
    }
}
