//! `torc bench floor`: what the kernel's path alone costs for a workload's sizes.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    codec::raw::Raw,
    echo::Engine,
    error::BenchError,
    lab::{
        CoreArgs,
        contender::Contender,
        shape::{Shape, Timing},
    },
    load::{Protocol, seconds, with_codec},
    report::{Figures, write_json_lines},
    workload::{
        args::{Workload, WorkloadArgs},
        wire_bytes,
    },
};

/// Flags of `torc bench floor`.
#[derive(Args, Clone, Debug)]
pub struct FloorArgs {
    /// Whose requests and replies set the sizes
    #[arg(long, value_enum, default_value_t = Protocol::Resp)]
    protocol: Protocol,
    /// Depths of pipelining, each DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    depths: Vec<Shape>,
    /// Length of one measurement, seconds
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    seconds: f64,
    /// Load before each measurement, seconds
    #[arg(long, default_value_t = 0.5, value_name = "S")]
    warmup: f64,
    /// Writes the results to this file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    cores: CoreArgs,
    #[command(flatten)]
    workload: WorkloadArgs,
}

#[derive(Serialize)]
struct Row {
    shape: Shape,
    engine: Engine,
    request_bytes: u32,
    reply_bytes: u32,
    results: Figures,
}

/// Measures both engines at each depth and prints the cheaper one as the floor.
pub fn run(args: &FloorArgs, own_subcommand: &[&str]) -> Result<(), BenchError> {
    let raw = raw(args.protocol, &args.workload.build()?)?;
    let timing =
        Timing { warmup: seconds("warmup", args.warmup)?, duration: seconds("seconds", args.seconds)? };
    let cores = args.cores.claim()?;
    let echoes = Engine::ALL
        .into_iter()
        .map(|engine| Ok((engine, Contender::echo(engine, own_subcommand, cores.server)?)))
        .collect::<Result<Vec<_>, BenchError>>()?;
    println!(
        "echo of {} B requests and {} B replies ({})",
        raw.request_bytes,
        raw.reply_bytes,
        args.protocol.name()
    );
    let mut rows = Vec::new();
    for &shape in &args.depths {
        for (engine, echo) in &echoes {
            let outcome = echo.measure_raw(&shape.plan(timing, None, 1), raw)?;
            let results = Figures::from(&outcome);
            println!("\n{shape}: {}\n{results}", engine.name());
            rows.push(Row {
                shape,
                engine: *engine,
                request_bytes: raw.request_bytes,
                reply_bytes: raw.reply_bytes,
                results,
            });
        }
    }
    println!();
    for shape in &args.depths {
        let rows = rows.iter().filter(|row| row.shape == *shape);
        let costs = rows.filter_map(|row| {
            let server = row.results.server.as_ref()?;
            Some((server.cpu_us_per_operation, row.engine))
        });
        if let Some((cost, engine)) = costs.min_by(|a, b| a.0.total_cmp(&b.0)) {
            println!("floor at {shape}: {cost:.3} us CPU/operation ({})", engine.name());
        }
    }
    match &args.json {
        Some(path) => write_json_lines(path, &rows),
        None => Ok(()),
    }
}

/// The echo of a workload: its mean sizes on the wire.
pub(crate) fn raw(protocol: Protocol, workload: &Workload) -> Result<Raw, BenchError> {
    let (request_bytes, reply_bytes) =
        with_codec!(protocol, |codec| wire_bytes(codec, &workload.objects, workload.mix)?);
    Ok(Raw { request_bytes, reply_bytes })
}
