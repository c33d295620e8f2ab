//! The floods' part of the page.

use std::fmt::Write;

use super::figures::{CLIENTS, FLOODERS, FloodRatio, FloodRun};
use crate::results::{groups, median_of};

/// Both tables. Writing to a string cannot fail, so its results are dropped.
pub(in crate::tail) fn page(page: &mut String, ratios: &[FloodRatio], runs: &[FloodRun]) {
    let _ = writeln!(
        page,
        "\n## Floods\n\nSmall reads of {} connections at depth {} (closed loop) while {FLOODERS} others pipeline \
         without end and read their answers.\n\
         The ratio is to the peer with the lower p99.9 in the same round; median of the rounds.\n\n\
         | flood | Torc in | rounds | p99.9 to the better peer's | p99 |\n\
         |---|---|---|---|---|",
        CLIENTS.connections, CLIENTS.depth,
    );
    for ratio in ratios {
        let _ = writeln!(
            page,
            "| {:?} | {} | {} | {:.2} | {:.2} |",
            ratio.flood,
            ratio.protocol.name(),
            ratio.rounds,
            ratio.p99_9,
            ratio.p99,
        );
    }
    let _ = writeln!(
        page,
        "\nMedians over the rounds; latencies of the small reads in us.\n\n\
         | flood | server | protocol | reads/s | p50 | p99 | p99.9 | max | misses | flood answered/s | server run delay |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut cells = groups(runs, |run| (run.flood, &*run.server, run.protocol));
    cells.sort_by_key(|((flood, _, protocol), _)| (*flood as u8, *protocol));
    for ((flood, server, protocol), runs) in cells {
        let _ = writeln!(
            page,
            "| {flood:?} | {server} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            protocol.name(),
            median_of(&runs, |run| run.figures.operations_per_second),
            median_of(&runs, |run| run.figures.latency_us.p50),
            median_of(&runs, |run| run.figures.latency_us.p99),
            median_of(&runs, |run| run.figures.latency_us.p99_9),
            median_of(&runs, |run| run.figures.latency_us.max),
            median_of(&runs, |run| run.figures.tally.misses as f64),
            median_of(&runs, |run| run.flood_per_second),
            median_of(&runs, |run| run.figures.of_server(|server| server.run_delay_us)),
        );
    }
}

/// One measurement in a line.
pub(super) fn line(run: &FloodRun) -> String {
    let latency = &run.figures.latency_us;
    format!(
        "Flood {:?} {:<9} {:<8} {:.0} reads/s, p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, {:.0} of the flood a second",
        run.flood,
        run.server,
        run.protocol.name(),
        run.figures.operations_per_second,
        latency.p50,
        latency.p99,
        latency.p99_9,
        run.flood_per_second,
    )
}
