//! Housekeeping beside the writer: carries the WAL over into the database while commits go on, and ends reads that
//! run too long. It must never know what is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ffi::SQLITE_IOERR_FSYNC;
use tracing::{info, warn};

use super::fault::Fault;
use super::open::{PAGE_BYTES, Place, open_keeper};
use super::readers::Readers;
use super::session::Session;

/// How often it looks for reads that run too long, and for a pause in which the WAL can be carried over.
const TICK: Duration = Duration::from_secs(1);
/// What was removed stays in the WAL until a pause, but no longer than so many ticks if none comes.
const SCRUB_AWAITED: u32 = 10;
/// A WAL this many times its size is emptied between two reads, for which those that would begin are held back.
pub(super) const WAL_OUTGROWN: u32 = 4;
/// How long reads under way are waited for then; each time that it was not enough, twice as long.
const READS_AWAITED: Duration = Duration::from_secs(1);

/// The writer's end; when it is dropped the keeper ends.
pub(super) struct Keeper {
    wake: SyncSender<()>,
    busy: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    scrub: Arc<AtomicBool>,
    emptying: Arc<Mutex<()>>,
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
        let scrub = Arc::new(AtomicBool::new(false));
        let emptying = Arc::new(Mutex::new(()));
        let keeping = Keeping {
            place,
            readers: Arc::downgrade(readers),
            busy: busy.clone(),
            commits: commits.clone(),
            commits_seen: 0,
            commits_carried: 0,
            scrub: scrub.clone(),
            emptying: emptying.clone(),
            scrub_awaited: 0,
            reads_awaited: READS_AWAITED,
            outgrown_at: 0,
            session: None,
            failing: false,
        };
        let thread = std::thread::Builder::new().name("seriatim-keeper".to_string());
        let thread = thread.spawn(move || keeping.run(&woken))?;
        Ok(Self {
            wake,
            busy,
            commits,
            scrub,
            emptying,
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

    /// Tells it that something was removed that must not linger in the WAL.
    pub(super) fn scrub(&self) {
        self.scrub.store(true, Ordering::Release);
    }

    /// Whoever writes holds this, and waits while the WAL is emptied instead of finding the database locked.
    pub(super) fn emptying(&self) -> Arc<Mutex<()>> {
        self.emptying.clone()
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
    scrub: Arc<AtomicBool>,
    emptying: Arc<Mutex<()>>,
    scrub_awaited: u32,
    /// How long reads are waited for when the WAL has outgrown its size, and how large it is then.
    reads_awaited: Duration,
    outgrown_at: u32,
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
        if self.scrub.load(Ordering::Acquire) {
            return self.scrub_wal(paused);
        }
        if paused && commits != self.commits_carried {
            self.carry_over();
            self.commits_carried = commits;
        }
    }

    /// What was removed is gone from the WAL only when nothing is left in it.
    fn scrub_wal(&mut self, paused: bool) {
        self.scrub_awaited += 1;
        if !paused && self.scrub_awaited < SCRUB_AWAITED {
            return;
        }
        // Before it is emptied: what is removed meanwhile has a turn of its own.
        self.scrub.store(false, Ordering::Release);
        let emptying = self.emptying.clone();
        let emptied = self.session().and_then(|session| empty(session, &emptying));
        if emptied.as_ref().is_ok_and(|emptied| *emptied) {
            self.scrub_awaited = 0;
        } else {
            self.scrub.store(true, Ordering::Release);
        }
        self.note(emptied.map(|_| ()));
    }

    fn carry_over(&mut self) {
        let carried = self.session().and_then(carry_and_flush);
        if let (Ok(wal), Some(readers)) = (&carried, self.readers.upgrade()) {
            let wal = *wal;
            if let Err(fault) = self.empty_outgrown(wal, &readers) {
                return self.note(Err(fault));
            }
        }
        self.note(carried.map(|_| ()));
    }

    /// Reads that overlap keep the WAL from starting over, however short each of them is.
    fn empty_outgrown(&mut self, wal: Wal, readers: &Readers) -> Result<(), Fault> {
        let size_max = self.place.options.wal_kib.saturating_mul(1024) / PAGE_BYTES;
        let outgrown = size_max.saturating_mul(WAL_OUTGROWN);
        if wal.pages < outgrown.max(self.outgrown_at) {
            return Ok(());
        }
        let patience = self.reads_awaited.min(self.place.options.read_time_max);
        let emptying = self.emptying.clone();
        let session = self.session()?;
        let emptied = readers
            .between_reads(patience, || empty(session, &emptying))
            .transpose()?;
        if emptied == Some(true) {
            (self.reads_awaited, self.outgrown_at) = (READS_AWAITED, 0);
        } else {
            // Somebody else reads, or a read takes long: not again at once, for others wait meanwhile.
            (self.reads_awaited, self.outgrown_at) = (patience * 2, wal.pages.saturating_add(wal.pages / 4));
        }
        Ok(())
    }

    fn note(&mut self, carried: Result<(), Fault>) {
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
fn carry_and_flush(session: &Session) -> Result<Wal, Fault> {
    let wal = checkpoint(&session.conn, "passive")?;
    session
        .file
        .flush()
        .map_err(|error| Fault::of_file(SQLITE_IOERR_FSYNC, &error))?;
    Ok(wal)
}

/// Carries everything over and leaves an empty WAL; says whether nobody was in the way. The bulk is carried over first,
/// while commits go on.
fn empty(session: &Session, emptying: &Mutex<()>) -> Result<bool, Fault> {
    carry_and_flush(session)?;
    let _writer_waits = emptying.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(!checkpoint(&session.conn, "truncate")?.hindered)
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
