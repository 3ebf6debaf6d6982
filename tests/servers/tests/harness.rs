//! The servers of the tests do what the tests rely on.

use seriatim_servers_tests::Postgres;

#[tokio::test]
async fn a_server_starts_answers_and_survives_a_pulled_plug() {
    let mut server = Postgres::start();
    let database = server.create_database();
    let client = server.connect(&database).await;
    client
        .batch_execute("create table t (n int); insert into t values (7)")
        .await
        .expect("it writes");
    server.stop_immediately();
    assert!(client.batch_execute("select 1").await.is_err());
    server.start_again();
    assert_eq!(server.psql(&database, "select n from t"), "7");
    assert_eq!(server.psql(&database, "show fsync"), "on");
}

#[test]
fn a_standby_follows_and_can_be_promoted() {
    let mut primary = Postgres::start();
    let standby = primary.standby("one");
    primary.set("synchronous_standby_names", "one");
    primary.psql("postgres", "create table t (n int); insert into t values (7)");
    primary.stop_immediately();
    assert_eq!(standby.psql("postgres", "select pg_is_in_recovery()"), "t");
    standby.promote();
    assert_eq!(
        standby.psql("postgres", "insert into t values (8); select sum(n) from t"),
        "15"
    );
}
