//! Entries: search, show, and what becomes of a number after it was taken.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use seriatim::store::{EntryFilter, Page};
use seriatim::{ApiScope, Command, Date, Entry, EntryId, Key, KeyRef, Reason, State as EntryState, Void, VoidReason};
use utoipa::IntoParams;

use super::view::{View, Wish, printed};
use super::{entries_of, json, one, page};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Which entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// Only of this series.
    series: Option<String>,
    /// Only of this tenant; with `key` the default one if not given.
    tenant: Option<String>,
    /// Only this number.
    number: Option<String>,
    /// Only those that this key stands for, in their order, and then the void ones that they replace; needs `series`,
    /// and finds those of a series that it replaced.
    key: Option<String>,
    /// Only `reserved`, `issued` or `voided`.
    state: Option<String>,
    /// Only of this period.
    period: Option<String>,
    /// Only dated this day or later.
    date_from: Option<String>,
    /// Only dated this day or earlier.
    date_to: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many rows, 1 to 500; 50 if not given.
    limit: Option<String>,
}

/// Search entries
#[utoipa::path(
    get, path = "/v1/entries", tag = "entries", operation_id = "list_entries",
    security(("api_key" = ["read"])),
    params(EntriesQuery),
    responses(
        (status = 200, description = "Entries, newest first", body = wire::List<wire::Entry>,
            headers(("Link" = String, description = "With `next_cursor`: where the next page is, as `rel=\"next\"`"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<EntriesQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let found = find(&app, &view, query).await?;
    let now = app.now();
    let list = wire::List {
        data: found
            .rows
            .iter()
            .map(|entry| wire::Entry::of(entry, now, view.is_test(&entry.counter.series)))
            .collect(),
        next_cursor: found.next_cursor,
    };
    page(&uri, &list)
}

/// Entries of one page, with the cursor of the next.
struct Found {
    rows: Vec<Arc<Entry>>,
    next_cursor: Option<String>,
}

async fn find(app: &App, view: &View, mut query: EntriesQuery) -> Result<Found, Problem> {
    let limit = wire::limit_of(query.limit.as_deref())?;
    let cursor = query.cursor.take();
    let key = query.key.as_deref().map(Key::parse).transpose()?;
    let wish = Wish::read(query.series.as_deref(), query.tenant.as_deref(), query.period)?;
    if let Some(number) = &query.number {
        printed("/number", number)?;
    }
    let mut filter = EntryFilter {
        number: query.number,
        state: query.state.as_deref().map(state).transpose()?,
        date_from: date("/date_from", query.date_from.as_deref())?,
        date_to: date("/date_to", query.date_to.as_deref())?,
        ..EntryFilter::default()
    };
    in_order("/date_from", filter.date_from, filter.date_to)?;
    // The entries of a key are counted, those of a filter are where the store says.
    let kind = if key.is_some() { 'k' } else { 'e' };
    filter.cursor = wire::cursor_of(kind, cursor.as_deref())?;
    let found = match (view.narrow(&wish)?, key) {
        (None, _) => Page {
            rows: Vec::new(),
            next: None,
        },
        (Some(narrowed), Some(key)) => {
            filter.period = narrowed.period;
            let mut rows = of_key(app, view, key, wish).await?;
            rows.retain(|entry| passes(&filter, entry));
            page_of(rows, filter.cursor.unwrap_or(0), limit)
        }
        (Some(narrowed), None) => {
            filter.series = narrowed.series;
            filter.tenants = narrowed.tenants;
            filter.period = narrowed.period;
            app.issuer().reads().entries(&filter, limit).await?
        }
    };
    Ok(Found {
        rows: found.rows,
        next_cursor: wire::next_cursor(kind, found.next),
    })
}

/// The entries that a key stands for, as issuing with it finds them: in the series, else in the one that it replaced.
/// Behind them come the void ones whose key they took over: who looks for a payment asks for all its numbers.
async fn of_key(app: &App, view: &View, key: Key, wish: Wish) -> Result<Vec<Arc<Entry>>, Problem> {
    let Some(mut series) = wish.series else {
        let detail = "a key belongs to a series and a tenant; give the series too";
        return Err(Problem::malformed("missing_parameter", detail).at("/series"));
    };
    let tenant = wish.tenant.unwrap_or_default();
    while view.sees(&series, &tenant) {
        let known = KeyRef {
            key: key.clone(),
            series: series.clone(),
            tenant: tenant.clone(),
        };
        let entries = app.issuer().reads().entries_of_key(&known).await?;
        match &view.one(&series)?.replaces {
            Some(replaced) if entries.is_empty() => series = replaced.clone(),
            Some(_) | None => return with_replaced(app, view, entries).await,
        }
    }
    Ok(Vec::new())
}

async fn with_replaced(app: &App, view: &View, mut rows: Vec<Arc<Entry>>) -> Result<Vec<Arc<Entry>>, Problem> {
    let mut looked = 0;
    while let Some(row) = rows.get(looked) {
        looked += 1;
        let Some(id) = row.replaces else { continue };
        // A store that contradicts itself must not lead round for ever.
        if rows.iter().any(|known| known.id == id) {
            continue;
        }
        let replaced = app.issuer().reads().entry(id).await?;
        rows.extend(replaced.filter(|entry| view.sees(&entry.counter.series, &entry.counter.tenant)));
    }
    Ok(rows)
}

/// A page of what is known as a whole; the cursor says how many came before.
fn page_of(rows: Vec<Arc<Entry>>, skip: u64, limit: usize) -> Page<Arc<Entry>> {
    let all = rows.len();
    let before = usize::try_from(skip).unwrap_or(all);
    let rows: Vec<_> = rows.into_iter().skip(before).take(limit).collect();
    let upto = before.saturating_add(rows.len());
    Page {
        next: (upto < all).then_some(upto as u64),
        rows,
    }
}

fn passes(filter: &EntryFilter, entry: &Entry) -> bool {
    filter.number.as_deref().is_none_or(|number| *number == *entry.number)
        && filter.state.is_none_or(|state| state == entry.state)
        && filter
            .period
            .as_ref()
            .is_none_or(|period| *period == entry.counter.period)
        && filter.date_from.is_none_or(|from| entry.date >= from)
        && filter.date_to.is_none_or(|to| entry.date <= to)
}

fn state(text: &str) -> Result<EntryState, Problem> {
    EntryState::parse(text)
        .ok_or_else(|| Problem::malformed("invalid_query", "a state is reserved, issued or voided").at("/state"))
}

/// A date of a query.
pub fn date(pointer: &str, text: Option<&str>) -> Result<Option<Date>, Problem> {
    let date = text.map(|text| text.parse::<Date>().map_err(|refusal| refusal.at(pointer)));
    Ok(date.transpose()?)
}

/// Days that are swapped would give an empty list, which reads as if there were nothing.
pub fn in_order(pointer: &str, from: Option<Date>, to: Option<Date>) -> Result<(), Problem> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => {
            let detail = format!("from {from} to {to} there is no day; swap them");
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail).at(pointer))
        }
        _ => Ok(()),
    }
}

/// Show an entry with its events
#[utoipa::path(
    get, path = "/v1/entries/{id}", tag = "entries", operation_id = "show_entry",
    security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The entry")),
    responses(
        (status = 200, description = "The entry", body = wire::EntryWithEvents),
        (status = "default", response = Refused),
    ),
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<EntryId>,
    NoQuery {}: NoQuery,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let entry = view.entry(&app, id).await?;
    let events = app.issuer().reads().events_of(id).await?;
    let body = wire::EntryWithEvents {
        entry: wire::Entry::of(&entry, app.now(), view.is_test(&entry.counter.series)),
        events: events.iter().map(wire::Event::of).collect(),
    };
    json(StatusCode::OK, &body)
}

/// Confirm a reserved number: it is on a document now
#[utoipa::path(
    post, path = "/v1/entries/{id}/confirm", tag = "entries", operation_id = "confirm",
    security(("api_key" = ["issue"])),
    params(
        ("id" = String, Path, description = "The entry"),
        Patience,
    ),
    request_body = Option<wire::ConfirmAsk>,
    responses(
        (status = 200, description = "The entry", body = wire::Entry, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn confirm(
    State(app): State<App>,
    caller: Caller,
    InPath(entry): InPath<EntryId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let document = payload.parse_or_default::<wire::ConfirmAsk>()?.document()?;
    change(&app, caller, &patience, Command::Confirm { entry, document }).await
}

/// Release a reserved number: it was never used
#[utoipa::path(
    post, path = "/v1/entries/{id}/release", tag = "entries", operation_id = "release",
    security(("api_key" = ["issue"])),
    params(
        ("id" = String, Path, description = "The entry"),
        Patience,
    ),
    request_body = wire::ReasonAsk,
    responses(
        (status = 200, description = "The entry", body = wire::Entry),
        (status = "default", response = Refused),
    ),
)]
pub async fn release(
    State(app): State<App>,
    caller: Caller,
    InPath(entry): InPath<EntryId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let reason = payload.parse::<wire::ReasonAsk>()?.reason()?;
    change(&app, caller, &patience, Command::Release { entry, reason }).await
}

/// Void a number: it is spent; with `reissue` its replacement comes in the same commit
#[utoipa::path(
    post, path = "/v1/entries/{id}/void", tag = "entries", operation_id = "void",
    security(("api_key" = ["void"])),
    params(
        ("id" = String, Path, description = "The entry"),
        Patience,
    ),
    request_body = wire::VoidAsk,
    responses(
        (status = 200, description = "The number that is spent, and its replacement", body = wire::Voided),
        (status = "default", response = Refused),
    ),
)]
pub async fn void(
    State(app): State<App>,
    caller: Caller,
    InPath(entry): InPath<EntryId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::VoidAsk>()?;
    let void = Void {
        entry,
        reason_code: VoidReason::parse(&ask.reason_code)?,
        reason: Reason::parse(&ask.reason)?,
        reissue: ask.reissue,
    };
    let answer = entries_of(&app, caller.asks(Command::Void(void)), &patience).await?;
    json(StatusCode::OK, &wire::Voided::of(&answer, app.now()))
}

/// Empty a document; its hash stays
///
/// A replacement has a copy of its own: redact it as well. The file of its receipt is removed.
#[utoipa::path(
    post, path = "/v1/entries/{id}/redact", tag = "entries", operation_id = "redact",
    security(("api_key" = ["void"])),
    params(
        ("id" = String, Path, description = "The entry"),
        Patience,
    ),
    request_body = wire::ReasonAsk,
    responses(
        (status = 200, description = "The entry", body = wire::Entry),
        (status = "default", response = Refused),
    ),
)]
pub async fn redact(
    State(app): State<App>,
    caller: Caller,
    InPath(entry): InPath<EntryId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let reason = payload.parse::<wire::ReasonAsk>()?.reason()?;
    let answer = entries_of(&app, caller.asks(Command::Redact { entry, reason }), &patience).await?;
    if let (Some(payments), Some(taken)) = (app.payments(), answer.taken.first()) {
        payments.remove_receipt(&taken.entry).await;
    }
    one(&app, &answer, StatusCode::OK)
}

async fn change(app: &App, caller: Caller, patience: &Patience, command: Command) -> Result<Response, Problem> {
    let answer = entries_of(app, caller.asks(command), patience).await?;
    one(app, &answer, StatusCode::OK)
}
