//! What the connections of a shard have in common, and how one gets its queue pair.

use super::ending::Departing;
use super::numbers::Numbers;
use super::receives::{CONNECTION_BYTES, Memory, RECEIVE_BYTES, RECEIVES};
use super::{Conn, ConnId, NotPaired, Rdma, Transport};
use crate::rdma::{Arenas, Opened};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use torc_proto::native::PairEnd;
use torc_rdma::Refused;
use torc_rdma::server::{Common, ServerEnd};
use torc_rdma::verbs::completion::Completion;
use torc_rdma::verbs::error::VerbsError;
use torc_rdma::verbs::seam::{CompletionQueue, Verbs};

/// Completions that are taken in a turn.
pub(super) const COMPLETIONS: usize = 128;

#[derive(Debug)]
pub(super) struct Hub<V: Verbs> {
    // In the order in which they go: nothing that another needs goes first.
    /// Queue pairs of connections that have ended; the first since longest.
    pub(super) departing: VecDeque<Departing<V>>,
    pub(super) receives: Option<V::Receives>,
    pub(super) queue: V::Queue,
    pub(super) memory: Memory<V>,
    pub(super) arenas: Arc<Arenas<V>>,
    pub(super) opened: Arc<Opened<V>>,
    pub(super) numbers: Numbers,
    /// Whose the receives are that the worker holds.
    pub(super) holders: Vec<ConnId>,
    /// Taken from the queue, and not looked at.
    pub(super) completions: Vec<Completion>,
    /// Those that have something lent, and no pull is free to read it to.
    pub(super) wait_for_pull: Vec<ConnId>,
    /// A notice was asked for, and has not come.
    pub(super) armed: bool,
    /// The queue has failed: nothing comes from it any more.
    pub(super) failed: Option<VerbsError>,
}

impl<V: Verbs> Hub<V> {
    /// Registers memory for so many connections, or fewer if the device has not enough.
    fn open(opened: Arc<Opened<V>>, connections: usize) -> Result<Hub<V>, VerbsError> {
        let limits = opened.device.limits();
        let memory = Memory::<V>::new(&opened.device, &opened.domain, connections)?;
        let completions = memory.receives() + memory.requests() + 1;
        let completions = u32::try_from(completions).unwrap_or(u32::MAX).min(limits.completions);
        let queue = opened.device.completion_queue(completions)?;
        let shared = if limits.shared_receives as usize >= memory.receives() {
            Some(opened.device.shared_receives(&opened.domain, memory.receives() as u32)?)
        } else {
            None
        };
        Ok(Hub {
            departing: VecDeque::new(),
            receives: shared,
            queue,
            holders: vec![ConnId { index: u32::MAX, generation: 0 }; memory.receives()],
            memory,
            arenas: opened.arenas(),
            opened,
            numbers: Numbers::new(connections),
            completions: Vec::with_capacity(COMPLETIONS),
            wait_for_pull: Vec::new(),
            armed: false,
            failed: None,
        })
    }

    /// Whether the queue has something; what it has is kept.
    pub(super) fn has_completions(&mut self) -> bool {
        if self.completions.is_empty() {
            self.completions.resize(COMPLETIONS, Completion::NONE);
            let count = self.queue.poll(&mut self.completions);
            let count = count.unwrap_or_else(|error| {
                self.failed = Some(error);
                0
            });
            self.completions.truncate(count);
        }
        !self.completions.is_empty() || self.failed.is_some()
    }

    /// Posts the receives that nobody else posts: those that came to connections which end. Without them a client that sent more than
    /// it may would have taken those of all others.
    pub(super) fn fill_shared(&mut self) {
        if let Some(receives) = &self.receives
            && let Err(error) = self.memory.fill_shared(receives)
        {
            self.failed = Some(error);
        }
    }

    /// Takes all that the queue has before a queue pair goes: some devices forget the completions of one that is gone, and with them
    /// receives that all connections need.
    pub(super) fn take_all(&mut self) {
        let most = self.memory.receives() + self.memory.requests();
        while self.completions.len() <= most && self.failed.is_none() {
            let before = self.completions.len();
            self.completions.resize(before + COMPLETIONS, Completion::NONE);
            let count = self.queue.poll(&mut self.completions[before..]).unwrap_or_else(|error| {
                self.failed = Some(error);
                0
            });
            self.completions.truncate(before + count);
            if count < COMPLETIONS {
                break;
            }
        }
    }

    /// Asks for a notice, if that was not done; false: something came meanwhile.
    pub(super) fn arm(&mut self) -> bool {
        if !self.armed {
            match self.queue.arm(false) {
                Ok(()) => self.armed = true,
                Err(error) => self.failed = Some(error),
            }
        }
        !self.has_completions()
    }

    /// Takes the notices that have come.
    pub(super) fn hear_notices(&mut self) {
        if self.armed {
            match self.queue.take_notices() {
                Ok(has_come) => self.armed = !has_come,
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

impl<T: Transport, V: Verbs> Rdma<T, V> {
    /// Gives a connection a queue pair; what its client is to be told, and the memory that it takes.
    pub(super) fn make_pair(
        &mut self,
        conn: ConnId,
        client: &PairEnd,
    ) -> Result<(PairEnd, usize), NotPaired> {
        if self.conns.has(conn) {
            return Err(NotPaired::Already);
        }
        self.open_hub()?;
        let Some(hub) = &mut self.hub else { return Err(NotPaired::Off) };
        let lane = hub.memory.take_lane().or_else(|| {
            hub.end_departing();
            hub.memory.take_lane()
        });
        let lane = lane.ok_or(NotPaired::Full)?;
        let made = hub.connect(lane, client, self.config.shard);
        let (end, answer) = match made {
            Ok(made) => made,
            Err(refused) => {
                hub.memory.give_lane(lane);
                return Err(NotPaired::Refused(refused));
            }
        };
        hub.numbers.insert(end.number(), conn);
        self.conns.insert(conn, Conn::new(end, lane));
        self.config.stats.pairs.add(1);
        self.config.stats.pair_bytes.add(CONNECTION_BYTES as u64);
        Ok((answer, CONNECTION_BYTES))
    }

    /// Opens what the shard needs of the device, if there is one and that was not done.
    fn open_hub(&mut self) -> Result<(), NotPaired> {
        if self.hub.is_some() {
            return if self.generation == self.config.device.generation() {
                Ok(())
            } else {
                Err(NotPaired::Gone)
            };
        }
        let (generation, opened) = self.config.device.opened();
        let opened = opened.ok_or(NotPaired::Gone)?;
        let hub = Hub::open(opened, self.config.connections_max).map_err(Refused::from)?;
        if let Some(notices) = hub.queue.notices() {
            self.sockets.watch(notices).map_err(NotPaired::Failed)?;
        }
        (self.hub, self.generation) = (Some(hub), generation);
        Ok(())
    }
}

impl<V: Verbs> Hub<V> {
    fn connect(
        &mut self,
        lane: u32,
        client: &PairEnd,
        shard: u16,
    ) -> Result<(ServerEnd<V>, PairEnd), Refused> {
        let slots = self.memory.slots(lane);
        if let Some(receives) = &self.receives {
            self.memory.fill_shared(receives)?;
        }
        let common = Common {
            device: &self.opened.device,
            domain: &self.opened.domain,
            place: &self.opened.place,
            queue: &self.queue,
            shared: self.receives.as_ref(),
            receives: RECEIVES,
            receive_bytes: RECEIVE_BYTES as u32,
            shard,
        };
        let (memory, is_own) = (&mut self.memory, self.receives.is_none());
        let post_own = |pair: &V::Pair| match is_own {
            true => Ok(memory.fill_own(pair, lane)?),
            false => Ok(()),
        };
        ServerEnd::new(&common, &slots, RandomState::new().build_hasher().finish() as u32, client, post_own)
    }
}
