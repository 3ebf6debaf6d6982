//! What changes under a node that runs: settings of the server, and a schema that is one version further.

use std::time::{Duration, Instant};

use ::seriatim::store::postgres::{MIGRATIONS, Postgres as Stored, PostgresOptions};
use ::seriatim::verify::{Options, verify};
use ::seriatim::{Issuer, SeriesSpec};
use seriatim_servers_tests::Postgres;

use super::client::{KEY, call, define, issue, try_issue};
use super::seriatim::{Desk, Service};

fn start(desk: &Desk, url: &str, more: &[(&str, &str)]) -> (Service, String) {
    let variables = [&[("SERIATIM_ADMIN_KEY", KEY), ("SERIATIM_ENV", "production")], more].concat();
    let service = desk.serve_with(&["--store", url], &variables);
    let address = service.url.trim_start_matches("http://").to_string();
    (service, address)
}

async fn wait_for_page(address: &str, wanted: &str, is_there: bool) {
    let started = Instant::now();
    loop {
        let page = call(address, "GET", "/readyz?verbose", "")
            .await
            .expect("an answer")
            .text;
        if page.contains(wanted) == is_there {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_is_broken_under_a_node_stops_it_and_is_shown() {
    for (setting, off) in [("fsync", "off"), ("full_page_writes", "off")] {
        let server = Postgres::start();
        let url = server.url();
        let desk = Desk::new();
        desk.ok(&["init", "--store", &url]);
        let (service, address) = start(&desk, &url, &[]);
        let (tolerant, careless) = start(&Desk::new(), &url, &[("SERIATIM_ACCEPT", setting)]);
        define(&address).await;
        assert_eq!(issue(&address, "a").await, "INV-00001");
        wait_for_page(&address, &format!("[!]{setting}"), false).await;

        server.set(setting, off);
        wait_for_page(&address, &format!("[!]{setting} {off}"), true).await;
        let reply = try_issue(&address, "b").await;
        assert_eq!((reply.status, &*reply.field("outcome")), (503, "nothing"), "{reply:?}");
        assert_eq!(reply.field("code"), "store_unavailable");
        assert!(
            reply.field("detail").contains(&format!("{setting} is off")),
            "{reply:?}"
        );
        // Whoever accepted it by name goes on, and says so.
        wait_for_page(&careless, &format!("[!]{setting} {off}"), true).await;
        assert_eq!(issue(&careless, "c").await, "INV-00002");

        server.set(setting, "on");
        wait_for_page(&address, &format!("[!]{setting}"), false).await;
        assert_eq!(issue(&address, "b").await, "INV-00003");
        service.stop();
        tolerant.stop();
    }
}

/// As a rolling upgrade has it: the new program has changed the schema, and the old one is still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_runs_on_a_schema_one_version_newer_and_not_on_two() {
    let server = Postgres::start();
    let open = async || Stored::open(&server.url(), PostgresOptions::default()).await;
    let store = open().await.expect("a store");
    let running = Issuer::open(store.clone()).await.expect("an issuer");
    let spec = SeriesSpec {
        format: "INV-{seq:5}".to_string(),
        ..SeriesSpec::default()
    };
    running.define("invoice", spec).await.expect("a series");
    let take = async |issuer: &Issuer, key: &str| {
        let entry = issuer.issue("invoice").key(key).await;
        entry
            .unwrap_or_else(|failure| panic!("{key}: {failure:?}"))
            .number
            .to_string()
    };
    assert_eq!(take(&running, "a").await, "INV-00001");

    let next = MIGRATIONS.len() + 1;
    server.psql(
        "postgres",
        &format!(
            "begin; alter table seriatim.entry add column made_up text; alter table seriatim.counter add column made_up text;
             insert into seriatim.schema_version values ({next}, 0); commit"
        ),
    );
    // The node that runs did not notice; one that is started again finds it, and neither changes it.
    assert_eq!(take(&running, "b").await, "INV-00002");
    let again = Issuer::open(open().await.expect("one version newer"))
        .await
        .expect("an issuer");
    assert_eq!(take(&again, "c").await, "INV-00003");
    assert_eq!(take(&again, "a").await, "INV-00001");
    let report = verify(again.reads(), &Options::default(), &|_| {})
        .await
        .expect("it can be read");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let version = "select max(version) from seriatim.schema_version";
    assert_eq!(server.psql("postgres", version), next.to_string());

    let newer = next + 1;
    server.psql(
        "postgres",
        &format!("insert into seriatim.schema_version values ({newer}, 0)"),
    );
    let error = open().await.expect_err("two versions newer").to_string();
    let said = format!(
        "has version {newer}, and this program knows {}; use the program that made it",
        next - 1
    );
    assert!(error.contains(&said), "{error}");
    let ran = Desk::new().run(&["issue", "invoice", "--key", "d", "--store", &server.url()]);
    assert!(ran.code != 0 && ran.stderr.contains(&said), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_read_delays_no_number() {
    let server = Postgres::start();
    let url = server.url();
    let desk = Desk::new();
    desk.ok(&["init", "--store", &url]);
    let (service, address) = start(&desk, &url, &[]);
    define(&address).await;
    assert_eq!(issue(&address, "a").await, "INV-00001");
    let mut client = server.connect("postgres").await;
    let held = client.transaction().await.expect("a transaction");
    let lock = "lock table seriatim.api_key, seriatim.gate in access exclusive mode";
    held.batch_execute(lock).await.expect("the tables");
    // As many as read at once; each of them waits.
    let lists: Vec<_> = (0..10)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move { call(&address, "GET", "/v1/gates", "").await })
        })
        .collect();
    // The keys that are known are a second old, and somebody sets out to read them again.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    for i in 2..5 {
        let started = Instant::now();
        assert_eq!(issue(&address, &format!("{i}")).await, format!("INV-0000{i}"));
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
    held.rollback().await.expect("the tables are free");
    for list in lists {
        list.await.expect("it ends").expect("an answer");
    }
    service.stop();
}

/// A commit that waits for a standby which is away kept the server, and verbs of the command line, from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_lives_for_ever_because_a_commit_is_not_confirmed() {
    let primary = Postgres::start();
    let mut standby = primary.standby("one");
    primary.set("synchronous_standby_names", "one");
    let url = primary.url();
    let desk = Desk::new();
    let flags = ["--store", &*url, "--drain", "2s"];
    let service = desk.serve_with(&flags, &[("SERIATIM_ADMIN_KEY", KEY)]);
    let address = service.url.trim_start_matches("http://").to_string();
    define(&address).await;
    assert_eq!(issue(&address, "a").await, "INV-00001");
    standby.stop_cleanly();
    let asked = Instant::now();
    let reply = try_issue(&address, "b").await;
    assert_eq!((reply.status, &*reply.field("outcome")), (503, "unknown"), "{reply:?}");
    // Whatever it takes to read the API keys is part of the deadline.
    assert!(asked.elapsed() < Duration::from_millis(3_500), "{:?}", asked.elapsed());
    let stopped = Instant::now();
    service.stop();
    assert!(stopped.elapsed() < Duration::from_secs(10), "{:?}", stopped.elapsed());
    let asked = Instant::now();
    let ran = desk.run(&["issue", "invoice", "--key", "c", "--tenant", "other", "--store", &url]);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(ran.code != 0 && ran.stderr.contains("unknown"), "{ran:?}");
    standby.start_again();
    let ran = desk.ok(&["issue", "invoice", "--key", "b", "--store", &url]);
    assert!(ran.contains("INV-00002"), "{ran}");
}
