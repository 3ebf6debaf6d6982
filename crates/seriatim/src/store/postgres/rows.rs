//! Rows as they are stored, and back. This room must never know when or why something is written.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use seriatim_core::{
    ApiKey, ChainHead, Closure, Counter, CounterId, CounterKey, Counts, Date, Document, Entry, EntryId, Event,
    EventKind, Hash, KeyBinding, KeyRef, Missing, Origin, Params, Period, PeriodRef, Refusal, Series, SeriesName,
    State, Tenant, Timestamp,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::fault::Fault;
use super::params::Day;
use crate::zones::BundledZones;

/// A natural number as PostgreSQL keeps it: 63 bits.
pub(super) fn integer(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::damage(format!("{number} is more than the 63 bits that a column keeps")))
}

/// The columns of a row from left to right, each checked as it is taken; what does not fit is named by table.
pub(super) struct Columns<'r> {
    table: &'static str,
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(table: &'static str, row: &'r Row) -> Self {
        Self { table, row, next: 0 }
    }

    fn take<T: FromSql<'r>>(&mut self) -> Result<Option<T>, Fault> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| self.wrong(error))
    }

    /// Damage in the column taken last.
    fn wrong(&self, what: impl Display) -> Fault {
        let columns = self.row.columns();
        let column = columns
            .get(self.next.saturating_sub(1))
            .map_or("?", |column| column.name());
        // The first column, or the first two, tell rows apart.
        let shown = |i| {
            let number = self
                .row
                .try_get::<_, Option<i64>>(i)
                .ok()
                .flatten()
                .map(|number| number.to_string());
            number.or_else(|| self.row.try_get::<_, Option<String>>(i).ok().flatten())
        };
        let id: Vec<String> = (0..columns.len().min(2)).filter_map(shown).collect();
        Fault::in_row(self.table, id.join(" "), format!("column {column} {what}"))
    }

    fn some<T>(&self, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| self.wrong("is null"))
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Fault> {
        let value = self.take()?;
        self.some(value)
    }

    pub(super) fn small(&mut self) -> Result<i32, Fault> {
        let value = self.take()?;
        self.some(value)
    }

    pub(super) fn integer_if_any(&mut self) -> Result<Option<i64>, Fault> {
        self.take()
    }

    pub(super) fn integer(&mut self) -> Result<i64, Fault> {
        let value = self.take()?;
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
        self.take()
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

    fn hash_if_any(&mut self) -> Result<Option<Hash>, Fault> {
        let bytes: Option<&[u8]> = self.take()?;
        let hash = bytes.map(<[u8; 32]>::try_from).transpose();
        hash.map(|bytes| bytes.map(Hash::from_bytes))
            .map_err(|_| self.wrong("has not 32 bytes"))
    }

    pub(super) fn hash(&mut self) -> Result<Hash, Fault> {
        let value = self.hash_if_any()?;
        self.some(value)
    }

    fn date_if_any(&mut self) -> Result<Option<Date>, Fault> {
        Ok(self.take::<Day>()?.map(|day| day.0))
    }

    fn date(&mut self) -> Result<Date, Fault> {
        let value = self.date_if_any()?;
        self.some(value)
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

/// Counters by their number, so that the rows of one page share their counter's key.
#[derive(Default)]
pub(super) struct Names(HashMap<i64, (CounterId, Arc<CounterKey>)>);

impl Names {
    /// The columns `no` to `period` of a counter.
    fn take(&mut self, columns: &mut Columns<'_>) -> Result<(i64, CounterId, Arc<CounterKey>), Fault> {
        let no = columns.integer()?;
        if let Some((id, key)) = self.0.get(&no) {
            columns.next += 5;
            return Ok((no, *id, key.clone()));
        }
        let id = columns.parsed(str::parse)?;
        let key = Arc::new(CounterKey {
            series: columns.parsed(SeriesName::parse)?,
            tenant: columns.parsed(Tenant::parse)?,
            partition: columns.params()?,
            period: Period::stored(columns.text()?),
        });
        self.0.insert(no, (id, key.clone()));
        Ok((no, id, key))
    }
}

pub(super) fn counter(row: &Row) -> Result<StoredCounter, Fault> {
    let mut columns = Columns::new("counter", row);
    let (no, id, key) = Names::default().take(&mut columns)?;
    let nos = CounterNos {
        counter: no,
        line: columns.integer()?,
    };
    let counter = Counter {
        key,
        id,
        first_seq: columns.natural()?,
        last_seq: columns.natural()?,
        last_date: columns.date_if_any()?,
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

/// An entry with the order of its arrival. Columns before it were taken by the caller.
fn entry_in(columns: &mut Columns<'_>, names: &mut Names) -> Result<(u64, Arc<Entry>), Fault> {
    let (_, counter, key) = names.take(columns)?;
    let arrival = columns.natural()?;
    let entry = Entry {
        id: EntryId {
            counter,
            seq: columns.natural()?,
        },
        counter: key,
        number: Arc::from(columns.text()?),
        state: columns.word(State::parse)?,
        origin: columns.word(Origin::parse)?,
        date: columns.date()?,
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

/// An entry with the order of its arrival.
pub(super) fn entry(row: &Row, names: &mut Names) -> Result<(u64, Arc<Entry>), Fault> {
    entry_in(&mut Columns::new("entry", row), names)
}

/// One of the entries that a key stands for, with the place of the key in what was asked.
pub(super) struct KeyedEntry {
    pub(super) place: usize,
    pub(super) binding: KeyBinding,
    pub(super) entry: Arc<Entry>,
}

pub(super) fn keyed_entry(row: &Row, names: &mut Names) -> Result<KeyedEntry, Fault> {
    let mut columns = Columns::new("key", row);
    let place = usize::try_from(columns.integer()?).map_err(|_| columns.wrong("is no place"))?;
    let first = columns.natural()?;
    let count = u32::try_from(columns.small()?).map_err(|_| columns.wrong("is negative"))?;
    let (_, entry) = entry_in(&mut columns, names)?;
    let first = EntryId {
        counter: entry.id.counter,
        seq: first,
    };
    Ok(KeyedEntry {
        place,
        binding: KeyBinding { first, count },
        entry,
    })
}

/// The texts of keys, for a statement.
pub(super) fn key_texts<'a>(keys: impl IntoIterator<Item = &'a KeyRef>) -> (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>) {
    let mut texts = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        texts.0.push(key.series.as_str());
        texts.1.push(key.tenant.as_str());
        texts.2.push(key.key.as_str());
    }
    texts
}

pub(super) fn event(row: &Row) -> Result<Event, Fault> {
    let mut columns = Columns::new("event", row);
    Ok(Event {
        position: columns.natural()?,
        kind: columns.word(EventKind::parse)?,
        seq: columns.natural_if_any()?,
        seq_last: columns.natural_if_any()?,
        number: columns.shared_if_any()?,
        date: columns.date_if_any()?,
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

/// The name, the version and the text of a definition.
pub(super) fn definition(row: &Row) -> Result<(SeriesName, u64, &str), Fault> {
    let mut columns = Columns::new("series", row);
    Ok((columns.parsed(SeriesName::parse)?, columns.natural()?, columns.text()?))
}

pub(super) fn series(name: &SeriesName, version: u64, text: &str) -> Result<Series, Fault> {
    Series::from_text(name.clone(), version, text, &BundledZones)
        .map_err(|error| Fault::in_row("series", name, format!("column definition does not read: {error}")))
}

/// A run of missing seqs, after the columns that the caller took.
pub(super) fn missing_in(columns: &mut Columns<'_>) -> Result<Missing, Fault> {
    Ok(Missing {
        first: columns.natural()?,
        last: columns.natural()?,
        reason: columns.parsed(seriatim_core::Reason::parse)?,
    })
}

pub(super) fn missing(row: &Row) -> Result<Missing, Fault> {
    missing_in(&mut Columns::new("missing", row))
}

pub(super) fn closure(row: &Row) -> Result<Closure, Fault> {
    let mut columns = Columns::new("closure", row);
    let at = PeriodRef {
        series: columns.parsed(SeriesName::parse)?,
        tenant: columns.parsed(Tenant::parse)?,
        period: Period::stored(columns.text()?),
    };
    Ok(Closure {
        at,
        closed: columns.boolean()?,
        reason: columns.parsed(seriatim_core::Reason::parse)?,
        actor: columns.parsed(seriatim_core::Actor::parse)?,
        when: columns.time()?,
        counters: columns.word(Closure::counters_from_text)?,
    })
}

pub(super) fn api_key(row: &Row) -> Result<ApiKey, Fault> {
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

pub(super) fn definitions_head(rows: &[Row]) -> Result<ChainHead, Fault> {
    let Some(row) = rows.first() else {
        return Ok(ChainHead {
            length: 0,
            head: seriatim_core::Chain::definitions_genesis(),
        });
    };
    let mut columns = Columns::new("event", row);
    Ok(ChainHead {
        length: columns.natural()?,
        head: columns.hash()?,
    })
}

pub(super) fn summary(row: &Row) -> Result<crate::store::SummaryRow, Fault> {
    let mut columns = Columns::new("entry", row);
    let (_, _, counter) = Names::default().take(&mut columns)?;
    Ok(crate::store::SummaryRow {
        counter,
        first: Arc::from(columns.text()?),
        last: Arc::from(columns.text()?),
        counts: Counts {
            issued: columns.natural()?,
            reserved: columns.natural()?,
            voided: columns.natural()?,
            missing: 0,
        },
    })
}
