//! The only home of rules: what is held, what is asked, what time it is; and the decision.
//!
//! [`decide`] is a pure function. It looks only at what the [`Snapshot`] holds; if it needs to see more it says so
//! ([`Halt::Unloaded`]) and is asked again. A store keeps others away from what was loaded until the
//! [`Changes`] are durable, so the decision still holds when it is written.

mod administer;
mod adopt;
mod answer;
mod changes;
mod draft;
mod gates;
mod issue;
mod snapshot;
mod spend;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use answer::{Answer, ClaimOutcome, EntriesAnswer, Taken, Warning};
pub use changes::{Change, Changes, Closure, ClosureCounter};
pub use snapshot::{Footprint, KeyBinding, KeyRef, PeriodRef, Snapshot};

use crate::command::{Command, Request};
use crate::refusal::Refusal;
use crate::time::Timestamp;
use draft::Draft;

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// The answer is no.
    Refused(Refusal),
    /// The snapshot does not hold what the rules must see; load this too and decide again.
    Unloaded(Box<Footprint>),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What follows from a command: the answer, and what must become durable before it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the caller hears once the changes are durable.
    pub answer: Answer,
    /// What must be written, all or none.
    pub changes: Changes,
}

/// Decides one command on what is held.
///
/// ```
/// use seriatim_core::{Access, Actor, Command, Halt, Request, SeriesName, Snapshot, Timestamp, decide};
///
/// let request = Request {
///     actor: Actor::parse("os:ann")?,
///     on_behalf_of: None,
///     access: Access::full(),
///     rehearsal: false,
///     command: Command::Wipe { series: SeriesName::parse("trial")? },
/// };
/// // An empty snapshot holds nothing, so the decision asks to see the series first.
/// let halt = decide(&Snapshot::default(), &request, Timestamp::from_micros(0)).unwrap_err();
/// assert!(matches!(halt, Halt::Unloaded(_)));
/// # Ok::<(), seriatim_core::Refusal>(())
/// ```
///
/// # Errors
/// [`Halt::Refused`] with the refusal, or [`Halt::Unloaded`] with what must be loaded first.
pub fn decide(held: &Snapshot, request: &Request, now: Timestamp) -> Result<Decision, Halt> {
    let mut draft = Draft::new(held, request, now);
    let answer = match &request.command {
        Command::Issue { series, take } => draft.issue(series, take),
        Command::IssueItems { series, items } => draft.issue_items(series, items),
        Command::IssueCount { series, take, count } => draft.issue_count(series, take, *count),
        Command::Preview { series, take, count } => draft.preview(series, take, *count),
        Command::Reserve { series, take, ttl } => draft.reserve(series, take, *ttl),
        Command::Adopt { series, adopt } => draft.adopt(series, adopt),
        Command::AdoptItems {
            series,
            items,
            missing_reason,
        } => draft.adopt_items(series, items, missing_reason.as_ref()),
        Command::Confirm { entry, document } => draft.confirm(*entry, document.as_ref()),
        Command::Release { entry, reason } => draft.release(*entry, reason),
        Command::Expire { entry } => draft.expire(*entry),
        Command::Void(void) => draft.void(void),
        Command::Redact { entry, reason } => draft.redact(*entry, reason),
        Command::Define { series, if_version } => draft.define(series, *if_version),
        Command::Close {
            series,
            tenant,
            period,
            reason,
        } => draft.close(series, tenant, period, reason),
        Command::Reopen {
            series,
            tenant,
            period,
            reason,
        } => draft.reopen(series, tenant, period, reason),
        Command::Advance {
            series,
            tenant,
            params,
            period,
            to,
            reason,
        } => draft.advance(series, tenant, params, period.as_deref(), *to, reason),
        Command::Wipe { series } => draft.wipe(series),
        Command::OpenGate {
            tenant,
            effect,
            subject,
            policy,
            task,
            change,
        } => draft.open(tenant, effect, subject, *policy, task.as_ref(), *change),
        Command::Claim(claim) => draft.claim(claim),
        Command::Renew { gate, token, ttl } => draft.renew(*gate, *token, *ttl),
        Command::Complete { gate, token, result } => draft.complete(*gate, *token, result),
        Command::Fail {
            gate,
            token,
            error,
            retry_in,
            give_up,
        } => draft.fail(*gate, *token, error, *retry_in, *give_up),
        Command::Retry { gate, reason } => draft.retry(*gate, reason),
        Command::CreateApiKey(key) => draft.create_api_key(key),
        Command::RevokeApiKey { id } => draft.revoke_api_key(id),
    }?;
    // A preview and a rehearsal consume nothing: what would be written is dropped.
    let writes = !request.rehearsal && !matches!(request.command, Command::Preview { .. });
    let changes = if writes {
        draft.into_changes()
    } else {
        Changes::default()
    };
    Ok(Decision { answer, changes })
}

/// The decisions of several commands, made one upon the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// One answer for each command.
    pub answers: Vec<Result<Answer, Refusal>>,
    /// What must be written, all or none.
    pub changes: Changes,
}

impl Batch {
    /// Room for the answers, and for the entry and the event that most commands leave.
    fn with_room_for(commands: usize) -> Self {
        let mut batch = Self::default();
        batch.answers.reserve(commands);
        batch.changes.list.reserve(2 * commands);
        batch
    }
}

/// Decides commands in their order, each on what the ones before it left.
///
/// # Errors
/// All that must be loaded before the batch can be decided; the snapshot is spent then.
pub fn decide_all<'a>(
    mut held: Snapshot,
    requests: impl IntoIterator<Item = &'a Request>,
    now: Timestamp,
) -> Result<Batch, Footprint> {
    let requests = requests.into_iter();
    let mut batch = Batch::with_room_for(requests.size_hint().0);
    let mut unloaded = Footprint::default();
    for request in requests {
        match decide(&held, request, now) {
            Ok(decision) => {
                held.apply(&decision.changes);
                batch.changes.merge(decision.changes);
                batch.answers.push(Ok(decision.answer));
            }
            Err(Halt::Refused(refusal)) => batch.answers.push(Err(refusal)),
            // Go on: what the others need is loaded in the same round trip.
            Err(Halt::Unloaded(footprint)) => unloaded.merge(*footprint),
        }
    }
    if unloaded.is_empty() { Ok(batch) } else { Err(unloaded) }
}
