//! The flags that describe a workload, shared by the commands, and what they are made into.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use serde::Serialize;

use super::{
    Objects,
    keys::{KeyDistribution, KeyPicker, KeySpace},
    mix::Mix,
    sizes::SizeDistribution,
    trace::Trace,
};
use crate::error::BenchError;

/// Keys, values and operations.
#[derive(Args, Clone, Debug)]
pub struct WorkloadArgs {
    /// How many keys there are
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub keys: u64,
    /// Sizes of keys in bytes: fixed:N, uniform:A-B or zipf:THETA:A-B
    #[arg(long, default_value = "fixed:16", value_name = "DIST")]
    pub key_size: String,
    /// Sizes of values in bytes: fixed:N, uniform:A-B or zipf:THETA:A-B
    #[arg(long, default_value = "fixed:64", value_name = "DIST")]
    pub value_size: String,
    /// Which keys are asked for: uniform, zipf:THETA or trace:FILE (replaces --keys)
    #[arg(long, default_value = "uniform", value_name = "DIST")]
    pub key_distribution: String,
    /// Weights of the operations
    #[arg(long, default_value = "get=9,set=1", value_name = "OP=WEIGHT,..")]
    pub mix: String,
    /// Seed of everything random
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

/// What the flags were, for a report.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadText {
    pub keys: u64,
    pub key_size: String,
    pub value_size: String,
    pub key_distribution: String,
    pub mix: String,
}

/// A workload ready to be driven.
pub struct Workload {
    pub objects: Objects,
    pub distribution: KeyDistribution,
    pub mix: Mix,
    pub seed: u64,
    pub text: WorkloadText,
}

impl WorkloadArgs {
    pub fn build(&self) -> Result<Workload, BenchError> {
        let mut count = self.keys;
        let distribution = match self.key_distribution.split_once(':') {
            None if self.key_distribution == "uniform" => KeyDistribution::Uniform,
            Some(("zipf", theta)) => KeyDistribution::zipf(count.max(1), theta, self.seed)
                .map_err(|reason| BenchError::setting("key-distribution", reason))?,
            Some(("trace", file)) => {
                let trace = Trace::read(&PathBuf::from(file))?;
                count = u64::from(trace.distinct);
                KeyDistribution::Sequence(trace.objects.into())
            }
            _ => {
                let reason = "expected uniform, zipf:THETA or trace:FILE";
                return Err(BenchError::setting("key-distribution", reason));
            }
        };
        let keys = KeySpace::new(count, parsed("key-size", &self.key_size)?)?;
        let values: SizeDistribution = parsed("value-size", &self.value_size)?;
        Ok(Workload {
            objects: Objects::new(keys, values),
            distribution,
            mix: parsed("mix", &self.mix)?,
            seed: self.seed,
            text: WorkloadText {
                keys: count,
                key_size: self.key_size.clone(),
                value_size: self.value_size.clone(),
                key_distribution: self.key_distribution.clone(),
                mix: self.mix.clone(),
            },
        })
    }
}

impl Workload {
    /// A picker of keys; another `run` draws other keys.
    pub fn picker(&self, run: u64) -> KeyPicker {
        let seed = self.seed.wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        KeyPicker::new(self.distribution.clone(), self.objects.count(), seed)
    }
}

fn parsed<T: FromStr<Err = String>>(setting: &'static str, text: &str) -> Result<T, BenchError> {
    text.parse().map_err(|reason: String| BenchError::setting(setting, reason))
}
