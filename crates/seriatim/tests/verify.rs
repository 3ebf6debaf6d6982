//! Verify convicts nobody who did nothing: not who moved numbers in, not who wiped a test series, not who goes on working
//! while it reads. (That it finds who did is in `tamper.rs`.)
#![cfg(feature = "conformance")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use seriatim::checkpoint;
use seriatim::conformance::{Layer, Layered};
use seriatim::store::memory::Memory;
use seriatim::store::{Reads, Store};
use seriatim::verify::{self, Options};
use seriatim::{
    Access, Actor, Adopt, Answer, ApiKey, ApiScope, Command, EntryId, Finding, Hash, Issuer, Key, Reason, Request,
    SeriesName, SeriesSpec, Take, Tenant, Timestamp, Ttl, Void, VoidReason,
};

fn name(text: &str) -> SeriesName {
    SeriesName::parse(text).unwrap()
}

/// A store with the series `invoice` and the test series `trial`.
async fn stage() -> (Arc<Memory>, Issuer) {
    let store = Arc::new(Memory::new());
    let issuer = Issuer::with(store.clone(), seriatim::Options::default()).await.unwrap();
    for (name, test) in [("invoice", false), ("trial", true)] {
        let spec = SeriesSpec {
            format: "{seq:5}".into(),
            test,
            ..SeriesSpec::default()
        };
        issuer.define(name, spec).await.unwrap();
    }
    (store, issuer)
}

async fn execute(issuer: &Issuer, command: Command) -> Answer {
    let request = Request {
        actor: Actor::parse("os:ann").unwrap(),
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command,
    };
    issuer.execute(request).await.unwrap()
}

async fn issue(issuer: &Issuer, series: &str, key: &str) -> EntryId {
    issuer.issue(series).key(key).await.unwrap().id
}

async fn findings(reads: &dyn Reads, checkpoint: Option<&checkpoint::Checkpoint>) -> Vec<Finding> {
    let options = Options {
        checkpoint: checkpoint.cloned(),
        resume: None,
    };
    verify::verify(reads, &options, &|_| {}).await.unwrap().findings
}

// The number filled a gap, and its date was the latest of its counter.
#[tokio::test]
async fn a_number_moved_into_a_gap_may_be_dated_later() {
    let (store, issuer) = stage().await;
    for (number, date) in [("00010", "2026-01-01"), ("00005", "2026-02-01")] {
        let adopt = Adopt {
            number: number.into(),
            date: date.parse().unwrap(),
            tenant: Tenant::default(),
            key: None,
            document: None,
            reference: None,
        };
        let series = name("invoice");
        execute(&issuer, Command::Adopt { series, adopt }).await;
    }
    assert_eq!(findings(&*store, None).await, []);
}

#[tokio::test]
async fn a_series_that_was_wiped_and_used_again_agrees_with_an_older_checkpoint() {
    let (store, issuer) = stage().await;
    for key in ["a", "b"] {
        issue(&issuer, "trial", key).await;
    }
    let now = Timestamp::from_micros(0);
    let checkpoint = checkpoint::take(&*store, &[7; 32], now).await.unwrap();
    let series = name("trial");
    execute(&issuer, Command::Wipe { series }).await;
    issue(&issuer, "trial", "a").await;
    assert_eq!(findings(&*store, Some(&checkpoint)).await, []);
    let compared = verify::compare(&*store, &checkpoint).await.unwrap();
    assert_eq!(compared, []);
}

/// What happens before which read.
struct Meanwhile {
    issuer: Issuer,
    acts: Mutex<VecDeque<(&'static str, Command)>>,
}

#[async_trait]
impl Layer for Meanwhile {
    async fn before_read(&self, _: &Arc<dyn Store>, what: &'static str) {
        let act = self.acts.lock().unwrap().pop_front_if(|(when, _)| *when == what);
        if let Some((_, command)) = act {
            execute(&self.issuer, command).await;
        }
    }
}

fn void(entry: EntryId) -> Command {
    Command::Void(Void {
        entry,
        reason_code: VoidReason::Duplicate,
        reason: Reason::parse("sent twice").unwrap(),
        reissue: true,
    })
}

fn create_api_key(id: &str) -> Command {
    Command::CreateApiKey(Box::new(ApiKey {
        id: id.into(),
        label: "shop".into(),
        secret_sha256: Hash::of(b"secret"),
        access: Access {
            scopes: [ApiScope::Issue].into(),
            ..Access::default()
        },
        created_at: Timestamp::from_micros(1),
        revoked_at: None,
    }))
}

// A chain was read, then what it tells of, and what had happened in between was a finding.
#[tokio::test]
async fn who_works_while_it_reads_is_not_convicted() {
    let (store, issuer) = stage().await;
    let [first, second] = [
        issue(&issuer, "invoice", "a").await,
        issue(&issuer, "invoice", "b").await,
    ];
    for key in ["a", "b"] {
        issue(&issuer, "trial", key).await;
    }
    let now = Timestamp::from_micros(0);
    let checkpoint = checkpoint::take(&*store, &[7; 32], now).await.unwrap();
    let wipe = || Command::Wipe { series: name("trial") };
    let again = Command::Issue {
        series: name("trial"),
        take: Take {
            key: Key::parse("a").ok(),
            ..Take::default()
        },
    };
    let cases = [
        vec![("series", create_api_key("one")), ("series", create_api_key("two"))],
        vec![("entries_of_keys", void(first)), ("entries_of_keys", void(second))],
        vec![("entries_by_seq", wipe()), ("entries_by_seq", again)],
        vec![("entries_of_keys", wipe())],
    ];
    for acts in cases {
        let said = format!("{acts:?}");
        let meanwhile = Meanwhile {
            issuer: issuer.clone(),
            acts: Mutex::new(acts.into()),
        };
        let layered = Layered::new(store.clone(), meanwhile);
        let mut found = findings(&layered, Some(&checkpoint)).await;
        found.retain(|finding| finding.code != "busy");
        assert_eq!(found, [], "{said}");
    }
    assert_eq!(findings(&*store, Some(&checkpoint)).await, []);
}

// The sweep looked at one page of the overdue, and a page of those that are held hid all others.
#[tokio::test]
async fn reservations_that_are_held_do_not_hide_those_that_are_void() {
    use seriatim::conformance::SetClock;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let clock = Arc::new(SetClock::at(at("2026-03-02T10:00:00Z")));
    let options = seriatim::Options {
        clock: clock.clone(),
        ..seriatim::Options::default()
    };
    let issuer = Issuer::with(Arc::new(Memory::new()), options).await.unwrap();
    for (name, on_expiry) in [("cart", "void"), ("held", "hold")] {
        let spec = SeriesSpec {
            format: "{seq}".into(),
            keys: Some("optional".into()),
            on_expiry: Some(on_expiry.into()),
            ..SeriesSpec::default()
        };
        issuer.define(name, spec).await.unwrap();
    }
    let reserve = |series: &str| Command::Reserve {
        series: name(series),
        take: Take::default(),
        ttl: Ttl::parse("1s").unwrap(),
    };
    execute(&issuer, reserve("cart")).await;
    for _ in 0..1_000 {
        execute(&issuer, reserve("held")).await;
    }
    clock.set(at("2026-03-02T10:01:00Z"));
    assert_eq!(issuer.sweep().await.unwrap(), 1);
    assert_eq!(issuer.sweep().await.unwrap(), 0);
}
