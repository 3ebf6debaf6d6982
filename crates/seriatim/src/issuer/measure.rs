//! What is measured, once for every store and surface. Names are stable; labels never hold a tenant or a number.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};
use seriatim_core::{
    Answer, Chain, Change, Changes, ClaimOutcome, Command, Effect, EntriesAnswer, EventKind, Gate, Refusal, Request,
    Warning,
};
use tracing::{error, warn};

use crate::failure::Failure;

pub(super) fn describe() {
    describe_counter!("seriatim_commands_total", "Commands answered, by verb and outcome");
    describe_counter!("seriatim_refusals_total", "Refusals, by code");
    describe_counter!("seriatim_numbers_issued_total", "Numbers taken");
    describe_counter!(
        "seriatim_idempotent_replays_total",
        "Numbers given again to the same key"
    );
    describe_counter!(
        "seriatim_widened_total",
        "Numbers taken with more digits than their format provides for"
    );
    describe_counter!(
        "seriatim_near_limit_total",
        "Numbers taken from the last tenth of a counter"
    );
    describe_counter!(
        "seriatim_store_retries_total",
        "Transactions tried again because nothing had happened"
    );
    describe_counter!(
        "seriatim_unknown_commits_total",
        "Commits whose outcome had to be looked up"
    );
    describe_counter!("seriatim_gate_claims_total", "Claims of gates, by effect and outcome");
    describe_counter!(
        "seriatim_gate_events_total",
        "What happened to gates, by effect and event"
    );
    describe_counter!(
        "seriatim_conflicts_total",
        "Commands that contradict what is stored; 0, or somebody must look"
    );
    // So that 0 can be seen, and the first one is a rise.
    for name in [
        "seriatim_conflicts_total",
        "seriatim_numbers_issued_total",
        "seriatim_idempotent_replays_total",
        "seriatim_widened_total",
        "seriatim_near_limit_total",
        "seriatim_store_retries_total",
        "seriatim_unknown_commits_total",
    ] {
        counter!(name).increment(0);
    }
    describe_histogram!("seriatim_command_duration_seconds", "From call to answer, by verb");
    describe_histogram!("seriatim_store_duration_seconds", "One store transaction, by operation");
    describe_histogram!("seriatim_batch_size", "Commands combined in one transaction");
}

/// A caller has his answer.
pub(super) fn answered(verb: &'static str, is_rehearsal: bool, answer: &Result<Answer, Failure>, took: Duration) {
    let outcome = match answer {
        Ok(_) if is_rehearsal => "rehearsed",
        Ok(_) => "done",
        Err(Failure::Refused(refusal)) => {
            counter!("seriatim_refusals_total", "code" => refusal.code.as_str()).increment(1);
            "refused"
        }
        Err(Failure::Unavailable { .. }) => "unavailable",
        Err(Failure::Unknown { .. }) => "unknown",
        Err(Failure::Corrupt { .. }) => {
            counter!("seriatim_conflicts_total").increment(1);
            "corrupt"
        }
    };
    counter!("seriatim_commands_total", "verb" => verb, "outcome" => outcome).increment(1);
    histogram!("seriatim_command_duration_seconds", "verb" => verb).record(took.as_secs_f64());
}

/// A gate as a batch leaves it, and one thing that happened to it in there.
pub(super) type GateMoved = (Arc<Gate>, EventKind);

/// What happens to gates if these changes become durable: what their events say, so that everybody's work is counted,
/// and a rehearsal is not.
pub(super) fn gate_moves(changes: &Changes) -> Vec<GateMoved> {
    if changes.gates.is_empty() {
        return Vec::new();
    }
    let moves = changes.list.iter().filter_map(|change| match change {
        Change::Event(Chain::Gate(id), event) => Some((changes.gates.get(id)?.clone(), event.kind)),
        _ => None,
    });
    moves.collect()
}

/// Those changes are durable.
pub(super) fn gates_moved(moves: &[GateMoved]) {
    for (gate, event) in moves {
        counter!("seriatim_gate_events_total", "effect" => label(&gate.effect), "event" => event.as_str()).increment(1);
        match event {
            EventKind::Expired => {
                warn!(gate = %gate.id, effect = %gate.effect, token = gate.token, "a lease ran out, and somebody else came");
            }
            EventKind::Died => {
                error!(gate = %gate.id, effect = %gate.effect, attempts = gate.attempts, "a gate is dead; see `seriatim gate retry`");
            }
            _ => {}
        }
    }
}

/// How many numbers are taken if these changes become durable.
pub(super) fn numbers(changes: &Changes) -> u64 {
    let new = changes
        .list
        .iter()
        .filter(|change| matches!(change, Change::NewEntry(_)));
    new.count() as u64
}

/// Those changes are durable.
pub(super) fn taken(count: u64) {
    if count > 0 {
        counter!("seriatim_numbers_issued_total").increment(count);
    }
}

fn claimed(gate: &Gate, outcome: ClaimOutcome) {
    let outcome = match outcome {
        ClaimOutcome::Won { replayed: true, .. } => "replayed",
        ClaimOutcome::Won { .. } | ClaimOutcome::Busy { .. } | ClaimOutcome::Done | ClaimOutcome::Dead => {
            outcome.as_str()
        }
    };
    counter!("seriatim_gate_claims_total", "effect" => label(&gate.effect), "outcome" => outcome).increment(1);
}

/// An effect as a label. Callers choose their names, and what is measured must not grow with what callers choose: the
/// first few that a process sees have a label of their own.
fn label(effect: &Effect) -> String {
    static SEEN: Mutex<BTreeSet<Effect>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    label_among(&mut seen, effect)
}

const EFFECTS_MAX: usize = 32;

fn label_among(seen: &mut BTreeSet<Effect>, effect: &Effect) -> String {
    if seen.len() < EFFECTS_MAX && !seen.contains(effect) {
        seen.insert(effect.clone());
    }
    let label = if seen.contains(effect) {
        effect.as_str()
    } else {
        "other"
    };
    label.to_string()
}

/// A batch is durable.
pub(super) fn committed(requests: &[Request], answers: &[Result<Answer, Refusal>]) {
    let (mut replayed, mut widened, mut near) = (0, 0, 0);
    // What was only rehearsed has not happened.
    let real = requests.iter().zip(answers).filter(|(request, _)| !request.rehearsal);
    for (request, answer) in real.filter_map(|(request, answer)| Some((request, answer.as_ref().ok()?))) {
        if let Answer::Claim { gate, outcome } = answer {
            claimed(gate, *outcome);
        }
        let Answer::Entries(EntriesAnswer { series, taken, .. }) = answer else {
            continue;
        };
        replayed += taken.iter().filter(|taken| taken.replayed).count() as u64;
        if !takes(&request.command) {
            continue;
        }
        // Each of them: the answer itself warns once of many.
        let new = taken.iter().filter(|taken| !taken.replayed);
        for warning in new.flat_map(|taken| Warning::of(series, &taken.entry)) {
            match warning {
                Warning::Widened { .. } => widened += 1,
                Warning::NearLimit { .. } => near += 1,
            }
        }
    }
    for (name, count) in [
        ("seriatim_idempotent_replays_total", replayed),
        ("seriatim_widened_total", widened),
        ("seriatim_near_limit_total", near),
    ] {
        if count > 0 {
            counter!(name).increment(count);
        }
    }
}

/// Whether its numbers are taken by it, and not before.
fn takes(command: &Command) -> bool {
    match command {
        Command::Issue { .. }
        | Command::IssueItems { .. }
        | Command::IssueCount { .. }
        | Command::Reserve { .. }
        | Command::Adopt { .. }
        | Command::AdoptItems { .. } => true,
        Command::Void(void) => void.reissue,
        _ => false,
    }
}

/// A transaction ended, well or not.
pub(super) fn transacted(size: usize, took: Duration) {
    histogram!("seriatim_batch_size").record(u32::try_from(size).map_or(f64::MAX, f64::from));
    histogram!("seriatim_store_duration_seconds", "op" => "transact").record(took.as_secs_f64());
}

/// Nothing had happened; it is tried again.
pub(super) fn retried() {
    counter!("seriatim_store_retries_total").increment(1);
}

/// An answer was lost.
pub(super) fn unknown() {
    counter!("seriatim_unknown_commits_total").increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_does_not_grow_with_the_effects_of_callers() {
        let mut seen = BTreeSet::new();
        let effect = |i: usize| Effect::parse(&format!("effect-{i}")).expect("an effect");
        let labels: Vec<String> = (0..1_000).map(|i| label_among(&mut seen, &effect(i))).collect();
        assert_eq!((labels[0].as_str(), labels[31].as_str()), ("effect-0", "effect-31"));
        assert!(labels[32..].iter().all(|label| label == "other"), "{labels:?}");
        assert_eq!(label_among(&mut seen, &effect(0)), "effect-0");
    }
}
