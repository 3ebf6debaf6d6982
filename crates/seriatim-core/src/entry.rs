//! The record of one number.

use alloc::format;
use alloc::sync::Arc;
use core::fmt;

use crate::counter::{CounterId, CounterKey};
use crate::document::Document;
use crate::journal::Hash;
use crate::name::{Key, Reason, Reference};
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::time::{Date, Timestamp};

/// The id of an entry: its counter and seq, so that it needs no index and no randomness.
///
/// ```
/// use seriatim_core::EntryId;
/// let id: EntryId = "ent_0123456789abcdef_42".parse()?;
/// assert_eq!(id.to_string(), "ent_0123456789abcdef_42");
/// # Ok::<(), seriatim_core::Refusal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The counter.
    pub counter: CounterId,
    /// The integer of the number within its counter.
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ent_{}_{}", self.counter, self.seq)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for EntryId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parsed = text
            .strip_prefix("ent_")
            .and_then(|rest| rest.split_once('_'))
            .filter(|(_, seq)| !seq.starts_with('0') && seq.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|(counter, seq)| {
                Some(Self {
                    counter: counter.parse().ok()?,
                    seq: i64::try_from(seq.parse::<u64>().ok()?).ok()?.unsigned_abs(),
                })
            });
        parsed.ok_or_else(|| {
            let message = format!(
                "`{}` is not an entry id; it looks like ent_0123456789abcdef_42",
                text.escape_debug()
            );
            Refusal::new(Code::InvalidId, message).at("/id")
        })
    }
}

/// What a number is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Taken, not yet on a document.
    Reserved,
    /// On a document.
    Issued,
    /// Spent, with a reason.
    Voided,
}

impl State {
    /// The state as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Issued => "issued",
            Self::Voided => "voided",
        }
    }

    /// Reads [`State::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reserved, Self::Issued, Self::Voided]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// The verb that took the number; a retry must be of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `issue`.
    Issue,
    /// `reserve`.
    Reserve,
    /// `adopt`.
    Adopt,
}

impl Origin {
    /// The verb as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Reserve => "reserve",
            Self::Adopt => "adopt",
        }
    }

    /// Reads [`Origin::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Issue, Self::Reserve, Self::Adopt]
            .into_iter()
            .find(|origin| origin.as_str() == text)
    }
}

/// The record of one number.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// Its counter: series, tenant, scope and period.
    pub counter: Arc<CounterKey>,
    /// The text on the document. It is stored, not rendered again: a later change must not rename a printed invoice.
    pub number: Arc<str>,
    /// What it is now.
    pub state: State,
    /// The verb that took it.
    pub origin: Origin,
    /// The document date.
    pub date: Date,
    /// The caller's key.
    pub key: Option<Key>,
    /// Every param of the request.
    pub params: Params,
    /// The caller's reference.
    pub reference: Option<Reference>,
    /// The document, unless there is none or it was redacted.
    pub document: Option<Document>,
    /// SHA-256 of the document; it stays when the document is redacted.
    pub document_sha256: Option<Hash>,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// When it was issued, if it was.
    pub issued_at: Option<Timestamp>,
    /// When its reservation runs out, if it was reserved.
    pub expires_at: Option<Timestamp>,
    /// When it was voided, if it was.
    pub voided_at: Option<Timestamp>,
    /// Why it was voided, as a code.
    pub reason_code: Option<Arc<str>>,
    /// Why it was voided, in words.
    pub reason: Option<Reason>,
    /// The voided entry that this one replaces.
    pub replaces: Option<EntryId>,
    /// The entry that replaces this voided one.
    pub replacement: Option<EntryId>,
    /// Position of its latest event in the counter's chain.
    pub position: u64,
    /// Hash of its latest event.
    pub hash: Hash,
}

impl Entry {
    /// Whether its document was emptied.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.document_sha256.is_some() && self.document.is_none()
    }

    /// Whether it is reserved and its time is over.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == State::Reserved && self.expires_at.is_some_and(|end| end <= now)
    }
}
