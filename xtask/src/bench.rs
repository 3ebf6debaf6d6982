//! The figures of docs/benchmarks.md.

use anyhow::Result;
use clap::Args;

use crate::step;

#[derive(Args)]
pub struct Bench {
    /// Also fill stores with ten million entries (some minutes and some gigabytes of disk)
    #[arg(long)]
    ten_million: bool,
    /// Only these figures: issue, growth, http, memory, payments; postgres, which starts a server of its own
    figures: Vec<String>,
}

impl Bench {
    pub fn run(&self) -> Result<()> {
        let (servers, mut arguments): (Vec<_>, Vec<_>) =
            self.figures.iter().cloned().partition(|figure| figure == "postgres");
        if !servers.is_empty() {
            postgres()?;
            if arguments.is_empty() {
                return Ok(());
            }
        }
        if self.ten_million {
            arguments.push("--ten-million".to_string());
        }
        step::cargo(&["bench", "-p", "seriatim-server", "--bench", "figures", "--"])
            .arguments(arguments)
            .run()
    }
}

fn postgres() -> Result<()> {
    step::cargo(&["build", "--release", "-p", "seriatim-server"]).run()?;
    step::cargo(&["bench", "-p", "seriatim-servers-tests", "--bench", "postgres"])
        .env("SERIATIM_BIN", step::root().join("target/release/seriatim"))
        .run()
}
