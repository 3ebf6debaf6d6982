//! Random commands through the door and through the core: the same answers, and the same bytes in the journal.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use seriatim::conformance::SetClock;
use seriatim::conformance::scenario::{GateShown, GateWords, Order, Outcome, PolicyWords, TakeWords, Which};
use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::store::{CounterFilter, EntryFilter};
use seriatim::verify::verify;
use seriatim::{
    Access, Actor, BundledZones, Chain, Event, Failure, GateState, Issuer, Memory, Options, Reads as _, Request,
    SeriesName, SeriesSpec, Timestamp,
};
use tokio_postgres::Client;

use super::Door;
use super::at_door::{SET_CLOCK, ask, set_clock};

const FIRST: i64 = 1_772_445_600_000_000;

struct Both {
    client: Client,
    memory: Memory,
    clock: Arc<SetClock>,
    issuer: Issuer,
}

impl Both {
    async fn open(door: &Door) -> Self {
        let client = door.server.connect(&door.database).await;
        client.batch_execute(SET_CLOCK).await.expect("a clock");
        let memory = Memory::new();
        let clock = Arc::new(SetClock::at(Timestamp::from_micros(FIRST)));
        let options = Options {
            clock: clock.clone(),
            ..Options::default()
        };
        let issuer = Issuer::with(Arc::new(memory.clone()), options)
            .await
            .expect("an issuer");
        let both = Self {
            client,
            memory,
            clock,
            issuer,
        };
        both.at(FIRST).await;
        both
    }

    async fn at(&self, micros: i64) {
        self.clock.set(Timestamp::from_micros(micros));
        set_clock(&self.client, Timestamp::from_micros(micros)).await;
    }

    /// The core decides; the definitions it makes are copied, as the service would write them.
    async fn core(&self, order: &Order) -> Outcome {
        let entry = match order.which() {
            Some(which) => self.find(which).await,
            None => None,
        };
        let now = Timestamp::from_micros(self.clock_micros());
        let command = match order.command(entry, now, &BundledZones) {
            Ok(command) => command.expect("a command"),
            Err(refusal) => return Outcome::of_refusal(&refusal),
        };
        let request = Request {
            actor: Actor::parse("db:postgres").expect("an actor"),
            on_behalf_of: Some(Actor::parse("zoë").expect("an actor")),
            access: Access::full(),
            rehearsal: false,
            command,
        };
        match self.issuer.execute(request).await {
            Ok(answer) => Outcome::of_answer(&answer),
            Err(failure @ Failure::Refused(_)) => Outcome::of_failure(&failure),
            Err(other) => panic!("{other}"),
        }
    }

    fn clock_micros(&self) -> i64 {
        seriatim::Clock::now(&*self.clock).as_micros()
    }

    async fn find(&self, which: &Which) -> Option<seriatim::EntryId> {
        let filter = EntryFilter {
            series: SeriesName::parse(&which.series).into_iter().collect(),
            number: Some(which.number.clone()),
            ..EntryFilter::default()
        };
        let found = self.memory.entries(&filter, 2).await.expect("entries").rows;
        let of_tenant = |tenant: &str| which.tenant.as_ref().is_none_or(|wanted| wanted == tenant);
        found
            .iter()
            .find(|entry| of_tenant(&entry.counter.tenant))
            .map(|entry| entry.id)
    }

    async fn define(&self, name: &str, spec: SeriesSpec) {
        let order = Order::Series {
            name: name.to_string(),
            spec: Box::new(spec),
            if_version: None,
        };
        let answer = self.core(&order).await;
        assert!(answer.is_done(), "{name}: {answer}");
        for series in self.memory.series().await.expect("series") {
            let version = i64::try_from(series.version).expect("small");
            self.client
                .execute(
                    "insert into seriatim.series values ($1, $2, $3) \
                     on conflict (name) do update set version = $2, definition = $3",
                    &[&series.name.as_str(), &version, &series.to_text()],
                )
                .await
                .expect("the definition is written");
        }
    }

    /// Everything that is hashed, and the hash, as text; one line an event. `chain` finds the chain of `id`.
    async fn compare_chain(&self, chain: &str, id: &str, decided: &[Event]) {
        let sql = format!(
            "select e.position::text, e.kind, e.seq::text, e.seq_last::text, e.number, e.date::text, e.key, \
             e.params, e.reference, e.expires_at::text, e.link, e.reason_code, e.reason, \
             encode(e.document, 'hex'), e.actor, e.on_behalf_of, e.at::text, e.detail, encode(e.hash, 'hex') \
             from seriatim.event e where e.chain = ({chain}) order by e.position"
        );
        let rows = self.client.query(&sql, &[&id]).await.expect("events");
        let written: Vec<Vec<Option<String>>> = rows
            .iter()
            .map(|row| (0..19).map(|i| row.get::<_, Option<String>>(i)).collect())
            .collect();
        let decided: Vec<Vec<Option<String>>> = decided.iter().map(fields).collect();
        assert_eq!(written, decided, "{id}");
    }

    async fn compare_journals(&self) -> usize {
        let mut compared = 0;
        let counters = self.memory.counters(&CounterFilter::default(), 10_000).await;
        for counter in counters.expect("counters").rows {
            let events = self.memory.events(Chain::Counter(counter.id), 0, 100_000).await;
            let events = events.expect("events");
            compared += events.len();
            let chain = "select no from seriatim.counter where id = $1";
            self.compare_chain(chain, &counter.id.to_string(), &events).await;
            let row = self
                .client
                .query_one(
                    "select first_seq, last_seq, last_date::text, issued, reserved, voided, missing, length, head \
                     from seriatim.counter where id = $1",
                    &[&counter.id.to_string()],
                )
                .await
                .expect("the counter");
            let numbers: Vec<i64> = [0, 1, 3, 4, 5, 6, 7].map(|i| row.get::<_, i64>(i)).to_vec();
            let counts = counter.counts;
            let expected = [
                counter.first_seq,
                counter.last_seq,
                counts.issued,
                counts.reserved,
                counts.voided,
                counts.missing,
                counter.chain.length,
            ];
            assert_eq!(numbers, expected.map(|n| i64::try_from(n).expect("small")).to_vec());
            assert_eq!(
                row.get::<_, Option<String>>(2),
                counter.last_date.map(|date| date.to_string())
            );
            assert_eq!(row.get::<_, Vec<u8>>(8), counter.chain.head.as_bytes());
        }
        compared
    }

    /// The gates and their chains; the gates as the store reads them.
    async fn compare_gates(&self, store: &Postgres) -> usize {
        let gates = self.memory.gates_by_id(None, 10_000).await.expect("gates");
        assert_eq!(store.gates_by_id(None, 10_000).await.expect("gates"), gates);
        let mut compared = 0;
        for gate in gates {
            let events = self
                .memory
                .events(Chain::Gate(gate.id), 0, 100_000)
                .await
                .expect("events");
            compared += events.len();
            let chain = "select -no from seriatim.gate where id = $1";
            self.compare_chain(chain, &gate.id.to_string(), &events).await;
        }
        compared
    }
}

fn fields(event: &Event) -> Vec<Option<String>> {
    let text = |text: &str| Some(text.to_string());
    vec![
        Some(event.position.to_string()),
        text(event.kind.as_str()),
        event.seq.map(|seq| seq.to_string()),
        event.seq_last.map(|seq| seq.to_string()),
        event.number.as_deref().and_then(text),
        event.date.map(|date| date.to_string()),
        event.key.as_deref().and_then(text),
        (!event.params.is_empty()).then(|| event.params.to_string()),
        event.reference.as_deref().and_then(text),
        event.expires_at.map(|at| at.as_micros().to_string()),
        event.link.map(|id| id.to_string()),
        event.reason_code.as_deref().and_then(text),
        event.reason.as_deref().and_then(text),
        event.document.map(|hash| hash.to_string()),
        text(&event.actor),
        event.on_behalf_of.as_deref().and_then(text),
        Some(event.at.as_micros().to_string()),
        event.detail.as_deref().and_then(text),
        Some(event.hash.to_string()),
    ]
}

fn spec(format: &str, settings: &[(&str, &str)]) -> SeriesSpec {
    let mut spec = SeriesSpec {
        format: format.to_string(),
        ..SeriesSpec::default()
    };
    for (name, value) in settings {
        let value = value.to_string();
        match *name {
            "reset" => spec.reset = Some(value),
            "time_zone" => spec.time_zone = Some(value),
            "date_order" => spec.date_order = Some(value),
            "replay" => spec.replay = Some(value),
            "overflow" => spec.overflow = Some(value),
            "on_expiry" => spec.on_expiry = Some(value),
            "replaces" => spec.replaces = Some(value),
            "start" => spec.start = value.parse().ok(),
            "partition_by" => spec.partition_by = vec![value],
            name => {
                let (kind, rest) = value.split_once(':').expect("a kind");
                let values = rest.split('|').map(str::to_string).collect();
                spec.params.insert(name.to_string(), (kind.to_string(), values));
            }
        }
    }
    spec
}

impl Dice {
    fn gate(&mut self) -> GateWords {
        GateWords {
            effect: match self.0.random_range(0..40) {
                0 => "Mail".to_string(),
                _ => self.of(&["receipt", "mail"]).to_string(),
            },
            subject: match self.0.random_range(0..40) {
                0 => self.of(&["", " a", "é"]).to_string(),
                _ => self.of(&["pay_1", "pay:2 (a)", "~"]).to_string(),
            },
            tenant: self.maybe(3, "acme"),
        }
    }

    /// What its holders, those who were replaced and those who never held it would ask for.
    fn gate_order(&mut self, gate: GateWords, token: u64) -> Order {
        let token = token.saturating_sub(u64::from(self.0.random_range(0..8) == 0));
        let ttl = self.of(&["1s", "5s", "20s", "1h"]).to_string();
        match self.0.random_range(0..20) {
            0..=9 => Order::Claim {
                gate,
                ttl,
                holder: self.of(&["ann", "bøb", "ann", "a\tb"]).to_string(),
                key: self.maybe(6, "k-1"),
                policy: PolicyWords {
                    attempts: (self.0.random_range(0..2) == 0).then(|| self.0.random_range(0..6)),
                    pause: self.maybe(5, "3s"),
                    pause_max: self.maybe(5, "7s"),
                },
            },
            10 => Order::Renew { gate, token, ttl },
            11 => Order::Complete {
                gate,
                token,
                result: self.of(&["{\"a\": 1}", "null", "{", " 7"]).to_string(),
            },
            12..=15 => {
                let error = self.of(&["no paper", "kein Papier — ü", " "]).to_string();
                let retry_in = self.of(&["1s", "9s"]);
                Order::Fail {
                    gate,
                    token,
                    error,
                    retry_in: self.maybe(3, retry_in),
                    give_up: self.0.random_range(0..10) == 0,
                }
            }
            _ if self.0.random_range(0..8) == 0 => Order::Gate(gate),
            // Most are not dead; the commands on those that are come in the middle of all others.
            _ => Order::Retry {
                gate,
                reason: self.of(&["the printer is back", ""]).to_string(),
            },
        }
    }
}

/// Name, format, settings.
type Defined = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Each with the params that its numbers need.
const SERIES: [Defined; 7] = [
    ("plain", "P-{seq:3}", &[]),
    (
        "day",
        "{{{date}}}%\"\\{seq}.ü№",
        &[("reset", "daily"), ("time_zone", "Asia/Kolkata")],
    ),
    (
        "year",
        "{fy:long}/{branch}/{tenant}/{seq:2}",
        &[
            ("reset", "fiscal-year:04-06"),
            ("branch", "digits:1..3"),
            ("partition_by", "branch"),
            ("time_zone", "Europe/London"),
        ],
    ),
    (
        "month",
        "{yy}{month}{branch}-{seq:2}",
        &[
            ("reset", "monthly"),
            ("branch", "one_of:N.1|S_2"),
            ("overflow", "refuse"),
        ],
    ),
    (
        "order",
        "O{branch}-{seq}",
        &[
            ("date_order", "required"),
            ("branch", "letters:1..2"),
            ("replay", "strict"),
        ],
    ),
    (
        "brief",
        "{fy}{fy:start}{fy:end}{seq:4}",
        &[("reset", "fiscal-year:07-01"), ("on_expiry", "void"), ("start", "7")],
    ),
    ("heir", "P-{seq:4}", &[("replaces", "plain"), ("start", "3")]),
];

struct Dice(StdRng);

impl Dice {
    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices.choose(&mut self.0).expect("a choice")
    }

    fn maybe(&mut self, of_ten: u32, text: &str) -> Option<String> {
        (self.0.random_range(0..10) < of_ten).then(|| text.to_string())
    }

    /// Words that mostly fit the series.
    fn take(&mut self, series: &str) -> TakeWords {
        let fits: &[&str] = match series {
            "year" => &["1", "01", "007", "12"],
            "month" => &["N.1", "S_2"],
            "order" => &["a", "ab", "Z"],
            _ => &[],
        };
        let branch = if self.0.random_range(0..12) == 0 {
            let odd = self.of(&["1234", "N", "a1", "", "N-1"]);
            self.maybe(7, odd)
        } else {
            fits.choose(&mut self.0).map(|branch| (*branch).to_string())
        };
        let key = format!("k{}", self.0.random_range(0..300));
        let dates = [
            "2026-03-01",
            "2026-03-02",
            "2026-04-05",
            "2026-04-06",
            "2025-07-01",
            "2026-03-05",
            "2024-01-01",
        ];
        let date = self.of(&dates);
        let documents = ["{\"a\": 1}", "{\"a\": \"\\u0000é\"}", "[[1],{\"a\":[]}]", "7", "null"];
        let broken = [
            "{\"a\":1,\"a\":2}",
            "{",
            "\"\\ud800\"",
            "[1,]",
            "{\"b\": {\"\\u0061\": 1, \"a\": 2}}",
        ];
        let document = if self.0.random_range(0..12) == 0 {
            self.of(&broken)
        } else {
            self.of(&documents)
        };
        let reference = if self.0.random_range(0..20) == 0 {
            " "
        } else {
            self.of(&["order 42", "ümlaut ✓"])
        };
        TakeWords {
            key: Some(key),
            tenant: self.maybe(3, "acme"),
            date: self.maybe(3, date),
            document: self.maybe(4, document),
            reference: self.maybe(3, reference),
            params: branch
                .map(|branch| ("branch".to_string(), branch))
                .into_iter()
                .collect(),
        }
    }

    fn order(&mut self, numbers: &[Which]) -> Order {
        let series = self
            .of(&["plain", "day", "year", "month", "order", "brief", "heir"])
            .to_string();
        let which = numbers.choose(&mut self.0).cloned();
        let which = which.unwrap_or(Which {
            series: series.clone(),
            number: "nothing".to_string(),
            tenant: None,
        });
        let reason = self.of(&["gone", "spoilt — wet", "spoilt", "a\tb"]).to_string();
        match self.0.random_range(0..12) {
            0..=4 => Order::Issue {
                take: self.take(&series),
                series,
            },
            5 | 6 => Order::Reserve {
                take: self.take(&series),
                series,
                ttl: self.of(&["1s", "15m", "20d", "30d", "366d", "0s"]).to_string(),
            },
            7 => Order::Adopt {
                number: match self.0.random_range(0..3) {
                    0 => which.number,
                    _ => self.near(&which.number),
                },
                take: TakeWords {
                    tenant: which.tenant,
                    date: Some(self.of(&["2026-03-01", "2026-03-02", "2026-04-06"]).to_string()),
                    ..self.take(&which.series)
                },
                series: which.series,
            },
            8 => Order::Confirm {
                which,
                document: self.maybe(3, "{\"total\": 7}"),
            },
            9 => Order::Release { which, reason },
            10 => Order::Preview {
                take: TakeWords {
                    key: None,
                    document: None,
                    reference: None,
                    ..self.take(&series)
                },
                series,
                count: 1,
            },
            _ => Order::Void {
                which,
                code: self.of(&["spoiled", "other", "duplicate", "lost"]).to_string(),
                reason,
                reissue: self.0.random(),
            },
        }
    }

    /// A number some places ahead of this one, if its seq ends it.
    fn near(&mut self, number: &str) -> String {
        let head = number.trim_end_matches(|c: char| c.is_ascii_digit());
        let tail = &number[head.len()..];
        let ahead = self.0.random_range(0..6);
        match tail
            .get(tail.len().saturating_sub(2)..)
            .and_then(|digits| digits.parse::<u64>().ok())
        {
            Some(seq) if tail.len() >= 2 => {
                format!("{head}{}{:02}", &tail[..tail.len() - 2], (seq + ahead).min(99))
            }
            Some(_) | None => format!("{head}{}", ahead + 1),
        }
    }
}

async fn play(seed: u64, commands: usize) {
    let door = Door::install();
    let both = Both::open(&door).await;
    both.client
        .batch_execute("set seriatim.actor = 'zoë'")
        .await
        .expect("a setting");
    for (name, format, settings) in SERIES.iter().take(6) {
        both.define(name, spec(format, settings)).await;
    }
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let mut numbers: Vec<Which> = Vec::new();
    let mut now = FIRST;
    let (mut done, mut refused) = (0, 0);
    for i in 0..commands {
        now += dice.0.random_range(0..10_000_000_000);
        both.at(now).await;
        if i == commands / 2 {
            let (name, format, settings) = SERIES[6];
            both.define(name, spec(format, settings)).await;
        }
        let order = dice.order(&numbers);
        // What the door has no word for is not asked at all, so that both stay alike.
        let Some(at_door) = ask(&both.client, &order).await else {
            continue;
        };
        let at_core = both.core(&order).await;
        assert_eq!(at_door, at_core, "seed {seed}, command {i}: {order:?}");
        done += usize::from(at_core.is_done());
        refused += usize::from(!at_core.is_done());
        if let (
            Outcome::Numbers { numbers: shown, .. },
            Order::Issue { series, take } | Order::Reserve { series, take, .. } | Order::Adopt { series, take, .. },
        ) = (&at_core, &order)
        {
            numbers.extend(shown.iter().map(|shown| Which {
                series: series.clone(),
                number: shown.number.clone(),
                tenant: Some(take.tenant.clone().unwrap_or_else(|| "default".to_string())),
            }));
        }
    }
    let compared = both.compare_journals().await;
    assert!(
        done > commands / 5 && refused > commands / 10 && compared > commands / 3,
        "{done} done, {refused} refused, {compared} events"
    );
}

fn seeds(by_default: u64) -> u64 {
    let given = std::env::var("SERIATIM_SEEDS").ok();
    given.and_then(|seeds| seeds.parse().ok()).unwrap_or(by_default)
}

#[tokio::test]
async fn random_commands_are_answered_and_written_as_the_core_does() {
    for seed in 1..=seeds(3) {
        play(seed, 1_000).await;
    }
}

async fn play_gates(door: &Door, seed: u64, commands: usize) {
    let door = door.another();
    let store = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default())
        .await
        .expect("a store");
    let both = Both::open(&door).await;
    let setting = both.client.batch_execute("set seriatim.actor = 'zoë'").await;
    setting.expect("a setting");
    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let mut now = FIRST;
    let (mut done, mut refused) = (0, 0);
    for i in 0..commands {
        // Within a second, within a lease, and past all leases; now and then to the microsecond of its end.
        now += [0, 1, 400_000, 1_000_000, 5_000_000, 30_000_000][dice.0.random_range(0..6)];
        both.at(now).await;
        let words = dice.gate();
        let held = match words.id() {
            Ok(id) => both.memory.gate(id).await.expect("it reads"),
            Err(_) => None,
        };
        // A gate that is done is of no more use here.
        let words = match &held {
            Some(gate) if gate.state == GateState::Done && dice.0.random_range(0..4) > 0 => GateWords {
                subject: format!("pay_{i}"),
                ..words
            },
            _ => words,
        };
        let order = dice.gate_order(words, held.map_or(1, |gate| gate.token));
        let Some(at_door) = ask(&both.client, &order).await else {
            continue;
        };
        let at_core = match &order {
            Order::Gate(gate) => {
                let gate = both
                    .memory
                    .gate(gate.id().expect("good words"))
                    .await
                    .expect("it reads");
                Outcome::Gate {
                    gate: gate.map(|gate| GateShown::of(&gate)),
                    replayed: false,
                }
            }
            order => both.core(order).await,
        };
        assert_eq!(at_door, at_core, "seed {seed}, command {i}: {order:?}");
        done += usize::from(at_core.is_done());
        refused += usize::from(!at_core.is_done());
    }
    let compared = both.compare_gates(&store).await;
    assert!(
        done > commands / 4 && refused > commands / 10 && compared > commands / 4,
        "{done} done, {refused} refused, {compared} events"
    );
    let kinds = door.psql("select string_agg(distinct kind, ' ' order by kind) from seriatim.events");
    assert_eq!(kinds, "claimed completed died expired failed opened retried");
    let report = verify(&store, &seriatim::verify::Options::default(), &|_| {}).await;
    assert!(report.expect("it reads").findings.is_empty());
    store.close().await;
}

#[tokio::test]
async fn random_commands_on_gates_are_answered_and_written_as_the_core_does() {
    let door = Door::install();
    for seed in 1..=seeds(4) {
        play_gates(&door, seed, 1_000).await;
    }
}

#[test]
fn dates_side_by_side_are_printed_as_the_core_does_and_read_back() {
    let door = Door::install();
    for (format, reset, number) in [
        ("{date}{day}-{seq}", "daily", "2026110505-1"),
        ("{yy}{year}-{seq}", "yearly", "262026-1"),
        ("{yy}{date}-{seq}", "daily", "2620261105-1"),
        ("{yy}{yy}{month}{day}{seq:3}", "daily", "26261105001"),
    ] {
        let name = format!("s{number}");
        let settings = [
            ("format", format),
            ("reset", reset),
            ("date_window", "-40000d..+40000d"),
        ];
        super::number_column::define(&door, &name, &settings);
        let next = format!("select seriatim.next('{name}', date => '2026-11-05')");
        assert_eq!(door.psql(&next), number, "{format}");
        let adopted = number.strip_suffix('1').expect("the first").to_string() + "2";
        door.psql(&format!("select seriatim.adopt('{name}', '{adopted}', '2026-11-05')"));
    }
}

#[test]
fn an_entry_is_found_by_an_index_however_many_there_are() {
    let door = Door::install();
    super::number_column::define(&door, "order", &[("format", "O-{seq}")]);
    door.psql("select count(seriatim.next('order')) from generate_series(1, 3000)");
    door.psql("analyze");
    let scans = || door.psql("select seq_scan from pg_stat_user_tables where relname = 'entry'");
    let before = scans();
    door.psql("select seriatim.issue('order', key => 'a'); select seriatim.reserve('order', key => 'b')");
    assert_eq!(scans(), before);
}
