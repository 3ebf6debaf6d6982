//! Every store passes the one list of cases.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use seriatim::conformance::{CASES, run};
use seriatim::{Memory, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_store_keeps_every_rule() {
    run(|| async { Arc::new(Memory::new()) as Arc<dyn Store> }).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sqlite_store_keeps_every_rule() {
    use seriatim::store::sqlite::{Sqlite, SqliteOptions};

    let directory = tempfile::tempdir().expect("a directory");
    let count = std::sync::atomic::AtomicUsize::new(0);
    run(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = directory.path().join(format!("{number}.db"));
        let options = SqliteOptions {
            // So few that they are carried over all the time.
            key_tail: 8,
            ..SqliteOptions::default()
        };
        async { Arc::new(Sqlite::open(path, options).await.expect("a store")) as Arc<dyn Store> }
    })
    .await;
}

#[test]
fn every_case_is_named_like_a_rule_and_once() {
    let names: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
    assert!(names.iter().all(|name| name.contains('_')));
}
