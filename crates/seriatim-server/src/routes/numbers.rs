//! Taking numbers: issue, reserve, adopt, and a look ahead.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use seriatim::{Command, SeriesName};

use super::{Rehearsal, entries_of, json, mark_replayed, one};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{BatchPayload, HeaderKey, InPath, InQuery, NoQuery, Patience, Payload};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Issue a number
///
/// A retry with the same key gets the same number, for ever.
#[utoipa::path(
    post, path = "/v1/series/{series}/entries", tag = "numbers", operation_id = "issue",
    security(("api_key" = ["issue"])),
    params(
        ("series" = String, Path, description = "The series"),
        ("Idempotency-Key" = Option<String>, Header, description = "The key, instead of in the body; quoted or bare"),
        Patience,
    ),
    request_body = wire::IssueAsk,
    responses(
        (status = 201, description = "The entry; `Idempotent-Replayed: true` if the key had it already", body = wire::Entry,
            headers(("Location" = String, description = "Where the entry is"), ("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn issue(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    header: HeaderKey,
    payload: Payload,
) -> Result<Response, Problem> {
    let key_at = header.pointer();
    let take = payload.parse::<wire::IssueAsk>()?.take(header)?;
    let request = caller.asks(Command::Issue { series, take });
    let answer = entries_of(&app, request, &patience)
        .await
        .map_err(|problem| problem.given_at("/key", key_at))?;
    one(&app, &answer, StatusCode::CREATED)
}

/// Issue several numbers in one commit, all or none
#[utoipa::path(
    post, path = "/v1/series/{series}/entries/batch", tag = "numbers", operation_id = "issue_batch",
    security(("api_key" = ["issue"])),
    params(
        ("series" = String, Path, description = "The series"),
        ("Idempotency-Key" = Option<String>, Header, description = "With `count`: the key, instead of in the body"),
        Patience,
    ),
    request_body = wire::BatchAsk,
    responses(
        (status = 201, description = "The entries, in the order of the request", body = wire::Issued,
            headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn issue_batch(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    header: HeaderKey,
    BatchPayload(payload): BatchPayload,
) -> Result<Response, Problem> {
    let key_at = header.pointer();
    let command = match payload.parse::<wire::BatchAsk>()?.batch(header)? {
        wire::Batch::Items(items) => Command::IssueItems { series, items },
        wire::Batch::Count(take, count) => Command::IssueCount { series, take, count },
    };
    let answer = entries_of(&app, caller.asks(command), &patience)
        .await
        .map_err(|problem| problem.given_at("/key", key_at))?;
    let mut response = json(StatusCode::CREATED, &wire::Issued::of(&answer, app.now()))?;
    if answer.taken.iter().all(|taken| taken.replayed) {
        mark_replayed(&mut response);
    }
    Ok(response)
}

/// Reserve a number, to confirm or release it later
#[utoipa::path(
    post, path = "/v1/series/{series}/reservations", tag = "numbers", operation_id = "reserve",
    security(("api_key" = ["issue"])),
    params(
        ("series" = String, Path, description = "The series"),
        ("Idempotency-Key" = Option<String>, Header, description = "The key, instead of in the body"),
        Patience,
    ),
    request_body = wire::ReserveAsk,
    responses(
        (status = 201, description = "The entry", body = wire::Entry,
            headers(("Location" = String, description = "Where the entry is"), ("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn reserve(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    header: HeaderKey,
    payload: Payload,
) -> Result<Response, Problem> {
    let key_at = header.pointer();
    let (take, ttl) = payload.parse::<wire::ReserveAsk>()?.take(header)?;
    let request = caller.asks(Command::Reserve { series, take, ttl });
    let answer = entries_of(&app, request, &patience)
        .await
        .map_err(|problem| problem.given_at("/key", key_at))?;
    one(&app, &answer, StatusCode::CREATED)
}

/// Record a number that was issued elsewhere
#[utoipa::path(
    post, path = "/v1/series/{series}/adopt", tag = "numbers", operation_id = "adopt",
    security(("api_key" = ["issue"])),
    params(
        ("series" = String, Path, description = "The series"),
        ("Idempotency-Key" = Option<String>, Header, description = "The key, instead of in the body"),
        Patience,
    ),
    request_body = wire::AdoptAsk,
    responses(
        (status = 201, description = "The entry", body = wire::Entry,
            headers(("Location" = String, description = "Where the entry is"), ("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn adopt(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    header: HeaderKey,
    payload: Payload,
) -> Result<Response, Problem> {
    let key_at = header.pointer();
    let adopt = payload.parse::<wire::AdoptAsk>()?.adopt(header)?;
    let request = caller.asks(Command::Adopt { series, adopt });
    let answer = entries_of(&app, request, &patience)
        .await
        .map_err(|problem| problem.given_at("/key", key_at))?;
    one(&app, &answer, StatusCode::CREATED)
}

/// Record numbers that were issued elsewhere in one commit, all or none
///
/// A number that is recorded already is answered as it is, so a batch can be sent again.
#[utoipa::path(
    post, path = "/v1/series/{series}/adopt/batch", tag = "numbers", operation_id = "adopt_batch",
    security(("api_key" = ["issue"])),
    params(
        ("series" = String, Path, description = "The series"),
        Rehearsal,
        Patience,
    ),
    request_body = wire::AdoptBatchAsk,
    responses(
        (status = 200, description = "With `dry_run`: the entries as they would be", body = wire::Issued,
            headers(("Idempotent-Replayed" = String, description = "`true` if all of it had been done before"))),
        (status = 201, description = "The entries, in the order of the request", body = wire::Issued,
            headers(("Idempotent-Replayed" = String, description = "`true` if it had been done before"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn adopt_batch(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    InQuery(query): InQuery<Rehearsal>,
    patience: Patience,
    BatchPayload(payload): BatchPayload,
) -> Result<Response, Problem> {
    let rehearsal = query.is_one()?;
    let (items, missing_reason) = payload.parse::<wire::AdoptBatchAsk>()?.adopts()?;
    let mut request = caller.asks(Command::AdoptItems {
        series,
        items,
        missing_reason,
    });
    request.rehearsal = rehearsal;
    let answer = entries_of(&app, request, &patience).await?;
    let status = if rehearsal { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = json(status, &wire::Issued::of(&answer, app.now()))?;
    if answer.taken.iter().all(|taken| taken.replayed) {
        mark_replayed(&mut response);
    }
    Ok(response)
}

/// Show what the next numbers would be; consumes nothing
#[utoipa::path(
    post, path = "/v1/series/{series}/preview", tag = "numbers", operation_id = "preview",
    security(("api_key" = ["read"])),
    params(
        ("series" = String, Path, description = "The series"),
        Patience,
    ),
    request_body = wire::PreviewAsk,
    responses(
        (status = 200, description = "The numbers", body = wire::Preview),
        (status = "default", response = Refused),
    ),
)]
pub async fn preview(
    State(app): State<App>,
    caller: Caller,
    InPath(series): InPath<SeriesName>,
    NoQuery {}: NoQuery,
    patience: Patience,
    payload: Payload,
) -> Result<Response, Problem> {
    let (take, count) = payload.parse_or_default::<wire::PreviewAsk>()?.take()?;
    let request = caller.asks(Command::Preview { series, take, count });
    let answer = entries_of(&app, request, &patience).await?;
    json(StatusCode::OK, &wire::Preview::of(&answer))
}
