//! The judge of gates: what those were told who claim, renew, complete and fail, and when, against what is stored in
//! the end.
//!
//! It convicts what no honest gate can show: two results, a result that is not the one recorded, a token for two claims,
//! an old token that changed something. A lost answer is *unknown* here too: it may have happened, and both is fine.
//! Whether the chain of a gate makes legal moves, and makes the gate that is stored, is asked of `verify`.
//!
//! Claims are told apart by holder: each claim that is meant as one has a holder of its own, and a retry has the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use seriatim_core::{Answer, Chain, ClaimOutcome, Document, Event, EventKind, Gate, GateId, GateState};

use super::Recorder;
use crate::failure::Failure;
use crate::store::{Reads, StoreError};

/// What was asked of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To be the one.
    Claim,
    /// To be it for longer.
    Renew {
        /// The token that was said.
        token: u64,
    },
    /// To record the result.
    Complete {
        /// The token that was said.
        token: u64,
        /// The result.
        result: Document,
    },
    /// To note that it failed.
    Fail {
        /// The token that was said.
        token: u64,
    },
    /// To open it again though it is dead.
    Retry,
    /// What it is now.
    Look,
}

impl Asked {
    /// The token that somebody said who holds the gate, or believes so.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Renew { token } | Self::Complete { token, .. } | Self::Fail { token } => Some(*token),
            Self::Claim | Self::Retry | Self::Look => None,
        }
    }
}

/// What a caller was told of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateTold {
    /// You are the one.
    Won {
        /// Your token.
        token: u64,
        /// Whether it was yours before.
        replayed: bool,
    },
    /// It is neither done nor dead; if something was to change, it did.
    UnderWay,
    /// It is done, with this result.
    Done(Document),
    /// It failed as often as it may.
    Dead,
    /// No, and nothing happened.
    Refused,
    /// Nothing happened.
    Nothing,
    /// It may have happened.
    Unknown,
}

impl GateTold {
    /// What an issuer's answer tells.
    #[must_use]
    pub fn of(answer: &Result<Answer, Failure>) -> Self {
        match answer {
            Ok(Answer::Claim { gate, outcome }) => match *outcome {
                ClaimOutcome::Won { replayed, .. } => Self::Won {
                    token: gate.token,
                    replayed,
                },
                ClaimOutcome::Busy { .. } => Self::UnderWay,
                ClaimOutcome::Done | ClaimOutcome::Dead => Self::seen(gate),
            },
            Ok(Answer::Gate { gate, .. }) => Self::seen(gate),
            Ok(_) => Self::Nothing,
            Err(Failure::Refused(_)) => Self::Refused,
            Err(Failure::Unknown { .. }) => Self::Unknown,
            Err(Failure::Unavailable { .. } | Failure::Corrupt { .. }) => Self::Nothing,
        }
    }

    /// What the gate itself tells.
    #[must_use]
    pub fn seen(gate: &Gate) -> Self {
        match gate.state {
            // A gate that is done without a result tells of an empty one, which nobody can have recorded.
            GateState::Done => Self::Done(gate.result.clone().unwrap_or_else(|| Document::stored(""))),
            GateState::Dead => Self::Dead,
            GateState::Open | GateState::Claimed => Self::UnderWay,
        }
    }

    /// Whether the caller knows now that it happened.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Won { .. } | Self::UnderWay | Self::Done(_) | Self::Dead)
    }

    fn may_have_happened(&self) -> bool {
        self.is_yes() || *self == Self::Unknown
    }
}

/// One call, from its first moment to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateCall {
    /// Which gate.
    pub gate: GateId,
    /// Who called: the holder of a claim, and only of that one.
    pub by: String,
    /// What he asked.
    pub asked: Asked,
    /// When it was sent.
    pub invoked: u64,
    /// When its answer came.
    pub returned: u64,
    /// What the answer was.
    pub told: GateTold,
}

impl Recorder<GateCall> {
    /// A call begins; keep what comes back for [`Recorder::hear`].
    pub fn ask(&self, gate: GateId, by: &str, asked: Asked) -> usize {
        self.begin(|now| GateCall {
            gate,
            by: by.to_string(),
            asked,
            invoked: now,
            returned: u64::MAX,
            told: GateTold::Unknown,
        })
    }

    /// A call ends.
    pub fn hear(&self, call: usize, told: GateTold) {
        self.end(call, |call, now| {
            call.returned = now;
            call.told = told;
        });
    }
}

/// A gate as it is stored in the end, with its chain.
#[derive(Debug, Clone, PartialEq)]
pub struct GateRead {
    /// The gate.
    pub gate: Arc<Gate>,
    /// Everything that happened to it.
    pub events: Vec<Event>,
}

impl GateRead {
    /// Reads every gate.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn all(reads: &dyn Reads) -> Result<Vec<Self>, StoreError> {
        const PAGE: usize = 1_000;
        let mut all: Vec<Self> = Vec::new();
        loop {
            let page = reads.gates_by_id(all.last().map(|read| read.gate.id), PAGE).await?;
            let is_last = page.len() < PAGE;
            for gate in page {
                let mut events = Vec::new();
                loop {
                    let more = reads.events(Chain::Gate(gate.id), events.len() as u64, PAGE).await?;
                    let is_end = more.len() < PAGE;
                    events.extend(more);
                    if is_end {
                        break;
                    }
                }
                all.push(Self { gate, events });
            }
            if is_last {
                return Ok(all);
            }
        }
    }

    /// How often something happened to it.
    #[must_use]
    pub fn count(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }

    fn with_token(&self, kind: EventKind, token: u64) -> impl Iterator<Item = &Event> {
        let is_it = move |event: &&Event| event.kind == kind && event.seq == Some(token);
        self.events.iter().filter(is_it)
    }
}

/// Why a history of gates is convicted; each breaks promise P7 in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GateCrime {
    /// Two results were told of one gate, or recorded.
    TwoResults,
    /// Somebody was told a result, and it is not the one that is recorded in the end.
    ResultLost,
    /// What somebody was told has happened is not in the chain.
    MoveLost,
    /// One token was told to two claims.
    TokenTwice,
    /// A claim that began after a token had been told was told a lower one.
    TokenShrank,
    /// A token changed something after a higher one had been told.
    StaleToken,
    /// After somebody had heard that it is done somebody else heard that it is not.
    Undone,
    /// Something happened that nobody asked for, or of which all who asked were told that it did not happen.
    NobodyAsked,
}

/// What was found against a history of gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateVerdict {
    /// What is wrong.
    pub crime: GateCrime,
    /// What was found.
    pub evidence: String,
}

impl fmt::Display for GateVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.crime, self.evidence)
    }
}

/// Judges what callers were told against what is stored; empty if no promise is broken.
#[must_use]
pub fn judge_gates(calls: &[GateCall], stored: &[GateRead]) -> Vec<GateVerdict> {
    let mut by_gate: BTreeMap<GateId, Vec<&GateCall>> = BTreeMap::new();
    for call in calls {
        by_gate.entry(call.gate).or_default().push(call);
    }
    let reads: BTreeMap<GateId, &GateRead> = stored.iter().map(|read| (read.gate.id, read)).collect();
    let gates: BTreeSet<GateId> = by_gate.keys().chain(reads.keys()).copied().collect();
    let mut verdicts = Vec::new();
    for id in gates {
        let case = Case {
            id,
            calls: by_gate.remove(&id).unwrap_or_default(),
            read: reads.get(&id).copied(),
        };
        case.results(&mut verdicts);
        case.tokens(&mut verdicts);
        case.fenced(&mut verdicts);
        case.stays_done(&mut verdicts);
        case.recorded(&mut verdicts);
        case.asked_for(&mut verdicts);
    }
    verdicts
}

/// One gate before the judge.
struct Case<'a> {
    id: GateId,
    calls: Vec<&'a GateCall>,
    read: Option<&'a GateRead>,
}

impl<'a> Case<'a> {
    fn convict(&self, verdicts: &mut Vec<GateVerdict>, crime: GateCrime, evidence: impl fmt::Display) {
        let evidence = format!("{}: {evidence}", self.id);
        verdicts.push(GateVerdict { crime, evidence });
    }

    fn events(&self, kind: EventKind) -> impl Iterator<Item = &'a Event> {
        let events = self.read.map(|read| read.events.as_slice()).unwrap_or_default();
        events.iter().filter(move |event| event.kind == kind)
    }

    /// Whoever was told a token, with it.
    fn winners(&self) -> impl Iterator<Item = (&'a GateCall, u64, bool)> {
        self.calls.iter().filter_map(|call| match call.told {
            GateTold::Won { token, replayed } => Some((*call, token, replayed)),
            _ => None,
        })
    }

    /// One result for ever: all who were told one were told the one that is recorded.
    fn results(&self, verdicts: &mut Vec<GateVerdict>) {
        if self.events(EventKind::Completed).count() > 1 {
            self.convict(verdicts, GateCrime::TwoResults, "it was completed twice");
        }
        let told = self.calls.iter().filter_map(|call| match &call.told {
            GateTold::Done(result) => Some((*call, result)),
            _ => None,
        });
        let recorded = self.read.filter(|read| read.gate.state == GateState::Done);
        let recorded = recorded.and_then(|read| read.gate.result.as_ref());
        let mut first: Option<(&GateCall, &Document)> = None;
        for (call, result) in told {
            if recorded != Some(result) {
                let evidence = format!("{} was told {}, which is not recorded", call.by, result.as_str());
                self.convict(verdicts, GateCrime::ResultLost, evidence);
            }
            let (before, other) = *first.get_or_insert((call, result));
            let own = match &call.asked {
                Asked::Complete { result, .. } => result,
                _ => result,
            };
            for other in [other, own].into_iter().filter(|other| *other != result) {
                let evidence = format!(
                    "{} was told {}, and {} {}",
                    call.by,
                    result.as_str(),
                    before.by,
                    other.as_str()
                );
                self.convict(verdicts, GateCrime::TwoResults, evidence);
            }
        }
    }

    /// A token is one claim's, and later claims have higher ones.
    fn tokens(&self, verdicts: &mut Vec<GateVerdict>) {
        for (call, token, replayed) in self.winners() {
            for (other, theirs, _) in self.winners().filter(|(other, ..)| !std::ptr::eq(*other, call)) {
                let is_retry = replayed && other.by == call.by;
                let was_told = other.returned < call.invoked;
                if theirs == token && other.by != call.by || theirs == token && was_told && !is_retry {
                    let evidence = format!("token {token} was told to {} and to {}", call.by, other.by);
                    self.convict(verdicts, GateCrime::TokenTwice, evidence);
                }
                if theirs > token && was_told {
                    let evidence = format!("{} was told {token} after {} had been told {theirs}", call.by, other.by);
                    self.convict(verdicts, GateCrime::TokenShrank, evidence);
                }
            }
        }
    }

    /// Once a higher token was told a token changes nothing any more.
    fn fenced(&self, verdicts: &mut Vec<GateVerdict>) {
        for call in self.calls.iter().filter(|call| call.told.is_yes()) {
            let Some(token) = call.asked.token() else { continue };
            let newer = self
                .winners()
                .find(|(other, theirs, _)| *theirs > token && other.returned < call.invoked);
            if let Some((other, theirs, _)) = newer {
                let evidence = format!(
                    "token {token} of {} was obeyed after {} had been told {theirs}",
                    call.by, other.by
                );
                self.convict(verdicts, GateCrime::StaleToken, evidence);
            }
        }
    }

    /// Done is the last thing that is ever heard.
    fn stays_done(&self, verdicts: &mut Vec<GateVerdict>) {
        let is_done = |call: &&&GateCall| matches!(call.told, GateTold::Done(_));
        let Some(first) = self.calls.iter().filter(is_done).map(|call| call.returned).min() else {
            return;
        };
        let later = self
            .calls
            .iter()
            .filter(|call| call.invoked > first && call.told.is_yes());
        for call in later.filter(|call| !matches!(call.told, GateTold::Done(_))) {
            let evidence = format!("{} was told {:?} after it was done", call.by, call.told);
            self.convict(verdicts, GateCrime::Undone, evidence);
        }
    }

    /// What somebody was told has happened is in the chain.
    fn recorded(&self, verdicts: &mut Vec<GateVerdict>) {
        for call in self.calls.iter().filter(|call| call.told.is_yes()) {
            let is_there = match (&call.asked, &call.told) {
                (Asked::Claim, GateTold::Won { token, .. }) => self
                    .events(EventKind::Claimed)
                    .any(|event| event.seq == Some(*token) && event.detail.as_deref() == Some(call.by.as_str())),
                (Asked::Fail { token }, _) => self.happened(EventKind::Failed, *token),
                (Asked::Complete { token, .. }, _) => self.happened(EventKind::Completed, *token),
                (Asked::Claim | Asked::Renew { .. } | Asked::Retry | Asked::Look, _) => true,
            };
            if !is_there {
                let evidence = format!("{} was told {:?} of {:?}", call.by, call.told, call.asked);
                self.convict(verdicts, GateCrime::MoveLost, evidence);
            }
        }
        let retries = self.calls.iter().filter(|call| call.asked == Asked::Retry);
        let told = retries.filter(|call| call.told.is_yes()).count();
        let stored = self.events(EventKind::Retried).count();
        if told > stored {
            let evidence = format!("{told} were told that it was retried; it was {stored} times");
            self.convict(verdicts, GateCrime::MoveLost, evidence);
        }
    }

    fn happened(&self, kind: EventKind, token: u64) -> bool {
        self.read
            .is_some_and(|read| read.with_token(kind, token).next().is_some())
    }

    /// What is in the chain was asked for, by somebody who was not told that it did not happen.
    fn asked_for(&self, verdicts: &mut Vec<GateVerdict>) {
        self.claims_asked_for(verdicts);
        for (kind, event) in [EventKind::Completed, EventKind::Failed]
            .into_iter()
            .flat_map(|kind| self.events(kind).map(move |event| (kind, event)))
        {
            let is_it = |call: &&&GateCall| match &call.asked {
                Asked::Complete { token, result } => {
                    kind == EventKind::Completed && event.seq == Some(*token) && event.document == Some(result.sha256())
                }
                Asked::Fail { token } => kind == EventKind::Failed && event.seq == Some(*token),
                Asked::Claim | Asked::Renew { .. } | Asked::Retry | Asked::Look => false,
            };
            let mut calls = self.calls.iter().filter(is_it);
            if !calls.any(|call| call.told.may_have_happened()) {
                let evidence = format!("it was {} with token {:?}", kind.as_str(), event.seq);
                self.convict(verdicts, GateCrime::NobodyAsked, evidence);
            }
        }
        let retries = self.calls.iter().filter(|call| call.asked == Asked::Retry);
        let asked = retries.filter(|call| call.told.may_have_happened()).count();
        let stored = self.events(EventKind::Retried).count();
        if stored > asked {
            let evidence = format!("it was retried {stored} times, and {asked} may have done so");
            self.convict(verdicts, GateCrime::NobodyAsked, evidence);
        }
    }

    /// Each claim that was won without a word to its holder is one whose answer was lost.
    fn claims_asked_for(&self, verdicts: &mut Vec<GateVerdict>) {
        let told: BTreeSet<(&str, u64)> = self
            .winners()
            .map(|(call, token, _)| (call.by.as_str(), token))
            .collect();
        let mut silent: BTreeMap<&str, usize> = BTreeMap::new();
        for event in self.events(EventKind::Claimed) {
            let (holder, token) = (event.detail.as_deref().unwrap_or_default(), event.seq.unwrap_or(0));
            if !told.contains(&(holder, token)) {
                *silent.entry(holder).or_default() += 1;
            }
        }
        for (holder, count) in silent {
            let is_lost =
                |call: &&&GateCall| call.by == holder && call.asked == Asked::Claim && call.told == GateTold::Unknown;
            let lost = self.calls.iter().filter(is_lost).count();
            if count > lost {
                let evidence = format!("{holder} won {count} times unheard, and {lost} of his answers were lost");
                self.convict(verdicts, GateCrime::NobodyAsked, evidence);
            }
        }
    }
}
