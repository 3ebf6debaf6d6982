//! What can be asked, answered from one connection at one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, named_params, params};
use seriatim_core::{
    ApiKey, Chain, Closure, Counter, CounterId, CounterKey, Counts, Date, Entry, EntryId, Event, Finding, KeyRef,
    Missing, SeriesName, State,
};

use super::fault::Fault;
use super::keys::{Keys, others};
use super::open::empty;
use super::rows::{self, Columns, StoredCounter, integer};
use super::session::Session;
use super::tail::Held;
use crate::store::{CounterFilter, Heads, Page, SummaryRow, misfiled_entry, other_line, stray};

const LIST_COUNTERS: &str = include_str!("queries/list_counters.sql");
const PAGE_COUNTERS: &str = include_str!("queries/page_counters.sql");
const COUNT_COUNTERS: &str = include_str!("queries/count_counters.sql");
const PAGE_COUNTERS_OF_TENANTS: &str = include_str!("queries/page_counters_of_tenants.sql");
const LIST_ENTRIES_BY_SEQ: &str = include_str!("queries/list_entries_by_seq.sql");
const LIST_EVENTS: &str = include_str!("queries/list_events.sql");
const LIST_EVENTS_OF_ENTRY: &str = include_str!("queries/list_events_of_entry.sql");
const LIST_MISSING: &str = include_str!("queries/list_missing.sql");
const LIST_CLOSURES: &str = include_str!("queries/list_closures.sql");
const LIST_API_KEYS: &str = include_str!("queries/list_api_keys.sql");
const LIST_ENTRY_STATES: &str = include_str!("queries/list_entry_states.sql");
const LIST_COUNTER_IDS: &str = include_str!("queries/list_counter_ids.sql");
const LIST_MISFILED: &str = include_str!("queries/list_misfiled.sql");
const LIST_SCHEMA: &str = include_str!("queries/list_schema.sql");
const LIST_STRAYS: &str = include_str!("queries/list_strays.sql");
const FIND_LINE_OF_COUNTER: &str = include_str!("queries/find_line_of_counter.sql");

impl Session {
    pub(super) fn counters_page(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, Fault> {
        let skip = filter.cursor.unwrap_or(0);
        // One more than asked for tells whether there is a next page.
        let limit_more = limit.saturating_add(1);
        let mut rows = if filter.tenants.is_empty() {
            self.counters_of_series(filter, limit_more, skip)?
        } else {
            self.counters_of_tenants(filter, limit_more, skip)?
        };
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = more.then(|| skip + rows.len() as u64);
        Ok(Page { rows, next })
    }

    /// Series after series, so that the index gives the order and a page deep in a large one need not sort it.
    fn counters_of_series(&self, filter: &CounterFilter, limit: usize, skip: u64) -> Result<Vec<Counter>, Fault> {
        let period = filter.period.as_ref().map(|period| period.as_str());
        let mut skip = integer(skip)?;
        let mut found = Vec::new();
        for series in self.series_wanted(&filter.series)? {
            if skip > 0 {
                let size = self.find(COUNT_COUNTERS, params![series.as_str(), period], |row| {
                    Columns::new("counter", row).integer()
                })?;
                let size = size.unwrap_or(0);
                if skip >= size {
                    skip -= size;
                    continue;
                }
            }
            let room = rows_max(limit - found.len());
            let params = named_params! { ":series": series.as_str(), ":period": period, ":limit": room, ":skip": skip };
            found.extend(self.list(PAGE_COUNTERS, params, |row| Ok(rows::counter(row)?.counter))?);
            skip = 0;
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn counters_of_tenants(&self, filter: &CounterFilter, limit: usize, skip: u64) -> Result<Vec<Counter>, Fault> {
        let params = named_params! {
            ":series": self.series_json(&filter.series)?,
            ":tenants": json(filter.tenants.iter().map(|tenant| tenant.as_str())),
            ":period": filter.period.as_ref().map(|period| period.as_str()),
            ":limit": rows_max(limit),
            ":skip": integer(skip)?,
        };
        self.list(PAGE_COUNTERS_OF_TENANTS, params, |row| Ok(rows::counter(row)?.counter))
    }

    /// The series of a filter, all of them if it names none, by name.
    fn series_wanted(&self, wanted: &[SeriesName]) -> Result<BTreeSet<SeriesName>, Fault> {
        if !wanted.is_empty() {
            return Ok(wanted.iter().cloned().collect());
        }
        Ok(self.every_series()?.iter().map(|series| series.name.clone()).collect())
    }

    /// The series of a filter as a list, all of them if it names none, so that the index by name can be used.
    pub(super) fn series_json(&self, wanted: &[SeriesName]) -> Result<String, Fault> {
        let wanted = self.series_wanted(wanted)?;
        Ok(json(wanted.iter().map(|name| name.as_str())))
    }

    /// `waiting` holds this key if it waited before the transaction began.
    pub(super) fn entries_of_key(&self, key: &KeyRef, waiting: HashMap<i64, Held>) -> Result<Vec<Arc<Entry>>, Fault> {
        let Some((binding, first)) = Keys::of_reader(self, waiting)?.find(key)? else {
            return Ok(Vec::new());
        };
        let mut entries = vec![first];
        for id in others(&binding) {
            entries.extend(self.entry(id)?);
        }
        Ok(entries)
    }

    pub(super) fn entries_by_seq(
        &self,
        counter: CounterId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, Fault> {
        let Some(no) = self.counter_no(counter)? else {
            return Ok(Vec::new());
        };
        self.list(LIST_ENTRIES_BY_SEQ, [no, seq_max(after), rows_max(limit)], |row| {
            Ok(self.entry_in(row)?.1)
        })
    }

    pub(super) fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, Fault> {
        let no = match chain {
            Chain::Definitions => Some(0),
            Chain::Counter(id) => self.counter_no(id)?,
            Chain::Gate(id) => match self.numbered_gate(id)? {
                Some((no, _)) => Some(-integer(no)?),
                None => None,
            },
        };
        let Some(no) = no else { return Ok(Vec::new()) };
        self.list(LIST_EVENTS, [no, seq_max(after), rows_max(limit)], rows::event)
    }

    pub(super) fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, Fault> {
        let Some(no) = self.counter_no(entry.counter)? else {
            return Ok(Vec::new());
        };
        self.list(LIST_EVENTS_OF_ENTRY, [no, integer(entry.seq)?], rows::event)
    }

    pub(super) fn missing_runs(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, Fault> {
        let Some(no) = self.counter_no(counter)? else {
            return Ok(Vec::new());
        };
        self.list(LIST_MISSING, [no, seq_max(after), rows_max(limit)], rows::missing)
    }

    pub(super) fn closures(&self) -> Result<Vec<Arc<Closure>>, Fault> {
        self.list(LIST_CLOSURES, [], |row| rows::closure(row).map(Arc::new))
    }

    pub(super) fn api_keys(&self) -> Result<Vec<ApiKey>, Fault> {
        self.list(LIST_API_KEYS, [], rows::api_key)
    }

    pub(super) fn heads(&self) -> Result<Heads, Fault> {
        Ok(Heads {
            definitions: self.definitions_head()?,
            counters: self.list(LIST_COUNTERS, [], |row| Ok(rows::counter(row)?.counter))?,
            gates: self.gate_heads()?,
        })
    }

    /// `waiting` holds every key that waited before the transaction began.
    pub(super) fn bound_keys(&self, counter: CounterId, waiting: HashMap<i64, Held>) -> Result<u64, Fault> {
        let Some(StoredCounter { nos, counter }) = self.counter_by_id(counter)? else {
            return Ok(0);
        };
        let is_filed = self.find(FIND_LINE_OF_COUNTER, [nos.counter], |row| {
            Ok(Columns::new("line", row).integer_if_any()? == Some(1))
        })?;
        if is_filed == Some(false) {
            return Err(Fault::damage(other_line(&counter.key)));
        }
        Keys::of_reader(self, waiting)?.count_of(nos.counter, &counter.key.series, &counter.key.tenant)
    }

    pub(super) fn counter_ids(&self) -> Result<BTreeSet<CounterId>, Fault> {
        let ids = self.list(LIST_COUNTER_IDS, [], |row| Columns::new("counter", row).counter_id())?;
        Ok(ids.into_iter().collect())
    }

    pub(super) fn misfiled(&self, counter: CounterId, first: u64, last: u64) -> Result<Vec<Finding>, Fault> {
        let found = self.list(
            LIST_MISFILED,
            params![counter.as_bytes(), integer(first)?, integer(last)?],
            |row| {
                let mut columns = Columns::new("entry", row);
                let seq = columns.natural()?;
                let number = columns.text()?.to_string();
                let in_line = columns.integer()? == 1;
                let has_event = columns.integer()? == 1;
                let entry = EntryId { counter, seq };
                Ok([
                    (!in_line).then(|| misfiled_entry(entry, &number)),
                    (!has_event).then(|| {
                        let message = format!("{number} names another event than the one that made it as its first");
                        Finding::error("entry_misfiled", entry, message)
                    }),
                ])
            },
        )?;
        Ok(found.into_iter().flatten().flatten().collect())
    }

    pub(super) fn own_findings(&self) -> Result<Vec<Finding>, Fault> {
        let mut findings = self.list(LIST_STRAYS, [], |row| {
            let mut columns = Columns::new("stray", row);
            Ok(stray(columns.text()?, columns.natural()?, columns.text_if_any()?))
        })?;
        let (here, wanted) = (schema_of(&self.conn)?, schema_of(&empty()?)?);
        let names: BTreeSet<_> = here.keys().chain(wanted.keys()).collect();
        for name in names.into_iter().filter(|name| here.get(*name) != wanted.get(*name)) {
            let what = match (here.get(name), wanted.get(name)) {
                (None, _) => "is not there any more",
                (_, None) => "is none of this program's",
                (Some(_), Some(_)) => "is not as this program makes it",
            };
            findings.push(Finding::error("schema_changed", name, format!("{name} {what}")));
        }
        Ok(findings)
    }

    pub(super) fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, Fault> {
        let tallies = self.tallies(from, to)?;
        let rows = tallies.into_iter().map(|(no, tally)| {
            let (_, counter) = self.counter_name(no)?;
            Ok(SummaryRow {
                first: self.number(no, tally.first, &counter)?,
                last: self.number(no, tally.last, &counter)?,
                counter,
                counts: tally.counts,
            })
        });
        let mut rows = rows.collect::<Result<Vec<_>, Fault>>()?;
        rows.sort_by(|a, b| a.counter.cmp(&b.counter));
        Ok(rows)
    }

    fn tallies(&self, from: Option<Date>, to: Option<Date>) -> Result<HashMap<i64, Tally>, Fault> {
        let dates = [from, to].map(|date| date.map(|date| date.to_string()));
        let mut tallies: HashMap<i64, Tally> = HashMap::new();
        let mut statement = self.conn.prepare_cached(LIST_ENTRY_STATES)?;
        let mut rows = statement.query(params![dates[0], dates[1]])?;
        while let Some(row) = rows.next()? {
            let mut columns = Columns::new("entry", row);
            let (no, seq) = (columns.integer()?, columns.natural()?);
            let state = columns.word(State::parse)?;
            tallies.entry(no).or_insert_with(|| Tally::begin(seq)).add(seq, state);
        }
        Ok(tallies)
    }

    fn number(&self, no: i64, seq: u64, counter: &CounterKey) -> Result<Arc<str>, Fault> {
        let entry = self.entry_at(no, seq)?;
        let entry = entry.ok_or_else(|| Fault::damage(format!("entry {seq} of counter {counter} is not there")))?;
        Ok(entry.number.clone())
    }
}

/// Tables, indexes and triggers with their statements, without what is only for people.
fn schema_of(conn: &Connection) -> Result<BTreeMap<String, String>, Fault> {
    let mut statement = conn.prepare(LIST_SCHEMA)?;
    let mut rows = statement.query([])?;
    let mut made = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let mut columns = Columns::new("sqlite_schema", row);
        let name = format!("{} {}", columns.text()?, columns.text()?);
        let lines = columns.text()?.lines();
        let words = lines.flat_map(|line| line.split("--").next().unwrap_or_default().split_whitespace());
        made.insert(name, words.collect::<Vec<_>>().join(" "));
    }
    Ok(made)
}

/// What was counted of one counter.
struct Tally {
    first: u64,
    last: u64,
    counts: Counts,
}

impl Tally {
    fn begin(seq: u64) -> Self {
        Self {
            first: seq,
            last: seq,
            counts: Counts::default(),
        }
    }

    fn add(&mut self, seq: u64, state: State) {
        self.first = self.first.min(seq);
        self.last = self.last.max(seq);
        match state {
            State::Issued => self.counts.issued += 1,
            State::Reserved => self.counts.reserved += 1,
            State::Voided => self.counts.voided += 1,
        }
    }
}

/// A list for `json_each`, each text once.
pub(super) fn json<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: BTreeSet<&str> = texts.collect();
    serde_json::Value::from_iter(texts).to_string()
}

/// A limit as SQLite takes it.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A seq or position to begin after; none is above the last one.
fn seq_max(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}
