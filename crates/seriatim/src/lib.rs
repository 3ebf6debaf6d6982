//! Unique, gap-free, ordered and explainable numbers for documents.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use seriatim::{Issuer, Memory, SeriesSpec};
//!
//! let issuer = Issuer::open(Memory::new()).await?;
//! issuer.define("invoice", SeriesSpec { format: "INV-{seq:3}".into(), ..SeriesSpec::default() }).await?;
//! let entry = issuer.issue("invoice").tenant("acme").key("pay_1").await?;
//! assert_eq!(&*entry.number, "INV-001");
//! # Ok::<(), seriatim::Failure>(()) }).unwrap();
//! ```
//!
//! The rules are in `seriatim_core`; this crate isolates, persists and retries. It must never branch on a rule.

pub mod audit;
pub mod checkpoint;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod failure;
mod issuer;
pub mod store;
pub mod verify;
mod zones;

pub use clock::{Clock, SystemClock};
pub use failure::{Failure, Repeat};
pub use issuer::{Issue, Issuer, Options};
pub use seriatim_core::*;
pub use store::memory::Memory;
#[cfg(feature = "sqlite")]
pub use store::sqlite::{Sqlite, SqliteOptions};
pub use store::{Reads, Store, StoreError};
pub use zones::BundledZones;

/// What the README shows is compiled.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
