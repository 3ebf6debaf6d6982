//! Taking the next number: issue, reserve, and what a retry hears.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::answer::{Answer, EntriesAnswer, Taken, Warning};
use super::draft::Draft;
use super::snapshot::{Footprint, KeyBinding, KeyRef};
use crate::access::ApiScope;
use crate::command::{Take, check_count};
use crate::counter::{Counter, CounterKey};
use crate::document::Document;
use crate::entry::{Entry, EntryId, Origin, State};
use crate::journal::{Event, EventKind};
use crate::name::{Key, Reference, SeriesName, Tenant};
use crate::refusal::{Code, Refusal};
use crate::reservation::Ttl;
use crate::scope::Params;
use crate::series::{DateOrder, KeyPolicy, ReplayPolicy, Series};
use crate::time::{Date, Timestamp};

/// What an entry is made of, once everything was checked but its place.
pub(super) struct Material {
    pub(super) origin: Origin,
    pub(super) tenant: Tenant,
    pub(super) params: Params,
    pub(super) key: Option<Key>,
    pub(super) reference: Option<Reference>,
    pub(super) document: Option<Document>,
    pub(super) document_sha256: Option<crate::journal::Hash>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) replaces: Option<EntryId>,
}

impl Draft<'_> {
    pub(super) fn issue(&mut self, name: &SeriesName, take: &Take) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        let taken = self.take(&series, take, Origin::Issue, None, 1)?;
        Ok(Answer::Entries(self.answer(series, taken)))
    }

    pub(super) fn reserve(&mut self, name: &SeriesName, take: &Take, ttl: Ttl) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        let taken = self.take(&series, take, Origin::Reserve, Some(ttl), 1)?;
        Ok(Answer::Entries(self.answer(series, taken)))
    }

    pub(super) fn issue_items(&mut self, name: &SeriesName, items: &[Take]) -> Result<Answer, Halt> {
        check_count("items", items.len())?;
        let series = self.series(name)?;
        let mut taken = Vec::with_capacity(items.len());
        let mut unloaded = Footprint::default();
        for (i, take) in items.iter().enumerate() {
            match self.take(&series, take, Origin::Issue, None, 1) {
                Ok(numbers) => taken.extend(numbers),
                // Go on: what the other items need is loaded in the same round trip.
                Err(Halt::Unloaded(need)) => unloaded.merge(*need),
                Err(Halt::Refused(refusal)) if unloaded.is_empty() => {
                    return Err(refusal.inside(&format!("/items/{i}")).into());
                }
                // An item before it may be refused as well, once it is loaded.
                Err(Halt::Refused(_)) => break,
            }
        }
        if !unloaded.is_empty() {
            return Err(Halt::Unloaded(Box::new(unloaded)));
        }
        Ok(Answer::Entries(self.answer(series, taken)))
    }

    pub(super) fn issue_count(&mut self, name: &SeriesName, take: &Take, count: u32) -> Result<Answer, Halt> {
        check_count("count", usize::try_from(count).unwrap_or(usize::MAX))?;
        let series = self.series(name)?;
        let taken = self.take(&series, take, Origin::Issue, None, count)?;
        Ok(Answer::Entries(self.answer(series, taken)))
    }

    pub(super) fn preview(&mut self, name: &SeriesName, take: &Take, count: u32) -> Result<Answer, Halt> {
        check_count("count", usize::try_from(count).unwrap_or(usize::MAX))?;
        let series = self.series(name)?;
        self.access().require_on(ApiScope::Read, &series, &take.tenant)?;
        let params = Params::canonical(&series.params, &take.params)?;
        let material = Material::of(take, params, Origin::Issue, None, self.now);
        let taken = self.take_run(&series, take.date, &material, count)?;
        Ok(Answer::Preview(self.answer(series, taken)))
    }

    fn answer(&self, series: Arc<Series>, taken: Vec<Taken>) -> EntriesAnswer {
        let warnings = taken
            .iter()
            .rfind(|taken| !taken.replayed)
            .map(|taken| warnings(&series, &taken.entry))
            .unwrap_or_default();
        EntriesAnswer {
            series,
            taken,
            voided: None,
            warnings,
        }
    }

    /// Takes `count` numbers for one request, or finds the ones that its key stands for.
    fn take(
        &mut self,
        series: &Arc<Series>,
        take: &Take,
        origin: Origin,
        ttl: Option<Ttl>,
        count: u32,
    ) -> Result<Vec<Taken>, Halt> {
        self.access().require_on(ApiScope::Issue, series, &take.tenant)?;
        let params = Params::canonical(&series.params, &take.params)?;
        if take.key.is_none() && series.keys == KeyPolicy::Required {
            let message = format!(
                "series {} requires a key, so that a retry gets the same number; send the business reference, \
                 e.g. the payment id",
                series.name
            );
            return Err(Refusal::new(Code::KeyRequired, message).at("/key").into());
        }
        let material = Material::of(take, params, origin, ttl, self.now);
        if let Some(replay) = self.replay(series, take.date, &material, count)? {
            return Ok(replay);
        }
        let taken = self.take_run(series, take.date, &material, count)?;
        if let (Some(key), Some(first)) = (&take.key, taken.first()) {
            let at = KeyRef {
                key: key.clone(),
                series: series.name.clone(),
                tenant: take.tenant.clone(),
            };
            let first = first.entry.id;
            self.bind_key(at, KeyBinding { first, count });
        }
        Ok(taken)
    }

    fn take_run(
        &mut self,
        series: &Arc<Series>,
        date: Option<Date>,
        material: &Material,
        count: u32,
    ) -> Result<Vec<Taken>, Halt> {
        let fresh = |entry| Taken {
            entry,
            replayed: false,
            differs: Vec::new(),
        };
        (0..count)
            .map(|_| self.take_next(series, date, material).map(fresh))
            .collect()
    }

    /// What a key stands for already: here, or in a series that this one replaces.
    pub(super) fn replay(
        &self,
        series: &Arc<Series>,
        date: Option<Date>,
        material: &Material,
        count: u32,
    ) -> Result<Option<Vec<Taken>>, Halt> {
        let Some(key) = &material.key else { return Ok(None) };
        let mut walked = Vec::new();
        let mut line = Some(series.clone());
        while let Some(series) = line {
            let at = KeyRef {
                key: key.clone(),
                series: series.name.clone(),
                tenant: material.tenant.clone(),
            };
            if let Some(binding) = self.binding(&at)? {
                let entries = binding.entries().map(|id| self.entry_if_any(id));
                let entries: Vec<Arc<Entry>> = entries.filter_map(Result::transpose).collect::<Result<_, _>>()?;
                return self.replay_of(&series, entries, date, material, count).map(Some);
            }
            line = self.before(&series, &mut walked)?;
        }
        Ok(None)
    }

    /// The series that this one replaces. Definitions that lead back to one that was walked would lead round for ever.
    fn before(&self, series: &Series, walked: &mut Vec<SeriesName>) -> Result<Option<Arc<Series>>, Halt> {
        let Some(old) = &series.replaces else { return Ok(None) };
        walked.push(series.name.clone());
        if walked.contains(old) {
            let message = format!(
                "series {} replaces {old}, which in the end replaces {}: what is stored contradicts itself; \
                 run `seriatim verify`",
                series.name, series.name
            );
            return Err(Refusal::new(Code::InvalidDefinition, message).at("/series").into());
        }
        self.series_if_any(old)
    }

    fn replay_of(
        &self,
        series: &Series,
        entries: Vec<Arc<Entry>>,
        date: Option<Date>,
        material: &Material,
        count: u32,
    ) -> Result<Vec<Taken>, Halt> {
        if let Some(entry) = entries.first() {
            let reused = |what: String| reused(entry, &what);
            // A replacement is always issued, whatever verb took the number that it replaces. And keys are moved in
            // with their numbers so that a payment that is retried after the move hears its old number.
            let any_verb = entry.replaces.is_some() || entry.origin == Origin::Adopt;
            if entry.origin != material.origin && !any_verb {
                return Err(reused(format!(
                    "to {}, not to {}",
                    entry.origin.as_str(),
                    material.origin.as_str()
                )));
            }
            if entry.params != material.params {
                return Err(reused(format!("with params {}, not {}", entry.params, material.params)));
            }
            if entries.len() != usize::try_from(count).unwrap_or(usize::MAX) {
                return Err(reused(format!("for {} numbers, not {count}", entries.len())));
            }
        }
        let standing = entries.iter().filter(|entry| entry.state != State::Voided).count();
        for entry in &entries {
            self.refuse_voided(entry, standing)?;
        }
        let taken = entries.into_iter().map(|entry| {
            let differs = differences(&entry, date, material);
            if series.replay == ReplayPolicy::Strict && !differs.is_empty() {
                return Err(reused(&entry, &format!("with another {}", differs.join(" and "))));
            }
            Ok(Taken {
                entry,
                replayed: true,
                differs,
            })
        });
        taken.collect()
    }

    /// A voided number is no answer to a retry, and its replacement is not the same number: say both. And of a key that
    /// stands for several numbers, how many are not void.
    fn refuse_voided(&self, entry: &Arc<Entry>, standing: usize) -> Result<(), Halt> {
        let (voided, replacement) = match (entry.state, entry.replaces) {
            (State::Voided, _) => (entry.clone(), None),
            (State::Issued | State::Reserved, Some(original)) => (
                self.entry_if_any(original)?.unwrap_or_else(|| entry.clone()),
                Some(entry.clone()),
            ),
            (State::Issued | State::Reserved, None) => return Ok(()),
        };
        let way_out = match &replacement {
            Some(replacement) => format!("its replacement is {}", replacement.number),
            None if standing > 0 => format!(
                "of this key's other numbers {standing} are not void: list them by the key, and use another key for what is \
                 missing"
            ),
            None => "use another key for a new document".into(),
        };
        let reason = voided.reason.as_deref().unwrap_or("no reason");
        let message = format!("the key's number {} is void ({reason}); {way_out}", voided.number);
        Err(Refusal::new(Code::Voided, message)
            .at("/key")
            .about([Some(voided), replacement].into_iter().flatten())
            .into())
    }

    /// Takes the next seq of the counter that date and params choose.
    pub(super) fn take_next(
        &mut self,
        series: &Arc<Series>,
        date: Option<Date>,
        material: &Material,
    ) -> Result<Arc<Entry>, Halt> {
        refuse_replaced(series)?;
        let today = series.today(self.now);
        if let Some(date) = date {
            check_window(series, date, today)?;
        }
        let (date, mut counter) = self.counter_for(series, date, today, material)?;
        let seq = next_seq(series, &counter)?;
        let number = series.render(&material.tenant, &material.params, date, seq);
        self.check_number(series, &material.tenant, &number)?;
        let place = Arc::make_mut(&mut counter);
        place.last_seq = seq;
        place.last_date = place.last_date.max(Some(date));
        let entry = self.enter(place, number, seq, date, material);
        self.put_counter(counter);
        Ok(entry)
    }

    /// The counter of the date, and the date itself: today if none is given, but never one that runs backwards.
    fn counter_for(
        &self,
        series: &Series,
        date: Option<Date>,
        today: Date,
        material: &Material,
    ) -> Result<(Date, Arc<Counter>), Halt> {
        let chosen = date.unwrap_or(today);
        series.accept_date(chosen)?;
        let period = series.reset.period_of(chosen);
        let field = if material.replaces.is_some() {
            "/reissue"
        } else {
            "/date"
        };
        self.require_open(&series.name, &material.tenant, &period, field)?;
        let key = Arc::new(CounterKey {
            series: series.name.clone(),
            tenant: material.tenant.clone(),
            partition: material.params.only(&series.partition_by),
            period,
        });
        let counter = self.counter(&key)?;
        let counter = counter.unwrap_or_else(|| Arc::new(Counter::open(key, series.start)));
        let date = match (series.date_order, counter.last_date, date) {
            (DateOrder::Required, Some(last), None) => chosen.max(last),
            (DateOrder::Required, Some(last), Some(date)) if date < last => {
                return Err(date_order(series, date, last).into());
            }
            (DateOrder::Required | DateOrder::Free, _, _) => chosen,
        };
        Ok((date, counter))
    }

    /// The number fits its length, and no series of the same line has printed it.
    pub(super) fn check_number(&self, series: &Series, tenant: &Tenant, number: &str) -> Result<(), Halt> {
        let length = number.chars().count();
        if length > series.max_length {
            let message = format!(
                "the next number, {number}, has {length} characters, more than max_length = {}; \
                 define a series that replaces {}",
                series.max_length, series.name
            );
            return Err(Refusal::new(Code::CounterExhausted, message).into());
        }
        let mut walked = Vec::new();
        let mut line = self.before(series, &mut walked)?;
        while let Some(old) = line {
            self.refuse_taken_before(&old, tenant, number)?;
            line = self.before(&old, &mut walked)?;
        }
        Ok(())
    }

    /// An old series takes no numbers any more, so its counters tell which ones it took or passed over: they are
    /// looked at first, for an entry would have to be loaded for each number.
    fn refuse_taken_before(&self, old: &Series, tenant: &Tenant, number: &str) -> Result<(), Halt> {
        let Some((params, period, seq)) = old.read(number, tenant) else {
            return Ok(());
        };
        let key = Arc::new(CounterKey {
            series: old.name.clone(),
            tenant: tenant.clone(),
            partition: params.only(&old.partition_by),
            period,
        });
        let counter = self.counter(&key)?;
        let Some(counter) = counter.filter(|counter| (counter.first_seq..=counter.last_seq).contains(&seq)) else {
            return Ok(());
        };
        let id = EntryId {
            counter: counter.id,
            seq,
        };
        let what = match self.entry_in_run(id, counter.last_seq)? {
            // A param that does not split the count made it another number.
            Some(entry) if *entry.number != *number => return Ok(()),
            Some(entry) => (Some(entry), "issued"),
            None => (None, "passed over"),
        };
        let (entry, what) = what;
        let message = format!(
            "{number} was already {what} in series {}, which this one replaces; advance the counter past it",
            old.name
        );
        Err(Refusal::new(Code::NumberExists, message).about(entry).into())
    }

    /// Writes the entry and its event; the caller moved the counter's seq already.
    pub(super) fn enter(
        &mut self,
        counter: &mut Counter,
        number: String,
        seq: u64,
        date: Date,
        material: &Material,
    ) -> Arc<Entry> {
        let (kind, state) = match material.origin {
            Origin::Issue => (EventKind::Issued, State::Issued),
            Origin::Reserve => (EventKind::Reserved, State::Reserved),
            Origin::Adopt => (EventKind::Adopted, State::Issued),
        };
        match state {
            State::Issued => counter.counts.issued += 1,
            State::Reserved => counter.counts.reserved += 1,
            State::Voided => counter.counts.voided += 1,
        }
        let number: Arc<str> = Arc::from(number);
        let event = Event {
            seq: Some(seq),
            number: Some(number.clone()),
            date: Some(date),
            key: material.key.clone(),
            params: material.params.clone(),
            reference: material.reference.clone(),
            expires_at: material.expires_at,
            link: material.replaces,
            document: material.document_sha256,
            ..self.event(kind)
        };
        let event = self.append(counter, event);
        let entry = Arc::new(Entry {
            id: EntryId {
                counter: counter.id,
                seq,
            },
            counter: counter.key.clone(),
            number,
            state,
            origin: material.origin,
            date,
            key: material.key.clone(),
            params: material.params.clone(),
            reference: material.reference.clone(),
            document: material.document.clone(),
            document_sha256: material.document_sha256,
            taken_at: self.now,
            issued_at: (state == State::Issued).then_some(self.now),
            expires_at: material.expires_at,
            voided_at: None,
            reason_code: None,
            reason: None,
            replaces: material.replaces,
            replacement: None,
            position: event.position,
            hash: event.hash,
        });
        self.put_new_entry(entry.clone());
        entry
    }
}

impl Material {
    fn of(take: &Take, params: Params, origin: Origin, ttl: Option<Ttl>, now: Timestamp) -> Self {
        Self {
            origin,
            tenant: take.tenant.clone(),
            params,
            key: take.key.clone(),
            reference: take.reference.clone(),
            document: take.document.clone(),
            document_sha256: take.document.as_ref().map(Document::sha256),
            expires_at: ttl.map(|ttl| now.plus_seconds(ttl.as_seconds())),
            replaces: None,
        }
    }
}

/// What replaces a series shares its uniqueness by looking at the old counters; so these stand still.
pub(super) fn refuse_replaced(series: &Series) -> Result<(), Refusal> {
    match &series.replaced_by {
        None => Ok(()),
        Some(next) => {
            let message = format!("series {} was replaced by {next}; use that one", series.name);
            Err(Refusal::new(Code::SeriesReplaced, message).at("/series"))
        }
    }
}

pub(super) fn check_window(series: &Series, date: Date, today: Date) -> Result<(), Refusal> {
    let first = today.plus_days(-series.window.back);
    let last = today.plus_days(series.window.ahead);
    if (first..=last).contains(&date) {
        return Ok(());
    }
    let message = format!(
        "{date} is outside {first} to {last}, the dates that series {} accepts on {today}; correct the date or \
         change date_window",
        series.name
    );
    Err(Refusal::new(Code::DateOutsideWindow, message).at("/date"))
}

pub(super) fn date_order(series: &Series, date: Date, last: Date) -> Refusal {
    let message = format!(
        "{date} is before {last}, the date of the number before it; series {} keeps dates in order",
        series.name
    );
    Refusal::new(Code::DateOrder, message).at("/date")
}

fn next_seq(series: &Series, counter: &Counter) -> Result<u64, Refusal> {
    let seq = counter.last_seq.checked_add(1).filter(|seq| *seq <= series.seq_max());
    seq.ok_or_else(|| {
        let key = &counter.key;
        let way_out = match series.end_for_ever(&key.tenant, &key.partition, counter.last_seq) {
            Some(_) => "define a series that replaces it",
            None => "raise the limit, set overflow = \"widen\" or define a series that replaces it",
        };
        let message = format!("the counter of {key} has no seq after {}; {way_out}", counter.last_seq);
        Refusal::new(Code::CounterExhausted, message)
    })
}

pub(super) fn warnings(series: &Series, entry: &Entry) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let seq = entry.id.seq;
    let width_max = series.width_max();
    if width_max.is_some_and(|width_max| seq > width_max) {
        warnings.push(Warning::Widened {
            number: entry.number.clone(),
            width: series.format.seq_width(),
        });
    }
    // The next end in sight: the width after which numbers get longer, then a hard one.
    let wider = width_max.filter(|width_max| seq <= *width_max);
    let end = wider.map_or(series.seq_max(), |wider| wider.min(series.seq_max()));
    if seq <= end && end < Series::SEQ_MAX && end - seq < (end / 10).max(1) {
        warnings.push(Warning::NearLimit { left: end - seq });
    }
    warnings
}

pub(super) fn differences(entry: &Entry, date: Option<Date>, material: &Material) -> Vec<&'static str> {
    let mut differs = Vec::new();
    if date.is_some_and(|date| date != entry.date) {
        differs.push("date");
    }
    // A reservation may get its document when it is confirmed; to reserve again without one is the same request.
    let document_came_later =
        material.origin == Origin::Reserve && material.document_sha256.is_none() && entry.issued_at.is_some();
    if material.document_sha256 != entry.document_sha256 && !document_came_later {
        differs.push("document");
    }
    differs
}

fn reused(entry: &Arc<Entry>, what: &str) -> Halt {
    let message = format!(
        "this key was used before {what}, and got {}; use a key of its own for each document",
        entry.number
    );
    Refusal::new(Code::KeyReused, message)
        .at("/key")
        .about([entry.clone()])
        .into()
}
