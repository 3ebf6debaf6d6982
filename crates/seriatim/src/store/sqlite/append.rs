//! The two rows that every number costs. Rows of one batch are much alike, so many of them go into one statement, which
//! takes what they share once: that is a third cheaper than a statement for each.

use std::fmt::Write as _;
use std::sync::OnceLock;

use rusqlite::types::ToSql;
use rusqlite::{CachedStatement, Statement, params};
use seriatim_core::{Entry, EntryId, Event, Hash, Params, Timestamp};

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

    /// Whether what rows share is the same in both.
    fn is_like(self, other: Self) -> bool;

    fn bind_shared(self, to: &mut Binding<'_, '_>) -> Result<(), Fault>;

    fn bind_own(self, to: &mut Binding<'_, '_>) -> Result<(), Fault>;

    /// The row is there; `arrival` is its number.
    fn written(self, _session: &Session, _arrival: i64) -> Result<(), Fault> {
        Ok(())
    }
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
        if self.waiting.last().is_some_and(|last| !last.is_like(row)) {
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
        if bound.is_some_and(|bound| bound.is_like(*first)) {
            binding.last = R::INSERT.shared;
        } else {
            first.bind_shared(&mut binding)?;
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

    fn is_like(self, other: Self) -> bool {
        let (a, b) = (self.entry, other.entry);
        a.taken_at == b.taken_at
            && a.date == b.date
            && a.state == b.state
            && a.origin == b.origin
            && a.issued_at == b.issued_at
            && a.expires_at == b.expires_at
            && a.voided_at == b.voided_at
            && a.reason_code == b.reason_code
            && a.reason == b.reason
            && a.replaces == b.replaces
            && a.replacement == b.replacement
    }

    fn bind_shared(self, to: &mut Binding<'_, '_>) -> Result<(), Fault> {
        let entry = self.entry;
        to.put(entry.state.as_str())?;
        to.put(entry.origin.as_str())?;
        to.put(entry.date.to_string())?;
        to.put(entry.taken_at.as_micros())?;
        to.put(entry.issued_at.map(Timestamp::as_micros))?;
        to.put(entry.expires_at.map(Timestamp::as_micros))?;
        to.put(entry.voided_at.map(Timestamp::as_micros))?;
        to.put(entry.reason_code.as_deref())?;
        to.put(entry.reason.as_deref())?;
        to.put(link(entry.replaces))?;
        to.put(link(entry.replacement))
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
            Some(document) => session
                .run(PUT_DOCUMENT, params![arrival, document.as_str()])
                .map(|_| ()),
            None => Ok(()),
        }
    }
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

    fn is_like(self, other: Self) -> bool {
        let (a, b) = (self.event, other.event);
        a.at == b.at
            && a.date == b.date
            && a.kind == b.kind
            && a.seq_last == b.seq_last
            && a.expires_at == b.expires_at
            && a.link == b.link
            && a.reason_code == b.reason_code
            && a.reason == b.reason
            && a.detail == b.detail
    }

    fn bind_shared(self, to: &mut Binding<'_, '_>) -> Result<(), Fault> {
        let event = self.event;
        to.put(event.kind.as_str())?;
        to.put(event.seq_last.map(integer).transpose()?)?;
        to.put(event.date.map(|date| date.to_string()))?;
        to.put(event.expires_at.map(Timestamp::as_micros))?;
        to.put(link(event.link))?;
        to.put(event.reason_code.as_deref())?;
        to.put(event.reason.as_deref())?;
        to.put(event.at.as_micros())?;
        to.put(event.detail.as_deref())
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

fn text_of(params: &Params) -> Option<String> {
    (!params.is_empty()).then(|| params.to_string())
}

/// The id of another entry, as text: it may be of another counter.
pub(super) fn link(to: Option<EntryId>) -> Option<String> {
    to.map(|id| id.to_string())
}
