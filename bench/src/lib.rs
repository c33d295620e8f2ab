//! Load generator, ceilings and comparisons: the tool that says what Torc and its peers cost.
//!
//! Goals: the same measurement for every server (RESP, memcached text, the native protocol), from
//! a generator that is cheap enough to saturate a server core from one core; figures that a reader
//! can check: CPU time of the server's process, latency without coordinated omission, misses
//! counted, everything kept as text and JSON.
//! Non-goals: a client library, load from several machines.
//!
//! ```text
//!   load (one run)   ceiling   compare   ...          commands, one file each
//!        |              |         |
//!        +--- workload -+- echo --+--- process        what is asked; bare servers; /proc, children
//!        |
//!     generator --- codec                             the loop; one protocol a file
//! ```
//!
//! The `torc` program calls [`run`] for `torc bench ...`.

pub mod codec;
mod error;
pub mod generator;
pub mod load;
pub mod process;
pub mod report;
pub mod workload;

use std::process::ExitCode;

use clap::{Args, Subcommand};

pub use error::BenchError;

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
enum BenchCommand {}

/// Runs what the arguments ask for. `own_subcommand` is what the calling program puts before these
/// arguments (`["bench"]` in `torc`): with it, a command can start this program again as an echo
/// server.
pub fn run(args: BenchArgs, own_subcommand: &[&str]) -> Result<ExitCode, BenchError> {
    match args.command {
        None => load::run(&args.load)?,
        Some(command) => match command {},
    }
    let _ = own_subcommand;
    Ok(ExitCode::SUCCESS)
}
