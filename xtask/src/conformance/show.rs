//! The comparison as a table.

use super::Report;
use std::path::Path;

/// Prints it, with what differs below.
pub fn table(report: &Report, results: &Path) {
    println!("{:<14} {:<9} {:>7} {:>8} {:>8} {:>8}", "requirements", "upstream", "direct", "through", "missing", "excused");
    for run in &report.runs {
        println!(
            "{:<14} {:<9} {:>7} {:>8} {:>8} {:>8}",
            run.requirements,
            run.upstream,
            run.direct,
            run.through,
            run.missing.len(),
            run.excused.len()
        );
    }
    for run in &report.runs {
        for id in &run.missing {
            println!("  differs  {} {}: {id}", run.requirements, run.upstream);
        }
        for excuse in &run.excused {
            println!("  excused  {} {}: {}: {}", run.requirements, run.upstream, excuse.id, excuse.why);
        }
    }
    println!("what the suite saw: {}", results.display());
}
