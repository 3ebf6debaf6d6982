//! The contract of a store: isolate, persist, read. A store must never know a rule.
//!
//! A store gets a footprint and a pure function. It locks the footprint, loads it, calls the function, and makes the
//! changes durable before it returns. What it promises is the same for every store and checked by one suite
//! (feature `conformance`).

pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seriatim_core::{
    ApiKey, Batch, Chain, ChainHead, Closure, Counter, CounterId, CounterKey, Counts, Date, Effect, Entry, EntryId,
    Event, Finding, Footprint, Gate, GateId, GateState, KeyRef, Missing, Period, Series, SeriesName, Snapshot, State,
    Tenant, Timestamp,
};

/// Which batch of which lane: each lane of each node owns one row of this, and every batch bumps it in its own
/// commit, so that after a lost answer it can be seen whether the commit happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId {
    /// The process, by a random number it draws when it starts.
    pub node: i64,
    /// The lane within it.
    pub lane: u32,
    /// The batch within the lane, from 1.
    pub batch: u64,
}

/// What decides on what was loaded, or says what else must be loaded. Pure but for the clock, which it reads itself,
/// under the locks; it may be called several times.
pub type Decide = Arc<dyn Fn(Snapshot) -> Result<Batch, Footprint> + Send + Sync>;

/// Adds what a decision asks for to what it is given. One that has all of it already would ask for ever.
pub(crate) fn widen(footprint: &mut Footprint, more: Footprint) -> Result<(), StoreError> {
    let before = footprint.clone();
    footprint.merge(more);
    if *footprint == before {
        let what = "a decision asks for what it was given already, so nothing was written; please report it";
        return Err(StoreError::Corrupt(what.to_string()));
    }
    Ok(())
}

/// Decides, and turns a panic of ours into an error that rolls back, instead of a writer that is gone.
pub(crate) fn decide_safely(decide: &Decide, held: Snapshot) -> Result<Result<Batch, Footprint>, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decide(held)))
        .map_err(|_| StoreError::Corrupt("the decision panicked, so nothing was written; please report it".to_string()))
}

/// Why a store could not do it, by what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing happened; it may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The commit was sent and its answer lost; [`Store::committed`] tells.
    #[error("{0}")]
    Unknown(String),
    /// What is stored contradicts itself; nothing was written.
    #[error("{0}; run `seriatim verify` and compare with a backup")]
    Corrupt(String),
    /// Somebody who is not of this service holds what this needs; nothing happened.
    #[error("{message}")]
    Busy {
        /// What was tried and what is the matter.
        message: String,
        /// Which counters are held; none if it cannot be told.
        counters: Vec<CounterId>,
    },
    /// This is not where numbers were taken last, or somebody shut it: nothing happened, and a person must look.
    #[error("{0}")]
    Fenced(String),
}

/// Writes. All of [`Reads`] comes with it.
#[async_trait]
pub trait Store: Reads {
    /// Loads the footprint under locks, decides, and makes the decision durable: all of it, or none.
    ///
    /// Overlapping footprints never interleave. If `decide` asks for more, the store loads that as well and calls it
    /// again with everything; one that asks for what it has is `Corrupt`. An empty decision changes nothing. When this
    /// returns `Ok`, the changes survive a kill and a power loss (but for the memory store).
    ///
    /// # Errors
    /// `Unavailable` and `Corrupt`: nothing was written. `Unknown`: ask [`Store::committed`] before anything else.
    async fn transact(&self, batch: BatchId, footprint: Footprint, decide: Decide) -> Result<(), StoreError>;

    /// The same, but waits no longer than `patience` for what others hold: then it is `Busy`. With no patience it
    /// takes what is free at once or nothing. A store that nobody else writes to has nothing to wait for.
    ///
    /// # Errors
    /// As [`Store::transact`], and `Busy`: nothing was written.
    async fn transact_within(
        &self,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let _ = patience;
        self.transact(batch, footprint, decide).await
    }

    /// After `Unknown`: whether that batch was committed. Once answered, the answer is final.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be told yet.
    async fn committed(&self, batch: BatchId) -> Result<bool, StoreError>;

    /// How many lanes may write side by side.
    fn lanes(&self) -> u32 {
        1
    }

    /// Whether a command may take any lane, because the store itself puts batches in order and gains nothing if the
    /// commands of one counter stay together.
    fn lanes_are_alike(&self) -> bool {
        false
    }

    /// Returns when the store would begin a batch at once: what comes meanwhile can still be combined with it.
    async fn turn(&self) {}
}

/// One page of a list and where the next begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; `None` at the end. A page may be short, even empty, and yet not the last.
    pub next: Option<u64>,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntryFilter {
    /// Only these series; empty for all.
    pub series: Vec<SeriesName>,
    /// Only these tenants; empty for all.
    pub tenants: Vec<Tenant>,
    /// Only this number.
    pub number: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only in this period.
    pub period: Option<Period>,
    /// Only dated this day or later.
    pub date_from: Option<Date>,
    /// Only dated this day or earlier.
    pub date_to: Option<Date>,
    /// Only reservations that run out at this time or before.
    pub expires_until: Option<Timestamp>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<u64>,
}

/// Which counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CounterFilter {
    /// Only these series; empty for all.
    pub series: Vec<SeriesName>,
    /// Only these tenants; empty for all.
    pub tenants: Vec<Tenant>,
    /// Only this period.
    pub period: Option<Period>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<u64>,
}

/// Which gates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateFilter {
    /// Only in these states; empty for all.
    pub states: Vec<GateState>,
    /// Only for these effects; empty for all.
    pub effects: Vec<Effect>,
    /// Only these tenants; empty for all.
    pub tenants: Vec<Tenant>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<u64>,
}

impl GateFilter {
    /// Whether a gate is one of those meant.
    #[must_use]
    pub fn matches(&self, gate: &Gate) -> bool {
        (self.states.is_empty() || self.states.contains(&gate.state))
            && (self.effects.is_empty() || self.effects.contains(&gate.effect))
            && (self.tenants.is_empty() || self.tenants.contains(&gate.tenant))
    }
}

/// Where the chain of a gate ends.
#[derive(Debug, Clone, PartialEq)]
pub struct GateHead {
    /// Which gate.
    pub id: GateId,
    /// Effect, tenant and subject, for a person.
    pub label: String,
    /// Where its chain ends.
    pub chain: ChainHead,
}

impl GateHead {
    /// The head of this gate.
    #[must_use]
    pub fn of(gate: &Gate) -> Self {
        Self {
            id: gate.id,
            label: gate.label(),
            chain: gate.chain,
        }
    }
}

/// How many entries of a counter fall into a range of dates, by state.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryRow {
    /// The counter.
    pub counter: Arc<CounterKey>,
    /// The entry with the lowest seq.
    pub first: Arc<str>,
    /// The entry with the highest seq.
    pub last: Arc<str>,
    /// How many are in which state; `missing` is 0, for a missing seq has no date.
    pub counts: Counts,
}

/// The ends of all chains at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// The definitions chain.
    pub definitions: ChainHead,
    /// Every counter.
    pub counters: Vec<Counter>,
    /// Every gate.
    pub gates: Vec<GateHead>,
}

/// Whether a setting is as it must be, for `/readyz?verbose` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// Whether it keeps the promises.
    pub holds: bool,
}

/// Reads. None of them waits for a writer, and none sees half a commit.
#[async_trait]
pub trait Reads: Send + Sync + 'static {
    /// What and where it is, e.g. `sqlite ./seriatim-data/seriatim.db`.
    fn describe(&self) -> String;

    /// Whether it can be read now; cheap.
    async fn ready(&self) -> Result<(), StoreError>;

    /// The settings that the promises rest on.
    async fn settings(&self) -> Result<Vec<Setting>, StoreError>;

    /// Every series, by name.
    async fn series(&self) -> Result<Vec<Arc<Series>>, StoreError>;

    /// Counters, by series, tenant, then newest period first.
    async fn counters(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, StoreError>;

    /// One counter.
    async fn counter(&self, id: CounterId) -> Result<Option<Counter>, StoreError>;

    /// Entries, newest first.
    async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, StoreError>;

    /// One entry.
    async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError>;

    /// The entries that a key stands for; empty if none.
    async fn entries_of_key(&self, key: &KeyRef) -> Result<Vec<Arc<Entry>>, StoreError>;

    /// The same for several keys, in their order, for a store where each question costs a round trip or a hand-over.
    async fn entries_of_keys(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys {
            entries.push(self.entries_of_key(key).await?);
        }
        Ok(entries)
    }

    /// Entries of a counter with a seq above `after`, by seq.
    async fn entries_by_seq(&self, counter: CounterId, after: u64, limit: usize)
    -> Result<Vec<Arc<Entry>>, StoreError>;

    /// Events of a chain with a position above `after`, by position.
    async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// Events about one entry, by position.
    async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, StoreError>;

    /// Runs of missing seqs of a counter with a first seq above `after`, by seq.
    async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, StoreError>;

    /// Every closure of a period, closed or reopened.
    async fn closures(&self) -> Result<Vec<Arc<Closure>>, StoreError>;

    /// Every API key, by id.
    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// One gate.
    async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, StoreError>;

    /// Gates, newest first.
    async fn gates(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, StoreError>;

    /// Gates that a claim may win now, those that wait longest first; of these effects, of all if none is named.
    async fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError>;

    /// Gates with an id above `after`, by id, for `verify`.
    async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError>;

    /// Entries by counter within a range of dates.
    async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, StoreError>;

    /// The ends of all chains at one moment.
    async fn heads(&self) -> Result<Heads, StoreError>;

    /// How many keys stand for entries of this counter, for `verify`: counted where the keys are kept.
    async fn bound_keys(&self, counter: CounterId) -> Result<u64, StoreError>;

    /// The id of every counter, for `verify`: they read where the rest of a row does not.
    async fn counter_ids(&self) -> Result<BTreeSet<CounterId>, StoreError> {
        let heads = self.heads().await?;
        Ok(heads.counters.iter().map(|counter| counter.id).collect())
    }

    /// What is wrong, for these seqs of a counter, in columns that no entry shows, for `verify`.
    async fn misfiled(&self, _counter: CounterId, _first: u64, _last: u64) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    /// What is wrong in what only this kind of store keeps, and no counter or gate leads to, for `verify`.
    async fn own_findings(&self) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }
}

/// Rows that belong to nothing.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn stray(what: &str, count: u64, number: Option<&str>) -> Finding {
    let among = number.map_or_else(String::new, |number| format!(", {number} among them,"));
    let message = format!("{count} {what}{among} are of a counter or gate that is not there");
    Finding::error("stray_rows", what, message)
}

/// An entry in a line that its counter is not in.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn misfiled_entry(entry: EntryId, number: &str) -> Finding {
    let message =
        format!("{number} is filed under another tenant or series: nobody finds it, and it could be issued again");
    Finding::error("entry_misfiled", entry, message)
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn other_line(counter: &impl std::fmt::Display) -> String {
    format!("the numbers of {counter} are filed under another tenant or series than theirs")
}
