//! What must hold before a change lands. A store that cannot be started fails; nothing is skipped in silence.

use anyhow::Result;
use clap::Args;

use crate::{postgresql, readme, step};

#[derive(Args)]
pub struct Ci {
    /// How often the crash test kills a server
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// How many connections between the service and PostgreSQL are cut
    #[arg(long, default_value_t = 1_000)]
    cuts: u32,
    /// How often a PostgreSQL primary is killed and its synchronous standby promoted
    #[arg(long, default_value_t = 20)]
    failovers: u32,
    /// How often one of three servers on one PostgreSQL database is killed
    #[arg(long, default_value_t = 20)]
    node_kills: u32,
    /// How often the holder of a receipt's gate is killed, and paused, at each step of its work
    #[arg(long, default_value_t = 20)]
    gate_kills: u32,
    /// How many fault schedules the simulation runs
    #[arg(long, default_value_t = 20_000)]
    simulations: u32,
}

impl Ci {
    pub fn run(&self) -> Result<()> {
        step::cargo(&["fmt", "--all", "--check"]).run()?;
        // It builds the allocator.
        step::ensure("make", "make")?;
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
        // With the programs that the pages and tests/servers start; a plain build would compile much of it once more.
        step::cargo(&["test", "--workspace", "--tests", "--no-run"]).run()?;
        step::ensure("curl", "curl")?;
        // What a receipt says is read back from its PDF.
        step::ensure("pdftotext", "poppler-utils")?;
        // Recipes and tests/servers start servers of their own. Its programs are not on the path, as Debian has it.
        step::ensure("/usr/lib/postgresql/15/bin/postgres", "postgresql-15")?;
        step::ensure("psql", "postgresql-client-15")?;
        step::ensure("/usr/sbin/pgbouncer", "pgbouncer")?;
        // tests/webhooks asks the payment providers' own libraries.
        step::ensure("node", "nodejs")?;
        step::ensure("npm", "npm")?;
        step::program("npm", &["ci", "--prefix", "tests/webhooks", "--no-audit", "--no-fund"]).run()?;
        readme::run()?;
        newest_postgresql()?;
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
            .env("SERIATIM_CUTS", self.cuts.to_string())
            .env("SERIATIM_FAILOVERS", self.failovers.to_string())
            .env("SERIATIM_NODE_KILLS", self.node_kills.to_string())
            .env("SERIATIM_GATE_KILLS", self.gate_kills.to_string())
            .env("SERIATIM_SIMULATIONS", self.simulations.to_string())
            .run()
    }
}

/// All other tests run on Debian's PostgreSQL 15, the oldest that is served; these run on the newest as well.
fn newest_postgresql() -> Result<()> {
    let programs = postgresql::install()?;
    let names = [
        "the_postgresql_store_keeps_every_rule",
        "the_postgresql_store_answers_as_the_scenarios_say",
        "the_door_answers_as_the_scenarios_say",
        "a_server_set_back_on_its_own_timeline_is_noticed_by_a_node_that_lived",
        "a_synchronous_standby_takes_over_without_an_operator_and_loses_nothing",
        "a_standby_that_lost_the_tail_issues_nothing_before_an_operator_decides",
        "numbers_are_taken_and_replayed_through_a_pooler",
    ];
    let words = [&["test", "--workspace", "--tests", "--"], &names[..]].concat();
    step::cargo(&words).env("SERIATIM_TEST_POSTGRES_BIN", programs).run()
}
