//! The server: opens the store, says where it is, and hands it to the HTTP surface.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use seriatim::{Access, ApiKey, ApiScope, Command, GatePolicy, Hash, Refusal, Request, Ttl};

use super::Context;
use super::failed::Failed;
use super::session::{Where, accepted, is_production, issuing, logs_json, postgres_options};
use crate::app::{App, AppOptions};
use crate::auth::{Token, draw_key};
use crate::config::{Config, Flags};
use crate::open::{self, Holder, Opened, Place, PlaceError, local_actor};
use crate::payments::{Pace, Payments, Receipts};
use crate::serve::{self, Listening, ServeOptions};
use crate::telemetry;
use crate::transport::without_login;
use crate::webhooks::Source;
use crate::witness::Witness;

/// Run the server
#[derive(Args)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8080, or PORT]
    #[arg(long, value_name = "ADDRESS")]
    http_addr: Option<String>,
    /// development or production [default: development]
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Settings of a database that break a promise and are accepted, by name
    #[arg(long, value_name = "SETTING,…")]
    accept: Option<String>,
    /// Where checkpoints are kept while it runs, outside of the store: file:PATH. A store that has less than it knew
    /// is not served
    #[arg(long, value_name = "PLACE")]
    witness: Option<String>,
    /// How often a checkpoint is taken for it, if there is anything new [default: 10s]
    #[arg(long, value_name = "DURATION")]
    witness_every: Option<String>,
    /// Where receipts are kept [default: receipts in the data directory]
    #[arg(long, value_name = "DIR")]
    receipts_dir: Option<String>,
    /// Folder of the receipts' template, with receipt.typ in it [default: the one that comes with the program]
    #[arg(long, value_name = "DIR")]
    receipt_template: Option<String>,
    /// How many payment events and receipts are worked on at once [default: 4]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// How long a worker holds an event or a receipt before another may take over; it renews while it works
    /// [default: 30s]
    #[arg(long, value_name = "DURATION")]
    lease: Option<String>,
    /// How often an event or a receipt is tried before somebody must look [default: 20]
    #[arg(long, value_name = "N")]
    attempts: Option<String>,
    /// Within this every caller gets an answer [default: 3s]
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,
    /// How many commands may wait before more are turned away [default: 10000]
    #[arg(long, value_name = "N")]
    queue_max: Option<String>,
    /// How many commands one commit may hold [default: 2000]
    #[arg(long, value_name = "N")]
    batch_max: Option<String>,
    /// How long it says that it is going before it stops listening [default: 0s; in production 5s]
    #[arg(long, value_name = "DURATION")]
    shutdown_delay: Option<String>,
    /// How long it then waits for requests to end [default: 20s]
    #[arg(long, value_name = "DURATION")]
    drain: Option<String>,
    /// What is logged, e.g. info or seriatim=debug [default: info, or RUST_LOG]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How it is logged: text or json, which has no greeting and draws no admin key [default: text on a terminal, else
    /// lines of JSON after the greeting]
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
}

impl Serve {
    /// The settings that were given.
    pub fn flags(&self) -> Flags {
        let given = [
            ("http_addr", &self.http_addr),
            ("env", &self.env),
            ("accept", &self.accept),
            ("receipts_dir", &self.receipts_dir),
            ("receipt_template", &self.receipt_template),
            ("workers", &self.workers),
            ("lease", &self.lease),
            ("attempts", &self.attempts),
            ("witness", &self.witness),
            ("witness_every", &self.witness_every),
            ("deadline", &self.deadline),
            ("queue_max", &self.queue_max),
            ("batch_max", &self.batch_max),
            ("shutdown_delay", &self.shutdown_delay),
            ("drain", &self.drain),
            ("log", &self.log),
            ("log_format", &self.log_format),
        ];
        given
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?)))
            .collect()
    }

    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let config = &context.config;
        let Settings {
            production,
            from,
            options,
            pace,
            witness_every,
            issuing,
            sources,
        } = Settings::read(config)?;
        // Before the issuer is opened: what it counts has to go somewhere.
        let metrics = telemetry::install()?;
        let mut opened = match &from {
            Where::Here(place) => open_store(place, issuing, production).await?,
            Where::Postgres(url) => open_postgres(config, url, issuing, production).await?,
            Where::Server(url) => return Err(is_server(url)),
        };
        // Before anything is written to it.
        let witness = match witness(context, witness_every, &opened).await {
            Ok(witness) => witness,
            Err(failed) => {
                opened.close().await;
                return Err(failed);
            }
        };
        let payments = match payments(config, &opened, sources, pace) {
            Ok(payments) => payments,
            Err(failed) => {
                opened.close().await;
                return Err(failed);
            }
        };
        let app = opened.app(AppOptions {
            production,
            metrics: Some(metrics),
            payments,
            ..AppOptions::default()
        })?;
        let keeping = witness.map(|witness| witness.keep(opened.issuer().clone(), opened.fenced()));
        let ended = listen(context, app, options, &mut opened, production).await;
        if let Some(keeping) = keeping {
            keeping.end().await;
        }
        opened.close().await;
        ended
    }
}

/// The settings of a server, each read as what it is, before anything is opened.
struct Settings {
    production: bool,
    from: Where,
    options: ServeOptions,
    pace: Pace,
    witness_every: Duration,
    issuing: seriatim::Options,
    sources: Vec<Source>,
}

impl Settings {
    fn read(config: &Config) -> Result<Self, Failed> {
        let production = is_production(config)?;
        let from = Where::of(config)?;
        // SQLite has none of them, and a slip shows all the same.
        accepted(config)?;
        if let Some(place) = config.text("witness") {
            Witness::path_of(place)?;
        }
        if let Some(given) = config.get("admin_key") {
            admin_token(&given.text)?;
        }
        Ok(Self {
            production,
            options: serve_options(config, &from, production)?,
            from,
            pace: pace(config)?,
            witness_every: config.stretch("witness_every")?,
            issuing: issuing(config)?,
            sources: Source::all(config)?,
        })
    }
}

/// Whether a server would take these settings; what is on the disk is not looked at.
pub fn check(config: &Config) -> Result<(), Failed> {
    Settings::read(config).map(drop)
}

/// What holds where nobody set a setting whose default depends on something else, and who says so.
pub fn usual(config: &Config, name: &str) -> Option<(String, String)> {
    let by_default = |text: String| Some((text, "default".to_string()));
    match name {
        "receipts_dir" => by_default(receipts_dir(config).ok()?.display().to_string()),
        "receipt_template" => by_default("the one that comes with the program".to_string()),
        "shutdown_delay" => by_default(format!("{}s", usual_delay(is_production(config).ok()?).as_secs())),
        "log" => match std::env::var("RUST_LOG") {
            Ok(filter) => Some((filter, "RUST_LOG".to_string())),
            Err(_) => by_default("info".to_string()),
        },
        "log_format" => by_default("text on a terminal, else json".to_string()),
        _ => None,
    }
}

fn is_server(url: &str) -> Failed {
    let url = without_login(url);
    Failed::Usage(format!("serve is a server itself; leave out --server {url}"))
}

fn serve_options(config: &Config, from: &Where, production: bool) -> Result<ServeOptions, Failed> {
    let shutdown_delay = match config.get("shutdown_delay") {
        Some(_) => config.duration("shutdown_delay")?,
        None => usual_delay(production),
    };
    Ok(ServeOptions {
        http_addr: config.parse::<SocketAddr>("http_addr")?,
        // Who may use a database is told by the database; verbs of the command line open it themselves.
        socket: match from {
            Where::Here(place) => Some(place.socket()),
            Where::Postgres(_) | Where::Server(_) => None,
        },
        // Known once the store is open.
        store: None,
        shutdown_delay,
        drain: config.duration("drain")?,
    })
}

fn usual_delay(production: bool) -> Duration {
    Duration::from_secs(if production { 5 } else { 0 })
}

async fn open_store(place: &Place, issuing: seriatim::Options, production: bool) -> Result<Opened, Failed> {
    if production && !place.exists()? {
        // A container without its volume must not start again at 1.
        let database = place.database.display();
        return Err(Failed::from(PlaceError::Absent(format!(
            "there is no store {database}, and in production none is made by itself: if this is the first start, run \
             `seriatim init`; otherwise the volume is not mounted here"
        ))));
    }
    place.make_directory()?;
    let lock = open::claim(place, "serve").await?;
    Ok(Opened::open(place, lock, issuing).await?)
}

/// The payments that are taken in here, if a source is configured. A template is compiled now, not at the first payment.
fn payments(
    config: &Config,
    opened: &Opened,
    sources: Vec<Source>,
    pace: Pace,
) -> Result<Option<Arc<Payments>>, Failed> {
    if sources.is_empty() {
        return Ok(None);
    }
    let directory = receipts_dir(config)?;
    let template = config.text("receipt_template").map(PathBuf::from);
    let wants_receipts = sources.iter().any(Source::makes_receipts);
    let receipts = wants_receipts
        .then(|| Receipts::start(&directory, template.as_deref(), pace.workers))
        .transpose()
        .map_err(Failed::Usage)?;
    let payments = Payments::new(opened.issuer().clone(), sources, receipts, pace).map_err(Failed::Other)?;
    Ok(Some(Arc::new(payments)))
}

fn receipts_dir(config: &Config) -> Result<PathBuf, Failed> {
    Ok(match config.text("receipts_dir") {
        Some(directory) => PathBuf::from(directory),
        None => config.parse::<PathBuf>("data_dir")?.join("receipts"),
    })
}

/// How payment events and receipts are worked on.
fn pace(config: &Config) -> Result<Pace, Failed> {
    let refused = |refusal: Refusal| Failed::Usage(refusal.message);
    let lease = config.stretch("lease")?;
    if lease < Duration::from_secs(1) {
        return Err(Failed::Usage(
            "lease is shorter than 1s; a worker could not renew it in time".to_string(),
        ));
    }
    Ok(Pace {
        workers: config.count("workers")?,
        lease: Ttl::from_seconds(lease.as_secs()).map_err(refused)?,
        policy: GatePolicy::new(Some(config.count("attempts")?), None, None).map_err(refused)?,
    })
}

/// Who keeps checkpoints of this store elsewhere, once it has found nothing missing.
async fn witness(context: &Context, every: Duration, opened: &Opened) -> Result<Option<Witness>, Failed> {
    let Some(place) = context.config.text("witness") else {
        return Ok(None);
    };
    let begun = Witness::begin(place, every, opened.checkpoint_key()?, opened).await?;
    if begun.is_new && !begun.is_empty() {
        let what = format!("witness {place} is new: what was lost before now it cannot tell");
        if logs_json(&context.config) {
            tracing::warn!("{what}");
        } else {
            context.output.warn(what);
        }
    }
    Ok(Some(begun))
}

/// The database, and in the data directory the key that signs checkpoints.
async fn open_postgres(
    config: &Config,
    url: &str,
    issuing: seriatim::Options,
    production: bool,
) -> Result<Opened, Failed> {
    let place = Place::in_directory(&config.parse::<PathBuf>("data_dir")?);
    let options = postgres_options(config, !production)?;
    let opened = Opened::open_postgres(url, &place, options, issuing).await?;
    place.make_directory()?;
    open::checkpoint_key(&place)?;
    Ok(opened)
}

/// The key of who runs the server: the one he gives, or a new one at the first start in development, to be shown.
async fn admin_key(config: &Config, opened: &Opened, production: bool) -> Result<Option<String>, Failed> {
    let known = opened
        .reads()
        .api_keys()
        .await
        .map_err(|error| Failed::Unreachable(error.to_string()))?;
    if let Some(given) = config.get("admin_key") {
        let token = admin_token(&given.text)?;
        warn_of_readers(given.file.as_deref());
        return match known.iter().find(|key| key.id == token.id) {
            None => register(opened, &given.text).await.map(|()| None),
            Some(key) => refuse_unfit(key, &token).map(|()| None),
        };
    }
    if !known.is_empty() {
        return Ok(None);
    }
    // What is logged as JSON is collected and kept, which a key must not be.
    if production || logs_json(config) {
        tracing::warn!(
            "there is no API key; make one with `seriatim key create`, which works beside this server, or set \
             SERIATIM_ADMIN_KEY_FILE"
        );
        return Ok(None);
    }
    let text = draw_key(false)?;
    register(opened, &text).await?;
    Ok(Some(text))
}

/// A secret that somebody thought of himself; one that is drawn here has 40 characters.
const ADMIN_SECRET_MIN: usize = 20;

fn admin_token(text: &str) -> Result<Token<'_>, Failed> {
    let draw = "`seriatim key create --scope admin --label admin` draws one";
    let Some(token) = Token::parse(text) else {
        let what = format!("admin_key is not an API key; it looks like srt_<id>_<secret>, and {draw}");
        return Err(Failed::Usage(what));
    };
    if token.test {
        return Err(Failed::Usage(format!(
            "admin_key is a test key, which reaches test series only, so nobody would be the admin; give one that looks \
             like srt_<id>_<secret>; {draw}"
        )));
    }
    let length = token.secret.len();
    if length < ADMIN_SECRET_MIN {
        return Err(Failed::Usage(format!(
            "admin_key has a secret of {length} characters, which can be guessed; give {ADMIN_SECRET_MIN} at least; {draw}"
        )));
    }
    Ok(token)
}

/// A key that is known already must be one that opens everything, or nobody would be the admin and nobody would say so.
fn refuse_unfit(key: &ApiKey, token: &Token<'_>) -> Result<(), Failed> {
    let id = &key.id;
    let what = if key.secret_sha256 != Hash::of(token.secret.as_bytes()) {
        format!("has the id {id} of a key with another secret; give the secret of that key, or a key with another id")
    } else if key.access.test_only {
        format!("has the id {id} of a test key; give a key with another id")
    } else if let Some(at) = key.revoked_at {
        format!(
            "is the API key {id}, which was revoked at {at} and opens nothing any more; give one with another id, or \
             leave it out"
        )
    } else if key.access.require_unbound(ApiScope::Admin).is_err() {
        format!(
            "is the API key {id}, which has no scope `admin` or is bound to tenants or series; give an admin's key, or one \
             with another id"
        )
    } else {
        return Ok(());
    };
    Err(Failed::Usage(format!("admin_key {what}")))
}

fn warn_of_readers(file: Option<&Path>) {
    let mode = |path: &Path| std::fs::metadata(path).map(|found| found.permissions().mode());
    if let Some(path) = file.filter(|path| mode(path).is_ok_and(|mode| mode & 0o004 != 0)) {
        let path = path.display();
        tracing::warn!("every user of this machine can read the admin key in {path}; `chmod o= {path}`");
    }
}

async fn register(opened: &Opened, text: &str) -> Result<(), Failed> {
    let issuer = opened.issuer();
    let Some(token) = Token::parse(text) else {
        return Err(Failed::Other("a drawn key does not read".to_string()));
    };
    let key = token.api_key("admin", Access::full(), issuer.clock().now());
    let request = Request {
        actor: local_actor()?,
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command: Command::CreateApiKey(Box::new(key)),
    };
    let created = issuer.execute(request).await;
    created.map_err(|failure| Failed::Other(format!("cannot register the admin key: {failure}")))?;
    Ok(())
}

async fn listen(
    context: &Context,
    app: App,
    mut options: ServeOptions,
    opened: &mut Opened,
    production: bool,
) -> Result<(), Failed> {
    options.store = opened.identity().and_then(|text| text.parse().ok());
    let listening = Listening::on(&options).await?;
    // Only who listens can show a new key.
    let key = admin_key(&context.config, opened, production).await?;
    let created = opened.created();
    let store = opened.reads().describe();
    let socket = options.socket.clone();
    let ready = |address: SocketAddr| {
        let url = format!("http://{address}");
        let holder = Holder {
            address: Some(url.clone()),
            socket,
            ..Holder::this("serve")
        };
        if let Some(Err(error)) = opened.lock_mut().map(|lock| lock.say(&holder)) {
            tracing::warn!(%error, "cannot write down where we listen; verbs of the command line will not find us");
        }
        say_hello(context, &store, &url, created, key.as_deref());
    };
    Ok(serve::run(app, listening, options, ready).await?)
}

/// For a person who looks at the terminal or into a file. A log that was asked for as JSON gets one line instead, and
/// never a key.
fn say_hello(context: &Context, store: &str, url: &str, created: bool, key: Option<&str>) {
    let is_json = logs_json(&context.config);
    if is_json || !std::io::stderr().is_terminal() {
        tracing::info!(store, address = %url, created, "listening");
    }
    if is_json {
        return;
    }
    let how = if created { " (created)" } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    context.output.warn(format!("seriatim {version}  store {store}{how}"));
    context.output.warn(format!("  Listening  {url}"));
    context.output.warn(format!("  API        {url}/openapi.json"));
    context
        .output
        .warn(format!("  Health     {url}/livez  {url}/readyz  {url}/metrics"));
    if let Some(key) = key {
        context.output.warn(format!("  Admin key  {key}"));
        context
            .output
            .warn("             shown once; `seriatim key create` makes more");
    }
}
