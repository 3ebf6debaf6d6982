//! API keys: make, list, revoke.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::Response;
use seriatim::{Answer, ApiScope, Command};

use super::view::printed;
use super::{execute, json, set};
use crate::app::App;
use crate::auth::{Caller, Token, draw_key};
use crate::extract::{InPath, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Make an API key; its secret is in this answer only
#[utoipa::path(
    post, path = "/v1/keys", tag = "keys", operation_id = "create_key",
    security(("api_key" = ["admin"])),
    params(Patience),
    request_body = wire::KeyAsk,
    responses(
        (status = 201, description = "The key, whole", body = wire::NewApiKey,
            headers(("Location" = String, description = "Where the key is"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let ask = payload.parse::<wire::KeyAsk>()?;
    let access = ask.access()?;
    let drawn = draw_key(access.test_only).map_err(|error| Problem::internal(format!("no randomness: {error}")))?;
    let Some(token) = Token::parse(&drawn) else {
        return Err(Problem::internal("a drawn key does not read"));
    };
    let api_key = token.api_key(ask.label()?, access, app.now());
    let command = Command::CreateApiKey(Box::new(api_key));
    match execute(&app, caller.asks(command), &patience).await? {
        Answer::ApiKey(api_key) => {
            known(&app).await;
            let body = wire::NewApiKey {
                api_key: wire::ApiKey::of(&api_key),
                key: &drawn,
            };
            let mut response = json(StatusCode::CREATED, &body)?;
            set(&mut response, LOCATION, &format!("/v1/keys/{}", api_key.id));
            set(&mut response, CACHE_CONTROL, "no-store");
            Ok(response)
        }
        other => Err(wire::unexpected(&other)),
    }
}

/// The change is durable; if the keys cannot be read again now, they are within a second.
async fn known(app: &App) {
    if let Err(error) = app.keys().refresh(app.issuer().reads()).await {
        tracing::warn!(%error, "cannot read the API keys after a change");
    }
}

/// List API keys
#[utoipa::path(
    get, path = "/v1/keys", tag = "keys", operation_id = "list_keys",
    security(("api_key" = ["admin"])),
    responses(
        (status = 200, description = "Every key, without its secret", body = wire::List<wire::ApiKey>),
        (status = "default", response = Refused),
    ),
)]
pub async fn list(State(app): State<App>, caller: Caller, NoQuery {}: NoQuery) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Admin)?;
    let keys = app.issuer().reads().api_keys().await?;
    let rows = keys.iter().map(wire::ApiKey::of).collect();
    json(StatusCode::OK, &wire::List::whole(rows))
}

/// Revoke an API key
#[utoipa::path(
    delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "revoke_key",
    security(("api_key" = ["admin"])),
    params(
        ("id" = String, Path, description = "The public part of the key"),
        Patience,
    ),
    responses(
        (status = 200, description = "The key; it opens nothing any more", body = wire::ApiKey),
        (status = "default", response = Refused),
    ),
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    NoQuery {}: NoQuery,
    patience: Patience,
) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Admin)?;
    printed("/id", &id)?;
    match execute(&app, caller.asks(Command::RevokeApiKey { id }), &patience).await? {
        Answer::ApiKey(api_key) => {
            known(&app).await;
            json(StatusCode::OK, &wire::ApiKey::of(&api_key))
        }
        other => Err(wire::unexpected(&other)),
    }
}
