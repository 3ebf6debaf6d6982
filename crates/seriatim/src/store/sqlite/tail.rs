//! The keys of the newest entries, which wait in memory for their place in the table of keys. Random keys touch one leaf
//! of that table each; many at a time and in its order they share leaves, and the WAL stays small. Nothing is lost with
//! the memory: an entry holds the text of its key, so what waited is read again from the entries. This room must never
//! know what a retry is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::fault::Fault;
use super::keys::Keys;
use super::rows::Columns;
use super::session::Session;

const FIND_KEY_TAIL: &str = include_str!("queries/find_key_tail.sql");
const LOWER_KEY_TAIL: &str = include_str!("queries/lower_key_tail.sql");
const PUT_KEY_TAIL: &str = include_str!("queries/put_key_tail.sql");
const LIST_LATE_KEYS: &str = include_str!("queries/list_late_keys.sql");
const FIND_LAST_ARRIVAL: &str = include_str!("queries/find_last_arrival.sql");
const DATA_VERSION: &str = "pragma data_version";

/// One key waits for so many entries: then a leaf of the table takes two or three at a time, whatever its size.
const ENTRIES_PER_KEY: i64 = 40;
/// Never more than this; each takes some 40 bytes.
const WAITING_MAX: usize = 256 * 1024;
/// Of the keys that wait, so many are carried over beside each new one.
const CARRIED_PER_NEW: usize = 2;
/// And so many beside a batch without keys.
const CARRIED_ALWAYS: usize = 16;

/// What a waiting key stands for: one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) counter: i64,
    pub(super) seq: u64,
}

pub(super) struct Tail {
    waiting: RwLock<Waiting>,
    /// So many may wait in a small store.
    size_min: usize,
}

#[derive(Default)]
struct Waiting {
    /// Since the last time that all of them became old.
    young: HashMap<i64, Held>,
    /// Being carried over, in the order of the table.
    old: BTreeMap<i64, Held>,
    /// The `no` of the last entry whose key may be among the old.
    old_to: i64,
    /// Another writer's commit changes it; then the entries must be read again.
    data_version: i64,
}

/// What one transaction does to the keys that wait; nothing of it holds before the commit.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) bound: HashMap<i64, Held>,
    pub(super) removed: HashSet<i64>,
    carried: Vec<i64>,
    /// The `no` of the last entry that a wipe left: those above it are given out again.
    left_to: Option<i64>,
}

impl Pending {
    fn no_later_than_left(&self, no: i64) -> i64 {
        self.left_to.map_or(no, |left_to| left_to.min(no))
    }
}

impl Tail {
    pub(super) fn new(size_min: usize) -> Self {
        Self {
            waiting: RwLock::default(),
            size_min,
        }
    }

    pub(super) fn get(&self, hash: i64) -> Option<Held> {
        let waiting = self.read();
        waiting.young.get(&hash).or_else(|| waiting.old.get(&hash)).copied()
    }

    /// Every key that waits, for a reader who needs many of them.
    pub(super) fn all(&self) -> HashMap<i64, Held> {
        let waiting = self.read();
        waiting
            .old
            .iter()
            .chain(&waiting.young)
            .map(|(hash, held)| (*hash, *held))
            .collect()
    }

    /// Reads what waits from the entries, if this is the first time or another writer was there.
    pub(super) fn refresh(&self, session: &Session) -> Result<(), Fault> {
        let version = number(session, DATA_VERSION)?;
        if self.read().data_version == version {
            return Ok(());
        }
        self.read_again(session)?;
        self.write().data_version = version;
        Ok(())
    }

    /// The same for a new connection, whose versions are its own.
    pub(super) fn refresh_all(&self, session: &Session) -> Result<(), Fault> {
        self.write().data_version = 0;
        self.refresh(session)
    }

    fn read_again(&self, session: &Session) -> Result<(), Fault> {
        let after = number(session, FIND_KEY_TAIL)?;
        // Beside what readers look at: they must not find half of it.
        let fresh = Self::new(self.size_min);
        let mut keys = Keys::of_writer(session, &fresh)?;
        let mut late = session.conn.prepare_cached(LIST_LATE_KEYS)?;
        let mut rows = late.query([after])?;
        while let Some(row) = rows.next()? {
            let mut columns = Columns::new("entry", row);
            let (counter, seq) = (columns.integer()?, columns.natural()?);
            keys.recall(counter, seq, columns.parsed(seriatim_core::Key::parse)?)?;
        }
        let mut pending = keys.into_pending();
        fresh.add(&mut pending);
        *self.write() = fresh.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    /// Within a transaction that also binds keys: takes some that wait to their table.
    pub(super) fn carry_over(&self, keys: &mut Keys<'_>) -> Result<(), Fault> {
        let count = CARRIED_ALWAYS + CARRIED_PER_NEW * keys.pending().bound.len();
        let (due, all, old_to) = {
            let waiting = self.read();
            let due: Vec<(i64, Held)> = waiting
                .old
                .iter()
                .take(count)
                .map(|(hash, held)| (*hash, *held))
                .collect();
            let all = !due.is_empty() && due.len() == waiting.old.len();
            (due, all, waiting.old_to)
        };
        for (hash, held) in due {
            // One that moved in this very transaction is in the table already.
            if !keys.pending().removed.contains(&hash) {
                keys.carry(hash, held)?;
            }
            keys.pending().carried.push(hash);
        }
        if all {
            let old_to = keys.pending().no_later_than_left(old_to);
            keys.session().run(PUT_KEY_TAIL, [old_to])?;
        }
        Ok(())
    }

    /// Within the transaction of a wipe, once its entries are gone.
    pub(super) fn step_back(keys: &mut Keys<'_>) -> Result<(), Fault> {
        let last = number(keys.session(), FIND_LAST_ARRIVAL)?;
        keys.session().run(LOWER_KEY_TAIL, [last])?;
        let pending = keys.pending();
        pending.left_to = Some(pending.no_later_than_left(last));
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn settle(&self, session: &Session, mut pending: Pending) {
        self.add(&mut pending);
        let young = {
            let waiting = self.read();
            if !waiting.old.is_empty() {
                return;
            }
            waiting.young.len()
        };
        // If it cannot be told now how large the store is, they wait a little longer.
        let Some(last) = (young >= self.size_min)
            .then(|| number(session, FIND_LAST_ARRIVAL).ok())
            .flatten()
        else {
            return;
        };
        let by_size = usize::try_from(last / ENTRIES_PER_KEY).unwrap_or(WAITING_MAX);
        if young >= by_size.min(WAITING_MAX) {
            let mut waiting = self.write();
            waiting.old = std::mem::take(&mut waiting.young).into_iter().collect();
            waiting.old_to = last;
        }
    }

    fn add(&self, pending: &mut Pending) {
        let mut waiting = self.write();
        for hash in pending.carried.drain(..).chain(pending.removed.drain()) {
            waiting.old.remove(&hash);
            waiting.young.remove(&hash);
        }
        waiting.young.extend(pending.bound.drain());
        waiting.old_to = pending.no_later_than_left(waiting.old_to);
    }

    /// Takes all that wait to their table, so that a store at rest has its keys in one place.
    pub(super) fn carry_all(&self, session: &Session) -> Result<(), Fault> {
        session.run("begin immediate", [])?;
        let carried = self.carry(session);
        if !matches!(carried, Ok(true)) {
            // Closing the connection would end it as well.
            let _ = session.run("rollback", []);
        }
        carried.map(|_| ())
    }

    /// Says whether it did: too many are left where they are.
    fn carry(&self, session: &Session) -> Result<bool, Fault> {
        // The mark says that every key up to it is in the table, so those of another writer's entries must be known.
        self.refresh(session)?;
        let mut all: Vec<(i64, Held)> = self.all().into_iter().collect();
        if all.len() > WAITING_MAX / 4 {
            return Ok(false);
        }
        all.sort_unstable_by_key(|(hash, _)| *hash);
        let mut keys = Keys::of_writer(session, self)?;
        for (hash, held) in all {
            keys.carry(hash, held)?;
        }
        let last = number(session, FIND_LAST_ARRIVAL)?;
        session.run(PUT_KEY_TAIL, [last])?;
        session.run("commit", []).map(|_| true)
    }

    fn read(&self) -> RwLockReadGuard<'_, Waiting> {
        self.waiting.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Waiting> {
        self.waiting.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(session: &Session, sql: &str) -> Result<i64, Fault> {
    let found = session.find(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(found.flatten().unwrap_or(0))
}
