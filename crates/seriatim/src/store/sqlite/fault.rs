//! What went wrong inside SQLite, and what it means to whoever called the store.

use std::fmt::Display;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Why a statement, or reading what it found, failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite said no.
    Sql(rusqlite::Error),
    /// A stored row contradicts itself or another one; says which.
    Damage(String),
    /// The path does not lead to the file that was opened any more.
    Moved,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    pub(super) fn damage(what: impl Into<String>) -> Self {
        Self::Damage(what.into())
    }

    /// What the system said of the database file, in a code of SQLite's.
    pub(super) fn of_file(code: i32, error: &std::io::Error) -> Self {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string())).into()
    }

    /// A column that does not hold what it should.
    pub(super) fn in_row(table: &str, id: impl Display, what: impl Display) -> Self {
        Self::Damage(format!("table {table}, row {id}: {what}"))
    }

    /// What the caller of the store hears. Only for what failed before a commit was attempted.
    pub(super) fn into_store_error(self, doing: &str, path: &Path) -> StoreError {
        let path = path.display();
        match self {
            Self::Sql(error) if is_damage(&error) => {
                StoreError::Corrupt(format!("cannot {doing} {path}: {}", in_words(&error)))
            }
            Self::Sql(error) => StoreError::Unavailable(format!("cannot {doing} {path}: {}", what_and_way_out(&error))),
            Self::Damage(what) => StoreError::Corrupt(format!("{path} contradicts itself: {what}")),
            Self::Moved => StoreError::Unavailable(format!(
                "cannot {doing} {path}: it was moved, removed or replaced while it was open; put it back, or restart"
            )),
        }
    }
}

/// Damage of the file, or a row that a constraint kept out although the rules had let it pass.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase
        ),
        // Not SQLite itself: a column was missing or of another type.
        None => true,
    }
}

/// The error in SQLite's words, without the statement around it.
pub(super) fn in_words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(words)) => words.clone(),
        other => other.to_string(),
    }
}

/// The index of the log is made larger byte by byte, and SQLite does not say why that failed: there was no space.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

pub(super) fn what_and_way_out(error: &rusqlite::Error) -> String {
    let words = in_words(error);
    match error.sqlite_error_code() {
        _ if is_disk_full(error) => "disk is full; free space and retry".to_string(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process is writing to it; stop that process or retry".to_string()
        }
        Some(ErrorCode::ReadOnly) => format!("{words}; make the file and its directory writable and retry"),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            format!("{words}; make sure that the directory is there and writable, and retry")
        }
        Some(ErrorCode::SystemIoFailure) => format!("{words}; look at the disk and at the system's log, then retry"),
        Some(ErrorCode::OperationInterrupted) => "it took too long and was ended; narrow it down and retry".to_string(),
        Some(ErrorCode::OutOfMemory) => "memory is short; free some and retry".to_string(),
        _ => format!("{words}; retry"),
    }
}
