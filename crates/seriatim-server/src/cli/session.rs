//! One verb's way to the service, found once: a server by its URL, the server of the data directory, or this process.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use seriatim::store::postgres::{ACCEPTABLE, PostgresOptions};
use seriatim::{Issuer, Memory};
use tokio::sync::Mutex;

use super::failed::{Failed, Problem};
use super::kept::{as_line, read};
use super::output::Output;
use crate::app::{App, AppOptions};
use crate::config::Config;
use crate::open::{self, Opened, Place, PlaceError, Reach};
use crate::routes;
use crate::transport::{Call, Reply, Transport, without_login};

/// Where the store is.
pub enum Where {
    /// Behind a server.
    Server(String),
    /// In a file on this machine.
    Here(Place),
    /// In a PostgreSQL database, by its URL.
    Postgres(String),
}

impl Where {
    /// What the configuration says. Where a store is named, the data directory is only for what lies beside it,
    /// however it is given; a server is asked if nothing on this machine was said by a stronger source.
    pub fn of(config: &Config) -> Result<Self, Failed> {
        let local = if config.get("store").is_some() {
            "store"
        } else {
            "data_dir"
        };
        match config.text("server") {
            Some(_) if is_said_alike(config, "server", local) => Err(two_places(config, "server", local)),
            Some(url) if config.is_stronger("server", local) => Ok(Self::Server(url.to_string())),
            Some(_) | None => Self::local(config),
        }
    }

    fn local(config: &Config) -> Result<Self, Failed> {
        let Some(store) = config.text("store") else {
            return Ok(Self::Here(Place::in_directory(&config.parse::<PathBuf>("data_dir")?)));
        };
        match store_of(store)? {
            // Whoever says so last may well mean the store of that directory.
            Self::Here(_) if config.is_stronger("data_dir", "store") => Err(two_places(config, "data_dir", "store")),
            found => Ok(found),
        }
    }

    /// The place on this machine, for verbs that work on files.
    pub fn here(config: &Config) -> Result<Place, Failed> {
        match Self::of(config)? {
            Self::Here(place) => Ok(place),
            Self::Server(url) => Err(Failed::Usage(format!(
                "this works on the files of a store; run it where they are, without --server {}",
                without_login(&url)
            ))),
            Self::Postgres(_) => Err(Failed::Usage(
                "this works on the files of a store, and PostgreSQL has tools of its own for that: pg_dump, \
                 pg_basebackup"
                    .to_string(),
            )),
        }
    }
}

fn is_said_alike(config: &Config, one: &str, other: &str) -> bool {
    !config.is_stronger(one, other) && !config.is_stronger(other, one)
}

fn two_places(config: &Config, one: &str, other: &str) -> Failed {
    let source = |name| {
        config
            .get(name)
            .map_or_else(String::new, |value| value.source.to_string())
    };
    Failed::Usage(format!(
        "{one} ({}) and {other} ({}) say two places of a store; leave one of them out",
        source(one),
        source(other)
    ))
}

fn store_of(text: &str) -> Result<Where, Failed> {
    match text.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Where::Here(Place {
            database: Path::new(path).to_path_buf(),
        })),
        Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => Ok(Where::Postgres(text.to_string())),
        // An exported variable alone must not put a schema into somebody's database.
        None if matches!(text, "postgres" | "postgresql") => match std::env::var("DATABASE_URL") {
            Ok(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Where::Postgres(url)),
            Ok(_) | Err(_) => Err(Failed::Usage(
                "--store postgres takes its URL from DATABASE_URL, which holds none; write it like \
                 postgres://user@host/database"
                    .to_string(),
            )),
        },
        Some((kind @ ("mongodb" | "mongodb+srv"), _)) => Err(Failed::Usage(format!(
            "store {kind} comes in a later version; this one has sqlite:PATH and postgres://…"
        ))),
        // Whatever else it is, it may hold a password: it is not repeated.
        _ => Err(Failed::Usage(
            "a store is written like sqlite:./seriatim-data/seriatim.db or postgres://user@host/database".to_string(),
        )),
    }
}

/// The settings that break a promise and are accepted, by name. A slip would accept nothing, and be found when one breaks.
pub fn accepted(config: &Config) -> Result<BTreeSet<String>, Failed> {
    let names = config.text("accept").unwrap_or_default().split(',').map(str::trim);
    let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).map(str::to_string).collect();
    match names.iter().find(|name| !ACCEPTABLE.contains(&name.as_str())) {
        Some(unknown) => Err(Failed::Usage(format!(
            "accept = `{unknown}`: there is no such setting to accept; there are {}",
            ACCEPTABLE.join(", ")
        ))),
        None => Ok(names),
    }
}

/// How a store in PostgreSQL is opened.
pub fn postgres_options(config: &Config, create: bool) -> Result<PostgresOptions, Failed> {
    Ok(PostgresOptions {
        create,
        production: is_production(config)?,
        accept: accepted(config)?,
        ..PostgresOptions::default()
    })
}

/// What a verb does in a place where there is no store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Says so. A typing error in --data-dir must not start again at 1.
    Refuse,
    /// Makes one; but in production, where the directory may be a volume that was not mounted, only `init` does.
    Create,
    /// Does as if there were an empty one, for a rehearsal.
    Pretend,
}

/// A way to the service, and what must be closed behind it.
pub struct Session {
    /// Where words go.
    pub output: Output,
    transport: Transport,
    opened: Mutex<Option<Opened>>,
}

impl Session {
    /// Finds the way, and says which store it is.
    pub async fn open(config: &Config, output: Output, command: &str, absent: Absent) -> Result<Self, Failed> {
        match Where::of(config)? {
            Where::Server(url) => {
                output.note(format!("store {}", without_login(&url)));
                let key = config.text("api_key").map(str::to_string);
                Ok(Self::new(output, Transport::network(&url, key)?, None))
            }
            Where::Here(place) => Self::open_here(config, output, command, &place, absent).await,
            Where::Postgres(url) => Self::open_postgres(config, output, &url, absent).await,
        }
    }

    fn new(output: Output, transport: Transport, opened: Option<Opened>) -> Self {
        Self {
            output,
            transport,
            opened: Mutex::new(opened),
        }
    }

    async fn open_here(
        config: &Config,
        output: Output,
        command: &str,
        place: &Place,
        absent: Absent,
    ) -> Result<Self, Failed> {
        let database = place.database.display();
        match absent {
            _ if place.exists()? => {}
            Absent::Create if !is_production(config)? => place.make_directory()?,
            Absent::Pretend => return Self::pretend(output).await,
            Absent::Create | Absent::Refuse => return Err(there_is_none(place)),
        }
        match open::reach(place, command).await? {
            Reach::Served(socket) => {
                output.note(format!("store sqlite {database} (through its server)"));
                Ok(Self::new(output, Transport::socket(socket), None))
            }
            Reach::Ours(lock) => {
                let opened = Opened::open(place, lock, issuing(config)?).await?;
                sweep(&opened).await;
                let how = if opened.created() { "created" } else { "in process" };
                output.note(format!("store sqlite {database} ({how})"));
                let transport = Transport::InProcess(routes::router(opened.app(AppOptions::default())?));
                Ok(Self::new(output, transport, Some(opened)))
            }
        }
    }

    async fn open_postgres(config: &Config, output: Output, url: &str, absent: Absent) -> Result<Self, Failed> {
        let create = absent == Absent::Create && !is_production(config)?;
        let place = Place::in_directory(&config.parse::<PathBuf>("data_dir")?);
        let options = postgres_options(config, create)?;
        let opened = match Opened::open_postgres(url, &place, options, issuing(config)?).await {
            Err(PlaceError::Absent(_)) if absent == Absent::Pretend => return Self::pretend(output).await,
            opened => opened?,
        };
        sweep(&opened).await;
        let how = if opened.created() { " (created)" } else { "" };
        output.note(format!("store {}{how}", opened.reads().describe()));
        let transport = Transport::InProcess(routes::router(opened.app(AppOptions::default())?));
        Ok(Self::new(output, transport, Some(opened)))
    }

    async fn pretend(output: Output) -> Result<Self, Failed> {
        output.note("store none yet; checked against an empty one in memory");
        let issuer = Issuer::open(Memory::new())
            .await
            .map_err(|error| Failed::Other(error.to_string()))?;
        let router = routes::router(App::new(issuer, AppOptions::default()));
        Ok(Self::new(output, Transport::InProcess(router), None))
    }

    /// The same way for one more caller; only the first one closes it.
    pub fn another(&self) -> Self {
        Self::new(self.output, self.transport.another(), None)
    }

    /// One request; a problem is an error.
    pub async fn answer(&self, call: Call) -> Result<Answer, Failed> {
        let reply = self.reply(call).await?;
        if reply.status.is_success() {
            return Answer::of(reply);
        }
        Err(Failed::Problem(Box::new(Problem::of(&reply))))
    }

    /// One request, whatever the status.
    pub async fn reply(&self, call: Call) -> Result<Reply, Failed> {
        Ok(self.transport.send(call).await?)
    }

    /// Ends what this session began. What was acknowledged is safe without it; it leaves a tidy directory.
    pub async fn close(&self) {
        if let Some(opened) = self.opened.lock().await.take() {
            opened.close().await;
        }
    }
}

/// Voids reservations that ran out, as a server does: without one nobody else would, and they would stand for ever.
async fn sweep(opened: &Opened) {
    if let Err(failure) = opened.issuer().sweep().await {
        // The verb may still be able to do its own work, and says itself if it is not.
        tracing::warn!(%failure, "cannot look for reservations that ran out");
    }
}

fn there_is_none(place: &Place) -> Failed {
    let database = place.database.display();
    Failed::from(PlaceError::Absent(format!(
        "there is no store {database}; make one with `seriatim init`, or say where it is with --data-dir"
    )))
}

/// How the issuer behaves.
pub fn issuing(config: &Config) -> Result<seriatim::Options, Failed> {
    Ok(seriatim::Options {
        deadline: config.stretch("deadline")?,
        queue_max: config.count("queue_max")?,
        batch_max: config.count("batch_max")?,
        ..seriatim::Options::default()
    })
}

/// Whether `SERIATIM_ENV` says production.
pub fn is_production(config: &Config) -> Result<bool, Failed> {
    Ok(config.choice("env", &["development", "production"])? == "production")
}

/// What the service answered.
pub struct Answer {
    /// The body, as it came.
    pub body: bytes::Bytes,
    /// The body, read but for documents, results and tasks, which are texts in it; null if there was none.
    pub json: Value,
    /// Whether it was given before.
    pub replayed: bool,
    /// The status.
    pub status: u16,
}

impl Answer {
    fn of(reply: Reply) -> Result<Self, Failed> {
        let header = |name: &str| reply.headers.get(name)?.to_str().ok().map(str::to_string);
        let json = if reply.body.is_empty() {
            Value::Null
        } else {
            read(&reply.body)?
        };
        Ok(Self {
            json,
            replayed: header("idempotent-replayed").as_deref() == Some("true"),
            status: reply.status.as_u16(),
            body: reply.body,
        })
    }

    /// The rows of a list, each as it came: a document in them must not be written anew.
    pub fn rows(&self) -> Result<Vec<&RawValue>, Failed> {
        let rows: Rows<'_> = serde_json::from_slice(&self.body)?;
        Ok(rows.data)
    }

    /// Prints the rows of a list, one a line, so that a list of any length can be read as it comes.
    pub fn print_rows(&self, output: Output) -> Result<(), Failed> {
        self.rows()?.iter().for_each(|row| output.line(as_line(row.get())));
        Ok(())
    }

    /// Where the next page begins.
    pub fn next_cursor(&self) -> Option<String> {
        self.json.get("next_cursor").and_then(Value::as_str).map(str::to_string)
    }

    /// Prints the body as it came: a document in it must not be written anew.
    pub fn print(&self, output: Output) {
        output.bytes(&self.body);
        if !self.body.ends_with(b"\n") && !self.body.is_empty() {
            output.bytes(b"\n");
        }
    }
}

#[derive(Deserialize)]
struct Rows<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Whether JSON was asked for: then every line has to be some, for it is a program that reads them.
pub fn logs_json(config: &Config) -> bool {
    config.text("log_format") == Some("json")
}

/// Where log lines go and how they look. A server tells what it does; a verb only what goes wrong and what it does not
/// say itself: what became of its request it does.
pub fn start_logging(config: &Config, is_server: bool) -> Result<(), Failed> {
    let usual = if is_server {
        "info"
    } else {
        "error,seriatim::issuer=off"
    };
    let filter = match config.text("log") {
        Some(filter) => filter.to_string(),
        None => std::env::var("RUST_LOG").unwrap_or_else(|_| usual.to_string()),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|error| Failed::Usage(format!("log = `{filter}`: {error}")))?;
    let readable = match config.get("log_format") {
        Some(_) => config.choice("log_format", &["text", "json"])? == "text",
        None => std::io::stderr().is_terminal() || !is_server,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log that cannot be written must not end what is under way.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let started = if readable {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    started.map_err(|error| Failed::Other(format!("cannot start the log: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the store is, if file, environment and flags say this; each as `name=value` with spaces between.
    fn found(file: &str, environment: &str, flags: &str) -> String {
        fn split(said: &str) -> impl Iterator<Item = (&str, &str)> {
            said.split_whitespace().filter_map(|word| word.split_once('='))
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seriatim.toml");
        let lines: String = split(file)
            .map(|(name, value)| format!("{name} = \"{value}\"\n"))
            .collect();
        std::fs::write(&path, lines).unwrap();
        let flags = split(flags).map(|(name, value)| match name {
            "store" => ("store", value.to_string()),
            "server" => ("server", value.to_string()),
            _ => ("data_dir", value.to_string()),
        });
        let look = |wanted: &str| {
            let mut said = split(environment);
            let name = wanted.strip_prefix("SERIATIM_")?.to_lowercase();
            said.find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_string())
        };
        let config = Config::load(Some(&path), flags.collect(), &look).unwrap();
        match Where::of(&config) {
            Ok(Where::Server(url)) => format!("server {url}"),
            Ok(Where::Here(place)) => place.database.display().to_string(),
            Ok(Where::Postgres(_)) => "postgres".to_string(),
            Err(Failed::Usage(_)) => "refused".to_string(),
            Err(failed) => format!("{failed:?}"),
        }
    }

    /// On each of several nodes `--data-dir` took precedence over the database in `SERIATIM_STORE`, so that each had
    /// a store of its own and the numbers came several times.
    #[test]
    fn where_a_store_is_named_a_data_directory_is_no_other_store() {
        let postgres = "store=postgres://db/shop";
        for (file, environment, flags, expected) in [
            ("", "", "", "./seriatim-data/seriatim.db"),
            ("data_dir=a", "", "data_dir=b", "b/seriatim.db"),
            ("", postgres, "data_dir=b", "postgres"),
            (postgres, "data_dir=a", "", "postgres"),
            (postgres, "data_dir=a", "data_dir=b", "postgres"),
            ("data_dir=a", "", postgres, "postgres"),
            ("", "", "store=postgres://db/shop data_dir=b", "postgres"),
            ("store=sqlite:a.db", postgres, "", "postgres"),
            (postgres, "", "store=sqlite:a.db", "a.db"),
            ("", "", "store=sqlite:a.db data_dir=b", "a.db"),
            ("", "data_dir=b", "store=sqlite:a.db", "a.db"),
            ("", "store=sqlite:a.db data_dir=b", "", "a.db"),
            // The file and the directory are two stores, and the stronger source names the second.
            ("", "store=sqlite:a.db", "data_dir=b", "refused"),
            ("store=sqlite:a.db", "data_dir=b", "", "refused"),
        ] {
            assert_eq!(
                found(file, environment, flags),
                expected,
                "{file} | {environment} | {flags}"
            );
        }
    }

    #[test]
    fn a_server_is_asked_unless_a_stronger_source_says_a_store() {
        let postgres = "store=postgres://db/shop";
        for (file, environment, flags, expected) in [
            (postgres, "server=http://s", "", "server http://s"),
            ("server=http://s", postgres, "", "postgres"),
            ("", postgres, "server=http://s", "server http://s"),
            ("", "server=http://s", "data_dir=b", "b/seriatim.db"),
            ("data_dir=a", "server=http://s", "", "server http://s"),
            (postgres, "server=http://s", "data_dir=b", "server http://s"),
            ("", "server=http://s store=sqlite:a.db", "", "refused"),
            ("server=http://s data_dir=a", "", "", "refused"),
        ] {
            assert_eq!(
                found(file, environment, flags),
                expected,
                "{file} | {environment} | {flags}"
            );
        }
    }
}
