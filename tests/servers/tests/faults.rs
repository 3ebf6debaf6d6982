//! Connections that are cut, servers that are killed, strangers that stay: nothing acknowledged is lost, no key gets two
//! numbers, and every caller is told what happened. `SERIATIM_CUTS` says how many connections are cut (40; CI: 1,000).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use seriatim::conformance::history::{Readout, Recorder, Told, judge, place};
use seriatim::store::postgres::{Postgres as Stored, PostgresOptions};
use seriatim::{
    Access, Actor, Answer, Command, Failure, Issuer, Key, Options, Reads, Request, SeriesName, SeriesSpec, Store, Take,
    Tenant, verify,
};
use seriatim_servers_tests::{Cut, PgBouncer, Postgres, Proxy};

fn short() -> PostgresOptions {
    PostgresOptions {
        statement_within: Duration::from_secs(2),
        commit_within: Duration::from_millis(300),
        ..PostgresOptions::default()
    }
}

/// A node that is cut off a thousand times: the server lets go of a stalled transaction after `statement_within`, and
/// until then its lane waits.
async fn node_of_cuts(url: &str) -> Issuer {
    let options = PostgresOptions {
        statement_within: Duration::from_millis(500),
        commit_within: Duration::from_millis(150),
        ..PostgresOptions::default()
    };
    let store = Stored::open(url, options).await.expect("a store");
    let issuing = Options {
        backoff: [10, 20, 40, 80, 160, 320].map(Duration::from_millis).to_vec(),
        ..Options::default()
    };
    Issuer::with(Arc::new(store), issuing).await.expect("it can be read")
}

async fn node(url: &str, options: PostgresOptions) -> Issuer {
    let store = Stored::open(url, options).await.expect("a store");
    over(Arc::new(store)).await
}

async fn over(store: Arc<dyn Store>) -> Issuer {
    Issuer::with(store, Options::default()).await.expect("it can be read")
}

async fn define(issuer: &Issuer) {
    let spec = SeriesSpec {
        format: "INV-{seq:5}".to_string(),
        ..SeriesSpec::default()
    };
    issuer.define("invoice", spec).await.expect("a series");
}

async fn issue(issuer: &Issuer, recorder: &Recorder, tenant: &str, key: &str) -> Result<Answer, Failure> {
    let call = recorder.invoke(&place("invoice", tenant), key);
    let take = Take {
        key: Some(Key::parse(key).expect("a key")),
        tenant: Tenant::parse(tenant).expect("a tenant"),
        ..Take::default()
    };
    let request = Request {
        actor: Actor::parse("test").expect("a name"),
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command: Command::Issue {
            series: SeriesName::parse("invoice").expect("a name"),
            take,
        },
    };
    let answer = issuer.execute(request).await;
    recorder.told(call, Told::of(&answer));
    answer
}

/// Asks again for each key until there is an answer: what was unknown must turn out one way.
async fn settle(issuer: &Issuer, recorder: &Recorder, keys: &[(String, String)]) {
    for (tenant, key) in keys {
        let started = Instant::now();
        while issue(issuer, recorder, tenant, key).await.is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "{key} gets no answer");
        }
    }
}

async fn must_be_in_order(reads: &dyn Reads, recorder: &Recorder) {
    let readout = Readout::of(reads).await.expect("it can be read");
    let verdicts = judge(&recorder.calls(), &readout);
    assert!(verdicts.is_empty(), "{verdicts:?}");
    let report = verify::verify(reads, &verify::Options::default(), &|_| {})
        .await
        .expect("it can be read");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_sent_to_all_nodes_at_once_is_one_number() {
    let server = Postgres::start();
    let url = server.url_of(&server.create_database());
    // All of them make the schema at once.
    let (a, b, c) = tokio::join!(
        node(&url, PostgresOptions::default()),
        node(&url, PostgresOptions::default()),
        node(&url, PostgresOptions::default())
    );
    define(&a).await;
    let recorder = Arc::new(Recorder::default());
    let mut tasks = Vec::new();
    for i in 0..240_usize {
        let issuer = [&a, &b, &c][i % 3].clone();
        let recorder = recorder.clone();
        // Each key goes to each node; every tenth of all keys is common to two counters.
        let key = format!("pay_{}", i / 3);
        tasks.push(tokio::spawn(async move {
            issue(&issuer, &recorder, ["acme", "zenith"][i / 3 % 2], &key)
                .await
                .expect("a number");
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    must_be_in_order(b.reads(), &recorder).await;
    let heads = c.reads().heads().await.expect("it can be read");
    assert_eq!(heads.counters.iter().map(|counter| counter.last_seq).sum::<u64>(), 80);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_nothing_and_number_nothing_twice() {
    let cuts: u32 = std::env::var("SERIATIM_CUTS").map_or(40, |cuts| cuts.parse().expect("a number"));
    let server = Postgres::start();
    let database = server.create_database();
    let proxy = Proxy::start(server.port()).await;
    let issuer = node_of_cuts(&proxy.url_of(&database)).await;
    cut_and_judge(&issuer, &proxy, cuts).await;
}

/// The server's answers are cut between it and the pooler, which then says something of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_behind_a_pooler_lose_nothing_and_number_nothing_twice() {
    let cuts: u32 = std::env::var("SERIATIM_CUTS").map_or(100, |cuts| cuts.parse().expect("a number")) / 5;
    let server = Postgres::start();
    let database = server.create_database();
    let proxy = Proxy::start(server.port()).await;
    let pooler = PgBouncer::start(proxy.port());
    let issuer = node_of_cuts(&pooler.url_of(&database)).await;
    cut_and_judge(&issuer, &proxy, cuts).await;
}

async fn cut_and_judge(issuer: &Issuer, proxy: &Proxy, cuts: u32) {
    define(issuer).await;
    let recorder = Arc::new(Recorder::default());
    let mut keys = Vec::new();
    let mut told = std::collections::BTreeMap::<&str, u32>::new();
    let mut round = 0;
    while proxy.disarm() < cuts {
        proxy.arm(Cut::ALL[rand::rng().random_range(0..Cut::ALL.len())]);
        let mut tasks = Vec::new();
        for i in 0..4 {
            let (issuer, recorder) = (issuer.clone(), recorder.clone());
            let (tenant, key) = (["acme", "zenith"][i % 2].to_string(), format!("{round}-{i}"));
            keys.push((tenant.clone(), key.clone()));
            tasks.push(tokio::spawn(
                async move { issue(&issuer, &recorder, &tenant, &key).await },
            ));
        }
        for task in tasks {
            let answer = task.await.expect("no panic");
            *told
                .entry(answer.as_ref().map_or_else(Failure::outcome, |_| "done"))
                .or_default() += 1;
            assert!(
                !matches!(answer, Err(Failure::Corrupt { .. } | Failure::Refused(_))),
                "{answer:?}"
            );
        }
        round += 1;
    }
    eprintln!("{cuts} connections cut; callers were told: {told:?}");
    settle(issuer, &recorder, &keys).await;
    must_be_in_order(issuer.reads(), &recorder).await;
    let heads = issuer.reads().heads().await.expect("it can be read");
    assert_eq!(
        heads.counters.iter().map(|counter| counter.last_seq).sum::<u64>(),
        keys.len() as u64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_was_acknowledged() {
    let mut server = Postgres::start();
    let url = server.url_of(&server.create_database());
    let issuer = node(&url, short()).await;
    define(&issuer).await;
    let recorder = Arc::new(Recorder::default());
    let mut keys = Vec::new();
    for round in 0..8 {
        let mut tasks = Vec::new();
        for i in 0..8 {
            let (issuer, recorder) = (issuer.clone(), recorder.clone());
            let tenant = ["acme", "zenith"][i % 2].to_string();
            keys.extend((0..20).map(|n| (tenant.clone(), format!("{round}-{i}-{n}"))));
            tasks.push(tokio::spawn(async move {
                for n in 0..20 {
                    // It may fail: that is what this is about.
                    let _ = issue(&issuer, &recorder, &tenant, &format!("{round}-{i}-{n}")).await;
                }
            }));
        }
        let pause = Duration::from_micros(rand::rng().random_range(0..60_000));
        tokio::time::sleep(pause).await;
        server.stop_immediately();
        server.start_again();
        for task in tasks {
            task.await.expect("no panic");
        }
    }
    settle(&issuer, &recorder, &keys).await;
    must_be_in_order(issuer.reads(), &recorder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_open_transaction_delays_only_its_own_counter() {
    let server = Postgres::start();
    let database = server.create_database();
    let issuer = node(&server.url_of(&database), PostgresOptions::default()).await;
    define(&issuer).await;
    let recorder = Arc::new(Recorder::default());
    for i in 0..20 {
        issue(&issuer, &recorder, &format!("t{i}"), "first")
            .await
            .expect("a number");
    }
    let stranger = server.connect(&database).await;
    stranger
        .batch_execute("begin; select 1 from seriatim.counter where tenant = 't0' for update")
        .await
        .expect("it locks");
    // Together with the others, so that they are in one batch with the one that must wait.
    let started = Instant::now();
    let held = {
        let (issuer, recorder) = (issuer.clone(), recorder.clone());
        tokio::spawn(async move { issue(&issuer, &recorder, "t0", "held").await })
    };
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let mut tasks = Vec::new();
        for i in 1..20 {
            let (issuer, recorder) = (issuer.clone(), recorder.clone());
            tasks.push(tokio::spawn(async move {
                let started = Instant::now();
                issue(&issuer, &recorder, &format!("t{i}"), &format!("r{round}"))
                    .await
                    .expect("a number");
                started.elapsed()
            }));
        }
        for task in tasks {
            slowest = slowest.max(task.await.expect("no panic"));
        }
    }
    assert!(slowest < Duration::from_secs(1), "the others waited {slowest:?}");
    let answer = held.await.expect("no panic");
    let code = answer.expect_err("it is held").code();
    assert_eq!(code, "counter_busy");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // The stranger ends, and it goes on.
    let waiting = {
        let (issuer, recorder) = (issuer.clone(), recorder.clone());
        tokio::spawn(async move { issue(&issuer, &recorder, "t0", "held").await })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    stranger.batch_execute("rollback").await.expect("it ends");
    waiting.await.expect("no panic").expect("a number");
    must_be_in_order(issuer.reads(), &recorder).await;
}
