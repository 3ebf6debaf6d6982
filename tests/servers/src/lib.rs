//! Real database servers for tests. A server that cannot be started fails the test; nothing is skipped in silence.

mod postgres;
mod proxy;
mod template;

pub use postgres::Postgres;
pub use proxy::{Cut, Proxy};
