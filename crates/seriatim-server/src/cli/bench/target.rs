//! What a bench runs against: a throw-away store in this process, or the service that is configured.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Method;
use serde_json::{Value, json};
use seriatim::store::EntryFilter;
use seriatim::{Access, Actor, Answer, Command, Issuer, Key, Refusal, Request, SeriesName, SeriesSpec, Take};

use super::super::Context;
use super::super::entry::PAGE_MAX;
use super::super::failed::Failed;
use super::super::output::{list, text};
use super::super::session::{Session, issuing};
use super::proof::Stored;
use crate::open::{self, Opened, Place};
use crate::transport::{Call, path, query};

const SERIES: &str = "bench";
const FORMAT: &str = "B-{seq:6}";

/// What a bench runs against.
pub enum Target {
    /// A store that is removed afterwards.
    ThrowAway {
        /// The store.
        opened: Box<Opened>,
        /// Its directory.
        directory: PathBuf,
    },
    /// The service that is configured, in a test series that is named after the run.
    Service {
        /// The way that the whole bench shares.
        session: Arc<Session>,
        /// The series.
        series: String,
    },
}

/// One of many who ask at the same time.
pub enum Client {
    /// Calls the library.
    Library {
        /// It.
        issuer: Issuer,
        /// In whose name.
        actor: Actor,
    },
    /// Sends requests on a connection of its own.
    Service {
        /// The way.
        session: Arc<Session>,
        /// The series.
        series: String,
    },
}

impl Target {
    /// A new store that is removed afterwards.
    pub async fn throw_away(context: &Context, under: Option<PathBuf>) -> Result<Self, Failed> {
        let under = under.unwrap_or_else(std::env::temp_dir);
        let directory = under.join(format!("seriatim-bench-{:08x}", rand::random::<u32>()));
        let place = Place::in_directory(&directory);
        place.make_directory()?;
        let lock = open::claim(&place, "bench").await?;
        let opened = Opened::open(&place, lock, issuing(&context.config)?).await?;
        context
            .output
            .note(format!("store sqlite {} (throw-away)", place.database.display()));
        let spec = SeriesSpec {
            format: FORMAT.to_string(),
            ..SeriesSpec::default()
        };
        let defined = opened.issuer().define(SERIES, spec).await;
        defined.map_err(|failure| Failed::Other(failure.to_string()))?;
        Ok(Self::ThrowAway {
            opened: Box::new(opened),
            directory,
        })
    }

    /// The service that is configured, in a test series of its own.
    pub async fn configured(context: &Context) -> Result<Self, Failed> {
        let session = Arc::new(context.own_session("bench").await?);
        let series = format!("{SERIES}-{:08x}", rand::random::<u32>());
        let body = json!({ "format": FORMAT, "test": true });
        let call = Call::new(Method::PUT, path(&["v1", "series", &series])).with_body(&body)?;
        session.answer(call).await?;
        Ok(Self::Service { session, series })
    }

    /// One more who asks.
    pub fn client(&self) -> Result<Client, Failed> {
        Ok(match self {
            Self::ThrowAway { opened, .. } => Client::Library {
                issuer: opened.issuer().clone(),
                actor: open::local_actor()?,
            },
            Self::Service { session, series } => Client::Service {
                session: Arc::new(session.another()),
                series: series.clone(),
            },
        })
    }

    /// Everything that is stored in the series now.
    pub async fn stored(&self) -> Result<Vec<Stored>, Failed> {
        match self {
            Self::ThrowAway { opened, .. } => stored_here(opened.issuer()).await,
            Self::Service { session, series } => stored_there(session, series).await,
        }
    }

    /// Clears away what was made for the bench.
    pub async fn close(self) {
        match self {
            Self::ThrowAway { opened, directory } => {
                opened.close().await;
                // It is in a directory for temporary files; what cannot be removed goes with the others.
                let _ = std::fs::remove_dir_all(directory);
            }
            Self::Service { session, series } => {
                let wipe = Call::new(Method::POST, path(&["v1", "series", &series, "wipe"]));
                // A test series may stay; it is only untidy.
                let _ = session.answer(wipe).await;
                session.close().await;
            }
        }
    }
}

impl Client {
    /// Takes a number; whether it was given before.
    pub async fn issue(&self, key: &str) -> Result<(String, bool), Failed> {
        match self {
            Self::Library { issuer, actor } => issue_here(issuer, actor.clone(), key).await,
            Self::Service { session, series } => {
                let body = json!({ "key": key });
                let call = Call::post(path(&["v1", "series", series, "entries"]), &body)?;
                let answer = session.answer(call).await?;
                Ok((text(&answer.json, "number"), answer.replayed))
            }
        }
    }
}

async fn issue_here(issuer: &Issuer, actor: Actor, key: &str) -> Result<(String, bool), Failed> {
    let refused = |refusal: Refusal| Failed::Other(refusal.message);
    let request = Request {
        actor,
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command: Command::Issue {
            series: SeriesName::parse(SERIES).map_err(refused)?,
            take: Take {
                key: Some(Key::parse(key).map_err(refused)?),
                ..Take::default()
            },
        },
    };
    match issuer.execute(request).await {
        Ok(Answer::Entries(answer)) if answer.taken.len() == 1 => {
            let taken = &answer.taken[0];
            Ok((taken.entry.number.to_string(), taken.replayed))
        }
        Ok(_) => Err(Failed::Other("an issue was answered with something else".to_string())),
        Err(failure) => Err(Failed::Other(failure.to_string())),
    }
}

async fn stored_here(issuer: &Issuer) -> Result<Vec<Stored>, Failed> {
    let mut filter = EntryFilter::default();
    let mut stored = Vec::new();
    loop {
        let page = issuer.reads().entries(&filter, PAGE_MAX).await;
        let page = page.map_err(|error| Failed::Unreachable(error.to_string()))?;
        stored.extend(page.rows.iter().map(|entry| Stored {
            counter: entry.id.counter.to_string(),
            seq: entry.id.seq,
            number: entry.number.to_string(),
            key: entry.key.as_ref().map(ToString::to_string),
        }));
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => return Ok(stored),
        }
    }
}

async fn stored_there(session: &Session, series: &str) -> Result<Vec<Stored>, Failed> {
    let limit = PAGE_MAX.to_string();
    let mut cursor: Option<String> = None;
    let mut stored = Vec::new();
    loop {
        let wanted = [
            ("series", Some(series)),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor.as_deref()),
        ];
        let answer = session
            .answer(Call::get(format!("/v1/entries{}", query(&wanted))))
            .await?;
        stored.extend(list(&answer.json, "data").iter().map(|entry| Stored {
            counter: text(entry, "period"),
            seq: entry.get("seq").and_then(Value::as_u64).unwrap_or_default(),
            number: text(entry, "number"),
            key: entry.get("key").and_then(Value::as_str).map(str::to_string),
        }));
        cursor = answer.next_cursor();
        if cursor.is_none() {
            return Ok(stored);
        }
    }
}
