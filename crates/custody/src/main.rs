//! The `custody` program.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    custody::cli::main()
}
