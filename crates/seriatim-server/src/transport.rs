//! How a verb of the command line reaches the service: each verb is one HTTP request, and there are three ways to
//! deliver it. A verb must never know which.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tower::ServiceExt;

use crate::auth::Local;

/// One request: a verb as the HTTP surface knows it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers besides authorization and content type.
    pub headers: Vec<(HeaderName, String)>,
    /// The JSON body, as text: a document in it is stored as it was written, byte for byte.
    pub body: Option<String>,
}

impl Call {
    /// A call without a body.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `POST` of a JSON body.
    ///
    /// # Errors
    /// The body cannot be written as JSON.
    pub fn post(path: impl Into<String>, body: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        Self::new(Method::POST, path).with_body(body)
    }

    /// The same call with a JSON body.
    ///
    /// # Errors
    /// The body cannot be written as JSON.
    pub fn with_body(mut self, body: &impl serde::Serialize) -> Result<Self, serde_json::Error> {
        self.body = Some(serde_json::to_string(body)?);
        Ok(self)
    }

    /// The same call with one more header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_request(self, authority: &str, key: Option<&str>) -> Result<Request<Full<Bytes>>, TransportError> {
        let malformed =
            |error: &dyn std::fmt::Display| TransportError::Unusable(format!("cannot ask {authority}: {error}"));
        let body = Bytes::from(self.body.unwrap_or_default());
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(HOST, authority);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| TransportError::Unusable("the API key has characters that no API key has".to_string()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| malformed(&error))?;
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| malformed(&error))
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address or key cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// No connection: nothing happened.
    #[error("{0}")]
    Unreachable(String),
    /// The request was sent and its answer lost.
    #[error("{0}")]
    Lost(String),
}

/// A way to the service.
pub enum Transport {
    /// Over the network, to `http://…`.
    Network(Wire),
    /// To the server that holds the lock of this data directory.
    Socket(Wire),
    /// Nobody holds the lock but us: the service runs in this process, for this one verb.
    InProcess(Router),
}

impl Transport {
    /// To a server at a URL, with an API key.
    ///
    /// # Errors
    /// The URL is not one of a server that this build can reach.
    pub fn network(url: &str, key: Option<String>) -> Result<Self, TransportError> {
        let address = Address::of(url)?;
        Ok(Self::Network(Wire::new(address, key)))
    }

    /// To the server of this data directory.
    #[must_use]
    pub fn socket(path: PathBuf) -> Self {
        Self::Socket(Wire::new(Address::Socket(path), None))
    }

    /// The same way for one more caller, who does not wait for the first one's answers.
    #[must_use]
    pub fn another(&self) -> Self {
        match self {
            Self::Network(wire) => Self::Network(wire.another()),
            Self::Socket(wire) => Self::Socket(wire.another()),
            Self::InProcess(router) => Self::InProcess(router.clone()),
        }
    }

    /// Carries out one call.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn send(&self, call: Call) -> Result<Reply, TransportError> {
        match self {
            Self::Network(wire) | Self::Socket(wire) => wire.send(call).await,
            Self::InProcess(router) => in_process(router.clone(), call).await,
        }
    }
}

async fn in_process(router: Router, call: Call) -> Result<Reply, TransportError> {
    let actor = crate::open::local_actor().map_err(|error| TransportError::Unusable(error.to_string()))?;
    let mut request = call.into_request("localhost", None)?;
    request.extensions_mut().insert(Local(actor));
    let lost = |error: &dyn std::fmt::Display| TransportError::Lost(format!("the answer broke off: {error}"));
    let response = router.oneshot(request).await.map_err(|error| lost(&error))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| lost(&error))?.to_bytes();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body,
    })
}

/// The header in which the server at a socket says which database it holds.
pub const STORE: HeaderName = HeaderName::from_static("seriatim-store");

/// Which database the server at this socket holds, if it says so; nothing if nobody answers there.
pub async fn store_behind(socket: &Path) -> Option<Option<String>> {
    let there = Transport::socket(socket.to_path_buf());
    let asked = there.send(Call::get("/livez"));
    let reply = tokio::time::timeout(CONNECT_WITHIN, asked).await.ok()?.ok()?;
    let said = reply.headers.get(STORE).and_then(|value| value.to_str().ok());
    Some(said.map(str::to_string))
}

/// A URL as it may be shown: user and password stand before the last `@`, even where it is no URL at all.
#[must_use]
pub fn without_login(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, rest)) => {
            let scheme = ["http://", "https://"]
                .into_iter()
                .find(|scheme| before.starts_with(scheme));
            format!("{}(hidden)@{rest}", scheme.unwrap_or_default())
        }
        None => url.to_string(),
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Tcp { authority: String, base: String },
    Socket(PathBuf),
}

impl Address {
    fn of(url: &str) -> Result<Self, TransportError> {
        let shown = without_login(url);
        let unusable = |what: &str| Err(TransportError::Unusable(format!("--server {shown}: {what}")));
        if url.starts_with("https://") {
            return unusable(
                "this build speaks http only; reach the server over its private address or through a local TLS proxy",
            );
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return unusable("write it like http://127.0.0.1:8080");
        };
        let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() || authority.contains('@') {
            return unusable("write it like http://127.0.0.1:8080; the key comes from SERIATIM_API_KEY");
        }
        let base = base.trim_end_matches('/');
        Ok(Self::Tcp {
            authority: authority.to_string(),
            base: if base.is_empty() {
                String::new()
            } else {
                format!("/{base}")
            },
        })
    }

    fn authority(&self) -> &str {
        match self {
            Self::Tcp { authority, .. } => authority,
            Self::Socket(_) => "localhost",
        }
    }

    fn base(&self) -> &str {
        match self {
            Self::Tcp { base, .. } => base,
            Self::Socket(_) => "",
        }
    }
}

/// A server at the other end of a connection that is kept between calls.
pub struct Wire {
    address: Address,
    key: Option<String>,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

/// Nobody needs longer to accept a connection on a healthy network.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

impl Wire {
    fn new(address: Address, key: Option<String>) -> Self {
        Self {
            address,
            key,
            connection: Mutex::new(None),
        }
    }

    fn another(&self) -> Self {
        Self::new(self.address.clone(), self.key.clone())
    }

    async fn send(&self, mut call: Call) -> Result<Reply, TransportError> {
        call.path.insert_str(0, self.address.base());
        let request = call.into_request(self.address.authority(), self.key.as_deref())?;
        let mut connection = self.connection.lock().await;
        let mut sender = match connection.take() {
            Some(mut kept) => match kept.ready().await {
                Ok(()) => kept,
                // The server may close a connection that is idle.
                Err(_) => self.connect().await?,
            },
            None => self.connect().await?,
        };
        let lost = |error: hyper::Error| {
            let to = self.address.authority();
            TransportError::Lost(format!("the connection to {to} broke before the answer came: {error}"))
        };
        let response = sender.send_request(request).await.map_err(lost)?;
        let reply = read(response).await.map_err(lost)?;
        *connection = Some(sender);
        Ok(reply)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, TransportError> {
        let (to, connected) = match &self.address {
            Address::Tcp { authority, .. } => {
                let with_port = if has_port(authority) {
                    authority.clone()
                } else {
                    format!("{authority}:80")
                };
                let connecting = async { speak(TcpStream::connect(&with_port).await?).await };
                (
                    authority.clone(),
                    tokio::time::timeout(CONNECT_WITHIN, connecting).await,
                )
            }
            Address::Socket(path) => {
                let connecting = async { speak(UnixStream::connect(path).await?).await };
                (
                    path.display().to_string(),
                    tokio::time::timeout(CONNECT_WITHIN, connecting).await,
                )
            }
        };
        match connected {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(error)) => Err(TransportError::Unreachable(format!("cannot reach {to}: {error}"))),
            Err(_) => Err(TransportError::Unreachable(format!(
                "cannot reach {to} within {CONNECT_WITHIN:?}"
            ))),
        }
    }
}

fn has_port(authority: &str) -> bool {
    let after_brackets = authority.rsplit(']').next().unwrap_or(authority);
    after_brackets.contains(':')
}

async fn speak<S>(stream: S) -> std::io::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    // It ends when the sender is dropped; what goes wrong on it is told to the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(response: hyper::Response<Incoming>) -> Result<Reply, hyper::Error> {
    let (head, body) = response.into_parts();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}

/// A path from parts, each of which may hold any character.
#[must_use]
pub fn path(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("/{}", escape(part))).collect()
}

/// A query from names and values; absent values are left out.
#[must_use]
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let given = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", escape((*value)?))));
    let joined = given.collect::<Vec<_>>().join("&");
    if joined.is_empty() {
        joined
    } else {
        format!("?{joined}")
    }
}

/// Percent-encodes everything but what RFC 3986 calls unreserved.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(authority: &str, base: &str) -> Address {
        Address::Tcp {
            authority: authority.to_string(),
            base: base.to_string(),
        }
    }

    #[test]
    fn a_server_is_an_http_url() {
        assert_eq!(
            Address::of("http://127.0.0.1:8080/").unwrap(),
            tcp("127.0.0.1:8080", "")
        );
        assert_eq!(Address::of("http://numbers/api/").unwrap(), tcp("numbers", "/api"));
        for bad in ["https://x", "localhost:8080", "http://", "http://user:pw@host"] {
            assert!(matches!(Address::of(bad), Err(TransportError::Unusable(_))), "{bad}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_login() {
        for (url, shown) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://u:hunter5@127.0.0.1:1/api", "http://(hidden)@127.0.0.1:1/api"),
            ("http://u:hun/ter@5@host", "http://(hidden)@host"),
            ("u:hunter5@host", "(hidden)@host"),
            ("u:hun//ter5@host", "(hidden)@host"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn a_host_without_a_port_is_told_from_one_with_it() {
        assert!(has_port("localhost:80") && has_port("[::1]:80"));
        assert!(!has_port("localhost") && !has_port("[::1]"));
    }

    #[test]
    fn what_a_user_writes_stays_inside_its_part_of_the_url() {
        assert_eq!(path(&["v1", "series", "a/b?c"]), "/v1/series/a%2Fb%3Fc");
        assert_eq!(query(&[("number", Some("INV&1")), ("tenant", None)]), "?number=INV%261");
        assert_eq!(query(&[("tenant", None)]), "");
    }
}
