//! What a finance person asks: which numbers are not on a document, and how many there are.

use std::sync::Arc;

use seriatim_core::{Counter, CounterKey, Counts, Date, Missing};

use crate::store::{CounterFilter, Reads, StoreError};

/// A run of seqs that are on no document, with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// The counter.
    pub counter: Arc<CounterKey>,
    /// The run.
    pub missing: Missing,
}

/// The runs of missing seqs of some counters, and the counters that they do not explain (which must never be).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gaps {
    /// Explained: passed over by an adoption or an advance.
    pub gaps: Vec<Gap>,
    /// Unexplained: the counter says that other seqs are missing than are explained.
    pub unaccounted: Vec<Arc<CounterKey>>,
    /// How many counters were looked at.
    pub counters: u64,
}

const PAGE: usize = 500;
/// A page of counters begins by passing over those before it, so that few large ones are the shorter walk.
const PAGE_OF_COUNTERS: usize = 20_000;

/// Finds every gap of the counters that the filter chooses.
///
/// # Errors
/// The store cannot be read.
pub async fn gaps(reads: &dyn Reads, filter: &CounterFilter) -> Result<Gaps, StoreError> {
    let mut found = Gaps::default();
    let mut filter = filter.clone();
    loop {
        let page = reads.counters(&filter, PAGE_OF_COUNTERS).await?;
        for counter in &page.rows {
            found.counters += 1;
            if counter.counts.missing == 0 {
                continue;
            }
            match gaps_of(reads, counter).await? {
                Some(gaps) => found.gaps.extend(gaps),
                None => found.unaccounted.push(counter.key.clone()),
            }
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(found),
        }
    }
}

/// `None` if the runs are not as many seqs as the counter says. It may go on meanwhile, so it is looked at again.
async fn gaps_of(reads: &dyn Reads, counter: &Counter) -> Result<Option<Vec<Gap>>, StoreError> {
    let mut counter = counter.clone();
    loop {
        let runs = all_missing(reads, &counter).await?;
        let gap = |missing| Gap {
            counter: counter.key.clone(),
            missing,
        };
        let explained: u64 = runs.iter().map(Missing::size).sum();
        if explained == counter.counts.missing {
            return Ok(Some(runs.into_iter().map(gap).collect()));
        }
        match reads.counter(counter.id).await? {
            Some(now) if now.chain == counter.chain => return Ok(None),
            Some(now) => counter = now,
            // Wiped meanwhile.
            None => return Ok(Some(Vec::new())),
        }
    }
}

/// Every run of missing seqs of a counter, by seq.
pub(crate) async fn all_missing(reads: &dyn Reads, counter: &Counter) -> Result<Vec<Missing>, StoreError> {
    missing_from(reads, counter, 1, u64::MAX).await
}

/// The runs of missing seqs of a counter that begin at these seqs, by seq.
pub(crate) async fn missing_from(
    reads: &dyn Reads,
    counter: &Counter,
    first: u64,
    last: u64,
) -> Result<Vec<Missing>, StoreError> {
    let mut runs: Vec<Missing> = Vec::new();
    let mut after = first.saturating_sub(1);
    loop {
        let page = reads.missing(counter.id, after, PAGE).await?;
        after = page.last().map_or(last, |run| run.first);
        let is_last = page.len() < PAGE || after >= last;
        runs.extend(page.into_iter().filter(|run| run.first <= last));
        if is_last {
            return Ok(runs);
        }
    }
}

/// How many documents of a counter are dated within a range: the line that a tax return asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryLine {
    /// The counter.
    pub counter: Arc<CounterKey>,
    /// The lowest number.
    pub first: Arc<str>,
    /// The highest number.
    pub last: Arc<str>,
    /// How many are in which state.
    pub counts: Counts,
    /// All of them.
    pub total: u64,
    /// Those that stand: total less voided and reserved.
    pub net: u64,
}

/// Documents by counter, dated from one day to another (both included).
///
/// # Errors
/// The store cannot be read.
pub async fn summary(reads: &dyn Reads, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryLine>, StoreError> {
    let rows = reads.summary(from, to).await?;
    let line = |row: crate::store::SummaryRow| SummaryLine {
        counter: row.counter,
        first: row.first,
        last: row.last,
        total: row.counts.total(),
        net: row.counts.issued,
        counts: row.counts,
    };
    Ok(rows.into_iter().map(line).collect())
}
