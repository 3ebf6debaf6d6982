//! Simulated misfortune: seeded schedules of lost answers, crashes, slow stores, clock jumps and callers who hang up,
//! judged by [`history`](super::history).
//!
//! One seed is one schedule: time is simulated and every draw comes from the seed, so that a failure can be run again.
//! Two processes share one store; a crash ends one of them in the middle of whatever it does, and another takes over.
//! The oracle takes a lost answer for what it is, unknown, and asks again with the same key when the weather is fair.

mod bugs;
mod callers;
mod faulty;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use seriatim_core::{SeriesSpec, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use bugs::Bug;
use faulty::{Fates, Faulty};

use super::history::gates::GateCall;
use super::history::{Readout, Recorder, judge};
use super::layer::Layered;
use crate::clock::Clock;
use crate::issuer::{Issuer, Options};
use crate::store::memory::Memory;
use crate::store::{Reads, Store};
use crate::verify::verify;

/// What one schedule showed.
#[derive(Debug, Clone)]
pub struct Run {
    /// Run this again to see the same.
    pub seed: u64,
    /// Broken promises; empty if all held.
    pub verdicts: Vec<String>,
    /// How many calls were made.
    pub calls: usize,
    /// How often the rare things happened.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// The same for the same seed.
    pub fingerprint: u64,
}

/// What must have happened at least once in a few hundred schedules, else they prove nothing about it.
pub const SOMETIMES: &[&str] = &[
    "an unknown commit had committed",
    "an unknown commit had not committed",
    "a late commit landed after its process had crashed",
    "a late commit was waited for",
    "a late commit was fenced off",
    "the outcome could not be asked for at once",
    "a replay",
    "a refusal",
    "a crash with calls under way",
    "a takeover answered a key of the crashed process",
    "a lost answer resolved to a number that had been taken",
    "a lost answer resolved to a number taken now",
    "a deadline passed and nothing had happened",
    "a deadline passed and the outcome was unknown",
    "the retries were used up",
    "a caller hung up",
    "the clock went back",
    "the clock went ahead",
    "a reservation was confirmed",
    "a number was reissued",
    "a claim was told to wait",
    "a loser waited and heard the result",
    "a claim came when all was done",
    "a claim that was repeated with its key got its token",
    "a lease ran out and another took over",
    "a worker died while it held a gate",
    "a paused winner completed, for nobody had come",
    "a stale completion was refused",
    "a stale renewal was refused",
    "a stale failure was refused",
    "a lost completion had been recorded",
    "a lost completion was recorded now",
    "a lost completion had come too late",
    "a gate that had failed was tried again",
    "a gate that had failed was done in the end",
    "a gate died",
    "a dead gate was opened again",
    "a gate was left to fair weather",
];

/// Runs many schedules, on every processor; the runs come back in no order.
///
/// # Panics
/// A schedule panicked.
#[must_use]
pub fn run_many(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> Vec<Run> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut runs = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return runs;
            }
            runs.push(simulate(seed, bug));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a schedule panicked"))
            .collect()
    })
}

/// Runs one schedule, on a healthy store or on one with a seeded bug, which the judge must convict.
///
/// # Panics
/// No runtime can be started.
#[must_use]
pub fn simulate(seed: u64, bug: Option<Bug>) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new(seed, bug);
        world.run().await
    })
}

/// Draws from a seed, for whoever holds a clone.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number from 0 to just below `end`.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.with(|rng| rng.random_range(0..end.max(1)))
    }

    /// Whether a thing with so many chances in a hundred happens.
    #[must_use]
    pub fn percent(&self, chances: u64) -> bool {
        self.below(100) < chances
    }

    /// A stretch of time, below so many milliseconds; whole ones, for timers know no shorter time.
    #[must_use]
    pub fn millis(&self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    fn next(&self) -> u64 {
        self.with(Rng::next_u64)
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts the rare things.
#[derive(Debug, Clone, Default)]
pub struct Sometimes(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Sometimes {
    /// It happened.
    pub fn hit(&self, what: &'static str) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(what)
            .or_default() += 1;
    }

    /// How often each happened.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct World {
    seed: u64,
    bug: Option<Bug>,
    dice: Dice,
    sometimes: Sometimes,
    fates: Fates,
    store: Arc<dyn Store>,
    recorder: Recorder,
    gates: Recorder<GateCall>,
    began: Instant,
    processes: Mutex<Vec<Arc<Process>>>,
    /// Place and tag of calls that were under way when their process crashed.
    crashed: Mutex<BTreeSet<(String, String)>>,
}

/// One issuer, which can be made to end in the middle of what it does.
struct Process {
    issuer: Issuer,
    clock: Arc<GoingClock>,
    life: Life,
}

/// A clock that goes on with simulated time, from wherever it was set.
struct GoingClock(Mutex<(Instant, Timestamp)>);

impl GoingClock {
    fn at(now: Timestamp) -> Self {
        Self(Mutex::new((Instant::now(), now)))
    }

    fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), now);
    }
}

impl Clock for GoingClock {
    fn now(&self) -> Timestamp {
        let (since, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        after(at, since)
    }
}

/// What a right clock shows that stood at `at` then.
fn after(at: Timestamp, since: Instant) -> Timestamp {
    let micros = i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros().saturating_add(micros))
}

/// Ends once, and wakes all who wait for that in the order in which they came: a `watch` would draw the order by lot.
#[derive(Clone)]
struct Life(Arc<Semaphore>);

impl Life {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn end(&self) {
        self.0.close();
    }

    fn is_over(&self) -> bool {
        self.0.is_closed()
    }

    async fn ended(&self) {
        // There are no permits, so this waits until the semaphore is closed.
        let _ = self.0.acquire().await;
    }
}

const PROCESSES: usize = 2;
const CALLERS: u64 = 5;
/// 2026-03-31T18:29:00Z: in Kolkata a minute to midnight, and a fiscal year ends.
const BEGINNING: i64 = 1_774_981_740_000_000;
const DAY: i64 = 86_400_000_000;

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> Arc<Self> {
        let dice = Dice::new(seed);
        let memory: Arc<dyn Store> = Arc::new(Memory::new());
        let store = bug.map_or(memory.clone(), |bug| bug.on_top_of(memory, dice.clone()));
        Arc::new(Self {
            seed,
            bug,
            dice: dice.clone(),
            sometimes: Sometimes::default(),
            fates: Fates::default(),
            store,
            recorder: Recorder::default(),
            gates: Recorder::default(),
            began: Instant::now(),
            processes: Mutex::new(Vec::new()),
            crashed: Mutex::new(BTreeSet::new()),
        })
    }

    async fn run(self: Arc<Self>) -> Run {
        self.begin().await;
        self.fates.set_storm(true);
        let callers = (0..CALLERS).map(|caller| tokio::spawn(self.clone().call_often(caller)));
        let callers: Vec<_> = callers.collect();
        let workers = (0..workers::WORKERS).map(|worker| tokio::spawn(self.clone().work_often(worker)));
        let workers: Vec<_> = workers.collect();
        let chaos = tokio::spawn(self.clone().make_trouble());
        for caller in callers.into_iter().chain(workers) {
            caller.await.expect("a caller panicked");
        }
        chaos.abort();
        self.fates.set_storm(false);
        self.replace(0).await;
        let mut verdicts = self.resolve().await;
        verdicts.extend(self.resolve_completions().await);
        // Late commits land within this.
        tokio::time::sleep(Duration::from_secs(600)).await;
        verdicts.extend(self.bring_gates_about().await);
        verdicts.extend(self.judge().await);
        verdicts.extend(self.judge_gates().await);
        let (calls, gate_calls) = (self.recorder.calls(), self.gates.calls());
        let mut hasher = DefaultHasher::new();
        format!("{calls:?} {gate_calls:?}").hash(&mut hasher);
        Run {
            seed: self.seed,
            verdicts,
            calls: calls.len() + gate_calls.len(),
            sometimes: self.sometimes.counts(),
            fingerprint: hasher.finish(),
        }
    }

    /// The series, defined while all is well.
    async fn begin(&self) {
        for _ in 0..PROCESSES {
            let process = self.start().await;
            self.processes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(process);
        }
        let text = |text: &str| Some(text.to_string());
        let invoice = SeriesSpec {
            format: "INV-{fy}-{seq:3}".to_string(),
            reset: text("fiscal-year:04-01"),
            time_zone: text("Asia/Kolkata"),
            keys: text("optional"),
            ..SeriesSpec::default()
        };
        let order = SeriesSpec {
            format: "{date}/{seq}".to_string(),
            reset: text("daily"),
            date_order: text("required"),
            keys: text("optional"),
            ..SeriesSpec::default()
        };
        let process = self.process(0);
        for (name, spec) in [("invoice", invoice), ("order", order)] {
            process
                .issuer
                .define(name, spec)
                .await
                .expect("a definition in fair weather");
        }
    }

    async fn start(&self) -> Arc<Process> {
        let life = Life::new();
        let fences = self.bug != Some(Bug::AsksWithoutFence);
        let faulty = Faulty::new(
            self.dice.clone(),
            self.fates.clone(),
            self.sometimes.clone(),
            life.clone(),
            fences,
        );
        let mut store: Arc<dyn Store> = Arc::new(Layered::new(self.store.clone(), faulty));
        if self.bug == Some(Bug::GuessesAnUnknownCommit) {
            store = bugs::guessing(store);
        }
        let clock = Arc::new(GoingClock::at(after(Timestamp::from_micros(BEGINNING), self.began)));
        let dice = self.dice.clone();
        let options = Options {
            clock: clock.clone(),
            draw: Arc::new(move || dice.next()),
            ..Options::default()
        };
        let issuer = Issuer::with(store, options).await.expect("reads never fail here");
        Arc::new(Process { issuer, clock, life })
    }

    fn process(&self, which: usize) -> Arc<Process> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)[which].clone()
    }

    /// Behind a load balancer one does not choose.
    fn any_process(&self) -> Arc<Process> {
        self.process(self.any())
    }

    fn any(&self) -> usize {
        usize::try_from(self.dice.below(PROCESSES as u64)).unwrap_or(0)
    }

    /// Ends a process as a power cut does, and starts another.
    async fn replace(&self, which: usize) {
        let next = self.start().await;
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut processes[which], next);
        old.life.end();
    }

    async fn make_trouble(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.dice.millis(1_500)).await;
            let which = self.any();
            match self.dice.below(4) {
                0 => self.replace(which).await,
                1 => self.fates.set_storm(self.dice.percent(60)),
                _ => self.jump(which),
            }
        }
    }

    /// By a moment, a day or years, ahead or back.
    fn jump(&self, which: usize) {
        let clock = &self.process(which).clock;
        let now = clock.now().as_micros();
        let reach =
            [1_000_000, 60_000_000, DAY, 40 * DAY, 1_500 * DAY][usize::try_from(self.dice.below(5)).unwrap_or(0)];
        let by = i64::try_from(self.dice.below(2 * reach.cast_unsigned())).unwrap_or(0) - reach;
        self.sometimes.hit(if by < 0 {
            "the clock went back"
        } else {
            "the clock went ahead"
        });
        // Within the years that two digits can tell apart.
        let now = (now + by).clamp(BEGINNING - 8_000 * DAY, BEGINNING + 20_000 * DAY);
        clock.set(Timestamp::from_micros(now));
    }

    async fn judge(&self) -> Vec<String> {
        let reads: &dyn Reads = &*self.store;
        let readout = Readout::of(reads).await.expect("reads never fail here");
        let verdicts = judge(&self.recorder.calls(), &readout);
        let report = verify(reads, &crate::verify::Options::default(), &|_| {})
            .await
            .expect("reads never fail here");
        let findings = report
            .findings
            .iter()
            .map(|finding| format!("verify: {} {}", finding.code, finding.place));
        verdicts.iter().map(ToString::to_string).chain(findings).collect()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} calls", self.seed, self.calls)?;
        self.verdicts
            .iter()
            .try_for_each(|verdict| writeln!(f, "    {verdict}"))
    }
}
