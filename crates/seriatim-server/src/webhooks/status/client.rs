//! One HTTPS client for all providers: limits on time and size, no redirects.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, StatusCode, Url};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// No answer of a status API is longer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// How asking went wrong.
pub(super) struct Asked {
    pub what: String,
    pub retry: bool,
    pub not_found: bool,
    /// The provider did not take the credentials; with a token, a new one may help.
    pub unauthorized: bool,
}

impl Asked {
    pub fn never(what: String) -> Self {
        Self {
            what,
            retry: false,
            not_found: false,
            unauthorized: false,
        }
    }

    pub fn again(what: String) -> Self {
        Self {
            retry: true,
            ..Self::never(what)
        }
    }
}

/// A client that trusts the system's certificates and follows nobody elsewhere: requests carry credentials.
///
/// # Errors
/// TLS cannot be set up.
pub fn client(within: Duration) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    // What of the system's store cannot be read is no reason to trust anybody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .timeout(within)
        .connect_timeout(within.min(Duration::from_secs(5)))
        .user_agent(concat!("seriatim/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| format!("the HTTP client cannot be set up: {error}"))
}

/// A base with more segments, each percent-encoded: a reference cannot reach another resource.
pub(super) fn join(base: &Url, segments: &[&str]) -> Result<Url, Asked> {
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(Asked::never(
            "a reference of only points cannot be asked for".to_string(),
        ));
    }
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty().extend(segments);
        }
        Err(()) => return Err(Asked::never(format!("{base} cannot be a base"))),
    }
    Ok(url)
}

pub(super) struct Client(reqwest::Client);

impl Client {
    pub fn new(within: Duration) -> Result<Self, String> {
        client(within).map(Self)
    }

    pub fn get(&self, url: Url) -> RequestBuilder {
        self.0.get(url)
    }

    pub fn post(&self, url: Url) -> RequestBuilder {
        self.0.post(url)
    }

    /// The body of a good answer.
    pub async fn ask(&self, request: RequestBuilder) -> Result<Vec<u8>, Asked> {
        let mut response = request.send().await.map_err(|error| lost(&error))?;
        check(response.status())?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Asked::never(format!(
                    "its answer is longer than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn check(status: StatusCode) -> Result<(), Asked> {
    let said = format!("it answered {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(Asked::never(format!(
            "{said}, a redirect, which is not followed; correct status_url"
        ))),
        401 | 403 => Err(Asked {
            unauthorized: true,
            ..Asked::never(format!("{said}; check status_id, status_secret and status_version"))
        }),
        404 => Err(Asked {
            not_found: true,
            ..Asked::never(format!(
                "{said}: it knows no such payment, or status_url is another service's"
            ))
        }),
        408 | 425 | 429 | 500..=599 => Err(Asked::again(said)),
        _ => Err(Asked::never(said)),
    }
}

/// Asking is a read: whatever was lost can be asked for again. The URL may hold a reference, so it is left out.
fn lost(error: &reqwest::Error) -> Asked {
    if error.is_timeout() {
        return Asked::again("no answer came in time".to_string());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_builder() {
        Asked::never(format!("the request cannot be made: {cause}"))
    } else {
        Asked::again(format!("the connection failed: {cause}"))
    }
}
