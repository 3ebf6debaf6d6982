//! The SQL door on a real server: the same rules, the same refusals, the same bytes as the core.
// A test names its queries where it asks them.
#![allow(clippy::too_many_lines)]

mod at_door;
mod bad_input;
mod journal;
mod number_column;

use seriatim_servers_tests::Postgres;

/// A server with the door in a database of its own.
struct Door {
    server: Postgres,
    database: String,
}

impl Door {
    fn install() -> Self {
        let server = Postgres::start_with(&[("fsync", "off")]);
        let database = server.create_database();
        let door = Self { server, database };
        door.psql(&at_door::script());
        door
    }

    fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.database, sql)
    }

    fn try_psql(&self, sql: &str) -> Result<String, String> {
        self.server.try_psql(&self.database, sql)
    }
}
