//! The record of one number, as callers see it.

use serde::Serialize;
use serde_json::value::RawValue;
use seriatim::{Answer, EntriesAnswer, EntryId, Taken, Timestamp, Warning};
use utoipa::ToSchema;

use super::{Event, Hex, ParamsShown, Shown};

/// The record of one number.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct Entry<'a> {
    /// Its id.
    #[schema(value_type = String, example = "ent_0123456789abcdef_1")]
    pub id: Shown<EntryId>,
    /// The series.
    pub series: &'a str,
    /// Whose number.
    pub tenant: &'a str,
    /// The text on the document.
    #[schema(example = "INV-2526-00001")]
    pub number: &'a str,
    /// The integer of the number within its counter.
    pub seq: u64,
    /// The stretch after which the count restarts.
    #[schema(example = "2025-26")]
    pub period: &'a str,
    /// The document date.
    #[schema(value_type = String, format = Date)]
    pub date: Shown<seriatim::Date>,
    /// `reserved`, `issued` or `voided`.
    pub state: &'a str,
    /// The verb that took the number: `issue`, `reserve` or `adopt`.
    pub origin: &'a str,
    /// The caller's key.
    pub key: Option<&'a str>,
    /// The caller's free text.
    pub reference: Option<&'a str>,
    /// Every param of the request.
    #[schema(value_type = BTreeMap<String, String>)]
    pub params: ParamsShown<'a>,
    /// The document, as it was received.
    #[schema(value_type = Option<serde_json::Value>)]
    pub document: Option<&'a RawValue>,
    /// SHA-256 of the document; it stays when the document is redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub document_sha256: Option<Hex>,
    /// Whether the document was emptied.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub redacted: bool,
    /// When it was taken.
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: Shown<Timestamp>,
    /// When it was issued.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub issued_at: Option<Shown<Timestamp>>,
    /// When its reservation runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Shown<Timestamp>>,
    /// Reserved, and its time is over.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub overdue: bool,
    /// When it was voided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub voided_at: Option<Shown<Timestamp>>,
    /// Why it was voided, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<&'a str>,
    /// Why it was voided, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The voided entry that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replaces: Option<Shown<EntryId>>,
    /// The entry that replaces this voided one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub replacement: Option<Shown<EntryId>>,
    /// The hash of its latest event.
    #[schema(value_type = String)]
    pub hash: Hex,
    /// The series is a test series: it can be wiped.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub test: bool,
    /// In a batch: this number had been given before.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub replayed: bool,
    /// In what this request differs from the first one with its key: `date`, `document`. What else was given, as
    /// `reference` and `ttl`, is that of the first request, and not compared.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    pub differs: &'a [&'static str],
    /// What somebody should look at soon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<Note>,
}

/// What somebody should look at soon.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Warning)]
pub struct Note {
    /// The stable code: `widened` or `near_limit`.
    #[schema(value_type = String)]
    code: &'static str,
    /// What, in words.
    detail: String,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Note {
    /// The notes of an answer.
    pub fn all(warnings: &[Warning]) -> Vec<Self> {
        let note = |warning: &Warning| Self {
            code: warning.code(),
            detail: warning.to_string(),
        };
        warnings.iter().map(note).collect()
    }
}

impl<'a> Entry<'a> {
    /// An entry as it is now.
    pub fn of(entry: &'a seriatim::Entry, now: Timestamp, test: bool) -> Self {
        // What is stored was parsed before it was stored.
        let document = entry
            .document
            .as_ref()
            .and_then(|document| serde_json::from_str(document.as_str()).ok());
        Self {
            id: Shown(entry.id),
            series: &entry.counter.series,
            tenant: &entry.counter.tenant,
            number: &entry.number,
            seq: entry.id.seq,
            period: entry.counter.period.as_str(),
            date: Shown(entry.date),
            state: entry.state.as_str(),
            origin: entry.origin.as_str(),
            key: entry.key.as_deref(),
            reference: entry.reference.as_deref(),
            params: ParamsShown(&entry.params),
            document,
            document_sha256: entry.document_sha256.map(Hex),
            redacted: entry.is_redacted(),
            taken_at: Shown(entry.taken_at),
            issued_at: entry.issued_at.map(Shown),
            expires_at: entry.expires_at.map(Shown),
            overdue: entry.is_overdue(now),
            voided_at: entry.voided_at.map(Shown),
            reason_code: entry.reason_code.as_deref(),
            reason: entry.reason.as_deref(),
            replaces: entry.replaces.map(Shown),
            replacement: entry.replacement.map(Shown),
            hash: Hex(entry.hash),
            test,
            replayed: false,
            differs: &[],
            warnings: Vec::new(),
        }
    }

    /// One number of an answer.
    pub fn taken(taken: &'a Taken, answer: &EntriesAnswer, now: Timestamp) -> Self {
        Self {
            differs: &taken.differs,
            ..Self::of(&taken.entry, now, answer.series.test)
        }
    }
}

/// An entry with what happened to it.
#[derive(Serialize, ToSchema)]
pub struct EntryWithEvents<'a> {
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry<'a>,
    /// Its events, oldest first.
    pub events: Vec<Event<'a>>,
}

/// Numbers of a batch, in the order of the request.
#[derive(Serialize, ToSchema)]
pub struct Issued<'a> {
    /// The entries.
    pub data: Vec<Entry<'a>>,
    /// What somebody should look at soon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<Note>,
}

impl<'a> Issued<'a> {
    /// The numbers of an answer.
    pub fn of(answer: &'a EntriesAnswer, now: Timestamp) -> Self {
        let entry = |taken: &'a Taken| Entry {
            replayed: taken.replayed,
            ..Entry::taken(taken, answer, now)
        };
        Self {
            data: answer.taken.iter().map(entry).collect(),
            warnings: Note::all(&answer.warnings),
        }
    }
}

/// A number that was voided, and its replacement.
#[derive(Serialize, ToSchema)]
pub struct Voided<'a> {
    /// The number that is spent.
    pub voided: Option<Entry<'a>>,
    /// The number issued in its place, with `reissue`.
    pub replacement: Option<Entry<'a>>,
}

impl<'a> Voided<'a> {
    /// What an answer says.
    pub fn of(answer: &'a EntriesAnswer, now: Timestamp) -> Self {
        let first = answer.taken.first().map(|taken| Entry::taken(taken, answer, now));
        match &answer.voided {
            None => Self {
                voided: first,
                replacement: None,
            },
            Some(voided) => Self {
                voided: Some(Entry::of(voided, now, answer.series.test)),
                replacement: first.map(|entry| Entry {
                    warnings: Note::all(&answer.warnings),
                    ..entry
                }),
            },
        }
    }
}

/// What the next numbers would look like; nothing was consumed.
#[derive(Serialize, ToSchema)]
pub struct Preview<'a> {
    /// The numbers, in their order.
    pub data: Vec<PreviewNumber<'a>>,
    /// Whether this is a test series.
    #[serde(skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub test: bool,
    /// What somebody should look at soon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub warnings: Vec<Note>,
}

/// A number that was not issued.
#[derive(Serialize, ToSchema)]
pub struct PreviewNumber<'a> {
    /// The text.
    number: &'a str,
    /// The seq.
    seq: u64,
    /// The period.
    period: &'a str,
    /// The date.
    #[schema(value_type = String, format = Date)]
    date: Shown<seriatim::Date>,
}

impl<'a> Preview<'a> {
    /// The numbers of an answer.
    pub fn of(answer: &'a EntriesAnswer) -> Self {
        let number = |taken: &'a Taken| PreviewNumber {
            number: &taken.entry.number,
            seq: taken.entry.id.seq,
            period: taken.entry.counter.period.as_str(),
            date: Shown(taken.entry.date),
        };
        Self {
            data: answer.taken.iter().map(number).collect(),
            test: answer.series.test,
            warnings: Note::all(&answer.warnings),
        }
    }
}

/// Why an answer of another kind cannot be shown.
pub fn unexpected(answer: &Answer) -> crate::problem::Problem {
    crate::problem::Problem::internal(format!("the decision gave an answer of another kind: {answer:?}"))
}
