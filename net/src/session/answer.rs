//! What came of a part, before a protocol has words for it.

use super::joint::Compare;
use super::tracking::{NotTracked, Tracked};
use super::walk::NotWalked;
use torc_engine::command::{Outcome, Value};
use torc_proto::native::PairEnd;

/// What a client is given that attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Length of each ring.
    pub ring_bytes: usize,
    /// Whether it may read shards, too.
    pub reads: bool,
}

/// Why a client that asked for shared memory gets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachRefusal {
    /// This server shares none.
    Off,
    /// It did not come over a Unix socket.
    NotLocal,
    /// Not with this user.
    User,
    /// It has some, or has asked before.
    Already,
    /// Rings have what they may of the memory for clients.
    Memory,
    /// The kernel refused what is needed.
    Kernel,
}

/// Their names, in figures.
pub const ATTACH_REFUSALS: [&str; 6] = ["off", "not_local", "user", "already", "memory", "kernel"];

/// Why a client that asked for a queue pair gets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairRefusal {
    /// This server has no RDMA, or had no device at the start.
    Off,
    /// The device is gone.
    Gone,
    /// It has one, or rings, or has asked before.
    Already,
    /// The shard has as many as it may.
    Full,
    /// The client has as many as it may.
    TooMany,
    /// Too many were made for the connection a moment ago.
    TooOften,
    /// They have what they may of the memory for clients.
    Memory,
    /// The client speaks other messages.
    Version,
    /// Nothing that the client told of can be reached.
    Peer,
    /// The device refused what is needed.
    Device,
}

/// Their names, in figures.
pub const PAIR_REFUSALS: [&str; 10] =
    ["off", "gone", "already", "full", "too_many", "too_often", "memory", "version", "peer", "device"];

/// Why databases are not flushed, or not swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFlushed {
    /// All key spaces have been given out, and the next ones still have items of databases that were flushed before.
    NoSpace,
    /// At a shard's own port: the shard has keys of other databases, too.
    NotAlone,
    /// Databases are not swapped there.
    Cluster,
}

/// What became of a command about several keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jointly {
    Done,
    /// A key has a value that must have none.
    NotDone,
    /// There is no such item.
    NoItem,
    /// A value is longer than the command takes.
    TooLong,
    /// All values together are.
    TooMuch,
    /// A key has a value of so many bytes; none, if they are none.
    Length(u64),
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exec {
    /// A command could not be queued, so none is run.
    Aborted,
    /// A watched key has changed, so none is run.
    Changed,
    /// So many commands are run; their answers follow.
    Begun(u32),
    /// Their answers are written.
    Ended,
    /// Its keys were not to be had in time, so none is run.
    TimedOut,
    /// It has more keys than a transaction may have.
    TooManyKeys,
    /// More keys would be watched than may be.
    TooManyWatched,
}

/// What came of a part.
#[derive(Debug)]
pub enum Answer<'s> {
    Outcome(Outcome<'s>),
    /// The key's slot is served elsewhere (only on a shard's own port, never given to memcached).
    Moved {
        slot: u16,
        shard: u16,
        epoch: u64,
    },
    Flushed,
    NotFlushed(NotFlushed),
    Exec(Exec),
    Jointly(Jointly),
    /// What two values have in common: the length of it, and its bytes, or its [`Stretch`](super::Stretch)es.
    Compared {
        asked: Compare,
        length: u64,
        found: &'s [u8],
    },
    /// What a script returns, in the client's words.
    Script(&'s [u8]),
    /// Keys found, as [`torc_engine::words`]; the next cursor, 0 at the end.
    Scanned {
        cursor: u64,
        keys: &'s [u8],
    },
    /// What a walk over the shards has found: see [`Over`](super::Over). A dump is told piece by piece, and `count` is 0 until its last one.
    Walked {
        count: u64,
        found: &'s [u8],
    },
    NotWalked(NotWalked),
    /// A limit of this server was met; `limit` is the name of its setting.
    Busy {
        limit: &'static str,
    },
    /// A change repeated after a restart: nobody knows whether it was done.
    OutcomeUnknown,
    /// A subscription was begun or ended; how many of its kind the connection has.
    Subscribed(u64),
    /// All subscriptions of a kind were ended: the names, as [`torc_engine::words`], and how many others the connection has.
    Unsubscribed {
        names: &'s [u8],
        left: u64,
    },
    /// How many have got the message.
    Published(u64),
    /// What the shards say of their subscriptions, one behind the other, as [`torc_engine::words`]: names, or numbers of eight bytes
    /// (little-endian) in the order in which they were asked for.
    Inspected(&'s [u8]),
    /// How the client is told of keys that it keeps copies of, or why not as it wants; its prefixes, or those that overlap, as
    /// [`torc_engine::words`].
    Tracking {
        outcome: Result<Tracked, NotTracked>,
        words: &'s [u8],
    },
    /// The connection's bytes go through shared memory from here on, or why not.
    Attach(Result<Shares, AttachRefusal>),
    /// The connection's bytes go by a queue pair from here on, or why not.
    Pair(Result<&'s PairEnd, PairRefusal>),
    /// The value of a [`ReadsGiven`](torc_proto::native::ReadsGiven), or why there is none.
    Reads(Result<&'s [u8], PairRefusal>),
    /// Not executed: the part's [`ReplyKind::deadline`](super::part::ReplyKind::deadline) was over before.
    DeadlineExceeded,
    /// Whether the password was right.
    Entered(bool),
    Local,
}

impl Answer<'_> {
    /// Whether it has a value that is lent.
    pub fn is_lent(&self) -> bool {
        let found = match self {
            Answer::Outcome(Outcome::Item(found)) => Some(found),
            Answer::Outcome(
                Outcome::Stored { old, .. } | Outcome::NotStored { old } | Outcome::Deleted { old, .. },
            ) => old.as_ref(),
            _ => None,
        };
        found.is_some_and(|found| matches!(found.value, Value::Chained(_)))
    }
}
