//! Receipts on disk, each written once: `{gate}/{token}.pdf`. It knows no gate and no number; what is referenced is said
//! by the caller.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest, Sha256};

/// A directory of receipts.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

/// A file that is there for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Within the directory: `gat_1f/7.pdf`.
    pub path: String,
    /// Of the bytes, in hexadecimal.
    pub sha256: String,
}

/// Why a file was not kept, read or swept.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is a file of this name. It stays as it is.
    #[error("receipt {path} is there already in {}, and is never overwritten", directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// Within the directory.
        path: String,
    },
    /// A gate's id is made of `a-z`, `0-9` and `_`, at most 64 of them.
    #[error("{0:?} is no id of a gate; nothing was written")]
    Name(String),
    /// The bytes are not those that were kept.
    #[error("receipt {path} in {} was changed: its SHA-256 is {found}", directory.display())]
    Changed {
        /// The directory.
        directory: PathBuf,
        /// Within the directory.
        path: String,
        /// Of what is there now.
        found: String,
    },
    /// The directory is full, read-only, gone …
    #[error("cannot {doing} in the receipts directory {}: {source}", directory.display())]
    Io {
        /// The directory.
        directory: PathBuf,
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Files {
    /// Opens the directory, makes it if it is not there, and writes a file to see that it can.
    ///
    /// Errors: it is full, read-only, or no directory.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, FilesError> {
        let files = Self {
            directory: directory.into(),
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&files.directory);
        made.map_err(|source| files.io("make a folder", source))?;
        let probe = files.directory.join(temp_name("probe"));
        let tried = write_new(&probe, b"%PDF").and_then(|()| fs::remove_file(&probe));
        if tried.is_err() {
            let _ = fs::remove_file(&probe);
        }
        tried.map_err(|source| files.io("write", source))?;
        Ok(files)
    }

    /// Writes a receipt: whole and flushed under its name, or not at all.
    ///
    /// Errors: there is one of this gate and token already; the directory is full or read-only; no id of a gate.
    pub fn keep(&self, gate: &str, token: u64, bytes: &[u8]) -> Result<Kept, FilesError> {
        if !is_gate(gate) {
            return Err(FilesError::Name(gate.to_string()));
        }
        let path = format!("{gate}/{token}.pdf");
        let folder = self.directory.join(gate);
        self.make_folder(&folder)?;
        let temp = folder.join(temp_name(&token.to_string()));
        let written = write_new(&temp, bytes)
            // Never in place of another: who comes second is told.
            .and_then(|()| {
                Ok(renameat_with(
                    CWD,
                    &temp,
                    CWD,
                    self.directory.join(&path),
                    RenameFlags::NOREPLACE,
                )?)
            });
        if let Err(source) = written {
            let _ = fs::remove_file(&temp);
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => self.taken(path),
                _ => self.io(&format!("write {path}"), source),
            });
        }
        sync(&folder).map_err(|source| self.io(&format!("flush {path}"), source))?;
        Ok(Kept {
            path,
            sha256: sha256(bytes),
        })
    }

    /// The bytes of a kept receipt.
    ///
    /// Errors: they are not those that were kept; the file is gone.
    pub fn read(&self, kept: &Kept) -> Result<Vec<u8>, FilesError> {
        if !is_path(&kept.path) {
            return Err(FilesError::Name(kept.path.clone()));
        }
        let read = fs::read(self.directory.join(&kept.path));
        let bytes = read.map_err(|source| self.io(&format!("read {}", kept.path), source))?;
        let found = sha256(&bytes);
        if found == kept.sha256 {
            return Ok(bytes);
        }
        Err(FilesError::Changed {
            directory: self.directory.clone(),
            path: kept.path.clone(),
            found,
        })
    }

    /// Removes one receipt, whether or not something refers to it; one that is gone already is no error.
    ///
    /// Errors: the directory cannot be written; no path of a receipt.
    pub fn remove(&self, path: &str) -> Result<(), FilesError> {
        if !is_path(path) {
            return Err(FilesError::Name(path.to_string()));
        }
        let file = self.directory.join(path);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.io(&format!("remove {path}"), source)),
            Err(_) => Ok(()),
            Ok(()) => {
                let folder = file.parent().unwrap_or(&self.directory);
                sync(folder).map_err(|source| self.io(&format!("flush {path}"), source))
            }
        }
    }

    /// Removes receipts that nothing refers to and that were last written before `before`, and what a killed writer left
    /// behind. A young file may be referred to in a moment. Gives the paths that are gone; files of other names stay.
    ///
    /// Errors: the directory cannot be read or written; what is gone by then is gone.
    pub fn sweep(&self, referenced: &BTreeSet<String>, before: SystemTime) -> Result<Vec<String>, FilesError> {
        let swept = self.candidates().and_then(|paths| {
            let mut gone = Vec::new();
            for path in paths {
                let file = self.directory.join(&path);
                let is_old = match fs::symlink_metadata(&file) {
                    Ok(found) => found.is_file() && found.modified()? < before,
                    // Another sweeper was here.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                    Err(error) => return Err(error),
                };
                if is_old && !referenced.contains(&path) {
                    fs::remove_file(&file)?;
                    gone.push(path);
                }
            }
            Ok(gone)
        });
        swept.map_err(|source| self.io("sweep", source))
    }

    fn candidates(&self) -> io::Result<Vec<String>> {
        let mut paths = Vec::new();
        for folder in fs::read_dir(&self.directory)? {
            let folder = folder?;
            let name = folder.file_name();
            let Some(gate) = name.to_str().filter(|name| is_gate(name)) else {
                continue;
            };
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let name = file?.file_name();
                let path = name.to_str().map(|name| format!("{gate}/{name}"));
                paths.extend(path.filter(|path| is_path(path) || is_temp(path)));
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn make_folder(&self, folder: &Path) -> Result<(), FilesError> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => sync(&self.directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| self.io("make a folder", source))
    }

    fn taken(&self, path: String) -> FilesError {
        FilesError::Taken {
            directory: self.directory.clone(),
            path,
        }
    }

    fn io(&self, doing: &str, source: io::Error) -> FilesError {
        FilesError::Io {
            directory: self.directory.clone(),
            doing: doing.to_string(),
            source,
        }
    }
}

fn is_gate(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// `gat_1f/7.pdf`, and no other way to write it.
fn is_path(path: &str) -> bool {
    path.split_once('/').is_some_and(|(gate, file)| {
        let token = file.strip_suffix(".pdf").and_then(|token| token.parse::<u64>().ok());
        is_gate(gate) && token.is_some_and(|token| format!("{token}.pdf") == file)
    })
}

fn is_temp(path: &str) -> bool {
    path.split_once('/')
        .is_some_and(|(_, file)| file.starts_with('.') && file.ends_with(".tmp"))
}

/// Unlike any other of this process and of others that are alive.
fn temp_name(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".{what}-{}-{count}.tmp", std::process::id())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
