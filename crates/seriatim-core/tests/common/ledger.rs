//! Ledgers: one command a line with what it answers. With `UPDATE_EXPECT=1` the answers write themselves (so a page
//! belongs to one test; what several tests need is asked by [`Ledger::ask`]).
//!
//! ```text
//! at 2026-03-31T23:59:59+05:30
//! issue invoice key=a            -> INV-2526-00001
//! issue invoice key=a branch=7   -> refused key_reused /key
//! ```
//!
//! A word with `=` that is no setting of the verb is a param; `'…'` keeps spaces together; `together A | B` decides
//! several commands in one batch; `rehearse …` decides as if; `as NAME scopes=… tenants=… series=… test` changes who
//! asks.

use std::collections::BTreeMap;

use expect_test::Expect;
use seriatim_core::{
    Access, Actor, Adopt, Answer, ApiKey, ApiScope, Command, Counter, Document, EntriesAnswer, Entry, EntryId, Hash,
    Key, Reason, Reference, Refusal, Request, Series, SeriesName, State, Take, Taken, Tenant, Ttl, Void, VoidReason,
};

use super::world::World;
use super::{BundledZones, at, settings, spec_of, words};

/// A world with somebody who asks.
pub struct Ledger {
    pub world: World,
    actor: Actor,
    access: Access,
    /// Whether refusals are shown with their words.
    with_words: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            world: World::default(),
            actor: Actor::parse("os:ann").expect("an actor"),
            access: Access::full(),
            with_words: false,
        }
    }
}

/// Runs a ledger in an empty world; the world must be in order afterwards.
pub fn ledger(page: Expect) -> World {
    let mut ledger = Ledger::default();
    ledger.run(page);
    ledger.world
}

impl Ledger {
    /// A ledger that shows refusals with their words.
    pub fn with_words() -> Self {
        Self {
            with_words: true,
            ..Self::default()
        }
    }

    /// Runs every line of a page and compares the page; the world must be in order afterwards.
    pub fn run(&mut self, page: Expect) {
        let answered: Vec<String> = page.data().lines().skip(1).map(|line| self.line(line.trim())).collect();
        // The last line is the indentation of the closing quotes.
        let answered = answered[..answered.len() - 1]
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        page.assert_eq(&answered);
        self.world.verify();
    }

    fn line(&mut self, line: &str) -> String {
        if line.is_empty() || line.starts_with('#') {
            return line.to_string();
        }
        let asked = line.split(" -> ").next().unwrap_or(line).trim_end();
        match self.answer(asked) {
            Some(answer) => format!("{asked:<58} -> {answer}"),
            None => asked.to_string(),
        }
    }

    fn answer(&mut self, asked: &str) -> Option<String> {
        let all = words(asked);
        let (verb, rest) = all.split_first().expect("a verb");
        match verb.as_str() {
            "at" => {
                self.world.now = at(&rest[0]);
                None
            }
            "as" => {
                self.become_somebody(rest);
                None
            }
            "show" => Some(show(self.find(&rest[0], &settings(rest)))),
            "counters" => Some(self.counters(&rest[0])),
            _ => Some(self.ask(asked)),
        }
    }

    fn become_somebody(&mut self, rest: &[String]) {
        let given: BTreeMap<&str, &str> = settings(rest).into_iter().collect();
        let list = |name: &str| {
            given
                .get(name)
                .into_iter()
                .flat_map(|list| list.split(',').filter(|part| !part.is_empty()))
        };
        self.actor = Actor::parse(&rest[0]).expect("an actor");
        self.access = Access {
            scopes: list("scopes")
                .map(|scope| ApiScope::parse(scope).expect("a scope"))
                .collect(),
            tenants: list("tenants")
                .map(|tenant| Tenant::parse(tenant).expect("a tenant"))
                .collect(),
            series: list("series")
                .map(|series| SeriesName::parse(series).expect("a series"))
                .collect(),
            test_only: rest.contains(&"test".to_string()),
        };
        if given.is_empty() && !self.access.test_only {
            self.access = Access::full();
        }
    }

    /// Decides one line, or several at once after `together`, and shows the answer.
    pub fn ask(&mut self, asked: &str) -> String {
        let answers = self.decide(asked);
        let shown = answers.iter().map(|answer| match answer {
            Ok(answer) => show_answer(answer),
            Err(refusal) => self.show_refusal(refusal),
        });
        shown.collect::<Vec<_>>().join(" | ")
    }

    /// Decides one line, or several at once after `together`.
    pub fn decide(&mut self, asked: &str) -> Vec<Result<Answer, Refusal>> {
        let asked: Vec<&str> = match asked.strip_prefix("together ") {
            Some(several) => several.split(" | ").collect(),
            None => vec![asked],
        };
        let requests: Result<Vec<Request>, Refusal> = asked.iter().map(|asked| self.request(asked)).collect();
        match requests {
            Ok(requests) => self.world.decide(&requests),
            Err(refusal) => vec![Err(refusal)],
        }
    }

    fn show_refusal(&self, refusal: &Refusal) -> String {
        let mut shown = format!("refused {}", refusal.code);
        if let Some(field) = &refusal.field {
            shown += &format!(" {field}");
        }
        for entry in &refusal.entries {
            shown += &format!(" [{} {}]", entry.number, entry.state.as_str());
        }
        if self.with_words {
            shown += &format!(": {}", refusal.message);
        }
        shown
    }

    /// The request of one line, or why its words are none.
    pub fn request(&self, asked: &str) -> Result<Request, Refusal> {
        let (rehearsal, asked) = match asked.strip_prefix("rehearse ") {
            Some(rest) => (true, rest),
            None => (false, asked),
        };
        Ok(Request {
            actor: self.actor.clone(),
            on_behalf_of: None,
            access: self.access.clone(),
            rehearsal,
            command: self.command(asked)?,
        })
    }

    fn command(&self, asked: &str) -> Result<Command, Refusal> {
        let all = words(asked);
        let (verb, rest) = all.split_first().expect("a verb");
        let given = settings(rest);
        let get = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let flag = |name: &str| rest.iter().any(|word| word == name);
        let reason = || Reason::parse(get("reason").unwrap_or("because"));
        let tenant = || get("tenant").map_or(Ok(Tenant::default()), Tenant::parse);
        let count = |text: &str| text.parse::<u32>().expect("a count");
        let document = || get("doc").map(Document::parse).transpose();
        Ok(match verb.as_str() {
            "issue" => match get("count") {
                Some(times) => Command::IssueCount {
                    series: name(rest)?,
                    take: take(&given)?,
                    count: count(times),
                },
                None => Command::Issue {
                    series: name(rest)?,
                    take: take(&given)?,
                },
            },
            "items" => Command::IssueItems {
                series: name(rest)?,
                items: items(&rest[1..])?,
            },
            "preview" => {
                let count = get("count").map_or(1, count);
                Command::Preview {
                    series: name(rest)?,
                    take: take(&given)?,
                    count,
                }
            }
            "reserve" => Command::Reserve {
                series: name(rest)?,
                take: take(&given)?,
                ttl: Ttl::parse(get("ttl").unwrap_or("1h"))?,
            },
            "adopt" => Command::Adopt {
                series: name(rest)?,
                adopt: adopt(&rest[1], &given)?,
            },
            "adopts" => {
                let items = rest.split(|word| word == "/").skip(1);
                let items = items.map(|words| adopt(&words[0], &settings(&words[1..])));
                let words = rest.split(|word| word == "/").next().unwrap_or_default();
                let reason = settings(words).into_iter().find(|(name, _)| *name == "reason");
                Command::AdoptItems {
                    series: name(rest)?,
                    items: items.collect::<Result<_, _>>()?,
                    missing_reason: reason.map(|(_, reason)| Reason::parse(reason)).transpose()?,
                }
            }
            "confirm" => Command::Confirm {
                entry: self.id(&rest[0], &given)?,
                document: document()?,
            },
            "release" => Command::Release {
                entry: self.id(&rest[0], &given)?,
                reason: reason()?,
            },
            "expire" => Command::Expire {
                entry: self.id(&rest[0], &given)?,
            },
            "redact" => Command::Redact {
                entry: self.id(&rest[0], &given)?,
                reason: reason()?,
            },
            "void" => Command::Void(Void {
                entry: self.id(&rest[0], &given)?,
                reason_code: VoidReason::parse(get("code").unwrap_or("other"))?,
                reason: reason()?,
                reissue: flag("reissue"),
            }),
            "define" => {
                let words = given.iter().copied().filter(|(name, _)| *name != "if");
                let series = Series::define(name(rest)?, &spec_of(words), &BundledZones)?;
                let if_version = get("if").map(|version| version.parse().expect("a version"));
                Command::Define {
                    series: Box::new(series),
                    if_version,
                }
            }
            "close" => Command::Close {
                series: name(rest)?,
                tenant: tenant()?,
                period: rest[1].clone(),
                reason: reason()?,
            },
            "reopen" => Command::Reopen {
                series: name(rest)?,
                tenant: tenant()?,
                period: rest[1].clone(),
                reason: reason()?,
            },
            "advance" => {
                let others = ["to", "period", "reason", "tenant"];
                Command::Advance {
                    series: name(rest)?,
                    tenant: tenant()?,
                    params: params(given.iter().filter(|(name, _)| !others.contains(name))),
                    period: get("period").map(str::to_string),
                    to: get("to").expect("to").parse().expect("a seq"),
                    reason: reason()?,
                }
            }
            "wipe" => Command::Wipe { series: name(rest)? },
            "key" => Command::CreateApiKey(Box::new(ApiKey {
                id: rest[0].clone(),
                label: get("label").unwrap_or("a key").replace("\\n", "\n"),
                secret_sha256: Hash::of(b"secret"),
                access: Access::full(),
                created_at: self.world.now,
                revoked_at: None,
            })),
            "revoke" => Command::RevokeApiKey { id: rest[0].clone() },
            _ => panic!("unknown verb in: {asked}"),
        })
    }

    fn find(&self, number: &str, given: &[(&str, &str)]) -> &Entry {
        let tenant = given
            .iter()
            .find(|(name, _)| *name == "tenant")
            .map(|(_, tenant)| *tenant);
        let fits = |entry: &&std::sync::Arc<Entry>| {
            *entry.number == *number && tenant.is_none_or(|tenant| *entry.counter.tenant == *tenant)
        };
        let mut found = self.world.entries.values().filter(fits);
        match (found.next(), found.next()) {
            (Some(entry), None) => entry,
            (None, _) => panic!("no number {number}"),
            (Some(_), Some(_)) => panic!("several numbers {number}; say tenant=…"),
        }
    }

    fn id(&self, number: &str, given: &[(&str, &str)]) -> Result<EntryId, Refusal> {
        if number.starts_with("ent_") {
            return number.parse();
        }
        Ok(self.find(number, given).id)
    }

    fn counters(&self, series: &str) -> String {
        let counters = self
            .world
            .counters
            .values()
            .filter(|counter| *counter.key.series == *series);
        let lines: Vec<String> = counters.map(|counter| self.counter(counter)).collect();
        if lines.is_empty() {
            "none".into()
        } else {
            lines.join(" | ")
        }
    }

    fn counter(&self, counter: &Counter) -> String {
        let place = counter.key.to_string();
        let place = place.split_once(' ').map_or("", |(_, place)| place);
        let mut line = format!("{place}: {}..{}", counter.first_seq, counter.last_seq);
        let counts = counter.counts;
        let states = [
            ("issued", counts.issued),
            ("reserved", counts.reserved),
            ("voided", counts.voided),
            ("missing", counts.missing),
        ];
        for (state, count) in states.iter().filter(|(_, count)| *count > 0) {
            line += &format!(" {count} {state}");
        }
        for (_, run) in self.world.missing.range((counter.id, 0)..=(counter.id, u64::MAX)) {
            line += &format!(" [{}..{} {}]", run.first, run.last, run.reason);
        }
        line
    }
}

fn name(rest: &[String]) -> Result<SeriesName, Refusal> {
    SeriesName::parse(&rest[0])
}

fn take(given: &[(&str, &str)]) -> Result<Take, Refusal> {
    let get = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let others = ["key", "tenant", "date", "doc", "ref", "count", "ttl"];
    Ok(Take {
        key: get("key").map(Key::parse).transpose()?,
        tenant: get("tenant").map_or(Ok(Tenant::default()), Tenant::parse)?,
        params: params(given.iter().filter(|(name, _)| !others.contains(name))),
        date: get("date").map(str::parse).transpose()?,
        document: get("doc").map(Document::parse).transpose()?,
        reference: get("ref").map(Reference::parse).transpose()?,
    })
}

/// `/ key=a / key=b branch=7`
fn adopt(number: &str, given: &[(&str, &str)]) -> Result<Adopt, Refusal> {
    let Take {
        key,
        tenant,
        document,
        reference,
        date,
        ..
    } = take(given)?;
    Ok(Adopt {
        number: number.to_string(),
        date: date.unwrap_or_else(|| super::date("2026-03-02")),
        tenant,
        key,
        document,
        reference,
    })
}

fn items(rest: &[String]) -> Result<Vec<Take>, Refusal> {
    rest.split(|word| word == "/")
        .filter(|item| !item.is_empty())
        .map(|item| take(&settings(item)))
        .collect()
}

fn params<'a>(given: impl Iterator<Item = &'a (&'a str, &'a str)>) -> BTreeMap<String, String> {
    given
        .map(|(name, value)| ((*name).to_string(), (*value).to_string()))
        .collect()
}

fn show_answer(answer: &Answer) -> String {
    match answer {
        Answer::Entries(entries) => show_entries(entries),
        Answer::Preview(entries) => format!("would be {}", show_entries(entries)),
        Answer::Series { series, changed } => {
            let what = if *changed { "" } else { " unchanged" };
            format!("{} version {}{what}", series.name, series.version)
        }
        Answer::Closure(closure) => {
            let what = if closure.closed { "closed" } else { "open" };
            let counters = closure.counters.iter().map(|counter| {
                let counts = counter.counts;
                format!(
                    " [{}{}..{} issued {} voided {} missing {}]",
                    if counter.partition.is_empty() {
                        String::new()
                    } else {
                        format!("{} ", counter.partition)
                    },
                    counter.first_seq,
                    counter.last_seq,
                    counts.issued,
                    counts.voided,
                    counts.missing
                )
            });
            format!("{} {what}{}", closure.at.period, counters.collect::<String>())
        }
        Answer::Advanced { counter, missing } => {
            format!(
                "{} at {}, {}..{} missing",
                counter.key.period, counter.last_seq, missing.first, missing.last
            )
        }
        Answer::Wiped(series) => format!("{series} is empty"),
        Answer::Claim { gate, .. } | Answer::Gate { gate, .. } => unreachable!("no verb here is about {}", gate.id),
        Answer::ApiKey(key) if key.revoked_at.is_some() => format!("key {} revoked", key.id),
        Answer::ApiKey(key) => format!("key {}", key.id),
    }
}

fn show_entries(answer: &EntriesAnswer) -> String {
    let mut shown = match answer.taken.as_slice() {
        [first, .., last] if answer.taken.len() > 4 => {
            format!("{} … {} ({})", show_taken(first), show_taken(last), answer.taken.len())
        }
        taken => taken.iter().map(show_taken).collect::<Vec<_>>().join(", "),
    };
    if let Some(voided) = &answer.voided {
        shown += &format!(" for {} which is {}", voided.number, voided.state.as_str());
    }
    for warning in &answer.warnings {
        shown += &format!(" ({})", warning.to_text());
    }
    shown
}

fn show_taken(taken: &Taken) -> String {
    let mut shown = taken.entry.number.to_string();
    if taken.entry.state != State::Issued {
        shown += &format!(" {}", taken.entry.state.as_str());
    }
    if taken.replayed {
        shown += " replayed";
    }
    if !taken.differs.is_empty() {
        shown += &format!(" differs in {}", taken.differs.join(", "));
    }
    shown
}

fn show(entry: &Entry) -> String {
    let mut shown = format!("{} {} {}", entry.state.as_str(), entry.date, entry.counter.period);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            shown += &format!(" {name}={value}");
        }
    };
    add("key", entry.key.as_ref().map(ToString::to_string));
    add("params", (!entry.params.is_empty()).then(|| entry.params.to_string()));
    add("ref", entry.reference.as_ref().map(ToString::to_string));
    add(
        "doc",
        entry.document.as_ref().map(|document| document.as_str().to_string()),
    );
    add("redacted", entry.is_redacted().then(|| "yes".into()));
    add("expires", entry.expires_at.map(|at| at.to_string()));
    add("reason_code", entry.reason_code.as_ref().map(ToString::to_string));
    add("reason", entry.reason.as_ref().map(ToString::to_string));
    add("replaces", entry.replaces.map(|id| id.seq.to_string()));
    add("replacement", entry.replacement.map(|id| id.seq.to_string()));
    shown
}
