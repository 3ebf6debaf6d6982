//! What the cases share: processes on one store, series, requests, and the look at the books in the end.

use std::future::IntoFuture;
use std::sync::Arc;

use seriatim_core::{
    Access, Actor, Adopt, Answer, Code, Command, Counter, Document, EntriesAnswer, Entry, EntryId, Key, KeyRef, Reason,
    Reference, Request, Series, SeriesName, SeriesSpec, Take, Tenant, Timestamp, Ttl, Void, VoidReason,
};

use crate::clock::Clock;
use crate::conformance::SetClock;
use crate::conformance::history::{Readout, Recorder, Told, judge, place};
use crate::failure::Failure;
use crate::issuer::{Issuer, Options};
use crate::store::{CounterFilter, Reads, Store};
use crate::verify::verify;

/// Several processes on one store, with one clock.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<SetClock>,
    pub(super) recorder: Arc<Recorder>,
    processes: Vec<Issuer>,
}

impl Stage {
    /// Four processes on the morning of 31 March 2026.
    pub(super) async fn on(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(SetClock::at(at("2026-03-31T06:00:00Z")));
        let mut processes = Vec::new();
        for _ in 0..4 {
            processes.push(process(store.clone(), clock.clone()).await);
        }
        let recorder = Arc::new(Recorder::default());
        Self {
            store,
            clock,
            recorder,
            processes,
        }
    }

    /// One of the processes.
    pub(super) fn process(&self, which: usize) -> &Issuer {
        &self.processes[which % self.processes.len()]
    }

    pub(super) async fn define(&self, name: &str, spec: SeriesSpec) -> Arc<Series> {
        self.process(0)
            .define(name, spec)
            .await
            .expect("the definition is accepted")
    }

    /// The series `invoice`, `INV-{fy}-{seq:5}`, April to March in Kolkata; a key is optional.
    pub(super) async fn invoices(store: Arc<dyn Store>) -> Self {
        let stage = Self::on(store).await;
        stage.define("invoice", invoices()).await;
        stage
    }

    pub(super) async fn execute(&self, command: Command) -> Result<Answer, Failure> {
        self.process(0).execute(request(command)).await
    }

    /// What must work.
    pub(super) async fn done(&self, command: Command) -> EntriesAnswer {
        match self.execute(command).await {
            Ok(Answer::Entries(answer)) => answer,
            other => panic!("expected entries, got {other:?}"),
        }
    }

    pub(super) async fn entry(&self, command: Command) -> Arc<Entry> {
        self.done(command).await.taken[0].entry.clone()
    }

    /// What must be refused.
    pub(super) async fn refused(&self, command: Command) -> Code {
        match self.execute(command).await {
            Err(Failure::Refused(refusal)) => refusal.code,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// Issues by key, and notes it.
    pub(super) async fn issue(&self, which: usize, tenant: &str, key: &str) -> Result<Answer, Failure> {
        let call = self.recorder.invoke(&place("invoice", tenant), key);
        let answer = self
            .process(which)
            .execute(request(issue("invoice", tenant, key)))
            .await;
        self.recorder.told(call, Told::of(&answer));
        answer
    }

    /// Judges what was noted.
    pub(super) async fn judge(&self) {
        let readout = Readout::of(&*self.store).await.expect("the store can be read");
        let verdicts = judge(&self.recorder.calls(), &readout);
        assert!(verdicts.is_empty(), "{}", lines(&verdicts));
    }

    /// The only counter there is.
    pub(super) async fn counter(&self) -> Counter {
        let mut counters = counters(&*self.store).await;
        assert_eq!(counters.len(), 1, "{counters:?}");
        counters.remove(0)
    }
}

pub(super) async fn process(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Issuer {
    let options = Options {
        clock,
        // A slow machine is no reason to fail.
        deadline: std::time::Duration::from_secs(60),
        ..Options::default()
    };
    Issuer::with(store, options).await.expect("the store can be read")
}

/// Chains, entries, keys and counts must agree, whatever was played.
pub(super) async fn must_be_in_order(store: &dyn Store) {
    let report = verify(store, &crate::verify::Options::default(), &|_| {})
        .await
        .expect("the store can be read");
    assert!(report.findings.is_empty(), "verify finds: {:?}", report.findings);
    for counter in counters(store).await {
        assert!(counter.is_accounted(), "not accounted for: {counter:?}");
    }
}

pub(super) async fn counters(reads: &dyn Reads) -> Vec<Counter> {
    let page = reads
        .counters(&CounterFilter::default(), 10_000)
        .await
        .expect("the store can be read");
    assert_eq!(page.next, None);
    page.rows
}

/// Does several things at once and gives what each gave, in their order.
pub(super) async fn at_once<I>(things: I) -> Vec<<I::Item as Future>::Output>
where
    I: IntoIterator,
    I::Item: Future<Output: Send> + Send + 'static,
{
    let tasks: Vec<_> = things
        .into_iter()
        .map(|thing| tokio::spawn(thing.into_future()))
        .collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.expect("a task panicked"));
    }
    outcomes
}

pub(super) fn invoices() -> SeriesSpec {
    SeriesSpec {
        format: "INV-{fy}-{seq:5}".to_string(),
        reset: Some("fiscal-year:04-01".to_string()),
        time_zone: Some("Asia/Kolkata".to_string()),
        keys: Some("optional".to_string()),
        ..SeriesSpec::default()
    }
}

/// `N-{seq}`, one count for ever; a key is optional.
pub(super) fn plain() -> SeriesSpec {
    SeriesSpec {
        format: "N-{seq}".to_string(),
        keys: Some("optional".to_string()),
        ..SeriesSpec::default()
    }
}

pub(super) fn request(command: Command) -> Request {
    Request {
        actor: Actor::parse("conformance").expect("a name"),
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command,
    }
}

pub(super) fn take(tenant: &str, key: &str) -> Take {
    Take {
        key: Some(Key::parse(key).expect("a key")),
        tenant: self::tenant(tenant),
        ..Take::default()
    }
}

pub(super) fn issue(series: &str, tenant: &str, key: &str) -> Command {
    Command::Issue {
        series: name(series),
        take: take(tenant, key),
    }
}

pub(super) fn issue_count(series: &str, tenant: &str, key: &str, count: u32) -> Command {
    Command::IssueCount {
        series: name(series),
        take: take(tenant, key),
        count,
    }
}

pub(super) fn reserve(series: &str, tenant: &str, key: &str) -> Command {
    let ttl = Ttl::parse("1h").expect("a duration");
    Command::Reserve {
        series: name(series),
        take: take(tenant, key),
        ttl,
    }
}

pub(super) fn void(entry: EntryId, reissue: bool) -> Command {
    Command::Void(Void {
        entry,
        reason_code: VoidReason::Spoiled,
        reason: reason(),
        reissue,
    })
}

pub(super) fn adopt(series: &str, tenant: &str, number: &str, key: &str) -> Command {
    let adopt = Adopt {
        number: number.to_string(),
        date: "2026-03-30".parse().expect("a date"),
        tenant: self::tenant(tenant),
        key: Some(Key::parse(key).expect("a key")),
        document: None,
        reference: None,
    };
    Command::Adopt {
        series: name(series),
        adopt,
    }
}

pub(super) fn advance(series: &str, tenant: &str, to: u64) -> Command {
    Command::Advance {
        series: name(series),
        tenant: self::tenant(tenant),
        params: std::collections::BTreeMap::new(),
        period: None,
        to,
        reason: reason(),
    }
}

pub(super) fn key_ref(series: &str, tenant: &str, key: &str) -> KeyRef {
    KeyRef {
        key: Key::parse(key).expect("a key"),
        series: name(series),
        tenant: self::tenant(tenant),
    }
}

pub(super) fn name(name: &str) -> SeriesName {
    SeriesName::parse(name).expect("a series name")
}

pub(super) fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).expect("a tenant")
}

pub(super) fn reason() -> Reason {
    Reason::parse("a case").expect("a reason")
}

pub(super) fn document(text: &str) -> Document {
    Document::parse(text).expect("a document")
}

pub(super) fn reference(text: &str) -> Reference {
    Reference::parse(text).expect("a reference")
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The numbers of an answer.
pub(super) fn numbers(answer: &EntriesAnswer) -> Vec<String> {
    answer
        .taken
        .iter()
        .map(|taken| taken.entry.number.to_string())
        .collect()
}

/// The entries of an answer that must be one.
pub(super) fn entries(answer: Result<Answer, Failure>) -> EntriesAnswer {
    match answer {
        Ok(Answer::Entries(answer)) => answer,
        other => panic!("expected entries, got {other:?}"),
    }
}

/// The code of a refusal; nothing if the answer was no refusal.
pub(super) fn refusal(answer: &Result<Answer, Failure>) -> Option<Code> {
    match answer {
        Err(Failure::Refused(refusal)) => Some(refusal.code),
        Ok(_) | Err(_) => None,
    }
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
