//! Those who call: with keys of their own and keys that others use too, patient ones and ones who hang up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use seriatim_core::{
    Answer, Command, EntryId, Key, Reason, Reference, Request, SeriesName, State, Take, Tenant, Ttl, Void, VoidReason,
};

use super::{Dice, Process, World};
use crate::conformance::history::{Given, Told, place};
use crate::failure::Failure;

const CALLS: u64 = 12;

/// Under which tag and place each number of a request is noted.
struct Wanted {
    command: Command,
    notes: Vec<(String, String)>,
}

impl World {
    pub(super) async fn call_often(self: Arc<Self>, caller: u64) {
        for call in 0..CALLS {
            tokio::time::sleep(self.dice.millis(400)).await;
            let which = self.any();
            let process = self.process(which);
            let wanted = draw(&self.dice, caller, call);
            let taken = self.call(&process, wanted).await;
            if let Some(entry) = taken.filter(|_| self.dice.percent(60)) {
                self.go_on(&self.process(which), entry).await;
            }
        }
    }

    /// One call, noted from its first moment to its last; gives the first number taken.
    async fn call(&self, process: &Process, wanted: Wanted) -> Option<(EntryId, State)> {
        let calls: Vec<usize> = wanted
            .notes
            .iter()
            .map(|(place, tag)| self.recorder.invoke(place, tag))
            .collect();
        let answer = self.ask(process, wanted.command).await;
        let told = answer.as_ref().map_or(Told::Unknown, Told::of);
        self.note(answer.as_ref());
        if answer.is_none() && process.life.is_over() {
            self.crashed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(wanted.notes);
        }
        match &told {
            // The items of a batch are noted one by one.
            Told::Done(given) if calls.len() > 1 => {
                let each = calls.iter().zip(given);
                each.for_each(|(call, given)| self.recorder.told(*call, Told::Done(vec![given.clone()])));
            }
            told => calls.iter().for_each(|call| self.recorder.told(*call, told.clone())),
        }
        match answer {
            Some(Ok(Answer::Entries(answer))) => answer.taken.first().map(|taken| (taken.entry.id, taken.entry.state)),
            _ => None,
        }
    }

    /// Nothing if the process crashed or the caller hung up: then nobody knows.
    pub(super) async fn ask(&self, process: &Process, command: Command) -> Option<Result<Answer, Failure>> {
        let request: Request = process.issuer.own(command);
        let deadline = if self.dice.percent(20) {
            self.dice.millis(300)
        } else {
            Duration::from_secs(3)
        };
        let patience = if self.dice.percent(10) {
            self.dice.millis(60)
        } else {
            Duration::from_secs(60)
        };
        tokio::select! {
            biased;
            () = process.life.ended() => {
                self.sometimes.hit("a crash with calls under way");
                None
            }
            answer = process.issuer.execute_within(request, deadline) => Some(answer),
            () = tokio::time::sleep(patience) => {
                self.sometimes.hit("a caller hung up");
                None
            }
        }
    }

    fn note(&self, answer: Option<&Result<Answer, Failure>>) {
        match answer {
            Some(Ok(Answer::Entries(answer))) if answer.taken.iter().any(|taken| taken.replayed) => {
                self.sometimes.hit("a replay");
            }
            Some(Err(Failure::Refused(_))) => self.sometimes.hit("a refusal"),
            Some(Err(Failure::Unavailable {
                code: "deadline_exceeded",
                ..
            })) => {
                self.sometimes.hit("a deadline passed and nothing had happened");
            }
            Some(Err(Failure::Unavailable { .. })) => self.sometimes.hit("the retries were used up"),
            Some(Err(Failure::Unknown { .. })) => self.sometimes.hit("a deadline passed and the outcome was unknown"),
            _ => {}
        }
    }

    /// What becomes of a number: confirmed or released if it is reserved, else sometimes voided or reissued.
    async fn go_on(&self, process: &Process, (entry, state): (EntryId, State)) {
        let reason = Reason::parse("a simulation").expect("a reason");
        let command = match (state, self.dice.below(10)) {
            (State::Reserved, 0..=5) => Command::Confirm { entry, document: None },
            (State::Reserved, _) => Command::Release { entry, reason },
            (_, draw @ 0..=1) => Command::Void(Void {
                entry,
                reason_code: VoidReason::Other,
                reason,
                reissue: draw == 0,
            }),
            _ => return,
        };
        let verb = command.verb();
        if let Some(Ok(Answer::Entries(answer))) = self.ask(process, command).await {
            if verb == "confirm" {
                self.sometimes.hit("a reservation was confirmed");
            }
            if answer.voided.is_some() {
                self.sometimes.hit("a number was reissued");
            }
        }
    }

    /// In fair weather every key whose answer was lost is asked for again, and must be answered at once.
    pub(super) async fn resolve(&self) -> Vec<String> {
        let mut lost: BTreeMap<(String, String), bool> = BTreeMap::new();
        let crashed = self.crashed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for call in self.recorder.calls() {
            *lost.entry((call.place, call.tag)).or_default() |= call.told == Told::Unknown;
        }
        let lost: BTreeSet<_> = lost.into_iter().filter(|(_, lost)| *lost).map(|(at, _)| at).collect();
        let process = self.process(0);
        let mut verdicts = Vec::new();
        for (place, tag) in lost {
            let Some(command) = command_of(&place, &tag) else {
                continue;
            };
            let call = self.recorder.invoke(&place, &tag);
            let answer = process.issuer.execute(process.issuer.own(command)).await;
            let told = Told::of(&answer);
            match &told {
                Told::Done(given) => self.resolved(given, crashed.contains(&(place.clone(), tag.clone()))),
                Told::Refused => {}
                Told::Nothing | Told::Unknown => {
                    verdicts.push(format!("Stuck: {tag} of {place} has no answer: {answer:?}"))
                }
            }
            self.recorder.told(call, told);
        }
        verdicts
    }

    fn resolved(&self, given: &[Given], had_crashed: bool) {
        if given.iter().all(|given| given.replayed) {
            self.sometimes
                .hit("a lost answer resolved to a number that had been taken");
            if had_crashed {
                self.sometimes.hit("a takeover answered a key of the crashed process");
            }
        } else {
            self.sometimes.hit("a lost answer resolved to a number taken now");
        }
    }
}

/// A request; its kind, series and tenant follow from its key, so that every call with the key asks for the same.
fn draw(dice: &Dice, caller: u64, call: u64) -> Wanted {
    let series = ["invoice", "order"][usize::try_from(dice.below(2)).unwrap_or(0)];
    let tenant = ["acme", "zenith"][usize::try_from(dice.below(2)).unwrap_or(0)];
    let place = place(series, tenant);
    let kind = ["one", "one", "one", "many", "hold", "none", "items"][usize::try_from(dice.below(7)).unwrap_or(0)];
    let note = |tag: String| (place.clone(), tag);
    match kind {
        "none" => {
            let tag = format!("none-{caller}-{call}");
            let take = Take {
                reference: Some(Reference::parse(&tag).expect("a reference")),
                ..take(tenant, None)
            };
            let command = Command::Issue {
                series: name(series),
                take,
            };
            Wanted {
                command,
                notes: vec![note(tag)],
            }
        }
        "items" => {
            // In any order, and with keys that single requests use too.
            let first = dice.below(8);
            let tags: Vec<String> = (0..3).map(|i| format!("one-{}", (first + 5 * i) % 8)).collect();
            let items = tags.iter().map(|tag| take(tenant, Some(tag))).collect();
            let command = Command::IssueItems {
                series: name(series),
                items,
            };
            Wanted {
                command,
                notes: tags.into_iter().map(note).collect(),
            }
        }
        kind => {
            let tag = format!("{kind}-{}", dice.below(8));
            let command = command_of(&place, &tag).expect("a request by key");
            Wanted {
                command,
                notes: vec![note(tag)],
            }
        }
    }
}

/// The request that a key stands for; none if there is no key.
fn command_of(place: &str, tag: &str) -> Option<Command> {
    let (series, tenant) = place.split_once(' ')?;
    let (series, take) = (name(series), take(tenant, Some(tag)));
    match tag.split('-').next()? {
        "one" => Some(Command::Issue { series, take }),
        "many" => Some(Command::IssueCount { series, take, count: 3 }),
        "hold" => Some(Command::Reserve {
            series,
            take,
            ttl: Ttl::from_seconds(3_600).ok()?,
        }),
        _ => None,
    }
}

fn name(series: &str) -> SeriesName {
    SeriesName::parse(series).expect("a name")
}

fn take(tenant: &str, key: Option<&str>) -> Take {
    Take {
        key: key.map(|key| Key::parse(key).expect("a key")),
        tenant: Tenant::parse(tenant).expect("a tenant"),
        ..Take::default()
    }
}
