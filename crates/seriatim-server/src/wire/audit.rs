//! What an auditor reads: gaps, sums, checkpoints, verifications.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use seriatim::verify::Progress;
use seriatim::{CounterId, Finding, SeriesName, Timestamp};
use utoipa::ToSchema;

use super::{ParamsShown, Shown};

/// Which counter a line is about.
#[derive(Serialize, ToSchema)]
struct Whose<'a> {
    /// The series.
    series: &'a str,
    /// Whose numbers.
    tenant: &'a str,
    /// The period.
    period: &'a str,
    /// The params that split the count.
    #[schema(value_type = BTreeMap<String, String>)]
    partition: ParamsShown<'a>,
    /// The series is a test series: it can be wiped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    test: bool,
}

/// Whether a series is a test series.
type IsTest<'f> = &'f dyn Fn(&SeriesName) -> bool;

impl<'a> Whose<'a> {
    fn of(key: &'a seriatim::CounterKey, is_test: IsTest<'_>) -> Self {
        Self {
            series: &key.series,
            tenant: &key.tenant,
            period: key.period.as_str(),
            partition: ParamsShown(&key.partition),
            test: is_test(&key.series),
        }
    }
}

/// Seqs that were passed over.
#[derive(Serialize, ToSchema)]
#[schema(as = Gaps)]
pub struct Gaps<'a> {
    /// Explained gaps: passed over by an adoption or an advance.
    data: Vec<Gap<'a>>,
    /// Counters that say other seqs are missing than are explained. There must be none; a verification looks at every row.
    unaccounted: Vec<Whose<'a>>,
    /// How many counters were looked at.
    counters: u64,
}

/// A run of seqs that were passed over.
#[derive(Serialize, ToSchema)]
#[schema(as = Gap)]
pub struct Gap<'a> {
    #[serde(flatten)]
    counter: Whose<'a>,
    /// The first seq.
    first: u64,
    /// The last seq.
    last: u64,
    /// How many.
    count: u64,
    /// Why.
    reason: &'a str,
}

impl<'a> Gaps<'a> {
    /// What was found.
    pub fn of(found: &'a seriatim::audit::Gaps, is_test: IsTest<'_>) -> Self {
        let gap = |gap: &'a seriatim::audit::Gap| Gap {
            counter: Whose::of(&gap.counter, is_test),
            first: gap.missing.first,
            last: gap.missing.last,
            count: gap.missing.size(),
            reason: &gap.missing.reason,
        };
        Self {
            data: found.gaps.iter().map(gap).collect(),
            unaccounted: found.unaccounted.iter().map(|key| Whose::of(key, is_test)).collect(),
            counters: found.counters,
        }
    }
}

/// How many documents of a counter are dated within a range.
#[derive(Serialize, ToSchema)]
#[schema(as = SummaryLine)]
pub struct SummaryLine<'a> {
    #[serde(flatten)]
    counter: Whose<'a>,
    /// The lowest number.
    first: &'a str,
    /// The highest number.
    last: &'a str,
    /// How many are in which state.
    counts: SummaryCounts,
    /// All of them.
    total: u64,
    /// Those that stand: total less voided and reserved.
    net: u64,
}

/// How many documents are in which state. What was passed over has no date, so it is in no summary.
#[derive(Serialize, ToSchema)]
#[schema(as = SummaryCounts)]
struct SummaryCounts {
    /// On a document.
    issued: u64,
    /// Not yet confirmed or released.
    reserved: u64,
    /// Spent, with a reason.
    voided: u64,
}

impl<'a> SummaryLine<'a> {
    /// A line.
    pub fn of(line: &'a seriatim::audit::SummaryLine, is_test: IsTest<'_>) -> Self {
        Self {
            counter: Whose::of(&line.counter, is_test),
            first: &line.first,
            last: &line.last,
            counts: SummaryCounts {
                issued: line.counts.issued,
                reserved: line.counts.reserved,
                voided: line.counts.voided,
            },
            total: line.total,
            net: line.net,
        }
    }
}

/// Where every chain ended at one moment, signed. Keep it where the store is not.
#[derive(ToSchema)]
#[schema(as = Checkpoint)]
#[expect(
    dead_code,
    reason = "only its description is used; the library writes the JSON that it signed"
)]
pub struct CheckpointDocument {
    /// The layout of this document.
    version: u32,
    /// The moment.
    #[schema(format = DateTime)]
    at: String,
    /// The definitions chain.
    definitions: Head,
    /// Every counter.
    counters: Vec<CheckpointCounter>,
    /// Every gate; absent if there is none.
    #[schema(required = false)]
    gates: Vec<CheckpointGate>,
    /// Who signed it, an Ed25519 key in hexadecimal.
    public_key: String,
    /// The signature, in hexadecimal.
    signature: String,
}

/// Where a chain ended.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
struct Head {
    /// How many events it has.
    length: u64,
    /// The hash of the last one.
    head: String,
}

/// Where one counter stood.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
struct CheckpointCounter {
    /// Its id.
    id: String,
    /// Series, tenant, period and partition, for a person.
    counter: String,
    /// The seq taken last.
    last_seq: u64,
    /// How many events its chain has.
    length: u64,
    /// The hash of the last one.
    head: String,
}

/// Where one gate stood.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its description is used")]
struct CheckpointGate {
    /// Its id.
    id: String,
    /// Tenant, effect and subject, for a person.
    gate: String,
    /// How many events its chain has.
    length: u64,
    /// The hash of the last one.
    head: String,
}

/// A verification to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = VerificationRequest)]
pub struct VerificationAsk<'a> {
    /// A checkpoint that was kept elsewhere: finds cut tails and removed chains.
    #[serde(borrow)]
    #[schema(value_type = Option<CheckpointDocument>)]
    pub checkpoint: Option<&'a RawValue>,
    /// The only key that may have signed it, 64 hexadecimal digits.
    pub checkpoint_key: Option<String>,
    /// Go on after this counter, where an earlier run stopped.
    pub resume: Option<String>,
}

/// A verification and how far it has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Verification)]
pub struct VerificationReport<'a> {
    /// Its id.
    pub id: &'a str,
    /// `running`, `done` or `failed`.
    pub state: &'a str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Shown<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Shown<Timestamp>>,
    /// How far it has come.
    pub progress: ProgressShown,
    /// The counter walked last; a later run can resume after it.
    #[schema(value_type = Option<String>)]
    pub last: Option<Shown<CounterId>>,
    /// The checkpoint that it compares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointCompared<'a>>,
    /// How many findings there are.
    pub findings_total: usize,
    /// The first 1,000 of them.
    pub findings: Vec<FindingShown<'a>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// The checkpoint that a verification compares with. Anybody can sign one, so compare the key with the one you kept.
#[derive(Serialize, ToSchema)]
#[schema(as = CheckpointCompared)]
pub struct CheckpointCompared<'a> {
    /// When it was taken, as it says.
    #[schema(value_type = String, format = DateTime)]
    pub at: Shown<Timestamp>,
    /// Who signed it, an Ed25519 key in hexadecimal.
    pub public_key: &'a str,
    /// Whose key that is: `this_store`, `another`, or `unknown` if this service has none.
    pub signer: &'static str,
}

/// How far a verification has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Progress)]
pub struct ProgressShown {
    /// Counters walked.
    counters: u64,
    /// Counters to walk.
    counters_total: u64,
    /// Events walked.
    events: u64,
    /// Entries compared.
    entries: u64,
    /// Gates walked.
    gates: u64,
}

impl From<Progress> for ProgressShown {
    fn from(progress: Progress) -> Self {
        Self {
            counters: progress.counters,
            counters_total: progress.counters_total,
            events: progress.events,
            entries: progress.entries,
            gates: progress.gates,
        }
    }
}

/// What a check noticed.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingShown<'a> {
    /// The stable code.
    code: &'a str,
    /// `note`, `warning` or `error`.
    severity: &'a str,
    /// Where: a counter, an entry, an event.
    place: &'a str,
    /// What, in words.
    message: &'a str,
}

impl<'a> From<&'a Finding> for FindingShown<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            code: finding.code,
            severity: finding.severity.as_str(),
            place: &finding.place,
            message: &finding.message,
        }
    }
}
