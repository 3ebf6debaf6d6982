//! Many seeded fault schedules; see the library's conformance::simulation.

use anyhow::Result;
use clap::Args;

use crate::step;

#[derive(Args)]
pub struct Simulate {
    /// How many schedules
    #[arg(long, default_value_t = 100_000)]
    count: u32,
    /// Run this one seed again
    #[arg(long)]
    seed: Option<u64>,
}

impl Simulate {
    pub fn run(&self) -> Result<()> {
        let tests = [
            "test",
            "--release",
            "-p",
            "seriatim",
            "--features",
            "conformance",
            "--test",
            "simulation",
            "--",
            "--nocapture",
        ];
        let step = step::cargo(&tests).env("SERIATIM_SIMULATIONS", self.count.to_string());
        match self.seed {
            None => step.run(),
            Some(seed) => step.env("SERIATIM_SEED", seed.to_string()).run(),
        }
    }
}
