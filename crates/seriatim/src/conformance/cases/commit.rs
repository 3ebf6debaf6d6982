//! All or nothing, and the nets under the rules.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use seriatim_core::{Batch, Change, Changes, Command, Entry, EntryId, Footprint, KeyBinding, Snapshot, decide_all};

use super::stage::{Stage, at_once, entries, issue, issue_count, key_ref, name, plain, request, take};
use crate::store::{BatchId, Decide, EntryFilter, Store, StoreError};

const FIRST: BatchId = BatchId {
    node: 7,
    lane: 3,
    batch: 1,
};

pub(super) async fn an_empty_decision_writes_nothing(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let before = stage.store.heads().await;
    let nothing: Decide = Arc::new(|_| Ok(Batch::default()));
    assert_eq!(stage.store.transact(FIRST, Footprint::default(), nothing).await, Ok(()));
    assert_eq!(
        stage.store.committed(FIRST).await,
        Ok(false),
        "there was nothing to commit"
    );
    stage.refused(issue("nowhere", "acme", "pay_1")).await;
    let preview = Command::Preview {
        series: name("invoice"),
        take: take("acme", "pay_1"),
        count: 5,
    };
    assert!(stage.execute(preview).await.is_ok());
    assert_eq!(stage.store.heads().await, before);
    assert_eq!(
        stage
            .store
            .entries(&EntryFilter::default(), 10)
            .await
            .expect("readable")
            .rows,
        []
    );
}

pub(super) async fn a_refused_command_in_a_batch_does_not_hinder_the_others(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    // Sent at once through one process, they are combined.
    let answers = at_once((0..90).map(|i| {
        let stage = stage.clone();
        let series = if i % 3 == 0 { "nowhere" } else { "invoice" };
        async move {
            stage
                .process(0)
                .execute(request(issue(series, "acme", &format!("{i}"))))
                .await
        }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 60);
    assert_eq!(stage.counter().await.last_seq, 60);
}

pub(super) async fn a_batch_with_a_bad_item_writes_nothing(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let before = stage.store.heads().await;
    let mut items: Vec<_> = (0..20).map(|i| take("acme", &format!("{i}"))).collect();
    items[19].params.insert("branch".to_string(), "7".to_string());
    let code = stage
        .refused(Command::IssueItems {
            series: name("invoice"),
            items,
        })
        .await;
    assert_eq!(code.as_str(), "unknown_param");
    assert_eq!(stage.store.heads().await, before);
    let held = stage.store.entries_of_key(&key_ref("invoice", "acme", "0")).await;
    assert_eq!(held.expect("readable"), []);
}

/// Asks for one thing after the other; what was loaded before must still be there.
pub(super) async fn a_decision_that_asks_for_more_gets_it_with_all_before(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let entry = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let mut steps: Vec<Footprint> = (0..4).map(|_| Footprint::default()).collect();
    steps[0].series.insert(name("invoice"));
    steps[1].keys.insert(key_ref("invoice", "acme", "pay_1"));
    steps[1].keys.insert(key_ref("invoice", "acme", "unheard-of"));
    steps[2].counters.insert(entry.counter.clone());
    steps[2].heights.insert(name("invoice"));
    steps[3].definitions = true;
    steps[3].missing.insert(entry.id);
    let (round, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Snapshot::default())));
    let (rounds, see) = (round.clone(), seen.clone());
    let decide: Decide = Arc::new(move |held| match steps.get(rounds.fetch_add(1, Ordering::SeqCst)) {
        Some(more) => Err(more.clone()),
        None => {
            *see.lock().expect("not poisoned") = held;
            Ok(Batch::default())
        }
    });
    assert_eq!(stage.store.transact(FIRST, Footprint::default(), decide).await, Ok(()));
    assert_eq!(round.load(Ordering::SeqCst), 5);
    let seen = seen.lock().expect("not poisoned").clone();
    assert!(seen.series.get(&name("invoice")).is_some_and(Option::is_some));
    let binding = KeyBinding {
        first: entry.id,
        count: 1,
    };
    assert_eq!(
        seen.keys.get(&key_ref("invoice", "acme", "pay_1")),
        Some(&Some(binding))
    );
    assert_eq!(
        seen.keys.get(&key_ref("invoice", "acme", "unheard-of")),
        Some(&None),
        "looked for, not there"
    );
    assert_eq!(
        seen.entries.get(&entry.id),
        Some(&Some(entry.clone())),
        "the entries of a key come with it"
    );
    let counter = seen
        .counters
        .get(&entry.counter)
        .cloned()
        .flatten()
        .expect("the counter");
    assert_eq!((counter.last_seq, counter.chain.head), (1, entry.hash));
    assert_eq!(seen.heights.get(&name("invoice")), Some(&Some(1)));
    assert_eq!(seen.definitions.map(|head| head.length), Some(1));
    assert!(seen.missing_asked.contains(&entry.id) && seen.missing.is_empty());
}

pub(super) async fn a_new_entry_that_exists_is_corrupt_and_nothing_is_written(store: Arc<dyn Store>) {
    must_be_corrupt(store, |entry, mut honest| {
        let again = Change::NewEntry(entry);
        honest.list.push(again);
        honest
    })
    .await;
}

pub(super) async fn a_new_entry_twice_in_a_batch_is_corrupt_and_nothing_is_written(store: Arc<dyn Store>) {
    must_be_corrupt(store, |_, mut honest| {
        let new = honest
            .list
            .iter()
            .find(|change| matches!(change, Change::NewEntry(_)))
            .cloned();
        honest.list.extend(new);
        honest
    })
    .await;
}

pub(super) async fn a_new_key_that_exists_is_corrupt_and_nothing_is_written(store: Arc<dyn Store>) {
    must_be_corrupt(store, |entry, mut honest| {
        let binding = KeyBinding {
            first: entry.id,
            count: 1,
        };
        honest
            .list
            .push(Change::NewKey(key_ref("invoice", "acme", "pay_1"), binding));
        honest
    })
    .await;
}

/// Spoils a batch that would be fine, after number 1 was issued: the second net must hold all of it back.
async fn must_be_corrupt(store: Arc<dyn Store>, spoil: fn(Arc<Entry>, Changes) -> Changes) {
    let stage = Stage::invoices(store).await;
    let entry = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let before = stage.store.heads().await;
    let (first, clock) = (entry.clone(), stage.clock.clone());
    let decide: Decide = Arc::new(move |held| {
        let mut batch = decide_all(
            held,
            &[request(issue("invoice", "acme", "pay_2"))],
            crate::Clock::now(&*clock),
        )?;
        batch.changes = spoil(first.clone(), batch.changes);
        Ok(batch)
    });
    let outcome = stage.store.transact(FIRST, Footprint::default(), decide).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
    assert_eq!(stage.store.committed(FIRST).await, Ok(false));
    assert_eq!(stage.store.heads().await, before);
    let next = EntryId { seq: 2, ..entry.id };
    assert_eq!(stage.store.entry(next).await, Ok(None));
    assert_eq!(
        stage.store.entries_of_key(&key_ref("invoice", "acme", "pay_2")).await,
        Ok(vec![])
    );
    assert_eq!(stage.store.entry(entry.id).await, Ok(Some(entry)));
    // And it goes on.
    assert_eq!(stage.entry(issue("invoice", "acme", "pay_2")).await.id, next);
}

pub(super) async fn a_decision_that_never_has_enough_is_ended(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let greedy = || Footprint {
        definitions: true,
        ..Footprint::default()
    };
    let decide: Decide = Arc::new(move |_| Err(greedy()));
    let outcome = stage.store.transact(FIRST, Footprint::default(), decide).await;
    assert!(
        matches!(&outcome, Err(StoreError::Corrupt(what)) if what.contains("asks for what it was given")),
        "{outcome:?}"
    );
    assert_eq!(stage.store.committed(FIRST).await, Ok(false));
    assert_eq!(stage.entry(issue("invoice", "acme", "pay_1")).await.id.seq, 1);
}

pub(super) async fn a_panic_in_a_decision_is_rolled_back_and_the_store_lives_on(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let before = stage.store.heads().await;
    for batch in 1..=3 {
        let decide: Decide = Arc::new(|held: Snapshot| match held.definitions {
            // The second time, when locks are held.
            Some(_) => panic!("a panic that this case provokes"),
            None => Err(Footprint {
                definitions: true,
                ..Footprint::default()
            }),
        });
        let outcome = stage
            .store
            .transact(BatchId { batch, ..FIRST }, Footprint::default(), decide)
            .await;
        assert!(matches!(outcome, Err(StoreError::Corrupt(_))), "{outcome:?}");
        assert_eq!(stage.store.committed(BatchId { batch, ..FIRST }).await, Ok(false));
    }
    assert_eq!(stage.store.heads().await, before);
    assert_eq!(stage.entry(issue("invoice", "acme", "pay_1")).await.id.seq, 1);
}

pub(super) async fn a_batch_is_told_from_the_one_before_and_the_one_after(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let write = async |batch: BatchId| {
        let clock = stage.clock.clone();
        let key = format!("{}-{}-{}", batch.node, batch.lane, batch.batch);
        let asked = [request(issue("invoice", "acme", &key))];
        let decide: Decide = Arc::new(move |held| decide_all(held, &asked, crate::Clock::now(&*clock)));
        assert_eq!(stage.store.transact(batch, Footprint::default(), decide).await, Ok(()));
    };
    let committed = async |batch| stage.store.committed(batch).await.expect("it can be told");
    let next = BatchId { batch: 2, ..FIRST };
    assert!(!committed(FIRST).await);
    write(FIRST).await;
    assert!(committed(FIRST).await);
    assert!(!committed(next).await, "the next one was not sent yet");
    assert!(!committed(BatchId { lane: 4, ..FIRST }).await, "another lane's");
    assert!(!committed(BatchId { node: 8, ..FIRST }).await, "another process's");
    write(BatchId {
        node: -8,
        batch: 9,
        ..FIRST
    })
    .await;
    assert!(committed(FIRST).await, "what another process writes does not matter");
    write(next).await;
    assert!(committed(next).await);
    assert!(!committed(BatchId { batch: 3, ..FIRST }).await);
}

pub(super) async fn a_batch_of_a_thousand_is_one_commit(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage.define("plain", plain()).await;
    let bulky = format!(r#"{{"lines": "{}"}}"#, "ä".repeat(2_000));
    let items = (0..1_000).map(|i| seriatim_core::Take {
        document: Some(super::stage::document(&bulky)),
        ..take("acme", &format!("{i}"))
    });
    let items: Vec<_> = items.collect();
    let command = Command::IssueItems {
        series: name("plain"),
        items,
    };
    let answer = stage.done(command.clone()).await;
    assert_eq!(answer.taken.last().map(|taken| taken.entry.id.seq), Some(1_000));
    let again = stage.done(command).await;
    assert!(
        again
            .taken
            .iter()
            .all(|taken| taken.replayed && taken.differs.is_empty())
    );
    let counted = entries(stage.execute(issue_count("plain", "acme", "many", 1_000)).await);
    let held = stage
        .store
        .entries_of_key(&key_ref("plain", "acme", "many"))
        .await
        .expect("readable");
    assert_eq!(held.len(), 1_000);
    assert_eq!(held.first(), Some(&counted.taken[0].entry));
    assert_eq!(stage.counter().await.last_seq, 2_000);
}
