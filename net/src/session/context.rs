//! What composing may look at beside the answer.

use crate::event_classes::EventClasses;
use crate::metrics::CommandTimes;
use crate::observed::Observed;
use torc_engine::command::Millis;
use torc_engine::stats::DatabaseFigures;
use torc_proto::native::Descriptor;

/// What `compose` may look at beside the answer.
pub struct ComposeContext<'c> {
    pub now: Millis,
    pub server: &'c dyn ServerView,
    /// Identity of this connection, as CLIENT ID gives it.
    pub connection: u64,
    pub peer: &'c str,
    pub local: &'c str,
}

/// A setting that clients can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changeable {
    /// Silent clients are closed after so many seconds; 0: never.
    IdleSeconds,
    /// Most connections, over all listeners.
    Connections,
    /// Memory of all shards; not more than at the start.
    MemoryBytes,
    /// Microseconds from which on a request is slow; -1: none is.
    SlowerThanUs,
    /// Most slow requests that are kept.
    SlowLogMax,
    /// Milliseconds from which on a moment is an event; 0: none is.
    EventsFromMs,
}

/// What sessions may ask of the server to answer INFO, stats, CLUSTER, HELLO. Never on the path of a GET.
pub trait ServerView {
    /// Slot ranges in order, each with its owner: the slot map.
    fn slot_ranges(&self) -> Vec<(std::ops::RangeInclusive<u16>, u16)>;
    fn slot_epoch(&self) -> u64;
    /// Host and port that clients are told for a shard.
    fn shard_address(&self, shard: u16) -> (String, u16);
    fn shard_count(&self) -> u16;
    /// This shard.
    fn shard(&self) -> u16;
    /// 40 hexadecimal digits, as Redis Cluster names a node.
    fn node_id(&self, shard: u16) -> String;
    /// Keys of all shards, whether their items are in memory or on a tier.
    fn items(&self) -> u64;
    /// How many databases clients may choose from.
    fn databases(&self) -> u16 {
        16
    }
    /// The figures of a database, of all shards or of this one.
    fn database(&self, number: u16, own: bool) -> DatabaseFigures {
        let keys = if own { self.own_figure("keys") } else { self.figure("keys") };
        DatabaseFigures { items: if number == 0 { keys } else { 0 }, ..DatabaseFigures::default() }
    }
    /// Which changes of keys clients are told of.
    fn event_classes(&self) -> EventClasses {
        EventClasses::default()
    }
    /// From now on clients are told of these.
    fn set_event_classes(&self, _: EventClasses) {}
    /// Named figures for INFO and stats, summed over the shards: see `crate::metrics`.
    fn figure(&self, name: &str) -> u64;
    /// As `figure`, of this shard alone.
    fn own_figure(&self, name: &str) -> u64;
    /// As `figure`, counted from the last `reset_figures` that named it.
    fn figure_since_reset(&self, name: &str) -> u64;
    /// As `figure_since_reset`, of this shard alone.
    fn own_figure_since_reset(&self, name: &str) -> u64;
    /// Lets these two count these figures from 0 again; all other readers see them run on.
    fn reset_figures(&self, names: &[&'static str]);
    /// A setting that can be changed while the server runs.
    fn changeable(&self, _: Changeable) -> i64 {
        0
    }
    /// The least and the greatest that it may be.
    fn changeable_limits(&self, _: Changeable) -> (i64, i64) {
        (0, 0)
    }
    fn change(&self, _: Changeable, _: i64) {}
    /// Slow requests and slow moments; `None`: nobody looks.
    fn observed(&self) -> Option<&Observed> {
        None
    }
    /// Name, numbers and durations of each command of Redis that was asked for, since the last `reset_command_times`.
    fn command_times(&self) -> Vec<CommandTimes> {
        Vec::new()
    }
    /// Codes of errors that clients of Redis were answered, and how often, since then.
    fn error_codes(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn reset_command_times(&self) {}
    /// Lets commands of clients wait until then; not only those that may change something, if `all`.
    fn pause(&self, _now: Millis, _until: Millis, _all: bool) {}
    /// Ends that.
    fn go_on(&self) {}
    /// Whether the common port is a node of a cluster for clients of Redis; shards' own ports always are.
    fn is_cluster(&self) -> bool {
        true
    }
    /// Whether clients may use DEBUG.
    fn has_debug_commands(&self) -> bool {
        false
    }
    /// Whether clients may end the server.
    fn has_shutdown_command(&self) -> bool {
        false
    }
    /// Asks whoever started the server to end it as a signal does.
    fn shut_down(&self) {}
    /// Whether clients have to give a password.
    fn has_password(&self) -> bool {
        false
    }
    /// Whether this is one of a user's.
    fn admits(&self, _user: &[u8], _password: &[u8]) -> bool {
        false
    }
    fn started_at(&self) -> Millis;
    /// 64 random bits of this start: a client that sees another number knows of a restart.
    fn boot_id(&self) -> u64;
    fn transport(&self) -> &'static str;
    /// The Unix socket over which memory is shared, if it is.
    fn shared_memory_path(&self) -> Option<String>;
    /// Whether clients can go on over RDMA.
    fn has_rdma(&self) -> bool {
        false
    }
    /// Adds a script to those that are known: its SHA-1.
    ///
    /// # Errors
    /// The words of an answer that say why not.
    fn load_script(&self, _text: &[u8]) -> Result<[u8; 20], Vec<u8>> {
        Err(b"ERR there are no scripts".to_vec())
    }
    /// The text of a script, if it is known.
    fn script_text(&self, _digest: &[u8; 20]) -> Option<Vec<u8>> {
        None
    }
    fn has_script(&self, _digest: &[u8; 20]) -> bool {
        false
    }
    /// No script is known any more.
    fn flush_scripts(&self) {}
    /// What clients may read of its memory.
    fn readable(&self) -> Vec<Descriptor> {
        Vec::new()
    }
}
