//! A decision becomes rows: one statement a table, each of which raises an error unless it does all of its work.
//! This room must never know why.

use std::collections::{BTreeMap, HashMap};

use seriatim_core::{
    ApiKey, Chain, Change, Changes, Closure, Counter, CounterId, Entry, EntryId, Event, GateId, Hash, KeyBinding,
    KeyRef, Missing, Series, SeriesName, Timestamp,
};

use super::Inner;
use super::connection::{Command, Connection};
use super::fault::Fault;
use super::gates;
use super::load::{Standing, Standings};
use super::params::{Day, values};
use super::rows::{Columns, CounterNos, integer};
use crate::store::BatchId;

const PUT_LINES: &str = include_str!("queries/put_lines.sql");
const INSERT_COUNTERS: &str = include_str!("queries/insert_counters.sql");
const UPDATE_COUNTERS: &str = include_str!("queries/update_counters.sql");
const INSERT_ENTRIES: &str = include_str!("queries/insert_entries.sql");
const UPDATE_ENTRIES: &str = include_str!("queries/update_entries.sql");
const INSERT_KEYS: &str = include_str!("queries/insert_keys.sql");
const UPDATE_KEYS: &str = include_str!("queries/update_keys.sql");
const INSERT_EVENTS: &str = include_str!("queries/insert_events.sql");
const DELETE_MISSING: &str = include_str!("queries/delete_missing.sql");
const INSERT_MISSING: &str = include_str!("queries/insert_missing.sql");
const PUT_SERIES: &str = include_str!("queries/put_series.sql");
const PUT_CLOSURE: &str = include_str!("queries/put_closure.sql");
const PUT_API_KEY: &str = include_str!("queries/put_api_key.sql");
const WIPE_SERIES: &str = include_str!("queries/wipe_series.sql");
const PUT_WRITER: &str = include_str!("queries/put_writer.sql");
const TOUCH_WRITER: &str = include_str!("queries/touch_writer.sql");

/// Where a lane was when its batch began.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneAt {
    /// The last batch that its callers were told of.
    pub(super) acknowledged: u64,
    /// How often its batches were asked about in vain.
    pub(super) asked: i64,
}

/// The statements that write a decision and the mark of its batch. What is rare is written at once: wipes, and the
/// rows of new counters, whose numbers the other rows need.
pub(super) async fn persist<'c>(
    connection: &mut Connection,
    batch: BatchId,
    lane_at: LaneAt,
    changes: &'c Changes,
    mut standings: Standings,
    store: &Inner,
) -> Result<Vec<Command<'c>>, Fault> {
    let within = store.options.statement_within;
    let lane = i32::try_from(batch.lane).map_err(|_| Fault::damage("there are too many lanes"))?;
    let mut commands = store.node_command(batch);
    let acknowledged = integer(lane_at.acknowledged)?;
    if changes.is_empty() {
        commands.push(Command::Query(TOUCH_WRITER, values![batch.node, lane, acknowledged]));
        return Ok(commands);
    }
    let mut writes = Writes::of(changes);
    for series in &writes.wiped {
        connection.query(WIPE_SERIES, values![series.as_str()], within).await?;
        // What comes after the wipe begins with new counters.
        for (key, _) in changes.counters.iter().filter(|(key, _)| key.series == **series) {
            standings.remove(&key.id());
        }
    }
    open_counters(connection, changes, &mut standings, within).await?;
    let numbers = Numbers { standings, changes };
    writes.entries(&numbers, &mut commands)?;
    writes.keys(&numbers, &mut commands)?;
    writes.events(&numbers, &mut commands)?;
    gates::write(changes, &writes.gate_events, &mut commands)?;
    writes.missing(&numbers, &mut commands)?;
    writes.rest(&mut commands)?;
    counters(changes, &numbers, &mut commands)?;
    let number = integer(batch.batch)?;
    commands.push(Command::Query(
        PUT_WRITER,
        values![batch.node, lane, number, acknowledged, lane_at.asked],
    ));
    Ok(commands)
}

/// Gives new counters their rows, empty as they were before this batch.
async fn open_counters(
    connection: &mut Connection,
    changes: &Changes,
    standings: &mut Standings,
    within: std::time::Duration,
) -> Result<(), Fault> {
    let new: Vec<&Counter> = changes
        .counters
        .values()
        .map(|counter| &**counter)
        .filter(|counter| !standings.contains_key(&counter.id))
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    let series: Vec<&str> = new.iter().map(|counter| counter.key.series.as_str()).collect();
    let tenants: Vec<&str> = new.iter().map(|counter| counter.key.tenant.as_str()).collect();
    let first_seqs = new
        .iter()
        .map(|counter| integer(counter.first_seq))
        .collect::<Result<Vec<_>, _>>()?;
    let geneses: Vec<Hash> = new.iter().map(|counter| Chain::counter_genesis(&counter.key)).collect();
    let commands = vec![
        Command::Query(PUT_LINES, values![series.clone(), tenants.clone()]),
        Command::Query(
            INSERT_COUNTERS,
            values![
                new.iter()
                    .map(|counter| counter.id.to_string())
                    .collect::<Vec<String>>(),
                series,
                tenants,
                new.iter()
                    .map(|counter| counter.key.partition.to_string())
                    .collect::<Vec<String>>(),
                new.iter()
                    .map(|counter| counter.key.period.as_str())
                    .collect::<Vec<&str>>(),
                first_seqs,
                geneses.iter().map(bytes).collect::<Vec<&[u8]>>(),
            ],
        ),
    ];
    let found = connection.run(commands, within).await?;
    for row in found.last().into_iter().flatten() {
        let mut columns = Columns::new("counter", row);
        let id: CounterId = columns.parsed(str::parse)?;
        let nos = CounterNos {
            counter: columns.integer()?,
            line: columns.integer()?,
        };
        standings.insert(id, Standing { nos, length: 0 });
    }
    match new.iter().find(|counter| !standings.contains_key(&counter.id)) {
        Some(counter) => Err(Fault::damage(format!("counter {} gets no row", counter.key))),
        None => Ok(()),
    }
}

/// The numbers that stand for counters.
struct Numbers<'c> {
    standings: Standings,
    changes: &'c Changes,
}

impl Numbers<'_> {
    /// Nothing for a counter that is neither stored nor there when all is done: a wipe in this batch removed it.
    fn of(&self, id: CounterId) -> Option<CounterNos> {
        self.standings.get(&id).map(|standing| standing.nos)
    }

    /// The number of a chain; the definitions are chain 0.
    fn of_chain(&self, chain: Chain) -> Option<i64> {
        match chain {
            Chain::Definitions => Some(0),
            Chain::Counter(id) => self.of(id).map(|nos| nos.counter),
            // These are written by the ids of their gates.
            Chain::Gate(_) => None,
        }
    }

    /// A counter of a decision is locked, and so it was found; if not, its rows would be lost in silence.
    fn require(&self, id: CounterId) -> Result<Option<CounterNos>, Fault> {
        match self.of(id) {
            Some(nos) => Ok(Some(nos)),
            None if self.changes.list.iter().any(|change| matches!(change, Change::Wipe(_))) => Ok(None),
            None => Err(Fault::damage(format!(
                "counter {id} is to be written and was not loaded"
            ))),
        }
    }
}

/// What is written, by table: what a batch changes twice is written once, as it is in the end.
#[derive(Default)]
struct Writes<'c> {
    new_entries: Vec<&'c Entry>,
    places: HashMap<EntryId, usize>,
    changed_entries: BTreeMap<EntryId, &'c Entry>,
    new_keys: Vec<(&'c KeyRef, &'c KeyBinding)>,
    key_places: HashMap<&'c KeyRef, usize>,
    moved_keys: BTreeMap<&'c KeyRef, &'c KeyBinding>,
    events: Vec<(Chain, &'c Event)>,
    gate_events: Vec<(GateId, &'c Event)>,
    new_missing: BTreeMap<(CounterId, u64), &'c Missing>,
    removed_missing: Vec<(CounterId, &'c Missing)>,
    series: BTreeMap<&'c SeriesName, &'c Series>,
    closures: Vec<&'c Closure>,
    api_keys: Vec<&'c ApiKey>,
    wiped: Vec<&'c SeriesName>,
}

impl<'c> Writes<'c> {
    fn of(changes: &'c Changes) -> Self {
        let mut writes = Self::default();
        changes.list.iter().for_each(|change| writes.add(change));
        writes
    }

    fn add(&mut self, change: &'c Change) {
        match change {
            Change::NewEntry(entry) => {
                self.places.insert(entry.id, self.new_entries.len());
                self.new_entries.push(entry);
            }
            Change::ChangedEntry(entry) => match self.places.get(&entry.id) {
                Some(place) => self.new_entries[*place] = entry,
                None => {
                    self.changed_entries.insert(entry.id, entry);
                }
            },
            Change::NewKey(key, binding) => {
                self.key_places.insert(key, self.new_keys.len());
                self.new_keys.push((key, binding));
            }
            Change::MovedKey(key, binding) => match self.key_places.get(key) {
                Some(place) => self.new_keys[*place] = (key, binding),
                None => {
                    self.moved_keys.insert(key, binding);
                }
            },
            Change::Event(Chain::Gate(id), event) => self.gate_events.push((*id, event)),
            Change::Event(chain, event) => self.events.push((*chain, event)),
            Change::NewMissing(id, run) => {
                self.new_missing.insert((*id, run.first), run);
            }
            Change::RemovedMissing(id, run) => {
                if self.new_missing.remove(&(*id, run.first)).is_none() {
                    self.removed_missing.push((*id, run));
                }
            }
            Change::Series(series) => {
                self.series.insert(&series.name, series);
            }
            Change::Closure(closure) => self.closures.push(closure),
            Change::ApiKey(key) => self.api_keys.push(key),
            Change::Wipe(series) => self.wiped.push(series),
        }
    }

    fn entries(&mut self, numbers: &Numbers<'_>, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
        let mut new = Vec::with_capacity(self.new_entries.len());
        for entry in &self.new_entries {
            new.extend(numbers.require(entry.id.counter)?.map(|nos| (nos, *entry)));
        }
        if !new.is_empty() {
            commands.push(insert_entries(&new)?);
        }
        let mut changed = Vec::with_capacity(self.changed_entries.len());
        for entry in self.changed_entries.values() {
            changed.extend(numbers.require(entry.id.counter)?.map(|nos| (nos, *entry)));
        }
        if !changed.is_empty() {
            commands.push(update_entries(&changed)?);
        }
        Ok(())
    }

    fn keys(&mut self, numbers: &Numbers<'_>, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
        let rows = |keys: &mut dyn Iterator<Item = (&'c KeyRef, &'c KeyBinding)>| {
            let mut rows = Vec::new();
            for (key, binding) in keys {
                let Some(nos) = numbers.require(binding.first.counter)? else {
                    continue;
                };
                let count = i32::try_from(binding.count).map_err(|_| Fault::damage("a key stands for too many"))?;
                rows.push((nos, key.key.as_str(), integer(binding.first.seq)?, count));
            }
            Ok::<_, Fault>(rows)
        };
        for (sql, keys) in [
            (INSERT_KEYS, rows(&mut self.new_keys.iter().copied())?),
            (
                UPDATE_KEYS,
                rows(&mut self.moved_keys.iter().map(|(key, binding)| (*key, *binding)))?,
            ),
        ] {
            if !keys.is_empty() {
                let row = values![
                    column(&keys, |(nos, ..)| nos.line),
                    column(&keys, |(_, key, ..)| *key),
                    column(&keys, |(nos, ..)| nos.counter),
                    column(&keys, |(_, _, seq, _)| *seq),
                    column(&keys, |(.., count)| *count),
                ];
                commands.push(Command::Query(sql, row));
            }
        }
        Ok(())
    }

    fn events(&mut self, numbers: &Numbers<'_>, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
        let mut events = Vec::with_capacity(self.events.len());
        for (chain, event) in &self.events {
            match numbers.of_chain(*chain) {
                Some(no) => events.push((no, *event)),
                None if self.wiped.is_empty() => {
                    return Err(Fault::damage(
                        "an event is to be written of a counter that was not loaded",
                    ));
                }
                None => {}
            }
        }
        if !events.is_empty() {
            commands.push(insert_events(&events)?);
        }
        Ok(())
    }

    fn missing(&mut self, numbers: &Numbers<'_>, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
        let rows = |runs: &mut dyn Iterator<Item = (CounterId, &'c Missing)>| {
            let mut rows: (Vec<i64>, Vec<i64>, Vec<i64>, Vec<&'c str>) = Default::default();
            for (id, run) in runs {
                let Some(nos) = numbers.require(id)? else { continue };
                rows.0.push(nos.counter);
                rows.1.push(integer(run.first)?);
                rows.2.push(integer(run.last)?);
                rows.3.push(run.reason.as_str());
            }
            Ok::<_, Fault>(rows)
        };
        // Before the new ones: a run that is split keeps its first seq.
        let removed = rows(&mut self.removed_missing.iter().copied())?;
        if !removed.0.is_empty() {
            commands.push(Command::Query(DELETE_MISSING, values![removed.0, removed.1, removed.2]));
        }
        let new = rows(&mut self.new_missing.iter().map(|((id, _), run)| (*id, *run)))?;
        if !new.0.is_empty() {
            commands.push(Command::Query(INSERT_MISSING, values![new.0, new.1, new.2, new.3]));
        }
        Ok(())
    }

    fn rest(&mut self, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
        for series in self.series.values() {
            let row = values![series.name.as_str(), integer(series.version)?, series.to_text()];
            commands.push(Command::Query(PUT_SERIES, row));
        }
        for closure in &self.closures {
            let row = values![
                closure.at.series.as_str(),
                closure.at.tenant.as_str(),
                closure.at.period.as_str(),
                closure.closed,
                closure.reason.as_str(),
                closure.actor.as_str(),
                closure.when.as_micros(),
                closure.to_text(),
            ];
            commands.push(Command::Query(PUT_CLOSURE, row));
        }
        for key in &self.api_keys {
            let row = values![key.id.as_str(), key.to_text(), key.revoked_at.map(Timestamp::as_micros)];
            commands.push(Command::Query(PUT_API_KEY, row));
        }
        Ok(())
    }
}

/// A column: what each row has of it.
pub(super) fn column<T, V>(rows: &[T], value: impl Fn(&T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

pub(super) fn integers<T>(rows: &[T], value: impl Fn(&T) -> u64) -> Result<Vec<i64>, Fault> {
    rows.iter().map(|row| integer(value(row))).collect()
}

pub(super) fn integers_if_any<T>(rows: &[T], value: impl Fn(&T) -> Option<u64>) -> Result<Vec<Option<i64>>, Fault> {
    rows.iter().map(|row| value(row).map(integer).transpose()).collect()
}

fn insert_entries<'c>(new: &[(CounterNos, &'c Entry)]) -> Result<Command<'c>, Fault> {
    let row = values![
        column(new, |(nos, _)| nos.counter),
        integers(new, |(_, entry)| entry.id.seq)?,
        column(new, |(nos, _)| nos.line),
        column(new, |(_, entry)| &*entry.number),
        column(new, |(_, entry)| entry.state.as_str()),
        column(new, |(_, entry)| entry.origin.as_str()),
        column(new, |(_, entry)| Day(entry.date)),
        column(new, |(_, entry)| entry.key.as_deref()),
        column(new, |(_, entry)| text_of(&entry.params)),
        column(new, |(_, entry)| entry.reference.as_deref()),
        column(new, |(_, entry)| document(entry)),
        column(new, |(_, entry)| entry.document_sha256.as_ref().map(bytes)),
        column(new, |(_, entry)| entry.taken_at.as_micros()),
        column(new, |(_, entry)| micros(entry.issued_at)),
        column(new, |(_, entry)| micros(entry.expires_at)),
        column(new, |(_, entry)| micros(entry.voided_at)),
        column(new, |(_, entry)| entry.reason_code.as_deref()),
        column(new, |(_, entry)| entry.reason.as_deref()),
        column(new, |(_, entry)| link(entry.replaces)),
        column(new, |(_, entry)| link(entry.replacement)),
        integers(new, |(_, entry)| entry.position)?,
        column(new, |(_, entry)| bytes(&entry.hash)),
    ];
    Ok(Command::Query(INSERT_ENTRIES, row))
}

fn update_entries<'c>(changed: &[(CounterNos, &'c Entry)]) -> Result<Command<'c>, Fault> {
    let row = values![
        column(changed, |(nos, _)| nos.counter),
        integers(changed, |(_, entry)| entry.id.seq)?,
        column(changed, |(_, entry)| entry.state.as_str()),
        column(changed, |(_, entry)| document(entry)),
        column(changed, |(_, entry)| entry.document_sha256.as_ref().map(bytes)),
        column(changed, |(_, entry)| micros(entry.issued_at)),
        column(changed, |(_, entry)| micros(entry.expires_at)),
        column(changed, |(_, entry)| micros(entry.voided_at)),
        column(changed, |(_, entry)| entry.reason_code.as_deref()),
        column(changed, |(_, entry)| entry.reason.as_deref()),
        column(changed, |(_, entry)| link(entry.replaces)),
        column(changed, |(_, entry)| link(entry.replacement)),
        integers(changed, |(_, entry)| entry.position)?,
        column(changed, |(_, entry)| bytes(&entry.hash)),
    ];
    Ok(Command::Query(UPDATE_ENTRIES, row))
}

fn insert_events<'c>(events: &[(i64, &'c Event)]) -> Result<Command<'c>, Fault> {
    let row = values![
        column(events, |(chain, _)| *chain),
        integers(events, |(_, event)| event.position)?,
        column(events, |(_, event)| event.kind.as_str()),
        integers_if_any(events, |(_, event)| event.seq)?,
        integers_if_any(events, |(_, event)| event.seq_last)?,
        column(events, |(_, event)| event.number.as_deref()),
        column(events, |(_, event)| event.date.map(Day)),
        column(events, |(_, event)| event.key.as_deref()),
        column(events, |(_, event)| text_of(&event.params)),
        column(events, |(_, event)| event.reference.as_deref()),
        column(events, |(_, event)| micros(event.expires_at)),
        column(events, |(_, event)| link(event.link)),
        column(events, |(_, event)| event.reason_code.as_deref()),
        column(events, |(_, event)| event.reason.as_deref()),
        column(events, |(_, event)| event.document.as_ref().map(bytes)),
        column(events, |(_, event)| event.actor.as_str()),
        column(events, |(_, event)| event.on_behalf_of.as_deref()),
        column(events, |(_, event)| event.at.as_micros()),
        column(events, |(_, event)| event.detail.as_deref()),
        column(events, |(_, event)| bytes(&event.hash)),
    ];
    Ok(Command::Query(INSERT_EVENTS, row))
}

fn counters<'c>(changes: &'c Changes, numbers: &Numbers<'_>, commands: &mut Vec<Command<'c>>) -> Result<(), Fault> {
    let mut rows = Vec::with_capacity(changes.counters.len());
    for counter in changes.counters.values() {
        if !counter.is_accounted() {
            return Err(Fault::damage(format!(
                "counter {} would not be accounted for",
                counter.key
            )));
        }
        let standing = numbers.standings.get(&counter.id);
        let standing = standing.ok_or_else(|| Fault::damage(format!("counter {} has no row", counter.key)))?;
        rows.push((*standing, &**counter));
    }
    if rows.is_empty() {
        return Ok(());
    }
    // By id, as everybody locks them.
    rows.sort_unstable_by_key(|(_, counter)| counter.id);
    let row = values![
        column(&rows, |(standing, _)| standing.nos.counter),
        integers(&rows, |(_, counter)| counter.first_seq)?,
        integers(&rows, |(_, counter)| counter.last_seq)?,
        column(&rows, |(_, counter)| counter.last_date.map(Day)),
        integers(&rows, |(_, counter)| counter.counts.issued)?,
        integers(&rows, |(_, counter)| counter.counts.reserved)?,
        integers(&rows, |(_, counter)| counter.counts.voided)?,
        integers(&rows, |(_, counter)| counter.counts.missing)?,
        integers(&rows, |(_, counter)| counter.chain.length)?,
        column(&rows, |(_, counter)| bytes(&counter.chain.head)),
        integers(&rows, |(standing, _)| standing.length)?,
    ];
    commands.push(Command::Query(UPDATE_COUNTERS, row));
    Ok(())
}

fn bytes(hash: &Hash) -> &[u8] {
    hash.as_bytes()
}

fn document(entry: &Entry) -> Option<&str> {
    entry.document.as_ref().map(|document| document.as_str())
}

fn text_of(params: &seriatim_core::Params) -> Option<String> {
    (!params.is_empty()).then(|| params.to_string())
}

pub(super) fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

/// The id of another entry, as text: it may be of another counter.
fn link(to: Option<EntryId>) -> Option<String> {
    to.map(|id| id.to_string())
}
