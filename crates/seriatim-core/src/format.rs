//! The format language: literal text and `{token}`s, printed one way and read back the same way.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::definition::DefinitionError;
use crate::digits::Digits;
use crate::name::is_unprintable;
use crate::period::Reset;
use crate::scope::{ParamKind, ParamKinds, Params};
use crate::time::Date;

/// A parsed format.
///
/// ```
/// use seriatim_core::{Format, ParamKinds};
///
/// let error = Format::parse("INV-{yyyy}-{seq}", &ParamKinds::default()).unwrap_err();
/// assert_eq!(error.message, "unknown token {yyyy}; did you mean {year}?");
/// assert_eq!(error.place, Some((4, 6)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    source: String,
    pub(crate) pieces: Vec<Piece>,
}

/// A stretch of the format with its place in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) place: (usize, usize),
    pub(crate) part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    /// The seq, padded with zeros to this width; 0 means as it is.
    Seq(usize),
    Year,
    ShortYear,
    Month,
    Day,
    Date,
    Fiscal(FiscalStyle),
    Tenant,
    Param(String, ParamKind),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FiscalStyle {
    /// 2526
    Short,
    /// 2025-26
    Long,
    /// 2025
    Start,
    /// 2026
    End,
}

impl FiscalStyle {
    fn print(self, start: u16, text: &mut String) {
        match self {
            Self::Short => {
                push(text, start % 100, 2);
                push(text, (start + 1) % 100, 2);
            }
            Self::Long => {
                push(text, start, 4);
                text.push('-');
                push(text, (start + 1) % 100, 2);
            }
            Self::Start => push(text, start, 4),
            Self::End => push(text, start + 1, 4),
        }
    }
}

fn push(text: &mut String, number: impl Into<u64>, width: usize) {
    text.push_str(Digits::padded(number.into(), width).as_str());
}

/// What the parts of a number say, before it is asked whether they fit together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The integer of the number.
    pub seq: u64,
    /// Every param that the format prints.
    pub params: Params,
    pub(crate) year: Option<i16>,
    pub(crate) month: Option<u8>,
    pub(crate) day: Option<u8>,
    pub(crate) fiscal_start: Option<i16>,
}

impl Format {
    /// The longest format, in bytes.
    pub const BYTES_MAX: usize = 256;
    /// The widest zero padding of a seq.
    pub const SEQ_WIDTH_MAX: usize = 18;

    /// Reads a format whose params are declared by `params`.
    ///
    /// # Errors
    /// What is wrong, where in the text, and what may have been meant.
    pub fn parse(source: &str, params: &ParamKinds) -> Result<Self, DefinitionError> {
        if source.is_empty() || source.len() > Self::BYTES_MAX {
            let message = format!(
                "a format has 1 to {} bytes, e.g. `INV-{{year}}-{{seq:5}}`",
                Self::BYTES_MAX
            );
            return Err(DefinitionError::at("format", message, (0, source.len())));
        }
        let pieces = pieces(source, params)?;
        let seqs: Vec<&Piece> = pieces.iter().filter(|p| matches!(p.part, Part::Seq(_))).collect();
        match seqs.as_slice() {
            [_one] => {}
            [] => {
                let message = "the format needs {seq} or {seq:N}, exactly once";
                return Err(DefinitionError::at("format", message, (source.len(), 0)));
            }
            [_, second, ..] => {
                let message = "{seq} stands in the format twice; it must stand there exactly once";
                return Err(DefinitionError::at("format", message, second.place));
            }
        }
        Ok(Self {
            source: source.to_string(),
            pieces,
        })
    }

    /// The width to which the seq is padded; 0 if it is not.
    #[must_use]
    pub fn seq_width(&self) -> usize {
        let width = self.pieces.iter().find_map(|piece| match piece.part {
            Part::Seq(width) => Some(width),
            _ => None,
        });
        width.unwrap_or(0)
    }

    /// Whether a year is printed with two digits, so that it repeats after a century.
    pub(crate) fn has_short_years(&self) -> bool {
        let short = |piece: &Piece| matches!(piece.part, Part::ShortYear | Part::Fiscal(FiscalStyle::Short));
        self.pieces.iter().any(short)
    }

    /// Prints a number.
    #[must_use]
    pub fn render(&self, reset: Reset, tenant: &str, params: &Params, date: Date, seq: u64) -> String {
        let mut text = String::with_capacity(self.source.len() + 8);
        let year = date.year().unsigned_abs();
        for piece in &self.pieces {
            match &piece.part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Seq(width) => push(&mut text, seq, *width),
                Part::Year => push(&mut text, year, 4),
                Part::ShortYear => push(&mut text, year % 100, 2),
                Part::Month => push(&mut text, date.month(), 2),
                Part::Day => push(&mut text, date.day(), 2),
                Part::Date => {
                    push(&mut text, year, 4);
                    push(&mut text, date.month(), 2);
                    push(&mut text, date.day(), 2);
                }
                Part::Fiscal(style) => style.print(reset.fiscal_year_of(date).unsigned_abs(), &mut text),
                Part::Tenant => text.push_str(tenant),
                Part::Param(name, _) => text.push_str(params.get(name).unwrap_or_default()),
            }
        }
        text
    }

    /// Reads a printed number; nothing if this format cannot have printed it.
    ///
    /// It is the caller's to ask whether the parts fit together (a fiscal year and a date, say): print it again and
    /// compare.
    #[must_use]
    pub fn read(&self, text: &str, tenant: &str) -> Option<Reading> {
        let mut reading = Reading::default();
        let mut params = BTreeMap::new();
        let mut rest = text;
        for (i, piece) in self.pieces.iter().enumerate() {
            let take = match &piece.part {
                Part::Literal(literal) => {
                    rest = rest.strip_prefix(literal.as_str())?;
                    continue;
                }
                Part::Tenant => {
                    rest = rest.strip_prefix(tenant)?;
                    continue;
                }
                part => match self.width_in(part, rest, i) {
                    width if rest.is_char_boundary(width) && width <= rest.len() => width,
                    _ => return None,
                },
            };
            let (value, after) = rest.split_at(take);
            rest = after;
            reading.take(&piece.part, value, &mut params)?;
        }
        reading.params = Params::from_pairs(params);
        rest.is_empty().then_some(reading)
    }

    /// How many bytes the part at `i` takes from the front of `rest`: its fixed width, or all up to the first
    /// character that cannot be part of it. (The definition check made sure that this is unambiguous.)
    fn width_in(&self, part: &Part, rest: &str, i: usize) -> usize {
        let run = |fits: &dyn Fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
        match part {
            Part::Year | Part::Fiscal(FiscalStyle::Short | FiscalStyle::Start | FiscalStyle::End) => 4,
            Part::ShortYear | Part::Month | Part::Day => 2,
            Part::Date => 8,
            Part::Fiscal(FiscalStyle::Long) => 7,
            Part::Param(_, kind) => kind.fixed_width().unwrap_or_else(|| run(&|c| kind.may_contain(c))),
            // A seq is followed by a token or by a digit only if its width is fixed; else it runs on.
            Part::Seq(width) => match self.pieces.get(i + 1).map(|piece| &piece.part) {
                None => run(&|c| c.is_ascii_digit()),
                Some(Part::Literal(text)) if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                    run(&|c| c.is_ascii_digit())
                }
                Some(_) => *width,
            },
            Part::Literal(_) | Part::Tenant => 0,
        }
    }
}

impl Reading {
    fn take(&mut self, part: &Part, value: &str, params: &mut BTreeMap<String, String>) -> Option<()> {
        match part {
            Part::Literal(_) | Part::Tenant => {}
            Part::Seq(width) => {
                self.seq = digits(value)?;
                // Exactly the zeros that are printed, so that one position has one text.
                (format!("{:0width$}", self.seq) == value).then_some(())?;
            }
            Part::Year => agree(&mut self.year, i16::try_from(digits(value)?).ok()?)?,
            // Two digits are a year of the century that such formats are bound to (Series::accept_date).
            Part::ShortYear => agree(&mut self.year, 2000 + i16::try_from(digits(value)?).ok()?)?,
            Part::Month => agree(&mut self.month, u8::try_from(digits(value)?).ok()?)?,
            Part::Day => agree(&mut self.day, u8::try_from(digits(value)?).ok()?)?,
            Part::Date => {
                agree(&mut self.year, i16::try_from(digits(value.get(..4)?)?).ok()?)?;
                agree(&mut self.month, u8::try_from(digits(value.get(4..6)?)?).ok()?)?;
                agree(&mut self.day, u8::try_from(digits(value.get(6..)?)?).ok()?)?;
            }
            Part::Fiscal(style) => {
                let head = |n| i16::try_from(digits(value.get(..n)?)?).ok();
                let start = match style {
                    FiscalStyle::Short => 2000 + head(2)?,
                    FiscalStyle::Long | FiscalStyle::Start => head(4)?,
                    FiscalStyle::End => head(4)?.checked_sub(1)?,
                };
                let mut printed = String::new();
                style.print(start.unsigned_abs(), &mut printed);
                (printed == value).then_some(())?;
                agree(&mut self.fiscal_start, start)?;
            }
            Part::Param(name, kind) => {
                let canonical = kind.canonical(value).ok()?;
                if canonical != value || params.get(name).is_some_and(|before| before != value) {
                    return None;
                }
                params.insert(name.clone(), canonical);
            }
        }
        Some(())
    }
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn agree<T: PartialEq>(held: &mut Option<T>, value: T) -> Option<()> {
    match held {
        Some(before) if *before != value => None,
        Some(_) => Some(()),
        None => {
            *held = Some(value);
            Some(())
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn pieces(source: &str, params: &ParamKinds) -> Result<Vec<Piece>, DefinitionError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut literal_at = 0;
    let mut chars = source.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let doubled = chars.peek().is_some_and(|(_, next)| *next == c);
        match c {
            '{' | '}' if doubled => {
                chars.next();
                literal.push(c);
            }
            '{' => {
                flush(&mut pieces, &mut literal, literal_at, at);
                let end = source[at..].find('}').map(|i| at + i).ok_or_else(|| {
                    DefinitionError::at(
                        "format",
                        "this `{` is never closed; a brace itself is written `{{`",
                        (at, 1),
                    )
                })?;
                let part = token(&source[at + 1..end], (at, end + 1 - at), params)?;
                pieces.push(Piece {
                    place: (at, end + 1 - at),
                    part,
                });
                while chars.next_if(|(i, _)| *i <= end).is_some() {}
                literal_at = end + 1;
            }
            '}' => {
                let message = "this `}` closes nothing; a brace itself is written `}}`";
                return Err(DefinitionError::at("format", message, (at, 1)));
            }
            c if is_unprintable(c) || c.is_whitespace() && c != ' ' => {
                let message = "control characters, direction marks and invisible characters cannot be printed";
                return Err(DefinitionError::at("format", message, (at, c.len_utf8())));
            }
            c => literal.push(c),
        }
    }
    flush(&mut pieces, &mut literal, literal_at, source.len());
    Ok(pieces)
}

fn flush(pieces: &mut Vec<Piece>, literal: &mut String, from: usize, to: usize) {
    if !literal.is_empty() {
        pieces.push(Piece {
            place: (from, to - from),
            part: Part::Literal(core::mem::take(literal)),
        });
    }
}

fn token(name: &str, place: (usize, usize), params: &ParamKinds) -> Result<Part, DefinitionError> {
    if let Some(kind) = params.get(name) {
        return Ok(Part::Param(name.to_string(), kind.clone()));
    }
    Ok(match name {
        "seq" => Part::Seq(0),
        "year" => Part::Year,
        "yy" => Part::ShortYear,
        "month" => Part::Month,
        "day" => Part::Day,
        "date" => Part::Date,
        "fy" => Part::Fiscal(FiscalStyle::Short),
        "fy:long" => Part::Fiscal(FiscalStyle::Long),
        "fy:start" => Part::Fiscal(FiscalStyle::Start),
        "fy:end" => Part::Fiscal(FiscalStyle::End),
        "tenant" => Part::Tenant,
        _ => match name.strip_prefix("seq:") {
            Some(width) => match digits(width).and_then(|width| usize::try_from(width).ok()) {
                Some(width) if (1..=Format::SEQ_WIDTH_MAX).contains(&width) => Part::Seq(width),
                Some(_) | None => {
                    let message = format!("a seq is 1 to {} digits wide, e.g. {{seq:5}}", Format::SEQ_WIDTH_MAX);
                    return Err(DefinitionError::at("format", message, place));
                }
            },
            None => {
                let shown = name.escape_debug();
                let message = match suggestion(name, params) {
                    Some(known) => format!("unknown token {{{shown}}}; did you mean {{{known}}}?"),
                    None => format!(
                        "unknown token {{{shown}}}; declare it as a param or use one of {}",
                        TOKENS.join(" ")
                    ),
                };
                return Err(DefinitionError::at("format", message, place));
            }
        },
    })
}

/// Names that a param cannot have, for they are tokens already.
pub(crate) const TOKENS: [&str; 8] = ["seq", "year", "yy", "month", "day", "date", "fy", "tenant"];

fn suggestion(name: &str, params: &ParamKinds) -> Option<String> {
    let lower = name.to_lowercase();
    let habit = match lower.as_str() {
        "yyyy" | "y" => "year",
        "mm" | "m" => "month",
        "dd" | "d" => "day",
        "yyyymmdd" | "ymd" => "date",
        "n" | "num" | "number" | "no" | "counter" | "count" | "sequence" | "id" => "seq",
        "fiscal" | "fiscal_year" | "fiscalyear" | "financial_year" => "fy",
        _ => "",
    };
    if !habit.is_empty() {
        return Some(habit.to_string());
    }
    let known = TOKENS.iter().copied().chain(params.keys().map(String::as_str));
    known
        .map(|token| (distance(&lower, token), token))
        .filter(|(distance, token)| *distance * 2 <= token.len())
        .min()
        .map(|(_, token)| token.to_string())
}

/// How many letters must be added, removed or exchanged to make one word the other.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
