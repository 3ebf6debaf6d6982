//! Both doors at once on the same counters: one number a key, whoever asks, and a store that verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::RngExt as _;
use seriatim::conformance::scenario::{NumberShown, Order, Outcome, TakeWords, Which};
use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::verify::verify;
use seriatim::{
    Access, Actor, BundledZones, Clock as _, Failure, Issuer, Options, Request, SeriesSpec, SystemClock, Timestamp,
};
use tokio_postgres::Client;

use super::Door;
use super::at_door::ask;

const CALLERS: usize = 6;
const COMMANDS_EACH: usize = 100;
const KEYS: u32 = 400;

/// Who got which number for which (series, tenant, key).
type Heard = BTreeMap<(String, String, String), BTreeSet<String>>;

fn command(known: &[Which]) -> Order {
    let mut dice = rand::rng();
    let mut one = |of: &[&str]| of[dice.random_range(0..of.len())].to_string();
    let series = one(&["order", "invoice", "slip"]);
    let tenant = one(&["default", "acme"]);
    let yesterday = SystemClock.now().plus_seconds(-86_400).to_string();
    let date = (one(&["y", "n", "n"]) == "y").then(|| yesterday.split('T').next().unwrap_or_default().to_string());
    let params = (series == "invoice").then(|| ("branch".to_string(), one(&["1", "2"])));
    let words = one(&["{\"a\": 1}", ""]);
    let verb = rand::rng().random_range(0..10);
    // With few keys the same one is often asked for at both doors at once.
    let key = format!("k{}", rand::rng().random_range(0..KEYS));
    let take = TakeWords {
        // The key tells the params, so that asking again is the same request.
        params: params
            .map(|(name, _)| (name, (key.len() % 2 + 1).to_string()))
            .into_iter()
            .collect(),
        key: Some(format!("{key}{}", if verb == 6 { "r" } else { "" })),
        tenant: Some(tenant),
        date,
        document: (!words.is_empty()).then_some(words),
        reference: None,
    };
    let ttl = "15m".to_string();
    let which = || known.get(rand::rng().random_range(0..known.len().max(1))).cloned();
    match (verb, which()) {
        (7, Some(which)) => Order::Void {
            which,
            code: "other".to_string(),
            reason: "for the test".to_string(),
            reissue: rand::rng().random(),
        },
        (8, Some(which)) => Order::Confirm { which, document: None },
        (9, Some(which)) => Order::Release {
            which,
            reason: "not used".to_string(),
        },
        (6, _) => Order::Reserve { series, take, ttl },
        _ => Order::Issue { series, take },
    }
}

fn hear(heard: &mut Heard, known: &mut Vec<Which>, order: &Order, outcome: &Outcome) {
    let (Order::Issue { series, take } | Order::Reserve { series, take, .. }, Outcome::Numbers { numbers, .. }) =
        (order, outcome)
    else {
        return;
    };
    for NumberShown { number, .. } in numbers {
        let tenant = take.tenant.clone().unwrap_or_default();
        let key = (series.clone(), tenant.clone(), take.key.clone().unwrap_or_default());
        heard.entry(key).or_default().insert(number.clone());
        known.push(Which {
            series: series.clone(),
            number: number.clone(),
            tenant: Some(tenant),
        });
    }
}

async fn through_sql(client: Client) -> Heard {
    let (mut heard, mut known) = (Heard::new(), Vec::new());
    for _ in 0..COMMANDS_EACH {
        let order = command(&known);
        for _ in 0..20 {
            let outcome = ask(&client, &order).await.expect("the door has words for it");
            hear(&mut heard, &mut known, &order, &outcome);
            match outcome {
                Outcome::Refused { code, .. } if code == "counter_busy" => {}
                Outcome::Failed(what) => panic!("{what}: {order:?}"),
                _ => break,
            }
        }
    }
    heard
}

async fn through_the_service(issuer: Issuer, client: Client) -> Heard {
    let (mut heard, mut known) = (Heard::new(), Vec::new());
    for _ in 0..COMMANDS_EACH {
        let order = command(&known);
        let entry = match order.which() {
            Some(which) => super::at_door::id_of(&client, which)
                .await
                .map(|id| id.parse().expect("an id")),
            None => None,
        };
        let command = order.command(entry, Timestamp::from_micros(0), &BundledZones);
        let request = Request {
            actor: Actor::parse("service").expect("an actor"),
            on_behalf_of: None,
            access: Access::full(),
            rehearsal: false,
            command: command.expect("good words").expect("a command"),
        };
        for _ in 0..20 {
            match issuer.execute(request.clone()).await {
                Ok(answer) => {
                    hear(&mut heard, &mut known, &order, &Outcome::of_answer(&answer));
                    break;
                }
                Err(Failure::Refused(_)) => break,
                Err(Failure::Corrupt { message }) => panic!("{message}"),
                Err(_) => {}
            }
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_doors_at_once_number_once() {
    let door = Door::install();
    let store = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default())
        .await
        .expect("a store");
    let options = Options {
        actor: Some(Actor::parse("service").expect("an actor")),
        ..Options::default()
    };
    let issuer = Issuer::with(Arc::new(store.clone()), options).await.expect("an issuer");
    let series = [
        ("order", "O-{date}-{seq:4}", Some("daily"), None),
        ("invoice", "{branch}/{year}-{seq:5}", Some("yearly"), Some("digits")),
        ("slip", "S{seq}", None, None),
    ];
    for (name, format, reset, params) in series {
        let mut spec = SeriesSpec {
            format: format.to_string(),
            reset: reset.map(str::to_string),
            ..SeriesSpec::default()
        };
        if let Some(kind) = params {
            spec.params
                .insert("branch".to_string(), (kind.to_string(), vec!["2".to_string()]));
            spec.partition_by = vec!["branch".to_string()];
        }
        issuer.define(name, spec).await.expect("a series");
    }
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let client = door.server.connect(&door.database).await;
        callers.push(tokio::spawn(through_sql(client)));
        let client = door.server.connect(&door.database).await;
        callers.push(tokio::spawn(through_the_service(issuer.clone(), client)));
    }
    let mut heard = Heard::new();
    for caller in callers {
        for (key, numbers) in caller.await.expect("a caller ends") {
            heard.entry(key).or_default().extend(numbers);
        }
    }
    // One key, one number, whichever door was asked.
    let twice: Vec<_> = heard.iter().filter(|(_, numbers)| numbers.len() > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let report = verify(&store, &seriatim::verify::Options::default(), &|_| {})
        .await
        .expect("it reads");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let actors = door
        .psql("select string_agg(distinct actor, ' ' order by actor) from seriatim.events where counter is not null");
    assert_eq!(actors, "db:postgres service");
    assert!(report.progress.events > 300, "{} events", report.progress.events);
    issuer.close().await;
}
