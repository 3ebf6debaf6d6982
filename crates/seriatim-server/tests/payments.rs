//! Recipe A under load: a thousand payments at once, each sent three times with its key.

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use process::{Server, entries, post, put};

const PAYMENTS: u64 = 1_000;
const TIMES: u64 = 3;

/// The series of recipe A, as its page defines it.
fn define(server: &Server) {
    let body = r#"{"format": "INV-{fy}{admin}{channel}{seq:5}", "reset": "fiscal-year:04-01",
        "time_zone": "Asia/Kolkata", "params": {"admin": {"digits": 3}, "channel": {"digits": 3}}}"#;
    let defined = put(&server.address, "/v1/series/invoice", body).unwrap();
    assert_eq!(defined.status, 201, "{}", defined.body);
}

fn pay(address: &str, payment: u64) -> std::io::Result<process::Answer> {
    let body = format!(r#"{{"key": "pay_{payment}", "params": {{"admin": "11", "channel": "022"}}}}"#);
    post(address, "/v1/series/invoice/entries", &body)
}

/// Sends every payment three times from many threads; what was answered, by payment.
fn send_all(server: &Server, meanwhile: impl FnOnce()) -> BTreeMap<u64, Vec<(String, bool)>> {
    let threads = 100;
    let start = Arc::new(Barrier::new(threads + 1));
    let senders: Vec<_> = (0..threads as u64)
        .map(|thread| {
            let (address, start) = (server.address.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                let mut answers = Vec::new();
                // Every payment is sent by three different threads at about the same time.
                for i in (thread..PAYMENTS * TIMES).step_by(100) {
                    let payment = i / TIMES + 1;
                    if let Ok(answer) = pay(&address, payment)
                        && answer.status == 201
                    {
                        answers.push((payment, answer.text("number"), answer.replayed));
                    }
                }
                answers
            })
        })
        .collect();
    start.wait();
    meanwhile();
    let mut by_payment: BTreeMap<u64, Vec<(String, bool)>> = BTreeMap::new();
    for sender in senders {
        for (payment, number, replayed) in sender.join().unwrap() {
            by_payment.entry(payment).or_default().push((number, replayed));
        }
    }
    by_payment
}

fn judge(server: &Server) {
    let stored = entries(&server.address, "invoice");
    let seqs: BTreeSet<u64> = stored.iter().map(|(seq, _, _)| *seq).collect();
    assert_eq!(stored.len() as u64, PAYMENTS);
    assert_eq!(seqs, (1..=PAYMENTS).collect());
    let numbers: BTreeSet<&String> = stored.iter().map(|(_, number, _)| number).collect();
    assert_eq!(numbers.len() as u64, PAYMENTS, "a number was issued twice");
}

#[test]
fn a_thousand_payments_sent_three_times_take_exactly_a_thousand_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    define(&server);
    let answers = send_all(&server, || {});
    assert_eq!(answers.len() as u64, PAYMENTS);
    for (payment, answers) in &answers {
        assert_eq!(
            answers.len() as u64,
            TIMES,
            "payment {payment} has not got all its answers"
        );
        let numbers: BTreeSet<&String> = answers.iter().map(|(number, _)| number).collect();
        assert_eq!(numbers.len(), 1, "payment {payment} has two numbers");
        let fresh = answers.iter().filter(|(_, replayed)| !replayed).count();
        assert_eq!(
            fresh, 1,
            "payment {payment}: every answer but one is marked as a replay"
        );
    }
    judge(&server);
}

#[test]
fn the_same_with_the_server_killed_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    define(&server);
    let address = server.address.clone();
    let lost = {
        let process = server.process();
        send_all(&server, move || {
            std::thread::sleep(Duration::from_millis(150));
            let killed = std::process::Command::new("kill")
                .args(["-9", &process.to_string()])
                .status()
                .unwrap();
            assert!(killed.success());
        })
    };
    assert!(
        (lost.len() as u64) < PAYMENTS,
        "the server was killed too late to matter"
    );
    server.kill();
    server.start_again();
    for payment in 1..=PAYMENTS {
        let answer = pay(&address, payment).unwrap();
        assert_eq!(answer.status, 201, "{}", answer.body);
        for (number, _) in lost.get(&payment).into_iter().flatten() {
            assert_eq!(
                *number,
                answer.text("number"),
                "payment {payment} was acknowledged with another number"
            );
            assert!(answer.replayed);
        }
    }
    judge(&server);
}
