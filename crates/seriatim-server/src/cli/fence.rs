//! The verbs on the fence of a store in PostgreSQL: where numbers may be taken after a failover or a restore.

use clap::{Args, Subcommand};
use seriatim::Reads;
use seriatim::store::postgres::{Fence as Standing, Postgres};

use super::Context;
use super::failed::Failed;
use super::session::{Where, postgres_options};
use crate::open::PlaceError;

/// Look at the fence of a store in PostgreSQL, or open it
#[derive(Subcommand)]
pub enum Fence {
    /// Show on which cluster and timeline numbers may be taken, and which nodes have confirmed theirs
    Show(Show),
    /// Let numbers be taken on the cluster and timeline that this is now
    Open(Open),
}

impl Fence {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let Where::Postgres(url) = Where::of(&context.config)? else {
            return Err(Failed::Usage(
                "only a store in PostgreSQL has a fence; name it with --store postgres://…".to_string(),
            ));
        };
        let store = Postgres::open(&url, postgres_options(&context.config, false)?)
            .await
            .map_err(PlaceError::from)?;
        context.output.note(format!("store {}", store.describe()));
        let ended = match self {
            Self::Show(verb) => verb.run(context, &store).await,
            Self::Open(verb) => verb.run(context, &store).await,
        };
        store.close().await;
        ended
    }
}

/// Where the fence stands.
#[derive(Args)]
pub struct Show {}

impl Show {
    async fn run(self, context: &Context, store: &Postgres) -> Result<(), Failed> {
        let fence = store.fence().await.map_err(unreachable)?;
        print(context, &fence);
        match fence.problem {
            None => Ok(()),
            Some(problem) => Err(Failed::Found(format!("no number may be taken: {problem}"))),
        }
    }
}

fn print(context: &Context, fence: &Standing) {
    let state = fence.problem.as_deref().unwrap_or("open");
    let mut rows = vec![
        vec!["state".to_string(), state.to_string()],
        vec![
            "opened on".to_string(),
            format!("{}/{}", fence.system_id, fence.timeline),
        ],
        vec![
            "this is".to_string(),
            format!("{}/{}", fence.system_now, fence.timeline_now),
        ],
    ];
    for node in fence.nodes.iter().filter(|node| node.lived) {
        let confirmed = node.confirmed.as_deref().unwrap_or("nothing");
        rows.push(vec![
            format!("node {} ({})", node.id, node.name),
            format!("confirmed {confirmed}"),
        ]);
    }
    context.output.table(&["what", "found"], rows);
}

/// An operator decides that numbers may be taken here.
#[derive(Args)]
pub struct Open {
    /// Say so: you have made sure that no number above the last one here is on a document, or passed over those that are
    #[arg(long)]
    yes: bool,
}

impl Open {
    async fn run(self, context: &Context, store: &Postgres) -> Result<(), Failed> {
        if !self.yes {
            return Err(Failed::Usage(
                "numbers that were handed out elsewhere may be missing here; pass over them with `seriatim advance` \
                 after this, before anything else is issued, and say --yes"
                    .to_string(),
            ));
        }
        store.open_fence().await.map_err(unreachable)?;
        let fence = store.fence().await.map_err(unreachable)?;
        print(context, &fence);
        Ok(())
    }
}

fn unreachable(error: seriatim::StoreError) -> Failed {
    Failed::Unreachable(error.to_string())
}
