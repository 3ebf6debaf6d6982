//! Failover and copies: what was acknowledged on one server is never numbered again on another.

use std::time::{Duration, Instant};

use seriatim::store::postgres::{Postgres as Stored, PostgresOptions, door};
use seriatim::{Failure, Issuer, SeriesSpec};
use seriatim_servers_tests::Postgres;

/// How often a primary with a synchronous standby is killed (CI: 20).
fn failovers() -> u32 {
    std::env::var("SERIATIM_FAILOVERS").map_or(2, |count| count.parse().expect("a number"))
}

async fn open(url: &str) -> (Stored, Issuer) {
    let store = Stored::open(url, PostgresOptions::default()).await.expect("a store");
    let issuer = Issuer::open(store.clone()).await.expect("it can be read");
    (store, issuer)
}

async fn define(issuer: &Issuer) {
    let spec = SeriesSpec {
        format: "INV-{seq}".to_string(),
        ..SeriesSpec::default()
    };
    issuer.define("invoice", spec).await.expect("a series");
}

/// One URL for both: whoever of the two writes is the primary.
fn either(one: &Postgres, other: &Postgres) -> String {
    format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write&sslmode=disable",
        one.port(),
        other.port()
    )
}

async fn issue_until_it_goes(issuer: &Issuer, key: &str) -> String {
    let started = Instant::now();
    loop {
        match issuer.issue("invoice").key(key).await {
            Ok(entry) => return entry.number.to_string(),
            Err(failure) => assert!(started.elapsed() < Duration::from_secs(30), "{failure:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_without_an_operator_and_loses_nothing() {
    for _ in 0..failovers() {
        let mut primary = Postgres::start();
        let standby = primary.standby("one");
        primary.set("synchronous_standby_names", "one");
        let (store, issuer) = open(&either(&primary, &standby)).await;
        define(&issuer).await;
        let mut numbers = Vec::new();
        for i in 0..20 {
            numbers.push(issue_until_it_goes(&issuer, &format!("{i}")).await);
        }
        primary.stop_immediately();
        standby.promote();
        // The node finds its last batch on the new primary, and the fence moves by itself.
        let next = issue_until_it_goes(&issuer, "after").await;
        assert_eq!(next, "INV-21");
        for (i, number) in numbers.iter().enumerate() {
            assert_eq!(issue_until_it_goes(&issuer, &format!("{i}")).await, *number);
        }
        let fence = store.fence().await.expect("it can be read");
        assert_eq!((fence.problem, fence.timeline), (None, fence.timeline_now));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lost_the_tail_issues_nothing_before_an_operator_decides() {
    let mut primary = Postgres::start();
    let mut standby = primary.standby("one");
    let (store, issuer) = open(&either(&primary, &standby)).await;
    define(&issuer).await;
    let told = issue_until_it_goes(&issuer, "a").await;
    assert_eq!(told, "INV-1");
    // What is written from now on does not reach the standby before the primary dies.
    let written = primary.psql("postgres", "select pg_current_wal_lsn()");
    let until = Instant::now();
    while standby.psql("postgres", &format!("select pg_last_wal_replay_lsn() >= '{written}'")) != "t" {
        assert!(until.elapsed() < Duration::from_secs(10));
    }
    standby.stop_cleanly();
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
    primary.stop_immediately();
    standby.start_again();
    standby.promote();

    let refused = async |what: &str| {
        let started = Instant::now();
        loop {
            match issuer.issue("invoice").key(what).await {
                Err(Failure::Unavailable { code: "fenced", .. }) => return,
                Err(_) => assert!(started.elapsed() < Duration::from_secs(30)),
                Ok(entry) => panic!("{} was issued behind the fence", entry.number),
            }
        }
    };
    refused("c").await;
    // This node knows that it acknowledged what is not here, so the fence is closed, and it stays closed for others.
    let started = Instant::now();
    while store.fence().await.expect("it can be read").open {
        assert!(started.elapsed() < Duration::from_secs(10), "the loss was not noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    refused("c").await;
    let other_door = standby.psql("postgres", "select seriatim.fence_problem()");
    assert!(other_door.contains("acknowledged"), "{other_door}");
    // A process that knows of nothing is held back as well.
    let (_, newcomer) = open(&standby.url()).await;
    let failure = newcomer.issue("invoice").key("d").await.expect_err("it is fenced");
    assert_eq!(failure.code(), "fenced");
    // The operator knows that INV-2 is on paper: he opens the fence and passes over it.
    store.open_fence().await.expect("it can be written");
    let number = issue_until_it_goes(&issuer, "c").await;
    assert_eq!(
        number, "INV-2",
        "what an operator does not pass over is numbered again, which is why he is asked"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_cluster_with_another_identity_is_fenced() {
    let mut server = Postgres::start();
    let (store, issuer) = open(&server.url()).await;
    define(&issuer).await;
    issue_until_it_goes(&issuer, "a").await;
    store.close().await;
    // What a dump has, in a cluster of its own: the rows are the same, the cluster is not.
    server.psql("postgres", "update seriatim.fence set system_id = '1'");
    let failure = issuer.issue("invoice").key("b").await.expect_err("it is fenced");
    assert_eq!(failure.code(), "fenced");
    server.stop_cleanly();
    server.start_again();
    let (store, issuer) = open(&server.url()).await;
    let failure = issuer.issue("invoice").key("b").await.expect_err("it is fenced");
    assert!(
        failure.to_string().contains("a copy, or a restored backup"),
        "{failure}"
    );
    store.open_fence().await.expect("it can be written");
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_in_the_same_cluster_is_fenced() {
    let server = Postgres::start();
    let (store, issuer) = open(&server.url()).await;
    define(&issuer).await;
    issue_until_it_goes(&issuer, "a").await;
    issuer.close().await;
    store.close().await;
    // As a dump that is restored beside its original, or in its place.
    server.psql("template1", "create database copy template postgres");
    let (store, issuer) = open(&server.url_of("copy")).await;
    let failure = issuer.issue("invoice").key("b").await.expect_err("it is fenced");
    assert_eq!(failure.code(), "fenced");
    assert!(failure.to_string().contains("a restored dump"), "{failure}");
    store.open_fence().await.expect("it can be written");
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
    let (_, issuer) = open(&server.url()).await;
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_knew_of_shuts_the_fence_that_others_have_moved() {
    let mut primary = Postgres::start();
    let mut standby = primary.standby("one");
    let url = either(&primary, &standby);
    let (_, known) = open(&url).await;
    define(&known).await;
    assert_eq!(issue_until_it_goes(&known, "a").await, "INV-1");
    let written = primary.psql("postgres", "select pg_current_wal_lsn()");
    while standby.psql("postgres", &format!("select pg_last_wal_replay_lsn() >= '{written}'")) != "t" {}
    standby.stop_cleanly();
    // It begins when the standby is behind: neither its number nor its name are there.
    let (store, unknown) = open(&url).await;
    assert_eq!(issue_until_it_goes(&unknown, "b").await, "INV-2");
    primary.stop_immediately();
    standby.start_again();
    standby.promote();
    // Whoever is known has lost nothing: the fence moves, and the number is taken again.
    assert_eq!(issue_until_it_goes(&known, "c").await, "INV-2");
    let started = Instant::now();
    let closed = loop {
        let _ = unknown.issue("invoice").key("d").await;
        match store.fence().await {
            Ok(fence) if !fence.open => break fence,
            _ => assert!(started.elapsed() < Duration::from_secs(30), "the loss was not noticed"),
        }
    };
    assert!(closed.reason.is_some_and(|reason| reason.contains("acknowledged")));
    let failure = known.issue("invoice").key("e").await.expect_err("it is fenced");
    assert_eq!(failure.code(), "fenced");
}

/// With what an operator had decided before that, too: that he opened the fence once is no decision about what is lost now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_set_back_on_its_own_timeline_is_noticed_by_a_node_that_lived() {
    for opened in [false, true] {
        let server = Postgres::start();
        let (store, issuer) = open(&server.url()).await;
        define(&issuer).await;
        issue_until_it_goes(&issuer, "a").await;
        server.psql(
            "postgres",
            "create table public.before as select node, lane, batch from seriatim.writer;
             create table public.fence as select decided_at from seriatim.fence",
        );
        if opened {
            store.open_fence().await.expect("it can be written");
            // Until the node has seen it.
            let beats = || server.psql("postgres", "select max(seen_at) from seriatim.node");
            let (before, started) = (beats(), Instant::now());
            while beats() == before {
                assert!(started.elapsed() < Duration::from_secs(20), "the node does not beat");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        issue_until_it_goes(&issuer, "b").await;
        // As a snapshot of the disk would do it.
        server.psql(
            "postgres",
            "update seriatim.writer w set batch = b.batch from public.before b where w.node = b.node and w.lane = b.lane;
             update seriatim.fence f set decided_at = b.decided_at from public.fence b",
        );
        let failure = issuer.issue("invoice").key("c").await.expect_err("it is fenced");
        assert_eq!(failure.code(), "fenced", "{failure}");
        let fence = store.fence().await.expect("it can be read");
        assert!(!fence.open && fence.reason.is_some_and(|reason| reason.contains("acknowledged")));
        // Now he decides about that.
        store.open_fence().await.expect("it can be written");
        issue_until_it_goes(&issuer, "c").await;
    }
}

/// Numbers of users' own transactions are known to no node: they were given again after a failover that had lost them,
/// for a node that had lost nothing moved the fence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_users_take_numbers_themselves_the_fence_waits_for_an_operator() {
    let mut primary = Postgres::start();
    let mut standby = primary.standby("one");
    let url = either(&primary, &standby);
    let (store, issuer) = open(&url).await;
    door::install(&url, &PostgresOptions::default()).await.expect("a door");
    define(&issuer).await;
    assert_eq!(issue_until_it_goes(&issuer, "a").await, "INV-1");
    let written = primary.psql("postgres", "select pg_current_wal_lsn()");
    while standby.psql("postgres", &format!("select pg_last_wal_replay_lsn() >= '{written}'")) != "t" {}
    standby.stop_cleanly();
    let taken = primary.psql("postgres", "select seriatim.next('invoice', key => 'b')");
    assert_eq!(taken, "INV-2");
    primary.stop_immediately();
    standby.start_again();
    standby.promote();
    // As long as it took to move by itself, and longer.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(8) {
        let failure = issuer.issue("invoice").key("c").await.expect_err("it is fenced");
        assert!(
            failure.code() == "fenced" || started.elapsed() < Duration::from_secs(3),
            "{failure}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let fence = store.fence().await.expect("it can be read");
    assert!(fence.open && fence.problem.is_some() && fence.has_door, "{fence:?}");
    store.open_fence().await.expect("it can be written");
    assert_eq!(issue_until_it_goes(&issuer, "c").await, "INV-2");
}

/// Each beat of a node once left a connection behind that waited for the standby, until the server had none left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_beats_are_not_confirmed_takes_no_more_connections() {
    let primary = Postgres::start();
    let mut standby = primary.standby("one");
    primary.set("synchronous_standby_names", "one");
    let options = PostgresOptions {
        statement_within: Duration::from_secs(1),
        ..PostgresOptions::default()
    };
    let store = Stored::open(&primary.url(), options).await.expect("a store");
    let issuer = Issuer::open(store.clone()).await.expect("it can be read");
    define(&issuer).await;
    issue_until_it_goes(&issuer, "a").await;
    standby.stop_cleanly();
    let hanging = "select count(*) from pg_stat_activity where application_name = 'seriatim' and state = 'active'";
    // The first beat comes after five seconds.
    let (started, mut most) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(12) {
        let count: u32 = primary.psql("postgres", hanging).parse().expect("a number");
        most = most.max(count);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!((1..=2).contains(&most), "{most} connections hang");
    standby.start_again();
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_dead_is_forgotten_by_those_that_live() {
    let server = Postgres::start();
    let (store, issuer) = open(&server.url()).await;
    define(&issuer).await;
    issue_until_it_goes(&issuer, "a").await;
    server.psql(
        "postgres",
        "insert into seriatim.node (id, name, started_at, seen_at) values (7, 'dead', 1, 1)",
    );
    let started = Instant::now();
    while store.fence().await.expect("it can be read").nodes.len() > 1 {
        assert!(started.elapsed() < Duration::from_secs(15), "it is not forgotten");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(issue_until_it_goes(&issuer, "b").await, "INV-2");
}

/// A host that takes a connection and never says a word, as one that hangs, once used up the time of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_does_not_keep_the_next_one_from_being_asked() {
    let server = Postgres::start();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write&sslmode=disable",
        silent.local_addr().expect("an address").port(),
        server.port()
    );
    let (_, issuer) = open(&url).await;
    define(&issuer).await;
    assert_eq!(issue_until_it_goes(&issuer, "a").await, "INV-1");
}
