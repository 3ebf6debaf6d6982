//! Readers: whole commits, stable pages, and no waiting for writers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seriatim_core::{Batch, Chain, Command, Entry, Footprint, SeriesSpec, State};

use super::stage::{
    Stage, adopt, advance, at, counters, document, entries, issue, issue_count, key_ref, name, plain, reason, reserve,
    take, tenant, void,
};
use crate::store::{BatchId, CounterFilter, EntryFilter, Reads, Store};

pub(super) async fn readers_never_see_half_a_commit(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, over) = (stage.store.clone(), over.clone());
            tokio::spawn(async move {
                let mut looks = 0;
                while !over.load(Ordering::Relaxed) {
                    look_for_halves(&*store).await;
                    looks += 1;
                    tokio::task::yield_now().await;
                }
                looks
            })
        })
        .collect();
    for round in 0..60 {
        entries(
            stage
                .execute(issue_count("invoice", "acme", &format!("run-{round}"), 10))
                .await,
        );
    }
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.expect("a reader panicked") > 0);
    }
}

async fn look_for_halves(reads: &dyn Reads) {
    let heads = reads.heads().await.expect("readable");
    for counter in &heads.counters {
        assert!(counter.is_accounted(), "{counter:?}");
        assert_eq!(counter.last_seq % 10, 0, "ten numbers are one commit: {counter:?}");
        assert_eq!(counter.chain.length, counter.last_seq, "{counter:?}");
        // What a counter says is there.
        let last = reads
            .entries_by_seq(counter.id, counter.last_seq - 1, 1)
            .await
            .expect("readable");
        assert_eq!(last.first().map(|entry| entry.id.seq), Some(counter.last_seq));
        let event = reads
            .events(Chain::Counter(counter.id), counter.chain.length - 1, 1)
            .await
            .expect("readable");
        assert_eq!(event.first().map(|event| event.hash), Some(counter.chain.head));
    }
    for round in 0..60 {
        let held = reads
            .entries_of_key(&key_ref("invoice", "acme", &format!("run-{round}")))
            .await
            .expect("readable");
        assert!(matches!(held.len(), 0 | 10), "{} of 10 entries of a key", held.len());
        if held.is_empty() {
            return;
        }
    }
}

pub(super) async fn reads_do_not_wait_for_a_writer(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    entries(stage.issue(0, "acme", "pay_1").await);
    let (deciding, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begun, may_end) = (deciding.clone(), go.clone());
    let decide = move |_| {
        begun.store(true, Ordering::SeqCst);
        while !may_end.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Batch::default())
    };
    let writer = stage.store.clone();
    let runtime = tokio::runtime::Handle::current();
    // On a thread of its own: a decision that takes its time must not hold up the test's own threads.
    let writing = std::thread::spawn(move || {
        let batch = BatchId {
            node: 7,
            lane: 0,
            batch: 1,
        };
        let mut footprint = Footprint {
            definitions: true,
            ..Footprint::default()
        };
        footprint.series.insert(name("invoice"));
        footprint.keys.insert(key_ref("invoice", "acme", "pay_1"));
        runtime.block_on(writer.transact(batch, footprint, Arc::new(decide)))
    });
    let reading = async {
        while !deciding.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let reads = &stage.store;
        reads.ready().await.expect("readable");
        assert_eq!(reads.series().await.expect("readable").len(), 1);
        assert_eq!(reads.heads().await.expect("readable").counters.len(), 1);
        assert_eq!(
            reads
                .entries(&EntryFilter::default(), 10)
                .await
                .expect("readable")
                .rows
                .len(),
            1
        );
        assert_eq!(
            reads
                .entries_of_key(&key_ref("invoice", "acme", "pay_1"))
                .await
                .expect("readable")
                .len(),
            1
        );
    };
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    go.store(true, Ordering::SeqCst);
    assert_eq!(writing.join().expect("the writer panicked"), Ok(()));
    assert!(read.is_ok(), "reads waited for the writer");
}

pub(super) async fn pages_of_entries_are_stable_under_inserts(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let before: BTreeSet<String> = {
        let answer = entries(stage.execute(issue_count("invoice", "acme", "before", 100)).await);
        answer
            .taken
            .iter()
            .map(|taken| taken.entry.number.to_string())
            .collect()
    };
    let mut seen = Vec::new();
    let mut filter = EntryFilter::default();
    let mut round = 0;
    loop {
        let page = stage.store.entries(&filter, 7).await.expect("readable");
        assert!(page.rows.len() <= 7);
        seen.extend(page.rows.iter().map(|entry| entry.number.to_string()));
        round += 1;
        entries(
            stage
                .execute(issue_count("invoice", "acme", &format!("later-{round}"), 3))
                .await,
        );
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    let mut newest_first = before.iter().rev().cloned().collect::<Vec<_>>();
    // The first page was read before anything came later.
    assert_eq!(
        seen,
        std::mem::take(&mut newest_first),
        "each that was there once, newest first"
    );
}

/// A mixed set of entries of two series and tenants, in every state, over two years.
async fn mixed(store: Arc<dyn Store>) -> (Stage, Vec<Arc<Entry>>) {
    let stage = Stage::invoices(store).await;
    stage.define("plain", plain()).await;
    let mut ids = Vec::new();
    for i in 0..24_u32 {
        let (series, tenant) = (
            ["invoice", "plain"][(i / 2 % 2) as usize],
            ["acme", "zenith"][(i % 2) as usize],
        );
        let mut take = take(tenant, &format!("{i}"));
        take.date = Some(format!("2026-0{}-1{}", 3 + i % 2, i % 7).parse().expect("a date"));
        let series = name(series);
        let command = match i % 3 {
            0 => Command::Reserve {
                series,
                take,
                ttl: seriatim_core::Ttl::from_seconds(u64::from(i + 1)).expect("a ttl"),
            },
            _ => Command::Issue { series, take },
        };
        ids.push(stage.entry(command).await.id);
    }
    for id in ids.iter().step_by(5) {
        stage.done(void(*id, false)).await;
    }
    let mut all = Vec::new();
    for id in ids {
        all.push(stage.store.entry(id).await.expect("readable").expect("stored"));
    }
    (stage, all)
}

pub(super) async fn every_filter_of_entries_finds_what_it_should(store: Arc<dyn Store>) {
    let (stage, all) = mixed(store).await;
    let none = EntryFilter::default();
    let date = |text: &str| Some(text.parse().expect("a date"));
    let filters = [
        none.clone(),
        EntryFilter {
            series: vec![name("invoice")],
            ..none.clone()
        },
        EntryFilter {
            series: vec![name("invoice"), name("plain")],
            ..none.clone()
        },
        EntryFilter {
            tenants: vec![tenant("zenith")],
            ..none.clone()
        },
        EntryFilter {
            tenants: vec![tenant("nobody")],
            ..none.clone()
        },
        EntryFilter {
            number: Some(all[0].number.to_string()),
            ..none.clone()
        },
        EntryFilter {
            number: Some("N-2".to_string()),
            tenants: vec![tenant("acme")],
            ..none.clone()
        },
        EntryFilter {
            state: Some(State::Reserved),
            ..none.clone()
        },
        EntryFilter {
            state: Some(State::Issued),
            ..none.clone()
        },
        EntryFilter {
            state: Some(State::Voided),
            series: vec![name("plain")],
            ..none.clone()
        },
        EntryFilter {
            period: Some(all[0].counter.period.clone()),
            ..none.clone()
        },
        EntryFilter {
            date_from: date("2026-04-13"),
            ..none.clone()
        },
        EntryFilter {
            date_to: date("2026-03-12"),
            tenants: vec![tenant("acme")],
            ..none.clone()
        },
        EntryFilter {
            date_from: date("2026-03-11"),
            date_to: date("2026-03-14"),
            ..none.clone()
        },
        EntryFilter {
            state: Some(State::Reserved),
            expires_until: Some(at("2026-03-31T06:00:10Z")),
            ..none.clone()
        },
    ];
    for filter in filters {
        let expected: Vec<&Arc<Entry>> = all.iter().rev().filter(|entry| fits(&filter, entry)).collect();
        for limit in [1, 4, 100] {
            let mut found = Vec::new();
            let mut page_of = filter.clone();
            loop {
                let page = stage.store.entries(&page_of, limit).await.expect("readable");
                assert!(page.rows.len() <= limit);
                found.extend(page.rows);
                match page.next {
                    Some(next) => page_of.cursor = Some(next),
                    None => break,
                }
            }
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?} by {limit}");
        }
    }
}

fn fits(filter: &EntryFilter, entry: &Entry) -> bool {
    let one_of =
        |wanted: &[seriatim_core::Tenant], is: &seriatim_core::Tenant| wanted.is_empty() || wanted.contains(is);
    (filter.series.is_empty() || filter.series.contains(&entry.counter.series))
        && one_of(&filter.tenants, &entry.counter.tenant)
        && filter.number.as_ref().is_none_or(|number| **number == *entry.number)
        && filter.state.is_none_or(|state| state == entry.state)
        && filter
            .period
            .as_ref()
            .is_none_or(|period| *period == entry.counter.period)
        && filter.date_from.is_none_or(|from| from <= entry.date)
        && filter.date_to.is_none_or(|to| entry.date <= to)
        && filter
            .expires_until
            .is_none_or(|until| entry.expires_at.is_some_and(|end| end <= until))
}

pub(super) async fn counters_come_in_order_and_by_pages(store: Arc<dyn Store>) {
    let (stage, all) = mixed(store).await;
    let found = counters(&*stage.store).await;
    let line = |key: &seriatim_core::CounterKey| (key.series.clone(), key.tenant.clone());
    let in_order = found.windows(2).all(|pair| {
        let (a, b) = (&pair[0].key, &pair[1].key);
        line(a) < line(b) || (line(a) == line(b) && a.period > b.period)
    });
    assert!(in_order, "by series, tenant, then newest period first: {found:?}");
    let keys: BTreeSet<_> = all.iter().map(|entry| entry.counter.clone()).collect();
    assert_eq!(
        found.iter().map(|counter| counter.key.clone()).collect::<BTreeSet<_>>(),
        keys
    );
    let mut paged = Vec::new();
    let mut filter = CounterFilter::default();
    loop {
        let page = stage.store.counters(&filter, 2).await.expect("readable");
        assert!(page.rows.len() <= 2);
        paged.extend(page.rows);
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, found);
    for counter in &found {
        assert_eq!(stage.store.counter(counter.id).await, Ok(Some(counter.clone())));
        let filter = CounterFilter {
            series: vec![counter.key.series.clone()],
            tenants: vec![counter.key.tenant.clone()],
            period: Some(counter.key.period.clone()),
            cursor: None,
        };
        assert_eq!(
            stage.store.counters(&filter, 10).await.expect("readable").rows,
            std::slice::from_ref(counter)
        );
    }
    let mut heads = stage.store.heads().await.expect("readable").counters;
    heads.sort_by(|a, b| a.key.cmp(&b.key));
    let mut sorted = found.clone();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(heads, sorted);
}

pub(super) async fn events_entries_and_gaps_come_by_pages(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage
        .define(
            "plain",
            SeriesSpec {
                replay: Some("strict".to_string()),
                ..plain()
            },
        )
        .await;
    for (i, to) in [10, 20, 30].into_iter().enumerate() {
        assert!(stage.execute(advance("plain", "acme", to)).await.is_ok());
        stage.done(issue("plain", "acme", &format!("{i}"))).await;
        stage
            .done(adopt("plain", "acme", &format!("N-{}", to - 4), &format!("old-{i}")))
            .await;
    }
    let counter = stage.counter().await;
    let reads = &stage.store;
    let mut runs = Vec::new();
    while let Some(run) = reads
        .missing(counter.id, runs.last().map_or(0, |(first, _)| *first), 1)
        .await
        .expect("readable")
        .first()
    {
        runs.push((run.first, run.last));
    }
    assert_eq!(runs, [(1, 5), (7, 10), (12, 15), (17, 20), (22, 25), (27, 30)]);
    let mut seqs = Vec::new();
    while let Some(entry) = reads
        .entries_by_seq(counter.id, seqs.last().copied().unwrap_or(0), 1)
        .await
        .expect("readable")
        .first()
    {
        seqs.push(entry.id.seq);
    }
    assert_eq!(seqs, [6, 11, 16, 21, 26, 31]);
    let mut events = Vec::new();
    loop {
        let page = reads
            .events(Chain::Counter(counter.id), events.len() as u64, 2)
            .await
            .expect("readable");
        assert!(page.len() <= 2);
        events.extend(page.iter().cloned());
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(events.len() as u64, counter.chain.length);
    assert!(
        events
            .iter()
            .zip(1..)
            .all(|(event, position)| event.position == position)
    );
    assert_eq!(reads.bound_keys(counter.id).await, Ok(6));
    assert_eq!(
        reads.bound_keys(seriatim_core::CounterId::from_bytes([0; 10])).await,
        Ok(0)
    );
    assert_eq!(
        reads.counter(seriatim_core::CounterId::from_bytes([0; 10])).await,
        Ok(None)
    );
    // What became of one number.
    let reserved = stage.entry(reserve("plain", "acme", "hold")).await;
    let doc = Some(document(r#"{"a": 1}"#));
    stage
        .done(Command::Confirm {
            entry: reserved.id,
            document: doc,
        })
        .await;
    stage
        .done(Command::Redact {
            entry: reserved.id,
            reason: reason(),
        })
        .await;
    stage.done(void(reserved.id, false)).await;
    let kinds = reads.events_of(reserved.id).await.expect("readable");
    let kinds: Vec<&str> = kinds.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["reserved", "confirmed", "redacted", "voided"]);
}

pub(super) async fn a_summary_counts_what_is_dated_within_its_range(store: Arc<dyn Store>) {
    let (stage, all) = mixed(store).await;
    let date = |text: &str| Some(text.parse().expect("a date"));
    for (from, to) in [
        (None, None),
        (date("2026-03-12"), None),
        (date("2026-03-12"), date("2026-04-11")),
    ] {
        let mut found = stage.store.summary(from, to).await.expect("readable");
        found.sort_by(|a, b| a.counter.cmp(&b.counter));
        let within =
            |entry: &&Arc<Entry>| from.is_none_or(|from| from <= entry.date) && to.is_none_or(|to| entry.date <= to);
        let keys: BTreeSet<_> = all.iter().filter(within).map(|entry| entry.counter.clone()).collect();
        assert_eq!(
            found.iter().map(|row| row.counter.clone()).collect::<Vec<_>>(),
            Vec::from_iter(keys)
        );
        for row in found {
            let mut of: Vec<_> = all
                .iter()
                .filter(within)
                .filter(|entry| entry.counter == row.counter)
                .collect();
            of.sort_by_key(|entry| entry.id.seq);
            let count = |state| of.iter().filter(|entry| entry.state == state).count() as u64;
            assert_eq!((&row.first, &row.last), (&of[0].number, &of[of.len() - 1].number));
            assert_eq!(row.counts.issued, count(State::Issued));
            assert_eq!(row.counts.reserved, count(State::Reserved));
            assert_eq!(row.counts.voided, count(State::Voided));
        }
    }
}
