//! What a decision must see, read within the transaction that will write it. Each thing that was asked for is
//! answered, with nothing if it is not there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use seriatim_core::{Counter, CounterId, CounterKey, Footprint, KeyRef, PeriodRef, SeriesName, Snapshot};
use tokio_postgres::Row;

use super::connection::Command;
use super::definitions::Definitions;
use super::fault::Fault;
use super::gates::{self, LOAD_GATES};
use super::params::values;
use super::rows::{self, Columns, CounterNos, Names, StoredCounter, integer};

const LOAD_SERIES: &str = include_str!("queries/load_series.sql");
const LOAD_HEIGHTS: &str = include_str!("queries/load_heights.sql");
const LOAD_PERIOD_COUNTERS: &str = include_str!("queries/load_period_counters.sql");
const LOAD_KEYS: &str = include_str!("queries/load_keys.sql");
const LOAD_ENTRIES: &str = include_str!("queries/load_entries.sql");
const LOAD_MISSING: &str = include_str!("queries/load_missing.sql");
const LOAD_CLOSURES: &str = include_str!("queries/load_closures.sql");
const LOAD_API_KEYS: &str = include_str!("queries/load_api_keys.sql");
const FIND_DEFINITIONS_HEAD: &str = include_str!("queries/find_definitions_head.sql");

/// Where a counter stands, as this transaction found it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) nos: CounterNos,
    /// How long its chain was.
    pub(super) length: u64,
}

/// The counters that this transaction has found.
pub(super) type Standings = HashMap<CounterId, Standing>;

/// The counters that a footprint names by their ids only.
pub(super) fn ids_named(footprint: &Footprint) -> BTreeSet<CounterId> {
    let entries = footprint.entries.iter().chain(&footprint.missing);
    entries.map(|id| id.counter).collect()
}

/// What is being loaded, in the order of the statements that load it.
pub(super) struct Loading<'a> {
    footprint: &'a Footprint,
    keys: Vec<&'a KeyRef>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Series,
    Heights,
    PeriodCounters,
    Keys,
    Entries,
    Missing,
    Closures,
    Gates,
    ApiKeys,
    Definitions,
}

impl<'a> Loading<'a> {
    pub(super) fn new(footprint: &'a Footprint) -> Self {
        Self {
            footprint,
            keys: footprint.keys.iter().collect(),
            parts: Vec::new(),
        }
    }

    /// The statements; only those that are needed. What is named twice is found by its id.
    pub(super) fn commands(&mut self) -> Result<Vec<Command<'a>>, Fault> {
        let footprint = self.footprint;
        let mut commands = Vec::new();
        let mut load = |part, sql, params| {
            self.parts.push(part);
            commands.push(Command::Query(sql, params));
        };
        let ids: Vec<String> = ids_named(footprint).iter().map(ToString::to_string).collect();
        if !footprint.series.is_empty() || !ids.is_empty() {
            load(
                Part::Series,
                LOAD_SERIES,
                values![names(&footprint.series), ids.clone()],
            );
        }
        if !footprint.heights.is_empty() {
            load(Part::Heights, LOAD_HEIGHTS, values![names(&footprint.heights)]);
        }
        if !footprint.period_counters.is_empty() {
            let (series, tenants, periods) = periods(&footprint.period_counters);
            load(
                Part::PeriodCounters,
                LOAD_PERIOD_COUNTERS,
                values![series, tenants, periods],
            );
        }
        if !self.keys.is_empty() {
            let (series, tenants, keys) = rows::key_texts(self.keys.iter().copied());
            load(Part::Keys, LOAD_KEYS, values![series, tenants, keys]);
        }
        if !footprint.entries.is_empty() {
            let (counters, seqs) = places(&footprint.entries)?;
            load(Part::Entries, LOAD_ENTRIES, values![counters, seqs]);
        }
        if !footprint.missing.is_empty() {
            let (counters, seqs) = places(&footprint.missing)?;
            load(Part::Missing, LOAD_MISSING, values![counters, seqs]);
        }
        if !footprint.closures.is_empty() || !ids.is_empty() {
            let (series, tenants, periods) = periods(&footprint.closures);
            load(Part::Closures, LOAD_CLOSURES, values![series, tenants, periods, ids]);
        }
        if !footprint.gates.is_empty() {
            let ids: Vec<String> = footprint.gates.iter().map(ToString::to_string).collect();
            load(Part::Gates, LOAD_GATES, values![ids]);
        }
        if !footprint.api_keys.is_empty() {
            let ids: Vec<&str> = footprint.api_keys.iter().map(String::as_str).collect();
            load(Part::ApiKeys, LOAD_API_KEYS, values![ids]);
        }
        if footprint.definitions {
            load(Part::Definitions, FIND_DEFINITIONS_HEAD, values![]);
        }
        Ok(commands)
    }

    /// What the statements found, and the counters that were locked before them.
    pub(super) fn snapshot(
        &self,
        found: &[Vec<Row>],
        locked: &BTreeMap<CounterId, StoredCounter>,
        definitions: &Definitions,
    ) -> Result<(Snapshot, Standings), Fault> {
        let mut loaded = Loaded {
            footprint: self.footprint,
            held: Snapshot::default(),
            standings: Standings::new(),
            names: Names::default(),
        };
        loaded.nothing(&self.keys);
        loaded.counters(locked);
        for (part, rows) in self.parts.iter().zip(found) {
            match part {
                Part::Series => loaded.series(rows, definitions)?,
                Part::Heights => loaded.heights(rows)?,
                Part::PeriodCounters => loaded.period_counters(rows)?,
                Part::Keys => loaded.keys(rows, &self.keys)?,
                Part::Entries => loaded.entries(rows)?,
                Part::Missing => loaded.missing(rows)?,
                Part::Closures => loaded.closures(rows)?,
                Part::Gates => loaded.gates(rows)?,
                Part::ApiKeys => loaded.api_keys(rows)?,
                Part::Definitions => loaded.held.definitions = Some(rows::definitions_head(rows)?),
            }
        }
        Ok((loaded.held, loaded.standings))
    }
}

struct Loaded<'a> {
    footprint: &'a Footprint,
    held: Snapshot,
    standings: Standings,
    names: Names,
}

impl Loaded<'_> {
    /// Everything that was looked for is not there, unless a row says otherwise.
    fn nothing(&mut self, keys: &[&KeyRef]) {
        let (footprint, held) = (self.footprint, &mut self.held);
        held.series = footprint.series.iter().map(|name| (name.clone(), None)).collect();
        held.heights = footprint.heights.iter().map(|name| (name.clone(), None)).collect();
        held.counters = footprint.counters.iter().map(|key| (key.clone(), None)).collect();
        held.keys = keys.iter().map(|key| ((*key).clone(), None)).collect();
        held.entries = footprint.entries.iter().map(|id| (*id, None)).collect();
        held.missing_asked.clone_from(&footprint.missing);
        held.closures = footprint.closures.iter().map(|at| (at.clone(), None)).collect();
        held.period_counters = footprint
            .period_counters
            .iter()
            .map(|at| (at.clone(), Vec::new()))
            .collect();
        held.gates = footprint.gates.iter().map(|id| (*id, None)).collect();
        held.api_keys = footprint.api_keys.iter().map(|id| (id.clone(), None)).collect();
    }

    /// Also those that were named by their ids only: their rules will be asked for, and whether they are closed.
    fn counters(&mut self, locked: &BTreeMap<CounterId, StoredCounter>) {
        for stored in locked.values() {
            self.counter(stored.clone());
        }
        for stored in ids_named(self.footprint).iter().filter_map(|id| locked.get(id)) {
            self.held.closures.entry(period_of(&stored.counter.key)).or_default();
        }
    }

    fn counter(&mut self, stored: StoredCounter) -> Arc<Counter> {
        let counter = Arc::new(stored.counter);
        let standing = Standing {
            nos: stored.nos,
            length: counter.chain.length,
        };
        self.standings.insert(counter.id, standing);
        self.held.counters.insert(counter.key.clone(), Some(counter.clone()));
        counter
    }

    fn series(&mut self, rows: &[Row], definitions: &Definitions) -> Result<(), Fault> {
        for row in rows {
            let series = definitions.series(row)?;
            self.held.series.insert(series.name.clone(), Some(series));
        }
        Ok(())
    }

    fn heights(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let mut columns = Columns::new("counter", row);
            let (name, height) = (columns.parsed(SeriesName::parse)?, columns.natural_if_any()?);
            self.held.heights.insert(name, height);
        }
        Ok(())
    }

    fn period_counters(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let counter = self.counter(rows::counter(row)?);
            let counters = self.held.period_counters.entry(period_of(&counter.key)).or_default();
            counters.push(counter.key.clone());
        }
        Ok(())
    }

    fn keys(&mut self, rows: &[Row], keys: &[&KeyRef]) -> Result<(), Fault> {
        for row in rows {
            let keyed = rows::keyed_entry(row, &mut self.names)?;
            // Places are counted from 1.
            let key = keyed.place.checked_sub(1).and_then(|place| keys.get(place));
            let key = key.ok_or_else(|| Fault::damage("a key was found that was not asked for"))?;
            self.held.keys.insert((*key).clone(), Some(keyed.binding));
            self.held.entries.insert(keyed.entry.id, Some(keyed.entry));
        }
        Ok(())
    }

    fn entries(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let (_, entry) = rows::entry(row, &mut self.names)?;
            self.held.entries.insert(entry.id, Some(entry));
        }
        Ok(())
    }

    fn missing(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let mut columns = Columns::new("missing", row);
            let counter = columns.parsed(str::parse)?;
            let run = rows::missing_in(&mut columns)?;
            self.held.missing.insert((counter, run.first), run);
        }
        Ok(())
    }

    fn closures(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let closure = Arc::new(rows::closure(row)?);
            self.held.closures.insert(closure.at.clone(), Some(closure));
        }
        Ok(())
    }

    fn gates(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let (_, gate) = gates::gate(row)?;
            self.held.gates.insert(gate.id, Some(gate));
        }
        Ok(())
    }

    fn api_keys(&mut self, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let key = rows::api_key(row)?;
            self.held.api_keys.insert(key.id.clone(), Some(key));
        }
        Ok(())
    }
}

fn period_of(key: &CounterKey) -> PeriodRef {
    PeriodRef {
        series: key.series.clone(),
        tenant: key.tenant.clone(),
        period: key.period.clone(),
    }
}

fn names(names: &BTreeSet<SeriesName>) -> Vec<&str> {
    names.iter().map(|name| name.as_str()).collect()
}

fn periods(periods: &BTreeSet<PeriodRef>) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    let mut texts = (Vec::new(), Vec::new(), Vec::new());
    for at in periods {
        texts.0.push(at.series.as_str());
        texts.1.push(at.tenant.as_str());
        texts.2.push(at.period.as_str());
    }
    texts
}

fn places(ids: &BTreeSet<seriatim_core::EntryId>) -> Result<(Vec<String>, Vec<i64>), Fault> {
    let mut places = (Vec::new(), Vec::new());
    for id in ids {
        places.0.push(id.counter.to_string());
        places.1.push(integer(id.seq)?);
    }
    Ok(places)
}
