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

/// A series that may have printed the numbers of one shape.
struct Guess<'a> {
    shape: &'a Shape,
    format: &'a str,
    reset: &'a str,
    start: u64,
}

impl Inspect {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        let zone = BundledZones
            .zone(zone)
            .ok_or_else(|| Failed::Usage(format!("unknown time zone {zone}; use an IANA name like Asia/Kolkata")))?;
        let source = Source::parse(&self.source);
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

    fn kinds(&self, source: &Source, rows: &mut Rows, zone: &Zone) -> std::io::Result<Vec<Kind>> {
        let mut shapes = shapes(&mut rows.spool.reader()?, zone)?;
        if let Some(format) = &self.format {
            // Who says what it is wants to hear of every row that is not.
            let reset = self.reset.clone().unwrap_or_else(|| "never".to_string());
            let mut said = shapes.first().cloned().unwrap_or_default();
            said.count = rows.spool.count;
            said.guesses = vec![(format.clone(), reset)];
            shapes = vec![said];
        }
        let mut kinds = Vec::new();
        for (i, shape) in shapes.into_iter().enumerate() {
            let read = if i < KINDS_MAX {
                self.likeliest(source, &shape, &mut rows.spool.reader()?, zone)?
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
        source: &Source,
        shape: &Shape,
        reader: &mut Reader,
        zone: &Zone,
    ) -> std::io::Result<Option<(Series, Survey)>> {
        let mut best: Option<(Series, Survey)> = None;
        for (format, reset) in &shape.guesses {
            let guess = Guess {
                shape,
                format,
                reset,
                start: 1,
            };
            let Some((series, survey)) = self.try_guess(source, &guess, reader, zone)? else {
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
        let again = self.try_guess(source, &again, reader, zone)?;
        Ok(again.or(Some((series, survey))))
    }

    fn try_guess(
        &self,
        source: &Source,
        guess: &Guess<'_>,
        reader: &mut Reader,
        zone: &Zone,
    ) -> std::io::Result<Option<(Series, Survey)>> {
        let spec = SeriesSpec {
            format: guess.format.to_string(),
            reset: Some(guess.reset.to_string()),
            time_zone: Some(zone.name().to_string()),
            start: Some(guess.start),
            max_length: Some(255),
            ..SeriesSpec::default()
        };
        let Ok(name) = SeriesName::parse("inspected") else {
            return Ok(None);
        };
        let Ok(series) = define(name, &spec) else {
            return Ok(None);
        };
        reader.rewind()?;
        let look = Look {
            series: &series,
            dated: false,
            length_max: self.max_length,
            row_word: source.row_word(),
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
            findings.push(Finding {
                code,
                severity: "warning",
                tenant: String::new(),
                period: String::new(),
                what: first.clone(),
                message: format!(
                    "{} like this, the last is {last}",
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
