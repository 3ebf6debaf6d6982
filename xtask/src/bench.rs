//! The figures of docs/benchmarks.md.

use anyhow::Result;
use clap::Args;

use crate::step;

#[derive(Args)]
pub struct Bench {
    /// Also fill stores with ten million entries (some minutes and some gigabytes of disk)
    #[arg(long)]
    ten_million: bool,
    /// Only these figures: issue, growth, http, memory, payments, receipts
    figures: Vec<String>,
}

impl Bench {
    pub fn run(&self) -> Result<()> {
        // In a crate of its own, so with a bench of its own.
        let (receipts, mut arguments): (Vec<_>, Vec<_>) =
            self.figures.iter().cloned().partition(|figure| figure == "receipts");
        if self.figures.is_empty() || !receipts.is_empty() {
            step::cargo(&["bench", "-p", "seriatim-receipt", "--bench", "figures"]).run()?;
        }
        if !self.figures.is_empty() && arguments.is_empty() {
            return Ok(());
        }
        if self.ten_million {
            arguments.push("--ten-million".to_string());
        }
        step::cargo(&["bench", "-p", "seriatim-server", "--bench", "figures", "--"])
            .arguments(arguments)
            .run()
    }
}
