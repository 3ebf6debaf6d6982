//! What can be asked, answered from one connection at one moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seriatim_core::{
    ApiKey, Chain, Closure, Counter, CounterId, Date, Entry, EntryId, Event, Finding, KeyRef, Missing, Series,
};
use tokio_postgres::Row;

use super::Inner;
use super::connection::{Command, Ended};
use super::fault::Fault;
use super::gates::{self, LIST_GATE_HEADS};
use super::params::{Day, Params, values};
use super::pool::Share;
use super::rows::{self, Columns, Names, integer};
use super::search::{series_texts, tenant_texts};
use crate::store::{CounterFilter, Heads, Page, SummaryRow, misfiled_entry, other_line, stray};

const LIST_SERIES: &str = include_str!("queries/list_series.sql");
const LIST_COUNTERS: &str = include_str!("queries/list_counters.sql");
const FIND_COUNTER: &str = include_str!("queries/find_counter.sql");
const PAGE_COUNTERS: &str = include_str!("queries/page_counters.sql");
const LOAD_ENTRIES: &str = include_str!("queries/load_entries.sql");
const LOAD_KEYS: &str = include_str!("queries/load_keys.sql");
const LIST_ENTRIES_BY_SEQ: &str = include_str!("queries/list_entries_by_seq.sql");
const LIST_EVENTS: &str = include_str!("queries/list_events.sql");
const LIST_EVENTS_OF_GATE: &str = include_str!("queries/list_events_of_gate.sql");
const LIST_EVENTS_OF_ENTRY: &str = include_str!("queries/list_events_of_entry.sql");
const LIST_MISSING: &str = include_str!("queries/list_missing.sql");
const LIST_CLOSURES: &str = include_str!("queries/list_closures.sql");
const LIST_API_KEYS: &str = include_str!("queries/list_api_keys.sql");
const SUMMARIZE_ENTRIES: &str = include_str!("queries/summarize_entries.sql");
const COUNT_KEYS: &str = include_str!("queries/count_keys.sql");
const FIND_COMPILER: &str = include_str!("queries/find_compiler.sql");
const LIST_COUNTER_IDS: &str = include_str!("queries/list_counter_ids.sql");
const LIST_MISFILED: &str = include_str!("queries/list_misfiled.sql");
const LIST_STRAYS: &str = include_str!("queries/list_strays.sql");
const LIST_CHANGED_PLANS: &str = include_str!("queries/list_changed_plans.sql");
const FIND_DEFINITIONS_HEAD: &str = include_str!("queries/find_definitions_head.sql");
const BEGIN_WRITE: &str = include_str!("queries/begin_write.sql");

impl Inner {
    /// Reads with one statement, which sees one moment.
    pub(super) async fn read(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        self.read_as(Share::Reading, self.options.read_within, sql, params)
            .await
    }

    /// The same for what the store itself must know, and soon: whoever else reads is not in its way.
    pub(super) async fn look(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        self.read_as(Share::Own, self.options.statement_within, sql, params)
            .await
    }

    async fn read_as(
        &self,
        share: Share,
        within: Duration,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Fault> {
        let mut lease = self.pool.lease(share, within).await?;
        let rows = lease.connection()?.query(sql, params, within).await;
        if rows.as_ref().err().is_none_or(Fault::is_answered) {
            lease.keep();
        } else {
            self.pool.clear();
        }
        rows
    }

    /// Writes with one statement, as safe as a batch. The server gives up when we do: a commit that waits for a standby
    /// which is away would keep its connection and its row for as long, and whoever tries again would wait behind it.
    pub(super) async fn write(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>, Fault> {
        let within = self.options.statement_within;
        let mut lease = self.pool.lease(Share::Own, within).await?;
        let commands = vec![
            Command::Plain("begin isolation level read committed read write"),
            Command::Query(BEGIN_WRITE, values![format!("{}ms", within.as_millis())]),
            Command::Query(sql, params),
        ];
        let found = lease.connection()?.run(commands, within).await?;
        match lease.connection()?.commit(Vec::new(), within).await {
            Ok(()) => lease.keep(),
            Err(Ended::Nothing(fault)) => return Err(fault),
            Err(Ended::Unknown(what)) => return Err(Fault::Unconfirmed(what)),
        }
        Ok(found.into_iter().nth(2).unwrap_or_default())
    }

    /// Reads with several statements at one moment.
    async fn read_at_one_moment(&self, mut commands: Vec<Command<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
        let within = self.options.read_within;
        let mut lease = self.pool.lease(Share::Reading, within).await?;
        commands.insert(0, Command::Plain("begin isolation level repeatable read read only"));
        commands.push(Command::Plain("commit"));
        let mut found = lease.connection()?.run(commands, within).await?;
        // Who fails leaves the connection behind, in whatever state.
        lease.keep();
        found.pop();
        found.remove(0);
        Ok(found)
    }

    pub(super) async fn series(&self) -> Result<Vec<Arc<Series>>, Fault> {
        let rows = self.read(LIST_SERIES, values![]).await?;
        rows.iter().map(|row| self.definitions.series(row)).collect()
    }

    pub(super) async fn counters_page(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, Fault> {
        let skip = filter.cursor.unwrap_or(0);
        let row = values![
            series_texts(&filter.series),
            tenant_texts(&filter.tenants),
            filter.period.as_ref().map(|period| period.as_str()),
            // One more than asked for tells whether there is a next page.
            rows_max(limit.saturating_add(1)),
            seq_max(skip),
        ];
        let found = self.read(PAGE_COUNTERS, row).await?;
        let more = found.len() > limit;
        let rows: Vec<Counter> = found.iter().take(limit).map(counter).collect::<Result<_, _>>()?;
        let next = more.then(|| skip + rows.len() as u64);
        Ok(Page { rows, next })
    }

    pub(super) async fn counter(&self, id: CounterId) -> Result<Option<Counter>, Fault> {
        let rows = self.read(FIND_COUNTER, values![id.to_string()]).await?;
        rows.first().map(counter).transpose()
    }

    pub(super) async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, Fault> {
        let row = values![vec![id.counter.to_string()], vec![integer(id.seq)?]];
        let rows = self.read(LOAD_ENTRIES, row).await?;
        Ok(entries(&rows)?.pop())
    }

    pub(super) async fn entries_of_keys(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, Fault> {
        let (series, tenants, texts) = rows::key_texts(keys);
        let rows = self.read(LOAD_KEYS, values![series, tenants, texts]).await?;
        let mut names = Names::default();
        let mut entries = vec![Vec::new(); keys.len()];
        for row in &rows {
            let keyed = rows::keyed_entry(row, &mut names)?;
            let of_key = keyed.place.checked_sub(1).and_then(|place| entries.get_mut(place));
            of_key
                .ok_or_else(|| Fault::damage("an entry of a key that was not asked for"))?
                .push(keyed.entry);
        }
        Ok(entries)
    }

    pub(super) async fn entries_by_seq(
        &self,
        counter: CounterId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, Fault> {
        let row = values![counter.to_string(), seq_max(after), rows_max(limit)];
        entries(&self.read(LIST_ENTRIES_BY_SEQ, row).await?)
    }

    pub(super) async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, Fault> {
        let (sql, of) = match chain {
            Chain::Definitions => (LIST_EVENTS, None),
            Chain::Counter(id) => (LIST_EVENTS, Some(id.to_string())),
            Chain::Gate(id) => (LIST_EVENTS_OF_GATE, Some(id.to_string())),
        };
        let row = values![of.as_deref(), seq_max(after), rows_max(limit)];
        self.read(sql, row).await?.iter().map(rows::event).collect()
    }

    pub(super) async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, Fault> {
        let row = values![entry.counter.to_string(), integer(entry.seq)?];
        self.read(LIST_EVENTS_OF_ENTRY, row)
            .await?
            .iter()
            .map(rows::event)
            .collect()
    }

    pub(super) async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, Fault> {
        let row = values![counter.to_string(), seq_max(after), rows_max(limit)];
        self.read(LIST_MISSING, row).await?.iter().map(rows::missing).collect()
    }

    pub(super) async fn closures(&self) -> Result<Vec<Arc<Closure>>, Fault> {
        let rows = self.read(LIST_CLOSURES, values![]).await?;
        rows.iter().map(|row| rows::closure(row).map(Arc::new)).collect()
    }

    pub(super) async fn api_keys(&self) -> Result<Vec<ApiKey>, Fault> {
        self.look(LIST_API_KEYS, values![])
            .await?
            .iter()
            .map(rows::api_key)
            .collect()
    }

    pub(super) async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, Fault> {
        let rows = self
            .read(SUMMARIZE_ENTRIES, values![from.map(Day), to.map(Day)])
            .await?;
        rows.iter().map(rows::summary).collect()
    }

    pub(super) async fn heads(&self) -> Result<Heads, Fault> {
        let commands = vec![
            Command::Query(FIND_DEFINITIONS_HEAD, values![]),
            Command::Query(LIST_COUNTERS, values![]),
            Command::Query(LIST_GATE_HEADS, values![]),
        ];
        let found = self.read_at_one_moment(commands).await?;
        let [definitions, counters, gate_heads] = found.as_slice() else {
            return Err(Fault::damage("three statements gave another number of answers"));
        };
        Ok(Heads {
            definitions: rows::definitions_head(definitions)?,
            counters: counters.iter().map(counter).collect::<Result<_, _>>()?,
            gates: gate_heads.iter().map(gates::head).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn bound_keys(&self, counter: CounterId) -> Result<u64, Fault> {
        let rows = self.read(COUNT_KEYS, values![counter.to_string()]).await?;
        let Some(row) = rows.first() else { return Ok(0) };
        let mut columns = Columns::new("key", row);
        let count = columns.natural()?;
        if !columns.boolean()? {
            return Err(Fault::damage(other_line(&counter)));
        }
        Ok(count)
    }

    pub(super) async fn counter_ids(&self) -> Result<BTreeSet<CounterId>, Fault> {
        let rows = self.read(LIST_COUNTER_IDS, values![]).await?;
        rows.iter()
            .map(|row| Columns::new("counter", row).parsed(str::parse))
            .collect()
    }

    pub(super) async fn misfiled(&self, counter: CounterId, first: u64, last: u64) -> Result<Vec<Finding>, Fault> {
        let row = values![counter.to_string(), integer(first)?, integer(last)?];
        let rows = self.read(LIST_MISFILED, row).await?;
        let finding = |row| {
            let mut columns = Columns::new("entry", row);
            let seq = columns.natural()?;
            Ok(misfiled_entry(EntryId { counter, seq }, columns.text()?))
        };
        rows.iter().map(finding).collect()
    }

    pub(super) async fn own_findings(&self) -> Result<Vec<Finding>, Fault> {
        let rows = self.read(LIST_STRAYS, values![]).await?;
        let finding = |row| {
            let mut columns = Columns::new("stray", row);
            Ok(stray(columns.text()?, columns.natural()?, columns.text_if_any()?))
        };
        let mut findings: Vec<Finding> = rows.iter().map(finding).collect::<Result<_, Fault>>()?;
        findings.extend(self.changed_plans().await?);
        Ok(findings)
    }

    /// The SQL functions take numbers by what a definition was compiled to.
    async fn changed_plans(&self) -> Result<Vec<Finding>, Fault> {
        let found = self.read(FIND_COMPILER, values![]).await?;
        let has_compiler = found
            .first()
            .map_or(Ok(false), |row| Columns::new("function", row).boolean())?;
        if !has_compiler {
            return Ok(Vec::new());
        }
        let message = "what its definition was compiled to for the SQL functions is not what they make of it now: numbers \
                       may be taken by other rules; `seriatim pg install` compiles all of them anew";
        let rows = self.read(LIST_CHANGED_PLANS, values![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Finding::error(
                    "plan_differs",
                    Columns::new("plan", row).text()?,
                    message,
                ))
            })
            .collect()
    }

    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.read(FIND_DEFINITIONS_HEAD, values![]).await.map(|_| ())
    }
}

fn counter(row: &Row) -> Result<Counter, Fault> {
    Ok(rows::counter(row)?.counter)
}

fn entries(rows: &[Row]) -> Result<Vec<Arc<Entry>>, Fault> {
    let mut names = Names::default();
    rows.iter()
        .map(|row| rows::entry(row, &mut names).map(|(_, entry)| entry))
        .collect()
}

/// A limit as PostgreSQL takes it.
pub(super) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A seq or position to begin after; none is above the last one.
fn seq_max(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}
