//! The store in PostgreSQL, for several nodes at once and beside users' own transactions. It must never know a rule.
//!
//! A batch takes two round trips: locks and what it must see; what it writes and its commit. Which locks, and why
//! nobody waits for a stranger, is in `docs/decisions/0007-two-doors-to-postgresql.md`.

mod connection;
mod definitions;
pub mod door;
mod fault;
mod fence;
mod gates;
mod load;
mod open;
mod params;
mod persist;
mod place;
mod pool;
mod reads;
mod rows;
mod search;
mod settings;
mod tls;
mod transact;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seriatim_core::{
    ApiKey, Chain, Closure, Counter, CounterId, Date, Effect, Entry, EntryId, Event, Finding, Footprint, Gate, GateId,
    KeyRef, Missing, Series, Timestamp,
};
use tokio::sync::Notify;

use super::{
    BatchId, CounterFilter, Decide, EntryFilter, GateFilter, Heads, Page, Reads, Setting, Store, StoreError, SummaryRow,
};
use connection::{Command, Ended};
use definitions::Definitions;
use fault::Fault;
pub use fence::{Fence, FenceNode};
pub use open::{MIGRATIONS, OpenError};
use params::values;
use place::Place;
use pool::{Pool, Share};
use rows::{Columns, integer};
pub use settings::ACCEPTABLE;

const ASK_WRITER: &str = include_str!("postgres/queries/ask_writer.sql");

/// How a PostgreSQL store behaves; the defaults are those of the binary.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Whether a schema is made in a database that has none.
    pub create: bool,
    /// Whether an asynchronous standby is refused rather than warned of.
    pub production: bool,
    /// Settings that break a promise and are accepted by name.
    pub accept: BTreeSet<String>,
    /// What this process calls itself beside its batches.
    pub node_name: String,
    /// How many batches may be under way side by side.
    pub lanes: u32,
    /// How many batches may wait for what others hold.
    pub waiting_max: usize,
    /// How many reads may be under way.
    pub reading_max: usize,
    /// Within this a connection and a round trip before the commit must be done.
    pub statement_within: Duration,
    /// Within this a commit must be confirmed; it is never cancelled.
    pub commit_within: Duration,
    /// Within this a read must be done.
    pub read_within: Duration,
    /// How long a batch waits for what others hold, if nobody says otherwise.
    pub patience: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            create: true,
            production: false,
            accept: BTreeSet::new(),
            node_name: format!("process {}", std::process::id()),
            lanes: 4,
            waiting_max: 8,
            reading_max: 8,
            statement_within: Duration::from_secs(5),
            commit_within: Duration::from_secs(5),
            read_within: Duration::from_secs(60),
            patience: Duration::from_secs(2),
        }
    }
}

/// A store in a PostgreSQL database. A clone is another handle of the same store.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
    created: bool,
}

struct Inner {
    pool: Arc<Pool>,
    options: PostgresOptions,
    definitions: Definitions,
    ledger: fence::Ledger,
    /// Held by who looks whether batches are there, and by who takes their rows away.
    beating: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    closed: AtomicBool,
}

impl Inner {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({})", self.inner.pool.place)
    }
}

impl Postgres {
    /// Opens the database of a URL, e.g. `postgres://user@host/database`, and makes the schema `seriatim` in it if
    /// there is none. Needs a tokio runtime with time and network enabled.
    ///
    /// # Errors
    /// See [`OpenError`]: nothing was changed in a database that is not ours.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, OpenError> {
        let place = Place::parse(url)?;
        let tls = tls::connector(&place)?;
        let mut connection = open::connect(&place, &tls, options.statement_within).await?;
        let (created, _) = open::open(&place, &mut connection, &options).await?;
        let lanes = usize::try_from(options.lanes).unwrap_or(1).max(1);
        let (waiting, reading) = (options.waiting_max.max(1), options.reading_max.max(1));
        let inner = Arc::new(Inner {
            pool: Arc::new(Pool::new(place, tls, lanes, waiting, reading)),
            options,
            definitions: Definitions::default(),
            ledger: fence::Ledger::default(),
            beating: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            closed: AtomicBool::new(false),
        });
        tokio::spawn(fence::keep_watch(Arc::downgrade(&inner), inner.wake.clone()));
        // What the fence was when this process began: whoever moves it later is somebody else.
        inner.look_at_fence();
        Ok(Self { inner, created })
    }

    /// Whether there was nothing before it was opened.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// Says goodbye: after a failover nobody waits for this process. What was acknowledged is safe without it.
    pub async fn close(&self) {
        if !self.inner.closed.swap(true, Ordering::AcqRel) {
            self.inner.leave().await;
            self.inner.pool.clear();
            self.inner.wake.notify_one();
        }
    }

    /// Where the fence stands.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read.
    pub async fn fence(&self) -> Result<Fence, StoreError> {
        self.told("read the fence of", self.inner.fence().await)
    }

    /// Opens the fence on the cluster and timeline that this is: whoever does so has made sure that no number will be
    /// taken twice.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub async fn open_fence(&self) -> Result<(), StoreError> {
        self.told("open the fence of", self.inner.open_fence().await)
    }

    /// Closes the fence at both doors, for whoever knows of numbers that are not here.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub async fn close_fence(&self, why: &str) -> Result<(), StoreError> {
        self.told("close the fence of", self.inner.shut(why).await)
    }

    fn told<T>(&self, doing: &str, outcome: Result<T, Fault>) -> Result<T, StoreError> {
        outcome.map_err(|fault| fault.into_store_error(doing, &self.inner.pool.place))
    }

    fn read<T>(&self, outcome: Result<T, Fault>) -> Result<T, StoreError> {
        self.told("read", outcome)
    }

    /// Whether a batch is there; if it is not, it will not be: see the statement.
    async fn ask(&self, batch: BatchId) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let within = inner.options.commit_within;
        let asking = async {
            let mut lease = inner.pool.lease(Share::Own, inner.options.statement_within).await?;
            let lane = i32::try_from(batch.lane).map_err(|_| Fault::damage("there are too many lanes"))?;
            let begin = "begin isolation level read committed read write; set local synchronous_commit = on; \
                         set local client_min_messages = warning; set local lock_timeout = '2s'";
            let commands = vec![
                Command::Plain(begin),
                Command::Query(ASK_WRITER, values![batch.node, lane, integer(batch.batch)?]),
            ];
            let found = lease.connection()?.run(commands, within).await?;
            let row = found.get(1).and_then(|rows| rows.first());
            let row = row.ok_or_else(|| Fault::damage("a lane has no row"))?;
            let is_there = Columns::new("writer", row).natural()? == batch.batch;
            // The answer holds once it is as safe as the batch itself: with synchronous replication, on the standby.
            match lease.connection()?.commit(Vec::new(), within).await {
                Ok(()) => {
                    lease.keep();
                    Ok(Ok(is_there))
                }
                Err(Ended::Nothing(fault)) => Err(fault),
                Err(Ended::Unknown(what)) => Ok(Err(what)),
            }
        };
        let cannot = |what: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!(
                "cannot tell yet what was committed to {}: {what}",
                inner.pool.place
            ))
        };
        let is_there = asking
            .await
            .map_err(|fault: Fault| cannot(&fault))?
            .map_err(|what| cannot(&what))?;
        if is_there {
            inner.acknowledge(batch, true);
        }
        Ok(is_there)
    }
}

#[async_trait]
impl Store for Postgres {
    async fn transact(&self, batch: BatchId, footprint: Footprint, decide: Decide) -> Result<(), StoreError> {
        let patience = self.inner.options.patience;
        transact::transact(&self.inner, batch, footprint, &decide, patience).await
    }

    async fn transact_within(
        &self,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
        patience: Duration,
    ) -> Result<(), StoreError> {
        transact::transact(&self.inner, batch, footprint, &decide, patience).await
    }

    async fn committed(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.ask(batch).await
    }

    fn lanes(&self) -> u32 {
        self.inner.options.lanes.max(1)
    }
}

#[async_trait]
impl Reads for Postgres {
    fn describe(&self) -> String {
        self.inner.pool.place.to_string()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.read(self.inner.ready().await)
    }

    async fn settings(&self) -> Result<Vec<Setting>, StoreError> {
        let within = self.inner.options.read_within;
        let finding = async {
            let mut lease = self.inner.pool.lease(Share::Reading, within).await?;
            let settings = settings::find(lease.connection()?, within).await?;
            lease.keep();
            Ok(settings)
        };
        self.read(finding.await)
    }

    async fn series(&self) -> Result<Vec<Arc<Series>>, StoreError> {
        self.read(self.inner.series().await)
    }

    async fn counters(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, StoreError> {
        self.read(self.inner.counters_page(filter, limit).await)
    }

    async fn counter(&self, id: CounterId) -> Result<Option<Counter>, StoreError> {
        self.read(self.inner.counter(id).await)
    }

    async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, StoreError> {
        self.read(self.inner.entries_page(filter, limit).await)
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError> {
        self.read(self.inner.entry(id).await)
    }

    async fn entries_of_key(&self, key: &KeyRef) -> Result<Vec<Arc<Entry>>, StoreError> {
        let found = self.entries_of_keys(std::slice::from_ref(key)).await?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    async fn entries_of_keys(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        self.read(self.inner.entries_of_keys(keys).await)
    }

    async fn entries_by_seq(
        &self,
        counter: CounterId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Entry>>, StoreError> {
        self.read(self.inner.entries_by_seq(counter, after, limit).await)
    }

    async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(self.inner.events(chain, after, limit).await)
    }

    async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, StoreError> {
        self.read(self.inner.events_of(entry).await)
    }

    async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, StoreError> {
        self.read(self.inner.missing(counter, after, limit).await)
    }

    async fn closures(&self) -> Result<Vec<Arc<Closure>>, StoreError> {
        self.read(self.inner.closures().await)
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read(self.inner.api_keys().await)
    }

    async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, StoreError> {
        self.read(self.inner.summary(from, to).await)
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        self.read(self.inner.heads().await)
    }

    async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, StoreError> {
        self.read(self.inner.gate(id).await)
    }

    async fn gates(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, StoreError> {
        self.read(self.inner.gates_page(filter, limit).await)
    }

    async fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        self.read(self.inner.due_gates(effects, now, limit).await)
    }

    async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        self.read(self.inner.gates_by_id(after, limit).await)
    }

    async fn bound_keys(&self, counter: CounterId) -> Result<u64, StoreError> {
        self.read(self.inner.bound_keys(counter).await)
    }

    async fn counter_ids(&self) -> Result<BTreeSet<CounterId>, StoreError> {
        self.read(self.inner.counter_ids().await)
    }

    async fn misfiled(&self, counter: CounterId, first: u64, last: u64) -> Result<Vec<Finding>, StoreError> {
        self.read(self.inner.misfiled(counter, first, last).await)
    }

    async fn own_findings(&self) -> Result<Vec<Finding>, StoreError> {
        self.read(self.inner.own_findings().await)
    }
}
