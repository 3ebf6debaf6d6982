//! Where scenarios are run: at the pure decision, and at any store through the issuer. Other surfaces implement
//! [`Boundary`] where they live.

use std::sync::Arc;

use async_trait::async_trait;
use seriatim_core::{Access, Actor, Entry, EntryId, Params, Request, SeriesName, Tenant, Timestamp};

use super::ask::{Ask, Order, Which};
use super::outcome::{EntryShown, GateShown, Outcome};
use crate::audit::gaps;
use crate::conformance::SetClock;
use crate::conformance::ledger::Ledger;
use crate::failure::Failure;
use crate::issuer::{Issuer, Options};
use crate::store::{CounterFilter, EntryFilter, Reads, Store, StoreError};
use crate::verify::verify;
use crate::zones::BundledZones;

/// A surface that scenarios can be run at.
#[async_trait]
pub trait Boundary: Send {
    /// From now on it is this time, for the issuer too.
    fn set_clock(&mut self, now: Timestamp);

    /// Asks, and tells what was answered.
    async fn answer(&mut self, ask: &Ask) -> Outcome;

    /// A new process goes on with the same store, where there is such a thing.
    async fn restart(&mut self) {}
}

/// What a scenario's clock shows before the first `at`: 2026-03-02T10:00:00Z.
const FIRST: i64 = 1_772_445_600_000_000;

/// The pure decision upon plain maps: no issuer, no store.
pub struct AtDecide {
    now: Timestamp,
    ledger: Ledger,
}

impl Default for AtDecide {
    fn default() -> Self {
        Self {
            now: Timestamp::from_micros(FIRST),
            ledger: Ledger::default(),
        }
    }
}

#[async_trait]
impl Boundary for AtDecide {
    fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
    }

    async fn answer(&mut self, ask: &Ask) -> Outcome {
        match &ask.order {
            Order::Counter {
                series,
                tenant,
                period,
                params,
            } => Outcome::of_counters(self.ledger.counters().filter(|counter| {
                let key = &counter.key;
                key.series.as_str() == series
                    && tenant.as_ref().is_none_or(|tenant| key.tenant.as_str() == tenant)
                    && period.as_ref().is_none_or(|period| key.period.as_str() == period)
                    && has_params(&key.partition, params)
            })),
            Order::Entry(which) => match self.find(which) {
                Ok(id) => Outcome::Entry(id.and_then(|id| self.ledger.entry(id)).map(|entry| {
                    let linked = |id: Option<EntryId>| id.and_then(|id| self.ledger.entry(id));
                    Box::new(EntryShown::of(entry, linked(entry.replaces), linked(entry.replacement)))
                })),
                Err(what) => Outcome::Failed(what),
            },
            Order::Gate(gate) => match gate.id() {
                Ok(id) => Outcome::Gate {
                    gate: self.ledger.gate(id).map(GateShown::of),
                    replayed: false,
                },
                Err(refusal) => Outcome::of_refusal(&refusal),
            },
            Order::Gaps { series } => Outcome::Gaps(self.ledger.gaps(series)),
            Order::Verify => Outcome::Verified(self.ledger.verify()),
            Order::Sweep => {
                let voided = self.ledger.overdue(self.now).into_iter().filter(|id| {
                    let command = seriatim_core::Command::Expire { entry: *id };
                    self.ledger.decide(&request(command, Access::full()), self.now).is_ok()
                });
                Outcome::Swept(voided.count())
            }
            _ => self.command(ask),
        }
    }
}

impl AtDecide {
    fn command(&mut self, ask: &Ask) -> Outcome {
        let entry = match ask.order.which().map(|which| self.find(which)).transpose() {
            Ok(entry) => entry.flatten(),
            Err(what) => return Outcome::Failed(what),
        };
        let command = match ask.order.command(entry, self.now, &BundledZones) {
            Ok(Some(command)) => command,
            Ok(None) => return Outcome::Failed("nothing to decide".to_string()),
            Err(refusal) => return Outcome::of_refusal(&refusal),
        };
        let access = match &ask.caller {
            None => Access::full(),
            Some(name) => match self.ledger.api_key(name) {
                Some(key) => key.access.clone(),
                None => return Outcome::Failed(format!("there is no key {name}")),
            },
        };
        match self.ledger.decide(&request(command, access), self.now) {
            Ok(answer) => Outcome::of_answer(&answer),
            Err(refusal) => Outcome::of_refusal(&refusal),
        }
    }

    fn find(&self, which: &Which) -> Result<Option<EntryId>, String> {
        one(which, self.ledger.entries().filter(|entry| is(entry, which)))
    }
}

/// A store, through the issuer.
pub struct AtIssuer {
    store: Arc<dyn Store>,
    clock: Arc<SetClock>,
    issuer: Issuer,
}

impl AtIssuer {
    /// The boundary upon this store, which must be empty.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let clock = Arc::new(SetClock::at(Timestamp::from_micros(FIRST)));
        let issuer = issuer_at(store.clone(), clock.clone()).await?;
        Ok(Self { store, clock, issuer })
    }

    async fn try_answer(&self, ask: &Ask) -> Result<Outcome, Failure> {
        let reads = self.issuer.reads();
        Ok(match &ask.order {
            Order::Counter {
                series,
                tenant,
                period,
                params,
            } => {
                let filter = CounterFilter {
                    series: vec![SeriesName::parse(series)?],
                    tenants: tenant
                        .iter()
                        .map(|tenant| Tenant::parse(tenant))
                        .collect::<Result<_, _>>()?,
                    period: period.as_deref().map(seriatim_core::Period::stored),
                    ..CounterFilter::default()
                };
                let page = reads.counters(&filter, 1_000).await?;
                Outcome::of_counters(
                    page.rows
                        .iter()
                        .filter(|counter| has_params(&counter.key.partition, params)),
                )
            }
            Order::Gate(gate) => Outcome::Gate {
                gate: reads.gate(gate.id()?).await?.map(|gate| GateShown::of(&gate)),
                replayed: false,
            },
            Order::Entry(which) => match self.find(which).await? {
                Ok(id) => self.look_at(id).await?,
                Err(what) => Outcome::Failed(what),
            },
            Order::Gaps { series } => {
                let series = vec![SeriesName::parse(series)?];
                let filter = CounterFilter {
                    series,
                    ..CounterFilter::default()
                };
                Outcome::of_gaps(&gaps(reads, &filter).await?)
            }
            Order::Verify => {
                let report = verify(reads, &crate::verify::Options::default(), &|_| {}).await?;
                Outcome::Verified(report.findings.iter().map(|finding| finding.code.to_string()).collect())
            }
            Order::Sweep => Outcome::Swept(self.issuer.sweep().await?),
            _ => self.command(ask).await?,
        })
    }

    async fn command(&self, ask: &Ask) -> Result<Outcome, Failure> {
        let entry = match ask.order.which() {
            None => None,
            Some(which) => match self.find(which).await? {
                Ok(entry) => entry,
                Err(what) => return Ok(Outcome::Failed(what)),
            },
        };
        let Some(command) = ask.order.command(entry, self.issuer.clock().now(), &BundledZones)? else {
            return Ok(Outcome::Failed("nothing to execute".to_string()));
        };
        let access = match &ask.caller {
            None => Access::full(),
            Some(name) => match self
                .issuer
                .reads()
                .api_keys()
                .await?
                .into_iter()
                .find(|key| key.id == *name)
            {
                Some(key) => key.access,
                None => return Ok(Outcome::Failed(format!("there is no key {name}"))),
            },
        };
        Ok(Outcome::of_answer(
            &self.issuer.execute(request(command, access)).await?,
        ))
    }

    async fn look_at(&self, id: Option<EntryId>) -> Result<Outcome, Failure> {
        let reads = self.issuer.reads();
        let Some(entry) = linked(reads, id).await? else {
            return Ok(Outcome::Entry(None));
        };
        let (replaces, replacement) = (
            linked(reads, entry.replaces).await?,
            linked(reads, entry.replacement).await?,
        );
        let shown = EntryShown::of(&entry, replaces.as_deref(), replacement.as_deref());
        Ok(Outcome::Entry(Some(Box::new(shown))))
    }

    async fn find(&self, which: &Which) -> Result<Result<Option<EntryId>, String>, Failure> {
        let filter = EntryFilter {
            series: SeriesName::parse(&which.series).into_iter().collect(),
            number: (!which.number.starts_with("ent_")).then(|| which.number.clone()),
            ..EntryFilter::default()
        };
        let page = self.issuer.reads().entries(&filter, 1_000).await?;
        Ok(one(
            which,
            page.rows.iter().map(|entry| &**entry).filter(|entry| is(entry, which)),
        ))
    }
}

#[async_trait]
impl Boundary for AtIssuer {
    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    async fn answer(&mut self, ask: &Ask) -> Outcome {
        self.try_answer(ask)
            .await
            .unwrap_or_else(|failure| Outcome::of_failure(&failure))
    }

    async fn restart(&mut self) {
        self.issuer.close().await;
        self.issuer = issuer_at(self.store.clone(), self.clock.clone())
            .await
            .expect("the store could be read before");
    }
}

async fn issuer_at(store: Arc<dyn Store>, clock: Arc<SetClock>) -> Result<Issuer, StoreError> {
    let options = Options {
        clock,
        ..Options::default()
    };
    Issuer::with(store, options).await
}

async fn linked(reads: &dyn Reads, id: Option<EntryId>) -> Result<Option<Arc<Entry>>, StoreError> {
    match id {
        Some(id) => reads.entry(id).await,
        None => Ok(None),
    }
}

fn request(command: seriatim_core::Command, access: Access) -> Request {
    Request {
        actor: Actor::parse("scenario").expect("a name"),
        on_behalf_of: None,
        access,
        rehearsal: false,
        command,
    }
}

fn is(entry: &Entry, which: &Which) -> bool {
    entry.counter.series.as_str() == which.series
        && (*entry.number == *which.number || entry.id.to_string() == which.number)
        && which
            .tenant
            .as_ref()
            .is_none_or(|tenant| entry.counter.tenant.as_str() == tenant)
}

fn one<'a>(which: &Which, found: impl Iterator<Item = &'a Entry>) -> Result<Option<EntryId>, String> {
    let ids: Vec<EntryId> = found.map(|entry| entry.id).collect();
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(Some(*id)),
        _ => Err(format!("several numbers {}; say tenant=…", which.number)),
    }
}

fn has_params(partition: &Params, wanted: &std::collections::BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| partition.get(name) == Some(value))
}
