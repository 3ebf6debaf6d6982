//! Opening: what server this is, whether the schema is ours, and how far it has come.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tracing::info;

use super::connection::{Command, Connection};
use super::fault::Fault;
use super::params::values;
use super::place::Place;
use super::rows::Columns;
use super::{PostgresOptions, settings};
use crate::store::{Setting, StoreError};

const FIND_SERVER: &str = include_str!("queries/find_server.sql");
const FIND_SCHEMA: &str = include_str!("queries/find_schema.sql");
const FIND_VERSION: &str = include_str!("queries/find_version.sql");
const PUT_VERSION: &str = include_str!("queries/put_version.sql");
/// Fails where another role could replace what is made.
pub(super) const REQUIRE_OWN_SCHEMA: &str = include_str!("queries/require_own_schema.sql");
pub(super) const LOCK_MIGRATIONS: &str = include_str!("queries/lock_migrations.sql");

/// Every step of the schema, in order. One that was released is never changed.
pub const MIGRATIONS: &[&str] = &[
    concat!(
        "create table seriatim.schema_version (version integer not null primary key, applied_at bigint not null);\n",
        include_str!("migrations/0001_first_tables.sql")
    ),
    include_str!("migrations/0002_fence.sql"),
    include_str!("migrations/0003_gates.sql"),
    include_str!("migrations/0004_fence.sql"),
];

/// Where tables and functions are made, whatever is set for the role or the database. Names are those of PostgreSQL, whatever
/// somebody put into a schema that this role looks into, and so is what a backslash is.
pub(super) const BEGIN: &str = "begin isolation level read committed read write;
set local client_min_messages = warning;
set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;
";
/// Only if there is none: an empty one may have been made for a role that may not make any.
const CREATE_SCHEMA: &str =
    "do $$ begin if to_regnamespace('seriatim') is null then create schema seriatim; end if; end $$";
/// The oldest server that the tests run on.
const SERVER_MIN: i32 = 150_000;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL cannot be used.
    #[error("{0}")]
    Url(String),
    /// It holds a schema of that name that is not ours, cannot hold one, or may not be changed by this role.
    #[error("{0}")]
    Unusable(String),
    /// There is no schema, and none may be made now.
    #[error("{0}")]
    Absent(String),
    /// It was made by a newer version.
    #[error("{0}")]
    Newer(String),
    /// A setting breaks a promise.
    #[error("{0}")]
    Setting(String),
    /// It cannot be reached or read now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Connects, and makes the schema or brings it up to date; whether there was none before.
pub(super) async fn open(
    place: &Place,
    connection: &mut Connection,
    options: &PostgresOptions,
) -> Result<(bool, Vec<Setting>), OpenError> {
    let mut opening = Opening {
        place,
        connection,
        within: options.statement_within,
    };
    opening.check_server().await?;
    let created = opening.migrate(options.create).await?;
    let settings = settings::find(opening.connection, opening.within).await;
    let settings = settings.map_err(|fault| opening.failed(fault))?;
    settings::require(&settings, options, place)?;
    Ok((created, settings))
}

struct Opening<'a> {
    place: &'a Place,
    connection: &'a mut Connection,
    within: Duration,
}

impl Opening<'_> {
    fn failed(&self, fault: Fault) -> OpenError {
        failed(self.place, fault)
    }

    async fn check_server(&mut self) -> Result<(), OpenError> {
        let place = self.place;
        let found = self.connection.query(FIND_SERVER, values![], self.within).await;
        let (version, encoding, standby) = found
            .and_then(|rows| {
                let row = rows
                    .first()
                    .ok_or_else(|| Fault::damage("the server says nothing of itself"))?;
                let mut columns = Columns::new("pg_settings", row);
                Ok((columns.small()?, columns.text()?.to_string(), columns.boolean()?))
            })
            .map_err(|fault| failed(place, fault))?;
        if version < SERVER_MIN {
            let version = version / 10_000;
            return Err(OpenError::Unusable(format!(
                "{place} is PostgreSQL {version}; use 15 or newer"
            )));
        }
        if encoding != "UTF8" {
            return Err(OpenError::Unusable(format!(
                "{place} has the encoding {encoding}, which cannot hold every document; create the database with \
                 `create database … encoding 'UTF8' template template0`"
            )));
        }
        if standby {
            return Err(OpenError::Unusable(format!(
                "{place} is a standby, which only reads; give the address of the primary"
            )));
        }
        Ok(())
    }

    /// Makes or changes the schema under a lock: several nodes may start at once.
    async fn migrate(&mut self, may_create: bool) -> Result<bool, OpenError> {
        match self.version().await? {
            version if version >= known() => return Ok(false),
            0 if !may_create => {
                let place = self.place;
                return Err(OpenError::Absent(format!(
                    "there is no store in {place}; make one with `seriatim init`"
                )));
            }
            _ => {}
        }
        let begin = vec![Command::Plain(BEGIN), Command::Query(LOCK_MIGRATIONS, values![])];
        let begun = self.connection.run(begin, self.within).await;
        begun.map_err(|fault| self.failed(fault))?;
        let migrated = self.migrate_locked().await;
        let end = if migrated.is_ok() { "commit" } else { "rollback" };
        let ended = self.connection.run(vec![Command::Plain(end)], self.within).await;
        let created = migrated?;
        ended.map_err(|fault| self.failed(fault))?;
        Ok(created)
    }

    async fn migrate_locked(&mut self) -> Result<bool, OpenError> {
        // Another node may have done it while we waited.
        let before = self.version().await?;
        if before == 0 {
            self.change(vec![Command::Plain(CREATE_SCHEMA)]).await?;
        }
        self.change(vec![Command::Plain(REQUIRE_OWN_SCHEMA)]).await?;
        for (version, sql) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= before) {
            info!(place = %self.place, version, "the schema is brought up to date");
            self.change(vec![Command::Plain(sql)]).await?;
            self.change(vec![Command::Query(PUT_VERSION, values![version])]).await?;
        }
        Ok(before == 0)
    }

    async fn change(&mut self, commands: Vec<Command<'_>>) -> Result<(), OpenError> {
        let place = self.place;
        let changed = self.connection.run(commands, self.within).await;
        changed.map(|_| ()).map_err(|fault| match &fault {
            Fault::Sql(error) if error.code().is_some_and(|code| code.code() == "SR403") => OpenError::Unusable(format!(
                "cannot make the tables in {place}: {}",
                refusal(error).unwrap_or_default()
            )),
            Fault::Sql(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => OpenError::Unusable(format!(
                "cannot make the schema seriatim in {place}: {fault}; `grant create on database … to` this role, or \
                 have its owner run what docs/guides/postgresql.md says"
            )),
            _ => failed(place, fault),
        })
    }

    /// The version of the schema; 0 if there is none, or an empty one that was made for us.
    async fn version(&mut self) -> Result<i32, OpenError> {
        let place = self.place;
        let version = self.find_version().await.map_err(|fault| failed(place, fault))?;
        match version {
            Found::Nothing => Ok(0),
            Found::Foreign => Err(OpenError::Unusable(format!(
                "{place} has a schema seriatim that is not ours, and it is left alone; give another database"
            ))),
            // The version before a change still runs on it: so that nodes can be replaced one after the other.
            Found::Version(version) if version <= known() + 1 => Ok(version),
            Found::Version(version) => Err(OpenError::Newer(format!(
                "the schema in {place} has version {version}, and this program knows {}; use the program that made it, \
                 or a newer one",
                known()
            ))),
        }
    }

    async fn find_version(&mut self) -> Result<Found, Fault> {
        let rows = self.connection.query(FIND_SCHEMA, values![], self.within).await?;
        let row = rows
            .first()
            .ok_or_else(|| Fault::damage("the catalogue gives no answer"))?;
        let mut columns = Columns::new("pg_namespace", row);
        let (is_there, is_ours, is_used) = (columns.boolean()?, columns.boolean()?, columns.boolean()?);
        if !is_ours {
            return Ok(if is_there && is_used {
                Found::Foreign
            } else {
                Found::Nothing
            });
        }
        let rows = self.connection.query(FIND_VERSION, values![], self.within).await?;
        let row = rows.first().ok_or_else(|| Fault::damage("the schema has no version"))?;
        Columns::new("schema_version", row).small().map(Found::Version)
    }
}

enum Found {
    Nothing,
    Foreign,
    Version(i32),
}

fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// What a script of ours says as it refuses: what is the matter, and what to do.
fn refusal(error: &tokio_postgres::Error) -> Option<String> {
    let answer = error.as_db_error()?;
    let (_, what) = answer.message().split_once(": ")?;
    Some(format!("{what}; {}", answer.hint()?))
}

fn failed(place: &Place, fault: Fault) -> OpenError {
    OpenError::Store(fault.into_store_error("open", place))
}

/// Connects for the first time.
pub(super) async fn connect(
    place: &Place,
    tls: &tokio_postgres_rustls::MakeRustlsConnect,
    within: Duration,
) -> Result<Connection, OpenError> {
    let connecting = Connection::open(place, tls, Instant::now() + within).await;
    connecting.map_err(|fault| match &fault {
        Fault::Sql(error) if error.code() == Some(&SqlState::UNDEFINED_DATABASE) => {
            OpenError::Unusable(format!("cannot open {place}: {fault}; create it first"))
        }
        _ => OpenError::Store(fault.into_store_error("connect to", place)),
    })
}
