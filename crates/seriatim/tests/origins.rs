//! The old designs, as adapters over a naive database in which others run between any two statements. The judge must
//! convict each of the crime that it committed in production, and acquit the same database used as it should be.
#![cfg(feature = "conformance")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use seriatim::conformance::history::{CounterRead, Crime, EntryRead, Given, Readout, Recorder, Told, judge};
use seriatim::conformance::simulation::Dice;

/// One table of counters and one of documents; each statement is atomic, and nothing else is.
#[derive(Clone)]
struct Database {
    tables: Arc<Mutex<Tables>>,
    dice: Dice,
}

#[derive(Default)]
struct Tables {
    counter: Option<u64>,
    /// The highest that any counter ever stood at: where an honest count would end.
    highest: u64,
    /// In the order in which they were written: number, seq, key.
    documents: Vec<(String, u64, String)>,
}

impl Database {
    /// Time passes on the way to the server; meanwhile others get there.
    async fn statement<T>(&self, run: impl FnOnce(&mut Tables) -> T) -> T {
        tokio::time::sleep(self.dice.millis(8)).await;
        let mut tables = self.tables.lock().expect("not poisoned");
        let result = run(&mut tables);
        if let Some(counter) = tables.counter {
            tables.highest = tables.highest.max(counter);
        }
        result
    }

    /// What a process asks itself between two statements.
    fn crashes(&self) -> bool {
        self.dice.percent(5)
    }

    async fn insert(&self, seq: u64, key: &str) -> String {
        let number = format!("INV-{seq:03}");
        self.statement(|tables| tables.documents.push((number.clone(), seq, key.to_string())))
            .await;
        number
    }
}

/// Why a caller got no number.
struct Crashed;

/// How a number was made once.
#[async_trait]
trait Design: Send + Sync + 'static {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed>;
}

/// `SELECT max(number)` and one more, as for orders at first.
struct ReadHighestPlusOne;

#[async_trait]
impl Design for ReadHighestPlusOne {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let highest = database
            .statement(|tables| tables.documents.iter().map(|(_, seq, _)| *seq).max())
            .await;
        let seq = highest.unwrap_or(0) + 1;
        Ok((seq, database.insert(seq, key).await, false))
    }
}

/// The same, but the highest by text, as invoices were seeded: after 1,000 of them `INV-999` is the highest for ever.
struct ReadHighestText;

#[async_trait]
impl Design for ReadHighestText {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let highest = database
            .statement(|tables| tables.documents.iter().map(|(number, ..)| number.clone()).max())
            .await;
        let highest = highest.and_then(|number| number.strip_prefix("INV-")?.parse::<u64>().ok());
        let seq = highest.unwrap_or(997) + 1;
        Ok((seq, database.insert(seq, key).await, false))
    }
}

/// The first call makes the row with an upsert and reads it with a `SELECT`; later ones `UPDATE … RETURNING`.
struct UpsertThenSelect;

#[async_trait]
impl Design for UpsertThenSelect {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let updated = database.statement(|tables| {
            let counter = tables.counter.as_mut()?;
            *counter += 1;
            Some(*counter)
        });
        let seq = match updated.await {
            Some(seq) => seq,
            None => {
                database.statement(|tables| *tables.counter.get_or_insert(0) += 1).await;
                database.statement(|tables| tables.counter.unwrap_or(0)).await
            }
        };
        Ok((seq, database.insert(seq, key).await, false))
    }
}

/// `$inc` is committed, then the document is saved; and who hears nothing asks again.
struct CounterBeforeDocument;

#[async_trait]
impl Design for CounterBeforeDocument {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let seq = database.statement(|tables| {
            let counter = tables.counter.get_or_insert(0);
            *counter += 1;
            *counter
        });
        let seq = seq.await;
        if database.crashes() {
            return Err(Crashed);
        }
        let number = database.insert(seq, key).await;
        if database.crashes() {
            return Err(Crashed);
        }
        Ok((seq, number, false))
    }
}

/// A hundred ids are taken ahead and handed out from memory; a crash loses the rest of them.
#[derive(Default)]
struct BatchInMemory(tokio::sync::Mutex<(u64, u64)>);

#[async_trait]
impl Design for BatchInMemory {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let mut batch = self.0.lock().await;
        if batch.0 == batch.1 || database.crashes() {
            let to = database.statement(|tables| {
                let counter = tables.counter.get_or_insert(0);
                *counter += 100;
                *counter
            });
            let to = to.await;
            *batch = (to - 100, to);
        }
        batch.0 += 1;
        let seq = batch.0;
        drop(batch);
        Ok((seq, database.insert(seq, key).await, false))
    }
}

/// After three attempts a number from the clock, for somebody to look at later; two processes have one clock.
struct FallbackFromTheClock;

#[async_trait]
impl Design for FallbackFromTheClock {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let second = database.dice.below(20);
        let seq = 1_700_000_000 + second;
        Ok((seq, database.insert(seq, key).await, false))
    }
}

/// What should have been done with the same database: key, counter and document in one transaction.
struct OneTransaction;

#[async_trait]
impl Design for OneTransaction {
    async fn issue(&self, database: &Database, key: &str) -> Result<(u64, String, bool), Crashed> {
        let taken = database.statement(|tables| {
            if let Some((number, seq, _)) = tables.documents.iter().find(|(.., known)| known == key) {
                return (*seq, number.clone(), true);
            }
            let counter = tables.counter.get_or_insert(0);
            *counter += 1;
            let (seq, number) = (*counter, format!("INV-{counter:03}"));
            tables.documents.push((number.clone(), seq, key.to_string()));
            (seq, number, false)
        });
        let taken = taken.await;
        if database.crashes() { Err(Crashed) } else { Ok(taken) }
    }
}

const PLACE: &str = "invoice acme";

/// Callers with keys of their own; who hears nothing asks again, as every client does.
async fn play(design: impl Design, seed: u64, callers: u64) -> BTreeSet<Crime> {
    let database = Database {
        tables: Arc::default(),
        dice: Dice::new(seed),
    };
    let (design, recorder) = (Arc::new(design), Arc::new(Recorder::default()));
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (database, design, recorder) = (database.clone(), design.clone(), recorder.clone());
            tokio::spawn(async move {
                for call in 0..5 {
                    let key = format!("pay_{caller}_{call}");
                    for _ in 0..3 {
                        let call = recorder.invoke(PLACE, &key);
                        match design.issue(&database, &key).await {
                            Ok((seq, number, replayed)) => {
                                let given = Given {
                                    counter: PLACE.to_string(),
                                    seq,
                                    number,
                                    replayed,
                                };
                                recorder.told(call, Told::Done(vec![given]));
                                break;
                            }
                            Err(Crashed) => recorder.told(call, Told::Unknown),
                        }
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller panicked");
    }
    judge(&recorder.calls(), &read_out(&database))
        .into_iter()
        .map(|verdict| verdict.crime)
        .collect()
}

fn read_out(database: &Database) -> Readout {
    let tables = database.tables.lock().expect("not poisoned");
    let entries = tables.documents.iter().map(|(number, seq, key)| EntryRead {
        counter: PLACE.to_string(),
        place: PLACE.to_string(),
        seq: *seq,
        number: number.clone(),
        tag: Some(key.clone()),
        is_replacement: false,
    });
    let highest = tables
        .documents
        .iter()
        .map(|(_, seq, _)| *seq)
        .max()
        .unwrap_or(0)
        .max(tables.highest);
    let first = tables.documents.iter().map(|(_, seq, _)| *seq).min().unwrap_or(1);
    let counter = CounterRead {
        counter: PLACE.to_string(),
        first: if tables.counter.is_some() { 1 } else { first },
        last: highest,
        missing: Vec::new(),
    };
    Readout {
        counters: vec![counter],
        entries: entries.collect(),
    }
}

/// The crimes that a design was convicted of, and in how many of fifty plays.
fn convictions<D: Design>(design: impl Fn() -> D) -> BTreeMap<Crime, u64> {
    convictions_of(design, 20)
}

fn convictions_of<D: Design>(design: impl Fn() -> D, callers: u64) -> BTreeMap<Crime, u64> {
    let mut convictions = BTreeMap::new();
    for seed in 0..50 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        for crime in runtime.expect("a runtime").block_on(play(design(), seed, callers)) {
            *convictions.entry(crime).or_default() += 1;
        }
    }
    eprintln!("{}: {convictions:?}", std::any::type_name::<D>());
    convictions
}

fn is_convicted(convictions: &BTreeMap<Crime, u64>, crime: Crime) -> bool {
    convictions.get(&crime).is_some_and(|plays| *plays >= 25)
}

#[test]
fn read_highest_plus_one_is_convicted_of_duplicates() {
    assert!(is_convicted(&convictions(|| ReadHighestPlusOne), Crime::Duplicate));
}

#[test]
fn the_highest_by_text_is_convicted_of_duplicates() {
    // Nobody else is there; it needs no race.
    assert!(is_convicted(&convictions_of(|| ReadHighestText, 1), Crime::Duplicate));
    assert!(!is_convicted(
        &convictions_of(|| ReadHighestPlusOne, 1),
        Crime::Duplicate
    ));
}

#[test]
fn upsert_then_select_is_convicted_of_duplicates() {
    let convictions = convictions(|| UpsertThenSelect);
    assert!(is_convicted(&convictions, Crime::Duplicate));
    assert!(
        is_convicted(&convictions, Crime::Unaccounted),
        "one seq twice is another one never"
    );
}

#[test]
fn a_counter_committed_before_its_document_is_convicted_of_holes_and_burnt_numbers() {
    let convictions = convictions(|| CounterBeforeDocument);
    assert!(is_convicted(&convictions, Crime::Unaccounted));
    assert!(is_convicted(&convictions, Crime::TakenTwice));
}

#[test]
fn a_batch_in_memory_is_convicted_of_holes() {
    assert!(is_convicted(&convictions(BatchInMemory::default), Crime::Unaccounted));
}

#[test]
fn a_fallback_from_the_clock_is_convicted_of_duplicates() {
    assert!(is_convicted(&convictions(|| FallbackFromTheClock), Crime::Duplicate));
}

#[test]
fn one_transaction_is_acquitted() {
    assert_eq!(convictions(|| OneTransaction), BTreeMap::new());
}

// The naive database needs no more than this from the simulation's dice.
#[test]
fn the_dice_of_a_seed_fall_the_same_way() {
    let draw = |seed| -> Vec<Duration> {
        let dice = Dice::new(seed);
        (0..20).map(|_| dice.millis(1_000)).collect()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
