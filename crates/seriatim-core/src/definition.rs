//! Whether a definition may be accepted: the printed number must determine scope (without tenant), period and seq.
//!
//! This is what makes two positions of a series print two texts. The reasons are in design section 4; the argument is
//! that [`Format::read`](crate::Format::read) walks the pieces from left to right and never has a choice.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::format::{Format, Part, Piece};
use crate::period::Reset;
use crate::refusal::{Code, Refusal};

/// Why a definition is not accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionError {
    /// The setting, e.g. `format`.
    pub field: String,
    /// What is wrong and the way out.
    pub message: String,
    /// Byte offset and length of the place in the format.
    pub place: Option<(usize, usize)>,
}

impl DefinitionError {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            place: None,
        }
    }

    pub(crate) fn at(field: &str, message: impl Into<String>, place: (usize, usize)) -> Self {
        Self {
            place: Some(place),
            ..Self::new(field, message)
        }
    }
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl core::error::Error for DefinitionError {}

impl From<DefinitionError> for Refusal {
    fn from(error: DefinitionError) -> Self {
        let pointer = format!("/{}", error.field.replace('.', "/"));
        let mut refusal = Self::new(Code::InvalidDefinition, error.message).at(pointer);
        refusal.place = error.place;
        refusal
    }
}

/// Checks that the printed number determines params, period and seq.
pub(crate) fn check(
    format: &Format,
    reset: Reset,
    partition_by: &[String],
    seq_is_fixed: bool,
) -> Result<(), DefinitionError> {
    check_widths(format, seq_is_fixed)?;
    check_fiscal_tokens(format, reset)?;
    check_period(format, reset)?;
    check_partition(format, partition_by)
}

/// A token of open width ends the number or is followed by a literal whose first character it cannot contain.
fn check_widths(format: &Format, seq_is_fixed: bool) -> Result<(), DefinitionError> {
    for pair in format.pieces.windows(2) {
        let [open, next] = pair else { continue };
        if is_fixed(&open.part, seq_is_fixed) {
            continue;
        }
        let name = name_of(format, open);
        match &next.part {
            Part::Literal(text) => match text.chars().next() {
                Some(c) if may_contain(&open.part, c) => {
                    let message = format!(
                        "{name} has no fixed width and may itself contain `{c}`, so the number could be read two ways; \
                         give it a fixed width or put another character after it"
                    );
                    return Err(DefinitionError::at("format", message, open.place));
                }
                Some(_) | None => {}
            },
            _ => {
                let message = format!(
                    "{name} has no fixed width and {} follows at once, so the number could be read two ways; \
                     give it a fixed width or put a character like `-` between them",
                    name_of(format, next)
                );
                return Err(DefinitionError::at("format", message, open.place));
            }
        }
    }
    Ok(())
}

fn is_fixed(part: &Part, seq_is_fixed: bool) -> bool {
    match part {
        Part::Seq(_) => seq_is_fixed,
        Part::Tenant => false,
        Part::Param(_, kind) => kind.fixed_width().is_some(),
        Part::Literal(_) | Part::Year | Part::ShortYear | Part::Month | Part::Day | Part::Date | Part::Fiscal(_) => {
            true
        }
    }
}

fn may_contain(part: &Part, c: char) -> bool {
    match part {
        Part::Seq(_) => c.is_ascii_digit(),
        Part::Tenant => c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'),
        Part::Param(_, kind) => kind.may_contain(c),
        Part::Literal(_) | Part::Year | Part::ShortYear | Part::Month | Part::Day | Part::Date | Part::Fiscal(_) => {
            false
        }
    }
}

fn check_fiscal_tokens(format: &Format, reset: Reset) -> Result<(), DefinitionError> {
    let fiscal = format.pieces.iter().find(|piece| matches!(piece.part, Part::Fiscal(_)));
    match (fiscal, reset) {
        (None, _) | (Some(_), Reset::FiscalYear { .. }) => Ok(()),
        (Some(piece), Reset::Never | Reset::Yearly | Reset::Monthly | Reset::Daily) => {
            let message = format!(
                "{} needs a fiscal year; set reset = \"fiscal-year:MM-DD\" or use {{year}}",
                name_of(format, piece)
            );
            Err(DefinitionError::at("format", message, piece.place))
        }
    }
}

/// The period must be a function of the date tokens shown.
fn check_period(format: &Format, reset: Reset) -> Result<(), DefinitionError> {
    let find = |wanted: fn(&Part) -> bool| format.pieces.iter().find(|piece| wanted(&piece.part));
    let year = find(|part| matches!(part, Part::Year | Part::ShortYear | Part::Date));
    let month = find(|part| matches!(part, Part::Month | Part::Date)).is_some();
    let day = find(|part| matches!(part, Part::Day | Part::Date)).is_some();
    let fiscal = find(|part| matches!(part, Part::Fiscal(_))).is_some();
    let (determined, restarts, way_out) = match reset {
        Reset::Never => (true, "", ""),
        Reset::Yearly => (year.is_some(), "each year", "{year}"),
        Reset::Monthly => (year.is_some() && month, "each month", "{year}{month}"),
        Reset::Daily => (year.is_some() && month && day, "each day", "{date}"),
        Reset::FiscalYear { day: first, .. } => {
            let by_date = year.is_some() && month && (day || first == 1);
            (fiscal || by_date, "each fiscal year", "{fy}")
        }
    };
    if determined {
        return Ok(());
    }
    if let (Reset::FiscalYear { .. }, Some(piece)) = (reset, year) {
        let message = format!(
            "{} does not tell the fiscal year: a calendar year belongs to two of them, so numbers would repeat; use {{fy}}",
            name_of(format, piece)
        );
        return Err(DefinitionError::at("format", message, piece.place));
    }
    let place = find(|part| matches!(part, Part::Seq(_))).map_or((0, 0), |piece| piece.place);
    let message = format!(
        "the count restarts {restarts} but the number does not show which, so numbers would repeat; \
         add {way_out} or set reset = \"never\""
    );
    Err(DefinitionError::at("format", message, place))
}

fn check_partition(format: &Format, partition_by: &[String]) -> Result<(), DefinitionError> {
    let shown = |name: &String| {
        format
            .pieces
            .iter()
            .any(|piece| matches!(&piece.part, Part::Param(param, _) if param == name))
    };
    match partition_by.iter().find(|name| !shown(name)) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "`{name}` splits the count but is not printed, so numbers would repeat; add {{{name}}} to the format"
            );
            Err(DefinitionError::at("format", message, (0, format.to_string().len())))
        }
    }
}

/// The piece as it is written in the source.
fn name_of(format: &Format, piece: &Piece) -> String {
    let (at, length) = piece.place;
    format.to_string().get(at..at + length).unwrap_or_default().to_string()
}
