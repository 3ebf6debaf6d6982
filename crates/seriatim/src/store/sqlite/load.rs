//! What a decision must see, read within the transaction that will write it. Each thing that was asked for is
//! answered, with nothing if it is not there.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim_core::{Counter, CounterId, EntryId, Footprint, KeyRef, PeriodRef, Snapshot};

use super::fault::Fault;
use super::keys::{Keys, others};
use super::rows::{CounterNos, StoredCounter};
use super::session::Session;
use super::tail::Tail;

/// The numbers that stand for counters in rows, as this transaction found them.
pub(super) type KnownNos = BTreeMap<CounterId, CounterNos>;

/// Loads a footprint.
pub(super) fn load(
    session: &Session,
    tail: &Tail,
    footprint: &Footprint,
    nos: &mut KnownNos,
) -> Result<Snapshot, Fault> {
    let mut loading = Loading {
        session,
        tail,
        nos,
        held: Snapshot::default(),
    };
    loading.series(footprint)?;
    loading.counters(footprint)?;
    loading.keys(footprint)?;
    loading.entries(footprint)?;
    loading.rest(footprint)?;
    Ok(loading.held)
}

struct Loading<'a> {
    session: &'a Session,
    tail: &'a Tail,
    nos: &'a mut KnownNos,
    held: Snapshot,
}

impl Loading<'_> {
    fn series(&mut self, footprint: &Footprint) -> Result<(), Fault> {
        for name in &footprint.series {
            let series = self.session.series_named(name)?;
            self.held.series.insert(name.clone(), series);
        }
        for name in &footprint.heights {
            let height = self.session.height(name)?;
            self.held.heights.insert(name.clone(), height);
        }
        Ok(())
    }

    fn counters(&mut self, footprint: &Footprint) -> Result<(), Fault> {
        for at in &footprint.period_counters {
            self.period(at)?;
        }
        for key in &footprint.counters {
            let found = self.session.counter(key)?.map(|found| self.remember(found));
            self.held.counters.insert(key.clone(), found);
        }
        Ok(())
    }

    fn period(&mut self, at: &PeriodRef) -> Result<(), Fault> {
        let mut keys = Vec::new();
        for found in self.session.period_counters(at)? {
            let counter = self.remember(found);
            keys.push(counter.key.clone());
            self.held.counters.insert(counter.key.clone(), Some(counter));
        }
        self.held.period_counters.insert(at.clone(), keys);
        Ok(())
    }

    fn remember(&mut self, found: StoredCounter) -> Arc<Counter> {
        self.nos.insert(found.counter.id, found.nos);
        Arc::new(found.counter)
    }

    fn keys(&mut self, footprint: &Footprint) -> Result<(), Fault> {
        if footprint.keys.is_empty() {
            return Ok(());
        }
        let mut keys = Keys::of_writer(self.session, self.tail)?;
        for key in &footprint.keys {
            self.key(&mut keys, key)?;
        }
        Ok(())
    }

    fn key(&mut self, keys: &mut Keys<'_>, key: &KeyRef) -> Result<(), Fault> {
        let found = keys.find(key)?.map(|(binding, first)| {
            self.held.entries.insert(first.id, Some(first));
            binding
        });
        if let Some(binding) = &found {
            for id in others(binding) {
                self.entry(id)?;
            }
        }
        self.held.keys.insert(key.clone(), found);
        Ok(())
    }

    fn entries(&mut self, footprint: &Footprint) -> Result<(), Fault> {
        footprint.entries.iter().try_for_each(|id| self.entry(*id))
    }

    fn entry(&mut self, id: EntryId) -> Result<(), Fault> {
        let nos = match self.nos.get(&id.counter) {
            Some(nos) => Some(*nos),
            None => self.session.counter_nos(id.counter)?,
        };
        let entry = match nos {
            Some(nos) => {
                self.nos.insert(id.counter, nos);
                self.session.entry_at(nos.counter, id.seq)?
            }
            None => None,
        };
        self.held.entries.insert(id, entry);
        Ok(())
    }

    fn rest(&mut self, footprint: &Footprint) -> Result<(), Fault> {
        for id in &footprint.missing {
            if let Some(run) = self.session.missing_at(*id)? {
                self.held.missing.insert((id.counter, run.first), run);
            }
            self.held.missing_asked.insert(*id);
        }
        for at in &footprint.closures {
            let closure = self.session.closure(at)?;
            self.held.closures.insert(at.clone(), closure);
        }
        for id in &footprint.gates {
            let gate = self.session.gate(*id)?;
            self.held.gates.insert(*id, gate);
        }
        for id in &footprint.api_keys {
            let key = self.session.api_key(id)?;
            self.held.api_keys.insert(id.clone(), key);
        }
        if footprint.definitions {
            self.held.definitions = Some(self.session.definitions_head()?);
        }
        Ok(())
    }
}
