//! The reference store: everything in one process, behind one lock. It keeps every promise but P6, durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use seriatim_core::{
    ApiKey, Chain, ChainHead, Change, Changes, Closure, Counter, CounterId, CounterKey, Counts, Date, Effect, Entry,
    EntryId, Event, Footprint, Gate, GateId, KeyBinding, KeyRef, Missing, PeriodRef, Series, SeriesName, Snapshot,
    State, Timestamp,
};

use super::{
    BatchId, CounterFilter, Decide, EntryFilter, GateFilter, GateHead, Heads, Page, Reads, Setting, Store, StoreError,
    SummaryRow, decide_safely, widen,
};

/// A store in memory, for tests, trials and as the reference of what a store does.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    tables: Arc<Mutex<Tables>>,
    /// Held by whoever decides and writes; readers do not wait for it.
    writer: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Tables {
    series: BTreeMap<SeriesName, Arc<Series>>,
    counters: BTreeMap<Arc<CounterKey>, Arc<Counter>>,
    counter_ids: BTreeMap<CounterId, Arc<CounterKey>>,
    keys: BTreeMap<KeyRef, KeyBinding>,
    /// Entries with the order in which they came.
    entries: BTreeMap<EntryId, (u64, Arc<Entry>)>,
    arrivals: BTreeMap<u64, EntryId>,
    events: BTreeMap<Chain, Vec<Arc<Event>>>,
    missing: BTreeMap<(CounterId, u64), Missing>,
    closures: BTreeMap<PeriodRef, Arc<Closure>>,
    /// Gates with the order in which they came.
    gates: BTreeMap<GateId, (u64, Arc<Gate>)>,
    api_keys: BTreeMap<String, ApiKey>,
    writers: BTreeMap<(i64, u32), u64>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // A panic while the lock was held happened before anything was written: decisions are made on a copy.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn transact(&self, batch: BatchId, mut footprint: Footprint, decide: Decide) -> Result<(), StoreError> {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = loop {
            let held = self.tables().load(&footprint);
            match decide_safely(&decide, held)? {
                Ok(decided) => break decided,
                Err(more) => widen(&mut footprint, more)?,
            }
        };
        if decided.changes.is_empty() {
            return Ok(());
        }
        let mut tables = self.tables();
        tables.check(&decided.changes)?;
        tables.write(decided.changes);
        tables.writers.insert((batch.node, batch.lane), batch.batch);
        Ok(())
    }

    async fn committed(&self, batch: BatchId) -> Result<bool, StoreError> {
        let tables = self.tables();
        Ok(tables.writers.get(&(batch.node, batch.lane)) == Some(&batch.batch))
    }
}

impl Tables {
    fn load(&self, footprint: &Footprint) -> Snapshot {
        let mut held = Snapshot::default();
        for name in &footprint.series {
            held.series.insert(name.clone(), self.series.get(name).cloned());
        }
        for name in &footprint.heights {
            let of_series = self.counters.values().filter(|counter| counter.key.series == *name);
            held.heights
                .insert(name.clone(), of_series.map(|counter| counter.last_seq).max());
        }
        for at in &footprint.period_counters {
            let keys: Vec<_> = self.counters.keys().filter(|key| is_in(key, at)).cloned().collect();
            for key in &keys {
                held.counters.insert(key.clone(), self.counters.get(key).cloned());
            }
            held.period_counters.insert(at.clone(), keys);
        }
        for key in &footprint.counters {
            held.counters.insert(key.clone(), self.counters.get(key).cloned());
        }
        for key in &footprint.keys {
            let binding = self.keys.get(key).cloned();
            for id in binding.iter().flat_map(KeyBinding::entries) {
                self.load_entry(&mut held, id);
            }
            held.keys.insert(key.clone(), binding);
        }
        for id in &footprint.entries {
            self.load_entry(&mut held, *id);
        }
        for id in &footprint.missing {
            let before = self.missing.range(..=(id.counter, id.seq)).next_back();
            if let Some((at, run)) = before.filter(|((counter, _), run)| *counter == id.counter && run.last >= id.seq) {
                held.missing.insert(*at, run.clone());
            }
            held.missing_asked.insert(*id);
        }
        for at in &footprint.closures {
            held.closures.insert(at.clone(), self.closures.get(at).cloned());
        }
        for id in &footprint.gates {
            held.gates.insert(*id, self.gates.get(id).map(|(_, gate)| gate.clone()));
        }
        for id in &footprint.api_keys {
            held.api_keys.insert(id.clone(), self.api_keys.get(id).cloned());
        }
        held.definitions = footprint.definitions.then(|| self.definitions_head());
        held
    }

    fn load_entry(&self, held: &mut Snapshot, id: EntryId) {
        let entry = self.entries.get(&id).map(|(_, entry)| entry.clone());
        held.entries.insert(id, entry);
    }

    fn definitions_head(&self) -> ChainHead {
        let last = self.events.get(&Chain::Definitions).and_then(|events| events.last());
        last.map_or(
            ChainHead {
                length: 0,
                head: Chain::definitions_genesis(),
            },
            |event| ChainHead {
                length: event.position,
                head: event.hash,
            },
        )
    }

    /// What unique constraints are to a database: a second net under the rules.
    fn check(&self, changes: &Changes) -> Result<(), StoreError> {
        let corrupt = |what: String| Err(StoreError::Corrupt(what));
        // What this batch wiped is free again, and what it wrote is taken.
        let mut wiped: BTreeSet<&SeriesName> = BTreeSet::new();
        let mut entries: BTreeMap<EntryId, &SeriesName> = BTreeMap::new();
        let mut keys: BTreeSet<&KeyRef> = BTreeSet::new();
        for change in &changes.list {
            match change {
                Change::NewEntry(entry) => {
                    let series = &entry.counter.series;
                    let held = self.entries.contains_key(&entry.id) && !wiped.contains(series);
                    if entries.insert(entry.id, series).is_some() || held {
                        return corrupt(format!("entry {} exists already", entry.id));
                    }
                }
                Change::NewKey(key, _) => {
                    let held = self.keys.contains_key(key) && !wiped.contains(&key.series);
                    if !keys.insert(key) || held {
                        return corrupt(format!("key {} of series {} exists already", key.key, key.series));
                    }
                }
                Change::Wipe(series) => {
                    wiped.insert(series);
                    entries.retain(|_, of| *of != series);
                    keys.retain(|key| key.series != *series);
                }
                _ => {}
            }
        }
        match changes.counters.values().find(|counter| !counter.is_accounted()) {
            Some(counter) => corrupt(format!("counter {} would not be accounted for", counter.key)),
            None => Ok(()),
        }
    }

    fn write(&mut self, changes: Changes) {
        for (key, counter) in &changes.counters {
            self.counter_ids.insert(counter.id, key.clone());
        }
        for change in changes.list {
            match change {
                // Neither stored nor there when all is done: a wipe later in this batch removes it again.
                Change::NewEntry(entry) if !self.counter_ids.contains_key(&entry.id.counter) => {}
                Change::Event(Chain::Counter(id), _) | Change::NewMissing(id, _)
                    if !self.counter_ids.contains_key(&id) => {}
                Change::NewEntry(entry) => {
                    let arrival = self.arrivals.last_key_value().map_or(1, |(last, _)| last + 1);
                    self.arrivals.insert(arrival, entry.id);
                    self.entries.insert(entry.id, (arrival, entry));
                }
                Change::ChangedEntry(entry) => {
                    if let Some((_, held)) = self.entries.get_mut(&entry.id) {
                        *held = entry;
                    }
                }
                Change::NewKey(key, binding) | Change::MovedKey(key, binding) => {
                    self.keys.insert(key, binding);
                }
                Change::Event(chain, event) => self.events.entry(chain).or_default().push(event),
                Change::NewMissing(id, run) => {
                    self.missing.insert((id, run.first), run);
                }
                Change::RemovedMissing(id, run) => {
                    self.missing.remove(&(id, run.first));
                }
                Change::Series(series) => {
                    self.series.insert(series.name.clone(), series);
                }
                Change::Closure(closure) => {
                    self.closures.insert(closure.at.clone(), closure);
                }
                Change::ApiKey(key) => {
                    self.api_keys.insert(key.id.clone(), key);
                }
                Change::Wipe(series) => self.wipe(&series),
            }
        }
        self.counters.extend(changes.counters);
        for (id, gate) in changes.gates {
            let arrival = self.gates.get(&id).map_or(self.gates.len() as u64 + 1, |(no, _)| *no);
            self.gates.insert(id, (arrival, gate));
        }
    }

    fn wipe(&mut self, series: &SeriesName) {
        let of_series = self.counter_ids.iter().filter(|(_, key)| key.series == *series);
        let gone: BTreeSet<CounterId> = of_series.map(|(id, _)| *id).collect();
        self.counters.retain(|key, _| key.series != *series);
        self.keys.retain(|key, _| key.series != *series);
        self.closures.retain(|at, _| at.series != *series);
        self.entries.retain(|id, _| !gone.contains(&id.counter));
        self.arrivals.retain(|_, id| !gone.contains(&id.counter));
        self.missing.retain(|(id, _), _| !gone.contains(id));
        for id in gone {
            self.events.remove(&Chain::Counter(id));
        }
    }

    fn counter(&self, id: CounterId) -> Option<Arc<Counter>> {
        self.counters.get(self.counter_ids.get(&id)?).cloned()
    }

    fn entries_of_counter(&self, counter: CounterId, after: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let from = EntryId {
            counter,
            seq: after.saturating_add(1),
        };
        let to = EntryId { counter, seq: u64::MAX };
        self.entries.range(from..=to).map(|(_, (_, entry))| entry)
    }
}

fn is_in(key: &CounterKey, at: &PeriodRef) -> bool {
    key.series == at.series && key.tenant == at.tenant && key.period == at.period
}

#[async_trait]
impl Reads for Memory {
    fn describe(&self) -> String {
        "memory (gone when the process ends)".to_string()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn settings(&self) -> Result<Vec<Setting>, StoreError> {
        Ok(vec![Setting {
            name: "durable",
            found: "no: a memory store is for tests and trials".to_string(),
            holds: false,
        }])
    }

    async fn series(&self) -> Result<Vec<Arc<Series>>, StoreError> {
        Ok(self.tables().series.values().cloned().collect())
    }

    async fn counters(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, StoreError> {
        let tables = self.tables();
        let mut counters: Vec<&Arc<Counter>> = tables
            .counters
            .values()
            .filter(|counter| {
                one_of(&filter.series, &counter.key.series) && one_of(&filter.tenants, &counter.key.tenant)
            })
            .filter(|counter| {
                filter
                    .period
                    .as_ref()
                    .is_none_or(|period| *period == counter.key.period)
            })
            .collect();
        counters.sort_by(|a, b| {
            let line = |counter: &Counter| (counter.key.series.clone(), counter.key.tenant.clone());
            line(a)
                .cmp(&line(b))
                .then_with(|| b.key.period.cmp(&a.key.period))
                .then_with(|| a.key.partition.cmp(&b.key.partition))
        });
        let skip = usize::try_from(filter.cursor.unwrap_or(0)).unwrap_or(usize::MAX);
        let rows: Vec<Counter> = counters
            .iter()
            .skip(skip)
            .take(limit)
            .map(|counter| (***counter).clone())
            .collect();
        let next = (skip + rows.len() < counters.len()).then(|| (skip + rows.len()) as u64);
        Ok(Page { rows, next })
    }

    async fn counter(&self, id: CounterId) -> Result<Option<Counter>, StoreError> {
        Ok(self.tables().counter(id).map(|counter| (*counter).clone()))
    }

    async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, StoreError> {
        let tables = self.tables();
        let before = filter.cursor.unwrap_or(u64::MAX);
        let mut rows = Vec::new();
        let mut last = None;
        for (arrival, id) in tables.arrivals.range(..before).rev() {
            let Some((_, entry)) = tables.entries.get(id) else {
                continue;
            };
            if !matches(filter, entry) {
                continue;
            }
            if rows.len() == limit {
                return Ok(Page { rows, next: last });
            }
            rows.push(entry.clone());
            last = Some(*arrival);
        }
        Ok(Page { rows, next: None })
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError> {
        Ok(self.tables().entries.get(&id).map(|(_, entry)| entry.clone()))
    }

    async fn entries_of_key(&self, key: &KeyRef) -> Result<Vec<Arc<Entry>>, StoreError> {
        let tables = self.tables();
        let ids = tables.keys.get(key).into_iter().flat_map(KeyBinding::entries);
        Ok(ids
            .filter_map(|id| tables.entries.get(&id).map(|(_, entry)| entry.clone()))
            .collect())
    }

    async fn entries_by_seq(
        &self,
        counter: CounterId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        Ok(self
            .tables()
            .entries_of_counter(counter, after)
            .take(limit)
            .cloned()
            .collect())
    }

    async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let tables = self.tables();
        let events = tables.events.get(&chain).into_iter().flatten();
        Ok(events
            .filter(|event| event.position > after)
            .take(limit)
            .map(|event| (**event).clone())
            .collect())
    }

    async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, StoreError> {
        let tables = self.tables();
        let events = tables.events.get(&Chain::Counter(entry.counter)).into_iter().flatten();
        Ok(events
            .filter(|event| event.number.is_some() && event.seq == Some(entry.seq))
            .map(|event| (**event).clone())
            .collect())
    }

    async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, StoreError> {
        let tables = self.tables();
        let runs = tables
            .missing
            .range((counter, after.saturating_add(1))..=(counter, u64::MAX));
        Ok(runs.take(limit).map(|(_, run)| run.clone()).collect())
    }

    async fn closures(&self) -> Result<Vec<Arc<Closure>>, StoreError> {
        Ok(self.tables().closures.values().cloned().collect())
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self.tables().api_keys.values().cloned().collect())
    }

    async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, StoreError> {
        let tables = self.tables();
        let within = |date: Date| from.is_none_or(|from| date >= from) && to.is_none_or(|to| date <= to);
        let rows = tables.counters.values().filter_map(|counter| {
            let entries = tables
                .entries_of_counter(counter.id, 0)
                .filter(|entry| within(entry.date));
            summary_row(&counter.key, entries)
        });
        Ok(rows.collect())
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        let tables = self.tables();
        Ok(Heads {
            definitions: tables.definitions_head(),
            counters: tables.counters.values().map(|counter| (**counter).clone()).collect(),
            gates: tables.gates.values().map(|(_, gate)| GateHead::of(gate)).collect(),
        })
    }

    async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, StoreError> {
        Ok(self.tables().gates.get(&id).map(|(_, gate)| gate.clone()))
    }

    async fn gates(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, StoreError> {
        let tables = self.tables();
        let before = filter.cursor.unwrap_or(u64::MAX);
        let wanted = |(no, gate): &&(u64, Arc<Gate>)| *no < before && filter.matches(gate);
        let mut found: Vec<&(u64, Arc<Gate>)> = tables.gates.values().filter(wanted).collect();
        found.sort_by_key(|(no, _)| std::cmp::Reverse(*no));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(no, _)| *no);
        let rows = found.into_iter().map(|(_, gate)| gate.clone()).collect();
        Ok(Page { rows, next })
    }

    async fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        let tables = self.tables();
        let gates = tables.gates.values().map(|(_, gate)| gate);
        let mut due: Vec<&Arc<Gate>> = gates
            .filter(|gate| gate.is_due(now) && one_of(effects, &gate.effect))
            .collect();
        due.sort_by_key(|gate| (gate.due_at, gate.id));
        Ok(due.into_iter().take(limit).cloned().collect())
    }

    async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        let tables = self.tables();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let gates = tables.gates.range((from, std::ops::Bound::Unbounded));
        Ok(gates.take(limit).map(|(_, (_, gate))| gate.clone()).collect())
    }

    async fn bound_keys(&self, counter: CounterId) -> Result<u64, StoreError> {
        let tables = self.tables();
        Ok(tables
            .keys
            .values()
            .filter(|binding| binding.first.counter == counter)
            .count() as u64)
    }
}

fn one_of<T: PartialEq>(wanted: &[T], value: &T) -> bool {
    wanted.is_empty() || wanted.contains(value)
}

fn matches(filter: &EntryFilter, entry: &Entry) -> bool {
    one_of(&filter.series, &entry.counter.series)
        && one_of(&filter.tenants, &entry.counter.tenant)
        && filter.number.as_deref().is_none_or(|number| *number == *entry.number)
        && filter.state.is_none_or(|state| state == entry.state)
        && filter
            .period
            .as_ref()
            .is_none_or(|period| *period == entry.counter.period)
        && filter.date_from.is_none_or(|from| entry.date >= from)
        && filter.date_to.is_none_or(|to| entry.date <= to)
        && filter
            .expires_until
            .is_none_or(|until| entry.expires_at.is_some_and(|end| end <= until))
}

fn summary_row<'a>(key: &Arc<CounterKey>, entries: impl Iterator<Item = &'a Arc<Entry>>) -> Option<SummaryRow> {
    let mut row: Option<SummaryRow> = None;
    for entry in entries {
        let row = row.get_or_insert_with(|| SummaryRow {
            counter: key.clone(),
            first: entry.number.clone(),
            last: entry.number.clone(),
            counts: Counts::default(),
        });
        row.last = entry.number.clone();
        match entry.state {
            State::Issued => row.counts.issued += 1,
            State::Reserved => row.counts.reserved += 1,
            State::Voided => row.counts.voided += 1,
        }
    }
    row
}
