//! Why there is no PDF.

use std::fmt;
use std::time::Duration;

/// One thing that is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// Path within the folder.
    pub file: String,
    /// From 1; 0 if it is about the whole file.
    pub line: usize,
    /// In characters, from 1; 0 if it is about the whole file.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        match line {
            0 => write!(f, "{file}: {message}"),
            _ => write!(f, "{file}:{line}:{column}: {message}"),
        }
    }
}

/// Why a receipt could not be made. Nothing was written; the same receipt may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub enum RenderError {
    /// The template is wrong, or does not fit this receipt.
    #[error("receipt template: {}", said(.0))]
    Template(Vec<Fault>),
    /// It took longer than it may, and was stopped.
    #[error("receipt template: not done after {after:?}, stopped; look for a loop that does not end")]
    TooSlow {
        /// The limit.
        after: Duration,
    },
    /// The child process ended: out of memory, out of stack, or killed.
    #[error("receipt template: the process that renders ended ({status}), memory limit {} MiB{}", memory_max >> 20, last_words(.said))]
    Died {
        /// How it ended.
        status: String,
        /// The limit of its memory in bytes.
        memory_max: u64,
        /// The last it said.
        said: String,
    },
    /// No child process could be started, or none was free in time.
    #[error("cannot render receipts: {0}")]
    Unavailable(String),
    /// A mistake of ours.
    #[error("cannot render receipts, and it is our mistake: {0}")]
    Internal(String),
}

fn said(faults: &[Fault]) -> String {
    let said = faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    said.join("; ")
}

fn last_words(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!("; it said: {said}"),
    }
}
