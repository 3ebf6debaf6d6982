//! Time is read under the locks, keys outlive periods, and processes come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seriatim_core::Timestamp;

use super::stage::{Stage, at, entries, invoices, issue, numbers, process, request};
use crate::clock::Clock;
use crate::store::Store;

/// Shows one time to whoever guesses what a command will touch, and a later one to whoever decides.
struct Midnight {
    asked: AtomicUsize,
}

impl Clock for Midnight {
    fn now(&self) -> Timestamp {
        match self.asked.fetch_add(1, Ordering::SeqCst) {
            0 => at("2026-03-31T23:59:59.999999+05:30"),
            _ => at("2026-04-01T00:00:00+05:30"),
        }
    }
}

pub(super) async fn a_command_that_waited_past_midnight_belongs_to_the_new_day(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    for round in 1..=3 {
        let clock = Arc::new(Midnight {
            asked: AtomicUsize::new(0),
        });
        let process = process(stage.store.clone(), clock.clone()).await;
        let answer = entries(
            process
                .execute(request(issue("invoice", "acme", &format!("pay_{round}"))))
                .await,
        );
        assert!(
            clock.asked.load(Ordering::SeqCst) >= 2,
            "the time was not read again under the locks"
        );
        assert_eq!(numbers(&answer), [format!("INV-2627-{round:05}")]);
    }
    assert_eq!(stage.counter().await.key.period.as_str(), "2026-27");
}

pub(super) async fn a_clock_that_went_back_finds_its_old_period(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let issue_at = async |time: &str, key: &str| {
        stage.clock.set(at(time));
        numbers(&entries(stage.issue(0, "acme", key).await)).remove(0)
    };
    assert_eq!(issue_at("2026-03-31T23:59:59+05:30", "a").await, "INV-2526-00001");
    assert_eq!(issue_at("2026-04-01T00:00:01+05:30", "b").await, "INV-2627-00001");
    assert_eq!(issue_at("2026-03-31T23:59:58+05:30", "c").await, "INV-2526-00002");
    assert_eq!(issue_at("2031-12-31T12:00:00+05:30", "d").await, "INV-3132-00001");
    assert_eq!(issue_at("2026-04-01T00:00:02+05:30", "e").await, "INV-2627-00002");
    stage.judge().await;
}

pub(super) async fn a_key_is_found_again_in_the_next_period_and_by_another_process(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let mut take = super::stage::take("acme", "pay_1");
    take.document = Some(super::stage::document(r#"{"total":  11800.00}"#));
    let series = super::stage::name("invoice");
    let command = seriatim_core::Command::Issue { series, take };
    let first = stage.entry(command.clone()).await;
    stage.clock.set(at("2027-06-01T00:00:00Z"));
    for which in 0..4 {
        let again = entries(stage.process(which).execute(request(command.clone())).await);
        assert!(again.taken[0].replayed);
        assert_eq!(
            again.taken[0].entry, first,
            "a replay shows the entry as it was committed, document and all"
        );
    }
}

pub(super) async fn a_restarted_process_goes_on_where_the_last_one_stopped(store: Arc<dyn Store>) {
    let clock = Stage::on(store.clone()).await.clock;
    for round in 1..=5_u64 {
        let process = process(store.clone(), clock.clone()).await;
        process
            .define("invoice", invoices())
            .await
            .expect("the same definition again");
        let answer = entries(
            process
                .execute(request(issue("invoice", "acme", &format!("pay_{round}"))))
                .await,
        );
        assert_eq!(answer.taken[0].entry.id.seq, round);
        let again = entries(process.execute(request(issue("invoice", "acme", "pay_1"))).await);
        assert_eq!((again.taken[0].entry.id.seq, again.taken[0].replayed), (1, round > 0));
        process.close().await;
    }
    assert_eq!(store.series().await.expect("readable").len(), 1);
}
