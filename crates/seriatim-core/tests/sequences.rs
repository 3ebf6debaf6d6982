//! Random sequences of commands: whatever is asked in whatever order, the promises hold after every answer.
//!
//! Steps become lines of a ledger, so a failure prints a script that can be pasted into `decide.rs`.
//! `PROPTEST_CASES` sets how many sequences; `SERIATIM_FUZZ_SECONDS` goes on for that long.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::ledger::Ledger;
use common::{at, seconds_from_env};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use seriatim_core::{Answer, Chain, Code, DateOrder, Entry, Event, Params, Refusal, Series, SeriesName, State};

const DEFINITIONS: [&str; 5] = [
    "define plain format=P{seq:1} keys=optional",
    "define fiscal format=F{fy}-{branch}-{seq:2} reset=fiscal-year:04-01 zone=Asia/Kolkata params.branch=digits:1 partition_by=branch",
    "define ordered format=O{date}{seq:2} reset=daily date_order=required overflow=refuse",
    "define strict format={tenant}/{month}.{year}/{seq} reset=monthly replay=strict on_expiry=void limit=12",
    "define trial format=T{seq} test=true on_expiry=void keys=optional",
];
/// Prints the same numbers as the one it replaces.
const HEIR: &str = "define heir format=P{seq:1} keys=optional replaces=plain";
const SERIES: [&str; 6] = ["plain", "fiscal", "ordered", "strict", "trial", "heir"];

#[derive(Debug, Clone, Copy)]
enum Verb {
    Issue,
    IssueCount,
    Items,
    Reserve,
    Adopt,
    Confirm,
    Release,
    Expire,
    Void,
    Reissue,
    Redact,
    Advance,
    Close,
    Reopen,
    Wipe,
    Preview,
    Rehearse,
    Replace,
    Change,
    Wait,
}

/// A verb and the dice for the rest.
#[derive(Debug, Clone, Copy)]
struct Step {
    verb: Verb,
    dice: [u8; 6],
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let verb = prop_oneof![
        8 => Just(Verb::Issue),
        1 => Just(Verb::IssueCount),
        2 => Just(Verb::Items),
        5 => Just(Verb::Reserve),
        5 => Just(Verb::Adopt),
        4 => Just(Verb::Confirm),
        2 => Just(Verb::Release),
        2 => Just(Verb::Expire),
        3 => Just(Verb::Void),
        4 => Just(Verb::Reissue),
        2 => Just(Verb::Redact),
        2 => Just(Verb::Advance),
        1 => Just(Verb::Close),
        1 => Just(Verb::Reopen),
        1 => Just(Verb::Wipe),
        1 => Just(Verb::Preview),
        1 => Just(Verb::Rehearse),
        1 => Just(Verb::Replace),
        1 => Just(Verb::Change),
        4 => select(&[Verb::Wait][..]),
    ];
    vec(
        (verb, any::<[u8; 6]>()).prop_map(|(verb, dice)| Step { verb, dice }),
        1..60,
    )
}

/// What was asked and when, to be asked again.
#[derive(Default)]
struct Script {
    lines: Vec<(seriatim_core::Timestamp, String)>,
    answers: Vec<String>,
}

#[test]
fn the_promises_hold_whatever_is_asked_in_whatever_order() {
    let began = Instant::now();
    let longest = seconds_from_env("SERIATIM_FUZZ_SECONDS").map(Duration::from_secs);
    let codes = std::cell::RefCell::new(BTreeMap::new());
    loop {
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&steps(), |steps| {
            run(&steps, &mut codes.borrow_mut());
            Ok::<(), TestCaseError>(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        if longest.is_none_or(|longest| began.elapsed() >= longest) {
            break;
        }
    }
    let codes = codes.into_inner();
    eprintln!("{codes:?} in {:?}", began.elapsed());
    // A generator that is mostly refused would prove little.
    let answered = codes.get("ok").copied().unwrap_or_default();
    let refused = codes.values().sum::<u64>() - answered;
    assert!(answered > refused, "{codes:?}");
}

fn run(steps: &[Step], codes: &mut BTreeMap<&'static str, u64>) {
    let mut ledger = Ledger::default();
    ledger.world.now = at("2026-03-30T12:00:00Z");
    let mut script = Script::default();
    let mut memory = Memory::default();
    for definition in DEFINITIONS {
        step(&mut ledger, &mut script, &mut memory, definition.to_string());
    }
    for dice in steps {
        if let Some(line) = line(&mut ledger, dice) {
            let outcome = step(&mut ledger, &mut script, &mut memory, line);
            *codes.entry(outcome).or_default() += 1;
        }
    }
    again(&ledger, &script);
    in_batches(&ledger, &script);
}

/// Asks one line and checks everything.
fn step(ledger: &mut Ledger, script: &mut Script, memory: &mut Memory, line: String) -> &'static str {
    script.lines.push((ledger.world.now, line.clone()));
    let so_far = std::panic::AssertUnwindSafe(|| {
        let before = ledger.world.events.clone();
        let answers = ledger.decide(&line);
        let [answer] = answers.try_into().expect("one answer");
        ledger.world.verify();
        memory.check(ledger, &line, &answer, before);
        answer
    });
    let answer = std::panic::catch_unwind(so_far).unwrap_or_else(|_| panic!("{}", shown(script)));
    script.answers.push(format!("{answer:?}"));
    answer.map_or_else(|refusal| refusal.code.as_str(), |_| "ok")
}

fn shown(script: &Script) -> String {
    let mut text = String::from("the last line of this script breaks a promise:\n");
    let mut now = None;
    for (at, line) in &script.lines {
        if now.replace(at) != Some(at) {
            let _ = writeln!(text, "    at {at}");
        }
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// The same script in a new world gives the same answers and the same journal.
fn again(first: &Ledger, script: &Script) {
    let mut ledger = Ledger::default();
    for ((now, line), answer) in script.lines.iter().zip(&script.answers) {
        ledger.world.now = *now;
        let [again] = ledger.decide(line).try_into().expect("one answer");
        assert_eq!(format!("{again:?}"), *answer, "{}", shown(script));
    }
    same_world(first, &ledger, script);
}

/// Commands that wait together are decided as if they had come one by one.
fn in_batches(first: &Ledger, script: &Script) {
    let mut ledger = Ledger::default();
    let mut answers = Vec::new();
    for batch in script.lines.chunk_by(|a, b| a.0 == b.0) {
        for lines in batch.chunks(7) {
            ledger.world.now = lines[0].0;
            let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
            let asked = format!("together {}", lines.join(" | "));
            answers.extend(ledger.decide(&asked).iter().map(|answer| format!("{answer:?}")));
        }
    }
    assert_eq!(answers, script.answers, "{}", shown(script));
    same_world(first, &ledger, script);
}

fn same_world(first: &Ledger, again: &Ledger, script: &Script) {
    let hashes = |ledger: &Ledger| -> Vec<(Chain, Vec<seriatim_core::Hash>)> {
        let events = ledger.world.events.iter();
        events
            .map(|(chain, events)| (*chain, events.iter().map(|event| event.hash).collect()))
            .collect()
    };
    assert_eq!(hashes(first), hashes(again), "{}", shown(script));
    assert_eq!(first.world.entries, again.world.entries, "{}", shown(script));
    assert_eq!(first.world.counters, again.world.counters, "{}", shown(script));
    assert_eq!(first.world.keys, again.world.keys, "{}", shown(script));
    assert_eq!(first.world.missing, again.world.missing, "{}", shown(script));
}

/// What was answered before, which later answers must not deny.
#[derive(Default)]
struct Memory {
    /// The number that each (series, tenant, key) was given first.
    given: BTreeMap<(String, String, String), String>,
}

impl Memory {
    fn check(
        &mut self,
        ledger: &Ledger,
        line: &str,
        answer: &Result<Answer, Refusal>,
        before: BTreeMap<Chain, Vec<std::sync::Arc<Event>>>,
    ) {
        let wiped = matches!(answer, Ok(Answer::Wiped(_)));
        if wiped {
            self.given.retain(|(series, ..), _| series != "trial");
        } else {
            Self::nothing_is_taken_back(ledger, &before);
        }
        if answer.is_err() || line.starts_with("preview") || line.starts_with("rehearse") {
            assert_eq!(
                ledger.world.events, before,
                "a no, a preview or a rehearsal wrote something"
            );
            return;
        }
        self.keys_keep_their_numbers(line, answer);
        Self::dates_are_in_order(ledger);
        Self::closed_periods_stand_still(ledger);
    }

    /// Events are only ever added.
    fn nothing_is_taken_back(ledger: &Ledger, before: &BTreeMap<Chain, Vec<std::sync::Arc<Event>>>) {
        for (chain, events) in before {
            let now = &ledger.world.events[chain];
            assert!(now.starts_with(events), "{chain} was rewritten");
        }
    }

    /// P3: the same key, the same number.
    fn keys_keep_their_numbers(&mut self, line: &str, answer: &Result<Answer, Refusal>) {
        let takes = ["issue", "items", "reserve", "adopt"];
        let (true, Ok(Answer::Entries(answer))) = (takes.iter().any(|verb| line.starts_with(verb)), answer) else {
            return;
        };
        let mut seen = BTreeSet::new();
        for entry in answer.taken.iter().map(|taken| &taken.entry) {
            let Some(key) = &entry.key else { continue };
            // Of several numbers with one key the first speaks for all.
            if seen.insert(key) {
                let whose = (
                    entry.counter.series.to_string(),
                    entry.counter.tenant.to_string(),
                    key.to_string(),
                );
                let given = self.given.entry(whose).or_insert_with(|| entry.number.to_string());
                assert_eq!(**given, *entry.number, "{key} was given another number before");
            }
        }
    }

    /// P4.
    fn dates_are_in_order(ledger: &Ledger) {
        let mut last: BTreeMap<_, seriatim_core::Date> = BTreeMap::new();
        for entry in ledger.world.entries.values() {
            if ledger.world.series[&entry.counter.series].date_order == DateOrder::Required {
                let last = last.entry(entry.id.counter).or_insert(entry.date);
                assert!(*last <= entry.date, "{} runs backwards", entry.number);
                *last = entry.date;
            }
        }
    }

    fn closed_periods_stand_still(ledger: &Ledger) {
        for closure in ledger.world.closures.values().filter(|closure| closure.closed) {
            let counters = ledger.world.counters.values().filter(|counter| {
                let key = &counter.key;
                key.series == closure.at.series && key.tenant == closure.at.tenant && key.period == closure.at.period
            });
            let now: Vec<_> = counters
                .map(|counter| (&counter.key.partition, counter.last_seq, counter.counts))
                .collect();
            let then: Vec<_> = closure
                .counters
                .iter()
                .map(|counter| (&counter.partition, counter.last_seq, counter.counts))
                .collect();
            assert_eq!(now, then, "{:?}", closure.at);
        }
    }
}

// Lines.

/// The line that a step asks, given the world as it is; nothing if the step only lets time pass or finds nothing.
fn line(ledger: &mut Ledger, step: &Step) -> Option<String> {
    let [a, b, c, d, e, f] = step.dice;
    let name = SERIES[usize::from(a) % SERIES.len()];
    let tenant = ["", "", " tenant=acme"][usize::from(b) % 3];
    let take = take(ledger, name, step);
    Some(match step.verb {
        Verb::Issue => format!("issue {name}{take}{tenant}"),
        Verb::IssueCount => format!("issue {name} count={}{take}{tenant}", 1 + f % 4),
        Verb::Items => {
            let others = (1..=1 + f % 3).map(|i| {
                let [a, b, c, d, e, f] = step.dice.map(|dice| dice.wrapping_add(i.wrapping_mul(37)));
                self::take(
                    ledger,
                    name,
                    &Step {
                        dice: [a, b, c, d, e, f],
                        ..*step
                    },
                )
            });
            let items: String = others.map(|take| format!(" /{take}{tenant}")).collect();
            format!("items {name} /{take}{tenant}{items}")
        }
        Verb::Reserve => format!(
            "reserve {name} ttl={}{take}{tenant}",
            ["1s", "1h", "3d"][usize::from(f) % 3]
        ),
        Verb::Adopt => {
            let series = SeriesName::parse(name).ok()?;
            let series = ledger.world.series.get(&series)?.clone();
            let date = series.today(ledger.world.now).plus_days(i32::from(d % 5) - 2);
            let params = Params::stored(if name == "fiscal" {
                ["branch=1", "branch=2"][usize::from(e) % 2]
            } else {
                ""
            });
            let whose = if tenant.is_empty() { "default" } else { "acme" };
            let number = series.render(whose, &params, date, u64::from(1 + f % 16));
            let key = if c % 2 == 0 {
                format!(" key=k{}", c / 2 % 9)
            } else {
                String::new()
            };
            format!("adopt {name} {number} date={date}{key}{tenant}")
        }
        Verb::Confirm => format!("confirm {}{}", entry(ledger, step)?, doc(f)),
        Verb::Release => format!("release {}", entry(ledger, step)?),
        Verb::Expire => format!("expire {}", entry(ledger, step)?),
        Verb::Void => format!("void {}", entry(ledger, step)?),
        Verb::Reissue => format!("void {} reissue", entry(ledger, step)?),
        Verb::Redact => format!("redact {}", entry(ledger, step)?),
        Verb::Advance => {
            let branch = if name == "fiscal" {
                ["", " branch=1"][usize::from(e) % 2]
            } else {
                ""
            };
            format!("advance {name} to={}{branch}{tenant}", 1 + f % 16)
        }
        Verb::Close | Verb::Reopen => {
            let series = SeriesName::parse(name).ok()?;
            let series: &Series = ledger.world.series.get(&series)?;
            let date = series.today(ledger.world.now).plus_days(i32::from(d % 3) - 1);
            let verb = if matches!(step.verb, Verb::Close) {
                "close"
            } else {
                "reopen"
            };
            format!("{verb} {name} {}{tenant}", series.reset.period_of(date))
        }
        Verb::Wipe => format!("wipe {}", if f % 8 == 0 { name } else { "trial" }),
        Verb::Preview => format!("preview {name} count=2{take}{tenant}"),
        Verb::Rehearse => format!("rehearse issue {name}{take}{tenant}"),
        Verb::Replace => HEIR.to_string(),
        Verb::Change => {
            let version = &ledger.world.series[&SeriesName::parse("strict").ok()?].version;
            let limit = [8, 12, 20][usize::from(f) % 3];
            format!(
                "{} if={version}",
                DEFINITIONS[3].replace("limit=12", &format!("limit={limit}"))
            )
        }
        Verb::Wait => {
            let seconds = [1, 60, 3_600, 86_400, 2 * 86_400, 30 * 86_400, -3_600, -2 * 86_400];
            ledger.world.now = ledger.world.now.plus_seconds(seconds[usize::from(f) % seconds.len()]);
            return None;
        }
    })
}

/// Key, params, date and document.
fn take(ledger: &Ledger, series: &str, step: &Step) -> String {
    let [_, _, c, d, e, f] = step.dice;
    let mut words = String::new();
    if c % 8 != 0 {
        let _ = write!(words, " key=k{}", c / 8 % 9);
    }
    if series == "fiscal" {
        let _ = write!(words, " branch={}", 1 + e % 2);
    }
    if d % 3 == 0 {
        let today = ledger.world.now.to_string();
        let today: seriatim_core::Date = today[..10].parse().expect("a date");
        let _ = write!(words, " date={}", today.plus_days(i32::from(d / 3 % 5) - 2));
    }
    words + &doc(f)
}

fn doc(dice: u8) -> String {
    if dice.is_multiple_of(2) {
        String::new()
    } else {
        format!(" doc={{\"n\":{}}}", dice / 2 % 2)
    }
}

/// An entry, mostly one that the verb is for.
fn entry(ledger: &Ledger, step: &Step) -> Option<String> {
    let fits = |entry: &&std::sync::Arc<Entry>| match step.verb {
        _ if step.dice[2].is_multiple_of(4) => true,
        Verb::Confirm | Verb::Release | Verb::Expire => entry.state == State::Reserved,
        Verb::Redact => entry.document.is_some(),
        _ => entry.state != State::Voided,
    };
    let entries: Vec<_> = ledger.world.entries.values().filter(fits).collect();
    let dice = usize::from(step.dice[0]) * 256 + usize::from(step.dice[1]);
    let entry = entries.get(dice.checked_rem(entries.len())?)?;
    Some(entry.id.to_string())
}

#[test]
fn an_heir_refuses_the_numbers_that_are_taken_and_no_others() {
    let mut ledger = Ledger::default();
    for definition in DEFINITIONS {
        ledger.ask(definition);
    }
    ledger.ask("issue plain key=a");
    ledger.ask("advance plain to=3");
    ledger.ask("issue plain key=b");
    ledger.ask(HEIR);
    let mut taken = Vec::new();
    for seq in 1..=6 {
        let answer = ledger.decide(&format!("issue heir key=h{seq}"));
        match answer.as_slice() {
            [Ok(_)] => {}
            [Err(refusal)] if refusal.code == Code::NumberExists => {
                taken.push(seq);
                ledger.ask(&format!("advance heir to={seq}"));
            }
            other => panic!("{other:?}"),
        }
    }
    // What was passed over may stand on a paper somewhere.
    assert_eq!(taken, [1, 2, 3, 4]);
    ledger.world.verify();
}
