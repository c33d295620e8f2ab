//! `torc tier`: looks at a tier that no server uses, or voids it.

mod check;
mod dump;
mod reset;
mod stat;
mod walk;

use crate::exit::Failure;
use clap::{Args, Subcommand, ValueHint};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use torc_pmem::media::Medium;
use torc_pmem::media::file::FileMedium;
use torc_pmem::tier::Tier;

/// Look at a tier that no server uses, or void it
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
    /// Make the tier hold nothing, as if it were new
    Reset {
        #[command(flatten)]
        tier: TierPath,
        /// Everything that the tier holds may be lost
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct TierPath {
    /// The file that a server was given as --tier
    #[arg(value_hint = ValueHint::FilePath)]
    path: PathBuf,
}

pub(crate) fn run(args: &TierArgs) -> Result<ExitCode, Failure> {
    match &args.action {
        TierAction::Check { tier } => return check::run(&open(&tier.path)?),
        TierAction::Dump { tier, json } => dump::run(&open(&tier.path)?, *json)?,
        TierAction::Stat { tier, json } => stat::run(medium(&tier.path)?, *json)?,
        TierAction::Reset { tier, yes } => reset::run(&tier.path, *yes)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The file of a tier, locked. Persistent memory is a file, too.
fn medium(path: &Path) -> Result<Arc<dyn Medium>, Failure> {
    Ok(Arc::new(FileMedium::open_existing(path).map_err(Failure::failed)?))
}

fn open(path: &Path) -> Result<Tier, Failure> {
    Tier::open(medium(path)?).map_err(Failure::failed)
}
