//! What went wrong on the way to PostgreSQL or inside it, and what it means to whoever called the store.

use std::fmt::{self, Display};
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use super::place::Place;
use crate::store::StoreError;

/// Raised by `seriatim.require_rows`: a statement did not find what it should change.
const ROWS: &str = "SR001";
/// Raised by `seriatim.require_writer`: the lane's own row is not where the lane left it.
const WRITER: &str = "SR002";

/// Why a statement, or reading what it found, failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// PostgreSQL said no, or the connection is gone.
    Sql(tokio_postgres::Error),
    /// No answer came in time.
    Late(Duration),
    /// A commit was sent, and nothing says that it is safe.
    Unconfirmed(String),
    /// No connection is free.
    Exhausted(Duration),
    /// A stored row contradicts itself or another one; says which.
    Damage(String),
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another transaction holds what this one needs.
    Busy,
    /// Another transaction bound one of the keys meanwhile, so that the decision must be made again.
    KeyTaken,
    /// Another transaction was in the way; this one may simply be tried again.
    Conflict,
    /// The row of the lane is not where the lane left it.
    WriterMoved,
    /// What is stored contradicts what should be written, or itself.
    Damage,
    /// Anything else: the server is gone, full, read-only …
    Unavailable,
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    pub(super) fn damage(what: impl Into<String>) -> Self {
        Self::Damage(what.into())
    }

    /// A column that does not hold what it should.
    pub(super) fn in_row(table: &str, id: impl Display, what: impl Display) -> Self {
        Self::Damage(format!("table {table}, row {id}: {what}"))
    }

    pub(super) fn kind(&self) -> Kind {
        let error = match self {
            Self::Damage(_) => return Kind::Damage,
            Self::Exhausted(_) => return Kind::Busy,
            Self::Late(_) | Self::Unconfirmed(_) => return Kind::Unavailable,
            Self::Sql(error) => error,
        };
        // Without an answer of the server, the connection is gone.
        error.as_db_error().map_or(Kind::Unavailable, kind_of)
    }

    /// Whether the connection can be used again once its transaction is rolled back.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Sql(error) => is_refusal(error),
            Self::Damage(_) => true,
            Self::Late(_) | Self::Unconfirmed(_) | Self::Exhausted(_) => false,
        }
    }

    /// What the caller of the store hears. Only for what failed before a commit was sent.
    pub(super) fn into_store_error(self, doing: &str, place: &Place) -> StoreError {
        match self.kind() {
            Kind::Damage => StoreError::Corrupt(format!("{place} contradicts itself: {self}")),
            Kind::Busy => StoreError::Busy {
                message: format!(
                    "cannot {doing} {place}: somebody else holds what this needs; nothing happened: retry"
                ),
                counters: Vec::new(),
            },
            Kind::KeyTaken | Kind::Conflict | Kind::WriterMoved | Kind::Unavailable => {
                StoreError::Unavailable(format!("cannot {doing} {place}: {self}{}", self.way_out()))
            }
        }
    }

    fn is_about_tls(&self) -> bool {
        // The driver does not say what kind of error it is otherwise.
        matches!(self, Self::Sql(error) if error.to_string().contains("TLS handshake"))
    }

    fn lacks_password(&self) -> bool {
        matches!(self, Self::Sql(error) if in_words(error).contains("password missing"))
    }

    fn way_out(&self) -> &'static str {
        let code = match self {
            Self::Sql(error) => error.code(),
            Self::Late(_) | Self::Unconfirmed(_) | Self::Exhausted(_) | Self::Damage(_) => None,
        };
        match code {
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                "; this server only reads: give the address of the primary, or see to default_transaction_read_only"
            }
            Some(code) if *code == SqlState::DISK_FULL => "; free space on its disk and retry",
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
                "; raise max_connections, or put a pooler before it"
            }
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => "; grant this role what the guide says",
            Some(code)
                if *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
            {
                "; check user and password"
            }
            None if self.is_about_tls() => {
                "; name the authority that signed its certificate with sslrootcert=, or waive it with sslmode="
            }
            None if self.lacks_password() => "; put it into the URL: postgres://user:password@host/database",
            _ => "; retry",
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => f.write_str(&in_words(error)),
            Self::Late(after) => write!(f, "no answer within {after:?}"),
            Self::Unconfirmed(what) => write!(f, "a commit was sent and not confirmed: {what}"),
            Self::Exhausted(after) => write!(f, "no connection was free within {after:?}"),
            Self::Damage(what) => f.write_str(what),
        }
    }
}

fn kind_of(error: &DbError) -> Kind {
    if *error.code() == SqlState::UNIQUE_VIOLATION && error.constraint() == Some("key_is_bound_once") {
        return Kind::KeyTaken;
    }
    kind_of_code(error.code())
}

fn kind_of_code(code: &SqlState) -> Kind {
    match code.code() {
        ROWS => return Kind::Damage,
        WRITER => return Kind::WriterMoved,
        _ => {}
    }
    if *code == SqlState::LOCK_NOT_AVAILABLE {
        Kind::Busy
    } else if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE {
        Kind::Conflict
    } else if *code == SqlState::CHARACTER_NOT_IN_REPERTOIRE || *code == SqlState::UNTRANSLATABLE_CHARACTER {
        // A text that PostgreSQL cannot hold was asked for; nothing that is stored is to blame.
        Kind::Unavailable
    } else if code.code().starts_with("23") || code.code().starts_with("XX") || code.code().starts_with("22") {
        // A constraint kept out what the rules had let pass, or a page cannot be read.
        Kind::Damage
    } else {
        Kind::Unavailable
    }
}

/// Whether the server refused a statement, and answers on.
pub(super) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| !is_fatal(error))
}

/// The server ends the connection after such an error.
fn is_fatal(error: &DbError) -> bool {
    use tokio_postgres::error::Severity;
    !matches!(error.parsed_severity(), Some(Severity::Error))
}

/// The error in PostgreSQL's words, with its cause if it says nothing itself. No part of it holds the password.
pub(super) fn in_words(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_string();
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_cannot_be_stored_is_no_damage() {
        assert_eq!(kind_of_code(&SqlState::from_code("22021")), Kind::Unavailable);
        assert_eq!(kind_of_code(&SqlState::from_code("22P05")), Kind::Unavailable);
        assert_eq!(kind_of_code(&SqlState::from_code("22003")), Kind::Damage);
        assert_eq!(kind_of_code(&SqlState::from_code("23505")), Kind::Damage);
    }
}
