//! A count, as callers see it.

use serde::Serialize;
use seriatim::{CounterId, Missing};
use utoipa::ToSchema;

use super::{Hex, ParamsShown, Shown};

/// A count with how far it has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Counter)]
pub struct Counter<'a> {
    /// Its id.
    #[schema(value_type = String)]
    id: Shown<CounterId>,
    /// The series.
    series: &'a str,
    /// Whose numbers.
    tenant: &'a str,
    /// The params that split the count.
    #[schema(value_type = BTreeMap<String, String>)]
    partition: ParamsShown<'a>,
    /// The period.
    period: &'a str,
    /// The seq it began with.
    first_seq: u64,
    /// The seq taken last; one less than the first before there is one.
    last_seq: u64,
    /// The date of the number taken last, or the latest before it.
    #[schema(value_type = Option<String>, format = Date)]
    last_date: Option<Shown<seriatim::Date>>,
    /// How many are in which state.
    counts: Counts,
    /// The last seq of the limit or of the format's width, whichever comes first; null if there is neither.
    capacity: Option<u64>,
    /// How much of the capacity is used, 0 to 1; above 1 once numbers are wider than the format provides for.
    fill: Option<f64>,
    /// How many events its chain has.
    length: u64,
    /// The hash of the last one.
    #[schema(value_type = String)]
    head: Hex,
    /// The series is a test series: it can be wiped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    test: bool,
}

/// How many seqs are in which state.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Counts)]
pub struct Counts {
    /// On a document.
    issued: u64,
    /// Not yet confirmed or released.
    reserved: u64,
    /// Spent, with a reason.
    voided: u64,
    /// Passed over, with a reason.
    missing: u64,
}

impl From<seriatim::Counts> for Counts {
    fn from(counts: seriatim::Counts) -> Self {
        Self {
            issued: counts.issued,
            reserved: counts.reserved,
            voided: counts.voided,
            missing: counts.missing,
        }
    }
}

impl<'a> Counter<'a> {
    /// A counter of a series.
    pub fn of(counter: &'a seriatim::Counter, series: &seriatim::Series) -> Self {
        let capacity = series.seq_max().min(series.width_max().unwrap_or(u64::MAX));
        let capacity = (capacity < seriatim::Series::SEQ_MAX).then_some(capacity);
        Self {
            id: Shown(counter.id),
            series: &counter.key.series,
            tenant: &counter.key.tenant,
            partition: ParamsShown(&counter.key.partition),
            period: counter.key.period.as_str(),
            first_seq: counter.first_seq,
            last_seq: counter.last_seq,
            last_date: counter.last_date.map(Shown),
            counts: counter.counts.into(),
            capacity,
            fill: capacity.map(|capacity| fill(counter.last_seq, capacity)),
            length: counter.chain.length,
            head: Hex(counter.chain.head),
            test: series.test,
        }
    }
}

/// Four decimals are enough to see the end coming.
#[expect(clippy::cast_precision_loss, reason = "a share, shown with four decimals")]
fn fill(last: u64, capacity: u64) -> f64 {
    (last as f64 / capacity.max(1) as f64 * 10_000.0).round() / 10_000.0
}

/// Seqs that were passed over.
#[derive(Serialize, ToSchema)]
pub struct Advanced<'a> {
    /// The counter as it is now.
    pub counter: Counter<'a>,
    /// The run.
    pub missing: Run<'a>,
}

/// A run of seqs.
#[derive(Serialize, ToSchema)]
pub struct Run<'a> {
    /// The first.
    first: u64,
    /// The last.
    last: u64,
    /// How many.
    count: u64,
    /// Why.
    reason: &'a str,
}

impl<'a> From<&'a Missing> for Run<'a> {
    fn from(missing: &'a Missing) -> Self {
        Self {
            first: missing.first,
            last: missing.last,
            count: missing.size(),
            reason: &missing.reason,
        }
    }
}
