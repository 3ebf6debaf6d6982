//! The database file by a handle of our own, so that it can be flushed apart from SQLite. All who have the file open in
//! this process share one handle: closing any handle drops every lock that the process holds on the file, SQLite's as
//! well, so it is closed only after the last connection.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which file it is, by whatever path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg(unix)]
struct Id(u64, u64);
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg(not(unix))]
struct Id(PathBuf);

impl Id {
    #[cfg(unix)]
    fn of(path: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(path)?;
        Ok(Self(metadata.dev(), metadata.ino()))
    }

    #[cfg(not(unix))]
    fn of(path: &Path) -> Result<Self, Error> {
        std::fs::canonicalize(path).map(Self)
    }
}

/// The open ones, each with how many hold it.
static OPEN: Mutex<BTreeMap<Id, (Arc<File>, usize)>> = Mutex::new(BTreeMap::new());

/// Whoever holds a connection holds this as well, and lets go of it later.
#[derive(Debug)]
pub(super) struct DataFile {
    id: Id,
}

impl DataFile {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut open = all();
        let id = Id::of(path)?;
        if let Some((_, holders)) = open.get_mut(&id) {
            *holders += 1;
        } else {
            let file = File::open(path)?;
            if Id::of(path)? != id {
                return Err(Error::other("it was replaced by another file just now; retry"));
            }
            open.insert(id.clone(), (Arc::new(file), 1));
        }
        Ok(Self { id })
    }

    /// Another holder of the same.
    pub(super) fn share(&self) -> Self {
        if let Some((_, holders)) = all().get_mut(&self.id) {
            *holders += 1;
        }
        Self { id: self.id.clone() }
    }

    /// Whether this path leads to the same file still.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        Id::of(path).is_ok_and(|id| id == self.id)
    }

    /// The first bytes of the file, as many as there are.
    pub(super) fn head(&self, bytes: u64) -> Result<Vec<u8>, Error> {
        let mut head = Vec::new();
        // Under the lock, for all holders share the handle's place in the file.
        if let Some((file, _)) = all().get(&self.id) {
            let mut file: &File = file;
            file.rewind()?;
            file.take(bytes).read_to_end(&mut head)?;
        }
        Ok(head)
    }

    /// Brings to the disk what was written to the file.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let file = all().get(&self.id).map(|(file, _)| file.clone());
        file.map_or(Ok(()), |file| file.sync_data())
    }
}

impl Drop for DataFile {
    fn drop(&mut self) {
        let mut open = all();
        if let Some((_, holders)) = open.get_mut(&self.id) {
            *holders -= 1;
            if *holders == 0 {
                // Closed here, so that nobody opens the file meanwhile and gets a lock that is dropped.
                open.remove(&self.id);
            }
        }
    }
}

/// Which of these files of a database is there and cannot be written, and why. Nobody asks while somebody in this
/// process has the database open: he could write, and a handle that is closed would drop his locks.
pub(super) fn unwritable<'a>(database: &Path, files: &'a [PathBuf]) -> Option<(&'a Path, Error)> {
    let open = all();
    if Id::of(database).is_ok_and(|id| open.contains_key(&id)) {
        return None;
    }
    files.iter().find_map(|path| {
        let error = File::options().write(true).open(path).err()?;
        (error.kind() != ErrorKind::NotFound).then_some((path.as_path(), error))
    })
}

fn all() -> MutexGuard<'static, BTreeMap<Id, (Arc<File>, usize)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::store::Reads as _;
    use crate::store::sqlite::{Sqlite, SqliteOptions};

    /// Whether this process holds a lock on the file.
    fn is_locked(path: &Path) -> bool {
        let file = format!(":{}", Id::of(path).unwrap().1);
        let process = std::process::id().to_string();
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let mut locks = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        locks.any(|lock| lock.contains(&process.as_str()) && lock.iter().any(|field| field.ends_with(&file)))
    }

    #[tokio::test]
    async fn a_handle_that_is_closed_drops_no_lock_of_another_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seriatim.db");
        let first = Sqlite::open(&path, SqliteOptions::default()).await.unwrap();
        let second = Sqlite::open(&path, SqliteOptions::default()).await.unwrap();
        assert!(is_locked(&path));
        drop(DataFile::open(&path).unwrap());
        assert!(second.series().await.unwrap().is_empty());
        second.close().await;
        drop(second);
        assert!(is_locked(&path));
        // What this module is there for: any handle would do, if it was closed too early.
        drop(File::open(&path).unwrap());
        assert!(!is_locked(&path));
        first.close().await;
    }

    #[test]
    fn the_head_is_read_again_from_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "SQLite format 3").unwrap();
        let (one, other) = (DataFile::open(&path).unwrap(), DataFile::open(&path).unwrap());
        assert_eq!(one.head(6).unwrap(), b"SQLite");
        assert_eq!(other.head(100).unwrap(), b"SQLite format 3");
        assert_eq!(one.flush().map_err(|error| error.to_string()), Ok(()));
        assert!(DataFile::open(&folder.path().join("nowhere")).is_err());
    }
}
