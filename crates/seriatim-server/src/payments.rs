//! Payments: what is expected, what a believed event leads to, and the receipt.
//!
//! Everything that must happen once goes through a gate: each event (`payment-event`), each payment (`payment`) and each
//! receipt (`receipt`). Nothing is remembered between two steps but what the gates hold, so that whoever takes over
//! begins where the gate is. This module must never hold a rule about gates or numbers: it asks the issuer.

mod event;
mod receipts;
mod record;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seriatim::{
    Access, Actor, Answer, Chain, Code, Command, Document, Effect, Entry, Failure, Gate, GateId, GatePolicy, GateState,
    Hash, Issuer, Key, KeyRef, Params, Refusal, Request, SeriesName, State, Subject, Tenant, Ttl,
};
use tokio::sync::Notify;

use crate::auth::Caller;
use crate::webhooks::status::{StatusApi, StatusError};
use crate::webhooks::{PaymentReference, RECEIPT, Received, Source};
pub use receipts::{NoReceipt, RENDER_COMMAND, Receipts};
use record::{EventRecord, EventResult, EventTask};
pub use record::{Expected, PaymentResult, ReceiptResult};
pub use workers::Workers;

/// What happens once for each event of a provider.
const EVENT: &str = "payment-event";
/// What happens once for each payment: it gets its number.
const PAYMENT: &str = "payment";

/// A source, and how its provider is asked.
pub struct Desk {
    /// What is configured.
    pub source: Source,
    status: Option<StatusApi>,
}

/// How the work is done.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How many events and receipts are worked on at once.
    pub workers: usize,
    /// How long each is held at a time, a worker that lives renews it.
    pub lease: Ttl,
    /// How often each is tried before somebody must look.
    pub policy: GatePolicy,
}

/// What happens once, by the names that their gates have.
struct Effects {
    event: Effect,
    payment: Effect,
    receipt: Effect,
}

/// The payments of one store.
pub struct Payments {
    issuer: Issuer,
    actor: Actor,
    desks: BTreeMap<String, Desk>,
    receipts: Option<Receipts>,
    pace: Pace,
    effects: Effects,
    /// Told when a gate was opened here, so that no worker sleeps on it.
    opened: Notify,
}

/// A payment as it stands.
#[derive(Debug, Clone)]
pub struct Payment {
    /// What is expected, if the shop has said so.
    pub expected: Option<Expected>,
    /// What it led to, if it was paid.
    pub result: Option<PaymentResult>,
    /// The entry that has its number, if it was paid.
    pub entry: Option<Arc<Entry>>,
    /// The gate of its receipt, if there is one.
    pub receipt: Option<Arc<Gate>>,
}

/// What became of the number of a payment after it was paid.
#[derive(Debug, Clone, Default)]
pub struct Afterwards {
    /// Whether it is void.
    pub voided: bool,
    /// The entry that stands in its place now.
    pub replacement: Option<Arc<Entry>>,
}

impl Payments {
    /// The payments of these sources.
    ///
    /// # Errors
    /// TLS cannot be set up for a provider that is to be asked.
    pub fn new(issuer: Issuer, sources: Vec<Source>, receipts: Option<Receipts>, pace: Pace) -> Result<Self, String> {
        let desks = sources.into_iter().map(|source| {
            let status = source.status.clone();
            let status = status.map(|settings| StatusApi::new(settings, issuer.shared_clock()));
            let status = status.transpose()?;
            Ok((source.name.clone(), Desk { source, status }))
        });
        let own = |refusal: Refusal| refusal.message;
        Ok(Self {
            desks: desks.collect::<Result<_, String>>()?,
            actor: Actor::parse("seriatim:payments").map_err(own)?,
            effects: Effects {
                event: Effect::parse(EVENT).map_err(own)?,
                payment: Effect::parse(PAYMENT).map_err(own)?,
                receipt: Effect::parse(RECEIPT).map_err(own)?,
            },
            issuer,
            receipts,
            pace,
            opened: Notify::new(),
        })
    }

    /// A source by its name.
    #[must_use]
    pub fn desk(&self, name: &str) -> Option<&Desk> {
        self.desks.get(name)
    }

    /// Every source.
    pub fn desks(&self) -> impl Iterator<Item = &Desk> {
        self.desks.values()
    }

    /// Whether the gates of an effect are moved here and by nobody else: what they hold is believed.
    #[must_use]
    pub fn keeps(&self, effect: &Effect) -> bool {
        let makes_receipts = || self.desks().any(|desk| desk.source.makes_receipts());
        [&self.effects.event, &self.effects.payment].contains(&effect)
            || (*effect == self.effects.receipt && makes_receipts())
    }

    /// Stores a believed event, once; a worker does the rest. Says whether it was there already.
    ///
    /// # Errors
    /// `gate_fixed` if its gate was claimed before it came; see [`Failure`]. Nothing is acknowledged then.
    pub async fn deliver(&self, source: &Source, received: &Received) -> Result<(Arc<Gate>, bool), Failure> {
        let mut task = EventTask {
            source: source.name.clone(),
            must_confirm: received.must_confirm,
            event: EventRecord::of(&received.event),
            body: String::from_utf8_lossy(&received.body).into_owned(),
        };
        let (mut gate, mut was_there) = self.open_event(source, &task).await?;
        let is_another = |gate: &Gate| stored_event(gate).is_some_and(|stored| stored.body != task.body);
        if was_there && !source.scheme.signs_event_id() && is_another(&gate) {
            // Whoever has seen one delivery could give its id to another, so the id alone does not make them one.
            task.event.id = format!("sha256:{}", Hash::of(&received.body));
            (gate, was_there) = self.open_event(source, &task).await?;
        }
        // The event is its task: a gate that somebody else made has none, and says nothing of this event.
        if gate.task.is_none() {
            let message = format!(
                "gate {} was claimed before this event came, which is not stored",
                gate.id
            );
            return Err(Refusal::new(Code::GateFixed, message).into());
        }
        Ok((gate, was_there))
    }

    async fn open_event(&self, source: &Source, task: &EventTask) -> Result<(Arc<Gate>, bool), Failure> {
        let subject = subject_of_event(&source.name, &task.event.id)?;
        let effect = &self.effects.event;
        self.open(&source.tenant, effect, subject, &task.to_json()).await
    }

    fn desks_of(&self, tenant: &Tenant) -> impl Iterator<Item = &Desk> {
        self.desks().filter(move |desk| desk.source.tenant == *tenant)
    }

    /// The issued entry that a reference has by its key, in whichever series a source of the tenant issues: another event
    /// may have been first, and not have said so yet.
    async fn numbered(&self, tenant: &Tenant, reference: &PaymentReference) -> Result<Option<Arc<Entry>>, Failure> {
        let key = Key::parse(reference.as_str())?;
        let series: BTreeSet<_> = self.desks_of(tenant).map(|desk| &desk.source.series).collect();
        let key_in = |series: &SeriesName| KeyRef {
            key: key.clone(),
            series: series.clone(),
            tenant: tenant.clone(),
        };
        let keys: Vec<KeyRef> = series.into_iter().map(key_in).collect();
        let found = self.issuer.reads().entries_of_keys(&keys).await?;
        Ok(found.into_iter().flatten().find(|entry| entry.state == State::Issued))
    }

    /// Checks that a series takes the params that are expected, if every source of the tenant issues in one that does not:
    /// once it is paid the shop cannot put them right any more.
    ///
    /// # Errors
    /// `unknown_param`, `missing_param` or `invalid_param`; see [`Failure`].
    pub async fn check_params(&self, tenant: &Tenant, expected: &Expected) -> Result<(), Failure> {
        let all = self.issuer.reads().series().await?;
        let mut refused = None;
        for desk in self.desks_of(tenant) {
            // A series that is not defined yet may come before the payment does.
            let Some(series) = all.iter().find(|series| series.name == desk.source.series) else {
                return Ok(());
            };
            match Params::canonical(&series.params, &expected.params) {
                Ok(_) => return Ok(()),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        refused.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Writes down what is expected of a payment, until its number is being issued, in the name of the caller, who was asked before
    /// whether he may.
    ///
    /// # Errors
    /// `gate_fixed` while its number is being issued and once it has one; see [`Failure`].
    pub(crate) async fn expect(
        &self,
        caller: Caller,
        tenant: &Tenant,
        reference: &PaymentReference,
        expected: &Expected,
    ) -> Result<(), Failure> {
        let subject = Subject::parse(reference.as_str())?;
        let task = expected.to_json();
        let gate = self.gate(tenant, &self.effects.payment, &subject).await?;
        // An event that could not be brought to its end has given the payment back, and may have issued before.
        if let Some(gate) = gate.as_ref().filter(|gate| gate.token > 0)
            && gate.task.as_ref().is_none_or(|stored| stored.as_str() != task)
            && self.numbered(tenant, reference).await?.is_some()
        {
            return Err(fixed(reference));
        }
        let known = gate.map_or(0, |gate| gate.token);
        let command = self.opening(tenant, &self.effects.payment, subject, &task, Some(known));
        let asked = self.ask_as(caller.actor, caller.on_behalf_of, command).await;
        asked.map(|_| ()).map_err(|failure| match failure {
            Failure::Refused(refusal) if refusal.code == Code::GateFixed => fixed(reference),
            other => other,
        })
    }

    /// Asks the provider what became of a payment, and takes its answer as an event.
    ///
    /// # Errors
    /// The provider gave no answer, or the event could not be stored.
    pub async fn verify(&self, desk: &Desk, reference: &PaymentReference) -> Result<Arc<Gate>, VerifyError> {
        let api = desk.status.as_ref().ok_or(VerifyError::NoStatus)?;
        let event = api.status(reference).await?;
        let received = Received {
            event,
            must_confirm: false,
            body: bytes::Bytes::new(),
        };
        Ok(self.deliver(&desk.source, &received).await?.0)
    }

    /// A payment as it stands; nothing if nobody has ever heard of it.
    ///
    /// # Errors
    /// The store cannot be read, or holds what it must not.
    pub async fn payment(&self, tenant: &Tenant, reference: &PaymentReference) -> Result<Option<Payment>, Failure> {
        let subject = Subject::parse(reference.as_str())?;
        let Some(gate) = self.gate(tenant, &self.effects.payment, &subject).await? else {
            return Ok(None);
        };
        let (result, entry) = self.believed(&gate).await?.unzip();
        // It goes by the reference that has the number, which may be another of the payment's names.
        let subject = match entry.as_ref().and_then(|entry| entry.key.as_ref()) {
            Some(key) => Subject::parse(key.as_str())?,
            None => subject,
        };
        let receipt = self.gate(tenant, &self.effects.receipt, &subject).await?;
        Ok(Some(Payment {
            expected: gate.task.as_ref().and_then(|task| Expected::from_json(task.as_str())),
            result,
            entry,
            receipt,
        }))
    }

    /// What a payment led to, if its result agrees with what is stored: whoever claims gates at a door that does not know which
    /// effects are kept here could say that it is paid. Its number stands under its key; only who wrote the result knows
    /// that a payment has another name as well.
    async fn believed(&self, gate: &Gate) -> Result<Option<(PaymentResult, Arc<Entry>)>, Failure> {
        let Some(written) = &gate.result else {
            return Ok(None);
        };
        let result = PaymentResult::from_json(written.as_str());
        let entry = match result.as_ref().and_then(|result| result.entry.parse().ok()) {
            Some(id) => self.issuer.reads().entry(id).await?,
            None => None,
        };
        let agrees = |result: &PaymentResult, entry: &Entry| {
            *entry.number == *result.number && entry.counter.tenant == gate.tenant
        };
        let found = result.zip(entry).filter(|(result, entry)| agrees(result, entry));
        if let Some((_, entry)) = &found {
            let has_own_key = entry.key.as_ref().map(Key::as_str) == Some(gate.subject.as_str());
            if has_own_key || self.wrote_result(gate).await? {
                return Ok(found);
            }
        }
        tracing::warn!(subject = %gate.subject, gate = %gate.id, "the result of a payment is not believed: it does not agree with its entry");
        Ok(None)
    }

    /// Whether a gate that is done was completed by payment intake: that is its last event.
    async fn wrote_result(&self, gate: &Gate) -> Result<bool, Failure> {
        let before_last = gate.chain.length.saturating_sub(1);
        let last = self.issuer.reads().events(Chain::Gate(gate.id), before_last, 1).await?;
        Ok(last.first().is_some_and(|event| event.actor == self.actor))
    }

    /// What became of the number of a payment: result and receipt stay with it, also when it is void.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn afterwards(&self, payment: &Payment) -> Result<Afterwards, Failure> {
        let mut found = Afterwards::default();
        let mut last = payment.entry.clone();
        while let Some(entry) = last.take() {
            if found.voided {
                found.replacement = (entry.state == State::Issued).then(|| entry.clone());
            } else {
                found.voided = entry.state == State::Voided;
            }
            if let Some(replacement) = entry.replacement {
                last = self.issuer.reads().entry(replacement).await?;
            }
        }
        Ok(found)
    }

    /// Waits until an event is done or dead and, if it gave the payment its number, until the payment says so too: the
    /// worker of another event may be the one who writes that, and not have written it yet. The event's gate as it is then.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn settled(
        &self,
        tenant: &Tenant,
        reference: &PaymentReference,
        event: GateId,
        within: Duration,
    ) -> Result<Option<Arc<Gate>>, Failure> {
        let until = Instant::now() + within;
        let event = self.issuer.gate_over(event, within).await?;
        let number = event
            .as_ref()
            .and_then(|event| event.result.as_ref())
            .and_then(|result| EventResult::from_json(result.as_str()))
            .and_then(|result| result.number);
        if number.is_some() {
            let payment = GateId::of(tenant, &self.effects.payment, &Subject::parse(reference.as_str())?);
            let rest = until.saturating_duration_since(Instant::now());
            self.issuer.gate_over(payment, rest).await?;
        }
        Ok(event)
    }

    async fn gate(&self, tenant: &Tenant, effect: &Effect, subject: &Subject) -> Result<Option<Arc<Gate>>, Failure> {
        let id = GateId::of(tenant, effect, subject);
        Ok(self.issuer.reads().gate(id).await?)
    }

    async fn open(
        &self,
        tenant: &Tenant,
        effect: &Effect,
        subject: Subject,
        task: &str,
    ) -> Result<(Arc<Gate>, bool), Failure> {
        match self.ask(self.opening(tenant, effect, subject, task, None)).await? {
            Answer::Gate { gate, replayed } => {
                self.opened.notify_one();
                Ok((gate, replayed))
            }
            other => Err(unexpected(&other)),
        }
    }

    fn opening(&self, tenant: &Tenant, effect: &Effect, subject: Subject, task: &str, change: Option<u64>) -> Command {
        let is_payment = *effect == self.effects.payment;
        Command::OpenGate {
            tenant: tenant.clone(),
            effect: effect.clone(),
            subject,
            policy: if is_payment { payment_policy() } else { self.pace.policy },
            task: Some(Document::stored(task)),
            change,
        }
    }

    async fn ask(&self, command: Command) -> Result<Answer, Failure> {
        self.ask_as(self.actor.clone(), None, command).await
    }

    async fn ask_as(&self, actor: Actor, on_behalf_of: Option<Actor>, command: Command) -> Result<Answer, Failure> {
        let request = Request {
            actor,
            on_behalf_of,
            access: Access::full(),
            rehearsal: false,
            command,
        };
        self.issuer.execute(request).await
    }
}

/// Why a provider was not asked, or what it said could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source has no status API.
    #[error("this source has no `status`, so its provider cannot be asked")]
    NoStatus,
    /// The provider gave no answer.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The event could not be stored.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// An id of an event is the provider's, and not known to anybody else's; one that is too long goes by its hash.
fn subject_of_event(source: &str, event_id: &str) -> Result<Subject, Failure> {
    let plain = format!("{source}:{event_id}");
    let short = || format!("{source}:sha256:{}", Hash::of(event_id.as_bytes()));
    Ok(Subject::parse(&plain).or_else(|_| Subject::parse(&short()))?)
}

/// The event that a gate was opened for.
fn stored_event(gate: &Gate) -> Option<EventTask> {
    EventTask::from_json(gate.task.as_ref()?.as_str())
}

/// A payment is claimed by its events, and each of them counts its own attempts: the payment must not die of theirs.
fn payment_policy() -> GatePolicy {
    GatePolicy::new(Some(GatePolicy::ATTEMPTS_MAX), None, None).unwrap_or_default()
}

fn fixed(reference: &PaymentReference) -> Failure {
    let message = format!("payment {reference} is being paid or was; what is expected of it cannot change any more");
    Refusal::new(Code::GateFixed, message).into()
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::Corrupt {
        message: format!("the issuer answered a gate's command with {answer:?}"),
    }
}

/// Whether somebody must look before it goes on.
#[must_use]
pub fn is_held(gate: &Gate) -> bool {
    gate.state == GateState::Dead
}
