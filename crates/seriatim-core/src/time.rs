//! Instants, civil dates and time zones, as values. This module must never ask what time it is.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use jiff::civil;
use jiff::tz::TimeZone;

use crate::digits::Digits;
use crate::refusal::{Code, Refusal};

/// An instant, in microseconds since 1970-01-01T00:00:00Z.
///
/// ```
/// let at: seriatim_core::Timestamp = "2026-03-31T23:59:59+05:30".parse()?;
/// assert_eq!(at.to_string(), "2026-03-31T18:29:59.000000Z");
/// # Ok::<(), seriatim_core::Refusal>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that many microseconds after 1970 (before, if negative), held within the years -9999 to 9999.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        // Whole seconds: the library's own last microsecond is outside of what it reads as microseconds.
        Self(micros.clamp(
            jiff::Timestamp::MIN.as_second() * 1_000_000,
            jiff::Timestamp::MAX.as_second() * 1_000_000,
        ))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The instant `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    fn civil(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.civil())
    }
}

impl core::str::FromStr for Timestamp {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self::from_micros(at.as_microsecond()))
            .map_err(|_| {
                Refusal::new(
                    Code::InvalidTime,
                    alloc::format!(
                        "`{}` is not an instant; write it like 2026-03-31T23:59:59+05:30",
                        text.escape_debug()
                    ),
                )
            })
    }
}

/// A day of the civil calendar, in the years 1 to 9999.
///
/// ```
/// use seriatim_core::Date;
/// assert!("2026-02-29".parse::<Date>().is_err());
/// assert_eq!("2028-02-29".parse::<Date>()?.to_string(), "2028-02-29");
/// # Ok::<(), seriatim_core::Refusal>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(civil::Date);

impl Date {
    /// The day, or nothing if the calendar has none such.
    #[must_use]
    pub fn new(year: i16, month: u8, day: u8) -> Option<Self> {
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        (year >= 1)
            .then(|| civil::Date::new(year, month, day).ok().map(Self))
            .flatten()
    }

    fn within_calendar(date: civil::Date) -> Self {
        Self(date.max(civil::date(1, 1, 1)))
    }

    /// The year, 1 to 9999.
    #[must_use]
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// The month, 1 to 12.
    #[must_use]
    pub fn month(self) -> u8 {
        self.0.month().unsigned_abs()
    }

    /// The day of the month, 1 to 31.
    #[must_use]
    pub fn day(self) -> u8 {
        self.0.day().unsigned_abs()
    }

    /// The day as it is written, in ASCII.
    pub(crate) fn to_text(self) -> [u8; 10] {
        let mut text = *b"0000-00-00";
        let parts = [
            (0..4, self.year().unsigned_abs()),
            (5..7, self.month().into()),
            (8..10, self.day().into()),
        ];
        for (place, number) in parts {
            let digits = Digits::padded(number.into(), place.len());
            text[place].copy_from_slice(digits.as_bytes());
        }
        text
    }

    /// The day so many days later (earlier, if negative), held within the calendar.
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self::within_calendar(self.0.saturating_add(jiff::Span::new().days(days)))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Date {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let well_formed = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| {
                if i == 4 || i == 7 {
                    b == b'-'
                } else {
                    b.is_ascii_digit()
                }
            });
        let parsed = well_formed.then(|| text.parse::<civil::Date>().ok()).flatten();
        parsed.filter(|date| date.year() >= 1).map(Self).ok_or_else(|| {
            let what = if well_formed {
                "is not a day of the calendar"
            } else {
                "is not a date"
            };
            Refusal::new(
                Code::InvalidDate,
                alloc::format!("`{}` {what}; write a date like 2026-03-31", text.escape_debug()),
            )
            .at("/date")
        })
    }
}

/// A resolved IANA time zone: its name and its rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl Zone {
    /// UTC, the default of a series.
    #[must_use]
    pub fn utc() -> Self {
        Self {
            name: Arc::from("UTC"),
            rules: TimeZone::UTC,
        }
    }

    /// A zone from the bytes of its compiled IANA (`TZif`) file; nothing if they are not such a file.
    #[must_use]
    pub fn from_tzif(name: &str, tzif: &[u8]) -> Option<Self> {
        let rules = TimeZone::tzif(name, tzif).ok()?;
        Some(Self {
            name: Arc::from(name),
            rules,
        })
    }

    /// The IANA name, e.g. `Asia/Kolkata`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which day it is in this zone at that instant.
    #[must_use]
    pub fn date_at(&self, at: Timestamp) -> Date {
        Date::within_calendar(self.rules.to_datetime(at.civil()).date())
    }
}

/// Where time zones come from: whoever embeds the core supplies the data.
pub trait Zones {
    /// The zone of that IANA name, with the name in its canonical spelling; nothing if there is none.
    fn zone(&self, name: &str) -> Option<Zone>;

    /// Names that look like the one asked for, for the error message.
    fn similar(&self, _name: &str) -> Option<String> {
        None
    }
}
