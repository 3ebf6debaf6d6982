//! Compares the numbers of a series with the documents that bear them.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use seriatim::{Date, Series};

use super::Context;
use super::entry::PAGE_MAX;
use super::failed::Failed;
use super::moving::{
    Columns, Finding, Look, Reader, Source, Survey, Table, counts_json, line_of, print_findings, series_of,
    spool_failed, summary, survey,
};
use super::output::{Form, list, text};
use super::progress;
use super::session::Session;
use crate::transport::{Call, path, query};

/// Compare the numbers of a series with the documents of a table or a file
///
/// Finds numbers without a document, documents without a number, two documents with one number, dates and keys that
/// differ. Others may go on writing. Exit code 3 if anything is found.
#[derive(Args)]
pub struct Compare {
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
}

/// What is under way when the table is read is looked for again, up to this many.
const LOOKED_FOR_AGAIN_MAX: usize = 1_000;
/// And so long after each look. Who writes a document and has its number recorded is done within the deadline of the
/// service, of three seconds.
const LOOKED_FOR_AGAIN: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(900),
    Duration::from_millis(2_000),
];

struct Comparison<'a> {
    series: &'a Series,
    /// The series that it replaced, and those that replaced it.
    line: &'a [Series],
    survey: Survey,
    reader: Reader,
    row_word: &'static str,
    /// How far each counter was before the table was read: what came since may have its document by now.
    heads: HashMap<String, u64>,
    met: Vec<bool>,
    entries: u64,
    since: u64,
    findings: Vec<Finding>,
    /// Numbers that no document was found for.
    alone: Vec<Finding>,
    /// Places of documents whose number was not found.
    unmet: Vec<usize>,
}

impl Compare {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let source = Source::of_flags(self.from_csv.as_deref(), self.with.as_deref())?;
        let session = context.session("compare").await?;
        let series = series_of(session, &self.series).await?;
        let line = line_of(session, &self.series).await?;
        let heads = heads(session, &self.series).await?;
        let bar = progress::count(context, "rows read");
        let mut rows = source.read(&self.columns, &bar).await?;
        bar.finish_and_clear();
        let look = Look {
            series: &series,
            line: &line,
            dated: false,
            entering: false,
            length_max: usize::MAX,
            row_word: source.row_word(),
            shape: None,
        };
        let mut reader = rows.spool.reader().map_err(spool_failed)?;
        let survey = survey(session, &look, &mut reader).await?;
        let twice = survey.findings.iter().filter(|finding| finding.code == "duplicate");
        let findings = survey.bad.iter().chain(twice).cloned().collect();
        let mut comparison = Comparison {
            series: &series,
            line: &line,
            met: vec![false; survey.places.len()],
            survey,
            reader,
            row_word: source.row_word(),
            heads,
            entries: 0,
            since: 0,
            findings,
            alone: Vec::new(),
            unmet: Vec::new(),
        };
        let bar = progress::count(context, "numbers compared");
        comparison.walk(session, &bar).await?;
        bar.set_message("looking again for what was under way");
        self.look_again(&source, session, &mut comparison).await?;
        bar.finish_and_clear();
        comparison.conclude()?;
        comparison.print(context, rows.spool.count);
        match comparison.findings.as_slice() {
            [] => Ok(()),
            found => Err(Failed::Found(summary(found))),
        }
    }

    /// Others may be writing: a number may have been recorded, and a document written, since each was looked for.
    async fn look_again(
        &self,
        source: &Source,
        session: &Session,
        comparison: &mut Comparison<'_>,
    ) -> Result<(), Failed> {
        let few = 1..=LOOKED_FOR_AGAIN_MAX;
        let numbers = few.contains(&comparison.unmet.len());
        let (mut table, looks) = match source {
            Source::Table(url) if few.contains(&comparison.alone.len()) => {
                (Some(Table::connect(url, &self.columns).await?), LOOKED_FOR_AGAIN.len())
            }
            Source::Table(_) => (None, LOOKED_FOR_AGAIN.len()),
            // Nobody writes to a file.
            Source::Csv(_) => (None, 1),
        };
        for pause in LOOKED_FOR_AGAIN.into_iter().take(looks) {
            let is_open =
                (numbers && !comparison.unmet.is_empty()) || (table.is_some() && !comparison.alone.is_empty());
            if !is_open {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            if numbers {
                comparison.look_for_numbers(session).await?;
            }
            if let Some(table) = &mut table {
                comparison.look_for_documents(table).await?;
            }
        }
        Ok(())
    }
}

/// How far each counter is, by its id.
async fn heads(session: &Session, series: &str) -> Result<HashMap<String, u64>, Failed> {
    let mut heads = HashMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let at = path(&["v1", "series", series, "counters"]) + &query(&[("cursor", cursor.as_deref())]);
        let page = session.answer(Call::get(at)).await?;
        heads.extend(list(&page.json, "data").iter().map(|counter| {
            let last = counter.get("last_seq").and_then(Value::as_u64).unwrap_or(0);
            (text(counter, "id"), last)
        }));
        cursor = page.next_cursor();
        if cursor.is_none() {
            return Ok(heads);
        }
    }
}

/// The entries of a series, page by page.
async fn each_entry(
    session: &Session,
    series: &str,
    mut take: impl FnMut(&Value) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let limit = PAGE_MAX.to_string();
    let mut cursor: Option<String> = None;
    loop {
        let wanted = [
            ("series", Some(series)),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor.as_deref()),
        ];
        let at = format!("/v1/entries{}", query(&wanted));
        let page = session.answer(Call::get(at)).await?;
        list(&page.json, "data").iter().try_for_each(&mut take)?;
        cursor = page.next_cursor();
        if cursor.is_none() {
            return Ok(());
        }
    }
}

impl Comparison<'_> {
    /// Every entry of the series; and if documents are left over, of the others of its line.
    async fn walk(&mut self, session: &Session, bar: &indicatif::ProgressBar) -> Result<(), Failed> {
        each_entry(session, &self.series.name, |entry| {
            bar.inc(1);
            self.meet(entry)
        })
        .await?;
        for other in self.line {
            if self.met.iter().all(|met| *met) {
                break;
            }
            // Whether it is as its document says is found when that series is compared.
            each_entry(session, &other.name, |entry| {
                if let Some(place) = self
                    .survey
                    .find(self.series, &text(entry, "number"), &text(entry, "tenant"))
                {
                    self.met[place] = true;
                }
                Ok(())
            })
            .await?;
        }
        self.unmet = (0..self.met.len()).filter(|i| !self.met[*i]).collect();
        Ok(())
    }

    fn meet(&mut self, entry: &Value) -> Result<(), Failed> {
        self.entries += 1;
        let (number, tenant, state) = (text(entry, "number"), text(entry, "tenant"), text(entry, "state"));
        match (self.survey.find(self.series, &number, &tenant), state.as_str()) {
            (Some(place), state) => {
                self.met[place] = true;
                self.check(entry, place, state)?;
            }
            // Nothing says that a reserved or a void number is on a document.
            (None, "reserved" | "voided") => {}
            // What is wrong with its row is said already; to void the number would be to void that of a document.
            (None, _) if self.survey.is_in_doubt(self.series, &number, &tenant) => {}
            (None, _) if self.is_new(entry) => self.since += 1,
            (None, _) => {
                let message = "no document bears it".to_string();
                self.alone.push(finding("number_without_document", entry, message));
            }
        }
        Ok(())
    }

    fn is_new(&self, entry: &Value) -> bool {
        let id = text(entry, "id");
        let counter = id.split('_').nth(1).unwrap_or_default();
        let seq = entry.get("seq").and_then(Value::as_u64).unwrap_or(0);
        seq > self.heads.get(counter).copied().unwrap_or(0)
    }

    /// An entry and the row with its number.
    fn check(&mut self, entry: &Value, place: usize, state: &str) -> Result<(), Failed> {
        let found = &self.survey.places[place];
        let date = text(entry, "date").parse::<Date>().ok();
        let mut wrong = Vec::new();
        match state {
            "voided" => wrong.push(("void_on_document", "it is void".to_string())),
            "reserved" => wrong.push(("not_confirmed", "it is only reserved".to_string())),
            _ => {}
        }
        if let (Some(theirs), Some(ours)) = (found.date, date)
            && theirs != ours
        {
            wrong.push(("date_differs", format!("dated {ours} here and {theirs} there")));
        }
        let key = text(entry, "key");
        if !key.is_empty() && found.has_other_key(&text(entry, "tenant"), &key) {
            wrong.push(("key_differs", format!("issued for {key}")));
        }
        if !wrong.is_empty() {
            let line = self.reader.at(found.at).map_err(spool_failed)?.line;
            let named = |(code, what)| finding(code, entry, format!("{what}; {} {line}", self.row_word));
            self.findings.extend(wrong.into_iter().map(named));
        }
        Ok(())
    }

    async fn look_for_numbers(&mut self, session: &Session) -> Result<(), Failed> {
        for i in std::mem::take(&mut self.unmet) {
            let row = self.reader.at(self.survey.places[i].at).map_err(spool_failed)?;
            let mut is_there = false;
            for series in std::iter::once(self.series).chain(self.line) {
                is_there = is_there || is_recorded(session, &series.name, row.tenant(), &row.number).await?;
            }
            if !is_there {
                self.unmet.push(i);
            }
        }
        Ok(())
    }

    async fn look_for_documents(&mut self, table: &mut Table) -> Result<(), Failed> {
        let numbers: Vec<String> = self.alone.iter().map(|finding| finding.what.clone()).collect();
        let there = table.look_again(&numbers).await?;
        let is_there = |finding: &Finding| {
            let named = |tenant: &Option<String>| tenant.as_deref().unwrap_or("default") == finding.tenant;
            there
                .iter()
                .any(|(number, tenant)| *number == finding.what && named(tenant))
        };
        self.alone.retain(|finding| !is_there(finding));
        Ok(())
    }

    /// What was not found up to now is not there.
    fn conclude(&mut self) -> Result<(), Failed> {
        for i in &self.unmet {
            let row = self.reader.at(self.survey.places[*i].at).map_err(spool_failed)?;
            self.findings.push(Finding {
                code: "document_without_number",
                severity: "error",
                tenant: row.tenant().to_string(),
                period: String::new(),
                message: format!("the series does not have it; {} {}", self.row_word, row.line),
                what: row.number,
            });
        }
        self.findings.append(&mut self.alone);
        Ok(())
    }

    fn print(&self, context: &Context, rows: u64) {
        if context.output.form == Form::Json {
            let report = json!({
                "numbers": self.entries, "documents": rows, "issued_since": self.since,
                "of_other_series": self.survey.of_line,
                "counts": counts_json(&self.findings),
                "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            });
            return context.output.line(report.to_string());
        }
        print_findings(context.output, &self.findings);
        let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
        context.output.card(vec![
            ("numbers", self.entries.to_string()),
            ("documents", rows.to_string()),
            ("of series before or after it", count(self.survey.of_line)),
            ("issued since the documents were read", count(self.since)),
        ]);
    }
}

async fn is_recorded(session: &Session, series: &str, tenant: &str, number: &str) -> Result<bool, Failed> {
    let wanted = [
        ("series", Some(series)),
        ("tenant", Some(tenant)),
        ("number", Some(number)),
    ];
    let answer = session
        .answer(Call::get(format!("/v1/entries{}", query(&wanted))))
        .await?;
    Ok(!list(&answer.json, "data").is_empty())
}

fn finding(code: &'static str, entry: &Value, message: String) -> Finding {
    Finding {
        code,
        severity: "error",
        tenant: text(entry, "tenant"),
        period: text(entry, "period"),
        what: text(entry, "number"),
        message,
    }
}
