//! The place of a store on this machine: its directory, its lock and its files.
//!
//! One process at a time holds the lock: a `serve` for as long as it runs, a verb of the command line for the moment
//! it needs. Who finds it held reads in it whom to ask instead. This module must never know what is asked.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::TryRng;
use serde::{Deserialize, Serialize};
use seriatim::store::StoreError;
use seriatim::store::postgres::{self, Postgres, PostgresOptions};
use seriatim::store::sqlite::{OpenError, Sqlite, SqliteOptions};
use seriatim::{Actor, Issuer, Options, Reads, Store};

use crate::app::{App, AppOptions};
use crate::transport;

/// Why the place of a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The configuration names a place that cannot hold a store.
    #[error("{0}")]
    Unusable(String),
    /// There is nothing there, and nothing may be made there now.
    #[error("{0}")]
    Absent(String),
    /// Another process holds the lock and does not let go.
    #[error("{0}")]
    Held(String),
    /// The store cannot be reached now.
    #[error("{0}")]
    Unavailable(String),
    /// The store is there and must not be used.
    #[error("{0}")]
    Refused(String),
    /// The store lacks what a witness knows.
    #[error("{0}")]
    Behind(String),
}

/// The files of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The SQLite database.
    pub database: PathBuf,
}

impl Place {
    /// The usual file in a data directory.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            database: directory.join(DATABASE),
        }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.database.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => Path::new("."),
        }
    }

    /// The database itself, where its name is only a link to it: two names for one database must not give two locks,
    /// and its log lies beside the file, not beside the link.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        let is_link = std::fs::symlink_metadata(&self.database).is_ok_and(|found| found.is_symlink());
        let real = is_link.then(|| std::fs::canonicalize(&self.database).ok()).flatten();
        real.unwrap_or_else(|| self.database.clone())
    }

    /// The file that is locked. It belongs to the database, not to the directory: two databases in one directory must
    /// not share a lock.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// Where a running server listens for verbs of the command line; absolute, for those who come from another
    /// directory.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let beside = self.beside(".sock");
        let beside = std::path::absolute(&beside).unwrap_or(beside);
        if beside.as_os_str().len() <= SOCKET_PATH_MAX {
            return beside;
        }
        // The kernel takes no longer paths. The lock says where the socket is, so it can be anywhere private.
        let name = format!("seriatim-{}.sock", std::process::id());
        std::env::temp_dir().join(name)
    }

    /// A file of this database alone. Its whole name counts: `orders.2025` and `orders.2026` are two.
    fn beside(&self, end: &str) -> PathBuf {
        let mut file = self.file();
        if file.file_name().is_some_and(|name| name == DATABASE) {
            file.set_extension("");
        }
        let mut name = file.into_os_string();
        name.push(end);
        PathBuf::from(name)
    }

    /// By what the file of the database is told from every other on this machine, whatever it is called.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let found = std::fs::metadata(&self.database).ok()?;
        Some(format!("{:x}-{:x}", found.dev(), found.ino()))
    }

    /// The key that signs checkpoints.
    #[must_use]
    pub fn checkpoint_key(&self) -> PathBuf {
        self.file().with_file_name("checkpoint.key")
    }

    /// The log of the database and its index, which are there while it is open.
    #[must_use]
    pub fn log_files(&self) -> [PathBuf; 2] {
        ["-wal", "-shm"].map(|end| {
            let mut name = self.file().into_os_string();
            name.push(end);
            PathBuf::from(name)
        })
    }

    /// Whether there is a store.
    ///
    /// # Errors
    /// Nobody knows: this user may not look there.
    pub fn exists(&self) -> Result<bool, PlaceError> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        match std::fs::metadata(&self.database) {
            Err(error) if !matches!(error.kind(), NotFound | NotADirectory) => {
                let path = self.database.display();
                let message = format!("cannot see whether there is a store {path}: {error}");
                Err(PlaceError::Unusable(message))
            }
            // A file without a byte is none: what is made there would begin at 1 again.
            found => Ok(found.is_ok_and(|found| found.len() > 0)),
        }
    }

    /// Makes the directory, for its owner alone.
    ///
    /// # Errors
    /// It cannot be made, or is no directory.
    pub fn make_directory(&self) -> Result<(), PlaceError> {
        let directory = self.directory();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| unusable("make the data directory", directory, &error))
    }
}

/// The database in a data directory.
const DATABASE: &str = "seriatim.db";

/// `sockaddr_un` holds 108 bytes with the zero at the end.
const SOCKET_PATH_MAX: usize = 107;

fn unusable(what: &str, path: &Path, error: &std::io::Error) -> PlaceError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        let path = path.display();
        return PlaceError::Unavailable(format!("cannot {what} {path}: disk is full; free space and retry"));
    }
    PlaceError::Unusable(format!(
        "cannot {what} {}: {error}; give a directory that this user may write with --data-dir",
        path.display()
    ))
}

/// What the holder of a lock says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The verb it runs.
    pub command: String,
    /// Its process id.
    pub pid: u32,
    /// Where it answers HTTP, once it does.
    pub address: Option<String>,
    /// Where it answers verbs of the command line, once it does.
    pub socket: Option<PathBuf>,
}

impl Holder {
    /// This process.
    #[must_use]
    pub fn this(command: &str) -> Self {
        Self {
            command: command.to_string(),
            pid: std::process::id(),
            address: None,
            socket: None,
        }
    }

    /// Who it is, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let address = self.address.as_ref().map(|address| format!(", {address}"));
        format!(
            "`seriatim {}` (pid {}{})",
            self.command,
            self.pid,
            address.unwrap_or_default()
        )
    }
}

/// A lock that is held until it is dropped, or the process is gone, however it goes.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock unless another process has it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn take(place: &Place, holder: &Holder) -> Result<Option<Self>, PlaceError> {
        if place.database.is_dir() {
            let path = place.database.display();
            let message =
                format!("{path} is a directory, not a database; give it with --data-dir, or name a file in it");
            return Err(PlaceError::Unusable(message));
        }
        let path = place.lock();
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = opened.map_err(|error| unusable("write the lock", &path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(unusable("lock", &path, &error)),
        }
        let mut lock = Self { file };
        lock.say(holder)
            .map_err(|error| unusable("write the lock", &path, &error))?;
        Ok(Some(lock))
    }

    /// Writes down who holds it, for those who find it held.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub fn say(&mut self, holder: &Holder) -> std::io::Result<()> {
        let text = serde_json::to_string(holder).map_err(std::io::Error::other)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only a courtesy: whoever takes the lock next overwrites it.
        let _ = self.file.set_len(0);
    }
}

/// Who holds the lock now, if it says so.
#[must_use]
pub fn holder(place: &Place) -> Option<Holder> {
    let mut text = String::new();
    File::open(place.lock()).ok()?.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// How the store can be reached.
#[derive(Debug)]
pub enum Reach {
    /// We hold the lock and may open it.
    Ours(Lock),
    /// A server holds the lock and listens here.
    Served(PathBuf),
}

/// How long whoever ends waits for a commit that nobody confirms; its caller has been told by then.
const LETS_GO: Duration = Duration::from_secs(1);
/// How long a verb waits for another verb to let go of the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lock, or finds the server that holds it; waits a little for another verb to finish.
///
/// # Errors
/// The lock cannot be made, or is not let go, or who holds it serves another database.
pub async fn reach(place: &Place, command: &str) -> Result<Reach, PlaceError> {
    let started = Instant::now();
    loop {
        if let Some(lock) = Lock::take(place, &Holder::this(command))? {
            return Ok(Reach::Ours(lock));
        }
        let holder = holder(place);
        if let Some(holder) = &holder
            && let Some(socket) = served(place, holder).await?
        {
            return Ok(Reach::Served(socket));
        }
        if started.elapsed() > PATIENCE {
            return Err(match holder {
                // Another directory would be another store.
                Some(holder) if holder.socket.is_some() => PlaceError::Held(format!(
                    "{} is in use by {}, which does not answer within {PATIENCE:?}: look why, or stop it and try again",
                    place.directory().display(),
                    holder.describe()
                )),
                holder => held(place, holder.as_ref()),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The socket where the holder of the lock answers for this very database. A socket's name proves nothing: it may be
/// left from a server that was killed, or lead to another server, and numbers must not come from another store.
async fn served(place: &Place, holder: &Holder) -> Result<Option<PathBuf>, PlaceError> {
    let wanted = place.identity();
    let mut stranger = None;
    for socket in sockets(place, holder) {
        match transport::store_behind(&socket).await {
            None => {}
            Some(found) if found.is_some() && found == wanted => return Ok(Some(socket)),
            Some(_) => stranger = Some(socket),
        }
    }
    let Some(socket) = stranger else { return Ok(None) };
    Err(PlaceError::Held(format!(
        "{} is locked by {}, but the server at {} does not hold this database: nothing was asked; if the file was \
         replaced while it ran, restart it",
        place.database.display(),
        holder.describe(),
        socket.display()
    )))
}

/// Where the holder may listen: beside its lock, wherever the directory is now or is called here, or where it says.
fn sockets(place: &Place, holder: &Holder) -> Vec<PathBuf> {
    let Some(said) = &holder.socket else {
        return Vec::new();
    };
    let beside = said.file_name().map(|name| place.lock().with_file_name(name));
    let said = Some(said.clone()).filter(|said| said.is_absolute());
    beside.into_iter().chain(said).collect()
}

/// Takes the lock for a process that keeps it; a server that has it already is named at once.
///
/// # Errors
/// The lock cannot be made, or another process holds it.
pub async fn claim(place: &Place, command: &str) -> Result<Lock, PlaceError> {
    let started = Instant::now();
    loop {
        if let Some(lock) = Lock::take(place, &Holder::this(command))? {
            return Ok(lock);
        }
        let holder = holder(place);
        let is_server = holder.as_ref().is_some_and(|holder| holder.command == "serve");
        if is_server || started.elapsed() > PATIENCE {
            return Err(held(place, holder.as_ref()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn held(place: &Place, holder: Option<&Holder>) -> PlaceError {
    let who = holder.map_or_else(|| "another process".to_string(), Holder::describe);
    PlaceError::Held(format!(
        "{} is in use by {who}; stop it, or give another --data-dir",
        place.directory().display()
    ))
}

/// The seed of the key that signs checkpoints; drawn on first use.
///
/// # Errors
/// The file cannot be read or written, or holds something else.
pub fn checkpoint_key(place: &Place) -> Result<[u8; 32], PlaceError> {
    let path = place.checkpoint_key();
    match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| {
            let message = "is not a checkpoint key (32 bytes); restore it from a backup or remove it to draw a new one";
            PlaceError::Unusable(format!("{} {message}", path.display()))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => draw_checkpoint_key(&path),
        Err(error) => Err(unusable("read", &path, &error)),
    }
}

fn draw_checkpoint_key(path: &Path) -> Result<[u8; 32], PlaceError> {
    let mut seed = [0; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut seed)
        .map_err(|error| PlaceError::Unusable(format!("this machine gives no randomness: {error}")))?;
    let write = || {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(&seed)?;
        file.sync_all()
    };
    write().map_err(|error| unusable("write", path, &error))?;
    Ok(seed)
}

/// The operating-system user who runs this process, as an actor names him.
#[must_use]
pub fn os_user() -> String {
    let Some(uid) = uid() else {
        return format!("os:{}", std::env::var("USER").unwrap_or_else(|_| "unknown".to_string()));
    };
    os_user_of(uid)
}

/// The operating-system user of this id, as an actor names him.
#[must_use]
pub fn os_user_of(uid: u32) -> String {
    let name = std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|users| name_of(&users, uid));
    format!("os:{}", name.unwrap_or_else(|| uid.to_string()))
}

/// The user id, by the owner of our own entry in the process table; the standard library does not ask for it.
fn uid() -> Option<u32> {
    Some(std::fs::metadata("/proc/self").ok()?.uid())
}

fn name_of(users: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_string())
    })
}

/// A store of whichever kind.
enum Stored {
    /// A file, and the lock on it.
    Sqlite(Sqlite, Lock),
    /// A database that others use as well.
    Postgres(Postgres),
}

/// An open store with the issuer over it. If it is a file, it holds the lock.
pub struct Opened {
    /// Where the key that signs checkpoints is.
    place: Place,
    store: Stored,
    issuer: Issuer,
}

impl Opened {
    /// Opens the store of this place, and makes it if there is none.
    ///
    /// # Errors
    /// It is not ours, cannot be written, or cannot be read.
    pub async fn open(place: &Place, lock: Lock, issuing: Options) -> Result<Self, PlaceError> {
        let store = Sqlite::open(&place.file(), SqliteOptions::default()).await?;
        let issuer = issuer(Arc::new(store.clone()), issuing).await?;
        Ok(Self {
            place: place.clone(),
            store: Stored::Sqlite(store, lock),
            issuer,
        })
    }

    /// Opens the store in a database; `place` is where files of this machine go.
    ///
    /// # Errors
    /// It is not ours, cannot be reached, or cannot be read.
    pub async fn open_postgres(
        url: &str,
        place: &Place,
        options: PostgresOptions,
        issuing: Options,
    ) -> Result<Self, PlaceError> {
        let store = Postgres::open(url, options).await?;
        let issuer = issuer(Arc::new(store.clone()), issuing).await?;
        Ok(Self {
            place: place.clone(),
            store: Stored::Postgres(store),
            issuer,
        })
    }

    /// Whether there was nothing before.
    #[must_use]
    pub fn created(&self) -> bool {
        match &self.store {
            Stored::Sqlite(store, _) => store.was_created(),
            Stored::Postgres(store) => store.was_created(),
        }
    }

    /// What can be read.
    #[must_use]
    pub fn reads(&self) -> &dyn Reads {
        self.issuer.reads()
    }

    /// The seed of the key that signs checkpoints, drawn on first use.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn checkpoint_key(&self) -> Result<[u8; 32], PlaceError> {
        checkpoint_key(&self.place)
    }

    /// The store that has a fence, if it is one.
    #[must_use]
    pub fn fenced(&self) -> Option<Postgres> {
        match &self.store {
            Stored::Postgres(store) => Some(store.clone()),
            Stored::Sqlite(..) => None,
        }
    }

    /// Who issues from it.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Which file it is, if it is one; see [`Place::identity`].
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        match &self.store {
            Stored::Sqlite(..) => self.place.identity(),
            Stored::Postgres(_) => None,
        }
    }

    /// The lock, to say more in it, if there is one.
    pub fn lock_mut(&mut self) -> Option<&mut Lock> {
        match &mut self.store {
            Stored::Sqlite(_, lock) => Some(lock),
            Stored::Postgres(_) => None,
        }
    }

    /// The service over this store.
    ///
    /// # Errors
    /// There is no key for checkpoints and none can be made.
    pub fn app(&self, options: AppOptions) -> Result<App, PlaceError> {
        let is_here = matches!(self.store, Stored::Sqlite(..));
        // Beside a database there may be no directory of ours: then there are no checkpoints from here.
        let has_key = is_here || self.place.checkpoint_key().exists();
        let checkpoint_key = has_key.then(|| checkpoint_key(&self.place)).transpose()?;
        Ok(App::new(
            self.issuer.clone(),
            AppOptions {
                checkpoint_key,
                ..options
            },
        ))
    }

    /// Finishes what waits, and closes the files before the lock is let go.
    pub async fn close(self) {
        match self.store {
            Stored::Sqlite(store, lock) => {
                self.issuer.close().await;
                store.close().await;
                drop(lock);
            }
            // Whoever leaves a commit that is not confirmed says no goodbye: after a failover somebody has to look.
            Stored::Postgres(store) => match tokio::time::timeout(LETS_GO, self.issuer.close()).await {
                Ok(()) => store.close().await,
                Err(_) => tracing::warn!("a commit was left that is not confirmed; ask with the same key"),
            },
        }
    }
}

async fn issuer(store: Arc<dyn Store>, issuing: Options) -> Result<Issuer, PlaceError> {
    let options = Options {
        actor: Some(local_actor()?),
        ..issuing
    };
    let issuer = Issuer::with(store, options).await;
    issuer.map_err(|error| PlaceError::from(OpenError::Store(error)))
}

/// Who acts when nobody but this machine's user is there.
///
/// # Errors
/// The user's name is none that an actor can have.
pub fn local_actor() -> Result<Actor, PlaceError> {
    Actor::parse(&os_user()).map_err(|refusal| PlaceError::Unusable(refusal.message))
}

impl From<OpenError> for PlaceError {
    fn from(error: OpenError) -> Self {
        let message = error.to_string();
        match error {
            OpenError::NotOurs { .. } | OpenError::NotWritable { .. } | OpenError::LogAlone { .. } => {
                Self::Unusable(message)
            }
            OpenError::Newer { .. }
            | OpenError::TooOld { .. }
            | OpenError::Setting { .. }
            | OpenError::Store(StoreError::Corrupt(_)) => Self::Refused(message),
            OpenError::Store(_) => Self::Unavailable(message),
        }
    }
}

impl From<postgres::OpenError> for PlaceError {
    fn from(error: postgres::OpenError) -> Self {
        use postgres::OpenError;
        let message = error.to_string();
        match error {
            OpenError::Url(_) | OpenError::Unusable(_) => Self::Unusable(message),
            OpenError::Absent(_) => Self::Absent(message),
            OpenError::Newer(_) | OpenError::Setting(_) => Self::Refused(message),
            OpenError::Store(_) => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_says_by_whom() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::in_directory(directory.path());
        let mut lock = Lock::take(&place, &Holder::this("serve")).unwrap().unwrap();
        assert!(Lock::take(&place, &Holder::this("issue")).unwrap().is_none());
        let address = Some("http://127.0.0.1:1".to_string());
        lock.say(&Holder {
            address,
            ..Holder::this("serve")
        })
        .unwrap();
        let found = holder(&place).unwrap();
        assert_eq!(found.command, "serve");
        assert_eq!(found.address.as_deref(), Some("http://127.0.0.1:1"));
        drop(lock);
        assert!(Lock::take(&place, &Holder::this("issue")).unwrap().is_some());
    }

    fn place(database: &str) -> Place {
        Place {
            database: PathBuf::from(database),
        }
    }

    /// They were named without what stands behind the last dot, so that `orders.2025` and `orders.2026` were one.
    #[test]
    fn two_databases_of_one_directory_have_two_locks() {
        assert_eq!(place("orders.2025").lock(), PathBuf::from("orders.2025.lock"));
        assert_eq!(place("orders.2026").lock(), PathBuf::from("orders.2026.lock"));
        assert!(place("orders.2026").socket().ends_with("orders.2026.sock"));
        assert_eq!(place("a/seriatim.db").lock(), PathBuf::from("a/seriatim.lock"));
        assert_eq!(place("orders.db").directory(), Path::new("."));
    }

    #[test]
    fn a_link_to_a_database_has_the_lock_of_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("orders.db");
        let link = directory.path().join("link.db");
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink("orders.db", &link).unwrap();
        let (real, link) = (Place { database: real }, Place { database: link });
        assert_eq!(link.lock(), real.lock());
        assert_eq!(link.identity(), real.identity());
        assert_eq!(link.checkpoint_key(), real.checkpoint_key());
    }

    #[test]
    fn a_directory_is_no_database_and_gets_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let place = Place { database: inner };
        assert!(Lock::take(&place, &Holder::this("list")).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_socket_can_be_connected_to_from_any_directory() {
        let socket = place("seriatim-data/seriatim.db").socket();
        assert!(socket.is_absolute(), "{}", socket.display());
        let deep = format!("/{}/seriatim.db", "d".repeat(120));
        assert!(place(&deep).socket().as_os_str().len() <= SOCKET_PATH_MAX);
    }

    #[test]
    fn a_checkpoint_key_is_drawn_once() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::in_directory(directory.path());
        let first = checkpoint_key(&place).unwrap();
        assert_eq!(checkpoint_key(&place).unwrap(), first);
        std::fs::write(place.checkpoint_key(), "short").unwrap();
        assert!(checkpoint_key(&place).is_err());
    }

    #[test]
    fn a_user_is_named_by_the_password_file() {
        assert_eq!(
            name_of("root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/:", 1000).as_deref(),
            Some("ann")
        );
        assert_eq!(name_of("root:x:0:0:root:/root:/bin/sh", 7), None);
    }

    #[test]
    fn this_user_has_a_name() {
        assert!(os_user().starts_with("os:"));
    }
}
