//! Who holds the gate of a receipt is killed, or paused past its lease, at each step of the work; another node ends it.
//! Real servers, each behind a proxy that sees its transactions write the gate and holds them there.
//! `SERIATIM_GATE_KILLS` says how often at each step and in each way (2; CI: 20, which are 200 gates).

mod station;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seriatim_servers_tests::{Hold, Postgres};
use station::Station;

/// Where the holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    BeforeClaimCommits,
    AfterClaim,
    InPdf,
    BeforeCompleteCommits,
    AfterComplete,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Pause,
}

impl Step {
    const ALL: [Self; 5] = [
        Self::BeforeClaimCommits,
        Self::AfterClaim,
        Self::InPdf,
        Self::BeforeCompleteCommits,
        Self::AfterComplete,
    ];

    /// The state that the transaction brings the gate into.
    fn state(self) -> &'static str {
        match self {
            Self::BeforeClaimCommits | Self::AfterClaim | Self::InPdf => "claimed",
            Self::BeforeCompleteCommits | Self::AfterComplete => "done",
        }
    }

    fn hold(self) -> Hold {
        match self {
            Self::BeforeClaimCommits | Self::BeforeCompleteCommits => Hold::BeforeCommit,
            Self::AfterClaim | Self::InPdf | Self::AfterComplete => Hold::AfterCommit,
        }
    }

    /// How the gate stands then, with its token, and whether the holder's file is whole.
    fn standing(self) -> (&'static str, i64, bool) {
        match self {
            Self::BeforeClaimCommits => ("open", 0, false),
            Self::AfterClaim | Self::InPdf => ("claimed", 1, false),
            Self::BeforeCompleteCommits => ("claimed", 1, true),
            Self::AfterComplete => ("done", 1, true),
        }
    }

    /// Whether the holder has a token that another takes over from.
    fn is_taken_over(self) -> bool {
        match self {
            Self::AfterClaim | Self::InPdf | Self::BeforeCompleteCommits => true,
            Self::BeforeClaimCommits | Self::AfterComplete => false,
        }
    }
}

/// A node that is paused before its COMMIT keeps its locks until PostgreSQL ends the idle transaction, after five
/// seconds: two leases must be longer than that.
fn lease(step: Step, blow: Blow) -> Duration {
    match (step, blow) {
        (Step::BeforeClaimCommits | Step::BeforeCompleteCommits, Blow::Pause) => Duration::from_secs(6),
        _ => Duration::from_secs(1),
    }
}

type Rounds = Arc<Mutex<VecDeque<(Step, Blow)>>>;

fn rounds(count: usize, within: Duration) -> Rounds {
    let all = Step::ALL
        .into_iter()
        .flat_map(|step| [(step, Blow::Kill), (step, Blow::Pause)]);
    let one: Vec<(Step, Blow)> = all.filter(|(step, blow)| lease(*step, *blow) == within).collect();
    Arc::new(Mutex::new(one.repeat(count).into()))
}

/// Pairs of nodes that work off the rounds beside one another.
const STATIONS: [(u64, usize); 2] = [(1, 4), (6, 3)];

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn each_gate_ends_with_one_result_wherever_its_holder_is_killed_or_paused() {
    let count: usize = std::env::var("SERIATIM_GATE_KILLS").map_or(2, |kills| kills.parse().expect("a number"));
    let server = Arc::new(Postgres::start_with(&[("max_connections", "500")]));
    let mut stations = tokio::task::JoinSet::new();
    for (lease, stations_max) in STATIONS {
        let lease = Duration::from_secs(lease);
        let rounds = rounds(count, lease);
        for _ in 0..stations_max.min(count) {
            stations.spawn(work_off(server.clone(), lease, rounds.clone()));
        }
    }
    let mut took = Vec::new();
    while let Some(station) = stations.join_next().await {
        took.extend(station.expect("a station ends well"));
    }
    for step in Step::ALL {
        for blow in [Blow::Kill, Blow::Pause] {
            let of = took.iter().filter(|(s, b, _)| (*s, *b) == (step, blow));
            let of: Vec<Duration> = of.map(|(.., took)| *took).collect();
            eprintln!(
                "{step:?} {blow:?}: {} gates, done at most {:?} later",
                of.len(),
                of.iter().max()
            );
            assert_eq!(of.len(), count);
        }
    }
}

async fn work_off(server: Arc<Postgres>, lease: Duration, rounds: Rounds) -> Vec<(Step, Blow, Duration)> {
    let mut station = Station::start(&server, lease).await;
    let mut took = Vec::new();
    loop {
        let next = rounds.lock().expect("nobody panics with it").pop_front();
        let Some((step, blow)) = next else { break };
        took.push((step, blow, station.round(step, blow).await));
    }
    station.end(took.len()).await;
    took
}
