//! The verbs on the SQL door: what is put into a user's own PostgreSQL database, and taken out again.

use clap::{Args, Subcommand};
use serde_json::json;
use seriatim::store::postgres::door::{self, DoorError};
use seriatim::store::postgres::{MIGRATIONS, PostgresOptions};

use super::Context;
use super::failed::{Failed, Problem};
use crate::open::PlaceError;

/// Numbers inside your own PostgreSQL transactions
#[derive(Subcommand)]
pub enum Pg {
    /// Print all of it as SQL, to be read and run by hand
    Print(Print),
    /// Put tables and functions into a database; again after an update
    Install(Install),
    /// Take everything out of a database
    Uninstall(Uninstall),
    /// Leave a plain counter function in a database, and take the rest out
    Detach(Detach),
}

impl Pg {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Print(verb) => verb.run(context),
            Self::Install(verb) => verb.run(context).await,
            Self::Uninstall(verb) => verb.run(context).await,
            Self::Detach(verb) => verb.run(context).await,
        }
    }
}

/// Print all of it as SQL, to be read and run by hand
#[derive(Args)]
pub struct Print {
    /// The version of the tables that are there already: select max(version) from seriatim.schema_version
    #[arg(long, value_name = "VERSION", default_value_t = 0)]
    from: usize,
}

impl Print {
    fn run(self, context: &Context) -> Result<(), Failed> {
        let known = MIGRATIONS.len();
        if self.from > known {
            return Err(Failed::Usage(format!(
                "--from is {}, and this version knows tables up to {known}; use the newer Seriatim that made them",
                self.from
            )));
        }
        context.output.bytes(door::script(self.from).as_bytes());
        Ok(())
    }
}

/// Put tables and functions into a database; again after an update
#[derive(Args)]
pub struct Install {
    /// The database, postgres://user@host/database [default: --store]
    url: Option<String>,
}

impl Install {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let url = database(context, self.url)?;
        let installed = door::install(&url, &PostgresOptions::default()).await.map_err(failed)?;
        let (created, missing) = (installed.created, installed.missing_roles);
        let what = if created {
            "schema seriatim was created, with its tables and functions"
        } else {
            "the functions in schema seriatim were replaced; the tables are up to date"
        };
        let installed = json!({ "schema": "seriatim", "created": created, "missing_roles": missing });
        context.output.done(what, &installed);
        if !missing.is_empty() {
            context.output.note(format!(
                "not made, for this user may not: the roles {}. Somebody who may makes each of them (`create role … nologin \
                 admin YOU`, so that you can grant it), and you run this once more",
                missing.join(", ")
            ));
        }
        Ok(())
    }
}

/// Take everything out of a database
#[derive(Args)]
pub struct Uninstall {
    /// The database, postgres://user@host/database [default: --store]
    url: Option<String>,
    /// Drop the numbers as well, with their journal; say the name of the database
    #[arg(long, value_name = "DATABASE")]
    drop_numbers_of: Option<String>,
}

impl Uninstall {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let url = database(context, self.url)?;
        let uninstalled = door::uninstall(&url, self.drop_numbers_of.as_deref(), &PostgresOptions::default()).await;
        uninstalled.map_err(failed)?;
        context.output.done(
            "schema seriatim is gone; the roles seriatim_… belong to the cluster and stay",
            &json!({ "schema": "seriatim", "uninstalled": true }),
        );
        Ok(())
    }
}

/// Leave a plain counter function in a database, and take the rest out
#[derive(Args)]
pub struct Detach {
    /// The database, postgres://user@host/database [default: --store]
    url: Option<String>,
}

impl Detach {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let url = database(context, self.url)?;
        let emptied = door::detach(&url, &PostgresOptions::default()).await.map_err(failed)?;
        context.output.done(
            "schema numbers has the plain function numbers.next, and copies of all entries, gates and events",
            &json!({ "schema": "numbers", "detached": true, "columns": emptied }),
        );
        for column in emptied {
            context.output.note(format!(
                "{column} fills itself no more: `alter table … alter … set default numbers.next(…)`"
            ));
        }
        Ok(())
    }
}

fn database(context: &Context, url: Option<String>) -> Result<String, Failed> {
    let configured = || context.config.text("store").map(str::to_string);
    let is_ours = |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
    url.or_else(configured)
        .filter(is_ours)
        .ok_or_else(|| Failed::Usage("say which database: postgres://user@host/database".to_string()))
}

fn failed(error: DoorError) -> Failed {
    match error {
        DoorError::Open(error) => PlaceError::from(error).into(),
        DoorError::Refused { code, message } => {
            let body = json!({ "code": code, "detail": message, "retry": "never" });
            Failed::Problem(Box::new(Problem {
                status: 409,
                body,
                drawing: None,
            }))
        }
    }
}
