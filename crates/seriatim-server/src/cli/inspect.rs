//! Looks through numbers that somebody else issued, before anything is decided or installed.

use clap::Args;
use serde_json::json;
use seriatim::{BundledZones, Series, SeriesName, SeriesSpec, Zone, Zones as _};

use super::Context;
use super::failed::Failed;
use super::moving::{
    Columns, Finding, Look, Reader, Rows, Shape, Source, Survey, define, many, shapes, spool_failed, summary,
};
use super::moving::{counts_json, print_findings};
use super::output::Form;
use super::progress;

/// Look through numbers that were issued elsewhere, in a table or a file
///
/// Installs nothing and writes nothing. Exit code 3 if anything is found.
#[derive(Args)]
pub struct Inspect {
    /// URL of a PostgreSQL database (PGPASSWORD is used if it has no password), or a CSV file; - is stdin
    #[arg(value_name = "URL|FILE")]
    source: String,
    #[command(flatten)]
    columns: Columns,
    /// The format of the numbers [default: guessed]
    #[arg(long)]
    format: Option<String>,
    /// When their count restarts [default: guessed]
    #[arg(long, requires = "format")]
    reset: Option<String>,
    /// Whose midnight counts, e.g. Asia/Kolkata [default: UTC]
    #[arg(long, visible_alias = "tz", value_name = "ZONE")]
    time_zone: Option<String>,
    /// The most characters that a number may have, e.g. 16
    #[arg(long, value_name = "CHARACTERS", default_value_t = 64)]
    max_length: usize,
}

/// More kinds than these are only counted.
const KINDS_MAX: usize = 5;

/// How many counts a person is shown.
const COUNTERS_MAX: usize = 20;

/// Numbers of one kind, as the likeliest series reads them.
struct Kind {
    shape: Shape,
    read: Option<(Series, Survey)>,
}

/// What was read, and where midnight is.
struct Read<'a> {
    source: &'a Source,
    dated: bool,
    zone: &'a Zone,
}

/// A series that may have printed the numbers of one shape.
struct Guess<'a> {
    shape: &'a Shape,
    format: &'a str,
    reset: &'a str,
    start: u64,
}

impl Guess<'_> {
    /// The series; or why there is none such.
    fn series(&self, zone: &Zone) -> Result<Series, String> {
        let spec = SeriesSpec {
            format: self.format.to_string(),
            reset: Some(self.reset.to_string()),
            time_zone: Some(zone.name().to_string()),
            start: Some(self.start),
            max_length: Some(255),
            ..SeriesSpec::default()
        };
        let name = SeriesName::parse("inspected").map_err(|refusal| refusal.message)?;
        define(name, &spec)
    }
}

impl Inspect {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        let zone = BundledZones
            .zone(zone)
            .ok_or_else(|| Failed::Usage(format!("unknown time zone {zone}; use an IANA name like Asia/Kolkata")))?;
        let source = Source::parse(&self.source)?;
        if let (Source::Csv(file), Some(_)) = (&source, &self.columns.table) {
            return Err(Failed::Usage(format!(
                "--table is a table of a database, and {file} is a file; leave it out, or give the URL of the database"
            )));
        }
        self.check_format(&zone)?;
        let bar = progress::count(context, "rows");
        let mut rows = source.read(&self.columns, &bar).await?;
        bar.finish_and_clear();
        let kinds = self.kinds(&source, &mut rows, &zone).map_err(spool_failed)?;
        let findings = findings(&kinds);
        self.print(context, &rows, &kinds, &findings);
        if findings.is_empty() {
            return Ok(());
        }
        Err(Failed::Found(summary(&findings)))
    }

    /// A format that was given is one, or no row could be like it.
    fn check_format(&self, zone: &Zone) -> Result<(), Failed> {
        let Some(format) = &self.format else { return Ok(()) };
        let guess = Guess {
            shape: &Shape::default(),
            format,
            reset: self.reset_said(),
            start: 1,
        };
        guess.series(zone).map(drop).map_err(|what| {
            let hint = match self.reset {
                None if what.contains("reset") => {
                    "; --reset says when their count restarts, and is never if it is not given"
                }
                Some(_) | None => "",
            };
            Failed::Usage(format!("--format {format}: {what}{hint}"))
        })
    }

    fn reset_said(&self) -> &str {
        self.reset.as_deref().unwrap_or("never")
    }

    fn kinds(&self, source: &Source, rows: &mut Rows, zone: &Zone) -> std::io::Result<Vec<Kind>> {
        let mut shapes = shapes(&mut rows.spool.reader()?, zone)?;
        if let Some(format) = &self.format {
            // Who says what it is wants to hear of every row that is not.
            let mut said = shapes.first().cloned().unwrap_or_default();
            said.count = rows.spool.count;
            said.guesses = vec![(format.clone(), self.reset_said().to_string())];
            shapes = vec![said];
        }
        let dated = rows.dated;
        let mut kinds = Vec::new();
        for (i, shape) in shapes.into_iter().enumerate() {
            let read = if i < KINDS_MAX {
                let mut reader = rows.spool.reader()?;
                self.likeliest(&Read { source, dated, zone }, &shape, &mut reader)?
            } else {
                None
            };
            // Times of day and the like are no count, whatever they look like.
            let read = read.filter(|(_, survey)| i == 0 || survey.holes() < 10 * survey.places.len() as u64);
            kinds.push(Kind { shape, read });
        }
        Ok(kinds)
    }

    /// Of the guesses the one that leaves the fewest duplicates, holes and rows that it does not fit.
    fn likeliest(
        &self,
        read: &Read<'_>,
        shape: &Shape,
        reader: &mut Reader,
    ) -> std::io::Result<Option<(Series, Survey)>> {
        let mut best: Option<(Series, Survey)> = None;
        for (format, reset) in &shape.guesses {
            let guess = Guess {
                shape,
                format,
                reset,
                start: 1,
            };
            let Some((series, survey)) = self.try_guess(read, &guess, reader)? else {
                continue;
            };
            let faults = |survey: &Survey| survey.left_out + survey.holes() + survey.bad.len() as u64;
            if best.as_ref().is_none_or(|(_, best)| faults(&survey) < faults(best)) {
                best = Some((series, survey));
            }
        }
        let Some((series, survey)) = best else { return Ok(None) };
        let first = survey.counters.iter().map(|counter| counter.first).min().unwrap_or(1);
        if first < 10 || first % 10 > 1 {
            return Ok(Some((series, survey)));
        }
        // Where every count begins at a round number (1000, 1001), that is no hole but the start.
        let again = Guess {
            shape,
            format: &series.format.to_string(),
            reset: &series.reset.to_string(),
            start: first,
        };
        let again = self.try_guess(read, &again, reader)?;
        Ok(again.or(Some((series, survey))))
    }

    fn try_guess(
        &self,
        read: &Read<'_>,
        guess: &Guess<'_>,
        reader: &mut Reader,
    ) -> std::io::Result<Option<(Series, Survey)>> {
        let Ok(series) = guess.series(read.zone) else {
            return Ok(None);
        };
        reader.rewind()?;
        let look = Look {
            series: &series,
            line: &[],
            dated: read.dated,
            entering: true,
            length_max: self.max_length,
            row_word: read.source.row_word(),
            shape: self.format.is_none().then_some(guess.shape),
        };
        let survey = Survey::of(&look, reader)?;
        Ok(Some((series, survey)))
    }

    fn print(&self, context: &Context, rows: &Rows, kinds: &[Kind], findings: &[Finding]) {
        if context.output.form == Form::Json {
            let report = json!({
                "rows": rows.spool.count,
                "without_number": rows.drafts,
                "formats": kinds.iter().map(format_json).collect::<Vec<_>>(),
                "counters": kinds.iter().flat_map(counters_json).collect::<Vec<_>>(),
                "counts": counts_json(findings),
                "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
            });
            return context.output.line(report.to_string());
        }
        let mut table = vec![line("rows", "", "", &rows.spool.count.to_string(), &drafts(rows))];
        table.extend(kinds.iter().map(format_line));
        let counters: Vec<Vec<String>> = kinds.iter().flat_map(counter_lines).collect();
        let more = counters.len().saturating_sub(COUNTERS_MAX);
        table.extend(counters.into_iter().take(COUNTERS_MAX));
        context.output.table(&["", "tenant", "period", "what", "detail"], table);
        if more > 0 {
            context.output.note(format!("{more} more counts; -o json shows all"));
        }
        print_findings(context.output, findings);
        if let Some((series, _)) = kinds.first().and_then(|kind| kind.read.as_ref()) {
            context.output.note(format!("to go on with them: {}", create(series)));
        }
    }
}

fn findings(kinds: &[Kind]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (i, kind) in kinds.iter().enumerate() {
        if i > 0 || kind.read.is_none() {
            let Shape { count, first, last, .. } = &kind.shape;
            let code = if i > 0 { "other_format" } else { "no_format" };
            let look = if kind.shape.is_rest() {
                "like none of these"
            } else {
                "like this"
            };
            findings.push(Finding {
                code,
                severity: "warning",
                tenant: String::new(),
                period: String::new(),
                what: first.clone(),
                message: format!(
                    "{} {look}, the last is {last}",
                    many(*count, "number looks", "numbers look")
                ),
            });
        }
        if let Some((_, survey)) = &kind.read {
            findings.extend(survey.bad.iter().chain(&survey.findings).cloned());
        }
    }
    findings
}

fn line(what: &str, tenant: &str, period: &str, text: &str, detail: &str) -> Vec<String> {
    [what, tenant, period, text, detail].map(str::to_string).to_vec()
}

fn drafts(rows: &Rows) -> String {
    match rows.drafts {
        0 => String::new(),
        drafts => format!("and {drafts} without a number"),
    }
}

fn format_line(kind: &Kind) -> Vec<String> {
    let Shape { count, first, last, .. } = &kind.shape;
    let rows = format!("{}, {first} to {last}", many(*count, "row", "rows"));
    match &kind.read {
        Some((series, _)) => {
            let detail = format!("reset {}, start {}; {rows}", series.reset, series.start);
            line("format", "", "", &series.format.to_string(), &detail)
        }
        None => line("format", "", "", "(not known)", &rows),
    }
}

fn counter_lines(kind: &Kind) -> Vec<Vec<String>> {
    let counters = kind.read.iter().flat_map(|(_, survey)| &survey.counters);
    let lines = counters.map(|seen| {
        let span = format!("{} to {}", seen.first, seen.last);
        line(
            "counter",
            &seen.tenant,
            seen.period.as_str(),
            &span,
            &many(seen.rows, "row", "rows"),
        )
    });
    lines.collect()
}

fn format_json(kind: &Kind) -> serde_json::Value {
    let Shape { count, first, last, .. } = &kind.shape;
    let series = kind.read.as_ref().map(|(series, _)| series);
    json!({
        "format": series.map(|series| series.format.to_string()),
        "reset": series.map(|series| series.reset.to_string()),
        "start": series.map(|series| series.start),
        "rows": count, "first": first, "last": last,
    })
}

fn counters_json(kind: &Kind) -> Vec<serde_json::Value> {
    let counters = kind.read.iter().flat_map(|(_, survey)| &survey.counters);
    let objects = counters.map(|seen| {
        let partition: serde_json::Map<_, _> = seen
            .partition
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value)))
            .collect();
        json!({
            "tenant": seen.tenant, "partition": partition, "period": seen.period.as_str(),
            "first": seen.first, "last": seen.last, "rows": seen.rows,
        })
    });
    objects.collect()
}

/// The command that defines such a series.
fn create(series: &Series) -> String {
    let mut command = format!("seriatim series create NAME --format '{}'", series.format);
    let reset = series.reset.to_string();
    let settings = [
        ("reset", reset.as_str(), "never"),
        ("time-zone", series.zone.name(), "UTC"),
        ("start", &series.start.to_string(), "1"),
    ];
    for (name, value, usual) in settings {
        if value != usual {
            command += &format!(" --{name} {value}");
        }
    }
    command
}
