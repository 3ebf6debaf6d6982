//! One batch: its locks and what it must see in one round trip, all that it writes and its commit in another.
//!
//! The locks are those of decision 7, taken in its order, each by a statement of its own; what is read under them is
//! read by later statements. A transaction that turns out to need a lock that comes earlier in that order begins anew
//! with a larger footprint. This room must never know a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use seriatim_core::{Batch, CounterId, CounterKey, Footprint, GateId, SeriesName};
use tokio_postgres::Row;
use tracing::error;

use super::Inner;
use super::connection::{Command, Ended};
use super::fault::{Fault, Kind};
use super::load::{Loading, Standings, ids_named};
use super::params::{Params, values};
use super::persist::{LaneAt, persist};
use super::pool::{Lease, Share};
use super::rows::{self, Columns, StoredCounter};
use super::settings;
use crate::store::{BatchId, Decide, StoreError, decide_safely, widen};

const BEGIN_BATCH: &str = include_str!("queries/begin_batch.sql");
const SHARE_SERIES: &str = include_str!("queries/share_series.sql");
const TRY_SHARE_SERIES: &str = include_str!("queries/try_share_series.sql");
const LOCK_SERIES: &str = include_str!("queries/lock_series.sql");
const TRY_LOCK_SERIES: &str = include_str!("queries/try_lock_series.sql");
const LOCK_DEFINITIONS: &str = include_str!("queries/lock_definitions.sql");
const TRY_LOCK_DEFINITIONS: &str = include_str!("queries/try_lock_definitions.sql");
const LOCK_COUNTERS: &str = include_str!("queries/lock_counters.sql");
const TAKE_FREE_COUNTERS: &str = include_str!("queries/take_free_counters.sql");
const LOCK_GATES: &str = include_str!("queries/lock_gates.sql");
const TRY_LOCK_GATES: &str = include_str!("queries/try_lock_gates.sql");
const FIND_COUNTER_IDS: &str = include_str!("queries/find_counter_ids.sql");
const LOCK_BIRTHS: &str = include_str!("queries/lock_births.sql");
const TRY_LOCK_BIRTHS: &str = include_str!("queries/try_lock_births.sql");

/// How often a batch may begin anew because others were in the way, before that is an error.
const ROUNDS_MAX: u32 = 20;
/// A lane that waits for nobody still waits this long where PostgreSQL has no way not to wait: for a key or a line
/// that another transaction is just binding.
const BLINK: Duration = Duration::from_millis(50);

/// Why an attempt ended without a commit.
enum Stop {
    /// It needs more, and must begin anew to lock it in order.
    Widen(Box<Footprint>),
    /// Others hold these counters, or something else that it needs.
    Busy(BTreeSet<CounterId>),
    /// Numbers may not be taken here now.
    Fenced(String),
    /// The server was set up so that it would lose what is acknowledged.
    Unfit(String),
    /// The decision panicked.
    Decision(StoreError),
    /// The statements failed; nothing happened.
    Nothing(Fault),
    /// COMMIT was sent, and nobody knows.
    Unknown(String),
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Nothing(error.into())
    }
}

/// Decides and commits, waiting no longer than `patience` for what others hold.
pub(super) async fn transact(
    store: &Inner,
    batch: BatchId,
    mut footprint: Footprint,
    decide: &Decide,
    patience: Duration,
) -> Result<(), StoreError> {
    let place = &store.pool.place;
    for _ in 0..ROUNDS_MAX {
        let stop = match attempt(store, batch, &footprint, decide, patience).await {
            Ok(()) => return Ok(()),
            Err(stop) => stop,
        };
        match stop {
            Stop::Widen(more) => footprint.merge(*more),
            Stop::Nothing(fault) => match fault.kind() {
                // Who bound it has committed: this time it is seen.
                Kind::KeyTaken | Kind::Conflict => {}
                Kind::WriterMoved => return Err(store.set_back(batch, &fault).await),
                Kind::Busy | Kind::Damage | Kind::Unavailable => {
                    let error = fault.into_store_error("write to", place);
                    if matches!(error, StoreError::Unavailable(_)) {
                        store.pool.clear();
                    }
                    return Err(error);
                }
            },
            Stop::Busy(counters) => {
                let message = format!(
                    "another transaction holds what this needs in {place}, and did not let go; nothing happened: retry"
                );
                let counters = counters.into_iter().collect();
                return Err(StoreError::Busy { message, counters });
            }
            Stop::Fenced(problem) => {
                store.look_at_fence();
                return Err(StoreError::Fenced(format!(
                    "no number may be taken in {place}: {problem}; see `seriatim fence show`"
                )));
            }
            Stop::Unfit(broken) => {
                let message = format!("no number is taken in {place}: {broken}; nothing happened");
                return Err(StoreError::Unavailable(message));
            }
            Stop::Decision(error) => return Err(error),
            Stop::Unknown(what) => {
                error!(place = %place, what, "a commit was sent and not confirmed");
                store.pool.clear();
                return Err(StoreError::Unknown(format!(
                    "cannot tell what was committed to {place}: {what}"
                )));
            }
        }
    }
    Err(StoreError::Corrupt(format!(
        "{place}: a batch was in conflict {ROUNDS_MAX} times; a key is bound that cannot be seen: run `seriatim verify`"
    )))
}

async fn attempt(
    store: &Inner,
    batch: BatchId,
    footprint: &Footprint,
    decide: &Decide,
    patience: Duration,
) -> Result<(), Stop> {
    let share = if patience.is_zero() {
        Share::Lane
    } else {
        Share::Waiting
    };
    let mut transaction = Transaction {
        store,
        lease: store.pool.lease(share, store.options.statement_within).await?,
        patience,
        batch,
        asked: 0,
        locked: Locked::default(),
    };
    let outcome = transaction.carry_out(footprint.clone(), decide).await;
    let lease = transaction.lease;
    match &outcome {
        Ok(()) => lease.keep(),
        // It may be in any state: it is closed.
        Err(Stop::Unknown(_)) => {}
        Err(Stop::Nothing(fault)) if !fault.is_answered() => {}
        Err(_) => lease.roll_back(store.options.statement_within).await,
    }
    outcome
}

struct Transaction<'s> {
    store: &'s Inner,
    lease: Lease,
    patience: Duration,
    batch: BatchId,
    /// How often a batch of this lane was asked about in vain, when this one began.
    asked: i64,
    locked: Locked,
}

/// What this transaction holds.
#[derive(Default)]
struct Locked {
    series: BTreeSet<SeriesName>,
    /// Whether nobody else holds the series.
    alone: bool,
    definitions: bool,
    counters: BTreeMap<CounterId, StoredCounter>,
    /// Gates, whether they are there or not.
    gates: BTreeSet<GateId>,
    /// Counters that are not there, and that nobody else can make.
    unborn: BTreeSet<CounterId>,
}

/// What a footprint needs to have locked.
struct Need {
    series: BTreeSet<SeriesName>,
    alone: bool,
    definitions: bool,
    /// Every counter, those that are named by their keys and those that are named by an entry.
    counters: BTreeSet<CounterId>,
    gates: BTreeSet<GateId>,
    /// Those that may have to be made.
    keys: BTreeMap<CounterId, Arc<CounterKey>>,
}

impl Need {
    fn of(footprint: &Footprint) -> Self {
        let keys: BTreeMap<_, _> = footprint.counters.iter().map(|key| (key.id(), key.clone())).collect();
        let mut series = footprint.series.clone();
        series.extend(footprint.counters.iter().map(|key| key.series.clone()));
        Self {
            // Whoever holds the definitions chain decides what the numbers of these series rest on, or no number may be
            // taken beside his.
            alone: footprint.definitions && !series.is_empty(),
            series,
            definitions: footprint.definitions,
            counters: ids_named(footprint).into_iter().chain(keys.keys().copied()).collect(),
            gates: footprint.gates.clone(),
            keys,
        }
    }
}

impl Locked {
    fn suffices(&self, need: &Need) -> bool {
        let holds = |id| self.counters.contains_key(id) || self.unborn.contains(id);
        need.series.is_subset(&self.series)
            && (self.alone || !need.alone)
            && (self.definitions || !need.definitions)
            && need.gates.is_subset(&self.gates)
            && need.counters.iter().all(holds)
    }
}

impl Transaction<'_> {
    async fn carry_out(&mut self, footprint: Footprint, decide: &Decide) -> Result<(), Stop> {
        let batch = self.batch;
        let (decided, standings) = self.decide(footprint, decide).await?;
        let lane_at = LaneAt {
            acknowledged: self.store.acknowledged(batch),
            asked: self.asked,
        };
        let within = self.store.options.commit_within;
        let connection = self.lease.connection()?;
        let commands = persist(connection, batch, lane_at, &decided.changes, standings, self.store).await?;
        let ended = connection.commit(commands, within).await;
        match ended {
            Ok(()) => {
                let is_written = !decided.changes.is_empty();
                self.store.acknowledge(batch, is_written);
                Ok(())
            }
            Err(Ended::Nothing(fault)) => Err(Stop::Nothing(fault)),
            Err(Ended::Unknown(what)) => Err(Stop::Unknown(what)),
        }
    }

    async fn decide(&mut self, mut footprint: Footprint, decide: &Decide) -> Result<(Batch, Standings), Stop> {
        let (mut held, mut standings) = self.begin(&footprint).await?;
        loop {
            let more = match decide_safely(decide, held).map_err(Stop::Decision)? {
                Ok(decided) => return Ok((decided, standings)),
                Err(more) => more,
            };
            widen(&mut footprint, more).map_err(Stop::Decision)?;
            if !self.locked.suffices(&Need::of(&footprint)) {
                return Err(Stop::Widen(Box::new(footprint)));
            }
            (held, standings) = self.load(&footprint).await?;
        }
    }

    /// Begins, locks and loads, in one round trip unless a counter is to be born.
    async fn begin(&mut self, footprint: &Footprint) -> Result<(seriatim_core::Snapshot, Standings), Stop> {
        let need = Need::of(footprint);
        let ids: Vec<String> = need.counters.iter().map(ToString::to_string).collect();
        let mut loading = Loading::new(footprint);
        let mut commands = vec![
            Command::Plain("begin isolation level read committed read write"),
            Command::Query(BEGIN_BATCH, self.settings()?),
        ];
        let locks = self.locks(&need, &ids);
        let locks_count = locks.len();
        commands.extend(locks);
        commands.extend(loading.commands()?);
        let within = self.store.options.statement_within + self.patience;
        let mut found = self.lease.connection()?.run(commands, within).await?;
        let loads = found.split_off(2 + locks_count);
        if let Some(problem) = found.get(1).and_then(|rows| rows.first()) {
            let mut columns = Columns::new("fence", problem);
            if let Some(problem) = columns.text_if_any()? {
                return Err(Stop::Fenced(problem.to_string()));
            }
            self.asked = columns.integer()?;
            let (fsync, pages) = (columns.text()?, columns.text()?);
            if let Some(broken) = settings::broken(fsync, pages, &self.store.options) {
                return Err(Stop::Unfit(broken));
            }
        }
        self.take_locks(&need, found.get(2..).unwrap_or_default())?;
        let unborn: BTreeSet<CounterId> = need
            .keys
            .keys()
            .filter(|id| !self.locked.counters.contains_key(id))
            .copied()
            .collect();
        // An entry's counter that is not there can be made by nobody: its id comes with its key only.
        self.locked
            .unborn
            .extend(need.counters.iter().filter(|id| !need.keys.contains_key(id)));
        if !unborn.is_empty() {
            self.lock_births(unborn).await?;
        }
        let (held, standings) = loading.snapshot(&loads, &self.locked.counters, &self.store.definitions)?;
        Ok((held, standings))
    }

    /// More of what needs no other lock.
    async fn load(&mut self, footprint: &Footprint) -> Result<(seriatim_core::Snapshot, Standings), Stop> {
        let mut loading = Loading::new(footprint);
        let commands = loading.commands()?;
        let found = self
            .lease
            .connection()?
            .run(commands, self.store.options.statement_within)
            .await?;
        Ok(loading.snapshot(&found, &self.locked.counters, &self.store.definitions)?)
    }

    fn locks<'a>(&self, need: &Need, ids: &[String]) -> Vec<Command<'a>> {
        let waits = !self.patience.is_zero();
        let mut locks = Vec::new();
        if !need.series.is_empty() || !ids.is_empty() {
            let sql = match (need.alone, waits) {
                (true, true) => LOCK_SERIES,
                (true, false) => TRY_LOCK_SERIES,
                (false, true) => SHARE_SERIES,
                (false, false) => TRY_SHARE_SERIES,
            };
            let names: Vec<String> = need.series.iter().map(ToString::to_string).collect();
            locks.push(Command::Query(sql, values![names, ids.to_vec()]));
        }
        if need.definitions {
            let sql = if waits { LOCK_DEFINITIONS } else { TRY_LOCK_DEFINITIONS };
            locks.push(Command::Query(sql, values![]));
        }
        if !ids.is_empty() {
            let sql = if waits { LOCK_COUNTERS } else { TAKE_FREE_COUNTERS };
            locks.push(Command::Query(sql, values![ids.to_vec()]));
            locks.push(Command::Query(FIND_COUNTER_IDS, values![ids.to_vec()]));
        }
        if !need.gates.is_empty() {
            let sql = if waits { LOCK_GATES } else { TRY_LOCK_GATES };
            let gates: Vec<String> = need.gates.iter().map(ToString::to_string).collect();
            locks.push(Command::Query(sql, values![gates]));
        }
        locks
    }

    /// What came of the statements of [`Self::locks`], in their order.
    fn take_locks(&mut self, need: &Need, found: &[Vec<Row>]) -> Result<(), Stop> {
        let mut found = found.iter();
        let mut next = || found.next().map(Vec::as_slice).unwrap_or_default();
        if !need.series.is_empty() || !need.counters.is_empty() {
            for row in next() {
                let mut columns = Columns::new("series", row);
                let name = columns.parsed(SeriesName::parse)?;
                self.require_lock(columns)?;
                self.locked.series.insert(name);
            }
            self.locked.alone = need.alone;
        }
        if need.definitions {
            for row in next() {
                self.require_lock(Columns::new("event", row))?;
            }
            self.locked.definitions = true;
        }
        if !need.counters.is_empty() {
            self.take_counters(next(), next())?;
        }
        if !need.gates.is_empty() {
            for row in next() {
                self.require_lock(Columns::new("gate", row))?;
            }
            self.locked.gates.extend(&need.gates);
        }
        Ok(())
    }

    /// The counters that are held now, of those that there are.
    fn take_counters(&mut self, taken: &[Row], there: &[Row]) -> Result<(), Stop> {
        for row in taken {
            let stored = rows::counter(row)?;
            self.locked.counters.insert(stored.counter.id, stored);
        }
        let mut busy = BTreeSet::new();
        for row in there {
            let id: CounterId = Columns::new("counter", row).parsed(str::parse)?;
            if !self.locked.counters.contains_key(&id) {
                busy.insert(id);
            }
        }
        if busy.is_empty() {
            Ok(())
        } else if self.patience.is_zero() {
            Err(Stop::Busy(busy))
        } else {
            // Born between the two statements.
            Err(Stop::Widen(Box::default()))
        }
    }

    /// The statements that try say in their last column whether they got the lock; those that wait got it.
    fn require_lock(&self, mut columns: Columns<'_>) -> Result<(), Stop> {
        if !self.patience.is_zero() || columns.boolean()? {
            return Ok(());
        }
        Err(Stop::Busy(BTreeSet::new()))
    }

    /// Sees to it that nobody else makes these counters; whoever did so meanwhile makes us begin anew.
    async fn lock_births(&mut self, ids: BTreeSet<CounterId>) -> Result<(), Stop> {
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let sql = if self.patience.is_zero() {
            TRY_LOCK_BIRTHS
        } else {
            LOCK_BIRTHS
        };
        let commands = vec![
            Command::Query(sql, values![texts.clone()]),
            Command::Query(FIND_COUNTER_IDS, values![texts]),
        ];
        let within = self.store.options.statement_within + self.patience;
        let found = self.lease.connection()?.run(commands, within).await?;
        let [births, born] = found.as_slice() else {
            return Err(Fault::damage("two statements gave another number of answers").into());
        };
        let mut busy = BTreeSet::new();
        for row in births {
            let mut columns = Columns::new("counter", row);
            let id: CounterId = columns.parsed(str::parse)?;
            if self.patience.is_zero() && !columns.boolean()? {
                busy.insert(id);
            }
        }
        if !busy.is_empty() {
            return Err(Stop::Busy(busy));
        }
        if !born.is_empty() {
            return Err(Stop::Widen(Box::default()));
        }
        self.locked.unborn.extend(ids);
        Ok(())
    }

    /// How long a lock and a statement may take, and whose batch it is.
    fn settings<'a>(&self) -> Result<Params<'a>, Fault> {
        let lane = i32::try_from(self.batch.lane).map_err(|_| Fault::damage("there are too many lanes"))?;
        let text = |within: Duration| format!("{}ms", within.as_millis());
        let statement = text(self.store.options.statement_within + self.patience);
        Ok(values![
            text(self.patience.max(BLINK)),
            statement,
            self.batch.node,
            lane
        ])
    }
}
