//! Real database servers for tests. A server that cannot be started fails the test; nothing is skipped in silence.

mod postgres;
mod template;

pub use postgres::Postgres;
