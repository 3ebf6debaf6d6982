//! Periods that are closed or were opened again.

use serde::{Deserialize, Serialize};
use seriatim::Timestamp;
use utoipa::ToSchema;

use super::{Counts, Hex, ParamsShown, Shown};

/// A period to close or to open again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = PeriodRequest)]
pub struct PeriodAsk {
    /// The series.
    pub series: String,
    /// Whose.
    pub tenant: Option<String>,
    /// Which, as it is written.
    #[schema(example = "2025-26")]
    pub period: String,
    /// Why.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
}

/// What was found when a period was closed, or that it is open again.
#[derive(Serialize, ToSchema)]
#[schema(as = Closure)]
pub struct Closure<'a> {
    /// The series.
    series: &'a str,
    /// Whose.
    tenant: &'a str,
    /// Which period.
    period: &'a str,
    /// `closed` or `open`.
    #[schema(value_type = String)]
    state: &'static str,
    /// Why.
    reason: &'a str,
    /// Who did it.
    actor: &'a str,
    /// When it was closed; null once it is open again.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Shown<Timestamp>>,
    /// When it was opened again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    reopened_at: Option<Shown<Timestamp>>,
    /// Its counters when it was closed.
    counters: Vec<ClosureCounter<'a>>,
}

/// A counter when its period was closed.
#[derive(Serialize, ToSchema)]
#[schema(as = ClosureCounter)]
pub struct ClosureCounter<'a> {
    /// The params that split the count.
    #[schema(value_type = BTreeMap<String, String>)]
    partition: ParamsShown<'a>,
    /// The first seq.
    first_seq: u64,
    /// The last seq.
    last_seq: u64,
    /// How many are in which state.
    counts: Counts,
    /// How many events its chain had.
    length: u64,
    /// The hash of the last one.
    #[schema(value_type = String)]
    head: Hex,
}

impl<'a> ClosureCounter<'a> {
    /// A counter of a closure.
    pub fn of(counter: &'a seriatim::ClosureCounter) -> Self {
        Self {
            partition: ParamsShown(&counter.partition),
            first_seq: counter.first_seq,
            last_seq: counter.last_seq,
            counts: counter.counts.into(),
            length: counter.length,
            head: Hex(counter.head),
        }
    }
}

impl<'a> Closure<'a> {
    /// A closure.
    pub fn of(closure: &'a seriatim::Closure) -> Self {
        Self {
            series: &closure.at.series,
            tenant: &closure.at.tenant,
            period: closure.at.period.as_str(),
            state: if closure.closed { "closed" } else { "open" },
            reason: &closure.reason,
            actor: &closure.actor,
            closed_at: closure.closed.then_some(Shown(closure.when)),
            reopened_at: (!closure.closed).then_some(Shown(closure.when)),
            counters: closure.counters.iter().map(ClosureCounter::of).collect(),
        }
    }
}
