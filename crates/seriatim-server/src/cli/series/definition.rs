//! A definition as somebody wrote it, in flags or in a file, and the drawing of what is wrong with it.

use std::collections::BTreeMap;
use std::ops::Range;

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::failed::{Failed, Problem};
use crate::config::Place;

/// The settings of a series. What is not said is left to the service, which knows the defaults.
#[derive(Args, Serialize, Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name; in a request it is in the path.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub name: String,
    /// What the numbers look like, e.g. INV-{fy}-{seq:5}
    #[arg(long)]
    pub format: String,
    /// When the count restarts: never, daily, monthly, yearly or fiscal-year:MM-DD
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reset: Option<String>,
    /// Whose midnight counts, e.g. Asia/Kolkata [default: UTC]
    #[arg(long, visible_alias = "tz", value_name = "ZONE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    /// The first seq of a counter [default: 1]
    #[arg(long, value_name = "SEQ")]
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    /// Params that split the count besides the tenant
    #[arg(long, value_name = "PARAM", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    partition_by: Vec<String>,
    /// A param and what it may be: branch=digits:2, branch=letters:1..4 or branch=one_of:N,S
    #[arg(long = "param", value_name = "NAME=KIND:WIDTH", value_parser = kind)]
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        default,
        serialize_with = "as_table",
        deserialize_with = "of_table"
    )]
    params: Vec<Param>,
    /// explain or allow
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    gaps: Option<String>,
    /// When seq outgrows its width: widen or refuse [default: widen]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    overflow: Option<String>,
    /// The last seq that a counter may take
    #[arg(long, value_name = "SEQ")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// The most characters that a number may have [default: 64]
    #[arg(long, value_name = "CHARACTERS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    /// Whether dates must not run backwards: free or required [default: free]
    #[arg(long, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    date_order: Option<String>,
    /// Which dates are accepted [default: -400d..+32d]
    #[arg(long, value_name = "WINDOW", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    date_window: Option<String>,
    /// Whether a request must bring a key: required or optional [default: required]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<String>,
    /// What a retry must have in common with its first request: lenient or strict [default: lenient]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<String>,
    /// What becomes of a reservation that ran out: hold or void [default: hold]
    #[arg(long, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_expiry: Option<String>,
    /// What is answered while the store cannot be reached: fail [default: fail]
    #[arg(long, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    on_outage: Option<String>,
    /// A test series: it can be wiped
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    test: bool,
    /// The series that this one takes over from and whose uniqueness it shares
    #[arg(long, value_name = "SERIES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
}

/// A param and what it may be, e.g. `branch`, `digits`, `2`.
#[derive(Debug, Clone)]
struct Param {
    name: String,
    kind: String,
    width: serde_json::Value,
}

/// Reads `branch=digits:2`.
fn kind(text: &str) -> Result<Param, String> {
    let read = || {
        let (name, rest) = text.split_once('=')?;
        let (kind, width) = rest.split_once(':')?;
        let width = match kind {
            "one_of" => width.split(',').collect(),
            _ => width
                .parse::<u64>()
                .map_or_else(|_| width.into(), serde_json::Value::from),
        };
        Some(Param {
            name: name.to_string(),
            kind: kind.to_string(),
            width,
        })
    };
    read().ok_or_else(|| "write it like branch=digits:2, branch=letters:1..4 or branch=one_of:N,S".to_string())
}

type Table = BTreeMap<String, BTreeMap<String, serde_json::Value>>;

fn as_table<S: serde::Serializer>(params: &[Param], serializer: S) -> Result<S::Ok, S::Error> {
    let row = |param: &Param| {
        (
            param.name.clone(),
            BTreeMap::from([(param.kind.clone(), param.width.clone())]),
        )
    };
    params.iter().map(row).collect::<Table>().serialize(serializer)
}

fn of_table<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Param>, D::Error> {
    let table = Table::deserialize(deserializer)?;
    let rows = table.into_iter().flat_map(|(name, kinds)| {
        kinds.into_iter().map(move |(kind, width)| Param {
            name: name.clone(),
            kind,
            width,
        })
    });
    Ok(rows.collect())
}

impl Definition {
    /// Whether a number can be had without saying anything.
    pub fn needs_nothing(&self) -> bool {
        self.params.is_empty()
    }

    /// The same, replacing nothing.
    pub fn without_replaces(&self) -> Self {
        Self {
            replaces: None,
            ..self.clone()
        }
    }
}

/// A file of definitions, with its text, so that what is wrong can be shown in it.
pub struct Sheet<'a> {
    path: &'a str,
    source: &'a str,
    /// The definitions, in the order of the file.
    pub series: Vec<Definition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    series: Vec<Definition>,
}

impl<'a> Sheet<'a> {
    /// Reads the file; nothing of it is used if any of it is wrong.
    pub fn parse(path: &'a str, source: &'a str) -> Result<Self, Failed> {
        let wrong = |span: Option<Range<usize>>, message: &str| {
            let span = span.unwrap_or_default();
            let drawing = draw_in_file(source, span.start, span.len());
            Failed::Usage(format!(
                "{path}:{}: {message}\n{drawing}",
                Place::of(source, span.start)
            ))
        };
        let file: File = toml::from_str(source).map_err(|error| wrong(error.span(), error.message()))?;
        if file.series.is_empty() {
            return Err(Failed::Usage(format!("{path} has no [[series]]")));
        }
        Ok(Self {
            path,
            source,
            series: file.series,
        })
    }

    /// The series that the one of this index replaces, if that stands above it, can be replaced by it and is replaced by
    /// no other.
    pub fn replaced_above(&self, index: usize) -> Option<&str> {
        let above = self.series.get(..index)?;
        let definition = self.series.get(index)?;
        let old = definition.replaces.as_deref()?;
        let is_taken = above.iter().any(|other| other.replaces.as_deref() == Some(old));
        let fits = |other: &&Definition| other.name == old && other.test == definition.test && !is_taken;
        above.iter().find(fits).map(|_| old)
    }

    /// The place of a problem with the series of this index, drawn.
    pub fn under(&self, index: usize, problem: &Problem) -> Option<String> {
        let span = self.span_of(index, problem)?;
        let drawing = draw_in_file(self.source, span.start, span.len());
        Some(format!(
            "  {}:{}\n{drawing}",
            self.path,
            Place::of(self.source, span.start)
        ))
    }

    fn span_of(&self, index: usize, problem: &Problem) -> Option<Range<usize>> {
        let root = DeTable::parse(self.source).ok()?;
        let series = root.get_ref().get("series")?.get_ref().get(index)?;
        let mut value: &Spanned<DeValue<'_>> = series;
        for part in problem
            .pointer()
            .unwrap_or_default()
            .split('/')
            .filter(|part| !part.is_empty())
        {
            match value.get_ref().get(part) {
                Some(inner) => value = inner,
                // A setting that is not in the file: the nearest that is there.
                None => break,
            }
        }
        let span = value.span();
        let within = place(problem).and_then(|place| self.inside(&span, value.get_ref().as_str()?, place));
        Some(within.unwrap_or(span))
    }

    /// A place in a text, if the file has the text as it is, without escapes.
    fn inside(&self, span: &Range<usize>, text: &str, (offset, length): (usize, usize)) -> Option<Range<usize>> {
        let start = span.start + self.source.get(span.clone())?.find(text)?;
        Some(start + offset..start + offset + length)
    }
}

/// Byte offset and length in the format.
fn place(problem: &Problem) -> Option<(usize, usize)> {
    let place = problem.body.get("place")?;
    let field = |name: &str| usize::try_from(place.get(name)?.as_u64()?).ok();
    Some((field("offset")?, field("length")?))
}

/// The place of a problem under the format that was given as a flag.
pub fn under_format(problem: &Problem, format: &str) -> Option<String> {
    let (offset, length) = place(problem)?;
    Some(draw(format, offset, length))
}

fn draw_in_file(source: &str, offset: usize, length: usize) -> String {
    let start = source
        .get(..offset)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1);
    let line = source
        .get(start..)
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default();
    draw(line, offset.saturating_sub(start), length)
}

/// A line with `^^^^` under a part of it, counted in bytes and drawn in characters.
fn draw(line: &str, offset: usize, length: usize) -> String {
    let end = (offset + length).min(line.len());
    let before = line.get(..offset).unwrap_or(line).chars().count();
    let marked = line.get(offset..end).map_or(1, |marked| marked.chars().count()).max(1);
    format!("  {line}\n  {}{}", " ".repeat(before), "^".repeat(marked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(source: &str, expected: Expect) {
        match Sheet::parse("series.toml", source) {
            Err(Failed::Usage(message)) => expected.assert_eq(&message),
            Err(other) => panic!("{other:?}"),
            Ok(sheet) => expected.assert_eq(&serde_json::to_string(&sheet.series).unwrap()),
        }
    }

    #[test]
    fn a_file_of_series_reads() {
        check(
            "[[series]]\nname = \"a\"\nformat = \"{branch}-{seq}\"\n[series.params]\nbranch = { digits = 2 }",
            expect![[r#"[{"format":"{branch}-{seq}","params":{"branch":{"digits":2}}}]"#]],
        );
    }

    #[test]
    fn what_is_wrong_is_drawn() {
        check(
            "[[series]]\nname = \"a\"\nfromat = \"{seq}\"",
            expect![[r#"
            series.toml:3:1: unknown field `fromat`, expected one of `name`, `format`, `reset`, `time_zone`, `start`, `partition_by`, `params`, `gaps`, `overflow`, `limit`, `max_length`, `date_order`, `date_window`, `keys`, `replay`, `on_expiry`, `on_outage`, `test`, `replaces`
              fromat = "{seq}"
              ^^^^^^"#]],
        );
        check(
            "[[series]]\nname = \"a\"\nformat = 7",
            expect![[r#"
            series.toml:3:10: invalid type: integer `7`, expected a string
              format = 7
                       ^"#]],
        );
        check(
            "[[series]]\nname = \"a\"\nformat = \"x",
            expect![[r#"
            series.toml:3:12: invalid basic string, expected `"`
              format = "x
                         ^"#]],
        );
        check("", expect![["series.toml has no [[series]]"]]);
    }

    #[test]
    fn a_place_in_a_format_is_drawn_where_it_stands_in_the_file() {
        let source = "[[series]]\nname = \"a\"\nformat = \"INV-{yyyy}-{seq}\"\n";
        let sheet = Sheet::parse("series.toml", source).unwrap();
        let problem = Problem {
            status: 422,
            body: serde_json::json!({"errors": [{"pointer": "/format"}], "place": {"offset": 4, "length": 6}}),
            drawing: None,
        };
        expect![[r#"
            file:
              series.toml:3:15
              format = "INV-{yyyy}-{seq}"
                            ^^^^^^"#]]
        .assert_eq(&format!("file:\n{}", sheet.under(0, &problem).unwrap()));
        expect![[r#"
            flag:
              INV-{yyyy}-{seq}
                  ^^^^^^"#]]
        .assert_eq(&format!(
            "flag:\n{}",
            under_format(&problem, "INV-{yyyy}-{seq}").unwrap()
        ));
    }
}
