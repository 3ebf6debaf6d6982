//! Everything that a store would keep, in plain maps. It answers footprints, writes decisions, and judges itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seriatim_core::{
    Answer, ApiKey, Batch, Chain, ChainCheck, ChainHead, Change, Changes, Closure, Code, Counter, CounterId,
    CounterKey, Counts, Entry, EntryId, Event, EventKind, Footprint, KeyBinding, KeyRef, Missing, Origin, PeriodRef,
    Refusal, Request, Series, SeriesName, Snapshot, State, Timestamp, compare_entry, decide_all,
};

use super::at;

/// A decision asks for what it must see in a few rounds: each is a round trip under locks.
const ROUNDS_MAX: usize = 12;

pub struct World {
    pub now: Timestamp,
    pub series: BTreeMap<SeriesName, Arc<Series>>,
    pub counters: BTreeMap<Arc<CounterKey>, Arc<Counter>>,
    pub keys: BTreeMap<KeyRef, KeyBinding>,
    pub entries: BTreeMap<EntryId, Arc<Entry>>,
    pub events: BTreeMap<Chain, Vec<Arc<Event>>>,
    pub missing: BTreeMap<(CounterId, u64), Missing>,
    pub closures: BTreeMap<PeriodRef, Arc<Closure>>,
    pub api_keys: BTreeMap<String, ApiKey>,
    /// Every code that a decision ended with.
    pub refused: BTreeSet<Code>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now: at("2026-03-02T10:00:00Z"),
            series: BTreeMap::new(),
            counters: BTreeMap::new(),
            keys: BTreeMap::new(),
            entries: BTreeMap::new(),
            events: BTreeMap::new(),
            missing: BTreeMap::new(),
            closures: BTreeMap::new(),
            api_keys: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }
}

impl World {
    /// Decides these requests in one batch and writes what was decided.
    pub fn decide(&mut self, requests: &[Request]) -> Vec<Result<Answer, Refusal>> {
        let known = |name: &SeriesName| self.series.get(name).cloned();
        let guessed = self.decide_from(Footprint::of(requests, &known, self.now), requests);
        let batch = self.decide_from(Footprint::default(), requests);
        assert_eq!(batch, guessed, "what was loaded first must not matter");
        self.write(&batch.changes);
        let refusals = batch.answers.iter().filter_map(|answer| answer.as_ref().err());
        self.refused.extend(refusals.map(|refusal| refusal.code));
        batch.answers
    }

    fn decide_from(&self, mut footprint: Footprint, requests: &[Request]) -> Batch {
        for _ in 0..ROUNDS_MAX {
            match decide_all(self.load(&footprint), requests, self.now) {
                Ok(batch) => return batch,
                Err(more) => {
                    let before = footprint.clone();
                    footprint.merge(more);
                    assert_ne!(footprint, before, "asked twice for what is loaded");
                }
            }
        }
        panic!("still not loaded after {ROUNDS_MAX} rounds: {footprint:?}")
    }

    fn load(&self, footprint: &Footprint) -> Snapshot {
        let mut held = Snapshot::default();
        for name in &footprint.series {
            held.series.insert(name.clone(), self.series.get(name).cloned());
        }
        for name in &footprint.heights {
            let counters = self.counters.values().filter(|counter| counter.key.series == *name);
            held.heights
                .insert(name.clone(), counters.map(|counter| counter.last_seq).max());
        }
        for key in &footprint.counters {
            held.counters.insert(key.clone(), self.counters.get(key).cloned());
        }
        for period in &footprint.period_counters {
            let keys = self.counters.keys().filter(|key| is_in(key, period)).cloned();
            // In no particular order, as a store may find them.
            let keys: Vec<_> = keys.rev().collect();
            for key in &keys {
                held.counters.insert(key.clone(), self.counters.get(key).cloned());
            }
            held.period_counters.insert(period.clone(), keys);
        }
        for key in &footprint.keys {
            let binding = self.keys.get(key).cloned();
            for id in binding.iter().flat_map(KeyBinding::entries) {
                held.entries.insert(id, self.entries.get(&id).cloned());
            }
            held.keys.insert(key.clone(), binding);
        }
        for id in &footprint.entries {
            held.entries.insert(*id, self.entries.get(id).cloned());
        }
        for id in &footprint.missing {
            let runs = self.missing.range((id.counter, 0)..=(id.counter, id.seq));
            held.missing.extend(
                runs.filter(|(_, run)| run.last >= id.seq)
                    .map(|(at, run)| (*at, run.clone())),
            );
            held.missing_asked.insert(*id);
        }
        for period in &footprint.closures {
            held.closures.insert(period.clone(), self.closures.get(period).cloned());
        }
        for id in &footprint.api_keys {
            held.api_keys.insert(id.clone(), self.api_keys.get(id).cloned());
        }
        held.definitions = footprint.definitions.then(|| self.head(Chain::Definitions));
        held
    }

    /// Where a chain ends.
    pub fn head(&self, chain: Chain) -> ChainHead {
        let genesis = match chain {
            Chain::Definitions => Chain::definitions_genesis(),
            Chain::Counter(id) => Chain::counter_genesis(&self.counter_of(id).key),
            Chain::Gate(id) => unreachable!("these ledgers have no gates, but {id}; the model has"),
        };
        match self.events.get(&chain).and_then(|events| events.last()) {
            Some(event) => ChainHead {
                length: event.position,
                head: event.hash,
            },
            None => ChainHead {
                length: 0,
                head: genesis,
            },
        }
    }

    fn counter_of(&self, id: CounterId) -> &Arc<Counter> {
        self.counters
            .values()
            .find(|counter| counter.id == id)
            .expect("the counter of a chain")
    }

    fn write(&mut self, changes: &Changes) {
        for change in &changes.list {
            self.write_one(change);
        }
        self.counters.extend(changes.counters.clone());
        if let Some(head) = changes.definitions {
            assert_eq!(head, self.head(Chain::Definitions));
        }
    }

    fn write_one(&mut self, change: &Change) {
        match change {
            Change::NewEntry(entry) => {
                let before = self.entries.insert(entry.id, entry.clone());
                assert_eq!(before, None, "a new entry was there already");
            }
            Change::ChangedEntry(entry) => {
                let before = self.entries.insert(entry.id, entry.clone());
                assert!(before.is_some(), "a changed entry was not there");
            }
            Change::NewKey(key, binding) => {
                let before = self.keys.insert(key.clone(), binding.clone());
                assert_eq!(before, None, "a new key was there already");
            }
            Change::MovedKey(key, binding) => {
                let before = self.keys.insert(key.clone(), binding.clone());
                assert!(before.is_some(), "a moved key was not there");
            }
            Change::Event(chain, event) => {
                let events = self.events.entry(*chain).or_default();
                assert_eq!(event.position, events.len() as u64 + 1);
                events.push(event.clone());
            }
            Change::NewMissing(id, run) => {
                let before = self.missing.insert((*id, run.first), run.clone());
                assert_eq!(before, None, "a new run was there already");
            }
            Change::RemovedMissing(id, run) => {
                assert_eq!(self.missing.remove(&(*id, run.first)).as_ref(), Some(run));
            }
            Change::Series(series) => {
                self.series.insert(series.name.clone(), series.clone());
            }
            Change::Closure(closure) => {
                self.closures.insert(closure.at.clone(), closure.clone());
            }
            Change::ApiKey(key) => {
                self.api_keys.insert(key.id.clone(), key.clone());
            }
            Change::Wipe(series) => self.wipe(series),
        }
    }

    fn wipe(&mut self, series: &SeriesName) {
        // What is of the series is told by its counters, as in a database.
        let of_series = self.counters.values().filter(|counter| counter.key.series == *series);
        let ids: BTreeSet<CounterId> = of_series.map(|counter| counter.id).collect();
        self.counters.retain(|key, _| key.series != *series);
        self.keys.retain(|key, _| key.series != *series);
        self.closures.retain(|period, _| period.series != *series);
        self.entries.retain(|id, _| !ids.contains(&id.counter));
        self.missing.retain(|(id, _), _| !ids.contains(id));
        self.events
            .retain(|chain, _| !matches!(chain, Chain::Counter(id) if ids.contains(id)));
    }

    /// The events that speak of this entry, in their order.
    pub fn events_of(&self, entry: &Entry) -> Vec<Arc<Event>> {
        let events = self.events.get(&Chain::Counter(entry.id.counter)).into_iter().flatten();
        let about = events.filter(|event| event.number.is_some() && event.seq == Some(entry.id.seq));
        about.cloned().collect()
    }

    /// All promises that can be told from what is stored.
    pub fn verify(&self) {
        self.verify_chains();
        for counter in self.counters.values() {
            self.verify_counter(counter);
        }
        for entry in self.entries.values() {
            self.verify_entry(entry);
        }
        self.verify_numbers();
        self.verify_keys();
    }

    fn verify_chains(&self) {
        for (chain, events) in &self.events {
            let genesis = match chain {
                Chain::Definitions => Chain::definitions_genesis(),
                Chain::Counter(id) => Chain::counter_genesis(&self.counter_of(*id).key),
                Chain::Gate(id) => unreachable!("these ledgers have no gates, but {id}; the model has"),
            };
            let mut check = ChainCheck::begin(*chain, genesis);
            for event in events {
                assert_eq!(check.step(event), None);
            }
            let recorded = match chain {
                Chain::Definitions => self.head(Chain::Definitions),
                Chain::Counter(id) => self.counter_of(*id).chain,
                Chain::Gate(id) => unreachable!("these ledgers have no gates, but {id}; the model has"),
            };
            assert_eq!(check.finish(recorded), None);
        }
    }

    /// P2: every seq from the first to the last is exactly one of issued, reserved, voided or missing.
    fn verify_counter(&self, counter: &Counter) {
        assert!(counter.is_accounted(), "{counter:?}");
        assert_eq!(counter.key.id(), counter.id);
        let of_counter = |seq| EntryId {
            counter: counter.id,
            seq,
        };
        let entries: Vec<&Arc<Entry>> = self
            .entries
            .range(of_counter(0)..=of_counter(u64::MAX))
            .map(|(_, entry)| entry)
            .collect();
        let runs: Vec<&Missing> = self
            .missing
            .range((counter.id, 0)..=(counter.id, u64::MAX))
            .map(|(_, run)| run)
            .collect();
        let in_state = |state| entries.iter().filter(|entry| entry.state == state).count() as u64;
        let counts = Counts {
            issued: in_state(State::Issued),
            reserved: in_state(State::Reserved),
            voided: in_state(State::Voided),
            missing: runs.iter().map(|run| run.size()).sum(),
        };
        assert_eq!(counter.counts, counts, "{}", counter.key);
        let mut stretches: Vec<(u64, u64)> = entries.iter().map(|entry| (entry.id.seq, entry.id.seq)).collect();
        stretches.extend(runs.iter().map(|run| (run.first, run.last)));
        stretches.sort_unstable();
        let mut next = counter.first_seq;
        for (first, last) in stretches {
            assert_eq!(first, next, "a hole or an overlap in {}", counter.key);
            next = last + 1;
        }
        assert_eq!(next, counter.last_seq + 1, "{}", counter.key);
        assert_eq!(
            counter.last_date,
            entries.iter().map(|entry| entry.date).max(),
            "{}",
            counter.key
        );
    }

    fn verify_entry(&self, entry: &Arc<Entry>) {
        let events = self.events_of(entry);
        for event in &events {
            assert_eq!(compare_entry(entry, event), None, "{entry:#?} {event:#?}");
        }
        let latest = events.last().expect("an entry has events");
        assert_eq!((entry.position, entry.hash), (latest.position, latest.hash));
        // What compare_entry leaves to counting.
        let count = |kind| events.iter().filter(|event| event.kind == kind).count();
        let reserved = entry.origin == Origin::Reserve;
        assert_eq!(
            count(EventKind::Confirmed),
            usize::from(reserved && entry.issued_at.is_some()),
            "{entry:#?}"
        );
        assert_eq!(
            count(EventKind::Redacted),
            usize::from(entry.is_redacted()),
            "{entry:#?}"
        );
        let spent = [EventKind::Voided, EventKind::Released, EventKind::Expired]
            .map(count)
            .iter()
            .sum::<usize>();
        assert_eq!(spent, usize::from(entry.state == State::Voided), "{entry:#?}");
        // Both ends of a link know each other.
        if let Some(other) = entry.replaces {
            assert_eq!(self.entries[&other].replacement, Some(entry.id));
        }
        if let Some(other) = entry.replacement {
            assert_eq!(self.entries[&other].replaces, Some(entry.id));
        }
        // The number says where it stands.
        let series = &self.series[&entry.counter.series];
        let (params, period, seq) = series.read(&entry.number, &entry.counter.tenant).expect("readable");
        assert_eq!(
            (&params, &period, seq),
            (&entry.params, &entry.counter.period, entry.id.seq)
        );
    }

    /// P1: no number twice within a tenant and a series, with all that it replaces.
    fn verify_numbers(&self) {
        let mut seen = BTreeSet::new();
        for entry in self.entries.values() {
            let line = self.line_of(&entry.counter.series);
            let fresh = seen.insert((line, entry.counter.tenant.clone(), entry.number.clone()));
            assert!(fresh, "{} stands twice in {}", entry.number, entry.counter.series);
        }
    }

    /// The oldest series of a line.
    fn line_of(&self, name: &SeriesName) -> SeriesName {
        match &self.series[name].replaces {
            Some(old) => self.line_of(old),
            None => name.clone(),
        }
    }

    /// P3: a key stands for its numbers, and every number that has a key is found by it, at once or by its replacement.
    fn verify_keys(&self) {
        let mut bound = BTreeSet::new();
        for (key, binding) in &self.keys {
            for id in binding.entries() {
                let entry = &self.entries[&id];
                assert_eq!(entry.key.as_ref(), Some(&key.key));
                assert_eq!(
                    (&entry.counter.series, &entry.counter.tenant),
                    (&key.series, &key.tenant)
                );
                assert!(bound.insert(id), "two keys stand for {}", entry.number);
            }
        }
        for entry in self.entries.values() {
            let found = entry.key.is_none() || bound.contains(&entry.id) || entry.replacement.is_some();
            assert!(found, "{} is lost to its key", entry.number);
        }
    }
}

fn is_in(key: &CounterKey, period: &PeriodRef) -> bool {
    key.series == period.series && key.tenant == period.tenant && key.period == period.period
}
