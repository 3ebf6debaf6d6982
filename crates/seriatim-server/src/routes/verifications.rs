//! Verifications: long walks over every chain, started by one call and looked at by others.
//!
//! They live in this process only; one that a restart cut off is started again where it stopped, with `resume`.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use seriatim::checkpoint::{self, Checkpoint, CheckpointError};
use seriatim::verify::{self, Options, Progress};
use seriatim::{ApiScope, CounterId, Finding, Severity, Timestamp};

use super::{json, set};
use crate::app::App;
use crate::auth::Caller;
use crate::extract::{CheckpointPayload, InPath, NoQuery};
use crate::problem::{Problem, Refused};
use crate::wire;

/// Verifications of this process, the latest last.
#[derive(Default)]
pub struct Verifications {
    known: Mutex<VecDeque<Arc<Run>>>,
}

/// How many are remembered.
const KEPT: usize = 16;
/// How many findings one answer shows; a store that is all wrong must not fill the memory of a reader.
const SHOWN: usize = 1_000;

struct Run {
    id: String,
    started_at: Timestamp,
    compared: Option<Compared>,
    now: Mutex<Now>,
}

/// The checkpoint that a store is compared with. Its signature holds for whoever made it, so its reader is told who.
struct Compared {
    at: Timestamp,
    public_key: String,
    signer: Signer,
}

/// Whose key signed a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// The key of this service.
    Ours,
    /// Another one.
    Another,
    /// This service has no key to compare it with.
    Unknown,
}

#[derive(Default)]
struct Now {
    progress: Progress,
    finished_at: Option<Timestamp>,
    findings: Vec<Finding>,
    error: Option<String>,
}

impl Verifications {
    /// A new run, unless one is under way: two would only slow each other down.
    fn begin(&self, id: String, started_at: Timestamp, compared: Option<Compared>) -> Result<Arc<Run>, Problem> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = known.iter().find(|run| run.now().finished_at.is_none()) {
            let detail = format!("verification {} is still running; wait for it", running.id);
            let location = format!("/v1/audit/verifications/{}", running.id);
            let problem = Problem::new(StatusCode::CONFLICT, "verification_running", detail).worth_a_retry();
            return Err(problem.header(LOCATION, &location));
        }
        let run = Arc::new(Run {
            id,
            started_at,
            compared,
            now: Mutex::default(),
        });
        known.push_back(run.clone());
        while known.len() > KEPT {
            known.pop_front();
        }
        Ok(run)
    }

    fn find(&self, id: &str) -> Option<Arc<Run>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|run| run.id == id).cloned()
    }
}

impl Run {
    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, status: StatusCode) -> Result<Response, Problem> {
        let now = self.now();
        let state = match (now.finished_at, &now.error) {
            (None, _) => "running",
            (Some(_), None) => "done",
            (Some(_), Some(_)) => "failed",
        };
        let report = wire::VerificationReport {
            id: &self.id,
            state,
            started_at: wire::Shown(self.started_at),
            finished_at: now.finished_at.map(wire::Shown),
            progress: now.progress.into(),
            last: now.progress.last.map(wire::Shown),
            checkpoint: self.compared.as_ref().map(Compared::shown),
            findings_total: now.findings.len(),
            findings: now.findings.iter().take(SHOWN).map(Into::into).collect(),
            error: now.error.as_deref(),
        };
        json(status, &report)
    }
}

impl Compared {
    fn of(checkpoint: &Checkpoint, ours: Option<[u8; 32]>) -> Self {
        let signer = match ours {
            None => Signer::Unknown,
            Some(ours) if ours == checkpoint.public_key => Signer::Ours,
            Some(_) => Signer::Another,
        };
        Self {
            at: checkpoint.at,
            public_key: hex(&checkpoint.public_key),
            signer,
        }
    }

    fn shown(&self) -> wire::CheckpointCompared<'_> {
        wire::CheckpointCompared {
            at: wire::Shown(self.at),
            public_key: &self.public_key,
            signer: match self.signer {
                Signer::Ours => "this_store",
                Signer::Another => "another",
                Signer::Unknown => "unknown",
            },
        }
    }

    /// What its reader should know. A note: after the data directory was lost the key is another, and nothing is wrong.
    fn doubt(&self) -> Option<Finding> {
        let message = match self.signer {
            Signer::Ours => return None,
            Signer::Another => "it was signed by another key than this store's",
            Signer::Unknown => "nothing here tells whether its key is this store's",
        };
        Some(Finding {
            code: "checkpoint_key_unproven",
            severity: Severity::Note,
            place: "checkpoint".to_string(),
            message: format!(
                "{message}, and anybody can sign a checkpoint: compare {} with the key that you kept",
                self.public_key
            ),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Start a verification of every chain
///
/// A checkpoint may have up to 64 MiB, which is some 300,000 counters and gates. Anybody can sign one: the answer says by
/// which key it was signed and whether that is the key of this service, and `checkpoint_key` refuses every other.
#[utoipa::path(
    post, path = "/v1/audit/verifications", tag = "audit", operation_id = "verify",
    security(("api_key" = ["audit"])),
    request_body = Option<wire::VerificationAsk>,
    responses(
        (status = 202, description = "It runs; Location says where to look", body = wire::VerificationReport,
            headers(("Location" = String, description = "Where it is"))),
        (status = "default", response = Refused),
    ),
)]
pub async fn start(
    State(app): State<App>,
    caller: Caller,
    NoQuery {}: NoQuery,
    request: Request,
) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Audit)?;
    // Only now is so large a body read.
    let CheckpointPayload(payload) = CheckpointPayload::from_request(request, &app).await?;
    let ask = payload.parse_or_default::<wire::VerificationAsk>()?;
    let options = options(&ask)?;
    let ours = app.options().checkpoint_key.as_ref().map(checkpoint::public_key);
    let compared = options
        .checkpoint
        .as_ref()
        .map(|checkpoint| Compared::of(checkpoint, ours));
    let pinned = require_key(ask.checkpoint_key.as_deref(), compared.as_ref())?;
    let doubt = compared.as_ref().filter(|_| !pinned).and_then(Compared::doubt);
    let id = app.next_request_id().replacen("req_", "ver_", 1);
    let run = app.verifications().begin(id, app.now(), compared)?;
    run.now().findings.extend(doubt);
    tokio::spawn(walk(app.clone(), run.clone(), options));
    let mut response = run.answer(StatusCode::ACCEPTED)?;
    set(&mut response, LOCATION, &format!("/v1/audit/verifications/{}", run.id));
    Ok(response)
}

fn options(ask: &wire::VerificationAsk<'_>) -> Result<Options, Problem> {
    let checkpoint = ask
        .checkpoint
        .map(|raw| Checkpoint::parse(raw.get()))
        .transpose()
        .map_err(|error| {
            let (status, code) = match &error {
                CheckpointError::Malformed(_) => (StatusCode::BAD_REQUEST, "invalid_checkpoint"),
                CheckpointError::BadSignature => (StatusCode::UNPROCESSABLE_ENTITY, "checkpoint_changed"),
            };
            Problem::new(status, code, error.to_string()).at("/checkpoint")
        })?;
    let resume = ask.resume.as_deref().map(str::parse::<CounterId>).transpose();
    Ok(Options {
        checkpoint,
        resume: resume.map_err(|refusal| refusal.at("/resume"))?,
    })
}

/// Whether the checkpoint must be signed by a certain key; it is not walked for one that is signed by another.
fn require_key(wanted: Option<&str>, compared: Option<&Compared>) -> Result<bool, Problem> {
    let Some(wanted) = wanted else { return Ok(false) };
    if wanted.len() != 64 || !wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let detail = "a checkpoint's key is 64 hexadecimal digits, its public_key";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_checkpoint", detail).at("/checkpoint_key"));
    }
    let Some(compared) = compared else {
        let detail = "a checkpoint's key is given without a checkpoint; give both";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_checkpoint", detail).at("/checkpoint_key"));
    };
    if wanted.eq_ignore_ascii_case(&compared.public_key) {
        return Ok(true);
    }
    let detail = format!(
        "the checkpoint of {} was signed by {}, not by the key that was asked for; it proves nothing",
        compared.at, compared.public_key
    );
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "checkpoint_key_mismatch", detail);
    Err(problem.at("/checkpoint_key"))
}

async fn walk(app: App, run: Arc<Run>, options: Options) {
    let on_progress = |progress| run.now().progress = progress;
    let outcome = verify::verify(app.issuer().reads(), &options, &on_progress).await;
    let mut now = run.now();
    match outcome {
        Ok(report) => {
            now.progress = report.progress;
            now.findings.extend(report.findings);
            // The worst first: only so many are shown.
            now.findings.sort_by_key(|finding| Reverse(finding.severity));
        }
        Err(error) => {
            tracing::warn!(%error, verification = %run.id, "verification failed");
            now.error = Some(error.to_string());
        }
    }
    now.finished_at = Some(app.now());
}

/// Show a verification
#[utoipa::path(
    get, path = "/v1/audit/verifications/{id}", tag = "audit", operation_id = "show_verification",
    security(("api_key" = ["audit"])),
    params(("id" = String, Path, description = "The verification")),
    responses(
        (status = 200, description = "How far it has come, and what it found", body = wire::VerificationReport),
        (status = "default", response = Refused),
    ),
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    InPath(id): InPath<String>,
    NoQuery {}: NoQuery,
) -> Result<Response, Problem> {
    caller.access.require_unbound(ApiScope::Audit)?;
    let Some(run) = app.verifications().find(&id) else {
        let detail = "there is no such verification; those of an earlier process are gone, start a new one";
        return Err(Problem::not_found("unknown_verification", detail).at("/id"));
    };
    run.answer(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn while_one_runs_another_is_worth_a_retry() {
        let (all, at) = (Verifications::default(), Timestamp::from_micros(0));
        assert!(all.begin("ver_1".into(), at, None).is_ok());
        let problem = all.begin("ver_2".into(), at, None).err().unwrap();
        assert_eq!(problem.code(), "verification_running");
        let body = problem.render("req_1", at, false).into_body();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(body.contains(r#""retry":"retry""#), "{body}");
    }
}
