//! Workers: they take gates that are due, whoever opened them and whoever died over them, without waiting for another
//! webhook. Several nodes share the work; the gates keep them apart.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, histogram};
use seriatim::{Answer, Claim, Code, Command, Document, Effect, Failure, Gate, GateId, Holder, Reason, Ttl};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{EVENT, Payments, RECEIPT};

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

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::hold(format!("{}: {}", refusal.code.as_str(), refusal.message)),
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
    let room = Arc::new(Semaphore::new(payments.workers.max(1)));
    let mut under_way = JoinSet::new();
    let holder: Arc<str> = format!("{}:{}", std::process::id(), rand::random::<u32>()).into();
    let tried = Tried::default();
    while !*stopped.borrow() {
        while under_way.try_join_next().is_some() {}
        let Ok(seat) = room.clone().acquire_owned().await else {
            return;
        };
        match payments.due(&tried).await {
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

/// The gates that this process tries to claim, or has just tried to.
#[derive(Clone, Default)]
struct Tried(Arc<Mutex<BTreeSet<GateId>>>);

impl Tried {
    fn gates(&self) -> MutexGuard<'_, BTreeSet<GateId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Claims a gate and, if it is won, does what it is for.
async fn attempt(payments: Arc<Payments>, gate: Arc<Gate>, holder: Arc<str>, tried: Tried, seat: OwnedSemaphorePermit) {
    let id = gate.id;
    let won = payments.win(&gate, &holder).await;
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
    /// The gate that is due for the longest time, of those that are not tried already; it counts as tried then.
    async fn due(&self, tried: &Tried) -> Result<Option<Arc<Gate>>, Failure> {
        let effects = [Effect::parse(EVENT)?, Effect::parse(RECEIPT)?];
        // Whoever makes no receipts leaves them to the nodes that do.
        let effects = if self.receipts.is_some() {
            &effects[..]
        } else {
            &effects[..1]
        };
        let now = self.issuer.clock().now();
        let due = self.issuer.reads().due_gates(effects, now, PAGE).await?;
        let mut tried = tried.gates();
        Ok(due.into_iter().find(|gate| tried.insert(gate.id)))
    }

    /// The gate, if it is ours now.
    async fn win(&self, gate: &Gate, holder: &str) -> Result<Option<Arc<Gate>>, Failure> {
        let claim = Claim {
            tenant: gate.tenant.clone(),
            effect: gate.effect.clone(),
            subject: gate.subject.clone(),
            ttl: ttl(self.lease)?,
            holder: Holder::parse(holder)?,
            key: None,
            policy: gate.policy,
        };
        let Answer::Claim { gate, outcome } = self.ask(Command::Claim(Box::new(claim))).await? else {
            return Ok(None);
        };
        let (word, is_won) = if outcome.is_won() {
            tracing::info!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "won");
            ("won", true)
        } else {
            ("skipped", false)
        };
        self.count(&gate, word);
        Ok(is_won.then_some(gate))
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
                self.count(&gate, "stale");
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
                    tracing::info!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "{word}");
                    return self.count(gate, word);
                }
                Err(Failure::Refused(refusal)) if refusal.code == Code::StaleToken => {
                    tracing::warn!(effect = %gate.effect, subject = %gate.subject, token = gate.token, "stale: {}", refusal.message);
                    return self.count(gate, "stale");
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
            tokio::time::sleep(self.lease / 3).await;
            let Ok(ttl) = ttl(self.lease) else { return };
            let renew = Command::Renew {
                gate: gate.id,
                token: gate.token,
                ttl,
            };
            if let Err(Failure::Refused(_)) = self.ask(renew).await {
                return;
            }
        }
    }

    fn count(&self, gate: &Gate, outcome: &'static str) {
        counter!("seriatim_effects_total", "effect" => gate.effect.to_string(), "outcome" => outcome).increment(1);
    }
}

fn ttl(lease: Duration) -> Result<Ttl, Failure> {
    Ok(Ttl::parse(&format!("{}s", lease.as_secs().max(1)))?)
}

fn complete(gate: &Gate, result: &str) -> Command {
    Command::Complete {
        gate: gate.id,
        token: gate.token,
        result: Document::stored(result),
    }
}

fn fail(gate: &Gate, trouble: &Trouble) -> Command {
    let error = cleaned(&trouble.what);
    Command::Fail {
        gate: gate.id,
        token: gate.token,
        error,
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
