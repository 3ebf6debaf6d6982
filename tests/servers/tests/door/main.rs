//! The SQL door on a real server: the same rules, the same refusals, the same bytes as the core.
// A test names its queries where it asks them.
#![allow(clippy::too_many_lines)]

mod at_door;
mod bad_input;
mod gates;
mod journal;
mod leaving;
mod mixed;
mod number_column;
mod rights;
mod scenarios;
mod standing;

use std::sync::Arc;

use seriatim::store::postgres::door::script;
use seriatim_servers_tests::Postgres;

/// A server with the door in a database of its own.
struct Door {
    server: Arc<Postgres>,
    database: String,
}

impl Door {
    fn install() -> Self {
        Self::on(Arc::new(Postgres::start_with(&[("full_page_writes", "on")])))
    }

    /// The door in another database of the same server.
    fn another(&self) -> Self {
        Self::on(self.server.clone())
    }

    fn on(server: Arc<Postgres>) -> Self {
        let database = server.create_database();
        let door = Self { server, database };
        door.psql(&script(0));
        door
    }

    fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.database, sql)
    }

    fn try_psql(&self, sql: &str) -> Result<String, String> {
        self.server.try_psql(&self.database, sql)
    }
}
