//! Gates: what callers send about them, and how one is shown.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use seriatim::{
    Claim, ClaimOutcome, Document, Effect, GateId, GatePolicy, GateState, Holder, Key, Reason, Refusal, Subject,
    Timestamp, Ttl,
};
use utoipa::ToSchema;

use super::{Event, Hex, NumberOrText, Shown, tenant};
use crate::extract::HeaderKey;
use crate::problem::Problem;

/// A gate to claim; the first claim makes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ClaimRequest)]
pub struct ClaimAsk {
    /// Whose; `default` if there is only one.
    tenant: Option<String>,
    /// What is to happen once.
    #[schema(example = "receipt", max_length = 63)]
    effect: String,
    /// For what, best the business reference.
    #[schema(example = "pay_123", max_length = 255)]
    subject: String,
    /// How long the lease is: seconds, or a text like `90s`, `15m`.
    ttl: NumberOrText,
    /// Who claims, for the person who looks later.
    #[schema(example = "worker-3", max_length = 255)]
    holder: String,
    /// The key of this one claim, so that a retry of it hears its own token; may come as `Idempotency-Key` instead.
    key: Option<String>,
    /// How often it may be tried before it is dead, 1 to 1,000; 10 if not given. Told by the claim that makes the gate.
    #[schema(maximum = 1000)]
    attempts: Option<u32>,
    /// The pause after the first failure, which doubles with each: seconds, or a text like `90s`; 1 s if not given.
    pause: Option<NumberOrText>,
    /// The longest pause: seconds, or a text like `5m`; 5 min if not given.
    pause_max: Option<NumberOrText>,
}

impl ClaimAsk {
    /// The claim.
    pub fn claim(self, header: HeaderKey) -> Result<Claim, Problem> {
        let key = header.or_body(self.key.as_deref().map(Key::parse).transpose()?)?;
        let pause = self.pause.as_ref().map(|wait| ttl("/pause", wait)).transpose()?;
        let pause_max = self
            .pause_max
            .as_ref()
            .map(|wait| ttl("/pause_max", wait))
            .transpose()?;
        Ok(Claim {
            tenant: tenant(self.tenant.as_deref())?,
            effect: Effect::parse(&self.effect)?,
            subject: Subject::parse(&self.subject)?,
            ttl: ttl("/ttl", &self.ttl)?,
            holder: Holder::parse(&self.holder)?,
            key,
            policy: GatePolicy::new(self.attempts, pause, pause_max)?,
        })
    }
}

/// A claim to hold for longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = RenewRequest)]
pub struct RenewAsk {
    /// The token of the claim.
    pub token: u64,
    /// How long from now: seconds, or a text like `90s`, `15m`.
    ttl: NumberOrText,
}

impl RenewAsk {
    /// How long from now.
    pub fn ttl(&self) -> Result<Ttl, Problem> {
        Ok(ttl("/ttl", &self.ttl)?)
    }
}

/// A result to record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = CompleteRequest)]
pub struct CompleteAsk<'a> {
    /// The token of the claim.
    pub token: u64,
    /// Any JSON of up to 64 KiB, stored as received and never changed.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Value)]
    result: &'a RawValue,
}

impl CompleteAsk<'_> {
    /// The result.
    pub fn result(&self) -> Result<Document, Problem> {
        Ok(Document::parse(self.result.get()).map_err(|refusal| refusal.at("/result"))?)
    }
}

/// An attempt that failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = FailRequest)]
pub struct FailAsk {
    /// The token of the claim.
    pub token: u64,
    /// Why, in words.
    #[schema(min_length = 1, max_length = 1000)]
    error: String,
    /// From when it may be tried again: seconds from now, or a text like `90s`; by the gate's policy if not given.
    retry_in: Option<NumberOrText>,
    /// Nobody tries again before somebody has looked: the gate is dead at once.
    #[serde(default)]
    pub give_up: bool,
}

impl FailAsk {
    /// Why.
    pub fn error(&self) -> Result<Reason, Problem> {
        Ok(Reason::parse(&self.error).map_err(|refusal| refusal.at("/error"))?)
    }

    /// From when it may be tried again.
    pub fn retry_in(&self) -> Result<Option<Ttl>, Problem> {
        let retry_in = self.retry_in.as_ref().map(|wait| ttl("/retry_in", wait));
        Ok(retry_in.transpose()?)
    }
}

fn ttl(pointer: &str, wait: &NumberOrText) -> Result<Ttl, Refusal> {
    let ttl = match wait {
        NumberOrText::Number(seconds) => Ttl::from_seconds(*seconds),
        NumberOrText::Text(text) => Ttl::parse(text),
    };
    ttl.map_err(|refusal| refusal.at(pointer))
}

/// A gate.
#[derive(Serialize, ToSchema)]
#[schema(as = Gate)]
pub struct Gate<'a> {
    /// Its id.
    #[schema(value_type = String, example = "gat_0123456789abcdef")]
    id: Shown<GateId>,
    /// Whose.
    tenant: &'a str,
    /// What is to happen once.
    effect: &'a str,
    /// For what.
    subject: &'a str,
    /// `open`, `claimed`, `done` or `dead`.
    state: &'static str,
    /// The token of the latest claim; 0 before the first.
    token: u64,
    /// How many attempts there were since it was opened or retried.
    attempts: u32,
    /// How many there may be.
    attempts_max: u32,
    /// Who claimed it last.
    holder: Option<&'a str>,
    /// When the lease of its holder runs out; null unless it is claimed.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Shown<Timestamp>>,
    /// From when it may be claimed; null unless it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Shown<Timestamp>>,
    /// When it came to its end; null unless it is done or dead.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Shown<Timestamp>>,
    /// What whoever claims it must know, as it was received.
    #[schema(value_type = Option<serde_json::Value>)]
    task: Option<&'a RawValue>,
    /// The result, as it was received.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<&'a RawValue>,
    /// Why the latest attempt that failed did so.
    last_error: Option<&'a str>,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Shown<Timestamp>,
    /// The hash of its latest event.
    #[schema(value_type = String)]
    hash: Hex,
}

impl<'a> Gate<'a> {
    /// A gate.
    pub fn of(gate: &'a seriatim::Gate) -> Self {
        let due = |is_it: bool| is_it.then_some(Shown(gate.due_at));
        // It was valid when it was stored.
        let raw = |kept: &'a Option<Document>| serde_json::from_str(kept.as_ref()?.as_str()).ok();
        Self {
            id: Shown(gate.id),
            tenant: &gate.tenant,
            effect: &gate.effect,
            subject: &gate.subject,
            state: gate.state.as_str(),
            token: gate.token,
            attempts: gate.attempts,
            attempts_max: gate.policy.attempts_max(),
            holder: gate.holder.as_deref(),
            expires_at: due(gate.state == GateState::Claimed),
            not_before: due(gate.state == GateState::Open),
            ended_at: due(gate.is_over()),
            task: raw(&gate.task),
            result: raw(&gate.result),
            last_error: gate.last_error.as_deref(),
            opened_at: Shown(gate.opened_at),
            hash: Hex(gate.chain.head),
        }
    }
}

/// A gate with what happened to it.
#[derive(Serialize, ToSchema)]
#[schema(as = GateWithEvents)]
pub struct GateWithEvents<'a> {
    /// The gate.
    #[serde(flatten)]
    pub gate: Gate<'a>,
    /// What happened, oldest first; the first 500.
    pub events: Vec<Event<'a>>,
}

/// What a claim came to.
#[derive(Serialize, ToSchema)]
#[schema(as = Claimed)]
pub struct Claimed<'a> {
    /// `won`: do it, with this token. `busy`: somebody else does. `done`: here is the result. `dead`: it failed too often.
    outcome: &'static str,
    /// With `won`: the token; say it with everything you do.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    /// With `busy`: when a claim may succeed; `GET /v1/gates/{id}?wait=10s` hears the result sooner.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<i64>,
    /// The gate as it is now.
    gate: Gate<'a>,
}

impl<'a> Claimed<'a> {
    /// What a claim came to.
    pub fn of(gate: &'a seriatim::Gate, outcome: ClaimOutcome) -> Self {
        let retry_after_ms = match outcome {
            ClaimOutcome::Busy { retry_after_micros } => Some((retry_after_micros + 999) / 1000),
            ClaimOutcome::Won { .. } | ClaimOutcome::Done | ClaimOutcome::Dead => None,
        };
        Self {
            outcome: outcome.as_str(),
            token: matches!(outcome, ClaimOutcome::Won { .. }).then_some(gate.token),
            retry_after_ms,
            gate: Gate::of(gate),
        }
    }
}
