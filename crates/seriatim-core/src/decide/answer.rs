//! What a caller hears.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::changes::Closure;
use crate::access::ApiKey;
use crate::counter::{Counter, Missing};
use crate::entry::Entry;
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
    /// An API key as it is now.
    ApiKey(ApiKey),
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
