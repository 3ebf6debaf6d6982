//! Searching entries: which way through the tables is cheap for which filter. Whatever the filter, a page costs
//! a bounded amount of work; a page that found little says where to go on.

use std::sync::Arc;

use seriatim_core::{Entry, SeriesName, State, Tenant, Timestamp};

use super::Inner;
use super::fault::Fault;
use super::params::{Day, Params, values};
use super::reads::rows_max;
use super::rows::{self, Columns, Names, integer};
use crate::store::{EntryFilter, Page};

const PAGE_ENTRIES: &str = include_str!("queries/page_entries.sql");
const PAGE_ENTRIES_OF_NUMBER: &str = include_str!("queries/page_entries_of_number.sql");
const PAGE_ENTRIES_OF_COUNTERS: &str = include_str!("queries/page_entries_of_counters.sql");
const PAGE_ENTRIES_RESERVED: &str = include_str!("queries/page_entries_reserved.sql");
const SIZE_COUNTERS: &str = include_str!("queries/size_counters.sql");
const FIND_LAST_ARRIVAL: &str = include_str!("queries/find_last_arrival.sql");

/// How many entries are sorted rather than searched for among the others.
const SORTED_MAX: i64 = 20_000;
/// How many entries one page looks through.
const SCANNED_MAX: u64 = 100_000;

impl Inner {
    pub(super) async fn entries_page(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, Fault> {
        let rows = self.read(FIND_LAST_ARRIVAL, values![]).await?;
        let last = rows
            .first()
            .map(|row| Columns::new("entry", row).natural_if_any())
            .transpose()?;
        let end = last.flatten().map_or(0, |last| last.saturating_add(1));
        let before = filter.cursor.unwrap_or(end).min(end);
        let mut params = common(filter, limit, before)?;
        if let Some(number) = &filter.number {
            params.extend(values![number.as_str()]);
            return self.page(PAGE_ENTRIES_OF_NUMBER, params, limit, 0).await;
        }
        if filter.state == Some(State::Reserved) {
            return self.page(PAGE_ENTRIES_RESERVED, params, limit, 0).await;
        }
        if let Some(counters) = self.few_counters(filter).await? {
            params.extend(values![counters]);
            return self.page(PAGE_ENTRIES_OF_COUNTERS, params, limit, 0).await;
        }
        let from = before.saturating_sub(SCANNED_MAX);
        params.extend(values![integer(from)?]);
        self.page(PAGE_ENTRIES, params, limit, from).await
    }

    /// The counters that the filter names, if their entries are few enough to be sorted.
    async fn few_counters(&self, filter: &EntryFilter) -> Result<Option<Vec<i64>>, Fault> {
        if filter.series.is_empty() && filter.tenants.is_empty() && filter.period.is_none() {
            return Ok(None);
        }
        let limit = SORTED_MAX + 1;
        let period = filter.period.as_ref().map(|period| period.as_str());
        let row = values![
            series_texts(&filter.series),
            tenant_texts(&filter.tenants),
            period,
            limit
        ];
        let rows = self.read(SIZE_COUNTERS, row).await?;
        let mut entries = 0i64;
        let mut counters = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new("counter", row);
            counters.push(columns.integer()?);
            entries = entries.saturating_add(columns.integer()?);
        }
        let few = entries <= SORTED_MAX && rows_max(counters.len()) < limit;
        Ok(few.then_some(counters))
    }

    /// Runs a search over the arrivals from `from` to the one before the cursor.
    async fn page(
        &self,
        sql: &'static str,
        params: Params<'_>,
        limit: usize,
        from: u64,
    ) -> Result<Page<Arc<Entry>>, Fault> {
        let found = self.read(sql, params).await?;
        let mut names = Names::default();
        let mut entries = found
            .iter()
            .map(|row| rows::entry(row, &mut names))
            .collect::<Result<Vec<_>, _>>()?;
        // One more than asked for tells whether there is a next page.
        let next = if entries.len() > limit {
            entries.truncate(limit);
            // An empty page that is not the last would never end: whoever asks for nothing gets no next page.
            entries.last().map(|(arrival, _)| *arrival)
        } else {
            (from > 1).then_some(from)
        };
        Ok(Page {
            rows: entries.into_iter().map(|(_, entry)| entry).collect(),
            next,
        })
    }
}

/// The values of every search, in the order of the statements.
fn common(filter: &EntryFilter, limit: usize, before: u64) -> Result<Params<'_>, Fault> {
    Ok(values![
        series_texts(&filter.series),
        tenant_texts(&filter.tenants),
        filter.period.as_ref().map(|period| period.as_str()),
        filter.state.map(State::as_str),
        filter.date_from.map(Day),
        filter.date_to.map(Day),
        filter.expires_until.map(Timestamp::as_micros),
        rows_max(limit.saturating_add(1)),
        integer(before)?,
    ])
}

/// The series of a filter; nothing for all of them.
pub(super) fn series_texts(wanted: &[SeriesName]) -> Option<Vec<&str>> {
    (!wanted.is_empty()).then(|| wanted.iter().map(|name| name.as_str()).collect())
}

/// The tenants of a filter; nothing for all of them.
pub(super) fn tenant_texts(wanted: &[Tenant]) -> Option<Vec<&str>> {
    (!wanted.is_empty()).then(|| wanted.iter().map(|tenant| tenant.as_str()).collect())
}
