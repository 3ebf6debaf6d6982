//! Connections that only read, shared by whoever asks. No reader waits for the writer, and none sees half a commit.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::InterruptHandle;
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::flusher::Durable;
use super::open::{Place, open_reader};
use super::session::Session;
use crate::store::StoreError;

pub(super) struct Readers {
    place: Arc<Place>,
    /// As many reads at once as there may be connections.
    permits: Arc<Semaphore>,
    pool: Mutex<Pool>,
    /// A read has ended, or those that were held back may begin.
    moved: Condvar,
    durable: Arc<Durable>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Session>,
    running: Vec<Running>,
    started: u64,
    held_back: bool,
}

/// A read under way.
struct Running {
    id: u64,
    since: Instant,
    interrupt: InterruptHandle,
}

impl Readers {
    pub(super) fn new(place: Arc<Place>, durable: Arc<Durable>) -> Self {
        let permits = Arc::new(Semaphore::new(place.options.readers.max(1)));
        Self {
            place,
            permits,
            pool: Mutex::default(),
            moved: Condvar::new(),
            durable,
        }
    }

    /// Reads at one moment, away from the async threads.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = self.place.clone();
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| unavailable(&place, "it is closed"))?;
        let this = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let found = this.run(|session| session.at_one_moment(read));
            let durable = this.durable.check(&this.place);
            drop(permit);
            (found, durable)
        });
        let (found, durable) = task
            .await
            .map_err(|_| unavailable(&place, "reading ended in a panic; see the log"))?;
        durable?;
        found.map_err(|fault| place.error("read", fault))
    }

    fn run<T>(&self, read: impl FnOnce(&Session) -> Result<T, Fault>) -> Result<T, Fault> {
        self.place.check_file()?;
        let idle = self.pool().idle.pop();
        let session = match idle {
            Some(session) => session,
            None => open_reader(&self.place)?,
        };
        let id = self.start(session.conn.get_interrupt_handle());
        let found = read(&session);
        let mut pool = self.pool();
        // Under the same lock as an interruption, so that none hits the next read of this connection.
        pool.running.retain(|running| running.id != id);
        self.moved.notify_all();
        // After a fault of SQLite the next read gets a fresh connection.
        if !matches!(found, Err(Fault::Sql(_))) && !self.permits.is_closed() {
            pool.idle.push(session);
        }
        found
    }

    fn start(&self, interrupt: InterruptHandle) -> u64 {
        let pool = self.moved.wait_while(self.pool(), |pool| pool.held_back);
        let mut pool = pool.unwrap_or_else(PoisonError::into_inner);
        pool.started += 1;
        let id = pool.started;
        pool.running.push(Running {
            id,
            since: Instant::now(),
            interrupt,
        });
        id
    }

    /// Ends reads that run too long: they keep the WAL from starting over.
    pub(super) fn end_older_than(&self, age_max: Duration) {
        let pool = self.pool();
        for running in pool.running.iter().filter(|running| running.since.elapsed() > age_max) {
            running.interrupt.interrupt();
        }
    }

    /// Lets no read begin for a moment, and does something when those under way have ended; nothing if they take longer
    /// than `patience`. Reads that overlap would else keep the WAL from starting over for ever.
    pub(super) fn between_reads<T>(&self, patience: Duration, act: impl FnOnce() -> T) -> Option<T> {
        let mut pool = self.pool();
        pool.held_back = true;
        let waited = self
            .moved
            .wait_timeout_while(pool, patience, |pool| !pool.running.is_empty());
        let (pool, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let have_ended = pool.running.is_empty();
        drop(pool);
        let done = have_ended.then(act);
        self.pool().held_back = false;
        self.moved.notify_all();
        done
    }

    /// Lets no read begin any more, and closes the connections that nobody uses.
    pub(super) fn close(&self) {
        self.permits.close();
        self.pool().idle.clear();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(place: &Place, what: &str) -> StoreError {
    StoreError::Unavailable(format!("cannot read {}: {what}", place.path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::SqliteOptions;
    use crate::store::sqlite::open::create_or_open;

    // Reads that overlap, each short: there is never a moment without one.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn there_is_a_moment_between_reads_that_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let place = Arc::new(Place::new(folder.path().join("seriatim.db"), SqliteOptions::default()));
        let _writer = create_or_open(&place).unwrap();
        let readers = Arc::new(Readers::new(place, Arc::default()));
        let read_on = |i: u64| {
            let readers = readers.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(15 * i)).await;
                for _ in 0..40 {
                    let read = |_: &Session| {
                        std::thread::sleep(Duration::from_millis(30));
                        Ok(())
                    };
                    readers.read(read).await.unwrap();
                }
            })
        };
        let reading: Vec<_> = (0..3).map(read_on).collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let looking = readers.clone();
        let alone = tokio::task::spawn_blocking(move || {
            assert_eq!(
                looking.between_reads(Duration::from_millis(1), || ()),
                None,
                "they do not overlap"
            );
            looking.between_reads(Duration::from_secs(5), || looking.pool().running.len())
        });
        assert_eq!(alone.await.unwrap(), Some(0));
        for reads in reading {
            reads.await.unwrap();
        }
    }
}
