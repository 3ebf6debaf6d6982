//! Events: one chain, fact by fact, for whoever wants to check its hashes without us.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use seriatim::{ApiScope, Chain, Code, CounterId, GateId, Refusal};
use utoipa::IntoParams;

use super::page;
use crate::app::App;
use crate::auth::Caller;
use crate::extract::InQuery;
use crate::problem::{Problem, Refused};
use crate::wire;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// `definitions`, or the id of a counter or a gate.
    chain: String,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many rows, 1 to 500; 50 if not given.
    limit: Option<String>,
}

/// List the events of a chain
#[utoipa::path(
    get, path = "/v1/audit/events", tag = "audit", operation_id = "list_events",
    security(("api_key" = ["audit"])),
    params(EventsQuery),
    responses(
        (status = 200, description = "Its events, oldest first", body = wire::List<wire::Event>,
            headers(("Link" = String, description = "With `next_cursor`: where the next page is, as `rel=\"next\"`"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    InQuery(query): InQuery<EventsQuery>,
    uri: Uri,
) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Audit)?;
    let chain = chain_of(&query.chain)?;
    let limit = wire::limit_of(query.limit.as_deref())?;
    let after = after(&query)?;
    let events = app.issuer().reads().events(chain, after.unwrap_or(0), limit).await?;
    if events.is_empty() && after.is_none() {
        refuse_absent(chain)?;
    }
    // A full page may be the last one; the next is then empty.
    let next = events
        .last()
        .filter(|_| events.len() == limit)
        .map(|event| event.position);
    let list = wire::List {
        data: events.iter().map(wire::Event::of).collect(),
        next_cursor: wire::next_cursor('v', next).map(|next| format!("{}.{next}", query.chain)),
    };
    page(&uri, &list)
}

/// Where a page begins. A position says nothing in another chain, so the cursor names its own.
fn after(query: &EventsQuery) -> Result<Option<u64>, Problem> {
    let Some(cursor) = &query.cursor else { return Ok(None) };
    let own = cursor
        .strip_prefix(&query.chain)
        .and_then(|rest| rest.strip_prefix('.'));
    wire::cursor_of('v', Some(own.unwrap_or_default()))
}

/// Whatever has a chain has an event in it; only of definitions there may be none yet.
fn refuse_absent(chain: Chain) -> Result<(), Problem> {
    match chain {
        Chain::Definitions => Ok(()),
        Chain::Gate(id) => {
            let refusal = Refusal::new(Code::UnknownGate, format!("there is no gate {id}"));
            Err(refusal.at("/chain").into())
        }
        Chain::Counter(id) => {
            Err(Problem::not_found("unknown_counter", format!("there is no counter {id}")).at("/chain"))
        }
    }
}

fn chain_of(text: &str) -> Result<Chain, Problem> {
    if text == "definitions" {
        return Ok(Chain::Definitions);
    }
    if text.starts_with("gat_") {
        let id: Result<GateId, _> = text.parse();
        return Ok(Chain::Gate(id.map_err(|refusal| refusal.at("/chain"))?));
    }
    let id: Result<CounterId, _> = text.parse();
    Ok(Chain::Counter(id.map_err(|refusal| refusal.at("/chain"))?))
}
