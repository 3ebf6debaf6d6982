//! Opening: whose file it is, whether this SQLite and these settings keep the promises, and what the schema still
//! needs. Nothing of a file is changed before it is known to be ours.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_CANTOPEN;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::datafile::{DataFile, unwritable};
use super::fault::{Fault, in_words, what_and_way_out};
use super::session::Session;
use crate::store::{Setting, StoreError};

/// `SRTM`: marks a database of ours in its first page, where SQLite has the application's id.
pub const APPLICATION_ID: i64 = 0x5352_544d;
/// Before this one a WAL that starts over while a checkpoint runs could lose a commit.
const SQLITE_OLDEST: i32 = 3_051_003;
/// Small pages: a random key dirties one, and it is written twice.
pub(super) const PAGE_BYTES: u32 = 2_048;
/// How long the keeper waits for the writer or a reader; the writer waits as long for the keeper.
const KEEPER_BUSY_TIMEOUT: Duration = Duration::from_millis(100);
/// The first bytes of every SQLite file.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// One step each, in order; the number of steps taken is the file's `user_version`.
const MIGRATIONS: [&str; 3] = [
    include_str!("migrations/0001_first_tables.sql"),
    include_str!("migrations/0002_gates.sql"),
    include_str!("migrations/0003_keys_behind_a_wipe.sql"),
];

/// How a database is opened. The defaults were measured with up to ten million entries and a thousand tenants.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// How many reads may run side by side.
    pub readers: usize,
    /// The page cache of the writer, in KiB.
    pub cache_kib: u32,
    /// The size of the WAL at which it is carried over into the database, in KiB.
    pub wal_kib: u32,
    /// How long to wait for another process that is writing.
    pub busy_timeout: Duration,
    /// How many keys at least wait in memory for their place in their table; more in a large store.
    pub key_tail: usize,
    /// How long one read may take: as long as it runs, the WAL cannot start over.
    pub read_time_max: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: 3,
            cache_kib: 8 * 1024,
            wal_kib: 64 * 1024,
            busy_timeout: Duration::from_secs(1),
            key_tail: if cfg!(test) { 4 } else { 4_096 },
            read_time_max: Duration::from_secs(60),
        }
    }
}

/// Why a database was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is no SQLite file, or another application's.
    #[error("cannot open {path}: not a Seriatim database ({what}); name another file", path = .path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A later version of Seriatim wrote it.
    #[error(
        "cannot open {path}: it was written by a newer version {found}; this one knows {known}: use the newer Seriatim",
        path = .path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The latest version that is known here.
        known: i64,
    },
    /// The file or its directory cannot be written.
    #[error("cannot write to {path}: {what}; make sure that file and directory are there and writable", path = .path.display())]
    NotWritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// There is a log whose database is not there.
    #[error(
        "cannot open {path}: its log {log} is there and the database is not: what was issued last is in the log; move both \
         together, or the log away",
        path = .path.display(), log = .log.display()
    )]
    LogAlone {
        /// Which file is missing, or empty.
        path: PathBuf,
        /// The log that belonged to it.
        log: PathBuf,
    },
    /// The SQLite that is linked in has a bug that could lose a commit.
    #[error(
        "cannot use SQLite {found}: it is older than 3.51.3, which lost commits; build Seriatim with its bundled SQLite"
    )]
    TooOld {
        /// The version that is linked in.
        found: String,
    },
    /// A setting that a promise rests on could not be put in force.
    #[error("cannot open {path}: {name} is {found}, which would break a promise; put the file on a local disk", path = .path.display())]
    Setting {
        /// Which file.
        path: PathBuf,
        /// Which setting.
        name: &'static str,
        /// What it is.
        found: String,
    },
    /// Something else went wrong.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error,
            OpenError::NotWritable { .. } => Self::Unavailable(error.to_string()),
            OpenError::NotOurs { .. }
            | OpenError::LogAlone { .. }
            | OpenError::Newer { .. }
            | OpenError::TooOld { .. }
            | OpenError::Setting { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

/// Which file, and how.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) options: SqliteOptions,
    /// The file that was there when the store was opened; held as long as the store is.
    file: OnceLock<DataFile>,
}

impl Place {
    pub(super) fn new(path: PathBuf, options: SqliteOptions) -> Self {
        Self {
            path,
            options,
            file: OnceLock::new(),
        }
    }

    /// Whether the path still leads to the file that was opened. Another one there would get its log, and numbers that
    /// are taken in a file without a name are lost with the process.
    pub(super) fn check_file(&self) -> Result<(), Fault> {
        match self.file.get() {
            Some(file) if !file.is_at(&self.path) => Err(Fault::Moved),
            Some(_) | None => Ok(()),
        }
    }

    /// A fault on this file as the caller of the store hears it.
    pub(super) fn error(&self, doing: &str, fault: Fault) -> StoreError {
        fault.into_store_error(doing, &self.path)
    }

    /// The file whose name is longer by this.
    pub(super) fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// A file that was made is safe only when its name is.
    pub(super) fn sync_directory(&self) -> Result<(), OpenError> {
        if !cfg!(unix) {
            return Ok(());
        }
        let synced = File::open(self.directory()).and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.not_writable(error))
    }

    fn not_writable(&self, what: impl ToString) -> OpenError {
        OpenError::NotWritable {
            path: self.path.clone(),
            what: what.to_string(),
        }
    }

    fn not_ours(&self, what: impl Into<String>) -> OpenError {
        OpenError::NotOurs {
            path: self.path.clone(),
            what: what.into(),
        }
    }

    fn open_error(&self, fault: Fault) -> OpenError {
        match fault {
            Fault::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => self.not_ours("it is not a SQLite file"),
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    self.not_writable(in_words(&error))
                }
                _ => self.error("open", Fault::Sql(error)).into(),
            },
            fault @ (Fault::Damage(_) | Fault::Moved) => self.error("open", fault).into(),
        }
    }
}

/// The first opening: makes the file if there is none, brings the schema up to date. Says whether it was made.
pub(super) fn create_or_open(place: &Place) -> Result<(Session, bool), OpenError> {
    check_version()?;
    check_writable(place)?;
    let created = create_file(place)?;
    let session = open_writer(place)?;
    // It is set once, at the first opening.
    let _ = place.file.set(session.file.share());
    Ok((session, created))
}

/// A connection that writes, with every setting in force and the schema up to date.
pub(super) fn open_writer(place: &Place) -> Result<Session, OpenError> {
    let session = connect_writer(place)?;
    place.sync_directory()?;
    migrate(place, &session.conn)?;
    let settings = settle(place, &session.conn)?;
    if let Some(setting) = settings.into_iter().find(|setting| !setting.holds) {
        return Err(OpenError::Setting {
            path: place.path.clone(),
            name: setting.name,
            found: setting.found,
        });
    }
    Ok(session)
}

/// A connection that could write, to a database of ours or of nobody yet.
fn connect_writer(place: &Place) -> Result<Session, OpenError> {
    let failed = |fault| place.open_error(fault);
    let session = connect(place, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let conn = &session.conn;
    check_owner(place, conn)?;
    if conn.is_readonly("main").map_err(|error| failed(error.into()))? {
        return Err(place.not_writable("the file is read-only"));
    }
    configure_writer(place, conn).map_err(failed)?;
    Ok(session)
}

/// From here on the flusher syncs the WAL, before any answer and beside the next batch. The settings as they are then.
fn settle(place: &Place, conn: &Connection) -> Result<Vec<Setting>, OpenError> {
    let normal = conn.pragma_update(None, "synchronous", "NORMAL");
    let settings = normal.map_err(Fault::from).and_then(|()| settings(conn));
    settings.map_err(|fault| place.open_error(fault))
}

/// A connection that only reads.
pub(super) fn open_reader(place: &Place) -> Result<Session, Fault> {
    let session = connect(place, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    session.conn.pragma_update(None, "query_only", true)?;
    session.conn.pragma_update(None, "cache_size", -2048)?;
    Ok(session)
}

/// A connection that carries the WAL over into the database.
pub(super) fn open_keeper(place: &Place) -> Result<Session, Fault> {
    let session = connect(place, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure_writer(place, &session.conn)?;
    session.conn.pragma_update(None, "cache_size", -256)?;
    // Emptying the WAL keeps the writer out while it waits for readers.
    session.conn.busy_timeout(KEEPER_BUSY_TIMEOUT)?;
    Ok(session)
}

fn check_version() -> Result<(), OpenError> {
    if rusqlite::version_number() >= SQLITE_OLDEST {
        return Ok(());
    }
    Err(OpenError::TooOld {
        found: rusqlite::version().to_string(),
    })
}

/// Before SQLite sees them: it reads on where it cannot write, and makes the log and its index as read-only as the
/// database is, so that they would stay so when the database can be written again.
fn check_writable(place: &Place) -> Result<(), OpenError> {
    let files = [place.path.clone(), place.beside("-wal"), place.beside("-shm")];
    let Some((path, error)) = unwritable(&place.path, &files) else {
        return Ok(());
    };
    Err(OpenError::NotWritable {
        path: path.to_path_buf(),
        what: error.to_string(),
    })
}

/// Makes an empty file that only its owner can read, whatever the umask.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Says whether there was nothing before.
fn create_file(place: &Place) -> Result<bool, OpenError> {
    let log = place.beside("-wal");
    let has_bytes = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.len() > 0);
    if has_bytes(&log) && !has_bytes(&place.path) {
        return Err(OpenError::LogAlone {
            path: place.path.clone(),
            log,
        });
    }
    match create_private(&place.path) {
        Ok(file) => {
            file.sync_all().map_err(|error| place.not_writable(error))?;
            place.sync_directory()?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_magic(place),
        Err(error) => Err(place.not_writable(error)),
    }
}

/// Refuses what is no SQLite file, before SQLite touches it. Says whether it is empty.
fn check_magic(place: &Place) -> Result<bool, OpenError> {
    let head = DataFile::open(&place.path).and_then(|file| file.head(16));
    let head = head.map_err(|error| place.not_writable(error))?;
    match head.as_slice() {
        [] => Ok(true),
        head if head == MAGIC => Ok(false),
        _ => Err(place.not_ours("it is not a SQLite file")),
    }
}

fn connect(place: &Place, mode: OpenFlags) -> Result<Session, Fault> {
    // Each connection stays with one thread at a time, so SQLite need not lock it.
    let conn = Connection::open_with_flags(&place.path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let file = DataFile::open(&place.path).map_err(|error| Fault::of_file(SQLITE_CANTOPEN, &error))?;
    place.check_file()?;
    conn.busy_timeout(place.options.busy_timeout)?;
    // A file from elsewhere could bring triggers and views that call functions.
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // Else a statement is compiled anew whenever a bound limit might have led to another plan, which costs verify half
    // its time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A failed read of a mapped page is a signal that kills the process.
    conn.pragma_update(None, "mmap_size", 0)?;
    Ok(Session::new(conn, file))
}

/// Whose database it is. A file without tables and marks is nobody's yet.
fn check_owner(place: &Place, conn: &Connection) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| place.open_error(error.into());
    let owner = number(conn, "application_id").map_err(failed)?;
    let version = number(conn, "user_version").map_err(failed)?;
    let tables: i64 = conn
        .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match (owner, version) {
        (0, 0) if tables == 0 => Ok(()),
        (APPLICATION_ID, 1..) if version <= known => Ok(()),
        (APPLICATION_ID, 1..) => Err(OpenError::Newer {
            path: place.path.clone(),
            found: version,
            known,
        }),
        (_, _) => Err(place.not_ours(format!("its application id is {owner}, its version {version}"))),
    }
}

/// The order matters: a file that turns into a WAL database must do so durably.
fn configure_writer(place: &Place, conn: &Connection) -> Result<(), Fault> {
    let options = &place.options;
    let wal_bytes = i64::from(options.wal_kib) * 1024;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    // Where fsync leaves the data in the drive's cache, which is macOS.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "synchronous", "EXTRA")?;
    // What it became is seen when the settings are read back.
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // A redacted document must not linger in free pages.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
    // The keeper does it, so that no commit waits for it.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A WAL that outgrew its size because of a long read gives the space back.
    conn.pragma_update(None, "journal_size_limit", wal_bytes.saturating_mul(4))?;
    Ok(())
}

/// What the promises rest on, as it is in force.
pub(super) fn settings(conn: &Connection) -> Result<Vec<Setting>, Fault> {
    let text = |name| conn.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let journal = text("journal_mode")?;
    let mut settings = vec![
        Setting {
            name: "sqlite_version",
            found: rusqlite::version().to_string(),
            holds: rusqlite::version_number() >= SQLITE_OLDEST,
        },
        Setting {
            name: "journal_mode",
            holds: journal == "wal",
            found: journal,
        },
    ];
    for (name, wanted) in [
        ("synchronous", 1),
        ("fullfsync", 1),
        ("checkpoint_fullfsync", 1),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("wal_autocheckpoint", 0),
        ("secure_delete", 1),
        ("mmap_size", 0),
    ] {
        let found = number(conn, name)?;
        settings.push(Setting {
            name,
            found: found.to_string(),
            holds: found == wanted,
        });
    }
    Ok(settings)
}

fn number(conn: &Connection, pragma: &str) -> Result<i64, rusqlite::Error> {
    conn.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Takes the steps that the schema lacks, each in one transaction with the version it leads to.
fn migrate(place: &Place, conn: &Connection) -> Result<(), OpenError> {
    for (version, step) in (1i64..).zip(MIGRATIONS) {
        let taken = take_step(conn, version, step);
        taken.map_err(|error| {
            // Whatever was begun is undone; if that fails too, closing the connection does it.
            let _ = conn.execute_batch("rollback");
            place.error("bring up to date the tables of", error.into())
        })?;
    }
    Ok(())
}

fn take_step(conn: &Connection, version: i64, step: &str) -> Result<(), rusqlite::Error> {
    if number(conn, "user_version")? >= version {
        return Ok(());
    }
    conn.execute_batch("begin immediate")?;
    // Another process may have taken the step while this one waited.
    if number(conn, "user_version")? >= version {
        return conn.execute_batch("rollback");
    }
    conn.execute_batch(step)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", version)?;
    conn.execute_batch("commit")
}

/// A database of this version that holds nothing, in memory.
pub(super) fn empty() -> Result<Connection, Fault> {
    let conn = Connection::open_in_memory()?;
    for step in MIGRATIONS {
        conn.execute_batch(step)?;
    }
    Ok(conn)
}

/// The settings of a connection as the writer's is, which writes nothing.
pub(super) fn look_at_settings(place: &Place) -> Result<Vec<Setting>, OpenError> {
    check_version()?;
    check_writable(place)?;
    check_magic(place)?;
    let session = connect_writer(place)?;
    settle(place, &session.conn)
}

/// Copies a database that others may have open, after a look at whose it is.
pub(super) fn copy_from(place: &Place, to: &Path) -> Result<(), OpenError> {
    check_version()?;
    check_magic(place)?;
    let session = open_reader(place).map_err(|fault| place.open_error(fault))?;
    check_owner(place, &session.conn)?;
    check_pages(&session.conn).map_err(|fault| place.open_error(fault))?;
    Ok(copy(place, to)?)
}

/// Pages that were written over, or cut off, in words of SQLite.
fn check_pages(conn: &Connection) -> Result<(), Fault> {
    let said: String = conn.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" {
        return Ok(());
    }
    Err(Fault::damage(
        said.replace("*** ", "").replace(" ***", "").replace('\n', " "),
    ))
}

/// Copies the database as of now to a new file. Under its own name it is only seen when it is whole and synced.
pub(super) fn copy(place: &Place, to: &Path) -> Result<(), StoreError> {
    let copy = Place::new(to.to_path_buf(), place.options.clone());
    let failed = |what: String| StoreError::Unavailable(format!("cannot write a backup to {}: {what}", to.display()));
    if to.exists() {
        return Err(failed("the file exists already; name another".to_string()));
    }
    let partial = copy.beside(".partial");
    // Left over from an attempt that was cut off.
    let _ = std::fs::remove_file(&partial);
    // Before SQLite would: it follows the umask, and a copy holds what the database does.
    let made = create_private(&partial).map_err(|error| failed(error.to_string()));
    let copied = made.and_then(|_| {
        copy_to(place, &partial).map_err(|fault| match fault {
            Fault::Sql(error) => failed(what_and_way_out(&error)),
            Fault::Damage(what) => failed(what),
            Fault::Moved => place.error("copy", Fault::Moved),
        })
    });
    let synced = copied.and_then(|()| {
        let named = File::open(&partial)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&partial, to));
        named.map_err(|error| failed(error.to_string()))?;
        Ok(copy.sync_directory()?)
    });
    if synced.is_err() {
        // What is left of a failed attempt is of no use; it may not even be there.
        let _ = std::fs::remove_file(&partial);
    }
    synced
}

fn copy_to(place: &Place, partial: &Path) -> Result<(), Fault> {
    let name = partial
        .to_str()
        .ok_or_else(|| Fault::damage("the name is not UTF-8; choose another"))?;
    let session = connect(place, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    session.conn.execute("vacuum into ?1", [name])?;
    Ok(())
}
