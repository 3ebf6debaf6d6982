//! The judge of gates convicts what no honest gate can show, and nothing else.
//!
//! The chain is a true one: a first claim failed, a second was taken over, the third completed. What callers are said to
//! have heard of it is changed, one thing at a time.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use seriatim::conformance::SetClock;
use seriatim::conformance::history::Recorder;
use seriatim::conformance::history::gates::{Asked, GateCall, GateCrime, GateRead, GateTold, judge_gates};
use seriatim::store::memory::Memory;
use seriatim::{
    Access, Actor, Answer, Claim, Command, Document, Effect, Gate, GateId, GatePolicy, Holder, Issuer, Options, Reason,
    Request, Subject, Tenant, Timestamp, Ttl,
};

struct Story {
    issuer: Issuer,
    clock: Arc<SetClock>,
    calls: Recorder<GateCall>,
}

fn claim_of(holder: &str) -> Claim {
    Claim {
        tenant: Tenant::default(),
        effect: Effect::parse("receipt").expect("an effect"),
        subject: Subject::parse("pay_1").expect("a subject"),
        ttl: Ttl::parse("30s").expect("a duration"),
        holder: Holder::parse(holder).expect("a holder"),
        key: None,
        policy: GatePolicy::default(),
    }
}

fn gate() -> GateId {
    let claim = claim_of("anybody");
    GateId::of(&claim.tenant, &claim.effect, &claim.subject)
}

fn result(by: &str) -> Document {
    Document::stored(&format!(r#"{{"by":"{by}"}}"#))
}

impl Story {
    async fn say(&self, by: &str, asked: Asked) {
        let gate = gate();
        let command = match asked.clone() {
            Asked::Claim => Command::Claim(Box::new(claim_of(by))),
            Asked::Complete { token, result } => Command::Complete { gate, token, result },
            Asked::Fail { token } => Command::Fail {
                gate,
                token,
                error: Reason::parse("no paper").expect("a reason"),
                retry_in: None,
                give_up: false,
            },
            other => panic!("nobody in this story asks {other:?}"),
        };
        let call = self.calls.ask(gate, by, asked);
        let request = Request {
            actor: Actor::parse("story").expect("an actor"),
            on_behalf_of: None,
            access: Access::full(),
            rehearsal: false,
            command,
        };
        let answer: Result<Answer, _> = self.issuer.execute(request).await;
        self.calls.hear(call, GateTold::of(&answer));
    }

    fn later(&self, seconds: i64) {
        let now = seriatim::Clock::now(&*self.clock);
        self.clock.set(now.plus_seconds(seconds));
    }
}

/// What was heard of it, and what is stored.
async fn story() -> (Vec<GateCall>, Vec<GateRead>) {
    let clock = Arc::new(SetClock::at(Timestamp::from_micros(1_774_981_740_000_000)));
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let issuer = Issuer::with(Arc::new(Memory::new()), options).await.expect("a store");
    let calls = Recorder::default();
    let story = Story { issuer, clock, calls };
    story.say("anna", Asked::Claim).await;
    story.say("anna", Asked::Fail { token: 1 }).await;
    story.later(10);
    story.say("bert", Asked::Claim).await;
    story.say("carl", Asked::Claim).await;
    story.later(31);
    story.say("carl", Asked::Claim).await;
    for (by, token) in [("bert", 2), ("carl", 3)] {
        let result = result(by);
        story.say(by, Asked::Complete { token, result }).await;
    }
    story.say("dora", Asked::Claim).await;
    let stored = GateRead::all(story.issuer.reads()).await.expect("a store");
    (story.calls.calls(), stored)
}

fn crimes(calls: &[GateCall], stored: &[GateRead]) -> Vec<GateCrime> {
    let mut crimes: Vec<GateCrime> = judge_gates(calls, stored).iter().map(|verdict| verdict.crime).collect();
    crimes.sort();
    crimes.dedup();
    crimes
}

/// The calls of the story: who asked what.
const ANNA_CLAIMS: usize = 0;
const ANNA_FAILS: usize = 1;
const BERT_CLAIMS: usize = 2;
const CARL_IS_BUSY: usize = 3;
const CARL_CLAIMS: usize = 4;
const BERT_COMPLETES: usize = 5;
const CARL_COMPLETES: usize = 6;
const DORA_CLAIMS: usize = 7;

#[tokio::test]
async fn what_really_was_heard_is_acquitted() {
    let (calls, stored) = story().await;
    let told: Vec<&GateTold> = calls.iter().map(|call| &call.told).collect();
    let won = |token| GateTold::Won { token, replayed: false };
    assert_eq!(
        told,
        [
            &won(1),
            &GateTold::UnderWay,
            &won(2),
            &GateTold::UnderWay,
            &won(3),
            &GateTold::Refused,
            &GateTold::Done(result("carl")),
            &GateTold::Done(result("carl")),
        ]
    );
    assert_eq!(crimes(&calls, &stored), []);
}

#[tokio::test]
async fn every_answer_may_be_lost() {
    let (mut calls, stored) = story().await;
    for at in 0..calls.len() {
        calls[at].told = GateTold::Unknown;
        assert_eq!(crimes(&calls, &stored), [], "call {at} and those before it");
    }
}

#[tokio::test]
async fn each_lie_is_convicted() {
    let (told, stored) = story().await;
    let won = |token| GateTold::Won { token, replayed: false };
    for (at, lie, expected) in [
        // A token of somebody else, and one that is not higher than what was told before.
        (CARL_IS_BUSY, won(2), &[GateCrime::MoveLost, GateCrime::TokenTwice][..]),
        (
            CARL_CLAIMS,
            won(1),
            &[
                GateCrime::MoveLost,
                GateCrime::TokenTwice,
                GateCrime::TokenShrank,
                GateCrime::NobodyAsked,
            ],
        ),
        // Token 2 was over when token 3 was told.
        (
            BERT_COMPLETES,
            GateTold::Done(result("bert")),
            &[
                GateCrime::TwoResults,
                GateCrime::ResultLost,
                GateCrime::MoveLost,
                GateCrime::StaleToken,
            ],
        ),
        (
            DORA_CLAIMS,
            GateTold::Done(result("dora")),
            &[GateCrime::TwoResults, GateCrime::ResultLost],
        ),
        (DORA_CLAIMS, GateTold::UnderWay, &[GateCrime::Undone]),
        (DORA_CLAIMS, won(4), &[GateCrime::MoveLost, GateCrime::Undone]),
        // It is in the chain, and whoever asked was told that nothing happened.
        (ANNA_CLAIMS, GateTold::UnderWay, &[GateCrime::NobodyAsked]),
        (ANNA_FAILS, GateTold::Nothing, &[GateCrime::NobodyAsked]),
        (BERT_CLAIMS, GateTold::Refused, &[GateCrime::NobodyAsked]),
        (CARL_COMPLETES, GateTold::Nothing, &[GateCrime::NobodyAsked]),
    ] {
        let mut calls = told.clone();
        calls[at].told = lie.clone();
        assert_eq!(crimes(&calls, &stored), expected, "call {at} told {lie:?}");
    }
}

#[tokio::test]
async fn a_gate_that_lost_its_result_is_convicted() {
    let (calls, mut stored) = story().await;
    let lost = Gate {
        result: None,
        ..(*stored[0].gate).clone()
    };
    stored[0].gate = Arc::new(lost);
    assert_eq!(crimes(&calls, &stored), [GateCrime::ResultLost]);
    assert_eq!(
        crimes(&calls, &[]),
        [GateCrime::ResultLost, GateCrime::MoveLost],
        "the whole gate is gone"
    );
}
