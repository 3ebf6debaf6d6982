//! Random commands through the door and through the core: the same answers, and the same bytes in the journal.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use seriatim::conformance::SetClock;
use seriatim::conformance::scenario::{Order, Outcome, TakeWords, Which};
use seriatim::store::{CounterFilter, EntryFilter};
use seriatim::{
    Access, Actor, BundledZones, Chain, Event, Failure, Issuer, Memory, Options, Reads as _, Request, SeriesName,
    SeriesSpec, Timestamp,
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

    /// Everything that is hashed, and the hash, as text; one line an event.
    async fn compare_journals(&self) -> usize {
        let sql = "select e.position::text, e.kind, e.seq::text, e.seq_last::text, e.number, e.date::text, e.key, \
                   e.params, e.reference, e.expires_at::text, e.link, e.reason_code, e.reason, \
                   encode(e.document, 'hex'), e.actor, e.on_behalf_of, e.at::text, e.detail, encode(e.hash, 'hex') \
                   from seriatim.event e join seriatim.counter c on c.no = e.chain where c.id = $1 order by e.position";
        let mut compared = 0;
        let counters = self.memory.counters(&CounterFilter::default(), 10_000).await;
        for counter in counters.expect("counters").rows {
            let events = self.memory.events(Chain::Counter(counter.id), 0, 100_000).await;
            let rows = self
                .client
                .query(sql, &[&counter.id.to_string()])
                .await
                .expect("events");
            let written: Vec<Vec<Option<String>>> = rows
                .iter()
                .map(|row| (0..19).map(|i| row.get::<_, Option<String>>(i)).collect())
                .collect();
            let decided: Vec<Vec<Option<String>>> = events.expect("events").iter().map(fields).collect();
            compared += decided.len();
            assert_eq!(written, decided, "counter {}", counter.key);
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

#[tokio::test]
async fn random_commands_are_answered_and_written_as_the_core_does() {
    let seeds = std::env::var("SERIATIM_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(3);
    for seed in 1..=seeds {
        play(seed, 1_000).await;
    }
}
