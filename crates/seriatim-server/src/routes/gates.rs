//! Gates: claim, renew, complete, fail, retry; show one, and wait for its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use seriatim::store::GateFilter;
use seriatim::{
    Access, Answer, ApiScope, Chain, ClaimOutcome, Code, Command, Effect, Gate, GateId, GateState, Refusal, Tenant, Ttl,
};
use utoipa::IntoParams;

use super::{execute, json, mark_replayed, page};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{HeaderKey, InPath, InQuery, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// How many events of a gate are shown with it.
const EVENTS_MAX: usize = 500;
/// The longest wait of one request.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Claim a gate: of all who do, one wins
#[utoipa::path(
    post, path = "/v1/gates/claim", tag = "gates", operation_id = "claim",
    security(("api_key" = ["gate"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The key, instead of in the body; quoted or bare"),
        Patience,
    ),
    request_body = wire::ClaimAsk,
    responses(
        (status = 200, description = "What the claim came to", body = wire::Claimed, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn claim(
    State(app): State<App>,
    caller: Caller,
    NoQuery {}: NoQuery,
    key: HeaderKey,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let claim = payload.parse::<wire::ClaimAsk>()?.claim(key)?;
    caller.access.require_gates(ApiScope::Gate, &claim.tenant)?;
    not_kept(&app, &claim.effect)?;
    match execute(&app, caller.asks(Command::Claim(Box::new(claim))), &patience).await? {
        Answer::Claim { gate, outcome } => {
            let mut response = json(StatusCode::OK, &wire::Claimed::of(&gate, outcome))?;
            if matches!(outcome, ClaimOutcome::Won { replayed: true, .. }) {
                mark_replayed(&mut response);
            }
            Ok(response)
        }
        other => Err(wire::unexpected(&other)),
    }
}

/// Hold a claim for longer
#[utoipa::path(
    post, path = "/v1/gates/{id}/renew", tag = "gates", operation_id = "renew",
    security(("api_key" = ["gate"])),
    params(
        ("id" = String, Path, description = "The gate"),
        Patience,
    ),
    request_body = wire::RenewAsk,
    responses(
        (status = 200, description = "The gate", body = wire::Gate, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn renew(
    State(app): State<App>,
    caller: Caller,
    InPath(gate): InPath<GateId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::RenewAsk>()?;
    let (token, ttl) = (ask.token, ask.ttl()?);
    work(&app, caller, &patience, gate, Command::Renew { gate, token, ttl }).await
}

/// Record the result: it has happened, and stays so
#[utoipa::path(
    post, path = "/v1/gates/{id}/complete", tag = "gates", operation_id = "complete",
    security(("api_key" = ["gate"])),
    params(
        ("id" = String, Path, description = "The gate"),
        Patience,
    ),
    request_body = wire::CompleteAsk,
    responses(
        (status = 200, description = "The gate", body = wire::Gate, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn complete(
    State(app): State<App>,
    caller: Caller,
    InPath(gate): InPath<GateId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::CompleteAsk<'_>>()?;
    let (token, result) = (ask.token, ask.result()?);
    work(&app, caller, &patience, gate, Command::Complete { gate, token, result }).await
}

/// Say that an attempt failed: it may be tried again, or is dead
#[utoipa::path(
    post, path = "/v1/gates/{id}/fail", tag = "gates", operation_id = "fail",
    security(("api_key" = ["gate"])),
    params(
        ("id" = String, Path, description = "The gate"),
        Patience,
    ),
    request_body = wire::FailAsk,
    responses(
        (status = 200, description = "The gate", body = wire::Gate, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn fail(
    State(app): State<App>,
    caller: Caller,
    InPath(gate): InPath<GateId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::FailAsk>()?;
    let command = Command::Fail {
        gate,
        token: ask.token,
        error: ask.error()?,
        retry_in: ask.retry_in()?,
        give_up: ask.give_up,
    };
    work(&app, caller, &patience, gate, command).await
}

/// Open a dead gate again
#[utoipa::path(
    post, path = "/v1/gates/{id}/retry", tag = "gates", operation_id = "retry",
    security(("api_key" = ["admin"])),
    params(
        ("id" = String, Path, description = "The gate"),
        Patience,
    ),
    request_body = wire::ReasonAsk,
    responses(
        (status = 200, description = "The gate", body = wire::Gate, headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn retry(
    State(app): State<App>,
    caller: Caller,
    InPath(gate): InPath<GateId>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let reason = payload.parse::<wire::ReasonAsk>()?.reason()?;
    change(&app, caller, &patience, Command::Retry { gate, reason }).await
}

/// What the holder of a claim says of its gate.
async fn work(
    app: &App,
    caller: Caller,
    patience: &Patience,
    id: GateId,
    command: Command,
) -> Result<Response, Problem> {
    if app.payments().is_some() {
        caller.access.require(ApiScope::Gate)?;
        let gate = seen(app, &caller.access, ApiScope::Gate, id, Duration::ZERO).await?;
        not_kept(app, &gate.effect)?;
    }
    change(app, caller, patience, command).await
}

/// Who moved a gate of the payments could say that a payment is paid, or that an event was stored.
fn not_kept(app: &App, effect: &Effect) -> Result<(), Problem> {
    match app.payments() {
        Some(payments) if payments.keeps(effect) => {
            let detail = format!(
                "this server takes payments and keeps the effect {effect} for itself; use an effect of another name, \
                 or let a dead gate go on with retry"
            );
            Err(Problem::new(StatusCode::FORBIDDEN, "reserved_effect", detail).at("/effect"))
        }
        Some(_) | None => Ok(()),
    }
}

async fn change(app: &App, caller: Caller, patience: &Patience, command: Command) -> Result<Response, Problem> {
    match execute(app, caller.asks(command), patience).await? {
        Answer::Gate { gate, replayed } => {
            let mut response = json(StatusCode::OK, &wire::Gate::of(&gate))?;
            if replayed {
                mark_replayed(&mut response);
            }
            Ok(response)
        }
        other => Err(wire::unexpected(&other)),
    }
}

/// Whether to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct GateQuery {
    /// Wait until it is done or dead, but no longer than this, e.g. `10s`; at most 20 s, and not past a shutdown.
    wait: Option<String>,
}

/// Show a gate with its events, perhaps once it is done
#[utoipa::path(
    get, path = "/v1/gates/{id}", tag = "gates", operation_id = "show_gate",
    security(("api_key" = ["gate"]), ("api_key" = ["read"])),
    params(("id" = String, Path, description = "The gate"), GateQuery),
    responses(
        (status = 200, description = "The gate", body = wire::GateWithEvents),
        (status = "default", response = Refused),
    ),
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<GateId>,
    InQuery(query): InQuery<GateQuery>,
) -> Result<Response, Problem> {
    let scope = scope_to_look(&caller.access)?;
    let wait = query.wait.as_deref().map(wait_of).transpose()?.unwrap_or_default();
    // Another tenant's gate must not even be waited for.
    let gate = seen(&app, &caller.access, scope, id, Duration::ZERO).await?;
    let gate = if gate.is_over() || wait.is_zero() {
        gate
    } else {
        tokio::select! {
            over = seen(&app, &caller.access, scope, id, wait) => over?,
            // The gate as it is: the connection may not be there for the rest of the wait.
            () = app.stopped() => seen(&app, &caller.access, scope, id, Duration::ZERO).await?,
        }
    };
    let events = app.issuer().reads().events(Chain::Gate(id), 0, EVENTS_MAX).await?;
    let body = wire::GateWithEvents {
        gate: wire::Gate::of(&gate),
        events: events.iter().map(wire::Event::of).collect(),
    };
    json(StatusCode::OK, &body)
}

async fn seen(app: &App, access: &Access, scope: ApiScope, id: GateId, wait: Duration) -> Result<Arc<Gate>, Problem> {
    let gate = app.issuer().gate_over(id, wait).await?;
    let gate = gate.filter(|gate| access.require_gates(scope, &gate.tenant).is_ok());
    let unknown = || Refusal::new(Code::UnknownGate, format!("there is no gate {id}")).at("/id");
    Ok(gate.ok_or_else(unknown)?)
}

/// Who works on gates may look at them, and so may who reads.
fn scope_to_look(access: &Access) -> Result<ApiScope, Problem> {
    let scope = if access.has(ApiScope::Gate) {
        ApiScope::Gate
    } else {
        ApiScope::Read
    };
    access.require(scope)?;
    Ok(scope)
}

fn wait_of(text: &str) -> Result<Duration, Problem> {
    let ttl = Ttl::parse(text).map_err(|refusal| refusal.at("/wait"))?;
    Ok(Duration::from_secs(ttl.as_seconds().unsigned_abs()).min(WAIT_MAX))
}

/// Which gates.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct GatesQuery {
    /// Only `open`, `claimed`, `done` or `dead`.
    state: Option<String>,
    /// Only for this effect.
    effect: Option<String>,
    /// Only of this tenant.
    tenant: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many rows, 1 to 500; 50 if not given.
    limit: Option<String>,
}

/// List gates
#[utoipa::path(
    get, path = "/v1/gates", tag = "gates", operation_id = "list_gates",
    security(("api_key" = ["gate"]), ("api_key" = ["read"])),
    params(GatesQuery),
    responses(
        (status = 200, description = "Gates, newest first", body = wire::List<wire::Gate>,
            headers(("Link" = String, description = "With `next_cursor`: where the next page is, as `rel=\"next\"`"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<GatesQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    let scope = scope_to_look(&caller.access)?;
    let limit = wire::limit_of(query.limit.as_deref())?;
    let tenant = query.tenant.as_deref().map(Tenant::parse).transpose()?;
    let filter = GateFilter {
        states: query.state.as_deref().map(state).transpose()?.into_iter().collect(),
        effects: query
            .effect
            .as_deref()
            .map(Effect::parse)
            .transpose()?
            .into_iter()
            .collect(),
        tenants: match &tenant {
            Some(tenant) => vec![tenant.clone()],
            None => caller.access.tenants.iter().cloned().collect(),
        },
        cursor: wire::cursor_of('g', query.cursor.as_deref())?,
    };
    // A list leaves out what a caller may not see; to a test key that is every gate.
    let sees = |tenant: &Tenant| caller.access.require_gates(scope, tenant).is_ok();
    let found = if filter.tenants.iter().all(sees) && !caller.access.test_only {
        app.issuer().reads().gates(&filter, limit).await?
    } else {
        seriatim::store::Page {
            rows: Vec::new(),
            next: None,
        }
    };
    let list = wire::List {
        data: found.rows.iter().map(|gate| wire::Gate::of(gate)).collect(),
        next_cursor: wire::next_cursor('g', found.next),
    };
    page(&uri, &list)
}

fn state(text: &str) -> Result<GateState, Problem> {
    GateState::parse(text)
        .ok_or_else(|| Problem::malformed("invalid_query", "a state is open, claimed, done or dead").at("/state"))
}
