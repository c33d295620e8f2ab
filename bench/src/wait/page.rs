//! The result as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::{Load, Run, Wait, Way};
use crate::results::{groups, median_of};

pub(super) fn page(wait: &Wait) -> String {
    let mut page = wait.setting.page("Ways to wait below saturation");
    let workload = &wait.workload;
    let _ = writeln!(
        page,
        "\n{}; {} keys of {} B, values of {} B, {}; open loop, {} rounds of {} s. Medians of the rounds, latencies in\n\
         us; `x`: the median of the rounds' ratios to the server with both settings off. Every round is in `raw.jsonl`.",
        wait.protocol.name(),
        workload.keys,
        workload.key_size,
        workload.value_size,
        workload.mix,
        wait.rounds,
        wait.seconds,
    );
    for (load, runs) in groups(&wait.runs, |run| run.load) {
        table(&mut page, wait, load, &runs);
    }
    page
}

fn table(page: &mut String, wait: &Wait, load: Load, runs: &[&Run]) {
    let _ = writeln!(
        page,
        "\n## {}, {} requests a second\n\n\
         | | CPU us/op | x | p50 | x | p99 | x | p99.9 | x | server busy | run delay | misses |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|",
        load.shape, load.per_second,
    );
    let mut ways = groups(runs, |run| run.way);
    ways.sort_by_key(|(way, _)| match *way {
        Way::Sleep => (0, 0),
        Way::Spin(us) => (1, us),
        Way::MinWait(us) => (2, us),
    });
    for (way, runs) in ways {
        let runs: Vec<&Run> = runs.into_iter().copied().collect();
        let ratio = wait.ratios.iter().find(|ratio| (ratio.load, ratio.way) == (load, way));
        let x = |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let _ = writeln!(
            page,
            "| {way} | {:.3} | {} | {:.0} | {} | {:.0} | {} | {:.0} | {} | {:.0} % | {:.0} | {} |",
            median_of(&runs, |run| run.figures.cpu_us()),
            x(ratio.map(|ratio| ratio.cpu)),
            median_of(&runs, |run| run.figures.latency_us.p50),
            x(ratio.map(|ratio| ratio.p50)),
            median_of(&runs, |run| run.figures.latency_us.p99),
            x(ratio.map(|ratio| ratio.p99)),
            median_of(&runs, |run| run.figures.latency_us.p99_9),
            x(ratio.map(|ratio| ratio.p99_9)),
            100.0 * median_of(&runs, |run| run.figures.of_server(|server| server.cores_busy)),
            median_of(&runs, |run| run.figures.of_server(|server| server.run_delay_us)),
            runs.iter().map(|run| run.figures.tally.misses).sum::<u64>(),
        );
    }
}
