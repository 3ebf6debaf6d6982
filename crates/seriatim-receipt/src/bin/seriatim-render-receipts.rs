//! The child process of a pool, alone: for tests, benchmarks, and those who use the library without the server.

fn main() -> std::process::ExitCode {
    seriatim_receipt::child_main()
}
