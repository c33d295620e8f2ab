//! What can be asked of `torc bench tier`.

use std::{path::PathBuf, str::FromStr};

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
    /// Items of `recovery`, each a line; ITEMSxN: each of them was written N times on average; ITEMSxN@P: with a snapshot of the index
    /// when P percent of that was written
    #[arg(long, value_delimiter = ',', default_value = "1000000", value_name = "ITEMS[xN[@P]]")]
    pub(super) recovered: Vec<Recovered>,
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

/// What a tier holds that is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Recovered {
    pub(super) items: u64,
    /// How often each of them was written, on average.
    pub(super) writes: u64,
    /// When so much of that was written a snapshot was, percent.
    pub(super) snapshot_at: Option<u64>,
}

impl FromStr for Recovered {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, snapshot_at) = match text.split_once('@') {
            Some((text, percent)) => {
                let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
                (text, Some(percent.ok_or_else(|| format!("'{text}@' is not followed by 1 to 100"))?))
            }
            None => (text, None),
        };
        let (items, writes) = text.split_once('x').unwrap_or((text, "1"));
        let positive = |text: &str| {
            let number = text.parse::<u64>().ok().filter(|&number| number > 0);
            number.ok_or_else(|| format!("'{text}' is not a whole number above 0"))
        };
        let (items, writes) = (positive(items)?, positive(writes)?);
        items.checked_mul(writes).ok_or("too many records")?;
        Ok(Self { items, writes, snapshot_at })
    }
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

#[cfg(test)]
mod tests {
    use super::Recovered;

    #[test]
    fn items_are_written_once_where_nothing_else_is_said() {
        assert_eq!("7".parse(), Ok(Recovered { items: 7, writes: 1, snapshot_at: None }));
        assert_eq!("7x10".parse(), Ok(Recovered { items: 7, writes: 10, snapshot_at: None }));
        assert_eq!("7x10@75".parse(), Ok(Recovered { items: 7, writes: 10, snapshot_at: Some(75) }));
        for wrong in
            ["7x10@", "7x10@0", "7@101", "", "x", "7x", "x7", "0", "7x0", "7x1x1", "18446744073709551615x2"]
        {
            assert!(wrong.parse::<Recovered>().is_err(), "{wrong}");
        }
    }
}
