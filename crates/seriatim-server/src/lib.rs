//! Seriatim over HTTP and on the command line. The binary is `seriatim`; this library is its inside, so that tests
//! and the in-process transport reach the same service.
//!
//! A request is parsed, asked of the issuer and translated back. No rule about numbers is decided here.

pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
mod extract;
mod first_bytes;
mod frame;
pub mod open;
pub mod payments;
mod problem;
pub mod routes;
pub mod serve;
pub mod telemetry;
pub mod transport;
pub mod webhooks;
mod wire;
pub mod witness;
