//! What a caller asks for.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::{Access, ApiKey};
use crate::document::Document;
use crate::entry::EntryId;
use crate::gate::{GateId, GatePolicy};
use crate::name::{Actor, Effect, Holder, Key, Reason, Reference, SeriesName, Subject, Tenant};
use crate::refusal::{Code, Refusal};
use crate::reservation::Ttl;
use crate::series::Series;
use crate::time::Date;

/// A command with who asks for it and what he may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who asks: an API key id, a database user or an operating-system user.
    pub actor: Actor,
    /// On whose behalf, if he says so.
    pub on_behalf_of: Option<Actor>,
    /// What he may do.
    pub access: Access,
    /// Decide as if, but write nothing.
    pub rehearsal: bool,
    /// What he asks for.
    pub command: Command,
}

/// One number to take.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Take {
    /// The caller's key.
    pub key: Option<Key>,
    /// Whose number; `default` if not said.
    pub tenant: Tenant,
    /// Values for the format, as given.
    pub params: BTreeMap<String, String>,
    /// The document date; today in the series' zone if not said.
    pub date: Option<Date>,
    /// The document.
    pub document: Option<Document>,
    /// A free reference.
    pub reference: Option<Reference>,
}

impl Take {
    /// Whether it takes from the same counter as this other one, in the same series and at the same time.
    pub(crate) fn counts_like(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.date == other.date && self.params == other.params
    }
}

/// A number that was issued elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopt {
    /// The text on the document.
    pub number: String,
    /// Its date.
    pub date: Date,
    /// Whose number.
    pub tenant: Tenant,
    /// The key it was issued for, if known.
    pub key: Option<Key>,
    /// The document.
    pub document: Option<Document>,
    /// A free reference.
    pub reference: Option<Reference>,
}

/// Why a number is spent, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoidReason {
    /// The document was spoiled.
    Spoiled,
    /// The document was a duplicate.
    Duplicate,
    /// The receiver or an authority rejected it.
    Rejected,
    /// The business was cancelled.
    Cancelled,
    /// See the words.
    Other,
}

impl VoidReason {
    const ALL: [Self; 5] = [
        Self::Spoiled,
        Self::Duplicate,
        Self::Rejected,
        Self::Cancelled,
        Self::Other,
    ];

    /// The code as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spoiled => "spoiled",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }

    /// Reads [`VoidReason::as_str`] back.
    ///
    /// # Errors
    /// `invalid_text` with the choices.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| {
                let choices = Self::ALL.map(Self::as_str).join(", ");
                let message = format!("unknown reason code `{}`; use one of {choices}", text.escape_debug());
                Refusal::new(Code::InvalidText, message).at("/reason_code")
            })
    }
}

/// A number to void.
#[derive(Debug, Clone, PartialEq)]
pub struct Void {
    /// Which.
    pub entry: EntryId,
    /// Why, as a code.
    pub reason_code: VoidReason,
    /// Why, in words.
    pub reason: Reason,
    /// Whether its replacement is issued in the same commit; the key moves to it.
    pub reissue: bool,
}

/// A gate to claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Whose.
    pub tenant: Tenant,
    /// What is to happen once.
    pub effect: Effect,
    /// For what.
    pub subject: Subject,
    /// How long the lease is.
    pub ttl: Ttl,
    /// Who claims.
    pub holder: Holder,
    /// The key of this one claim, so that a retry of it hears its own token again.
    pub key: Option<Key>,
    /// How often it may be tried, if the claim is what opens the gate.
    pub policy: GatePolicy,
}

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Take a number for a document.
    Issue {
        /// The series.
        series: SeriesName,
        /// The number.
        take: Take,
    },
    /// Take several numbers, each with its key, all or none.
    IssueItems {
        /// The series.
        series: SeriesName,
        /// 1 to 1,000.
        items: Vec<Take>,
    },
    /// Take several numbers with one key.
    IssueCount {
        /// The series.
        series: SeriesName,
        /// What they have in common.
        take: Take,
        /// 1 to 1,000.
        count: u32,
    },
    /// Show what the next numbers would be; writes nothing.
    Preview {
        /// The series.
        series: SeriesName,
        /// What they have in common.
        take: Take,
        /// 1 to 1,000.
        count: u32,
    },
    /// Take a number that is confirmed or released later.
    Reserve {
        /// The series.
        series: SeriesName,
        /// The number.
        take: Take,
        /// How long it is held.
        ttl: Ttl,
    },
    /// Record a number that was issued elsewhere.
    Adopt {
        /// The series.
        series: SeriesName,
        /// The number.
        adopt: Adopt,
    },
    /// Record numbers that were issued elsewhere, all or none; one that is recorded already is answered as it is.
    AdoptItems {
        /// The series.
        series: SeriesName,
        /// 1 to 1,000.
        items: Vec<Adopt>,
        /// Why the seqs that are passed over are missing; said in our words if it is not given.
        missing_reason: Option<Reason>,
    },
    /// A reserved number is on a document now.
    Confirm {
        /// Which.
        entry: EntryId,
        /// The document, if it was not given when it was reserved.
        document: Option<Document>,
    },
    /// A reserved number was never used.
    Release {
        /// Which.
        entry: EntryId,
        /// Why.
        reason: Reason,
    },
    /// Void an overdue reservation of a series that says so.
    Expire {
        /// Which.
        entry: EntryId,
    },
    /// A number is spent.
    Void(Void),
    /// Empty a document; its hash stays.
    Redact {
        /// Which.
        entry: EntryId,
        /// Why.
        reason: Reason,
    },
    /// Define a series or change it.
    Define {
        /// The new definition. Its version and `replaced_by` are set by the decision.
        series: Box<Series>,
        /// The version that the caller saw.
        if_version: Option<u64>,
    },
    /// Close a period.
    Close {
        /// The series.
        series: SeriesName,
        /// Whose.
        tenant: Tenant,
        /// Which, as it is written.
        period: String,
        /// Why.
        reason: Reason,
    },
    /// Open a closed period again.
    Reopen {
        /// The series.
        series: SeriesName,
        /// Whose.
        tenant: Tenant,
        /// Which, as it is written.
        period: String,
        /// Why.
        reason: Reason,
    },
    /// Pass over the seqs up to and with `to`, with a reason.
    Advance {
        /// The series.
        series: SeriesName,
        /// Whose.
        tenant: Tenant,
        /// The params that split the count.
        params: BTreeMap<String, String>,
        /// The period, as it is written; the present one if not said.
        period: Option<String>,
        /// The last seq that counts as taken.
        to: u64,
        /// Why.
        reason: Reason,
    },
    /// Empty a test series.
    Wipe {
        /// The series.
        series: SeriesName,
    },
    /// Open a gate, so that somebody claims it later; one that is there already stays as it is.
    OpenGate {
        /// Whose.
        tenant: Tenant,
        /// What is to happen once.
        effect: Effect,
        /// For what.
        subject: Subject,
        /// How often it may be tried.
        policy: GatePolicy,
        /// What whoever claims it must know, up to 2 MiB.
        task: Option<Document>,
        /// Whether the task takes the place of the one that is there: with the token of the latest claim that the caller
        /// knows of (0: of none), for who claimed it since may have acted on the task. A gate that is held allows it to
        /// nobody.
        change: Option<u64>,
    },
    /// Be the one who brings an effect about.
    Claim(Box<Claim>),
    /// Hold a claim for longer.
    Renew {
        /// Which gate.
        gate: GateId,
        /// The token of the claim.
        token: u64,
        /// How long from now.
        ttl: Ttl,
    },
    /// Record the result: the effect has happened.
    Complete {
        /// Which gate.
        gate: GateId,
        /// The token of the claim.
        token: u64,
        /// The result, for everybody who asks.
        result: Document,
    },
    /// The holder could not do it.
    Fail {
        /// Which gate.
        gate: GateId,
        /// The token of the claim.
        token: u64,
        /// Why.
        error: Reason,
        /// From when it may be tried again; by the gate's policy if not said.
        retry_in: Option<Ttl>,
        /// Nobody tries again before somebody has looked: the gate is dead at once.
        give_up: bool,
    },
    /// Open a dead gate again.
    Retry {
        /// Which gate.
        gate: GateId,
        /// Why.
        reason: Reason,
    },
    /// Make an API key.
    CreateApiKey(Box<ApiKey>),
    /// Revoke an API key.
    RevokeApiKey {
        /// The public part.
        id: String,
    },
}

impl Command {
    /// The most numbers in one command.
    pub const COUNT_MAX: usize = 1_000;

    /// The verb, for metrics and logs.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Issue { .. } | Self::IssueItems { .. } | Self::IssueCount { .. } => "issue",
            Self::Preview { .. } => "preview",
            Self::Reserve { .. } => "reserve",
            Self::Adopt { .. } | Self::AdoptItems { .. } => "adopt",
            Self::Confirm { .. } => "confirm",
            Self::Release { .. } => "release",
            Self::Expire { .. } => "expire",
            Self::Void(_) => "void",
            Self::Redact { .. } => "redact",
            Self::Define { .. } => "define",
            Self::Close { .. } => "close",
            Self::Reopen { .. } => "reopen",
            Self::Advance { .. } => "advance",
            Self::Wipe { .. } => "wipe",
            Self::OpenGate { .. } => "open",
            Self::Claim(_) => "claim",
            Self::Renew { .. } => "renew",
            Self::Complete { .. } => "complete",
            Self::Fail { .. } => "fail",
            Self::Retry { .. } => "retry",
            Self::CreateApiKey(_) => "key_create",
            Self::RevokeApiKey { .. } => "key_revoke",
        }
    }
}

/// The count of a request.
///
/// # Errors
/// `invalid_count`.
pub(crate) fn check_count(field: &str, count: usize) -> Result<(), Refusal> {
    if (1..=Command::COUNT_MAX).contains(&count) {
        return Ok(());
    }
    let message = format!(
        "{field} is {count}; one commit takes 1 to {} numbers",
        Command::COUNT_MAX
    );
    Err(Refusal::new(Code::InvalidCount, message).at(format!("/{field}")))
}
