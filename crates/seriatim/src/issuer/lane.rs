//! A lane: one writer at a time. Whatever has queued while the last batch committed is the next batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use seriatim_core::{Answer, Batch, CounterId, Footprint, Refusal, Request, Series, SeriesName, Snapshot, decide_all};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, warn};

use super::aside::{Aside, PATIENCE, Place};
use super::{Options, measure, unknown};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::store::{BatchId, Decide, Store, StoreError};

pub(super) type Reply = oneshot::Sender<Result<Answer, Failure>>;

/// A command that waits.
pub(super) struct Job {
    pub(super) request: Request,
    pub(super) waiter: Waiter,
}

/// Who waits for a command.
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) reply: Reply,
    pub(super) since: Instant,
}

impl Job {
    /// Tells a caller that nothing happened, and why.
    fn fail(self, failure: Failure) {
        // A caller who hung up does not hear it.
        let _ = self.waiter.reply.send(Err(failure));
    }
}

/// Says whether a command may still be abandoned without anything having happened.
#[derive(Clone)]
pub(super) struct Ticket(Arc<AtomicU8>);

const QUEUED: u8 = 0;
const TAKEN: u8 = 1;
const ABANDONED: u8 = 2;

impl Ticket {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(QUEUED)))
    }

    /// The caller gives up; true if the command had not been started, so that nothing happened.
    pub(super) fn abandon(&self) -> bool {
        self.go(QUEUED, ABANDONED)
    }

    /// The lane starts it; false if the caller gave up.
    fn start(&self) -> bool {
        self.go(QUEUED, TAKEN)
    }

    /// The lane put it back: nothing happened.
    fn put_back(&self) {
        self.go(TAKEN, QUEUED);
    }

    fn go(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// Definitions seen so far: a good guess of what a command will touch. The decision reads them again, under locks.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<RwLock<BTreeMap<SeriesName, Arc<Series>>>>);

impl Known {
    pub(super) fn of(series: Vec<Arc<Series>>) -> Self {
        let by_name = series.into_iter().map(|series| (series.name.clone(), series)).collect();
        Self(Arc::new(RwLock::new(by_name)))
    }

    fn footprint(&self, requests: &[Request], clock: &dyn Clock) -> Footprint {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Footprint::of(requests, &|name| known.get(name).cloned(), clock.now())
    }

    /// The counters that a command touches, as far as it can be told before it is decided.
    fn counters(&self, request: &Request, clock: &dyn Clock) -> BTreeSet<CounterId> {
        let footprint = self.footprint(std::slice::from_ref(request), clock);
        let by_key = footprint.counters.iter().map(|key| key.id());
        by_key.chain(footprint.entries.iter().map(|id| id.counter)).collect()
    }

    fn learn(&self, answers: &[Result<Answer, Refusal>]) {
        let mut last: Option<&Arc<Series>> = None;
        for answer in answers {
            let series = match answer {
                Ok(Answer::Entries(answer) | Answer::Preview(answer)) => &answer.series,
                Ok(Answer::Series { series, .. }) => series,
                Ok(
                    Answer::Closure(_)
                    | Answer::Advanced { .. }
                    | Answer::Wiped(_)
                    | Answer::ApiKey(_)
                    | Answer::Claim { .. }
                    | Answer::Gate { .. },
                )
                | Err(_) => {
                    continue;
                }
            };
            if last.is_some_and(|last| Arc::ptr_eq(last, series)) {
                continue;
            }
            last = Some(series);
            let known = self
                .0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&series.name)
                .cloned();
            if known.is_none_or(|known| known.version != series.version) {
                let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
                known.insert(series.name.clone(), series.clone());
            }
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a job; a box for each would be an allocation more"
)]
enum Message {
    Job(Job),
    Close(oneshot::Sender<()>),
}

/// The way into a lane, or into several that are alike.
pub(super) struct Lane {
    queue: mpsc::Sender<Message>,
}

impl Lane {
    pub(super) fn start(
        node: i64,
        lanes: Range<u32>,
        store: &Arc<dyn Store>,
        known: &Known,
        options: &Options,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(options.queue_max.max(1));
        let queued = Arc::new(tokio::sync::Mutex::new(Queued {
            waiting,
            closing: Vec::new(),
        }));
        for lane in lanes {
            let worker = Worker {
                aside: Arc::new(Aside::new(node, store.lanes(), lane)),
                // So that a caller hears it before his own deadline.
                busy_max: options.deadline * 2 / 3,
                id: BatchId { node, lane, batch: 0 },
                store: store.clone(),
                known: known.clone(),
                clock: options.clock.clone(),
                backoff: options.backoff.clone(),
                draw: options.draw.clone(),
            };
            tokio::spawn(worker.run(queued.clone(), options.batch_max.max(1)));
        }
        Self { queue }
    }

    pub(super) fn send(&self, job: Job) -> Result<(), Failure> {
        let refuse = |code, message: &str| Failure::Unavailable {
            message: message.to_string(),
            retry_after: Duration::from_secs(1),
            code,
        };
        self.queue.try_send(Message::Job(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => refuse(
                "queue_full",
                "too many commands wait already; nothing happened: slow down and retry",
            ),
            mpsc::error::TrySendError::Closed(_) => {
                refuse("shutting_down", "the issuer is shutting down; nothing happened: retry")
            }
        })
    }

    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            // An error means that the lane ended already.
            let _ = closed.await;
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// A random number.
pub(super) fn draw() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // The standard library seeds this from the operating system's randomness.
    RandomState::new().build_hasher().finish()
}

#[derive(Clone)]
struct Worker {
    id: BatchId,
    aside: Arc<Aside>,
    /// How long a command waits for what a stranger holds.
    busy_max: Duration,
    store: Arc<dyn Store>,
    known: Known,
    clock: Arc<dyn Clock>,
    backoff: Vec<Duration>,
    draw: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// What the lanes of one queue take their batches from.
struct Queued {
    waiting: mpsc::Receiver<Message>,
    /// Hear that all is over when the last lane lets go of this.
    closing: Vec<oneshot::Sender<()>>,
}

impl Queued {
    /// All that waits, when there is something and the store would begin it at once. Empty when the queue is closed.
    async fn next(&mut self, store: &dyn Store, batch_max: usize) -> Vec<Job> {
        let mut jobs = Vec::new();
        while jobs.is_empty() {
            let mut next = self.waiting.recv().await;
            if next.is_none() {
                break;
            }
            store.turn().await;
            while let Some(message) = next {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Close(done) => {
                        self.waiting.close();
                        self.closing.push(done);
                    }
                }
                next = (jobs.len() < batch_max).then(|| self.waiting.try_recv().ok()).flatten();
            }
        }
        jobs
    }
}

/// Commands under way, with those who wait for them.
struct Flight {
    requests: Vec<Request>,
    waiters: Vec<Waiter>,
}

impl Worker {
    async fn run(mut self, queued: Arc<tokio::sync::Mutex<Queued>>, batch_max: usize) {
        loop {
            let jobs = queued.lock().await.next(&*self.store, batch_max).await;
            if jobs.is_empty() {
                break;
            }
            let jobs = self
                .aside
                .join(jobs, &|request| self.known.counters(request, &*self.clock));
            self.fly(Flight::of(jobs), Duration::ZERO, None).await;
        }
        while !self.aside.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Carries a batch through: commit, or retry while nothing happened, or say why not. What others hold is waited for
    /// no longer than `patience`, and then set aside.
    async fn fly(&mut self, mut flight: Flight, mut patience: Duration, place: Option<&Place>) {
        let mut pauses = self.backoff.clone().into_iter();
        while !flight.requests.is_empty() {
            let requests = Arc::new(std::mem::take(&mut flight.requests));
            let outcome = self.attempt(&requests, patience).await;
            let error = match outcome {
                Ok(answers) => {
                    self.known.learn(&answers);
                    measure::committed(&requests, &answers);
                    return flight.land(answers);
                }
                Err(error) => error,
            };
            flight.requests = Arc::try_unwrap(requests).unwrap_or_else(|shared| (*shared).clone());
            if let StoreError::Busy { counters, message } = error {
                if patience.is_zero() {
                    let held = self.part(&mut flight, &counters.into_iter().collect());
                    self.set_aside(held, place, &message);
                }
                // What is free now is taken at once, and shows what is not.
                patience = Duration::ZERO;
                continue;
            }
            match (error, pauses.next()) {
                (StoreError::Unavailable(message), Some(pause)) => {
                    warn!(error = %message, retry_in = ?pause, "store unavailable; nothing happened");
                    measure::retried();
                    flight.put_back();
                    tokio::time::sleep(jittered(pause, (self.draw)())).await;
                    flight.board_again();
                }
                (StoreError::Corrupt(_), _) if flight.requests.len() > 1 => {
                    // One bad command must not fail its neighbours: each flies alone.
                    for single in flight.split() {
                        Box::pin(self.fly(single, patience, place)).await;
                    }
                    return;
                }
                (error, _) => {
                    error!(%error, "batch failed");
                    return flight.crash(&error.into());
                }
            }
        }
    }

    /// Takes those out of a flight that touch what is held, each with what of it he touches. If it cannot be told what
    /// is held, or of nobody whether he touches it, that is everybody.
    fn part(&self, flight: &mut Flight, held: &BTreeSet<CounterId>) -> Vec<(Job, BTreeSet<CounterId>)> {
        let mut stays = Flight::with_capacity(0);
        let mut parted = Vec::new();
        for job in std::mem::replace(flight, Flight::with_capacity(0)).into_jobs() {
            let counters = self.known.counters(&job.request, &*self.clock);
            let touched: BTreeSet<CounterId> = counters.intersection(held).copied().collect();
            if touched.is_empty() && !counters.is_empty() && !held.is_empty() {
                stays.board(job);
            } else {
                parted.push((job, touched));
            }
        }
        if parted.is_empty() {
            let everybody = std::mem::replace(&mut stays, Flight::with_capacity(0)).into_jobs();
            parted.extend(everybody.map(|job| (job, BTreeSet::new())));
        }
        *flight = stays;
        parted
    }

    /// Lets jobs wait beside the lane: all together at first, then by what each waits for.
    fn set_aside(&self, held: Vec<(Job, BTreeSet<CounterId>)>, place: Option<&Place>, message: &str) {
        let Some(place) = place else {
            let counters = held.iter().flat_map(|(_, counters)| counters).copied().collect();
            return self.begin_group(counters, held.into_iter().map(|(job, _)| job).collect(), message);
        };
        let mut groups: BTreeMap<BTreeSet<CounterId>, Vec<Job>> = BTreeMap::new();
        for (job, counters) in held {
            groups.entry(counters).or_default().push(job);
        }
        let first = match (groups.len(), groups.pop_first()) {
            // Nobody knows what they wait for: half of them may be free of it.
            (1, Some((counters, mut jobs))) if counters.is_empty() && jobs.len() > 1 => {
                let half = jobs.split_off(jobs.len() / 2);
                self.begin_group(BTreeSet::new(), half, message);
                Some((counters, jobs))
            }
            (_, first) => first,
        };
        if let Some((counters, jobs)) = first {
            self.aside.wait_on(place, counters, jobs);
        }
        for (counters, jobs) in groups {
            self.begin_group(counters, jobs, message);
        }
    }

    fn begin_group(&self, counters: BTreeSet<CounterId>, jobs: Vec<Job>, message: &str) {
        match self.aside.begin(counters, jobs) {
            Ok(place) => {
                let worker = Self {
                    id: place.id,
                    ..self.clone()
                };
                tokio::spawn(worker.tend(place));
            }
            Err(jobs) => jobs.into_iter().for_each(|job| job.fail(busy(message))),
        }
    }

    /// Flies those of a group until nobody waits any more.
    async fn tend(mut self, mut place: Place) {
        let message = "another transaction held what this needs, and did not let go in time; nothing happened: retry";
        loop {
            place.id = self.id;
            let Some(jobs) = self.aside.take(&place) else { return };
            let now = Instant::now();
            let is_late = |job: &Job| now.saturating_duration_since(job.waiter.since) >= self.busy_max;
            let (late, jobs): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(is_late);
            late.into_iter().for_each(|job| job.fail(busy(message)));
            self.fly(Flight::of(jobs), PATIENCE, Some(&place)).await;
        }
    }

    /// One transaction. An unknown commit is resolved before this returns.
    async fn attempt(
        &mut self,
        requests: &Arc<Vec<Request>>,
        patience: Duration,
    ) -> Result<Vec<Result<Answer, Refusal>>, StoreError> {
        self.id.batch += 1;
        let footprint = self.known.footprint(requests, &*self.clock);
        let decided = Arc::new(Mutex::new(Decided::default()));
        let decide = decide_into(decided.clone(), requests.clone(), self.clock.clone());
        let started = Instant::now();
        let outcome = self.store.transact_within(self.id, footprint, decide, patience).await;
        measure::transacted(requests.len(), started.elapsed());
        let committed = match outcome {
            Ok(()) => true,
            Err(StoreError::Unknown(message)) => self.resolve(&message).await,
            Err(error) => return Err(error),
        };
        if committed {
            let decided = std::mem::take(&mut *decided.lock().unwrap_or_else(PoisonError::into_inner));
            measure::gates_moved(&decided.gate_moves);
            measure::taken(decided.taken);
            return Ok(decided.answers);
        }
        Err(StoreError::Unavailable("the commit did not happen".to_string()))
    }

    /// Asks until it is told whether the batch was committed; nothing else may happen in this lane before.
    async fn resolve(&self, message: &str) -> bool {
        warn!(error = %message, batch = self.id.batch, "commit outcome unknown; asking the store");
        measure::unknown();
        let mut pause = Duration::from_millis(10);
        loop {
            match self.store.committed(self.id).await {
                Ok(committed) => return committed,
                Err(error) => warn!(%error, retry_in = ?pause, "commit outcome still unknown"),
            }
            tokio::time::sleep(jittered(pause, (self.draw)())).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

impl Flight {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            requests: Vec::with_capacity(capacity),
            waiters: Vec::with_capacity(capacity),
        }
    }

    /// Everybody who has not given up.
    fn of(jobs: Vec<Job>) -> Self {
        let mut flight = Self::with_capacity(jobs.len());
        jobs.into_iter().for_each(|job| flight.board(job));
        flight
    }

    fn board(&mut self, job: Job) {
        if job.waiter.ticket.start() {
            self.requests.push(job.request);
            self.waiters.push(job.waiter);
        }
    }

    /// Nobody flies: nothing happened.
    fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.put_back();
        let pairs = self.requests.into_iter().zip(self.waiters);
        pairs.map(|(request, waiter)| Job { request, waiter })
    }

    fn put_back(&self) {
        self.waiters.iter().for_each(|waiter| waiter.ticket.put_back());
    }

    /// Leaves those behind who gave up in the meantime.
    fn board_again(&mut self) {
        let stays: Vec<bool> = self.waiters.iter().map(|waiter| waiter.ticket.start()).collect();
        let mut stay = stays.iter();
        self.requests.retain(|_| stay.next() == Some(&true));
        let mut stay = stays.iter();
        self.waiters.retain(|_| stay.next() == Some(&true));
    }

    fn split(self) -> impl Iterator<Item = Self> {
        let pairs = self.requests.into_iter().zip(self.waiters);
        pairs.map(|(request, waiter)| Self {
            requests: vec![request],
            waiters: vec![waiter],
        })
    }

    fn land(self, answers: Vec<Result<Answer, Refusal>>) {
        let mut answers = answers.into_iter();
        for Waiter { reply, .. } in self.waiters {
            let answer = answers.next().map(|answer| answer.map_err(Failure::from));
            // A caller who hung up does not hear it; the commit stands.
            let _ = reply.send(answer.unwrap_or_else(|| Err(unknown("the batch gave too few answers"))));
        }
    }

    fn crash(self, failure: &Failure) {
        for Waiter { reply, .. } in self.waiters {
            let _ = reply.send(Err(failure.clone()));
        }
    }
}

/// What a decision leaves on this side of the store.
#[derive(Default)]
struct Decided {
    answers: Vec<Result<Answer, Refusal>>,
    gate_moves: Vec<measure::GateMoved>,
    taken: u64,
}

/// What the store calls under its locks: reads the clock there, decides, and keeps the answers on this side.
fn decide_into(decided: Arc<Mutex<Decided>>, requests: Arc<Vec<Request>>, clock: Arc<dyn Clock>) -> Decide {
    Arc::new(move |held: Snapshot| {
        let mut batch = decide_all(held, requests.iter(), clock.now())?;
        *decided.lock().unwrap_or_else(PoisonError::into_inner) = Decided {
            answers: std::mem::take(&mut batch.answers),
            gate_moves: measure::gate_moves(&batch.changes),
            taken: measure::numbers(&batch.changes),
        };
        Ok(Batch {
            answers: Vec::new(),
            changes: batch.changes,
        })
    })
}

fn busy(message: &str) -> Failure {
    StoreError::Busy {
        message: message.to_string(),
        counters: Vec::new(),
    }
    .into()
}

/// Half to one and a half times as long, so that those who failed together do not come back together.
fn jittered(pause: Duration, draw: u64) -> Duration {
    pause / 2 + pause.mul_f64(f64::from(u32::try_from(draw % 1_000).unwrap_or(500)) / 1_000.0)
}
