//! The rules of Seriatim, and nothing else.
//!
//! This crate decides: which number comes next, whether a key is a retry, whether a reservation may still be
//! confirmed, what an event hashes to. It must never know a clock, randomness, a database, a network or a file:
//! the time is an argument, what is stored is an argument ([`Snapshot`]), and what shall be stored is a result
//! ([`Changes`]).
//!
//! ```
//! use seriatim_core::{Format, ParamKinds};
//!
//! let format = Format::parse("INV-{year}-{seq:5}", &ParamKinds::default())?;
//! assert_eq!(format.to_string(), "INV-{year}-{seq:5}");
//! # Ok::<(), seriatim_core::DefinitionError>(())
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod command;
mod counter;
mod decide;
mod definition;
mod digits;
mod document;
mod entry;
mod format;
mod gate;
mod journal;
mod name;
mod period;
mod refusal;
mod reservation;
mod scope;
mod series;
mod time;
mod verify;

pub use access::{Access, ApiKey, ApiScope};
pub use command::{Adopt, Claim, Command, Request, Take, Void, VoidReason};
pub use counter::{Counter, CounterId, CounterKey, Counts, Missing};
pub use decide::{
    Answer, Batch, Change, Changes, ClaimOutcome, Closure, ClosureCounter, Decision, EntriesAnswer, Footprint, Halt,
    KeyBinding, KeyRef, PeriodRef, Snapshot, Taken, Warning, decide, decide_all,
};
pub use definition::DefinitionError;
pub use document::Document;
pub use entry::{Entry, EntryId, Origin, State};
pub use format::{Format, Reading};
pub use gate::{GATE_MOVES, Gate, GateId, GateMove, GatePolicy, GateState};
pub use journal::{Chain, ChainHead, Event, EventKind, Hash};
pub use name::{Actor, Effect, Holder, Key, Reason, Reference, SeriesName, Subject, Tenant};
pub use period::{Period, Reset};
pub use refusal::{Code, Kind, Refusal};
pub use reservation::Ttl;
pub use scope::{ParamKind, ParamKinds, Params};
pub use series::{DateOrder, KeyPolicy, OnExpiry, OnOutage, Overflow, ReplayPolicy, Series, SeriesSpec, Window};
pub use time::{Date, Timestamp, Zone, Zones};
pub use verify::{ChainCheck, Finding, GateCheck, Severity, compare_entry};
