//! Client-side caching: clients keep copies of what they have read, and are told when it changes.
//!
//! ```text
//!   read by a client that is told --> its key is put into the table of the shard that owns it --> executed there
//!   change of a key in the table  --> news for the client's shard, before any answer of the turn leaves --> a push to the client
//! ```
//!
//! What holds: a client that has read a value finds, before any answer that saw a later change of anything, that the value's key has changed.
//! So [`news`](super::mail) is shown to another shard before this one's answers are, and a shard takes what has come before it takes an
//! answer, and before it begins anything for a client that is told. Such a client's reads are executed by the owner of the key, never by
//! its own shard from the other's memory.
//!
//! A push about a key stands before the answers that the client waits for, and again [behind those](waiting) that may be its value as it was;
//! a push that all may have changed behind each of them. What the client itself changes is told behind the answer to that, as in Redis.
//!
//! Nothing is forgotten that was not told: see [`table`]. When more is to be told than there is room for, the client is told that all may
//! have changed. A client that does not take what it is told is closed ([`push.rs`](super::push)).

mod client;
mod news;
mod owner;
mod table;
mod telling;
mod waiting;

use crate::session::{Tracked, Wanted, Which};
use crate::transport::ConnId;
use crate::worker::holds::Holder;
use torc_engine::words;
use waiting::Waiting;

/// What one shard is told in a turn, bytes; beyond that, that all may have changed.
const NEWS_BYTES_MAX: usize = 256 << 10;
/// A shard's memory is so many times as much as its table may take.
const TABLE_SHARE: u64 = 32;
/// Places of the table that are looked at in a turn for clients that are gone.
const LEAVING_PLACES: usize = 1000;

/// How a client is told.
#[derive(Debug)]
pub(crate) struct Tracking {
    wanted: Wanted,
    /// Who is told in its place.
    target: Option<Holder>,
    /// That one is gone.
    is_broken: bool,
    pub(super) waiting: Waiting,
}

impl Tracking {
    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        let prefixes = &self.wanted.prefixes;
        let bytes: usize = prefixes.iter().map(|prefix| prefix.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Tracking>() + bytes + self.waiting.bytes_held()
    }

    pub(super) fn told(&self) -> Tracked {
        self.wanted.tracked(self.is_broken)
    }

    /// Whether its client wants to be told of what it reads now.
    pub(in crate::worker) fn reads(&self) -> bool {
        self.wanted.reads()
    }

    pub(super) fn is_by_prefixes(&self) -> bool {
        self.wanted.mode.which == Which::Prefixes
    }

    /// Whether another client is told in its place.
    pub(super) fn is_redirected(&self) -> bool {
        self.target.is_some()
    }
}

/// Of this shard's clients, those that are told.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    /// Those with a mode.
    clients: Vec<ConnId>,
    /// Those among them that are told by prefixes, and how many these are.
    by_prefixes: Vec<ConnId>,
    prefixes: usize,
    /// Those that others are told by.
    targets: Vec<ConnId>,
    /// This shard has a [`Table`](table::Table): somebody is told, here or elsewhere.
    pub(super) has_table: bool,
}

impl Trackers {
    /// Whether any client of this shard is told anything.
    pub(super) fn is_any(&self) -> bool {
        !self.clients.is_empty() || !self.targets.is_empty()
    }

    /// Memory that it takes, bytes.
    fn bytes_held(&self) -> usize {
        let ids = self.clients.capacity() + self.by_prefixes.capacity() + self.targets.capacity();
        ids * size_of::<ConnId>()
    }
}

pub(super) fn add_word(word: &[u8], list: &mut Vec<u8>) {
    words::begin(word.len() as u32, list);
    list.extend_from_slice(word);
}

/// Who makes changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writer {
    holder: Holder,
    /// The place in its queue where a change is answered; `None`: it is answered at once.
    place: Option<u32>,
}

/// Who has changed a key that a client is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Others,
    /// The client itself, by what is answered at this place of its queue.
    Itself(Option<u32>),
}

/// Whether a read that another shard is asked for is put into its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tracks {
    #[default]
    No,
    Yes,
    /// And its client is not told of its own changes.
    NotOwn,
}

#[cfg(test)]
mod tests;
