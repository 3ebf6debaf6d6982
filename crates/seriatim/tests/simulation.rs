//! Seeded misfortune: `SERIATIM_SIMULATIONS` says how many schedules, `SERIATIM_SEED` runs one again.
#![cfg(feature = "conformance")]

use std::collections::BTreeMap;
use std::time::Instant;

use seriatim::conformance::simulation::{Bug, Run, SOMETIMES, run_many, simulate};

fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn no_misfortune_breaks_a_promise() {
    if let Some(seed) = from_env("SERIATIM_SEED") {
        let run = simulate(seed, None);
        assert!(run.verdicts.is_empty(), "{run}");
        return;
    }
    let count = from_env("SERIATIM_SIMULATIONS").unwrap_or(300);
    let started = Instant::now();
    let runs = run_many(0..count, None);
    report(&runs, started);
    let guilty: Vec<String> = runs
        .iter()
        .filter(|run| !run.verdicts.is_empty())
        .map(Run::to_string)
        .collect();
    let seeds = guilty.len();
    assert!(
        guilty.is_empty(),
        "{seeds} schedules broke a promise; SERIATIM_SEED=… runs one again:\n{}",
        guilty.into_iter().take(5).collect::<String>()
    );
    let counts = sum(&runs);
    let never: Vec<_> = SOMETIMES.iter().filter(|what| !counts.contains_key(**what)).collect();
    // A few schedules cannot meet everything.
    assert!(
        count < 200 || never.is_empty(),
        "this never happened, so nothing is shown about it: {never:?}"
    );
}

fn sum(runs: &[Run]) -> BTreeMap<&'static str, u64> {
    let mut sum = BTreeMap::new();
    for (what, count) in runs.iter().flat_map(|run| &run.sometimes) {
        *sum.entry(*what).or_default() += count;
    }
    sum
}

fn report(runs: &[Run], started: Instant) {
    let calls: usize = runs.iter().map(|run| run.calls).sum();
    let seconds = started.elapsed().as_secs_f64();
    eprintln!(
        "{} schedules, {calls} calls, {:.0} schedules a second",
        runs.len(),
        runs.len() as f64 / seconds
    );
    for (what, count) in sum(runs) {
        eprintln!("{count:>9} {what}");
    }
}

#[test]
fn a_seed_is_one_schedule() {
    for seed in 0..5 {
        let (a, b) = (simulate(seed, None), simulate(seed, None));
        assert_eq!(
            (a.fingerprint, a.calls, a.sometimes),
            (b.fingerprint, b.calls, b.sometimes),
            "seed {seed}"
        );
    }
    assert_ne!(simulate(1, None).fingerprint, simulate(2, None).fingerprint);
}

/// The tests of the tests: a store with a bug must be found out, and by the verdict that fits.
#[test]
fn every_seeded_bug_is_convicted() {
    for (bug, crimes) in [
        (
            Bug::AcknowledgesBeforeCommit,
            &["Duplicate", "Lost", "ResultLost", "MoveLost", "TwoResults", "Undone"][..],
        ),
        (Bug::DropsTheKey, &["TakenTwice"]),
        (Bug::ReadsWithoutLock, &["Duplicate", "Lost"]),
        (Bug::GuessesAnUnknownCommit, &["TakenTwice", "NobodyAsked"]),
        (Bug::AsksWithoutFence, &["TakenTwice", "NobodyAsked"]),
        (Bug::ForgetsTheToken, &["TokenTwice", "TokenShrank"]),
        (Bug::IgnoresTheToken, &["StaleToken"]),
        (Bug::LosesGates, &["ResultLost", "TokenTwice", "TwoResults", "Undone"]),
    ] {
        let runs = run_many(0..60, Some(bug));
        let verdicts: Vec<&String> = runs.iter().flat_map(|run| &run.verdicts).collect();
        for crime in crimes {
            let found = verdicts.iter().filter(|verdict| verdict.starts_with(crime)).count();
            eprintln!("{bug:?}: {crime} {found}");
            assert!(
                found > 0,
                "{bug:?} was not convicted of {crime}: {:?}",
                verdicts.iter().take(5).collect::<Vec<_>>()
            );
        }
    }
    assert_eq!(Bug::ALL.len(), 8);
}
