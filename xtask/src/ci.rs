//! What must hold before a change lands. A store that cannot be started fails; nothing is skipped in silence.

use anyhow::Result;
use clap::Args;

use crate::{readme, step};

#[derive(Args)]
pub struct Ci {
    /// How often the crash test kills a server
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// How many fault schedules the simulation runs
    #[arg(long, default_value_t = 20_000)]
    simulations: u32,
}

impl Ci {
    pub fn run(&self) -> Result<()> {
        step::cargo(&["fmt", "--all", "--check"]).run()?;
        step::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
        // The library must build without a database driver, for those who bring their own store.
        step::cargo(&[
            "clippy",
            "-p",
            "seriatim",
            "--no-default-features",
            "--",
            "-D",
            "warnings",
        ])
        .run()?;
        step::cargo(&["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .run()?;
        step::cargo(&["test", "--workspace", "--doc"]).run()?;
        step::cargo(&["build", "--workspace"]).run()?;
        step::ensure("curl", "curl")?;
        // Recipes and tests/servers start servers of their own. Its programs are not on the path, as Debian has it.
        step::ensure("/usr/lib/postgresql/15/bin/postgres", "postgresql-15")?;
        step::ensure("psql", "postgresql-client-15")?;
        // tests/webhooks asks the payment providers' own libraries.
        step::ensure("node", "nodejs")?;
        step::ensure("npm", "npm")?;
        step::program("npm", &["ci", "--prefix", "tests/webhooks", "--no-audit", "--no-fund"]).run()?;
        readme::run()?;
        self.tests()
    }

    /// Last, so that the test runner's own summary closes the run.
    fn tests(&self) -> Result<()> {
        let has_nextest = step::program("cargo-nextest", &["nextest", "--version"]).run().is_ok();
        let tests = if has_nextest {
            step::cargo(&["nextest", "run", "--workspace"])
        } else {
            eprintln!("    cargo-nextest is not installed; cargo test runs the same tests");
            step::cargo(&["test", "--workspace", "--all-targets"])
        };
        tests
            .env("SERIATIM_TAMPER", "rows")
            .env("SERIATIM_KILLS", self.kills.to_string())
            .env("SERIATIM_SIMULATIONS", self.simulations.to_string())
            .run()
    }
}
