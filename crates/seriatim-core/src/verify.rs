//! Whether a chain holds, and whether an entry is what its events say.

use alloc::format;
use alloc::string::{String, ToString};

use crate::document::Document;
use crate::entry::{Entry, Origin, State};
use crate::gate::Gate;
use crate::journal::{Chain, ChainHead, Event, EventKind, Hash};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be known.
    Note,
    /// To be looked at.
    Warning,
    /// Something was changed that must not change.
    Error,
}

impl Severity {
    /// The severity as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The stable code.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where: a counter, an entry, an event.
    pub place: String,
    /// What, in words.
    pub message: String,
}

impl Finding {
    /// A finding that something was changed.
    #[must_use]
    pub fn error(code: &'static str, place: impl ToString, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            place: place.to_string(),
            message: message.into(),
        }
    }
}

/// Walks one chain from its first event to its last.
#[derive(Debug, Clone)]
pub struct ChainCheck {
    chain: Chain,
    reached: ChainHead,
}

impl ChainCheck {
    /// A walk that begins at the beginning.
    #[must_use]
    pub fn begin(chain: Chain, genesis: Hash) -> Self {
        Self::resume(
            chain,
            ChainHead {
                length: 0,
                head: genesis,
            },
        )
    }

    /// A walk that goes on after what was checked before.
    #[must_use]
    pub fn resume(chain: Chain, reached: ChainHead) -> Self {
        Self { chain, reached }
    }

    /// Where the walk stands.
    #[must_use]
    pub fn reached(&self) -> ChainHead {
        self.reached
    }

    /// Takes the next event.
    pub fn step(&mut self, event: &Event) -> Option<Finding> {
        let place = format!("{}#{}", self.chain, event.position);
        let expected = self.reached.length + 1;
        let finding = if event.position != expected {
            let message = format!("event {expected} is not there; the next one is {}", event.position);
            Some(Finding::error("event_missing", &place, message))
        } else if event.hash_after(&self.reached.head) != event.hash {
            let message = "the event does not match its hash: it, or the one before it, was changed";
            Some(Finding::error("event_changed", &place, message))
        } else {
            None
        };
        // Go on from what is stored, so that one change is one finding.
        self.reached = ChainHead {
            length: event.position,
            head: event.hash,
        };
        finding
    }

    /// The end of the chain must be where its counter says.
    #[must_use]
    pub fn finish(&self, recorded: ChainHead) -> Option<Finding> {
        let Self { chain, reached } = self;
        (*reached != recorded).then(|| {
            let message = format!(
                "the chain ends at event {} with {}, but {} with {} was recorded",
                reached.length, reached.head, recorded.length, recorded.head
            );
            Finding::error("chain_end", chain, message)
        })
    }
}

/// Makes the moves of a gate once more from its events, and compares what comes out with the gate as it is stored.
#[derive(Debug, Clone)]
pub struct GateCheck {
    told: Gate,
    task_sha256: Option<Hash>,
    result_sha256: Option<Hash>,
}

impl GateCheck {
    /// A walk that begins before the gate was opened.
    #[must_use]
    pub fn begin(gate: &Gate) -> Self {
        Self {
            told: Gate::blank(gate.tenant.clone(), gate.effect.clone(), gate.subject.clone()),
            task_sha256: None,
            result_sha256: None,
        }
    }

    /// Takes the next event.
    pub fn step(&mut self, event: &Event) -> Option<Finding> {
        match event.kind {
            EventKind::Opened | EventKind::Changed => self.task_sha256 = event.document,
            EventKind::Completed => self.result_sha256 = event.document,
            _ => {}
        }
        let illegal = self.told.apply(event).err()?;
        let place = format!("{}#{}", self.told.id, event.position);
        let message = format!("event {} is `{}`: {illegal}", event.position, event.kind.as_str());
        Some(Finding::error("gate_move", place, message))
    }

    /// What is stored must be what the events say.
    #[must_use]
    pub fn finish(&self, stored: &Gate) -> Option<Finding> {
        let differs = if stored.id == self.told.id {
            stored.difference(&self.told, self.task_sha256, self.result_sha256)?
        } else {
            "id"
        };
        let message = format!(
            "{differs} of the gate for {} is not what its events say",
            stored.label()
        );
        Some(Finding::error("gate_changed", stored.id, message))
    }
}

/// What an event says of its entry, compared with the entry as it is stored.
///
/// An entry is touched by several events. Each is compared for what only it can say; the state is compared at the
/// latest one, which the entry names by position and hash.
#[must_use]
pub fn compare_entry(entry: &Entry, event: &Event) -> Option<Finding> {
    let creates = matches!(event.kind, EventKind::Issued | EventKind::Reserved | EventKind::Adopted);
    let latest = entry.position == event.position;
    let differs = if event.number.as_deref() != Some(&*entry.number) {
        Some("number")
    } else if event.seq != Some(entry.id.seq) {
        Some("seq")
    } else if event.position > entry.position {
        // The entry names its latest event; a later one means that it was set back.
        Some("position")
    } else if creates {
        created_difference(entry, event)
    } else {
        changed_difference(entry, event)
    };
    let differs = differs.or_else(|| latest.then(|| state_difference(entry, event)).flatten());
    differs.map(|field| {
        let message = format!("{field} of {} is not what event {} says", entry.number, event.position);
        Finding::error("entry_changed", entry.id, message)
    })
}

fn created_difference(entry: &Entry, event: &Event) -> Option<&'static str> {
    let origin = match event.kind {
        EventKind::Issued => Origin::Issue,
        EventKind::Reserved => Origin::Reserve,
        _ => Origin::Adopt,
    };
    first([
        ("counter", entry.counter.id() != entry.id.counter),
        ("origin", entry.origin != origin),
        ("date", Some(entry.date) != event.date),
        ("key", entry.key != event.key),
        ("params", entry.params != event.params),
        ("reference", entry.reference != event.reference),
        ("taken_at", entry.taken_at != event.at),
        ("expires_at", entry.expires_at != event.expires_at),
        ("replaces", entry.replaces != event.link),
        (
            "issued_at",
            origin != Origin::Reserve && entry.issued_at != Some(event.at),
        ),
    ])
}

fn changed_difference(entry: &Entry, event: &Event) -> Option<&'static str> {
    match event.kind {
        EventKind::Confirmed => first([("issued_at", entry.issued_at != Some(event.at))]),
        EventKind::Redacted => first([("document", entry.document.is_some())]),
        EventKind::Voided | EventKind::Released | EventKind::Expired => first([
            // What was released or ran out was never issued.
            (
                "issued_at",
                event.kind != EventKind::Voided && entry.issued_at.is_some(),
            ),
            ("voided_at", entry.voided_at != Some(event.at)),
            ("reason_code", entry.reason_code != event.reason_code),
            ("reason", entry.reason != event.reason),
            ("replacement", entry.replacement != event.link),
        ]),
        _ => None,
    }
}

/// What the latest event leaves. (Whether a reserved entry was ever confirmed, or an entry redacted, is told by
/// counting those events; see the walk in the library.)
fn state_difference(entry: &Entry, event: &Event) -> Option<&'static str> {
    let state = match event.kind {
        EventKind::Reserved => State::Reserved,
        EventKind::Voided | EventKind::Released | EventKind::Expired => State::Voided,
        EventKind::Redacted if entry.voided_at.is_some() => State::Voided,
        _ => State::Issued,
    };
    let is_void = state == State::Voided;
    let has_void_fields = entry.voided_at.is_some()
        || entry.reason.is_some()
        || entry.reason_code.is_some()
        || entry.replacement.is_some();
    let text_hash = entry.document.as_ref().map(Document::sha256);
    first([
        ("state", entry.state != state),
        ("issued_at", state == State::Reserved && entry.issued_at.is_some()),
        ("voided_at", !is_void && has_void_fields),
        ("hash", entry.hash != event.hash),
        ("document_sha256", entry.document_sha256 != event.document),
        ("document", text_hash.is_some() && text_hash != entry.document_sha256),
    ])
}

fn first<const N: usize>(differences: [(&'static str, bool); N]) -> Option<&'static str> {
    differences
        .iter()
        .find(|(_, differs)| *differs)
        .map(|(field, _)| *field)
}
