//! One fact of the journal, as callers see it.

use serde::Serialize;
use seriatim::{EntryId, Timestamp};
use utoipa::ToSchema;

use super::{Hex, ParamsShown, Shown};

/// One fact. Its hash covers every field and the event before it.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct Event<'a> {
    /// Its place in the chain, from 1.
    position: u64,
    /// What happened: `issued`, `reserved`, `confirmed`, `voided`, …
    kind: &'a str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Shown<Timestamp>,
    /// Who did it.
    #[schema(example = "key:0123456789ab")]
    actor: &'a str,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<&'a str>,
    /// The seq, or the first of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The last seq of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_last: Option<u64>,
    /// The number.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    /// The document date.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Date)]
    date: Option<Shown<seriatim::Date>>,
    /// The caller's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    /// The params.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<ParamsShown<'a>>,
    /// The caller's free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    /// When the reservation runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Shown<Timestamp>>,
    /// The entry that this one replaces, or that replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    link: Option<Shown<EntryId>>,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<&'a str>,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// SHA-256 of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    document_sha256: Option<Hex>,
    /// On the definitions chain: what was defined, closed or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// SHA-256 of the hash before it and the fields above.
    #[schema(value_type = String)]
    hash: Hex,
}

impl<'a> Event<'a> {
    /// An event.
    pub fn of(event: &'a seriatim::Event) -> Self {
        Self {
            position: event.position,
            kind: event.kind.as_str(),
            at: Shown(event.at),
            actor: &event.actor,
            on_behalf_of: event.on_behalf_of.as_deref(),
            seq: event.seq,
            seq_last: event.seq_last,
            number: event.number.as_deref(),
            date: event.date.map(Shown),
            key: event.key.as_deref(),
            params: (!event.params.is_empty()).then_some(ParamsShown(&event.params)),
            reference: event.reference.as_deref(),
            expires_at: event.expires_at.map(Shown),
            link: event.link.map(Shown),
            reason_code: event.reason_code.as_deref(),
            reason: event.reason.as_deref(),
            document_sha256: event.document.map(Hex),
            detail: event.detail.as_deref(),
            hash: Hex(event.hash),
        }
    }
}
