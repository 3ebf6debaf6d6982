//! Every chore of this repository, so that a person and CI run the same commands.

mod bench;
mod ci;
mod postgresql;
mod readme;
mod simulate;
mod step;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that must hold before a change lands: format, lints, tests on all stores, README commands
    Ci(ci::Ci),
    /// Measure the figures of docs/benchmarks.md and print them with their machine
    Bench(bench::Bench),
    /// Run seeded fault schedules against the issuer; a failing seed is printed
    Simulate(simulate::Simulate),
    /// Rewrite the golden files: openapi.json, --help, scenarios
    Codegen,
    /// Run the commands of the README and of the recipes and compare what they print
    Readme,
}

fn main() -> Result<()> {
    match Arguments::parse().chore {
        Chore::Ci(ci) => ci.run(),
        Chore::Bench(bench) => bench.run(),
        Chore::Simulate(simulate) => simulate.run(),
        Chore::Codegen => step::cargo(&["test", "--workspace"]).env("UPDATE_EXPECT", "1").run(),
        Chore::Readme => readme::run(),
    }
}
