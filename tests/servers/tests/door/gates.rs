//! Gates inside the user's own transaction: one winner, nothing left of a rollback, and an effect of rows exactly once.

use std::sync::Arc;

use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::verify::verify;
use seriatim::{Issuer, SeriesSpec};
use tokio_postgres::Client;

use super::Door;

const CONNECTIONS: usize = 16;

async fn store(door: &Door) -> Postgres {
    let opened = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default()).await;
    opened.expect("a store")
}

/// As the service writes it, with its event.
async fn define(door: &Door, name: &str, format: &str) {
    let issuer = Issuer::open(store(door).await).await.expect("an issuer");
    let spec = SeriesSpec {
        format: format.to_string(),
        ..SeriesSpec::default()
    };
    issuer.define(name, spec).await.expect("a series");
    issuer.close().await;
}

async fn must_verify(door: &Door) {
    let store = store(door).await;
    let report = verify(&store, &seriatim::verify::Options::default(), &|_| {}).await;
    let report = report.expect("it reads");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    store.close().await;
}

async fn connections(door: &Door) -> Vec<Arc<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Arc::new(door.server.connect(&door.database).await));
    }
    clients
}

/// What each of them hears, sorted.
async fn at_once(clients: &[Arc<Client>], sql: &str) -> Vec<Result<String, String>> {
    let tasks: Vec<_> = clients
        .iter()
        .map(|client| {
            let (client, sql) = (client.clone(), sql.to_string());
            tokio::spawn(async move { one(&client, &sql).await })
        })
        .collect();
    let mut heard = Vec::new();
    for task in tasks {
        heard.push(task.await.expect("no panic"));
    }
    heard.sort();
    heard
}

/// What one statement says, or the error.
async fn one(client: &Client, sql: &str) -> Result<String, String> {
    match client.query_one(sql, &[]).await {
        Ok(row) => Ok(row.get(0)),
        Err(error) => Err(error
            .as_db_error()
            .map_or_else(|| error.to_string(), ToString::to_string)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_connections_that_claim_at_once_one_wins() {
    let door = Door::install();
    let clients = connections(&door).await;
    // Round 1 makes the gates; before round 2 every lease runs out.
    for round in 1..=2 {
        for subject in ["pay_1", "pay_2", "pay_3"] {
            let claim = format!(
                "select c.outcome || ' ' || coalesce(c.token::text, '') \
                 from seriatim.gate_claim('receipt', '{subject}', '1h', 'w') c"
            );
            let mut expected = vec![Ok("busy ".to_string()); CONNECTIONS - 1];
            expected.push(Ok(format!("won {round}")));
            assert_eq!(at_once(&clients, &claim).await, expected, "{subject}");
        }
        door.psql("update seriatim.gate set due_at = seriatim.micros(clock_timestamp()) - 1 where state = 'claimed'");
    }
    let events = door.psql("select count(*), count(distinct gate) from seriatim.events");
    assert_eq!(events, "12|3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_effect_that_is_one_transaction_happens_once_though_sixteen_try() {
    let door = Door::install();
    door.psql(
        "create table receipts (payment text, token bigint);
        create function work() returns text language plpgsql as $$
        declare
            c seriatim.claim_answer := seriatim.gate_claim('receipt', 'pay_1', '60s', 'w');
        begin
            if c.outcome = 'won' then
                insert into receipts values ('pay_1', c.token);
                perform seriatim.gate_complete(c.gate, c.token, '{}');
            end if;
            return c.outcome;
        end $$",
    );
    let mut expected = vec![Ok("done".to_string()); CONNECTIONS - 1];
    expected.push(Ok("won".to_string()));
    // Who comes while the winner is at it waits for his commit, and hears the result.
    assert_eq!(at_once(&connections(&door).await, "select work()").await, expected);
    assert_eq!(door.psql("table receipts"), "pay_1|1");
    must_verify(&door).await;
}

#[tokio::test]
async fn a_claim_that_is_rolled_back_leaves_nothing() {
    let door = Door::install();
    let client = door.server.connect(&door.database).await;
    let claim = "select outcome from seriatim.gate_claim('receipt', 'pay_1', '60s', 'ann')";
    client.batch_execute("begin").await.expect("a transaction");
    assert_eq!(one(&client, claim).await, Ok("won".to_string()));
    client.batch_execute("rollback").await.expect("a rollback");
    assert_eq!(door.psql("select count(*) from seriatim.gate"), "0");
    assert_eq!(door.psql("select count(*) from seriatim.event"), "0");
    // A savepoint takes it back as well, and lets go of the gate.
    client
        .batch_execute(&format!("begin; savepoint s; {claim}; rollback to s"))
        .await
        .expect("a savepoint");
    assert_eq!(
        door.psql("select outcome, token from seriatim.gate_claim('receipt', 'pay_1', '60s', 'bob')"),
        "won|1"
    );
    client.batch_execute("commit").await.expect("a commit");
    must_verify(&door).await;
}

/// The winner of the guide: claimed in a transaction of its own, then rows and result in one.
#[tokio::test]
async fn rows_and_result_are_one_commit_also_when_the_winner_dies_between() {
    let door = Door::install();
    define(&door, "receipt", "R-{seq}").await;
    door.psql("create table receipts (payment text, number text)");
    let claim = |holder: &str| {
        door.psql(&format!(
            "select outcome, token from seriatim.gate_claim('receipt', 'pay_1', '60s', '{holder}')"
        ))
    };
    let effect = |token: u32| {
        format!(
            "begin; insert into receipts values ('pay_1', seriatim.next('receipt', key => 'pay_1'));
            select seriatim.gate_complete(id, {token}, '{{\"token\": {token}}}') from seriatim.gates;"
        )
    };
    let lease_ends = "update seriatim.gate set due_at = seriatim.micros(clock_timestamp())";
    // The first is killed before his commit: nothing of him is there.
    assert_eq!(claim("ann"), "won|1");
    let ann = door.server.connect(&door.database).await;
    ann.batch_execute(&effect(1)).await.expect("her work");
    let busy = "select outcome from seriatim.gate_claim('receipt', 'pay_1', '60s', 'bob')";
    door.psql("select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'");
    assert_eq!(door.psql(busy), "busy");
    assert_eq!(door.psql("select count(*) from receipts"), "0");
    // The second is paused past his lease, and a third takes over and ends it.
    door.psql(lease_ends);
    assert_eq!(claim("bob"), "won|2");
    door.psql(lease_ends);
    assert_eq!(claim("eve"), "won|3");
    door.psql(&format!("{} commit", effect(3)));
    let stale = door.try_psql(&format!("{} commit", effect(2))).unwrap_err();
    assert!(stale.contains("stale_token: "), "{stale}");
    assert_eq!(door.psql("select payment, number from receipts"), "pay_1|R-1");
    assert_eq!(
        door.psql("select state, token, attempts, result from seriatim.gates"),
        "done|3|3|{\"token\": 3}"
    );
    // The numbers of those who failed were never taken.
    assert_eq!(door.psql("select last_seq from seriatim.counters"), "1");
    must_verify(&door).await;
}

#[tokio::test]
async fn who_waits_for_a_gate_too_long_is_told() {
    let door = Door::install();
    door.psql("alter function seriatim.wait_for_gate set lock_timeout = '200ms'");
    let client = door.server.connect(&door.database).await;
    let claim = |subject: &str| format!("select outcome from seriatim.gate_claim('receipt', '{subject}', '60s', 'w')");
    client
        .batch_execute(&format!("begin; {}", claim("pay_1")))
        .await
        .expect("a claim");
    let busy = door.try_psql(&claim("pay_1")).unwrap_err();
    assert!(
        busy.contains("counter_busy: another transaction holds gate gat_"),
        "{busy}"
    );
    // Another gate goes on.
    assert_eq!(door.psql(&claim("pay_2")), "won");
    client.batch_execute("commit").await.expect("a commit");
    assert_eq!(door.psql(&claim("pay_1")), "busy");
}

/// The blocks of the section are run as they stand there, one after another.
#[tokio::test]
async fn the_guide_does_what_it_says() {
    let door = Door::install();
    define(&door, "receipt", "R-{seq:4}").await;
    let guide = include_str!("../../../../docs/guides/in-your-transaction.md");
    let section = guide
        .split("\n## ")
        .find(|section| section.starts_with("An effect that happens once"));
    let blocks: Vec<&str> = section
        .expect("the section")
        .split("```sql\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    let said: Vec<String> = blocks.iter().map(|block| door.psql(block)).collect();
    // What a block prints is in the comment at its end.
    for (block, said) in blocks.iter().zip(&said) {
        let expected = block.lines().last().and_then(|line| line.strip_prefix("-- "));
        if let Some(expected) = expected {
            assert_eq!(said.trim_end(), expected.replace(" | ", "|"), "{block}");
        }
    }
    assert!(blocks.len() >= 4, "{blocks:?}");
    assert_eq!(door.psql("select count(*) from receipts"), "1");
    must_verify(&door).await;
}
