//! A real server is killed at random while clients issue, and started again.
//!
//! Everything that was acknowledged must be there, accounted for and chained, and every key that got no answer must
//! replay to one number. `SERIATIM_KILLS` says how often it is killed (10 by default; CI: 100).

#![allow(clippy::print_stdout, reason = "says how many numbers were acknowledged")]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use process::{Server, cli, entries, post, put};
use rand::RngExt as _;

const CLIENTS: u64 = 8;

/// What the clients know: the number of each key that was answered, and the keys that were not.
#[derive(Debug, Default)]
struct Known {
    answered: BTreeMap<String, String>,
    unanswered: BTreeSet<String>,
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let kills: u32 = std::env::var("SERIATIM_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let defined = put(&server.address, "/v1/series/invoice", r#"{"format": "INV-{seq:5}"}"#).unwrap();
    assert_eq!(defined.status, 201, "{}", defined.body);

    let known = Arc::new(Mutex::new(Known::default()));
    let next_key = Arc::new(AtomicU64::new(1));
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = clients(&server, &known, &next_key, &stop);
        let pause = rand::rng().random_range(1_000..120_000);
        std::thread::sleep(Duration::from_micros(pause));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.start_again();
        settle(&server, &mut known.lock().unwrap(), round);
    }
    judge(&server, &known.lock().unwrap());
}

// A backup opened the store as a writer does, and closed it as one: keys that the server had bound in between were forgotten.
#[test]
fn who_looks_beside_the_server_makes_no_key_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    put(&server.address, "/v1/series/invoice", r#"{"format": "INV-{seq:5}"}"#).unwrap();
    let known = Arc::new(Mutex::new(Known::default()));
    let (next_key, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    let clients = clients(&server, &known, &next_key, &stop);
    for round in 0..4 {
        let copy = folder.path().join(format!("copy-{round}.db"));
        let made = cli(folder.path(), &["backup", copy.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        let looked = cli(folder.path(), &["doctor"]);
        assert!(looked.status.success(), "{looked:?}");
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let known = known.lock().unwrap();
    assert!(known.unanswered.is_empty() && known.answered.len() > 50, "{known:?}");
    for (key, number) in &known.answered {
        let again = issue(&server.address, key).unwrap();
        assert_eq!((again.replayed, &again.text("number")), (true, number), "{key}");
    }
    let verified = cli(folder.path(), &["verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

/// Several at once.
fn clients(
    server: &Server,
    known: &Arc<Mutex<Known>>,
    next_key: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let start = |_| {
        let (address, known) = (server.address.clone(), known.clone());
        let (next_key, stop) = (next_key.clone(), stop.clone());
        std::thread::spawn(move || client(&address, &known, &next_key, &stop))
    };
    (0..CLIENTS).map(start).collect()
}

/// Issues with fresh keys until told to stop.
fn client(address: &str, known: &Mutex<Known>, next_key: &AtomicU64, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let key = format!("pay_{}", next_key.fetch_add(1, Ordering::Relaxed));
        let answer = issue(address, &key);
        let mut known = known.lock().unwrap();
        match answer {
            Ok(answer) if answer.status == 201 => {
                known.answered.insert(key, answer.text("number"));
            }
            Ok(_) | Err(_) => {
                known.unanswered.insert(key);
            }
        }
    }
}

fn issue(address: &str, key: &str) -> std::io::Result<process::Answer> {
    let body = format!(r#"{{"key": "{key}", "document": {{"payment": "{key}"}}}}"#);
    post(address, "/v1/series/invoice/entries", &body)
}

/// After a restart every key without an answer gets one, and it stays.
fn settle(server: &Server, known: &mut Known, round: u32) {
    for key in std::mem::take(&mut known.unanswered) {
        let first = issue(&server.address, &key).unwrap();
        assert_eq!(first.status, 201, "round {round}, key {key}: {}", first.body);
        let second = issue(&server.address, &key).unwrap();
        assert!(
            second.replayed,
            "round {round}: the second answer for {key} is not marked as a replay"
        );
        assert_eq!(
            first.text("number"),
            second.text("number"),
            "round {round}: {key} has two numbers"
        );
        known.answered.insert(key, first.text("number"));
    }
}

fn judge(server: &Server, known: &Known) {
    let stored = entries(&server.address, "invoice");
    let by_key: BTreeMap<&String, &String> = stored.iter().map(|(_, number, key)| (key, number)).collect();
    assert_eq!(by_key.len(), stored.len(), "a key has two numbers");
    for (key, number) in &known.answered {
        assert_eq!(by_key.get(key), Some(&number), "{key} was acknowledged as {number}");
    }
    assert_eq!(
        stored.len(),
        known.answered.len(),
        "there is a number that nobody asked for"
    );
    let seqs: BTreeSet<u64> = stored.iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(
        seqs,
        (1..=stored.len() as u64).collect(),
        "the series has a hole or a number twice"
    );
    let verified = cli(&server.folder, &["verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    println!("{} numbers acknowledged, none lost", stored.len());
    assert!(!stored.is_empty());
}
