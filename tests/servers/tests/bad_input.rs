//! What is refused when a store is opened, and what is said: host and port, never the password.

use seriatim::store::postgres::{OpenError, Postgres as Stored, PostgresOptions};
use seriatim_servers_tests::Postgres;

async fn refusal(url: &str) -> OpenError {
    let opened = Stored::open(url, PostgresOptions::default()).await;
    let error = opened.err().unwrap_or_else(|| panic!("{} was opened", "it"));
    assert!(!error.to_string().contains("s3cret"), "{error}");
    error
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let server = Postgres::start();
    let foreign = server.create_database();
    server.psql(&foreign, "create schema seriatim; create table seriatim.theirs (n int)");
    let error = refusal(&server.url_of(&foreign)).await;
    assert!(matches!(error, OpenError::Unusable(_)), "{error}");
    assert_eq!(
        server.psql(
            &foreign,
            "select count(*) from pg_class where relnamespace = 'seriatim'::regnamespace"
        ),
        "1"
    );

    server.psql(
        "postgres",
        "create database latin encoding 'LATIN1' locale 'C' template template0",
    );
    let error = refusal(&server.url_of("latin")).await;
    assert!(error.to_string().contains("LATIN1"), "{error}");

    let newer = server.create_database();
    Stored::open(&server.url_of(&newer), PostgresOptions::default())
        .await
        .expect("a store");
    server.psql(&newer, "insert into seriatim.schema_version values (5, 0)");
    Stored::open(&server.url_of(&newer), PostgresOptions::default())
        .await
        .expect("one version newer is fine");
    server.psql(&newer, "insert into seriatim.schema_version values (6, 0)");
    let error = refusal(&server.url_of(&newer)).await;
    assert!(matches!(error, OpenError::Newer(_)), "{error}");
}

#[tokio::test]
async fn who_may_not_make_a_schema_is_told_what_to_grant() {
    let server = Postgres::start();
    let database = server.create_database();
    server.psql("postgres", "create role app login password 's3cret'");
    let url = format!("postgres://app:s3cret@127.0.0.1:{}/{database}", server.port());
    let error = refusal(&url).await;
    assert!(error.to_string().contains("grant create on database"), "{error}");
    // A schema that was made for it is enough.
    server.psql(&database, "create schema seriatim authorization app");
    Stored::open(&url, PostgresOptions::default()).await.expect("a store");
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_without_the_password() {
    let server = Postgres::start();
    let error = refusal("postgres://app:s3cret@127.0.0.1:1/books").await;
    assert!(error.to_string().contains("127.0.0.1:1/books"), "{error}");
    let url = format!("postgres://nobody:s3cret@127.0.0.1:{}/postgres", server.port());
    let error = refusal(&url).await;
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{}", server.port())),
        "{error}"
    );
    let error = refusal(&server.url_of("nowhere")).await;
    assert!(error.to_string().contains("create it first"), "{error}");
}

#[tokio::test]
async fn a_standby_and_settings_that_break_a_promise_are_refused() {
    let primary = Postgres::start();
    let standby = primary.standby("one");
    let error = refusal(&standby.url()).await;
    assert!(error.to_string().contains("standby"), "{error}");

    // The standby is asynchronous: warned of, and refused in production unless it is accepted by name.
    let open = |production, accept: &[&str]| {
        let options = PostgresOptions {
            production,
            accept: accept.iter().map(|name| (*name).to_string()).collect(),
            ..PostgresOptions::default()
        };
        let url = primary.url();
        async move { Stored::open(&url, options).await }
    };
    open(false, &[]).await.expect("a store");
    let error = open(true, &[]).await.expect_err("it is refused");
    assert!(
        error.to_string().contains("--accept synchronous_replication"),
        "{error}"
    );
    open(true, &["synchronous_replication"]).await.expect("a store");

    let careless = Postgres::start_with(&[("fsync", "off")]);
    let error = refusal(&careless.url()).await;
    assert!(
        matches!(&error, OpenError::Setting(what) if what.contains("fsync off")),
        "{error}"
    );
}
