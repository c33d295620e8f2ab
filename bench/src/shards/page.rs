//! The result as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::{FILL, FILL_WAYS, FillRun, Load, Run, Shards, Way};
use crate::results::{groups, median_of};

pub(super) fn page(shards: &Shards) -> String {
    let mut page = shards.setting.page("Two shards and one");
    let _ = writeln!(
        page,
        "\n{}; closed loop; {} rounds, medians. The second shard and the generator share a core, so throughput is\n\
         bounded by that core; CPU an operation is over all shards. The bystander is one more connection that reads a\n\
         key at a time.",
        shards.protocol.name(),
        shards.rounds,
    );
    ratio_table(&mut page, shards);
    run_table(&mut page, &shards.runs);
    fill_tables(&mut page, shards);
    page
}

fn ratio_table(page: &mut String, shards: &Shards) {
    if shards.ratios.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## Two shards behind the common port over one\n\n\
         `own ports`: over the same two shards, each asked for its own keys on its own port. `first`: the first shard's share\n\
         of the requests. `hops`: requests of a million that one shard sent to the other. Last: two shards' throughput over\n\
         theirs at the next shallower depth.\n\n\
         | load | connections | depth | CPU | throughput | bystander p99 | CPU, own ports | throughput, own ports | first | hops | to shallower |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    );
    for ratio in &shards.ratios {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {} |",
            load_name(ratio.load),
            ratio.shape.connections,
            ratio.shape.depth,
            ratio.cpu,
            ratio.throughput,
            ratio.bystander_p99,
            or_dash(ratio.over_own_ports.map(|[cpu, _]| cpu), 2),
            or_dash(ratio.over_own_ports.map(|[_, throughput]| throughput), 2),
            or_dash(ratio.first_share, 2),
            or_dash(ratio.forwarded_ppm, 0),
            or_dash(ratio.to_shallower, 2),
        );
    }
}

fn or_dash(figure: Option<f64>, digits: usize) -> String {
    figure.map_or("-".into(), |figure| format!("{figure:.digits$}"))
}

fn run_table(page: &mut String, runs: &[Run]) {
    let _ = writeln!(
        page,
        "\n## Figures\n\nLatencies in us.\n\n\
         | load | connections | depth | way | op/s | CPU us/op | p50 | p99 | bystander p50 | bystander p99 | cores busy | misses |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut cells = groups(runs, |run| (run.load, run.shape, run.way));
    cells.sort_by_key(|((load, shape, way), _)| (shape.connections, shape.depth, *load as u8, *way as u8));
    for ((load, shape, way), runs) in cells {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {:.0} | {:.3} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {} |",
            load_name(load),
            shape.connections,
            shape.depth,
            way_name(way),
            median_of(&runs, |run| run.figures.operations_per_second),
            median_of(&runs, |run| run.figures.cpu_us()),
            median_of(&runs, |run| run.figures.latency_us.p50),
            median_of(&runs, |run| run.figures.latency_us.p99),
            median_of(&runs, |run| run.bystander.latency_us.p50),
            median_of(&runs, |run| run.bystander.latency_us.p99),
            median_of(&runs, |run| run.figures.of_server(|server| server.cores_busy)),
            runs.iter().map(|run| run.figures.tally.misses).sum::<u64>(),
        );
    }
}

fn fill_tables(page: &mut String, shards: &Shards) {
    if shards.fill_ratios.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## Writes of long values in a pipeline\n\n\
         {} connections, {} writes under way on each.\n\n\
         | value bytes | one shard MB/s | two shards MB/s | ratio |\n\
         |---|---|---|---|",
        FILL.connections, FILL.depth,
    );
    for ratio in &shards.fill_ratios {
        let [one, two] = FILL_WAYS.map(|way| {
            let same = |run: &&FillRun| (run.way, run.value_bytes) == (way, ratio.value_bytes);
            let runs: Vec<&FillRun> = shards.fill_runs.iter().filter(same).collect();
            median_of(&runs, |run| run.figures.operations_per_second) * f64::from(ratio.value_bytes) / 1e6
        });
        let _ = writeln!(page, "| {} | {one:.0} | {two:.0} | {:.2} |", ratio.value_bytes, ratio.throughput,);
    }
}

fn load_name(load: Load) -> &'static str {
    match load {
        Load::Get => "get",
        Load::Mixed => "mixed",
        Load::Set => "set",
        Load::Hot => "hot",
    }
}

fn way_name(way: Way) -> &'static str {
    match way {
        Way::OneShard => "one shard",
        Way::TwoShardsAware => "two shards, shard-aware client",
        Way::TwoShardsCommonPort => "two shards, common port",
    }
}
