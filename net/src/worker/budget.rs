//! The memory that a shard holds for its clients, and who has to wait when there is no more.
//!
//! ```text
//!   --memory of a shard
//!   | segments, index, bookkeeping             | clients: input, answers, uploads' heads, mail |  floor  |
//!                                              <-- lent to segments while clients do not need it
//! ```
//!
//! Every connection is charged with all memory that it holds ([`Connection::bytes_held`]), and mail and the stock of
//! buffers with theirs. What clients do not use of their share is lent to segments. A part of it ([`FLOOR_SHARE`]) is kept
//! in segments that hold nothing, so that clients have it at once, and eviction frees more while they use it. What is
//! granted to clients at a moment is what the store can really give, so the memory of a shard is never exceeded.
//!
//! | pressure | who waits |
//! |---|---|
//! | none | nobody |
//! | short: three quarters of the grant are in use | clients that hold more than [`SHORT_BYTES`] are not read, except one at a time; those that also move nothing for long are closed, until half is free |
//! | exhausted: all of it | nothing is received from sockets and rings, and other clients that hold input or answers are not read; those that hold most and move least, though they could, are closed |

use super::connection::{CONNECTION_BYTES, Connection};
use super::memory::Hunt;
use super::rounds::{CONNECTION_PARTS, ROUND_CONNECTIONS};
use crate::session::Part;
use crate::transport::ConnId;
use std::collections::VecDeque;
use torc_engine::command::Millis;

/// Share of the memory that is always there for clients.
pub(crate) const FLOOR_SHARE: u64 = 16;
/// A connection may hold so much while memory is short.
pub(super) const SHORT_BYTES: usize = 16 << 10;
/// Parts of a connection in a round while memory is short, and while it is exhausted.
const SHORT_PARTS: usize = 16;
const EXHAUSTED_PARTS: usize = 4;
/// Milliseconds between two looks for connections to close, or to let go on, while memory is exhausted.
pub(super) const LOOK_MS: u64 = 20;
/// What is set aside beyond what is needed: this share of the memory, and so many bytes. Clients come between two looks,
/// and resident memory is known only roughly.
const SPARE_SHARE: u64 = 128;
const SPARE_BYTES: u64 = 512 << 10;
/// The allocator needs about this share more than clients hold, for the gaps between its pieces.
const ALLOCATOR_SHARE: usize = 4;
/// What is set aside shrinks if it is too much by this share of the memory for so many milliseconds.
const SURPLUS_SHARE: u64 = 256;
const ASIDE_MS: u64 = 1000;
/// Share of a shard's memory that the parts of a round may take.
const ROUND_SHARE: u64 = 64;
/// Share of the grant that a turn parses at most, and of what is left until clients hold more than they may: copies take more
/// than what was parsed, which is not given back at once.
const TURN_SHARE: usize = 16;
const COPIED_SHARE: usize = 4;
/// Share of what is left that a turn receives at most: the next ones begin before all of it is parsed.
const WINDOW_SHARE: usize = 8;

/// How much of the grant is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    None,
    Short,
    Exhausted,
}

/// What a shard's clients may hold, and do; bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The shard's part of `--memory`.
    pub(super) memory: usize,
    /// `--client-memory`, this shard's part, and what of it is left while the memory is lowered.
    pub(super) clients: usize,
    pub(super) share: usize,
    /// The memory is lowered by so much.
    pub(super) less: u64,
    /// Always there.
    pub(super) floor: usize,
    /// Fixed memory beside store and clients: receive buffers, the parts of a round, outcomes of numbered changes.
    pub(super) fixed: usize,
    pub(super) lends: bool,
    /// What clients may hold now.
    pub(super) grant: usize,
    /// What the store leaves beside itself, and since when it leaves so much.
    pub(super) aside: u64,
    pub(super) aside_since: Millis,
    /// Charged to connections.
    pub(super) connections: usize,
    /// Mail, the stock of buffers, rings.
    pub(super) common: usize,
    /// Rings in shared memory.
    pub(super) rings: usize,
    /// When hoarders were last looked for, and what was in use then.
    pub(super) looked_at: Millis,
    pub(super) used_at_look: usize,
    /// Whether the last look found a client to close, or one that is being closed.
    pub(super) closes: bool,
    /// The walk for hoarders that is under way.
    pub(super) hunt: Option<Hunt>,
    /// The place where it goes on, or the next one begins: one that is dropped as there is memory again has not been everywhere.
    pub(super) hunt_place: usize,
    /// Since when connections count what they move.
    pub(super) moving_since: Millis,
    pub(super) resumed_at: Millis,
    pub(super) favoured: Option<ConnId>,
    /// Connections that are not read for want of memory.
    pub(super) waiting: VecDeque<ConnId>,
    /// Connections that wait until a long value may be lent, and when they were last let go on.
    pub(super) asking: Vec<ConnId>,
    pub(super) asked_at: Millis,
}

/// What a shard's budget is made from; bytes, of this shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BudgetConfig {
    pub(crate) memory: u64,
    pub(crate) clients: u64,
    pub(crate) floor: u64,
    pub(crate) fixed: u64,
    /// Whether the store has what clients leave of the memory; if not, it has memory of its own.
    pub(crate) lends: bool,
}

/// Most parts of a connection in a round of a shard that has so much memory, bytes.
fn connection_parts(memory: u64) -> usize {
    let room = memory / ROUND_SHARE / (ROUND_CONNECTIONS * size_of::<Part<'_>>()) as u64;
    room.clamp(1, CONNECTION_PARTS as u64) as usize
}

/// Parts of a round of such a shard.
pub(super) fn round_parts(memory: u64) -> usize {
    ROUND_CONNECTIONS * connection_parts(memory)
}

/// Memory that they take, bytes.
pub(crate) fn round_bytes(memory: u64) -> u64 {
    (round_parts(memory) * size_of::<Part<'_>>()) as u64
}

impl Budget {
    pub(crate) fn new(config: BudgetConfig) -> Budget {
        Budget {
            memory: config.memory as usize,
            clients: config.clients as usize,
            share: config.clients as usize,
            less: 0,
            floor: config.floor as usize,
            fixed: config.fixed as usize,
            lends: config.lends,
            grant: if config.lends { config.floor } else { config.clients } as usize,
            aside: 0,
            aside_since: 0,
            connections: 0,
            common: 0,
            rings: 0,
            looked_at: 0,
            used_at_look: 0,
            closes: true,
            hunt: None,
            hunt_place: 0,
            moving_since: 0,
            resumed_at: 0,
            favoured: None,
            waiting: VecDeque::new(),
            asking: Vec::new(),
            asked_at: 0,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.connections + self.common
    }

    /// Charged to connections.
    #[cfg(test)]
    pub(crate) fn charged(&self) -> usize {
        self.connections
    }

    pub(crate) fn grant(&self) -> usize {
        self.grant
    }

    pub(crate) fn pressure(&self) -> Pressure {
        match self.used() {
            used if used >= self.grant => Pressure::Exhausted,
            used if used >= self.grant / 4 * 3 => Pressure::Short,
            _ => Pressure::None,
        }
    }

    /// What of `max` bytes a connection may hold.
    pub(crate) fn limit(&self, max: usize) -> usize {
        match self.pressure() {
            Pressure::None => max,
            Pressure::Short => max.min(SHORT_BYTES),
            Pressure::Exhausted => 0,
        }
    }

    /// How many of `max` parts of a connection are parsed in a round, by the memory that is left: parts that cannot be begun
    /// are kept, and take many times the memory of their unparsed bytes.
    pub(crate) fn parts(&self, max: usize) -> usize {
        let max = max.min(connection_parts(self.memory as u64));
        match self.pressure() {
            Pressure::None => max,
            Pressure::Short => max.min(SHORT_PARTS),
            Pressure::Exhausted => max.min(EXHAUSTED_PARTS),
        }
    }

    /// How many of `max` bytes are parsed in a turn: they may all have to be copied, for other shards or to wait.
    pub(super) fn turn_bytes(&self, max: usize) -> usize {
        let left = self.overdraft().saturating_sub(self.used()) / COPIED_SHARE;
        max.min(self.grant / TURN_SHARE).min(left.max(1))
    }

    /// What clients hold at most before they hold more than they may: what was received already does not fit to the byte.
    fn overdraft(&self) -> usize {
        self.grant / 16 * 17
    }

    /// Whether a connection may hold more than others while memory is short: one may, so that a long request gets done.
    pub(super) fn favours(&mut self, id: ConnId) -> bool {
        *self.favoured.get_or_insert(id) == id
    }

    pub(super) fn no_longer_favours(&mut self, id: ConnId) {
        self.favoured.take_if(|favoured| *favoured == id);
    }

    /// Charges a connection with what it holds now.
    #[inline]
    pub(crate) fn charge(&mut self, conn: &mut Connection) {
        let held = conn.bytes_held();
        self.connections = self.connections - conn.charged + held;
        conn.charged = held;
    }

    /// A connection is gone.
    pub(crate) fn discharge(&mut self, conn: &Connection) {
        self.no_longer_favours(conn.id);
        self.connections -= conn.charged;
    }

    /// The memory is lowered by `less` bytes, and what clients may hold in proportion.
    #[inline]
    pub(super) fn lower(&mut self, less: u64) {
        if less != self.less {
            self.less = less;
            let (clients, memory) = (self.clients as u128, self.memory as u128);
            self.share = (clients * memory.saturating_sub(less.into()) / memory.max(1)) as usize;
        }
    }

    /// As [`Budget::needed`] and some to spare: more at once, less when less was needed for a while, so that segments do
    /// not come and go with every request.
    pub(super) fn aside(&mut self, beyond: i64, now: Millis) -> u64 {
        let memory = self.memory as u64;
        let (needed, spare) = (self.needed(beyond), memory / SPARE_SHARE + SPARE_BYTES);
        let less = needed + spare + memory / SURPLUS_SHARE < self.aside;
        if needed > self.aside || (less && now.saturating_sub(self.aside_since) >= ASIDE_MS) {
            self.aside = needed + spare;
            self.aside_since = now;
        } else if !less {
            self.aside_since = now;
        }
        self.aside
    }

    /// What the store has to leave beside itself, bytes. `beyond`: this shard's part of the resident memory that no account
    /// knows of; below 0 while accounts hold memory that was never touched.
    pub(super) fn needed(&self, beyond: i64) -> u64 {
        ((self.fixed + self.used() + self.used() / ALLOCATOR_SHARE) as i64 + beyond).max(0) as u64
    }

    /// Grants clients what the store leaves, which holds `held` bytes that it cannot give back at once.
    pub(super) fn regrant(&mut self, held: u64, beyond: i64) {
        let left = self.memory as i64 - held as i64 - self.fixed as i64 - beyond;
        let left = left.max(0) as usize / (ALLOCATOR_SHARE + 1) * ALLOCATOR_SHARE;
        let most = self.share.max(self.floor);
        // Closing clients frees neither mail nor stock, so clients are granted something beside them.
        self.grant = left.clamp((self.floor / 2 + self.common).min(most), most);
    }

    /// Bytes that the store, which has `held`, should not have any more.
    #[cfg(test)]
    pub(crate) fn overdue(&self, held: u64, beyond: i64) -> u64 {
        if self.lends { (held + self.needed(beyond)).saturating_sub(self.memory as u64) } else { 0 }
    }

    /// Bytes that clients do not need and that the store, which may take `taken`, may not take either.
    #[cfg(test)]
    pub(crate) fn idle(&self, taken: u64, beyond: i64) -> u64 {
        if self.lends { self.left(beyond).saturating_sub(taken) } else { 0 }
    }

    /// Bytes that the store may fill: without what clients need and what is always there for them. `u64::MAX`: it has
    /// memory of its own.
    #[cfg(test)]
    pub(crate) fn left_to_store(&self, beyond: i64) -> u64 {
        if self.lends { self.left(beyond).saturating_sub(self.floor as u64) } else { u64::MAX }
    }

    /// Bytes that clients do not need and that are not to spare.
    #[cfg(test)]
    pub(super) fn left(&self, beyond: i64) -> u64 {
        let memory = self.memory as u64;
        let spare = memory / SPARE_SHARE + SPARE_BYTES + memory / SURPLUS_SHARE;
        memory.saturating_sub(self.needed(beyond) + spare)
    }

    /// What clients may bring in a turn, bytes: a share of what is left until seven eighths of the grant are in use, and then a
    /// little, which is a whole request of most. What is there needs the rest, to be answered.
    #[inline]
    pub(super) fn receive_window(&self) -> usize {
        let used = self.used();
        if used >= self.grant {
            return 0;
        }
        ((self.grant / 8 * 7).saturating_sub(used) / WINDOW_SHARE).max(1)
    }

    /// Whether clients hold more than they may, as what had been received already did not fit any more.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.used() > self.overdraft()
    }

    /// Whether nothing more is taken from clients, as closing hoarders helps soon. If there is none, waiting would not end.
    pub(super) fn takes_nothing(&self) -> bool {
        self.is_overdrawn() && self.closes
    }

    /// Whether a connection may come with which there are `connections`. While clients hold more than they may, a crowd of
    /// new ones waits until the store has made room.
    pub(crate) fn admits(&self, connections: usize) -> bool {
        let share = if self.is_overdrawn() { self.share / 8 } else { self.share / 2 };
        connections * CONNECTION_BYTES <= share
    }

    /// Whether a connection may have rings that take so many bytes: all of them together may take half of what clients may hold.
    pub(super) fn admits_rings(&self, bytes: usize) -> bool {
        self.rings + bytes <= self.share / 2 && self.pressure() != Pressure::Exhausted
    }

    /// Whether somebody has to be looked after soon, though nothing may happen until then.
    pub(crate) fn is_watched(&self) -> bool {
        !self.waiting.is_empty() || !self.asking.is_empty()
    }

    pub(super) fn is_favoured(&self, id: ConnId) -> bool {
        self.favoured == Some(id)
    }
}

#[cfg(test)]
mod tests;
