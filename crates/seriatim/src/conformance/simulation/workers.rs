//! Those who work at what may happen once: they claim, are slow, are paused past their lease, die, fail and complete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use seriatim_core::{
    Answer, Claim, ClaimOutcome, Command, Document, Effect, EventKind, Gate, GateId, GatePolicy, GateState, Holder,
    Key, Reason, Subject, Tenant, Ttl,
};

use super::bugs::Bug;
use super::{Dice, Process, World};
use crate::clock::Clock as _;
use crate::conformance::history::gates::{Asked, GateRead, GateTold, judge_gates};
use crate::failure::Failure;
use crate::store::Reads;

pub(super) const WORKERS: u64 = 4;
const TURNS: u64 = 6;
const SUBJECTS: u64 = 3;
/// How often somebody says again what he got no answer to.
const TRIES: u64 = 3;

/// One claim that somebody means to make, however often he must send it.
#[derive(Clone)]
struct Claimer {
    claim: Claim,
    gate: GateId,
}

impl Claimer {
    /// The key is that of the turn, so that several workers have the same: a key names a claim of its holder only.
    fn draw(dice: &Dice, worker: u64, turn: u64) -> Self {
        let key = dice.percent(60).then(|| format!("claim-{turn}"));
        let subject = format!("pay_{}", dice.below(SUBJECTS));
        let lease = 1 + dice.below(4);
        Self::new(&subject, &format!("worker-{worker}.{turn}"), key.as_deref(), lease)
    }

    fn new(subject: &str, holder: &str, key: Option<&str>, lease: u64) -> Self {
        let (tenant, effect) = (Tenant::default(), Effect::parse("receipt").expect("an effect"));
        let subject = Subject::parse(subject).expect("a subject");
        let seconds = |seconds| Ttl::from_seconds(seconds).expect("a duration");
        let gate = GateId::of(&tenant, &effect, &subject);
        let claim = Claim {
            tenant,
            effect,
            subject,
            ttl: seconds(lease),
            holder: Holder::parse(holder).expect("a holder"),
            key: key.map(|key| Key::parse(key).expect("a key")),
            policy: GatePolicy::new(Some(4), Some(seconds(1)), Some(seconds(2))).expect("a policy"),
        };
        Self { claim, gate }
    }

    fn by(&self) -> &str {
        &self.claim.holder
    }

    /// Each writes a result that only he can have written, with this token.
    fn result(&self, token: u64) -> Document {
        Document::stored(&format!(r#"{{"by":"{}","token":{token}}}"#, self.by()))
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.claim.ttl.as_seconds().unsigned_abs())
    }
}

/// What was heard, and from whom nothing.
type Heard = (GateTold, Option<Result<Answer, Failure>>);

impl World {
    pub(super) async fn work_often(self: Arc<Self>, worker: u64) {
        for turn in 0..TURNS {
            tokio::time::sleep(self.dice.millis(800)).await;
            let claimer = Claimer::draw(&self.dice, worker, turn);
            match self.claim(&claimer).await {
                GateTold::Won { token, .. } => self.hold(&claimer, token).await,
                GateTold::UnderWay => self.wait(&claimer).await,
                GateTold::Done(_) => self.sometimes.hit("a claim came when all was done"),
                GateTold::Dead if self.dice.percent(60) => self.open_again(&claimer).await,
                GateTold::Dead | GateTold::Refused | GateTold::Nothing | GateTold::Unknown => {}
            }
        }
    }

    /// Claims; with a key again and again until there is an answer, and at times although there was one.
    async fn claim(&self, claimer: &Claimer) -> GateTold {
        for _ in 0..TRIES {
            let command = Command::Claim(Box::new(claimer.claim.clone()));
            let (told, answer) = self.ask_gate(&self.any_process(), claimer, Asked::Claim, command).await;
            if let Some(Ok(Answer::Claim { gate, outcome })) = &answer {
                self.note_claim(gate, *outcome);
            }
            let is_repeated = claimer.claim.key.is_some()
                && match told {
                    GateTold::Unknown | GateTold::Nothing => true,
                    _ => self.dice.percent(10),
                };
            if !is_repeated {
                return told;
            }
            tokio::time::sleep(self.dice.millis(500)).await;
        }
        GateTold::Unknown
    }

    fn note_claim(&self, gate: &Gate, outcome: ClaimOutcome) {
        match outcome {
            ClaimOutcome::Won { took_over: true, .. } => {
                self.sometimes.hit("a lease ran out and another took over");
            }
            ClaimOutcome::Won { replayed: true, .. } => {
                self.sometimes
                    .hit("a claim that was repeated with its key got its token");
            }
            ClaimOutcome::Won { .. } if gate.attempts > 1 => {
                self.sometimes.hit("a gate that had failed was tried again")
            }
            ClaimOutcome::Busy { .. } => self.sometimes.hit("a claim was told to wait"),
            ClaimOutcome::Won { .. } | ClaimOutcome::Done | ClaimOutcome::Dead => {}
        }
    }

    /// Works, and ends it one way or the other; or dies.
    async fn hold(&self, claimer: &Claimer, token: u64) {
        let mut is_late = false;
        loop {
            match self.dice.below(20) {
                0 => return self.sometimes.hit("a worker died while it held a gate"),
                1..=2 => {
                    tokio::time::sleep(claimer.lease() + self.dice.millis(3_000)).await;
                    is_late = true;
                }
                3..=6 => {
                    tokio::time::sleep(self.dice.millis(600)).await;
                    let ttl = claimer.claim.ttl;
                    let command = |token| Command::Renew {
                        gate: claimer.gate,
                        token,
                        ttl,
                    };
                    let told = self.say(claimer, Asked::Renew { token }, token, command).await;
                    // Some go on although they were told to stop.
                    if told == GateTold::Refused && self.dice.percent(50) {
                        return self.sometimes.hit("a stale renewal was refused");
                    }
                }
                7..=14 => {
                    tokio::time::sleep(self.dice.millis(1_500)).await;
                    let told = self.complete(claimer, token).await;
                    if is_late && matches!(told, GateTold::Done(_)) {
                        self.sometimes.hit("a paused winner completed, for nobody had come");
                    }
                    return;
                }
                _ => return self.fail(claimer, token).await,
            }
        }
    }

    async fn complete(&self, claimer: &Claimer, token: u64) -> GateTold {
        let result = claimer.result(token);
        let asked = Asked::Complete {
            token,
            result: result.clone(),
        };
        let command = |token| Command::Complete {
            gate: claimer.gate,
            token,
            result: result.clone(),
        };
        let told = self.say(claimer, asked, token, command).await;
        if told == GateTold::Refused {
            self.sometimes.hit("a stale completion was refused");
        }
        told
    }

    async fn fail(&self, claimer: &Claimer, token: u64) {
        let give_up = self.dice.percent(25);
        let command = |token| Command::Fail {
            gate: claimer.gate,
            token,
            error: Reason::parse(&format!("{} with token {token}", claimer.by())).expect("a reason"),
            retry_in: None,
            give_up,
        };
        match self.say(claimer, Asked::Fail { token }, token, command).await {
            GateTold::Dead => self.sometimes.hit("a gate died"),
            GateTold::Refused => self.sometimes.hit("a stale failure was refused"),
            _ => {}
        }
    }

    /// Says it until it is heard, or not at all any more.
    async fn say(&self, claimer: &Claimer, asked: Asked, token: u64, command: impl Fn(u64) -> Command) -> GateTold {
        for _ in 0..TRIES {
            let process = self.any_process();
            let command = command(self.token_to_say(&process, claimer.gate, token).await);
            let (told, _) = self.ask_gate(&process, claimer, asked.clone(), command).await;
            let is_heard = !matches!(told, GateTold::Unknown | GateTold::Nothing);
            if is_heard || self.dice.percent(30) {
                return told;
            }
            tokio::time::sleep(self.dice.millis(500)).await;
        }
        GateTold::Unknown
    }

    /// The token of the claim, but for a service with that bug.
    async fn token_to_say(&self, process: &Process, gate: GateId, token: u64) -> u64 {
        if self.bug != Some(Bug::IgnoresTheToken) {
            return token;
        }
        let gate = process.issuer.reads().gate(gate).await.expect("reads never fail here");
        gate.map_or(token, |gate| gate.token)
    }

    /// Waits for the winner's result, or for a while.
    async fn wait(&self, claimer: &Claimer) {
        let process = self.any_process();
        let call = self.gates.ask(claimer.gate, claimer.by(), Asked::Look);
        let patience = self.dice.millis(3_000);
        let seen = tokio::select! {
            biased;
            () = process.life.ended() => None,
            seen = process.issuer.gate_over(claimer.gate, patience) => Some(seen.expect("reads never fail here")),
        };
        let told = seen.map_or(GateTold::Unknown, |gate| {
            gate.map_or(GateTold::Nothing, |gate| GateTold::seen(&gate))
        });
        if matches!(told, GateTold::Done(_)) {
            self.sometimes.hit("a loser waited and heard the result");
        }
        self.gates.hear(call, told);
    }

    async fn open_again(&self, claimer: &Claimer) {
        let (told, _) = self
            .ask_gate(&self.any_process(), claimer, Asked::Retry, retry(claimer.gate))
            .await;
        if told == GateTold::UnderWay {
            self.sometimes.hit("a dead gate was opened again");
        }
    }

    /// One call, noted from its first moment to its last.
    async fn ask_gate(&self, process: &Process, claimer: &Claimer, asked: Asked, command: Command) -> Heard {
        let call = self.gates.ask(claimer.gate, claimer.by(), asked);
        let answer = self.ask(process, command).await;
        let told = answer.as_ref().map_or(GateTold::Unknown, GateTold::of);
        self.gates.hear(call, told.clone());
        (told, answer)
    }

    /// In fair weather whoever does not know whether his completion was recorded asks again, and must hear it.
    pub(super) async fn resolve_completions(&self) -> Vec<String> {
        let calls = self.gates.calls();
        let is_known = |told: &GateTold| !matches!(told, GateTold::Unknown | GateTold::Nothing);
        let known: BTreeSet<(&str, Option<u64>)> = calls
            .iter()
            .filter(|call| matches!(call.asked, Asked::Complete { .. }) && is_known(&call.told))
            .map(|call| (call.by.as_str(), call.asked.token()))
            .collect();
        let mut asked_again = BTreeSet::new();
        let mut verdicts = Vec::new();
        for call in &calls {
            let Asked::Complete { token, result } = &call.asked else {
                continue;
            };
            let of_whom = (call.by.as_str(), Some(*token));
            if known.contains(&of_whom) || !asked_again.insert(of_whom) {
                continue;
            }
            let command = Command::Complete {
                gate: call.gate,
                token: *token,
                result: result.clone(),
            };
            let (told, answer) = self
                .ask_in_fair_weather(call.gate, &call.by, call.asked.clone(), command)
                .await;
            match (&told, &answer) {
                (GateTold::Done(_), Some(Ok(Answer::Gate { replayed: true, .. }))) => {
                    self.sometimes.hit("a lost completion had been recorded");
                }
                (GateTold::Done(_), _) => self.sometimes.hit("a lost completion was recorded now"),
                (GateTold::Refused, _) => self.sometimes.hit("a lost completion had come too late"),
                _ => verdicts.push(format!("Stuck: {} of {} has no answer: {answer:?}", call.by, call.gate)),
            }
        }
        verdicts
    }

    /// In fair weather every gate can be brought to its end, though its winner died: all it needs is time, or a person.
    pub(super) async fn bring_gates_about(&self) -> Vec<String> {
        let mut verdicts = Vec::new();
        for subject in 0..SUBJECTS {
            let claimer = Claimer::new(&format!("pay_{subject}"), "fair-weather", None, 60);
            // The longest way: a lease that runs out is the last attempt, the gate dies, is opened again, and is done.
            for step in 0..=3 {
                let gate = self.store.gate(claimer.gate).await.expect("reads never fail here");
                let Some(gate) = gate.filter(|gate| gate.state != GateState::Done) else {
                    break;
                };
                if gate.state == GateState::Dead && self.dice.percent(50) {
                    break;
                }
                if step == 3 {
                    verdicts.push(format!("Stuck: {} is {} for ever", gate.id, gate.state.as_str()));
                }
                self.bring_about(&claimer, &gate).await;
            }
        }
        verdicts
    }

    async fn bring_about(&self, claimer: &Claimer, gate: &Gate) {
        let (id, by) = (claimer.gate, claimer.by());
        if gate.state == GateState::Dead {
            self.ask_in_fair_weather(id, by, Asked::Retry, retry(id)).await;
            return;
        }
        let clock = &self.process(0).clock;
        clock.set(gate.due_at.max(clock.now()));
        let command = Command::Claim(Box::new(claimer.claim.clone()));
        let (told, _) = self.ask_in_fair_weather(id, by, Asked::Claim, command).await;
        if let GateTold::Won { token, .. } = told {
            self.sometimes.hit("a gate was left to fair weather");
            let result = claimer.result(token);
            let asked = Asked::Complete {
                token,
                result: result.clone(),
            };
            let command = Command::Complete {
                gate: id,
                token,
                result,
            };
            self.ask_in_fair_weather(id, by, asked, command).await;
        }
    }

    /// By the process that is there when all is well; whoever asks it is patient.
    async fn ask_in_fair_weather(&self, gate: GateId, by: &str, asked: Asked, command: Command) -> Heard {
        let process = self.process(0);
        let call = self.gates.ask(gate, by, asked);
        let answer = process.issuer.execute(process.issuer.own(command)).await;
        let told = GateTold::of(&answer);
        self.gates.hear(call, told.clone());
        (told, Some(answer))
    }

    pub(super) async fn judge_gates(&self) -> Vec<String> {
        let reads: &dyn Reads = &*self.store;
        let stored = GateRead::all(reads).await.expect("reads never fail here");
        let was_hard = |read: &&GateRead| read.count(EventKind::Failed) > 0 && read.count(EventKind::Completed) > 0;
        if stored.iter().any(|read| was_hard(&read)) {
            self.sometimes.hit("a gate that had failed was done in the end");
        }
        let verdicts = judge_gates(&self.gates.calls(), &stored);
        verdicts.iter().map(ToString::to_string).collect()
    }
}

fn retry(gate: GateId) -> Command {
    let reason = Reason::parse("a simulation").expect("a reason");
    Command::Retry { gate, reason }
}
