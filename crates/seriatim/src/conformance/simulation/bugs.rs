//! Stores with a bug, to see that the judge convicts each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use seriatim_core::{Batch, Change, Changes, Footprint, GateId, Snapshot};

use super::Dice;
use crate::conformance::layer::{Layer, Layered};
use crate::store::{BatchId, Decide, Store, StoreError, widen};

/// A bug that a store might have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// It says that a batch is durable before it is, and a power cut in between takes it.
    AcknowledgesBeforeCommit,
    /// It forgets which key a number was taken for.
    DropsTheKey,
    /// It reads the counter and writes it without keeping others away in between.
    ReadsWithoutLock,
    /// It takes a lost answer for a failed commit.
    GuessesAnUnknownCommit,
    /// It looks for an unknown commit without making sure that it is not still under way.
    AsksWithoutFence,
    /// It counts the tokens of gates in memory, so that a process that starts begins anew.
    ForgetsTheToken,
    /// It says the gate's own token for whoever completes or fails, whichever token he says.
    IgnoresTheToken,
    /// It writes the events of gates, and now and then not the gates.
    LosesGates,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 8] = [
        Self::AcknowledgesBeforeCommit,
        Self::DropsTheKey,
        Self::ReadsWithoutLock,
        Self::GuessesAnUnknownCommit,
        Self::AsksWithoutFence,
        Self::ForgetsTheToken,
        Self::IgnoresTheToken,
        Self::LosesGates,
    ];

    /// Puts those bugs on a store that are below the network; the others are in how a process asks.
    pub(super) fn on_top_of(self, store: Arc<dyn Store>, dice: Dice) -> Arc<dyn Store> {
        match self {
            Self::AcknowledgesBeforeCommit => Arc::new(Layered::new(store, AcknowledgesBeforeCommit(dice))),
            Self::DropsTheKey => Arc::new(Layered::new(store, DropsTheKey)),
            Self::ReadsWithoutLock => Arc::new(Layered::new(store, ReadsWithoutLock(dice))),
            Self::ForgetsTheToken => Arc::new(Layered::new(store, ForgetsTheToken::default())),
            Self::LosesGates => Arc::new(Layered::new(store, LosesGates(dice))),
            Self::GuessesAnUnknownCommit | Self::AsksWithoutFence | Self::IgnoresTheToken => store,
        }
    }
}

/// The way of a process that takes a lost answer for a failed commit.
pub(super) fn guessing(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Layered::new(store, GuessesAnUnknownCommit))
}

struct AcknowledgesBeforeCommit(Dice);

#[async_trait]
impl Layer for AcknowledgesBeforeCommit {
    async fn transact(
        &self,
        store: &Arc<dyn Store>,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
    ) -> Result<(), StoreError> {
        let changes = decide_outside(store, batch, footprint, &decide).await?;
        let (store, delay, is_lost) = (store.clone(), self.0.millis(50), self.0.percent(5));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if !is_lost {
                write(&store, batch, changes).await;
            }
        });
        Ok(())
    }
}

struct ReadsWithoutLock(Dice);

#[async_trait]
impl Layer for ReadsWithoutLock {
    async fn transact(
        &self,
        store: &Arc<dyn Store>,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
    ) -> Result<(), StoreError> {
        let changes = decide_outside(store, batch, footprint, &decide).await?;
        tokio::time::sleep(self.0.millis(20)).await;
        write(store, batch, changes).await;
        Ok(())
    }
}

/// Decides on what was held a moment ago.
async fn decide_outside(
    store: &Arc<dyn Store>,
    batch: BatchId,
    mut footprint: Footprint,
    decide: &Decide,
) -> Result<Changes, StoreError> {
    loop {
        let seen = Arc::new(Mutex::new(Snapshot::default()));
        let see = seen.clone();
        let look: Decide = Arc::new(move |held| {
            *see.lock().unwrap_or_else(PoisonError::into_inner) = held;
            Ok(Batch::default())
        });
        store.transact(batch, footprint.clone(), look).await?;
        let held = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        match decide(held) {
            Ok(batch) => return Ok(batch.changes),
            Err(more) => widen(&mut footprint, more)?,
        }
    }
}

/// Writes as a database without unique constraints does: who comes second wins or is lost, and nobody hears of it.
async fn write(store: &Arc<dyn Store>, batch: BatchId, changes: Changes) {
    let decided = Batch {
        answers: Vec::new(),
        changes,
    };
    let _ = store
        .transact(batch, Footprint::default(), Arc::new(move |_| Ok(decided.clone())))
        .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
}

struct DropsTheKey;

impl Layer for DropsTheKey {
    fn decide(&self, _: BatchId, decide: Decide) -> Decide {
        Arc::new(move |held| {
            let mut batch = decide(held)?;
            batch
                .changes
                .list
                .retain(|change| !matches!(change, Change::NewKey(..) | Change::MovedKey(..)));
            Ok(batch)
        })
    }
}

struct GuessesAnUnknownCommit;

#[async_trait]
impl Layer for GuessesAnUnknownCommit {
    async fn transact(
        &self,
        store: &Arc<dyn Store>,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
    ) -> Result<(), StoreError> {
        match store.transact(batch, footprint, decide).await {
            Err(StoreError::Unknown(message)) => Err(StoreError::Unavailable(message)),
            outcome => outcome,
        }
    }
}

/// By process and gate.
#[derive(Default)]
struct ForgetsTheToken(Arc<Mutex<BTreeMap<(i64, GateId), u64>>>);

impl Layer for ForgetsTheToken {
    fn decide(&self, batch: BatchId, decide: Decide) -> Decide {
        let in_memory = self.0.clone();
        Arc::new(move |mut held| {
            let mut tokens = in_memory.lock().unwrap_or_else(PoisonError::into_inner);
            // What is over is not claimed again, so nobody would notice.
            for gate in held.gates.values_mut().flatten().filter(|gate| !gate.is_over()) {
                Arc::make_mut(gate).token = *tokens.entry((batch.node, gate.id)).or_default();
            }
            let decided = decide(held)?;
            let written = decided.changes.gates.values();
            tokens.extend(written.map(|gate| ((batch.node, gate.id), gate.token)));
            Ok(decided)
        })
    }
}

struct LosesGates(Dice);

impl Layer for LosesGates {
    fn decide(&self, _: BatchId, decide: Decide) -> Decide {
        let is_lost = self.0.percent(10);
        Arc::new(move |held| {
            let mut batch = decide(held)?;
            if is_lost {
                batch.changes.gates.clear();
            }
            Ok(batch)
        })
    }
}
