//! Both ends of a connection, as most tests want them.

use crate::world::{Memory, World, completion};
use torc_verbs::completion::{Done, Failure};
use torc_verbs::memory::Buffer;
use torc_verbs::path::{Path, Peer};
use torc_verbs::region::Region;
use torc_verbs::seam::{Access, PairOptions, QueuePair, Verbs};
use torc_verbs::work::{Action, Payload, Piece, Remote, Work};

pub(crate) struct End<V: Verbs> {
    // In the order in which they are dropped: nothing that another needs goes first.
    pub(crate) pair: V::Pair,
    pub(crate) region: V::Region,
    /// Of the requests that were sent.
    pub(crate) sends: V::Queue,
    pub(crate) receives: V::Queue,
    pub(crate) domain: V::Domain,
    pub(crate) memory: Memory,
    pub(crate) device: V,
}

/// What a connection is to be like.
pub(crate) struct Wanted {
    pub(crate) memory_bytes: usize,
    /// What each end grants the other, in its region and its queue pair.
    pub(crate) access: Access,
    pub(crate) sends: u32,
    pub(crate) change_path: fn(&mut Path),
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { memory_bytes: 1 << 16, access: Access::Local, sends: 64, change_path: |_| {} }
    }
}

pub(crate) const FIRST: [u32; 2] = [0x00ab_cdef, 0x0012_3456];

/// One end, not connected.
pub(crate) fn end<W: World>(world: &W, at: usize, wanted: &Wanted) -> End<W::Device> {
    let device = world.open(at);
    let domain = device.domain().expect("a domain");
    let (sends, receives) =
        (device.completion_queue(256).expect("a queue"), device.completion_queue(256).expect("a queue"));
    let memory = Buffer::new(wanted.memory_bytes).expect("memory");
    let region = device.register(&domain, memory.clone(), wanted.access).expect("a region");
    let options = PairOptions {
        send_queue: &sends,
        receive_queue: &receives,
        shared: None,
        sends: wanted.sends,
        receives: 64,
        inline_bytes: 64,
    };
    let pair = device.queue_pair(&domain, &options).expect("a queue pair");
    End { pair, region, sends, receives, domain, memory, device }
}

/// Who this end is, to the other.
pub(crate) fn peer<W: World>(world: &W, at: usize, device: &W::Device, number: u32) -> Peer {
    let path = world.path(at);
    Peer { number, first: FIRST[at], gid: device.gid(path.port, path.gid).expect("a GID") }
}

pub(crate) fn path<W: World>(world: &W, at: usize, change: fn(&mut Path)) -> Path {
    let mut path = Path { first: FIRST[at], ..world.path(at) };
    change(&mut path);
    path
}

/// Brings both pairs to where they can send.
pub(crate) fn join<W: World>(world: &W, ends: &[End<W::Device>; 2], wanted: &Wanted) {
    for at in 0..2 {
        let (own, other) = (&ends[at], &ends[1 - at]);
        let path = path(world, at, wanted.change_path);
        own.pair.initialize(path.port, wanted.access).expect("initialized");
        let peer = peer(world, 1 - at, &other.device, other.pair.number());
        own.pair.ready_to_receive(&path, &peer).expect("ready to receive");
    }
    for (at, end) in ends.iter().enumerate() {
        let path = path(world, at, wanted.change_path);
        end.pair.ready_to_send(&path).expect("ready to send");
    }
}

pub(crate) fn connect<W: World>(world: &W, wanted: &Wanted) -> [End<W::Device>; 2] {
    let ends = [end(world, 0, wanted), end(world, 1, wanted)];
    join(world, &ends, wanted);
    ends
}

impl<V: Verbs> End<V> {
    pub(crate) fn piece(&self, at: usize, len: usize) -> Piece<'_, V::Region> {
        Piece { region: &self.region, at, len }
    }

    /// The place in this end's memory, for the other end.
    pub(crate) fn remote(&self, at: usize) -> Remote {
        Remote { address: self.region.address() + at as u64, key: self.region.remote_key() }
    }

    pub(crate) fn receive(&self, id: u64, at: usize, len: usize) {
        self.pair.post_receive(id, &[self.piece(at, len)]).expect("posted");
    }

    pub(crate) fn post(&self, id: u64, action: Action<'_, V::Region>) {
        self.pair.post(&[Work { id, action, signaled: true, solicited: false }]).expect("posted");
    }

    pub(crate) fn send(&self, id: u64, at: usize, len: usize) {
        let pieces = [self.piece(at, len)];
        self.post(id, Action::Send { payload: Payload::Pieces(&pieces), immediate: None });
    }

    /// Waits for the end of this request.
    #[track_caller]
    pub(crate) fn sent<W: World>(&self, world: &W, id: u64) -> Result<Done, Failure> {
        let completion = completion(world, &self.sends);
        assert_eq!((completion.id, completion.pair), (id, self.pair.number()));
        completion.result
    }

    /// Waits for the end of this receive.
    #[track_caller]
    pub(crate) fn received<W: World>(&self, world: &W, id: u64) -> Result<Done, Failure> {
        let completion = completion(world, &self.receives);
        assert_eq!((completion.id, completion.pair), (id, self.pair.number()));
        completion.result
    }
}

/// Bytes that are like no others nearby.
pub(crate) fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ salt).collect()
}
