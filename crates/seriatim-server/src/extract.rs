//! What a request brings, read strictly: path, query, headers and JSON body. Whatever is wrong is said with a code
//! and a pointer. This module must never know what the parts mean.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use seriatim::{EntryId, GateId, Key, SeriesName};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Object, Type};

use crate::app::App;
use crate::auth::Waited;
use crate::problem::{self, Problem};

/// A JSON body, not parsed yet: what is parsed from it may borrow from it.
pub struct Payload {
    bytes: Bytes,
    is_json: bool,
}

/// The same with the limit of a batch.
pub struct BatchPayload(pub Payload);

/// The same with the limit of a checkpoint.
pub struct CheckpointPayload(pub Payload);

/// A body as it came: what was signed must not be touched.
pub struct Raw(pub Bytes);

impl FromRequest<App> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (_, bytes) = read_bytes(request, crate::webhooks::BODY_BYTES_MAX, app.limits().body_within).await?;
        Ok(Self(bytes))
    }
}

impl FromRequest<App> for Payload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        read(request, app.limits().body_max, app.limits().body_within).await
    }
}

impl FromRequest<App> for BatchPayload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let limits = app.limits();
        read(request, limits.batch_body_max, limits.body_within).await.map(Self)
    }
}

impl FromRequest<App> for CheckpointPayload {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let limits = app.limits();
        read(request, limits.checkpoint_body_max, limits.read_within)
            .await
            .map(Self)
    }
}

async fn read_bytes(request: Request, bytes_max: usize, within: Duration) -> Result<(HeaderMap, Bytes), Problem> {
    let (parts, mut body) = request.into_parts();
    let announced = parts
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = announced.filter(|length| *length > bytes_max as u64) {
        // Who asks first is answered before he sends it; to read would tell him to go on.
        if length <= SWALLOWED_MAX && !parts.headers.contains_key(EXPECT) {
            swallow(&mut body).await;
        }
        return Err(body_too_large(bytes_max));
    }
    match tokio::time::timeout(within, collect(&mut body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok((parts.headers, bytes)),
        Ok(Err(problem)) => {
            swallow(&mut body).await;
            Err(problem)
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {within:?}");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail).worth_a_retry())
        }
    }
}

async fn read(request: Request, bytes_max: usize, within: Duration) -> Result<Payload, Problem> {
    let (headers, bytes) = read_bytes(request, bytes_max, within).await?;
    if let Some(coding) = headers.get(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        let detail = format!("the body is encoded as {coding:?}; send it as it is, without Content-Encoding");
        return Err(
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
                .header(ACCEPT_ENCODING, "identity"),
        );
    }
    let is_json = is_json(&headers);
    if !bytes.is_empty() && !is_json {
        let detail = "the body must be JSON; send it with `Content-Type: application/json`";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        ));
    }
    Ok(Payload { bytes, is_json })
}

/// How much of a body that is too large is read and thrown away, and for how long.
const SWALLOWED_MAX: u64 = 4 * 1024 * 1024;
const SWALLOWED_WITHIN: Duration = Duration::from_secs(1);

/// Reads on for a little: a client that writes all before it reads would see a broken pipe, and not why.
async fn swallow(body: &mut Body) {
    let rest = async {
        let mut left = SWALLOWED_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
            if left == 0 {
                break;
            }
        }
    };
    // Who has not sent it by then may see what he sees.
    let _ = tokio::time::timeout(SWALLOWED_WITHIN, rest).await;
}

async fn collect(body: &mut Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let collected = Limited::new(body, bytes_max).collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            body_too_large(bytes_max)
        } else {
            Problem::malformed(
                "body_incomplete",
                "the body broke off before its end; send all of it again",
            )
            .worth_a_retry()
        }
    })
}

fn body_too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body has more than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    value
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

impl Payload {
    /// Reads the body, which must be a JSON object.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        if !self.is_json {
            let detail = "a JSON body is needed; send it with `Content-Type: application/json`";
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                detail,
            ));
        }
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|error| Problem::malformed("invalid_json", format!("the body is not UTF-8: {error}")))?;
        // A struct would also be read from an array, field by field.
        match text.bytes().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => serde_json::from_str(text).map_err(|error| explain::<T>(text, &error)),
            None => Err(Problem::malformed("body_incomplete", "the body is empty; it must be a JSON object").at("")),
            Some(b'[' | b'"' | b'0'..=b'9' | b'-' | b't' | b'f' | b'n') => {
                Err(Problem::malformed("wrong_type", "the body must be a JSON object").at(""))
            }
            Some(_) => Err(Problem::malformed("invalid_json", "the body is not JSON").at("")),
        }
    }

    /// Reads the body, or takes the default if there is none.
    pub fn parse_or_default<'a, T: Deserialize<'a> + Default>(&'a self) -> Result<T, Problem> {
        if self.bytes.is_empty() {
            return Ok(T::default());
        }
        self.parse()
    }
}

/// Reads a body that did not parse once more, this time noting where.
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> Problem {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut pointer = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(traced) => pointer(traced.path()),
        // Only what follows the object is wrong.
        Ok(_) => String::new(),
    };
    let message = in_json_words(&error.to_string());
    let (code, field) = match error.classify() {
        serde_json::error::Category::Eof => ("body_incomplete", None),
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => ("invalid_json", None),
        serde_json::error::Category::Data => data_error(&message),
    };
    if let Some(field) = field {
        let last = format!("/{}", escape(field));
        if !pointer.ends_with(&last) {
            pointer.push_str(&last);
        }
    }
    Problem::malformed(code, message).at(pointer)
}

/// Rust's words for a number help nobody who writes JSON.
fn in_json_words(message: &str) -> String {
    [
        ("expected u64", "expected a whole number, 0 or above"),
        ("expected u32", "expected a whole number, 0 or above and of 32 bits"),
        ("expected i64", "expected a whole number of 64 bits"),
    ]
    .iter()
    .fold(message.to_string(), |message, (rust, json)| {
        message.replacen(rust, json, 1)
    })
}

/// The code of a message of serde's, and the field that it names.
fn data_error(message: &str) -> (&'static str, Option<&str>) {
    let named = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?.strip_prefix(" `")?;
        let end = rest.find("`, ").or_else(|| rest.rfind('`'))?;
        rest.get(..end)
    };
    for (prefix, code) in [
        ("unknown field", "unknown_field"),
        ("duplicate field", "duplicate_field"),
        ("missing field", "missing_field"),
    ] {
        if let Some(field) = named(prefix) {
            return (code, Some(field));
        }
    }
    let is_value = message.starts_with("invalid value") || message.starts_with("unknown variant");
    (if is_value { "invalid_value" } else { "wrong_type" }, None)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } if key.starts_with("$serde_json") => {}
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// One part of the path, checked.
pub struct InPath<T>(pub T);

/// What can stand in a path.
pub trait Part: Sized + Send {
    /// Checks the text.
    fn read(text: &str) -> Result<Self, Problem>;
}

impl Part for SeriesName {
    fn read(text: &str) -> Result<Self, Problem> {
        Ok(Self::parse(text)?)
    }
}

impl Part for EntryId {
    fn read(text: &str) -> Result<Self, Problem> {
        Ok(Self::from_str(text)?)
    }
}

impl Part for GateId {
    fn read(text: &str) -> Result<Self, Problem> {
        Ok(Self::from_str(text)?)
    }
}

impl Part for String {
    fn read(text: &str) -> Result<Self, Problem> {
        Ok(text.to_string())
    }
}

impl<T: Part> FromRequestParts<App> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::malformed("invalid_path", "the path is not percent-encoded UTF-8"))?;
        T::read(&text).map(Self)
    }
}

/// The query, with no parameter unknown or twice.
pub struct InQuery<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = std::error::Error::source(&rejection).map_or_else(String::new, ToString::to_string);
                Err(explain_query(&text))
            }
        }
    }
}

/// No query: a parameter that does something elsewhere must not be taken for one that does it here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

impl FromRequestParts<App> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let InQuery(none) = InQuery::<Self>::from_request_parts(parts, app).await?;
        Ok(none)
    }
}

fn explain_query(text: &str) -> Problem {
    // With a path, serde_path_to_error writes `name: message`.
    let message = ["unknown field", "duplicate field", "missing field"]
        .iter()
        .find_map(|known| text.find(known).and_then(|at| text.get(at..)))
        .unwrap_or(text);
    let code = match data_error(message).0 {
        "unknown_field" => "unknown_parameter",
        "duplicate_field" => "duplicate_parameter",
        "missing_field" => "missing_parameter",
        _ => "invalid_query",
    };
    let words =
        message
            .replacen(" field `", " parameter `", 1)
            .replacen("there are no fields", "there are no parameters", 1);
    let problem = Problem::malformed(code, format!("query: {words}"));
    match data_error(message).1 {
        Some(name) => problem.at(format!("/{}", escape(name))),
        None => problem,
    }
}

/// The caller's key as the header `Idempotency-Key` gives it.
pub struct HeaderKey(pub Option<Key>);

impl FromRequestParts<App> for HeaderKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let mut key = None;
        for value in parts.headers.get_all("idempotency-key") {
            let given = Key::parse(&unquoted(value.as_bytes()));
            let given = given.map_err(|refusal| refusal.at(problem::IDEMPOTENCY_KEY))?;
            if key.as_ref().is_some_and(|key| *key != given) {
                let detail = "the header Idempotency-Key comes twice, with two keys; send one of them";
                return Err(Problem::malformed("key_mismatch", detail).at(problem::IDEMPOTENCY_KEY));
            }
            key = Some(given);
        }
        Ok(Self(key))
    }
}

impl HeaderKey {
    /// Where the key of the request is.
    pub fn pointer(&self) -> &'static str {
        match self.0 {
            Some(_) => problem::IDEMPOTENCY_KEY,
            None => "/key",
        }
    }

    /// The one key of header and body.
    pub fn or_body(self, in_body: Option<Key>) -> Result<Option<Key>, Problem> {
        match (self.0, in_body) {
            (Some(header), Some(body)) if header != body => {
                let detail = "the header Idempotency-Key and the key in the body differ; send one of them";
                Err(Problem::malformed("key_mismatch", detail).at("/key"))
            }
            (header, body) => Ok(header.or(body)),
        }
    }
}

/// The draft standard has a quoted string, common practice a bare one.
fn unquoted(value: &[u8]) -> String {
    // Bytes that are no text stay visible as such, so that the check of keys refuses them.
    let text = String::from_utf8_lossy(value);
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.into_owned(),
    }
}

/// How long the caller wants to wait: `Prefer: wait=N`, in seconds. It is extracted after the caller: what it took to tell
/// who that is is a part of it.
pub struct Patience {
    asked: Option<Duration>,
    waited: Duration,
}

impl Patience {
    /// What is left of it, or of this if he does not say.
    pub fn or(&self, usual: Duration) -> Duration {
        self.asked.unwrap_or(usual).saturating_sub(self.waited)
    }
}

impl IntoParams for Patience {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "`wait=N`: how many seconds to wait at most; a shutdown shortens it";
        vec![described_header("Prefer", what)]
    }
}

/// An optional header, as the description has it.
pub fn described_header(name: &str, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(what))
        .schema(Some(Object::with_type(Type::String)))
        .build()
}

impl FromRequestParts<App> for Patience {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        let asked = parts
            .headers
            .get("prefer")
            .and_then(|value| value.to_str().ok())
            .and_then(wait);
        Ok(Self {
            asked: asked.map(|wait| wait.min(app.limits().wait_max)),
            waited: parts
                .extensions
                .get::<Waited>()
                .map_or(Duration::ZERO, |waited| waited.0),
        })
    }
}

/// A preference that cannot be read is no preference (RFC 7240).
fn wait(prefer: &str) -> Option<Duration> {
    let mut preferences = prefer.split([',', ';']);
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds.clamp(1, 86_400)))
}

/// The version that the caller saw, as `If-Match: "3"`.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let version = version.and_then(|version| version.parse().ok());
    version.map(Some).ok_or_else(|| {
        let detail = "If-Match must be the ETag of the series as you read it, e.g. \"3\"";
        Problem::malformed("invalid_header", detail).at(problem::IF_MATCH)
    })
}

/// Whether the caller has this version already.
pub fn has_version(headers: &HeaderMap, version: u64) -> bool {
    let header: HeaderName = axum::http::header::IF_NONE_MATCH;
    let known = format!("\"{version}\"");
    let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut tags = value.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_key_is_the_bare_one() {
        assert_eq!(unquoted(br#""pay_1""#), "pay_1");
        assert_eq!(unquoted(br"pay_1"), "pay_1");
        assert_eq!(unquoted(br#""a\"b\\c""#), r#"a"b\c"#);
        assert_eq!(unquoted(br#"""#), "\"");
    }

    #[test]
    fn a_wait_is_read_among_preferences() {
        assert_eq!(wait("respond-async, wait=10"), Some(Duration::from_secs(10)));
        assert_eq!(wait("wait=0"), Some(Duration::from_secs(1)));
        assert_eq!(wait("wait=x"), None);
    }

    #[test]
    fn a_field_is_named_by_serde() {
        assert_eq!(
            data_error("unknown field `a`, expected `b` or `c` at line 1"),
            ("unknown_field", Some("a"))
        );
        assert_eq!(
            data_error("duplicate field `a` at line 1 column 2"),
            ("duplicate_field", Some("a"))
        );
        assert_eq!(
            data_error("invalid type: integer `1`, expected a string"),
            ("wrong_type", None)
        );
    }
}
