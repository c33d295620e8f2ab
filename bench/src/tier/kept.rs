//! What is kept of a run.

use serde::Serialize;

use super::{hits::Hits, ratio::Ratio, recovery::Recovery, restart::Restart, rounds::Run};
use crate::{
    lab::{Cores, contender::Contender},
    results::Setting,
};

/// Everything that is kept.
#[derive(Serialize)]
pub(super) struct Tier {
    pub(super) setting: Setting,
    /// The file system and the device that the files lay on.
    pub(super) disk: String,
    /// What each Torc's banner says of its tier.
    pub(super) tiers: Vec<String>,
    pub(super) keys: u64,
    pub(super) items: u64,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
    pub(super) warmup_seconds: f64,
    pub(super) ratios: Vec<Ratio>,
    pub(super) runs: Vec<Run>,
    pub(super) restarts: Vec<Restart>,
    pub(super) recoveries: Vec<Recovery>,
    pub(super) hits: Vec<Hits>,
}

impl Tier {
    /// Notes what the servers of a measurement were.
    pub(super) fn remember(&mut self, cores: Cores, servers: &[Contender]) {
        self.setting.servers.extend(Setting::new(cores, servers).servers);
        let tiers = servers.iter().filter_map(|server| {
            let tier = server.banner("tier").filter(|tier| tier != "off")?;
            let tier = tier.split("; made anew").next().unwrap_or_default();
            Some(format!("{}: {tier}", server.name))
        });
        self.tiers.extend(tiers);
    }
}
