//! The floods' part of the page.

use std::fmt::Write;

use super::{CLIENTS, FLOODERS, Flood, FloodRatio, FloodRun};
use crate::{load::Protocol, results::median};

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
    let mut cells: Vec<(Flood, &str, Protocol)> = Vec::new();
    for run in runs {
        let cell = (run.flood, &*run.server, run.protocol);
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells.sort_by_key(|(flood, _, protocol)| (*flood as u8, *protocol));
    for cell in cells {
        let of = |value: fn(&FloodRun) -> f64| {
            let same = runs.iter().filter(|run| (run.flood, &*run.server, run.protocol) == cell);
            median(same.map(value).collect()).unwrap_or(0.0)
        };
        let (flood, server, protocol) = cell;
        let _ = writeln!(
            page,
            "| {flood:?} | {server} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            protocol.name(),
            of(|run| run.figures.operations_per_second),
            of(|run| run.figures.latency_us.p50),
            of(|run| run.figures.latency_us.p99),
            of(|run| run.figures.latency_us.p99_9),
            of(|run| run.figures.latency_us.max),
            of(|run| run.figures.misses as f64),
            of(|run| run.flood_per_second),
            of(|run| run.figures.server.as_ref().map_or(0.0, |server| server.run_delay_us)),
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
