//! The verbs on series.

mod definition;

use clap::{Args, Subcommand};
use hyper::header::IF_MATCH;
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::Context;
use super::entry::{param, params, print_numbers};
use super::failed::{Failed, Problem, read_text};
use super::output::{Form, list, row, text};
use super::session::{Answer, Session};
use crate::transport::{Call, path};
use definition::{Definition, Sheet};

/// Define, change and look at series
#[derive(Subcommand)]
pub enum Series {
    /// Define a series
    Create(Box<Create>),
    /// Define and change series as a file says
    Apply(Apply),
    /// List series
    List(List),
    /// Show the definition of a series
    Show(Show),
    /// Show what the next numbers would be; takes none
    Preview(Preview),
    /// Empty a test series
    Wipe(Wipe),
}

impl Series {
    /// Whether it leaves something behind in the store.
    pub fn changes(&self) -> bool {
        match self {
            Self::Create(verb) => !verb.dry_run,
            Self::Apply(verb) => !verb.dry_run,
            Self::Wipe(_) => true,
            Self::List(_) | Self::Show(_) | Self::Preview(_) => false,
        }
    }

    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Create(verb) => verb.run(context).await,
            Self::Apply(verb) => verb.run(context).await,
            Self::List(verb) => verb.run(context).await,
            Self::Show(verb) => verb.run(context).await,
            Self::Preview(verb) => verb.run(context).await,
            Self::Wipe(verb) => verb.run(context).await,
        }
    }
}

/// Define a series
#[derive(Args)]
pub struct Create {
    /// Its name
    name: String,
    #[command(flatten)]
    definition: Definition,
    /// Change the series that is there, if this is its version, as `series list` shows it
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    /// Check it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session_to_define("series create", self.dry_run).await?;
        let format = self.definition.format.clone();
        let etag = self.if_version.map(|version| format!("\"{version}\""));
        let answer = match put(session, &self.name, &self.definition, etag, self.dry_run).await {
            Err(Failed::Problem(problem)) if problem.code() == "version_required" => {
                return Err(needs_version(session, &self.name).await?);
            }
            answer => answer.map_err(|failed| draw(failed, |problem| definition::under_format(problem, &format)))?,
        };
        print_outcome(context, &answer, self.dry_run);
        if !self.dry_run && self.definition.needs_nothing() {
            note_next(context, session, &self.name).await;
        }
        Ok(())
    }
}

/// Says what to change needs in the words of this command line; the service speaks of a header.
async fn needs_version(session: &Session, name: &str) -> Result<Failed, Failed> {
    let there = session.answer(Call::get(path(&["v1", "series", name]))).await?;
    let version = text(&there.json, "version");
    Ok(Failed::refused(
        "version_required",
        &format!("series {name} exists; to change it, give --if-version {version} so that nobody's change is lost"),
    ))
}

/// Says what the first number will be. Only a courtesy: whatever is wrong with it is not said.
async fn note_next(context: &Context, session: &Session, name: &str) {
    let parts = ["v1", "series", name, "preview"];
    let Ok(call) = Call::post(path(&parts), &serde_json::json!({})) else {
        return;
    };
    if let Ok(answer) = session.answer(call).await
        && let Some(next) = list(&answer.json, "data").first()
    {
        context.output.note(format!("next {}", text(next, "number")));
    }
}

async fn put(
    session: &Session,
    name: &str,
    definition: &Definition,
    if_match: Option<String>,
    dry_run: bool,
) -> Result<Answer, Failed> {
    let query = if dry_run { "?dry_run=true" } else { "" };
    let mut call = Call::new(Method::PUT, path(&["v1", "series", name]) + query).with_body(definition)?;
    if let Some(etag) = if_match {
        call = call.header(IF_MATCH, etag);
    }
    session.answer(call).await
}

fn print_outcome(context: &Context, answer: &Answer, dry_run: bool) {
    if context.output.form == Form::Json {
        return answer.print(context.output);
    }
    let done = match (
        answer.status,
        answer.json.get("changed").and_then(serde_json::Value::as_bool),
    ) {
        (201, _) => "created",
        (_, Some(false)) => "unchanged",
        _ => "changed",
    };
    let done = if dry_run {
        format!("would be {done}")
    } else {
        done.to_string()
    };
    let name = text(&answer.json, "name");
    let version = format!("version {}", text(&answer.json, "version"));
    context
        .output
        .table(&["series", "version", "outcome"], vec![vec![name, version, done]]);
}

/// Draws the place of a problem, if it is one that has a place.
fn draw(failed: Failed, drawing: impl FnOnce(&Problem) -> Option<String>) -> Failed {
    match failed {
        Failed::Problem(mut problem) => {
            problem.drawing = drawing(&problem);
            Failed::Problem(problem)
        }
        other => other,
    }
}

/// Define and change series as a file says
#[derive(Args)]
pub struct Apply {
    /// TOML with [[series]] tables; - is stdin
    file: String,
    /// Check them, say what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let source = read_text(&self.file)?;
        let sheet = Sheet::parse(&self.file, &source)?;
        let session = context.session_to_define("series apply", self.dry_run).await?;
        if self.dry_run {
            return rehearse(session, &sheet, |answer| print_outcome(context, answer, true)).await;
        }
        rehearse(session, &sheet, |_| {}).await?;
        for (index, definition) in sheet.series.iter().enumerate() {
            let answer = apply_one(session, definition, false).await;
            let answer = answer.map_err(|failed| draw(failed, |problem| sheet.under(index, problem)))?;
            print_outcome(context, &answer, false);
        }
        Ok(())
    }
}

/// The whole file first as if: a mistake in its last series must not leave the others changed.
async fn rehearse(session: &Session, sheet: &Sheet<'_>, mut said: impl FnMut(&Answer)) -> Result<(), Failed> {
    for (index, definition) in sheet.series.iter().enumerate() {
        let answer = if replaces_above(session, sheet, index).await? {
            apply_one(session, &definition.without_replaces(), true).await
        } else {
            apply_one(session, definition, true).await
        };
        said(&answer.map_err(|failed| draw(failed, |problem| sheet.under(index, problem)))?);
    }
    Ok(())
}

/// Whether it replaces a series that stands above it in the same file and is not there yet, which the service cannot
/// know of in a rehearsal.
async fn replaces_above(session: &Session, sheet: &Sheet<'_>, index: usize) -> Result<bool, Failed> {
    let Some(old) = sheet.replaced_above(index) else {
        return Ok(false);
    };
    let there = session.reply(Call::get(path(&["v1", "series", old]))).await?;
    Ok(there.status == StatusCode::NOT_FOUND)
}

/// A series that is there is changed from the version that is there now.
async fn apply_one(session: &Session, definition: &Definition, dry_run: bool) -> Result<Answer, Failed> {
    let there = session
        .reply(Call::get(path(&["v1", "series", &definition.name])))
        .await?;
    let etag = match there.status {
        StatusCode::NOT_FOUND => None,
        status if status.is_success() => there.headers.get("etag").and_then(|etag| etag.to_str().ok()),
        _ => return Err(Failed::Problem(Box::new(Problem::of(&there)))),
    };
    put(session, &definition.name, definition, etag.map(str::to_string), dry_run).await
}

/// List series
#[derive(Args)]
pub struct List {}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("series list").await?;
        let answer = session.answer(Call::get("/v1/series")).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let fields = ["name", "format", "reset", "time_zone", "version"];
        let rows = list(&answer.json, "data")
            .iter()
            .map(|series| row(series, &fields))
            .collect();
        context.output.table(&fields, rows);
        Ok(())
    }
}

/// Show the definition of a series
#[derive(Args)]
pub struct Show {
    /// Its name
    name: String,
}

impl Show {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("series show").await?;
        let answer = session.answer(Call::get(path(&["v1", "series", &self.name]))).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let card = CARD.iter().map(|name| (*name, text(&answer.json, name)));
        context
            .output
            .card(card.filter(|(_, text)| !matches!(text.as_str(), "[]" | "{}")).collect());
        Ok(())
    }
}

/// The settings in the order in which they are explained.
const CARD: [&str; 21] = [
    "name",
    "version",
    "format",
    "reset",
    "time_zone",
    "start",
    "partition_by",
    "params",
    "gaps",
    "overflow",
    "limit",
    "max_length",
    "date_order",
    "date_window",
    "keys",
    "replay",
    "on_expiry",
    "on_outage",
    "test",
    "replaces",
    "replaced_by",
];

/// Show what the next numbers would be; takes none
#[derive(Args)]
pub struct Preview {
    /// The series
    name: String,
    /// Whose number [default: default]
    #[arg(long, short)]
    tenant: Option<String>,
    /// A value for the format
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Document date, YYYY-MM-DD [default: today in the series' time zone]
    #[arg(long, short)]
    date: Option<String>,
    /// How many numbers
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u32>,
}

#[derive(Serialize)]
struct PreviewBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    params: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

impl Preview {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let body = PreviewBody {
            tenant: self.tenant,
            params: params(self.params)?,
            date: self.date,
            count: self.count,
        };
        let session = context.session("series preview").await?;
        let call = Call::post(path(&["v1", "series", &self.name, "preview"]), &body)?;
        let answer = session.answer(call).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

/// Empty a test series
#[derive(Args)]
pub struct Wipe {
    /// The series
    name: String,
    /// Yes, every number of it
    #[arg(long)]
    yes: bool,
}

impl Wipe {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        if !self.yes {
            let message = format!("this removes every number of {}; say --yes if that is meant", self.name);
            return Err(Failed::Usage(message));
        }
        let session = context.session("series wipe").await?;
        let call = Call::new(Method::POST, path(&["v1", "series", &self.name, "wipe"]));
        let answer = session.answer(call).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        }
        context.output.note(format!("{} is empty", self.name));
        Ok(())
    }
}
