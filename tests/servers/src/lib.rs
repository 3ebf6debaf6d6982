//! Real database servers for tests. A server that cannot be started fails the test; nothing is skipped in silence.

mod pgbouncer;
mod postgres;
pub mod provider;
mod proxy;
mod template;

pub use pgbouncer::PgBouncer;
pub use postgres::{Postgres, Snapshot};
pub use proxy::{Cut, Held, Hold, Proxy, WrittenGate};
