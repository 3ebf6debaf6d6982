//! Everything that a store would keep, in plain maps, and nothing of a store: what `decide` alone makes of a scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seriatim_core::{
    Answer, ApiKey, Batch, Chain, ChainCheck, ChainHead, Change, Changes, Closure, Counter, CounterId, CounterKey,
    Entry, EntryId, Event, Footprint, Gate, GateCheck, GateId, KeyBinding, KeyRef, Missing, PeriodRef, Refusal,
    Request, Series, SeriesName, Snapshot, Timestamp, compare_entry, decide_all,
};

use super::scenario::GapShown;
use crate::store::widen;

#[derive(Default)]
pub(super) struct Ledger {
    series: BTreeMap<SeriesName, Arc<Series>>,
    counters: BTreeMap<Arc<CounterKey>, Arc<Counter>>,
    keys: BTreeMap<KeyRef, KeyBinding>,
    entries: BTreeMap<EntryId, Arc<Entry>>,
    events: BTreeMap<Chain, Vec<Arc<Event>>>,
    missing: BTreeMap<(CounterId, u64), Missing>,
    closures: BTreeMap<PeriodRef, Arc<Closure>>,
    gates: BTreeMap<GateId, Arc<Gate>>,
    api_keys: BTreeMap<String, ApiKey>,
}

impl Ledger {
    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.counters.values().map(|counter| &**counter)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|entry| &**entry)
    }

    pub(super) fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(&id).map(|entry| &**entry)
    }

    pub(super) fn api_key(&self, id: &str) -> Option<&ApiKey> {
        self.api_keys.get(id)
    }

    pub(super) fn gate(&self, id: GateId) -> Option<&Gate> {
        self.gates.get(&id).map(|gate| &**gate)
    }

    pub(super) fn overdue(&self, now: Timestamp) -> Vec<EntryId> {
        self.entries()
            .filter(|entry| entry.is_overdue(now))
            .map(|entry| entry.id)
            .collect()
    }

    pub(super) fn gaps(&self, series: &str) -> Vec<GapShown> {
        let ids: BTreeSet<CounterId> = self
            .counters()
            .filter(|counter| counter.key.series.as_str() == series)
            .map(|counter| counter.id)
            .collect();
        let runs = self.missing.iter().filter(|((id, _), _)| ids.contains(id));
        runs.map(|(_, run)| GapShown {
            first: run.first,
            last: run.last,
            reason: run.reason.to_string(),
        })
        .collect()
    }

    /// Decides one request twice, with and without a guess of what it needs, and writes what was decided.
    pub(super) fn decide(&mut self, request: &Request, now: Timestamp) -> Result<Answer, Refusal> {
        let known = |name: &SeriesName| self.series.get(name).cloned();
        let guessed = self.decide_from(Footprint::of([request], &known, now), request, now);
        let mut batch = self.decide_from(Footprint::default(), request, now);
        assert_eq!(batch, guessed, "what was loaded first must not matter");
        self.write(batch.changes);
        batch.answers.remove(0)
    }

    fn decide_from(&self, mut footprint: Footprint, request: &Request, now: Timestamp) -> Batch {
        loop {
            match decide_all(self.load(&footprint), [request], now) {
                Ok(batch) => return batch,
                Err(more) => widen(&mut footprint, more).expect("it never asks twice for what is loaded"),
            }
        }
    }

    fn load(&self, footprint: &Footprint) -> Snapshot {
        let mut held = Snapshot::default();
        for name in &footprint.series {
            held.series.insert(name.clone(), self.series.get(name).cloned());
        }
        for name in &footprint.heights {
            let counters = self.counters().filter(|counter| counter.key.series == *name);
            held.heights
                .insert(name.clone(), counters.map(|counter| counter.last_seq).max());
        }
        for key in &footprint.counters {
            held.counters.insert(key.clone(), self.counters.get(key).cloned());
        }
        for at in &footprint.period_counters {
            let keys: Vec<_> = self.counters.keys().filter(|key| is_in(key, at)).cloned().collect();
            held.counters
                .extend(keys.iter().map(|key| (key.clone(), self.counters.get(key).cloned())));
            held.period_counters.insert(at.clone(), keys);
        }
        for key in &footprint.keys {
            let binding = self.keys.get(key).cloned();
            let ids = binding.iter().flat_map(KeyBinding::entries);
            held.entries.extend(ids.map(|id| (id, self.entries.get(&id).cloned())));
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
        for at in &footprint.closures {
            held.closures.insert(at.clone(), self.closures.get(at).cloned());
        }
        for id in &footprint.gates {
            held.gates.insert(*id, self.gates.get(id).cloned());
        }
        for id in &footprint.api_keys {
            held.api_keys.insert(id.clone(), self.api_keys.get(id).cloned());
        }
        held.definitions = footprint.definitions.then(|| self.definitions_head());
        held
    }

    fn definitions_head(&self) -> ChainHead {
        let genesis = ChainHead {
            length: 0,
            head: Chain::definitions_genesis(),
        };
        let last = self.events.get(&Chain::Definitions).and_then(|events| events.last());
        last.map_or(genesis, |event| ChainHead {
            length: event.position,
            head: event.hash,
        })
    }

    fn write(&mut self, changes: Changes) {
        for change in changes.list {
            match change {
                Change::NewEntry(entry) => {
                    assert_eq!(
                        self.entries.insert(entry.id, entry),
                        None,
                        "a new entry was there already"
                    );
                }
                Change::ChangedEntry(entry) => {
                    assert!(
                        self.entries.insert(entry.id, entry).is_some(),
                        "a changed entry was not there"
                    );
                }
                Change::NewKey(key, binding) => {
                    assert_eq!(self.keys.insert(key, binding), None, "a new key was there already");
                }
                Change::MovedKey(key, binding) => {
                    assert!(self.keys.insert(key, binding).is_some(), "a moved key was not there");
                }
                Change::Event(chain, event) => self.events.entry(chain).or_default().push(event),
                Change::NewMissing(id, run) => {
                    self.missing.insert((id, run.first), run);
                }
                Change::RemovedMissing(id, run) => {
                    assert_eq!(self.missing.remove(&(id, run.first)), Some(run));
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
        self.gates.extend(changes.gates);
    }

    fn wipe(&mut self, series: &SeriesName) {
        let gone: BTreeSet<CounterId> = self
            .counters()
            .filter(|counter| counter.key.series == *series)
            .map(|counter| counter.id)
            .collect();
        self.counters.retain(|key, _| key.series != *series);
        self.keys.retain(|key, _| key.series != *series);
        self.closures.retain(|at, _| at.series != *series);
        self.entries.retain(|id, _| !gone.contains(&id.counter));
        self.missing.retain(|(id, _), _| !gone.contains(id));
        self.events
            .retain(|chain, _| !matches!(chain, Chain::Counter(id) if gone.contains(id)));
    }

    /// What contradicts itself: chains, entries against events, states against counts, keys against entries.
    pub(super) fn verify(&self) -> Vec<String> {
        let mut found = self.verify_chain(
            Chain::Definitions,
            Chain::definitions_genesis(),
            self.definitions_head(),
        );
        for counter in self.counters() {
            let chain = Chain::Counter(counter.id);
            found.extend(self.verify_chain(chain, Chain::counter_genesis(&counter.key), counter.chain));
            found.extend((!counter.is_accounted()).then(|| format!("unaccounted {}", counter.key)));
            let mut next = counter.first_seq;
            while let Some(after) = self.stands(counter.id, next) {
                next = after;
            }
            found.extend((next != counter.last_seq + 1).then(|| format!("hole {} {next}", counter.key)));
        }
        for entry in self.entries() {
            let events = self.events.get(&Chain::Counter(entry.id.counter)).into_iter().flatten();
            let about = events.filter(|event| event.number.is_some() && event.seq == Some(entry.id.seq));
            found.extend(
                about
                    .filter_map(|event| compare_entry(entry, event))
                    .map(|finding| finding.code.to_string()),
            );
        }
        for gate in self.gates.values() {
            let genesis = Chain::gate_genesis(&gate.tenant, &gate.effect, &gate.subject);
            found.extend(self.verify_chain(Chain::Gate(gate.id), genesis, gate.chain));
            let events = self.events.get(&Chain::Gate(gate.id)).into_iter().flatten();
            let mut told = GateCheck::begin(gate);
            found.extend(
                events
                    .filter_map(|event| told.step(event))
                    .map(|finding| finding.code.to_string()),
            );
            found.extend(told.finish(gate).map(|finding| finding.code.to_string()));
        }
        let dangling = self
            .keys
            .values()
            .flat_map(KeyBinding::entries)
            .filter(|id| !self.entries.contains_key(id));
        found.extend(dangling.map(|id| format!("key of no entry {id}")));
        found
    }

    fn verify_chain(&self, chain: Chain, genesis: seriatim_core::Hash, recorded: ChainHead) -> Vec<String> {
        let mut check = ChainCheck::begin(chain, genesis);
        let events = self.events.get(&chain).into_iter().flatten();
        let mut found: Vec<_> = events.filter_map(|event| check.step(event)).collect();
        found.extend(check.finish(recorded));
        found.into_iter().map(|finding| finding.code.to_string()).collect()
    }

    /// The seq after the one that stands here; nothing if none does.
    fn stands(&self, counter: CounterId, seq: u64) -> Option<u64> {
        match self.missing.get(&(counter, seq)) {
            Some(run) => Some(run.last + 1),
            None => self.entries.contains_key(&EntryId { counter, seq }).then_some(seq + 1),
        }
    }
}

fn is_in(key: &CounterKey, at: &PeriodRef) -> bool {
    key.series == at.series && key.tenant == at.tenant && key.period == at.period
}
