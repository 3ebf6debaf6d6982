//! Many at once: unique, dense, in order, one winner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use seriatim_core::{Answer, Code, Command, Footprint, Key, State, decide_all};

use super::stage::{
    Stage, adopt, at_once, counters, document, entries, invoices, issue, issue_count, key_ref, name, numbers, reason,
    refusal, request, reserve, take, tenant, void,
};
use crate::conformance::history::{Told, place};
use crate::store::{BatchId, Store};

pub(super) async fn sixty_four_callers_of_one_counter_get_every_number_once(store: Arc<dyn Store>) {
    const CALLERS: usize = 64;
    const CALLS: usize = 8;
    let stage = Stage::invoices(store).await;
    at_once((0..CALLERS).map(|caller| {
        let stage = stage.clone();
        async move {
            for call in 0..CALLS {
                entries(stage.issue(caller, "acme", &format!("{caller}-{call}")).await);
            }
        }
    }))
    .await;
    stage.judge().await;
    let counter = stage.counter().await;
    assert_eq!((counter.first_seq, counter.last_seq), (1, (CALLERS * CALLS) as u64));
    assert_eq!(counter.counts.issued, (CALLERS * CALLS) as u64);
}

pub(super) async fn one_key_sent_by_fifty_callers_at_once_is_one_number(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let answers = at_once((0..50).map(|caller| {
        let stage = stage.clone();
        async move { entries(stage.issue(caller, "acme", "pay_1").await) }
    }))
    .await;
    stage.judge().await;
    assert!(answers.iter().all(|answer| numbers(answer) == ["INV-2526-00001"]));
    assert_eq!(
        answers.iter().filter(|answer| !answer.taken[0].replayed).count(),
        1,
        "one of them is the first"
    );
    assert_eq!(stage.counter().await.last_seq, 1);
}

pub(super) async fn fifty_first_calls_open_one_counter(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    for round in 0..5 {
        let name = format!("tenant-{round}");
        let answers = at_once((0..50).map(|caller| {
            let (stage, name) = (stage.clone(), name.clone());
            async move { entries(stage.issue(caller, &name, &format!("{caller}")).await) }
        }))
        .await;
        let seqs: BTreeSet<u64> = answers.iter().map(|answer| answer.taken[0].entry.id.seq).collect();
        assert_eq!(seqs, (1..=50).collect());
    }
    stage.judge().await;
    assert_eq!(counters(&*stage.store).await.len(), 5, "one counter each");
}

pub(super) async fn many_tenants_count_each_for_itself(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    at_once((0..300).map(|call| {
        let stage = stage.clone();
        async move {
            entries(
                stage
                    .issue(call / 7, &format!("t{}", call % 30), &format!("{call}"))
                    .await,
            )
        }
    }))
    .await;
    stage.judge().await;
    let counters = counters(&*stage.store).await;
    assert_eq!(counters.len(), 30);
    assert!(counters.iter().all(|counter| counter.last_seq == 10), "{counters:?}");
}

/// Keys in any order, so that a store that locks them as they come runs into a deadlock.
pub(super) async fn batches_with_common_keys_are_all_or_none(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    at_once((0..40_usize).map(|batch| {
        let stage = stage.clone();
        async move {
            let step = [1, 3, 7, 9][batch % 4];
            let keys: Vec<String> = (0..8).map(|i| format!("k{}", (batch + i * step) % 20)).collect();
            let at = place("invoice", "acme");
            let calls: Vec<usize> = keys.iter().map(|key| stage.recorder.invoke(&at, key)).collect();
            let mut items: Vec<_> = keys.iter().map(|key| take("acme", key)).collect();
            let is_bad = batch % 5 == 0;
            if is_bad {
                items[7].date = Some("1999-01-01".parse().expect("a date"));
                items[7].key = Some(Key::parse(&format!("bad-{batch}")).expect("a key"));
            }
            let command = Command::IssueItems {
                series: name("invoice"),
                items,
            };
            let answer = stage.process(batch).execute(request(command)).await;
            assert_eq!(refusal(&answer), is_bad.then_some(Code::DateOutsideWindow));
            let told = Told::of(&answer);
            for (i, call) in calls.into_iter().enumerate() {
                stage.recorder.told(
                    call,
                    match &told {
                        Told::Done(given) => Told::Done(vec![given[i].clone()]),
                        other => other.clone(),
                    },
                );
            }
        }
    }))
    .await;
    stage.judge().await;
    for batch in 0..40 {
        let held = stage
            .store
            .entries_of_key(&key_ref("invoice", "acme", &format!("bad-{batch}")))
            .await;
        assert_eq!(held.expect("readable"), [], "the bad item of a batch was written");
    }
}

/// The contract itself, without an issuer: while one decides, no other decides on the same.
pub(super) async fn overlapping_decisions_never_interleave(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let (inside, decided) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    at_once((0..12_i64).map(|node| {
        let (stage, inside, decided) = (stage.clone(), inside.clone(), decided.clone());
        async move {
            for batch in 1..=5 {
                let asked = [request(issue("invoice", "acme", &format!("{node}-{batch}")))];
                let (inside, decided, clock) = (inside.clone(), decided.clone(), stage.clock.clone());
                let decide = move |held| {
                    let batch = decide_all(held, &asked, crate::Clock::now(&*clock))?;
                    // From here on the counter is locked: it was asked for and loaded.
                    assert!(
                        !inside.swap(true, Ordering::SeqCst),
                        "two decide on one counter at the same time"
                    );
                    std::thread::sleep(Duration::from_millis(1));
                    inside.store(false, Ordering::SeqCst);
                    decided.fetch_add(1, Ordering::SeqCst);
                    Ok(batch)
                };
                let id = BatchId { node, lane: 0, batch };
                let outcome = stage.store.transact(id, Footprint::default(), Arc::new(decide)).await;
                assert_eq!(outcome, Ok(()));
            }
        }
    }))
    .await;
    assert!(decided.load(Ordering::SeqCst) >= 60);
    let counter = stage.counter().await;
    assert_eq!((counter.last_seq, counter.counts.issued), (60, 60));
}

pub(super) async fn one_of_many_who_void_a_number_does(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let entry = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let answers = at_once((0..20).map(|caller| {
        let (stage, id) = (stage.clone(), entry.id);
        async move { stage.process(caller).execute(request(void(id, true))).await }
    }))
    .await;
    let refused = answers
        .iter()
        .filter(|answer| refusal(answer) == Some(Code::AlreadyVoided))
        .count();
    assert_eq!(refused, 19, "{answers:?}");
    let counts = stage.counter().await.counts;
    assert_eq!((counts.issued, counts.voided), (1, 1));
}

pub(super) async fn a_reservation_is_confirmed_or_released_never_both(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    for round in 0..10 {
        let entry = stage.entry(reserve("invoice", "acme", &format!("{round}"))).await;
        let answers = at_once((0..6).map(|caller| {
            let (stage, entry) = (stage.clone(), entry.id);
            let command = match caller % 2 {
                0 => Command::Confirm {
                    entry,
                    document: Some(document(r#"{"total": 1}"#)),
                },
                _ => Command::Release {
                    entry,
                    reason: reason(),
                },
            };
            async move { stage.process(caller).execute(request(command)).await }
        }))
        .await;
        let of = |parity| {
            answers
                .iter()
                .skip(parity)
                .step_by(2)
                .filter(|answer| answer.is_ok())
                .count()
        };
        let stored = stage.store.entry(entry.id).await.expect("readable").expect("stored");
        match stored.state {
            State::Issued => assert_eq!((of(0), of(1)), (3, 0), "{answers:?}"),
            State::Voided => assert_eq!((of(0), of(1)), (0, 1), "{answers:?}"),
            State::Reserved => panic!("nobody won: {answers:?}"),
        }
    }
}

pub(super) async fn one_of_many_who_adopt_a_number_does(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let answers = at_once((0..20).map(|caller| {
        let stage = stage.clone();
        let command = adopt("invoice", "acme", "INV-2526-00007", &format!("old-{caller}"));
        async move { stage.process(caller).execute(request(command)).await }
    }))
    .await;
    let refused = answers
        .iter()
        .filter(|answer| refusal(answer) == Some(Code::NumberExists))
        .count();
    assert_eq!(refused, 19, "{answers:?}");
    let counter = stage.counter().await;
    assert_eq!(
        (counter.last_seq, counter.counts.issued, counter.counts.missing),
        (7, 1, 6)
    );
}

pub(super) async fn one_of_many_who_change_a_series_does(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let answers = at_once((0..10_u64).map(|caller| {
        let stage = stage.clone();
        async move {
            let spec = seriatim_core::SeriesSpec {
                limit: Some(1_000 + caller),
                ..invoices()
            };
            let issuer = stage.process(usize::try_from(caller).expect("a small number"));
            let series = Box::new(issuer.series_from(name("invoice"), &spec).expect("a definition"));
            issuer
                .execute(request(Command::Define {
                    series,
                    if_version: Some(1),
                }))
                .await
        }
    }))
    .await;
    let refused = answers
        .iter()
        .filter(|answer| refusal(answer) == Some(Code::VersionMismatch))
        .count();
    assert_eq!(refused, 9, "{answers:?}");
    let series = stage.store.series().await.expect("readable");
    assert_eq!(series.iter().map(|series| series.version).collect::<Vec<_>>(), [2]);
}

pub(super) async fn nothing_is_issued_in_a_period_after_it_was_closed(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    entries(stage.issue(0, "acme", "first").await);
    let issuing = (0..30).map(|caller| {
        let stage = stage.clone();
        async move { stage.issue(caller, "acme", &format!("{caller}")).await }
    });
    let closing = {
        let stage = stage.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let close = Command::Close {
                series: name("invoice"),
                tenant: tenant("acme"),
                period: "2025-26".to_string(),
                reason: reason(),
            };
            stage.process(1).execute(request(close)).await
        }
    };
    let closing = tokio::spawn(closing);
    let answers = at_once(issuing).await;
    let Ok(Ok(Answer::Closure(closure))) = closing.await else {
        panic!("the period was not closed")
    };
    let counter = stage.counter().await;
    assert_eq!(
        closure.counters[0].last_seq, counter.last_seq,
        "issued after the period was closed"
    );
    assert_eq!(
        (closure.counters[0].length, closure.counters[0].head),
        (counter.chain.length, counter.chain.head)
    );
    let is_fine = |answer: &_| matches!(refusal(answer), None | Some(Code::PeriodClosed));
    assert!(answers.iter().all(is_fine), "{answers:?}");
    stage.judge().await;
}

pub(super) async fn every_verb_at_once_leaves_the_books_in_order(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    at_once((0..24_usize).map(|caller| {
        let stage = stage.clone();
        async move {
            let process = stage.process(caller);
            let do_it = async |command| process.execute(request(command)).await;
            for round in 0..6 {
                let key = format!("{}-{round}", caller / 2);
                let tenant = ["acme", "zenith"][caller % 2];
                let reserved = entries(do_it(reserve("invoice", tenant, &format!("r{caller}-{round}"))).await);
                let reserved = reserved.taken[0].entry.id;
                let issued = entries(do_it(issue("invoice", tenant, &key)).await).taken[0].entry.id;
                entries(do_it(issue_count("invoice", tenant, &format!("c{key}"), 3)).await);
                let outcome = match (caller + round) % 4 {
                    0 => {
                        do_it(Command::Confirm {
                            entry: reserved,
                            document: None,
                        })
                        .await
                    }
                    1 => {
                        do_it(Command::Release {
                            entry: reserved,
                            reason: reason(),
                        })
                        .await
                    }
                    2 => do_it(void(reserved, false)).await,
                    _ => do_it(void(issued, true)).await,
                };
                // Who shares a key shares its number, so another may have voided it already.
                let is_fine = matches!(refusal(&outcome), None | Some(Code::AlreadyVoided));
                assert!(is_fine, "{outcome:?}");
            }
        }
    }))
    .await;
    for counter in counters(&*stage.store).await {
        let counts = counter.counts;
        assert_eq!(counts.total(), counter.last_seq, "{counter:?}");
        assert!(
            counts.voided > 0 && counts.reserved > 0 && counts.issued > 0,
            "{counter:?}"
        );
    }
}

pub(super) async fn commands_go_on_when_their_callers_hang_up(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let tasks: Vec<_> = (0..60)
        .map(|caller| {
            let stage = stage.clone();
            tokio::spawn(async move { stage.issue(caller, "acme", &format!("{caller}")).await })
        })
        .collect();
    for (i, task) in tasks.into_iter().enumerate() {
        if i % 3 == 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
        // Hung up, or done just before.
        let _ = task.await;
    }
    for caller in 0..60 {
        entries(stage.issue(caller, "acme", &format!("{caller}")).await);
    }
    stage.judge().await;
    assert_eq!(stage.counter().await.last_seq, 60);
}
