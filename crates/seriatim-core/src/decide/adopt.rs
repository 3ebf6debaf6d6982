//! Adopt: record a number that was issued elsewhere. It raises the counter, or fills a missing seq.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::answer::{Answer, EntriesAnswer, Taken};
use super::changes::Change;
use super::draft::Draft;
use super::issue::{Material, date_order, refuse_replaced};
use super::snapshot::{KeyBinding, KeyRef};
use crate::access::ApiScope;
use crate::command::Adopt;
use crate::counter::{Counter, CounterKey, Missing};
use crate::entry::{EntryId, Origin};
use crate::journal::EventKind;
use crate::name::{Reason, SeriesName, Tenant};
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::series::{DateOrder, Series};
use crate::time::Date;

impl Draft<'_> {
    pub(super) fn adopt(&mut self, name: &SeriesName, adopt: &Adopt) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        self.access().require_on(ApiScope::Issue, &series, &adopt.tenant)?;
        let (params, seq) = read(&series, adopt)?;
        let material = Material {
            origin: Origin::Adopt,
            tenant: adopt.tenant.clone(),
            params,
            key: adopt.key.clone(),
            reference: adopt.reference.clone(),
            document: adopt.document.clone(),
            document_sha256: adopt.document.as_ref().map(crate::document::Document::sha256),
            expires_at: None,
            replaces: None,
        };
        if let Some(taken) = self.replay(&series, Some(adopt.date), &material, 1)? {
            return same_number(series, taken, adopt);
        }
        let entry = self.adopt_at(&series, adopt, seq, &material)?;
        if let Some(key) = &adopt.key {
            let at = KeyRef {
                key: key.clone(),
                series: series.name.clone(),
                tenant: adopt.tenant.clone(),
            };
            let first = entry.id;
            self.bind_key(at, KeyBinding { first, count: 1 });
        }
        Ok(answer(
            series,
            Taken {
                entry,
                replayed: false,
                differs: Vec::new(),
            },
        ))
    }

    fn adopt_at(
        &mut self,
        series: &Arc<Series>,
        adopt: &Adopt,
        seq: u64,
        material: &Material,
    ) -> Result<Arc<crate::entry::Entry>, Halt> {
        let period = series.reset.period_of(adopt.date);
        self.require_open(&series.name, &adopt.tenant, &period, "/date")?;
        let key = Arc::new(CounterKey {
            series: series.name.clone(),
            tenant: adopt.tenant.clone(),
            partition: material.params.only(&series.partition_by),
            period,
        });
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
            if let (DateOrder::Required, Some(last)) = (series.date_order, place.last_date)
                && adopt.date < last
            {
                return Err(date_order(series, adopt.date, last).into());
            }
            let reason = reason(&format!("not issued before {} was adopted", adopt.number));
            self.pass_over(place, seq - 1, reason);
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
        self.put(Change::NewMissing(counter.id, run.clone()));
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
            let message = format!("{} exists already in series {}", adopt.number, series.name);
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
        self.put(Change::RemovedMissing(counter.id, run.clone()));
        for (first, last) in [(run.first, seq - 1), (seq + 1, run.last)] {
            if first <= last {
                let rest = Missing {
                    first,
                    last,
                    reason: run.reason.clone(),
                };
                self.put(Change::NewMissing(counter.id, rest));
            }
        }
        counter.counts.missing -= 1;
        Ok(())
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

fn same_number(series: Arc<Series>, mut taken: Vec<Taken>, adopt: &Adopt) -> Result<Answer, Halt> {
    match taken.pop() {
        Some(taken) if *taken.entry.number == *adopt.number => Ok(answer(series, taken)),
        other => {
            let number = other.as_ref().map_or("another number", |taken| &*taken.entry.number);
            let message = format!("this key stands for {number} already; adopt each number with a key of its own");
            let refusal = Refusal::new(Code::KeyReused, message).at("/key");
            Err(refusal.about(other.map(|taken| taken.entry)).into())
        }
    }
}

fn answer(series: Arc<Series>, taken: Taken) -> Answer {
    Answer::Entries(EntriesAnswer {
        series,
        taken: Vec::from([taken]),
        voided: None,
        warnings: Vec::new(),
    })
}

/// A reason that we word ourselves; our words keep the rules for reasons, and a long number is cut.
fn reason(text: &str) -> Reason {
    let text: String = text.chars().take(1000).collect();
    Reason::parse(&text).unwrap_or_else(|_| Reason::fallback())
}
