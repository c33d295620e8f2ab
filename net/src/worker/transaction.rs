//! Transactions: EXEC, at the shard that the client speaks to.
//!
//! ```text
//!   EXEC --> keys, by shard --> hold (acquire.rs) --all are held, no watched one has changed--> run --> release
//!                                 |                                                             |
//!                                 +-- too long, or the client is gone: release                  +-- goes on without it
//! ```
//!
//! Nothing is done before all keys are held ([`holds.rs`](super::holds)), so giving up leaves no trace. From then on the queued commands are
//! parts of their connection as any others, begun in their order, but for three things: held keys are theirs, what they ask of other shards
//! goes by express, and they do not wait for the client to take answers. They are run to their end, also if the client has gone: its connection
//! then stays as a *ghost*, which no transport knows, until the keys are released.
//!
//! Many commands are run a share of a turn at a time: as their keys are held, nobody sees how far they are, and nobody else waits.

mod acquire;
mod run;

use super::holds::Grant;
use super::owned::OwnedPart;
use crate::session::Transaction;
use std::collections::VecDeque;
use torc_engine::command::Millis;

/// A transaction that has not got its keys after so many milliseconds is given up.
const PATIENCE_MS: Millis = 2_000;
/// Parts that are parsed at a time, and that are begun in a turn.
const PARTS: usize = 64;
const TURN_PARTS: usize = 512;

/// A connection's transaction.
#[derive(Debug)]
pub(crate) struct Running {
    /// What was queued; a command that is a transaction by itself has nothing.
    transaction: Option<Transaction>,
    /// In ascending order.
    shards: Vec<Wanted>,
    /// All shards are asked at once.
    is_at_once: bool,
    /// It holds nothing, as nobody else has a turn before it is done.
    is_undisturbed: bool,
    attempt: u32,
    since: Millis,
    /// It has more keys than it may.
    is_too_large: bool,
    /// A watched key has changed.
    has_changed: bool,
    /// All keys are held, and commands are run.
    is_run: bool,
    /// It is among those that are [given up](super::state::WorkerState::give_up_transactions) after a time.
    has_waited: bool,
    /// Parsed, and not begun.
    left: VecDeque<OwnedPart>,
}

/// What it wants of a shard.
#[derive(Debug)]
struct Wanted {
    shard: u16,
    /// As [`HeldKey`](super::holds::HeldKey)s.
    keys: Vec<u8>,
    held: Held,
}

/// How far it is with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Not,
    Asked,
    Refused,
    Keys,
}

impl Running {
    /// Whether it is so far with one of its shards.
    fn is(&self, far: Held) -> bool {
        self.shards.iter().any(|wanted| wanted.held == far)
    }

    /// Takes the answer of a shard. Whether no other is missing.
    fn take(&mut self, shard: u16, grant: Grant) -> bool {
        let asked = self.shards.iter_mut().find(|wanted| wanted.shard == shard && wanted.held == Held::Asked);
        let Some(asked) = asked else { return false };
        asked.held = if grant == Grant::NotNow { Held::Refused } else { Held::Keys };
        self.has_changed |= grant == Grant::Changed;
        !self.is(Held::Asked)
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        let keys: usize = self.shards.iter().map(|wanted| size_of::<Wanted>() + wanted.keys.capacity()).sum();
        let left: usize = self.left.iter().map(OwnedPart::bytes_held).sum();
        size_of::<Running>() + self.transaction.as_ref().map_or(0, Transaction::bytes_held) + keys + left
    }
}
