//! A queue pair that is driven by hand, for the other side of either end.

use super::hub::Registration;
use super::world::place;
use crate::note::{Kind, NUMBERS, Note};
use torc_proto::native::pair::{PairEnd, Window};
use torc_verbs::region::Region;
use torc_verbs::seam::{Access, PairOptions, QueuePair, Verbs};
use torc_verbs::sim::{Device, Network, Pair, Queue};
use torc_verbs::work::{Action, Payload, Piece, Remote, Work};

const MEMORY_BYTES: usize = 1 << 16;
const REQUESTS: u32 = 2000;
/// Receives, of so many bytes each, at the end of the memory.
const RECEIVES: usize = 100;
const RECEIVE_BYTES: usize = 256;

pub(super) struct Raw {
    // In the order in which they are dropped.
    pair: Pair,
    _queue: Queue,
    pub(super) memory: Registration,
    pub(super) device: Device,
    /// Of its next message.
    pub(super) number: u32,
    /// What it says that it is.
    pub(super) own: PairEnd,
}

impl Raw {
    pub(super) fn new(network: &Network) -> Raw {
        let device = network.add_device();
        let domain = device.domain().expect("a domain");
        let queue = device.completion_queue(2 * REQUESTS).expect("a queue");
        let memory = Registration::new(&device, &domain, MEMORY_BYTES, Access::RemoteReadWrite);
        let options = PairOptions {
            send_queue: &queue,
            receive_queue: &queue,
            shared: None,
            sends: REQUESTS,
            receives: RECEIVES as u32,
            inline_bytes: 0,
        };
        let pair = device.queue_pair(&domain, &options).expect("a queue pair");
        pair.initialize(1, Access::RemoteReadWrite).expect("initialized");
        for number in 0..RECEIVES {
            let at = MEMORY_BYTES - (number + 1) * RECEIVE_BYTES;
            let piece = Piece { region: &memory.region, at, len: RECEIVE_BYTES };
            pair.post_receive(number as u64, &[piece]).expect("posted");
        }
        let own = PairEnd {
            receives: 16,
            receive_bytes: RECEIVE_BYTES as u32,
            ..place(&device).end(pair.number(), 77)
        };
        Raw { pair, _queue: queue, memory, device, number: 0, own }
    }

    /// Its memory from there on, as a window.
    pub(super) fn window(&self, at: usize, bytes: u32) -> Window {
        Window {
            address: self.memory.region.address() + at as u64,
            key: self.memory.region.remote_key(),
            bytes,
        }
    }

    pub(super) fn join(&self, peer: &PairEnd) {
        place(&self.device).join(&self.pair, &self.own, peer).expect("joined");
    }

    pub(super) fn post(&self, action: Action<'_, torc_verbs::sim::Registered>) {
        self.pair.post(&[Work { id: 0, action, signaled: true, solicited: false }]).expect("posted");
    }

    pub(super) fn note(&mut self, kind: Kind, credits: u32, units: u32) -> Option<u32> {
        let number = self.number;
        self.number = (number + 1) % NUMBERS;
        Some(Note { kind, number, credits, units }.encode())
    }

    /// Sends bytes with whatever immediate.
    pub(super) fn send(&self, immediate: Option<u32>, bytes: &[u8]) {
        self.memory.memory.write(0, bytes);
        let piece = [Piece { region: &self.memory.region, at: 0, len: bytes.len() }];
        self.post(Action::Send { payload: Payload::Pieces(&piece), immediate });
    }

    pub(super) fn say(&mut self, kind: Kind, bytes: &[u8]) {
        let immediate = self.note(kind, 0, 0);
        self.send(immediate, bytes);
    }

    pub(super) fn give(&mut self, kind: Kind, credits: u32, units: u32) {
        let immediate = self.note(kind, credits, units);
        self.send(immediate, &[]);
    }

    /// Writes bytes to a place of the peer's.
    pub(super) fn write(&self, immediate: Option<u32>, to: Remote, len: usize) {
        let piece = [Piece { region: &self.memory.region, at: 0, len }];
        self.post(Action::Write { payload: Payload::Pieces(&piece), to, immediate });
    }

    pub(super) fn read(&self, from: Remote, len: usize) {
        let piece = [Piece { region: &self.memory.region, at: 0, len }];
        self.post(Action::Read { into: &piece, from });
    }
}
