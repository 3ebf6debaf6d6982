//! Webhooks from raw bytes to a payment event, the way back, and what providers say when they are asked.

#[path = "../cli_support/mod.rs"]
mod cli_support;
mod config;
mod events;
mod properties;
mod send;
mod signatures;
mod status;
mod support;
