//! A backup that is restored on its own timeline looks whole from the inside: only who kept a checkpoint outside of it
//! can tell. Restored here is the real data, and no node has lived.

use std::path::Path;
use std::time::{Duration, Instant};

use seriatim_servers_tests::{Postgres, Snapshot};

use super::client::{KEY, call, define, issue, try_issue};
use super::seriatim::{Desk, Ran, Service};

/// A service with a witness that looks often.
fn try_start(desk: &Desk, store: &[&str], witness: &Path) -> Result<(Service, String), Ran> {
    let witness = format!("file:{}", witness.display());
    let flags = [store, &["--witness", &witness, "--witness-every", "100ms"]].concat();
    let service = desk.try_serve(&flags, &[("SERIATIM_ADMIN_KEY", KEY)])?;
    let address = service.url.trim_start_matches("http://").to_string();
    Ok((service, address))
}

fn start(desk: &Desk, store: &[&str], witness: &Path) -> (Service, String) {
    try_start(desk, store, witness).unwrap_or_else(|ran| panic!("it did not start: {ran:?}"))
}

fn wait_for(witness: &Path, seq: u64) {
    let started = Instant::now();
    let wanted = format!("\"last_seq\": {seq},");
    while !std::fs::read_to_string(witness).is_ok_and(|text| text.contains(&wanted)) {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the witness never saw {seq}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn snapshot(server: &mut Postgres) -> Snapshot {
    server.stop_cleanly();
    let snapshot = server.snapshot();
    server.start_again();
    snapshot
}

fn restore(server: &mut Postgres, snapshot: &Snapshot) {
    server.stop_cleanly();
    server.restore(snapshot);
    server.start_again();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_not_issued_from_if_a_witness_knows_more() {
    let mut server = Postgres::start();
    let url = server.url();
    let store = ["--store", &*url];
    let desk = Desk::new();
    let file = desk.path().join("witness.json");
    let (service, address) = start(&desk, &store, &file);
    define(&address).await;
    issue(&address, "a").await;
    issue(&address, "b").await;
    service.stop();
    wait_for(&file, 2);
    let backup = snapshot(&mut server);
    // A store that has all of it is served, as often as it is started.
    let (service, address) = start(&desk, &store, &file);
    assert_eq!(issue(&address, "c").await, "INV-00003");
    assert_eq!(issue(&address, "d").await, "INV-00004");
    wait_for(&file, 4);
    service.kill();

    // Nobody who lived, and no witness: the number that is on a document is given again.
    restore(&mut server, &backup);
    let blind = Desk::new();
    let service = blind.serve_with(&store, &[("SERIATIM_ADMIN_KEY", KEY)]);
    assert_eq!(issue(service.url.trim_start_matches("http://"), "e").await, "INV-00003");
    service.kill();
    // The same with numbers that were given since: as many as before, and other ones.
    let other_tail = try_start(&desk, &store, &file).err().expect("it has another tail");
    assert_eq!(other_tail.code, 3, "{other_tail:?}");

    restore(&mut server, &backup);
    let refused = try_start(&desk, &store, &file).err().expect("it is behind");
    assert_eq!(refused.code, 3, "{refused:?}");
    for said in [
        "found: the witness ",
        "invoice default all: the chain ends at event 2; the checkpoint knows it up to 4",
        "seriatim verify --checkpoint ",
        "seriatim fence open --yes",
        "seriatim advance",
    ] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    // The witness is kept as it was, and nobody else issues either.
    wait_for(&file, 4);
    let (service, address) = start(&Desk::new(), &store, &blind.path().join("own.json"));
    let reply = try_issue(&address, "f").await;
    assert_eq!((reply.status, &*reply.field("code")), (503, "fenced"), "{reply:?}");
    service.stop();
    let shown = desk.run(&["fence", "show", "--store", &url]);
    assert!(shown.code == 3 && shown.stdout.contains("the witness"), "{shown:?}");

    // The way out, as it was told.
    let file_text = file.display().to_string();
    let verified = desk.run(&["verify", "--checkpoint", &file_text, "--store", &url]);
    assert!(
        verified.code == 3 && verified.stdout.contains("tail_cut"),
        "{verified:?}"
    );
    desk.ok(&["fence", "open", "--yes", "--store", &url]);
    desk.ok(&[
        "advance",
        "invoice",
        "--to",
        "4",
        "--reason",
        "restored from backup",
        "--store",
        &url,
    ]);
    let (service, address) = start(&desk, &store, &desk.path().join("next.json"));
    assert_eq!(issue(&address, "g").await, "INV-00005");
    service.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_witness_of_this_service_is_refused() {
    let server = Postgres::start();
    let url = server.url();
    let store = ["--store", &*url];
    let (desk, stranger) = (Desk::new(), Desk::new());
    let file = desk.path().join("witness.json");
    start(&desk, &store, &file).0.stop();
    let foreign = try_start(&stranger, &store, &file).err().expect("it has another key");
    assert!(
        foreign.code == 2 && foreign.stderr.contains("signed by another key"),
        "{foreign:?}"
    );
    let text = std::fs::read_to_string(&file).expect("a witness");
    std::fs::write(&file, text.replace("\"length\": 1", "\"length\": 2")).expect("it is changed");
    let changed = try_start(&desk, &store, &file).err().expect("it was changed");
    assert!(
        changed.code == 2 && changed.stderr.contains("does not match its signature"),
        "{changed:?}"
    );
    let nowhere = try_start(&desk, &store, Path::new("/nowhere/witness.json"))
        .err()
        .expect("no such folder");
    assert!(
        nowhere.code == 2 && nowhere.stderr.contains("cannot write the witness"),
        "{nowhere:?}"
    );
    let ran = desk.run(&["serve", "--store", &url, "--witness", "s3:bucket"]);
    assert!(ran.code == 2 && ran.stderr.contains("write it like file:"), "{ran:?}");
    // None of this has shut the fence.
    desk.ok(&["fence", "show", "--store", &url]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_sqlite_that_was_set_back_is_found_as_well() {
    let desk = Desk::new();
    let (file, database) = (
        desk.path().join("witness.json"),
        desk.path().join("seriatim-data/seriatim.db"),
    );
    let (service, address) = start(&desk, &[], &file);
    define(&address).await;
    issue(&address, "a").await;
    service.stop();
    let backup = std::fs::read(&database).expect("a database");
    let (service, address) = start(&desk, &[], &file);
    issue(&address, "b").await;
    service.stop();
    wait_for(&file, 2);
    std::fs::write(&database, backup).expect("it is put back");
    let refused = try_start(&desk, &[], &file).err().expect("it is behind");
    assert!(
        refused.code == 3 && refused.stderr.contains("knows it up to 2"),
        "{refused:?}"
    );
    assert!(!refused.stderr.contains("fence"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_alone_is_something_new_and_is_missed_when_it_is_gone() {
    let desk = Desk::new();
    let (file, database) = (
        desk.path().join("witness.json"),
        desk.path().join("seriatim-data/seriatim.db"),
    );
    start(&desk, &[], &file).0.stop();
    let backup = std::fs::read(&database).expect("a database");
    let (service, address) = start(&desk, &[], &file);
    let claim = r#"{"effect": "mail", "subject": "pay_1", "ttl": "30s", "holder": "here"}"#;
    let claimed = call(&address, "POST", "/v1/gates/claim", claim)
        .await
        .expect("an answer");
    assert_eq!(claimed.field("outcome"), "won", "{claimed:?}");
    let started = Instant::now();
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&claimed.field("gate"))) {
        assert!(started.elapsed() < Duration::from_secs(10), "the witness never saw it");
        std::thread::sleep(Duration::from_millis(20));
    }
    service.stop();
    std::fs::write(&database, backup).expect("it is put back");
    let refused = try_start(&desk, &[], &file).err().expect("it is behind");
    assert!(
        refused.code == 3
            && refused
                .stderr
                .contains("mail default pay_1: the checkpoint knows the gate"),
        "{refused:?}"
    );
}

/// The loss of a store that has grown longer since than it was: the witness of a node that lives looked only at the ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_that_was_outgrown_is_found_and_what_an_operator_has_decided_stays() {
    let mut server = Postgres::start();
    let url = server.url();
    let store = ["--store", &*url];
    let desk = Desk::new();
    let file = desk.path().join("witness.json");
    let witness = format!("file:{}", file.display());
    let flags = [&store[..], &["--witness", &witness, "--witness-every", "5s"]].concat();
    let other = Desk::new();
    let service = other.serve_with(&store, &[("SERIATIM_ADMIN_KEY", KEY)]);
    define(service.url.trim_start_matches("http://")).await;
    assert_eq!(issue(service.url.trim_start_matches("http://"), "a").await, "INV-00001");
    service.stop();
    let backup = snapshot(&mut server);
    let service = other.serve_with(&store, &[("SERIATIM_ADMIN_KEY", KEY)]);
    // It keeps the witness and issues nothing itself: it has no batch of its own to miss.
    let watching = desk.serve_with(&flags, &[("SERIATIM_ADMIN_KEY", KEY)]);
    let address = watching.url.trim_start_matches("http://").to_string();
    assert_eq!(issue(service.url.trim_start_matches("http://"), "b").await, "INV-00002");
    wait_for(&file, 2);
    service.kill();
    restore(&mut server, &backup);
    let service = other.serve_with(&store, &[("SERIATIM_ADMIN_KEY", KEY)]);
    for (key, number) in [("c", "INV-00002"), ("d", "INV-00003")] {
        let reply = try_issue(service.url.trim_start_matches("http://"), key).await;
        if reply.status != 201 {
            // The watch was quicker than we were.
            assert_eq!(reply.field("code"), "fenced", "{reply:?}");
            break;
        }
        assert_eq!(reply.field("number"), number);
    }
    let started = Instant::now();
    while try_issue(&address, "e").await.status == 201 {
        assert!(started.elapsed() < Duration::from_secs(15), "nobody noticed");
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for(&file, 2);
    // Why is nobody's business who is not asked for a key.
    let page = call(&address, "GET", "/readyz?verbose", "")
        .await
        .expect("an answer")
        .text;
    assert!(page.contains("[!]fence shut\n") && !page.contains("invoice"), "{page}");

    desk.ok(&["fence", "open", "--yes", "--store", &url]);
    desk.ok(&[
        "advance",
        "invoice",
        "--to",
        "20",
        "--reason",
        "looked at",
        "--store",
        &url,
    ]);
    // Longer than until the next look: the same node does not shut it again.
    let kept = desk.path().join("witness.json.before-1");
    let started = Instant::now();
    while !kept.exists() {
        assert!(started.elapsed() < Duration::from_secs(15), "the evidence is not kept");
        std::thread::sleep(Duration::from_millis(100));
    }
    wait_for(&kept, 2);
    wait_for(&file, 20);
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(issue(&address, "f").await, "INV-00021");
    watching.stop();
    service.stop();
    desk.ok(&["fence", "show", "--store", &url]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_cannot_be_written_shows_in_the_metrics() {
    let desk = Desk::new();
    let elsewhere = desk.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a directory");
    let (service, address) = start(&desk, &[], &elsewhere.join("witness.json"));
    let shows = async |value: &str| {
        let wanted = format!("\nseriatim_witness_current {value}\n");
        let started = Instant::now();
        loop {
            let page = call(&address, "GET", "/metrics", "").await.expect("a page");
            if page.text.contains(&wanted) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "it never was {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    define(&address).await;
    issue(&address, "a").await;
    shows("1").await;
    std::fs::remove_dir_all(&elsewhere).expect("it is there");
    // The work goes on meanwhile.
    issue(&address, "b").await;
    shows("0").await;
    std::fs::create_dir(&elsewhere).expect("a directory");
    shows("1").await;
    service.stop();
}
