//! The SQL door: the functions by which a user's own transaction takes numbers and gates. What they do is in `door/*.sql`, the
//! one place besides the core where rules stand; here they are only printed, put in place and taken away.

use std::time::Duration;

use tokio::time::sleep;

use super::connection::{Command, Connection};
use super::fault::{Fault, Kind};
use super::open::{self, BEGIN, LOCK_MIGRATIONS, MIGRATIONS, OpenError, REQUIRE_OWN_SCHEMA};
use super::params::values;
use super::place::Place;
use super::rows::Columns;
use super::{PostgresOptions, tls};

/// Functions, views, triggers and roles, in the order they are made. Running them again replaces them.
const DOOR: &str = concat!(
    include_str!("door/1_words.sql"),
    include_str!("door/2_plan.sql"),
    include_str!("door/3_chain.sql"),
    include_str!("door/4_take.sql"),
    include_str!("door/5_change.sql"),
    include_str!("door/6_surface.sql"),
    include_str!("door/7_gates.sql"),
    include_str!("door/8_number_column.sql"),
    include_str!("door/9_roles.sql"),
);
const UNINSTALL: &str = include_str!("door/uninstall.sql");
const DETACH: &str = include_str!("door/detach.sql");
/// How often the locks are asked for, and how long the others go first in between.
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_secs(2);
const LIST_MISSING_ROLES: &str = include_str!("queries/list_missing_roles.sql");
const LIST_FILLED_COLUMNS: &str = include_str!("queries/list_filled_columns.sql");
const PERMIT_DROP: &str = "select set_config('seriatim.drop_numbers_of', $1, true)";

/// Why the door was not put in place or taken away.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The script says no, and nothing was changed.
    #[error("{message}")]
    Refused {
        /// The stable code.
        code: String,
        /// What is the matter and what to do.
        message: String,
    },
}

/// All that is put into a database, as one script to be read and run by hand; or what an older one lacks.
#[must_use]
pub fn script(installed: usize) -> String {
    let mut script = format!(
        "-- Seriatim: tables and functions for numbers inside your own transaction. Run it as the owner of the database; if a\n\
         -- lock takes too long nothing is changed, and you run it again.\n\
         {BEGIN}\
         set local lock_timeout = '3s';\n\
         do $$ begin perform pg_advisory_xact_lock(1397053778, 0); end $$;\n\
         create schema if not exists seriatim;\n\
         {REQUIRE_OWN_SCHEMA}\
         do $$ begin\n\
         \x20   if (to_regclass('seriatim.schema_version') is not null) <> ({installed} > 0) then\n\
         \x20       raise exception 'this script is for a database where our schema has version {installed}; see seriatim pg print --help';\n\
         \x20   end if;\n\
         end $$;\n"
    );
    for (version, sql) in (1..).zip(MIGRATIONS).skip(installed) {
        script.push_str(sql);
        script.push_str(&format!(
            "insert into seriatim.schema_version (version, applied_at)\n\
             \x20   values ({version}, (extract(epoch from clock_timestamp()) * 1000000)::bigint);\n\n"
        ));
    }
    script + DOOR + "\ncommit;\n"
}

/// What came of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Whether there was nothing of ours before.
    pub created: bool,
    /// Roles that are not there, for this user may not make any.
    pub missing_roles: Vec<String>,
}

/// Puts the door into a database, with the tables if there are none.
///
/// # Errors
/// The database cannot be used; nothing of the door is there then.
pub async fn install(url: &str, options: &PostgresOptions) -> Result<Installed, DoorError> {
    let (place, mut connection) = connect(url, options).await?;
    let (created, _) = open::open(&place, &mut connection, options).await?;
    // The tables may have been there, and be somebody else's.
    let script = || {
        vec![
            Command::Plain(REQUIRE_OWN_SCHEMA),
            Command::Plain(DOOR),
            Command::Query(LIST_MISSING_ROLES, values![]),
        ]
    };
    let missing_roles = run(&place, &mut connection, options, script).await?;
    Ok(Installed { created, missing_roles })
}

/// Takes everything out of a database. While there are numbers it takes the name of the database.
///
/// # Errors
/// There is nothing of ours, or there are numbers.
pub async fn uninstall(url: &str, drop_numbers_of: Option<&str>, options: &PostgresOptions) -> Result<(), DoorError> {
    let (place, mut connection) = connect(url, options).await?;
    let script = || {
        let permit = Command::Query(PERMIT_DROP, values![drop_numbers_of.unwrap_or_default()]);
        vec![permit, Command::Plain(UNINSTALL)]
    };
    run(&place, &mut connection, options, script).await.map(|_| ())
}

/// Leaves a plain counter function in a database, and takes the rest out. Gives the columns that filled themselves, and do
/// so no more: `public.orders.number from order`.
///
/// # Errors
/// There is nothing of ours, or only the tables; a schema `numbers` is there already; something of somebody else's is
/// built on ours and would be gone with it.
pub async fn detach(url: &str, options: &PostgresOptions) -> Result<Vec<String>, DoorError> {
    let (place, mut connection) = connect(url, options).await?;
    let script = || vec![Command::Query(LIST_FILLED_COLUMNS, values![]), Command::Plain(DETACH)];
    run(&place, &mut connection, options, script).await
}

async fn connect(url: &str, options: &PostgresOptions) -> Result<(Place, Connection), DoorError> {
    let place = Place::parse(url)?;
    let tls = tls::connector(&place)?;
    let connection = open::connect(&place, &tls, options.statement_within).await?;
    Ok((place, connection))
}

/// Runs a script in one transaction, as long as it takes: copying a journal is no matter of seconds. It waits for locks
/// a moment only, and then again, for whoever comes after it waits as long. Gives the first column of what it read.
async fn run<'a>(
    place: &Place,
    connection: &mut Connection,
    options: &PostgresOptions,
    script: impl Fn() -> Vec<Command<'a>>,
) -> Result<Vec<String>, DoorError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match run_once(connection, options, script()).await {
            Err(fault) if tries < TRIES && fault.kind() == Kind::Busy => sleep(PAUSE).await,
            ran => return ran.map_err(|fault| said(place, fault)),
        }
    }
}

async fn run_once(
    connection: &mut Connection,
    options: &PostgresOptions,
    script: Vec<Command<'_>>,
) -> Result<Vec<String>, Fault> {
    let commands = [
        Command::Plain(BEGIN),
        Command::Plain("set local lock_timeout = '2s'"),
        Command::Query(LOCK_MIGRATIONS, values![]),
    ];
    let commands = commands.into_iter().chain(script).collect();
    let ran = connection.run(commands, options.read_within * 60).await;
    let end = if ran.is_ok() { "commit" } else { "rollback" };
    let ended = connection.run(vec![Command::Plain(end)], options.commit_within).await;
    ended?;
    // The lock's answer is none of the script's.
    let rows = ran?.into_iter().skip(3).flatten();
    rows.map(|row| {
        Columns::new("door", &row)
            .text_if_any()
            .map(|text| text.unwrap_or_default().to_string())
    })
    .collect()
}

fn said(place: &Place, fault: Fault) -> DoorError {
    let refused = match &fault {
        Fault::Sql(error) => error
            .as_db_error()
            .filter(|answer| answer.code().code().starts_with("SR4")),
        _ => None,
    };
    match refused.and_then(|answer| Some((answer.message().split_once(": ")?, answer.hint()))) {
        Some(((code, what), hint)) => DoorError::Refused {
            code: code.to_string(),
            message: format!(
                "{place}: {what}{}",
                hint.map(|hint| format!("; {hint}")).unwrap_or_default()
            ),
        },
        None => failed(place, fault),
    }
}

fn failed(place: &Place, fault: Fault) -> DoorError {
    DoorError::Open(OpenError::Store(fault.into_store_error("change", place)))
}
