//! What the server has of the machine: `--cpus`, `--shards`, `--memory`.

use super::value::{self, show_cpus};
use super::{ConfigError, Reader, Size, count};
use crate::machine::Machine;

/// A shard's number has 16 bits on the wire; 1,024 shards are more than any machine has cores.
const SHARDS_MAX: u64 = 1024;
/// A shard with less cannot hold its index, its buffers and enough segments to evict well.
const SHARD_BYTES_MIN: u64 = 8 << 20;
/// `auto` gives no shard less: with it, crowds of clients do not make it exceed its memory.
const SHARD_BYTES_AUTO: u64 = 16 << 20;
/// The process itself takes some, however few shards there are.
const MEMORY_BYTES_MIN: u64 = 16 << 20;
/// What `auto` memory is at most.
const MEMORY_AUTO_MAX: u64 = 1 << 30;

impl Reader<'_> {
    /// The CPUs that may be used, and whether the user chose them.
    pub(super) fn cpus(&mut self, machine: &Machine) -> Result<Vec<usize>, ConfigError> {
        if self.is_auto("cpus") {
            return Ok(machine.cpus_allowed.clone());
        }
        self.allowed_cpus("cpus", machine)
    }

    pub(super) fn allowed_cpus(
        &self,
        name: &'static str,
        machine: &Machine,
    ) -> Result<Vec<usize>, ConfigError> {
        let cpus = self.parse(name, value::cpu_list)?;
        match cpus.iter().find(|cpu| !machine.cpus_allowed.contains(cpu)) {
            None => Ok(cpus),
            Some(cpu) => Err(self.error(
                name,
                format!("names CPU {cpu}; this process may use {}", show_cpus(&machine.cpus_allowed)),
            )),
        }
    }

    pub(super) fn shards(
        &mut self,
        cpus: Vec<usize>,
        machine: &Machine,
    ) -> Result<(u16, Vec<usize>), ConfigError> {
        let chosen = !self.is_auto("cpus");
        let quota = machine.cpu_quota.map(|quota| (quota.floor() as usize).max(1));
        let (shards, why) = if !self.is_auto("shards") {
            (self.parse("shards", count::<1, SHARDS_MAX>)? as usize, "")
        } else if chosen {
            (cpus.len(), "one for each CPU of --cpus")
        } else if let Some(quota) = quota.filter(|quota| *quota < cpus.len()) {
            (quota, "as many as the cgroup's CPU quota allows")
        } else {
            (cpus.len(), "one for each CPU this process may use")
        };
        let (shards, why) = match self.shards_max_auto()? {
            Some(most) if most < shards => (most, "one for every 16m of --memory"),
            _ => (shards, why),
        };
        let shards = shards.clamp(1, SHARDS_MAX as usize);
        self.note("shards", shards.to_string(), why);
        let cpus = if chosen { cpus } else { cpus.into_iter().take(shards).collect() };
        let why = match (chosen, cpus.len() < shards) {
            (_, true) => "fewer than shards, so shards share CPUs",
            (false, false) => "the first this process may use",
            (true, false) => "",
        };
        self.note("cpus", show_cpus(&cpus), why);
        Ok((shards as u16, cpus))
    }

    /// How many shards `auto` makes at most, if `--memory` is given.
    fn shards_max_auto(&mut self) -> Result<Option<usize>, ConfigError> {
        if !self.is_auto("shards") || self.is_auto("memory") {
            return Ok(None);
        }
        let bytes = self.parse("memory", value::size)?.0;
        Ok(Some((bytes / SHARD_BYTES_AUTO).max(1) as usize))
    }

    pub(super) fn memory(&mut self, machine: &Machine, shards: u16) -> Result<u64, ConfigError> {
        let least = (SHARD_BYTES_MIN * u64::from(shards)).max(MEMORY_BYTES_MIN);
        let (bytes, why) = if self.is_auto("memory") {
            let quarter = machine.memory_bytes / 4;
            let why = if quarter < MEMORY_AUTO_MAX {
                format!("a quarter of the {}'s", machine.memory_source)
            } else {
                "the smaller of 1g and a quarter of what there is".into()
            };
            // Whole mebibytes: they are shown, divided over shards and cut in segments.
            (quarter.min(MEMORY_AUTO_MAX) >> 20 << 20, why)
        } else {
            (self.parse("memory", value::size)?.0, String::new())
        };
        if bytes < least {
            return Err(self.error(
                "memory",
                format!(
                    "comes to {}, and --shards {shards} needs at least {}; give more memory or fewer --shards",
                    Size(bytes),
                    Size(least)
                ),
            ));
        }
        if bytes > machine.memory_bytes {
            return Err(self.error(
                "memory",
                format!("is more than the {}'s {}", machine.memory_source, Size(machine.memory_bytes)),
            ));
        }
        self.note("memory", Size(bytes).to_string(), &why);
        Ok(bytes)
    }
}
