//! A comparison's folder: `README.md` (machine, command, versions, tables) and `raw.json` (every
//! run). A folder is made once and never written again.

use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Comparison, Load, Run, verdict};
use crate::{error::BenchError, process::machine::Machine, report::write_json};

/// Where results go by default.
const RESULTS: &str = "bench/results";

/// How many folders of one day, host and topic there may be.
const FOLDERS_A_DAY: u32 = 100;

/// Today's date, UTC.
pub(crate) fn today() -> String {
    let date = time::OffsetDateTime::now_utc().date();
    format!("{}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// Makes the folder; one that exists is refused, or gives way to a numbered one when the name was
/// not chosen.
pub(crate) fn create(chosen: Option<&Path>, topic: &str) -> Result<PathBuf, BenchError> {
    if let Some(path) = chosen {
        return match make(path)? {
            true => Ok(path.into()),
            false => {
                let reason = format!("{} exists: results are never overwritten", path.display());
                Err(BenchError::setting("out", reason))
            }
        };
    }
    let stem = format!("{}-{}-{topic}", today(), Machine::read().host);
    for number in 1..=FOLDERS_A_DAY {
        let name = match number {
            1 => stem.clone(),
            number => format!("{stem}-{number}"),
        };
        let path = Path::new(RESULTS).join(name);
        if make(&path)? {
            return Ok(path);
        }
    }
    let reason = format!("{RESULTS} has {FOLDERS_A_DAY} folders of today: give a name");
    Err(BenchError::setting("out", reason))
}

/// False if it exists.
fn make(path: &Path) -> Result<bool, BenchError> {
    let action = || format!("making the folder {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(BenchError::io(action()))?;
    }
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(BenchError::io(action())(error)),
    }
}

/// Writes both files and prints the page.
pub(super) fn write(folder: &Path, comparison: &Comparison) -> Result<(), BenchError> {
    write_json(&folder.join("raw.json"), comparison)?;
    let page = page(comparison);
    let path = folder.join("README.md");
    fs::write(&path, &page).map_err(BenchError::io(format!("writing {}", path.display())))?;
    println!("{page}\nkept in {}", folder.display());
    Ok(())
}

/// The page. Writing to a string cannot fail, so its results are dropped.
fn page(comparison: &Comparison) -> String {
    let mut page = String::new();
    let machine = &comparison.machine;
    let _ = writeln!(page, "# Comparison of {}\n", comparison.date);
    let _ = writeln!(
        page,
        "{}, {} cores, {} GiB, Linux {}{}. Server on core {}, generator on core {}.\n",
        machine.cpu,
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        if machine.hypervisor { ", virtual" } else { "" },
        comparison.cores.server,
        comparison.cores.generator,
    );
    let _ = writeln!(page, "```\n{}\n```\n", comparison.command);
    let workload = &comparison.workload;
    let _ = writeln!(
        page,
        "{} keys of {}, values {}, keys drawn {}, {}; {} rounds of {} s (warm-up {} s).\n",
        workload.keys,
        workload.key_size,
        workload.value_size,
        workload.key_distribution,
        workload.mix,
        comparison.rounds,
        comparison.seconds,
        comparison.warmup_seconds,
    );
    let _ = writeln!(page, "| server | version | command |\n|---|---|---|");
    for server in &comparison.servers {
        let command = server.command.rsplit('/').next().unwrap_or_default();
        let _ = writeln!(page, "| {} | {} | `{command}` |", server.name, server.version);
    }
    verdict_table(&mut page, comparison);
    for load in [Load::Saturation, Load::Fixed] {
        run_table(&mut page, comparison, load);
    }
    let _ = writeln!(page, "\nEvery round is in `raw.json`. Method: `docs/benchmarks.md`.");
    page
}

fn verdict_table(page: &mut String, comparison: &Comparison) {
    if comparison.verdicts.is_empty() {
        return;
    }
    let _ = writeln!(
        page,
        "\n## CPU per operation, Torc against the cheapest peer and the ceiling\n\n\
         Median ratio of the rounds that count: throughput no lower, p99 at most 1.1 x, no miss.\n\n\
         | protocol | depth | load | against | ratio | range | rounds | bar | reached |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for verdict in &comparison.verdicts {
        let number = |ratio: Option<f64>| ratio.map_or("-".into(), |r| format!("{r:.2}"));
        let reached = match verdict.passes() {
            None => "recorded".into(),
            Some(true) => "yes".into(),
            Some(false) if verdict.reasons.is_empty() => "no".into(),
            Some(false) => format!("no ({})", verdict.reasons.join("; ")),
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} to {} | {} of {} | {} | {reached} |",
            verdict.protocol.name(),
            verdict.shape.depth,
            load_name(verdict.load),
            verdict.against,
            number(verdict.ratio),
            number(verdict.ratio_min),
            number(verdict.ratio_max),
            verdict.rounds_counted,
            verdict.rounds,
            number(verdict.bar),
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
            let mut values: Vec<f64> = runs.iter().filter(same).map(|run| value(run)).collect();
            values.sort_by(f64::total_cmp);
            verdict::median(&values).unwrap_or(0.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_once() {
        let path = std::env::temp_dir().join(format!("torc-bench-folder-{}", std::process::id()));
        assert_eq!(create(Some(&path), "x").unwrap(), path);
        let error = create(Some(&path), "x").unwrap_err().to_string();
        assert!(error.starts_with("--out"), "{error}");
        fs::remove_dir(path).unwrap();
    }

    #[test]
    fn dates_sort() {
        assert_eq!(today().len(), "2026-01-31".len());
    }
}
