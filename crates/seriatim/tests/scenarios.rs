//! Every scenario, at every boundary that this crate has. The server's tests run the same files over HTTP.
//!
//! `UPDATE_EXPECT=1` writes what came into the files; read the difference.
#![cfg(feature = "conformance")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seriatim::Memory;
use seriatim::conformance::scenario::{AtDecide, AtIssuer, Boundary, Script, run, run_file, update_file};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder of scenarios");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(
        files
            .iter()
            .all(|file| file.extension().is_some_and(|extension| extension == "txt"))
    );
    files
}

async fn run_all<B: Boundary>(open: impl AsyncFn(usize) -> B) {
    let mut wrong = String::new();
    for (i, file) in files().iter().enumerate() {
        wrong += &run_file(file, &mut open(i).await).await.err().unwrap_or_default();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// All rules are in the decision, so this is the boundary that may rewrite the files.
#[tokio::test]
async fn the_decision_answers_as_the_scenarios_say() {
    let mut wrong = String::new();
    for file in files() {
        wrong += &update_file(&file, &mut AtDecide::default())
            .await
            .err()
            .unwrap_or_default();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn the_memory_store_answers_as_the_scenarios_say() {
    run_all(async |_| AtIssuer::open(Arc::new(Memory::new())).await.expect("an empty store")).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_sqlite_store_answers_as_the_scenarios_say() {
    use seriatim::store::sqlite::{Sqlite, SqliteOptions};

    let directory = tempfile::tempdir().expect("a directory");
    run_all(async |i| {
        let path = directory.path().join(format!("{i}.db"));
        let store = Sqlite::open(path, SqliteOptions::default()).await.expect("a store");
        AtIssuer::open(Arc::new(store)).await.expect("an empty store")
    })
    .await;
}

#[test]
fn a_line_that_cannot_be_read_is_named_by_file_and_line() {
    let text = "series a format={seq}\nisue a key=b -> 1\n\nissue a 'key=b\nclose a\nadvance a to=x\nat noon\nkey b more -> key b";
    let wrong = Script::parse("a.txt", text).expect_err("bad lines");
    let heads: Vec<&str> = wrong.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        heads,
        [
            "a.txt:2: `isue` is no verb",
            "a.txt:4: a quote is left open",
            "a.txt:5: the period is missing",
            "a.txt:6: to=x is not a number",
            "a.txt:7: `noon` is not an instant; write it like 2026-03-31T23:59:59+05:30",
            "a.txt:8: `more` is one word too many",
        ]
    );
}

#[tokio::test]
async fn a_line_that_answers_something_else_shows_both() {
    let text = "series a format=A{seq}\nissue a key=b -> A2\nissue a key=b branch=1\ncounter a -> last 1 issued 1";
    let script = Script::parse("a.txt", text).expect("good lines");
    assert_eq!(script.expectations(), 2);
    let wrong = run(&script, &mut AtDecide::default()).await.expect_err("a wrong line");
    assert_eq!(
        wrong,
        "a.txt:2: issue a key=b\n    expected: A2\n    actual:   A1\n\
         a.txt:3: issue a key=b branch=1\n    expected: (no refusal)\n    actual:   refused unknown_param /params/branch\n"
    );
}
