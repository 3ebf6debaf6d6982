//! Gates: one winner, whoever comes and whenever; an old token changes nothing; a result stays.

use std::sync::Arc;
use std::time::Duration;

use seriatim_core::{
    Answer, Chain, Claim, ClaimOutcome, Code, Command, Document, Effect, EventKind, Gate, GateId, GatePolicy,
    GateState, Holder, Subject, Tenant, Ttl,
};

use super::stage::{Stage, at_once, document, must_be_in_order, reason, refusal, request};
use crate::clock::Clock as _;
use crate::failure::Failure;
use crate::store::{GateFilter, Store};

fn claim_for(subject: &str, holder: usize) -> Command {
    Command::Claim(Box::new(Claim {
        tenant: Tenant::default(),
        effect: effect("receipt"),
        subject: Subject::parse(subject).expect("a subject"),
        ttl: Ttl::parse("30s").expect("a duration"),
        holder: Holder::parse(&format!("worker-{holder}")).expect("a holder"),
        key: None,
        policy: GatePolicy::default(),
    }))
}

fn effect(name: &str) -> Effect {
    Effect::parse(name).expect("an effect")
}

fn id_of(subject: &str) -> GateId {
    let subject = Subject::parse(subject).expect("a subject");
    GateId::of(&Tenant::default(), &effect("receipt"), &subject)
}

fn complete(gate: GateId, token: u64, result: &str) -> Command {
    let result = document(result);
    Command::Complete { gate, token, result }
}

fn claimed(answer: Result<Answer, Failure>) -> (Arc<Gate>, ClaimOutcome) {
    match answer {
        Ok(Answer::Claim { gate, outcome }) => (gate, outcome),
        other => panic!("expected a claim, got {other:?}"),
    }
}

/// The tokens that were won, and how many were told to wait.
async fn claim_at_once(stage: &Stage, subject: &'static str, callers: usize) -> (Vec<u64>, usize) {
    let answers = at_once((0..callers).map(|caller| {
        let stage = stage.clone();
        async move { claimed(stage.process(caller).execute(request(claim_for(subject, caller))).await) }
    }))
    .await;
    let won = answers
        .iter()
        .filter(|(_, outcome)| matches!(outcome, ClaimOutcome::Won { .. }));
    let busy = answers
        .iter()
        .filter(|(_, outcome)| matches!(outcome, ClaimOutcome::Busy { .. }));
    (won.map(|(gate, _)| gate.token).collect(), busy.count())
}

async fn gate(stage: &Stage, subject: &str) -> Arc<Gate> {
    let gate = stage.store.gate(id_of(subject)).await.expect("the store can be read");
    gate.expect("the gate is there")
}

pub(super) async fn one_of_fifty_claimers_wins(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    for subject in ["pay_1", "pay_2", "pay_3"] {
        assert_eq!(claim_at_once(&stage, subject, 50).await, (vec![1], 49));
        let gate = gate(&stage, subject).await;
        assert_eq!((gate.state, gate.token, gate.attempts), (GateState::Claimed, 1, 1));
    }
}

pub(super) async fn one_of_fifty_takes_over_when_a_lease_ran_out(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    assert_eq!(claim_at_once(&stage, "pay_1", 1).await, (vec![1], 0));
    for token in 2..5 {
        stage.clock.set(stage.clock.now().plus_seconds(30));
        assert_eq!(claim_at_once(&stage, "pay_1", 50).await, (vec![token], 49));
    }
    let events = stage
        .store
        .events(Chain::Gate(id_of("pay_1")), 0, 100)
        .await
        .expect("events");
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    use EventKind::{Claimed, Expired, Opened};
    assert_eq!(
        kinds,
        [Opened, Claimed, Expired, Claimed, Expired, Claimed, Expired, Claimed]
    );
}

pub(super) async fn a_paused_winner_changes_nothing_once_it_was_replaced(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    claim_at_once(&stage, "pay_1", 1).await;
    stage.clock.set(stage.clock.now().plus_seconds(31));
    claim_at_once(&stage, "pay_1", 1).await;
    let before = gate(&stage, "pay_1").await;
    let id = before.id;
    let ttl = Ttl::parse("1h").expect("a duration");
    let error = reason();
    let retry_in = None;
    for command in [
        complete(id, 1, r#"{"by":1}"#),
        Command::Renew {
            gate: id,
            token: 1,
            ttl,
        },
        Command::Fail {
            gate: id,
            token: 1,
            error,
            retry_in,
            give_up: false,
        },
    ] {
        assert_eq!(refusal(&stage.execute(command).await), Some(Code::StaleToken));
    }
    assert_eq!(gate(&stage, "pay_1").await, before);
    assert!(stage.execute(complete(id, 2, r#"{"by":2}"#)).await.is_ok());
    assert_eq!(
        refusal(&stage.execute(complete(id, 1, r#"{"by":2}"#)).await),
        Some(Code::StaleToken)
    );
    let result = gate(&stage, "pay_1").await.result.clone();
    assert_eq!(result.expect("a result").as_str(), r#"{"by":2}"#);
}

/// The holder and those who would take over come together, at the moment when the lease ends.
pub(super) async fn a_result_and_a_takeover_never_both_happen(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    for subject in ["pay_1", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6"] {
        claim_at_once(&stage, subject, 1).await;
        stage.clock.set(stage.clock.now().plus_seconds(30));
        let answers = at_once((0..12).map(|caller| {
            let stage = stage.clone();
            let command = match caller % 4 {
                1 => complete(id_of(subject), 1, r#"{"by":1}"#),
                _ => claim_for(subject, caller),
            };
            async move { stage.process(caller).execute(request(command)).await }
        }))
        .await;
        let won = |answer: &&Result<Answer, Failure>| {
            matches!(
                answer,
                Ok(Answer::Claim {
                    outcome: ClaimOutcome::Won { .. },
                    ..
                })
            )
        };
        let completed = |answer: &&Result<Answer, Failure>| matches!(answer, Ok(Answer::Gate { replayed: false, .. }));
        let (won, completed) = (
            answers.iter().filter(won).count(),
            answers.iter().filter(completed).count(),
        );
        assert_eq!(won + completed, 1, "{subject}: {won} took over, {completed} completed");
        let state = if completed == 1 {
            GateState::Done
        } else {
            GateState::Claimed
        };
        assert_eq!(gate(&stage, subject).await.state, state);
    }
}

pub(super) async fn what_a_gate_holds_is_what_was_answered(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    let command = Command::Claim(Box::new(Claim {
        tenant: Tenant::parse("acme").expect("a tenant"),
        effect: effect("mail"),
        subject: Subject::parse("it's /\\ \"1\"; drop table gate").expect("a subject"),
        ttl: Ttl::parse("1h").expect("a duration"),
        holder: Holder::parse("Ünï 3").expect("a holder"),
        key: Some(seriatim_core::Key::parse("k 1").expect("a key")),
        policy: GatePolicy::new(Some(2), Some(Ttl::parse("1m").expect("a duration")), None).expect("a policy"),
    }));
    let (told, _) = claimed(stage.execute(command).await);
    assert_eq!(stage.store.gate(told.id).await.expect("a read"), Some(told.clone()));
    let retry_in = Some(Ttl::parse("2m").expect("a duration"));
    let fail = Command::Fail {
        gate: told.id,
        token: 1,
        error: reason(),
        retry_in,
        give_up: false,
    };
    for command in [
        fail,
        Command::Retry {
            gate: told.id,
            reason: reason(),
        },
    ] {
        if let Ok(Answer::Gate { gate, .. }) = stage.execute(command).await {
            assert_eq!(stage.store.gate(told.id).await.expect("a read"), Some(gate));
        }
    }
    stage.clock.set(stage.clock.now().plus_seconds(120));
    let again = Command::Claim(Box::new(Claim {
        tenant: told.tenant.clone(),
        effect: told.effect.clone(),
        subject: told.subject.clone(),
        ttl: Ttl::parse("1h").expect("a duration"),
        holder: Holder::parse("other").expect("a holder"),
        key: None,
        policy: GatePolicy::default(),
    }));
    let (told, outcome) = claimed(stage.execute(again).await);
    assert!(matches!(outcome, ClaimOutcome::Won { took_over: false, .. }));
    assert_eq!((told.token, told.attempts, told.policy.attempts_max()), (2, 2, 2));
    let result = r#"{ "file" : "ä.pdf",  "n": 1.50 }"#;
    match stage.execute(complete(told.id, 2, result)).await {
        Ok(Answer::Gate { gate, .. }) => assert_eq!(stage.store.gate(told.id).await.expect("a read"), Some(gate)),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn gates_that_are_due_come_oldest_first_and_by_effect(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    let open = |effect: &str, subject: &str| Command::OpenGate {
        tenant: Tenant::default(),
        effect: self::effect(effect),
        subject: Subject::parse(subject).expect("a subject"),
        policy: GatePolicy::default(),
        task: None,
        change: None,
    };
    for (i, subject) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let effect = if i % 2 == 0 { "receipt" } else { "mail" };
        stage.execute(open(effect, subject)).await.expect("it opens");
        stage.clock.set(stage.clock.now().plus_seconds(1));
    }
    claimed(stage.execute(claim_for("a", 1)).await);
    let now = stage.clock.now();
    let subjects = |gates: Vec<Arc<Gate>>| gates.iter().map(|gate| gate.subject.to_string()).collect::<Vec<_>>();
    let due = |effects: Vec<Effect>, now, limit| {
        let store = stage.store.clone();
        async move { subjects(store.due_gates(&effects, now, limit).await.expect("a read")) }
    };
    assert_eq!(due(vec![], now, 10).await, ["b", "c", "d"]);
    assert_eq!(due(vec![], now, 2).await, ["b", "c"]);
    assert_eq!(due(vec![effect("receipt")], now, 10).await, ["c"]);
    assert_eq!(due(vec![], now.plus_seconds(30), 10).await, ["b", "c", "d", "a"]);
    let mut filter = GateFilter {
        effects: vec![effect("receipt"), effect("mail")],
        ..GateFilter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = stage.store.gates(&filter, 3).await.expect("a read");
        seen.extend(subjects(page.rows));
        filter.cursor = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["d", "c", "b", "a"]);
    let claimed_only = GateFilter {
        states: vec![GateState::Claimed],
        ..GateFilter::default()
    };
    assert_eq!(
        subjects(stage.store.gates(&claimed_only, 3).await.expect("a read").rows),
        ["a"]
    );
    let elsewhere = GateFilter {
        tenants: vec![Tenant::parse("acme").expect("a tenant")],
        ..GateFilter::default()
    };
    assert_eq!(stage.store.gates(&elsewhere, 3).await.expect("a read").rows, []);
}

/// Two processes: the one that waits did not complete the gate itself.
pub(super) async fn who_waits_for_a_gate_hears_the_result_of_another_process(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    claim_at_once(&stage, "pay_1", 1).await;
    let id = id_of("pay_1");
    let waiting = [0, 1].map(|process| {
        let stage = stage.clone();
        tokio::spawn(async move { stage.process(process).gate_over(id, Duration::from_secs(20)).await })
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage
        .process(0)
        .execute(request(complete(id, 1, r#"{"n":1}"#)))
        .await
        .expect("it completes");
    for waiter in waiting {
        let gate = waiter.await.expect("no panic").expect("a read").expect("a gate");
        assert_eq!(gate.state, GateState::Done);
    }
    let nothing = stage
        .process(0)
        .gate_over(id_of("nothing"), Duration::from_secs(20))
        .await;
    assert_eq!(nothing.expect("a read"), None, "nobody waits for what is not there");
    claim_at_once(&stage, "pay_2", 1).await;
    let patient = stage
        .process(0)
        .gate_over(id_of("pay_2"), Duration::from_millis(300))
        .await;
    assert_eq!(patient.expect("a read").expect("a gate").state, GateState::Claimed);
}

pub(super) async fn a_task_changes_only_by_who_knows_of_every_claim(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    let open = |task: &str, change: Option<u64>| Command::OpenGate {
        tenant: Tenant::default(),
        effect: effect("receipt"),
        subject: Subject::parse("pay_1").expect("a subject"),
        policy: GatePolicy::default(),
        task: Some(Document::stored(task)),
        change,
    };
    let task = |gate: &Arc<Gate>| gate.task.as_ref().map(|task| task.as_str().to_string());
    // As long as a body of a webhook may be, and byte for byte.
    let long = format!(r#"{{"body":  "{}"}}"#, "x".repeat(1024 * 1024));
    stage.execute(open(&long, None)).await.expect("it opens");
    assert_eq!(task(&gate(&stage, "pay_1").await), Some(long.clone()));
    // Who comes second changes nothing, unless he means to.
    stage.execute(open("{}", None)).await.expect("it is open");
    assert_eq!(task(&gate(&stage, "pay_1").await), Some(long));
    stage.execute(open("{}", Some(0))).await.expect("nobody has claimed it");
    assert_eq!(task(&gate(&stage, "pay_1").await), Some("{}".to_string()));
    claimed(stage.execute(claim_for("pay_1", 1)).await);
    let late = stage.execute(open(r#"{"n":1}"#, Some(1))).await;
    assert_eq!(refusal(&late), Some(Code::GateFixed));
    let too_long = format!("\"{}\"", "x".repeat(Gate::TASK_BYTES_MAX));
    assert_eq!(
        refusal(&stage.execute(open(&too_long, Some(1))).await),
        Some(Code::DocumentTooLarge)
    );
    assert_eq!(task(&gate(&stage, "pay_1").await), Some("{}".to_string()));
    // Given back it may change again, by who knows of the claim.
    let give_back = Command::Fail {
        gate: gate(&stage, "pay_1").await.id,
        token: 1,
        error: reason(),
        retry_in: None,
        give_up: false,
    };
    stage.execute(give_back).await.expect("it is his");
    let unaware = stage.execute(open(r#"{"n":1}"#, Some(0))).await;
    assert_eq!(refusal(&unaware), Some(Code::GateFixed));
    stage
        .execute(open(r#"{"n":1}"#, Some(1)))
        .await
        .expect("nobody holds it");
    assert_eq!(task(&gate(&stage, "pay_1").await), Some(r#"{"n":1}"#.to_string()));
    must_be_in_order(&*stage.store).await;
    claimed(stage.execute(claim_for("pay_1", 2)).await);
    // Nobody tries again what its holder gave up.
    let give_up = Command::Fail {
        gate: gate(&stage, "pay_1").await.id,
        token: 2,
        error: reason(),
        retry_in: None,
        give_up: true,
    };
    stage.execute(give_up).await.expect("it is his");
    let dead = gate(&stage, "pay_1").await;
    assert_eq!((dead.state, dead.attempts), (GateState::Dead, 2));
    must_be_in_order(&*stage.store).await;
}
