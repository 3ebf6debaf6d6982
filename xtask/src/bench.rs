//! The figures of docs/benchmarks.md.

use anyhow::Result;
use clap::Args;

use crate::step;

#[derive(Args)]
pub struct Bench {
    /// Also fill stores with ten million entries (some minutes and some gigabytes of disk)
    #[arg(long)]
    ten_million: bool,
    /// Only these figures: issue, growth, http, memory, payments
    figures: Vec<String>,
}

impl Bench {
    pub fn run(&self) -> Result<()> {
        let mut arguments = self.figures.clone();
        if self.ten_million {
            arguments.push("--ten-million".to_string());
        }
        step::cargo(&["bench", "-p", "seriatim-server", "--bench", "figures", "--"])
            .arguments(arguments)
            .run()
    }
}
