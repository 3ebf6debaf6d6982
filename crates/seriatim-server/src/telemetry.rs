//! What is measured of HTTP, and the page that shows all that is measured. Labels never hold a tenant or a number.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

/// Starts measuring in this process. Once; before the issuer is opened.
///
/// # Errors
/// Something else measures already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_string()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_string()), SIZES)?
        .install_recorder()?;
    describe_counter!(
        "seriatim_http_requests_total",
        "Requests answered, by method, route and status"
    );
    describe_histogram!(
        "seriatim_http_request_duration_seconds",
        "From request to answer, by route"
    );
    describe_counter!(
        "seriatim_webhook_deliveries_total",
        "Deliveries of payment providers, by source and outcome"
    );
    describe_histogram!(
        "seriatim_effect_duration_seconds",
        "One attempt of a worker at a payment's event or receipt, by effect"
    );
    describe_gauge!("seriatim_queue_depth", "Commands that wait for a commit");
    describe_gauge!(
        "seriatim_witness_current",
        "1 if the witness was written or had nothing new at the last look, else 0"
    );
    describe_gauge!("seriatim_build_info", "1, with the version");
    Ok(handle)
}

/// The meters of each route, found once: to look one up by its labels would cost more than to count.
#[derive(Default)]
pub(crate) struct Meters {
    routes: RwLock<HashMap<String, Arc<RouteMeters>>>,
}

struct RouteMeters {
    route: Arc<str>,
    duration: Histogram,
    counters: [[OnceLock<Counter>; STATUSES.len() + 1]; METHODS.len() + 1],
}

/// A caller can invent methods; a label must not. What is not named here is `other`.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
const STATUSES: [&str; 20] = [
    "200", "201", "202", "304", "400", "401", "403", "404", "405", "408", "409", "412", "413", "415", "422", "428",
    "429", "500", "502", "503",
];

impl Meters {
    /// A request was answered.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let meters = self.of(route);
        meters.duration.record(took.as_secs_f64());
        meters.counter(method.as_str(), status.as_str()).increment(1);
    }

    fn of(&self, route: &str) -> Arc<RouteMeters> {
        if let Some(meters) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return meters.clone();
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(RouteMeters::new(route));
        routes.entry(route.to_string()).or_insert_with(new).clone()
    }
}

impl RouteMeters {
    fn new(route: &str) -> Self {
        let route: Arc<str> = route.into();
        Self {
            duration: histogram!("seriatim_http_request_duration_seconds", "route" => route.clone()),
            route,
            counters: Default::default(),
        }
    }

    fn counter(&self, method: &str, status: &str) -> &Counter {
        let at = |known: &[&str], text: &str| known.iter().position(|known| *known == text).unwrap_or(known.len());
        let (m, s) = (at(&METHODS, method), at(&STATUSES, status));
        self.counters[m][s].get_or_init(|| {
            let method = METHODS.get(m).copied().unwrap_or("other");
            let status = STATUSES.get(s).copied().unwrap_or("other");
            counter!("seriatim_http_requests_total", "method" => method, "route" => self.route.clone(), "status" => status)
        })
    }
}

/// Whether the witness knows what the store has, as of the last look; nothing is shown where no witness is kept.
pub(crate) fn witness(is_current: bool) {
    gauge!("seriatim_witness_current").set(f64::from(u8::from(is_current)));
}

/// What is only known when somebody asks.
pub(crate) fn gauges(queued: usize, version: &'static str) {
    gauge!("seriatim_queue_depth").set(u32::try_from(queued).map_or(f64::MAX, f64::from));
    gauge!("seriatim_build_info", "version" => version).set(1.0);
}
