//! Adopts the numbers of a table or a file.
//!
//! Everything is read once and checked as a rehearsal, which writes nothing; only then is it written, in batches that
//! are all or none. A number that is there already is answered as it is, so after an interruption the same command
//! goes on where it was.

use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use seriatim::Series;

use super::Context;
use super::failed::{Failed, Problem};
use super::moving::{
    Columns, Finding, Look, Place, Reader, Row, Source, Survey, bad, line_of, many, print_findings, series_of,
    spool_failed, summary, survey,
};
use super::output::{Form, list, text, words};
use super::progress;
use super::session::{Answer, Session};
use crate::transport::{Call, path};

/// Adopt the numbers of a table or a file
///
/// First everything is checked; one bad row, and nothing is written. After an interruption run the same command
/// again: what is there already is left as it is. Exit code 3 if rows were left out, because another row keeps their
/// number; with --dry-run, if anything is found.
#[derive(Args)]
pub struct Import {
    /// The series
    series: String,
    /// A CSV file whose first line names the columns; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["with", "table"])]
    from_csv: Option<String>,
    /// URL of a PostgreSQL database; PGPASSWORD is used if it has no password
    #[arg(long, value_name = "URL", requires = "table")]
    with: Option<String>,
    #[command(flatten)]
    columns: Columns,
    /// Why seqs that are on no row are missing [default: not in FILE when it was imported]
    #[arg(long, value_name = "REASON")]
    missing_reason: Option<String>,
    /// Check everything, say what is found, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The most numbers of one request, as the service takes them.
const BATCH_MAX: usize = 1_000;
/// Far below what the service takes, for a row can be large.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Nobody corrects more than this at a time.
const BAD_MAX: usize = 20;
/// How often a request is sent again while the service cannot be reached.
const ATTEMPTS: u32 = 6;

#[derive(Serialize)]
struct Item {
    number: String,
    date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    items: &'a [Item],
    missing_reason: &'a str,
}

/// What became of the rows, or would have.
#[derive(Default)]
struct Tally {
    adopted: u64,
    present: u64,
    differing: Vec<Finding>,
}

/// What a rehearsal came to.
#[derive(Default)]
struct Rehearsed {
    tally: Tally,
    /// The rows that the service would refuse.
    refused: Vec<Finding>,
    /// Whether there are rows that were not looked at.
    is_cut: bool,
}

impl Import {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let source = Source::of_flags(self.from_csv.as_deref(), self.with.as_deref())?;
        let session = context.session("import").await?;
        let series = series_of(session, &self.series).await?;
        let line = line_of(session, &self.series).await?;
        let bar = progress::count(context, "rows read");
        let mut rows = source.read(&self.columns, &bar).await?;
        bar.finish_and_clear();
        if !rows.dated {
            return Err(Failed::Usage(
                "every number needs its date; say which column has it with --date-column".to_string(),
            ));
        }
        let look = Look {
            series: &series,
            line: &line,
            dated: true,
            entering: true,
            length_max: series.max_length,
            row_word: source.row_word(),
            shape: None,
        };
        let mut reader = rows.spool.reader().map_err(spool_failed)?;
        let survey = survey(session, &look, &mut reader).await?;
        let reason = self.missing_reason.clone();
        let reason = reason.unwrap_or_else(|| format!("not in {} when it was imported", source.name(&self.columns)));
        let mut batches = Batches {
            series: &series,
            places: &survey.places,
            reader: &mut reader,
            next: 0,
        };
        let exhausted = survey.findings.iter().filter(|finding| finding.code == "exhausted");
        let refused: Vec<Finding> = survey.bad.iter().chain(exhausted).cloned().collect();
        let rehearsed = match refused.is_empty() {
            true => rehearse(context, session, &look, &mut batches, &reason).await?,
            false => Rehearsed {
                refused,
                ..Rehearsed::default()
            },
        };
        if !rehearsed.refused.is_empty() {
            print_findings(context.output, &rehearsed.refused);
            let rows = many(rehearsed.refused.len() as u64, "row", "rows");
            let detail = match rehearsed.is_cut {
                true => format!("at least {rows} cannot be adopted, and what comes after them was not looked at"),
                false => format!("{rows} cannot be adopted"),
            };
            return Err(Failed::refused("bad_rows", &detail));
        }
        if self.dry_run {
            let findings = print(context, &survey, &rehearsed.tally, true);
            return match findings.as_slice() {
                [] => Ok(()),
                found => Err(Failed::Found(summary(found))),
            };
        }
        batches.next = 0;
        let tally = write(context, session, &mut batches, &reason).await?;
        print(context, &survey, &tally, false);
        if survey.left_out > 0 {
            let rows = many(survey.left_out, "row was", "rows were");
            let message = format!("{rows} left out, whose number another row keeps");
            return Err(Failed::Found(message));
        }
        Ok(())
    }
}

/// The rows in the order of their seqs, as requests.
struct Batches<'a> {
    series: &'a Series,
    places: &'a [Place],
    reader: &'a mut Reader,
    next: usize,
}

impl Batches<'_> {
    /// The next rows, as many as one request takes.
    fn next(&mut self) -> Result<Vec<(Row, Place)>, Failed> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some(place) = self.places.get(self.next) {
            let row = self.reader.at(place.at).map_err(spool_failed)?;
            let texts = [&row.tenant, &row.key, &row.document, &row.reference];
            bytes += 256 + row.number.len();
            bytes += texts.into_iter().flatten().map(String::len).sum::<usize>();
            if !rows.is_empty() && bytes > BATCH_BYTES_MAX {
                break;
            }
            rows.push((row, *place));
            self.next += 1;
            if rows.len() == BATCH_MAX {
                break;
            }
        }
        Ok(rows)
    }

    fn call(&self, items: &[Item], missing_reason: &str, dry_run: bool) -> Result<Call, Failed> {
        let query = if dry_run { "?dry_run=true" } else { "" };
        let at = path(&["v1", "series", &self.series.name, "adopt", "batch"]);
        Ok(Call::post(at + query, &Body { items, missing_reason })?)
    }
}

fn item(row: Row, place: &Place) -> Result<Item, Box<(Row, String)>> {
    let document = row.document.clone().map(RawValue::from_string).transpose();
    let document = match document {
        Ok(document) => document,
        Err(error) => return Err(Box::new((row, format!("its document is not JSON: {error}")))),
    };
    Ok(Item {
        date: place.date.map(|date| date.to_string()).unwrap_or_default(),
        number: row.number,
        tenant: row.tenant,
        key: row.key,
        document,
        reference: row.reference,
    })
}

/// Asks for everything as if.
async fn rehearse(
    context: &Context,
    session: &Session,
    look: &Look<'_>,
    batches: &mut Batches<'_>,
    reason: &str,
) -> Result<Rehearsed, Failed> {
    let bar = progress::bar(context, batches.places.len() as u64).with_message("checked ");
    let mut rehearsed = Rehearsed::default();
    loop {
        let rows = batches.next()?;
        if rows.is_empty() || rehearsed.refused.len() >= BAD_MAX {
            bar.finish_and_clear();
            rehearsed.is_cut |= !rows.is_empty();
            return Ok(rehearsed);
        }
        let mut items = Vec::with_capacity(rows.len());
        let mut labels = Vec::with_capacity(rows.len());
        for (row, place) in rows {
            labels.push((row.line, row.tenant.clone()));
            match item(row, &place) {
                Ok(item) => items.push(item),
                Err(wrong) => {
                    labels.pop();
                    rehearsed.refused.push(bad(look, "bad_document", &wrong.0, wrong.1));
                }
            }
        }
        let mut from = 0;
        while from < items.len() {
            if rehearsed.refused.len() >= BAD_MAX {
                rehearsed.is_cut = true;
                break;
            }
            let call = batches.call(&items[from..], reason, true)?;
            let problem = match sent(session, call).await? {
                Err(problem) => problem,
                Ok(answer) => {
                    rehearsed.tally.add(&answer);
                    break;
                }
            };
            let Some(i) = item_at(&problem).filter(|i| from + i < items.len()) else {
                return Err(Failed::Problem(problem));
            };
            let (line, tenant) = labels[from + i].clone();
            let row = Row {
                line,
                tenant,
                number: items[from + i].number.clone(),
                ..Row::default()
            };
            rehearsed.refused.push(bad(
                look,
                "refused",
                &row,
                format!("{} ({})", problem.detail(), problem.code()),
            ));
            from += i + 1;
        }
        bar.set_position(batches.next as u64);
    }
}

/// `/items/3/number` is about the fourth.
fn item_at(problem: &Problem) -> Option<usize> {
    let rest = problem.pointer()?.strip_prefix("/items/")?;
    rest.split('/').next()?.parse().ok()
}

/// One request; a refusal is an answer here.
async fn sent(session: &Session, call: Call) -> Result<Result<Answer, Box<Problem>>, Failed> {
    match session.answer(call).await {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failed::Problem(problem)) if (400..500).contains(&problem.status) => Ok(Err(problem)),
        Err(failed) => Err(failed),
    }
}

async fn write(context: &Context, session: &Session, batches: &mut Batches<'_>, reason: &str) -> Result<Tally, Failed> {
    let total = batches.places.len() as u64;
    let bar = progress::bar(context, total).with_message("adopted ");
    let mut tally = Tally::default();
    loop {
        let rows = batches.next()?;
        if rows.is_empty() {
            bar.finish_and_clear();
            return Ok(tally);
        }
        let items = rows.into_iter().filter_map(|(row, place)| item(row, &place).ok());
        let items: Vec<Item> = items.collect();
        match write_batch(session, batches, &items, reason, &bar).await {
            Ok(answer) => tally.add(&answer),
            Err(failed) => {
                bar.finish_and_clear();
                context.output.warn(format!(
                    "stopped after {} of {total} numbers; they stay, and the same command goes on from there",
                    tally.adopted + tally.present
                ));
                return Err(failed);
            }
        }
        bar.set_position(batches.next as u64);
    }
}

/// A batch can be sent again whatever became of it.
async fn write_batch(
    session: &Session,
    batches: &Batches<'_>,
    items: &[Item],
    reason: &str,
    bar: &ProgressBar,
) -> Result<Answer, Failed> {
    let mut wait = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match session.answer(batches.call(items, reason, false)?).await {
            Err(failed) if failed.exit_code() == 4 => {
                bar.set_message("waiting ");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            ended => return ended,
        }
        bar.set_message("adopted ");
    }
    session.answer(batches.call(items, reason, false)?).await
}

impl Tally {
    fn add(&mut self, answer: &Answer) {
        for entry in list(&answer.json, "data") {
            let is = |field: &str| entry.get(field).and_then(serde_json::Value::as_bool) == Some(true);
            if is("replayed") {
                self.present += 1;
            } else {
                self.adopted += 1;
            }
            if !list(entry, "differs").is_empty() {
                self.differing.push(Finding {
                    code: "differs",
                    severity: "warning",
                    tenant: text(entry, "tenant"),
                    period: text(entry, "period"),
                    what: text(entry, "number"),
                    message: format!("recorded with another {}, which stays", words(entry, "differs")),
                });
            }
        }
    }
}

/// Says what became of the rows, or would have; and all that was found.
fn print(context: &Context, survey: &Survey, tally: &Tally, dry_run: bool) -> Vec<Finding> {
    let Tally {
        adopted,
        present,
        differing,
    } = tally;
    let findings: Vec<Finding> = survey.findings.iter().chain(differing).cloned().collect();
    let different = differing.len() as u64;
    if context.output.form == Form::Json {
        let report = json!({
            "dry_run": dry_run, "numbers": survey.places.len(), "counters": survey.counters.len(),
            "adopted": adopted, "already_there": present, "with_another_date_or_document": different,
            "left_out": survey.left_out, "of_other_series": survey.of_line, "holes": survey.holes(),
            "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        });
        context.output.line(report.to_string());
        return findings;
    }
    print_findings(context.output, &findings);
    let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    context.output.card(vec![
        ("numbers", survey.places.len().to_string()),
        ("counters", survey.counters.len().to_string()),
        (
            if dry_run { "would be adopted" } else { "adopted" },
            adopted.to_string(),
        ),
        ("already there", count(*present)),
        ("with another date or document", count(different)),
        ("left out", count(survey.left_out)),
        ("of series before or after it", count(survey.of_line)),
        ("seqs on no row", count(survey.holes())),
    ]);
    findings
}
