//! What the owner of a store does: define, close, reopen, advance, wipe, API keys.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::answer::Answer;
use super::changes::{Change, Closure, ClosureCounter};
use super::draft::Draft;
use super::issue::refuse_replaced;
use super::snapshot::PeriodRef;
use crate::access::{ApiKey, ApiScope};
use crate::counter::{Counter, CounterKey};
use crate::journal::EventKind;
use crate::name::{Reason, SeriesName, Tenant, is_unprintable};
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::series::Series;

impl Draft<'_> {
    pub(super) fn define(&mut self, wanted: &Series, if_version: Option<u64>) -> Result<Answer, Halt> {
        self.require_admin_of(wanted)?;
        match self.series_if_any(&wanted.name)? {
            None => self.define_new(wanted, if_version),
            Some(current) => {
                // A test key must not take a series over by calling it a test series.
                self.require_admin_of(&current)?;
                self.redefine(&current, wanted, if_version)
            }
        }
    }

    /// A definition, and a wipe, concern every tenant of the series.
    fn require_admin_of(&self, series: &Series) -> Result<(), Refusal> {
        let tenant = self.access().tenants.first().cloned().unwrap_or_default();
        self.access().require_on(ApiScope::Admin, series, &tenant)?;
        if self.access().tenants.is_empty() {
            return Ok(());
        }
        let message = "this concerns every tenant of the series; it needs an API key that is not bound to some";
        Err(Refusal::new(Code::Forbidden, message))
    }

    fn define_new(&mut self, wanted: &Series, if_version: Option<u64>) -> Result<Answer, Halt> {
        if let Some(version) = if_version {
            let message = format!("there is no series {} yet, let alone version {version}", wanted.name);
            return Err(Refusal::new(Code::VersionMismatch, message).into());
        }
        let series = Arc::new(Series {
            version: 1,
            replaced_by: None,
            ..wanted.clone()
        });
        let old = series
            .replaces
            .as_ref()
            .map(|old| self.replaceable(old, series.test))
            .transpose()?;
        self.put_series(series.clone(), EventKind::Defined)?;
        if let Some(old) = old {
            let retired = Series {
                version: old.version + 1,
                replaced_by: Some(series.name.clone()),
                ..(*old).clone()
            };
            self.put_series(Arc::new(retired), EventKind::Changed)?;
        }
        Ok(Answer::Series { series, changed: true })
    }

    fn replaceable(&self, name: &SeriesName, by_test: bool) -> Result<Arc<Series>, Halt> {
        let unfit = |message| Halt::from(Refusal::new(Code::InvalidDefinition, message).at("/replaces"));
        // To replace a series is to end it, so it must be one that the caller may define.
        let old = self.series_if_any(name)?.filter(|old| self.access().sees_series(old));
        let old = old.ok_or_else(|| unfit(format!("there is no series {name} to replace")))?;
        match &old.replaced_by {
            Some(by) => Err(unfit(format!(
                "series {name} was already replaced by {by}; replace that one"
            ))),
            // The numbers of a test series can be wiped, and then nothing would keep them from being printed again.
            None if old.test != by_test => Err(unfit(format!(
                "a test series and one whose numbers are kept cannot replace each other; {name} has test = {}",
                old.test
            ))),
            None => Ok(old),
        }
    }

    fn redefine(&mut self, current: &Series, wanted: &Series, if_version: Option<u64>) -> Result<Answer, Halt> {
        let next = Series {
            version: current.version,
            replaced_by: current.replaced_by.clone(),
            ..wanted.clone()
        };
        if next.to_text() == current.to_text() {
            let series = Arc::new(next);
            return Ok(Answer::Series { series, changed: false });
        }
        check_version(current, if_version)?;
        let height = self.height(&current.name)?;
        let by_numbers = || height.and_then(|_| current.fixed_difference(&next));
        if let Some(setting) = current.line_difference(&next).or_else(by_numbers) {
            let message = format!(
                "{setting} of series {} cannot change any more; define a new series with replaces = \"{}\"",
                current.name, current.name
            );
            return Err(Refusal::new(Code::SeriesFixed, message)
                .at(format!("/{setting}"))
                .into());
        }
        if let Some(height) = height
            && next.seq_max() < height
        {
            let setting = if next.limit == Some(next.seq_max()) {
                "limit"
            } else {
                "overflow"
            };
            let message = format!(
                "a counter of series {} stands at {height} already, above {}",
                current.name,
                next.seq_max()
            );
            return Err(Refusal::new(Code::LimitTooLow, message)
                .at(format!("/{setting}"))
                .into());
        }
        if let Some(height) = height
            && next.max_length < current.max_length
        {
            require_room(&next, height)?;
        }
        let series = Arc::new(Series {
            version: current.version + 1,
            ..next
        });
        self.put_series(series.clone(), EventKind::Changed)?;
        Ok(Answer::Series { series, changed: true })
    }

    fn put_series(&mut self, series: Arc<Series>, kind: EventKind) -> Result<(), Halt> {
        let mut event = self.event(kind);
        event.detail = Some(Arc::from(series.to_detail()));
        self.append_definition(event)?;
        self.put(Change::Series(series));
        Ok(())
    }

    pub(super) fn close(
        &mut self,
        name: &SeriesName,
        tenant: &Tenant,
        period: &str,
        reason: &Reason,
    ) -> Result<Answer, Halt> {
        let at = self.period_of(name, tenant, period)?;
        if let Some(closure) = self.closure(&at)?
            && closure.closed
        {
            let message = format!(
                "period {} of series {name} is closed already ({})",
                at.period, closure.reason
            );
            return Err(Refusal::new(Code::PeriodClosed, message).at("/period").into());
        }
        let mut counters = self.counters_of(&at)?;
        // The order is hashed, so it must not be that of a store.
        counters.sort_by(|a, b| a.key.cmp(&b.key));
        let reserved: u64 = counters.iter().map(|counter| counter.counts.reserved).sum();
        if reserved > 0 {
            let message = format!(
                "period {} of series {name} has {reserved} reserved numbers; confirm or release them first \
                 (`seriatim list {name} --tenant {tenant} --period {} --state reserved` shows them)",
                at.period, at.period
            );
            return Err(Refusal::new(Code::PeriodBusy, message).at("/period").into());
        }
        let counters = counters.iter().map(|counter| closure_counter(counter)).collect();
        self.put_closure(at, true, reason, counters)
    }

    pub(super) fn reopen(
        &mut self,
        name: &SeriesName,
        tenant: &Tenant,
        period: &str,
        reason: &Reason,
    ) -> Result<Answer, Halt> {
        let at = self.period_of(name, tenant, period)?;
        match self.closure(&at)? {
            Some(closure) if closure.closed => self.put_closure(at, false, reason, Vec::new()),
            Some(_) | None => {
                let message = format!("period {} of series {name} is not closed", at.period);
                Err(Refusal::new(Code::PeriodNotClosed, message).at("/period").into())
            }
        }
    }

    fn period_of(&self, name: &SeriesName, tenant: &Tenant, period: &str) -> Result<PeriodRef, Halt> {
        let series = self.series(name)?;
        self.access().require_on(ApiScope::Admin, &series, tenant)?;
        Ok(PeriodRef {
            series: name.clone(),
            tenant: tenant.clone(),
            period: series.reset.period(period)?,
        })
    }

    fn put_closure(
        &mut self,
        at: PeriodRef,
        closed: bool,
        reason: &Reason,
        counters: Vec<ClosureCounter>,
    ) -> Result<Answer, Halt> {
        let mut event = self.event(if closed { EventKind::Closed } else { EventKind::Reopened });
        event.reason = Some(reason.clone());
        let closure = Arc::new(Closure {
            at,
            closed,
            reason: reason.clone(),
            actor: event.actor.clone(),
            when: self.now,
            counters,
        });
        event.detail = Some(Arc::from(closure.to_text()));
        self.append_definition(event)?;
        self.put(Change::Closure(closure.clone()));
        Ok(Answer::Closure(closure))
    }

    pub(super) fn advance(
        &mut self,
        name: &SeriesName,
        tenant: &Tenant,
        params: &BTreeMap<String, String>,
        period: Option<&str>,
        to: u64,
        reason: &Reason,
    ) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        self.access().require_on(ApiScope::Admin, &series, tenant)?;
        refuse_replaced(&series)?;
        let partition = partition_of(&series, params)?;
        let period = match period {
            Some(text) => series.reset.period(text)?,
            None => series.reset.period_of(series.today(self.now)),
        };
        if let Some(day) = series.reset.first_day(period.as_str()) {
            series.accept_date(day).map_err(|refusal| refusal.at("/period"))?;
        }
        self.require_open(name, tenant, &period, "/period")?;
        let key = Arc::new(CounterKey {
            series: name.clone(),
            tenant: tenant.clone(),
            partition,
            period,
        });
        let counter = self.counter(&key)?;
        let mut counter = counter.unwrap_or_else(|| Arc::new(Counter::open(key, series.start)));
        if to > series.seq_max() {
            let message = format!("{to} is above {}, the last seq of series {name}", series.seq_max());
            return Err(Refusal::new(Code::CounterExhausted, message).at("/to").into());
        }
        if to > counter.last_seq {
            require_next(&series, &counter.key, to).map_err(|refusal| refusal.at("/to"))?;
        }
        let too_low = format!("the counter of {} stands at {} already", counter.key, counter.last_seq);
        let missing = self.pass_over(Arc::make_mut(&mut counter), to, reason.clone());
        let missing = missing.ok_or_else(|| Refusal::new(Code::AdvanceTooLow, too_low).at("/to"))?;
        self.put_counter(counter.clone());
        Ok(Answer::Advanced { counter, missing })
    }

    pub(super) fn wipe(&mut self, name: &SeriesName) -> Result<Answer, Halt> {
        let series = self.series(name)?;
        self.require_admin_of(&series)?;
        if !series.test {
            let message = format!("series {name} is not a test series; its numbers are kept for ever");
            return Err(Refusal::new(Code::NotATestSeries, message).at("/series").into());
        }
        let mut event = self.event(EventKind::Wiped);
        event.detail = Some(Arc::from(format!("series={name}")));
        self.append_definition(event)?;
        self.put(Change::Wipe(name.clone()));
        Ok(Answer::Wiped(name.clone()))
    }

    pub(super) fn create_api_key(&mut self, key: &ApiKey) -> Result<Answer, Halt> {
        self.access().require_unbound(ApiScope::Admin)?;
        for (field, text) in [("/id", &key.id), ("/label", &key.label)] {
            // What is kept of a key is one setting a line: a line break in a label could add a scope.
            if text.chars().any(is_unprintable) {
                let name = &field[1..];
                let message = format!("{name}: must not contain control characters, line breaks or direction marks");
                return Err(Refusal::new(Code::InvalidText, message).at(field).into());
            }
        }
        if self.api_key(&key.id)?.is_some() {
            let message = format!("there is an API key {} already; make another id", key.id);
            return Err(Refusal::new(Code::ApiKeyExists, message).at("/id").into());
        }
        let mut event = self.event(EventKind::KeyCreated);
        event.detail = Some(Arc::from(key.to_text()));
        self.append_definition(event)?;
        self.put(Change::ApiKey(key.clone()));
        Ok(Answer::ApiKey(key.clone()))
    }

    pub(super) fn revoke_api_key(&mut self, id: &str) -> Result<Answer, Halt> {
        self.access().require_unbound(ApiScope::Admin)?;
        let Some(key) = self.api_key(id)? else {
            let message = format!("there is no API key {}", id.escape_debug());
            return Err(Refusal::new(Code::UnknownApiKey, message).at("/id").into());
        };
        if key.revoked_at.is_some() {
            return Ok(Answer::ApiKey(key));
        }
        let mut event = self.event(EventKind::KeyRevoked);
        event.detail = Some(Arc::from(format!("id={id}")));
        self.append_definition(event)?;
        let revoked = ApiKey {
            revoked_at: Some(self.now),
            ..key
        };
        self.put(Change::ApiKey(revoked.clone()));
        Ok(Answer::ApiKey(revoked))
    }
}

/// A slip of a digit must not end a counter: what was passed over is not given back.
pub(super) fn require_next(series: &Series, of: &CounterKey, to: u64) -> Result<(), Refusal> {
    let Some(why) = series.end_by_slip(&of.tenant, &of.partition, to) else {
        return Ok(());
    };
    let way_out = if to < Series::SEQ_MAX {
        format!("; if its numbers are to end there, set limit = {to} first")
    } else {
        String::new()
    };
    let message = format!(
        "after {to} series {} could print no number: {why}{way_out}",
        series.name
    );
    Err(Refusal::new(Code::CounterExhausted, message))
}

/// `max_length` is never raised again, so it must leave room for the number after the highest. Of the counter that stands
/// there only its seq is known; and where a limit or `overflow` ends it there, nothing comes after it.
fn require_room(next: &Series, height: u64) -> Result<(), Refusal> {
    let length = next.length_min(None, &Params::default(), height.saturating_add(1));
    if height == next.seq_max() || length <= next.max_length {
        return Ok(());
    }
    let message = format!(
        "a counter of series {} stands at {height} already, and its next number has {length} characters at least, more than \
         max_length = {}; set it to {length} or more",
        next.name, next.max_length
    );
    Err(Refusal::new(Code::LimitTooLow, message).at("/max_length"))
}

fn check_version(current: &Series, if_version: Option<u64>) -> Result<(), Refusal> {
    match if_version {
        Some(version) if version == current.version => Ok(()),
        Some(version) => {
            let message = format!(
                "series {} is at version {}, not {version}; read it again and decide anew",
                current.name, current.version
            );
            Err(Refusal::new(Code::VersionMismatch, message))
        }
        None => {
            let message = format!(
                "series {} exists; to change it, send If-Match: \"{}\" so that nobody's change is lost",
                current.name, current.version
            );
            Err(Refusal::new(Code::VersionRequired, message))
        }
    }
}

/// The params that split the count; those that do not may be left out.
fn partition_of(series: &Series, given: &BTreeMap<String, String>) -> Result<Params, Refusal> {
    let needed = |name: &String| series.partition_by.contains(name) || given.contains_key(name);
    let kinds = series.params.iter().filter(|(name, _)| needed(name));
    let kinds = kinds.map(|(name, kind)| (name.clone(), kind.clone())).collect();
    Ok(Params::canonical(&kinds, given)?.only(&series.partition_by))
}

fn closure_counter(counter: &Counter) -> ClosureCounter {
    ClosureCounter {
        partition: counter.key.partition.clone(),
        first_seq: counter.first_seq,
        last_seq: counter.last_seq,
        counts: counter.counts,
        length: counter.chain.length,
        head: counter.chain.head,
    }
}
