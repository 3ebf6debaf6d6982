//! Housekeeping beside the writer: carries the WAL over into the database while commits go on, and ends reads that
//! run too long. It must never know what is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ffi::SQLITE_IOERR_FSYNC;
use tracing::{info, warn};

use super::fault::Fault;
use super::open::{Place, open_keeper};
use super::readers::Readers;
use super::session::Session;

/// How often it looks for reads that run too long, and for a pause in which the WAL can be carried over.
const TICK: Duration = Duration::from_secs(1);

/// The writer's end; when it is dropped the keeper ends.
pub(super) struct Keeper {
    wake: SyncSender<()>,
    busy: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// How much of the WAL is where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wal {
    /// Pages in the WAL.
    pub(super) pages: u32,
    /// Of these, how many are in the database already.
    pub(super) carried: u32,
    /// Whether somebody else kept it from being carried over further.
    pub(super) hindered: bool,
}

impl Keeper {
    pub(super) fn start(place: Arc<Place>, readers: &Arc<Readers>) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let commits = Arc::new(AtomicU64::new(0));
        let keeping = Keeping {
            place,
            readers: Arc::downgrade(readers),
            busy: busy.clone(),
            commits: commits.clone(),
            commits_seen: 0,
            commits_carried: 0,
            session: None,
            failing: false,
        };
        let thread = std::thread::Builder::new().name("seriatim-keeper".to_string());
        let thread = thread.spawn(move || keeping.run(&woken))?;
        Ok(Self {
            wake,
            busy,
            commits,
            thread,
        })
    }

    /// Ends it, and waits until it has let go of the file.
    pub(super) fn stop(self) {
        drop(self.wake);
        // A panic in there was logged; there is nothing left to do for it.
        let _ = self.thread.join();
    }

    /// Tells it that there is something to carry over when nothing else happens.
    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Release);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Has the WAL carried over, without waiting for it.
    pub(super) fn carry_over(&self) {
        self.busy.store(true, Ordering::Release);
        // If one request waits already, it does for this one too.
        let _ = self.wake.try_send(());
    }
}

struct Keeping {
    place: Arc<Place>,
    readers: Weak<Readers>,
    busy: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    commits_seen: u64,
    commits_carried: u64,
    session: Option<Session>,
    /// Whether it failed the last time, so that a full disk is logged once and not after every batch.
    failing: bool,
}

impl Keeping {
    fn run(mut self, woken: &Receiver<()>) {
        loop {
            match woken.recv_timeout(TICK) {
                Ok(()) => {
                    self.carry_over();
                    self.busy.store(false, Ordering::Release);
                }
                Err(RecvTimeoutError::Timeout) => self.use_pause(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(readers) = self.readers.upgrade() {
                readers.end_older_than(self.place.options.read_time_max);
            }
        }
    }

    /// A pause is a tick without a commit. Carrying over then keeps the WAL of a store with little to do small, and
    /// the next start after a crash short.
    fn use_pause(&mut self) {
        let commits = self.commits.load(Ordering::Acquire);
        let paused = commits == std::mem::replace(&mut self.commits_seen, commits);
        if paused && commits != self.commits_carried {
            self.carry_over();
            self.commits_carried = commits;
        }
    }

    fn carry_over(&mut self) {
        let carried = self.session().and_then(carry_and_flush);
        let was_failing = std::mem::replace(&mut self.failing, carried.is_err());
        let path = self.place.path.display();
        match carried {
            Ok(()) if was_failing => info!(%path, "the WAL is carried over into the database again"),
            Ok(()) => {}
            Err(fault) => {
                // Nothing is lost: the WAL grows until it works again. A connection that failed is not used again.
                self.session = None;
                if !was_failing {
                    let error = self.place.error("carry over the WAL of", fault);
                    warn!(%path, %error, "the WAL grows until it can be carried over");
                }
            }
        }
    }

    fn session(&mut self) -> Result<&Session, Fault> {
        match &mut self.session {
            Some(session) => Ok(session),
            none @ None => Ok(none.insert(open_keeper(&self.place)?)),
        }
    }
}

/// SQLite flushes the database only when nothing of the WAL is left to carry over. Under load that is the writer's turn,
/// and everybody would wait while it flushes all that was carried over here: so the bulk is flushed before.
fn carry_and_flush(session: &Session) -> Result<(), Fault> {
    checkpoint(&session.conn, "passive")?;
    session
        .file
        .flush()
        .map_err(|error| Fault::of_file(SQLITE_IOERR_FSYNC, &error))
}

/// Runs a checkpoint; `noop` only looks.
pub(super) fn checkpoint(conn: &Connection, mode: &'static str) -> Result<Wal, Fault> {
    let sql = match mode {
        "noop" => "pragma wal_checkpoint(noop)",
        "truncate" => "pragma wal_checkpoint(truncate)",
        _ => "pragma wal_checkpoint(passive)",
    };
    let wal = conn.prepare_cached(sql)?.query_row([], |row| {
        // Minus one where there is no WAL yet.
        let pages = |i| Ok::<_, rusqlite::Error>(u32::try_from(row.get::<_, i64>(i)?).unwrap_or(0));
        Ok(Wal {
            hindered: row.get::<_, i64>(0)? != 0,
            pages: pages(1)?,
            carried: pages(2)?,
        })
    })?;
    Ok(wal)
}
