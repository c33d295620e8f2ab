//! Load generator, floor and comparisons: the tool that says what Torc and its peers cost.
//!
//! Goals: the same measurement for every server (RESP, memcached text, the native protocol), from
//! a generator that is cheap enough to saturate a server core from one core; figures that a reader
//! can check: CPU time of the server's process, latency without coordinated omission, misses
//! counted, everything kept as text and JSON.
//! Non-goals: a client library, load from several machines.
//!
//! ```text
//!   load (one run)    floor    compare   ...          commands, one file each
//!        |              |         |
//!        +--- workload -+- echo --+--- process        what is asked; bare servers; /proc, children
//!        |
//!     generator --- codec                             the loop; one protocol a file
//! ```
//!
//! The `torc` program calls [`run`] for `torc bench ...`.

pub mod codec;
mod compare;
mod echo;
mod error;
mod features;
mod floor;
mod footprint;
mod generator;
mod idle;
mod lab;
mod load;
mod login;
mod one_sided;
mod process;
mod protocol;
mod rdma;
mod replay;
mod report;
mod results;
mod shards;
mod tail;
mod tier;
mod values;
mod wait;
pub mod workload;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use error::BenchError;
pub use login::LoginArgs;
pub use rdma::RdmaArgs;

/// Measures a cache server: one load without a subcommand
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,
    #[command(flatten)]
    load: load::LoadArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum BenchCommand {
    /// The floor: what a bare echo server costs for the bytes of this workload
    Floor(Box<floor::FloorArgs>),
    /// Torc beside redis-server and memcached, round by round, kept under bench/results; over TCP, or on one host
    Compare(Box<compare::CompareArgs>),
    /// The miss ratio on a real request trace
    Trace(Box<replay::TraceArgs>),
    /// The tail of the latency while the server evicts, moves long values or is flooded
    Tail(Box<tail::TailArgs>),
    /// What an item costs beside its own bytes, and whether a full server keeps to its memory
    Memory(Box<footprint::MemoryArgs>),
    /// CPU of a server with nothing to do
    Idle(Box<idle::IdleArgs>),
    /// Two shards against one: shard-aware clients, and the hop on the common port
    Shards(Box<shards::ShardsArgs>),
    /// Ways to wait below saturation: --spin and --min-wait against sleeping at once
    Wait(Box<wait::WaitArgs>),
    /// Values of every size: Torc beside redis-server and memcached, reads and writes
    Values(Box<values::ValuesArgs>),
    /// A second tier: what it costs, what safe changes cost beside redis-server, how fast a restart is warm, how many reads hit
    Tier(Box<tier::TierArgs>),
    /// Messages, scripts, transactions and idle clients beside redis-server
    Features(Box<features::FeaturesArgs>),
    /// A bare echo server (started by other commands)
    #[command(hide = true)]
    Echo(echo::EchoArgs),
}

/// Runs what the arguments ask for. The floor's echo servers are this program again, as `bench echo`.
pub fn run(args: BenchArgs) -> Result<ExitCode, BenchError> {
    match args.command {
        None => load::run(&args.load)?,
        Some(BenchCommand::Floor(args)) => floor::run(&args)?,
        Some(BenchCommand::Compare(args)) => compare::run(&args)?,
        Some(BenchCommand::Trace(args)) => replay::run(&args)?,
        Some(BenchCommand::Tail(args)) => tail::run(&args)?,
        Some(BenchCommand::Memory(args)) => footprint::run(&args)?,
        Some(BenchCommand::Idle(args)) => idle::run(&args)?,
        Some(BenchCommand::Shards(args)) => shards::run(&args)?,
        Some(BenchCommand::Wait(args)) => wait::run(&args)?,
        Some(BenchCommand::Values(args)) => values::run(&args)?,
        Some(BenchCommand::Tier(args)) => tier::run(&args)?,
        Some(BenchCommand::Features(args)) => features::run(&args)?,
        Some(BenchCommand::Echo(args)) => echo::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
