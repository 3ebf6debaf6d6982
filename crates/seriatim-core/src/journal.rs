//! The append-only chains: what an event says and what it hashes to.
//!
//! `hash = SHA-256(previous ‖ fields)`, each field as `<byte length>:<UTF-8>`, null as `-`, times as microseconds
//! since 1970, so that any language makes the same bytes. The fields stand in the order of [`Event`].

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::counter::{CounterId, CounterKey};
use crate::digits::Digits;
use crate::entry::EntryId;
use crate::gate::GateId;
use crate::name::{Actor, Effect, Key, Reason, Reference, Subject, Tenant};
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::time::{Date, Timestamp};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A hash as it was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Hash {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::new(Code::InvalidId, "a hash is 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

/// Which chain an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// Definitions, period closures, API keys, wipes.
    Definitions,
    /// The numbers of one counter.
    Counter(CounterId),
    /// What became of one gate.
    Gate(GateId),
}

impl Chain {
    /// What the first event of the definitions chain stands on.
    #[must_use]
    pub fn definitions_genesis() -> Hash {
        let mut fields = Fields::new(None);
        fields.text(Some("seriatim definitions 1"));
        fields.finish()
    }

    /// What the first event of a counter's chain stands on: the counter's identity.
    #[must_use]
    pub fn counter_genesis(key: &CounterKey) -> Hash {
        let mut fields = Fields::new(None);
        fields.text(Some("seriatim counter 1"));
        fields.text(Some(&key.series));
        fields.text(Some(&key.tenant));
        fields.display(Some(&key.partition));
        fields.text(Some(key.period.as_str()));
        fields.finish()
    }
}

impl Chain {
    /// What the first event of a gate's chain stands on: what the gate is for.
    #[must_use]
    pub fn gate_genesis(tenant: &Tenant, effect: &Effect, subject: &Subject) -> Hash {
        let mut fields = Fields::new(None);
        fields.text(Some("seriatim gate 1"));
        fields.text(Some(tenant));
        fields.text(Some(effect));
        fields.text(Some(subject));
        fields.finish()
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Definitions => f.write_str("definitions"),
            Self::Counter(id) => write!(f, "{id}"),
            Self::Gate(id) => write!(f, "{id}"),
        }
    }
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// How many events it has.
    pub length: u64,
    /// The hash of the last one, or what the first will stand on.
    pub head: Hash,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind { $($(#[$doc])* $name,)* }

        impl EventKind {
            /// The kind as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reads [`EventKind::as_str`] back.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

kinds! {
    /// A number was issued.
    Issued = "issued",
    /// A number was reserved.
    Reserved = "reserved",
    /// A number that was issued elsewhere was recorded.
    Adopted = "adopted",
    /// A reserved number was issued.
    Confirmed = "confirmed",
    /// A reserved number was never used; it is void.
    Released = "released",
    /// A reservation ran out, and its number is void; or a lease did, and somebody else came.
    Expired = "expired",
    /// A number was spent.
    Voided = "voided",
    /// A document was emptied.
    Redacted = "redacted",
    /// A run of seqs was passed over.
    Missing = "missing",
    /// A series was defined.
    Defined = "defined",
    /// A series was changed.
    Changed = "changed",
    /// A period was closed.
    Closed = "closed",
    /// A period was opened again.
    Reopened = "reopened",
    /// A test series was emptied.
    Wiped = "wiped",
    /// An API key was made.
    KeyCreated = "key_created",
    /// An API key was revoked.
    KeyRevoked = "key_revoked",
    /// A gate was opened.
    Opened = "opened",
    /// A gate was claimed.
    Claimed = "claimed",
    /// A gate's result was recorded.
    Completed = "completed",
    /// A holder said that he failed.
    Failed = "failed",
    /// A gate failed as often as it may.
    Died = "died",
    /// A dead gate was opened again.
    Retried = "retried",
}

/// One fact. Its hash covers every field and the event before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the chain, from 1.
    pub position: u64,
    /// What happened.
    pub kind: EventKind,
    /// The seq, or the first of a run; of a gate, the token.
    pub seq: Option<u64>,
    /// The last seq of a run; of a gate, which attempt.
    pub seq_last: Option<u64>,
    /// The number.
    pub number: Option<Arc<str>>,
    /// The document date.
    pub date: Option<Date>,
    /// The caller's key.
    pub key: Option<Key>,
    /// The params.
    pub params: Params,
    /// The caller's reference.
    pub reference: Option<Reference>,
    /// When the reservation or the lease runs out; of an open gate, from when it may be claimed.
    pub expires_at: Option<Timestamp>,
    /// The entry that this one replaces, or that replaces it.
    pub link: Option<EntryId>,
    /// Why, as a code.
    pub reason_code: Option<Arc<str>>,
    /// Why, in words.
    pub reason: Option<Reason>,
    /// SHA-256 of the document, or of a gate's result.
    pub document: Option<Hash>,
    /// Who did it.
    pub actor: Actor,
    /// On whose behalf.
    pub on_behalf_of: Option<Actor>,
    /// When.
    pub at: Timestamp,
    /// On the definitions chain: what was defined, closed or created. Of a gate: its policy, or who holds the claim.
    pub detail: Option<Arc<str>>,
    /// SHA-256 of the hash before it and the fields above.
    pub hash: Hash,
}

impl Event {
    /// The layout of the hashed fields.
    pub const LAYOUT: &'static str = "1";

    /// An event with nothing but kind, actor and time.
    #[must_use]
    pub fn new(kind: EventKind, actor: Actor, at: Timestamp) -> Self {
        Self {
            position: 0,
            kind,
            seq: None,
            seq_last: None,
            number: None,
            date: None,
            key: None,
            params: Params::default(),
            reference: None,
            expires_at: None,
            link: None,
            reason_code: None,
            reason: None,
            document: None,
            actor,
            on_behalf_of: None,
            at,
            detail: None,
            hash: Hash([0; 32]),
        }
    }

    /// What this event hashes to after the one before it.
    #[must_use]
    pub fn hash_after(&self, previous: &Hash) -> Hash {
        let mut fields = Fields::new(Some(previous));
        fields.text(Some(Self::LAYOUT));
        fields.text(Some(self.kind.as_str()));
        fields.number(self.seq);
        fields.number(self.seq_last);
        fields.text(self.number.as_deref());
        fields.bytes(self.date.map(Date::to_text).as_ref().map(<[u8; 10]>::as_slice));
        fields.text(self.key.as_deref());
        fields.display((!self.params.is_empty()).then_some(&self.params));
        fields.text(self.reference.as_deref());
        fields.time(self.expires_at);
        fields.display(self.link.as_ref());
        fields.text(self.reason_code.as_deref());
        fields.text(self.reason.as_deref());
        fields.display(self.document.as_ref());
        fields.text(Some(&self.actor));
        fields.text(self.on_behalf_of.as_deref());
        fields.time(Some(self.at));
        fields.text(self.detail.as_deref());
        fields.finish()
    }

    /// Puts the event at the end of a chain and moves the chain's head.
    pub(crate) fn append_to(&mut self, chain: &mut ChainHead) {
        self.position = chain.length + 1;
        self.hash = self.hash_after(&chain.head);
        *chain = ChainHead {
            length: self.position,
            head: self.hash,
        };
    }
}

/// The bytes that are hashed.
struct Fields {
    hashed: alloc::vec::Vec<u8>,
    scratch: String,
}

impl Fields {
    fn new(previous: Option<&Hash>) -> Self {
        let mut hashed = alloc::vec::Vec::with_capacity(256);
        hashed.extend_from_slice(previous.map_or(&[][..], |hash| &hash.0));
        Self {
            hashed,
            scratch: String::new(),
        }
    }

    fn text(&mut self, text: Option<&str>) {
        self.bytes(text.map(str::as_bytes));
    }

    fn bytes(&mut self, text: Option<&[u8]>) {
        match text {
            None => self.hashed.push(b'-'),
            Some(text) => {
                self.hashed.extend_from_slice(Digits::of(text.len() as u64).as_bytes());
                self.hashed.push(b':');
                self.hashed.extend_from_slice(text);
            }
        }
    }

    fn number(&mut self, number: Option<u64>) {
        self.bytes(number.map(Digits::of).as_ref().map(Digits::as_bytes));
    }

    fn time(&mut self, at: Option<Timestamp>) {
        let micros = at.map(Timestamp::as_micros);
        match micros.map(u64::try_from) {
            Some(Err(_)) => self.display(micros.as_ref()),
            since_1970 => self.number(since_1970.and_then(Result::ok)),
        }
    }

    fn display<T: fmt::Display>(&mut self, value: Option<&T>) {
        let Some(value) = value else {
            return self.text(None);
        };
        let mut scratch = core::mem::take(&mut self.scratch);
        scratch.clear();
        // Writing to a String cannot fail.
        let _ = write!(scratch, "{value}");
        self.text(Some(&scratch));
        self.scratch = scratch;
    }

    fn finish(self) -> Hash {
        Hash::of(&self.hashed)
    }
}
