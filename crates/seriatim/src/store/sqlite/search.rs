//! Searching entries: which way through the tables is cheap for which filter. Whatever the filter, a page costs
//! a bounded amount of work; a page that found little says where to go on.

use std::sync::Arc;

use rusqlite::{named_params, types::ToSql};
use seriatim_core::{Entry, State, Timestamp};

use super::fault::Fault;
use super::reads::{json, rows_max};
use super::rows::Columns;
use super::session::Session;
use crate::store::{EntryFilter, Page};

const PAGE_ENTRIES: &str = include_str!("queries/page_entries.sql");
const PAGE_ENTRIES_OF_NUMBER: &str = include_str!("queries/page_entries_of_number.sql");
const PAGE_ENTRIES_OF_NUMBER_OF_TENANTS: &str = include_str!("queries/page_entries_of_number_of_tenants.sql");
const PAGE_ENTRIES_OF_COUNTERS: &str = include_str!("queries/page_entries_of_counters.sql");
const PAGE_ENTRIES_RESERVED: &str = include_str!("queries/page_entries_reserved.sql");
const SIZE_COUNTERS: &str = include_str!("queries/size_counters.sql");
const SIZE_COUNTERS_OF_TENANTS: &str = include_str!("queries/size_counters_of_tenants.sql");
const FIND_LAST_ARRIVAL: &str = include_str!("queries/find_last_arrival.sql");

/// How many entries are sorted rather than searched for among the others.
const SORTED_MAX: i64 = 20_000;
/// How many entries one page looks through.
const SCANNED_MAX: u64 = 100_000;

impl Session {
    pub(super) fn entries_page(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, Fault> {
        let search = Search {
            session: self,
            filter,
            limit,
            before: self.begin(filter)?,
        };
        if filter.number.is_some() {
            return search.of_number();
        }
        if filter.state == Some(State::Reserved) {
            return search.reserved();
        }
        match search.few_counters()? {
            Some(counters) => search.of_counters(&counters),
            None => search.among_all(),
        }
    }

    /// The arrival that the page begins below.
    fn begin(&self, filter: &EntryFilter) -> Result<u64, Fault> {
        let last = self.find(FIND_LAST_ARRIVAL, [], |row| Columns::new("entry", row).natural_if_any())?;
        let end = last.flatten().map_or(0, |last| last.saturating_add(1));
        Ok(filter.cursor.unwrap_or(end).min(end))
    }
}

struct Search<'a> {
    session: &'a Session,
    filter: &'a EntryFilter,
    limit: usize,
    before: u64,
}

impl Search<'_> {
    /// The counters that the filter names, if their entries are few enough to be sorted.
    fn few_counters(&self) -> Result<Option<String>, Fault> {
        let EntryFilter {
            series,
            tenants,
            period,
            ..
        } = self.filter;
        if series.is_empty() && tenants.is_empty() && period.is_none() {
            return Ok(None);
        }
        let limit = SORTED_MAX + 1;
        let series = self.session.series_json(series)?;
        let period = period.as_ref().map(|period| period.as_str());
        let read = |row: &rusqlite::Row<'_>| {
            let mut columns = Columns::new("counter", row);
            Ok((columns.integer()?, columns.integer()?))
        };
        let sizes = if tenants.is_empty() {
            let params = named_params! { ":series": series, ":period": period, ":limit": limit };
            self.session.list(SIZE_COUNTERS, params, read)?
        } else {
            let tenants = json(tenants.iter().map(|tenant| tenant.as_str()));
            let params = named_params! { ":series": series, ":tenants": tenants, ":period": period, ":limit": limit };
            self.session.list(SIZE_COUNTERS_OF_TENANTS, params, read)?
        };
        let entries = sizes.iter().fold(0i64, |sum, (_, size)| sum.saturating_add(*size));
        let few = entries <= SORTED_MAX && rows_max(sizes.len()) < limit;
        Ok(few.then(|| serde_json::Value::from_iter(sizes.into_iter().map(|(no, _)| no)).to_string()))
    }

    fn of_number(&self) -> Result<Page<Arc<Entry>>, Fault> {
        if self.filter.tenants.is_empty() {
            return self.page(PAGE_ENTRIES_OF_NUMBER, 0, &[(":number", &self.filter.number)]);
        }
        let series = self.session.series_json(&self.filter.series)?;
        self.page(
            PAGE_ENTRIES_OF_NUMBER_OF_TENANTS,
            0,
            &[(":number", &self.filter.number), (":series", &series)],
        )
    }

    fn reserved(&self) -> Result<Page<Arc<Entry>>, Fault> {
        self.page(PAGE_ENTRIES_RESERVED, 0, &[])
    }

    fn of_counters(&self, counters: &str) -> Result<Page<Arc<Entry>>, Fault> {
        self.page(PAGE_ENTRIES_OF_COUNTERS, 0, &[(":counters", &counters)])
    }

    fn among_all(&self) -> Result<Page<Arc<Entry>>, Fault> {
        self.page(PAGE_ENTRIES, self.before.saturating_sub(SCANNED_MAX), &[])
    }

    /// Runs a search over the arrivals from `from` to the one before the cursor. What `special` gives takes the
    /// place of the filter; what a statement does not ask for is left out.
    fn page(&self, sql: &str, from: u64, special: &[(&str, &dyn ToSql)]) -> Result<Page<Arc<Entry>>, Fault> {
        let EntryFilter {
            series,
            tenants,
            state,
            period,
            date_from,
            date_to,
            expires_until,
            ..
        } = self.filter;
        let list = |texts: Vec<&str>| (!texts.is_empty()).then(|| json(texts.into_iter()));
        let series = list(series.iter().map(|name| name.as_str()).collect());
        let tenants = list(tenants.iter().map(|tenant| tenant.as_str()).collect());
        let dates = [date_from, date_to].map(|date| date.map(|date| date.to_string()));
        let before = i64::try_from(self.before).unwrap_or(i64::MAX);
        let from_sql = i64::try_from(from).unwrap_or(i64::MAX);
        // One more than asked for tells whether there is a next page.
        let limit = rows_max(self.limit.saturating_add(1));
        let state = state.map(State::as_str);
        let period = period.as_ref().map(|period| period.as_str());
        let expires_until = expires_until.map(Timestamp::as_micros);
        let filter: [(&str, &dyn ToSql); 10] = [
            (":series", &series),
            (":tenants", &tenants),
            (":period", &period),
            (":state", &state),
            (":date_from", &dates[0]),
            (":date_to", &dates[1]),
            (":expires_until", &expires_until),
            (":before", &before),
            (":from", &from_sql),
            (":limit", &limit),
        ];
        let mut statement = self.session.conn.prepare_cached(sql)?;
        for (name, value) in filter.iter().chain(special) {
            if let Some(at) = statement.parameter_index(name)? {
                statement.raw_bind_parameter(at, value)?;
            }
        }
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            found.push(self.session.entry_in(row)?);
        }
        Ok(cut(found, self.limit, from))
    }
}

/// What was found becomes a page: if there is more, the next one begins below its last row; if the search stopped
/// early, where it stopped.
fn cut(mut found: Vec<(u64, Arc<Entry>)>, limit: usize, from: u64) -> Page<Arc<Entry>> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = match found.last() {
        Some((arrival, _)) if more => Some(*arrival),
        // Arrivals begin at 1.
        Some(_) | None => (from > 1).then_some(from),
    };
    let rows = found.into_iter().map(|(_, entry)| entry).collect();
    Page { rows, next }
}
