//! The binary `seriatim`; everything is in the library, so that tests reach it too.

fn main() -> std::process::ExitCode {
    seriatim_server::cli::main()
}
