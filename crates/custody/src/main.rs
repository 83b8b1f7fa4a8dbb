//! The `custody` program.
#![forbid(unsafe_code)]

/// A call makes and drops a few hundred small pieces of memory; this one is quicker at it than the system's (ADR 0005).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    custody::cli::main()
}
