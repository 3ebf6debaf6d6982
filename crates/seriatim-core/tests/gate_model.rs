//! Promise P7 in every state that a few workers can bring about: they claim, pause, come back late, crash, fail, and
//! somebody retries, in every order, upon the real `decide`. Breadth first, until no new state appears.
//!
//! Time stands still within a step; a step of its own moves it past the lease or the rest, so that every instruction is
//! tried before and after.
#![allow(clippy::print_stdout, reason = "says how many states were looked at")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use seriatim_core::{
    Access, Actor, Answer, Chain, Claim, ClaimOutcome, Code, Command, Document, Effect, Event, Footprint, GATE_MOVES,
    Gate, GateCheck, GateId, GatePolicy, GateState, Halt, Holder, Key, Reason, Request, Snapshot, Subject, Tenant,
    Timestamp, Ttl, decide,
};

const TOKENS_MAX: u64 = 6;
const ATTEMPTS_MAX: u32 = 2;

/// What one worker believes. A crash makes him forget; a pause makes him believe what is no longer so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worker {
    token: Option<u64>,
}

#[derive(Debug, Clone)]
struct World {
    gate: Option<Arc<Gate>>,
    events: Vec<Arc<Event>>,
    workers: Vec<Worker>,
    now: Timestamp,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Claim(usize),
    Renew(usize),
    Complete(usize),
    Fail(usize),
    Crash(usize),
    Retry,
    /// Time passes until a claim may win.
    Wait,
}

fn tenant() -> Tenant {
    Tenant::default()
}

fn effect() -> Effect {
    Effect::parse("receipt").unwrap()
}

fn subject() -> Subject {
    Subject::parse("pay_1").unwrap()
}

fn id() -> GateId {
    GateId::of(&tenant(), &effect(), &subject())
}

/// Each worker would record a result of his own.
fn result(worker: usize) -> Document {
    Document::parse(&format!(r#"{{"by": {worker}}}"#)).unwrap()
}

fn command(step: Step, world: &World) -> Option<Command> {
    let gate = id();
    let token = |worker: usize| world.workers[worker].token;
    let ttl = Ttl::from_seconds(30).unwrap();
    Some(match step {
        Step::Claim(worker) => Command::Claim(Box::new(Claim {
            tenant: tenant(),
            effect: effect(),
            subject: subject(),
            ttl,
            holder: Holder::parse(&format!("w{worker}")).unwrap(),
            // One of them sends its claims with a key, the others without.
            key: (worker == 0).then(|| Key::parse("k").unwrap()),
            policy: GatePolicy::new(Some(ATTEMPTS_MAX), None, None).unwrap(),
        })),
        Step::Renew(worker) => Command::Renew {
            gate,
            token: token(worker)?,
            ttl,
        },
        Step::Complete(worker) => Command::Complete {
            gate,
            token: token(worker)?,
            result: result(worker),
        },
        Step::Fail(worker) => Command::Fail {
            gate,
            token: token(worker)?,
            error: Reason::parse(&format!("w{worker} failed")).unwrap(),
            retry_in: None,
            give_up: false,
        },
        Step::Retry => Command::Retry {
            gate,
            reason: Reason::parse("again").unwrap(),
        },
        Step::Crash(_) | Step::Wait => return None,
    })
}

/// What happens, judged against what was before; nothing if the step changes nothing that anybody could see.
fn take(before: &World, step: Step) -> Option<World> {
    let mut world = before.clone();
    match step {
        Step::Crash(worker) => {
            world.workers[worker].token.take()?;
        }
        Step::Wait => {
            let gate = before
                .gate
                .as_ref()
                .filter(|gate| !gate.is_due(before.now) && !gate.is_over())?;
            world.now = gate.due_at;
        }
        _ => {
            let request = Request {
                actor: Actor::parse("model").unwrap(),
                on_behalf_of: None,
                access: Access::full(),
                rehearsal: false,
                command: command(step, before)?,
            };
            let held = Snapshot {
                gates: BTreeMap::from([(id(), before.gate.clone())]),
                ..Snapshot::default()
            };
            assert_eq!(
                Footprint::of([&request], &|_| None, before.now).gates,
                BTreeSet::from([id()])
            );
            match decide(&held, &request, before.now) {
                Ok(decision) => {
                    if let Some(gate) = decision.changes.gates.get(&id()) {
                        world.gate = Some(gate.clone());
                    }
                    for change in decision.changes.list {
                        let seriatim_core::Change::Event(Chain::Gate(_), event) = change else {
                            panic!("{change:?}")
                        };
                        world.events.push(event);
                    }
                    judge_answer(before, &world, step, &decision.answer);
                    learn(&mut world, step, &decision.answer);
                }
                Err(Halt::Refused(refusal)) => judge_refusal(before, step, refusal.code),
                Err(Halt::Unloaded(need)) => panic!("the footprint lacks {need:?}"),
            }
        }
    }
    judge(before, &world);
    Some(world)
}

fn learn(world: &mut World, step: Step, answer: &Answer) {
    if let (
        Step::Claim(worker),
        Answer::Claim {
            gate,
            outcome: ClaimOutcome::Won { .. },
        },
    ) = (step, answer)
    {
        world.workers[worker].token = Some(gate.token);
    }
}

fn judge_answer(before: &World, after: &World, step: Step, answer: &Answer) {
    let was_due = before.gate.as_ref().is_none_or(|gate| gate.is_due(before.now));
    match (step, answer) {
        (
            Step::Claim(worker),
            Answer::Claim {
                outcome: ClaimOutcome::Won { replayed, .. },
                gate,
            },
        ) => {
            assert!(was_due || *replayed, "won what was not free");
            let token_before = before.gate.as_ref().map_or(0, |gate| gate.token);
            assert_eq!(
                gate.token,
                token_before + u64::from(!replayed),
                "a token grows with every claim"
            );
            assert_eq!(
                gate.holder.as_deref(),
                Some(format!("w{worker}").as_str()),
                "another's token"
            );
        }
        (
            Step::Claim(_),
            Answer::Claim {
                outcome: ClaimOutcome::Busy { .. },
                ..
            },
        ) => {
            assert!(!was_due, "a dead winner delays, and never blocks");
        }
        (Step::Complete(worker), Answer::Gate { gate, .. }) => {
            assert_eq!(gate.result, Some(result(worker)));
            assert_eq!(before.workers[worker].token, Some(after.gate.as_ref().unwrap().token));
        }
        _ => {}
    }
}

/// Who is told that his token is stale does not hold the gate.
fn judge_refusal(before: &World, step: Step, code: Code) {
    let gate = before.gate.as_ref();
    match step {
        Step::Renew(worker) | Step::Complete(worker) | Step::Fail(worker) => {
            let token = before.workers[worker].token.unwrap();
            assert_eq!(code, Code::StaleToken);
            assert!(!gate.unwrap().is_current(token), "the holder himself is refused");
        }
        Step::Retry => assert!(matches!(code, Code::GateNotDead | Code::UnknownGate)),
        Step::Claim(_) | Step::Crash(_) | Step::Wait => panic!("{step:?} is refused: {code}"),
    }
}

/// What holds between any two states.
fn judge(before: &World, after: &World) {
    let Some(gate) = &after.gate else { return };
    let holders = (0..after.workers.len()).filter(|worker| {
        let token = after.workers[*worker].token;
        token.is_some_and(|token| gate.is_current(token))
    });
    assert!(holders.count() <= 1, "two workers hold a current token: {after:?}");
    if let Some(old) = &before.gate {
        assert!(gate.token >= old.token, "a token went back");
        if old.state == GateState::Done {
            assert_eq!(gate, old, "what is done stays as it is");
        }
        let events = &after.events[before.events.len()..];
        let mut state = old.state;
        for event in events {
            let legal = GATE_MOVES
                .iter()
                .find(|(from, by, _)| *from == Some(state) && *by == event.kind);
            state = legal
                .unwrap_or_else(|| panic!("{state:?} by {:?} is not in the table", event.kind))
                .2;
        }
        assert_eq!(state, gate.state);
    }
    let mut told = GateCheck::begin(gate);
    let findings: Vec<_> = after.events.iter().filter_map(|event| told.step(event)).collect();
    assert_eq!(
        (findings, told.finish(gate)),
        (Vec::new(), None),
        "the events tell of another gate"
    );
}

/// What decides everything that can happen from here on; the clock only as far as it decides something.
type Seen = (
    Option<(
        GateState,
        u64,
        u32,
        bool,
        Option<Holder>,
        Option<Holder>,
        Option<String>,
    )>,
    Vec<Worker>,
);

fn seen(world: &World) -> Seen {
    let gate = world.gate.as_ref().map(|gate| {
        let by = gate.result.as_ref().map(|result| result.as_str().to_string());
        let failed = gate.last_error.as_ref().and_then(|error| Holder::parse(error).ok());
        (
            gate.state,
            gate.token,
            gate.attempts,
            gate.is_due(world.now),
            gate.holder.clone(),
            failed,
            by,
        )
    });
    (gate, world.workers.clone())
}

/// How many states there are, and how many ends with a result and without.
fn explore(workers: usize) -> (usize, usize, usize) {
    let first = World {
        gate: None,
        events: Vec::new(),
        workers: vec![Worker { token: None }; workers],
        now: "2026-03-02T10:00:00Z".parse().unwrap(),
    };
    let of_each = |step: fn(usize) -> Step| (0..workers).map(step);
    let mut steps: Vec<Step> = vec![Step::Retry, Step::Wait];
    for step in [Step::Claim, Step::Renew, Step::Complete, Step::Fail, Step::Crash] {
        steps.extend(of_each(step));
    }
    let (mut known, mut waiting) = (BTreeSet::from([seen(&first)]), VecDeque::from([first]));
    let (mut done, mut dead) = (0, 0);
    while let Some(world) = waiting.pop_front() {
        let gate = world.gate.as_ref();
        done += usize::from(gate.is_some_and(|gate| gate.state == GateState::Done));
        dead += usize::from(gate.is_some_and(|gate| gate.state == GateState::Dead));
        if gate.is_some_and(|gate| gate.token >= TOKENS_MAX) {
            continue;
        }
        for next in steps.iter().filter_map(|step| take(&world, *step)) {
            if known.insert(seen(&next)) {
                waiting.push_back(next);
            }
        }
    }
    (known.len(), done, dead)
}

#[test]
fn at_most_one_token_is_current_in_every_state_that_can_be_reached() {
    for workers in [2, 3] {
        let (states, done, dead) = explore(workers);
        println!("{workers} workers: {states} states, {done} of them done, {dead} dead");
        assert!(
            states > 600 && done > 100 && dead > 40,
            "the model is too small to mean anything"
        );
    }
}

#[test]
fn the_page_shows_the_same_moves() {
    let page = include_str!("../../../docs/concepts/once.md");
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| from | event | to |"))
        .skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let shown = GATE_MOVES.map(|(from, by, to)| {
        let from = from.map_or("(not there)", GateState::as_str);
        format!("| {from} | {} | {} |", by.as_str(), to.as_str())
    });
    let begins = |row: &&str, wanted: &String| row.starts_with(wanted.as_str());
    assert_eq!(rows.len(), shown.len(), "{rows:?}");
    for (row, wanted) in rows.iter().zip(&shown) {
        assert!(begins(row, wanted), "the page says {row}, the core {wanted}");
    }
}
