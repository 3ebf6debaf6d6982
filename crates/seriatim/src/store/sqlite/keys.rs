//! Which entries a key stands for. Keys are random, so each one touches a leaf of its own; their table holds hashes,
//! which are short, and the key's text is compared in the entry. The newest wait in memory, see [`super::tail`]. This
//! room must never know what a retry is.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::CachedStatement;
use seriatim_core::{Entry, EntryId, Hash, KeyBinding, KeyRef, SeriesName, Tenant};

use super::fault::Fault;
use super::rows::{Columns, integer};
use super::session::Session;
use super::tail::{Held, Pending, Tail};

const FIND_KEY: &str = include_str!("queries/find_key.sql");
const INSERT_KEY: &str = include_str!("queries/insert_key.sql");
const UPDATE_KEY: &str = include_str!("queries/update_key.sql");
const DELETE_KEY: &str = include_str!("queries/delete_key.sql");
const HAS_COLLISIONS: &str = include_str!("queries/has_collisions.sql");
const FIND_COLLISION: &str = include_str!("queries/find_collision.sql");
const INSERT_COLLISION: &str = include_str!("queries/insert_collision.sql");
const UPDATE_COLLISION: &str = include_str!("queries/update_collision.sql");
const DELETE_COLLISIONS: &str = include_str!("queries/delete_collisions.sql");
const LIST_KEYED_ENTRIES: &str = include_str!("queries/list_keyed_entries.sql");

/// How many bits of the hash are kept. With 48 a row number takes two bytes less than with 63, and of a hundred million
/// keys some twenty collide; so few in the tests below that most do.
const HASH_BITS: u32 = if cfg!(test) { 3 } else { 48 };

/// Where a binding is kept and what it says.
struct Slot {
    place: Place,
    counter: i64,
    first: u64,
    count: u32,
}

#[derive(Clone, Copy)]
enum Place {
    Tail(i64),
    Hash(i64),
    Collision,
}

/// The keys that wait in memory, as whoever looks may see them.
enum Waiting<'s> {
    /// The writer.
    Now(&'s Tail),
    /// A reader, who looked before his transaction began: what was carried over since is in the table for him, and what
    /// is younger than his transaction he does not find there.
    Before(HashMap<i64, Held>),
}

/// A binding by the numbers of rows.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub(super) counter: i64,
    pub(super) first: u64,
    pub(super) count: u32,
}

/// The keys as one session sees them, within one transaction.
pub(super) struct Keys<'s> {
    session: &'s Session,
    /// The two statements of every key, kept at hand.
    find: CachedStatement<'s>,
    insert: CachedStatement<'s>,
    has_collisions: bool,
    waiting: Waiting<'s>,
    pending: Pending,
}

impl<'s> Keys<'s> {
    pub(super) fn of_writer(session: &'s Session, tail: &'s Tail) -> Result<Self, Fault> {
        Self::new(session, Waiting::Now(tail))
    }

    /// `before` was taken before the transaction began.
    pub(super) fn of_reader(session: &'s Session, before: HashMap<i64, Held>) -> Result<Self, Fault> {
        Self::new(session, Waiting::Before(before))
    }

    fn new(session: &'s Session, waiting: Waiting<'s>) -> Result<Self, Fault> {
        let has = session.find(HAS_COLLISIONS, [], |row| Columns::new("key_collision", row).integer())?;
        Ok(Self {
            session,
            find: session.conn.prepare_cached(FIND_KEY)?,
            insert: session.conn.prepare_cached(INSERT_KEY)?,
            has_collisions: has != Some(0),
            waiting,
            pending: Pending::default(),
        })
    }

    pub(super) fn session(&self) -> &'s Session {
        self.session
    }

    pub(super) fn pending(&mut self) -> &mut Pending {
        &mut self.pending
    }

    pub(super) fn into_pending(self) -> Pending {
        self.pending
    }

    /// What a key stands for, with its first entry.
    pub(super) fn find(&mut self, key: &KeyRef) -> Result<Option<(KeyBinding, Arc<Entry>)>, Fault> {
        let Some((slot, first)) = self.slot(key)? else {
            return Ok(None);
        };
        let binding = KeyBinding {
            first: first.id,
            count: slot.count,
        };
        Ok(Some((binding, first)))
    }

    /// Binds a key that was not there. A run of several waits for nothing: an entry does not say how long it is.
    pub(super) fn bind(&mut self, key: &KeyRef, to: Bound) -> Result<(), Fault> {
        let at = hash(key);
        match self.held(at) {
            None if to.count == 1 => {
                let Bound {
                    counter, first: seq, ..
                } = to;
                self.pending.bound.insert(at, Held { counter, seq });
                Ok(())
            }
            None => self.put(key, to),
            Some(held) if self.waiting_entry(held, key)?.is_some_and(|entry| is_of(&entry, key)) => Err(exists(key)),
            Some(_) => self.collide(key, to),
        }
    }

    /// Binds a key of the tail in the tables.
    pub(super) fn carry(&mut self, hash: i64, held: Held) -> Result<(), Fault> {
        let Held { counter, seq } = held;
        if self.insert.execute((hash, counter, integer(seq)?, 1))? == 1 {
            return Ok(());
        }
        let entry = self.session.entry_at(counter, seq)?;
        let key = entry.and_then(|entry| {
            Some(KeyRef {
                key: entry.key.clone()?,
                series: entry.counter.series.clone(),
                tenant: entry.counter.tenant.clone(),
            })
        });
        let key = key.ok_or_else(|| Fault::damage(format!("seq {seq} of counter {counter} has lost its key")))?;
        if let Some(taken) = self.by_hash(hash)?
            && is_of(&*self.first_entry(&taken, &key)?, &key)
        {
            return Err(exists(&key));
        }
        let first = seq;
        self.collide(
            &key,
            Bound {
                counter,
                first,
                count: 1,
            },
        )
    }

    /// A key as an entry names it: it waits, unless the tables have it already.
    pub(super) fn recall(&mut self, counter: i64, seq: u64, key: seriatim_core::Key) -> Result<(), Fault> {
        let (_, name) = self.session.counter_name(counter)?;
        let key = KeyRef {
            key,
            series: name.series.clone(),
            tenant: name.tenant.clone(),
        };
        if self.slot(&key)?.is_none() {
            self.pending.bound.insert(hash(&key), Held { counter, seq });
        }
        Ok(())
    }

    fn put(&mut self, key: &KeyRef, to: Bound) -> Result<(), Fault> {
        let row = (hash(key), to.counter, integer(to.first)?, to.count);
        if self.insert.execute(row)? == 1 {
            return self.refuse_twice(key);
        }
        if self.slot(key)?.is_some() {
            return Err(exists(key));
        }
        self.collide(key, to)
    }

    fn collide(&mut self, key: &KeyRef, to: Bound) -> Result<(), Fault> {
        self.has_collisions = true;
        let name = (key.series.as_str(), key.tenant.as_str(), key.key.as_str());
        let row = (name.0, name.1, name.2, to.counter, integer(to.first)?, to.count);
        self.session.run(INSERT_COLLISION, row).map(|_| ())
    }

    fn held(&self, hash: i64) -> Option<Held> {
        if let Some(held) = self.pending.bound.get(&hash) {
            return Some(*held);
        }
        match &self.waiting {
            _ if self.pending.removed.contains(&hash) => None,
            Waiting::Now(tail) => tail.get(hash),
            Waiting::Before(before) => before.get(&hash).copied(),
        }
    }

    fn unhold(&mut self, hash: i64) {
        self.pending.bound.remove(&hash);
        self.pending.removed.insert(hash);
    }

    /// The entry that a waiting key names; a reader may have looked before the entry was there, or after a wipe.
    fn waiting_entry(&self, held: Held, key: &KeyRef) -> Result<Option<Arc<Entry>>, Fault> {
        let entry = self.session.entry_at(held.counter, held.seq)?;
        match (&entry, &self.waiting) {
            // It was bound in this transaction, before its row is written.
            (None, Waiting::Now(_)) if !self.pending.bound.contains_key(&hash(key)) => Err(Fault::damage(format!(
                "a key of the hash of {} waits for seq {} of counter {}, which is not there",
                key.key, held.seq, held.counter
            ))),
            _ => Ok(entry),
        }
    }

    /// A key that collided once, and whose hash became free since, must not be bound a second time.
    fn refuse_twice(&self, key: &KeyRef) -> Result<(), Fault> {
        match self.collision(key)? {
            Some(_) => Err(exists(key)),
            None => Ok(()),
        }
    }

    /// Binds a key that is there to another entry.
    pub(super) fn rebind(&mut self, key: &KeyRef, to: Bound) -> Result<(), Fault> {
        let (slot, _) = self.slot(key)?.ok_or_else(|| {
            Fault::damage(format!(
                "key {} of series {} cannot move: it is not there",
                key.key, key.series
            ))
        })?;
        let first = integer(to.first)?;
        match slot.place {
            Place::Tail(hash) => {
                self.unhold(hash);
                return self.put(key, to);
            }
            Place::Hash(hash) => self.session.run(UPDATE_KEY, (hash, to.counter, first, to.count)),
            Place::Collision => {
                let row = (
                    key.series.as_str(),
                    key.tenant.as_str(),
                    key.key.as_str(),
                    to.counter,
                    first,
                    to.count,
                );
                self.session.run(UPDATE_COLLISION, row)
            }
        }
        .map(|_| ())
    }

    /// How many keys stand for entries of a counter.
    pub(super) fn count_of(&mut self, counter: i64, series: &SeriesName, tenant: &Tenant) -> Result<u64, Fault> {
        let mut count = 0;
        self.each_keyed(counter, series, tenant, |keys, key, seq| {
            let here = |slot: Slot| slot.counter == counter && slot.first == seq;
            let at = hash(key);
            let waits = keys.held(at) == Some(Held { counter, seq });
            if waits || keys.by_hash(at)?.is_some_and(here) || keys.collision(key)?.is_some_and(here) {
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Forgets the keys that stand for entries of a counter, while the entries are still there.
    pub(super) fn forget(&mut self, counter: i64, series: &SeriesName, tenant: &Tenant) -> Result<(), Fault> {
        self.each_keyed(counter, series, tenant, |keys, key, seq| {
            let at = hash(key);
            if keys.held(at) == Some(Held { counter, seq }) {
                keys.unhold(at);
            }
            keys.session.run(DELETE_KEY, (at, counter, integer(seq)?)).map(|_| ())
        })
    }

    pub(super) fn forget_collisions(&self, series: &SeriesName) -> Result<(), Fault> {
        self.session.run(DELETE_COLLISIONS, [series.as_str()]).map(|_| ())
    }

    fn each_keyed(
        &mut self,
        counter: i64,
        series: &SeriesName,
        tenant: &Tenant,
        mut visit: impl FnMut(&mut Self, &KeyRef, u64) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut statement = self.session.conn.prepare_cached(LIST_KEYED_ENTRIES)?;
        let mut rows = statement.query([counter])?;
        while let Some(row) = rows.next()? {
            let mut columns = Columns::new("entry", row);
            let seq = columns.natural()?;
            let key = KeyRef {
                key: columns.parsed(seriatim_core::Key::parse)?,
                series: series.clone(),
                tenant: tenant.clone(),
            };
            visit(self, &key, seq)?;
        }
        Ok(())
    }

    /// The slot that holds this very key, with its first entry.
    fn slot(&mut self, key: &KeyRef) -> Result<Option<(Slot, Arc<Entry>)>, Fault> {
        let at = hash(key);
        if let Some(held) = self.held(at)
            && let Some(first) = self.waiting_entry(held, key)?
            && is_of(&first, key)
        {
            let slot = Slot {
                place: Place::Tail(at),
                counter: held.counter,
                first: held.seq,
                count: 1,
            };
            return Ok(Some((slot, first)));
        }
        if let Some(slot) = self.by_hash(at)? {
            let first = self.first_entry(&slot, key)?;
            if is_of(&first, key) {
                return Ok(Some((slot, first)));
            }
        }
        let Some(slot) = self.collision(key)? else {
            return Ok(None);
        };
        let first = self.first_entry(&slot, key)?;
        if is_of(&first, key) {
            return Ok(Some((slot, first)));
        }
        Err(Fault::damage(format!(
            "key {} of series {} stands for entry {}, which has another key",
            key.key, key.series, first.id
        )))
    }

    fn first_entry(&self, slot: &Slot, key: &KeyRef) -> Result<Arc<Entry>, Fault> {
        let entry = self.session.entry_at(slot.counter, slot.first)?;
        entry.ok_or_else(|| {
            Fault::damage(format!(
                "key {} of series {}, or one of the same hash, stands for seq {} of counter {}, which is not there",
                key.key, key.series, slot.first, slot.counter
            ))
        })
    }

    fn by_hash(&mut self, hash: i64) -> Result<Option<Slot>, Fault> {
        let mut rows = self.find.query([hash])?;
        rows.next()?.map(|row| slot("key", row, Place::Hash(hash))).transpose()
    }

    fn collision(&self, key: &KeyRef) -> Result<Option<Slot>, Fault> {
        if !self.has_collisions {
            return Ok(None);
        }
        let name = [key.series.as_str(), key.tenant.as_str(), key.key.as_str()];
        self.session
            .find(FIND_COLLISION, name, |row| slot("key_collision", row, Place::Collision))
    }
}

fn slot(table: &'static str, row: &rusqlite::Row<'_>, place: Place) -> Result<Slot, Fault> {
    let mut columns = Columns::new(table, row);
    let (counter, first, count) = (columns.integer()?, columns.natural()?, columns.natural()?);
    let count = u32::try_from(count).map_err(|_| Fault::in_row(table, first, "column count is too large"))?;
    if count == 0 {
        return Err(Fault::in_row(table, first, "column count is 0"));
    }
    Ok(Slot {
        place,
        counter,
        first,
        count,
    })
}

pub(super) fn hash(key: &KeyRef) -> i64 {
    // The longest series, tenant and key, with a zero byte between them: none of them contains one, so no two run
    // together.
    let mut text = [0; 63 + 1 + 64 + 1 + 255];
    let mut end = 0;
    for part in [
        key.series.as_bytes(),
        &[0],
        key.tenant.as_bytes(),
        &[0],
        key.key.as_bytes(),
    ] {
        if let Some(room) = text.get_mut(end..end + part.len()) {
            room.copy_from_slice(part);
            end += part.len();
        }
    }
    let [a, b, c, d, e, f, g, h, ..] = *Hash::of(&text[..end]).as_bytes();
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (64 - HASH_BITS)).cast_signed()
}

fn is_of(entry: &Entry, key: &KeyRef) -> bool {
    entry.key.as_ref() == Some(&key.key) && entry.counter.series == key.series && entry.counter.tenant == key.tenant
}

fn exists(key: &KeyRef) -> Fault {
    Fault::damage(format!("key {} of series {} exists already", key.key, key.series))
}

/// The entries of a binding but the first.
pub(super) fn others(binding: &KeyBinding) -> impl Iterator<Item = EntryId> {
    binding.entries().skip(1)
}

#[cfg(test)]
#[expect(
    clippy::result_large_err,
    reason = "a decision that asks for more does so as its type says"
)]
mod tests {
    use std::sync::Arc;

    use seriatim_core::{
        Access, Actor, Command, EntryId, Footprint, Key, KeyRef, Reason, Request, Series, SeriesName, SeriesSpec, Take,
        Tenant, Timestamp, Void, VoidReason, decide_all,
    };

    use crate::store::sqlite::{Sqlite, SqliteOptions};
    use crate::store::{BatchId, Reads, Store};
    use crate::{BundledZones, Memory};

    async fn act(store: &dyn Store, command: Command) {
        let access = Access::full();
        let actor = Actor::parse("os:ann").unwrap();
        let request = Request {
            actor,
            on_behalf_of: None,
            access,
            rehearsal: false,
            command,
        };
        let now = Timestamp::from_micros(1_774_958_400_000_000);
        let footprint = Footprint::of([&request], &|_| None, now);
        let batch = BatchId {
            node: 1,
            lane: 0,
            batch: 1,
        };
        store
            .transact(
                batch,
                footprint,
                Arc::new(move |held| decide_all(held, [&request], now)),
            )
            .await
            .unwrap();
    }

    fn key_ref(i: u32) -> KeyRef {
        let key = Key::parse(&format!("pay_{i}")).unwrap();
        KeyRef {
            key,
            series: SeriesName::parse("trial").unwrap(),
            tenant: Tenant::default(),
        }
    }

    fn define() -> Command {
        let spec = SeriesSpec {
            format: "T-{seq}".into(),
            test: true,
            ..SeriesSpec::default()
        };
        let series = Series::define(key_ref(0).series, &spec, &BundledZones).unwrap();
        Command::Define {
            series: Box::new(series),
            if_version: None,
        }
    }

    fn issue(i: u32) -> Command {
        let KeyRef { key, series, tenant } = key_ref(i);
        Command::Issue {
            series,
            take: Take {
                key: Some(key),
                tenant,
                ..Take::default()
            },
        }
    }

    fn reissue(entry: EntryId) -> Command {
        let reason = Reason::parse("sent twice").unwrap();
        Command::Void(Void {
            entry,
            reason_code: VoidReason::Duplicate,
            reason,
            reissue: true,
        })
    }

    // With 3 bits, 40 keys share 8 hashes: nearly all of them are told apart by their text alone.
    #[tokio::test]
    async fn keys_of_the_same_hash_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::open(directory.path().join("s.db"), SqliteOptions::default())
            .await
            .unwrap();
        let memory = Memory::new();
        let stores: [&dyn Store; 2] = [&memory, &sqlite];
        let act_both = async |command: Command| {
            for store in stores {
                act(store, command.clone()).await;
            }
        };
        act_both(define()).await;
        for round in 0..3 {
            for i in 0..40 {
                act_both(issue(i)).await;
                act_both(issue(i / 2)).await;
            }
            for i in [3, 7, 20, 39] {
                let entries = memory.entries_of_key(&key_ref(i)).await.unwrap();
                act_both(reissue(entries[0].id)).await;
            }
            for i in 0..45 {
                let expected = memory.entries_of_key(&key_ref(i)).await.unwrap();
                assert_eq!(
                    sqlite.entries_of_key(&key_ref(i)).await.unwrap(),
                    expected,
                    "round {round}, key {i}"
                );
                assert_eq!(expected.len(), usize::from(i < 40));
            }
            for counter in memory.heads().await.unwrap().counters {
                assert_eq!(counter.last_seq, 44);
                assert_eq!(sqlite.counter(counter.id).await.unwrap().as_ref(), Some(&counter));
                assert_eq!(sqlite.bound_keys(counter.id).await.unwrap(), 40);
            }
            act_both(Command::Wipe {
                series: key_ref(0).series,
            })
            .await;
            assert!(sqlite.entries_of_key(&key_ref(1)).await.unwrap().is_empty());
        }
    }
}
