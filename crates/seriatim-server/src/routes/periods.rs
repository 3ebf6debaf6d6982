//! Periods: close, open again, list.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use seriatim::{Answer, ApiScope, Command, Reason, SeriesName};
use utoipa::IntoParams;

use super::view::{View, Wish};
use super::{execute, json};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{InQuery, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Close a period: nothing more is issued in it
#[utoipa::path(
    post, path = "/v1/periods/close", tag = "periods", operation_id = "close_period",
    security(("api_key" = ["admin"])),
    params(Patience),
    request_body = wire::PeriodAsk,
    responses(
        (status = 200, description = "What was found when it was closed", body = wire::Closure),
        (status = "default", response = Refused),
    ),
)]
pub async fn close(
    State(app): State<App>,
    caller: Caller,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::PeriodAsk>()?;
    let command = Command::Close {
        series: SeriesName::parse(&ask.series)?,
        tenant: wire::tenant(ask.tenant.as_deref())?,
        period: ask.period,
        reason: Reason::parse(&ask.reason)?,
    };
    change(&app, caller, &patience, command).await
}

/// Open a closed period again
#[utoipa::path(
    post, path = "/v1/periods/reopen", tag = "periods", operation_id = "reopen_period",
    security(("api_key" = ["admin"])),
    params(Patience),
    request_body = wire::PeriodAsk,
    responses(
        (status = 200, description = "It is open", body = wire::Closure),
        (status = "default", response = Refused),
    ),
)]
pub async fn reopen(
    State(app): State<App>,
    caller: Caller,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::PeriodAsk>()?;
    let command = Command::Reopen {
        series: SeriesName::parse(&ask.series)?,
        tenant: wire::tenant(ask.tenant.as_deref())?,
        period: ask.period,
        reason: Reason::parse(&ask.reason)?,
    };
    change(&app, caller, &patience, command).await
}

async fn change(app: &App, caller: Caller, patience: &Patience, command: Command) -> Result<Response, Problem> {
    match execute(app, caller.asks(command), patience).await? {
        Answer::Closure(closure) => json(StatusCode::OK, &wire::Closure::of(&closure)),
        other => Err(wire::unexpected(&other)),
    }
}

/// Which periods.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PeriodsQuery {
    /// Only of this series.
    series: Option<String>,
    /// Only of this tenant.
    tenant: Option<String>,
}

/// List periods that were closed
#[utoipa::path(
    get, path = "/v1/periods", tag = "periods", operation_id = "list_periods",
    security(("api_key" = ["read"])),
    params(PeriodsQuery),
    responses(
        (status = 200, description = "Periods that are closed or were opened again", body = wire::List<wire::Closure>),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<PeriodsQuery>,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let wish = Wish::read(query.series.as_deref(), query.tenant.as_deref(), None)?;
    let mut closures = app.issuer().reads().closures().await?;
    if let Some(name) = &wish.series {
        view.one(name)?;
    }
    closures.retain(|closure| {
        view.sees(&closure.at.series, &closure.at.tenant)
            && wish.series.as_ref().is_none_or(|series| *series == closure.at.series)
            && wish.tenant.as_ref().is_none_or(|tenant| *tenant == closure.at.tenant)
    });
    let rows = closures.iter().map(|closure| wire::Closure::of(closure)).collect();
    json(StatusCode::OK, &wire::List::whole(rows))
}
