//! The figures of docs/benchmarks.md: each a rate, and the ratio to a yardstick taken in the same run.
//!
//! `cargo xtask bench [issue growth http memory payments] [--ten-million]`

#![allow(clippy::print_stdout, reason = "the figures are what this is for")]

mod http;
mod in_process;
mod machine;
mod process;
mod wire;

use anyhow::Result;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [role] = arguments.as_slice()
        && role == "--echo-server"
    {
        return http::echo_server().await;
    }
    let ten_million = arguments.iter().any(|argument| argument == "--ten-million");
    let wants = |figure: &str| {
        let named: Vec<&String> = arguments
            .iter()
            .filter(|argument| !argument.starts_with("--"))
            .collect();
        named.is_empty() || named.iter().any(|name| *name == figure)
    };
    println!("{}", machine::describe());
    if wants("issue") {
        in_process::issue().await?;
    }
    if wants("growth") && ten_million {
        in_process::growth(10_000_000).await?;
    } else if wants("growth") {
        in_process::growth(500_000).await?;
    }
    if wants("http") {
        http::ratio().await?;
    }
    if wants("memory") || wants("payments") {
        http::payments().await?;
    }
    Ok(())
}
