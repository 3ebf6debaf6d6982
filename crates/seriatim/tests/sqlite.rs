//! The SQLite store: what it refuses to open, what is in force, and that it does exactly what the reference does.
#![cfg(feature = "sqlite")]
#![expect(
    clippy::result_large_err,
    reason = "a decision that asks for more does so as its type says"
)]

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use disk::Disk;
use seriatim::store::sqlite::{OpenError, Sqlite, SqliteOptions};
use seriatim::store::{BatchId, CounterFilter, Decide, EntryFilter, Page, Reads, Store, StoreError};
use seriatim::{
    Access, Actor, Adopt, Answer, ApiKey, ApiScope, Batch, BundledZones, Chain, Clock, Command, CounterId, Date,
    Document, EntryId, Footprint, Hash, Issuer, Key, KeyRef, Memory, Period, Reason, Reference, Refusal, Request,
    Series, SeriesName, SeriesSpec, State, Take, Tenant, Timestamp, Ttl, Void, VoidReason, decide_all,
};
use tempfile::TempDir;
use tokio::time::timeout;

type Answers = Vec<Result<Answer, Refusal>>;

// ---------------------------------------------------------------------------------------------- what callers do

fn request(command: Command) -> Request {
    Request {
        actor: Actor::parse("os:ann").unwrap(),
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command,
    }
}

fn name(text: &str) -> SeriesName {
    SeriesName::parse(text).unwrap()
}

fn reason(text: &str) -> Reason {
    Reason::parse(text).unwrap()
}

fn define(text: &str, spec: &SeriesSpec, if_version: Option<u64>) -> Command {
    let series = Box::new(Series::define(name(text), spec, &BundledZones).unwrap());
    Command::Define { series, if_version }
}

fn define_plain() -> Command {
    let spec = SeriesSpec {
        format: "INV-{seq:5}".into(),
        keys: Some("optional".into()),
        ..SeriesSpec::default()
    };
    define("invoice", &spec, None)
}

fn issue(key: Option<&str>) -> Command {
    let key = key.map(|key| Key::parse(key).unwrap());
    Command::Issue {
        series: name("invoice"),
        take: Take { key, ..Take::default() },
    }
}

fn at(batch: u64) -> BatchId {
    BatchId {
        node: 7,
        lane: 0,
        batch,
    }
}

/// Decides requests on what a store holds, and commits.
async fn act(store: &dyn Store, batch: u64, requests: Vec<Request>, now: Timestamp) -> Result<Answers, StoreError> {
    let footprint = Footprint::of(&requests, &|_| None, now);
    let answers = Arc::new(Mutex::new(Vec::new()));
    let told = answers.clone();
    let decide: Decide = Arc::new(move |held| {
        let decided = decide_all(held, &requests, now)?;
        told.lock().unwrap().clone_from(&decided.answers);
        Ok(decided)
    });
    store.transact(at(batch), footprint, decide).await?;
    let answers = answers.lock().unwrap().clone();
    Ok(answers)
}

async fn act_all(store: &dyn Store, batch: u64, commands: Vec<Command>) -> Result<Answers, StoreError> {
    let now = "2026-03-31T12:00:00Z".parse().unwrap();
    act(store, batch, commands.into_iter().map(request).collect(), now).await
}

async fn numbers(store: &dyn Store) -> Vec<String> {
    let page = store.entries(&EntryFilter::default(), 10_000).await.unwrap();
    page.rows.iter().map(|entry| entry.number.to_string()).collect()
}

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("seriatim.db")
    }

    async fn open(&self) -> Sqlite {
        // So few that they are carried over all the time.
        let options = SqliteOptions {
            key_tail: 8,
            ..SqliteOptions::default()
        };
        Sqlite::open(self.path(), options).await.unwrap()
    }

    /// The files as a crash now would leave them.
    fn crashed(&self) -> Self {
        let crashed = Self::new();
        for file in ["seriatim.db", "seriatim.db-wal"] {
            std::fs::copy(self.directory.path().join(file), crashed.directory.path().join(file)).unwrap();
        }
        crashed
    }

    fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

// ------------------------------------------------------------------------------------------------------ opening

#[tokio::test]
async fn a_new_file_is_made_and_says_so() {
    let place = Place::new();
    let store = place.open().await;
    assert!(store.was_created());
    assert_eq!(store.path(), place.path());
    assert_eq!(store.describe(), format!("sqlite {}", place.path().display()));
    store.ready().await.unwrap();
    store.close().await;
    assert!(!place.open().await.was_created());
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    // A backup followed the umask. What an attempt left that was cut off may be anybody's to read.
    let copy = place.directory.path().join("copy.db");
    std::fs::write(place.directory.path().join("copy.db.partial"), "").unwrap();
    store.backup(&copy).await.unwrap();
    for file in ["seriatim.db", "seriatim.db-wal", "seriatim.db-shm", "copy.db"] {
        let mode = std::fs::metadata(place.directory.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

async fn refused(path: &Path) -> OpenError {
    match Sqlite::open(path, SqliteOptions::default()).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_text_file_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.path(), "dear diary").unwrap();
    let error = refused(&place.path()).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("not a Seriatim database (it is not a SQLite file)"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), "dear diary");
}

#[tokio::test]
async fn another_application_s_database_is_refused_and_left_alone() {
    for mark in [
        "create table diary (day text)",
        "pragma application_id = 42",
        "pragma user_version = 1",
    ] {
        let place = Place::new();
        place.raw().execute_batch(mark).unwrap();
        let before = std::fs::read(place.path()).unwrap();
        let error = refused(&place.path()).await;
        assert!(matches!(error, OpenError::NotOurs { .. }), "{mark}: {error:?}");
        assert_eq!(std::fs::read(place.path()).unwrap(), before, "{mark}");
    }
}

#[tokio::test]
async fn a_newer_version_is_refused() {
    let place = Place::new();
    place.open().await.close().await;
    place.raw().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&place.path()).await;
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 99,
                known: 3,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("written by a newer version 99; this one knows 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_is_not_there_or_not_one_is_refused() {
    let place = Place::new();
    let error = refused(&place.directory.path().join("nowhere/seriatim.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    std::fs::write(place.path(), "").unwrap();
    let error = refused(&place.path().join("seriatim.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("make sure that file and directory are there and writable"),
        "{error}"
    );
}

#[tokio::test]
async fn a_read_only_directory_is_refused() {
    let Some(disk) = Disk::mount("4m") else { return };
    disk.remount("ro");
    let error = refused(&disk.path().join("seriatim.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    disk.remount("rw");
    let store = Sqlite::open(disk.path().join("seriatim.db"), SqliteOptions::default())
        .await
        .unwrap();
    store.close().await;
    disk.remount("ro");
    let error = refused(&disk.path().join("seriatim.db")).await;
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_empty_file_is_nobody_s_yet() {
    let place = Place::new();
    std::fs::write(place.path(), "").unwrap();
    assert!(place.open().await.was_created());
}

#[tokio::test]
async fn the_settings_that_promises_rest_on_are_in_force() {
    let place = Place::new();
    let store = place.open().await;
    let settings = store.settings().await.unwrap();
    let found: BTreeMap<&str, &str> = settings.iter().map(|setting| (setting.name, &*setting.found)).collect();
    for (setting, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "1"),
        ("fullfsync", "1"),
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("mmap_size", "0"),
        ("wal_autocheckpoint", "0"),
        ("secure_delete", "1"),
    ] {
        assert_eq!(found.get(setting), Some(&value), "{setting}");
    }
    assert!(settings.iter().all(|setting| setting.holds));
    let version: Vec<u32> = found["sqlite_version"]
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    assert!(version >= vec![3, 51, 3]);
}

#[tokio::test]
async fn the_file_carries_our_marks_and_strict_tables() {
    let place = Place::new();
    place.open().await.close().await;
    let raw = place.raw();
    let one = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("pragma application_id").to_be_bytes()[4..], *b"SRTM");
    assert_eq!(one("pragma user_version"), 3);
    let loose = "select count(*) from pragma_table_list where schema = 'main' and type = 'table' and not strict
                 and name not like 'sqlite_%'";
    assert_eq!(one(loose), 0);
}

/// Rows of a batch share statements; each keeps what is its own.
#[tokio::test]
async fn each_entry_of_a_batch_is_stored_as_it_was_answered() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    let mut answered: Vec<Arc<seriatim::Entry>> = Vec::new();
    for (batch, size) in [1_usize, 3, 4, 5, 16, 17, 21, 37, 64].into_iter().enumerate() {
        let commands = (0..size).map(|i| {
            let text = format!("{batch}_{i}");
            let take = Take {
                key: (i % 2 == 0).then(|| Key::parse(&text).unwrap()),
                reference: (i % 5 == 0).then(|| Reference::parse(&text).unwrap()),
                document: (i % 3 == 0).then(|| Document::parse(&format!(r#"{{"no": "{text}"}}"#)).unwrap()),
                ..Take::default()
            };
            // Some have nothing to share with those before them.
            if i % 11 == 10 {
                let (series, ttl) = (name("invoice"), Ttl::parse("5m").unwrap());
                return Command::Reserve { series, take, ttl };
            }
            let series = name("invoice");
            Command::Issue { series, take }
        });
        let answers = act_all(&store, batch as u64 + 2, commands.collect()).await.unwrap();
        for answer in answers {
            let Ok(Answer::Entries(entries)) = answer else {
                panic!("{answer:?}")
            };
            answered.extend(entries.taken.into_iter().map(|taken| taken.entry));
        }
    }
    assert_eq!(answered.len(), 168);
    // The newest is listed first.
    answered.reverse();
    assert_eq!(
        store.entries(&EntryFilter::default(), 1_000).await.unwrap().rows,
        answered
    );
    store.close().await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain(), issue(Some("pay_1")), issue(None)])
        .await
        .unwrap();
    // No close: as after a kill, all of it is in the WAL.
    let again = place.open().await;
    assert_eq!(numbers(&again).await, ["INV-00002", "INV-00001"]);
    store.close().await;
    again.close().await;
    let again = place.open().await;
    assert_eq!(numbers(&again).await, ["INV-00002", "INV-00001"]);
    assert!(again.committed(at(1)).await.unwrap());
    assert!(!again.committed(at(2)).await.unwrap());
    let answers = act_all(&again, 2, vec![issue(Some("pay_1"))]).await.unwrap();
    let Ok(Answer::Entries(answer)) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert!(answer.taken[0].replayed);
    // A replay writes nothing, not even its batch.
    assert!(!again.committed(at(2)).await.unwrap());
}

#[tokio::test]
async fn a_closed_store_says_so_and_leaves_one_file() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    store.series().await.unwrap();
    let clone = store.clone();
    store.close().await;
    let error = clone.series().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(what) if what.ends_with("it is closed")),
        "{error:?}"
    );
    let error = act_all(&clone, 2, vec![issue(None)]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(what) if what.ends_with("it is closed")),
        "{error:?}"
    );
    let files = std::fs::read_dir(place.directory.path()).unwrap().count();
    assert_eq!(files, 1);
}

#[tokio::test]
async fn two_handles_of_one_file_never_issue_the_same_number() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    act_all(&one, 1, vec![define_plain()]).await.unwrap();
    let issue_some = async |store: &Sqlite, from: u64| {
        for batch in from..from + 50 {
            act_all(store, batch, vec![issue(None), issue(None)]).await.unwrap();
        }
    };
    tokio::join!(issue_some(&one, 100), issue_some(&two, 200));
    let mut numbers = numbers(&one).await;
    assert_eq!(numbers.len(), 200);
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}

fn keyed(from: usize, to: usize) -> Vec<Command> {
    (from..to).map(|i| issue(Some(&format!("pay_{i}")))).collect()
}

/// Which number each of these keys stands for, as a reader finds it.
async fn numbers_of_keys(store: &dyn Store, count: usize) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for i in 0..count {
        let key = KeyRef {
            key: Key::parse(&format!("pay_{i}")).unwrap(),
            series: name("invoice"),
            tenant: Tenant::default(),
        };
        let entries = store.entries_of_key(&key).await.unwrap();
        found.push(entries.first().map(|entry| entry.number.to_string()));
    }
    found
}

fn in_order(count: usize) -> Vec<Option<String>> {
    (1..=count).map(|seq| Some(format!("INV-{seq:05}"))).collect()
}

fn rows_of_keys(place: &Place) -> i64 {
    let count = place.raw().query_row("select count(*) from key", [], |row| row.get(0));
    count.unwrap()
}

#[tokio::test]
async fn keys_that_wait_in_memory_are_found_after_a_crash() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    for (batch, from) in (2..).zip((0..100).step_by(5)) {
        act_all(&store, batch, keyed(from, from + 5)).await.unwrap();
        let crashed = place.crashed();
        let after = crashed.open().await;
        let count = from + 5;
        assert!(
            rows_of_keys(&crashed) < i64::try_from(count).unwrap(),
            "none of {count} waits"
        );
        assert_eq!(numbers_of_keys(&after, count).await, in_order(count));
        let replayed = act_all(&after, 1_000, keyed(0, count)).await.unwrap();
        assert!(replayed.iter().all(Result::is_ok), "{replayed:?}");
        assert_eq!(numbers(&after).await.len(), count, "a key was bound twice");
    }
    assert!(rows_of_keys(&place) > 50, "hardly one was carried over");
    store.close().await;
    assert_eq!(rows_of_keys(&place), 100);
}

fn define_trial() -> Command {
    let spec = SeriesSpec {
        format: "T-{seq}".into(),
        test: true,
        ..SeriesSpec::default()
    };
    define("trial", &spec, None)
}

fn try_five(round: usize) -> Vec<Command> {
    let issue = |i: usize| Command::Issue {
        series: name("trial"),
        take: Take {
            key: Key::parse(&format!("try_{round}_{i}")).ok(),
            ..Take::default()
        },
    };
    (0..5).map(issue).collect()
}

// A wipe gave the places of the last entries free, and those who took them were behind the mark up to which all keys were
// thought to be in their table: after a crash one payment got a second number.
#[tokio::test]
async fn keys_of_entries_in_wiped_places_are_found_after_a_crash() {
    let place = Place::new();
    let mut store = place.open().await;
    act_all(&store, 1, vec![define_plain(), define_trial()]).await.unwrap();
    for round in 0..40 {
        let batch = 10 * u64::try_from(round).unwrap();
        act_all(&store, batch + 2, try_five(round)).await.unwrap();
        if round % 7 == 3 {
            // At rest all keys are in their table.
            store.close().await;
            store = place.open().await;
        }
        let wipe = Command::Wipe { series: name("trial") };
        let mut commands = if round % 2 == 0 { vec![wipe] } else { vec![] };
        commands.extend(keyed(round, round + 1));
        act_all(&store, batch + 3, commands).await.unwrap();
        let crashed = place.crashed();
        let after = crashed.open().await;
        assert_eq!(numbers_of_keys(&after, round + 1).await, in_order(round + 1));
    }
}

#[tokio::test]
async fn keys_that_an_earlier_version_lost_behind_a_wipe_are_found_again() {
    let place = Place::new();
    let store = place.open().await;
    let wipe = Command::Wipe { series: name("trial") };
    act_all(&store, 1, vec![define_plain(), define_trial(), wipe])
        .await
        .unwrap();
    act_all(&store, 2, keyed(0, 3)).await.unwrap();
    let crashed = place.crashed();
    let earlier = "update key_tail set after = 2; pragma user_version = 2";
    crashed.raw().execute_batch(earlier).unwrap();
    let after = crashed.open().await;
    assert_eq!(numbers_of_keys(&after, 3).await, in_order(3));
    after.close().await;
    let mark = "select after from key_tail";
    let mark: i64 = crashed.raw().query_row(mark, [], |row| row.get(0)).unwrap();
    assert_eq!(mark, 3);
}

#[tokio::test]
async fn two_handles_of_one_file_know_each_other_s_keys() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    act_all(&one, 1, vec![define_plain()]).await.unwrap();
    for (batch, from) in (2..).zip((0..60).step_by(3)) {
        let (first, second) = if batch % 2 == 0 { (&one, &two) } else { (&two, &one) };
        act_all(first, batch, keyed(from, from + 3)).await.unwrap();
        act_all(second, batch, keyed(0, from + 3)).await.unwrap();
        assert_eq!(numbers(&one).await.len(), from + 3);
    }
    assert_eq!(numbers_of_keys(&two, 60).await, in_order(60));
}

// Who had opened the file before carried over what he knew, and said that this was all: keys were forgotten, and a retry
// got a second number.
#[tokio::test]
async fn who_closes_the_file_beside_a_writer_makes_no_key_forgotten() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    for (batch, from) in (2..).zip((0..60).step_by(3)) {
        let passing = place.open().await;
        act_all(&store, batch, keyed(from, from + 3)).await.unwrap();
        passing.close().await;
        let count = from + 3;
        act_all(&store, 1_000 + batch, keyed(0, count)).await.unwrap();
        assert_eq!(numbers(&store).await.len(), count, "a key was bound twice");
        assert_eq!(numbers_of_keys(&store, count).await, in_order(count));
    }
    store.close().await;
    assert_eq!(rows_of_keys(&place), 60);
}

// Whoever holds the old file would go on in it, and its log would be carried over into the new one.
#[tokio::test]
async fn who_finds_another_file_in_its_place_takes_no_number() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain(), issue(None)]).await.unwrap();
    let copy = place.directory.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    act_all(&store, 2, vec![issue(None)]).await.unwrap();
    let aside = place.directory.path().join("aside.db");
    std::fs::rename(place.path(), &aside).unwrap();
    for is_replaced in [false, true] {
        if is_replaced {
            std::fs::copy(&copy, place.path()).unwrap();
        }
        let error = act_all(&store, 3, vec![issue(None)]).await.unwrap_err();
        let says = |error: &StoreError| matches!(error, StoreError::Unavailable(what) if what.contains("moved, removed or replaced"));
        assert!(says(&error), "{error:?}");
        assert!(says(&store.ready().await.unwrap_err()));
        // The keeper looks every second for a pause in which it can carry the log over.
        tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    }
    let is_as_it_was = std::fs::read(place.path()).unwrap() == std::fs::read(&copy).unwrap();
    assert!(is_as_it_was, "the log of the other file was carried over into this one");
    // Back again it goes on where it was.
    std::fs::rename(&aside, place.path()).unwrap();
    let answers = act_all(&store, 3, vec![issue(None)]).await.unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(numbers(&store).await, ["INV-00003", "INV-00002", "INV-00001"]);
    store.close().await;
}

#[tokio::test]
async fn a_log_without_its_database_is_not_taken_for_another_s() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain(), issue(None)]).await.unwrap();
    let crashed = place.crashed();
    std::fs::rename(crashed.path(), crashed.directory.path().join("moved.db")).unwrap();
    for is_empty in [false, true] {
        if is_empty {
            std::fs::write(crashed.path(), "").unwrap();
        }
        let error = refused(&crashed.path()).await;
        assert!(matches!(error, OpenError::LogAlone { .. }), "{error:?}");
    }
    // Both together are the store.
    std::fs::rename(crashed.directory.path().join("moved.db"), crashed.path()).unwrap();
    assert_eq!(numbers(&crashed.open().await).await, ["INV-00001"]);
}

#[tokio::test]
async fn a_copy_of_a_store_in_use_is_made_by_reading_alone() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    act_all(&store, 2, keyed(0, 5)).await.unwrap();
    let files = || {
        let found = std::fs::read_dir(place.directory.path()).unwrap();
        let mut files: Vec<_> = found
            .map(|file| {
                let file = file.unwrap();
                (file.file_name(), std::fs::read(file.path()).unwrap())
            })
            .filter(|(name, _)| name != "seriatim.db-shm")
            .collect();
        files.sort();
        files
    };
    let before = files();
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db");
    Sqlite::copy(place.path(), &copy).await.unwrap();
    assert!(before == files(), "something was written");
    let copied = Sqlite::open(&copy, SqliteOptions::default()).await.unwrap();
    assert_eq!(numbers_of_keys(&copied, 5).await, in_order(5));
    let settings = Sqlite::settings_of(place.path()).await.unwrap();
    assert!(settings.iter().all(|setting| setting.holds), "{settings:?}");
    assert!(before == files(), "something was written");
    let nothing = Sqlite::copy(elsewhere.path().join("nothing.db"), &elsewhere.path().join("x.db")).await;
    assert!(nothing.is_err());
    store.close().await;
}

#[tokio::test]
async fn a_writer_elsewhere_makes_it_unavailable_and_reads_go_on() {
    let place = Place::new();
    let options = SqliteOptions {
        busy_timeout: std::time::Duration::from_millis(50),
        ..SqliteOptions::default()
    };
    let store = Sqlite::open(place.path(), options).await.unwrap();
    act_all(&store, 1, vec![define_plain(), issue(None)]).await.unwrap();
    let raw = place.raw();
    raw.execute_batch("begin immediate").unwrap();
    let error = act_all(&store, 2, vec![issue(None)]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(what) if what.contains("another process is writing")),
        "{error:?}"
    );
    assert_eq!(numbers(&store).await.len(), 1);
    raw.execute_batch("rollback").unwrap();
    act_all(&store, 2, vec![issue(None)]).await.unwrap();
    assert_eq!(numbers(&store).await.len(), 2);
}

#[tokio::test]
async fn a_backup_is_a_whole_database_and_overwrites_nothing() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain(), issue(Some("pay_1")), issue(None)])
        .await
        .unwrap();
    let copy = place.directory.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    act_all(&store, 2, vec![issue(None)]).await.unwrap();
    let error = store.backup(&copy).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable(what) if what.contains("exists already")),
        "{error:?}"
    );
    let error = store
        .backup(&place.directory.path().join("nowhere/copy.db"))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let restored = Sqlite::open(&copy, SqliteOptions::default()).await.unwrap();
    assert!(!restored.was_created());
    assert_eq!(numbers(&restored).await, ["INV-00002", "INV-00001"]);
    let answers = act_all(&restored, 1, vec![issue(Some("pay_1"))]).await.unwrap();
    let Ok(Answer::Entries(answer)) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert!(answer.taken[0].replayed);
}

#[tokio::test]
async fn a_redacted_document_is_gone_from_every_file_after_a_pause() {
    let place = Place::new();
    let store = place.open().await;
    let document = Document::parse(r#"{"name": "SECRETMARKER"}"#).unwrap();
    let issue = Command::Issue {
        series: name("invoice"),
        take: Take {
            document: Some(document),
            ..Take::default()
        },
    };
    act_all(&store, 1, vec![define_plain(), issue]).await.unwrap();
    let entry = store.entries(&EntryFilter::default(), 1).await.unwrap().rows[0].id;
    let reason = reason("asked to");
    act_all(&store, 2, vec![Command::Redact { entry, reason }])
        .await
        .unwrap();
    let lingers = || {
        let files = std::fs::read_dir(place.directory.path()).unwrap();
        let mut texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        texts.any(|text| text.windows(12).any(|window| window == b"SECRETMARKER"))
    };
    assert!(lingers(), "this shows nothing: the file was never there");
    for _ in 0..100 {
        if !lingers() {
            return store.close().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the document can still be read after ten seconds");
}

#[tokio::test]
async fn a_panic_in_a_decision_writes_nothing_and_stops_nothing() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    let decide: Decide = Arc::new(|_| panic!("a bug"));
    let error = store.transact(at(2), Footprint::default(), decide).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    act_all(&store, 2, vec![issue(None)]).await.unwrap();
    assert_eq!(numbers(&store).await, ["INV-00001"]);
}

/// Later with each look.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_770_000_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn what_comes_while_the_writer_is_busy_is_one_batch() {
    let place = Place::new();
    let store = place.open().await;
    let options = seriatim::Options {
        clock: Arc::new(Ticking::default()),
        ..seriatim::Options::default()
    };
    let issuer = Issuer::with(Arc::new(store.clone()), options).await.unwrap();
    issuer.execute(request(define_plain())).await.unwrap();

    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let decide: Decide = Arc::new(move |_| {
        held.lock().unwrap().recv().unwrap();
        Ok(Batch::default())
    });
    let (begun, writer) = (store.clone(), store.clone());
    let busy = tokio::spawn(async move { writer.transact(at(1), Footprint::default(), decide).await });
    while timeout(Duration::from_millis(1), begun.turn()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let callers: Vec<_> = (0..30)
        .map(|_| {
            let issuer = issuer.clone();
            tokio::spawn(async move { issuer.execute(request(issue(None))).await })
        })
        .collect();
    // All of them have their turn on this one thread.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    busy.await.unwrap().unwrap();
    // A batch looks at the clock once under its locks.
    let mut looks = BTreeSet::new();
    for caller in callers {
        let Answer::Entries(answer) = caller.await.unwrap().unwrap() else {
            panic!("numbers were asked for")
        };
        looks.insert(answer.taken[0].entry.taken_at);
    }
    assert_eq!(looks.len(), 1);
    issuer.close().await;
}

#[tokio::test]
async fn a_wipe_removes_what_its_own_batch_took() {
    let place = Place::new();
    let store = place.open().await;
    let spec = SeriesSpec {
        format: "T-{seq}".into(),
        test: true,
        ..SeriesSpec::default()
    };
    let trial = || name("trial");
    let issue = |key: &str, tenant: &str| {
        let (key, tenant) = (Key::parse(key).ok(), Tenant::parse(tenant).unwrap());
        Command::Issue {
            series: trial(),
            take: Take {
                key,
                tenant,
                ..Take::default()
            },
        }
    };
    let advance = || Command::Advance {
        series: trial(),
        tenant: Tenant::parse("gone").unwrap(),
        params: BTreeMap::new(),
        period: None,
        to: 9,
        reason: reason("restored"),
    };
    act_all(&store, 1, vec![define("trial", &spec, None), issue("old", "acme")])
        .await
        .unwrap();
    let wipe = Command::Wipe { series: trial() };
    let batch = vec![
        issue("a", "acme"),
        issue("b", "new"),
        advance(),
        wipe,
        issue("a", "acme"),
        issue("c", "new"),
    ];
    let answers = act_all(&store, 2, batch).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let heads = store.heads().await.unwrap();
    let left: Vec<_> = heads
        .counters
        .iter()
        .map(|counter| (counter.key.tenant.to_string(), counter.last_seq))
        .collect();
    assert_eq!(left, [("acme".to_string(), 1), ("new".to_string(), 1)]);
    for counter in &heads.counters {
        assert_eq!(store.events(Chain::Counter(counter.id), 0, 10).await.unwrap().len(), 1);
        assert_eq!(store.entries_by_seq(counter.id, 0, 10).await.unwrap().len(), 1);
        assert_eq!(store.bound_keys(counter.id).await.unwrap(), 1);
    }
    for (key, count) in [("old", 0), ("a", 1), ("b", 0), ("c", 1)] {
        let tenant = Tenant::parse(if key == "c" || key == "b" { "new" } else { "acme" }).unwrap();
        let key = KeyRef {
            key: Key::parse(key).unwrap(),
            series: trial(),
            tenant,
        };
        assert_eq!(store.entries_of_key(&key).await.unwrap().len(), count, "{key:?}");
    }
    // At rest no key waits in memory.
    store.close().await;
    let rows = |table: &str| {
        place
            .raw()
            .query_row(&format!("select count(*) from {table}"), [], |row| row.get::<_, i64>(0))
    };
    let tables = ["entry", "event", "key", "key_collision", "missing", "counter"].map(|table| rows(table).unwrap());
    // Of the events, two are of the definitions chain.
    assert_eq!(tables, [2, 4, 2, 0, 0, 2]);
}

#[tokio::test]
async fn damage_is_named_by_table_and_row() {
    let place = Place::new();
    let store = place.open().await;
    act_all(&store, 1, vec![define_plain(), issue(Some("pay_1"))])
        .await
        .unwrap();
    let check = async |sql: &str, what: &str| {
        place.raw().execute_batch(sql).unwrap();
        let counters = store.counters(&CounterFilter::default(), 10).await.map(|_| ());
        let entries = store.entries(&EntryFilter::default(), 10).await.map(|_| ());
        let error = counters.and(entries).unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt(found) if found.contains(what)),
            "{sql}: {error:?}"
        );
        let error = act_all(&store, 2, vec![issue(Some("pay_1")), issue(None)])
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt(found) if found.contains(what)),
            "{sql}: {error:?}"
        );
    };
    check(
        "update entry set date = '2026-02-30'",
        "table entry, row 1 1: column date does not read",
    )
    .await;
    check(
        "update entry set date = '2026-03-31', hash = x'00'",
        "table entry, row 1 1: column hash has not 32 bytes",
    )
    .await;
    place
        .raw()
        .execute_batch("update entry set hash = zeroblob(32)")
        .unwrap();
    check(
        "update counter set issued = 2",
        "table counter, row 1: counter invoice default all is not accounted for",
    )
    .await;
}

#[tokio::test]
async fn a_number_taken_twice_is_stopped_by_the_second_net() {
    let place = Place::new();
    let store = place.open().await;
    act_all(
        &store,
        1,
        vec![define_plain(), issue(Some("pay_1")), issue(Some("pay_2"))],
    )
    .await
    .unwrap();
    // Somebody set the counter back and cut the chain, so that the rules would issue 2 again.
    place
        .raw()
        .execute_batch("update counter set last_seq = 1, issued = 1; delete from event where position = 2")
        .unwrap();
    place.raw().execute_batch("update counter set length = 1").unwrap();
    let error = act_all(&store, 2, vec![issue(Some("pay_3"))]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(what) if what.contains("UNIQUE constraint failed")),
        "{error:?}"
    );
    assert_eq!(numbers(&store).await, ["INV-00002", "INV-00001"]);
}

#[tokio::test]
async fn a_long_read_is_ended() {
    let place = Place::new();
    let options = SqliteOptions {
        read_time_max: std::time::Duration::ZERO,
        ..SqliteOptions::default()
    };
    let store = Sqlite::open(place.path(), options).await.unwrap();
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    for batch in 0..300 {
        let take = Take::default();
        act_all(
            &store,
            batch,
            vec![Command::IssueCount {
                series: name("invoice"),
                take,
                count: 1_000,
            }],
        )
        .await
        .unwrap();
    }
    for _ in 0..100 {
        match store.summary(None, None).await {
            Ok(_) => {}
            Err(StoreError::Unavailable(what)) if what.contains("took too long") => return,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no read was ended");
}

// Each read is short, but there is always one: the WAL never started over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_that_overlap_do_not_let_the_wal_grow_without_end() {
    let place = Place::new();
    let options = SqliteOptions {
        wal_kib: 64,
        ..SqliteOptions::default()
    };
    let store = Sqlite::open(place.path(), options).await.unwrap();
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    let issue = |batch: u64, count: u32| {
        let take = Take::default();
        let series = name("invoice");
        act_all(&store, batch, vec![Command::IssueCount { series, take, count }])
    };
    for batch in 2..12 {
        issue(batch, 1_000).await.unwrap();
    }
    let reading: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { while store.summary(None, None).await.is_ok() {} })
        })
        .collect();
    let wal = place.directory.path().join("seriatim.db-wal");
    let mut largest = 0;
    for batch in 12..500 {
        issue(batch, 50).await.unwrap();
        largest = largest.max(std::fs::metadata(&wal).unwrap().len());
    }
    for reads in &reading {
        assert!(!reads.is_finished(), "the reads end, so this shows nothing");
        reads.abort();
    }
    assert!(largest < 4 << 20, "the WAL grew to {largest} bytes");
    store.close().await;
}

// -------------------------------------------------------------------------------------------------- a full disk

#[tokio::test]
async fn a_full_disk_stops_issuing_but_not_reading_and_leaves_nothing_half_written() {
    let Some(disk) = Disk::mount("8m") else { return };
    let store = Sqlite::open(disk.path().join("seriatim.db"), SqliteOptions::default())
        .await
        .unwrap();
    act_all(&store, 1, vec![define_plain(), issue(Some("pay_1"))])
        .await
        .unwrap();
    disk.fill(0);
    let heads = store.heads().await.unwrap();
    let take = Take {
        key: Some(Key::parse("pay_2").unwrap()),
        ..Take::default()
    };
    let many = Command::IssueCount {
        series: name("invoice"),
        take,
        count: 1_000,
    };
    for batch in 2..5 {
        let error = act_all(&store, batch, vec![many.clone()]).await.unwrap_err();
        let StoreError::Unavailable(what) = &error else {
            panic!("{error:?}")
        };
        assert!(what.contains("disk is full; free space and retry"), "{what}");
        assert!(!store.committed(at(batch)).await.unwrap());
        assert_eq!(store.heads().await.unwrap(), heads);
        assert_eq!(numbers(&store).await, ["INV-00001"]);
    }
    disk.empty();
    act_all(&store, 5, vec![many]).await.unwrap();
    assert!(store.committed(at(5)).await.unwrap());
    let numbers = numbers(&store).await;
    assert_eq!((numbers.len(), &*numbers[0]), (1_001, "INV-01001"));
}

// The commit itself writes one page and syncs. Each attempt finds one more free block than the one before, so sooner or
// later everything before the commit fits and the commit does not; then nobody knows until the store was asked.
#[tokio::test]
async fn a_commit_that_failed_is_unknown_until_the_store_was_asked() {
    let Some(disk) = Disk::mount("8m") else { return };
    let store = Sqlite::open(disk.path().join("seriatim.db"), SqliteOptions::default())
        .await
        .unwrap();
    act_all(&store, 1, vec![define_plain()]).await.unwrap();
    let (mut issued, mut unknown) = (0, 0);
    for batch in 2..200 {
        let count = 1 + batch % 7;
        let many = Command::IssueCount {
            series: name("invoice"),
            take: Take::default(),
            count: u32::try_from(count).unwrap(),
        };
        // Every fifth finds room enough, so that there is something to lose.
        disk.fill(if batch % 5 == 0 { 1 << 20 } else { 4096 });
        match act_all(&store, batch, vec![many]).await {
            Ok(_) => issued += count,
            Err(StoreError::Unavailable(_)) => {}
            Err(StoreError::Unknown(_)) => {
                unknown += 1;
                let told = store.committed(at(batch)).await;
                assert_eq!(last_seq(&store).await, issued, "readers see only what is known");
                disk.empty();
                disk.fill(1 << 20);
                let committed = store.committed(at(batch)).await.unwrap();
                // With a full disk the answer may have to wait, but once given it is final.
                assert!(told.is_err() || told == Ok(committed));
                issued += if committed { count } else { 0 };
            }
            Err(error) => panic!("{error:?}"),
        }
        disk.empty();
        assert_eq!(last_seq(&store).await, issued, "batch {batch}");
    }
    assert!(
        unknown > 3 && issued > 0,
        "the test does not reach what it is for: {unknown} unknown, {issued} issued"
    );
    act_all(&store, 1_000, vec![issue(None)]).await.unwrap();
    assert_eq!(last_seq(&store).await, issued + 1);
}

async fn last_seq(store: &Sqlite) -> u64 {
    let counters = store.counters(&CounterFilter::default(), 1).await.unwrap().rows;
    counters.first().map_or(0, |counter| counter.last_seq)
}

// ------------------------------------------------------------------------------------- parity with the reference

/// A few seeds of the same length each; any failure is repeated by its seed alone.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn one_of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

const SERIES: [&str; 5] = ["invoice", "daily", "trial", "branch", "heir"];
const TENANTS: [&str; 3] = ["default", "acme", "zeta.1"];

/// Makes up requests, from what was issued so far.
struct Callers {
    dice: Dice,
    now: Timestamp,
    entries: Vec<EntryId>,
    versions: BTreeMap<String, u64>,
}

impl Callers {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            now: "2026-03-29T10:00:00Z".parse().unwrap(),
            entries: Vec::new(),
            versions: BTreeMap::new(),
        }
    }

    fn spec(series: &str) -> SeriesSpec {
        let spec = SeriesSpec {
            keys: Some("optional".into()),
            ..SeriesSpec::default()
        };
        match series {
            "daily" => SeriesSpec {
                format: "D{date}/{seq:3}".into(),
                reset: Some("daily".into()),
                time_zone: Some("Asia/Kolkata".into()),
                date_order: Some("required".into()),
                ..spec
            },
            "trial" => SeriesSpec {
                format: "T-{year}-{seq}".into(),
                reset: Some("yearly".into()),
                on_expiry: Some("void".into()),
                test: true,
                ..spec
            },
            "branch" => SeriesSpec {
                format: "B{branch}{desk}-{fy}-{seq:4}".into(),
                reset: Some("fiscal-year:04-01".into()),
                partition_by: vec!["branch".into(), "desk".into()],
                params: BTreeMap::from([
                    ("branch".into(), ("digits".into(), vec!["2".into()])),
                    ("desk".into(), ("one_of".into(), vec!["N".into(), "S".into()])),
                ]),
                ..spec
            },
            "heir" => SeriesSpec {
                format: "INV-{seq:5}".into(),
                replaces: Some("invoice".into()),
                ..spec
            },
            _ => SeriesSpec {
                format: "INV-{seq:5}".into(),
                replay: Some("strict".into()),
                ..spec
            },
        }
    }

    fn params(&mut self, series: &str) -> BTreeMap<String, String> {
        if series != "branch" {
            return BTreeMap::new();
        }
        let branch = self.dice.one_of(&["1", "02", "7"]);
        let desk = self.dice.one_of(&["N", "S"]);
        BTreeMap::from([("branch".into(), branch.into()), ("desk".into(), desk.into())])
    }

    fn key(&mut self) -> Option<Key> {
        let key = format!("pay_{}", self.dice.below(60));
        (!self.dice.once_in(3)).then(|| Key::parse(&key).unwrap())
    }

    fn document(&mut self) -> Option<Document> {
        let text = format!("{{\"total\": {}}}", self.dice.below(5));
        self.dice.once_in(3).then(|| Document::parse(&text).unwrap())
    }

    fn tenant(&mut self) -> Tenant {
        Tenant::parse(self.dice.one_of(&TENANTS)).unwrap()
    }

    fn date(&mut self) -> Date {
        let days = i32::try_from(self.dice.below(9)).unwrap() - 4;
        "2026-03-30".parse::<Date>().unwrap().plus_days(days)
    }

    fn take(&mut self, series: &str) -> Take {
        Take {
            key: self.key(),
            tenant: self.tenant(),
            params: self.params(series),
            date: self.dice.once_in(3).then(|| self.date()),
            document: self.document(),
            reference: self
                .dice
                .once_in(4)
                .then(|| Reference::parse("Auftrag Nr. 42 — größer").unwrap()),
        }
    }

    fn entry(&mut self) -> EntryId {
        if self.entries.is_empty() || self.dice.once_in(40) {
            return "ent_0123456789abcdef_42".parse().unwrap();
        }
        let recent = self.entries.len().min(40);
        let back = self.dice.below(recent);
        self.entries[self.entries.len() - 1 - back]
    }

    fn period(&mut self, series: &str) -> String {
        let periods: &[&str] = match series {
            "daily" => &["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"],
            "trial" => &["2026"],
            "branch" => &["2025-26", "2026-27"],
            _ => &["all", "2026"],
        };
        self.dice.one_of(periods).to_string()
    }

    fn command(&mut self) -> Command {
        let text = self.dice.one_of(&SERIES);
        let series = name(text);
        match self.dice.below(40) {
            0..12 => Command::Issue {
                series,
                take: self.take(text),
            },
            12..14 => {
                let count = 1 + self.dice.below(4) as u32;
                Command::IssueCount {
                    series,
                    take: self.take(text),
                    count,
                }
            }
            14 | 15 => {
                let size = 1 + self.dice.below(5);
                Command::IssueItems {
                    series,
                    items: (0..size).map(|_| self.take(text)).collect(),
                }
            }
            16 => Command::Preview {
                series,
                take: self.take(text),
                count: 2,
            },
            17..21 => {
                let seconds = 1 + self.dice.below(7_200) as u64;
                Command::Reserve {
                    series,
                    take: self.take(text),
                    ttl: Ttl::from_seconds(seconds).unwrap(),
                }
            }
            21..24 => Command::Confirm {
                entry: self.entry(),
                document: self.document(),
            },
            24 => Command::Release {
                entry: self.entry(),
                reason: reason("not needed"),
            },
            25 | 26 => Command::Expire { entry: self.entry() },
            27 => Command::Void(Void {
                entry: self.entry(),
                reason_code: VoidReason::Duplicate,
                reason: reason("sent twice"),
                reissue: self.dice.once_in(2),
            }),
            28 => Command::Redact {
                entry: self.entry(),
                reason: reason("asked for"),
            },
            29..33 => Command::Adopt {
                series,
                adopt: self.adopt(text),
            },
            33 => {
                let to = self.dice.below(300) as u64;
                let (tenant, params, period) = (self.tenant(), self.params(text), Some(self.period(text)));
                Command::Advance {
                    series,
                    tenant,
                    params,
                    period,
                    to,
                    reason: reason("restored from a backup"),
                }
            }
            34 => {
                let (tenant, period) = (self.tenant(), self.period(text));
                Command::Close {
                    series,
                    tenant,
                    period,
                    reason: reason("filed"),
                }
            }
            35 | 36 => {
                let (tenant, period) = (self.tenant(), self.period(text));
                Command::Reopen {
                    series,
                    tenant,
                    period,
                    reason: reason("filed too early"),
                }
            }
            37 if self.dice.once_in(2) => Command::Wipe { series: name("trial") },
            37 | 38 => self.redefine(text),
            _ => self.access(),
        }
    }

    fn adopt(&mut self, series: &str) -> Adopt {
        let seq = 1 + self.dice.below(250);
        let date = self.date();
        let number = match series {
            "daily" => format!("D{}/{seq:03}", date.to_string().replace('-', "")),
            "trial" => format!("T-2026-{seq}"),
            "branch" => format!("B01N-2526-{seq:04}"),
            _ => format!("INV-{seq:05}"),
        };
        Adopt {
            number,
            date,
            tenant: self.tenant(),
            key: self.key(),
            document: self.document(),
            reference: None,
        }
    }

    fn redefine(&mut self, series: &str) -> Command {
        let version = self.versions.entry(series.to_string()).or_default();
        *version += 1;
        let spec = SeriesSpec {
            limit: Some(100_000 + *version),
            ..Self::spec(series)
        };
        let seen = self.dice.below(4) as u64;
        define(series, &spec, (seen > 0).then_some(seen))
    }

    fn access(&mut self) -> Command {
        let id = format!("key{}", self.dice.below(4));
        if self.dice.once_in(3) {
            return Command::RevokeApiKey { id };
        }
        Command::CreateApiKey(Box::new(ApiKey {
            id,
            label: "billing".into(),
            secret_sha256: Hash::of(b"secret"),
            access: Access {
                scopes: [ApiScope::Issue, ApiScope::Read].into(),
                tenants: [Tenant::default()].into(),
                ..Access::default()
            },
            created_at: self.now,
            revoked_at: None,
        }))
    }

    fn batch(&mut self) -> Vec<Request> {
        let seconds = self.dice.below(1_800) as i64;
        self.now = self.now.plus_seconds(seconds);
        let size = 1 + self.dice.below(6);
        (0..size).map(|_| self.request()).collect()
    }

    fn request(&mut self) -> Request {
        let mut request = request(self.command());
        request.rehearsal = self.dice.once_in(30);
        request.on_behalf_of = self.dice.once_in(9).then(|| Actor::parse("os:bob").unwrap());
        request
    }

    fn learn(&mut self, answers: &Answers) {
        for answer in answers.iter().flatten() {
            if let Answer::Entries(answer) = answer {
                self.entries.extend(answer.taken.iter().map(|taken| taken.entry.id));
            }
        }
    }
}

async fn every_page<T, F: Future<Output = Result<Page<T>, StoreError>>>(
    page: impl Fn(Option<u64>) -> F,
) -> Vec<(Vec<T>, Option<u64>)> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let Page { rows, next } = page(cursor).await.unwrap();
        pages.push((rows, next));
        cursor = next;
        if next.is_none() {
            return pages;
        }
    }
}

fn filters(now: Timestamp) -> Vec<EntryFilter> {
    let all = EntryFilter::default;
    let date = |text: &str| Some(text.parse::<Date>().unwrap());
    let tenant = |text| vec![Tenant::parse(text).unwrap()];
    vec![
        all(),
        EntryFilter {
            series: vec![name("invoice"), name("daily"), name("daily")],
            ..all()
        },
        EntryFilter {
            tenants: tenant("acme"),
            ..all()
        },
        EntryFilter {
            tenants: tenant("nobody"),
            ..all()
        },
        EntryFilter {
            series: vec![name("nothing")],
            ..all()
        },
        EntryFilter {
            series: vec![name("branch")],
            tenants: tenant("zeta.1"),
            period: Some(Period::stored("2025-26")),
            ..all()
        },
        EntryFilter {
            period: Some(Period::stored("2026-03-30")),
            ..all()
        },
        EntryFilter {
            number: Some("INV-00003".into()),
            ..all()
        },
        EntryFilter {
            number: Some("INV-00003".into()),
            series: vec![name("invoice")],
            tenants: tenant("default"),
            ..all()
        },
        EntryFilter {
            number: Some("INV-00003".into()),
            state: Some(State::Reserved),
            ..all()
        },
        EntryFilter {
            state: Some(State::Reserved),
            ..all()
        },
        EntryFilter {
            state: Some(State::Voided),
            ..all()
        },
        EntryFilter {
            state: Some(State::Issued),
            tenants: tenant("acme"),
            ..all()
        },
        EntryFilter {
            state: Some(State::Reserved),
            expires_until: Some(now),
            ..all()
        },
        EntryFilter {
            state: Some(State::Reserved),
            tenants: tenant("acme"),
            series: vec![name("trial")],
            ..all()
        },
        EntryFilter {
            expires_until: Some(now),
            ..all()
        },
        EntryFilter {
            date_from: date("2026-03-29"),
            date_to: date("2026-03-31"),
            ..all()
        },
        EntryFilter {
            date_from: date("2026-03-31"),
            tenants: tenant("default"),
            ..all()
        },
        EntryFilter {
            cursor: Some(5),
            ..all()
        },
        EntryFilter {
            cursor: Some(0),
            ..all()
        },
        EntryFilter {
            cursor: Some(u64::MAX),
            ..all()
        },
    ]
}

macro_rules! same {
    ($memory:expr, $sqlite:expr, |$store:ident| $read:expr) => {{
        let $store = $memory;
        let expected = $read;
        let $store = $sqlite;
        let found = $read;
        assert_eq!(found, expected, "{}", stringify!($read));
        expected
    }};
}

/// Compares everything that can be read.
async fn compare(memory: &Memory, sqlite: &Sqlite, now: Timestamp) {
    same!(memory, sqlite, |store| store.series().await.unwrap());
    same!(memory, sqlite, |store| store.closures().await.unwrap());
    same!(memory, sqlite, |store| store.api_keys().await.unwrap());
    let heads = same!(memory, sqlite, |store| store.heads().await.unwrap());
    let events = same!(memory, sqlite, |store| store
        .events(Chain::Definitions, 0, 10_000)
        .await
        .unwrap());
    assert_eq!(events.len() as u64, heads.definitions.length);
    for (from, to) in [
        (None, None),
        (Some("2026-03-30"), None),
        (Some("2026-03-29"), Some("2026-03-30")),
    ] {
        let [from, to] = [from, to].map(|text| text.map(|text| text.parse().unwrap()));
        same!(memory, sqlite, |store| store.summary(from, to).await.unwrap());
    }
    for filter in filters(now) {
        for limit in [3, 1_000] {
            same!(memory, sqlite, |store| {
                let page = |cursor: Option<u64>| {
                    let filter = EntryFilter {
                        cursor: cursor.or(filter.cursor),
                        ..filter.clone()
                    };
                    async move { store.entries(&filter, limit).await }
                };
                every_page(page).await
            });
        }
    }
    for (series, tenants, period) in [
        (vec![], vec![], None),
        (vec![name("daily"), name("branch")], vec![], None),
        (vec![], vec![Tenant::parse("acme").unwrap()], None),
        (
            vec![name("branch")],
            vec![Tenant::default(), Tenant::parse("zeta.1").unwrap()],
            Some("2025-26"),
        ),
    ] {
        for limit in [2, 100] {
            same!(memory, sqlite, |store| {
                let page = |cursor: Option<u64>| {
                    let (series, tenants) = (series.clone(), tenants.clone());
                    let filter = CounterFilter {
                        series,
                        tenants,
                        period: period.map(Period::stored),
                        cursor,
                    };
                    async move { store.counters(&filter, limit).await }
                };
                every_page(page).await
            });
        }
    }
    for counter in &heads.counters {
        compare_counter(memory, sqlite, counter.id).await;
    }
    compare_keys(memory, sqlite).await;
}

async fn compare_counter(memory: &Memory, sqlite: &Sqlite, id: CounterId) {
    same!(memory, sqlite, |store| store.counter(id).await.unwrap());
    same!(memory, sqlite, |store| store.bound_keys(id).await.unwrap());
    same!(memory, sqlite, |store| store.missing(id, 0, 1_000).await.unwrap());
    same!(memory, sqlite, |store| store.missing(id, 20, 1).await.unwrap());
    same!(memory, sqlite, |store| store
        .events(Chain::Counter(id), 0, 10_000)
        .await
        .unwrap());
    same!(memory, sqlite, |store| store
        .events(Chain::Counter(id), 3, 2)
        .await
        .unwrap());
    same!(memory, sqlite, |store| store.entries_by_seq(id, 2, 3).await.unwrap());
    same!(memory, sqlite, |store| store
        .entries_by_seq(id, u64::MAX, 3)
        .await
        .unwrap());
    let entries = same!(memory, sqlite, |store| store
        .entries_by_seq(id, 0, 10_000)
        .await
        .unwrap());
    for entry in entries {
        same!(memory, sqlite, |store| store.entry(entry.id).await.unwrap());
        same!(memory, sqlite, |store| store.events_of(entry.id).await.unwrap());
    }
    let none = EntryId {
        counter: id,
        seq: 999_999,
    };
    same!(memory, sqlite, |store| store.entry(none).await.unwrap());
    same!(memory, sqlite, |store| store.events_of(none).await.unwrap());
}

async fn compare_keys(memory: &Memory, sqlite: &Sqlite) {
    for series in SERIES {
        for tenant in TENANTS {
            for key in 0..60 {
                let key = KeyRef {
                    key: Key::parse(&format!("pay_{key}")).unwrap(),
                    series: name(series),
                    tenant: Tenant::parse(tenant).unwrap(),
                };
                same!(memory, sqlite, |store| store.entries_of_key(&key).await.unwrap());
            }
        }
    }
}

async fn drive(seed: u64, batches: u64) -> BTreeMap<&'static str, usize> {
    let place = Place::new();
    let mut sqlite = place.open().await;
    let memory = Memory::new();
    let mut callers = Callers::new(seed);
    let mut done = BTreeMap::new();
    for series in SERIES {
        let command = define(series, &Callers::spec(series), None);
        // The heir comes later, so that the old series has numbers by then.
        if series != "heir" {
            act_both(&memory, &sqlite, 1, vec![request(command)], callers.now).await;
        }
    }
    for batch in 2..batches {
        let requests = callers.batch();
        let verbs: Vec<&'static str> = requests.iter().map(|request| request.command.verb()).collect();
        let answers = act_both(&memory, &sqlite, batch, requests, callers.now).await;
        for (verb, _) in verbs.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            *done.entry(*verb).or_default() += 1;
        }
        callers.learn(&answers);
        if batch % 150 == 0 {
            compare(&memory, &sqlite, callers.now).await;
            sqlite.close().await;
            sqlite = place.open().await;
        }
    }
    compare(&memory, &sqlite, callers.now).await;
    done
}

async fn act_both(memory: &Memory, sqlite: &Sqlite, batch: u64, requests: Vec<Request>, now: Timestamp) -> Answers {
    let expected = act(memory, batch, requests.clone(), now).await.unwrap();
    let found = act(sqlite, batch, requests, now).await.unwrap();
    assert_eq!(found, expected);
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_what_the_reference_does() {
    let mut done: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in 1..=6 {
        for (verb, count) in drive(seed, 600).await {
            *done.entry(verb).or_default() += count;
        }
    }
    // What was never done was never compared.
    for verb in [
        "issue",
        "preview",
        "reserve",
        "adopt",
        "confirm",
        "release",
        "expire",
        "void",
        "redact",
        "define",
        "close",
        "reopen",
        "advance",
        "wipe",
        "key_create",
        "key_revoke",
    ] {
        assert!(
            done.get(verb).copied().unwrap_or_default() >= 5,
            "{verb} succeeded too rarely: {done:?}"
        );
    }
}
