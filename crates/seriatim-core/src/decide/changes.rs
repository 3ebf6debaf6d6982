//! What must become durable, all or none.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::snapshot::{KeyBinding, KeyRef, PeriodRef};
use crate::access::ApiKey;
use crate::counter::{Counter, CounterId, CounterKey, Counts, Missing};
use crate::entry::Entry;
use crate::gate::{Gate, GateId};
use crate::journal::{Chain, ChainHead, Event, Hash};
use crate::name::{Actor, Reason, SeriesName};
use crate::scope::Params;
use crate::series::Series;
use crate::time::Timestamp;

/// One thing to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An entry that was not there.
    NewEntry(Arc<Entry>),
    /// An entry that is there already.
    ChangedEntry(Arc<Entry>),
    /// A key that was not there.
    NewKey(KeyRef, KeyBinding),
    /// A key that stands for another entry now.
    MovedKey(KeyRef, KeyBinding),
    /// An event at the end of its chain.
    Event(Chain, Arc<Event>),
    /// A run of seqs that was passed over.
    NewMissing(CounterId, Missing),
    /// A run that was filled or split.
    RemovedMissing(CounterId, Missing),
    /// A series, new or in a new version.
    Series(Arc<Series>),
    /// A period that was closed or opened again.
    Closure(Arc<Closure>),
    /// An API key, new or revoked.
    ApiKey(ApiKey),
    /// Everything of a test series but its definition goes; nothing in the list before it is of that series' numbers.
    Wipe(SeriesName),
}

/// What must become durable, all or none, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Counters as they are after all changes; write them after the list.
    pub counters: BTreeMap<Arc<CounterKey>, Arc<Counter>>,
    /// Gates as they are after all changes.
    pub gates: BTreeMap<GateId, Arc<Gate>>,
    /// The end of the definitions chain, if it moved.
    pub definitions: Option<ChainHead>,
    /// The rest, in order.
    pub list: Vec<Change>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.counters.is_empty() && self.gates.is_empty()
    }

    /// Adds changes that were decided upon these.
    pub fn merge(&mut self, later: Self) {
        for change in &later.list {
            if let Change::Wipe(series) = change {
                self.forget(series);
            }
        }
        self.counters.extend(later.counters);
        self.gates.extend(later.gates);
        self.definitions = later.definitions.or(self.definitions);
        self.list.extend(later.list);
    }

    /// Drops what would be wiped again. A counter that is opened and wiped in one batch is never written, so a store
    /// could not tell which entries and events were its own.
    fn forget(&mut self, series: &SeriesName) {
        let emptied = self.counters.values().filter(|counter| counter.key.series == *series);
        let emptied: BTreeSet<CounterId> = emptied.map(|counter| counter.id).collect();
        self.counters.retain(|key, _| key.series != *series);
        self.list.retain(|change| match change {
            Change::NewEntry(entry) | Change::ChangedEntry(entry) => entry.counter.series != *series,
            Change::NewKey(key, _) | Change::MovedKey(key, _) => key.series != *series,
            Change::Event(Chain::Counter(id), _) | Change::NewMissing(id, _) | Change::RemovedMissing(id, _) => {
                !emptied.contains(id)
            }
            Change::Closure(closure) => closure.at.series != *series,
            Change::Event(Chain::Definitions | Chain::Gate(_), _)
            | Change::Series(_)
            | Change::ApiKey(_)
            | Change::Wipe(_) => true,
        });
    }
}

/// What was found when a period was closed, or that it is open again.
#[derive(Debug, Clone, PartialEq)]
pub struct Closure {
    /// Which period.
    pub at: PeriodRef,
    /// Whether it is closed.
    pub closed: bool,
    /// Why.
    pub reason: Reason,
    /// Who did it.
    pub actor: Actor,
    /// When.
    pub when: Timestamp,
    /// Its counters at that moment.
    pub counters: Vec<ClosureCounter>,
}

/// A counter at the moment when its period was closed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosureCounter {
    /// The params that split the count.
    pub partition: Params,
    /// The first seq.
    pub first_seq: u64,
    /// The last seq.
    pub last_seq: u64,
    /// How many are in which state.
    pub counts: Counts,
    /// How many events its chain had.
    pub length: u64,
    /// The hash of the last one.
    pub head: Hash,
}

impl Closure {
    /// What the journal hashes and a store keeps.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = Vec::from([
            format!("series={}", self.at.series),
            format!("tenant={}", self.at.tenant),
            format!("period={}", self.at.period),
        ]);
        lines.extend(self.counters.iter().map(|counter| {
            let Counts {
                issued,
                reserved,
                voided,
                missing,
            } = counter.counts;
            format!(
                "counter={};{};{};{issued};{reserved};{voided};{missing};{};{}",
                counter.partition, counter.first_seq, counter.last_seq, counter.length, counter.head
            )
        }));
        lines.join("\n")
    }

    /// Reads the counters of [`Closure::to_text`] back; nothing if the text is damaged.
    #[must_use]
    pub fn counters_from_text(text: &str) -> Option<Vec<ClosureCounter>> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("counter="));
        lines
            .map(|line| {
                let fields: Vec<&str> = line.split(';').collect();
                let [partition, first, last, issued, reserved, voided, missing, length, head] = fields.as_slice()
                else {
                    return None;
                };
                Some(ClosureCounter {
                    partition: Params::stored(partition),
                    first_seq: first.parse().ok()?,
                    last_seq: last.parse().ok()?,
                    counts: Counts {
                        issued: issued.parse().ok()?,
                        reserved: reserved.parse().ok()?,
                        voided: voided.parse().ok()?,
                        missing: missing.parse().ok()?,
                    },
                    length: length.parse().ok()?,
                    head: (*head).to_string().parse().ok()?,
                })
            })
            .collect()
    }
}
