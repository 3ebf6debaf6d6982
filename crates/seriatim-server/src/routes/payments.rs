//! Payments: deliveries of providers, what a shop expects, and receipts. A route only believes, stores and shows; what
//! follows is done by workers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, ETAG};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use metrics::counter;
use serde::Deserialize;
use seriatim::{ApiScope, EntryId, Tenant};
use seriatim_receipt::DocumentError;
use utoipa::IntoParams;

use super::view::View;
use super::{json, set, with_type};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{InPath, InQuery, NoQuery, Patience, Payload, Raw};
use crate::payments::{Desk, NoReceipt, Payments, VerifyError, is_held};
use crate::problem::{Problem, Refused};
use crate::webhooks::PaymentReference;
use crate::wire;

/// How long a verification waits for its event to lead to something, if the caller does not say.
const VERIFY_WITHIN: Duration = Duration::from_secs(5);

/// Take in an event of a payment provider
///
/// The body is taken as it comes, and its signature is checked as the source is configured. It is stored before the answer.
#[utoipa::path(
    post, path = "/v1/webhooks/{source}", tag = "payments", operation_id = "receive_webhook",
    params(("source" = String, Path, description = "A `[sources.NAME]` of the configuration")),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The event is stored", body = wire::Delivered),
        (status = "default", response = Refused),
    ),
)]
pub async fn receive(
    State(app): State<App>,
    InPath(name): InPath<String>,
    headers: HeaderMap,
    body: Result<Raw, Problem>,
) -> Result<Response, Problem> {
    let payments = payments(&app)?;
    let desk = payments.desk(&name).ok_or_else(|| unknown_source(&name))?;
    let count = |outcome: &'static str| {
        counter!("seriatim_webhook_deliveries_total", "source" => desk.source.name.clone(), "outcome" => outcome)
            .increment(1);
    };
    // What did not arrive whole is looked for in the same place as all that is refused.
    let Raw(body) = body.inspect_err(|problem| {
        count(problem.code());
        tracing::warn!(source = %desk.source.name, reason = problem.code(), "delivery refused: {}", problem.for_log());
    })?;
    let received = desk.source.receive(&headers, body, app.now()).map_err(|refused| {
        count(refused.code());
        tracing::warn!(source = %desk.source.name, reason = refused.code(), "delivery refused: {refused}");
        match refused.status() {
            // Who guesses is told nothing.
            401 => Problem::unauthorized(
                "invalid_signature",
                "the delivery is not signed as this source is configured",
            ),
            413 => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", refused.to_string()),
            _ => Problem::malformed("invalid_event", refused.to_string()),
        }
    })?;
    let (gate, duplicate) = payments.deliver(&desk.source, &received).await?;
    count(if duplicate { "duplicate" } else { "stored" });
    let became = if duplicate {
        "skipped: delivered before"
    } else {
        "stored"
    };
    tracing::info!(source = %desk.source.name, event = %received.event.event_id, gate = %gate.id, "delivery {became}");
    json(
        StatusCode::OK,
        &wire::Delivered {
            event_id: &received.event.event_id,
            gate: gate.id.to_string(),
            duplicate,
        },
    )
}

/// Whose payment.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct PaymentQuery {
    /// Whose; `default` if there is only one.
    tenant: Option<String>,
}

/// Whose payment, and whom to ask.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct VerifyQuery {
    /// Whose; `default` if there is only one.
    tenant: Option<String>,
    /// The source to ask; may be left out if the tenant has but one with a status API.
    source: Option<String>,
}

/// Say what is expected of a payment
///
/// Until it is paid it may be said again. A paid event that differs is held for review.
#[utoipa::path(
    put, path = "/v1/payments/{reference}", tag = "payments", operation_id = "expect_payment",
    security(("api_key" = ["issue"])),
    params(("reference" = String, Path, description = "The payment's reference, percent-encoded"), PaymentQuery),
    request_body = wire::PaymentAsk,
    responses(
        (status = 200, description = "The payment", body = wire::Payment),
        (status = "default", response = Refused),
    ),
)]
pub async fn expect(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    InQuery(query): InQuery<PaymentQuery>,
    payload: Payload,
) -> Result<Response, Problem> {
    let tenant = wire::tenant(query.tenant.as_deref())?;
    caller.access.require_gates(ApiScope::Issue, &tenant)?;
    let payments = payments(&app)?;
    let reference = reference_of(&reference)?;
    let expected = payload.parse::<wire::PaymentAsk<'_>>()?.expected()?;
    payments.check_receipt(&tenant, &expected).map_err(no_receipt)?;
    payments.check_params(&tenant, &expected).await?;
    payments.expect(caller, &tenant, &reference, &expected).await?;
    let shown = show_payment(payments, &tenant, &reference).await?;
    shown.ok_or_else(|| unknown_payment(&reference))
}

/// Show a payment
#[utoipa::path(
    get, path = "/v1/payments/{reference}", tag = "payments", operation_id = "show_payment",
    security(("api_key" = ["read"])),
    params(("reference" = String, Path, description = "The payment's reference, percent-encoded"), PaymentQuery),
    responses(
        (status = 200, description = "The payment", body = wire::Payment),
        (status = "default", response = Refused),
    ),
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    InQuery(query): InQuery<PaymentQuery>,
) -> Result<Response, Problem> {
    let tenant = wire::tenant(query.tenant.as_deref())?;
    caller.access.require_gates(ApiScope::Read, &tenant)?;
    let reference = reference_of(&reference)?;
    let shown = show_payment(payments(&app)?, &tenant, &reference).await?;
    shown.ok_or_else(|| unknown_payment(&reference))
}

/// Ask the provider what became of a payment
///
/// Its answer runs the same way as a webhook. Waits for what follows, `Prefer: wait=N` seconds or five.
#[utoipa::path(
    post, path = "/v1/payments/{reference}/verify", tag = "payments", operation_id = "verify_payment",
    security(("api_key" = ["issue"])),
    params(
        ("reference" = String, Path, description = "The payment's reference, percent-encoded"), VerifyQuery,
        Patience,
    ),
    responses(
        (status = 200, description = "The payment as it is now", body = wire::Payment),
        (status = "default", response = Refused),
    ),
)]
pub async fn verify(
    State(app): State<App>,
    caller: Caller,
    InPath(reference): InPath<String>,
    InQuery(query): InQuery<VerifyQuery>,
    patience: Patience,
) -> Result<Response, Problem> {
    let tenant = wire::tenant(query.tenant.as_deref())?;
    caller.access.require_gates(ApiScope::Issue, &tenant)?;
    let payments = payments(&app)?;
    let reference = reference_of(&reference)?;
    let desk = desk_of(payments, &tenant, query.source.as_deref())?;
    let gate = payments.verify(desk, &reference).await.map_err(unverified)?;
    let settled = |within| payments.settled(&tenant, &reference, gate.id, within);
    let event = tokio::select! {
        event = settled(patience.or(VERIFY_WITHIN)) => event?,
        // What follows comes by itself; the connection may not be there for the rest of the wait.
        () = app.stopped() => settled(Duration::ZERO).await?,
    };
    if let Some(gate) = event.filter(|gate| is_held(gate)) {
        let why = gate.last_error.as_ref().map(ToString::to_string).unwrap_or_default();
        let detail = format!(
            "the payment is held: {why}; look, put it right, and `seriatim gate retry {}`",
            gate.id
        );
        return Err(Problem::new(StatusCode::CONFLICT, "payment_held", detail));
    }
    let shown = show_payment(payments, &tenant, &reference).await?;
    shown.ok_or_else(|| {
        let detail = format!(
            "what the provider says of payment {reference} is stored, and nothing is expected of it; say what with PUT, and \
             what follows comes by itself"
        );
        Problem::new(StatusCode::CONFLICT, "payment_not_expected", detail)
    })
}

/// The receipt of an entry, as PDF
#[utoipa::path(
    get, path = "/v1/entries/{id}/receipt", tag = "payments", operation_id = "show_receipt",
    security(("api_key" = ["read"])),
    params(("id" = String, Path, description = "The entry")),
    responses(
        (status = 200, description = "The receipt", content_type = "application/pdf", body = wire::Pdf,
            headers(("ETag" = String, description = "The SHA-256 of the receipt, quoted"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn receipt(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<EntryId>,
    NoQuery {}: NoQuery,
) -> Result<Response, Problem> {
    caller.access.require(ApiScope::Read)?;
    let view = View::of(&app, caller.access).await?;
    let entry = view.entry(&app, id).await?;
    match payments(&app)?.receipt(&entry).await? {
        Ok((kept, bytes)) => {
            let mut response = with_type(StatusCode::OK, "application/pdf", Body::from(bytes));
            set(&mut response, ETAG, &format!("\"{}\"", kept.sha256));
            set(&mut response, CACHE_CONTROL, "private, max-age=31536000, immutable");
            // The entry's id and nothing that a caller chose.
            set(
                &mut response,
                CONTENT_DISPOSITION,
                &format!("inline; filename=\"{id}.pdf\""),
            );
            Ok(response)
        }
        Err(NoReceipt::Never) => {
            let detail = "no receipt was asked for with this entry";
            Err(Problem::not_found("no_receipt", detail))
        }
        Err(NoReceipt::NotYet) => {
            let detail = "the receipt is being made; ask again in a moment";
            Err(Problem::unavailable(
                "receipt_not_ready",
                detail,
                Duration::from_secs(1),
            ))
        }
        Err(NoReceipt::Held(why)) => {
            let detail =
                format!("the receipt could not be made: {why}; put it right, and `seriatim gate retry` its gate");
            Err(Problem::new(StatusCode::CONFLICT, "receipt_held", detail))
        }
        Err(NoReceipt::Redacted) => {
            let detail = "the document of this entry is redacted, and its receipt was removed with it";
            Err(Problem::new(StatusCode::GONE, "receipt_redacted", detail))
        }
        Err(NoReceipt::Damaged(what)) => {
            tracing::error!(entry = %id, "a receipt cannot be served: {what}");
            let detail = "the file of this receipt is gone or was changed, and what is made now is not the same, for \
                          template or fonts are others; look for the file in a backup of the receipts directory";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err(Problem::new(status, "receipt_damaged", detail))
        }
    }
}

async fn show_payment(
    payments: &Payments,
    tenant: &Tenant,
    reference: &PaymentReference,
) -> Result<Option<Response>, Problem> {
    let Some(payment) = payments.payment(tenant, reference).await? else {
        return Ok(None);
    };
    let afterwards = payments.afterwards(&payment).await?;
    let body = wire::Payment::of(reference, tenant, &payment, &afterwards);
    json(StatusCode::OK, &body).map(Some)
}

fn unknown_payment(reference: &PaymentReference) -> Problem {
    let detail = format!("there is no payment {reference}; say what is expected with PUT");
    Problem::not_found("unknown_payment", detail)
}

fn payments(app: &App) -> Result<&Arc<Payments>, Problem> {
    app.payments().ok_or_else(|| {
        Problem::not_found(
            "no_payments",
            "this server takes no payments in; configure a [sources.NAME]",
        )
    })
}

fn unknown_source(name: &str) -> Problem {
    let detail = format!("there is no source `{}`; configure [sources.NAME]", name.escape_debug());
    Problem::not_found("unknown_source", detail)
}

fn reference_of(text: &str) -> Result<PaymentReference, Problem> {
    PaymentReference::parse(text).map_err(|what| {
        Problem::malformed("invalid_reference", format!("the payment's reference {what}")).at("/reference")
    })
}

fn desk_of<'a>(payments: &'a Payments, tenant: &Tenant, name: Option<&str>) -> Result<&'a Desk, Problem> {
    if let Some(name) = name {
        let desk = payments.desk(name).filter(|desk| desk.source.tenant == *tenant);
        return desk.ok_or_else(|| unknown_source(name).at("/source"));
    }
    let mut found = payments
        .desks()
        .filter(|desk| desk.source.tenant == *tenant && desk.source.status.is_some());
    match (found.next(), found.next()) {
        (Some(desk), None) => Ok(desk),
        (None, _) => {
            let detail = "no source of this tenant has a `status`, so no provider can be asked";
            Err(Problem::not_found("unknown_source", detail).at("/source"))
        }
        (Some(_), Some(_)) => {
            let detail = "several sources could be asked; name one with ?source=";
            Err(Problem::malformed("missing_parameter", detail).at("/source"))
        }
    }
}

/// A document that was wrong would hold the receipt once the number is issued, and could not be changed any more.
fn no_receipt(error: DocumentError) -> Problem {
    let detail = format!("a receipt follows from this payment, and its document is none: {error}");
    Problem::malformed("invalid_payment", detail).at(format!("/document{}", error.pointer))
}

fn unverified(error: VerifyError) -> Problem {
    match error {
        VerifyError::Failed(failure) => failure.into(),
        VerifyError::NoStatus => Problem::not_found("unknown_source", error.to_string()).at("/source"),
        VerifyError::Status(status) if status.not_found => Problem::not_found("unknown_payment", status.to_string()),
        VerifyError::Status(status) if status.retry => {
            Problem::unavailable("provider_unavailable", status.to_string(), Duration::from_secs(5))
        }
        VerifyError::Status(status) => Problem::new(StatusCode::BAD_GATEWAY, "provider_refused", status.to_string()),
    }
}
