//! The judge convicts what no honest series can show, and nothing else.
#![cfg(feature = "conformance")]

use seriatim::conformance::history::{Call, CounterRead, Crime, EntryRead, Given, Readout, Told, judge};

fn given(seq: u64) -> Given {
    Given {
        counter: "c".to_string(),
        seq,
        number: format!("N-{seq}"),
        replayed: false,
    }
}

fn replayed(seq: u64) -> Given {
    Given {
        replayed: true,
        ..given(seq)
    }
}

fn call(tag: &str, invoked: u64, returned: u64, told: Told) -> Call {
    Call {
        place: "p".to_string(),
        tag: tag.to_string(),
        invoked,
        returned,
        told,
    }
}

fn done(tag: &str, invoked: u64, returned: u64, seq: u64) -> Call {
    call(tag, invoked, returned, Told::Done(vec![given(seq)]))
}

fn stored(seq: u64, tag: &str) -> EntryRead {
    EntryRead {
        counter: "c".to_string(),
        place: "p".to_string(),
        seq,
        number: format!("N-{seq}"),
        tag: Some(tag.to_string()),
        is_replacement: false,
    }
}

fn readout(last: u64, entries: Vec<EntryRead>) -> Readout {
    let counter = CounterRead {
        counter: "c".to_string(),
        first: 1,
        last,
        missing: Vec::new(),
    };
    Readout {
        counters: vec![counter],
        entries,
    }
}

fn crimes(calls: &[Call], readout: &Readout) -> Vec<Crime> {
    let mut crimes: Vec<Crime> = judge(calls, readout).into_iter().map(|verdict| verdict.crime).collect();
    crimes.sort();
    crimes.dedup();
    crimes
}

#[test]
fn an_honest_history_is_acquitted() {
    let calls = [
        done("a", 1, 4, 1),
        done("b", 2, 3, 2),
        call("a", 5, 6, Told::Done(vec![replayed(1)])),
        call("lost", 7, u64::MAX, Told::Unknown),
        call("lost-and-gone", 7, 9, Told::Unknown),
        call("no", 8, 9, Told::Refused),
        call("late", 8, 9, Told::Nothing),
        done("late", 10, 11, 4),
    ];
    let readout = readout(
        4,
        vec![stored(1, "a"), stored(2, "b"), stored(3, "lost"), stored(4, "late")],
    );
    assert_eq!(judge(&calls, &readout), []);
}

#[test]
fn one_number_for_two_requests_is_a_duplicate() {
    let calls = [done("a", 1, 2, 1), done("b", 1, 3, 1)];
    // Whoever of the two is stored, the other was also told something that is not.
    assert_eq!(
        crimes(&calls, &readout(1, vec![stored(1, "a")])),
        [Crime::Duplicate, Crime::Lost]
    );
    let twice = readout(
        2,
        vec![
            stored(1, "a"),
            EntryRead {
                number: "N-1".to_string(),
                ..stored(2, "b")
            },
        ],
    );
    let calls = [done("a", 1, 2, 1), call("b", 1, 3, Told::Unknown)];
    assert_eq!(crimes(&calls, &twice), [Crime::Duplicate]);
}

#[test]
fn a_hole_an_overlap_and_a_cut_end_are_unaccounted() {
    let calls = [done("a", 1, 2, 1), done("b", 3, 4, 3)];
    assert_eq!(
        crimes(&calls, &readout(3, vec![stored(1, "a"), stored(3, "b")])),
        [Crime::Unaccounted]
    );
    let mut explained = readout(3, vec![stored(1, "a"), stored(3, "b")]);
    explained.counters[0].missing = vec![(2, 2)];
    assert_eq!(crimes(&calls, &explained), []);
    explained.counters[0].missing = vec![(2, 3)];
    assert_eq!(
        crimes(&calls, &explained),
        [Crime::Unaccounted],
        "3 is missing and issued"
    );
    explained.counters[0].missing = vec![(2, 2)];
    explained.counters[0].last = 9;
    assert_eq!(crimes(&calls, &explained), [Crime::Unaccounted]);
    explained.counters.clear();
    assert_eq!(
        crimes(&calls, &explained),
        [Crime::Unaccounted],
        "entries without a counter"
    );
}

#[test]
fn an_acknowledged_number_that_is_not_stored_is_lost() {
    let calls = [done("a", 1, 2, 1), done("b", 3, 4, 2)];
    assert_eq!(crimes(&calls, &readout(1, vec![stored(1, "a")])), [Crime::Lost]);
    let swapped = readout(2, vec![stored(1, "b"), stored(2, "a")]);
    assert_eq!(
        crimes(&calls, &swapped),
        [Crime::Lost],
        "stored, but for another request"
    );
}

#[test]
fn two_numbers_for_one_key_are_taken_twice() {
    let calls = [done("a", 1, 2, 1), call("a", 3, 4, Told::Done(vec![replayed(2)]))];
    let both = readout(2, vec![stored(1, "a"), stored(2, "a")]);
    assert_eq!(crimes(&calls, &both), [Crime::TakenTwice]);
    // A lost answer was guessed to be a failure and taken again, in silence.
    let calls = [done("a", 1, 2, 2)];
    assert_eq!(crimes(&calls, &both), [Crime::TakenTwice]);
    let calls = [call("a", 1, 2, Told::Unknown)];
    assert_eq!(crimes(&calls, &both), [Crime::TakenTwice]);
    // Several numbers for one key are fine if that is what was asked for.
    let calls = [call("a", 1, 2, Told::Done(vec![given(1), given(2)]))];
    assert_eq!(crimes(&calls, &both), []);
}

#[test]
fn a_number_is_new_once_and_a_replay_has_a_first() {
    let one = readout(1, vec![stored(1, "a")]);
    assert_eq!(
        crimes(&[done("a", 1, 2, 1), done("a", 3, 4, 1)], &one),
        [Crime::Mislabelled]
    );
    let replay = Told::Done(vec![replayed(1)]);
    assert_eq!(crimes(&[call("a", 1, 2, replay.clone())], &one), [Crime::Mislabelled]);
    assert_eq!(
        crimes(&[call("a", 1, 2, replay.clone()), done("a", 3, 4, 1)], &one),
        [Crime::Mislabelled]
    );
    assert_eq!(
        crimes(&[call("a", 1, 4, Told::Unknown), call("a", 2, 3, replay)], &one),
        []
    );
}

#[test]
fn who_begins_after_another_has_ended_has_the_higher_seq() {
    let both = readout(2, vec![stored(1, "b"), stored(2, "a")]);
    assert_eq!(
        crimes(&[done("a", 1, 2, 2), done("b", 3, 4, 1)], &both),
        [Crime::OutOfOrder]
    );
    assert_eq!(
        crimes(&[done("a", 1, 3, 2), done("b", 2, 4, 1)], &both),
        [],
        "they overlap"
    );
    // The lost call for b began before a had ended, so b may have been taken then.
    let calls = [
        call("b", 1, 2, Told::Unknown),
        done("a", 3, 4, 2),
        call("b", 5, 6, Told::Done(vec![replayed(1)])),
    ];
    assert_eq!(crimes(&calls, &both), []);
    // Not only neighbours: 1 was asked for long after 3 was told.
    let three = readout(3, vec![stored(1, "c"), stored(2, "b"), stored(3, "a")]);
    let calls = [done("a", 1, 2, 3), done("b", 1, 9, 2), done("c", 3, 4, 1)];
    assert_eq!(crimes(&calls, &three), [Crime::OutOfOrder]);
}

#[test]
fn a_number_that_nobody_was_told_of_is_invented() {
    let one = readout(1, vec![stored(1, "a")]);
    assert_eq!(crimes(&[call("a", 1, 2, Told::Nothing)], &one), [Crime::Invented]);
    assert_eq!(crimes(&[call("a", 1, 2, Told::Refused)], &one), [Crime::Invented]);
    assert_eq!(crimes(&[], &one), [Crime::Invented]);
    let nameless = readout(
        1,
        vec![EntryRead {
            tag: None,
            ..stored(1, "a")
        }],
    );
    assert_eq!(crimes(&[done("a", 1, 2, 1)], &nameless), [Crime::Invented]);
}

#[test]
fn a_hundred_thousand_calls_are_judged_quickly() {
    let calls: Vec<Call> = (1..=100_000)
        .map(|i| done(&format!("{i}"), 2 * i, 2 * i + 1, i))
        .collect();
    let readout = readout(100_000, (1..=100_000).map(|i| stored(i, &format!("{i}"))).collect());
    let started = std::time::Instant::now();
    assert_eq!(judge(&calls, &readout), []);
    // Quadratic work would take hours; the bound leaves room for a slow machine.
    assert!(started.elapsed().as_secs() < 30);
}
