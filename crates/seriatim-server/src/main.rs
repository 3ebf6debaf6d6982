//! The binary `seriatim`; everything is in the library, so that tests reach it too.

/// Half of what a batch costs is to allocate and to free; one arena keeps the memory small (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    seriatim_server::cli::main()
}
