//! What an auditor asks for.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Context;
use super::failed::{Failed, read_text};
use super::output::{Form, list, pairs, row, text};
use super::session::{Answer, Session};
use crate::transport::{Call, path, query};

/// Check every chain, entry and document
#[derive(Args)]
pub struct Verify {
    /// A checkpoint that was kept elsewhere: also finds a cut tail and a removed counter
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<String>,
    /// The only key that may have signed the checkpoint: its public_key, as you kept it
    #[arg(long, value_name = "HEX", requires = "checkpoint")]
    checkpoint_key: Option<String>,
}

#[derive(Serialize)]
struct VerifyBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_key: Option<String>,
}

impl Verify {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let body = VerifyBody {
            checkpoint: read_checkpoint(self.checkpoint.as_deref())?,
            checkpoint_key: self.checkpoint_key,
        };
        let session = context.session("verify").await?;
        let begun = session.answer(Call::post("/v1/audit/verifications", &body)?).await?;
        let report = finish(session, begun).await?;
        print_report(context, &report);
        judge(&report.json)
    }
}

fn read_checkpoint(file: Option<&str>) -> Result<Option<Box<RawValue>>, Failed> {
    let Some(file) = file else { return Ok(None) };
    let text = read_text(file)?;
    let checkpoint = RawValue::from_string(text.trim().to_string());
    checkpoint
        .map(Some)
        .map_err(|error| Failed::Usage(format!("{file} is not a checkpoint: {error}")))
}

/// Asks until the verification has ended; a large store takes minutes.
async fn finish(session: &Session, begun: Answer) -> Result<Answer, Failed> {
    let mut report = begun;
    let mut pause = Duration::from_millis(5);
    let id = text(&report.json, "id");
    while text(&report.json, "state") == "running" {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
        report = session
            .answer(Call::get(path(&["v1", "audit", "verifications", &id])))
            .await?;
    }
    Ok(report)
}

fn print_report(context: &Context, report: &Answer) {
    if context.output.form == Form::Json {
        return report.print(context.output);
    }
    let fields = ["severity", "code", "place", "message"];
    context.output.table(
        &fields,
        list(&report.json, "findings")
            .iter()
            .map(|finding| row(finding, &fields))
            .collect(),
    );
    if let Some(checkpoint) = report.json.get("checkpoint") {
        let whose = match text(checkpoint, "signer").as_str() {
            "this_store" => "this store's key",
            "another" => "another key than this store's",
            _ => "nothing here tells whose key that is",
        };
        context.output.note(format!(
            "compared with the checkpoint of {}, signed by {} ({whose})",
            text(checkpoint, "at"),
            text(checkpoint, "public_key"),
        ));
    }
    let progress = report.json.get("progress").unwrap_or(&Value::Null);
    let is_whole = text(&report.json, "state") == "done";
    let found = match (is_whole, list(&report.json, "findings").is_empty()) {
        (false, _) => "broken off: ",
        (true, true) => "nothing found: ",
        (true, false) => "",
    };
    context.output.note(format!(
        "{found}walked {} of {} counters, {} events, {} entries",
        text(progress, "counters"),
        text(progress, "counters_total"),
        text(progress, "events"),
        text(progress, "entries"),
    ));
}

fn judge(report: &Value) -> Result<(), Failed> {
    if text(report, "state") != "done" {
        return Err(Failed::Other(format!(
            "the verification did not end: {}",
            text(report, "error")
        )));
    }
    // The worst come first, so notes alone mean that there is nothing else.
    if list(report, "findings")
        .iter()
        .all(|finding| text(finding, "severity") == "note")
    {
        return Ok(());
    }
    Err(Failed::Found(format!("{} findings", text(report, "findings_total"))))
}

/// Write down where every chain ends, signed, to be kept elsewhere
#[derive(Args)]
pub struct Checkpoint {}

impl Checkpoint {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("checkpoint").await?;
        let answer = session.answer(Call::get("/v1/audit/checkpoint")).await?;
        answer.print(context.output);
        context
            .output
            .note("keep it where the store is not; `seriatim verify --checkpoint FILE` compares");
        Ok(())
    }
}

/// List seqs that were passed over, and why
#[derive(Args)]
pub struct Gaps {
    /// Only of this series
    series: Option<String>,
    /// Only of this tenant
    #[arg(long, short)]
    tenant: Option<String>,
    /// Only of this period
    #[arg(long)]
    period: Option<String>,
}

/// Which counter a line is about.
fn whose(line: &Value) -> Vec<String> {
    let mut cells = row(line, &["series", "tenant", "period"]);
    cells.insert(2, pairs(line, "partition"));
    cells
}

impl Gaps {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("gaps").await?;
        let wanted = [
            ("series", self.series.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("period", self.period.as_deref()),
        ];
        let answer = session
            .answer(Call::get(format!("/v1/audit/gaps{}", query(&wanted))))
            .await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        } else {
            let head = ["series", "tenant", "partition", "period", "first", "last", "reason"];
            let line = |gap: &Value| [whose(gap), row(gap, &["first", "last", "reason"])].concat();
            context
                .output
                .table(&head, list(&answer.json, "data").iter().map(line).collect());
            context
                .output
                .note(format!("{} counters looked at", text(&answer.json, "counters")));
        }
        unexplained(&answer.json)
    }
}

/// A gap with its reason is in order; a counter that does not add up is not.
fn unexplained(gaps: &Value) -> Result<(), Failed> {
    let unaccounted = list(gaps, "unaccounted");
    if unaccounted.is_empty() {
        return Ok(());
    }
    let counters: Vec<String> = unaccounted.iter().map(|counter| whose(counter).join(" ")).collect();
    Err(Failed::Found(format!(
        "numbers that nothing explains in {}; run `seriatim verify`",
        counters.join(", ")
    )))
}

/// Count documents by counter and date
#[derive(Args)]
pub struct Summary {
    /// Dated this day or later
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Dated this day or earlier
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
}

impl Summary {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("summary").await?;
        let wanted = [("from", self.from.as_deref()), ("to", self.to.as_deref())];
        let answer = session
            .answer(Call::get(format!("/v1/audit/summary{}", query(&wanted))))
            .await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let head = [
            "series",
            "tenant",
            "partition",
            "period",
            "from",
            "to",
            "total",
            "reserved",
            "voided",
            "net",
        ];
        let line = |line: &Value| {
            let counts = line.get("counts").unwrap_or(&Value::Null);
            [
                whose(line),
                row(line, &["first", "last", "total"]),
                row(counts, &["reserved", "voided"]),
                row(line, &["net"]),
            ]
            .concat()
        };
        context
            .output
            .table(&head, list(&answer.json, "data").iter().map(line).collect());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_alone_is_nothing_found() {
        let report = |severities: &[&str]| {
            let finding = |severity: &&str| json!({"severity": severity});
            let findings: Vec<Value> = severities.iter().map(finding).collect();
            json!({"state": "done", "findings_total": findings.len(), "findings": findings})
        };
        assert!(judge(&report(&[])).is_ok());
        assert!(judge(&report(&["note", "note"])).is_ok());
        assert!(matches!(judge(&report(&["error", "note"])), Err(Failed::Found(_))));
        assert!(matches!(judge(&report(&["warning"])), Err(Failed::Found(_))));
    }
}
