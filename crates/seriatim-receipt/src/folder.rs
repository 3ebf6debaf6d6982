//! The files of a template, read once. What is not in here does not exist for the template.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file that is compiled.
pub const MAIN: &str = "receipt.typ";
/// The data: while a receipt is made it is that receipt, whatever a file of this name in the folder says.
pub const DATA: &str = "receipt.json";

const BYTES_MAX: u64 = 8 << 20;
const FILES_MAX: usize = 256;
const DEPTH_MAX: usize = 8;

/// A template and what it includes: other `.typ` files, images. Held in memory, so a template reads no disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub(crate) path: PathBuf,
    /// By path within the folder, with `/`.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// Why a folder is no template.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("cannot read the receipt template {}: {source}", path.display())]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds what a template may not have.
    #[error("the receipt template {}: {problem}", path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Folder {
    /// The template that comes with Seriatim.
    pub fn builtin() -> Self {
        let main = include_bytes!("../templates/receipt.typ").to_vec();
        Self {
            path: PathBuf::from("(built in)"),
            files: BTreeMap::from([(MAIN.to_string(), main)]),
        }
    }

    /// Reads a folder with its `receipt.typ`. Files whose name begins with a dot are left out.
    ///
    /// Errors: it is not there, holds a symbolic link, is deeper than 8 folders, or larger than 256 files or 8 MiB.
    pub fn read(path: &Path) -> Result<Self, FolderError> {
        let mut folder = Self {
            path: path.to_path_buf(),
            files: BTreeMap::new(),
        };
        folder.collect(path, "", &mut 0, 0)?;
        if !folder.files.contains_key(MAIN) {
            return Err(refused(path, format!("has no file {MAIN}")));
        }
        Ok(folder)
    }

    fn collect(&mut self, directory: &Path, prefix: &str, bytes: &mut u64, depth: usize) -> Result<(), FolderError> {
        if depth > DEPTH_MAX {
            return Err(refused(directory, format!("is deeper than {DEPTH_MAX} folders")));
        }
        for entry in fs::read_dir(directory).map_err(|source| unreadable(directory, source))? {
            let entry = entry.map_err(|source| unreadable(directory, source))?;
            let path = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(refused(&path, "the name is not UTF-8".to_string()));
            };
            if name.starts_with('.') {
                continue;
            }
            let kind = entry.file_type().map_err(|source| unreadable(&path, source))?;
            let inner = format!("{prefix}{name}");
            if kind.is_dir() {
                self.collect(&path, &format!("{inner}/"), bytes, depth + 1)?;
            } else if kind.is_file() {
                self.add(&path, inner, bytes)?;
            } else {
                let problem = "is a symbolic link or a special file; a template is files and folders, copy it in";
                return Err(refused(&path, problem.to_string()));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, inner: String, bytes: &mut u64) -> Result<(), FolderError> {
        use std::io::Read;
        // Not followed: the entry may have become a link since it was looked at.
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|source| unreadable(path, source.into()))?;
        let mut content = Vec::new();
        let read = fs::File::from(file)
            .take(BYTES_MAX + 1)
            .read_to_end(&mut content)
            .map_err(|source| unreadable(path, source))?;
        *bytes += read as u64;
        self.files.insert(inner, content);
        if *bytes > BYTES_MAX || self.files.len() > FILES_MAX {
            let problem = format!("a template is at most {FILES_MAX} files and {} MiB", BYTES_MAX >> 20);
            return Err(refused(&self.path, problem));
        }
        Ok(())
    }
}

fn unreadable(path: &Path, source: io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn refused(path: &Path, problem: String) -> FolderError {
    FolderError::Refused {
        path: path.to_path_buf(),
        problem,
    }
}
