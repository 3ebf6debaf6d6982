//! The store in one SQLite file: one thread writes, a few connections read. It must never know a rule.
//!
//! Every commit is synced before it is acknowledged. What was written last is in the WAL, a file beside the database;
//! a thread of its own carries it over.

mod append;
mod datafile;
mod fault;
mod flusher;
mod gates;
mod keeper;
mod keys;
mod load;
mod open;
mod persist;
mod readers;
mod reads;
mod rows;
mod search;
mod session;
mod tail;
mod writer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use async_trait::async_trait;
use seriatim_core::{
    ApiKey, Chain, Closure, Counter, CounterId, Date, Effect, Entry, EntryId, Event, Finding, Footprint, Gate, GateId,
    KeyRef, Missing, Series, Timestamp,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::{
    BatchId, CounterFilter, Decide, EntryFilter, GateFilter, Heads, Page, Reads, Setting, Store, StoreError, SummaryRow,
};
use fault::Fault;
use flusher::Durable;
use open::Place;
pub use open::{APPLICATION_ID, OpenError, SqliteOptions};
use readers::Readers;
use session::Session;
use tail::Tail;
use writer::Job;

/// A store in one SQLite file. A clone is another handle of the same store.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("seriatim.db");
/// use seriatim::store::sqlite::{Sqlite, SqliteOptions};
///
/// let store = Sqlite::open(&path, SqliteOptions::default()).await?;
/// assert!(store.was_created());
/// store.close().await;
/// # Ok::<(), seriatim::store::sqlite::OpenError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Sqlite {
    inner: Arc<Inner>,
}

struct Inner {
    place: Arc<Place>,
    created: bool,
    settings: Vec<Setting>,
    jobs: Sender<Job>,
    readers: Arc<Readers>,
    durable: Arc<Durable>,
    tail: Arc<Tail>,
    /// One permit: of the batch that the writer has.
    turn: Arc<Semaphore>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sqlite({})", self.path().display())
    }
}

impl Sqlite {
    /// Opens the database, and makes it if there is none; the directory must be there.
    ///
    /// # Errors
    /// See [`OpenError`]: nothing was changed in a file that is not ours.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, OpenError> {
        let place = Arc::new(Place::new(path.as_ref().to_path_buf(), options));
        aside(move || Self::open_now(place)).await
    }

    fn open_now(place: Arc<Place>) -> Result<Self, OpenError> {
        let (session, created) = open::create_or_open(&place)?;
        let settings = open::settings(&session.conn).map_err(|fault| place.error("open", fault))?;
        let durable = Arc::new(Durable::default());
        let tail = Arc::new(Tail::new(place.options.key_tail));
        tail.refresh_all(&session).map_err(|fault| place.error("open", fault))?;
        let readers = Arc::new(Readers::new(place.clone(), durable.clone()));
        let jobs = writer::start(place.clone(), session, durable.clone(), tail.clone(), &readers).map_err(|error| {
            StoreError::Unavailable(format!(
                "cannot start the writer of {}: {error}; retry",
                place.path.display()
            ))
        })?;
        let inner = Inner {
            place,
            created,
            settings,
            jobs,
            readers,
            durable,
            tail,
            turn: Arc::new(Semaphore::new(1)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Lets the batch under way end, carries the WAL over and closes the file. Every handle is closed with it.
    pub async fn close(&self) {
        self.inner.readers.close();
        let (answer, closed) = oneshot::channel();
        if self.inner.jobs.send(Job::Close { answer }).is_ok() {
            // An error means that the writer ended before.
            let _ = closed.await;
        }
    }

    /// Which file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.place.path
    }

    /// Whether there was nothing before it was opened.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.inner.created
    }

    /// Writes a copy as of now to a new file, and syncs it. Issuing goes on meanwhile.
    ///
    /// # Errors
    /// `Unavailable` if the file exists already or cannot be written.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let place = self.inner.place.clone();
        let to = to.to_path_buf();
        let durable = self.inner.durable.clone();
        let copied = spawn_blocking(move || open::copy(&place, &to).and_then(|()| durable.check(&place))).await;
        copied.map_err(|_| StoreError::Unavailable("the backup ended in a panic; see the log".to_string()))?
    }

    /// Writes a copy as of now of a database that this or another process may have open, and syncs it. The database is
    /// only read, whichever version wrote it.
    ///
    /// # Errors
    /// See [`OpenError`]; `Unavailable` if the file to write exists already or cannot be written.
    pub async fn copy(path: impl AsRef<Path>, to: &Path) -> Result<(), OpenError> {
        let place = Place::new(path.as_ref().to_path_buf(), SqliteOptions::default());
        let to = to.to_path_buf();
        aside(move || open::copy_from(&place, &to)).await
    }

    /// The settings that the promises rest on, as a writer of this file has them. Nothing is written.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn settings_of(path: impl AsRef<Path>) -> Result<Vec<Setting>, OpenError> {
        let place = Place::new(path.as_ref().to_path_buf(), SqliteOptions::default());
        aside(move || open::look_at_settings(&place)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Session) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.readers.read(read).await
    }

    /// Has the writer do something, and waits for it. It is done even if nobody waits any more.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let closed = || StoreError::Unavailable(format!("cannot write to {}: it is closed", self.path().display()));
        self.inner.jobs.send(job(answer)).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

/// Away from the async threads.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let done = spawn_blocking(work).await;
    done.map_err(|_| StoreError::Unavailable("opening ended in a panic; see the log".to_string()))?
}

#[async_trait]
impl Store for Sqlite {
    async fn transact(&self, batch: BatchId, footprint: Footprint, decide: Decide) -> Result<(), StoreError> {
        // It is never closed.
        let turn = self.inner.turn.clone().acquire_owned().await.ok();
        self.ask(|answer| Job::Transact {
            batch,
            footprint,
            decide,
            turn,
            answer,
        })
        .await
    }

    async fn committed(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.ask(|answer| Job::Committed { batch, answer }).await
    }

    /// While one batch is flushed the next is decided.
    fn lanes(&self) -> u32 {
        3
    }

    fn lanes_are_alike(&self) -> bool {
        true
    }

    async fn turn(&self) {
        // It is never closed.
        let _ = self.inner.turn.acquire().await;
    }
}

#[async_trait]
impl Reads for Sqlite {
    fn describe(&self) -> String {
        format!("sqlite {}", self.path().display())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(|session| session.definitions_head().map(|_| ())).await
    }

    async fn settings(&self) -> Result<Vec<Setting>, StoreError> {
        Ok(self.inner.settings.clone())
    }

    async fn series(&self) -> Result<Vec<Arc<Series>>, StoreError> {
        self.read(Session::every_series).await
    }

    async fn counters(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, StoreError> {
        let filter = filter.clone();
        self.read(move |session| session.counters_page(&filter, limit)).await
    }

    async fn counter(&self, id: CounterId) -> Result<Option<Counter>, StoreError> {
        self.read(move |session| Ok(session.counter_by_id(id)?.map(|found| found.counter)))
            .await
    }

    async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, StoreError> {
        let filter = filter.clone();
        self.read(move |session| session.entries_page(&filter, limit)).await
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError> {
        self.read(move |session| session.entry(id)).await
    }

    async fn entries_of_key(&self, key: &KeyRef) -> Result<Vec<Arc<Entry>>, StoreError> {
        let entries = self.entries_of_keys(std::slice::from_ref(key)).await?;
        Ok(entries.into_iter().next().unwrap_or_default())
    }

    async fn entries_of_keys(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        let with_waiting = |key: &KeyRef| {
            let hash = keys::hash(key);
            let waiting = self.inner.tail.get(hash).map(|held| (hash, held)).into_iter().collect();
            (key.clone(), waiting)
        };
        let keys: Vec<(KeyRef, _)> = keys.iter().map(with_waiting).collect();
        self.read(move |session| {
            let entries = keys
                .into_iter()
                .map(|(key, waiting)| session.entries_of_key(&key, waiting));
            entries.collect()
        })
        .await
    }

    async fn entries_by_seq(
        &self,
        counter: CounterId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        self.read(move |session| session.entries_by_seq(counter, after, limit))
            .await
    }

    async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(move |session| session.events(chain, after, limit)).await
    }

    async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, StoreError> {
        self.read(move |session| session.events_of(entry)).await
    }

    async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, StoreError> {
        self.read(move |session| session.missing_runs(counter, after, limit))
            .await
    }

    async fn closures(&self) -> Result<Vec<Arc<Closure>>, StoreError> {
        self.read(Session::closures).await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(Session::api_keys).await
    }

    async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, StoreError> {
        self.read(move |session| session.summary(from, to)).await
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        self.read(Session::heads).await
    }

    async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, StoreError> {
        self.read(move |session| session.gate(id)).await
    }

    async fn gates(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, StoreError> {
        let filter = filter.clone();
        self.read(move |session| session.gates_page(&filter, limit)).await
    }

    async fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        let effects = effects.to_vec();
        self.read(move |session| session.due_gates(&effects, now, limit)).await
    }

    async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        self.read(move |session| session.gates_by_id(after, limit)).await
    }

    async fn counter_ids(&self) -> Result<BTreeSet<CounterId>, StoreError> {
        self.read(Session::counter_ids).await
    }

    async fn misfiled(&self, counter: CounterId, first: u64, last: u64) -> Result<Vec<Finding>, StoreError> {
        self.read(move |session| session.misfiled(counter, first, last)).await
    }

    async fn own_findings(&self) -> Result<Vec<Finding>, StoreError> {
        self.read(Session::own_findings).await
    }

    async fn bound_keys(&self, counter: CounterId) -> Result<u64, StoreError> {
        let waiting = self.inner.tail.all();
        self.read(move |session| session.bound_keys(counter, waiting)).await
    }
}
