//! One connection: statements are sent one after the other without waiting for answers, and a commit with them.
//!
//! PostgreSQL works off what one connection sends in its order, and each statement on its own. After an error within
//! a transaction it refuses everything up to the end of it, and answers COMMIT by a rollback. So statements and their
//! COMMIT can be sent at once, if each statement raises an error when it does not do what it must; and if nothing
//! that could not be sent is followed by a COMMIT.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Row, SimpleQueryMessage, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use super::fault::{Fault, in_words, is_refusal};
use super::params::Params;
use super::place::{Place, Preparing};

const SHOW_MARK: &str = "select pg_catalog.current_setting('seriatim.session', true)";

/// How long one of several hosts is tried, if the URL does not say.
const HOST_WITHIN: Duration = Duration::from_secs(1);

/// A statement with its values.
pub(super) enum Command<'a> {
    /// SQL of a file, with its values.
    Query(&'static str, Params<'a>),
    /// SQL without values and rows.
    Plain(&'static str),
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing happened.
    Nothing(Fault),
    /// COMMIT was sent, and what came back does not say that it is safe.
    Unknown(String),
}

pub(super) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    /// How many warnings came: one that comes with a commit means that the commit is not as safe as it should be.
    warnings: Arc<AtomicU64>,
    statements: HashMap<&'static str, Statement>,
    prepares: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closes the socket at once, whatever is still expected on it.
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to the first host that will do. Each has a share of the time: one that is switched off, or that hangs
    /// when it should greet, must not use up all of it.
    pub(super) async fn open(place: &Place, tls: &MakeRustlsConnect, deadline: Instant) -> Result<Self, Fault> {
        let hosts = place.hosts();
        let within = deadline.saturating_duration_since(Instant::now());
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let share = place.config.get_connect_timeout().copied().unwrap_or(HOST_WITHIN);
        let share = share.min(within / count);
        let mut last = Fault::Late(within);
        for (i, config) in hosts.iter().enumerate() {
            let is_last = i + 1 == hosts.len();
            let until = if is_last {
                deadline
            } else {
                deadline.min(Instant::now() + share)
            };
            match timeout_at(until, Self::connect(config, place.preparing, tls)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(fault)) => last = fault,
                Err(_) => last = Fault::Late(if is_last { within } else { share }),
            }
        }
        Err(last)
    }

    async fn connect(config: &Config, preparing: Preparing, tls: &MakeRustlsConnect) -> Result<Self, Fault> {
        match preparing {
            Preparing::Always => Self::connect_with(config, tls, true).await,
            Preparing::Never => Self::connect_with(config, tls, false).await,
            Preparing::IfAlone => match Self::connect_marked(config, tls).await {
                // A pooler: it takes no settings of a session that is not one.
                Err(Fault::Sql(error)) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {
                    Self::connect_with(config, tls, false).await
                }
                connected => connected,
            },
        }
    }

    async fn connect_with(config: &Config, tls: &MakeRustlsConnect, prepares: bool) -> Result<Self, Fault> {
        let (client, connection) = config.connect(tls.clone()).await?;
        let warnings = Arc::new(AtomicU64::new(0));
        let driver = tokio::spawn(drive(connection, warnings.clone()));
        Ok(Self {
            client,
            driver,
            warnings,
            statements: HashMap::new(),
            prepares,
        })
    }

    /// Begins a session with a mark that no other one has. If the session that answers does not show it, it is shared:
    /// a name that was prepared on it could be somebody else's statement.
    async fn connect_marked(config: &Config, tls: &MakeRustlsConnect) -> Result<Self, Fault> {
        let mark = mark();
        let mut config = config.clone();
        let given = config.get_options().unwrap_or_default();
        // Names are those of PostgreSQL, whatever somebody put into a schema that this role looks into.
        let options = format!("{given} -c seriatim.session={mark} -c search_path=pg_catalog,pg_temp");
        config.options(options.trim_start().to_string());
        let mut connection = Self::connect_with(&config, tls, false).await?;
        let shown = connection.client.simple_query(SHOW_MARK).await?;
        connection.prepares = shown.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some(&mark),
            _ => false,
        });
        Ok(connection)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs one statement.
    pub(super) async fn query(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
        within: Duration,
    ) -> Result<Vec<Row>, Fault> {
        let mut rows = self.run(vec![Command::Query(sql, params)], within).await?;
        Ok(rows.pop().unwrap_or_default())
    }

    /// Runs statements in one round trip; gives the rows of each. The first error is the one that counts.
    pub(super) async fn run(&mut self, commands: Vec<Command<'_>>, within: Duration) -> Result<Vec<Vec<Row>>, Fault> {
        let deadline = Instant::now() + within;
        self.prepare(&commands, deadline, within).await?;
        let mut sent: Vec<Sent<'_>> = commands.into_iter().map(|command| self.send(command)).collect();
        let mut rows = Vec::with_capacity(sent.len());
        let mut fault = None;
        for answer in &mut sent {
            match timeout_at(deadline, answer.answer()).await {
                Ok(Ok(found)) => rows.push(found),
                // Go on to the end of the answers, so that the connection can be used again.
                Ok(Err(error)) => {
                    fault.get_or_insert(Fault::Sql(error));
                }
                Err(_) => return Err(fault.unwrap_or(Fault::Late(within))),
            }
        }
        fault.map_or(Ok(rows), Err)
    }

    /// Runs statements and commits, in one round trip.
    pub(super) async fn commit(&mut self, commands: Vec<Command<'_>>, within: Duration) -> Result<(), Ended> {
        let deadline = Instant::now() + within;
        self.prepare(&commands, deadline, within)
            .await
            .map_err(Ended::Nothing)?;
        let warnings = self.warnings.load(Ordering::Acquire);
        let mut sent = Vec::with_capacity(commands.len());
        for command in commands {
            let mut answer = self.send(command);
            if let Some(error) = answer.unsent() {
                // What was sent before it is rolled back with the connection: no COMMIT follows.
                return Err(Ended::Nothing(Fault::Sql(error)));
            }
            sent.push(answer);
        }
        let mut commit = self.send(Command::Plain("commit"));
        if let Some(error) = commit.unsent() {
            return Err(Ended::Nothing(Fault::Sql(error)));
        }
        let mut refused = None;
        for answer in &mut sent {
            match timeout_at(deadline, answer.answer()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if is_refusal(&error) => {
                    refused.get_or_insert(Fault::Sql(error));
                }
                // Also what ends the connection with words: a pooler says so of a server that it has lost, and may
                // have passed the COMMIT on before.
                Ok(Err(error)) => return Err(lost(refused, in_words(&error))),
                Err(_) => return Err(lost(refused, format!("no answer within {within:?}"))),
            }
        }
        let committed = timeout_at(deadline, commit.answer()).await;
        match (refused, committed) {
            (Some(fault), _) => Err(Ended::Nothing(fault)),
            (None, Ok(Ok(_))) if self.warnings.load(Ordering::Acquire) == warnings => Ok(()),
            (None, Ok(Ok(_))) => Err(Ended::Unknown(
                "the server warned while it committed: perhaps no standby has it".to_string(),
            )),
            (None, Ok(Err(error))) => Err(Ended::Unknown(in_words(&error))),
            (None, Err(_)) => Err(Ended::Unknown(format!("no answer within {within:?}"))),
        }
    }

    /// Prepares what this connection has not seen yet.
    async fn prepare(&mut self, commands: &[Command<'_>], deadline: Instant, within: Duration) -> Result<(), Fault> {
        if !self.prepares {
            return Ok(());
        }
        for command in commands {
            let Command::Query(sql, _) = command else { continue };
            if !self.statements.contains_key(sql) {
                let preparing = timeout_at(deadline, self.client.prepare(sql)).await;
                let statement = preparing.map_err(|_| Fault::Late(within))??;
                self.statements.insert(sql, statement);
            }
        }
        Ok(())
    }

    /// Puts a statement into the queue of the connection, without waiting for its answer.
    fn send<'a>(&'a self, command: Command<'a>) -> Sent<'a> {
        let client = &self.client;
        let mut answer: Answer<'a> = match command {
            Command::Plain(sql) => Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) }),
            Command::Query(sql, params) => match self.statements.get(sql) {
                Some(statement) => Box::pin(async move {
                    let values: Vec<_> = params.iter().map(|param| param.as_sql()).collect();
                    client.query(statement, &values).await
                }),
                None => Box::pin(async move {
                    let values: Vec<_> = params.iter().map(|param| (param.as_sql(), param.kind())).collect();
                    client.query_typed(sql, &values).await
                }),
            },
        };
        // The first poll puts the message into the queue; what comes of it is asked for in `answer`.
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Sent::Answered(Some(answer)),
            Poll::Pending => Sent::Waiting(answer),
        }
    }
}

/// A mark that no other session has.
fn mark() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds this from the operating system's randomness.
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// A connection that was lost after COMMIT was sent: nothing happened if a statement had failed before, for then the
/// COMMIT is a rollback.
fn lost(refused: Option<Fault>, what: String) -> Ended {
    refused.map_or(Ended::Unknown(what), Ended::Nothing)
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// A statement on its way.
enum Sent<'a> {
    Waiting(Answer<'a>),
    Answered(Option<Result<Vec<Row>, Error>>),
}

impl Sent<'_> {
    /// The error of what never left: it was answered before anything could come back.
    fn unsent(&mut self) -> Option<Error> {
        match self {
            Self::Answered(answer @ Some(Err(_))) => answer.take().and_then(Result::err),
            Self::Answered(_) | Self::Waiting(_) => None,
        }
    }

    async fn answer(&mut self) -> Result<Vec<Row>, Error> {
        match self {
            Self::Waiting(answer) => answer.await,
            Self::Answered(answer) => answer.take().unwrap_or(Ok(Vec::new())),
        }
    }
}

/// Carries messages until the connection ends, and counts the warnings among them.
async fn drive<T>(mut connection: tokio_postgres::Connection<Socket, T>, warnings: Arc<AtomicU64>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                if notice.parsed_severity() == Some(Severity::Warning) {
                    // Before the answer that it belongs to is handed on.
                    warnings.fetch_add(1, Ordering::Release);
                    debug!(
                        code = notice.code().code(),
                        message = notice.message(),
                        "PostgreSQL warns"
                    );
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}
