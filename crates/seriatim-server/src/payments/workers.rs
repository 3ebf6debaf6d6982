//! Workers: they take gates that are due, whoever opened them and whoever died over them, without waiting for another
//! webhook. Several nodes share the work; the gates keep them apart.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::histogram;
use seriatim::store::StoreError;
use seriatim::{Answer, Claim, Code, Command, Document, Failure, Gate, GateId, Holder, Reason, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{EVENT, Payments};

/// How often it is looked for gates that another node opened, or that somebody died over.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many gates are looked at in one go.
const PAGE: usize = 16;

/// Why an attempt came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    what: String,
    /// Nobody tries again before somebody looked.
    hold: bool,
}

impl Trouble {
    /// It may go better later.
    pub fn retry(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hold: false,
        }
    }

    /// Somebody must look first.
    pub fn hold(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hold: true,
        }
    }
}

impl Trouble {
    /// As a gate keeps it.
    pub(super) fn reason(&self) -> Reason {
        cleaned(&self.what)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::hold(format!("{}: {}", refusal.code.as_str(), refusal.message))
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Corrupt { message } => Self::hold(message),
            other => Self::retry(other.to_string()),
        }
    }
}

/// Workers that run until they are stopped.
pub struct Workers {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Workers {
    /// Starts as many as the payments want.
    #[must_use]
    pub fn start(payments: Arc<Payments>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(run(payments, stopped));
        Self { stop, running }
    }

    /// Takes nothing more, and returns when what was begun has ended.
    pub async fn end(self) {
        // An error means that it has ended already.
        let _ = self.stop.send(true);
        let _ = self.running.await;
    }
}

async fn run(payments: Arc<Payments>, mut stopped: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(payments.pace.workers.max(1)));
    let mut under_way = JoinSet::new();
    let holder = match Holder::parse(&format!("{}:{}", std::process::id(), rand::random::<u32>())) {
        Ok(holder) => holder,
        Err(refusal) => return tracing::error!(%refusal, "workers cannot be named; none work"),
    };
    let (mut due, tried) = (Due::default(), Tried::default());
    while !*stopped.borrow() {
        while under_way.try_join_next().is_some() {}
        let Ok(seat) = room.clone().acquire_owned().await else {
            return;
        };
        match payments.due(&mut due, &tried).await {
            // Claimed beside the others: the locks of a node that was paused hold up its own gates and no more.
            Ok(Some(gate)) => {
                under_way.spawn(attempt(payments.clone(), gate, holder.clone(), tried.clone(), seat));
            }
            Ok(None) => {
                tokio::select! {
                    () = payments.opened.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    _ = stopped.changed() => {}
                }
            }
            Err(failure) => {
                tracing::warn!(%failure, "workers cannot look for what is due");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// What was found when it was last looked for what is due.
#[derive(Default)]
struct Due {
    gates: VecDeque<Arc<Gate>>,
    /// How many of them were left to other nodes: so many more are looked at the next time, behind them.
    others: usize,
}

/// The gates that this process tries to claim, or has just tried to.
#[derive(Clone, Default)]
struct Tried(Arc<Mutex<BTreeSet<GateId>>>);

impl Tried {
    fn gates(&self) -> MutexGuard<'_, BTreeSet<GateId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Claims a gate and, if it is won, does what it is for.
async fn attempt(payments: Arc<Payments>, gate: Arc<Gate>, holder: Holder, tried: Tried, seat: OwnedSemaphorePermit) {
    let id = gate.id;
    let won = payments.win(&gate, holder).await;
    if let Ok(Some(gate)) = won {
        tried.gates().remove(&id);
        return payments.bring_about(gate).await;
    }
    if let Err(failure) = won {
        tracing::warn!(effect = %gate.effect, subject = %gate.subject, %failure, "cannot claim what is due");
    }
    drop(seat);
    // Not again at once, whatever was in the way.
    tokio::time::sleep(LOOK_EVERY).await;
    tried.gates().remove(&id);
}

impl Payments {
    /// A gate that is due and not tried already, and counts as tried then: one of those found when it was last looked,
    /// else one found now.
    async fn due(&self, due: &mut Due, tried: &Tried) -> Result<Option<Arc<Gate>>, Failure> {
        if due.gates.is_empty() {
            // Whoever makes no receipts leaves them to the nodes that do.
            let effects = [self.effects.event.clone(), self.effects.receipt.clone()];
            let effects = &effects[..1 + usize::from(self.receipts.is_some())];
            let now = self.issuer.clock().now();
            // Those that are tried may be due still, and must not hide the others.
            let most = PAGE + tried.gates().len() + due.others;
            let found = self.issuer.reads().due_gates(effects, now, most).await?;
            let (ours, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|gate| self.is_ours(gate));
            due.gates.extend(ours);
            due.others = others.len();
        }
        let mut tried = tried.gates();
        while let Some(gate) = due.gates.pop_front() {
            if tried.insert(gate.id) {
                return Ok(Some(gate));
            }
        }
        Ok(None)
    }

    /// An event is for a node that knows its source; another one would only use up its attempts.
    fn is_ours(&self, gate: &Gate) -> bool {
        let source = gate.subject.as_str().split(':').next();
        gate.effect != self.effects.event || source.is_none_or(|source| self.desk(source).is_some())
    }

    /// The gate, if it is ours now.
    async fn win(&self, gate: &Gate, holder: Holder) -> Result<Option<Arc<Gate>>, Failure> {
        let claim = Claim {
            tenant: gate.tenant.clone(),
            effect: gate.effect.clone(),
            subject: gate.subject.clone(),
            ttl: self.pace.lease,
            holder,
            key: None,
            policy: gate.policy,
        };
        let Answer::Claim { gate, outcome } = self.ask(Command::Claim(Box::new(claim))).await? else {
            return Ok(None);
        };
        if outcome.is_won() {
            tracing::info!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "won");
            return Ok(Some(gate));
        }
        tracing::info!(effect = %gate.effect, subject = %gate.subject, outcome = outcome.as_str(), "skipped");
        Ok(None)
    }

    /// Does what a gate that is ours is for, and says how it ended. While it works the lease is renewed.
    async fn bring_about(&self, gate: Arc<Gate>) {
        let started = Instant::now();
        let work = async {
            match gate.effect.as_str() {
                EVENT => self.handle_event(&gate).await,
                _ => self.handle_receipt(&gate).await,
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = self.keep_lease(&gate) => {
                tracing::warn!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "stale: taken over by another");
                return;
            }
        };
        let (word, command) = match outcome {
            Ok(result) => ("done", complete(&gate, &result)),
            Err(trouble) => {
                tracing::warn!(effect = %gate.effect, subject = %gate.subject, token = gate.token,
                    attempt = gate.attempts, hold = trouble.hold, "reset after failure: {}", trouble.what);
                ("failed", fail(&gate, &trouble))
            }
        };
        histogram!("seriatim_effect_duration_seconds", "effect" => gate.effect.to_string())
            .record(started.elapsed().as_secs_f64());
        self.end(&gate, word, command).await;
    }

    /// Says how it ended, until it is heard: the lease is what bounds this.
    async fn end(&self, gate: &Gate, word: &'static str, command: Command) {
        for _ in 0..5 {
            match self.ask(command.clone()).await {
                Ok(_) => {
                    return tracing::info!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "{word}");
                }
                Err(Failure::Refused(refusal)) if refusal.code == Code::StaleToken => {
                    return tracing::warn!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "stale: {}", refusal.message);
                }
                Err(failure) => {
                    tracing::warn!(effect = %gate.effect, subject = %gate.subject, %failure, "cannot say how it ended");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Renews for as long as it is current; returns when it is not.
    async fn keep_lease(&self, gate: &Gate) {
        loop {
            tokio::time::sleep(Duration::from_secs(self.pace.lease.as_seconds().unsigned_abs()) / 3).await;
            let renew = Command::Renew {
                gate: gate.id,
                token: gate.token,
                ttl: self.pace.lease,
            };
            if let Err(Failure::Refused(_)) = self.ask(renew).await {
                return;
            }
        }
    }
}

fn complete(gate: &Gate, result: &str) -> Command {
    Command::Complete {
        gate: gate.id,
        token: gate.token,
        result: Document::stored(result),
    }
}

fn fail(gate: &Gate, trouble: &Trouble) -> Command {
    Command::Fail {
        gate: gate.id,
        token: gate.token,
        error: trouble.reason(),
        retry_in: None,
        give_up: trouble.hold,
    }
}

/// What a program said, as a reason: one line, and not too long.
fn cleaned(what: &str) -> Reason {
    let line: String = what
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(900)
        .collect();
    Reason::parse(line.trim()).unwrap_or_else(|_| Reason::unsaid())
}
