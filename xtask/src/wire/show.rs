//! The report as tables.

use super::Report;

/// Prints it.
pub fn report(report: &Report) {
    let machine = &report.machine;
    println!(
        "{} cores of {}, kernel {}; load {:.2} before, {:.2} after; {:.1} % of the time stolen",
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.load_before,
        machine.load_after,
        machine.stolen * 100.0
    );
    println!("{} build, {} s for each figure in {} rounds", report.build, report.seconds, report.rounds);
    let mut heading = None;
    for row in &report.rows {
        let what = if row.transport == "http" { "connections" } else { "under way" };
        let cell = format!("{} {}, {} {what}, {} B", row.transport, row.era, row.connections, row.bytes);
        if heading.as_ref() != Some(&cell) {
            println!("\n{cell:<44} {:>9} {:>9} {:>10}   {:>6} {:>6} {:>8}", "p50 µs", "p99 µs", "calls/s", "p50 ×", "p99 ×", "calls/s ×");
            heading = Some(cell);
        }
        println!(
            "  {:<42} {:>9.1} {:>9.1} {:>10.0}   {:>6.2} {:>6.2} {:>8.2}",
            row.way, row.p50_us, row.p99_us, row.per_second, row.p50_ratio, row.p99_ratio, row.per_second_ratio
        );
    }
    println!(
        "\nCustody: {:.1} MB resident after 64 connections, {:.1} MB at most; {} entries; {:.1} s of processor time put off",
        report.custody_rss_mb, report.custody_peak_mb, report.entries, report.put_off_s
    );
    for target in &report.targets {
        println!(
            "  {:<9} {:<48} {:>8.2} (limit {})",
            if target.reached { "reached" } else { "MISSED" },
            target.what,
            target.measured,
            target.limit
        );
    }
    for left in &report.left_out {
        println!("  left out: {left}");
    }
}
