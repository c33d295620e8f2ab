//! What sessions see of the server.

use crate::event_classes::EventClasses;
use crate::metrics::CommandTimes;
use crate::observed::{Observed, SLOW_LOG_MAX};
use crate::scripts::{NO_ROOM, Script};
use crate::session::{Changeable, ComposeContext, ServerView};
use crate::shared::Shared;
use crate::shutdown::OnShutdown;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use torc_engine::command::Millis;
use torc_engine::stats::DatabaseFigures;
use torc_proto::native::Descriptor;

/// The server as one shard's sessions see it.
pub(crate) struct View {
    shared: Arc<Shared>,
    shard: u16,
}

impl View {
    pub(crate) fn new(shared: Arc<Shared>, shard: u16) -> View {
        View { shared, shard }
    }
}

impl ServerView for View {
    fn slot_ranges(&self) -> Vec<(RangeInclusive<u16>, u16)> {
        self.shared.slots.ranges()
    }

    fn slot_epoch(&self) -> u64 {
        self.shared.slots.epoch()
    }

    fn shard_address(&self, shard: u16) -> (String, u16) {
        let port = self.shared.ports.get(shard as usize).copied().unwrap_or_default();
        (self.shared.announce_host.clone(), port)
    }

    fn shard_count(&self) -> u16 {
        self.shared.worker_stats.len() as u16
    }

    fn shard(&self) -> u16 {
        self.shard
    }

    fn node_id(&self, shard: u16) -> String {
        self.shared.node_id(shard)
    }

    fn items(&self) -> u64 {
        self.shared.figure("keys")
    }

    fn databases(&self) -> u16 {
        self.shared.databases_count
    }

    fn database(&self, number: u16, own: bool) -> DatabaseFigures {
        self.shared.database(number.into(), own.then_some(self.shard))
    }

    fn event_classes(&self) -> EventClasses {
        EventClasses::of_bits(self.shared.event_classes.load(Relaxed))
    }

    fn set_event_classes(&self, classes: EventClasses) {
        // Relaxed: each shard looks when its turn begins.
        self.shared.event_classes.store(classes.bits(), Relaxed);
    }

    fn figure(&self, name: &str) -> u64 {
        self.shared.figure(name)
    }

    fn own_figure(&self, name: &str) -> u64 {
        self.shared.own_figure(self.shard, name)
    }

    fn figure_since_reset(&self, name: &str) -> u64 {
        self.shared.figure_since_reset(None, name)
    }

    fn own_figure_since_reset(&self, name: &str) -> u64 {
        self.shared.figure_since_reset(Some(self.shard), name)
    }

    fn reset_figures(&self, names: &[&'static str]) {
        self.shared.reset(names);
    }

    fn changeable(&self, what: Changeable) -> i64 {
        let (tunables, observed) = (&self.shared.tunables, &self.shared.observed);
        match what {
            // Less than a second is not told as never.
            Changeable::IdleSeconds => tunables.idle_ms_max().div_ceil(1000) as i64,
            Changeable::Connections => tunables.connections_max() as i64,
            Changeable::MemoryBytes => tunables.memory() as i64,
            Changeable::SlowerThanUs => observed.slower_than_us(),
            Changeable::SlowLogMax => observed.slow_log_max() as i64,
            Changeable::EventsFromMs => observed.events_from_ms() as i64,
        }
    }

    fn changeable_limits(&self, what: Changeable) -> (i64, i64) {
        match what {
            Changeable::IdleSeconds => (0, i32::MAX.into()),
            Changeable::Connections => (1, self.shared.connections_max as i64),
            Changeable::MemoryBytes => self.shared.memory_limits(),
            Changeable::SlowerThanUs => (-1, i64::MAX / 1000),
            Changeable::SlowLogMax => (0, SLOW_LOG_MAX as i64),
            Changeable::EventsFromMs => (0, i64::MAX / 1000),
        }
    }

    fn change(&self, what: Changeable, number: i64) {
        let (tunables, observed) = (&self.shared.tunables, &self.shared.observed);
        match what {
            Changeable::IdleSeconds => tunables.set_idle_ms_max(number as u64 * 1000),
            Changeable::Connections => tunables.set_connections_max(number as usize),
            Changeable::MemoryBytes => self.shared.set_memory(number as u64),
            Changeable::SlowerThanUs => observed.set_slower_than_us(number),
            Changeable::SlowLogMax => observed.set_slow_log_max(number as usize),
            Changeable::EventsFromMs => observed.set_events_from_ms(number as u64),
        }
    }

    fn observed(&self) -> Option<&Observed> {
        Some(&self.shared.observed)
    }

    fn reset_command_times(&self) {
        self.shared.reset_command_times();
    }

    fn error_codes(&self) -> Vec<(String, u64)> {
        self.shared.error_codes()
    }

    fn command_times(&self) -> Vec<CommandTimes> {
        self.shared.command_times()
    }

    fn pause(&self, now: Millis, until: Millis, all: bool) {
        self.shared.tunables.pause(now, until, all);
    }

    fn go_on(&self) {
        self.shared.tunables.go_on();
    }

    fn is_cluster(&self) -> bool {
        self.shared.is_cluster
    }

    fn has_debug_commands(&self) -> bool {
        self.shared.debug_commands
    }

    fn has_shutdown_command(&self) -> bool {
        self.shared.on_shutdown.is_some()
    }

    fn shut_down(&self) {
        self.shared.on_shutdown.iter().for_each(OnShutdown::ask);
    }

    fn has_password(&self) -> bool {
        !self.shared.users.is_empty()
    }

    fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        self.shared.users.admit(user, password)
    }

    fn started_at(&self) -> Millis {
        self.shared.wall.began()
    }

    fn boot_id(&self) -> u64 {
        self.shared.boot_id
    }

    fn transport(&self) -> &'static str {
        self.shared.transport
    }

    fn has_rdma(&self) -> bool {
        // Whether its device is there just now is told to who asks for a queue pair: a client that hears of none does not ask again.
        self.shared.rdma.is_some()
    }

    fn shared_memory_path(&self) -> Option<String> {
        self.shared.shared_memory_path.clone()
    }

    fn load_script(&self, text: &[u8]) -> Result<[u8; 20], Vec<u8>> {
        let script = Script::read(text, &self.shared.scripts)?;
        let digest = torc_lua::digest(text);
        match self.shared.scripts.add(digest, script, true) {
            Some(_) => Ok(digest),
            None => Err(NO_ROOM.to_vec()),
        }
    }

    fn script_text(&self, digest: &[u8; 20]) -> Option<Vec<u8>> {
        self.shared.scripts.find(digest).map(|script| script.whole.to_vec())
    }

    fn has_script(&self, digest: &[u8; 20]) -> bool {
        self.shared.scripts.find(digest).is_some()
    }

    fn flush_scripts(&self) {
        self.shared.scripts.flush();
    }

    fn readable(&self) -> Vec<Descriptor> {
        self.shared.readable.descriptors().collect()
    }
}

#[inline]
pub(super) fn context<'c>(
    connection: u64,
    peer: &'c str,
    local: &'c str,
    now: Millis,
    view: &'c View,
) -> ComposeContext<'c> {
    ComposeContext { now, server: view as &dyn ServerView, connection, peer, local }
}
