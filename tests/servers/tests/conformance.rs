//! The PostgreSQL store passes the one list of cases, and answers as the scenarios say.

use std::path::Path;
use std::sync::Arc;

use seriatim::Store;
use seriatim::conformance::run;
use seriatim::conformance::scenario::{AtIssuer, run_file};
use seriatim::store::postgres::{Postgres as Stored, PostgresOptions};
use seriatim_servers_tests::Postgres;

async fn store(server: &Postgres) -> Stored {
    let url = server.url_of(&server.create_database());
    Stored::open(&url, PostgresOptions::default()).await.expect("a store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_postgresql_store_keeps_every_rule() {
    let server = Postgres::start();
    run(|| async { Arc::new(store(&server).await) as Arc<dyn Store> }).await;
}

#[tokio::test]
async fn the_postgresql_store_answers_as_the_scenarios_say() {
    let server = Postgres::start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/seriatim/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the scenarios")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() > 10);
    let mut wrong = String::new();
    for file in files {
        let mut boundary = AtIssuer::open(Arc::new(store(&server).await))
            .await
            .expect("an empty store");
        wrong += &run_file(&file, &mut boundary).await.err().unwrap_or_default();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
