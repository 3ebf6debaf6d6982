//! What is measured, once for every store and surface. Names are stable; labels never hold a tenant or a number.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};
use seriatim_core::{Answer, ClaimOutcome, EntriesAnswer, GateState, Refusal};
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
        "Numbers with more digits than their format provides for"
    );
    describe_counter!(
        "seriatim_near_limit_total",
        "Numbers issued from the last tenth of a counter"
    );
    describe_counter!(
        "seriatim_store_retries_total",
        "Transactions tried again because nothing had happened"
    );
    describe_counter!(
        "seriatim_unknown_commits_total",
        "Commits whose outcome had to be looked up"
    );
    describe_counter!("seriatim_gate_claims_total", "Claims of gates, by outcome");
    describe_counter!(
        "seriatim_gate_takeovers_total",
        "Claims won from a holder whose lease had run out"
    );
    describe_counter!("seriatim_gates_done_total", "Gates whose result was recorded");
    describe_counter!("seriatim_gates_dead_total", "Gates that failed as often as they may");
    describe_histogram!("seriatim_command_duration_seconds", "From call to answer, by verb");
    describe_histogram!("seriatim_store_duration_seconds", "One store transaction, by operation");
    describe_histogram!("seriatim_batch_size", "Commands combined in one transaction");
}

/// A caller has his answer.
pub(super) fn answered(verb: &'static str, answer: &Result<Answer, Failure>, took: Duration) {
    let outcome = match answer {
        Ok(_) => "done",
        Err(Failure::Refused(refusal)) => {
            counter!("seriatim_refusals_total", "code" => refusal.code.as_str()).increment(1);
            "refused"
        }
        Err(Failure::Unavailable { .. }) => "unavailable",
        Err(Failure::Unknown { .. }) => "unknown",
        Err(Failure::Corrupt { .. }) => "corrupt",
    };
    counter!("seriatim_commands_total", "verb" => verb, "outcome" => outcome).increment(1);
    histogram!("seriatim_command_duration_seconds", "verb" => verb).record(took.as_secs_f64());
}

/// What became of a gate.
fn gate_moved(answer: &Answer) {
    match answer {
        Answer::Claim { gate, outcome } => {
            counter!("seriatim_gate_claims_total", "outcome" => outcome.as_str()).increment(1);
            let took_over = matches!(outcome, ClaimOutcome::Won { took_over: true, .. });
            if took_over {
                counter!("seriatim_gate_takeovers_total").increment(1);
                warn!(gate = %gate.id, token = gate.token, "a lease ran out, and somebody else came");
            }
        }
        Answer::Gate { gate, replayed: false } if gate.state == GateState::Done => {
            counter!("seriatim_gates_done_total").increment(1);
        }
        Answer::Gate { gate, replayed: false } if gate.state == GateState::Dead => {
            counter!("seriatim_gates_dead_total").increment(1);
            error!(gate = %gate.id, effect = %gate.effect, attempts = gate.attempts, "a gate is dead; see `seriatim gate retry`");
        }
        _ => {}
    }
}

/// A batch is durable.
pub(super) fn committed(answers: &[Result<Answer, Refusal>]) {
    let (mut fresh, mut replayed, mut widened, mut near) = (0, 0, 0, 0);
    for answer in answers {
        if let Ok(answer) = answer {
            gate_moved(answer);
        }
        let Ok(Answer::Entries(EntriesAnswer { taken, warnings, .. })) = answer else {
            continue;
        };
        let again = taken.iter().filter(|taken| taken.replayed).count() as u64;
        replayed += again;
        fresh += taken.len() as u64 - again;
        widened += warnings.iter().filter(|warning| warning.code() == "widened").count() as u64;
        near += warnings.iter().filter(|warning| warning.code() == "near_limit").count() as u64;
    }
    for (name, count) in [
        ("seriatim_numbers_issued_total", fresh),
        ("seriatim_idempotent_replays_total", replayed),
        ("seriatim_widened_total", widened),
        ("seriatim_near_limit_total", near),
    ] {
        if count > 0 {
            counter!(name).increment(count);
        }
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
