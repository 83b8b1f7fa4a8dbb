//! Ledger benchmarks.

fn main() {}
