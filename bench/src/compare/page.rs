//! A comparison as a page: machine, command, versions, tables.

use std::fmt::Write;

use super::{Comparison, Load, Run};
use crate::results::median;

/// The page. Writing to a string cannot fail, so its results are dropped.
pub(super) fn page(comparison: &Comparison) -> String {
    let mut page = String::new();
    page.push_str(&comparison.setting.page("Comparison"));
    let workload = &comparison.workload;
    let _ = writeln!(
        page,
        "\n{} keys of {}, values {}, keys drawn {}, {}; {} rounds of {} s (warm-up {} s).\n",
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
    if comparison.ratios.is_empty() {
        return;
    }
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
            load_name(ratio.load),
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

fn load_name(load: Load) -> &'static str {
    match load {
        Load::Saturation => "saturation",
        Load::Fixed => "fixed",
    }
}

fn run_table(page: &mut String, comparison: &Comparison, load: Load) {
    let runs: Vec<&Run> = comparison.runs.iter().filter(|run| run.load == load).collect();
    if runs.is_empty() {
        return;
    }
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
    let mut cells: Vec<_> = Vec::new();
    for run in &runs {
        let cell = (run.shape, &*run.server, run.protocol);
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells.sort_by_key(|(shape, server, protocol)| (shape.depth, *protocol, *server));
    for (shape, server, protocol) in cells {
        let of = |value: &dyn Fn(&Run) -> f64| {
            let same = |run: &&&Run| (run.shape, &*run.server, run.protocol) == (shape, server, protocol);
            let values: Vec<f64> = runs.iter().filter(same).map(|run| value(run)).collect();
            median(values).unwrap_or(0.0)
        };
        let of_server = |value: &dyn Fn(&crate::report::ServerFigures) -> f64| {
            of(&|run| run.figures.server.as_ref().map_or(0.0, value))
        };
        let _ = writeln!(
            page,
            "| {} | {server} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} % | {:.0} |",
            shape.depth,
            protocol.name(),
            of(&|run| run.figures.operations_per_second),
            of_server(&|server| server.cpu_us_per_operation),
            of(&|run| run.figures.latency_us.p50),
            of(&|run| run.figures.latency_us.p99),
            of(&|run| run.figures.latency_us.p99_9),
            100.0 * of_server(&|server| server.cores_busy),
            100.0 * of(&|run| run.figures.generator_idle_share),
            of_server(&|server| server.run_delay_us),
        );
    }
}
