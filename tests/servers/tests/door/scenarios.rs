//! The library's scenarios once more: every line that the door has words for goes through its functions, as a line of
//! a user's own transaction would; the others go through the service, on the same database.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use seriatim::conformance::scenario::{Ask, AtIssuer, Boundary, Order, Outcome, run_file};
use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::{KeyPolicy, Reads as _, Timestamp};
use tokio_postgres::Client;

use super::Door;
use super::at_door::{SET_CLOCK, ask, set_clock};

struct AtDoor {
    client: Client,
    service: AtIssuer,
    store: Postgres,
    asked: usize,
}

impl AtDoor {
    async fn open(door: &Door) -> Self {
        let store = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default())
            .await
            .expect("a store");
        let client = door.server.connect(&door.database).await;
        client.batch_execute(SET_CLOCK).await.expect("a clock");
        let mut boundary = Self {
            client,
            service: AtIssuer::open(Arc::new(store.clone())).await.expect("an empty store"),
            store,
            asked: 0,
        };
        // What a scenario's clock shows before it is set.
        boundary
            .move_clock("2026-03-02T10:00:00Z".parse().expect("a time"))
            .await;
        boundary
    }

    async fn move_clock(&mut self, now: Timestamp) {
        self.service.set_clock(now);
        set_clock(&self.client, now).await;
    }

    /// Inside the user's own transaction a key is always optional; that a series requires one is the service's to say.
    async fn misses_its_key(&self, order: &Order) -> bool {
        let (Order::Issue { series, take } | Order::Reserve { series, take, .. }) = order else {
            return false;
        };
        let known = self.store.series().await.expect("series");
        let policy = known
            .iter()
            .find(|known| known.name.as_str() == series)
            .map(|series| series.keys);
        take.key.is_none() && policy == Some(KeyPolicy::Required)
    }
}

#[async_trait]
impl Boundary for AtDoor {
    fn set_clock(&mut self, now: Timestamp) {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.move_clock(now)));
    }

    async fn answer(&mut self, asked: &Ask) -> Outcome {
        if asked.caller.is_none()
            && !self.misses_its_key(&asked.order).await
            && let Some(outcome) = ask(&self.client, &asked.order).await
        {
            self.asked += 1;
            // A refusal wrote nothing, so the service may be asked the same; and it names the same numbers.
            if matches!(outcome, Outcome::Refused { .. }) {
                assert_eq!(outcome, self.service.answer(asked).await, "{asked:?}");
            }
            return outcome;
        }
        self.service.answer(asked).await
    }

    async fn restart(&mut self) {
        self.service.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_answers_as_the_scenarios_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/seriatim/scenarios");
    let door = Door::install();
    let (mut wrong, mut asked) = (String::new(), 0);
    for file in std::fs::read_dir(folder).expect("the folder of scenarios") {
        let door = door.another();
        let mut boundary = AtDoor::open(&door).await;
        let file = file.expect("an entry").path();
        wrong += &run_file(&file, &mut boundary).await.err().unwrap_or_default();
        asked += boundary.asked;
        boundary.store.close().await;
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(asked > 350, "only {asked} lines went through the door");
}
