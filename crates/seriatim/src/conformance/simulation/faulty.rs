//! A layer that does to a store what networks, disks and power cuts do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use seriatim_core::Footprint;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Dice, Sometimes};
use crate::conformance::layer::Layer;
use crate::store::{BatchId, Decide, Store, StoreError};

/// The weather over all processes.
#[derive(Debug, Clone, Default)]
pub struct Fates(Arc<AtomicBool>);

impl Fates {
    /// In a storm things fail; without one they work, at once.
    pub fn set_storm(&self, storm: bool) {
        self.0.store(storm, Ordering::Relaxed);
    }

    fn storm(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way of one process to the store.
pub struct Faulty {
    dice: Dice,
    fates: Fates,
    sometimes: Sometimes,
    /// False once the process has crashed: nothing that it began goes on, but for what the store has already.
    life: watch::Receiver<bool>,
    /// Whether `committed` waits for a commit under way, as the contract of a store says.
    fences: bool,
    late: Mutex<Option<Late>>,
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
    #[must_use]
    pub fn new(
        dice: Dice,
        fates: Fates,
        sometimes: Sometimes,
        life: watch::Receiver<bool>,
        fences: bool,
    ) -> Self {
        let late = Mutex::new(None);
        Self { dice, fates, sometimes, life, fences, late }
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
        if !*self.life.borrow() {
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
            if store.transact(batch, footprint, decide).await.is_ok() && !*life.borrow() {
                sometimes.hit("a late commit landed after its process had crashed");
            }
        });
        *self.late.lock().unwrap_or_else(PoisonError::into_inner) = Some(Late { fenced, landing });
    }

    /// Nobody is told of an outcome that may still change.
    async fn fence(&self) {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(late) = late.filter(|late| !late.landing.is_finished()) else { return };
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
            Fate::RequestLost => Err(StoreError::Unknown("the connection broke before the commit".to_string())),
            Fate::AnswerLost => {
                store.transact(batch, footprint, decide).await?;
                self.travel(20).await;
                Err(StoreError::Unknown("the connection broke after the commit".to_string()))
            }
            Fate::CommitLate => {
                self.commit_later(store, batch, footprint, decide);
                Err(StoreError::Unknown("the connection broke with the commit under way".to_string()))
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
            self.fence().await;
        }
        let committed = store.committed(batch).await;
        self.travel(20).await;
        self.sometimes.hit(match committed {
            Ok(true) => "an unknown commit had committed",
            Ok(false) | Err(_) => "an unknown commit had not committed",
        });
        committed
    }
}
