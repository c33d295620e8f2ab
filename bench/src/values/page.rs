//! The result as a page. Writing to a string cannot fail, so its results are dropped.

use std::fmt::Write;

use super::{Load, Run, Values};
use crate::results::{groups, median_of};

pub(super) fn page(values: &Values) -> String {
    let mut page = values.setting.page("Values of every size");
    let _ = writeln!(
        page,
        "\n{} keys, fewer of the longest values; {}, closed loop; {} rounds of {} s (warm-up {} s), medians.",
        values.keys, values.shape, values.rounds, values.seconds, values.warmup_seconds,
    );
    table(&mut page, values, "CPU an operation, us", |run| run.figures.cpu_us());
    ratio_table(&mut page, values);
    table(&mut page, values, "Throughput, operations a second", |run| run.figures.operations_per_second);
    table(&mut page, values, "Latency, p99, us", |run| run.figures.latency_us.p99);
    let misses: u64 = values.runs.iter().map(|run| run.figures.tally.misses).sum();
    let _ = writeln!(
        page,
        "\n{misses} reads missed. Every round is in `raw.jsonl`. Method: `docs/benchmarks.md`."
    );
    page
}

/// A figure for every server, protocol and load, a column for every size.
fn table(page: &mut String, values: &Values, title: &str, of: impl Fn(&Run) -> f64) {
    head(page, values, title);
    let mut rows = groups(&values.runs, |run| (run.load, run.protocol, &*run.server));
    rows.sort_by_key(|(row, _)| *row);
    for ((load, protocol, server), runs) in rows {
        let _ = write!(page, "| {}, {server}, {} |", name(load), protocol.name());
        for size in &values.sizes {
            let of_size: Vec<&Run> = runs.iter().copied().filter(|run| run.value_bytes == *size).collect();
            let figure = median_of(&of_size, &of);
            let decimals = usize::from(figure < 1000.0);
            let _ = write!(page, " {figure:.decimals$} |");
        }
        let _ = writeln!(page);
    }
}

fn ratio_table(page: &mut String, values: &Values) {
    head(page, values, "CPU of Torc over the cheaper of the peers in the same round");
    for ((load, protocol), ratios) in groups(&values.ratios, |ratio| (ratio.load, ratio.protocol)) {
        let _ = write!(page, "| {}, {} |", name(load), protocol.name());
        ratios.iter().for_each(|ratio| _ = write!(page, " {:.2} |", ratio.cpu));
        let _ = writeln!(page);
    }
}

fn head(page: &mut String, values: &Values, title: &str) {
    let _ = write!(page, "\n## {title}\n\n|  |");
    values.sizes.iter().for_each(|size| _ = write!(page, " {} |", in_words(*size)));
    let _ = writeln!(page, "\n|---|{}", "---|".repeat(values.sizes.len()));
}

fn in_words(bytes: u32) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} KB", f64::from(bytes) / 1e3),
        _ => format!("{} MB", f64::from(bytes) / 1e6),
    }
}

fn name(load: Load) -> &'static str {
    match load {
        Load::Set => "set",
        Load::Get => "get",
    }
}
