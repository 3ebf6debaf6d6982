//! The facade: takes commands, combines those that wait, retries what may be retried, and answers within a deadline.
//!
//! No rule is decided here; see `seriatim_core::decide`. What this module must know is time: how long to queue, when
//! to retry, and what to tell a caller whose answer is not there yet (promise P9).

mod aside;
mod lane;
mod measure;
mod take;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use seriatim_core::{
    Access, Actor, Answer, Command, Gate, GateId, OnExpiry, Refusal, Request, Series, SeriesName, SeriesSpec, State,
    Tenant, Zones,
};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::failure::{Failure, Repeat};
use crate::store::{EntryFilter, Reads, Store, StoreError};
use crate::zones::BundledZones;
use lane::{Job, Lane, Ticket, Waiter};

pub use take::Issue;

/// When somebody who waits for a gate looks first whether another process ended it; twice as long each time after.
const LOOK_FIRST: Duration = Duration::from_millis(10);
/// How often he looks at last.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How an issuer behaves; the defaults are those of the binary.
#[derive(Clone)]
pub struct Options {
    /// Within this a caller gets an answer, a refusal or an error: all attempts together.
    pub deadline: Duration,
    /// How many commands may wait in a queue before more are turned away.
    pub queue_max: usize,
    /// How many commands one commit may hold.
    pub batch_max: usize,
    /// Pauses before each retry; jittered.
    pub backoff: Vec<Duration>,
    /// Who tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who knows time zones.
    pub zones: Arc<dyn Zones + Send + Sync>,
    /// Who acts, when the library is called and says nothing else.
    pub actor: Option<Actor>,
    /// Where the node's number and the jitter of retries come from; two processes must not draw alike.
    pub draw: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(3),
            queue_max: 10_000,
            batch_max: 2_000,
            backoff: [100, 200, 400].map(Duration::from_millis).to_vec(),
            clock: Arc::new(SystemClock),
            zones: Arc::new(BundledZones),
            actor: None,
            draw: Arc::new(lane::draw),
        }
    }
}

/// Issues numbers from a store. Cheap to clone; every clone shares the same lanes.
#[derive(Clone)]
pub struct Issuer {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    lanes: Vec<Lane>,
    options: Options,
    actor: Actor,
    /// Told of each gate that this process has brought to its end.
    gates_over: broadcast::Sender<GateId>,
}

impl Issuer {
    /// Starts issuing from a store, with the default options. Needs a tokio runtime with time enabled.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(store: impl Store) -> Result<Self, StoreError> {
        Self::with(Arc::new(store), Options::default()).await
    }

    /// Starts issuing from a store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn with(store: Arc<dyn Store>, options: Options) -> Result<Self, StoreError> {
        measure::describe();
        let known = lane::Known::of(store.series().await?);
        let node = (options.draw)().cast_signed();
        let start = |lanes| Lane::start(node, lanes, &store, &known, &options);
        let lanes = if store.lanes_are_alike() {
            vec![start(0..store.lanes())]
        } else {
            (0..store.lanes()).map(|lane| start(lane..lane + 1)).collect()
        };
        let library = || Actor::parse("library").map_err(|refusal| StoreError::Unavailable(refusal.message));
        let actor = options.actor.clone().map_or_else(library, Ok)?;
        let shared = Shared {
            store,
            lanes,
            options,
            actor,
            // Who lags behind looks at the store instead.
            gates_over: broadcast::channel(1_024).0,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Carries out a command within the default deadline.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn execute(&self, request: Request) -> Result<Answer, Failure> {
        self.execute_within(request, self.shared.options.deadline).await
    }

    /// Carries out a command within a deadline. The command goes on when the caller stops waiting.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn execute_within(&self, request: Request, deadline: Duration) -> Result<Answer, Failure> {
        self.execute_until(request, tokio::time::sleep(deadline)).await
    }

    /// Carries out a command; its caller stops waiting when `over` is done. The command goes on then.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn execute_until(&self, request: Request, over: impl Future<Output = ()>) -> Result<Answer, Failure> {
        let started = Instant::now();
        let (verb, is_rehearsal) = (request.command.verb(), request.rehearsal);
        let repeat = Repeat::of(&request.command);
        let ticket = Ticket::new();
        let (reply, answer) = oneshot::channel();
        let waiter = Waiter {
            ticket: ticket.clone(),
            reply,
            since: started,
        };
        self.lane_of(&request).send(Job { request, waiter })?;
        let answer = tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| unknown("the lane ended before it answered")).flatten(),
            () = over => Err(given_up(&ticket, started.elapsed())),
        };
        let answer = answer.map_err(|failure| failure.repeated(repeat));
        measure::answered(verb, is_rehearsal, &answer, started.elapsed());
        if let Ok(Answer::Gate { gate, .. } | Answer::Claim { gate, .. }) = &answer
            && gate.is_over()
        {
            // Nobody waits: nothing to tell.
            let _ = self.shared.gates_over.send(gate.id);
        }
        answer
    }

    /// The lane of a command: those that take numbers in one series for one tenant share a lane.
    fn lane_of(&self, request: &Request) -> &Lane {
        let lanes = &self.shared.lanes;
        if lanes.len() == 1 {
            return &lanes[0];
        }
        let mut hasher = DefaultHasher::new();
        match &request.command {
            Command::Issue { series, take }
            | Command::IssueCount { series, take, .. }
            | Command::Preview { series, take, .. }
            | Command::Reserve { series, take, .. } => (series, &take.tenant).hash(&mut hasher),
            Command::Adopt { series, adopt } => (series, &adopt.tenant).hash(&mut hasher),
            Command::IssueItems { series, items } => {
                (series, items.first().map(|item| &item.tenant)).hash(&mut hasher);
            }
            Command::AdoptItems { series, items, .. } => {
                (series, items.first().map(|item| &item.tenant)).hash(&mut hasher);
            }
            Command::OpenGate {
                tenant,
                effect,
                subject,
                ..
            } => GateId::of(tenant, effect, subject).hash(&mut hasher),
            Command::Claim(claim) => GateId::of(&claim.tenant, &claim.effect, &claim.subject).hash(&mut hasher),
            Command::Renew { gate, .. }
            | Command::Complete { gate, .. }
            | Command::Fail { gate, .. }
            | Command::Retry { gate, .. } => gate.hash(&mut hasher),
            _ => {}
        }
        let lane = hasher.finish() % lanes.len() as u64;
        &lanes[usize::try_from(lane).unwrap_or(0)]
    }

    /// Takes a number: `issuer.issue("invoice").tenant("acme").key("pay_1").document(&invoice).await?`.
    #[must_use]
    pub fn issue<'a>(&'a self, series: &'a str) -> Issue<'a> {
        Issue::new(self, series)
    }

    /// Defines a series, as the library's own actor.
    ///
    /// # Errors
    /// `invalid_definition` with the place, and the refusals of `define`.
    pub async fn define(&self, name: &str, spec: SeriesSpec) -> Result<Arc<Series>, Failure> {
        let name = SeriesName::parse(name)?;
        let series = self.series_from(name, &spec)?;
        let command = Command::Define {
            series: Box::new(series),
            if_version: None,
        };
        match self.execute(self.own(command)).await? {
            Answer::Series { series, .. } => Ok(series),
            other => Err(unexpected(&other)),
        }
    }

    /// Checks a definition without storing it.
    ///
    /// # Errors
    /// `invalid_definition` with the place.
    pub fn series_from(&self, name: SeriesName, spec: &SeriesSpec) -> Result<Series, Refusal> {
        Ok(Series::define(name, spec, &*self.shared.options.zones)?)
    }

    /// A command of the library's own actor, who may do everything.
    pub(crate) fn own(&self, command: Command) -> Request {
        Request {
            actor: self.shared.actor.clone(),
            on_behalf_of: None,
            access: Access::full(),
            rehearsal: false,
            command,
        }
    }

    /// What can be read.
    #[must_use]
    pub fn reads(&self) -> &dyn Reads {
        &*self.shared.store
    }

    /// Who tells the time here.
    #[must_use]
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        self.shared.options.clock.clone()
    }

    /// The clock, as a reference.
    pub fn clock(&self) -> &dyn Clock {
        &*self.shared.options.clock
    }

    /// Waits until a gate is done or dead, or the time is over, and gives it as it is then; nothing if there is none.
    ///
    /// What this process completed is heard at once; what another one did, within about twice the time that it took,
    /// and never later than 250 ms.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn gate_over(&self, id: GateId, within: Duration) -> Result<Option<Arc<Gate>>, StoreError> {
        let deadline = Instant::now() + within;
        // Listening begins before the look, so that no end falls between the two.
        let mut over = self.shared.gates_over.subscribe();
        let mut pause = LOOK_FIRST;
        loop {
            let gate = self.reads().gate(id).await?;
            let now = Instant::now();
            if gate.as_ref().is_none_or(|gate| gate.is_over()) || now >= deadline {
                return Ok(gate);
            }
            let look_again = deadline.min(now + pause);
            pause = (pause * 2).min(LOOK_EVERY);
            let told = async { while over.recv().await.is_ok_and(|ended| ended != id) {} };
            // Told or not, the store is what counts.
            let _ = tokio::time::timeout_at(look_again, told).await;
        }
    }

    /// Voids overdue reservations of series that say so, a thousand at most; how many. Call it now and then.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sweep(&self) -> Result<usize, Failure> {
        // Those that are held stay overdue, and as many as there are must not hide the others.
        let mut series = self.reads().series().await?;
        series.retain(|series| series.on_expiry == OnExpiry::Void);
        if series.is_empty() {
            return Ok(0);
        }
        let filter = EntryFilter {
            series: series.iter().map(|series| series.name.clone()).collect(),
            state: Some(State::Reserved),
            expires_until: Some(self.clock().now()),
            ..EntryFilter::default()
        };
        let overdue = self.reads().entries(&filter, 1_000).await?;
        let mut voided = 0;
        for entry in overdue.rows {
            // Whether it is void by now is a rule: the decision refuses where it is not.
            match self.execute(self.own(Command::Expire { entry: entry.id })).await {
                Ok(_) => voided += 1,
                Err(Failure::Refused(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(voided)
    }

    /// Stops taking commands, finishes those that wait, and returns when the last is committed.
    pub async fn close(&self) {
        for lane in &self.shared.lanes {
            lane.close().await;
        }
    }

    /// Within this a caller gets an answer, unless it says otherwise.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.shared.options.deadline
    }

    /// How many commands wait, in all lanes.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.lanes.iter().map(Lane::queued).sum()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(message) => Self::Unavailable {
                message,
                retry_after: Duration::from_secs(1),
                code: "store_unavailable",
            },
            StoreError::Unknown(message) => unknown(&message),
            StoreError::Corrupt(message) => Self::Corrupt { message },
            StoreError::Busy { message, .. } => Self::Unavailable {
                message,
                retry_after: Duration::from_secs(1),
                code: "counter_busy",
            },
            StoreError::Fenced(message) => Self::Unavailable {
                message,
                retry_after: Duration::from_secs(5),
                code: "fenced",
            },
        }
    }
}

/// Nobody knows what became of it, nor here what it was.
fn unknown(what: &str) -> Failure {
    Failure::Unknown {
        message: what.to_string(),
        repeat: Repeat::Look,
    }
}

/// What a caller hears who waits no longer.
fn given_up(ticket: &Ticket, waited: Duration) -> Failure {
    if !ticket.abandon() {
        return unknown(&format!("the commit was not confirmed within {waited:.1?}"));
    }
    Failure::Unavailable {
        message: format!("the command waited {waited:.1?} without being started; nothing happened"),
        retry_after: Duration::from_secs(1),
        code: "deadline_exceeded",
    }
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::Corrupt {
        message: format!("the decision gave an answer of another kind: {answer:?}"),
    }
}

/// The tenant of a text, or the default.
fn tenant_or_default(text: Option<&str>) -> Result<Tenant, Refusal> {
    text.map_or_else(|| Ok(Tenant::default()), Tenant::parse)
}
