//! The two rows that every number costs. Rows of one batch are much alike, and a value that is bound to a statement
//! stays bound: only what differs from the row before is bound anew, which halves the cost of a row.

use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Statement};
use seriatim_core::{Entry, EntryId, Event, Hash, Params, Timestamp};

use super::fault::Fault;
use super::rows::{CounterNos, integer};
use super::session::Session;

const INSERT_ENTRY: &str = include_str!("queries/insert_entry.sql");
const INSERT_EVENT: &str = include_str!("queries/insert_event.sql");

/// New entries.
pub(super) struct Entries<'s> {
    session: &'s Session,
    statement: CachedStatement<'s>,
    last: Option<(CounterNos, &'s Entry)>,
}

impl<'s> Entries<'s> {
    pub(super) fn new(session: &'s Session) -> Result<Self, Fault> {
        let statement = session.conn.prepare_cached(INSERT_ENTRY)?;
        Ok(Self {
            session,
            statement,
            last: None,
        })
    }

    /// Says in which order it arrived.
    pub(super) fn insert(&mut self, nos: CounterNos, entry: &'s Entry) -> Result<i64, Fault> {
        let mut row = Likeness::new(&mut self.statement, (nos, entry), self.last.replace((nos, entry)));
        row.put(|(nos, _)| nos.counter, |no| no)?;
        row.always(integer(entry.id.seq)?)?;
        row.put(|(nos, _)| nos.line, |no| no)?;
        row.always(&*entry.number)?;
        row.put(|(_, entry)| entry.state, |state| state.as_str())?;
        row.put(|(_, entry)| entry.origin, |origin| origin.as_str())?;
        row.put(|(_, entry)| entry.date, |date| date.to_string())?;
        row.put(|(_, entry)| entry.key.as_deref(), |key| key)?;
        row.put(|(_, entry)| &entry.params, text_of)?;
        row.put(|(_, entry)| entry.reference.as_deref(), |reference| reference)?;
        row.put(
            |(_, entry)| entry.document_sha256.as_ref(),
            |hash| hash.map(Hash::as_bytes),
        )?;
        row.put(|(_, entry)| entry.taken_at, Timestamp::as_micros)?;
        row.put(|(_, entry)| entry.issued_at, micros)?;
        row.put(|(_, entry)| entry.expires_at, micros)?;
        row.put(|(_, entry)| entry.voided_at, micros)?;
        row.put(|(_, entry)| entry.reason_code.as_deref(), |code| code)?;
        row.put(|(_, entry)| entry.reason.as_deref(), |reason| reason)?;
        row.put(|(_, entry)| entry.replaces, link)?;
        row.put(|(_, entry)| entry.replacement, link)?;
        row.always(integer(entry.position)?)?;
        row.always(entry.hash.as_bytes())?;
        self.statement.raw_execute()?;
        Ok(self.session.conn.last_insert_rowid())
    }
}

/// New events.
pub(super) struct Events<'s> {
    statement: CachedStatement<'s>,
    last: Option<(i64, &'s Event)>,
}

impl<'s> Events<'s> {
    pub(super) fn new(session: &'s Session) -> Result<Self, Fault> {
        let statement = session.conn.prepare_cached(INSERT_EVENT)?;
        Ok(Self { statement, last: None })
    }

    pub(super) fn insert(&mut self, chain: i64, event: &'s Event) -> Result<(), Fault> {
        let mut row = Likeness::new(&mut self.statement, (chain, event), self.last.replace((chain, event)));
        row.put(|(chain, _)| chain, |chain| chain)?;
        row.always(integer(event.position)?)?;
        row.put(|(_, event)| event.kind, |kind| kind.as_str())?;
        row.always(event.seq.map(integer).transpose()?)?;
        let seq_last = event.seq_last.map(integer).transpose()?;
        row.put(|(_, event)| event.seq_last, |_| seq_last)?;
        row.always(event.number.as_deref())?;
        row.put(|(_, event)| event.date, |date| date.map(|date| date.to_string()))?;
        row.put(|(_, event)| event.key.as_deref(), |key| key)?;
        row.put(|(_, event)| &event.params, text_of)?;
        row.put(|(_, event)| event.reference.as_deref(), |reference| reference)?;
        row.put(|(_, event)| event.expires_at, micros)?;
        row.put(|(_, event)| event.link, link)?;
        row.put(|(_, event)| event.reason_code.as_deref(), |code| code)?;
        row.put(|(_, event)| event.reason.as_deref(), |reason| reason)?;
        row.put(|(_, event)| event.document.as_ref(), |hash| hash.map(Hash::as_bytes))?;
        row.put(|(_, event)| event.actor.as_str(), |actor| actor)?;
        row.put(|(_, event)| event.on_behalf_of.as_deref(), |actor| actor)?;
        row.put(|(_, event)| event.at, Timestamp::as_micros)?;
        row.put(|(_, event)| event.detail.as_deref(), |detail| detail)?;
        row.always(event.hash.as_bytes())?;
        self.statement.raw_execute()?;
        Ok(())
    }
}

/// A row like the one before, column by column.
struct Likeness<'a, 'c, T> {
    statement: &'a mut Statement<'c>,
    this: T,
    last: Option<T>,
    column: usize,
}

impl<'a, 'c, T: Copy> Likeness<'a, 'c, T> {
    fn new(statement: &'a mut Statement<'c>, this: T, last: Option<T>) -> Self {
        Self {
            statement,
            this,
            last,
            column: 0,
        }
    }

    /// The next column, bound if it is not what it was.
    fn put<F: PartialEq, V: ToSql>(&mut self, field: impl Fn(T) -> F, value: impl FnOnce(F) -> V) -> Result<(), Fault> {
        let this = field(self.this);
        if self.last.is_some_and(|last| field(last) == this) {
            self.column += 1;
            return Ok(());
        }
        self.always(value(this))
    }

    /// The next column, bound whatever it was.
    fn always<V: ToSql>(&mut self, value: V) -> Result<(), Fault> {
        self.column += 1;
        Ok(self.statement.raw_bind_parameter(self.column, value)?)
    }
}

fn text_of(params: &Params) -> Option<String> {
    (!params.is_empty()).then(|| params.to_string())
}

fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

/// The id of another entry, as text: it may be of another counter.
pub(super) fn link(to: Option<EntryId>) -> Option<String> {
    to.map(|id| id.to_string())
}
