//! The judge: what callers were told, and when, against what is stored in the end.
//!
//! A [`Recorder`] notes when each call began and ended. [`judge`] convicts a history that no honest series can have:
//! a number twice, a number lost, a hole, two numbers for one request, an order against real time. An answer that was
//! lost is *unknown*: it may have happened, and both is fine.
//!
//! Numbers are told apart by tag: the key of a request, or its reference if it has no key. One tag, one request.

pub mod gates;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use seriatim_core::{Answer, Taken};

use crate::audit::all_missing;
use crate::failure::Failure;
use crate::store::{CounterFilter, Reads, StoreError};

/// One number as a caller was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Which count, e.g. `invoice acme 2025-26`.
    pub counter: String,
    /// The integer of the number.
    pub seq: u64,
    /// The text.
    pub number: String,
    /// Whether the caller was told that he had it before.
    pub replayed: bool,
}

impl Given {
    /// A number of an answer.
    #[must_use]
    pub fn of(taken: &Taken) -> Self {
        Self {
            counter: taken.entry.counter.to_string(),
            seq: taken.entry.id.seq,
            number: taken.entry.number.to_string(),
            replayed: taken.replayed,
        }
    }
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// These are your numbers.
    Done(Vec<Given>),
    /// No, and nothing happened.
    Refused,
    /// Nothing happened.
    Nothing,
    /// It may have happened.
    Unknown,
}

impl Told {
    /// What an issuer's answer tells.
    #[must_use]
    pub fn of(answer: &Result<Answer, Failure>) -> Self {
        match answer {
            Ok(Answer::Entries(answer)) => Self::Done(answer.taken.iter().map(Given::of).collect()),
            Ok(_) => Self::Done(Vec::new()),
            Err(Failure::Refused(_)) => Self::Refused,
            Err(Failure::Unknown { .. }) => Self::Unknown,
            Err(Failure::Unavailable { .. } | Failure::Corrupt { .. }) => Self::Nothing,
        }
    }
}

/// One call, from its first moment to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose number in which series: keys mean nothing outside of it.
    pub place: String,
    /// The key, or the reference of a request without one.
    pub tag: String,
    /// When it was sent.
    pub invoked: u64,
    /// When its answer came.
    pub returned: u64,
    /// What the answer was.
    pub told: Told,
}

/// Notes calls as they begin and end. The times are counted, not measured, so that no two are the same.
#[derive(Debug)]
pub struct Recorder<C = Call> {
    noted: Mutex<(u64, Vec<C>)>,
}

impl<C> Default for Recorder<C> {
    fn default() -> Self {
        Self {
            noted: Mutex::new((0, Vec::new())),
        }
    }
}

impl<C: Clone> Recorder<C> {
    /// Every call so far.
    #[must_use]
    pub fn calls(&self) -> Vec<C> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn begin(&self, call_at: impl FnOnce(u64) -> C) -> usize {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.0 += 1;
        let call = call_at(noted.0);
        noted.1.push(call);
        noted.1.len() - 1
    }

    fn end(&self, call: usize, note: impl FnOnce(&mut C, u64)) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.0 += 1;
        let now = noted.0;
        if let Some(call) = noted.1.get_mut(call) {
            note(call, now);
        }
    }
}

impl Recorder {
    /// A call begins; keep what comes back for [`Recorder::told`].
    pub fn invoke(&self, place: &str, tag: &str) -> usize {
        self.begin(|now| Call {
            place: place.to_string(),
            tag: tag.to_string(),
            invoked: now,
            // Until it is told otherwise: it may have happened, and never came back.
            returned: u64::MAX,
            told: Told::Unknown,
        })
    }

    /// A call ends.
    pub fn told(&self, call: usize, told: Told) {
        self.end(call, |call, now| {
            call.returned = now;
            call.told = told;
        });
    }
}

/// What is stored in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readout {
    /// Every count.
    pub counters: Vec<CounterRead>,
    /// Every entry.
    pub entries: Vec<EntryRead>,
}

/// One count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRead {
    /// Which, as in [`Given::counter`].
    pub counter: String,
    /// Its first seq.
    pub first: u64,
    /// Its last.
    pub last: u64,
    /// Runs that were passed over with a reason.
    pub missing: Vec<(u64, u64)>,
}

/// One entry, in whichever state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRead {
    /// Which count.
    pub counter: String,
    /// Whose number in which series.
    pub place: String,
    /// The integer.
    pub seq: u64,
    /// The text.
    pub number: String,
    /// The key, or the reference of an entry without one.
    pub tag: Option<String>,
    /// Whether it replaces a voided one: then it was not taken for its key's first request.
    pub is_replacement: bool,
}

impl Readout {
    /// Reads everything.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn of(reads: &dyn Reads) -> Result<Self, StoreError> {
        const PAGE: usize = 1_000;
        let mut readout = Self::default();
        let mut filter = CounterFilter::default();
        loop {
            let page = reads.counters(&filter, PAGE).await?;
            for counter in &page.rows {
                let missing = all_missing(reads, counter).await?;
                readout.counters.push(CounterRead {
                    counter: counter.key.to_string(),
                    first: counter.first_seq,
                    last: counter.last_seq,
                    missing: missing.iter().map(|run| (run.first, run.last)).collect(),
                });
                let mut after = 0;
                loop {
                    let entries = reads.entries_by_seq(counter.id, after, PAGE).await?;
                    let Some(last) = entries.last() else { break };
                    after = last.id.seq;
                    readout.entries.extend(entries.iter().map(|entry| EntryRead {
                        counter: counter.key.to_string(),
                        place: place(&counter.key.series, &counter.key.tenant),
                        seq: entry.id.seq,
                        number: entry.number.to_string(),
                        tag: entry.key.as_deref().or(entry.reference.as_deref()).map(str::to_string),
                        is_replacement: entry.replaces.is_some(),
                    }));
                }
            }
            match page.next {
                Some(next) => filter.cursor = Some(next),
                None => return Ok(readout),
            }
        }
    }
}

/// Where keys mean something: a tenant in a series.
#[must_use]
pub fn place(series: &str, tenant: &str) -> String {
    format!("{series} {tenant}")
}

/// Why a history is convicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which promise is broken.
    pub crime: Crime,
    /// What was found.
    pub evidence: String,
}

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crime {
    /// Two requests have one number (P1).
    Duplicate,
    /// A seq is in no state, or in two (P2).
    Unaccounted,
    /// A caller was told a number that is not stored so (P6).
    Lost,
    /// One request took two numbers, or a key gave two (P3).
    TakenTwice,
    /// A number was said to be new twice, or to be a replay though nobody can have taken it before (P3).
    Mislabelled,
    /// A lower seq was taken by a call that began after a call with a higher one had ended (P4).
    OutOfOrder,
    /// A number is stored that no request can have taken: none asked, or those were told that nothing happened (P9).
    Invented,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.crime, self.evidence)
    }
}

/// Judges a history against what is stored; empty if no promise is broken.
#[must_use]
pub fn judge(calls: &[Call], readout: &Readout) -> Vec<Verdict> {
    let requests = Requests::of(calls);
    let mut verdicts = Verdicts(Vec::new());
    unique(&requests, readout, &mut verdicts);
    accounted(readout, &mut verdicts);
    stored(calls, readout, &mut verdicts);
    replayed(&requests, &mut verdicts);
    ordered(&requests, &mut verdicts);
    explained(&requests, readout, &mut verdicts);
    verdicts.0
}

struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn convict(&mut self, crime: Crime, evidence: String) {
        self.0.push(Verdict { crime, evidence });
    }
}

type Tag<'a> = (&'a str, &'a str);

/// Calls by what they asked for: a retry asks for the same.
struct Requests<'a>(BTreeMap<Tag<'a>, Vec<&'a Call>>);

impl<'a> Requests<'a> {
    fn of(calls: &'a [Call]) -> Self {
        let mut requests: BTreeMap<Tag, Vec<&Call>> = BTreeMap::new();
        for call in calls {
            requests.entry((&call.place, &call.tag)).or_default().push(call);
        }
        Self(requests)
    }

    fn answers(&self) -> impl Iterator<Item = (Tag<'a>, &'a Call, &'a [Given])> {
        let calls = self
            .0
            .iter()
            .flat_map(|(tag, calls)| calls.iter().map(move |call| (*tag, *call)));
        calls.filter_map(|(tag, call)| match &call.told {
            Told::Done(given) => Some((tag, call, given.as_slice())),
            Told::Refused | Told::Nothing | Told::Unknown => None,
        })
    }
}

/// P1: no number for two requests, neither told nor stored.
fn unique(requests: &Requests, readout: &Readout, verdicts: &mut Verdicts) {
    let mut owners: BTreeMap<(&str, &str), Tag> = BTreeMap::new();
    for (tag, _, given) in requests.answers() {
        for given in given {
            let owner = owners.entry((tag.0, &given.number)).or_insert(tag);
            if *owner != tag {
                let evidence = format!(
                    "{} of {} was given to {} and to {}",
                    given.number, tag.0, owner.1, tag.1
                );
                verdicts.convict(Crime::Duplicate, evidence);
            }
        }
    }
    let mut seen = BTreeSet::new();
    for entry in &readout.entries {
        if !seen.insert((&entry.place, &entry.number)) {
            verdicts.convict(
                Crime::Duplicate,
                format!("{} of {} is stored twice", entry.number, entry.place),
            );
        }
    }
}

/// P2: every seq from the first to the last is in exactly one state.
fn accounted(readout: &Readout, verdicts: &mut Verdicts) {
    let mut stretches: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for counter in &readout.counters {
        stretches.entry(&counter.counter).or_default().extend(&counter.missing);
    }
    for entry in &readout.entries {
        stretches
            .entry(&entry.counter)
            .or_default()
            .push((entry.seq, entry.seq));
    }
    for counter in &readout.counters {
        let mut stretches = stretches.remove(counter.counter.as_str()).unwrap_or_default();
        stretches.sort_unstable();
        let mut next = counter.first;
        for (first, last) in stretches {
            if first != next {
                let what = if first > next {
                    "nothing stands at"
                } else {
                    "two things stand at"
                };
                let at = first.min(next);
                verdicts.convict(Crime::Unaccounted, format!("{}: {what} {at}", counter.counter));
            }
            next = last + 1;
        }
        if next != counter.last + 1 {
            let evidence = format!(
                "{}: stands at {}, accounted up to {}",
                counter.counter,
                counter.last,
                next - 1
            );
            verdicts.convict(Crime::Unaccounted, evidence);
        }
    }
    for counter in stretches.keys() {
        verdicts.convict(Crime::Unaccounted, format!("{counter} has entries and no counter"));
    }
}

/// P6: whatever a caller was told is stored.
fn stored(calls: &[Call], readout: &Readout, verdicts: &mut Verdicts) {
    let entries: BTreeMap<(&str, u64), &EntryRead> = readout
        .entries
        .iter()
        .map(|entry| ((entry.counter.as_str(), entry.seq), entry))
        .collect();
    for call in calls {
        let Told::Done(given) = &call.told else { continue };
        for given in given {
            let held = entries.get(&(given.counter.as_str(), given.seq));
            let is_his = |entry: &&&EntryRead| {
                entry.number == given.number && entry.tag.as_ref().is_none_or(|tag| *tag == call.tag)
            };
            if held.filter(is_his).is_none() {
                let evidence = format!(
                    "{} was told {} ({} of {})",
                    call.tag, given.number, given.seq, given.counter
                );
                verdicts.convict(Crime::Lost, evidence);
            }
        }
    }
}

/// P3: one request, one answer for ever, and only the first is new.
fn replayed(requests: &Requests, verdicts: &mut Verdicts) {
    for ((place, tag), calls) in &requests.0 {
        let answers = calls.iter().filter_map(|call| match &call.told {
            Told::Done(given) => Some((*call, given)),
            Told::Refused | Told::Nothing | Told::Unknown => None,
        });
        let numbers = |given: &[Given]| given.iter().map(|given| given.number.clone()).collect::<Vec<_>>();
        let all: BTreeSet<Vec<String>> = answers.clone().map(|(_, given)| numbers(given)).collect();
        if all.len() > 1 {
            let all: Vec<String> = all.iter().map(|numbers| numbers.join(" ")).collect();
            verdicts.convict(
                Crime::TakenTwice,
                format!("{tag} of {place} was told {}", all.join(" and ")),
            );
        }
        let news = answers
            .clone()
            .filter(|(_, given)| given.iter().any(|given| !given.replayed))
            .count();
        if news > 1 {
            verdicts.convict(
                Crime::Mislabelled,
                format!("{tag} of {place} was told {news} times that it is new"),
            );
        }
        for (call, _) in answers.filter(|(_, given)| given.iter().any(|given| given.replayed)) {
            let took = |other: &&&Call| {
                !std::ptr::eq(**other, call)
                    && other.invoked < call.returned
                    && matches!(other.told, Told::Done(_) | Told::Unknown)
            };
            if !calls.iter().any(|other| took(&other)) {
                verdicts.convict(
                    Crime::Mislabelled,
                    format!("{tag} of {place} was told of a replay, but is the first"),
                );
            }
        }
    }
}

/// P4: who began after another had ended has the higher seq. A number was taken after the first call for it began and
/// before the first answer with it came.
fn ordered(requests: &Requests, verdicts: &mut Verdicts) {
    let mut taken: BTreeMap<(&str, u64), (u64, u64, Tag)> = BTreeMap::new();
    for (tag, call, given) in requests.answers() {
        let invoked = requests.0[&tag]
            .iter()
            .map(|call| call.invoked)
            .min()
            .unwrap_or(call.invoked);
        for given in given {
            let span = taken
                .entry((&given.counter, given.seq))
                .or_insert((invoked, call.returned, tag));
            span.1 = span.1.min(call.returned);
        }
    }
    let mut latest: Option<(&str, u64, Tag)> = None;
    for ((counter, seq), (invoked, returned, tag)) in taken {
        let before = latest.filter(|(of, ..)| *of == counter);
        if let Some((_, began, other)) = before
            && returned < began
        {
            let evidence = format!(
                "{counter}: {} has a seq below {seq}, yet began after {} had it",
                other.1, tag.1
            );
            verdicts.convict(Crime::OutOfOrder, evidence);
        }
        latest = Some(match before {
            Some(before) if before.1 > invoked => before,
            _ => (counter, invoked, tag),
        });
    }
}

/// P9: what is stored was asked for, and nobody was told that it did not happen; one request took one answer's worth.
fn explained(requests: &Requests, readout: &Readout, verdicts: &mut Verdicts) {
    let mut taken: BTreeMap<Tag, Vec<&EntryRead>> = BTreeMap::new();
    for entry in readout.entries.iter().filter(|entry| !entry.is_replacement) {
        match &entry.tag {
            Some(tag) => taken.entry((&entry.place, tag)).or_default().push(entry),
            None => verdicts.convict(
                Crime::Invented,
                format!("{} of {} says not for whom", entry.number, entry.place),
            ),
        }
    }
    for (tag, entries) in taken {
        let calls = requests.0.get(&tag).map(Vec::as_slice).unwrap_or_default();
        let numbers = || {
            entries
                .iter()
                .map(|entry| entry.number.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        if !calls
            .iter()
            .any(|call| matches!(call.told, Told::Done(_) | Told::Unknown))
        {
            let evidence = format!("{} of {} has {}, though nobody was told so", tag.1, tag.0, numbers());
            verdicts.convict(Crime::Invented, evidence);
        }
        let told = calls.iter().filter_map(|call| match &call.told {
            Told::Done(given) => Some(given.len()),
            Told::Refused | Told::Nothing | Told::Unknown => None,
        });
        // A request whose answer is lost for ever asked for one number; histories replay the larger ones by key.
        if entries.len() > told.max().unwrap_or(1).max(1) {
            verdicts.convict(Crime::TakenTwice, format!("{} of {} has {}", tag.1, tag.0, numbers()));
        }
    }
}
