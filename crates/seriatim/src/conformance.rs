//! What every store and every surface must pass, and the judges that say whether it did.
//!
//! - [`run`]: one list of cases for every store, concurrency first. No store is excused from one.
//! - [`scenario`]: ledger scripts, one command a line with its expected answer, run at every boundary.
//! - [`history`]: judges what callers were told against what is stored: unique, accounted, in order, replayed;
//!   and for gates: one result, one claim for each token, nothing changed by an old one.
//! - [`simulation`]: seeded schedules of lost answers, crashes and clock jumps, for those who take numbers and those who
//!   work at gates, with an oracle that knows *unknown*.
//!
//! This module must never know the inside of a store: it asks through [`Store`](crate::Store) and
//! [`Reads`](crate::Reads) only. A case that fails panics with what it found.

// A decision that asks for more answers with a Footprint: once a batch, and it is taken apart at once.
#![allow(clippy::result_large_err)]

mod cases;
pub mod history;
mod layer;
mod ledger;
pub mod scenario;
pub mod simulation;

pub use cases::{CASES, Case, run};
pub use layer::{Layer, Layered};

use std::sync::Mutex;
use std::sync::PoisonError;

use seriatim_core::Timestamp;

use crate::clock::Clock;

/// A clock that shows what it was told.
#[derive(Debug)]
pub struct SetClock(Mutex<Timestamp>);

impl SetClock {
    /// A clock that shows this time until it is set.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Shows this time from now on.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
