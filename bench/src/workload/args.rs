//! The flags that describe a workload, shared by the commands, and what they are made into.

use clap::Args;
use serde::{Serialize, Serializer};

use super::{
    keys::{KeyPicker, Popularity},
    mix::Mix,
    objects::Objects,
};
use crate::error::BenchError;

/// Keys, values and operations.
#[derive(Args, Clone, Debug, Serialize)]
pub struct WorkloadArgs {
    /// How many keys there are
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub keys: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    pub key_size: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    pub value_size: u32,
    /// Which keys are asked for: uniform or zipf:THETA
    #[arg(long, default_value_t = Popularity::Uniform, value_name = "DIST")]
    #[serde(serialize_with = "text")]
    pub key_distribution: Popularity,
    /// Weights of the operations
    #[arg(long, default_value_t = Mix { get: 9, set: 1 }, value_name = "OP=WEIGHT,..")]
    #[serde(serialize_with = "text")]
    pub mix: Mix,
    /// Seed of everything random
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

/// A workload ready to be driven.
pub struct Workload {
    pub objects: Objects,
    pub picker: KeyPicker,
    pub mix: Mix,
}

impl WorkloadArgs {
    pub fn build(&self) -> Result<Workload, BenchError> {
        Ok(Workload {
            objects: Objects::new(self.keys, self.key_size, self.value_size)?,
            picker: KeyPicker::new(self.key_distribution, self.keys, self.seed),
            mix: self.mix,
        })
    }
}

fn text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}
