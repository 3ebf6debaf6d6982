//! A PgBouncer of a test's own, in transaction mode: what many have between their programs and PostgreSQL.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::free_port;
use crate::template::{as_postgres, hand_over};

const PATIENCE: Duration = Duration::from_secs(20);

/// A pooler that runs while this lives.
pub struct PgBouncer {
    folder: TempDir,
    port: u16,
    child: Child,
}

impl PgBouncer {
    /// Starts before a server of this machine; a connection of a client has one of the server's for a transaction only.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(server: u16) -> Self {
        Self::start_with(server, "")
    }

    /// The same with more lines of configuration.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_with(server: u16, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("bouncer-").tempdir().expect("a folder");
        let port = free_port();
        let at = folder.path().display();
        // A few connections for many clients, so that each of them meets all of them.
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir = {at}\nauth_type = trust\nauth_file = {at}/users\n\
             pool_mode = transaction\ndefault_pool_size = 6\nmax_client_conn = 500\nserver_round_robin = 1\n\
             server_login_retry = 0\nlogfile = {at}/log\n{settings}\n"
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), config).expect("a configuration");
        std::fs::write(folder.path().join("users"), "\"postgres\" \"\"\n\"app\" \"\"\n").expect("users");
        hand_over(folder.path());
        let child = as_postgres(Command::new(program()))
            .args(["-q".as_ref(), folder.path().join("pgbouncer.ini").as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start pgbouncer: {error}; install Debian's pgbouncer"));
        let mut pooler = Self { folder, port, child };
        pooler.wait_ready();
        pooler
    }

    fn wait_ready(&mut self) {
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            assert!(
                !ended && started.elapsed() < PATIENCE,
                "pgbouncer did not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it keeps statements that a client prepared, from 1.21 on.
    ///
    /// # Panics
    /// It does not say its version.
    #[must_use]
    pub fn follows_prepared_statements() -> bool {
        let said = Command::new(program()).arg("--version").output().expect("its version");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let version = said.lines().next().and_then(|line| line.strip_prefix("PgBouncer "));
        let mut parts = version
            .expect("PgBouncer and its version")
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        (parts.next(), parts.next()) >= (Some(1), Some(21))
    }

    /// What it has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The URL of a database through this pooler.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

/// `SERIATIM_TEST_PGBOUNCER`, or that of the machine.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("SERIATIM_TEST_PGBOUNCER") {
        return named.into();
    }
    let debian = PathBuf::from("/usr/sbin/pgbouncer");
    if debian.exists() {
        debian
    } else {
        PathBuf::from("pgbouncer")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
