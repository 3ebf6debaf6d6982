//! The routes: parse, ask the issuer, translate. A route must never hold a rule about numbers, and never touch a
//! store but to read.

mod audit;
mod entries;
mod events;
mod gates;
mod keys;
mod numbers;
mod payments;
mod periods;
pub(crate) mod probes;
mod series;
pub(crate) mod verifications;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, LINK, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use seriatim::{Answer, EntriesAnswer, Failure, Request};
use utoipa::IntoParams;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::extract::{Patience, described_header};
use crate::frame::frame;
use crate::problem::{Problem, Refused, method_not_allowed, unknown_route};
use crate::wire;

/// Every route of the service.
pub fn router(app: App) -> Router {
    let (router, openapi) = documented().split_for_parts();
    app.describe(openapi_json(openapi, app.options().version));
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(app.clone(), frame))
        .with_state(app)
}

/// The description of the HTTP interface, as `/openapi.json` shows it.
#[must_use]
pub fn openapi() -> String {
    let (_, openapi) = documented().split_for_parts();
    openapi_json(openapi, env!("CARGO_PKG_VERSION"))
}

fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(OpenApi::default())
        .routes(routes!(series::put, series::show))
        .routes(routes!(series::list))
        .routes(routes!(series::counters))
        .routes(routes!(series::wipe))
        .routes(routes!(series::advance))
        .routes(routes!(numbers::preview))
        .routes(routes!(numbers::issue))
        .routes(routes!(numbers::issue_batch))
        .routes(routes!(numbers::reserve))
        .routes(routes!(numbers::adopt))
        .routes(routes!(numbers::adopt_batch))
        .routes(routes!(entries::list))
        .routes(routes!(entries::show))
        .routes(routes!(entries::confirm))
        .routes(routes!(entries::release))
        .routes(routes!(entries::void))
        .routes(routes!(entries::redact))
        .routes(routes!(gates::claim))
        .routes(routes!(gates::renew))
        .routes(routes!(gates::complete))
        .routes(routes!(gates::fail))
        .routes(routes!(gates::retry))
        .routes(routes!(gates::show))
        .routes(routes!(gates::list))
        .routes(routes!(payments::receive))
        .routes(routes!(payments::expect, payments::show))
        .routes(routes!(payments::verify))
        .routes(routes!(payments::receipt))
        .routes(routes!(periods::close))
        .routes(routes!(periods::reopen))
        .routes(routes!(periods::list))
        .routes(routes!(audit::gaps))
        .routes(routes!(audit::summary))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(events::list))
        .routes(routes!(verifications::start))
        .routes(routes!(verifications::show))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::healthz))
        .routes(routes!(probes::metrics))
        .routes(routes!(show_openapi))
        .routes(routes!(show_problems))
}

fn openapi_json(mut api: OpenApi, version: &str) -> String {
    let mut parts = ComponentsBuilder::new().response_from::<Refused>();
    parts = parts
        .schema_from::<crate::problem::Body>()
        .schema_from::<crate::problem::Place>();
    parts = parts.schema_from::<crate::problem::FieldError>();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("srt_<id>_<secret>")
        .description(Some(
            "An API key; the scopes of an operation are those that the key must have",
        ))
        .build();
    parts = parts.security_scheme("api_key", SecurityScheme::Http(scheme));
    let info = InfoBuilder::new()
        .title("Seriatim")
        .version(version)
        .description(Some("Unique, gap-free, ordered and explainable numbers for documents."))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build()));
    let mut described = OpenApiBuilder::new()
        .info(info.build())
        .components(Some(parts.build()))
        .build();
    api.paths.paths.values_mut().for_each(describe_actor);
    api.paths.paths.values_mut().for_each(describe_body);
    described.merge(api);
    described.to_pretty_json().unwrap_or_default()
}

/// Whoever needs a key may say on whose behalf he asks.
fn describe_actor(path: &mut PathItem) {
    let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
    for operation in operations.into_iter().flatten() {
        if operation.security.is_some() {
            let actor = described_header("Seriatim-Actor", "On whose behalf");
            operation.parameters.get_or_insert_default().push(actor.into());
        }
    }
}

/// A body may be left out, but is never `null`.
fn describe_body(path: &mut PathItem) {
    let body = path.post.as_mut().and_then(|operation| operation.request_body.as_mut());
    let Some(RefOr::T(body)) = body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        if let Some(RefOr::T(Schema::OneOf(choices))) = &content.schema {
            let named = choices.items.iter().find(|choice| matches!(choice, RefOr::Ref(_)));
            content.schema = named.cloned().or(content.schema.take());
        }
    }
}

/// Describe this interface
#[utoipa::path(
    get, path = "/openapi.json", tag = "probes", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
async fn show_openapi(State(app): State<App>) -> Response {
    with_type(StatusCode::OK, "application/json", Body::from(app.description()))
}

/// Explain every code of a problem
///
/// Where the `type` of a problem leads.
#[utoipa::path(
    get, path = "/docs/reference/problems", tag = "probes", operation_id = "problems",
    responses((status = 200, description = "The page, in Markdown", content_type = "text/markdown", body = String)),
)]
async fn show_problems() -> Response {
    let page = include_str!("../../../../docs/reference/problems.md");
    with_type(StatusCode::OK, "text/markdown; charset=utf-8", Body::from(page))
}

/// Whether to do it, or only as if.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Rehearsal {
    /// `true`: check everything and write nothing.
    dry_run: Option<String>,
}

impl Rehearsal {
    fn is_one(&self) -> Result<bool, Problem> {
        match self.dry_run.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::malformed("invalid_query", "dry_run is true or false").at("/dry_run")),
        }
    }
}

/// An answer as JSON.
fn json(status: StatusCode, body: &impl Serialize) -> Result<Response, Problem> {
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|error| Problem::internal(format!("an answer cannot be written: {error}")))?;
    Ok(with_type(status, "application/json", Body::from(bytes)))
}

fn with_type(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    // Ids, versions and URIs of ours are printable.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Asks the issuer; the command goes on when nobody waits any more.
async fn execute(app: &App, request: Request, patience: &Patience) -> Result<Answer, Problem> {
    match answer(app, request, patience).await {
        Ok(answer) => Ok(answer),
        Err(failure) => Err(shown(app, failure.into()).await?),
    }
}

/// A refusal that shows entries of a test series says so, as every answer does.
async fn shown(app: &App, problem: Problem) -> Result<Problem, Problem> {
    let Some(name) = problem.series() else {
        return Ok(problem);
    };
    let all = app.issuer().reads().series().await?;
    let test = all.iter().any(|series| series.name == *name && series.test);
    Ok(problem.of_test(test))
}

async fn answer(app: &App, request: Request, patience: &Patience) -> Result<Answer, Failure> {
    let usual = app.issuer().deadline();
    let within = patience.or(usual);
    if within <= usual {
        return app.issuer().execute_within(request, within).await;
    }
    // A shutdown does not wait that long: the connection would be cut, and nobody told.
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(within) => {}
            () = async {
                app.stopped().await;
                tokio::time::sleep(usual).await;
            } => {}
        }
    };
    app.issuer().execute_until(request, over).await
}

/// Asks the issuer for something that is answered with entries.
async fn entries_of(app: &App, request: Request, patience: &Patience) -> Result<EntriesAnswer, Problem> {
    match execute(app, request, patience).await? {
        Answer::Entries(answer) | Answer::Preview(answer) => Ok(answer),
        other => Err(wire::unexpected(&other)),
    }
}

/// The answer about one entry that was taken or changed.
fn one(app: &App, answer: &EntriesAnswer, status: StatusCode) -> Result<Response, Problem> {
    let Some(taken) = answer.taken.first() else {
        return Err(Problem::internal("an answer without an entry"));
    };
    let entry = wire::Entry {
        warnings: wire::Note::all(&answer.warnings),
        ..wire::Entry::taken(taken, answer, app.now())
    };
    let mut response = json(status, &entry)?;
    if status == StatusCode::CREATED {
        set(&mut response, LOCATION, &format!("/v1/entries/{}", taken.entry.id));
    }
    if taken.replayed {
        mark_replayed(&mut response);
    }
    Ok(response)
}

fn mark_replayed(response: &mut Response) {
    response
        .headers_mut()
        .insert("idempotent-replayed", HeaderValue::from_static("true"));
}

/// A page, with the way to the next one.
fn page<T: Serialize>(uri: &Uri, list: &wire::List<T>) -> Result<Response, Problem> {
    let mut response = json(StatusCode::OK, list)?;
    if let Some(cursor) = &list.next_cursor {
        let query = uri.query().unwrap_or_default().split('&');
        let kept: Vec<&str> = query
            .filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="))
            .collect();
        let and = if kept.is_empty() { "" } else { "&" };
        let link = format!("<{}?{}{and}cursor={cursor}>; rel=\"next\"", uri.path(), kept.join("&"));
        set(&mut response, LINK, &link);
    }
    Ok(response)
}

fn versioned(mut response: Response, version: u64) -> Response {
    set(&mut response, ETAG, &format!("\"{version}\""));
    response
}

type Held = Arc<seriatim::Series>;
