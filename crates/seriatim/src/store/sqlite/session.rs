//! A connection and what it has read: rows become domain types here, for the writer and for readers alike.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Params, Row};
use seriatim_core::{
    ApiKey, Chain, ChainHead, Closure, CounterId, CounterKey, Entry, EntryId, Missing, PeriodRef, Series, SeriesName,
};

use super::datafile::DataFile;
use super::fault::Fault;
use super::rows::{self, Columns, CounterName, CounterNos, StoredCounter, integer};
use crate::store::BatchId;

const FIND_SERIES: &str = include_str!("queries/find_series.sql");
const LIST_SERIES: &str = include_str!("queries/list_series.sql");
const FIND_COUNTER: &str = include_str!("queries/find_counter.sql");
const FIND_COUNTER_BY_ID: &str = include_str!("queries/find_counter_by_id.sql");
const FIND_COUNTER_KEY: &str = include_str!("queries/find_counter_key.sql");
const FIND_COUNTER_NO: &str = include_str!("queries/find_counter_no.sql");
const LIST_PERIOD_COUNTERS: &str = include_str!("queries/list_period_counters.sql");
const FIND_HEIGHT: &str = include_str!("queries/find_height.sql");
const FIND_ENTRY: &str = include_str!("queries/find_entry.sql");
const FIND_MISSING: &str = include_str!("queries/find_missing.sql");
const FIND_CLOSURE: &str = include_str!("queries/find_closure.sql");
const FIND_API_KEY: &str = include_str!("queries/find_api_key.sql");
const FIND_DEFINITIONS_HEAD: &str = include_str!("queries/find_definitions_head.sql");
const FIND_WRITER: &str = include_str!("queries/find_writer.sql");

/// How many counters a session remembers by their number; each takes about 300 bytes.
const COUNTER_NAMES_MAX: usize = 4_096;
/// How many prepared statements are kept; there are fewer.
const STATEMENTS_MAX: usize = 80;

/// A connection with what it remembers.
pub(super) struct Session {
    pub(super) conn: Connection,
    /// A definition takes long to read, and every batch needs it.
    series: RefCell<HashMap<SeriesName, Remembered>>,
    /// A counter's number is never used again, so what was read once stays true.
    counters: RefCell<HashMap<i64, CounterName>>,
    /// Let go of after the connection.
    pub(super) file: DataFile,
}

struct Remembered {
    version: u64,
    definition: String,
    series: Arc<Series>,
}

impl Session {
    pub(super) fn new(conn: Connection, file: DataFile) -> Self {
        conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        Self {
            conn,
            series: RefCell::default(),
            counters: RefCell::default(),
            file,
        }
    }

    /// The first row that a statement finds.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    /// Every row that a statement finds.
    pub(super) fn list<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Runs a statement that finds nothing; says how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize, Fault> {
        Ok(self.conn.prepare_cached(sql)?.execute(params)?)
    }

    /// Reads at one moment, however many statements it takes.
    pub(super) fn at_one_moment<T>(&self, read: impl FnOnce(&Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.run("begin", [])?;
        let found = read(self);
        // Nothing was written, so how it ends cannot matter; an error ended it already.
        let _ = self.run("rollback", []);
        found
    }

    pub(super) fn series_named(&self, name: &SeriesName) -> Result<Option<Arc<Series>>, Fault> {
        self.find(FIND_SERIES, [name.as_str()], |row| self.series_in(row))
    }

    pub(super) fn every_series(&self) -> Result<Vec<Arc<Series>>, Fault> {
        self.list(LIST_SERIES, [], |row| self.series_in(row))
    }

    fn series_in(&self, row: &Row<'_>) -> Result<Arc<Series>, Fault> {
        let mut columns = Columns::new("series", row);
        let (name, version, definition) = (columns.text()?, columns.natural()?, columns.text()?);
        if let Ok(name) = SeriesName::parse(name)
            && let Some(known) = self.series.borrow().get(&name)
            && known.version == version
            && known.definition == definition
        {
            return Ok(known.series.clone());
        }
        let series = Arc::new(rows::series(row)?);
        let definition = definition.to_string();
        let remembered = Remembered {
            version,
            definition,
            series: series.clone(),
        };
        self.series.borrow_mut().insert(series.name.clone(), remembered);
        Ok(series)
    }

    pub(super) fn counter(&self, key: &Arc<CounterKey>) -> Result<Option<StoredCounter>, Fault> {
        let partition = key.partition.to_string();
        let name = [
            key.series.as_str(),
            key.tenant.as_str(),
            key.period.as_str(),
            &partition,
        ];
        self.find(FIND_COUNTER, name, rows::counter)
    }

    pub(super) fn counter_by_id(&self, id: CounterId) -> Result<Option<StoredCounter>, Fault> {
        self.find(FIND_COUNTER_BY_ID, [id.as_bytes()], rows::counter)
    }

    pub(super) fn counter_nos(&self, id: CounterId) -> Result<Option<CounterNos>, Fault> {
        self.find(FIND_COUNTER_NO, [id.as_bytes()], |row| {
            let mut columns = Columns::new("counter", row);
            Ok(CounterNos {
                counter: columns.integer()?,
                line: columns.integer()?,
            })
        })
    }

    pub(super) fn counter_no(&self, id: CounterId) -> Result<Option<i64>, Fault> {
        Ok(self.counter_nos(id)?.map(|nos| nos.counter))
    }

    pub(super) fn period_counters(&self, at: &PeriodRef) -> Result<Vec<StoredCounter>, Fault> {
        let at = [at.series.as_str(), at.tenant.as_str(), at.period.as_str()];
        self.list(LIST_PERIOD_COUNTERS, at, rows::counter)
    }

    pub(super) fn height(&self, series: &SeriesName) -> Result<Option<u64>, Fault> {
        let height = self.find(FIND_HEIGHT, [series.as_str()], |row| {
            Columns::new("counter", row).natural_if_any()
        })?;
        Ok(height.flatten())
    }

    /// What the counter is called that this number stands for.
    pub(super) fn counter_name(&self, no: i64) -> Result<CounterName, Fault> {
        if let Some(name) = self.counters.borrow().get(&no) {
            return Ok(name.clone());
        }
        let found = self.find(FIND_COUNTER_KEY, [no], |row| {
            rows::counter_name(&mut Columns::new("counter", row))
        })?;
        let (_, name) =
            found.ok_or_else(|| Fault::damage(format!("there is no counter {no}, but rows that name it")))?;
        let mut known = self.counters.borrow_mut();
        if known.len() >= COUNTER_NAMES_MAX {
            known.clear();
        }
        known.insert(no, name.clone());
        Ok(name)
    }

    pub(super) fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, Fault> {
        match self.counter_no(id.counter)? {
            Some(no) => self.entry_at(no, id.seq),
            None => Ok(None),
        }
    }

    pub(super) fn entry_at(&self, counter: i64, seq: u64) -> Result<Option<Arc<Entry>>, Fault> {
        let found = self.find(FIND_ENTRY, [counter, integer(seq)?], |row| self.entry_in(row))?;
        Ok(found.map(|(_, entry)| entry))
    }

    pub(super) fn entry_in(&self, row: &Row<'_>) -> Result<(u64, Arc<Entry>), Fault> {
        rows::entry(row, |no| self.counter_name(no))
    }

    /// The run of missing seqs that holds this seq.
    pub(super) fn missing_at(&self, id: EntryId) -> Result<Option<Missing>, Fault> {
        let Some(no) = self.counter_no(id.counter)? else {
            return Ok(None);
        };
        let before = self.find(FIND_MISSING, [no, integer(id.seq)?], rows::missing)?;
        Ok(before.filter(|run| run.last >= id.seq))
    }

    pub(super) fn closure(&self, at: &PeriodRef) -> Result<Option<Arc<Closure>>, Fault> {
        let name = [at.series.as_str(), at.tenant.as_str(), at.period.as_str()];
        self.find(FIND_CLOSURE, name, |row| rows::closure(row).map(Arc::new))
    }

    pub(super) fn api_key(&self, id: &str) -> Result<Option<ApiKey>, Fault> {
        self.find(FIND_API_KEY, [id], rows::api_key)
    }

    pub(super) fn definitions_head(&self) -> Result<ChainHead, Fault> {
        let last = self.find(FIND_DEFINITIONS_HEAD, [], |row| {
            let mut columns = Columns::new("event", row);
            Ok(ChainHead {
                length: columns.natural()?,
                head: columns.hash()?,
            })
        })?;
        Ok(last.unwrap_or_else(|| ChainHead {
            length: 0,
            head: Chain::definitions_genesis(),
        }))
    }

    pub(super) fn last_batch(&self, batch: BatchId) -> Result<Option<u64>, Fault> {
        let lane = [batch.node, i64::from(batch.lane)];
        self.find(FIND_WRITER, lane, |row| Columns::new("writer", row).natural())
    }
}
