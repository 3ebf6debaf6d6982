//! Three real servers on one database, one of them killed at random while clients send each key to all of them.
//! `SERIATIM_NODE_KILLS` says how often (6; CI: 20).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use ::seriatim::Issuer;
use ::seriatim::conformance::history::{Given, Readout, Recorder, Told, judge, place};
use ::seriatim::store::postgres::{Postgres as Stored, PostgresOptions};
use rand::RngExt as _;
use seriatim_servers_tests::Postgres;

use super::client::{KEY, Reply, call};
use super::seriatim::{Desk, Service};

const NODES: usize = 3;
const CLIENTS: u32 = 6;
/// Where each node answers now; a node that is started again has another port.
type Addresses = Arc<RwLock<Vec<String>>>;

fn told(answer: &std::io::Result<Reply>) -> Told {
    let Ok(Reply {
        status, replayed, text, ..
    }) = answer
    else {
        return Told::Unknown;
    };
    // Half a body does not read as JSON.
    let Ok(body) = serde_json::from_str::<serde_json::Value>(text) else {
        return Told::Unknown;
    };
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_string();
    match status {
        201 => Told::Done(vec![Given {
            counter: format!("invoice {} all", text("tenant")),
            seq: body["seq"].as_u64().expect("a seq"),
            number: text("number"),
            replayed: *replayed,
        }]),
        // What a problem says of itself is what a client relies on.
        _ if text("outcome") == "nothing" => Told::Nothing,
        _ if text("outcome") == "unknown" => Told::Unknown,
        _ => panic!("{status}: {body}"),
    }
}

async fn issue(address: &str, recorder: &Recorder, tenant: &str, key: &str) -> Told {
    let at = recorder.invoke(&place("invoice", tenant), key);
    let body = format!(r#"{{"key": "{key}", "tenant": "{tenant}"}}"#);
    let told = told(&call(address, "POST", "/v1/series/invoice/entries", &body).await);
    recorder.told(at, told.clone());
    told
}

fn start(desk: &Desk, url: &str) -> (Service, String) {
    let service = desk.serve_with(&["--store", url], &[("SERIATIM_ADMIN_KEY", KEY)]);
    let address = service.url.trim_start_matches("http://").to_string();
    (service, address)
}

fn tenant_of(i: u32) -> &'static str {
    ["acme", "zenith"][i as usize % 2]
}

/// Sends each key to all nodes at once, until told to stop.
async fn client(addresses: Addresses, recorder: Arc<Recorder>, next: Arc<AtomicU32>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let i = next.fetch_add(1, Ordering::Relaxed);
        let now = addresses.read().expect("no panic").clone();
        let (tenant, key) = (tenant_of(i), format!("pay_{i}"));
        let calls = now.iter().map(|address| {
            let (address, recorder, key) = (address.clone(), recorder.clone(), key.clone());
            tokio::spawn(async move { issue(&address, &recorder, tenant, &key).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_on_one_database_number_once_though_they_are_killed() {
    let kills: u32 = std::env::var("SERIATIM_NODE_KILLS").map_or(6, |kills| kills.parse().expect("a number"));
    let server = Postgres::start();
    let url = server.url_of(&server.create_database());
    let desks: Vec<Desk> = (0..NODES).map(|_| Desk::new()).collect();
    let (mut services, started): (Vec<_>, Vec<_>) = desks.iter().map(|desk| start(desk, &url)).unzip();
    let addresses: Addresses = Arc::new(RwLock::new(started));
    let first = addresses.read().expect("no panic")[0].clone();
    let defined = call(&first, "PUT", "/v1/series/invoice", r#"{"format": "INV-{seq:5}"}"#).await;
    assert_eq!(defined.expect("an answer").status, 201);

    let recorder = Arc::new(Recorder::default());
    let (next, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(addresses.clone(), recorder.clone(), next.clone(), stop.clone())))
        .collect();
    for _ in 0..kills {
        let pause = rand::rng().random_range(50_000..400_000);
        tokio::time::sleep(Duration::from_micros(pause)).await;
        let victim = rand::rng().random_range(0..NODES);
        services.remove(victim).kill();
        let (service, address) = tokio::task::block_in_place(|| start(&desks[victim], &url));
        services.insert(victim, service);
        addresses.write().expect("no panic")[victim] = address;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no panic");
    }

    let keys = next.load(Ordering::Relaxed);
    settle(&addresses, &recorder, keys).await;
    must_be_in_order(&url, &recorder, keys).await;
    say(&recorder, kills, keys);
    for service in services {
        service.stop();
    }
    let verified = desks[0].run(&["verify", "--store", &url]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

/// Whatever was unknown must turn out one way, on each node.
async fn settle(addresses: &Addresses, recorder: &Recorder, keys: u32) {
    let addresses = addresses.read().expect("no panic").clone();
    for i in 0..keys {
        let started = Instant::now();
        let node = &addresses[i as usize % NODES];
        while !matches!(
            issue(node, recorder, tenant_of(i), &format!("pay_{i}")).await,
            Told::Done(_)
        ) {
            assert!(started.elapsed() < Duration::from_secs(60), "pay_{i} gets no answer");
        }
    }
}

async fn must_be_in_order(url: &str, recorder: &Recorder, keys: u32) {
    let store = Stored::open(url, PostgresOptions::default()).await.expect("a store");
    let issuer = Issuer::open(store.clone()).await.expect("it can be read");
    let readout = Readout::of(issuer.reads()).await.expect("it can be read");
    let verdicts = judge(&recorder.calls(), &readout);
    assert!(verdicts.is_empty(), "{verdicts:?}");
    let last: u64 = readout.counters.iter().map(|counter| counter.last).sum();
    assert_eq!(last, u64::from(keys), "one number a key, and no other");
    store.close().await;
}

fn say(recorder: &Recorder, kills: u32, keys: u32) {
    let (mut done, mut nothing, mut unknown) = (0, 0, 0);
    for call in recorder.calls() {
        match call.told {
            Told::Done(_) => done += 1,
            Told::Nothing => nothing += 1,
            Told::Unknown => unknown += 1,
            Told::Refused => panic!("{call:?} was refused"),
        }
    }
    eprintln!("{kills} kills, {keys} keys; callers were told: done {done}, nothing {nothing}, unknown {unknown}");
    assert!(keys > 50 && done > 100);
}
