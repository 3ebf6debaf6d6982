//! Verify: walk every chain, rebuild what it says, and compare it with what is stored (promise P8).
//!
//! Memory stays bounded by a page; issuing may go on meanwhile. Each counter is judged at the moment its row was read:
//! what is appended later is left for the next time. What was found while a chain went on is looked at again: it may
//! have been seen half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seriatim_core::{
    Chain, ChainCheck, ChainHead, Closure, Counter, CounterId, Counts, Date, Entry, EntryId, Event, EventKind, Finding,
    Gate, GateCheck, GateId, Key, KeyRef, Missing, Origin, SeriesName, Severity, State, Timestamp, compare_entry,
};

use crate::audit::{all_missing, missing_from};
use crate::checkpoint::{Checkpoint, CheckpointCounter};
use crate::store::{Reads, StoreError};

/// What to verify against, and where to go on.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A checkpoint that was kept elsewhere: finds cut tails and removed chains.
    pub checkpoint: Option<Checkpoint>,
    /// Go on after this counter, where an earlier run stopped.
    pub resume: Option<CounterId>,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Counters walked.
    pub counters: u64,
    /// Counters to walk.
    pub counters_total: u64,
    /// Events walked.
    pub events: u64,
    /// Entries compared.
    pub entries: u64,
    /// Gates walked.
    pub gates: u64,
    /// The counter walked last; a later run can resume after it.
    pub last: Option<CounterId>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything noticed, in the order of the walk.
    pub findings: Vec<Finding>,
    /// How far it came.
    pub progress: Progress,
}

const PAGE: usize = 1_000;
/// So often at most is looked at a chain that goes on meanwhile.
const LOOKS: usize = 3;

/// Verifies a whole store. What does not read because it is damaged is a finding, and the walk goes on behind it.
///
/// # Errors
/// The store cannot be read.
pub async fn verify(
    reads: &dyn Reads,
    options: &Options,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report, StoreError> {
    let mut walk = Walk {
        reads,
        pins: BTreeMap::new(),
        said: Definitions::default(),
        definitions: 0,
        report: Report::default(),
    };
    walk.definitions(options.checkpoint.as_ref()).await?;
    let counters = reads.counter_ids().await?;
    walk.report.progress.counters_total = counters.len() as u64;
    for id in counters
        .iter()
        .filter(|id| options.resume.is_none_or(|resume| **id > resume))
    {
        walk.counter(*id).await?;
        on_progress(walk.report.progress);
    }
    walk.gates(options.checkpoint.as_ref()).await?;
    walk.own().await?;
    walk.removed(&counters).await?;
    Ok(walk.report)
}

/// What a store lacks of what a checkpoint knows, without walking the chains: a counter or gate that is gone or lower, a chain
/// that ends earlier or had another event in that place: one read of the store, and one for each chain that has grown since.
/// [`verify`] finds the rest.
///
/// # Errors
/// The store cannot be read.
pub async fn compare(reads: &dyn Reads, checkpoint: &Checkpoint) -> Result<Vec<Finding>, StoreError> {
    let heads = reads.heads().await?;
    let pin = Pin::new("definitions", checkpoint.definitions);
    let mut findings: Vec<Finding> = pin
        .look(reads, Chain::Definitions, heads.definitions)
        .await?
        .into_iter()
        .collect();
    let wiped = wiped_after(reads, checkpoint.definitions.length).await?;
    let stored: BTreeMap<CounterId, &Counter> = heads.counters.iter().map(|counter| (counter.id, counter)).collect();
    for pinned in checkpoint.counters.iter().filter(|pinned| !was_wiped(pinned, &wiped)) {
        let Some(counter) = stored.get(&pinned.id) else {
            findings.push(is_gone(pinned));
            continue;
        };
        let pin = Pin::new(&pinned.label, pinned.chain);
        let chain = Chain::Counter(pinned.id);
        findings.extend(pin.look(reads, chain, counter.chain).await?);
        if counter.last_seq < pinned.last_seq {
            let message = format!(
                "the last seq is {}; the checkpoint knows {}",
                counter.last_seq, pinned.last_seq
            );
            findings.push(Finding::error("counter_behind", &pinned.label, message));
        }
    }
    let stored: BTreeMap<GateId, ChainHead> = heads.gates.iter().map(|gate| (gate.id, gate.chain)).collect();
    for pinned in &checkpoint.gates {
        let pin = Pin::new(&pinned.label, pinned.chain);
        findings.extend(match stored.get(&pinned.id) {
            Some(reached) => pin.look(reads, Chain::Gate(pinned.id), *reached).await?,
            None => Some(pin.gate_is_gone()),
        });
    }
    Ok(findings)
}

/// Which test series were wiped after this place in the definitions chain.
async fn wiped_after(reads: &dyn Reads, place: u64) -> Result<BTreeSet<SeriesName>, StoreError> {
    let mut is_any = false;
    each_definition(reads, place, |event| is_any |= event.kind == EventKind::Wiped).await?;
    if !is_any {
        return Ok(BTreeSet::new());
    }
    let mut said = Definitions::default();
    each_definition(reads, 0, |event| {
        said.take(event, event.position > place);
    })
    .await?;
    Ok(said.wiped)
}

async fn each_definition(
    reads: &dyn Reads,
    mut after: u64,
    mut visit: impl FnMut(&Event) + Send,
) -> Result<u64, StoreError> {
    loop {
        let events = reads.events(Chain::Definitions, after, PAGE).await?;
        events.iter().for_each(&mut visit);
        after = events.last().map_or(after, |event| event.position);
        if events.len() < PAGE {
            return Ok(after);
        }
    }
}

fn wiped_by(event: &Event) -> Option<SeriesName> {
    let detail = event.detail.as_deref().filter(|_| event.kind == EventKind::Wiped)?;
    let name = detail.lines().find_map(|line| line.strip_prefix("series="))?;
    SeriesName::parse(name).ok()
}

fn was_wiped(pinned: &CheckpointCounter, wiped: &BTreeSet<SeriesName>) -> bool {
    wiped
        .iter()
        .any(|series| pinned.label.starts_with(&format!("{series} ")))
}

fn is_gone(pinned: &CheckpointCounter) -> Finding {
    let message = format!("the checkpoint knows it up to {}; now it is gone", pinned.last_seq);
    Finding::error("counter_removed", &pinned.label, message)
}

struct Walk<'a> {
    reads: &'a dyn Reads,
    /// The counters that a checkpoint knows, but for those that were wiped since.
    pins: BTreeMap<CounterId, &'a CheckpointCounter>,
    said: Definitions,
    /// How far the definitions chain was read.
    definitions: u64,
    report: Report,
}

impl<'a> Walk<'a> {
    fn found(&mut self, finding: impl IntoIterator<Item = Finding>) {
        self.report.findings.extend(finding);
    }

    /// What could be read. What is damaged is found: who breaks a row must not hide what he did to others.
    fn readable<T>(&mut self, place: impl ToString, outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Err(StoreError::Corrupt(what)) => {
                let message = format!("{what}; what comes behind it here was not looked at");
                self.found([Finding::error("unreadable", place, message)]);
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// The definitions chain: series, closures and API keys.
    async fn definitions(&mut self, checkpoint: Option<&'a Checkpoint>) -> Result<(), StoreError> {
        let mut said = Definitions::default();
        let mut check = ChainCheck::begin(Chain::Definitions, Chain::definitions_genesis());
        let mut pin = checkpoint.map(|checkpoint| Pin::new("definitions", checkpoint.definitions));
        let compared = self.definitions_compared(&mut said, &mut check, &mut pin).await;
        if self.readable("definitions", compared)?.is_some() {
            self.found(pin.and_then(|pin| pin.finish(check.reached())));
        }
        let pinned = checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.counters);
        let kept = pinned.filter(|pinned| !was_wiped(pinned, &said.wiped));
        self.pins = kept.map(|pinned| (pinned.id, pinned)).collect();
        self.said = said;
        Ok(())
    }

    /// Compares what the chain says with what is stored, until neither goes on meanwhile.
    async fn definitions_compared(
        &mut self,
        said: &mut Definitions,
        check: &mut ChainCheck,
        pin: &mut Option<Pin>,
    ) -> Result<(), StoreError> {
        let mut before = Vec::new();
        for look in 1..=LOOKS {
            self.definitions_read(said, check, pin).await?;
            let mut differing = said.compare(&Stored::read(self.reads).await?);
            let beyond = self.reads.events(Chain::Definitions, self.definitions, 1).await?;
            let is_settled = differing.is_empty() || beyond.is_empty();
            if is_settled || look == LOOKS {
                differing.retain(|finding| is_settled || before.contains(finding));
                self.found(differing);
                break;
            }
            before = differing;
        }
        Ok(())
    }

    /// Reads the definitions chain on from where it was read to.
    async fn definitions_read(
        &mut self,
        said: &mut Definitions,
        check: &mut ChainCheck,
        pin: &mut Option<Pin>,
    ) -> Result<(), StoreError> {
        loop {
            let events = self.reads.events(Chain::Definitions, self.definitions, PAGE).await?;
            for event in &events {
                self.report.progress.events += 1;
                self.found(check.step(event));
                let after_pin = pin.as_ref().is_none_or(|pin| event.position > pin.at.length);
                self.found(said.take(event, after_pin));
                self.found(pin.as_mut().and_then(|pin| pin.pass(event)));
                self.definitions = event.position;
            }
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Which series were wiped since the definitions chain was read last; what a checkpoint knows of them is gone.
    async fn wiped_meanwhile(&mut self) -> Result<BTreeSet<SeriesName>, StoreError> {
        let (mut wiped, mut forged) = (BTreeSet::new(), Vec::new());
        let said = &mut self.said;
        let reached = each_definition(self.reads, self.definitions, |event| match said.take(event, true) {
            None => wiped.extend(wiped_by(event)),
            Some(finding) => forged.push(finding),
        });
        self.definitions = match reached.await {
            // That is found already.
            Err(StoreError::Corrupt(_)) => return Ok(wiped),
            reached => reached?,
        };
        self.found(forged);
        self.pins.retain(|_, pinned| !was_wiped(pinned, &self.said.wiped));
        Ok(wiped)
    }

    /// Walks a counter. If something is found while the counter goes on it is walked again, and only what is found again
    /// counts; what is found of one that was wiped meanwhile counts for nothing.
    async fn counter(&mut self, id: CounterId) -> Result<(), StoreError> {
        let earlier = std::mem::take(&mut self.report.findings);
        let progress = self.report.progress;
        let mut found = Vec::new();
        for look in 1..=LOOKS {
            self.report.progress = progress;
            let counter = self.reads.counter(id).await;
            let counter = self.readable(id, counter)?;
            // A counter that is gone by now was wiped since; the definitions chain tells.
            if let Some(None) = counter {
                found.clear();
                break;
            }
            self.report.progress.counters += 1;
            self.report.progress.last = Some(id);
            let Some(counter) = counter.flatten() else {
                found = std::mem::take(&mut self.report.findings);
                break;
            };
            let looked = self.look(&counter).await;
            self.readable(&counter.key, looked)?;
            let mut now = std::mem::take(&mut self.report.findings);
            now.iter_mut().for_each(|finding| name_chain(finding, &counter));
            if !now.iter().any(is_error) {
                found = now;
                break;
            }
            if self.wiped_meanwhile().await?.contains(&counter.key.series) {
                found = vec![busy(&counter)];
                continue;
            }
            let stands = self
                .reads
                .counter(id)
                .await?
                .is_some_and(|it| it.chain == counter.chain);
            if !stands && look == LOOKS {
                now.retain(|finding| !is_error(finding) || found.contains(finding));
            }
            found = now;
            if stands {
                break;
            }
        }
        let forged = std::mem::replace(&mut self.report.findings, earlier);
        self.found(found);
        self.found(forged);
        Ok(())
    }

    async fn look(&mut self, counter: &Counter) -> Result<(), StoreError> {
        if counter.key.id() != counter.id {
            let message = "the counter's id is not that of its series, tenant, params and period";
            self.found([Finding::error("counter_changed", &counter.key, message)]);
        }
        let pin = self.pins.get(&counter.id).copied();
        let tally = self.chain(counter, pin).await?;
        self.found(tally.compare(counter));
        self.entries(counter, &tally).await
    }

    /// Walks a counter's events up to the head of its row, comparing each with its entry.
    async fn chain(&mut self, counter: &Counter, pin: Option<&CheckpointCounter>) -> Result<Tally, StoreError> {
        let chain = Chain::Counter(counter.id);
        let mut check = ChainCheck::begin(chain, Chain::counter_genesis(&counter.key));
        let mut pin = pin.map(|pinned| Pin::new(&pinned.label, pinned.chain));
        let mut tally = Tally::default();
        while check.reached().length < counter.chain.length {
            let mut events = self.reads.events(chain, check.reached().length, PAGE).await?;
            events.retain(|event| event.position <= counter.chain.length);
            if events.is_empty() {
                break;
            }
            let entries = self.entries_of(counter.id, &events).await?;
            let bound = self.bound_to(counter, &events).await?;
            for event in &events {
                self.report.progress.events += 1;
                self.found(check.step(event));
                self.found(pin.as_mut().and_then(|pin| pin.pass(event)));
                tally.take(event);
                let entry = event
                    .seq
                    .filter(|_| is_about_entry(event))
                    .and_then(|seq| entries.get(&seq));
                tally.latest += u64::from(entry.is_some_and(|entry| entry.position == event.position));
                self.found(compare_event(counter, event, &entries));
                self.key(event, &entries, &bound);
            }
            self.runs(counter, &events).await?;
        }
        self.found(check.finish(counter.chain));
        self.found(pin.and_then(|pin| pin.finish(check.reached())));
        Ok(tally)
    }

    /// The entries that a page of events is about.
    async fn entries_of(&self, counter: CounterId, events: &[Event]) -> Result<BTreeMap<u64, Arc<Entry>>, StoreError> {
        let mut entries = BTreeMap::new();
        let about: Vec<u64> = events
            .iter()
            .filter(|event| is_about_entry(event))
            .filter_map(|event| event.seq)
            .collect();
        let Some(first) = about.iter().min() else {
            return Ok(entries);
        };
        for entry in self
            .reads
            .entries_by_seq(counter, first.saturating_sub(1), 2 * PAGE)
            .await?
        {
            entries.insert(entry.id.seq, entry);
        }
        // Later events may be about entries far away.
        for seq in about {
            if let std::collections::btree_map::Entry::Vacant(place) = entries.entry(seq)
                && let Some(entry) = self.reads.entry(EntryId { counter, seq }).await?
            {
                place.insert(entry);
            }
        }
        Ok(entries)
    }

    /// The key of a number must still lead to it (promise P3).
    fn key(&mut self, event: &Event, entries: &BTreeMap<u64, Arc<Entry>>, bound: &BTreeMap<Key, Vec<Arc<Entry>>>) {
        let (Some(key), Some(seq)) = (&event.key, event.seq) else {
            return;
        };
        let Some(entry) = entries.get(&seq) else { return };
        let bound = bound.get(key).map(Vec::as_slice).unwrap_or_default();
        let leads_here = bound.iter().any(|found| found.id == entry.id);
        let leads_elsewhere = bound.iter().any(|found| found.key.as_ref() != Some(key));
        if leads_elsewhere || !leads_here && entry.replacement.is_none() {
            let message = format!("key {key} does not lead to {} any more", entry.number);
            self.found([Finding::error("key_changed", entry.id, message)]);
        }
    }

    /// What the keys of a page of events lead to.
    async fn bound_to(
        &self,
        counter: &Counter,
        events: &[Event],
    ) -> Result<BTreeMap<Key, Vec<Arc<Entry>>>, StoreError> {
        let keys: BTreeSet<&Key> = events.iter().filter_map(|event| event.key.as_ref()).collect();
        let at = |key: &&Key| KeyRef {
            key: Key::clone(key),
            series: counter.key.series.clone(),
            tenant: counter.key.tenant.clone(),
        };
        let wanted: Vec<KeyRef> = keys.iter().map(at).collect();
        let found = match self.reads.entries_of_keys(&wanted).await {
            // One key that leads nowhere must not hide where the others lead.
            Err(StoreError::Corrupt(_)) => self.entries_of_each(&wanted).await?,
            found => found?,
        };
        Ok(keys.into_iter().cloned().zip(found).collect())
    }

    async fn entries_of_each(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(match self.reads.entries_of_key(key).await {
                Err(StoreError::Corrupt(_)) => Vec::new(),
                entries => entries?,
            });
        }
        Ok(found)
    }

    /// Runs of missing seqs must be parts of the runs that the journal tells, with their reasons.
    async fn runs(&mut self, counter: &Counter, events: &[Event]) -> Result<(), StoreError> {
        for event in events.iter().filter(|event| event.kind == EventKind::Missing) {
            let (Some(first), Some(last)) = (event.seq, event.seq_last) else {
                continue;
            };
            let stored = missing_from(self.reads, counter, first, last).await?;
            let changed = |run: &&Missing| run.last > last || Some(&run.reason) != event.reason.as_ref();
            if let Some(run) = stored.iter().find(changed) {
                let message = format!(
                    "missing {} to {} is not what event {} says",
                    run.first, run.last, event.position
                );
                self.found([Finding::error("missing_changed", &counter.key, message)]);
            }
        }
        Ok(())
    }

    /// Walks a counter's entries by seq: entries and missing runs must cover every seq exactly once.
    async fn entries(&mut self, counter: &Counter, tally: &Tally) -> Result<(), StoreError> {
        let mut runs = all_missing(self.reads, counter).await?.into_iter().peekable();
        let mut missing = 0;
        let (mut expected, mut seen) = (counter.first_seq, 0);
        let mut after = 0;
        loop {
            let entries = self.reads.entries_by_seq(counter.id, after, PAGE).await?;
            let is_last = entries.len() < PAGE;
            let last = if is_last {
                counter.last_seq
            } else {
                entries.last().map_or(after, |entry| entry.id.seq)
            };
            let misfiled = self.reads.misfiled(counter.id, after + 1, last).await?;
            self.found(misfiled);
            for entry in entries.iter().filter(|entry| entry.id.seq <= counter.last_seq) {
                while let Some(run) = runs.next_if(|run| run.first <= expected && expected < entry.id.seq) {
                    missing += run.size();
                    expected = run.last + 1;
                }
                if entry.id.seq != expected {
                    let message = format!("seq {expected} is neither an entry nor missing with a reason");
                    self.found([Finding::error("unaccounted", &counter.key, message)]);
                }
                expected = entry.id.seq + 1;
                seen += 1;
                after = entry.id.seq;
                self.entry(counter, entry).await?;
            }
            if is_last || after >= counter.last_seq {
                break;
            }
        }
        for run in runs.filter(|run| run.first <= counter.last_seq) {
            if run.first != expected {
                let message = format!("missing {} to {} overlaps or leaves a hole", run.first, run.last);
                self.found([Finding::error("missing_changed", &counter.key, message)]);
            }
            missing += run.size();
            expected = run.last + 1;
        }
        self.report.progress.entries += seen;
        if expected != counter.last_seq + 1 {
            let message = format!(
                "the counter stands at {}, but its entries end at {}",
                counter.last_seq,
                expected - 1
            );
            self.found([Finding::error("unaccounted", &counter.key, message)]);
        }
        self.adds_up(counter, tally, seen, missing).await
    }

    async fn adds_up(&mut self, counter: &Counter, tally: &Tally, seen: u64, missing: u64) -> Result<(), StoreError> {
        // An adoption since the counter was read may have turned missing seqs into entries.
        let beyond = self
            .reads
            .events(Chain::Counter(counter.id), counter.chain.length, 1)
            .await?;
        let above = self.reads.entries_by_seq(counter.id, counter.last_seq, 1).await?;
        let moved = self
            .reads
            .counter(counter.id)
            .await?
            .is_none_or(|now| now.chain != counter.chain);
        if moved {
            self.found([busy(counter)]);
            return Ok(());
        }
        if let Some(event) = beyond.first() {
            let message = format!("event {} stands beyond the end of the chain", event.position);
            self.found([Finding::error("event_added", &counter.key, message)]);
        }
        if let Some(entry) = above.first() {
            let message = format!(
                "{} stands above the counter's last seq, {}",
                entry.number, counter.last_seq
            );
            self.found([Finding::error("entry_added", entry.id, message)]);
        }
        if seen != tally.latest {
            let message = format!(
                "{seen} entries name their latest event; {} of them do so rightly",
                tally.latest
            );
            self.found([Finding::error("entry_changed", &counter.key, message)]);
        }
        if (seen, missing) != (tally.created, tally.counts.missing) {
            let message = format!(
                "{seen} entries and {missing} missing seqs are stored; the journal tells of {} and {}",
                tally.created, tally.counts.missing
            );
            self.found([Finding::error("entries_do_not_add_up", &counter.key, message)]);
        }
        let bound = self.reads.bound_keys(counter.id).await?;
        if bound != tally.keys {
            let message = format!("{bound} keys are stored; the journal tells of {}", tally.keys);
            self.found([Finding::error("keys_do_not_add_up", &counter.key, message)]);
        }
        Ok(())
    }

    /// What no single event can tell of an entry: that there is none for something it shows.
    async fn entry(&mut self, counter: &Counter, entry: &Entry) -> Result<(), StoreError> {
        if entry.counter != counter.key {
            let message = "the entry names another counter";
            self.found([Finding::error("entry_changed", entry.id, message)]);
        }
        if entry.position == 0 || entry.position > counter.chain.length {
            // Changed since the counter was read, or an event that is not there: then the chain's end tells.
            return Ok(());
        }
        let unvouched = entry.state == State::Voided && entry.origin == Origin::Reserve && entry.issued_at.is_some();
        if !unvouched && !entry.is_redacted() {
            return Ok(());
        }
        let events = self.reads.events_of(entry.id).await?;
        let happened = |kind| events.iter().any(|event| event.kind == kind);
        if unvouched && !happened(EventKind::Confirmed) {
            let message = format!("{} shows an issue time, but was never confirmed", entry.number);
            self.found([Finding::error("entry_changed", entry.id, message)]);
        }
        if entry.is_redacted() && !happened(EventKind::Redacted) {
            let message = format!("the document of {} is gone, but it was never redacted", entry.number);
            self.found([Finding::error("document_removed", entry.id, message)]);
        }
        Ok(())
    }

    /// Every gate with its chain; then those that a checkpoint knows and the store does not.
    async fn gates(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), StoreError> {
        let pinned = checkpoint.into_iter().flat_map(|checkpoint| &checkpoint.gates);
        let mut pins: BTreeMap<GateId, Pin> = pinned
            .map(|gate| (gate.id, Pin::new(&gate.label, gate.chain)))
            .collect();
        let mut after = None;
        loop {
            let gates = self.reads.gates_by_id(after, PAGE).await;
            let Some(gates) = self.readable("gates", gates)? else {
                return Ok(());
            };
            for gate in &gates {
                let walked = self.gate(gate, pins.remove(&gate.id)).await;
                self.readable(gate.id, walked)?;
                self.report.progress.gates += 1;
            }
            after = gates.last().map(|gate| gate.id);
            if gates.len() < PAGE {
                break;
            }
        }
        for pin in pins.into_values() {
            self.found([pin.gate_is_gone()]);
        }
        Ok(())
    }

    /// Walks a gate's events up to the head of its row, making its moves once more.
    async fn gate(&mut self, gate: &Gate, mut pin: Option<Pin>) -> Result<(), StoreError> {
        let chain = Chain::Gate(gate.id);
        let mut check = ChainCheck::begin(chain, Chain::gate_genesis(&gate.tenant, &gate.effect, &gate.subject));
        let mut moves = GateCheck::begin(gate);
        while check.reached().length < gate.chain.length {
            let mut events = self.reads.events(chain, check.reached().length, PAGE).await?;
            events.retain(|event| event.position <= gate.chain.length);
            if events.is_empty() {
                break;
            }
            for event in &events {
                self.report.progress.events += 1;
                self.found(check.step(event));
                self.found(moves.step(event));
                self.found(pin.as_mut().and_then(|pin| pin.pass(event)));
            }
        }
        self.found(check.finish(gate.chain));
        self.found(moves.finish(gate));
        self.found(pin.and_then(|pin| pin.finish(check.reached())));
        let beyond = self.reads.events(chain, gate.chain.length, 1).await?;
        let moved = self
            .reads
            .gate(gate.id)
            .await?
            .is_none_or(|now| now.chain != gate.chain);
        if let Some(event) = beyond.first().filter(|_| !moved) {
            let message = format!("event {} stands beyond the end of the chain", event.position);
            self.found([Finding::error("event_added", gate.id, message)]);
        }
        Ok(())
    }

    /// What no counter or gate leads to.
    async fn own(&mut self) -> Result<(), StoreError> {
        let found = self.reads.own_findings().await;
        let found = self.readable("store", found)?;
        self.found(found.into_iter().flatten());
        Ok(())
    }

    /// Counters that a checkpoint knows and the store does not.
    async fn removed(&mut self, counters: &BTreeSet<CounterId>) -> Result<(), StoreError> {
        self.wiped_meanwhile().await?;
        let removed = self.pins.iter().filter(|(id, _)| !counters.contains(id));
        let removed: Vec<Finding> = removed.map(|(_, pinned)| is_gone(pinned)).collect();
        self.found(removed);
        Ok(())
    }
}

/// An event is in the chain of a counter that people know by its words.
fn name_chain(finding: &mut Finding, counter: &Counter) {
    if let Some(rest) = finding.place.strip_prefix(&counter.id.to_string()) {
        finding.place = format!("{}{rest}", counter.key);
    }
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

fn busy(counter: &Counter) -> Finding {
    Finding {
        code: "busy",
        severity: Severity::Note,
        place: counter.key.to_string(),
        message: "it went on while it was verified, so its totals were not compared; verify again".to_string(),
    }
}

/// Where a checkpoint says that a chain was.
struct Pin {
    label: String,
    at: ChainHead,
    passed: bool,
}

impl Pin {
    fn new(label: &str, at: ChainHead) -> Self {
        Self {
            label: label.to_string(),
            at,
            passed: at.length == 0,
        }
    }

    fn pass(&mut self, event: &Event) -> Option<Finding> {
        if event.position != self.at.length {
            return None;
        }
        self.passed = true;
        (event.hash != self.at.head).then(|| {
            let message = format!("event {} is not the one that the checkpoint knows", event.position);
            Finding::error("checkpoint_differs", &self.label, message)
        })
    }

    /// The same without walking: the event in that place, or the end of the chain.
    async fn look(
        mut self,
        reads: &dyn Reads,
        chain: Chain,
        reached: ChainHead,
    ) -> Result<Option<Finding>, StoreError> {
        if reached == self.at {
            return Ok(None);
        }
        if reached.length < self.at.length || self.at.length == 0 {
            return Ok(self.finish(reached));
        }
        let events = reads.events(chain, self.at.length - 1, 1).await?;
        let differs = events.first().and_then(|event| self.pass(event));
        Ok(differs.or_else(|| self.finish(reached)))
    }

    fn gate_is_gone(&self) -> Finding {
        let message = format!(
            "the checkpoint knows the gate up to event {}; now it is gone",
            self.at.length
        );
        Finding::error("gate_removed", &self.label, message)
    }

    fn finish(self, reached: ChainHead) -> Option<Finding> {
        (!self.passed).then(|| {
            let message = format!(
                "the chain ends at event {}; the checkpoint knows it up to {}",
                reached.length, self.at.length
            );
            Finding::error("tail_cut", self.label, message)
        })
    }
}

fn is_about_entry(event: &Event) -> bool {
    event.number.is_some()
}

fn compare_event(counter: &Counter, event: &Event, entries: &BTreeMap<u64, Arc<Entry>>) -> Option<Finding> {
    if !is_about_entry(event) {
        return None;
    }
    match entries.get(&event.seq?) {
        Some(entry) => compare_entry(entry, event),
        None => {
            let number = event.number.as_deref().unwrap_or_default();
            let message = format!("event {} tells of {number}, which is not there", event.position);
            Some(Finding::error("entry_removed", &counter.key, message))
        }
    }
}

/// What the events of a counter add up to.
#[derive(Debug, Default)]
struct Tally {
    first_seq: Option<u64>,
    last_seq: u64,
    last_date: Option<Date>,
    counts: Counts,
    created: u64,
    /// Entries whose latest event is the one that they name.
    latest: u64,
    keys: u64,
    last_key: Option<seriatim_core::Key>,
    /// Reserved seqs that are still open, to know what a void takes away.
    reserved: std::collections::BTreeSet<u64>,
}

impl Tally {
    fn take(&mut self, event: &Event) {
        let seq = event.seq.unwrap_or_default();
        match event.kind {
            EventKind::Issued | EventKind::Adopted | EventKind::Reserved => self.create(event, seq),
            EventKind::Confirmed => {
                self.reserved.remove(&seq);
                self.counts.reserved = self.counts.reserved.saturating_sub(1);
                self.counts.issued += 1;
            }
            EventKind::Released | EventKind::Expired | EventKind::Voided => {
                if self.reserved.remove(&seq) {
                    self.counts.reserved = self.counts.reserved.saturating_sub(1);
                } else {
                    self.counts.issued = self.counts.issued.saturating_sub(1);
                }
                self.counts.voided += 1;
                if event.link.is_some() && event.key.is_some() {
                    // The key moved to the replacement.
                    self.keys = self.keys.saturating_sub(1);
                }
            }
            EventKind::Missing => {
                self.first_seq = self.first_seq.or(event.seq);
                self.last_seq = event.seq_last.unwrap_or(seq);
                self.counts.missing += (self.last_seq + 1).saturating_sub(seq);
            }
            EventKind::Redacted
            | EventKind::Defined
            | EventKind::Changed
            | EventKind::Closed
            | EventKind::Reopened
            | EventKind::Wiped
            | EventKind::KeyCreated
            | EventKind::KeyRevoked
            | EventKind::Opened
            | EventKind::Claimed
            | EventKind::Completed
            | EventKind::Failed
            | EventKind::Died
            | EventKind::Retried => {}
        }
    }

    fn create(&mut self, event: &Event, seq: u64) {
        self.first_seq = self.first_seq.or(event.seq);
        self.created += 1;
        if event.kind == EventKind::Reserved {
            self.reserved.insert(seq);
            self.counts.reserved += 1;
        } else {
            self.counts.issued += 1;
        }
        // A key of several numbers is one key, and they stand side by side; a replacement takes its key over.
        if event.key.is_some() && (event.link.is_some() || event.key != self.last_key) {
            self.keys += 1;
        }
        self.last_key = event.key.clone();
        self.last_date = self.last_date.max(event.date);
        if seq > self.last_seq {
            self.last_seq = seq;
        } else {
            self.counts.missing = self.counts.missing.saturating_sub(1);
        }
    }

    fn compare(&self, counter: &Counter) -> Option<Finding> {
        let differs = if self.counts != counter.counts {
            "counts"
        } else if self.last_seq != counter.last_seq && self.first_seq.is_some() {
            "last seq"
        } else if self.first_seq.is_some_and(|first| first != counter.first_seq) {
            "first seq"
        } else if self.last_date != counter.last_date {
            "last date"
        } else {
            return None;
        };
        let message = format!("the counter's {differs} is not what its events say");
        Some(Finding::error("counter_changed", &counter.key, message))
    }
}

/// What the definitions chain says, by what it is about; the latest wins.
#[derive(Debug, Default)]
struct Definitions {
    series: BTreeMap<String, String>,
    closures: BTreeMap<String, String>,
    api_keys: BTreeMap<String, (String, Option<Timestamp>)>,
    /// Which series were test series when the checkpoint was taken.
    tests: BTreeSet<String>,
    /// Which of these were wiped since.
    wiped: BTreeSet<SeriesName>,
}

/// The same from where it is stored.
struct Stored {
    series: BTreeMap<String, String>,
    closures: BTreeMap<String, String>,
    api_keys: BTreeMap<String, (String, Option<Timestamp>)>,
}

impl Definitions {
    fn take(&mut self, event: &Event, is_after_checkpoint: bool) -> Option<Finding> {
        let detail = event.detail.as_deref().unwrap_or_default();
        let field = |name: &str| {
            let line = detail
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_string()
        };
        match event.kind {
            EventKind::Defined | EventKind::Changed => {
                if !is_after_checkpoint && is_test(detail) {
                    self.tests.insert(field("name"));
                } else if !is_after_checkpoint {
                    self.tests.remove(&field("name"));
                }
                self.series.insert(field("name"), detail.to_string());
            }
            EventKind::Closed | EventKind::Reopened => {
                let at = format!("{} {} {}", field("series"), field("tenant"), field("period"));
                let closed = event.kind == EventKind::Closed;
                let reason = event.reason.as_deref().unwrap_or_default();
                self.closures.insert(
                    at,
                    closure_text(detail, closed, reason, &event.actor, event.at.as_micros()),
                );
            }
            EventKind::Wiped => {
                let series = field("series");
                if !self.series.get(&series).is_some_and(|definition| is_test(definition)) {
                    let message = format!(
                        "event {} says that {series} was wiped; it is no test series",
                        event.position
                    );
                    return Some(Finding::error("wipe_forged", &series, message));
                }
                self.closures.retain(|at, _| !at.starts_with(&format!("{series} ")));
                // A series with numbers never became a test series.
                if is_after_checkpoint && self.tests.contains(&series) {
                    self.wiped.extend(wiped_by(event));
                }
            }
            EventKind::KeyCreated => {
                self.api_keys.insert(field("id"), (detail.to_string(), None));
            }
            EventKind::KeyRevoked => {
                if let Some((_, revoked)) = self.api_keys.get_mut(&field("id")) {
                    *revoked = Some(event.at);
                }
            }
            EventKind::Issued
            | EventKind::Reserved
            | EventKind::Adopted
            | EventKind::Confirmed
            | EventKind::Released
            | EventKind::Expired
            | EventKind::Voided
            | EventKind::Redacted
            | EventKind::Missing
            | EventKind::Opened
            | EventKind::Claimed
            | EventKind::Completed
            | EventKind::Failed
            | EventKind::Died
            | EventKind::Retried => {}
        }
        None
    }

    fn compare(&self, stored: &Stored) -> Vec<Finding> {
        let mut findings = differences("series_changed", &self.series, &stored.series);
        findings.extend(differences("closure_changed", &self.closures, &stored.closures));
        findings.extend(differences("api_key_changed", &self.api_keys, &stored.api_keys));
        findings
    }
}

impl Stored {
    async fn read(reads: &dyn Reads) -> Result<Self, StoreError> {
        let series = reads.series().await?;
        let closures = reads.closures().await?;
        let api_keys = reads.api_keys().await?;
        Ok(Self {
            series: series
                .iter()
                .map(|series| (series.name.to_string(), series.to_detail()))
                .collect(),
            closures: closures
                .iter()
                .map(|closure| (closure_place(closure), closure_stored(closure)))
                .collect(),
            api_keys: api_keys
                .iter()
                .map(|key| (key.id.clone(), (key.to_text(), key.revoked_at)))
                .collect(),
        })
    }
}

fn is_test(definition: &str) -> bool {
    definition.lines().any(|line| line == "test=true")
}

fn closure_place(closure: &Closure) -> String {
    format!("{} {} {}", closure.at.series, closure.at.tenant, closure.at.period)
}

fn closure_stored(closure: &Closure) -> String {
    let text = closure.to_text();
    closure_text(
        &text,
        closure.closed,
        &closure.reason,
        &closure.actor,
        closure.when.as_micros(),
    )
}

fn closure_text(detail: &str, closed: bool, reason: &str, actor: &str, at: i64) -> String {
    format!("{detail}\nclosed={closed}\nreason={reason}\nactor={actor}\nat={at}")
}

fn differences<T: PartialEq>(
    code: &'static str,
    said: &BTreeMap<String, T>,
    stored: &BTreeMap<String, T>,
) -> Vec<Finding> {
    let changed = said
        .iter()
        .filter(|(name, value)| stored.get(*name) != Some(*value))
        .map(|(name, _)| name);
    let unsaid = stored.keys().filter(|name| !said.contains_key(*name));
    changed
        .chain(unsaid)
        .map(|name| {
            let message =
                "what is stored is not what the definitions chain says: GET /v1/audit/events?chain=definitions";
            Finding::error(code, name, message)
        })
        .collect()
}
