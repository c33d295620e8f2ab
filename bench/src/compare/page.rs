//! A comparison as a page: machine, command, versions, tables.

use std::fmt::Write;

use super::{Comparison, Load};
use crate::results::{groups, median_of};

/// The page. Writing to a string cannot fail, so its results are dropped.
pub(super) fn page(comparison: &Comparison) -> String {
    let mut page = comparison.setting.page("Comparison");
    let workload = &comparison.workload;
    let _ = writeln!(
        page,
        "\n{} keys of {} B, values of {} B, keys drawn {}, {}; {} rounds of {} s (warm-up {} s).\n",
        workload.keys,
        workload.key_size,
        workload.value_size,
        workload.key_distribution,
        workload.mix,
        comparison.rounds,
        comparison.seconds,
        comparison.warmup_seconds,
    );
    ratio_table(&mut page, comparison);
    for load in [Load::Saturation, Load::Fixed] {
        run_table(&mut page, comparison, load);
    }
    let _ = writeln!(page, "\nEvery round is in `raw.jsonl`. Method: `docs/benchmarks.md`.");
    page
}

fn ratio_table(page: &mut String, comparison: &Comparison) {
    let _ = writeln!(
        page,
        "\n## CPU per operation, Torc against the cheapest peer and the floor\n\n\
         Median ratio of the rounds that count: throughput no lower, p99 at most 1.1 x, no miss.\n\n\
         | protocol | depth | load | against | ratio | range | rounds | others |\n\
         |---|---|---|---|---|---|---|---|"
    );
    for ratio in &comparison.ratios {
        let number = |ratio: Option<f64>| ratio.map_or("-".into(), |r| format!("{r:.2}"));
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} to {} | {} of {} | {} |",
            ratio.protocol.name(),
            ratio.shape.depth,
            match ratio.load {
                Load::Saturation => "saturation",
                Load::Fixed => "fixed",
            },
            ratio.against,
            number(ratio.ratio),
            number(ratio.ratio_min),
            number(ratio.ratio_max),
            ratio.rounds_counted,
            ratio.rounds,
            ratio.reasons.join("; "),
        );
    }
}

fn run_table(page: &mut String, comparison: &Comparison, load: Load) {
    let mut cells = groups(&comparison.runs, |run| (run.load, run.shape, run.protocol, &*run.server));
    cells.retain(|((cell_load, ..), _)| *cell_load == load);
    if cells.is_empty() {
        return;
    }
    cells.sort_by_key(|((_, shape, protocol, server), _)| (shape.depth, *protocol, *server));
    let title = match load {
        Load::Saturation => "At saturation (closed loop)".into(),
        Load::Fixed => format!(
            "At one offered load (open loop, {:.0} % of the slowest peak)",
            100.0 * comparison.offered_share
        ),
    };
    let _ = writeln!(
        page,
        "\n## {title}\n\nMedians over the rounds; latencies and run-queue delays in us.\n\n\
         | depth | server | protocol | op/s | CPU us/op | p50 | p99 | p99.9 | server busy | generator idle | run delay |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for ((_, shape, protocol, server), runs) in cells {
        let _ = writeln!(
            page,
            "| {} | {server} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} % | {:.0} |",
            shape.depth,
            protocol.name(),
            median_of(&runs, |run| run.figures.operations_per_second),
            median_of(&runs, |run| run.figures.cpu_us()),
            median_of(&runs, |run| run.figures.latency_us.p50),
            median_of(&runs, |run| run.figures.latency_us.p99),
            median_of(&runs, |run| run.figures.latency_us.p99_9),
            100.0 * median_of(&runs, |run| run.figures.of_server(|server| server.cores_busy)),
            100.0 * median_of(&runs, |run| run.figures.generator_idle_share),
            median_of(&runs, |run| run.figures.of_server(|server| server.run_delay_us)),
        );
    }
}
