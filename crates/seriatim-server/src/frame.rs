//! What happens around every request: its id, its problem in writing, its line in log and metrics.
//!
//! One function and no stack of layers, for each layer would box a future and a body per request.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::problem::{Problem, keep_router_headers};

/// Answers one request.
pub async fn frame(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&app, &request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let mut response = within_limits(&app, &method, caught(next.run(request))).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = write(&app, problem, &response, &id, &method, route);
    }
    let took = started.elapsed();
    app.meters().answered(&method, route, response.status(), took);
    tracing::debug!(%method, route, status = response.status().as_u16(), ?took, request_id = %id, "answered");
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// A request brings its id, or gets one.
fn request_id(app: &App, request: &Request) -> String {
    let fits = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| (0x21..0x7f).contains(&b));
    let brought = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    brought
        .filter(fits)
        .map_or_else(|| app.next_request_id(), str::to_string)
}

/// A read may be given up; a command has its own deadline in the issuer and is never cut off here.
async fn within_limits(app: &App, method: &Method, answer: impl Future<Output = Response>) -> Response {
    if *method != Method::GET {
        return answer.await;
    }
    let within = app.limits().read_within;
    tokio::time::timeout(within, answer).await.unwrap_or_else(|_| {
        let detail = format!("the read took longer than {within:?}; ask for less at a time");
        Problem::unavailable("deadline_exceeded", detail, within).into_response()
    })
}

/// A panic is our bug, but not the end of the connection.
async fn caught(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    std::future::poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Problem::panicked().into_response()),
        },
    )
    .await
}

fn write(app: &App, problem: Problem, routed: &Response, id: &str, method: &Method, route: &str) -> Response {
    if problem.is_failure() {
        let (code, what) = (problem.code(), problem.for_log());
        tracing::warn!(%method, route, code, request_id = id, "request failed: {what}");
    }
    let mut response = problem.render(id, app.now(), !app.options().production);
    keep_router_headers(routed.headers(), response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use seriatim::{Issuer, Memory};
    use tower::ServiceExt as _;

    use super::*;
    use crate::app::AppOptions;

    async fn boom() {
        panic!("the secret is 42");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        let options = AppOptions {
            production: true,
            ..AppOptions::default()
        };
        let app = App::new(Issuer::open(Memory::new()).await.unwrap(), options);
        let router: Router = Router::new()
            .route("/boom", get(boom))
            .layer(from_fn_with_state(app, frame));
        let response = router
            .oneshot(Request::get("/boom").body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            body.contains("\"code\":\"internal\"") && body.contains("\"outcome\":\"unknown\""),
            "{body}"
        );
        assert!(!body.contains("secret") && !body.contains("panick"), "{body}");
    }
}
