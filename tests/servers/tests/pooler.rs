//! PgBouncer in transaction mode between us and the server, at both doors: every transaction may be on another
//! connection, and nothing of a session lasts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seriatim::conformance::run;
use seriatim::store::postgres::door::script;
use seriatim::store::postgres::{MIGRATIONS, Postgres as Stored, PostgresOptions};
use seriatim::verify::{Options, verify};
use seriatim::{Issuer, SeriesSpec, Store};
use seriatim_servers_tests::{PgBouncer, Postgres};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

async fn open(url: &str) -> Issuer {
    let store = Stored::open(url, PostgresOptions::default()).await.expect("a store");
    Issuer::open(store).await.expect("it can be read")
}

async fn define(issuer: &Issuer, name: &str) {
    let spec = SeriesSpec {
        format: "INV-{seq:5}".to_string(),
        ..SeriesSpec::default()
    };
    issuer.define(name, spec).await.expect("a series");
}

/// Callers side by side over several tenants, so that all lanes are used; how many numbers a second.
async fn issue_many(issuer: &Issuer, round: &str, callers: usize, each: usize) -> f64 {
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (issuer, round) = (issuer.clone(), round.to_string());
            tokio::spawn(async move {
                let tenant = format!("t{}", caller % 8);
                for i in 0..each {
                    let key = format!("{round}-{caller}-{i}");
                    let taken = issuer.issue("invoice").tenant(&tenant).key(&key).await;
                    taken.unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let issued = (callers * each) as f64;
    issued / started.elapsed().as_secs_f64()
}

async fn must_verify(issuer: &Issuer, entries: u64) {
    let report = verify(issuer.reads(), &Options::default(), &|_| {}).await;
    let report = report.expect("it can be read");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.progress.entries, entries);
}

/// Through it as it is, and through one that is told to overlook settings of a session.
const POOLERS: [&str; 2] = ["", "ignore_startup_parameters = options,extra_float_digits"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_taken_and_replayed_through_a_pooler() {
    let server = Postgres::start();
    for settings in POOLERS {
        let database = server.create_database();
        let pooler = PgBouncer::start_with(server.port(), settings);
        let issuer = open(&pooler.url_of(&database)).await;
        define(&issuer, "invoice").await;
        // The same statements come from two processes of ours, and meet on the pooler's connections.
        let other = open(&pooler.url_of(&database)).await;
        let (one, two) = tokio::join!(issue_many(&issuer, "a", 24, 10), issue_many(&other, "b", 24, 10));
        assert!(one > 0.0 && two > 0.0);
        let first = issuer
            .issue("invoice")
            .tenant("t1")
            .key("pay_1")
            .await
            .expect("a number");
        let again = other
            .issue("invoice")
            .tenant("t1")
            .key("pay_1")
            .await
            .expect("a number");
        assert_eq!(first.number, again.number);
        must_verify(&issuer, 481).await;
        issuer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_postgresql_store_keeps_every_rule_through_a_pooler() {
    let server = Postgres::start();
    let pooler = PgBouncer::start(server.port());
    keeps_every_rule(&server, &pooler, "").await;
}

async fn keeps_every_rule(server: &Postgres, pooler: &PgBouncer, parameters: &str) {
    run(|| async {
        let url = pooler.url_of(&server.create_database()) + parameters;
        let store = Stored::open(&url, PostgresOptions::default()).await.expect("a store");
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}

/// What `prepare=true` is for: a pooler that follows prepared statements. One that does not shows it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_insists_on_prepared_statements_gets_them_or_fails_loudly_where_the_pooler_does_not_know_them() {
    let server = Postgres::start();
    if PgBouncer::follows_prepared_statements() {
        let pooler = PgBouncer::start_with(server.port(), "max_prepared_statements = 200");
        keeps_every_rule(&server, &pooler, "&prepare=true").await;
        return;
    }
    let database = server.create_database();
    let pooler = PgBouncer::start(server.port());
    define(&open(&pooler.url_of(&database)).await, "invoice").await;
    let insisting = format!("{}&prepare=true", pooler.url_of(&database));
    let Ok(store) = Stored::open(&insisting, PostgresOptions::default()).await else {
        return;
    };
    let Ok(issuer) = Issuer::open(store).await else { return };
    let mut failed = 0;
    for i in 0..20 {
        let key = format!("{i}");
        let taken = tokio::time::timeout(Duration::from_secs(5), issuer.issue("invoice").key(&key).into_future());
        failed += u32::from(!matches!(taken.await, Ok(Ok(_))));
    }
    assert!(
        failed > 0,
        "prepared statements went through a pooler that forgets them"
    );
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(async move { drop(connection.await) });
    client
}

const ORDERS: &str = "
    create table orders (
        id bigint generated always as identity primary key, order_number text unique,
        payment_reference text not null unique);
    select seriatim.number_column('orders', 'order_number', 'invoice', key_column => 'payment_reference');";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sql_door_works_through_a_pooler() {
    let server = Postgres::start();
    let database = server.create_database();
    let pooler = PgBouncer::start(server.port());
    let issuer = open(&server.url_of(&database)).await;
    server.psql(&database, &script(MIGRATIONS.len()));
    define(&issuer, "invoice").await;
    server.psql(&database, ORDERS);
    let tasks: Vec<_> = (0..20)
        .map(|caller| {
            let url = pooler.url_of(&database);
            tokio::spawn(async move {
                let client = connect(&url).await;
                for i in 0..10 {
                    // As through a pooler without prepared statements anybody must: by simple queries.
                    let next = format!("select seriatim.next('invoice', key => 'next-{caller}-{i}')");
                    client.simple_query(&next).await.expect("a number");
                    let insert = format!("insert into orders (payment_reference) values ('row-{caller}-{i}')");
                    client
                        .batch_execute(&format!("begin; set local seriatim.actor = 'ann'; {insert}; commit"))
                        .await
                        .expect("a row");
                    let undone =
                        format!("begin; insert into orders (payment_reference) values ('no-{caller}-{i}'); rollback");
                    client.batch_execute(&undone).await.expect("taken back");
                    send_once(&client, &format!("mail-{i}"), caller).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let gates = "select count(*), count(*) filter (where state = 'done' and attempts = 1) from seriatim.gates";
    assert_eq!(server.psql(&database, gates), "10|10");
    let rows = server.psql(&database, "select count(*), count(distinct order_number) from orders");
    assert_eq!(rows, "200|200");
    // What one transaction set for itself did not stay on a connection that others use.
    let behalf = "select on_behalf_of, count(*) from seriatim.events where kind = 'issued' group by 1 order by 1";
    assert_eq!(server.psql(&database, behalf), "ann|200\n|200");
    must_verify(&issuer, 400).await;
}

/// Of all callers one claims the gate of a subject, and completes it in another transaction.
async fn send_once(client: &Client, subject: &str, caller: u32) {
    let claim = format!(
        "select c.outcome, c.gate, c.token from seriatim.gate_claim('mail', '{subject}', '1h', 'caller {caller}') c"
    );
    let heard = client.simple_query(&claim).await.expect("an outcome");
    let won = heard.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.get(0) == Some("won") => row.get(1).zip(row.get(2)),
        _ => None,
    });
    if let Some((gate, token)) = won {
        let complete = format!("select seriatim.gate_complete('{gate}', {token}, '{{}}')");
        client.simple_query(&complete).await.expect("a result");
    }
}

/// Not a promise but a figure, for those who choose: printed, never judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pooler_costs_is_measured() {
    let each = std::env::var("SERIATIM_POOLER_NUMBERS").map_or(10, |each| each.parse().expect("a number"));
    let server = Postgres::start();
    let database = server.create_database();
    let pooler = PgBouncer::start(server.port());
    let ways = [
        ("straight", server.url_of(&database)),
        (
            "straight, prepare=false",
            format!("{}?prepare=false", server.url_of(&database)),
        ),
        ("pooler", pooler.url_of(&database)),
    ];
    let first = open(&ways[0].1).await;
    define(&first, "invoice").await;
    for (callers, what) in [(1, "one caller"), (64, "64 callers")] {
        for (way, url) in &ways {
            let issuer = open(url).await;
            issue_many(&issuer, &format!("warm-{way}-{callers}"), callers, 2).await;
            let rate = issue_many(&issuer, &format!("{way}-{callers}"), callers, each).await;
            eprintln!("{what}, {way}: {rate:.0} numbers a second");
            assert!(rate > 1.0);
            issuer.close().await;
        }
    }
}
