//! What one event leads to. It may be done again from the start at any time: every step is found done or is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use seriatim::{
    Answer, Claim, ClaimOutcome, Code, Command, Document, Entry, Failure, Gate, GateState, Holder, Key, Params, Series,
    State, Subject, Take, Ttl,
};

use super::record::{EventResult, Expected, PaymentResult, ReceiptTask};
use super::workers::Trouble;
use super::{Desk, EVENT, PAYMENT, Payments, payment_policy, stored_event, subject_of_event, unexpected};
use crate::webhooks::{PaymentEvent, PaymentReference};

/// How long an event waits for another one that holds its payment, before it takes a pause.
const PATIENCE: Duration = Duration::from_secs(1);

impl Payments {
    /// Brings about what a stored event says. What it gives becomes the result of the event's gate.
    pub(super) async fn handle_event(&self, gate: &Gate) -> Result<String, Trouble> {
        debug_assert_eq!(gate.effect.as_str(), EVENT);
        let task = stored_event(gate).ok_or_else(|| Trouble::hold("the stored event does not read"))?;
        let Some(desk) = self.desk(&task.source) else {
            // It may come back with the next configuration.
            return Err(Trouble::retry(format!(
                "source {} is not configured any more",
                task.source
            )));
        };
        let event = task
            .event
            .event()
            .ok_or_else(|| Trouble::hold("the stored event does not read"))?;
        if !desk.source.counts_as_paid(&event) {
            return Ok(EventResult::nothing(&format!("recorded: {}", event.meaning)).to_json());
        }
        let event = match task.must_confirm {
            false => event,
            true => confirmed(desk, event).await?,
        };
        Ok(self.pay(desk, &event).await?.to_json())
    }

    /// Only who holds the claim of the payment issues for it: the key alone keeps apart only those who issue in one
    /// series. Who comes too late waits a moment for the number of the other, and else comes again.
    async fn pay(&self, desk: &Desk, event: &PaymentEvent) -> Result<EventResult, Trouble> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Known { reference, found } = self.known(desk, event).await?;
            let expected = match found {
                Found::Numbered(entry) => {
                    check_paid(event, &entry)?;
                    return self.conclude(desk, event, &reference, None, &entry, false).await;
                }
                Found::Expected(expected) => expected,
                Found::Nothing => {
                    return Err(Trouble::retry(format!(
                        "nothing is expected for payment {reference}; tell what with PUT /v1/payments/{{reference}}"
                    )));
                }
            };
            // What can be seen before is seen before: the payment is claimed only by who could issue.
            check_amount(event, &expected)?;
            let series = self.series(desk).await?;
            Params::canonical(&series.params, &expected.params)?;
            let (gate, outcome) = self.claim_payment(desk, &reference, event).await?;
            match outcome {
                ClaimOutcome::Won { .. } => {
                    let ended = self.number_held(desk, event, &reference, &gate, &series).await;
                    return self.or_given_back(&gate, ended).await;
                }
                ClaimOutcome::Busy { retry_after_micros } => {
                    self.wait(&reference, &gate, retry_after_micros, until).await?
                }
                ClaimOutcome::Dead => return Err(dead(&reference, &gate)),
                ClaimOutcome::Done => {
                    let payment = self.payment(&desk.source.tenant, &reference).await?;
                    if payment.is_some_and(|payment| payment.result.is_none()) {
                        // Somebody else said that it is done, and is not believed: nobody can hold it any more.
                        let (entry, is_new) = self.number(desk, event, &reference, &expected, &series).await?;
                        self.check_payer(desk, event, &reference, &entry).await?;
                        return self.conclude(desk, event, &reference, None, &entry, is_new).await;
                    }
                    // It is done since it was looked for, and will be found.
                }
            }
        }
    }

    /// The number of a payment whose claim is ours, and all that follows.
    async fn number_held(
        &self,
        desk: &Desk,
        event: &PaymentEvent,
        reference: &PaymentReference,
        gate: &Gate,
        series: &Series,
    ) -> Result<EventResult, Trouble> {
        // It may have changed a moment ago.
        let expected =
            expected_by(gate).ok_or_else(|| Trouble::hold("what is expected of the payment does not read"))?;
        check_amount(event, &expected)?;
        // Who held it before may have been killed between the number and its closing.
        let before = match gate.token {
            ..=1 => None,
            _ => self.numbered(&desk.source.tenant, reference).await?,
        };
        let (entry, is_new) = match before {
            Some(entry) => (entry, false),
            None => self.number(desk, event, reference, &expected, series).await?,
        };
        self.check_payer(desk, event, reference, &entry).await?;
        self.conclude(desk, event, reference, Some(gate), &entry, is_new).await
    }

    /// Opens the receipt's gate and says of the payment that it is paid, under all its names.
    async fn conclude(
        &self,
        desk: &Desk,
        event: &PaymentEvent,
        reference: &PaymentReference,
        held: Option<&Gate>,
        entry: &Entry,
        is_new: bool,
    ) -> Result<EventResult, Trouble> {
        let tenant = &desk.source.tenant;
        if desk.source.makes_receipts() {
            let task = ReceiptTask {
                entry: entry.id.to_string(),
            };
            // Under the reference that has the number: whichever of its names an event uses, a payment has one receipt.
            let subject = Subject::parse(entry.key.as_ref().map_or(reference.as_str(), Key::as_str))?;
            self.open(tenant, &self.effects.receipt, subject, &task.to_json())
                .await?;
        }
        match held {
            Some(gate) => self.complete_payment(gate, event, entry).await?,
            None => self.close_payment(desk, reference, event, entry).await?,
        }
        // The other names too: what comes later may use but one of them.
        for reference in event.own_references().filter(|name| *name != reference) {
            self.close_payment(desk, reference, event, entry).await?;
        }
        let outcome = if is_new { "issued" } else { "already" };
        Ok(EventResult::number(outcome, entry.id, &entry.number))
    }

    /// What is known of the payment, under whichever reference of the event: the number, if one of them has it, else what
    /// the shop expects.
    async fn known(&self, desk: &Desk, event: &PaymentEvent) -> Result<Known, Trouble> {
        let first = event.references().next();
        let first = first.ok_or_else(|| Trouble::hold("a paid event that names no payment"))?;
        let (mut expected, mut of_another) = (None, None);
        for reference in event.references() {
            let Some(payment) = self.payment(&desk.source.tenant, reference).await? else {
                continue;
            };
            let tenant = &desk.source.tenant;
            let own = payment.entry.clone().filter(|entry| entry.state == State::Issued);
            let numbered = match (own, &payment.entry, &payment.expected) {
                (Some(entry), ..) => Some(entry),
                // Of one that is void another may stand in the place; any other entry is not issued yet, and issuing says so.
                (None, Some(_), _) | (None, None, Some(_)) => self.numbered(tenant, reference).await?,
                (None, None, None) => None,
            };
            let entry = match (numbered, payment.entry) {
                (Some(entry), _) | (None, Some(entry)) => entry,
                (None, None) => {
                    expected = expected.or(payment.expected.map(|expected| (reference.clone(), expected)));
                    continue;
                }
            };
            match self.check_payer(desk, event, reference, &entry).await {
                Ok(()) if entry.state == State::Issued => {
                    return Ok(Known {
                        reference: reference.clone(),
                        found: Found::Numbered(entry),
                    });
                }
                Ok(()) => {
                    return Err(Trouble::hold(format!(
                        "voided: payment {reference} has {}, which is void; refund it, or let it be paid under another \
                         reference",
                        entry.number
                    )));
                }
                Err(trouble) => of_another = of_another.or(Some(trouble)),
            }
        }
        match (expected, of_another) {
            (Some((reference, expected)), _) => Ok(Known {
                reference,
                found: Found::Expected(Box::new(expected)),
            }),
            (None, Some(trouble)) => Err(trouble),
            (None, None) => Ok(Known {
                reference: first.clone(),
                found: Found::Nothing,
            }),
        }
    }

    /// Makes sure that an entry is not another payment's: a name that two payments share does not make them one.
    async fn check_payer(
        &self,
        desk: &Desk,
        event: &PaymentEvent,
        reference: &PaymentReference,
        entry: &Entry,
    ) -> Result<(), Trouble> {
        let payment = payment_of(entry);
        let said = |field: &str| payment.as_ref().and_then(|payment| payment.get(field)?.as_str());
        // Redacted, or moved in: nobody can tell any more.
        let Some(paid_by) = said("event_id") else {
            return Ok(());
        };
        let own = desk.source.name.as_str();
        let source = said("source");
        if paid_by == event.event_id && source.is_none_or(|source| source == own) {
            return Ok(());
        }
        // Before the source was stored with it: whichever of the tenant's has an event of this id.
        let sources = match source {
            Some(source) => vec![source],
            None => {
                let own = self.desks_of(&desk.source.tenant);
                own.map(|desk| desk.source.name.as_str()).collect()
            }
        };
        let mut task = None;
        for source in sources {
            let subject = subject_of_event(source, paid_by)?;
            let gate = self.gate(&desk.source.tenant, &self.effects.event, &subject).await?;
            task = task.or(gate.and_then(|gate| stored_event(&gate)));
        }
        match task.and_then(|task| task.event.event()) {
            Some(payer) if !payer.is_of_one_payment_with(event) => Err(Trouble::hold(format!(
                "held for review: {reference} was paid before by payment {}, and has {}; this is another payment",
                payer.reference.as_ref().map_or("", PaymentReference::as_str),
                entry.number
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// A new number of a payment.
    async fn number(
        &self,
        desk: &Desk,
        event: &PaymentEvent,
        reference: &PaymentReference,
        expected: &Expected,
        series: &Series,
    ) -> Result<(Arc<Entry>, bool), Trouble> {
        let document = document(series, desk, event, reference, expected)?;
        let mut take = Take {
            key: Some(Key::parse(reference.as_str())?),
            tenant: desk.source.tenant.clone(),
            params: expected.params.clone(),
            date: event.at.map(|at| series.today(at)),
            document: Some(document),
            reference: None,
        };
        let issue = |take: &Take| {
            self.ask(Command::Issue {
                series: series.name.clone(),
                take: take.clone(),
            })
        };
        let mut asked = issue(&take).await;
        let period = |date| series.reset.period_of(date);
        let today = series.today(self.issuer.clock().now());
        if let (Err(Failure::Refused(refusal)), Some(date)) = (&asked, take.date)
            && refusal.code == Code::DateOrder
            && period(date) == period(today)
        {
            // The event came after those of later payments. The day of the payment stays in the document; in another
            // period a person must say what is right.
            take.date = None;
            asked = issue(&take).await;
        }
        match asked? {
            Answer::Entries(answer) => match answer.taken.first() {
                Some(taken) => Ok((taken.entry.clone(), !taken.replayed)),
                None => Err(Trouble::hold("a number was issued and not said")),
            },
            other => Err(unexpected(&other).into()),
        }
    }

    async fn series(&self, desk: &Desk) -> Result<Arc<Series>, Trouble> {
        let source = &desk.source;
        let all = self.issuer.reads().series().await?;
        let series = all.into_iter().find(|series| series.name == source.series);
        let series = series.ok_or_else(|| {
            Trouble::retry(format!(
                "source {} issues in series {}, which is not defined",
                source.name, source.series
            ))
        })?;
        if source.test && !series.test {
            let what = format!("source {} is for tests, and series {} is not", source.name, series.name);
            return Err(Trouble::hold(what));
        }
        Ok(series)
    }

    /// Says of one of the names that it is paid, unless the shop expects something else under it.
    async fn close_payment(
        &self,
        desk: &Desk,
        reference: &PaymentReference,
        event: &PaymentEvent,
        entry: &Entry,
    ) -> Result<(), Trouble> {
        let until = Instant::now() + PATIENCE;
        let subject = Subject::parse(reference.as_str())?;
        loop {
            let known = self.gate(&desk.source.tenant, &self.effects.payment, &subject).await?;
            if let Some(gate) = known {
                let differs = |expected: Expected| check_amount(event, &expected).is_err();
                // The first to come is kept.
                if gate.state == GateState::Done || expected_by(&gate).is_some_and(differs) {
                    return Ok(());
                }
            }
            let (gate, outcome) = self.claim_payment(desk, reference, event).await?;
            match outcome {
                ClaimOutcome::Won { .. } => {
                    let completed = self.complete_payment(&gate, event, entry).await;
                    return self.or_given_back(&gate, completed).await;
                }
                ClaimOutcome::Done => return Ok(()),
                ClaimOutcome::Dead => return Err(dead(reference, &gate)),
                ClaimOutcome::Busy { retry_after_micros } => {
                    self.wait(reference, &gate, retry_after_micros, until).await?;
                }
            }
        }
    }

    async fn complete_payment(&self, gate: &Gate, event: &PaymentEvent, entry: &Entry) -> Result<(), Trouble> {
        let result = PaymentResult {
            entry: entry.id.to_string(),
            number: entry.number.to_string(),
            event: event.event_id.clone(),
        };
        let complete = Command::Complete {
            gate: gate.id,
            token: gate.token,
            result: Document::stored(&result.to_json()),
        };
        match self.ask(complete).await {
            Ok(_) => Ok(()),
            // It was taken over; what became of it is found the next time.
            Err(Failure::Refused(refusal)) if refusal.code == Code::StaleToken => Err(Trouble::retry(refusal.message)),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Claims a payment for an event. The claim has a key, so that an event gets its own token again, also if it was
    /// killed before it could complete.
    async fn claim_payment(
        &self,
        desk: &Desk,
        reference: &PaymentReference,
        event: &PaymentEvent,
    ) -> Result<(Arc<Gate>, ClaimOutcome), Trouble> {
        // Two sources may give the same id to two events.
        let id = subject_of_event(&desk.source.name, &event.event_id)?;
        let claim = Claim {
            tenant: desk.source.tenant.clone(),
            effect: self.effects.payment.clone(),
            subject: Subject::parse(reference.as_str())?,
            ttl: self.pace.lease,
            holder: Holder::parse(id.as_str())?,
            key: Some(Key::parse(id.as_str())?),
            policy: payment_policy(),
        };
        match self.ask(Command::Claim(Box::new(claim))).await? {
            Answer::Claim { gate, outcome } => Ok((gate, outcome)),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Gives a payment's claim back if it came to nothing, so that nobody waits for a lease that nobody uses.
    async fn or_given_back<T>(&self, gate: &Gate, ended: Result<T, Trouble>) -> Result<T, Trouble> {
        if let Err(trouble) = &ended {
            let fail = Command::Fail {
                gate: gate.id,
                token: gate.token,
                error: trouble.reason(),
                retry_in: Some(Ttl::from_seconds(1)?),
                give_up: false,
            };
            match self.ask(fail).await {
                // It is done, or another's by now.
                Ok(_) | Err(Failure::Refused(_)) => {}
                Err(failure) => {
                    tracing::warn!(subject = %gate.subject, token = gate.token, %failure, "cannot give a payment back; its lease ends by itself");
                }
            }
        }
        ended
    }

    /// Waits a moment for whoever holds a payment: he needs milliseconds, and a pause of the event would take seconds.
    async fn wait(
        &self,
        reference: &PaymentReference,
        gate: &Gate,
        retry_after_micros: i64,
        until: Instant,
    ) -> Result<(), Trouble> {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(Trouble::retry(format!(
                "another event is issuing the number of payment {reference}"
            )));
        }
        let due = Duration::from_micros(retry_after_micros.max(1_000).unsigned_abs());
        self.issuer.gate_over(gate.id, rest.min(due)).await?;
        Ok(())
    }
}

fn dead(reference: &PaymentReference, gate: &Gate) -> Trouble {
    let why = gate.last_error.as_ref().map(ToString::to_string).unwrap_or_default();
    Trouble::retry(format!(
        "the gate of payment {reference} is dead ({why}); `seriatim gate retry {}`, and this is tried again",
        gate.id
    ))
}

fn expected_by(gate: &Gate) -> Option<Expected> {
    Expected::from_json(gate.task.as_ref()?.as_str())
}

/// What is known of a payment.
struct Known {
    /// Under which of its names, or the first.
    reference: PaymentReference,
    found: Found,
}

enum Found {
    /// It has its number.
    Numbered(Arc<Entry>),
    /// The shop expects it.
    Expected(Box<Expected>),
    Nothing,
}

/// The event as the provider confirms it: a body that is not signed says only where to ask.
async fn confirmed(desk: &Desk, event: PaymentEvent) -> Result<PaymentEvent, Trouble> {
    let api = desk
        .status
        .as_ref()
        .ok_or_else(|| Trouble::hold("it must be confirmed, and the source has no status"))?;
    let Some(reference) = &event.reference else {
        return Err(Trouble::hold("it must be confirmed, and names no payment"));
    };
    match api.status(reference).await {
        Ok(confirmed) if desk.source.counts_as_paid(&confirmed) => Ok(PaymentEvent {
            event_id: event.event_id,
            ..confirmed
        }),
        // Its status may be behind its own webhook; and what was answered is not sent again.
        Ok(confirmed) => Err(Trouble::retry(format!(
            "the provider does not confirm that it is paid; it says {} ({})",
            confirmed.name, confirmed.meaning
        ))),
        Err(error) if error.retry => Err(Trouble::retry(error.to_string())),
        Err(error) => Err(Trouble::hold(error.to_string())),
    }
}

fn check_amount(event: &PaymentEvent, expected: &Expected) -> Result<(), Trouble> {
    match &event.money {
        Some(money) if money.minor == expected.amount_minor && money.currency == expected.currency => Ok(()),
        Some(money) => Err(Trouble::hold(format!(
            "held for review: {} {} were paid, {} {} are expected (minor units)",
            money.minor, money.currency, expected.amount_minor, expected.currency
        ))),
        None => Err(Trouble::hold(
            "held for review: the event does not say how much was paid",
        )),
    }
}

/// A payment that has its number is compared with what that was issued for, as far as both say it.
fn check_paid(event: &PaymentEvent, entry: &Entry) -> Result<(), Trouble> {
    let payment = payment_of(entry).unwrap_or_default();
    let minor = payment.get("amount_minor").and_then(Value::as_i64);
    let currency = payment.get("currency").and_then(Value::as_str);
    match (&event.money, minor, currency) {
        (Some(money), Some(minor), Some(currency)) if money.minor != minor || money.currency != currency => {
            Err(Trouble::hold(format!(
                "held for review: {} {} were paid, and {} was issued for {minor} {currency} (minor units)",
                money.minor, money.currency, entry.number
            )))
        }
        (Some(_) | None, Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// What the document of a number says of its payment.
fn payment_of(entry: &Entry) -> Option<Value> {
    let mut document: Value = serde_json::from_str(entry.document.as_ref()?.as_str()).ok()?;
    Some(document.get_mut(PAYMENT)?.take())
}

/// What is stored with the number: the document of the shop, and what the provider said of the payment.
fn document(
    series: &Series,
    desk: &Desk,
    event: &PaymentEvent,
    reference: &PaymentReference,
    expected: &Expected,
) -> Result<Document, seriatim::Refusal> {
    let payment = json!({
        "reference": reference.as_str(),
        "amount_minor": expected.amount_minor,
        "currency": expected.currency,
        "source": desk.source.name,
        "event": event.name,
        "event_id": event.event_id,
        "paid_at": event.at.map(|at| at.to_string()),
        // In which it is printed.
        "time_zone": series.zone.name(),
    });
    let text = match &expected.document {
        Some(document) => with_payment(document.get(), payment),
        None => json!({ PAYMENT: payment }).to_string(),
    };
    Document::parse(&text)
}

/// A document as it was received, with one more field at its end.
fn with_payment(document: &str, payment: Value) -> String {
    match serde_json::from_str::<Map<String, Value>>(document) {
        Ok(fields) if !fields.contains_key(PAYMENT) => {
            let open = document.trim_end().strip_suffix('}').unwrap_or_default();
            let comma = if fields.is_empty() { "" } else { "," };
            format!("{open}{comma}\"{PAYMENT}\":{payment}}}")
        }
        // Only what was stored before documents were checked has such a field of its own, or is no object.
        Ok(mut fields) => {
            fields.insert(PAYMENT.to_string(), payment);
            Value::Object(fields).to_string()
        }
        Err(_) => format!("{{\"document\":{document},\"{PAYMENT}\":{payment}}}"),
    }
}
