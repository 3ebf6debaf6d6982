//! Series: define, change, show, and their counters.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use seriatim::store::CounterFilter;
use seriatim::{Answer, ApiScope, Command, Counter, Reason, SeriesName};
use utoipa::IntoParams;

use super::view::{View, Wish};
use super::{Held, Rehearsal, execute, json, page, versioned};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{self, InPath, InQuery, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Define a series, or change it
///
/// A change needs `If-Match` with the ETag of the version that was read.
#[utoipa::path(
    put, path = "/v1/series/{series}", tag = "series", operation_id = "define_series",
    security(("api_key" = ["admin"])),
    params(
        ("series" = String, Path, description = "The series"),
        Rehearsal,
        ("If-Match" = Option<String>, Header, description = "The ETag of the version to change"),
        Patience,
    ),
    request_body = wire::SeriesAsk,
    responses(
        (status = 200, description = "The series was changed, or was so already", body = wire::Defined, headers(("ETag" = String, description = "The version of the series, quoted"))),
        (status = 201, description = "The series is new", body = wire::Defined, headers(("ETag" = String, description = "The version of the series, quoted"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<SeriesName>,
    InQuery(query): InQuery<Rehearsal>,
    patience: Patience,
    headers: HeaderMap,
    payload: Payload,
) -> Result<Response, Problem> {
    let rehearsal = query.is_one()?;
    let if_version = extract::if_match(&headers)?;
    // Who may not define need not know what is wrong with his definition.
    caller.access.require(ApiScope::Admin)?;
    let spec = payload.parse::<wire::SeriesAsk>()?.spec(&name)?;
    let series = Box::new(app.issuer().series_from(name, &spec)?);
    let mut request = caller.asks(Command::Define { series, if_version });
    request.rehearsal = rehearsal;
    match execute(&app, request, &patience).await? {
        Answer::Series { series, changed } => defined(&series, changed, rehearsal),
        other => Err(wire::unexpected(&other)),
    }
}

fn defined(series: &seriatim::Series, changed: bool, dry_run: bool) -> Result<Response, Problem> {
    let is_new = changed && series.version == 1;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = wire::Defined {
        series: wire::Series::of(series),
        changed,
        dry_run,
    };
    Ok(versioned(json(status, &body)?, series.version))
}

/// Show a series
#[utoipa::path(
    get, path = "/v1/series/{series}", tag = "series", operation_id = "show_series",
    security(("api_key" = ["read"])),
    params(
        ("series" = String, Path, description = "The series"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the version that is known"),
    ),
    responses(
        (status = 200, description = "The series, with its version as ETag", body = wire::Series, headers(("ETag" = String, description = "The version of the series, quoted"))),
        (status = 304, description = "The version is known", headers(("ETag" = String, description = "The version of the series, quoted"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let series = seen(&app, caller, &name).await?;
    if extract::has_version(&headers, series.version) {
        return Ok(versioned(StatusCode::NOT_MODIFIED.into_response(), series.version));
    }
    Ok(versioned(
        json(StatusCode::OK, &wire::Series::of(&series))?,
        series.version,
    ))
}

async fn seen(app: &App, caller: Caller, name: &SeriesName) -> Result<Held, Problem> {
    caller.access.require(ApiScope::Read)?;
    Ok(View::of(app, caller.access).await?.one(name)?.clone())
}

/// List series
#[utoipa::path(
    get, path = "/v1/series", tag = "series", operation_id = "list_series",
    security(("api_key" = ["read"])),
    responses(
        (status = 200, description = "Every series that the caller may see", body = wire::List<wire::Series>),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(State(app): State<App>, caller: Caller, NoQuery {}: NoQuery) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let rows = view.series().map(|series| wire::Series::of(series)).collect();
    json(StatusCode::OK, &wire::List::whole(rows))
}

/// Which counters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CountersQuery {
    /// Only of this tenant.
    tenant: Option<String>,
    /// Only of this period.
    period: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many rows, 1 to 500; 50 if not given.
    limit: Option<String>,
}

/// List the counters of a series
#[utoipa::path(
    get, path = "/v1/series/{series}/counters", tag = "series", operation_id = "list_counters",
    security(("api_key" = ["read"])),
    params(("series" = String, Path, description = "The series"), CountersQuery),
    responses(
        (status = 200, description = "Its counters, by tenant, then newest period first", body = wire::List<wire::Counter>,
            headers(("Link" = String, description = "With `next_cursor`: where the next page is, as `rel=\"next\"`"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn counters(
    State(app): State<App>,
    caller: Caller,
    InPath(name): InPath<SeriesName>,
    InQuery(query): InQuery<CountersQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let wish = Wish::read(Some(&name), query.tenant.as_deref(), query.period)?;
    let limit = wire::limit_of(query.limit.as_deref())?;
    let cursor = wire::cursor_of('c', query.cursor.as_deref())?;
    let Some(narrowed) = view.narrow(&wish)? else {
        return page(&uri, &wire::List::<wire::Counter<'_>>::whole(Vec::new()));
    };
    let filter = CounterFilter {
        series: narrowed.series,
        tenants: narrowed.tenants,
        period: narrowed.period,
        cursor,
    };
    let found = app.issuer().reads().counters(&filter, limit).await?;
    let series = view.one(&name)?;
    let counter = |counter| wire::Counter::of(counter, series);
    let list = wire::List {
        data: found.rows.iter().map(counter).collect(),
        next_cursor: wire::next_cursor('c', found.next),
    };
    page(&uri, &list)
}

/// Empty a test series
#[utoipa::path(
    post, path = "/v1/series/{series}/wipe", tag = "series", operation_id = "wipe_series",
    security(("api_key" = ["admin"])),
    params(
        ("series" = String, Path, description = "The series"),
        Patience,
    ),
    request_body = Option<wire::WipeAsk>,
    responses(
        (status = 200, description = "It is empty", body = wire::Wiped),
        (status = "default", response = Refused),
    ),
)]
pub async fn wipe(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let wire::WipeAsk {} = payload.parse_or_default()?;
    match execute(&app, caller.asks(Command::Wipe { series }), &patience).await? {
        Answer::Wiped(series) => {
            let body = wire::Wiped {
                series: &series,
                wiped: true,
            };
            json(StatusCode::OK, &body)
        }
        other => Err(wire::unexpected(&other)),
    }
}

/// Pass over seqs, with a reason
#[utoipa::path(
    post, path = "/v1/series/{series}/advance", tag = "series", operation_id = "advance",
    security(("api_key" = ["admin"])),
    params(
        ("series" = String, Path, description = "The series"),
        Patience,
    ),
    request_body = wire::AdvanceAsk,
    responses(
        (status = 200, description = "The counter, and the run that is missing now", body = wire::Advanced),
        (status = "default", response = Refused),
    ),
)]
pub async fn advance(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::AdvanceAsk>()?;
    let view = View::of(&app, caller.access.clone());
    let command = Command::Advance {
        series: series.clone(),
        tenant: wire::tenant(ask.tenant.as_deref())?,
        params: ask.params.unwrap_or_default().0,
        period: ask.period,
        to: ask.to,
        reason: Reason::parse(&ask.reason)?,
    };
    let view = view.await?;
    match execute(&app, caller.asks(command), &patience).await? {
        Answer::Advanced { counter, missing } => advanced(&counter, &missing, view.one(&series)?),
        other => Err(wire::unexpected(&other)),
    }
}

fn advanced(counter: &Counter, missing: &seriatim::Missing, series: &Held) -> Result<Response, Problem> {
    let body = wire::Advanced {
        counter: wire::Counter::of(counter, series),
        missing: missing.into(),
    };
    json(StatusCode::OK, &body)
}
