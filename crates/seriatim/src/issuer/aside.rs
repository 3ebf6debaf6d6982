//! Beside a lane: commands whose counters somebody else holds wait here, still combined, while the lane goes on.
//!
//! What another node holds is free again in a moment. What a stranger's open transaction holds may stay held for
//! minutes: a group that was not freed together is taken apart, so that each counter waits for its own stranger only.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seriatim_core::{CounterId, Request};

use super::lane::Job;
use crate::store::BatchId;

/// How many groups may wait beside one lane.
const GROUPS_MAX: u32 = 16;
/// How long one attempt waits. Shorter than PostgreSQL takes to look for a deadlock: a stranger who waits for us while
/// we wait for him must not be the one who is ended.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// Those who wait beside one lane.
pub(super) struct Aside(Mutex<Groups>);

struct Groups {
    waiting: Vec<Group>,
    /// Lanes of the store that nobody writes in: a batch must have one to itself.
    free: Vec<BatchId>,
    next: u64,
}

struct Group {
    number: u64,
    /// Empty if it cannot be told what is held.
    counters: BTreeSet<CounterId>,
    jobs: Vec<Job>,
}

/// A group's place, for the task that tends it.
pub(super) struct Place {
    number: u64,
    pub(super) id: BatchId,
}

impl Aside {
    /// The store's own lanes come first, then those of the groups beside each of them.
    pub(super) fn new(node: i64, lanes: u32, lane: u32) -> Self {
        let first = lanes + lane * GROUPS_MAX;
        let free = (first..first + GROUPS_MAX)
            .rev()
            .map(|lane| BatchId { node, lane, batch: 0 });
        Self(Mutex::new(Groups {
            waiting: Vec::new(),
            free: free.collect(),
            next: 0,
        }))
    }

    fn groups<T>(&self, look: impl FnOnce(&mut Groups) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.groups(|groups| groups.waiting.is_empty())
    }

    /// Sends those to their group whose counters are waited for already; the others are given back.
    pub(super) fn join(&self, jobs: Vec<Job>, counters: &dyn Fn(&Request) -> BTreeSet<CounterId>) -> Vec<Job> {
        self.groups(|groups| {
            let waiting = groups.waiting.iter().enumerate();
            let places = waiting.flat_map(|(place, group)| group.counters.iter().map(move |id| (*id, place)));
            let places: HashMap<CounterId, usize> = places.collect();
            if places.is_empty() {
                return jobs;
            }
            let mut others = Vec::with_capacity(jobs.len());
            for job in jobs {
                let place = counters(&job.request).iter().find_map(|id| places.get(id).copied());
                place
                    .map_or(&mut others, |place| &mut groups.waiting[place].jobs)
                    .push(job);
            }
            others
        })
    }

    /// Begins a group; if there are too many, the jobs come back.
    pub(super) fn begin(&self, counters: BTreeSet<CounterId>, jobs: Vec<Job>) -> Result<Place, Vec<Job>> {
        self.groups(|groups| {
            let Some(id) = groups.free.pop() else { return Err(jobs) };
            groups.next += 1;
            let number = groups.next;
            groups.waiting.push(Group { number, counters, jobs });
            Ok(Place { number, id })
        })
    }

    /// The jobs of a group. When there are none left the group ends, and its lane of the store is free again.
    pub(super) fn take(&self, place: &Place) -> Option<Vec<Job>> {
        self.groups(|groups| {
            let at = groups.waiting.iter().position(|group| group.number == place.number)?;
            let jobs = std::mem::take(&mut groups.waiting[at].jobs);
            if jobs.is_empty() {
                groups.waiting.swap_remove(at);
                groups.free.push(place.id);
                return None;
            }
            Some(jobs)
        })
    }

    /// These wait on, before those that came since; from now on the group waits for these counters only.
    pub(super) fn wait_on(&self, place: &Place, counters: BTreeSet<CounterId>, mut jobs: Vec<Job>) {
        self.groups(|groups| {
            if let Some(group) = groups.waiting.iter_mut().find(|group| group.number == place.number) {
                jobs.append(&mut group.jobs);
                group.jobs = jobs;
                group.counters = counters;
            }
        });
    }
}
