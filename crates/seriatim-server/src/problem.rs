//! Problems: every no and every failure as RFC 9457 `application/problem+json`.
//!
//! A handler returns a [`Problem`]; it is written in one place, where the request's id is known. This module must
//! never decide whether something is a problem.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as Bytes;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use seriatim::{Code, Entry, Failure, Kind, Refusal, SeriesName, StoreError, Timestamp};
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::{Content, HeaderBuilder, Object, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{ToResponse, ToSchema};

use crate::wire;

/// Where the version comes that the caller saw.
pub const IF_MATCH: &str = "/headers/If-Match";
/// Where the caller's key comes, if not in the body.
pub const IDEMPOTENCY_KEY: &str = "/headers/Idempotency-Key";

/// Why there is no answer.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: String,
    outcome: &'static str,
    retry: &'static str,
    errors: Vec<FieldError>,
    place: Option<(usize, usize)>,
    entries: Box<[Arc<Entry>]>,
    /// Whether those are of a test series.
    test: bool,
    headers: HeaderMap,
    /// What happened inside: for the log, and for the answer only where nobody else reads it.
    inside: Option<String>,
}

/// Which field is to blame.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body; a query parameter is `/name`, a header `/headers/Name`.
    #[schema(example = "/params/branch")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Problem {
    /// A problem with its status, code and words. Nothing happened, and the same request has no better chance.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            detail: detail.into(),
            outcome: "nothing",
            retry: "never",
            errors: Vec::new(),
            place: None,
            entries: Box::default(),
            test: false,
            headers: HeaderMap::new(),
            inside: None,
        }))
    }

    /// The request is not well-formed.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// There is no such thing, or none that the caller may see.
    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Nothing happened; it may work later.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after);
        problem.0.retry = "retry";
        problem
    }

    /// The same problem, where nothing is wrong with the request: sent again it may work.
    pub fn worth_a_retry(mut self) -> Self {
        self.0.retry = "retry";
        self
    }

    /// No API key, or one that opens nothing: both sound alike.
    pub fn unauthorized(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail).header(WWW_AUTHENTICATE, "Bearer")
    }

    /// A fault of ours; what it was stays inside.
    pub fn internal(inside: impl Into<String>) -> Self {
        let detail = "something is wrong inside the service; its log has more under this request_id";
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        problem.0.inside = Some(inside.into());
        problem
    }

    /// A handler panicked, perhaps after its command was on its way.
    pub fn panicked() -> Self {
        let mut problem = Self::internal("a handler panicked");
        problem.0.outcome = "unknown";
        // Whether it had a key, by which a second request would find the first, is not known here.
        problem
    }

    /// The same problem, pointing at a field.
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        let detail = self.0.detail.clone();
        self.0.errors.push(FieldError {
            pointer: pointer.into(),
            detail,
        });
        self
    }

    /// The same problem where what the rules call `from` came as `to`.
    pub fn given_at(mut self, from: &str, to: &str) -> Self {
        for error in &mut self.0.errors {
            if error.pointer == from {
                error.pointer = to.to_string();
            }
        }
        self
    }

    /// The series of the entries that it shows.
    pub fn series(&self) -> Option<&SeriesName> {
        self.0.entries.first().map(|entry| &entry.counter.series)
    }

    /// The same problem, with whether its entries are of a test series.
    pub fn of_test(mut self, test: bool) -> Self {
        self.0.test = test;
        self
    }

    /// The same problem with one more header.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.insert(name, value);
        }
        self
    }

    /// The same problem, with when to try again.
    fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_millis().div_ceil(1000).max(1);
        self.header(RETRY_AFTER, &seconds.to_string())
    }

    /// Whether an operator should hear of it.
    pub fn is_failure(&self) -> bool {
        self.0.status.is_server_error()
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The words, with what happened inside.
    pub fn for_log(&self) -> &str {
        self.0.inside.as_deref().unwrap_or(&self.0.detail)
    }

    /// The answer.
    pub fn render(self, request_id: &str, now: Timestamp, show_inside: bool) -> Response {
        let inner = *self.0;
        let detail = match inner.inside {
            Some(inside) if show_inside => format!("{} ({inside})", inner.detail),
            Some(_) | None => inner.detail,
        };
        let mut entries = inner
            .entries
            .iter()
            .map(|entry| wire::Entry::of(entry, now, inner.test));
        let body = Body {
            kind: format!("/docs/reference/problems#{}", inner.code),
            title: title(inner.code),
            status: inner.status.as_u16(),
            detail,
            code: inner.code,
            outcome: inner.outcome,
            retry: inner.retry,
            request_id,
            errors: inner.errors,
            place: inner.place.map(|(offset, length)| Place { offset, length }),
            entry: entries.next(),
            replacement: entries.next(),
        };
        // Texts, numbers and stored JSON only: this cannot fail.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Bytes::from(bytes));
        *response.status_mut() = inner.status;
        *response.headers_mut() = inner.headers;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// A problem travels as an extension of an empty response until its request's id is known.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Bytes::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// A problem as it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body<'a> {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "/docs/reference/problems#counter_exhausted")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong and the way out.
    detail: String,
    /// The stable code; branch on this.
    #[schema(value_type = String, example = "counter_exhausted")]
    code: &'static str,
    /// What happened: `nothing`, or it is `unknown`.
    #[schema(value_type = String, example = "nothing")]
    outcome: &'static str,
    /// What to do: `retry`, `retry_same_key` or `never`.
    #[schema(value_type = String, example = "never")]
    retry: &'static str,
    /// The id of the request, as in the header `X-Request-Id`.
    request_id: &'a str,
    /// Which fields are to blame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// For a definition: the place in the format.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// The entry it is about; for `voided` and `already_voided` the voided one.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<wire::Entry<'a>>,
    /// For `voided` and `already_voided`: the entry that replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<wire::Entry<'a>>,
}

/// A place in a format.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Place {
    /// Byte offset.
    offset: usize,
    /// Length in bytes.
    length: usize,
}

fn title(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Malformed => StatusCode::BAD_REQUEST,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        Kind::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Rule => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let mut problem = Self::new(status_of(refusal.code.kind()), refusal.code.as_str(), refusal.message);
        problem.0.place = refusal.place;
        problem.0.entries = refusal.entries;
        match (refusal.field, refusal.code) {
            (Some(field), _) => problem.at(field),
            // The rules know no headers.
            (None, Code::VersionRequired | Code::VersionMismatch) => problem.at(IF_MATCH),
            (None, _) => problem,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (code, outcome, retry) = (failure.code(), failure.outcome(), failure.retry());
        let mut problem = match failure {
            Failure::Refused(refusal) => return refusal.into(),
            Failure::Unavailable {
                message, retry_after, ..
            } => Self::unavailable(code, message, retry_after),
            Failure::Unknown { .. } => Self::unavailable(code, failure.to_string(), Duration::from_secs(1)),
            Failure::Corrupt { message } => {
                let detail = "what is stored contradicts itself, so nothing was written; the operator should run \
                              `seriatim verify`";
                let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail);
                problem.0.inside = Some(message);
                problem
            }
        };
        problem.0.outcome = outcome;
        problem.0.retry = retry;
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

/// The problem of a path that exists, asked with another method.
pub async fn method_not_allowed() -> Problem {
    let detail = "this path does not take this method; the header Allow names those it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// The problem of a path that does not exist.
pub async fn unknown_route() -> Problem {
    Problem::not_found(
        "unknown_route",
        "there is nothing at this path; /openapi.json lists what there is",
    )
}

/// Headers that the router set on an answer that is a problem.
pub fn keep_router_headers(from: &HeaderMap, to: &mut HeaderMap) {
    if let Some(allow) = from.get(ALLOW) {
        to.insert(ALLOW, allow.clone());
    }
}

/// How every operation is described that may be refused or fail.
pub struct Refused;

impl<'r> ToResponse<'r> for Refused {
    fn response() -> (&'r str, RefOr<Described>) {
        let described = ResponseBuilder::new()
            .description("A refusal or a failure: what is wrong, what happened, and what to do")
            .content(
                "application/problem+json",
                Content::new(Some(Ref::from_schema_name("Problem"))),
            )
            .header(
                "Retry-After",
                HeaderBuilder::new()
                    .description(Some("With 503: in how many seconds to try again"))
                    .schema(Some(Object::with_type(Type::Integer)))
                    .build(),
            )
            .build();
        ("Problem", RefOr::T(described))
    }
}
