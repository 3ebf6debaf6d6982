//! The verbs on gates.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;

use super::Context;
use super::failed::Failed;
use super::output::{Form, list, row, text};
use crate::transport::{Call, path, query};

/// Let one caller through to an effect: claim, complete, fail
#[derive(Subcommand)]
pub enum Gate {
    /// Claim a gate: of all who do, one wins
    Claim(Claim),
    /// Hold a claim for longer
    Renew(Renew),
    /// Record the result
    Complete(Complete),
    /// Say that an attempt failed
    Fail(Fail),
    /// Open a dead gate again
    Retry(Retry),
    /// Show a gate with its history, perhaps once it is done
    Show(Show),
    /// List gates, newest first
    List(List),
}

impl Gate {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Claim(verb) => verb.run(context).await,
            Self::Renew(verb) => change(context, &verb.id, "renew", &verb).await,
            Self::Complete(verb) => verb.run(context).await,
            Self::Fail(verb) => change(context, &verb.id, "fail", &verb).await,
            Self::Retry(verb) => change(context, &verb.id, "retry", &verb).await,
            Self::Show(verb) => verb.run(context).await,
            Self::List(verb) => verb.run(context).await,
        }
    }
}

const FIELDS: [&str; 9] = [
    "id",
    "effect",
    "tenant",
    "subject",
    "state",
    "token",
    "attempts",
    "holder",
    "last_error",
];

/// Claim a gate: of all who do, one wins
#[derive(Args, Serialize)]
pub struct Claim {
    /// What is to happen once, e.g. receipt
    effect: String,
    /// For what, e.g. the payment id
    subject: String,
    /// Whose [default: default]
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// How long the lease is, like 90s or 15m
    #[arg(long, default_value = "60s")]
    ttl: String,
    /// Who claims, for the person who looks later
    #[arg(long, default_value = "command line")]
    holder: String,
    /// The key of this one claim, so that a retry of it hears its own token
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// How often it may be tried before it is dead [default: 10]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    /// The pause after the first failure; it doubles [default: 1s]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<String>,
    /// The longest pause [default: 5m]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_max: Option<String>,
}

impl Claim {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("gate claim").await?;
        let answer = session.answer(Call::post("/v1/gates/claim", &self)?).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let gate = &answer.json["gate"];
        let what = match text(&answer.json, "outcome").as_str() {
            "won" => text(&answer.json, "token"),
            "busy" => format!("{} ms", text(&answer.json, "retry_after_ms")),
            "done" => text(gate, "result"),
            _ => text(gate, "last_error"),
        };
        let cells = vec![text(gate, "id"), text(&answer.json, "outcome"), what];
        context.output.table(&["id", "outcome", ""], vec![cells]);
        Ok(())
    }
}

/// Hold a claim for longer
#[derive(Args, Serialize)]
pub struct Renew {
    /// The gate's id
    #[serde(skip)]
    id: String,
    /// The token of the claim
    #[arg(long)]
    token: u64,
    /// How long from now
    #[arg(long, default_value = "60s")]
    ttl: String,
}

/// Record the result
#[derive(Args)]
pub struct Complete {
    /// The gate's id
    id: String,
    /// The token of the claim
    #[arg(long)]
    token: u64,
    /// The result, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    result: String,
}

#[derive(Serialize)]
struct CompleteBody<'a> {
    token: u64,
    result: &'a RawValue,
}

impl Complete {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let result = serde_json::from_str(&self.result)
            .map_err(|error| Failed::Usage(format!("--result is not JSON: {error}")))?;
        let body = CompleteBody {
            token: self.token,
            result,
        };
        change(context, &self.id, "complete", &body).await
    }
}

/// Say that an attempt failed
#[derive(Args, Serialize)]
pub struct Fail {
    /// The gate's id
    #[serde(skip)]
    id: String,
    /// The token of the claim
    #[arg(long)]
    token: u64,
    /// Why
    #[arg(long, short)]
    error: String,
    /// From when it may be tried again [default: by the gate's policy]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in: Option<String>,
    /// Nobody tries again before somebody has looked: the gate is dead at once
    #[arg(long)]
    give_up: bool,
}

/// Open a dead gate again
#[derive(Args, Serialize)]
pub struct Retry {
    /// The gate's id
    #[serde(skip)]
    id: String,
    /// Why
    #[arg(long, short)]
    reason: String,
}

async fn change(context: &Context, id: &str, verb: &str, body: &impl Serialize) -> Result<(), Failed> {
    let session = context.session("gate").await?;
    let call = Call::post(path(&["v1", "gates", id, verb]), body)?;
    let answer = session.answer(call).await?;
    if context.output.form == Form::Json {
        answer.print(context.output);
    } else {
        context.output.table(&FIELDS, vec![row(&answer.json, &FIELDS)]);
    }
    Ok(())
}

/// Show a gate with its history, perhaps once it is done
#[derive(Args)]
pub struct Show {
    /// The gate's id
    id: String,
    /// Wait until it is done or dead, but no longer than this, like 10s
    #[arg(long)]
    wait: Option<String>,
}

impl Show {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("gate show").await?;
        let wanted = query(&[("wait", self.wait.as_deref())]);
        let call = Call::get(format!("{}{wanted}", path(&["v1", "gates", &self.id])));
        let answer = session.answer(call).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let more = ["expires_at", "not_before", "ended_at", "result", "opened_at"];
        let fields = FIELDS.iter().chain(&more);
        context
            .output
            .card(fields.map(|field| (*field, text(&answer.json, field))).collect());
        let head = ["position", "kind", "at", "seq", "detail", "reason", "actor"];
        let events = list(&answer.json, "events").iter();
        context
            .output
            .table(&head, events.map(|event| row(event, &head)).collect());
        Ok(())
    }
}

/// List gates, newest first
#[derive(Args)]
pub struct List {
    /// Only open, claimed, done or dead
    #[arg(long)]
    state: Option<String>,
    /// Only for this effect
    #[arg(long)]
    effect: Option<String>,
    /// Only of this tenant
    #[arg(long, short)]
    tenant: Option<String>,
    /// How many at most, 1 to 500; if there are more, stderr says where to go on [default: 50]
    #[arg(long)]
    limit: Option<String>,
    /// Where the page before ended
    #[arg(long)]
    cursor: Option<String>,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("gate list").await?;
        let wanted = [
            ("state", self.state.as_deref()),
            ("effect", self.effect.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("limit", self.limit.as_deref()),
            ("cursor", self.cursor.as_deref()),
        ];
        let answer = session
            .answer(Call::get(format!("/v1/gates{}", query(&wanted))))
            .await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let gates = list(&answer.json, "data").iter();
        context
            .output
            .table(&FIELDS, gates.map(|gate| row(gate, &FIELDS)).collect());
        let next = text(&answer.json, "next_cursor");
        if !next.is_empty() {
            // Said even with --quiet, or a part would be taken for the whole.
            context
                .output
                .warn(format!("there are more; go on with --cursor {next}"));
        }
        Ok(())
    }
}
