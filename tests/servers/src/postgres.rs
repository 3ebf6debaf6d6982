//! A PostgreSQL of a test's own: a cluster in a temporary folder, on a free port, gone when it is dropped.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::template::{copy, copy_to, hand_over, program, run};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What fits into one argument of a program; a longer script is read from a file, statement by statement.
const ARGUMENT_MAX: usize = 100_000;

/// A server that runs while this lives, or until it is stopped.
///
/// User `postgres`, no password, over TCP on 127.0.0.1 and over a socket; it syncs to disk as in production.
pub struct Postgres {
    folder: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a new, empty cluster.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a new, empty cluster with settings of its own, e.g. `("fsync", "off")`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(settings);
        copy_to(&server.data());
        server.start_again();
        server
    }

    fn prepare(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new().prefix("pg-").tempdir().expect("a folder");
        hand_over(folder.path());
        let own = settings
            .iter()
            .map(|(name, value)| ((*name).to_string(), (*value).to_string()));
        Self {
            folder,
            port: free_port(),
            settings: own.collect(),
            child: None,
            databases: AtomicU32::new(0),
        }
    }

    /// A standby of this server, streaming from it under a name that `synchronous_standby_names` can use.
    ///
    /// # Panics
    /// It cannot be copied or started.
    #[must_use]
    pub fn standby(&self, name: &str) -> Self {
        let settings: Vec<(&str, &str)> = self.settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let mut standby = Self::prepare(&settings);
        let (socket, port) = (self.folder.path().display(), self.port);
        let (from, to) = (self.data(), standby.data());
        let (from, to) = (from.display(), to.display());
        // By hand, for the newest server comes without pg_basebackup. One session begins and ends it; files may go while
        // they are copied.
        let backup = format!(
            "select pg_backup_start('{name}', true) \\g /dev/null\n\
             \\! cp -a {from} {to} 2> /dev/null\n\
             \\! rm -rf {to}/postmaster.pid {to}/pg_wal/* && touch {to}/standby.signal\n\
             \\! echo \"primary_conninfo = 'host={socket} port={port} user=postgres application_name={name}'\" \
             >> {to}/postgresql.auto.conf\n\
             select labelfile from pg_backup_stop() \\g {to}/backup_label\n"
        );
        let script = standby.folder.path().join("backup.sql");
        std::fs::write(&script, backup).expect("a script");
        let mut psql = self.psql_at("postgres");
        let output = psql.arg("--file").arg(&script).output().expect("psql can be started");
        assert!(
            output.status.success(),
            "no backup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        standby.start_again();
        standby
    }

    /// The URL of the database `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of a database.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket, the `host` of those who connect without TCP.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Creates another empty database and gives its name.
    ///
    /// # Panics
    /// The server refuses.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.psql("postgres", &format!("create database {name}"));
        name
    }

    /// Runs SQL through psql and gives what it prints: rows by line, columns by `|`.
    ///
    /// # Panics
    /// The SQL fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        match self.try_psql(database, sql) {
            Ok(printed) => printed,
            Err(error) => panic!("{error}\nin {}", sql.get(..2_000).unwrap_or(sql)),
        }
    }

    /// Runs SQL through psql.
    ///
    /// # Errors
    /// What psql complains of.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.psql_at(database);
        let script = tempfile::NamedTempFile::new().expect("a file");
        if sql.len() < ARGUMENT_MAX {
            psql.args(["--command", sql]);
        } else {
            std::fs::write(script.path(), sql).expect("it can be written");
            hand_over(script.path());
            psql.arg("--file").arg(script.path());
        }
        let output = psql.output().expect("psql can be started");
        let printed = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_string();
        if output.status.success() {
            return Ok(printed(output.stdout));
        }
        Err(printed(output.stderr))
    }

    fn psql_at(&self, database: &str) -> Command {
        let mut psql = program("psql");
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
        ])
        .arg(format!("--dbname={}", self.url_of(database)));
        psql
    }

    /// Another program of PostgreSQL, with its connection set: `pgbench`, `pg_dump`, …
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = program(name);
        command
            .env("PGHOST", self.folder.path())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres");
        command
    }

    /// A connection to a database; it is driven by a task of its own and ends when the client is dropped.
    ///
    /// # Panics
    /// The server refuses.
    pub async fn connect(&self, database: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url_of(database), NoTls)
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.url_of(database)));
        // It ends with an error if the server is killed, which is what some tests do.
        tokio::spawn(async move { drop(connection.await) });
        client
    }

    /// Changes a setting of the running server.
    ///
    /// # Panics
    /// The server refuses.
    pub fn set(&self, name: &str, value: &str) {
        self.psql("postgres", &format!("alter system set {name} = '{value}'"));
        self.psql("postgres", "select pg_reload_conf()");
    }

    /// Pulls the plug: the server ends at once, without a checkpoint, and recovers when it is started again.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop_immediately(&mut self) {
        self.stop("QUIT");
    }

    /// Lets those who are connected go, writes a checkpoint and ends.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop_cleanly(&mut self) {
        self.stop("INT");
    }

    fn stop(&mut self, signal: &str) {
        let Some(mut child) = self.child.take() else { return };
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(child.id().to_string())
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "the server is gone already: {}",
            self.log()
        );
        let started = Instant::now();
        while child.try_wait().expect("a child can be waited for").is_none() {
            if started.elapsed() > PATIENCE {
                // Whatever it waits for, no server may outlive its test.
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server did not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it on the same data and port, and waits until it takes connections.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let mut command = program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let own = self.settings.iter().map(|(name, value)| (&**name, &**value));
        for (name, value) in DEFAULTS.iter().copied().chain(own) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.arg("-k").arg(self.folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("cannot start the server: {error}")));
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let started = Instant::now();
        while !self.is_ready() {
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(
                !ended && started.elapsed() < PATIENCE,
                "the server did not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The eighth line of the server's own file says so, without a connection.
    fn is_ready(&self) -> bool {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let is_ours = self.child.as_ref().is_some_and(|child| {
            file.lines()
                .next()
                .is_some_and(|process| process == child.id().to_string())
        });
        is_ours && matches!(file.lines().nth(7).map(str::trim), Some("ready" | "standby"))
    }

    /// Makes a standby the primary, and waits until it writes.
    ///
    /// # Panics
    /// It does not become one.
    pub fn promote(&self) {
        let promoted = self.psql("postgres", "select pg_promote(wait => true, wait_seconds => 60)");
        assert_eq!(promoted, "t", "{}", self.log());
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What a snapshot of its disk would hold, while it is stopped.
    ///
    /// # Panics
    /// It runs, or cannot be copied.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        assert!(self.child.is_none(), "stop it first");
        let folder = tempfile::Builder::new().prefix("pg-").tempdir().expect("a folder");
        hand_over(folder.path());
        let at = folder.path().join("data");
        copy(&self.data(), &at);
        Snapshot { _folder: folder, at }
    }

    /// Puts a snapshot in the place of the data, while it is stopped.
    ///
    /// # Panics
    /// It runs, or the snapshot cannot be put there.
    pub fn restore(&self, snapshot: &Snapshot) {
        assert!(self.child.is_none(), "stop it first");
        std::fs::remove_dir_all(self.data()).expect("the data can be removed");
        copy(&snapshot.at, &self.data());
    }

    /// The folder of the cluster, for what pg_resetwal and the like do to a server that is stopped.
    #[must_use]
    pub fn data_folder(&self) -> PathBuf {
        self.data()
    }

    /// Runs a program of PostgreSQL to its end on the stopped cluster.
    ///
    /// # Panics
    /// It fails.
    pub fn run_on_data(&self, name: &str, arguments: &[&str]) -> String {
        let data = self.data();
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"-D", &data];
        all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<OsStr>));
        String::from_utf8_lossy(&run(name, &all).stdout).into_owned()
    }
}

/// The data of a server at one moment.
pub struct Snapshot {
    _folder: TempDir,
    at: PathBuf,
}

/// Small, and as safe as a server should be.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("max_connections", "200"),
    ("shared_buffers", "32MB"),
    ("max_wal_senders", "4"),
    ("wal_level", "replica"),
    ("autovacuum_naptime", "10s"),
    ("timezone", "America/Los_Angeles"),
    ("logging_collector", "off"),
];

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = Command::new("kill").arg("-QUIT").arg(child.id().to_string()).status();
        let started = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if started.elapsed() > PATIENCE {
                let _ = child.kill();
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = child.wait();
    }
}

/// A port that nobody listens on now, below those that the kernel gives to who connects: a server that is started again
/// would else find its own taken. Between two tests that start at once the loser fails loudly.
pub(crate) fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut drawn = std::iter::repeat_with(|| rand::rng().random_range(15_000..32_000));
    drawn.by_ref().take(1_000).find(is_free).expect("a free port")
}
