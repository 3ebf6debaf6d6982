//! The one thread that writes: a batch is loaded, decided and committed before the next one begins. Its answer waits
//! for the flusher. It must never know a rule, nor who waits for the answer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};

use seriatim_core::{Batch, Change, EventKind, Footprint};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, warn};

use super::fault::{Fault, what_and_way_out};
use super::flusher::{Durable, Flusher, Tell, WalFile};
use super::keeper::{Keeper, WAL_OUTGROWN, checkpoint};
use super::load::{KnownNos, load};
use super::open::{PAGE_BYTES, Place, open_writer};
use super::persist::persist;
use super::readers::Readers;
use super::session::Session;
use super::tail::Tail;
use crate::store::{BatchId, Decide, StoreError, decide_safely, widen};

/// This part of a WAL is small enough for the writer to carry over between two batches, in some milliseconds.
const WAL_REST: u64 = 16;

#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and nearly every one is a transaction"
)]
pub(super) enum Job {
    Transact {
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
        turn: Option<OwnedSemaphorePermit>,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    Committed {
        batch: BatchId,
        answer: oneshot::Sender<Result<bool, StoreError>>,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// Starts the thread; it ends when it is told to or when the last sender is gone.
pub(super) fn start(
    place: Arc<Place>,
    session: Session,
    durable: Arc<Durable>,
    tail: Arc<Tail>,
    readers: &Arc<Readers>,
) -> std::io::Result<Sender<Job>> {
    let keeper = Keeper::start(place.clone(), readers)?;
    let flusher = Flusher::start(place.clone(), durable.clone())?;
    let wal = Arc::new(WalFile::open(&place)?);
    let (jobs, waiting) = channel();
    let writer = Writer {
        place,
        open: Some(Open { session, wal }),
        keeper,
        durable,
        flusher,
        tail,
    };
    let thread = std::thread::Builder::new().name("seriatim-writer".to_string());
    thread.spawn(move || writer.run(&waiting))?;
    Ok(jobs)
}

struct Writer {
    place: Arc<Place>,
    /// Nothing after a commit whose outcome is unknown: its connection is not trusted again.
    open: Option<Open>,
    keeper: Keeper,
    durable: Arc<Durable>,
    flusher: Flusher,
    tail: Arc<Tail>,
}

struct Open {
    session: Session,
    wal: Arc<WalFile>,
}

/// Why a batch was not committed.
enum Failed {
    /// Before the commit: nothing happened.
    Nothing(Fault),
    /// The decision panicked: nothing happened.
    Decision(StoreError),
    /// In the commit: nobody knows yet.
    Commit(rusqlite::Error),
}

impl<E: Into<Fault>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Nothing(error.into())
    }
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Transact {
                    batch,
                    footprint,
                    decide,
                    turn,
                    answer,
                } => {
                    // Whoever asked may be gone; the batch is committed or not all the same.
                    let tell: Tell = Box::new(|outcome| drop(answer.send(outcome)));
                    match self.transact(batch, footprint, &decide, turn) {
                        // Freed only now that the answer is on its way.
                        Ok(decided) => drop((self.tell_when_durable(tell), decided)),
                        Err(error) => tell(Err(error)),
                    }
                    self.tend_wal();
                }
                Job::Committed { batch, answer } => {
                    let committed = self.committed(batch);
                    self.tell_when_durable(Box::new(|flushed| {
                        let _ = answer.send(flushed.and(committed));
                    }));
                }
                Job::Close { answer } => {
                    self.retire();
                    // Whoever asked may be gone.
                    let _ = answer.send(());
                    return;
                }
            }
        }
        self.retire();
    }

    fn transact(
        &mut self,
        batch: BatchId,
        footprint: Footprint,
        decide: &Decide,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Batch, StoreError> {
        let (tail, durable) = (self.tail.clone(), self.durable.clone());
        let emptying = self.keeper.emptying();
        let _keeper_waits = emptying.lock().unwrap_or_else(PoisonError::into_inner);
        self.place
            .check_file()
            .map_err(|fault| self.place.error("write to", fault))?;
        let session = self.session()?;
        match write(session, &tail, &durable, batch, footprint, decide, turn) {
            Ok(decided) => {
                if !decided.changes.is_empty() {
                    self.keeper.count_commit();
                }
                if decided.changes.list.iter().any(removes) {
                    self.keeper.scrub();
                }
                Ok(decided)
            }
            Err(Failed::Nothing(fault)) => {
                self.roll_back();
                Err(self.place.error("write to", fault))
            }
            Err(Failed::Decision(error)) => {
                self.roll_back();
                Err(error)
            }
            Err(Failed::Commit(error)) => {
                self.open = None;
                self.durable.uncount_commit();
                let path = self.place.path.display();
                let what = what_and_way_out(&error);
                error!(path = %path, what, "a commit failed; the database is opened anew");
                Err(StoreError::Unknown(format!("cannot commit to {path}: {what}")))
            }
        }
    }

    /// What was decided on commits that are not flushed yet waits for them too, even if it changed nothing.
    fn tell_when_durable(&self, tell: Tell) {
        match &self.open {
            Some(open) => self.flusher.tell_after(&open.wal, self.durable.made(), tell),
            None => tell(Ok(())),
        }
    }

    /// The connection, opened anew after a commit or a flush whose outcome was unknown.
    fn session(&mut self) -> Result<&Session, StoreError> {
        let open = match self.open.take() {
            Some(open) if !open.wal.has_failed() => open,
            Some(failed) => {
                drop(failed);
                self.recover()?
            }
            None => self.recover()?,
        };
        Ok(&self.open.insert(open).session)
    }

    /// Only when all of the WAL is in the database and the WAL is empty can what failed no longer come back.
    fn recover(&self) -> Result<Open, StoreError> {
        let session = open_writer(&self.place)?;
        let wal = checkpoint(&session.conn, "truncate").map_err(|fault| self.place.error("recover", fault))?;
        let path = self.place.path.display();
        if wal.hindered {
            return Err(StoreError::Unavailable(format!(
                "cannot tell yet what was committed to {path}: somebody reads it; retry"
            )));
        }
        let wal = WalFile::open(&self.place)
            .map_err(|error| StoreError::Unavailable(format!("cannot open the WAL of {path}: {error}; retry")))?;
        self.tail
            .refresh_all(&session)
            .map_err(|fault| self.place.error("recover", fault))?;
        self.durable.reach_all();
        Ok(Open {
            session,
            wal: Arc::new(wal),
        })
    }

    fn roll_back(&mut self) {
        let Some(Open { session, .. }) = &self.open else { return };
        // Some faults have rolled it back already.
        let rolled_back = session.conn.is_autocommit() || session.run("rollback", []).is_ok();
        if !rolled_back || !session.conn.is_autocommit() {
            // Closing the connection ends its transaction.
            self.open = None;
        }
    }

    fn committed(&mut self, batch: BatchId) -> Result<bool, StoreError> {
        let last = self.session()?.last_batch(batch);
        let last = last.map_err(|fault| self.place.error("read", fault))?;
        Ok(last == Some(batch.batch))
    }

    /// After each batch: has the WAL carried over before it is too large. The bulk is the keeper's; what was added
    /// meanwhile is carried over here, because only a WAL without a rest starts over.
    fn tend_wal(&self) {
        let Some(Open { session, .. }) = &self.open else { return };
        let Ok(wal) = checkpoint(&session.conn, "noop") else {
            return;
        };
        let size_max = u64::from(self.place.options.wal_kib) * 1024;
        let size = u64::from(wal.pages) * u64::from(PAGE_BYTES);
        let rest = u64::from(wal.pages.saturating_sub(wal.carried)) * u64::from(PAGE_BYTES);
        // Then it is carried over here whoever waits; and the keeper empties it, for it does not start over by itself.
        let outgrown = size > size_max * u64::from(WAL_OUTGROWN);
        if size < size_max || (rest == 0 && !outgrown) || self.keeper.is_busy() {
            return;
        }
        let carried_here = (rest < size_max / WAL_REST || outgrown)
            && checkpoint(&session.conn, "passive").is_ok_and(|wal| wal.pages == wal.carried);
        if !carried_here || outgrown {
            // Also if it failed here: the keeper tries again, and says what is the matter.
            self.keeper.carry_over();
        }
    }

    /// Leaves one tidy file behind; if that fails, the next opening finds everything in the WAL.
    fn retire(self) {
        self.flusher.stop();
        self.keeper.stop();
        let Some(Open { session, .. }) = self.open else { return };
        let carried = self.tail.carry_all(&session);
        if let Err(fault) = carried.and_then(|()| checkpoint(&session.conn, "truncate")) {
            let error = self.place.error("carry over the WAL of", fault);
            warn!(%error, "closed with a WAL that is carried over at the next opening");
        }
    }
}

fn write(
    session: &Session,
    tail: &Tail,
    durable: &Durable,
    batch: BatchId,
    footprint: Footprint,
    decide: &Decide,
    turn: Option<OwnedSemaphorePermit>,
) -> Result<Batch, Failed> {
    session.run("begin immediate", [])?;
    tail.refresh(session)?;
    let (decided, nos) = decide_on(session, tail, footprint, decide)?;
    if decided.changes.is_empty() {
        session.run("rollback", [])?;
        return Ok(decided);
    }
    let pending = persist(session, tail, batch, &decided.changes, nos)?;
    // The next batch is put together while this one is written.
    drop(turn);
    // A full or broken disk shows here, where nothing has happened yet, rather than in the commit.
    session.conn.cache_flush()?;
    // Before anybody can read it, so that whoever does waits for its flush.
    durable.count_commit();
    session.conn.execute_batch("commit").map_err(Failed::Commit)?;
    tail.settle(session, pending);
    Ok(decided)
}

/// Whether this takes a document away.
fn removes(change: &Change) -> bool {
    match change {
        Change::Event(_, event) => event.kind == EventKind::Redacted,
        Change::Wipe(_) => true,
        _ => false,
    }
}

fn decide_on(
    session: &Session,
    tail: &Tail,
    mut footprint: Footprint,
    decide: &Decide,
) -> Result<(Batch, KnownNos), Failed> {
    loop {
        let mut nos = KnownNos::new();
        let held = load(session, tail, &footprint, &mut nos)?;
        match decide_safely(decide, held).map_err(Failed::Decision)? {
            Ok(decided) => return Ok((decided, nos)),
            Err(more) => widen(&mut footprint, more).map_err(Failed::Decision)?,
        }
    }
}
