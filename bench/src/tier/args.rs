//! What can be asked of `torc bench tier`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::lab::{
    LabArgs,
    shape::{Shape, TimingArgs},
};

/// Bytes of a key.
pub(super) const KEY_BYTES: u32 = 16;

/// Bytes of a value where sizes are not what is measured.
pub(super) const VALUE_BYTES: u32 = 100;

/// Flags of `torc bench tier`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TierArgs {
    /// What is measured
    #[arg(long, value_enum, value_delimiter = ',', default_value = "cost,durable,restart,hits")]
    pub(super) kinds: Vec<Kind>,
    /// Folder on the disk to measure; the files in it are removed at the end
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(super) on: PathBuf,
    /// Connections and depths, as DEPTH or DEPTH@CONNECTIONS
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(super) shapes: Vec<Shape>,
    /// Bytes of a value in `cost`, each size a table; the others have 100
    #[arg(long, value_delimiter = ',', default_value = "64,1000", value_name = "BYTES")]
    pub(super) sizes: Vec<u32>,
    /// Keys of `cost`, `tails` and `durable`
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub(super) keys: u64,
    /// Items of `restart`
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(super) items: u64,
    /// Items of `recovery`, each a line
    #[arg(long, value_delimiter = ',', default_value = "1000000", value_name = "N")]
    pub(super) recovered: Vec<u64>,
    /// Reads of `hits`, a fifth of them measured; by default five a key
    #[arg(long, value_name = "N")]
    pub(super) reads: Option<u64>,
    /// Rounds; in each of them all take their turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(super) rounds: u32,
    /// Memory of each server, MiB
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    pub(super) memory_mib: u64,
    /// Size of each tier, MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub(super) tier_mib: u64,
    #[command(flatten)]
    pub(super) timing: TimingArgs,
    #[command(flatten)]
    pub(super) lab: LabArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Cost,
    Tails,
    Durable,
    Restart,
    Recovery,
    Hits,
}
