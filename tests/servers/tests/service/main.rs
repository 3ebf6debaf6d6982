//! The real `seriatim serve` on PostgreSQL: several of them, killed; and what changes under one that runs.

mod changed;
mod client;
mod nodes;
mod payments;
#[path = "../moving/seriatim.rs"]
mod seriatim;
mod steps;
mod witness;
