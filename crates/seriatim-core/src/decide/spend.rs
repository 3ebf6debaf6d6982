//! What becomes of a number after it was taken: confirm, release, expire, void, redact.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Halt;
use super::answer::{Answer, EntriesAnswer, Taken};
use super::draft::Draft;
use super::issue::{Material, warnings};
use super::snapshot::{KeyBinding, KeyRef};
use crate::access::ApiScope;
use crate::command::Void;
use crate::counter::Counter;
use crate::document::Document;
use crate::entry::{Entry, EntryId, Origin, State};
use crate::journal::{Event, EventKind};
use crate::name::Reason;
use crate::refusal::{Code, Refusal};
use crate::series::{OnExpiry, Series};

impl Draft<'_> {
    pub(super) fn confirm(&mut self, id: EntryId, document: Option<&Document>) -> Result<Answer, Halt> {
        self.access().require(ApiScope::Issue)?;
        let (entry, series) = self.entry(id)?;
        match entry.state {
            State::Voided => return self.refuse_void(entry, Code::Voided),
            State::Issued if entry.origin != Origin::Reserve => {
                let message = format!(
                    "{} was issued at once and never reserved; nothing to confirm",
                    entry.number
                );
                return Err(refused(Code::NotReserved, message, [entry]));
            }
            State::Issued => return confirmed_again(series, entry, document),
            State::Reserved => {}
        }
        if entry.is_overdue(self.now) && series.on_expiry == OnExpiry::Void {
            let message = format!(
                "the reservation of {} is over and its number will be void; issue a new one",
                entry.number
            );
            return Err(refused(Code::ReservationExpired, message, [entry]));
        }
        let event = self.event(EventKind::Confirmed);
        let now = self.now;
        let entry = self.change(entry, event, |entry, counter| {
            counter.counts.reserved -= 1;
            counter.counts.issued += 1;
            entry.state = State::Issued;
            entry.issued_at = Some(now);
            if let Some(document) = document {
                entry.document = Some(document.clone());
                entry.document_sha256 = Some(document.sha256());
            }
        })?;
        Ok(answer(series, entry, false))
    }

    pub(super) fn release(&mut self, id: EntryId, reason: &Reason) -> Result<Answer, Halt> {
        self.access().require(ApiScope::Issue)?;
        let (entry, series) = self.entry(id)?;
        match entry.state {
            State::Reserved => self.spend_reserved(series, entry, EventKind::Released, "released", reason),
            State::Voided => self.refuse_void(entry, Code::AlreadyVoided),
            State::Issued => {
                let message = format!(
                    "{} is issued, so it cannot be released; void it with a reason",
                    entry.number
                );
                Err(refused(Code::NotReserved, message, [entry]))
            }
        }
    }

    pub(super) fn expire(&mut self, id: EntryId) -> Result<Answer, Halt> {
        self.access().require(ApiScope::Issue)?;
        let (entry, series) = self.entry(id)?;
        if entry.is_overdue(self.now) && series.on_expiry == OnExpiry::Void {
            let reason = Reason::parse("the reservation ran out")?;
            return self.spend_reserved(series, entry, EventKind::Expired, "expired", &reason);
        }
        let message = format!("the reservation of {} still stands", entry.number);
        Err(refused(Code::ReservationOpen, message, [entry]))
    }

    fn spend_reserved(
        &mut self,
        series: Arc<Series>,
        entry: Arc<Entry>,
        kind: EventKind,
        code: &str,
        reason: &Reason,
    ) -> Result<Answer, Halt> {
        let mut event = self.event(kind);
        event.reason_code = Some(Arc::from(code));
        event.reason = Some(reason.clone());
        let entry = self.spend(entry, event, None)?;
        Ok(answer(series, entry, false))
    }

    pub(super) fn void(&mut self, void: &Void) -> Result<Answer, Halt> {
        self.access().require(ApiScope::Void)?;
        let (entry, series) = self.entry(void.entry)?;
        if entry.state == State::Voided {
            return self.refuse_void(entry, Code::AlreadyVoided);
        }
        self.require_open(
            &entry.counter.series,
            &entry.counter.tenant,
            &entry.counter.period,
            "/id",
        )?;
        let replacement = if void.reissue {
            Some(self.reissue(&series, &entry)?)
        } else {
            None
        };
        let mut event = self.event(EventKind::Voided);
        event.reason_code = Some(Arc::from(void.reason_code.as_str()));
        event.reason = Some(void.reason.clone());
        let voided = self.spend(entry, event, replacement.as_ref().map(|entry| entry.id))?;
        let Some(replacement) = replacement else {
            return Ok(answer(series, voided, false));
        };
        let warnings = warnings(&series, &replacement);
        Ok(Answer::Entries(EntriesAnswer {
            series,
            taken: Vec::from([Taken {
                entry: replacement,
                replayed: false,
                differs: Vec::new(),
            }]),
            voided: Some(voided),
            warnings,
        }))
    }

    /// Whoever voids again after a lost answer must hear of the replacement: say both.
    fn refuse_void(&self, entry: Arc<Entry>, code: Code) -> Result<Answer, Halt> {
        let replacement = entry.replacement.map(|id| self.entry_if_any(id)).transpose()?.flatten();
        let reason = entry.reason.as_deref().unwrap_or("no reason");
        let mut message = format!("{} is void already ({reason})", entry.number);
        if let Some(replacement) = &replacement {
            message.push_str(&format!("; its replacement is {}", replacement.number));
        }
        let both = [Some(entry), replacement].into_iter().flatten();
        Err(refused(code, message, both))
    }

    /// Issues the replacement, dated today; the key moves to it.
    fn reissue(&mut self, series: &Arc<Series>, entry: &Entry) -> Result<Arc<Entry>, Halt> {
        let material = Material {
            origin: Origin::Issue,
            tenant: entry.counter.tenant.clone(),
            params: entry.params.clone(),
            key: entry.key.clone(),
            reference: entry.reference.clone(),
            document: entry.document.clone(),
            // A redacted document is not on the replacement, so its hash is not either.
            document_sha256: entry.document.as_ref().map(Document::sha256),
            expires_at: None,
            replaces: Some(entry.id),
        };
        let mut moved = None;
        if let Some(key) = &entry.key {
            let at = KeyRef {
                key: key.clone(),
                series: series.name.clone(),
                tenant: entry.counter.tenant.clone(),
            };
            if self.binding(&at)?.is_some_and(|binding| binding.count > 1) {
                let message = format!(
                    "{} shares its key with other numbers, so the key cannot move; void it without reissue and issue \
                     a new number with a key of its own",
                    entry.number
                );
                return Err(Refusal::new(Code::KeyShared, message).at("/reissue").into());
            }
            moved = Some(at);
        }
        let taken = self.take_next(series, None, &material);
        let replacement = taken.map_err(|halt| match halt {
            // Neither a date nor a series was given, whatever stands in the way.
            Halt::Refused(refusal) => refusal.at("/reissue").into(),
            unloaded @ Halt::Unloaded(_) => unloaded,
        })?;
        if let Some(at) = moved {
            let first = replacement.id;
            self.move_key(at, KeyBinding { first, count: 1 });
        }
        Ok(replacement)
    }

    pub(super) fn redact(&mut self, id: EntryId, reason: &Reason) -> Result<Answer, Halt> {
        self.access().require(ApiScope::Void)?;
        let (entry, series) = self.entry(id)?;
        if entry.state == State::Reserved {
            let message = format!("{} is only reserved; confirm or release it first", entry.number);
            return Err(refused(Code::ReservationOpen, message, [entry]));
        }
        if entry.document.is_none() {
            let what = if entry.is_redacted() {
                "is redacted already"
            } else {
                "has no document"
            };
            let message = format!("{} {what}", entry.number);
            return Err(refused(Code::NothingToRedact, message, [entry]));
        }
        let mut event = self.event(EventKind::Redacted);
        event.reason = Some(reason.clone());
        let entry = self.change(entry, event, |entry, _| entry.document = None)?;
        Ok(answer(series, entry, false))
    }

    fn spend(&mut self, entry: Arc<Entry>, event: Event, replacement: Option<EntryId>) -> Result<Arc<Entry>, Halt> {
        let (code, reason, now) = (event.reason_code.clone(), event.reason.clone(), self.now);
        let event = Event {
            link: replacement,
            // The chain tells that the key moved to the replacement.
            key: replacement.and(entry.key.clone()),
            ..event
        };
        self.change(entry, event, |entry, counter| {
            match entry.state {
                State::Reserved => counter.counts.reserved -= 1,
                State::Issued => counter.counts.issued -= 1,
                State::Voided => counter.counts.voided -= 1,
            }
            counter.counts.voided += 1;
            entry.state = State::Voided;
            entry.voided_at = Some(now);
            entry.reason_code = code;
            entry.reason = reason;
            entry.replacement = replacement;
        })
    }

    /// Appends an event about an entry and changes both the entry and its counter.
    fn change(
        &mut self,
        mut entry: Arc<Entry>,
        event: Event,
        change: impl FnOnce(&mut Entry, &mut Counter),
    ) -> Result<Arc<Entry>, Halt> {
        let Some(mut counter) = self.counter(&entry.counter)? else {
            let message = format!("entry {} has no counter; run `seriatim verify`", entry.id);
            return Err(Refusal::new(Code::UnknownEntry, message).into());
        };
        let place = Arc::make_mut(&mut counter);
        let changed = Arc::make_mut(&mut entry);
        change(changed, place);
        let event = Event {
            seq: Some(changed.id.seq),
            number: Some(changed.number.clone()),
            // Every event carries the hash of the document as it leaves it, so that the latest one vouches for it.
            document: changed.document_sha256,
            ..event
        };
        let event = self.append(place, event);
        changed.position = event.position;
        changed.hash = event.hash;
        self.put_counter(counter);
        self.put_entry(entry.clone());
        Ok(entry)
    }
}

fn confirmed_again(series: Arc<Series>, entry: Arc<Entry>, document: Option<&Document>) -> Result<Answer, Halt> {
    if document.is_none_or(|document| Some(document.sha256()) == entry.document_sha256) {
        return Ok(answer(series, entry, true));
    }
    let message = format!(
        "{} is confirmed already, with another document; void it and issue anew",
        entry.number
    );
    Err(Refusal::new(Code::AlreadyIssued, message)
        .at("/document")
        .about([entry])
        .into())
}

/// What cannot be done to an entry as it is.
fn refused(code: Code, message: String, entries: impl IntoIterator<Item = Arc<Entry>>) -> Halt {
    Refusal::new(code, message).at("/id").about(entries).into()
}

fn answer(series: Arc<Series>, entry: Arc<Entry>, replayed: bool) -> Answer {
    Answer::Entries(EntriesAnswer {
        series,
        taken: Vec::from([Taken {
            entry,
            replayed,
            differs: Vec::new(),
        }]),
        voided: None,
        warnings: Vec::new(),
    })
}
