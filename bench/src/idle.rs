//! `torc bench idle`: CPU of a server with nothing to do, without clients and with idle ones.

use std::{fmt::Write, thread, time::Duration};

use clap::Args;
use serde::Serialize;

use crate::{
    error::BenchError,
    lab::{LabArgs, peers},
    load::seconds,
    results::{Folder, Setting},
};

/// Flags of `torc bench idle`.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArgs {
    /// Length of one measurement, seconds
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    seconds: f64,
    /// Connected clients that ask for nothing
    #[arg(long, default_value_t = 50, value_name = "N")]
    connections: usize,
    #[command(flatten)]
    lab: LabArgs,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    server: String,
    connections: usize,
    /// Share of one core, percent.
    cpu_percent: f64,
}

#[derive(Serialize)]
struct Idle {
    setting: Setting,
    seconds: f64,
    rows: Vec<Row>,
}

const MEMORY_MIB: u64 = 1024;

/// Longest wait before measuring, so that the work of a start or an accept does not count as idling.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Measures each server, prints the table and keeps it.
pub(crate) fn run(args: &IdleArgs) -> Result<(), BenchError> {
    let length = seconds("seconds", args.seconds)?;
    let folder = Folder::create(&args.lab.out, "idle")?;
    let cores = args.lab.cores.claim()?;
    let servers = peers::start_all(&args.lab.torc, cores.server, MEMORY_MIB)?;
    let mut rows = Vec::new();
    for server in &servers {
        for connections in [0, args.connections] {
            let clients: Result<Vec<_>, _> = (0..connections).map(|_| server.address.connect()).collect();
            let _clients = clients.map_err(BenchError::io("connecting idle clients"))?;
            thread::sleep(length.min(SETTLE_MAX));
            let before = server.probe.sample()?;
            thread::sleep(length);
            let used = server.probe.sample()?.since(&before);
            let cpu_percent = 100.0 * used.on_cpu_ns as f64 / 1e9 / args.seconds;
            rows.push(Row { server: server.name.clone(), connections, cpu_percent });
        }
    }
    let idle = Idle { setting: Setting::new(cores, &servers), seconds: args.seconds, rows };
    folder.write(&page(&idle), &idle)
}

/// The page. Writing to a string cannot fail, so its results are dropped.
fn page(idle: &Idle) -> String {
    let mut page = idle.setting.page("Idle servers");
    let _ = writeln!(
        page,
        "\nCPU over {} s, all threads.\n\n| server | idle clients | % of a core |\n|---|---|---|",
        idle.seconds
    );
    for row in &idle.rows {
        let _ = writeln!(page, "| {} | {} | {:.3} |", row.server, row.connections, row.cpu_percent);
    }
    page
}
