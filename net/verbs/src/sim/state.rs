//! Tables of what there is.

use super::Weather;
use super::random::Random;
use crate::completion::{Completion, Done, Event, Failure};
use crate::gid::Gid;
use crate::memory::Memory;
use crate::path::{Path, Peer};
use crate::seam::{Access, PairState};
use crate::work::Remote;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct DeviceState {
    pub(super) is_up: bool,
    pub(super) is_removed: bool,
    pub(super) events: VecDeque<Event>,
}

impl DeviceState {
    /// The number of its port.
    pub(super) const PORT: u8 = 1;

    /// The GID of a device's port: 10.0.0.1 and so on.
    pub(super) fn gid(device: usize) -> Gid {
        let [.., high, low] = (device as u16 + 1).to_be_bytes();
        Gid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, high, low])
    }
}

pub(super) struct RegionState {
    pub(super) domain: u32,
    pub(super) memory: Arc<dyn Memory>,
    pub(super) access: Access,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) completions: VecDeque<Seen>,
    pub(super) room: usize,
    /// A notice is asked for; true: only of what is solicited.
    pub(super) armed: Option<bool>,
    pub(super) is_noticed: bool,
    pub(super) has_overrun: bool,
}

/// A completion that can be polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) completion: Completion,
    /// Requests of the pair's send queue that it gives the room back of.
    pub(super) frees: u32,
}

/// A completion that cannot be seen yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) at: u64,
    pub(super) queue: u32,
    pub(super) solicited: bool,
    pub(super) seen: Seen,
}

/// A part of memory by the key that it was posted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPiece {
    pub(super) key: u32,
    pub(super) address: u64,
    pub(super) len: usize,
}

#[derive(Debug)]
pub(super) struct Receive {
    pub(super) id: u64,
    pub(super) pieces: Vec<RawPiece>,
}

#[derive(Debug, Default)]
pub(super) struct ReceivesState {
    pub(super) posted: VecDeque<Receive>,
    pub(super) room: usize,
}

/// What a request is to do.
#[derive(Debug)]
pub(super) enum Kind {
    Send { immediate: Option<u32> },
    Write { to: Remote, immediate: Option<u32> },
    Read { from: Remote },
}

#[derive(Debug)]
pub(super) enum Bytes {
    /// Copied when it was posted.
    Inline(Vec<u8>),
    Pieces(Vec<RawPiece>),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) kind: Kind,
    pub(super) bytes: Bytes,
    pub(super) signaled: bool,
    pub(super) solicited: bool,
    /// What of it is under way.
    pub(super) transfer: Option<Transfer>,
    /// It is done, before one that was posted before it.
    pub(super) done: Option<Done>,
}

impl Request {
    pub(super) fn is_read(&self) -> bool {
        matches!(self.kind, Kind::Read { .. })
    }
}

/// What is under way of a request.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The other end, as it was found.
    pub(super) to: u32,
    /// What of the bytes is not copied yet, in the order in which it will be.
    pub(super) parts: Vec<(usize, usize)>,
    pub(super) len: usize,
}

pub(super) struct PairRecord {
    pub(super) device: usize,
    pub(super) domain: u32,
    pub(super) state: PairState,
    pub(super) access: Access,
    pub(super) path: Option<Path>,
    pub(super) peer: Option<Peer>,
    pub(super) send_queue: u32,
    pub(super) receive_queue: u32,
    /// Its own, or a shared one.
    pub(super) receives: u32,
    pub(super) is_shared: bool,
    /// The receive that a message is coming into.
    pub(super) receiving: Option<Receive>,
    pub(super) room: u32,
    /// Requests whose room is not given back.
    pub(super) taken: u32,
    /// Requests that are over, and covered by no completion yet.
    pub(super) silent: u32,
    pub(super) requests: VecDeque<Request>,
    /// When a request goes on, and how many more times it is tried.
    pub(super) ready_at: u64,
    pub(super) retries: u8,
    pub(super) not_ready_retries: u8,
    /// In the order in which they will be seen.
    pub(super) due: VecDeque<Due>,
}

pub(super) struct State {
    pub(super) random: Random,
    pub(super) weather: Weather,
    pub(super) now: u64,
    pub(super) devices: Vec<DeviceState>,
    pub(super) regions: BTreeMap<u32, RegionState>,
    pub(super) queues: BTreeMap<u32, QueueState>,
    pub(super) receives: BTreeMap<u32, ReceivesState>,
    pub(super) pairs: BTreeMap<u32, PairRecord>,
    numbers: u32,
}

impl State {
    pub(super) fn new(random: Random, weather: Weather) -> State {
        State {
            random,
            weather,
            now: 0,
            devices: Vec::new(),
            regions: BTreeMap::new(),
            queues: BTreeMap::new(),
            receives: BTreeMap::new(),
            pairs: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// A number that nothing had before: of a domain, a queue, a queue pair.
    pub(super) fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A key that nobody can guess, and no region had before.
    pub(super) fn key(&mut self) -> u32 {
        let low = self.number() & 0xffff;
        (self.random.next() as u32) << 16 | low
    }

    pub(super) fn delay(&mut self) -> u64 {
        self.now + self.random.below(self.weather.delay_max + 1)
    }

    /// A request of a pair is done; it is over when all before it are.
    pub(super) fn done(&mut self, pair: u32, at: usize, done: Done) {
        if let Some(request) = self.request(pair, at) {
            request.done = Some(done);
        }
        while let Some(done) = self.request(pair, 0).and_then(|request| request.done.take()) {
            self.finish(pair, Ok(done));
        }
    }

    fn request(&mut self, pair: u32, at: usize) -> Option<&mut Request> {
        self.pairs.get_mut(&pair)?.requests.get_mut(at)
    }

    /// The first request of a pair is over: its completion will be seen, if it has one.
    pub(super) fn finish(&mut self, pair: u32, result: Result<Done, Failure>) {
        let at = self.delay();
        let Some(record) = self.pairs.get_mut(&pair) else { return };
        let Some(request) = record.requests.pop_front() else { return };
        record.silent += 1;
        record.ready_at = at;
        if request.signaled || result.is_err() {
            let completion = Completion { id: request.id, pair, result };
            let seen = Seen { completion, frees: std::mem::take(&mut record.silent) };
            let queue = record.send_queue;
            record.due.push_back(Due { at, queue, solicited: false, seen });
        }
    }

    /// A message begins to come into a receive.
    pub(super) fn receiving(&mut self, pair: u32, receive: Receive) {
        if let Some(record) = self.pairs.get_mut(&pair) {
            record.receiving = Some(receive);
        }
    }

    /// And it is there.
    pub(super) fn received_all(&mut self, pair: u32) -> Option<Receive> {
        self.pairs.get_mut(&pair)?.receiving.take()
    }

    /// A receive of a pair is over.
    pub(super) fn received(&mut self, pair: u32, id: u64, result: Result<Done, Failure>, solicited: bool) {
        let at = self.delay();
        let Some(record) = self.pairs.get_mut(&pair) else { return };
        let seen = Seen { completion: Completion { id, pair, result }, frees: 0 };
        record.due.push_back(Due { at, queue: record.receive_queue, solicited, seen });
    }

    /// A pair fails: what was posted is flushed, and what it took of a shared queue.
    pub(super) fn fail(&mut self, pair: u32) {
        let Some(record) = self.pairs.get_mut(&pair) else { return };
        if record.state == PairState::Failed {
            return;
        }
        record.state = PairState::Failed;
        let own = (!record.is_shared).then_some(record.receives);
        let receiving = record.receiving.take();
        for _ in 0..record.requests.len() {
            self.finish(pair, Err(Failure::Flushed));
        }
        let flushed =
            own.and_then(|own| self.receives.get_mut(&own)).map(|own| std::mem::take(&mut own.posted));
        for receive in receiving.into_iter().chain(flushed.into_iter().flatten()) {
            self.received(pair, receive.id, Err(Failure::Flushed), false);
        }
    }

    /// And its device tells so, for nothing else does.
    pub(super) fn fail_and_tell(&mut self, pair: u32) {
        let Some(device) = self.pairs.get(&pair).map(|record| record.device) else { return };
        self.devices[device].events.push_back(Event::PairFailed { pair });
        self.fail(pair);
    }

    pub(super) fn remove(&mut self, device: usize) {
        let state = &mut self.devices[device];
        if std::mem::replace(&mut state.is_removed, true) {
            return;
        }
        state.is_up = false;
        state.events.push_back(Event::DeviceFailed);
        let pairs: Vec<u32> =
            self.pairs.iter().filter(|(_, pair)| pair.device == device).map(|(&number, _)| number).collect();
        for pair in pairs {
            self.fail(pair);
        }
    }
}
