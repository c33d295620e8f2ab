//! A comparison of ways on one host as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::host::{By, Run, SameHost};
use crate::results::{groups, median_of};

pub(super) fn page(result: &SameHost) -> String {
    let mut page = result.setting.page("Clients on the server's host");
    let workload = &result.workload;
    let _ = writeln!(
        page,
        "\nGETs of {} keys of {} B, drawn {}, values of {} B; {} rounds of {} s (warm-up {} s), medians, us. CPU is the server's. \
         Every key was written and read before.",
        workload.keys,
        workload.key_size,
        workload.key_distribution,
        workload.value_size,
        result.rounds,
        result.seconds,
        result.warmup_seconds,
    );
    let (alone, many): (Vec<&Run>, Vec<&Run>) =
        result.runs.iter().partition(|run| run.shape.connections == 1);
    table(&mut page, "One client thread, a read at a time", &alone);
    ratios_of_time(&mut page, &alone);
    table(&mut page, "At saturation, many connections of one client thread, a read at a time each", &many);
    ratios_of_cpu(&mut page, &many);
    let misses: u64 = result.runs.iter().map(|run| run.figures.tally.misses).sum();
    let _ = writeln!(
        page,
        "\n{misses} reads missed. Every round is in `raw.jsonl`. Method: `docs/benchmarks.md`."
    );
    page
}

fn table(page: &mut String, title: &str, runs: &[&Run]) {
    let _ = writeln!(
        page,
        "\n## {title}\n\n\
         | way | connections | median | mean | p99 | p99.9 | reads/s | CPU us/read |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for (way, runs) in of_ways(runs) {
        let _ = writeln!(
            page,
            "| {way} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.3} |",
            runs[0].shape.connections,
            median_of(&runs, |run| run.figures.latency_us.p50),
            median_of(&runs, |run| run.figures.latency_us.mean),
            median_of(&runs, |run| run.figures.latency_us.p99),
            median_of(&runs, |run| run.figures.latency_us.p99_9),
            median_of(&runs, |run| run.figures.operations_per_second),
            median_of(&runs, |run| run.figures.cpu_us()),
        );
    }
}

/// What shared memory takes of the time of the fastest way by a socket.
fn ratios_of_time(page: &mut String, runs: &[&Run]) {
    let ways = of_ways(runs);
    let median = |runs: &[&Run]| median_of(runs, |run| run.figures.latency_us.p50);
    let sockets = ways.iter().filter(|(_, runs)| matches!(runs[0].by, By::Tcp | By::Unix));
    let sockets = sockets.map(|(way, runs)| (*way, median(runs)));
    let Some((best, least)) = sockets.min_by(|one, other| one.1.total_cmp(&other.1)) else { return };
    let _ = writeln!(page);
    for (way, runs) in ways.iter().filter(|(_, runs)| matches!(runs[0].by, By::Rings | By::Reads)) {
        let ratio = median(runs) / least;
        let _ = writeln!(page, "- {way}: {ratio:.3} of the median of the fastest socket ({best})");
    }
}

/// What rings take of the server's CPU over TCP.
fn ratios_of_cpu(page: &mut String, runs: &[&Run]) {
    let ways = of_ways(runs);
    let cpu = |runs: &[&Run]| median_of(runs, |run| run.figures.cpu_us());
    let Some((_, over_tcp)) = ways.iter().find(|(_, runs)| runs[0].by == By::Tcp) else { return };
    let _ = writeln!(page);
    for (way, runs) in ways.iter().filter(|(_, runs)| runs[0].by == By::Rings) {
        let ratio = cpu(runs) / cpu(over_tcp);
        let _ = writeln!(page, "- {way}: {ratio:.3} of the server's CPU over TCP");
    }
}

/// The runs of each way, the ways in one order whatever the first round began with.
fn of_ways<'a>(runs: &[&'a Run]) -> Vec<(&'a str, Vec<&'a Run>)> {
    let mut ways: Vec<(&str, Vec<&Run>)> = Vec::new();
    for (way, of_way) in groups(runs, |run| run.way.as_str()) {
        ways.push((way, of_way.into_iter().copied().collect()));
    }
    ways.sort_by_key(|(way, _)| *way);
    ways
}
