//! When a count restarts, and what the stretch in between is called.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::digits::Digits;
use crate::refusal::{Code, Refusal};
use crate::time::Date;

/// When the count of a series restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Never: one count for ever.
    Never,
    /// On 1 January.
    Yearly,
    /// On the first of each month.
    Monthly,
    /// Each day.
    Daily,
    /// On the first day of the fiscal year.
    FiscalYear {
        /// Month of the first day, 1 to 12.
        month: u8,
        /// The first day of the fiscal year.
        day: u8,
    },
}

impl Reset {
    /// Reads `never`, `daily`, `monthly`, `yearly` or `fiscal-year:MM-DD`.
    ///
    /// ```
    /// use seriatim_core::Reset;
    /// assert_eq!(Reset::parse("fiscal-year:04-01"), Ok(Reset::FiscalYear { month: 4, day: 1 }));
    /// assert!(Reset::parse("fiscal-year:02-29").is_err());
    /// ```
    ///
    /// # Errors
    /// What is wrong with the text, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "yearly" => Ok(Self::Yearly),
            "monthly" => Ok(Self::Monthly),
            "daily" => Ok(Self::Daily),
            _ => match text.strip_prefix("fiscal-year:") {
                Some(start) => fiscal_start(start),
                None => Err(format!(
                    "unknown reset `{}`; use never, daily, monthly, yearly or fiscal-year:MM-DD",
                    text.escape_debug()
                )),
            },
        }
    }

    /// The period that a date belongs to.
    #[must_use]
    pub fn period_of(self, date: Date) -> Period {
        let text = match self {
            Self::Never => return Period::all(),
            Self::Yearly => return Period(Arc::from(Digits::padded(date.year().unsigned_abs().into(), 4).as_str())),
            Self::Monthly => format!("{:04}-{:02}", date.year(), date.month()),
            Self::Daily => format!("{date}"),
            Self::FiscalYear { .. } => {
                let start = self.fiscal_year_of(date);
                format!("{start:04}-{:02}", (start + 1) % 100)
            }
        };
        Period(Arc::from(text))
    }

    /// Reads a period of this kind, e.g. `2025-26` of a fiscal year.
    ///
    /// # Errors
    /// `invalid_period` with an example of what is meant.
    pub fn period(self, text: &str) -> Result<Period, Refusal> {
        if self == Self::Never {
            return Self::expect(text == "all", text, "all").map(|()| Period::all());
        }
        let period = self.first_day(text).map(|date| self.period_of(date));
        let example = match self {
            Self::Never => "all",
            Self::Yearly => "2026",
            Self::Monthly => "2026-03",
            Self::Daily => "2026-03-31",
            Self::FiscalYear { .. } => "2025-26",
        };
        match period {
            Some(period) if period.as_str() == text => Ok(period),
            Some(_) | None => Self::expect(false, text, example).map(|()| Period::all()),
        }
    }

    /// The first day of a period; none if there is but one period, or if it is not written like one of this kind.
    #[must_use]
    pub fn first_day(self, period: &str) -> Option<Date> {
        let day = match self {
            Self::Never => return None,
            Self::Yearly => format!("{period}-01-01"),
            Self::Monthly => format!("{period}-01"),
            Self::Daily => String::from(period),
            Self::FiscalYear { month, day } => format!("{}-{month:02}-{day:02}", period.get(..4)?),
        };
        day.parse().ok()
    }

    fn expect(fits: bool, text: &str, example: &str) -> Result<(), Refusal> {
        if fits {
            return Ok(());
        }
        let message = format!(
            "`{}` is not a period of this series; write it like `{example}`",
            text.escape_debug()
        );
        Err(Refusal::new(Code::InvalidPeriod, message).at("/period"))
    }

    /// The calendar year in which the fiscal year of this date began; for other resets the year of the date.
    #[must_use]
    pub fn fiscal_year_of(self, date: Date) -> i16 {
        match self {
            Self::FiscalYear { month, day } if (date.month(), date.day()) < (month, day) => date.year() - 1,
            Self::FiscalYear { .. } | Self::Never | Self::Yearly | Self::Monthly | Self::Daily => date.year(),
        }
    }
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Yearly => f.write_str("yearly"),
            Self::Monthly => f.write_str("monthly"),
            Self::Daily => f.write_str("daily"),
            Self::FiscalYear { month, day } => write!(f, "fiscal-year:{month:02}-{day:02}"),
        }
    }
}

fn fiscal_start(text: &str) -> Result<Reset, String> {
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let two = |part: &str| two_digits(part).then(|| part.parse::<u8>().ok()).flatten();
    let parts = text.split_once('-').and_then(|(m, d)| Some((two(m)?, two(d)?)));
    match parts {
        Some((2, 29)) => {
            Err("a fiscal year cannot start on 02-29: three years in four have no such day; use 02-28 or 03-01".into())
        }
        Some((1, 1)) => Err("a fiscal year from 01-01 is the calendar year; use reset = \"yearly\" and {year}".into()),
        // 2027 stands for any year without a leap day.
        Some((month, day)) if Date::new(2027, month, day).is_some() => Ok(Reset::FiscalYear { month, day }),
        Some(_) | None => Err(format!(
            "`{}` is not a day of the year; write the first day of the fiscal year like fiscal-year:04-01",
            text.escape_debug()
        )),
    }
}

/// The name of one stretch of a series: `all`, `2026`, `2026-03`, `2026-03-31` or, for a fiscal year, `2025-26`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(Arc<str>);

impl Period {
    /// The one period of a series that never restarts.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::from("all"))
    }

    /// A period as it was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
