//! Both doors at once on the same counters: one number a key, whoever asks, and a store that verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use seriatim::conformance::scenario::{GateWords, NumberShown, Order, Outcome, PolicyWords, TakeWords, Which};
use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::verify::verify;
use seriatim::{
    Access, Actor, BundledZones, Clock as _, EntryId, Failure, Issuer, Options, Reads as _, Request, SeriesSpec,
    SystemClock, Timestamp,
};
use tokio_postgres::Client;

use super::Door;
use super::at_door::ask;
use super::number_column::define;

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

fn request(order: &Order, entry: Option<EntryId>) -> Request {
    let command = order.command(entry, Timestamp::from_micros(0), &BundledZones);
    Request {
        actor: Actor::parse("service").expect("an actor"),
        on_behalf_of: None,
        access: Access::full(),
        rehearsal: false,
        command: command.expect("good words").expect("a command"),
    }
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
        let request = request(&order, entry);
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

async fn open(door: &Door) -> (Postgres, Issuer) {
    let store = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default())
        .await
        .expect("a store");
    let options = Options {
        actor: Some(Actor::parse("service").expect("an actor")),
        ..Options::default()
    };
    let issuer = Issuer::with(Arc::new(store.clone()), options).await.expect("an issuer");
    (store, issuer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_doors_at_once_number_once() {
    let door = Door::install();
    let (store, issuer) = open(&door).await;
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

/// One of the two doors to the same gates.
enum Asked {
    Sql(Client),
    Service(Issuer),
}

impl Asked {
    /// Who waited too long for another is told that nothing happened, and asks again.
    async fn answer(&self, order: &Order) -> Outcome {
        loop {
            match self.answer_once(order).await {
                Outcome::Refused { code, .. } | Outcome::Failed(code) if code == "counter_busy" => {}
                heard => return heard,
            }
        }
    }

    async fn answer_once(&self, order: &Order) -> Outcome {
        match self {
            Self::Sql(client) => ask(client, order).await.expect("the door has words for it"),
            Self::Service(issuer) => match issuer.execute(request(order, None)).await {
                Ok(answer) => Outcome::of_answer(&answer),
                Err(failure) => Outcome::of_failure(&failure),
            },
        }
    }

    /// Works on whatever gate it wins until all are done: some it completes, some it gives back, and some it forgets
    /// about, or comes back to when another has taken over. Which tokens it won, and with which of them it completed.
    async fn work(self, holder: String) -> (Vec<Worked>, Vec<Worked>) {
        let (mut won, mut completed) = (Vec::new(), Vec::new());
        let mut late: Option<Order> = None;
        let mut left: Vec<String> = (0..SUBJECTS).map(|i| format!("pay_{i}")).collect();
        while !left.is_empty() {
            let subject = left[rand::rng().random_range(0..left.len())].clone();
            let gate = GateWords {
                effect: "receipt".to_string(),
                subject: subject.clone(),
                tenant: None,
            };
            let claim = Order::Claim {
                gate: gate.clone(),
                ttl: "1s".to_string(),
                holder: holder.clone(),
                key: None,
                policy: PolicyWords {
                    attempts: Some(1_000),
                    ..PolicyWords::default()
                },
            };
            let heard = self.answer(&claim).await;
            let Outcome::Claimed {
                outcome, gate: held, ..
            } = heard
            else {
                panic!("{heard}");
            };
            if outcome == "done" {
                left.retain(|other| *other != subject);
                continue;
            }
            if outcome != "won" {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let token = held.token;
            won.push((subject.clone(), token));
            let complete = Order::Complete {
                gate: gate.clone(),
                token,
                result: format!("{{\"token\": {token}}}"),
            };
            let order = match rand::rng().random_range(0..8) {
                0 => Order::Fail {
                    gate,
                    token,
                    error: "no paper".to_string(),
                    retry_in: Some("1s".to_string()),
                    give_up: false,
                },
                1..=3 => continue,
                4 => match late.replace(complete) {
                    Some(earlier) => earlier,
                    None => continue,
                },
                _ => complete,
            };
            let heard = self.answer(&order).await;
            match (&order, &heard) {
                (Order::Complete { gate, token, .. }, Outcome::Gate { replayed: false, .. }) => {
                    completed.push((gate.subject.clone(), *token));
                }
                (Order::Fail { .. }, Outcome::Gate { .. }) => {}
                (_, Outcome::Refused { code, .. }) if code == "stale_token" => {}
                _ => panic!("{order:?}: {heard}"),
            }
        }
        (won, completed)
    }
}

/// A subject and a token.
type Worked = (String, u64);
const SUBJECTS: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_doors_at_once_let_one_through() {
    let door = Door::install();
    let (store, issuer) = open(&door).await;
    let mut workers = Vec::new();
    for i in 0..CALLERS {
        let client = door.server.connect(&door.database).await;
        workers.push(tokio::spawn(Asked::Sql(client).work(format!("sql-{i}"))));
        workers.push(tokio::spawn(
            Asked::Service(issuer.clone()).work(format!("service-{i}")),
        ));
    }
    let (mut won, mut completed) = (Vec::new(), BTreeMap::new());
    for worker in workers {
        let (theirs, ended) = worker.await.expect("a worker ends");
        won.extend(theirs);
        for (subject, token) in ended {
            let before = completed.insert(subject.clone(), token);
            assert_eq!(before, None, "{subject} was completed twice");
        }
    }
    let tokens: BTreeSet<&Worked> = won.iter().collect();
    assert_eq!(tokens.len(), won.len(), "a token was given twice");
    // What is stored is what the one heard who completed it.
    for gate in store.gates_by_id(None, 1_000).await.expect("gates") {
        let result = gate.result.as_ref().map(|result| result.as_str().to_string());
        let token = completed.get(gate.subject.as_str());
        assert_eq!(
            result,
            token.map(|token| format!("{{\"token\": {token}}}")),
            "{}",
            gate.subject
        );
    }
    assert_eq!(completed.len(), SUBJECTS);
    let took_over = door.psql("select count(*) from seriatim.events where kind = 'expired'");
    // Of those who win nearly half neither complete nor say that they failed, so most gates have several holders.
    assert!(took_over.parse::<u32>().expect("a count") > 10, "{took_over} takeovers");
    let both = "select count(*) from (select from seriatim.events where gate is not null group by gate \
                having count(distinct actor) > 1) g";
    assert!(door.psql(both).parse::<u32>().expect("a count") > 10);
    let report = verify(&store, &seriatim::verify::Options::default(), &|_| {}).await;
    let report = report.expect("it reads");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    issuer.close().await;
}

/// A version of a row with two lockers, a subtransaction and its transaction, is forgotten late and never marked dead in
/// an index; after a crowd each call would look at hundreds of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_one_counter_is_numbered_once_each_and_leaves_no_version_with_two_lockers() {
    const CROWD: u64 = 16;
    const NUMBERS_EACH: u64 = 40;
    let door = Door::install();
    define(&door, "order", &[("format", "O-{seq}")]);
    let multixacts = || door.psql("checkpoint; select next_multixact_id from pg_control_checkpoint()");
    let before = multixacts();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let client = door.server.connect(&door.database).await;
        crowd.spawn(async move {
            let mut numbers = BTreeSet::new();
            for _ in 0..NUMBERS_EACH {
                let row = client.query_one("select seriatim.next('order')", &[]).await;
                numbers.insert(row.expect("a number").get::<_, String>(0));
            }
            numbers
        });
    }
    let numbers: BTreeSet<String> = crowd.join_all().await.into_iter().flatten().collect();
    let expected: BTreeSet<String> = (1..=CROWD * NUMBERS_EACH).map(|seq| format!("O-{seq}")).collect();
    assert_eq!(numbers, expected);
    assert_eq!(multixacts(), before);
}

/// Two transactions with one key on two days: the later one bears a counter, waits, and hears the number of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_leaves_no_counter_behind() {
    let door = Door::install();
    define(&door, "daily", &[("format", "D{date}-{seq}"), ("reset", "daily")]);
    door.psql("select seriatim.next('daily')");
    let waits = async |what: &str| {
        let sql = format!("select count(*) from pg_stat_activity where wait_event = '{what}'");
        while door.psql(&sql) == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let first = door.server.connect(&door.database).await;
    first
        .batch_execute("begin; select seriatim.next('daily', key => 'k')")
        .await
        .expect("a number");
    let second = door.server.connect(&door.database).await;
    let second = tokio::spawn(async move {
        second.batch_execute("begin").await.expect("a transaction");
        let sql = "select seriatim.next('daily', key => 'k', date => current_date - 5)";
        let row = second.query_one(sql, &[]).await.expect("a number");
        (second, row.get::<_, String>(0))
    });
    waits("transactionid").await;
    // Somebody else wants the counter that was just born.
    let third = door.server.connect(&door.database).await;
    let third = tokio::spawn(async move {
        let sql = "select split_part(seriatim.next('daily', date => current_date - 5), '-', 2)";
        third.query_one(sql, &[]).await.expect("a number").get::<_, String>(0)
    });
    waits("advisory").await;
    first.batch_execute("commit").await.expect("a commit");
    let (second, number) = second.await.expect("it ends");
    assert!(number.ends_with("-2"), "{number}");
    second.batch_execute("commit").await.expect("a commit");
    assert_eq!(third.await.expect("it ends"), "1");
    let empty = "select count(*) from seriatim.counter where length = 0";
    assert_eq!(door.psql(empty), "0");

    // Nobody else wants it.
    first
        .batch_execute("begin; select seriatim.next('daily', key => 'l')")
        .await
        .expect("a number");
    let fourth = tokio::spawn(async move {
        let sql = "select seriatim.next('daily', key => 'l', date => current_date - 6)";
        second.query_one(sql, &[]).await.expect("a number").get::<_, String>(0)
    });
    waits("transactionid").await;
    first.batch_execute("commit").await.expect("a commit");
    let number = fourth.await.expect("it ends");
    assert!(number.ends_with("-3"), "{number}");
    assert_eq!(door.psql(empty), "0");
}

/// Nobody who fills a gap of a series and nobody who numbers in its successor sees what the other one binds: their keys
/// are in two lines, and no constraint knows of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_stands_for_one_number_in_a_series_and_its_successor() {
    let door = Door::install();
    let (store, issuer) = open(&door).await;
    for function in ["lock_later_series", "wait_for_series"] {
        door.psql(&format!(
            "alter function seriatim.{function} set lock_timeout = '200ms'"
        ));
    }
    let spec = |format: &str, replaces: Option<&str>| SeriesSpec {
        format: format.to_string(),
        replaces: replaces.map(str::to_string),
        ..SeriesSpec::default()
    };
    issuer.define("old", spec("A-{seq:4}", None)).await.expect("a series");
    door.psql("select seriatim.adopt('old', 'A-0009', current_date)");
    issuer
        .define("new", spec("B-{seq:4}", Some("old")))
        .await
        .expect("a series");
    let today = SystemClock.now().to_string();
    let take = |key: &str, date: Option<&str>| TakeWords {
        key: Some(key.to_string()),
        date: date.map(str::to_string),
        ..TakeWords::default()
    };
    let fill = |number: &str, key: &str| Order::Adopt {
        series: "old".to_string(),
        number: number.to_string(),
        take: take(key, today.split('T').next()),
    };
    let issue = |key: &str| Order::Issue {
        series: "new".to_string(),
        take: take(key, None),
    };
    let doors = [
        Asked::Sql(door.server.connect(&door.database).await),
        Asked::Service(issuer.clone()),
    ];
    let holder = door.server.connect(&door.database).await;
    for (first, second, heard) in [
        (issue("k"), fill("A-0003", "k"), "key_reused"),
        (fill("A-0004", "l"), issue("l"), "A-0004"),
    ] {
        holder.batch_execute("begin").await.expect("a transaction");
        let number = ask(&holder, &first).await.expect("the door has words for it");
        assert!(matches!(number, Outcome::Numbers { .. }), "{number}");
        for asked in &doors {
            let busy = asked.answer_once(&second).await.to_string();
            assert!(busy.contains("counter_busy"), "{second:?}: {busy}");
        }
        holder.batch_execute("commit").await.expect("a commit");
        for asked in &doors {
            let after = asked.answer_once(&second).await.to_string();
            assert!(after.contains(heard), "{second:?}: {after}");
        }
    }
    issuer.close().await;
    store.close().await;
}

// Each of a caller's waits began anew, so that the second in the queue waited nearly twice as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_for_having_waited_before() {
    let door = Door::install();
    define(&door, "order", &[]);
    door.psql("select seriatim.next('order')");
    let mut holding = door.server.connect(&door.database).await;
    let open = holding.transaction().await.expect("a transaction");
    open.query_one("select seriatim.next('order')", &[])
        .await
        .expect("a number");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let client = door.server.connect(&door.database).await;
        waiting.push(tokio::spawn(async move {
            let since = Instant::now();
            let busy = client.query_one("select seriatim.next('order')", &[]).await;
            (busy.expect_err("it is busy"), since.elapsed())
        }));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for waited in waiting {
        let (error, after) = waited.await.expect("it ends");
        assert_eq!(error.code().map(|code| code.code()), Some("SR503"));
        assert!(after < Duration::from_millis(4500), "{after:?}");
    }
}

// The functions take numbers by what a definition was compiled to: nobody else looks at it, so verify does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_is_compiled_otherwise_is_found() {
    let door = Door::install();
    let (store, issuer) = open(&door).await;
    for name in ["order", "slip"] {
        let spec = SeriesSpec {
            format: "N-{seq:4}".to_string(),
            ..SeriesSpec::default()
        };
        issuer.define(name, spec).await.expect("a series");
    }
    // Compiled too.
    door.psql("insert into seriatim.closure values ('slip', 'default', 'all', true, 'done', 'os:ann', 0, '')");
    let found = async || {
        let report = verify(&store, &Default::default(), &|_| {}).await.expect("it reads");
        let plans = report
            .findings
            .into_iter()
            .filter(|finding| finding.code == "plan_differs");
        plans.map(|finding| finding.place).collect::<Vec<_>>()
    };
    assert_eq!(found().await, Vec::<String>::new());
    let columns = door.psql(
        "select string_agg(attname, ' ') from pg_attribute
            where attrelid = 'seriatim.series_plan'::regclass and attnum > 0 and not attisdropped and attname <> 'name'",
    );
    for column in columns.split_whitespace() {
        door.psql("create table before as select * from seriatim.series_plan");
        let other = another_value(&door, column);
        door.psql(&format!(
            "update seriatim.series_plan set {column} = {other} where name = 'order'"
        ));
        assert_eq!(found().await, ["order"], "{column}");
        door.psql(
            "begin; delete from seriatim.series_plan; insert into seriatim.series_plan select * from before;
            drop table before; commit",
        );
    }
    door.psql("delete from seriatim.series_plan where name = 'slip'");
    assert_eq!(found().await, ["slip"]);
    door.psql("update seriatim.series set version = version");
    assert_eq!(found().await, Vec::<String>::new());
    issuer.close().await;
    store.close().await;
}

// Each row is looked at from its counter or its gate: without those nobody would see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_belong_to_nothing_are_found() {
    let door = Door::install();
    let (store, issuer) = open(&door).await;
    let spec = SeriesSpec {
        format: "O-{seq:4}".to_string(),
        ..SeriesSpec::default()
    };
    issuer.define("order", spec).await.expect("a series");
    door.psql("select seriatim.next('order', key => 'k' || i) from generate_series(1, 3) i");
    door.psql("select seriatim.gate_claim('mail', 'pay_1', '1 minute', 'here')");
    let found = async |work: &str| {
        door.psql(&format!(
            "create schema kept; create table kept.entry as table seriatim.entry; \
             create table kept.counter as table seriatim.counter; create table kept.gate as table seriatim.gate; {work}"
        ));
        let report = verify(&store, &Default::default(), &|_| {}).await.expect("it reads");
        door.psql(
            "delete from seriatim.entry; delete from seriatim.counter; delete from seriatim.gate;
             insert into seriatim.counter overriding system value table kept.counter;
             insert into seriatim.entry overriding system value table kept.entry;
             insert into seriatim.gate overriding system value table kept.gate; drop schema kept cascade",
        );
        let findings = report
            .findings
            .into_iter()
            .map(|finding| format!("{} {}", finding.code, finding.place));
        findings.collect::<Vec<_>>()
    };
    assert_eq!(found("").await, Vec::<String>::new());
    let strays = found("delete from seriatim.counter").await;
    assert_eq!(strays, ["stray_rows entries", "stray_rows events", "stray_rows keys"]);
    assert_eq!(found("delete from seriatim.gate").await, ["stray_rows events"]);
    let misfiled = found("update seriatim.entry set line = line + 100 where seq = 2").await;
    assert!(
        misfiled.iter().any(|found| found.starts_with("entry_misfiled ent_")),
        "{misfiled:?}"
    );
    issuer.close().await;
    store.close().await;
}

/// Something else that this column of a plan may hold.
fn another_value(door: &Door, column: &str) -> String {
    let kind = door.psql(&format!(
        "select format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = 'seriatim.series_plan'::regclass and attname = '{column}'"
    ));
    let value = match kind.as_str() {
        "text" => "'other'",
        "bigint" | "integer" => "77",
        "boolean" => return format!("not {column}"),
        "text[]" => "array['other']",
        "boolean[]" => "array[true]",
        "date" => "date '1999-01-01'",
        "int4range" => "int4range(1, 2)",
        other => panic!("{column} is {other}"),
    };
    value.to_string()
}
