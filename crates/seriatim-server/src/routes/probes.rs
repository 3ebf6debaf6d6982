//! What orchestrators and monitors ask. None of it needs an API key, and none of it issues a number.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use seriatim::store::Setting;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{set, with_type};
use crate::app::App;
use crate::telemetry;

/// What was found when the store was asked last. It is asked once a second at most, whoever probes.
#[derive(Default)]
pub struct Readiness {
    last: Mutex<Option<Found>>,
}

#[derive(Clone)]
struct Found {
    at: Instant,
    store: Result<(), String>,
    settings: Vec<Setting>,
}

/// The state of a store whose reason names tenants, series, files and nodes.
const FENCE: &str = "fence";
const FRESH: Duration = Duration::from_secs(1);
const PING_WITHIN: Duration = Duration::from_secs(1);

impl Readiness {
    async fn look(&self, app: &App) -> Found {
        let mut last = self.last.lock().await;
        if let Some(found) = last.as_ref().filter(|found| found.at.elapsed() < FRESH) {
            return found.clone();
        }
        let found = ask(app).await;
        let was_open = last.as_ref().is_none_or(|found| found.shut_fence().is_none());
        if let Some(fence) = found.shut_fence().filter(|_| was_open) {
            tracing::warn!(why = %fence.found, "the fence is shut: no number may be taken");
        }
        *last = Some(found.clone());
        found
    }
}

impl Found {
    fn shut_fence(&self) -> Option<&Setting> {
        self.settings
            .iter()
            .find(|setting| setting.name == FENCE && !setting.holds)
    }
}

async fn ask(app: &App) -> Found {
    let reads = app.issuer().reads();
    let ping = async {
        reads.ready().await?;
        reads.settings().await
    };
    let (store, settings) = match timeout(PING_WITHIN, ping).await {
        Ok(Ok(settings)) => (Ok(()), settings),
        Ok(Err(error)) => (Err(error.to_string()), Vec::new()),
        Err(_) => (Err(format!("no answer within {PING_WITHIN:?}")), Vec::new()),
    };
    Found {
        at: Instant::now(),
        store,
        settings,
    }
}

/// Whether the process lives; never touches the store
#[utoipa::path(
    get, path = "/livez", tag = "probes", operation_id = "livez",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain")),
)]
pub async fn livez() -> Response {
    text(StatusCode::OK, "ok\n".to_string())
}

/// Whether requests may be sent here
#[utoipa::path(
    get, path = "/readyz", tag = "probes", operation_id = "readyz",
    params(("verbose" = Option<String>, Query, description = "If given: one line for each thing that was looked at")),
    responses(
        (status = 200, description = "They may", body = String, content_type = "text/plain"),
        (status = 503, description = "The store cannot be read, or a shutdown has begun", body = String, content_type = "text/plain"),
    ),
)]
pub async fn readyz(State(app): State<App>, uri: Uri) -> Response {
    let stopping = app.is_stopping();
    let found = app.readiness().look(&app).await;
    let ready = !stopping && found.store.is_ok();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")));
    let body = match (verbose, ready) {
        (true, _) => in_full(&found, stopping),
        (false, true) => "ok\n".to_string(),
        (false, false) if stopping => "shutting down\n".to_string(),
        (false, false) => "the store cannot be read\n".to_string(),
    };
    text(status, body)
}

/// The same as `/readyz`
#[utoipa::path(
    get, path = "/healthz", tag = "probes", operation_id = "healthz",
    responses(
        (status = 200, description = "Requests may be sent here", body = String, content_type = "text/plain"),
        (status = 503, description = "They may not", body = String, content_type = "text/plain"),
    ),
)]
pub async fn healthz(app: State<App>, uri: Uri) -> Response {
    readyz(app, uri).await
}

fn in_full(found: &Found, stopping: bool) -> String {
    let mut lines = vec![match &found.store {
        Ok(()) => "[+]store ok".to_string(),
        // Why is in the log: anybody can read this page.
        Err(_) => "[-]store failed".to_string(),
    }];
    lines.push(
        if stopping {
            "[-]shutdown begun"
        } else {
            "[+]shutdown not begun"
        }
        .to_string(),
    );
    let broken = found.settings.iter().filter(|setting| !setting.holds);
    lines.extend(broken.map(|setting| match setting.name {
        FENCE => "[!]fence shut".to_string(),
        name => format!("[!]{name} {}", setting.found),
    }));
    lines.push(
        if found.store.is_ok() && !stopping {
            "ready"
        } else {
            "not ready"
        }
        .to_string(),
    );
    lines.join("\n") + "\n"
}

/// Everything that is measured, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "probes", operation_id = "metrics",
    responses((status = 200, description = "The Prometheus text format", body = String, content_type = "text/plain")),
)]
pub async fn metrics(State(app): State<App>) -> Response {
    telemetry::gauges(app.issuer().queued(), app.options().version);
    let page = app
        .options()
        .metrics
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render);
    let mut response = text(StatusCode::OK, page.unwrap_or_default());
    set(
        &mut response,
        axum::http::header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    response
}

fn text(status: StatusCode, body: String) -> Response {
    let mut response = with_type(status, "text/plain; charset=utf-8", Body::from(body));
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}
