//! The fence: numbers are taken only on the cluster and timeline that it was opened on.
//!
//! After a failover the timeline is another one, and both doors are shut. Each node then looks whether the batches it
//! acknowledged last are there; when every node that lived has found its own, the fence moves to the new timeline by
//! itself. Whoever misses one closes it for good, and an operator decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::Inner;
use super::fault::Fault;
use super::params::values;
use super::rows::{Columns, integer};
use crate::store::{BatchId, StoreError};

const PUT_NODE: &str = include_str!("queries/put_node.sql");
const DELETE_NODE: &str = include_str!("queries/delete_node.sql");
const DELETE_DEAD_NODES: &str = include_str!("queries/delete_dead_nodes.sql");
const CONFIRM_NODE: &str = include_str!("queries/confirm_node.sql");
const FIND_WRITERS: &str = include_str!("queries/find_writers.sql");
const FIND_FENCE: &str = include_str!("queries/find_fence.sql");
const LIST_NODES: &str = include_str!("queries/list_nodes.sql");
const OPEN_FENCE_IF_CONFIRMED: &str = include_str!("queries/open_fence_if_confirmed.sql");
const OPEN_FENCE: &str = include_str!("queries/open_fence.sql");
const CLOSE_FENCE: &str = include_str!("queries/close_fence.sql");

/// How often a node says that it lives. The statements that ask who lived allow six times as long.
const BEAT: Duration = Duration::from_secs(5);
/// How often a node looks again while the fence is shut.
const LOOK: Duration = Duration::from_millis(250);

/// What this process has acknowledged, by node and lane, and when an operator opened the fence last as far as it knows.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Known>);

#[derive(Default)]
struct Known {
    lanes: HashMap<(i64, u32), u64>,
    /// Nodes that are in the database.
    nodes: Vec<i64>,
    decided_at: Option<i64>,
}

impl Ledger {
    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last batch of this lane that its callers were told of.
    pub(super) fn last(&self, batch: BatchId) -> u64 {
        self.with(|known| known.lanes.get(&(batch.node, batch.lane)).copied().unwrap_or(0))
    }

    /// A batch is committed; one that wrote nothing leaves the last one as it was.
    pub(super) fn note(&self, batch: BatchId, is_written: bool) {
        self.with(|known| {
            let last = known.lanes.entry((batch.node, batch.lane)).or_default();
            if is_written {
                *last = (*last).max(batch.batch);
            }
            if !known.nodes.contains(&batch.node) {
                known.nodes.push(batch.node);
            }
        });
    }

    pub(super) fn knows(&self, node: i64) -> bool {
        self.with(|known| known.nodes.contains(&node))
    }

    fn nodes(&self) -> Vec<i64> {
        self.with(|known| known.nodes.clone())
    }

    /// Nothing is known any more, and of these nodes it was.
    fn forget(&self) -> Vec<i64> {
        self.with(|known| {
            known.lanes.clear();
            std::mem::take(&mut known.nodes)
        })
    }

    /// Whether an operator opened the fence since it was looked at last; what was acknowledged before that is his matter
    /// now. That it moved by itself says nothing of what we acknowledged: those who moved it may not have known of us. And
    /// that it was opened earlier than we know says that the server was set back.
    fn was_decided(&self, decided_at: i64) -> bool {
        self.with(|known| {
            let before = known.decided_at;
            known.decided_at = before.max(Some(decided_at));
            let decided = before.is_some_and(|before| before < decided_at);
            if decided {
                known.lanes.clear();
            }
            decided
        })
    }
}

/// Where the fence stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The cluster that numbers may be taken on.
    pub system_id: String,
    /// The timeline that numbers may be taken on.
    pub timeline: String,
    /// Whether it was left open.
    pub open: bool,
    /// Why it was closed.
    pub reason: Option<String>,
    /// The cluster that this is.
    pub system_now: String,
    /// The timeline that this is.
    pub timeline_now: String,
    /// Why no number may be taken; nothing if numbers may.
    pub problem: Option<String>,
    /// The nodes of the service.
    pub nodes: Vec<FenceNode>,
    /// When an operator opened it last, in microseconds since 1970 by the server's clock; 0 if nobody did.
    pub decided_at: i64,
    /// Whether the functions are there by which users' own transactions take numbers. No node knows of those, so that
    /// the fence does not move by itself.
    pub has_door: bool,
}

/// A node of the service, as the fence sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceNode {
    /// Its number.
    pub id: i64,
    /// What it calls itself.
    pub name: String,
    /// Whether it lived when the last of them was seen.
    pub lived: bool,
    /// The cluster and timeline on which it has found its last acknowledged batches.
    pub confirmed: Option<String>,
}

impl Inner {
    pub(super) fn acknowledged(&self, batch: BatchId) -> u64 {
        self.ledger.last(batch)
    }

    pub(super) fn acknowledge(&self, batch: BatchId, is_written: bool) {
        self.ledger.note(batch, is_written);
    }

    /// Puts the node into the database with its first batch: a failover asks for it.
    pub(super) fn node_command<'a>(&self, batch: BatchId) -> Vec<super::connection::Command<'a>> {
        if self.ledger.knows(batch.node) {
            return Vec::new();
        }
        let row = values![batch.node, self.options.node_name.clone()];
        vec![super::connection::Command::Query(PUT_NODE, row)]
    }

    pub(super) fn look_at_fence(&self) {
        self.wake.notify_one();
    }

    /// The row of a lane was not where the lane left it: the server was set back, or an operator has decided.
    pub(super) async fn set_back(&self, batch: BatchId, fault: &Fault) -> StoreError {
        let place = &self.pool.place;
        let fence = match self.fence().await {
            Ok(fence) => fence,
            Err(fault) => return fault.into_store_error("read the fence of", place),
        };
        if self.ledger.was_decided(fence.decided_at) {
            return StoreError::Unavailable(format!("the fence of {place} was opened; nothing happened: retry"));
        }
        if let Some(problem) = fence.problem {
            return StoreError::Fenced(format!("no number may be taken in {place}: {problem}"));
        }
        match self.is_behind(batch.node).await {
            Ok(None) => StoreError::Unavailable(format!("cannot write to {place}: {fault}; nothing happened: retry")),
            Ok(Some(what)) => {
                self.close_fence(&what).await;
                StoreError::Fenced(format!("no number may be taken in {place}: {what}"))
            }
            Err(fault) => fault.into_store_error("read the lanes of", place),
        }
    }

    async fn close_fence(&self, why: &str) {
        if let Err(fault) = self.shut(why).await {
            warn!(%fault, "the fence could not be closed");
        }
    }

    pub(super) async fn shut(&self, why: &str) -> Result<(), Fault> {
        error!(place = %self.pool.place, why, "the fence is closed: an operator must decide");
        self.write(CLOSE_FENCE, values![why]).await.map(|_| ())
    }

    /// What is missing of what this node's callers were told, if anything is.
    async fn is_behind(&self, node: i64) -> Result<Option<String>, Fault> {
        // Before the rows: what is acknowledged meanwhile is no loss.
        let lanes = self.ledger.with(|known| known.lanes.clone());
        let rows = self.look(FIND_WRITERS, values![vec![node]]).await?;
        let mut stored = HashMap::new();
        for row in &rows {
            let mut columns = Columns::new("writer", row);
            stored.insert(
                (columns.integer()?, columns.small()?.unsigned_abs()),
                columns.integer()?,
            );
        }
        for (lane, last) in lanes.into_iter().filter(|((of, _), _)| *of == node) {
            let found = stored.get(&lane).copied().unwrap_or(0);
            if found < integer(last)? {
                return Ok(Some(format!(
                    "node {} ({node}) acknowledged batch {last} of lane {}, and batch {found} is the last one here: \
                     numbers were handed out that this server has lost",
                    self.options.node_name, lane.1
                )));
            }
        }
        Ok(None)
    }

    pub(super) async fn fence(&self) -> Result<Fence, Fault> {
        let rows = self.look(FIND_FENCE, values![]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Fault::damage("the row of the fence is gone"))?;
        let mut columns = Columns::new("fence", row);
        let owned = |text: &str| text.to_string();
        Ok(Fence {
            system_id: columns.text().map(owned)?,
            timeline: columns.text().map(owned)?,
            open: columns.boolean()?,
            reason: columns.text_if_any()?.map(owned),
            decided_at: columns.integer()?,
            system_now: columns.text().map(owned)?,
            timeline_now: columns.text().map(owned)?,
            problem: columns.text_if_any()?.map(owned),
            has_door: columns.boolean()?,
            nodes: self.nodes().await?,
        })
    }

    async fn nodes(&self) -> Result<Vec<FenceNode>, Fault> {
        let rows = self.look(LIST_NODES, values![]).await?;
        let nodes = rows.iter().map(|row| {
            let mut columns = Columns::new("node", row);
            let (id, name, _) = (columns.integer()?, columns.text()?.to_string(), columns.integer()?);
            Ok(FenceNode {
                id,
                name,
                confirmed: columns.text_if_any()?.map(str::to_string),
                lived: columns.boolean()?,
            })
        });
        nodes.collect()
    }

    pub(super) async fn open_fence(&self) -> Result<(), Fault> {
        self.write(OPEN_FENCE, values![]).await.map(|_| ())
    }

    /// Looks whether the batches of this process are there, and says that it lives; whether numbers may be taken.
    async fn beat(&self) -> Result<bool, Fault> {
        let _nobody_leaves = self.beating.lock().await;
        if self.is_closed() {
            return Ok(true);
        }
        let fence = self.fence().await?;
        self.ledger.was_decided(fence.decided_at);
        let moves = fence.open && fence.system_id == fence.system_now && fence.timeline != fence.timeline_now;
        if fence.problem.is_some() && !moves {
            return Ok(false);
        }
        let nodes = self.ledger.nodes();
        for node in &nodes {
            if let Some(what) = self.is_behind(*node).await? {
                self.close_fence(&what).await;
                return Ok(false);
            }
        }
        let name = || self.options.node_name.clone();
        if fence.problem.is_none() {
            for node in &nodes {
                self.write(PUT_NODE, values![*node, name()]).await?;
            }
            // Nobody waits for those any more.
            if !nodes.is_empty() && fence.nodes.iter().any(|node| !node.lived) {
                self.write(DELETE_DEAD_NODES, values![]).await?;
            }
            return Ok(true);
        }
        // Whether numbers of users' own transactions are here no node can tell.
        if fence.has_door {
            return Ok(false);
        }
        let here = format!("{}/{}", fence.system_now, fence.timeline_now);
        for node in nodes {
            self.write(CONFIRM_NODE, values![node, name(), here.clone()]).await?;
        }
        let row = values![fence.system_now, fence.timeline_now.clone()];
        if !self.write(OPEN_FENCE_IF_CONFIRMED, row).await?.is_empty() {
            info!(timeline = %fence.timeline_now, "every node has found its batches; the fence has moved");
            return Ok(true);
        }
        // Another node may have moved it, having seen that ours are confirmed.
        Ok(self.fence().await?.problem.is_none())
    }

    pub(super) async fn leave(&self) {
        let _nobody_looks = self.beating.lock().await;
        for node in self.ledger.forget() {
            if let Err(fault) = self.write(DELETE_NODE, values![node]).await {
                warn!(%fault, "this node could not say goodbye; after a failover an operator must open the fence");
            }
        }
    }
}

/// Beats until the store is gone.
pub(super) async fn keep_watch(store: Weak<Inner>, wake: Arc<Notify>) {
    let mut pause = BEAT;
    let mut pause_after_fault = LOOK;
    loop {
        // Whoever wakes us has met the fence.
        let _ = tokio::time::timeout(pause, wake.notified()).await;
        let Some(store) = store.upgrade() else { return };
        if store.is_closed() {
            return;
        }
        let beat = store.beat().await;
        pause = match &beat {
            Ok(true) => BEAT,
            Ok(false) => LOOK,
            Err(fault) => {
                warn!(place = %store.pool.place, %fault, "cannot look at the fence");
                pause_after_fault
            }
        };
        // A server that is away is not asked at once for ever.
        pause_after_fault = if beat.is_ok() {
            LOOK
        } else {
            (pause_after_fault * 2).min(BEAT)
        };
    }
}
