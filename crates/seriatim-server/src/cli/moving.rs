//! Moving in: numbers that somebody else issued, in a table or a file, read and looked through.
//!
//! What is read here is only read: a table in one read-only transaction, a file once. Whether a number fits a series
//! is said by the core's own reading of it, and whether it is taken by the service.

mod dates;
mod definition;
mod finding;
mod quotes;
mod recorded;
mod row;
mod shape;
mod source;
mod spool;
mod survey;
mod table;

pub use definition::{define, line_of, series_of};
pub use finding::{Finding, counts_json, print_findings, summary};
pub use recorded::survey;
pub use row::Row;
pub use shape::{Shape, shapes};
pub use source::{Columns, Rows, Source, spool_failed};
pub use spool::Reader;
pub use survey::{Look, Place, Survey, bad, many};
pub use table::Table;
