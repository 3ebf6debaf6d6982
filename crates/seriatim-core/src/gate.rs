//! A gate lets one caller through to an effect for a subject: its state, its moves and its policy.
//!
//! A gate is what its events say: a command makes an event and [`Gate::apply`] makes the move, and `verify` makes the
//! same moves from the stored events.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use sha2::{Digest, Sha256};

use crate::counter::{read_id, write_id};
use crate::document::Document;
use crate::journal::{Chain, ChainHead, Event, EventKind, Hash};
use crate::name::{Effect, Holder, Key, Reason, Subject, Tenant};
use crate::refusal::{Code, Refusal};
use crate::reservation::Ttl;
use crate::time::Timestamp;

/// The id of a gate: 80 bits of the hash of tenant, effect and subject, so that it needs no index and no randomness.
///
/// ```
/// use seriatim_core::{Effect, GateId, Subject, Tenant};
/// let id = GateId::of(&Tenant::default(), &Effect::parse("receipt")?, &Subject::parse("pay_123")?);
/// assert_eq!(id.to_string().parse::<GateId>()?, id);
/// # Ok::<(), seriatim_core::Refusal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GateId([u8; 10]);

impl GateId {
    /// The id of the gate for this.
    #[must_use]
    pub fn of(tenant: &Tenant, effect: &Effect, subject: &Subject) -> Self {
        let mut id = [0; 10];
        id.copy_from_slice(&Chain::gate_genesis(tenant, effect, subject).as_bytes()[..10]);
        Self(id)
    }

    /// An id as it was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// The 10 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl fmt::Display for GateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gat_")?;
        write_id(&self.0, f)
    }
}

impl fmt::Debug for GateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for GateId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        text.strip_prefix("gat_").and_then(read_id).map(Self).ok_or_else(|| {
            let message = format!(
                "`{}` is not a gate id; it looks like gat_0123456789abcdef",
                text.escape_debug()
            );
            Refusal::new(Code::InvalidId, message).at("/id")
        })
    }
}

/// What a gate is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateState {
    /// It may be claimed, at once or from a time on.
    Open,
    /// Somebody is at it.
    Claimed,
    /// It has happened, and the result stays.
    Done,
    /// It failed as often as it may.
    Dead,
}

impl GateState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Claimed, Self::Done, Self::Dead];

    /// The state as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Claimed => "claimed",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    /// Reads [`GateState::as_str`] back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A legal move: from a state (none: the gate is not there yet), by an event, to a state.
pub type GateMove = (Option<GateState>, EventKind, GateState);

/// Every legal move. What is not here does not happen; `docs/concepts/once.md` shows the same table.
pub const GATE_MOVES: [GateMove; 8] = [
    (None, EventKind::Opened, GateState::Open),
    (Some(GateState::Open), EventKind::Changed, GateState::Open),
    (Some(GateState::Open), EventKind::Claimed, GateState::Claimed),
    (Some(GateState::Claimed), EventKind::Completed, GateState::Done),
    (Some(GateState::Claimed), EventKind::Failed, GateState::Open),
    (Some(GateState::Claimed), EventKind::Expired, GateState::Open),
    (Some(GateState::Open), EventKind::Died, GateState::Dead),
    (Some(GateState::Dead), EventKind::Retried, GateState::Open),
];

/// How often a gate may be tried and how long it rests in between; told when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatePolicy {
    attempts_max: u32,
    pause: Ttl,
    pause_max: Ttl,
}

impl Default for GatePolicy {
    /// Ten attempts, with pauses of 1 s that double up to 5 min.
    fn default() -> Self {
        Self {
            attempts_max: 10,
            pause: Ttl::SECOND,
            pause_max: Ttl::FIVE_MINUTES,
        }
    }
}

impl GatePolicy {
    /// The most attempts.
    pub const ATTEMPTS_MAX: u32 = 1_000;

    /// Checks a policy; what is not said is as in the default.
    ///
    /// # Errors
    /// `invalid_count` if the attempts are not 1 to 1,000; `invalid_ttl` if the pause is longer than the longest.
    pub fn new(attempts: Option<u32>, pause: Option<Ttl>, pause_max: Option<Ttl>) -> Result<Self, Refusal> {
        let default = Self::default();
        let attempts_max = attempts.unwrap_or(default.attempts_max);
        if !(1..=Self::ATTEMPTS_MAX).contains(&attempts_max) {
            let message = format!("attempts is {attempts_max}; give 1 to {}", Self::ATTEMPTS_MAX);
            return Err(Refusal::new(Code::InvalidCount, message).at("/attempts"));
        }
        let pause = pause.unwrap_or(default.pause);
        let pause_max = pause_max.unwrap_or_else(|| default.pause_max.max(pause));
        if pause > pause_max {
            let message = "the pause is longer than pause_max; give a shorter one";
            return Err(Refusal::new(Code::InvalidTtl, message).at("/pause"));
        }
        Ok(Self {
            attempts_max,
            pause,
            pause_max,
        })
    }

    /// How many attempts there are before the gate is dead.
    #[must_use]
    pub fn attempts_max(self) -> u32 {
        self.attempts_max
    }

    /// What the journal and a store keep of it.
    #[must_use]
    pub fn to_text(self) -> String {
        format!(
            "attempts={} pause={}s pause_max={}s",
            self.attempts_max,
            self.pause.as_seconds(),
            self.pause_max.as_seconds()
        )
    }

    /// Reads [`GatePolicy::to_text`] back; nothing if it is damaged.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
        let attempts = field("attempts")?.parse().ok()?;
        let pause = Ttl::parse(field("pause")?).ok()?;
        let pause_max = Ttl::parse(field("pause_max")?).ok()?;
        Self::new(Some(attempts), Some(pause), Some(pause_max)).ok()
    }

    /// The pause after so many attempts: it doubles up to the longest. Up to a quarter of it is taken off by the hash of
    /// gate and token, so that those who failed together do not come back together; nothing here is drawn.
    fn pause_micros(self, gate: GateId, attempts: u32, token: u64) -> i64 {
        let doubled = self
            .pause
            .as_seconds()
            .saturating_mul(1i64 << attempts.saturating_sub(1).min(30));
        let pause = doubled.min(self.pause_max.as_seconds()) * 1_000_000;
        let mut hash = Sha256::new();
        hash.update(gate.0);
        hash.update(token.to_be_bytes());
        let spread = i64::from(hash.finalize()[0]);
        pause - pause / 4 * spread / 255
    }
}

/// The record of one effect for one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Its id.
    pub id: GateId,
    /// Whose.
    pub tenant: Tenant,
    /// What is to happen once.
    pub effect: Effect,
    /// For what.
    pub subject: Subject,
    /// What it is now.
    pub state: GateState,
    /// The token of the latest claim; it grows with every claim, and is 0 before the first.
    pub token: u64,
    /// How many claims there were since it was opened or retried.
    pub attempts: u32,
    /// How often it may be tried.
    pub policy: GatePolicy,
    /// Open: from when it may be claimed. Claimed: when somebody else may. Done and dead: when that came about.
    pub due_at: Timestamp,
    /// Who claimed it last.
    pub holder: Option<Holder>,
    /// The key of that claim.
    pub key: Option<Key>,
    /// What whoever claims it must know, as it was received.
    pub task: Option<Document>,
    /// The result, as it was received.
    pub result: Option<Document>,
    /// Why the latest attempt that failed did so.
    pub last_error: Option<Reason>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Where its chain ends.
    pub chain: ChainHead,
}

impl Gate {
    /// A gate to which nothing has happened yet, not even that it was opened.
    #[must_use]
    pub fn blank(tenant: Tenant, effect: Effect, subject: Subject) -> Self {
        let head = Chain::gate_genesis(&tenant, &effect, &subject);
        Self {
            id: GateId::of(&tenant, &effect, &subject),
            tenant,
            effect,
            subject,
            state: GateState::Open,
            token: 0,
            attempts: 0,
            policy: GatePolicy::default(),
            due_at: Timestamp::from_micros(0),
            holder: None,
            key: None,
            task: None,
            result: None,
            last_error: None,
            opened_at: Timestamp::from_micros(0),
            chain: ChainHead { length: 0, head },
        }
    }

    /// The longest task, in bytes: the body of a webhook may be 1 MiB, and is quoted in it.
    pub const TASK_BYTES_MAX: usize = 2 * 1024 * 1024 + 64 * 1024;

    /// What it is for, e.g. `receipt default pay_123`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} {} {}", self.effect, self.tenant, self.subject)
    }

    /// Whether nothing will happen to it by itself any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, GateState::Done | GateState::Dead)
    }

    /// Whether this token may change something: it is the latest one, and its claim neither ended nor was taken over.
    #[must_use]
    pub fn is_current(&self, token: u64) -> bool {
        self.state == GateState::Claimed && self.token == token
    }

    /// Whether a claim may succeed now: it rests no longer, or the lease of its holder ran out.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        !self.is_over() && self.due_at <= now
    }

    /// From when it may be tried again after a failure now.
    #[must_use]
    pub(crate) fn retry_at(&self, now: Timestamp, retry_in: Option<Ttl>) -> Timestamp {
        let micros = match retry_in {
            Some(ttl) => ttl.as_seconds().saturating_mul(1_000_000),
            None => self.policy.pause_micros(self.id, self.attempts, self.token),
        };
        Timestamp::from_micros(now.as_micros().saturating_add(micros))
    }

    /// Makes the move of an event, if it is a legal one.
    ///
    /// # Errors
    /// What is wrong with the event.
    pub fn apply(&mut self, event: &Event) -> Result<(), &'static str> {
        let from = (event.position > 1).then_some(self.state);
        let legal = GATE_MOVES.iter().find(|(at, by, _)| *at == from && *by == event.kind);
        let (_, _, to) = *legal.ok_or("this move is not legal in the state of the gate")?;
        match event.kind {
            EventKind::Opened => {
                let policy = event.detail.as_deref().and_then(GatePolicy::from_text);
                self.policy = policy.ok_or("the policy does not read")?;
                self.opened_at = event.at;
            }
            EventKind::Claimed => self.apply_claim(event)?,
            EventKind::Retried => self.attempts = 0,
            EventKind::Failed | EventKind::Expired => self.last_error = event.reason.clone(),
            // Completed and died change the state alone; the result itself is not in the journal, but its hash is.
            _ => {}
        }
        if !matches!(event.kind, EventKind::Opened | EventKind::Changed) && event.seq != Some(self.token) {
            return Err("the token is not the one of the gate");
        }
        self.due_at = event.expires_at.unwrap_or(event.at);
        self.state = to;
        Ok(())
    }

    fn apply_claim(&mut self, event: &Event) -> Result<(), &'static str> {
        let attempts = self.attempts.checked_add(1).ok_or("there are too many attempts")?;
        if event.seq_last != Some(u64::from(attempts)) {
            return Err("the attempt is not the next one");
        }
        let holder = event.detail.as_deref().and_then(|holder| Holder::parse(holder).ok());
        self.holder = Some(holder.ok_or("the holder does not read")?);
        self.key = event.key.clone();
        self.attempts = attempts;
        self.token = self.token.checked_add(1).ok_or("there are too many tokens")?;
        Ok(())
    }

    /// What this gate differs in from what its events made of `told`, if anything.
    ///
    /// A renewal is no event: a claimed gate may be due later than its claim said, never earlier.
    #[must_use]
    pub fn difference(
        &self,
        told: &Self,
        task_sha256: Option<Hash>,
        result_sha256: Option<Hash>,
    ) -> Option<&'static str> {
        let due_differs = match self.state {
            GateState::Claimed => self.due_at < told.due_at,
            GateState::Open | GateState::Done | GateState::Dead => self.due_at != told.due_at,
        };
        let differences = [
            ("state", self.state != told.state),
            ("token", self.token != told.token),
            ("attempts", self.attempts != told.attempts),
            ("policy", self.policy != told.policy),
            ("due_at", due_differs),
            ("holder", self.holder != told.holder),
            ("key", self.key != told.key),
            ("last_error", self.last_error != told.last_error),
            ("opened_at", self.opened_at != told.opened_at),
            ("task", self.task.as_ref().map(Document::sha256) != task_sha256),
            ("result", self.result.as_ref().map(Document::sha256) != result_sha256),
        ];
        differences
            .iter()
            .find(|(_, differs)| *differs)
            .map(|(field, _)| *field)
    }
}

/// What the event of a lease that ran out says.
pub(crate) fn lease_over(holder: Option<&Holder>) -> Reason {
    let holder = holder.map_or("its holder", Holder::as_str);
    Reason::parse(&format!("the lease of {holder} ran out")).unwrap_or_else(|_| Reason::fallback_lease())
}

/// The detail of an event.
pub(crate) fn detail(text: &str) -> Option<Arc<str>> {
    Some(Arc::from(text))
}
