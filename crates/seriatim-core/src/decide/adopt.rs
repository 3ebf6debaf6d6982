//! Adopt: record numbers that were issued elsewhere. Each raises its counter, or fills a missing seq.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::administer::require_next;
use super::answer::{Answer, EntriesAnswer, Taken};
use super::draft::Draft;
use super::issue::{Material, check_window, date_order, differences, refuse_replaced};
use super::snapshot::{Footprint, KeyBinding, KeyRef};
use crate::access::ApiScope;
use crate::command::{Adopt, check_count};
use crate::counter::{Counter, CounterKey, Missing};
use crate::entry::{Entry, EntryId, Origin};
use crate::journal::EventKind;
use crate::name::{Reason, SeriesName, Tenant};
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::series::{DateOrder, ReplayPolicy, Series};
use crate::time::Date;

impl Draft<'_> {
    pub(super) fn adopt(&mut self, name: &SeriesName, adopt: &Adopt) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        self.access().require_on(ApiScope::Issue, &series, &adopt.tenant)?;
        let (params, seq) = read(&series, adopt)?;
        let material = material(adopt, params);
        if let Some(taken) = self.replay(&series, Some(adopt.date), &material, 1)? {
            return Ok(answer(series, Vec::from([same_number(taken, adopt)?])));
        }
        let taken = self.adopt_new(&series, adopt, seq, &material, None)?;
        Ok(answer(series, Vec::from([taken])))
    }

    /// A number that is recorded already is no refusal here: who moves in sends the same rows again.
    pub(super) fn adopt_items(
        &mut self,
        name: &SeriesName,
        items: &[Adopt],
        missing_reason: Option<&Reason>,
    ) -> Result<Answer, Halt> {
        check_count("items", items.len())?;
        let series = self.series(name)?;
        let mut taken = Vec::with_capacity(items.len());
        let mut unloaded = Footprint::default();
        for (i, adopt) in items.iter().enumerate() {
            match self.adopt_item(&series, adopt, missing_reason) {
                Ok(number) => taken.push(number),
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
        Ok(answer(series, taken))
    }

    fn adopt_item(
        &mut self,
        series: &Arc<Series>,
        adopt: &Adopt,
        missing_reason: Option<&Reason>,
    ) -> Result<Taken, Halt> {
        self.access().require_on(ApiScope::Issue, series, &adopt.tenant)?;
        let (params, seq) = read(series, adopt)?;
        let material = material(adopt, params);
        if let Some(taken) = self.recorded(series, adopt, seq, &material)? {
            return Ok(taken);
        }
        if let Some(taken) = self.replay(series, Some(adopt.date), &material, 1)? {
            return same_number(taken, adopt);
        }
        self.adopt_new(series, adopt, seq, &material, missing_reason)
    }

    /// The entry of this number, whoever took it and whatever became of it, unless it is of another key.
    fn recorded(&self, series: &Series, adopt: &Adopt, seq: u64, material: &Material) -> Result<Option<Taken>, Halt> {
        let counter = self.counter(&place(series, adopt, material))?;
        let Some(counter) = counter.filter(|counter| seq <= counter.last_seq) else {
            return Ok(None);
        };
        let entry = self.entry_if_any(EntryId {
            counter: counter.id,
            seq,
        })?;
        let is_it =
            |entry: &Arc<Entry>| *entry.number == *adopt.number && (adopt.key.is_none() || adopt.key == entry.key);
        let Some(entry) = entry.filter(is_it) else {
            return Ok(None);
        };
        let differs = differences(&entry, Some(adopt.date), material);
        let is_same = series.replay == ReplayPolicy::Lenient || differs.is_empty();
        Ok(is_same.then_some(Taken {
            entry,
            replayed: true,
            differs,
        }))
    }

    fn adopt_new(
        &mut self,
        series: &Arc<Series>,
        adopt: &Adopt,
        seq: u64,
        material: &Material,
        missing_reason: Option<&Reason>,
    ) -> Result<Taken, Halt> {
        self.refuse_later_key(series, adopt)?;
        let entry = self.adopt_at(series, adopt, seq, material, missing_reason)?;
        if let Some(key) = &adopt.key {
            let at = KeyRef {
                key: key.clone(),
                series: series.name.clone(),
                tenant: adopt.tenant.clone(),
            };
            let first = entry.id;
            self.bind_key(at, KeyBinding { first, count: 1 });
        }
        Ok(Taken {
            entry,
            replayed: false,
            differs: Vec::new(),
        })
    }

    /// A gap of a series that was replaced can still be filled; its key may stand for a number of those that came after.
    fn refuse_later_key(&self, series: &Series, adopt: &Adopt) -> Result<(), Halt> {
        let (Some(key), Some(mut name)) = (&adopt.key, series.replaced_by.clone()) else {
            return Ok(());
        };
        let mut walked = Vec::from([series.name.clone()]);
        while !walked.contains(&name) {
            let at = KeyRef {
                key: key.clone(),
                series: name.clone(),
                tenant: adopt.tenant.clone(),
            };
            if let Some(binding) = self.binding(&at)? {
                return Err(other_number(self.entry_if_any(binding.first)?));
            }
            walked.push(name.clone());
            // Whether the caller sees it or not: the line is one.
            let later = self.series_if_any(&name)?;
            match later.and_then(|later| later.replaced_by.clone()) {
                Some(next) => name = next,
                None => break,
            }
        }
        // Two series of a line bind a key apart, so nobody takes numbers in the later ones until this is committed.
        self.definitions_head().map(drop)
    }

    fn adopt_at(
        &mut self,
        series: &Arc<Series>,
        adopt: &Adopt,
        seq: u64,
        material: &Material,
        missing_reason: Option<&Reason>,
    ) -> Result<Arc<Entry>, Halt> {
        let today = series.today(self.now);
        // What is moved in may be as old as it is; but a typo must not open a counter decades ahead.
        if adopt.date > today {
            check_window(series, adopt.date, today)?;
        }
        let key = place(series, adopt, material);
        self.require_open(&series.name, &adopt.tenant, &key.period, "/date")?;
        let counter = self.counter(&key)?;
        let mut counter = counter.unwrap_or_else(|| Arc::new(Counter::open(key, series.start)));
        self.check_number(series, &adopt.tenant, &adopt.number)
            .map_err(|halt| match halt {
                Halt::Refused(refusal) => Halt::Refused(refusal.at("/number")),
                Halt::Unloaded(need) => Halt::Unloaded(need),
            })?;
        let place = Arc::make_mut(&mut counter);
        if seq > place.last_seq {
            refuse_replaced(series)?;
            require_next(series, &place.key, seq).map_err(|refusal| refusal.at("/number"))?;
            if let (DateOrder::Required, Some(last)) = (series.date_order, place.last_date)
                && adopt.date < last
            {
                return Err(date_order(series, adopt.date, last).into());
            }
            let ours = || reason(&format!("not issued before {} was adopted", adopt.number));
            self.pass_over(place, seq - 1, missing_reason.cloned().unwrap_or_else(ours));
            place.last_seq = seq;
        } else {
            self.fill_missing(series, place, seq, adopt)?;
        }
        place.last_date = place.last_date.max(Some(adopt.date));
        let entry = self.enter(place, adopt.number.clone(), seq, adopt.date, material);
        self.put_counter(counter);
        Ok(entry)
    }

    /// Makes the seqs up to and with `to` missing; none if the counter is already there.
    pub(super) fn pass_over(&mut self, counter: &mut Counter, to: u64, reason: Reason) -> Option<Missing> {
        if to <= counter.last_seq {
            return None;
        }
        let run = Missing {
            first: counter.last_seq + 1,
            last: to,
            reason,
        };
        let mut event = self.event(EventKind::Missing);
        event.seq = Some(run.first);
        event.seq_last = Some(run.last);
        event.reason = Some(run.reason.clone());
        self.append(counter, event);
        self.put_missing(counter.id, run.clone());
        counter.counts.missing += run.size();
        counter.last_seq = to;
        Some(run)
    }

    /// Takes a seq out of the run of missing ones that holds it.
    fn fill_missing(&mut self, series: &Series, counter: &mut Counter, seq: u64, adopt: &Adopt) -> Result<(), Halt> {
        let id = EntryId {
            counter: counter.id,
            seq,
        };
        let Some(run) = self.missing_at(id)? else {
            let taken = self.entry_if_any(id)?;
            let keys = taken.as_ref().map_or(String::new(), |entry| other_key(entry, adopt));
            let message = format!("{} exists already in series {}{keys}", adopt.number, series.name);
            return Err(Refusal::new(Code::NumberExists, message)
                .at("/number")
                .about(taken)
                .into());
        };
        if series.date_order == DateOrder::Required {
            let message = format!(
                "series {} keeps dates in order, so numbers are adopted in the order of their seq; {} comes after {}",
                series.name, adopt.number, counter.last_seq
            );
            return Err(Refusal::new(Code::DateOrder, message).at("/number").into());
        }
        self.remove_missing(counter.id, run.clone());
        for (first, last) in [(run.first, seq - 1), (seq + 1, run.last)] {
            if first <= last {
                let rest = Missing {
                    first,
                    last,
                    reason: run.reason.clone(),
                };
                self.put_missing(counter.id, rest);
            }
        }
        counter.counts.missing -= 1;
        Ok(())
    }
}

/// For which key the number is there, if this one is for another: two documents bear it.
fn other_key(entry: &Entry, adopt: &Adopt) -> String {
    match (&entry.key, &adopt.key) {
        (Some(there), Some(key)) if there != key => {
            format!(", for key {there} and not for {key}; the document of {key} needs a number of its own")
        }
        (None, Some(key)) => format!(", without a key and not for {key}; adopt it without one"),
        (_, _) => String::new(),
    }
}

/// Reads the number back; it must be exactly what the series would print on that date.
fn read(series: &Series, adopt: &Adopt) -> Result<(Params, u64), Refusal> {
    series.accept_date(adopt.date)?;
    let unfit = |what: String| Refusal::new(Code::NumberDoesNotFit, what).at("/number");
    let shown: String = adopt.number.chars().take(64).collect();
    let shown = shown.escape_debug().to_string();
    let Some((params, _, seq)) = series.read(&adopt.number, &adopt.tenant) else {
        let example = example(series, &adopt.tenant, adopt.date);
        let message = format!(
            "the format {} cannot print `{shown}`; it prints numbers like {example}",
            series.format
        );
        return Err(unfit(message));
    };
    let printed = series.render(&adopt.tenant, &params, adopt.date, seq);
    if printed != adopt.number {
        return Err(unfit(format!(
            "on {} the format {} prints {printed}, not `{shown}`",
            adopt.date, series.format
        )));
    }
    let length = printed.chars().count();
    if length > series.max_length {
        return Err(unfit(format!(
            "{shown} has {length} characters, more than max_length = {}",
            series.max_length
        )));
    }
    if seq < series.start || seq > series.seq_max() {
        let message = format!("seq {seq} is not between {} and {}", series.start, series.seq_max());
        return Err(unfit(message));
    }
    Ok((params, seq))
}

fn example(series: &Series, tenant: &Tenant, date: Date) -> String {
    use crate::scope::ParamKind;
    let values = series.params.iter().map(|(name, kind)| {
        let value = match kind {
            ParamKind::Digits { min, .. } => "1".repeat(usize::from(*min)),
            ParamKind::Letters { min, .. } => "A".repeat(usize::from(*min)),
            ParamKind::OneOf(values) => values.first().cloned().unwrap_or_default(),
        };
        (name.clone(), value)
    });
    series.render(tenant, &Params::from_pairs(values), date, series.start)
}

/// Which count the number belongs to.
fn place(series: &Series, adopt: &Adopt, material: &Material) -> Arc<CounterKey> {
    Arc::new(CounterKey {
        series: series.name.clone(),
        tenant: adopt.tenant.clone(),
        partition: material.params.only(&series.partition_by),
        period: series.reset.period_of(adopt.date),
    })
}

fn material(adopt: &Adopt, params: Params) -> Material {
    Material {
        origin: Origin::Adopt,
        tenant: adopt.tenant.clone(),
        params,
        key: adopt.key.clone(),
        reference: adopt.reference.clone(),
        document: adopt.document.clone(),
        document_sha256: adopt.document.as_ref().map(crate::document::Document::sha256),
        expires_at: None,
        replaces: None,
    }
}

fn same_number(mut taken: Vec<Taken>, adopt: &Adopt) -> Result<Taken, Halt> {
    match taken.pop() {
        Some(taken) if *taken.entry.number == *adopt.number => Ok(taken),
        other => Err(other_number(other.map(|taken| taken.entry))),
    }
}

fn other_number(entry: Option<Arc<Entry>>) -> Halt {
    let number = entry.as_ref().map_or("another number", |entry| &*entry.number);
    let message = format!("this key stands for {number} already; adopt each number with a key of its own");
    Refusal::new(Code::KeyReused, message).at("/key").about(entry).into()
}

fn answer(series: Arc<Series>, taken: Vec<Taken>) -> Answer {
    Answer::Entries(EntriesAnswer {
        series,
        taken,
        voided: None,
        warnings: Vec::new(),
    })
}

/// A reason that we word ourselves; our words keep the rules for reasons, and a long number is cut.
fn reason(text: &str) -> Reason {
    let text: String = text.chars().take(1000).collect();
    Reason::parse(&text).unwrap_or_else(|_| Reason::fallback())
}
