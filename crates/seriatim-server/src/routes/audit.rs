//! What an auditor asks: gaps, sums, a checkpoint.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use seriatim::store::CounterFilter;
use seriatim::{ApiScope, SeriesName, audit, checkpoint as checkpoints};
use utoipa::IntoParams;

use super::entries::{date, in_order};
use super::view::{View, Wish};
use super::{json, with_type};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{InQuery, NoQuery};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Which gaps.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GapsQuery {
    /// Only of this series.
    series: Option<String>,
    /// Only of this tenant.
    tenant: Option<String>,
    /// Only of this period.
    period: Option<String>,
}

/// List seqs that were passed over, with their reasons
///
/// Voided and released numbers are no gaps: they are entries, and `GET /v1/entries?state=voided` lists them.
#[utoipa::path(
    get, path = "/v1/audit/gaps", tag = "audit", operation_id = "list_gaps",
    security(("api_key" = ["audit"])),
    params(GapsQuery),
    responses(
        (status = 200, description = "Every gap that the caller may see", body = wire::Gaps),
        (status = "default", response = Refused),
    ),
)]
pub async fn gaps(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<GapsQuery>,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Audit)?;
    let view = View::of(&app, caller.access).await?;
    let wish = Wish::read(query.series.as_deref(), query.tenant.as_deref(), query.period)?;
    let found = match view.narrow(&wish)? {
        None => audit::Gaps::default(),
        Some(narrowed) => {
            let filter = CounterFilter {
                series: narrowed.series,
                tenants: narrowed.tenants,
                period: narrowed.period,
                cursor: None,
            };
            audit::gaps(app.issuer().reads(), &filter).await?
        }
    };
    json(StatusCode::OK, &wire::Gaps::of(&found, &|series| view.is_test(series)))
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SummaryQuery {
    /// Only dated this day or later.
    from: Option<String>,
    /// Only dated this day or earlier.
    to: Option<String>,
}

/// Count documents by counter within a range of dates
#[utoipa::path(
    get, path = "/v1/audit/summary", tag = "audit", operation_id = "summary",
    security(("api_key" = ["audit"])),
    params(SummaryQuery),
    responses(
        (status = 200, description = "One line for each counter that the caller may see", body = wire::List<wire::SummaryLine>),
        (status = "default", response = Refused),
    ),
)]
pub async fn summary(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<SummaryQuery>,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Audit)?;
    let view = View::of(&app, caller.access).await?;
    let from = date("/from", query.from.as_deref())?;
    let to = date("/to", query.to.as_deref())?;
    in_order("/from", from, to)?;
    let mut lines = audit::summary(app.issuer().reads(), from, to).await?;
    lines.retain(|line| view.sees(&line.counter.series, &line.counter.tenant));
    let is_test = |series: &SeriesName| view.is_test(series);
    let rows = lines.iter().map(|line| wire::SummaryLine::of(line, &is_test)).collect();
    json(StatusCode::OK, &wire::List::whole(rows))
}

/// Take a signed checkpoint, to be kept where the store is not
#[utoipa::path(
    get, path = "/v1/audit/checkpoint", tag = "audit", operation_id = "checkpoint",
    security(("api_key" = ["audit"])),
    responses(
        (status = 200, description = "Where every chain ends now", body = wire::CheckpointDocument),
        (status = "default", response = Refused),
    ),
)]
pub async fn checkpoint(State(app): State<App>, caller: Caller, NoQuery {}: NoQuery) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Audit)?;
    let Some(key) = &app.options().checkpoint_key else {
        let detail = "nothing signs checkpoints here yet; beside PostgreSQL the key is drawn when `seriatim serve` runs \
                      for the first time in the data directory";
        return Err(Problem::new(StatusCode::CONFLICT, "no_checkpoint_key", detail));
    };
    let checkpoint = checkpoints::take(app.issuer().reads(), key, app.now()).await?;
    Ok(with_type(
        StatusCode::OK,
        "application/json",
        Body::from(checkpoint.to_json()),
    ))
}
