//! The one thread that flushes the WAL. An answer leaves it only when all that was committed before it is on the disk;
//! meanwhile the writer goes on with the next batch, and one flush serves whatever was committed when it began.
//! It must never know what was committed.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::error;

use super::open::Place;
use crate::store::StoreError;

/// How long a read waits for the flush of what it saw: as long as a caller would at most.
const FLUSH_AWAITED: Duration = Duration::from_secs(3);

/// How far commits are on the disk. A commit can be read before it is flushed, so whoever read waits here before he
/// tells: what a power loss takes back must not have been told to anybody.
#[derive(Default)]
pub(super) struct Durable {
    commits: Mutex<Commits>,
    flushed: Condvar,
}

#[derive(Default)]
struct Commits {
    made: u64,
    flushed: u64,
}

impl Durable {
    /// The writer is about to commit; the count that a flush must reach.
    pub(super) fn count_commit(&self) -> u64 {
        let mut commits = self.commits();
        commits.made += 1;
        commits.made
    }

    /// That commit failed, so nobody reads it before the database was opened anew.
    pub(super) fn uncount_commit(&self) {
        self.commits().made -= 1;
        self.flushed.notify_all();
    }

    /// How many commits there are.
    pub(super) fn made(&self) -> u64 {
        self.commits().made
    }

    /// All of the WAL was carried over into the database and that was flushed.
    pub(super) fn reach_all(&self) {
        let made = self.made();
        self.reach(made);
    }

    fn reach(&self, count: u64) {
        let mut commits = self.commits();
        commits.flushed = commits.flushed.max(count);
        self.flushed.notify_all();
    }

    fn has_reached(&self, count: u64) -> bool {
        self.commits().flushed >= count
    }

    /// Waits until everything that could be read up to now is flushed.
    pub(super) fn check(&self, place: &Place) -> Result<(), StoreError> {
        let commits = self.commits();
        let made = commits.made;
        // One that failed meanwhile is not waited for.
        let is_due = |commits: &Commits| commits.flushed < made.min(commits.made);
        let waited = self
            .flushed
            .wait_timeout_while(commits, FLUSH_AWAITED, |commits| is_due(commits));
        if !is_due(&waited.unwrap_or_else(PoisonError::into_inner).0) {
            return Ok(());
        }
        let path = place.path.display();
        Err(StoreError::Unavailable(format!(
            "cannot tell what was read from {path}: it is not flushed yet; retry"
        )))
    }

    fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The WAL of one connection of the writer, by a handle of its own. Closing it drops no lock of SQLite's: those are on
/// other files.
pub(super) struct WalFile {
    file: File,
    /// After a failed flush the kernel may have dropped what it could not write and report success the next time, so
    /// nothing that went through this connection is answered any more.
    failed: AtomicBool,
}

impl WalFile {
    pub(super) fn open(place: &Place) -> std::io::Result<Self> {
        let path = place.beside("-wal");
        #[cfg(test)]
        let path = if tests::flush_fails(place) {
            "/dev/null".into()
        } else {
            path
        };
        Ok(Self {
            file: File::open(path)?,
            failed: AtomicBool::new(false),
        })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}

/// What is told after a flush: that it was, or that nobody knows.
pub(super) type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

struct Flush {
    wal: Arc<WalFile>,
    count: u64,
    tell: Tell,
}

/// The writer's end; the thread ends when it is dropped and all that waits was told.
pub(super) struct Flusher {
    flushes: Sender<Flush>,
    thread: JoinHandle<()>,
}

impl Flusher {
    pub(super) fn start(place: Arc<Place>, durable: Arc<Durable>) -> std::io::Result<Self> {
        let (flushes, waiting) = channel();
        let thread = std::thread::Builder::new().name("seriatim-flusher".to_string());
        let flushing = Flushing { place, durable };
        let thread = thread.spawn(move || flushing.run(&waiting))?;
        Ok(Self { flushes, thread })
    }

    /// Has it told once that many commits are on the disk.
    pub(super) fn tell_after(&self, wal: &Arc<WalFile>, count: u64, tell: Tell) {
        let flush = Flush {
            wal: wal.clone(),
            count,
            tell,
        };
        if let Err(gone) = self.flushes.send(flush) {
            (gone.0.tell)(Err(StoreError::Unknown(
                "committed, but the thread that flushes is gone".to_string(),
            )));
        }
    }

    /// Ends it, and waits until everybody is told.
    pub(super) fn stop(self) {
        drop(self.flushes);
        // A panic in there was logged; there is nothing left to do for it.
        let _ = self.thread.join();
    }
}

struct Flushing {
    place: Arc<Place>,
    durable: Arc<Durable>,
}

impl Flushing {
    fn run(&self, waiting: &Receiver<Flush>) {
        let mut due: Vec<Flush> = Vec::new();
        while let Ok(first) = waiting.recv() {
            due.push(first);
            due.extend(waiting.try_iter());
            // From the latest on: one flush of a WAL serves all that came before.
            let mut told: Vec<(Tell, Result<(), StoreError>)> = Vec::with_capacity(due.len());
            for flush in due.drain(..).rev() {
                let outcome = self.flush(&flush.wal, flush.count);
                told.push((flush.tell, outcome));
            }
            for (tell, outcome) in told.into_iter().rev() {
                tell(outcome);
            }
        }
    }

    fn flush(&self, wal: &WalFile, count: u64) -> Result<(), StoreError> {
        let path = self.place.path.display();
        if wal.has_failed() {
            return Err(StoreError::Unknown(format!(
                "a flush before this one failed for {path}"
            )));
        }
        if self.durable.has_reached(count) {
            return Ok(());
        }
        wal.file.sync_data().map_err(|error| {
            wal.failed.store(true, Ordering::Release);
            error!(%path, %error, "a flush failed; the database is opened anew");
            StoreError::Unknown(format!("cannot flush {path}: {error}"))
        })?;
        self.durable.reach(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;

    use seriatim_core::{
        Access, Actor, Command, Footprint, Request, Series, SeriesName, SeriesSpec, Timestamp, decide_all,
    };

    use super::*;
    use crate::BundledZones;
    use crate::store::sqlite::{Sqlite, SqliteOptions};
    use crate::store::{BatchId, Decide, Reads as _, Store as _};

    const BATCH: BatchId = BatchId {
        node: 1,
        lane: 0,
        batch: 1,
    };

    /// `/dev/null` is written to by nobody and cannot be flushed: the kernel refuses.
    pub(super) fn flush_fails(place: &Place) -> bool {
        marker(&place.path).exists()
    }

    fn marker(database: &std::path::Path) -> PathBuf {
        database.with_extension("flush-fails")
    }

    fn define(name: &str) -> (Footprint, Decide) {
        let spec = SeriesSpec {
            format: "{seq}".into(),
            ..SeriesSpec::default()
        };
        let series = Series::define(SeriesName::parse(name).unwrap(), &spec, &BundledZones).unwrap();
        let request = Request {
            actor: Actor::parse("os:ann").unwrap(),
            on_behalf_of: None,
            access: Access::full(),
            rehearsal: false,
            command: Command::Define {
                series: Box::new(series),
                if_version: None,
            },
        };
        let now = Timestamp::from_micros(1_774_958_400_000_000);
        let footprint = Footprint::of([&request], &|_| None, now);
        (footprint, Arc::new(move |held| decide_all(held, [&request], now)))
    }

    fn place(folder: &tempfile::TempDir) -> Arc<Place> {
        Arc::new(Place::new(folder.path().join("seriatim.db"), SqliteOptions::default()))
    }

    /// What is told of so many commits of one WAL, in order.
    fn told(flusher: &Flusher, wal: &Arc<WalFile>, counts: &[u64]) -> Vec<Result<(), StoreError>> {
        let (tell, heard) = mpsc::channel();
        for count in counts {
            let tell = tell.clone();
            flusher.tell_after(wal, *count, Box::new(move |outcome| tell.send(outcome).unwrap()));
        }
        counts.iter().map(|_| heard.recv().unwrap()).collect()
    }

    #[test]
    fn what_was_read_before_its_flush_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let durable = Durable::default();
        assert_eq!(durable.check(&place), Ok(()));
        let count = durable.count_commit();
        assert!(matches!(durable.check(&place), Err(StoreError::Unavailable(_))));
        durable.reach(count);
        assert_eq!(durable.check(&place), Ok(()));
    }

    #[test]
    fn a_commit_that_failed_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let durable = Arc::new(Durable::default());
        durable.count_commit();
        let reader = std::thread::spawn({
            let durable = durable.clone();
            move || durable.check(&place)
        });
        durable.uncount_commit();
        assert_eq!(reader.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_read_waits_for_the_flush_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let durable = Arc::new(Durable::default());
        let count = durable.count_commit();
        let reader = std::thread::spawn({
            let durable = durable.clone();
            move || durable.check(&place)
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!reader.is_finished());
        durable.reach(count);
        assert_eq!(reader.join().unwrap(), Ok(()));
    }

    #[test]
    fn after_a_failed_flush_nothing_of_that_connection_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let durable = Arc::new(Durable::default());
        let flusher = Flusher::start(place.clone(), durable.clone()).unwrap();
        std::fs::write(folder.path().join("seriatim.db-wal"), "").unwrap();
        let good = Arc::new(WalFile::open(&place).unwrap());
        std::fs::write(marker(&place.path), "").unwrap();
        let bad = Arc::new(WalFile::open(&place).unwrap());

        durable.count_commit();
        assert_eq!(told(&flusher, &good, &[1]), [Ok(())]);
        durable.count_commit();
        durable.count_commit();
        let outcomes = told(&flusher, &bad, &[2, 3]);
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Err(StoreError::Unknown(_)))),
            "{outcomes:?}"
        );
        // Also what a later flush, or the recovery, has reached since.
        durable.reach_all();
        assert!(matches!(told(&flusher, &bad, &[3])[..], [Err(StoreError::Unknown(_))]));
        assert!(bad.has_failed() && !good.has_failed());
        flusher.stop();
    }

    #[tokio::test]
    async fn a_flush_that_fails_makes_the_batch_unknown_until_the_store_has_looked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seriatim.db");
        std::fs::write(marker(&path), "").unwrap();
        let store = Sqlite::open(&path, SqliteOptions::default()).await.unwrap();
        let (footprint, decide) = define("invoice");
        let outcome = store.transact(BATCH, footprint, decide).await;
        assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{outcome:?}");

        std::fs::remove_file(marker(&path)).unwrap();
        assert_eq!(store.committed(BATCH).await, Ok(true));
        assert_eq!(store.series().await.unwrap().len(), 1);
        let (footprint, decide) = define("order");
        let next = BatchId { batch: 2, ..BATCH };
        assert_eq!(store.transact(next, footprint, decide).await, Ok(()));
        store.close().await;
    }
}
