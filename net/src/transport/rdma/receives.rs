//! The registered memory of a shard: receives, room for what is read from clients, and messages on their way out.
//!
//! ```text
//!   [ receives: so many for each connection that there may be ][ pulls ][ slots: so many for each connection ]
//! ```
//!
//! A receive is the device's from when it is posted until its completion, then the worker's until it is recycled. As many are posted
//! as all connections together have credits for, so no message of one takes the receive of another.

use crate::transport::BufferId;
use std::io;
use std::sync::Arc;
use torc_rdma::verbs::error::VerbsError;
use torc_rdma::verbs::memory::Buffer;
use torc_rdma::verbs::seam::{Access, QueuePair, SharedReceives, Verbs};
use torc_rdma::verbs::work::Piece;
use torc_rdma::{SPARE_RECEIVES, Slots};

/// Messages that a client may send before credits come back, and their bytes.
pub(crate) const RECEIVES: u16 = 16;
pub(crate) const RECEIVE_BYTES: usize = 4 << 10;
/// Receives of a connection.
const EACH: usize = (RECEIVES + SPARE_RECEIVES) as usize;
/// Room for bytes that are read from clients, and not to where they stay.
const PULLS: usize = 8;
pub(crate) const PULL_BYTES: usize = 16 << 10;
/// Queue pairs after which the memory is made anew when nobody has any.
const GONE_MAX: usize = 256;
/// Messages to one client that are under way, and their bytes.
const SLOTS: usize = 8;
const SLOT_BYTES: usize = 8 << 10;

/// Memory of one connection over RDMA, locked, bytes.
pub const CONNECTION_BYTES: usize = EACH * RECEIVE_BYTES + SLOTS * SLOT_BYTES;
/// The buffers of this pool have numbers from here on, so that they are told from those of sockets and rings.
const FIRST: u16 = 1 << 14;
/// Connections that there may be, so that the numbers are enough.
pub(crate) const CONNECTIONS_MAX: usize = ((1 << 14) - PULLS) / EACH;

/// Whose a receive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    /// The device: posted where all connections take them from, or at the one with this lane.
    Posted(Option<u32>),
    /// The worker, or it waits for it.
    Held,
}

#[derive(Debug)]
pub(super) struct Memory<V: Verbs> {
    // The registration goes before the memory.
    region: V::Region,
    buffer: Arc<Buffer>,
    connections: usize,
    owners: Vec<Owner>,
    free: Vec<u16>,
    /// Receives that are posted, and how many should be.
    posted: usize,
    wanted: usize,
    free_pulls: Vec<u16>,
    /// Lanes of slots that no connection has.
    free_lanes: Vec<u32>,
    /// Queue pairs that have gone. Some devices forget a receive of a shared queue that a message was coming into.
    gone: usize,
}

impl<V: Verbs> Memory<V> {
    pub(super) fn new(device: &V, domain: &V::Domain, connections: usize) -> Result<Memory<V>, VerbsError> {
        let connections = connections.clamp(1, CONNECTIONS_MAX);
        let receives = connections * EACH;
        let bytes = receives * RECEIVE_BYTES + PULLS * PULL_BYTES + connections * SLOTS * SLOT_BYTES;
        let buffer = Buffer::new(bytes).map_err(|error: io::Error| VerbsError::memory(&error))?;
        let region = device.register(domain, buffer.clone(), Access::Local)?;
        Ok(Memory {
            region,
            buffer,
            connections,
            owners: vec![Owner::Nobody; receives],
            free: (0..receives as u16).rev().collect(),
            posted: 0,
            wanted: 0,
            free_pulls: (receives as u16..(receives + PULLS) as u16).rev().collect(),
            free_lanes: (0..connections as u32).rev().collect(),
            gone: 0,
        })
    }

    pub(super) fn receives(&self) -> usize {
        self.owners.len()
    }

    /// Work requests of all connections together.
    pub(super) fn requests(&self) -> usize {
        self.connections * Self::slots(self, 0).requests() as usize
    }

    pub(super) fn region(&self) -> &V::Region {
        &self.region
    }

    pub(super) fn memory(&self) -> (&Buffer, &V::Region) {
        (&self.buffer, &self.region)
    }

    /// A lane for a new connection.
    pub(super) fn take_lane(&mut self) -> Option<u32> {
        let lane = self.free_lanes.pop()?;
        self.wanted += EACH;
        Some(lane)
    }

    /// The connection is gone, and its queue pair. Receives of its own are free.
    pub(super) fn give_lane(&mut self, lane: u32) {
        self.free_lanes.push(lane);
        self.wanted -= EACH;
        self.gone += 1;
        for number in 0..self.owners.len() {
            if self.owners[number] == Owner::Posted(Some(lane)) {
                self.posted -= 1;
                self.set_free(number as u16);
            }
        }
    }

    pub(super) fn slots(&self, lane: u32) -> Slots {
        let at = self.receives() * RECEIVE_BYTES + PULLS * PULL_BYTES + lane as usize * SLOTS * SLOT_BYTES;
        Slots { at, count: SLOTS, bytes: SLOT_BYTES }
    }

    /// Posts receives until there are enough for all connections.
    pub(super) fn fill_shared(&mut self, receives: &V::Receives) -> Result<(), VerbsError> {
        while self.posted < self.wanted
            && let Some(number) = self.free.pop()
        {
            let piece = self.piece(number);
            if let Err(error) = receives.post(u64::from(number) | super::RECEIVE, &[piece]) {
                self.free.push(number);
                return Err(error);
            }
            self.set_posted(number, None);
        }
        Ok(())
    }

    /// Posts the receives of a connection that has its own.
    pub(super) fn fill_own(&mut self, pair: &V::Pair, lane: u32) -> Result<(), VerbsError> {
        (0..EACH).try_for_each(|_| self.post_own_next(pair, lane))
    }

    fn post_own(&mut self, pair: &V::Pair, lane: u32, number: u16) -> Result<(), VerbsError> {
        let posted = pair.post_receive(u64::from(number) | super::RECEIVE, &[self.piece(number)]);
        match posted {
            Ok(()) => self.set_posted(number, Some(lane)),
            Err(_) => self.set_free(number),
        }
        posted
    }

    /// Posts one more receive of a connection that has its own.
    pub(super) fn post_own_next(&mut self, pair: &V::Pair, lane: u32) -> Result<(), VerbsError> {
        match self.free.pop() {
            Some(number) => self.post_own(pair, lane, number),
            None => Ok(()),
        }
    }

    /// Whether so many queue pairs have gone that receives of others may be missing: time to begin anew, if nobody has any.
    pub(super) fn may_have_lost(&self) -> bool {
        self.gone >= GONE_MAX
    }

    /// Whether the worker has none of it.
    pub(super) fn is_all_back(&self) -> bool {
        self.free_pulls.len() == PULLS && !self.owners.contains(&Owner::Held)
    }

    /// Whether as many receives are posted as there should be.
    #[cfg(test)]
    pub(super) fn is_full(&self) -> bool {
        self.posted >= self.wanted || self.free.is_empty()
    }

    /// Whether each receive is free or posted, and counted once.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        let count = |of: Owner| self.owners.iter().filter(|owner| **owner == of).count();
        let is_counted = self.posted == count(Owner::Posted(None));
        is_counted && count(Owner::Nobody) == self.free.len() && self.free_lanes.len() == self.connections
    }

    fn piece(&self, number: u16) -> Piece<'_, V::Region> {
        Piece { region: &self.region, at: usize::from(number) * RECEIVE_BYTES, len: RECEIVE_BYTES }
    }

    fn set_posted(&mut self, number: u16, lane: Option<u32>) {
        self.owners[usize::from(number)] = Owner::Posted(lane);
        self.posted += 1;
    }

    fn set_free(&mut self, number: u16) {
        self.owners[usize::from(number)] = Owner::Nobody;
        self.free.push(number);
    }

    /// A receive has completed: it is ours. False: it was not the device's.
    #[must_use]
    pub(super) fn take(&mut self, number: u16) -> bool {
        match self.owners.get_mut(usize::from(number)) {
            Some(owner @ Owner::Posted(_)) => {
                *owner = Owner::Held;
                self.posted -= 1;
                true
            }
            _ => false,
        }
    }

    /// The first bytes of a message that is held.
    pub(super) fn word(&self, number: u16) -> [u8; 4] {
        let mut word = [0; 4];
        self.buffer.read(usize::from(number) * RECEIVE_BYTES, &mut word);
        word
    }

    /// A held receive is needed no more.
    pub(super) fn release(&mut self, number: u16) {
        debug_assert_eq!(self.owners[usize::from(number)], Owner::Held);
        self.set_free(number);
    }

    pub(super) fn has_pull(&self) -> bool {
        !self.free_pulls.is_empty()
    }

    pub(super) fn take_pull(&mut self) -> Option<u16> {
        self.free_pulls.pop()
    }

    pub(super) fn release_pull(&mut self, number: u16) {
        self.free_pulls.push(number);
    }

    pub(super) fn is_pull(&self, number: u16) -> bool {
        usize::from(number) >= self.owners.len()
    }

    /// Where a pull lies in the region.
    pub(super) fn pull_at(&self, number: u16) -> usize {
        self.receives() * RECEIVE_BYTES + (usize::from(number) - self.receives()) * PULL_BYTES
    }

    /// The bytes of a buffer that the worker has.
    pub(super) fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        let number = number(buffer);
        let at = match self.is_pull(number) {
            true => self.pull_at(number),
            false => usize::from(number) * RECEIVE_BYTES,
        };
        // SAFETY: the worker has the buffer, so no request that is posted names it; others have no right to the region.
        unsafe { self.buffer.quiet_bytes(at, len as usize) }
    }
}

/// The buffer that the worker is told of.
pub(super) fn buffer(number: u16) -> BufferId {
    BufferId(FIRST | number)
}

pub(super) fn number(buffer: BufferId) -> u16 {
    buffer.0 & !FIRST
}

/// Whether a buffer is one of these.
pub(super) fn is_own(buffer: BufferId) -> bool {
    buffer.0 & (FIRST | 1 << 15) == FIRST
}
