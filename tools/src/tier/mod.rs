//! `torc tier`: looks at a tier that no server uses, resizes, copies or voids it; and asks a server to take its own into use again.

mod check;
mod dump;
mod rearm;
mod reset;
mod resize;
mod stat;
mod walk;

use crate::config::value::{self, Size};
use crate::exit::Failure;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use torc_net::tier::open_files;
use torc_pmem::format::superblock::STREAMS_MAX;
use torc_pmem::media::Medium;
use torc_pmem::tier::Tier;

/// Look at a tier that no server uses, resize, copy or void it; rearm one that has failed
#[derive(Debug, Args)]
pub(crate) struct TierArgs {
    #[command(subcommand)]
    action: TierAction,
}

#[derive(Debug, Subcommand)]
enum TierAction {
    /// Read every page and table, and tell what is damaged; exit status 1 if anything is
    Check {
        #[command(flatten)]
        tier: TierPath,
    },
    /// List what the tables hold, newest first in each stream, what is superseded included
    Dump {
        #[command(flatten)]
        tier: TierPath,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Tell how the tier is divided, how full it is, how old its items are and how well they are compressed
    Stat {
        #[command(flatten)]
        tier: TierPath,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Bring the tier to another size; of a smaller one the oldest items are dropped
    ///
    /// The tier is copied to PATH.part, which then takes its place: there has to be room for both.
    Resize {
        #[command(flatten)]
        tier: TierPath,
        /// What it shall have, as --tier-size: 64g; of several files all together, or repeated, each
        #[arg(long, required = true, value_parser = value::size)]
        size: Vec<Size>,
        /// Parts that it is divided into, best as many as there are shards [default: as before]
        #[arg(long, value_name = "COUNT", value_parser = streams())]
        streams: Option<u16>,
    },
    /// Copy the tier to another file, of this size or another; onto persistent memory or away from it, too
    ///
    /// From one file to one: copy FROM TO. From several or to several, as --tier was given or is to be: copy FROM... --to TO...
    Copy {
        /// The file or files that a server was given as --tier; without --to, behind that one which is not there yet
        #[arg(required = true, value_name = "FROM", value_hint = ValueHint::FilePath)]
        paths: Vec<PathBuf>,
        /// Files that are not there yet
        #[arg(long, num_args = 1.., value_name = "TO", value_hint = ValueHint::FilePath)]
        to: Vec<PathBuf>,
        #[command(flatten)]
        shape: Shape,
    },
    /// Make the tier hold nothing, as if it were new
    Reset {
        #[command(flatten)]
        tier: TierPath,
        /// Everything that the tier holds may be lost
        #[arg(long)]
        yes: bool,
    },
    /// Let a running server take its tier into use again, after a call to its medium had failed
    ///
    /// The tier begins anew: what it held is lost. The server goes on serving meanwhile, and hands over what its memory holds.
    /// Exit status 1 if the medium still fails; to be asked on the server's machine.
    Rearm {
        /// The server's --admin
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7172", env = "TORC_ADMIN")]
        admin: String,
    },
}

#[derive(Debug, Args)]
struct TierPath {
    /// The file that a server was given as --tier, or all of them
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Shape {
    /// What the copy shall have; of several files all together, or repeated, each; if it is less, the oldest items are dropped
    /// [default: what the tier has]
    #[arg(long = "tier-size", alias = "size", value_name = "SIZE", value_parser = value::size)]
    size: Vec<Size>,
    /// Parts that the copy is divided into, best as many as there are shards [default: what the tier has]
    #[arg(long, value_name = "COUNT", value_parser = streams())]
    streams: Option<u16>,
}

fn streams() -> RangedU64ValueParser<u16> {
    RangedU64ValueParser::new().range(1..=u64::from(STREAMS_MAX))
}

pub(crate) fn run(args: &TierArgs) -> Result<ExitCode, Failure> {
    match &args.action {
        TierAction::Check { tier } => return check::run(&open(&tier.paths)?),
        TierAction::Dump { tier, json } => dump::run(&open(&tier.paths)?, *json)?,
        TierAction::Stat { tier, json } => stat::run(medium(&tier.paths)?, *json)?,
        TierAction::Resize { tier, size, streams } => resize::resize(&tier.paths, size, *streams)?,
        TierAction::Copy { paths, to, shape } => resize::copy(paths, to, shape)?,
        TierAction::Reset { tier, yes } => reset::run(&tier.paths, *yes)?,
        TierAction::Rearm { admin } => rearm::run(admin)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a tier, locked. Persistent memory is a file, too.
fn medium(paths: &[PathBuf]) -> Result<Arc<dyn Medium>, Failure> {
    open_files(paths).map_err(Failure::failed)
}

fn open(paths: &[PathBuf]) -> Result<Tier, Failure> {
    Tier::open(medium(paths)?).map_err(Failure::failed)
}

/// Paths in words.
fn names(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(" and ")
}
