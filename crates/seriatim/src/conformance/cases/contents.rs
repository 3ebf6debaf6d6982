//! What is stored: every field, to the letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_core::{Actor, Answer, Code, Command, Key, Request, Series, SeriesSpec, State, decide_all};

use super::stage::{
    Stage, adopt, advance, at, counters, document, entries, invoices, issue, issue_count, key_ref, name, numbers,
    plain, reason, reference, request, reserve, take, tenant, void,
};
use crate::store::{BatchId, EntryFilter, Store};

/// Nothing that a caller may send is changed on its way: quotes, wildcards, letters of every script, odd JSON.
pub(super) async fn what_was_answered_is_what_is_stored(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    let spec = SeriesSpec {
        format: "{{ä'%_}}{branch}/{year}/{kind}-{seq:4}".to_string(),
        reset: Some("yearly".to_string()),
        params: BTreeMap::from([
            ("branch".to_string(), ("digits".to_string(), vec!["3".to_string()])),
            (
                "kind".to_string(),
                ("one_of".to_string(), vec!["A.b".to_string(), "x/y".to_string()]),
            ),
        ]),
        partition_by: vec!["kind".to_string()],
        date_window: Some("-36600d..+36600d".to_string()),
        ..SeriesSpec::default()
    };
    let series = stage.define("odd", spec).await;
    let texts = [
        "a'b\"c;--",
        "100% _like_ \\ *",
        "{\"key\"}",
        "~!@#$%^&*()",
        &"k".repeat(255),
    ];
    for (i, text) in texts.into_iter().enumerate() {
        let take = seriatim_core::Take {
            key: Some(Key::parse(text).expect("a key")),
            tenant: tenant("A.b_c-9"),
            params: BTreeMap::from([
                ("branch".to_string(), "7".to_string()),
                ("kind".to_string(), ["A.b", "x/y"][i % 2].to_string()),
            ]),
            date: Some(
                ["2026-02-28", "1999-12-31", "2028-02-29", "2100-01-01", "1930-06-15"][i]
                    .parse()
                    .expect("a date"),
            ),
            document: Some(document(" {\"a\" : [1.0, 1e2, \"\\u00e4 ä 🧾 '%\"],\n\t\"b\": null } ")),
            reference: Some(reference("Größe 5 – 100% 'ok' 🧾")),
        };
        let asked = Request {
            actor: Actor::parse("key:Zoë O'Hara").expect("an actor"),
            on_behalf_of: Some(Actor::parse("李小龙").expect("an actor")),
            ..request(Command::Issue {
                series: name("odd"),
                take,
            })
        };
        let answer = entries(stage.process(i).execute(asked).await);
        let entry = answer.taken[0].entry.clone();
        assert_eq!(answer.series.to_detail(), series.to_detail());
        assert_eq!(stage.store.entry(entry.id).await, Ok(Some(entry.clone())));
        let key = key_ref("odd", "A.b_c-9", text);
        assert_eq!(stage.store.entries_of_key(&key).await, Ok(vec![entry.clone()]));
        let events = stage.store.events_of(entry.id).await.expect("readable");
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].hash, &*events[0].actor), (entry.hash, "key:Zoë O'Hara"));
        assert_eq!(events[0].on_behalf_of.as_deref(), Some("李小龙"));
        assert_eq!(events[0].reference, entry.reference);
    }
    let stored = stage.store.series().await.expect("readable");
    assert_eq!(
        stored.iter().map(|series| series.to_detail()).collect::<Vec<_>>(),
        [series.to_detail()]
    );
}

pub(super) async fn keys_and_tenants_are_told_apart_to_the_letter(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage.define("plain", plain()).await;
    stage.define("other", plain()).await;
    let places = [
        ("plain", "acme"),
        ("plain", "Acme"),
        ("plain", "acme-"),
        ("other", "acme"),
    ];
    let keys = ["pay", "Pay", "pay%", "pay_", "pa y", "1", "01", "1.0"];
    for (series, tenant) in places {
        for (i, key) in keys.iter().enumerate() {
            let entry = stage.entry(issue(series, tenant, key)).await;
            assert_eq!(entry.id.seq, i as u64 + 1, "{key} of {tenant} was taken for another");
        }
    }
    assert_eq!(counters(&*stage.store).await.len(), places.len());
}

/// In the order of text INV-999 beats INV-1000; that is how one of the old systems gave numbers twice.
pub(super) async fn numbers_are_compared_as_numbers(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    let spec = SeriesSpec {
        format: "INV-{seq:3}".to_string(),
        ..plain()
    };
    stage.define("plain", spec).await;
    assert!(stage.execute(advance("plain", "acme", 998)).await.is_ok());
    for expected in ["INV-999", "INV-1000", "INV-1001"] {
        assert_eq!(numbers(&stage.done(issue("plain", "acme", expected)).await), [expected]);
    }
    let found = stage
        .store
        .entries(&EntryFilter::default(), 10)
        .await
        .expect("readable")
        .rows;
    assert_eq!(
        found.iter().map(|entry| entry.id.seq).collect::<Vec<_>>(),
        [1001, 1000, 999]
    );
    let last = stage
        .store
        .entries_by_seq(stage.counter().await.id, 999, 10)
        .await
        .expect("readable");
    assert_eq!(
        last.iter().map(|entry| &*entry.number).collect::<Vec<_>>(),
        ["INV-1000", "INV-1001"]
    );
    let limit = SeriesSpec {
        format: "INV-{seq:3}".to_string(),
        limit: Some(1_000),
        ..plain()
    };
    let wanted = Box::new(
        stage
            .process(0)
            .series_from(name("plain"), &limit)
            .expect("a definition"),
    );
    let code = stage
        .refused(Command::Define {
            series: wanted,
            if_version: Some(1),
        })
        .await;
    assert_eq!(
        code,
        Code::LimitTooLow,
        "the height of a series is that of its highest counter"
    );
}

pub(super) async fn the_last_seq_there_is_ends_a_counter(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage.define("plain", plain()).await;
    assert!(
        stage
            .execute(advance("plain", "acme", Series::SEQ_MAX - 2))
            .await
            .is_ok()
    );
    assert_eq!(
        numbers(&stage.done(issue("plain", "acme", "a")).await),
        ["N-9223372036854775806"]
    );
    assert_eq!(
        stage.refused(issue_count("plain", "acme", "c", 2)).await,
        Code::CounterExhausted
    );
    assert_eq!(
        numbers(&stage.done(issue("plain", "acme", "b")).await),
        ["N-9223372036854775807"]
    );
    assert_eq!(stage.refused(issue("plain", "acme", "c")).await, Code::CounterExhausted);
    let counter = stage.counter().await;
    assert_eq!(
        (counter.last_seq, counter.counts.missing),
        (Series::SEQ_MAX, Series::SEQ_MAX - 2)
    );
}

pub(super) async fn a_reissue_moves_its_key(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let first = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let answer = stage.done(void(first.id, true)).await;
    let second = answer.taken[0].entry.clone();
    let voided = stage.store.entry(first.id).await.expect("readable").expect("stored");
    assert_eq!((voided.state, voided.replacement), (State::Voided, Some(second.id)));
    assert_eq!(second.replaces, Some(first.id));
    assert_eq!(
        stage.store.entries_of_key(&key_ref("invoice", "acme", "pay_1")).await,
        Ok(vec![second.clone()])
    );
    assert_eq!(stage.store.entry(second.id).await, Ok(Some(second.clone())));
    assert_eq!(stage.refused(issue("invoice", "acme", "pay_1")).await, Code::Voided);
    // And once more, so that the key moves twice.
    let third = stage.done(void(second.id, true)).await.taken[0].entry.clone();
    assert_eq!(
        stage.store.entries_of_key(&key_ref("invoice", "acme", "pay_1")).await,
        Ok(vec![third.clone()])
    );
    // Asked for together, in their order, whether they are bound or not.
    let [known, unknown] = ["pay_1", "pay_2"].map(|key| key_ref("invoice", "acme", key));
    let elsewhere = key_ref("invoice", "zenith", "pay_1");
    assert_eq!(
        stage
            .store
            .entries_of_keys(&[unknown, known.clone(), elsewhere, known])
            .await,
        Ok(vec![vec![], vec![third.clone()], vec![], vec![third]])
    );
    assert_eq!(stage.store.entries_of_keys(&[]).await, Ok(vec![]));
}

pub(super) async fn a_redacted_document_is_gone_and_its_hash_is_not(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let take = seriatim_core::Take {
        document: Some(document(r#"{"name": "Zoë"}"#)),
        ..take("acme", "pay_1")
    };
    let before = stage
        .entry(Command::Issue {
            series: name("invoice"),
            take,
        })
        .await;
    stage
        .done(Command::Redact {
            entry: before.id,
            reason: reason(),
        })
        .await;
    let after = stage.store.entry(before.id).await.expect("readable").expect("stored");
    assert_eq!((&after.document, after.is_redacted()), (&None, true));
    assert_eq!(after.document_sha256, before.document_sha256);
    // A reservation gets its document late.
    let hold = stage.entry(reserve("invoice", "acme", "hold")).await;
    let confirmed = stage
        .done(Command::Confirm {
            entry: hold.id,
            document: before.document.clone(),
        })
        .await;
    let stored = stage.store.entry(hold.id).await.expect("readable");
    assert_eq!(stored, Some(confirmed.taken[0].entry.clone()));
    assert_eq!(stored.and_then(|entry| entry.document.clone()), before.document);
}

pub(super) async fn an_adopted_number_fills_a_missing_seq(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage.define("plain", plain()).await;
    assert_eq!(
        numbers(&stage.done(adopt("plain", "acme", "N-10", "ten")).await),
        ["N-10"]
    );
    for seq in [5, 1, 9, 4, 6, 2, 8, 3, 7] {
        let answer = stage
            .done(adopt("plain", "acme", &format!("N-{seq}"), &format!("old-{seq}")))
            .await;
        assert_eq!(answer.taken[0].entry.id.seq, seq);
        let counter = stage.counter().await;
        let held: u64 = stage
            .store
            .missing(counter.id, 0, 100)
            .await
            .expect("readable")
            .iter()
            .map(|run| run.size())
            .sum();
        assert_eq!(held, counter.counts.missing);
    }
    assert_eq!(stage.counter().await.counts.missing, 0);
    assert_eq!(numbers(&stage.done(issue("plain", "acme", "next")).await), ["N-11"]);
}

pub(super) async fn a_series_that_replaces_another_honours_its_keys(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let old = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let spec = SeriesSpec {
        format: "INV-{fy}-{seq:6}".to_string(),
        replaces: Some("invoice".to_string()),
        ..invoices()
    };
    stage.define("invoice-2", spec).await;
    let again = stage.done(issue("invoice-2", "acme", "pay_1")).await;
    assert_eq!((again.taken[0].replayed, &again.taken[0].entry), (true, &old));
    assert_eq!(
        stage.refused(issue("invoice", "acme", "pay_2")).await,
        Code::SeriesReplaced
    );
    assert_eq!(
        numbers(&stage.done(issue("invoice-2", "acme", "pay_2")).await),
        ["INV-2526-000001"]
    );
    let series = stage.store.series().await.expect("readable");
    assert_eq!(series[0].replaced_by, Some(name("invoice-2")));
}

pub(super) async fn a_wipe_empties_one_series_and_no_other(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    stage.define("trial", SeriesSpec { test: true, ..plain() }).await;
    for tenant in ["acme", "zenith"] {
        stage.done(issue("invoice", tenant, "pay_1")).await;
        assert!(stage.execute(advance("trial", tenant, 3)).await.is_ok());
        stage.done(issue("trial", tenant, "pay_1")).await;
    }
    let close = Command::Close {
        series: name("trial"),
        tenant: tenant("zenith"),
        period: "all".to_string(),
        reason: reason(),
    };
    assert!(stage.execute(close).await.is_ok());
    assert_eq!(
        stage
            .refused(Command::Wipe {
                series: name("invoice")
            })
            .await,
        Code::NotATestSeries
    );
    let before: Vec<_> = counters(&*stage.store)
        .await
        .into_iter()
        .filter(|counter| *counter.key.series == *"invoice")
        .collect();
    assert!(matches!(
        stage.execute(Command::Wipe { series: name("trial") }).await,
        Ok(Answer::Wiped(_))
    ));
    assert_eq!(counters(&*stage.store).await, before);
    let left = stage
        .store
        .entries(&EntryFilter::default(), 100)
        .await
        .expect("readable")
        .rows;
    assert!(
        left.iter().all(|entry| *entry.counter.series == *"invoice") && left.len() == 2,
        "{left:?}"
    );
    assert_eq!(
        stage.store.entries_of_key(&key_ref("trial", "acme", "pay_1")).await,
        Ok(vec![])
    );
    assert_eq!(stage.store.closures().await, Ok(vec![]));
    assert_eq!(
        stage.store.series().await.expect("readable").len(),
        2,
        "the definition stays"
    );
    for tenant in ["acme", "zenith"] {
        let fresh = stage.done(issue("trial", tenant, "pay_1")).await;
        assert_eq!(
            (numbers(&fresh), fresh.taken[0].replayed),
            (vec!["N-1".to_string()], false)
        );
    }
}

/// A process combines what waits; so a wipe may stand between numbers of one commit, and of a counter that is new.
pub(super) async fn a_wipe_and_an_issue_in_one_batch_begin_anew(store: Arc<dyn Store>) {
    let stage = Stage::on(store).await;
    stage.define("trial", SeriesSpec { test: true, ..plain() }).await;
    let wipe = || request(Command::Wipe { series: name("trial") });
    let mut id = BatchId {
        node: 9,
        lane: 0,
        batch: 0,
    };
    for round in 0..3 {
        let asked = [
            request(advance("trial", "acme", 5 + round)),
            request(issue("trial", "acme", "a")),
            request(advance("trial", "fleeting", 3)),
            wipe(),
            request(issue("trial", "acme", "a")),
            request(issue("trial", "acme", "b")),
        ];
        id.batch += 1;
        let answers = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (keep, clock) = (answers.clone(), stage.clock.clone());
        let decide = move |held| {
            let batch = decide_all(held, &asked, crate::Clock::now(&*clock))?;
            *keep.lock().expect("not poisoned") = batch.answers.clone();
            Ok(batch)
        };
        let outcome = stage
            .store
            .transact(id, seriatim_core::Footprint::default(), Arc::new(decide))
            .await;
        assert_eq!(outcome, Ok(()), "round {round}");
        assert_eq!(stage.store.committed(id).await, Ok(true));
        let answers = answers.lock().expect("not poisoned").clone();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let counter = stage.counter().await;
        assert_eq!(
            (counter.last_seq, counter.counts.issued, counter.counts.missing),
            (2, 2, 0)
        );
        assert_eq!(stage.store.missing(counter.id, 0, 10).await, Ok(vec![]));
        let found = stage
            .store
            .entries(&EntryFilter::default(), 10)
            .await
            .expect("readable")
            .rows;
        assert_eq!(
            found.iter().map(|entry| &*entry.number).collect::<Vec<_>>(),
            ["N-2", "N-1"]
        );
        super::stage::must_be_in_order(&*stage.store).await;
    }
    stage.clock.set(at("2026-04-02T00:00:00Z"));
    assert_eq!(numbers(&stage.done(issue("trial", "fleeting", "c")).await), ["N-1"]);
}
