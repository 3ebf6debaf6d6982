//! The figures of docs/benchmarks.md.

use anyhow::Result;
use clap::Args;

use crate::step;

#[derive(Args)]
pub struct Bench {
    /// Also fill stores with ten million entries (some minutes and some gigabytes of disk)
    #[arg(long)]
    ten_million: bool,
    /// Only these figures: issue, growth, http, memory, payments; once, receipts, postgres, which have benches of their own
    figures: Vec<String>,
}

impl Bench {
    pub fn run(&self) -> Result<()> {
        let is_apart = |figure: &String| matches!(figure.as_str(), "once" | "postgres" | "receipts");
        let (apart, mut arguments): (Vec<_>, Vec<_>) = self.figures.iter().cloned().partition(is_apart);
        for figure in &apart {
            match figure.as_str() {
                "postgres" => servers("postgres")?,
                "once" => servers("once")?,
                _ => receipts()?,
            }
        }
        if !apart.is_empty() && arguments.is_empty() {
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

/// Those that start servers of their own, with the service as it is shipped.
fn servers(bench: &str) -> Result<()> {
    step::cargo(&["build", "--release", "-p", "seriatim-server"]).run()?;
    step::cargo(&["bench", "-p", "seriatim-servers-tests", "--bench", bench])
        .env("SERIATIM_BIN", step::root().join("target/release/seriatim"))
        .run()
}

fn receipts() -> Result<()> {
    step::cargo(&["bench", "-p", "seriatim-receipt", "--bench", "figures"]).run()
}
