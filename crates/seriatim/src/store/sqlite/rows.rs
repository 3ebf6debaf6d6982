//! Rows as they are stored, and back. This room must never know when or why something is written.

use std::fmt::Display;
use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use seriatim_core::{
    ApiKey, ChainHead, Closure, Counter, CounterId, CounterKey, Counts, Document, Entry, EntryId, Event, EventKind,
    GateId, Hash, Missing, Origin, Params, Period, PeriodRef, Refusal, Series, State, Timestamp,
};

use super::fault::Fault;
use crate::zones::BundledZones;

/// A natural number as SQLite keeps it: 63 bits.
pub(super) fn integer(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::damage(format!("{number} is more than the 63 bits that a column keeps")))
}

/// The columns of a row from left to right, each checked as it is taken; what does not fit is named by table and row.
pub(super) struct Columns<'r, 's> {
    table: &'static str,
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) fn new(table: &'static str, row: &'r Row<'s>) -> Self {
        Self { table, row, next: 0 }
    }

    fn take(&mut self) -> Result<ValueRef<'r>, Fault> {
        self.next += 1;
        Ok(self.row.get_ref(self.next - 1)?)
    }

    /// Damage in the column taken last.
    fn wrong(&self, what: impl Display) -> Fault {
        let column = self
            .row
            .as_ref()
            .column_name(self.next.saturating_sub(1))
            .unwrap_or("?");
        // The first column, or the first two, tell rows apart.
        let id: Vec<String> = (0..2).filter_map(|i| self.row.get_ref(i).ok()).map(shown).collect();
        Fault::in_row(self.table, id.join(" "), format!("column {column} {what}"))
    }

    fn some<T>(&self, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| self.wrong("is null"))
    }

    pub(super) fn integer_if_any(&mut self) -> Result<Option<i64>, Fault> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => Err(self.wrong("is not an integer")),
        }
    }

    pub(super) fn integer(&mut self) -> Result<i64, Fault> {
        let value = self.integer_if_any()?;
        self.some(value)
    }

    pub(super) fn natural_if_any(&mut self) -> Result<Option<u64>, Fault> {
        let number = self.integer_if_any()?.map(u64::try_from).transpose();
        number.map_err(|_| self.wrong("is negative"))
    }

    pub(super) fn natural(&mut self) -> Result<u64, Fault> {
        let value = self.natural_if_any()?;
        self.some(value)
    }

    pub(super) fn text_if_any(&mut self) -> Result<Option<&'r str>, Fault> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            ValueRef::Text(bytes) => {
                let text = std::str::from_utf8(bytes);
                text.map(Some).map_err(|_| self.wrong("is not UTF-8"))
            }
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => Err(self.wrong("is not a text")),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'r str, Fault> {
        let value = self.text_if_any()?;
        self.some(value)
    }

    fn shared_if_any(&mut self) -> Result<Option<Arc<str>>, Fault> {
        Ok(self.text_if_any()?.map(Arc::from))
    }

    /// A text that the core reads back.
    pub(super) fn parsed_if_any<T>(&mut self, parse: fn(&str) -> Result<T, Refusal>) -> Result<Option<T>, Fault> {
        let value = self.text_if_any()?.map(parse).transpose();
        value.map_err(|refusal| self.wrong(format!("does not read: {refusal}")))
    }

    pub(super) fn parsed<T>(&mut self, parse: fn(&str) -> Result<T, Refusal>) -> Result<T, Fault> {
        let value = self.parsed_if_any(parse)?;
        self.some(value)
    }

    pub(super) fn word<T>(&mut self, parse: fn(&str) -> Option<T>) -> Result<T, Fault> {
        let text = self.text()?;
        parse(text).ok_or_else(|| self.wrong(format!("holds `{}`, which is no such word", text.escape_debug())))
    }

    fn bytes_if_any<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Fault> {
        match self.take()? {
            ValueRef::Null => Ok(None),
            ValueRef::Blob(bytes) => {
                let bytes = <[u8; N]>::try_from(bytes).map(Some);
                bytes.map_err(|_| self.wrong(format!("has not {N} bytes")))
            }
            ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => Err(self.wrong("is not a blob")),
        }
    }

    fn hash_if_any(&mut self) -> Result<Option<Hash>, Fault> {
        Ok(self.bytes_if_any()?.map(Hash::from_bytes))
    }

    pub(super) fn hash(&mut self) -> Result<Hash, Fault> {
        let value = self.hash_if_any()?;
        self.some(value)
    }

    pub(super) fn counter_id(&mut self) -> Result<CounterId, Fault> {
        let bytes = self.bytes_if_any()?;
        self.some(bytes).map(CounterId::from_bytes)
    }

    pub(super) fn gate_id(&mut self) -> Result<GateId, Fault> {
        let bytes = self.bytes_if_any()?;
        self.some(bytes).map(GateId::from_bytes)
    }

    pub(super) fn small(&mut self) -> Result<u32, Fault> {
        let number = self.integer()?;
        u32::try_from(number).map_err(|_| self.wrong("is negative or too large"))
    }

    fn time_if_any(&mut self) -> Result<Option<Timestamp>, Fault> {
        Ok(self.integer_if_any()?.map(Timestamp::from_micros))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Fault> {
        let value = self.time_if_any()?;
        self.some(value)
    }

    fn params(&mut self) -> Result<Params, Fault> {
        Ok(self.text_if_any()?.map(Params::stored).unwrap_or_default())
    }
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_string(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).escape_debug().to_string(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The numbers that stand for a counter, and for its tenant in its series, in other rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CounterNos {
    pub(super) counter: i64,
    pub(super) line: i64,
}

/// A counter as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredCounter {
    pub(super) nos: CounterNos,
    pub(super) counter: Counter,
}

/// The id and the key of a counter, which never change.
pub(super) type CounterName = (CounterId, Arc<CounterKey>);

/// The columns `no` to `period` of a counter.
pub(super) fn counter_name(columns: &mut Columns<'_, '_>) -> Result<(i64, CounterName), Fault> {
    let no = columns.integer()?;
    let id = columns.counter_id()?;
    let key = CounterKey {
        series: columns.parsed(seriatim_core::SeriesName::parse)?,
        tenant: columns.parsed(seriatim_core::Tenant::parse)?,
        partition: columns.params()?,
        period: Period::stored(columns.text()?),
    };
    Ok((no, (id, Arc::new(key))))
}

pub(super) fn counter(row: &Row<'_>) -> Result<StoredCounter, Fault> {
    let mut columns = Columns::new("counter", row);
    let (no, (id, key)) = counter_name(&mut columns)?;
    let nos = CounterNos {
        counter: no,
        line: columns.integer()?,
    };
    let counter = Counter {
        key,
        id,
        first_seq: columns.natural()?,
        last_seq: columns.natural()?,
        last_date: columns.parsed_if_any(str::parse)?,
        counts: Counts {
            issued: columns.natural()?,
            reserved: columns.natural()?,
            voided: columns.natural()?,
            missing: columns.natural()?,
        },
        chain: ChainHead {
            length: columns.natural()?,
            head: columns.hash()?,
        },
    };
    if !counter.is_accounted() {
        let what = format!(
            "counter {} is not accounted for: its counts do not add up to its seqs",
            counter.key
        );
        return Err(Fault::in_row("counter", no, what));
    }
    Ok(StoredCounter { nos, counter })
}

/// An entry with the order of its arrival. Its counter is known by a number only; `named` says which that is.
pub(super) fn entry(
    row: &Row<'_>,
    named: impl FnOnce(i64) -> Result<CounterName, Fault>,
) -> Result<(u64, Arc<Entry>), Fault> {
    let mut columns = Columns::new("entry", row);
    let arrival = columns.natural()?;
    let (counter, key) = named(columns.integer()?)?;
    let entry = Entry {
        id: EntryId {
            counter,
            seq: columns.natural()?,
        },
        counter: key,
        number: Arc::from(columns.text()?),
        state: columns.word(State::parse)?,
        origin: columns.word(Origin::parse)?,
        date: columns.parsed(str::parse)?,
        key: columns.parsed_if_any(seriatim_core::Key::parse)?,
        params: columns.params()?,
        reference: columns.parsed_if_any(seriatim_core::Reference::parse)?,
        document_sha256: columns.hash_if_any()?,
        taken_at: columns.time()?,
        issued_at: columns.time_if_any()?,
        expires_at: columns.time_if_any()?,
        voided_at: columns.time_if_any()?,
        reason_code: columns.shared_if_any()?,
        reason: columns.parsed_if_any(seriatim_core::Reason::parse)?,
        replaces: columns.parsed_if_any(str::parse)?,
        replacement: columns.parsed_if_any(str::parse)?,
        position: columns.natural()?,
        hash: columns.hash()?,
        document: columns.text_if_any()?.map(Document::stored),
    };
    Ok((arrival, Arc::new(entry)))
}

pub(super) fn event(row: &Row<'_>) -> Result<Event, Fault> {
    let mut columns = Columns::new("event", row);
    Ok(Event {
        position: columns.natural()?,
        kind: columns.word(EventKind::parse)?,
        seq: columns.natural_if_any()?,
        seq_last: columns.natural_if_any()?,
        number: columns.shared_if_any()?,
        date: columns.parsed_if_any(str::parse)?,
        key: columns.parsed_if_any(seriatim_core::Key::parse)?,
        params: columns.params()?,
        reference: columns.parsed_if_any(seriatim_core::Reference::parse)?,
        expires_at: columns.time_if_any()?,
        link: columns.parsed_if_any(str::parse)?,
        reason_code: columns.shared_if_any()?,
        reason: columns.parsed_if_any(seriatim_core::Reason::parse)?,
        document: columns.hash_if_any()?,
        actor: columns.parsed(seriatim_core::Actor::parse)?,
        on_behalf_of: columns.parsed_if_any(seriatim_core::Actor::parse)?,
        at: columns.time()?,
        detail: columns.shared_if_any()?,
        hash: columns.hash()?,
    })
}

pub(super) fn series(row: &Row<'_>) -> Result<Series, Fault> {
    let mut columns = Columns::new("series", row);
    let name = columns.parsed(seriatim_core::SeriesName::parse)?;
    let version = columns.natural()?;
    let series = Series::from_text(name, version, columns.text()?, &BundledZones);
    series.map_err(|error| columns.wrong(format!("does not read: {error}")))
}

pub(super) fn missing(row: &Row<'_>) -> Result<Missing, Fault> {
    let mut columns = Columns::new("missing", row);
    Ok(Missing {
        first: columns.natural()?,
        last: columns.natural()?,
        reason: columns.parsed(seriatim_core::Reason::parse)?,
    })
}

pub(super) fn closure(row: &Row<'_>) -> Result<Closure, Fault> {
    let mut columns = Columns::new("closure", row);
    let at = PeriodRef {
        series: columns.parsed(seriatim_core::SeriesName::parse)?,
        tenant: columns.parsed(seriatim_core::Tenant::parse)?,
        period: Period::stored(columns.text()?),
    };
    Ok(Closure {
        at,
        closed: columns.integer()? != 0,
        reason: columns.parsed(seriatim_core::Reason::parse)?,
        actor: columns.parsed(seriatim_core::Actor::parse)?,
        when: columns.time()?,
        counters: columns.word(Closure::counters_from_text)?,
    })
}

pub(super) fn api_key(row: &Row<'_>) -> Result<ApiKey, Fault> {
    let mut columns = Columns::new("api_key", row);
    let id = columns.text()?;
    let definition = columns.text()?;
    let revoked_at = columns.time_if_any()?;
    match ApiKey::from_text(definition, revoked_at) {
        Ok(key) if key.id == id => Ok(key),
        Ok(_) => Err(columns.wrong("stands beside the definition of another key")),
        Err(refusal) => Err(columns.wrong(format!("stands beside a definition that does not read: {refusal}"))),
    }
}
