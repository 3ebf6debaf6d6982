//! The two rows that every number costs. Rows of one batch are much alike, so many of them go into one statement, which
//! takes what they share once: that is a third cheaper than a statement for each.

use std::fmt::Write as _;
use std::sync::OnceLock;

use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Statement, params};
use seriatim_core::{Document, Entry, EntryId, Event, Hash, Params, Timestamp};

use super::fault::Fault;
use super::rows::{CounterNos, integer};
use super::session::Session;

const PUT_DOCUMENT: &str = include_str!("queries/put_document.sql");

/// How many rows one statement takes; as many as wait, the largest first.
const SIZES: [usize; 3] = [16, 4, 1];

/// The statements of a table, one for each of [`SIZES`]; the first parameters are shared by all rows.
pub(super) struct Insert {
    one_row: &'static str,
    shared: usize,
    own: usize,
    texts: OnceLock<[String; SIZES.len()]>,
}

impl Insert {
    const fn new(one_row: &'static str, shared: usize, own: usize) -> Self {
        Self {
            one_row,
            shared,
            own,
            texts: OnceLock::new(),
        }
    }

    fn text(&self, size: usize) -> &str {
        &self.texts.get_or_init(|| SIZES.map(|rows| self.text_for(rows)))[size]
    }

    fn text_for(&self, rows: usize) -> String {
        let (head, row) = self.one_row.split_at(self.one_row.rfind('(').unwrap_or(0));
        let mut text = head.to_string();
        for i in 0..rows {
            text.push_str(if i == 0 { "" } else { ", " });
            let mut pieces = row.trim_end().split('?');
            text.push_str(pieces.next().unwrap_or_default());
            for piece in pieces {
                let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
                let (number, rest) = piece.split_at(end);
                let number: usize = number.parse().unwrap_or(0);
                let number = if number > self.shared {
                    number + i * self.own
                } else {
                    number
                };
                // Writing to a String cannot fail.
                let _ = write!(text, "?{number}{rest}");
            }
        }
        text
    }
}

/// A row of one of the two tables.
pub(super) trait Row: Copy {
    const INSERT: &'static Insert;

    /// The columns that rows of one statement share, in the order of its parameters.
    fn shared(columns: &mut impl Columns<Self>) -> Result<(), Fault>;

    fn bind_own(self, to: &mut Binding<'_, '_>) -> Result<(), Fault>;

    /// The row is there; `arrival` is its number.
    fn written(self, _session: &Session, _arrival: i64) -> Result<(), Fault> {
        Ok(())
    }
}

/// What is done with columns that rows may share.
pub(super) trait Columns<R> {
    fn column<F: PartialEq, V: ToSql>(
        &mut self,
        field: impl Fn(R) -> F,
        value: impl FnOnce(F) -> Result<V, Fault>,
    ) -> Result<(), Fault>;
}

/// Looks whether two rows have the same in all of them.
struct Comparing<R> {
    rows: (R, R),
    alike: bool,
}

impl<R: Row> Columns<R> for Comparing<R> {
    fn column<F: PartialEq, V: ToSql>(
        &mut self,
        field: impl Fn(R) -> F,
        _value: impl FnOnce(F) -> Result<V, Fault>,
    ) -> Result<(), Fault> {
        self.alike = self.alike && field(self.rows.0) == field(self.rows.1);
        Ok(())
    }
}

/// Binds those of a row.
struct BindingShared<'b, 'a, 'c, R> {
    row: R,
    to: &'b mut Binding<'a, 'c>,
}

impl<R: Row> Columns<R> for BindingShared<'_, '_, '_, R> {
    fn column<F: PartialEq, V: ToSql>(
        &mut self,
        field: impl Fn(R) -> F,
        value: impl FnOnce(F) -> Result<V, Fault>,
    ) -> Result<(), Fault> {
        self.to.put(value(field(self.row))?)
    }
}

fn alike<R: Row>(one: R, other: R) -> Result<bool, Fault> {
    let mut comparing = Comparing {
        rows: (one, other),
        alike: true,
    };
    R::shared(&mut comparing)?;
    Ok(comparing.alike)
}

/// The parameters of a statement, one after the other.
pub(super) struct Binding<'a, 'c> {
    statement: &'a mut Statement<'c>,
    last: usize,
}

impl Binding<'_, '_> {
    fn put(&mut self, value: impl ToSql) -> Result<(), Fault> {
        self.last += 1;
        Ok(self.statement.raw_bind_parameter(self.last, value)?)
    }
}

/// A statement with the row whose shared values are bound to it.
type Bound<'s, R> = (CachedStatement<'s>, R);

/// Rows of one table that wait until a statement is full, or somebody must find them written.
pub(super) struct Rows<'s, R> {
    session: &'s Session,
    statements: [Option<Bound<'s, R>>; SIZES.len()],
    waiting: Vec<R>,
}

impl<'s, R: Row> Rows<'s, R> {
    pub(super) fn new(session: &'s Session) -> Self {
        Self {
            session,
            statements: Default::default(),
            waiting: Vec::with_capacity(SIZES[0]),
        }
    }

    pub(super) fn add(&mut self, row: R) -> Result<(), Fault> {
        if let Some(last) = self.waiting.last()
            && !alike(*last, row)?
        {
            self.write()?;
        }
        self.waiting.push(row);
        if self.waiting.len() == SIZES[0] {
            self.write()?;
        }
        Ok(())
    }

    /// Writes all that wait.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        for (size, rows) in SIZES.into_iter().enumerate() {
            while let Some((now, later)) = rest.split_at_checked(rows) {
                self.write_together(size, now)?;
                rest = later;
            }
        }
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }

    fn write_together(&mut self, size: usize, rows: &[R]) -> Result<(), Fault> {
        let Some(first) = rows.first() else { return Ok(()) };
        let (mut statement, bound) = match self.statements[size].take() {
            Some((statement, bound)) => (statement, Some(bound)),
            None => (self.session.conn.prepare_cached(R::INSERT.text(size))?, None),
        };
        let mut binding = Binding {
            statement: &mut statement,
            last: 0,
        };
        match bound {
            Some(bound) if alike(bound, *first)? => binding.last = R::INSERT.shared,
            Some(_) | None => R::shared(&mut BindingShared {
                row: *first,
                to: &mut binding,
            })?,
        }
        for row in rows {
            row.bind_own(&mut binding)?;
        }
        statement.raw_execute()?;
        self.statements[size] = Some((statement, *first));
        // The rows of one statement get numbers in a row.
        let arrivals = (0..=self.session.conn.last_insert_rowid()).rev();
        let mut pairs = rows.iter().rev().zip(arrivals);
        pairs.try_for_each(|(row, arrival)| row.written(self.session, arrival))
    }
}

static ENTRIES: Insert = Insert::new(include_str!("queries/insert_entry.sql"), 11, 10);

/// A new entry.
#[derive(Clone, Copy)]
pub(super) struct NewEntry<'s> {
    pub(super) nos: CounterNos,
    pub(super) entry: &'s Entry,
}

impl Row for NewEntry<'_> {
    const INSERT: &'static Insert = &ENTRIES;

    fn shared(columns: &mut impl Columns<Self>) -> Result<(), Fault> {
        columns.column(|row| row.entry.state, |state| Ok(state.as_str()))?;
        columns.column(|row| row.entry.origin, |origin| Ok(origin.as_str()))?;
        columns.column(|row| row.entry.date, |date| Ok(date.to_string()))?;
        columns.column(|row| row.entry.taken_at, |at| Ok(at.as_micros()))?;
        columns.column(|row| row.entry.issued_at, micros)?;
        columns.column(|row| row.entry.expires_at, micros)?;
        columns.column(|row| row.entry.voided_at, micros)?;
        columns.column(|row| row.entry.reason_code.as_deref(), Ok)?;
        columns.column(|row| row.entry.reason.as_deref(), Ok)?;
        columns.column(|row| row.entry.replaces, |to| Ok(link(to)))?;
        columns.column(|row| row.entry.replacement, |to| Ok(link(to)))
    }

    fn bind_own(self, to: &mut Binding<'_, '_>) -> Result<(), Fault> {
        let entry = self.entry;
        to.put(self.nos.counter)?;
        to.put(integer(entry.id.seq)?)?;
        to.put(self.nos.line)?;
        to.put(&*entry.number)?;
        to.put(entry.key.as_deref())?;
        to.put(text_of(&entry.params))?;
        to.put(entry.reference.as_deref())?;
        to.put(entry.document_sha256.as_ref().map(Hash::as_bytes))?;
        to.put(integer(entry.position)?)?;
        to.put(entry.hash.as_bytes())
    }

    fn written(self, session: &Session, arrival: i64) -> Result<(), Fault> {
        match &self.entry.document {
            Some(document) => put_document(session, arrival, document),
            None => Ok(()),
        }
    }
}

pub(super) fn put_document(session: &Session, arrival: i64, document: &Document) -> Result<(), Fault> {
    let row = params![arrival, document.as_str()];
    session.run(PUT_DOCUMENT, row).map(|_| ())
}

static EVENTS: Insert = Insert::new(include_str!("queries/insert_event.sql"), 9, 11);

/// A new event.
#[derive(Clone, Copy)]
pub(super) struct NewEvent<'s> {
    pub(super) chain: i64,
    pub(super) event: &'s Event,
}

impl Row for NewEvent<'_> {
    const INSERT: &'static Insert = &EVENTS;

    fn shared(columns: &mut impl Columns<Self>) -> Result<(), Fault> {
        columns.column(|row| row.event.kind, |kind| Ok(kind.as_str()))?;
        columns.column(|row| row.event.seq_last, |seq| seq.map(integer).transpose())?;
        columns.column(|row| row.event.date, |date| Ok(date.map(|date| date.to_string())))?;
        columns.column(|row| row.event.expires_at, micros)?;
        columns.column(|row| row.event.link, |to| Ok(link(to)))?;
        columns.column(|row| row.event.reason_code.as_deref(), Ok)?;
        columns.column(|row| row.event.reason.as_deref(), Ok)?;
        columns.column(|row| row.event.at, |at| Ok(at.as_micros()))?;
        columns.column(|row| row.event.detail.as_deref(), Ok)
    }

    fn bind_own(self, to: &mut Binding<'_, '_>) -> Result<(), Fault> {
        let event = self.event;
        to.put(self.chain)?;
        to.put(integer(event.position)?)?;
        to.put(event.seq.map(integer).transpose()?)?;
        to.put(event.number.as_deref())?;
        to.put(event.key.as_deref())?;
        to.put(text_of(&event.params))?;
        to.put(event.reference.as_deref())?;
        to.put(event.document.as_ref().map(Hash::as_bytes))?;
        to.put(event.actor.as_str())?;
        to.put(event.on_behalf_of.as_deref())?;
        to.put(event.hash.as_bytes())
    }
}

fn micros(at: Option<Timestamp>) -> Result<Option<i64>, Fault> {
    Ok(at.map(Timestamp::as_micros))
}

fn text_of(params: &Params) -> Option<String> {
    (!params.is_empty()).then(|| params.to_string())
}

/// The id of another entry, as text: it may be of another counter.
pub(super) fn link(to: Option<EntryId>) -> Option<String> {
    to.map(|id| id.to_string())
}
