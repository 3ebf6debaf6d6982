//! The witness: a signed checkpoint outside of the store, written while the server runs and compared when it starts.
//!
//! A database that was set back on its own timeline looks whole from the inside. Whoever kept what it knew sees that
//! it has less. This module must never know a rule.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seriatim::checkpoint::{self, Checkpoint};
use seriatim::store::postgres::Postgres;
use seriatim::verify::compare;
use seriatim::{Clock, Issuer, Reads, StoreError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::open::{Opened, PlaceError};
use crate::telemetry;

/// Who keeps checkpoints of one store.
pub struct Witness {
    path: PathBuf,
    every: Duration,
    signing_key: [u8; 32],
    /// What was written last.
    last: Checkpoint,
    /// When an operator had opened the fence last, when the store had all that was written.
    decided_at: i64,
    /// Whether there was no file before.
    pub is_new: bool,
}

/// A witness at work.
pub struct Keeping {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Compares what it kept with the store, and writes down how the store is now. If the store has less, its fence is
    /// closed.
    ///
    /// # Errors
    /// `Behind`: the store lacks what was there before. `Unusable`: the file is not a checkpoint of this service, or
    /// cannot be written. `Unavailable`: the store cannot be read.
    pub async fn begin(
        place: &str,
        every: Duration,
        signing_key: [u8; 32],
        opened: &Opened,
    ) -> Result<Self, PlaceError> {
        let path = Self::path_of(place)?;
        let reads = opened.reads();
        let kept = read(&path)?;
        let is_ours = |kept: &Checkpoint| kept.public_key == checkpoint::public_key(&signing_key);
        let decided_at = decided_at(opened.fenced().as_ref()).await?;
        // Whoever signed it: a restored backup has a new key, and lacks what this file knows.
        if let Some(kept) = &kept
            && let Some(lacking) = lacking(reads, kept).await?
        {
            if is_ours(kept) && decided_at > kept.at.as_micros() {
                set_aside(&path, &lacking).map_err(PlaceError::Unusable)?;
                return Box::pin(Self::begin(place, every, signing_key, opened)).await;
            }
            let why = accusation(&path, kept, &reads.describe(), &lacking);
            // A file of another service stops this node, and not the others.
            let fenced = opened.fenced().filter(|_| is_ours(kept));
            close_fence(fenced.as_ref(), &why).await;
            return Err(PlaceError::Behind(format!(
                "{why}; {}",
                way_out(&path, opened.fenced().is_some(), fenced.is_some())
            )));
        }
        if kept.as_ref().is_some_and(|kept| !is_ours(kept)) {
            return Err(PlaceError::Unusable(format!(
                "the witness {} was signed by another key than the checkpoint.key of this data directory: it is \
                 another service's, or the key was lost; put the key back. The store has all that it knows: if the \
                 key is gone, keep this file and name another with --witness",
                path.display()
            )));
        }
        let last = checkpoint::take(reads, &signing_key, opened.issuer().clock().now())
            .await
            .map_err(unavailable)?;
        write(&path, &last)
            .map_err(|error| PlaceError::Unusable(format!("cannot write the witness {}: {error}", path.display())))?;
        Ok(Self {
            path,
            every,
            signing_key,
            last,
            decided_at,
            is_new: kept.is_none(),
        })
    }

    /// The file that a place means.
    ///
    /// # Errors
    /// `Unusable`: it is not written as a place.
    pub fn path_of(place: &str) -> Result<PathBuf, PlaceError> {
        match place.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
            _ => Err(PlaceError::Unusable(format!(
                "witness = `{place}` is not known; write it like file:/var/lib/seriatim/witness.json"
            ))),
        }
    }

    /// Whether the store had no number in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last.counters.is_empty()
    }

    /// Goes on until it is told to end.
    #[must_use]
    pub fn keep(mut self, issuer: Issuer, fenced: Option<Postgres>) -> Keeping {
        let (stop, mut stopped) = oneshot::channel();
        telemetry::witness(true);
        let task = tokio::spawn(async move {
            loop {
                let is_last = tokio::time::timeout(self.every, &mut stopped).await.is_ok();
                let looked = self.look(issuer.reads(), issuer.clock(), fenced.as_ref()).await;
                telemetry::witness(looked.is_ok());
                if let Err(error) = looked {
                    tracing::error!(witness = %self.path.display(), error, "the witness could not be written");
                }
                if is_last {
                    return;
                }
            }
        });
        Keeping { stop, task }
    }

    /// Writes down how the store is now, unless it lacks what was there before: that is kept as evidence.
    async fn look(&mut self, reads: &dyn Reads, clock: &dyn Clock, fenced: Option<&Postgres>) -> Result<(), String> {
        let said = |error: PlaceError| error.to_string();
        let mut decided = decided_at(fenced).await.map_err(said)?;
        // Before it is compared: what the store loses in between is found now, and what it loses later next time.
        let now = checkpoint::take(reads, &self.signing_key, clock.now())
            .await
            .map_err(|error| error.to_string())?;
        if let Some(lacking) = lacking(reads, &self.last).await.map_err(said)? {
            decided = decided_at(fenced).await.map_err(said)?;
            if decided <= self.decided_at {
                let why = accusation(&self.path, &self.last, &reads.describe(), &lacking);
                close_fence(fenced, &why).await;
                return Err(why);
            }
            // An operator has looked and opened the fence: what was lost before that is his matter now.
            set_aside(&self.path, &lacking)?;
        }
        if now.definitions == self.last.definitions
            && now.counters == self.last.counters
            && now.gates == self.last.gates
        {
            self.decided_at = decided;
            return Ok(());
        }
        let (path, kept) = (self.path.clone(), now.clone());
        let written = tokio::task::spawn_blocking(move || write(&path, &kept)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        // Only now: until it is written, what is lacking is what an operator has decided about.
        (self.last, self.decided_at) = (now, decided);
        Ok(())
    }
}

impl Keeping {
    /// Looks once more, and ends.
    pub async fn end(self) {
        // An error means that it has ended already.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// What was kept, if there is anything.
fn read(path: &Path) -> Result<Option<Checkpoint>, PlaceError> {
    let unusable = |what: String| {
        let path = path.display();
        PlaceError::Unusable(format!("the witness {path} {what}; name another file with --witness"))
    };
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| unusable(format!("cannot be read: {error}")))?,
    };
    let kept = Checkpoint::parse(&text).map_err(|error| unusable(format!("cannot be used: {error}")))?;
    Ok(Some(kept))
}

/// Whole or not at all, and there after a power loss.
fn write(path: &Path, checkpoint: &Checkpoint) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(name);
    // Left over from a process of the same id that was cut off.
    let _ = std::fs::remove_file(&beside);
    // It names tenants and how much each one issues.
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(checkpoint.to_json().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// What the store lacks, in words; nothing if it has everything.
async fn lacking(reads: &dyn Reads, kept: &Checkpoint) -> Result<Option<String>, PlaceError> {
    // Also at the events: a chain that was set back may have outgrown what it was.
    let findings = compare(reads, kept).await.map_err(unavailable)?;
    let Some(first) = findings.first() else {
        return Ok(None);
    };
    let more = match findings.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    Ok(Some(format!("{}: {}{more}", first.place, first.message)))
}

/// When an operator opened the fence last; 0 if nobody did, or there is none.
async fn decided_at(fenced: Option<&Postgres>) -> Result<i64, PlaceError> {
    let Some(store) = fenced else { return Ok(0) };
    Ok(store.fence().await.map_err(unavailable)?.decided_at)
}

/// Keeps the evidence beside a file that begins anew.
fn set_aside(path: &Path, lacking: &str) -> Result<(), String> {
    let aside = (1..)
        .map(|count| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".before-{count}"));
            PathBuf::from(name)
        })
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.to_path_buf());
    match std::fs::rename(path, &aside) {
        // It was set aside before, and could not be written since.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let (path, aside) = (path.display(), aside.display());
            return Err(format!("cannot keep the witness {path} as {aside}: {error}"));
        }
        Ok(()) => {}
    }
    tracing::warn!(
        kept = %aside.display(), lacking,
        "an operator has opened the fence since the witness was written; it begins anew, and the old one is kept"
    );
    Ok(())
}

fn accusation(path: &Path, kept: &Checkpoint, store: &str, lacking: &str) -> String {
    let path = path.display();
    format!(
        "the witness {path} of {} knows what is not in {store} any more: {lacking}; this is a restored backup, or \
         another database, and numbers that were handed out are missing",
        kept.at
    )
}

fn way_out(path: &Path, has_fence: bool, goes_on: bool) -> String {
    let path = path.display();
    let open = if has_fence { "`seriatim fence open --yes`, " } else { "" };
    let start = if goes_on {
        "start again"
    } else {
        "start with another --witness file"
    };
    format!(
        "nothing is issued: look with `seriatim verify --checkpoint {path}`, pass over what was handed out with {open}\
         `seriatim advance`, and {start}"
    )
}

async fn close_fence(fenced: Option<&Postgres>, why: &str) {
    let Some(store) = fenced else { return };
    if let Err(error) = store.close_fence(why).await {
        tracing::error!(%error, "the fence could not be closed: other nodes may issue");
    }
}

fn unavailable(error: StoreError) -> PlaceError {
    PlaceError::Unavailable(error.to_string())
}
