//! A series: a named line of numbers and its rules.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::definition::{self, DefinitionError};
use crate::format::{FiscalStyle, Format, Part, Reading, TOKENS};
use crate::name::SeriesName;
use crate::period::{Period, Reset};
use crate::refusal::{Code, Refusal};
use crate::scope::{ParamKind, ParamKinds, Params};
use crate::time::{Date, Timestamp, Zone, Zones};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* } default $default:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The setting as it is written.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            fn parse(field: &str, text: Option<&str>) -> Result<Self, DefinitionError> {
                match text {
                    None => Ok(Self::$default),
                    $(Some($text) => Ok(Self::$variant),)*
                    Some(other) => {
                        let choices = [$($text),*].join(" or ");
                        Err(DefinitionError::new(field, format!("`{}` is not a choice; use {choices}", other.escape_debug())))
                    }
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

choice! {
    /// What happens when a seq outgrows the width of the format.
    Overflow {
        /// The number grows by a digit, with a warning.
        Widen = "widen",
        /// The counter is exhausted.
        Refuse = "refuse",
    } default Widen
}
choice! {
    /// Whether dates may run backwards within a counter.
    DateOrder {
        /// They may.
        Free = "free",
        /// A date is never before that of the number before it.
        Required = "required",
    } default Free
}
choice! {
    /// Whether a request must bring a key.
    KeyPolicy {
        /// It must.
        Required = "required",
        /// It may.
        Optional = "optional",
    } default Required
}
choice! {
    /// What a retry must have in common with its first request.
    ReplayPolicy {
        /// Verb, params and count; another date or document still gets the number and is told so.
        Lenient = "lenient",
        /// Date and document too.
        Strict = "strict",
    } default Lenient
}
choice! {
    /// What becomes of a reservation that nobody confirmed in time.
    OnExpiry {
        /// It is overdue, visible, and can still be confirmed.
        Hold = "hold",
        /// It is voided.
        Void = "void",
    } default Hold
}
choice! {
    /// What is answered while the store cannot be reached.
    OnOutage {
        /// An error that says so.
        Fail = "fail",
    } default Fail
}

/// Which document dates are accepted, in days around today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Days back from today.
    pub back: i32,
    /// Days ahead of today.
    pub ahead: i32,
}

impl Window {
    const DAYS_MAX: i32 = 36_600;

    fn parse(text: &str) -> Result<Self, DefinitionError> {
        let days = |part: &str, sign: char| {
            let digits = part.strip_prefix(sign)?.strip_suffix('d')?;
            let number = digits.parse::<i32>().ok()?;
            (digits.bytes().all(|b| b.is_ascii_digit()) && number <= Self::DAYS_MAX).then_some(number)
        };
        let window = text.split_once("..").and_then(|(back, ahead)| {
            Some(Self {
                back: days(back, '-')?,
                ahead: days(ahead, '+')?,
            })
        });
        window.ok_or_else(|| {
            let message = format!(
                "`{}` is not a window; write days back and ahead like \"-400d..+32d\", at most {} each",
                text.escape_debug(),
                Self::DAYS_MAX
            );
            DefinitionError::new("date_window", message)
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}d..+{}d", self.back, self.ahead)
    }
}

/// A definition as somebody wrote it: texts and numbers, nothing checked yet. An absent setting means its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesSpec {
    /// The format, e.g. `INV-{fy}-{seq:5}`.
    pub format: String,
    /// `never`, `daily`, `monthly`, `yearly` or `fiscal-year:MM-DD`.
    pub reset: Option<String>,
    /// An IANA time zone.
    pub time_zone: Option<String>,
    /// The first seq of a counter.
    pub start: Option<u64>,
    /// Names of the params that split the count.
    pub partition_by: Vec<String>,
    /// Declared params: kind (`digits`, `letters` or `one_of`) and width (`2`, `1..4`) or texts.
    pub params: BTreeMap<String, (String, Vec<String>)>,
    /// `explain` or `allow`.
    pub gaps: Option<String>,
    /// `widen` or `refuse`.
    pub overflow: Option<String>,
    /// The last seq that a counter may take.
    pub limit: Option<u64>,
    /// The most characters that a number may have.
    pub max_length: Option<u64>,
    /// `free` or `required`.
    pub date_order: Option<String>,
    /// E.g. `-400d..+32d`.
    pub date_window: Option<String>,
    /// `required` or `optional`.
    pub keys: Option<String>,
    /// `lenient` or `strict`.
    pub replay: Option<String>,
    /// `hold` or `void`.
    pub on_expiry: Option<String>,
    /// `fail` or `fallback`.
    pub on_outage: Option<String>,
    /// Whether the series can be wiped.
    pub test: bool,
    /// The series whose uniqueness this one shares.
    pub replaces: Option<String>,
}

/// An accepted definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: SeriesName,
    /// 1 for the first definition, one more for each change.
    pub version: u64,
    /// The series that took over, if one did: this one issues nothing any more.
    pub replaced_by: Option<SeriesName>,
    /// What the numbers look like.
    pub format: Format,
    /// When the count restarts.
    pub reset: Reset,
    /// Whose midnight counts.
    pub zone: Zone,
    /// The first seq of a counter.
    pub start: u64,
    /// Params that split the count besides the tenant.
    pub partition_by: Vec<String>,
    /// Declared params.
    pub params: ParamKinds,
    /// What happens when seq outgrows its width.
    pub overflow: Overflow,
    /// The last seq that a counter may take.
    pub limit: Option<u64>,
    /// The most characters that a number may have.
    pub max_length: usize,
    /// Whether dates may run backwards.
    pub date_order: DateOrder,
    /// Which dates are accepted.
    pub window: Window,
    /// Whether a key is required.
    pub keys: KeyPolicy,
    /// What a retry must have in common.
    pub replay: ReplayPolicy,
    /// What becomes of an overdue reservation.
    pub on_expiry: OnExpiry,
    /// What is answered during an outage.
    pub on_outage: OnOutage,
    /// Whether it can be wiped.
    pub test: bool,
    /// The series whose uniqueness this one shares.
    pub replaces: Option<SeriesName>,
}

impl Series {
    /// The largest seq there is; databases keep 64 bits with a sign.
    pub const SEQ_MAX: u64 = i64::MAX.unsigned_abs();

    /// Accepts a definition, as version 1.
    ///
    /// # Errors
    /// The setting that is wrong, the place in the format, and the way out.
    pub fn define(name: SeriesName, spec: &SeriesSpec, zones: &dyn Zones) -> Result<Self, DefinitionError> {
        let params = param_kinds(spec)?;
        let format = Format::parse(&spec.format, &params)?;
        let reset = Reset::parse(spec.reset.as_deref().unwrap_or("never"))
            .map_err(|message| DefinitionError::new("reset", message))?;
        refuse_later_parts(spec)?;
        let replaces = spec.replaces.as_deref().map(SeriesName::parse).transpose();
        let series = Self {
            name,
            version: 1,
            replaced_by: None,
            format,
            reset,
            zone: zone(spec.time_zone.as_deref().unwrap_or("UTC"), zones)?,
            start: spec.start.unwrap_or(1),
            partition_by: spec.partition_by.clone(),
            params,
            overflow: Overflow::parse("overflow", spec.overflow.as_deref())?,
            limit: spec.limit,
            max_length: max_length(spec)?,
            date_order: DateOrder::parse("date_order", spec.date_order.as_deref())?,
            window: Window::parse(spec.date_window.as_deref().unwrap_or("-400d..+32d"))?,
            keys: KeyPolicy::parse("keys", spec.keys.as_deref())?,
            replay: ReplayPolicy::parse("replay", spec.replay.as_deref())?,
            on_expiry: OnExpiry::parse("on_expiry", spec.on_expiry.as_deref())?,
            on_outage: OnOutage::parse("on_outage", spec.on_outage.as_deref())?,
            test: spec.test,
            replaces: replaces.map_err(|refusal| DefinitionError::new("replaces", refusal.message))?,
        };
        series.check_counts()?;
        series.check_names()?;
        definition::check(
            &series.format,
            series.reset,
            &series.partition_by,
            series.seq_is_fixed(),
        )?;
        series.check_length()?;
        Ok(series)
    }

    fn check_counts(&self) -> Result<(), DefinitionError> {
        if !(1..=Self::SEQ_MAX).contains(&self.start) {
            return Err(DefinitionError::new(
                "start",
                format!("a count starts at 1 or above, and at most at {}", Self::SEQ_MAX),
            ));
        }
        if self.overflow == Overflow::Refuse && self.format.seq_width() == 0 && self.limit.is_none() {
            let message = "`{seq}` has no width to outgrow; write {seq:N} or set a limit";
            return Err(DefinitionError::new("overflow", message));
        }
        if self.limit.is_some_and(|limit| limit > Self::SEQ_MAX) {
            return Err(DefinitionError::new(
                "limit",
                format!("a limit is at most {}", Self::SEQ_MAX),
            ));
        }
        if self.start > self.seq_max() {
            let message = format!("the first seq, {}, is above the last, {}", self.start, self.seq_max());
            return Err(DefinitionError::new("start", message));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), DefinitionError> {
        let printed = |name: &String| {
            let is_it = |part: &Part| matches!(part, Part::Param(param, _) if param == name);
            self.format.pieces.iter().any(|piece| is_it(&piece.part))
        };
        if let Some(name) = self.partition_by.iter().find(|name| !self.params.contains_key(*name)) {
            let message = format!(
                "`{}` is not a declared param; declare it in params",
                name.escape_debug()
            );
            return Err(DefinitionError::new("partition_by", message));
        }
        let twice = |(i, name): &(usize, &String)| self.partition_by[..*i].contains(name);
        if let Some((_, name)) = self.partition_by.iter().enumerate().find(twice) {
            return Err(DefinitionError::new("partition_by", format!("`{name}` is named twice")));
        }
        let idle = |name: &&String| !printed(name) && !self.partition_by.contains(name);
        if let Some(name) = self.params.keys().find(idle) {
            let message = format!("`{name}` is declared but not printed; add {{{name}}} to the format or leave it out");
            return Err(DefinitionError::new(format!("params.{name}"), message));
        }
        if self.replaces.as_ref() == Some(&self.name) {
            return Err(DefinitionError::new("replaces", "a series cannot replace itself"));
        }
        Ok(())
    }

    /// How many characters a number of this seq has at least, whatever its date is: of a tenant and of params that are not
    /// known the shortest are meant.
    pub(crate) fn length_min(&self, tenant: Option<&str>, params: &Params, seq: u64) -> usize {
        let width = |part: &Part| match part {
            Part::Literal(text) => text.chars().count(),
            Part::Seq(width) => (*width).max(seq.to_string().len()),
            Part::Fiscal(FiscalStyle::Long) => 7,
            Part::Year | Part::Fiscal(FiscalStyle::Short | FiscalStyle::Start | FiscalStyle::End) => 4,
            Part::ShortYear | Part::Month | Part::Day => 2,
            Part::Date => 8,
            Part::Tenant => tenant.map_or(1, str::len),
            Part::Param(name, kind) => params.get(name).map_or_else(|| kind.width_min(), str::len),
        };
        self.format.pieces.iter().map(|piece| width(&piece.part)).sum()
    }

    /// Why a counter that stands at this seq has no next number, whatever limit and overflow are changed to; nothing if it
    /// could have one.
    pub(crate) fn end_for_ever(&self, tenant: &str, partition: &Params, seq: u64) -> Option<String> {
        let Some(next) = seq.checked_add(1).filter(|next| *next <= Self::SEQ_MAX) else {
            return Some(format!("{seq} is the last seq of all"));
        };
        let length = self.length_min(Some(tenant), partition, next);
        (length > self.max_length).then(|| {
            format!(
                "the next one has {length} characters at least, more than max_length = {}",
                self.max_length
            )
        })
    }

    /// Why a counter that is raised to this seq would be at its end by a slip, for what was passed over is not given back;
    /// nothing if it could go on. Where a limit or `overflow` ends it there, that is meant, and can be changed.
    #[must_use]
    pub fn end_by_slip(&self, tenant: &str, partition: &Params, seq: u64) -> Option<String> {
        let is_meant = seq == self.seq_max() && seq < Self::SEQ_MAX;
        if is_meant {
            None
        } else {
            self.end_for_ever(tenant, partition, seq)
        }
    }

    fn check_length(&self) -> Result<(), DefinitionError> {
        let shortest = self.length_min(None, &Params::default(), self.start);
        if shortest <= self.max_length {
            return Ok(());
        }
        let message = format!(
            "even the shortest number has {shortest} characters, more than max_length = {}",
            self.max_length
        );
        Err(DefinitionError::at(
            "format",
            message,
            (0, self.format.to_string().len()),
        ))
    }

    /// The last seq that a counter may take.
    #[must_use]
    pub fn seq_max(&self) -> u64 {
        let by_width = match (self.overflow, self.format.seq_width()) {
            (Overflow::Refuse, width @ 1..) => 10u64.pow(u32::try_from(width).unwrap_or(18)) - 1,
            (Overflow::Refuse, 0) | (Overflow::Widen, _) => Self::SEQ_MAX,
        };
        by_width.min(self.limit.unwrap_or(Self::SEQ_MAX))
    }

    /// The largest seq that fits the printed width, if the format has one.
    #[must_use]
    pub fn width_max(&self) -> Option<u64> {
        match self.format.seq_width() {
            0 => None,
            width => Some(10u64.pow(u32::try_from(width).unwrap_or(18)) - 1),
        }
    }

    fn seq_is_fixed(&self) -> bool {
        self.width_max().is_some_and(|width_max| self.seq_max() <= width_max)
    }

    /// Which day it is in the zone of this series.
    #[must_use]
    pub fn today(&self, now: Timestamp) -> Date {
        self.zone.date_at(now)
    }

    /// Whether the format can print this date so that it is read back without doubt.
    ///
    /// # Errors
    /// `date_out_of_range`.
    pub fn accept_date(&self, date: Date) -> Result<(), Refusal> {
        let years = [date.year(), self.reset.fiscal_year_of(date)];
        let (range, reason) = if self.format.has_short_years() {
            (2000..=2099, "its two-digit years repeat after a century")
        } else {
            (1000..=9998, "a year has four digits")
        };
        if years.iter().all(|year| range.contains(year)) {
            return Ok(());
        }
        // A fiscal year of the range begins in it, and the last one has not ended with it.
        let first = match self.reset {
            Reset::FiscalYear { month, day } => format!("{}-{month:02}-{day:02}", range.start()),
            Reset::Never | Reset::Yearly | Reset::Monthly | Reset::Daily => format!("{}-01-01", range.start()),
        };
        let message = format!(
            "series {} takes dates from {first} to {}-12-31, because {reason}; {date} is not one",
            self.name,
            range.end()
        );
        Err(Refusal::new(Code::DateOutOfRange, message).at("/date"))
    }

    /// Prints the number at a position.
    #[must_use]
    pub fn render(&self, tenant: &str, params: &Params, date: Date, seq: u64) -> String {
        self.format.render(self.reset, tenant, params, date, seq)
    }

    /// Reads a printed number back: its params, period and seq; nothing if this series cannot have printed it.
    #[must_use]
    pub fn read(&self, number: &str, tenant: &str) -> Option<(Params, Period, u64)> {
        let reading = self.format.read(number, tenant)?;
        let period = self.period_read(&reading)?;
        (1..=Self::SEQ_MAX)
            .contains(&reading.seq)
            .then_some((reading.params, period, reading.seq))
    }

    fn period_read(&self, reading: &Reading) -> Option<Period> {
        let date = match (self.reset, reading.fiscal_start) {
            (Reset::Never, _) => return Some(Period::all()),
            (Reset::FiscalYear { month, day }, Some(start)) => Date::new(start, month, day)?,
            // What is not printed does not matter: the definition check made sure of it.
            _ => Date::new(reading.year?, reading.month.unwrap_or(1), reading.day.unwrap_or(1))?,
        };
        Some(self.reset.period_of(date))
    }

    /// The definition as text, one setting a line: what the journal hashes and a store keeps.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut line = |name: &str, value: String| lines.push((name.to_string(), value));
        line("format", self.format.to_string());
        line("reset", self.reset.to_string());
        line("time_zone", self.zone.name().to_string());
        line("start", self.start.to_string());
        line("partition_by", self.partition_by.join(","));
        for (name, kind) in &self.params {
            line(&format!("params.{name}"), kind.to_string());
        }
        line("gaps", "explain".to_string());
        line("overflow", self.overflow.to_string());
        line("limit", self.limit.map(|limit| limit.to_string()).unwrap_or_default());
        line("max_length", self.max_length.to_string());
        line("date_order", self.date_order.to_string());
        line("date_window", self.window.to_string());
        line("keys", self.keys.to_string());
        line("replay", self.replay.to_string());
        line("on_expiry", self.on_expiry.to_string());
        line("on_outage", self.on_outage.to_string());
        line("test", self.test.to_string());
        let name = |name: &Option<SeriesName>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        line("replaces", name(&self.replaces));
        line("replaced_by", name(&self.replaced_by));
        let lines: Vec<String> = lines
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        lines.join("\n")
    }

    /// What the journal says of this definition: name, version and every setting.
    #[must_use]
    pub fn to_detail(&self) -> String {
        format!("name={}\nversion={}\n{}", self.name, self.version, self.to_text())
    }

    /// Reads [`Series::to_text`] back.
    ///
    /// # Errors
    /// The line that is wrong; a stored definition that does not read is damage.
    pub fn from_text(name: SeriesName, version: u64, text: &str, zones: &dyn Zones) -> Result<Self, DefinitionError> {
        let mut spec = SeriesSpec::default();
        let mut replaced_by = None;
        for line in text.lines() {
            let (field, value) = line
                .split_once('=')
                .ok_or_else(|| DefinitionError::new("definition", format!("`{line}` is not a setting")))?;
            if field == "replaced_by" {
                replaced_by = (!value.is_empty()).then(|| SeriesName::parse(value));
            } else {
                spec.read_line(field, value)?;
            }
        }
        let replaced_by = replaced_by.transpose();
        Ok(Self {
            version,
            replaced_by: replaced_by.map_err(|refusal| DefinitionError::new("replaced_by", refusal.message))?,
            ..Self::define(name, &spec, zones)?
        })
    }

    /// What may never change, by the first setting that would: who replaces whom was recorded in two definitions, and
    /// a series whose numbers can be wiped stands in no line with one whose numbers are kept.
    #[must_use]
    pub(crate) fn line_difference(&self, next: &Self) -> Option<&'static str> {
        let in_line = self.replaces.is_some() || self.replaced_by.is_some();
        if self.replaces != next.replaces {
            Some("replaces")
        } else if in_line && self.test != next.test {
            Some("test")
        } else {
            None
        }
    }

    /// What may not change once a series has numbers, by the first setting that would.
    #[must_use]
    pub(crate) fn fixed_difference(&self, next: &Self) -> Option<&'static str> {
        let stricter_keys = self.keys == next.keys || next.keys == KeyPolicy::Required;
        let stricter_replay = self.replay == next.replay || next.replay == ReplayPolicy::Strict;
        let differences = [
            ("format", self.format != next.format),
            ("reset", self.reset != next.reset),
            ("time_zone", self.zone.name() != next.zone.name()),
            ("start", self.start != next.start),
            ("partition_by", self.partition_by != next.partition_by),
            ("params", self.params != next.params),
            ("max_length", self.max_length < next.max_length),
            ("keys", !stricter_keys),
            ("replay", !stricter_replay),
            ("test", self.test != next.test),
        ];
        differences.iter().find(|(_, differs)| *differs).map(|(name, _)| *name)
    }
}

impl SeriesSpec {
    fn read_line(&mut self, field: &str, value: &str) -> Result<(), DefinitionError> {
        let text = || (!value.is_empty()).then(|| value.to_string());
        let number = || {
            let parse = |text: String| {
                text.parse::<u64>()
                    .map_err(|_| DefinitionError::new(field, format!("`{text}` is not a number")))
            };
            text().map(parse).transpose()
        };
        let list = |separator| {
            value
                .split(separator)
                .filter(|part| !part.is_empty())
                .map(str::to_string)
                .collect()
        };
        match field {
            "format" => self.format = value.to_string(),
            "reset" => self.reset = text(),
            "time_zone" => self.time_zone = text(),
            "start" => self.start = number()?,
            "partition_by" => self.partition_by = list(','),
            "gaps" => self.gaps = text(),
            "overflow" => self.overflow = text(),
            "limit" => self.limit = number()?,
            "max_length" => self.max_length = number()?,
            "date_order" => self.date_order = text(),
            "date_window" => self.date_window = text(),
            "keys" => self.keys = text(),
            "replay" => self.replay = text(),
            "on_expiry" => self.on_expiry = text(),
            "on_outage" => self.on_outage = text(),
            "test" => {
                self.test = value
                    .parse()
                    .map_err(|_| DefinitionError::new(field, format!("`{value}` is not true or false")))?;
            }
            "replaces" => self.replaces = text(),
            _ => match (field.strip_prefix("params."), value.split_once(':')) {
                (Some(name), Some((kind, rest))) => {
                    let values = rest.split('|').map(str::to_string).collect();
                    self.params.insert(name.to_string(), (kind.to_string(), values));
                }
                _ => return Err(DefinitionError::new(field, "is not a setting")),
            },
        }
        Ok(())
    }
}

fn param_kinds(spec: &SeriesSpec) -> Result<ParamKinds, DefinitionError> {
    let well_named = |name: &str| {
        name.len() <= 32
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let mut kinds = ParamKinds::new();
    for (name, (kind, values)) in &spec.params {
        let wrong = |message: String| DefinitionError::new(format!("params.{}", name.escape_debug()), message);
        if !well_named(name) {
            return Err(wrong(
                "a param is named by a lower-case letter, then up to 31 of a-z, 0-9 and `_`".into(),
            ));
        }
        if TOKENS.contains(&name.as_str()) {
            return Err(wrong(format!(
                "{{{name}}} is a token of the format language; choose another name"
            )));
        }
        let kind = match (kind.as_str(), values.as_slice()) {
            ("one_of", values) => ParamKind::one_of(values.to_vec()),
            (kind, [width]) => ParamKind::parse(kind, width),
            (_, _) => Err("give one width".into()),
        };
        kinds.insert(name.clone(), kind.map_err(wrong)?);
    }
    Ok(kinds)
}

fn refuse_later_parts(spec: &SeriesSpec) -> Result<(), DefinitionError> {
    match spec.gaps.as_deref() {
        None | Some("explain") => {}
        Some("allow") => {
            let message = "gaps = \"allow\" comes with blocks, which this version does not have yet; use \"explain\"";
            return Err(DefinitionError::new("gaps", message));
        }
        Some(other) => {
            let message = format!("`{}` is not a choice; use explain or allow", other.escape_debug());
            return Err(DefinitionError::new("gaps", message));
        }
    }
    if spec.on_outage.as_deref() == Some("fallback") {
        let message = "on_outage = \"fallback\" is not part of this version yet; use \"fail\"";
        return Err(DefinitionError::new("on_outage", message));
    }
    Ok(())
}

fn zone(name: &str, zones: &dyn Zones) -> Result<Zone, DefinitionError> {
    zones.zone(name).ok_or_else(|| {
        let hint = zones.similar(name).map_or_else(
            || "use an IANA name like Asia/Kolkata".to_string(),
            |known| format!("did you mean {known}?"),
        );
        DefinitionError::new(
            "time_zone",
            format!("unknown time zone `{}`; {hint}", name.escape_debug()),
        )
    })
}

fn max_length(spec: &SeriesSpec) -> Result<usize, DefinitionError> {
    match spec.max_length.unwrap_or(64) {
        length @ 1..=255 => Ok(usize::try_from(length).unwrap_or(64)),
        _ => Err(DefinitionError::new("max_length", "max_length is 1 to 255 characters")),
    }
}
