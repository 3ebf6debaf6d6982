//! A decision becomes rows, in the order it says. This room must never know why.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::params;
use seriatim_core::{
    ApiKey, Chain, Change, Changes, Closure, Counter, CounterId, Entry, Event, GateId, Hash, KeyBinding, KeyRef,
    Missing, Series, SeriesName, Timestamp,
};

use super::append::{NewEntry, NewEvent, Rows, link, put_document};
use super::fault::Fault;
use super::keys::{Bound, Keys};
use super::load::KnownNos;
use super::rows::{Columns, CounterNos, integer};
use super::session::Session;
use super::tail::{Pending, Tail};
use crate::store::BatchId;

const UPDATE_ENTRY: &str = include_str!("queries/update_entry.sql");
const DELETE_DOCUMENT: &str = include_str!("queries/delete_document.sql");
const PUT_LINE: &str = include_str!("queries/put_line.sql");
const INSERT_COUNTER: &str = include_str!("queries/insert_counter.sql");
const UPDATE_COUNTER: &str = include_str!("queries/update_counter.sql");
const INSERT_MISSING: &str = include_str!("queries/insert_missing.sql");
const DELETE_MISSING: &str = include_str!("queries/delete_missing.sql");
const PUT_SERIES: &str = include_str!("queries/put_series.sql");
const PUT_CLOSURE: &str = include_str!("queries/put_closure.sql");
const PUT_API_KEY: &str = include_str!("queries/put_api_key.sql");
const PUT_WRITER: &str = include_str!("queries/put_writer.sql");
const LIST_COUNTER_NOS: &str = include_str!("queries/list_counter_nos.sql");

/// What a wipe removes of each counter, documents before the entries that name them.
const EMPTY_COUNTER: [&str; 4] = [
    include_str!("queries/delete_documents.sql"),
    include_str!("queries/delete_entries.sql"),
    include_str!("queries/delete_events.sql"),
    include_str!("queries/delete_missing_runs.sql"),
];
/// What a wipe removes of a series, last.
const EMPTY_SERIES: [&str; 2] = [
    include_str!("queries/delete_closures.sql"),
    include_str!("queries/delete_counters.sql"),
];

/// Writes a decision and the mark of its batch; the caller commits and then settles what this did to the tail.
pub(super) fn persist(
    session: &Session,
    tail: &Tail,
    batch: BatchId,
    changes: &Changes,
    nos: KnownNos,
) -> Result<Pending, Fault> {
    let mut persisting = Persisting::new(session, tail, changes, nos)?;
    for gate in changes.gates.values() {
        persisting.gates.insert(gate.id, session.put_gate(gate)?);
    }
    for change in &changes.list {
        persisting.change(change)?;
    }
    persisting.write_waiting()?;
    for counter in changes.counters.values() {
        persisting.counter(counter)?;
    }
    session.run(PUT_WRITER, params![batch.node, batch.lane, integer(batch.batch)?])?;
    tail.carry_over(&mut persisting.keys)?;
    Ok(persisting.keys.into_pending())
}

struct Persisting<'s> {
    session: &'s Session,
    entries: Rows<'s, NewEntry<'s>>,
    events: Rows<'s, NewEvent<'s>>,
    /// Each is bound when its entries are written.
    new_keys: Vec<(&'s KeyRef, Bound)>,
    keys: Keys<'s>,
    nos: KnownNos,
    counters: HashMap<CounterId, &'s Counter>,
    /// The numbers that their chains go by.
    gates: HashMap<GateId, i64>,
}

impl<'s> Persisting<'s> {
    fn new(session: &'s Session, tail: &'s Tail, changes: &'s Changes, nos: KnownNos) -> Result<Self, Fault> {
        Ok(Self {
            session,
            entries: Rows::new(session),
            events: Rows::new(session),
            new_keys: Vec::new(),
            keys: Keys::of_writer(session, tail)?,
            nos,
            counters: changes
                .counters
                .values()
                .map(|counter| (counter.id, &**counter))
                .collect(),
            gates: HashMap::new(),
        })
    }

    /// What a number is made of waits for more of its kind; whatever else comes finds it written.
    fn change(&mut self, change: &'s Change) -> Result<(), Fault> {
        if !matches!(change, Change::NewEntry(_) | Change::Event(..) | Change::NewKey(..)) {
            self.write_waiting()?;
        }
        match change {
            Change::NewEntry(entry) => {
                self.on_counter(entry.id.counter, |this, nos| this.entries.add(NewEntry { nos, entry }))
            }
            Change::ChangedEntry(entry) => self.changed_entry(entry),
            Change::NewKey(key, binding) => self.on_counter(binding.first.counter, |this, nos| {
                this.new_keys.push((key, bound(nos.counter, binding)));
                Ok(())
            }),
            Change::MovedKey(key, binding) => self.moved_key(key, binding),
            Change::Event(Chain::Definitions, event) => self.event(0, event),
            Change::Event(Chain::Counter(id), event) => {
                self.on_counter(*id, |this, nos| this.event(nos.counter, event))
            }
            Change::Event(Chain::Gate(id), event) => match self.gates.get(id) {
                Some(no) => self.event(-no, event),
                None => Err(Fault::damage(format!("an event of gate {id} comes without its gate"))),
            },
            Change::NewMissing(id, run) => self.on_counter(*id, |this, nos| this.new_missing(nos.counter, run)),
            Change::RemovedMissing(id, run) => self.on_counter(*id, |this, nos| this.removed_missing(nos.counter, run)),
            Change::Series(series) => self.series(series),
            Change::Closure(closure) => self.closure(closure),
            Change::ApiKey(key) => self.api_key(key),
            Change::Wipe(series) => self.wipe(series),
        }
    }

    fn write_waiting(&mut self) -> Result<(), Fault> {
        self.entries.write()?;
        self.events.write()?;
        let mut new_keys = self.new_keys.drain(..);
        new_keys.try_for_each(|(key, to)| self.keys.bind(key, to))
    }

    /// Does it with the number that stands for this counter.
    fn on_counter(
        &mut self,
        id: CounterId,
        write: impl FnOnce(&mut Self, CounterNos) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match self.nos_of(id)? {
            Some(nos) => write(self, nos),
            // Neither stored nor there when all is done: a wipe later in this batch removes it again.
            None => Ok(()),
        }
    }

    /// The numbers that stand for this counter; a new one gets its row with the first row that names it.
    fn nos_of(&mut self, id: CounterId) -> Result<Option<CounterNos>, Fault> {
        if let Some(nos) = self.nos.get(&id) {
            return Ok(Some(*nos));
        }
        let nos = match (self.session.counter_nos(id)?, self.counters.get(&id)) {
            (Some(nos), _) => nos,
            (None, Some(counter)) => self.new_counter(counter)?,
            (None, None) => return Ok(None),
        };
        self.nos.insert(id, nos);
        Ok(Some(nos))
    }

    fn new_counter(&self, counter: &Counter) -> Result<CounterNos, Fault> {
        let Counter { key, counts, chain, .. } = counter;
        let line = self
            .session
            .find(PUT_LINE, [key.series.as_str(), key.tenant.as_str()], |row| {
                Columns::new("line", row).integer()
            })?;
        let line = line.ok_or_else(|| Fault::damage(format!("counter {key} gets no line")))?;
        self.session.run(
            INSERT_COUNTER,
            params![
                counter.id.as_bytes(),
                key.series.as_str(),
                key.tenant.as_str(),
                key.partition.to_string(),
                key.period.as_str(),
                line,
                integer(counter.first_seq)?,
                integer(counter.last_seq)?,
                counter.last_date.map(|date| date.to_string()),
                integer(counts.issued)?,
                integer(counts.reserved)?,
                integer(counts.voided)?,
                integer(counts.missing)?,
                integer(chain.length)?,
                chain.head.as_bytes(),
            ],
        )?;
        Ok(CounterNos {
            counter: self.session.conn.last_insert_rowid(),
            line,
        })
    }

    fn counter(&mut self, counter: &Counter) -> Result<(), Fault> {
        let Counter { counts, chain, .. } = counter;
        if !counter.is_accounted() {
            return Err(Fault::damage(format!(
                "counter {} would not be accounted for",
                counter.key
            )));
        }
        let no = self.nos_of(counter.id)?.map(|nos| nos.counter);
        let changed = self.session.run(
            UPDATE_COUNTER,
            params![
                no,
                integer(counter.first_seq)?,
                integer(counter.last_seq)?,
                counter.last_date.map(|date| date.to_string()),
                integer(counts.issued)?,
                integer(counts.reserved)?,
                integer(counts.voided)?,
                integer(counts.missing)?,
                integer(chain.length)?,
                chain.head.as_bytes(),
            ],
        )?;
        one(changed, || {
            format!("counter {} cannot be changed: it is not there", counter.key)
        })
    }

    fn changed_entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        self.on_counter(entry.id.counter, |this, nos| {
            let row = params![
                nos.counter,
                integer(entry.id.seq)?,
                entry.state.as_str(),
                entry.document_sha256.as_ref().map(Hash::as_bytes),
                entry.issued_at.map(Timestamp::as_micros),
                entry.expires_at.map(Timestamp::as_micros),
                entry.voided_at.map(Timestamp::as_micros),
                entry.reason_code.as_deref(),
                entry.reason.as_deref(),
                link(entry.replaces),
                link(entry.replacement),
                integer(entry.position)?,
                entry.hash.as_bytes(),
            ];
            let arrival = this
                .session
                .find(UPDATE_ENTRY, row, |row| Columns::new("entry", row).integer())?;
            let arrival = arrival
                .ok_or_else(|| Fault::damage(format!("entry {} cannot be changed: it is not there", entry.id)))?;
            match &entry.document {
                Some(document) => put_document(this.session, arrival, document),
                None => this.session.run(DELETE_DOCUMENT, [arrival]).map(|_| ()),
            }
        })
    }

    fn moved_key(&mut self, key: &KeyRef, binding: &KeyBinding) -> Result<(), Fault> {
        self.on_counter(binding.first.counter, |this, nos| {
            this.keys.rebind(key, bound(nos.counter, binding))
        })
    }

    fn event(&mut self, chain: i64, event: &'s Event) -> Result<(), Fault> {
        self.events.add(NewEvent { chain, event })
    }

    fn new_missing(&mut self, counter: i64, run: &Missing) -> Result<(), Fault> {
        let row = params![counter, integer(run.first)?, integer(run.last)?, run.reason.as_str()];
        self.session.run(INSERT_MISSING, row).map(|_| ())
    }

    fn removed_missing(&mut self, counter: i64, run: &Missing) -> Result<(), Fault> {
        let changed = self.session.run(
            DELETE_MISSING,
            params![counter, integer(run.first)?, integer(run.last)?],
        )?;
        one(changed, || {
            format!(
                "missing seqs {} to {} of counter {counter} are not there",
                run.first, run.last
            )
        })
    }

    fn series(&mut self, series: &Arc<Series>) -> Result<(), Fault> {
        let row = params![series.name.as_str(), integer(series.version)?, series.to_text()];
        self.session.run(PUT_SERIES, row).map(|_| ())
    }

    fn closure(&mut self, closure: &Closure) -> Result<(), Fault> {
        let row = params![
            closure.at.series.as_str(),
            closure.at.tenant.as_str(),
            closure.at.period.as_str(),
            closure.closed,
            closure.reason.as_str(),
            closure.actor.as_str(),
            closure.when.as_micros(),
            closure.to_text(),
        ];
        self.session.run(PUT_CLOSURE, row).map(|_| ())
    }

    fn api_key(&mut self, key: &ApiKey) -> Result<(), Fault> {
        let row = params![key.id, key.to_text(), key.revoked_at.map(Timestamp::as_micros)];
        self.session.run(PUT_API_KEY, row).map(|_| ())
    }

    fn wipe(&mut self, series: &SeriesName) -> Result<(), Fault> {
        let nos = self.session.list(LIST_COUNTER_NOS, [series.as_str()], |row| {
            Columns::new("counter", row).integer()
        })?;
        for no in nos {
            let (_, key) = self.session.counter_name(no)?;
            self.keys.forget(no, series, &key.tenant)?;
            for sql in EMPTY_COUNTER {
                self.session.run(sql, [no])?;
            }
        }
        self.keys.forget_collisions(series)?;
        Tail::step_back(&mut self.keys)?;
        for sql in EMPTY_SERIES {
            self.session.run(sql, [series.as_str()])?;
        }
        // What comes after the wipe begins with new counters.
        self.nos.clear();
        Ok(())
    }
}

fn bound(counter: i64, binding: &KeyBinding) -> Bound {
    Bound {
        counter,
        first: binding.first.seq,
        count: binding.count,
    }
}

fn one(changed: usize, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if changed == 1 {
        Ok(())
    } else {
        Err(Fault::Damage(what()))
    }
}
