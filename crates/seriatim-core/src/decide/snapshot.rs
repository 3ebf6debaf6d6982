//! What is held while a decision is made, and what must be held.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::changes::{Change, Changes, Closure};
use crate::access::ApiKey;
use crate::command::{Adopt, Command, Request, Take};
use crate::counter::{Counter, CounterId, CounterKey, Missing};
use crate::entry::{Entry, EntryId};
use crate::gate::{Gate, GateId};
use crate::journal::ChainHead;
use crate::name::{Key, SeriesName, Tenant};
use crate::period::Period;
use crate::series::Series;
use crate::time::Timestamp;

/// A key within its (tenant, series).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef {
    /// The key.
    pub key: Key,
    /// The series.
    pub series: SeriesName,
    /// Whose key.
    pub tenant: Tenant,
}

/// The numbers that a key stands for: a run of one counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBinding {
    /// The first of them.
    pub first: EntryId,
    /// How many.
    pub count: u32,
}

impl KeyBinding {
    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = EntryId> + use<> {
        let first = self.first;
        (0..u64::from(self.count)).map(move |i| EntryId {
            seq: first.seq + i,
            ..first
        })
    }
}

/// A period of a tenant in a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodRef {
    /// The series.
    pub series: SeriesName,
    /// Whose.
    pub tenant: Tenant,
    /// Which.
    pub period: Period,
}

/// What a decision must see: a store locks it in one order and loads it in one round trip.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Footprint {
    /// Series by name.
    pub series: BTreeSet<SeriesName>,
    /// Of these series, the highest seq of any counter.
    pub heights: BTreeSet<SeriesName>,
    /// Counters.
    pub counters: BTreeSet<Arc<CounterKey>>,
    /// Keys, with the entries that they stand for.
    pub keys: BTreeSet<KeyRef>,
    /// Entries.
    pub entries: BTreeSet<EntryId>,
    /// Runs of missing seqs that hold these seqs.
    pub missing: BTreeSet<EntryId>,
    /// Whether these periods are closed.
    pub closures: BTreeSet<PeriodRef>,
    /// Every counter of these periods.
    pub period_counters: BTreeSet<PeriodRef>,
    /// The end of the definitions chain; nobody else decides about these series then.
    pub definitions: bool,
    /// Gates.
    pub gates: BTreeSet<GateId>,
    /// API keys by id.
    pub api_keys: BTreeSet<String>,
}

impl Footprint {
    /// What these requests are sure to need, told from the requests alone and from definitions known so far.
    ///
    /// A guess that misses costs a round trip, never a wrong decision.
    pub fn of<'a>(
        requests: impl IntoIterator<Item = &'a Request>,
        known: &'a dyn Fn(&SeriesName) -> Option<Arc<Series>>,
        now: Timestamp,
    ) -> Self {
        let mut telling = Telling {
            footprint: Self::default(),
            known,
            now,
            last: None,
        };
        for request in requests {
            telling.add(&request.command);
        }
        telling.footprint
    }

    fn add_key(&mut self, series: &SeriesName, tenant: &Tenant, key: Option<&Key>) {
        let of_series = |key: &Key| KeyRef {
            key: key.clone(),
            series: series.clone(),
            tenant: tenant.clone(),
        };
        self.keys.extend(key.map(of_series));
    }

    fn add_counter(&mut self, counter: CounterKey) {
        if self.counters.contains(&counter) {
            return;
        }
        self.closures.insert(PeriodRef {
            series: counter.series.clone(),
            tenant: counter.tenant.clone(),
            period: counter.period.clone(),
        });
        self.counters.insert(Arc::new(counter));
    }

    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another footprint.
    pub fn merge(&mut self, other: Self) {
        self.series.extend(other.series);
        self.heights.extend(other.heights);
        self.counters.extend(other.counters);
        self.keys.extend(other.keys);
        self.entries.extend(other.entries);
        self.missing.extend(other.missing);
        self.closures.extend(other.closures);
        self.period_counters.extend(other.period_counters);
        self.definitions |= other.definitions;
        self.gates.extend(other.gates);
        self.api_keys.extend(other.api_keys);
    }
}

/// A footprint in the making.
struct Telling<'a> {
    footprint: Footprint,
    known: &'a dyn Fn(&SeriesName) -> Option<Arc<Series>>,
    now: Timestamp,
    /// A batch is mostly the same question many times: then only the key is another.
    last: Option<(&'a SeriesName, &'a Take)>,
}

impl<'a> Telling<'a> {
    fn add(&mut self, command: &'a Command) {
        match command {
            Command::Issue { series, take }
            | Command::IssueCount { series, take, .. }
            | Command::Preview { series, take, .. }
            | Command::Reserve { series, take, .. } => self.add_take(series, take),
            Command::IssueItems { series, items } => {
                items.iter().for_each(|take| self.add_take(series, take));
            }
            Command::AdoptItems { series, items, .. } => {
                items.iter().for_each(|adopt| self.add_adopt(series, adopt));
            }
            Command::Adopt { series, .. } | Command::Advance { series, .. } | Command::Wipe { series } => {
                self.footprint.series.insert(series.clone());
            }
            Command::Confirm { entry, .. }
            | Command::Release { entry, .. }
            | Command::Expire { entry }
            | Command::Redact { entry, .. } => {
                self.footprint.entries.insert(*entry);
            }
            Command::Void(void) => {
                self.footprint.entries.insert(void.entry);
            }
            Command::Define { series, .. } => {
                self.footprint.series.insert(series.name.clone());
                self.footprint.definitions = true;
            }
            Command::Close { series, .. } | Command::Reopen { series, .. } => {
                self.footprint.series.insert(series.clone());
                self.footprint.definitions = true;
            }
            Command::OpenGate {
                tenant,
                effect,
                subject,
                ..
            } => {
                self.footprint.gates.insert(GateId::of(tenant, effect, subject));
            }
            Command::Claim(claim) => {
                self.footprint
                    .gates
                    .insert(GateId::of(&claim.tenant, &claim.effect, &claim.subject));
            }
            Command::Renew { gate, .. }
            | Command::Complete { gate, .. }
            | Command::Fail { gate, .. }
            | Command::Retry { gate, .. } => {
                self.footprint.gates.insert(*gate);
            }
            Command::CreateApiKey(key) => {
                self.footprint.api_keys.insert(key.id.clone());
                self.footprint.definitions = true;
            }
            Command::RevokeApiKey { id } => {
                self.footprint.api_keys.insert(id.clone());
                self.footprint.definitions = true;
            }
        }
    }

    fn add_take(&mut self, name: &'a SeriesName, take: &'a Take) {
        self.footprint.add_key(name, &take.tenant, take.key.as_ref());
        let alike = |(series, last): (&SeriesName, &Take)| series == name && take.counts_like(last);
        if self.last.replace((name, take)).is_some_and(alike) {
            return;
        }
        if !self.footprint.series.contains(name) {
            self.footprint.series.insert(name.clone());
        }
        let Some(series) = (self.known)(name) else { return };
        let Ok(params) = crate::scope::Params::canonical(&series.params, &take.params) else {
            return;
        };
        let period = series
            .reset
            .period_of(take.date.unwrap_or_else(|| series.today(self.now)));
        self.footprint.add_counter(CounterKey {
            series: name.clone(),
            tenant: take.tenant.clone(),
            partition: params.only(&series.partition_by),
            period,
        });
    }

    fn add_adopt(&mut self, name: &SeriesName, adopt: &Adopt) {
        if !self.footprint.series.contains(name) {
            self.footprint.series.insert(name.clone());
        }
        self.footprint.add_key(name, &adopt.tenant, adopt.key.as_ref());
        let Some(series) = (self.known)(name) else { return };
        let Some((params, period, _)) = series.read(&adopt.number, &adopt.tenant) else {
            return;
        };
        self.footprint.add_counter(CounterKey {
            series: name.clone(),
            tenant: adopt.tenant.clone(),
            partition: params.only(&series.partition_by),
            period,
        });
    }
}

/// What is held while a decision is made. `None` means: looked for, not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Series by name.
    pub series: BTreeMap<SeriesName, Option<Arc<Series>>>,
    /// The highest seq of any counter of a series; `None` if it has no counter.
    pub heights: BTreeMap<SeriesName, Option<u64>>,
    /// Counters.
    pub counters: BTreeMap<Arc<CounterKey>, Option<Arc<Counter>>>,
    /// What keys stand for.
    pub keys: BTreeMap<KeyRef, Option<KeyBinding>>,
    /// Entries.
    pub entries: BTreeMap<EntryId, Option<Arc<Entry>>>,
    /// The run of missing seqs that holds a seq; looked up by any seq, kept by its first.
    pub missing: BTreeMap<(CounterId, u64), Missing>,
    /// The seqs whose run was looked for.
    pub missing_asked: BTreeSet<EntryId>,
    /// Closures of periods.
    pub closures: BTreeMap<PeriodRef, Option<Arc<Closure>>>,
    /// Every counter of a period.
    pub period_counters: BTreeMap<PeriodRef, Vec<Arc<CounterKey>>>,
    /// The end of the definitions chain.
    pub definitions: Option<ChainHead>,
    /// Gates.
    pub gates: BTreeMap<GateId, Option<Arc<Gate>>>,
    /// API keys by id.
    pub api_keys: BTreeMap<String, Option<ApiKey>>,
}

impl Snapshot {
    /// What is held after these changes.
    pub fn apply(&mut self, changes: &Changes) {
        for (key, counter) in &changes.counters {
            self.apply_counter(key, counter);
        }
        for (id, gate) in &changes.gates {
            self.gates.insert(*id, Some(gate.clone()));
        }
        if let Some(head) = changes.definitions {
            self.definitions = Some(head);
        }
        for change in &changes.list {
            match change {
                Change::NewEntry(entry) | Change::ChangedEntry(entry) => {
                    self.entries.insert(entry.id, Some(entry.clone()));
                }
                Change::NewKey(key, binding) | Change::MovedKey(key, binding) => {
                    self.keys.insert(key.clone(), Some(binding.clone()));
                }
                Change::Event(..) => {}
                Change::NewMissing(id, missing) => {
                    self.missing.insert((*id, missing.first), missing.clone());
                }
                Change::RemovedMissing(id, missing) => {
                    self.missing.remove(&(*id, missing.first));
                }
                Change::Series(series) => {
                    self.series.insert(series.name.clone(), Some(series.clone()));
                }
                Change::Closure(closure) => {
                    self.closures.insert(closure.at.clone(), Some(closure.clone()));
                }
                Change::ApiKey(key) => {
                    self.api_keys.insert(key.id.clone(), Some(key.clone()));
                }
                Change::Wipe(series) => self.wipe(series),
            }
        }
    }

    fn apply_counter(&mut self, key: &Arc<CounterKey>, counter: &Arc<Counter>) {
        self.counters.insert(key.clone(), Some(counter.clone()));
        if let Some(height) = self.heights.get_mut(&key.series) {
            *height = (*height).max(Some(counter.last_seq));
        }
        if self.period_counters.is_empty() {
            return;
        }
        let period = PeriodRef {
            series: key.series.clone(),
            tenant: key.tenant.clone(),
            period: key.period.clone(),
        };
        if let Some(known) = self.period_counters.get_mut(&period)
            && !known.contains(key)
        {
            known.push(key.clone());
        }
    }

    fn wipe(&mut self, series: &SeriesName) {
        let emptied: Vec<CounterId> = self
            .counters
            .iter_mut()
            .filter(|(key, _)| key.series == *series)
            .filter_map(|(_, counter)| counter.take().map(|counter| counter.id))
            .collect();
        for entry in self.entries.values_mut() {
            if entry.as_ref().is_some_and(|entry| entry.counter.series == *series) {
                *entry = None;
            }
        }
        self.missing.retain(|(id, _), _| !emptied.contains(id));
        self.keys
            .iter_mut()
            .filter(|(key, _)| key.series == *series)
            .for_each(|(_, held)| *held = None);
        self.closures
            .iter_mut()
            .filter(|(at, _)| at.series == *series)
            .for_each(|(_, held)| *held = None);
        self.period_counters
            .iter_mut()
            .filter(|(at, _)| at.series == *series)
            .for_each(|(_, held)| held.clear());
        if let Some(height) = self.heights.get_mut(series) {
            *height = None;
        }
    }
}
