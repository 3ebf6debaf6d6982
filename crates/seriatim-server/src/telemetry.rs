//! What is measured of HTTP, and the page that shows all that is measured. Labels never hold a tenant or a number.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
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
    describe_gauge!("seriatim_queue_depth", "Commands that wait for a commit");
    describe_gauge!("seriatim_build_info", "1, with the version");
    Ok(handle)
}

/// A request was answered.
pub(crate) fn answered(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let route: std::sync::Arc<str> = route.into();
    let method = method_name(method);
    let status = status_class(status);
    counter!("seriatim_http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    histogram!("seriatim_http_request_duration_seconds", "route" => route).record(took.as_secs_f64());
}

/// What is only known when somebody asks.
pub(crate) fn gauges(queued: usize, version: &'static str) {
    gauge!("seriatim_queue_depth").set(u32::try_from(queued).map_or(f64::MAX, f64::from));
    gauge!("seriatim_build_info", "version" => version).set(1.0);
}

/// A caller can invent methods; a label must not.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "200",
        201 => "201",
        202 => "202",
        304 => "304",
        400 => "400",
        401 => "401",
        403 => "403",
        404 => "404",
        409 => "409",
        422 => "422",
        500 => "500",
        503 => "503",
        _ if status.is_client_error() => "4xx",
        _ if status.is_server_error() => "5xx",
        _ => "other",
    }
}
