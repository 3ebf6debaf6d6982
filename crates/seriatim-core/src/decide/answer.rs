//! What a caller hears.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::changes::Closure;
use crate::access::ApiKey;
use crate::counter::{Counter, Missing};
use crate::entry::Entry;
use crate::gate::Gate;
use crate::name::SeriesName;
use crate::series::Series;

/// What a caller hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Numbers that were taken or changed.
    Entries(EntriesAnswer),
    /// What the next numbers would be.
    Preview(EntriesAnswer),
    /// A series as it is now.
    Series {
        /// The definition.
        series: Arc<Series>,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// A period that was closed or opened again.
    Closure(Arc<Closure>),
    /// Seqs that were passed over.
    Advanced {
        /// The counter as it is now.
        counter: Arc<Counter>,
        /// The run.
        missing: Missing,
    },
    /// A test series is empty again.
    Wiped(SeriesName),
    /// What a claim came to, with the gate as it is now.
    Claim {
        /// The gate.
        gate: Arc<Gate>,
        /// What the claim came to.
        outcome: ClaimOutcome,
    },
    /// A gate as it is now.
    Gate {
        /// The gate.
        gate: Arc<Gate>,
        /// Whether it had been so before.
        replayed: bool,
    },
    /// An API key as it is now.
    ApiKey(ApiKey),
}

/// What a claim came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The caller is the one; the gate's token is his.
    Won {
        /// Whether it was his already, by his key.
        replayed: bool,
        /// Whether somebody else's lease had run out.
        took_over: bool,
    },
    /// Somebody else is at it, or it failed a moment ago.
    Busy {
        /// When a claim may succeed, in microseconds from now.
        retry_after_micros: i64,
    },
    /// It has happened; the gate has the result.
    Done,
    /// It failed as often as it may; the gate has the last error.
    Dead,
}

impl ClaimOutcome {
    /// Whether the caller is the one.
    #[must_use]
    pub fn is_won(self) -> bool {
        matches!(self, Self::Won { .. })
    }

    /// The outcome as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Won { .. } => "won",
            Self::Busy { .. } => "busy",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// Numbers that were taken or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct EntriesAnswer {
    /// The series.
    pub series: Arc<Series>,
    /// The numbers, in the order of the request.
    pub taken: Vec<Taken>,
    /// The entry that was voided in the same commit, with `reissue`.
    pub voided: Option<Arc<Entry>>,
    /// What somebody should look at soon.
    pub warnings: Vec<Warning>,
}

/// One number of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Whether the number had been given before.
    pub replayed: bool,
    /// In what this request differs from the first one with its key.
    pub differs: Vec<&'static str>,
}

/// What somebody should look at soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A seq has more digits than the format provides for.
    Widened {
        /// The number.
        number: Arc<str>,
        /// The width of the format.
        width: usize,
    },
    /// Nine tenths of a counter are used.
    NearLimit {
        /// How many are left.
        left: u64,
    },
}

impl Warning {
    /// What somebody should look at soon once this number is taken.
    #[must_use]
    pub fn of(series: &Series, entry: &Entry) -> Vec<Self> {
        super::issue::warnings(series, entry)
    }

    /// The code as it is written.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Widened { .. } => "widened",
            Self::NearLimit { .. } => "near_limit",
        }
    }

    /// The code and the words.
    #[must_use]
    pub fn to_text(&self) -> String {
        alloc::format!("{}: {self}", self.code())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Widened { number, width } => write!(f, "{number} has more than the {width} digits of its format"),
            Self::NearLimit { left } => {
                write!(f, "{left} numbers are left before the limit or the width of the format")
            }
        }
    }
}
