//! A layer that does to a store what networks, disks and power cuts do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use seriatim_core::Footprint;
use tokio::task::JoinHandle;

use super::{Dice, Life, Sometimes};
use crate::conformance::layer::Layer;
use crate::store::{BatchId, Decide, Store, StoreError};

/// The weather over all processes.
#[derive(Debug, Clone, Default)]
pub(super) struct Fates(Arc<AtomicBool>);

impl Fates {
    /// In a storm things fail; without one they work, at once.
    pub(super) fn set_storm(&self, storm: bool) {
        self.0.store(storm, Ordering::Relaxed);
    }

    fn storm(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way of one process to the store.
pub(super) struct Faulty {
    dice: Dice,
    fates: Fates,
    sometimes: Sometimes,
    /// Over once the process has crashed: nothing that it began goes on, but for what the store has already.
    life: Life,
    /// Whether `committed` waits for a commit under way, as the contract of a store says.
    fences: bool,
    lanes: u32,
    /// By lane.
    late: Mutex<BTreeMap<u32, Late>>,
}

/// A commit that the store has received and not yet carried out.
struct Late {
    fenced: Arc<AtomicBool>,
    landing: JoinHandle<()>,
}

enum Fate {
    Fair,
    Slow,
    UnavailableBefore,
    RequestLost,
    AnswerLost,
    CommitLate,
}

impl Faulty {
    /// The way of a process that lives as long as `life` says.
    pub(super) fn new(dice: Dice, fates: Fates, sometimes: Sometimes, life: Life, fences: bool) -> Self {
        let (lanes, late) = (1 + u32::try_from(dice.below(3)).unwrap_or(0), Mutex::default());
        Self {
            dice,
            fates,
            sometimes,
            life,
            fences,
            lanes,
            late,
        }
    }

    fn draw(&self) -> Fate {
        if !self.fates.storm() {
            return Fate::Fair;
        }
        match self.dice.below(20) {
            0..=1 => Fate::Slow,
            2..=4 => Fate::UnavailableBefore,
            5 => Fate::RequestLost,
            6 => Fate::AnswerLost,
            7 => Fate::CommitLate,
            _ => Fate::Fair,
        }
    }

    /// Time passes on the way; who has crashed by then stays there for ever.
    async fn travel(&self, millis: u64) {
        tokio::time::sleep(self.dice.millis(millis)).await;
        if self.life.is_over() {
            std::future::pending::<()>().await;
        }
    }

    fn commit_later(&self, store: &Arc<dyn Store>, batch: BatchId, footprint: Footprint, decide: Decide) {
        let fenced = Arc::new(AtomicBool::new(false));
        let (store, is_fenced) = (store.clone(), fenced.clone());
        let (life, sometimes) = (self.life.clone(), self.sometimes.clone());
        let delay = self.dice.millis(3_000);
        let landing = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if is_fenced.load(Ordering::Relaxed) {
                return;
            }
            if store.transact(batch, footprint, decide).await.is_ok() && life.is_over() {
                sometimes.hit("a late commit landed after its process had crashed");
            }
        });
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.insert(batch.lane, Late { fenced, landing });
    }

    /// Nobody is told of an outcome that may still change.
    async fn fence(&self, lane: u32) {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).remove(&lane);
        let Some(late) = late.filter(|late| !late.landing.is_finished()) else {
            return;
        };
        if self.dice.percent(50) {
            late.fenced.store(true, Ordering::Relaxed);
            self.sometimes.hit("a late commit was fenced off");
        } else {
            self.sometimes.hit("a late commit was waited for");
        }
        // A panic in there shows as a verdict.
        let _ = late.landing.await;
    }
}

#[async_trait]
impl Layer for Faulty {
    async fn transact(
        &self,
        store: &Arc<dyn Store>,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
    ) -> Result<(), StoreError> {
        let fate = self.draw();
        self.travel(20).await;
        match fate {
            Fate::Fair => {
                let outcome = store.transact(batch, footprint, decide).await;
                self.travel(20).await;
                outcome
            }
            Fate::Slow => {
                self.travel(6_000).await;
                let outcome = store.transact(batch, footprint, decide).await;
                self.travel(6_000).await;
                outcome
            }
            Fate::UnavailableBefore => Err(StoreError::Unavailable("the store is away".to_string())),
            Fate::RequestLost => Err(StoreError::Unknown(
                "the connection broke before the commit".to_string(),
            )),
            Fate::AnswerLost => {
                store.transact(batch, footprint, decide).await?;
                self.travel(20).await;
                Err(StoreError::Unknown("the connection broke after the commit".to_string()))
            }
            Fate::CommitLate => {
                self.commit_later(store, batch, footprint, decide);
                Err(StoreError::Unknown(
                    "the connection broke with the commit under way".to_string(),
                ))
            }
        }
    }

    async fn committed(&self, store: &Arc<dyn Store>, batch: BatchId) -> Result<bool, StoreError> {
        self.travel(20).await;
        if self.fates.storm() && self.dice.percent(30) {
            self.sometimes.hit("the outcome could not be asked for at once");
            return Err(StoreError::Unavailable("the store is still away".to_string()));
        }
        if self.fences {
            self.fence(batch.lane).await;
        }
        let committed = store.committed(batch).await;
        self.travel(20).await;
        self.sometimes.hit(match committed {
            Ok(true) => "an unknown commit had committed",
            Ok(false) | Err(_) => "an unknown commit had not committed",
        });
        committed
    }

    /// The store can take any number side by side, so this is drawn too.
    fn lanes(&self, _: &Arc<dyn Store>) -> u32 {
        self.lanes
    }
}
