//! A layer between the issuer and a store: reads go through, and something may happen before them; writes may be
//! tampered with.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use seriatim_core::{
    ApiKey, Chain, Closure, Counter, CounterId, Date, Effect, Entry, EntryId, Event, Finding, Footprint, Gate, GateId,
    KeyRef, Missing, Series, Timestamp,
};

use crate::store::{
    BatchId, CounterFilter, Decide, EntryFilter, GateFilter, Heads, Page, Reads, Setting, Store, StoreError, SummaryRow,
};

/// What a layer does to writes.
#[async_trait]
pub trait Layer: Send + Sync + 'static {
    /// Instead of the caller's own decision.
    fn decide(&self, _: BatchId, decide: Decide) -> Decide {
        decide
    }

    /// Instead of the store's own `transact`.
    async fn transact(
        &self,
        store: &Arc<dyn Store>,
        batch: BatchId,
        footprint: Footprint,
        decide: Decide,
    ) -> Result<(), StoreError> {
        store.transact(batch, footprint, self.decide(batch, decide)).await
    }

    /// Instead of the store's own `committed`.
    async fn committed(&self, store: &Arc<dyn Store>, batch: BatchId) -> Result<bool, StoreError> {
        store.committed(batch).await
    }

    /// Before a read that one moment is not enough for: what others do in between.
    async fn before_read(&self, _store: &Arc<dyn Store>, _what: &'static str) {}

    /// Instead of the store's own number of lanes.
    fn lanes(&self, store: &Arc<dyn Store>) -> u32 {
        store.lanes()
    }
}

/// A store with a layer on top.
pub struct Layered<L> {
    store: Arc<dyn Store>,
    layer: L,
}

impl<L: Layer> Layered<L> {
    /// Puts a layer on a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, layer: L) -> Self {
        Self { store, layer }
    }
}

#[async_trait]
impl<L: Layer> Store for Layered<L> {
    async fn transact(&self, batch: BatchId, footprint: Footprint, decide: Decide) -> Result<(), StoreError> {
        self.layer.transact(&self.store, batch, footprint, decide).await
    }

    async fn committed(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.layer.committed(&self.store, batch).await
    }

    fn lanes(&self) -> u32 {
        self.layer.lanes(&self.store)
    }

    fn lanes_are_alike(&self) -> bool {
        self.store.lanes_are_alike()
    }

    async fn turn(&self) {
        self.store.turn().await;
    }
}

#[async_trait]
impl<L: Layer> Reads for Layered<L> {
    fn describe(&self) -> String {
        self.store.describe()
    }
    async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }
    async fn settings(&self) -> Result<Vec<Setting>, StoreError> {
        self.store.settings().await
    }
    async fn series(&self) -> Result<Vec<Arc<Series>>, StoreError> {
        self.layer.before_read(&self.store, "series").await;
        self.store.series().await
    }
    async fn counters(&self, filter: &CounterFilter, limit: usize) -> Result<Page<Counter>, StoreError> {
        self.store.counters(filter, limit).await
    }
    async fn counter(&self, id: CounterId) -> Result<Option<Counter>, StoreError> {
        self.store.counter(id).await
    }
    async fn entries(&self, filter: &EntryFilter, limit: usize) -> Result<Page<Arc<Entry>>, StoreError> {
        self.store.entries(filter, limit).await
    }
    async fn entry(&self, id: EntryId) -> Result<Option<Arc<Entry>>, StoreError> {
        self.store.entry(id).await
    }
    async fn entries_of_key(&self, key: &KeyRef) -> Result<Vec<Arc<Entry>>, StoreError> {
        self.store.entries_of_key(key).await
    }
    async fn entries_of_keys(&self, keys: &[KeyRef]) -> Result<Vec<Vec<Arc<Entry>>>, StoreError> {
        self.layer.before_read(&self.store, "entries_of_keys").await;
        self.store.entries_of_keys(keys).await
    }
    async fn entries_by_seq(&self, of: CounterId, after: u64, limit: usize) -> Result<Vec<Arc<Entry>>, StoreError> {
        self.layer.before_read(&self.store, "entries_by_seq").await;
        self.store.entries_by_seq(of, after, limit).await
    }
    async fn events(&self, chain: Chain, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.store.events(chain, after, limit).await
    }
    async fn events_of(&self, entry: EntryId) -> Result<Vec<Event>, StoreError> {
        self.store.events_of(entry).await
    }
    async fn missing(&self, counter: CounterId, after: u64, limit: usize) -> Result<Vec<Missing>, StoreError> {
        self.store.missing(counter, after, limit).await
    }
    async fn closures(&self) -> Result<Vec<Arc<Closure>>, StoreError> {
        self.store.closures().await
    }
    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.layer.before_read(&self.store, "api_keys").await;
        self.store.api_keys().await
    }
    async fn summary(&self, from: Option<Date>, to: Option<Date>) -> Result<Vec<SummaryRow>, StoreError> {
        self.store.summary(from, to).await
    }
    async fn heads(&self) -> Result<Heads, StoreError> {
        self.store.heads().await
    }
    async fn gate(&self, id: GateId) -> Result<Option<Arc<Gate>>, StoreError> {
        self.store.gate(id).await
    }
    async fn gates(&self, filter: &GateFilter, limit: usize) -> Result<Page<Arc<Gate>>, StoreError> {
        self.store.gates(filter, limit).await
    }
    async fn due_gates(&self, effects: &[Effect], now: Timestamp, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        self.store.due_gates(effects, now, limit).await
    }
    async fn gates_by_id(&self, after: Option<GateId>, limit: usize) -> Result<Vec<Arc<Gate>>, StoreError> {
        self.store.gates_by_id(after, limit).await
    }
    async fn bound_keys(&self, counter: CounterId) -> Result<u64, StoreError> {
        self.store.bound_keys(counter).await
    }
    async fn counter_ids(&self) -> Result<BTreeSet<CounterId>, StoreError> {
        self.store.counter_ids().await
    }
    async fn misfiled(&self, counter: CounterId, first: u64, last: u64) -> Result<Vec<Finding>, StoreError> {
        self.store.misfiled(counter, first, last).await
    }
    async fn own_findings(&self) -> Result<Vec<Finding>, StoreError> {
        self.store.own_findings().await
    }
}
