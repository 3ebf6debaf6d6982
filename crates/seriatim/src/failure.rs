//! What a caller hears when there is no answer, sorted by what he does next.

use std::time::Duration;

use seriatim_core::{Command, Refusal};

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
    /// It may or may not have happened.
    #[error("{message}; it may have happened: {repeat}")]
    Unknown {
        /// What was tried and what is the matter.
        message: String,
        /// Whether the same request may be sent again.
        repeat: Repeat,
    },
    /// A human must look: what is stored contradicts itself.
    #[error("{message}")]
    Corrupt {
        /// What was found.
        message: String,
    },
}

/// Whether a request may be sent again of which nobody knows whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Repeat {
    /// With its key it gets the answer of the first time.
    #[error("ask again with the same key")]
    SameKey,
    /// It cannot happen twice: if it had happened, the answer or the refusal says so.
    #[error("send it again, and the answer says whether it had")]
    Safe,
    /// It would happen a second time.
    #[error("it has no key to find it by, so look whether it is there before you send it again")]
    Look,
}

impl Repeat {
    /// What holds for a command.
    #[must_use]
    pub fn of(command: &Command) -> Self {
        let by_key = |has_key: bool| if has_key { Self::SameKey } else { Self::Look };
        match command {
            Command::Issue { take, .. } | Command::IssueCount { take, .. } | Command::Reserve { take, .. } => {
                by_key(take.key.is_some())
            }
            Command::IssueItems { items, .. } => by_key(items.iter().all(|item| item.key.is_some())),
            Command::CreateApiKey(_) => Self::Look,
            Command::Adopt { adopt, .. } if adopt.key.is_some() => Self::SameKey,
            // Without its key a claim that was won is only busy until its lease runs out.
            Command::Claim(claim) if claim.key.is_some() => Self::SameKey,
            Command::Adopt { .. }
            | Command::AdoptItems { .. }
            | Command::Claim(_)
            | Command::Preview { .. }
            | Command::Confirm { .. }
            | Command::Release { .. }
            | Command::Expire { .. }
            | Command::Void(_)
            | Command::Redact { .. }
            | Command::Define { .. }
            | Command::Close { .. }
            | Command::Reopen { .. }
            | Command::Advance { .. }
            | Command::Wipe { .. }
            | Command::OpenGate { .. }
            | Command::Renew { .. }
            | Command::Complete { .. }
            | Command::Fail { .. }
            | Command::Retry { .. }
            | Command::RevokeApiKey { .. } => Self::Safe,
        }
    }
}

impl Failure {
    /// The same failure, where it is known whether the request may be sent again.
    pub(crate) fn repeated(mut self, by: Repeat) -> Self {
        if let Self::Unknown { repeat, .. } = &mut self {
            *repeat = by;
        }
        self
    }

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
            Self::Unknown { repeat, .. } => match repeat {
                Repeat::SameKey => "retry_same_key",
                Repeat::Safe => "retry",
                Repeat::Look => "never",
            },
        }
    }
}
