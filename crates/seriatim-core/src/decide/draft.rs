//! A decision in the making: what is held, and on top of it what this command has changed so far.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::changes::{Change, Changes, Closure};
use super::snapshot::{Footprint, KeyBinding, KeyRef, PeriodRef, Snapshot};
use crate::access::Access;
use crate::command::Request;
use crate::counter::{Counter, CounterId, CounterKey, Missing};
use crate::entry::{Entry, EntryId};
use crate::gate::{Gate, GateId};
use crate::journal::{Chain, ChainHead, Event, EventKind};
use crate::name::{SeriesName, Tenant};
use crate::period::Period;
use crate::refusal::{Code, Refusal};
use crate::series::Series;
use crate::time::Timestamp;

/// So many entries are asked for ahead at most: the numbers of one request.
const RUN_AHEAD_MAX: u64 = 1_000;

pub(super) struct Draft<'a> {
    held: &'a Snapshot,
    request: &'a Request,
    pub(super) now: Timestamp,
    changes: Changes,
    keys: BTreeMap<KeyRef, KeyBinding>,
    entries: BTreeMap<EntryId, Arc<Entry>>,
    missing: BTreeMap<(CounterId, u64), Missing>,
    filled: BTreeSet<(CounterId, u64)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(held: &'a Snapshot, request: &'a Request, now: Timestamp) -> Self {
        Self {
            held,
            request,
            now,
            changes: Changes::default(),
            keys: BTreeMap::new(),
            entries: BTreeMap::new(),
            missing: BTreeMap::new(),
            filled: BTreeSet::new(),
        }
    }

    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    pub(super) fn access(&self) -> &Access {
        &self.request.access
    }

    // What is held.

    /// The series of that name, if there is one.
    pub(super) fn series_if_any(&self, name: &SeriesName) -> Result<Option<Arc<Series>>, Halt> {
        let held = self.held.series.get(name).cloned();
        held.ok_or_else(|| unloaded(|need| need.series.insert(name.clone())))
    }

    /// The series that the caller named, if he may see it: another one does not exist for him, and he hears the same.
    pub(super) fn series(&self, name: &SeriesName) -> Result<Arc<Series>, Halt> {
        let series = self.series_if_any(name)?;
        series
            .filter(|series| self.access().sees_series(series))
            .ok_or_else(|| {
                let access = self.access();
                let message = if access.test_only {
                    format!("there is no series {name}, or none for this API key, which reaches test series only")
                } else if !access.series.is_empty() {
                    format!("there is no series {name}, or none for this API key")
                } else {
                    format!("there is no series {name}; define it first (`seriatim series create {name} …`)")
                };
                Refusal::new(Code::UnknownSeries, message).at("/series").into()
            })
    }

    pub(super) fn counter(&self, key: &Arc<CounterKey>) -> Result<Option<Arc<Counter>>, Halt> {
        if let Some(counter) = self.changes.counters.get(key) {
            return Ok(Some(counter.clone()));
        }
        let held = self.held.counters.get(key).cloned();
        held.ok_or_else(|| unloaded(|need| need.counters.insert(key.clone())))
    }

    pub(super) fn binding(&self, key: &KeyRef) -> Result<Option<KeyBinding>, Halt> {
        if let Some(binding) = self.keys.get(key) {
            return Ok(Some(binding.clone()));
        }
        let held = self.held.keys.get(key).cloned();
        held.ok_or_else(|| unloaded(|need| need.keys.insert(key.clone())))
    }

    pub(super) fn entry_if_any(&self, id: EntryId) -> Result<Option<Arc<Entry>>, Halt> {
        if let Some(entry) = self.entries.get(&id) {
            return Ok(Some(entry.clone()));
        }
        let held = self.held.entries.get(&id).cloned();
        held.ok_or_else(|| unloaded(|need| need.entries.insert(id)))
    }

    /// The same where those after it up to `last` may be asked for next: the more were looked for in front of it, the
    /// more are looked for at once, so that a run of any length takes a few rounds.
    pub(super) fn entry_in_run(&self, id: EntryId, last: u64) -> Result<Option<Arc<Entry>>, Halt> {
        let is_held = |seq| self.held.entries.contains_key(&EntryId { seq, ..id });
        if is_held(id.seq) {
            return self.entry_if_any(id);
        }
        let before = (1..id.seq).rev().take_while(|seq| is_held(*seq)).count() as u64;
        let ahead = (3 + 8 * before).min(RUN_AHEAD_MAX);
        let run = id.seq..=last.min(id.seq.saturating_add(ahead));
        Err(unloaded(|need| {
            need.entries.extend(run.map(|seq| EntryId { seq, ..id }));
            true
        }))
    }

    /// The run of missing seqs that holds this seq, if one does.
    pub(super) fn missing_at(&self, id: EntryId) -> Result<Option<Missing>, Halt> {
        if !self.held.missing_asked.contains(&id) {
            return Err(unloaded(|need| need.missing.insert(id)));
        }
        let made = run_at(&self.missing, id);
        let held = || run_at(&self.held.missing, id).filter(|run| !self.filled.contains(&(id.counter, run.first)));
        Ok(made.or_else(held).cloned())
    }

    pub(super) fn closure(&self, at: &PeriodRef) -> Result<Option<Arc<Closure>>, Halt> {
        let held = self.held.closures.get(at).cloned();
        held.ok_or_else(|| unloaded(|need| need.closures.insert(at.clone())))
    }

    pub(super) fn counters_of(&self, at: &PeriodRef) -> Result<Vec<Arc<Counter>>, Halt> {
        let keys = self.held.period_counters.get(at);
        let keys = keys.ok_or_else(|| unloaded(|need| need.period_counters.insert(at.clone())))?;
        let counters = keys.iter().map(|key| self.counter(key));
        counters.filter_map(Result::transpose).collect()
    }

    pub(super) fn height(&self, series: &SeriesName) -> Result<Option<u64>, Halt> {
        let held = self.held.heights.get(series).copied();
        held.ok_or_else(|| unloaded(|need| need.heights.insert(series.clone())))
    }

    pub(super) fn gate_if_any(&self, id: GateId) -> Result<Option<Arc<Gate>>, Halt> {
        if let Some(gate) = self.changes.gates.get(&id) {
            return Ok(Some(gate.clone()));
        }
        let held = self.held.gates.get(&id).cloned();
        held.ok_or_else(|| unloaded(|need| need.gates.insert(id)))
    }

    pub(super) fn api_key(&self, id: &str) -> Result<Option<crate::access::ApiKey>, Halt> {
        let held = self.held.api_keys.get(id).cloned();
        held.ok_or_else(|| unloaded(|need| need.api_keys.insert(id.to_string())))
    }

    /// Whoever holds the end of the definitions chain has the series of the footprint to himself.
    pub(super) fn definitions_head(&self) -> Result<ChainHead, Halt> {
        let head = self.changes.definitions.or(self.held.definitions);
        head.ok_or_else(|| {
            unloaded(|need| {
                need.definitions = true;
                true
            })
        })
    }

    /// The entry with its series, if the caller may see it: another tenant's id does not exist for him.
    pub(super) fn entry(&self, id: EntryId) -> Result<(Arc<Entry>, Arc<Series>), Halt> {
        let unknown = || Halt::from(Refusal::new(Code::UnknownEntry, format!("there is no entry {id}")).at("/id"));
        let entry = self.entry_if_any(id)?.ok_or_else(unknown)?;
        match self.series_if_any(&entry.counter.series)? {
            Some(series) if self.access().sees(&series, &entry.counter.tenant) => Ok((entry, series)),
            Some(_) | None => Err(unknown()),
        }
    }

    /// Refuses to touch a period that is closed; `field` is what chose the period.
    pub(super) fn require_open(
        &self,
        series: &SeriesName,
        tenant: &Tenant,
        period: &Period,
        field: &str,
    ) -> Result<(), Halt> {
        let at = PeriodRef {
            series: series.clone(),
            tenant: tenant.clone(),
            period: period.clone(),
        };
        match self.closure(&at)? {
            Some(closure) if closure.closed => {
                let way_out = match field {
                    "/date" => "reopen it or give a date in an open period",
                    _ => "reopen it first",
                };
                let message = format!(
                    "period {period} of series {series} is closed ({}); {way_out}",
                    closure.reason
                );
                Err(Refusal::new(Code::PeriodClosed, message).at(field).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    // What changes.

    /// An event of this request.
    pub(super) fn event(&self, kind: EventKind) -> Event {
        let mut event = Event::new(kind, self.request.actor.clone(), self.now);
        event.on_behalf_of = self.request.on_behalf_of.clone();
        event
    }

    /// Puts an event at the end of a counter's chain.
    pub(super) fn append(&mut self, counter: &mut Counter, mut event: Event) -> Arc<Event> {
        event.append_to(&mut counter.chain);
        let event = Arc::new(event);
        self.changes
            .list
            .push(Change::Event(Chain::Counter(counter.id), event.clone()));
        event
    }

    /// Makes a move of a gate: its event stands at the end of its chain, and the gate is what the event says.
    pub(super) fn move_gate(&mut self, gate: &mut Gate, mut event: Event) -> Result<(), Halt> {
        event.append_to(&mut gate.chain);
        // Each command looks at the state first, so this is a bug of ours if it ever shows.
        let id = gate.id;
        let impossible = |what| Refusal::new(Code::StaleToken, format!("gate {id}: {what}"));
        gate.apply(&event).map_err(impossible)?;
        self.put(Change::Event(Chain::Gate(gate.id), Arc::new(event)));
        Ok(())
    }

    pub(super) fn put_gate(&mut self, gate: Gate) -> Arc<Gate> {
        let gate = Arc::new(gate);
        self.changes.gates.insert(gate.id, gate.clone());
        gate
    }

    /// Puts an event at the end of the definitions chain.
    pub(super) fn append_definition(&mut self, mut event: Event) -> Result<(), Halt> {
        let mut head = self.definitions_head()?;
        event.append_to(&mut head);
        self.changes.definitions = Some(head);
        self.changes
            .list
            .push(Change::Event(Chain::Definitions, Arc::new(event)));
        Ok(())
    }

    pub(super) fn put_counter(&mut self, counter: Arc<Counter>) {
        self.changes.counters.insert(counter.key.clone(), counter);
    }

    pub(super) fn put_new_entry(&mut self, entry: Arc<Entry>) {
        self.entries.insert(entry.id, entry.clone());
        self.changes.list.push(Change::NewEntry(entry));
    }

    pub(super) fn put_entry(&mut self, entry: Arc<Entry>) {
        self.entries.insert(entry.id, entry.clone());
        self.changes.list.push(Change::ChangedEntry(entry));
    }

    pub(super) fn bind_key(&mut self, key: KeyRef, binding: KeyBinding) {
        self.keys.insert(key.clone(), binding.clone());
        self.changes.list.push(Change::NewKey(key, binding));
    }

    pub(super) fn move_key(&mut self, key: KeyRef, binding: KeyBinding) {
        self.keys.insert(key.clone(), binding.clone());
        self.changes.list.push(Change::MovedKey(key, binding));
    }

    pub(super) fn put(&mut self, change: Change) {
        self.changes.list.push(change);
    }

    pub(super) fn put_missing(&mut self, counter: CounterId, run: Missing) {
        self.missing.insert((counter, run.first), run.clone());
        self.put(Change::NewMissing(counter, run));
    }

    pub(super) fn remove_missing(&mut self, counter: CounterId, run: Missing) {
        self.missing.remove(&(counter, run.first));
        self.filled.insert((counter, run.first));
        self.put(Change::RemovedMissing(counter, run));
    }
}

/// Runs never overlap, so only the nearest one that begins before a seq can hold it.
fn run_at(runs: &BTreeMap<(CounterId, u64), Missing>, id: EntryId) -> Option<&Missing> {
    let (at, run) = runs.range(..=(id.counter, id.seq)).next_back()?;
    (at.0 == id.counter && run.last >= id.seq).then_some(run)
}

fn unloaded(add: impl FnOnce(&mut Footprint) -> bool) -> Halt {
    let mut footprint = Footprint::default();
    add(&mut footprint);
    Halt::Unloaded(Box::new(footprint))
}
