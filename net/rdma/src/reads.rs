//! Reading a server's shard without asking it, by READs of a queue pair that is for nothing else ([N-RDMA-12]).
//!
//! The connection over which everything else goes asks what may be read, and until when ([`ReadEnd::asked`], [`ReadEnd::given`]); the
//! steps of a read are the engine's ([`torc_engine::remote`]). One read at a time; it waits for its READs by looking.

pub use torc_engine::command::{Found, Millis, Value};
pub use torc_engine::reader::{Doubt, Look};
pub use torc_proto::native::ReadCounts;

use crate::setup::{self, Place, Refused};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};
use torc_engine::command::Read;
use torc_engine::mapped::Counts;
use torc_engine::reader::ReadRoom;
use torc_engine::remote::{
    LANDING_WORDS, Query, RemoteOptions, RemotePiece, RemoteRead, RemoteShard, Step, Times,
};
use torc_proto::native::doubts::CAUSES;
use torc_proto::native::{Accessed, Op, PairEnd, ReadablePiece, ReadsAsked, ReadsGiven, Untold};
use torc_verbs::completion::Completion;
use torc_verbs::error::VerbsError;
use torc_verbs::memory::Buffer;
use torc_verbs::seam::{Access, CompletionQueue, PairOptions, QueuePair, Verbs};
use torc_verbs::work::{Action, Piece, Remote, Work};

/// READs of a look that are posted together, at most.
const READS_MAX: usize = 4;
/// A READ that takes longer will not come: the queue pair is given up. A path sends packets anew for so long; a device may take several
/// times as long to say so, and by then the server has answered who asks it.
const PATIENCE: Duration = Duration::from_millis(500);
/// So much of it counts at most between two looks at the clock: a thread that was stopped has not waited.
const WAITED_MAX: Duration = Duration::from_millis(10);
/// Looks for a READ between two at the clock.
const LOOKS: u32 = 1024;
/// Clocks of two machines run equally fast but for one part in so many, or less.
const RATE_SHARE: u64 = 1024;
/// The server is asked again so long after it has given no lease.
const NO_LEASE: Duration = Duration::from_millis(100);
/// Pieces of a shard's memory, at most: more than any server has.
const SHARD_PIECES_MAX: usize = 1 << 16;
/// Keys whose places are remembered, unless that is said otherwise.
const PLACES: usize = 1 << 14;

/// Where causes have that nothing can be read yet.
const UNREGISTERED: usize = CAUSES.len() - 1;

/// What the server has given, and when it was asked for that.
#[derive(Debug, Clone, Copy)]
struct Given {
    asked_at: Instant,
    lease: Duration,
    /// How long the server's clock had run when it answered, nanoseconds.
    passed_ns: u64,
}

/// The queue pair, and what can be read by it.
#[derive(Debug)]
struct Wire<V: Verbs> {
    // The queue pair goes before what it names.
    pair: V::Pair,
    queue: V::Queue,
    region: V::Region,
    landing: Arc<Buffer>,
    /// Without a gap, from the start of the memory.
    pieces: Vec<ReadablePiece>,
    posted: u64,
    /// It has failed, or was destroyed over there.
    is_broken: bool,
    /// What is done while a READ is under way.
    idle: fn(),
}

/// Reads one shard; one thread uses it.
#[derive(Debug)]
pub struct ReadEnd<V: Verbs> {
    wire: Wire<V>,
    place: Place,
    offer: PairEnd,
    is_joined: bool,
    since: Instant,
    epoch: u64,
    bytes: u64,
    given: Option<Given>,
    /// There is more to be told, or other than was told.
    is_behind: bool,
    shard: Option<RemoteShard>,
    number: u16,
    room: ReadRoom,
    places: usize,
    /// Without those of the shard as it is attached now.
    past: ReadCounts,
    past_remembered: u64,
    untold: Untold,
}

impl<V: Verbs> ReadEnd<V> {
    /// `first`: 24 bits that are hard to guess.
    ///
    /// # Errors
    /// What the device does not give.
    pub fn new(device: &V, domain: &V::Domain, place: &Place, first: u32) -> Result<ReadEnd<V>, Refused> {
        let wire = Wire::new(device, domain, place)?;
        // No message comes here: what is told of receives only makes it an end.
        let offer = PairEnd {
            receives: 1,
            receive_bytes: setup::MESSAGE_BYTES_MIN,
            ..place.end(wire.pair.number(), first)
        };
        Ok(ReadEnd {
            wire,
            place: *place,
            offer,
            is_joined: false,
            since: Instant::now(),
            epoch: 0,
            bytes: 0,
            given: None,
            is_behind: false,
            shard: None,
            number: 0,
            room: ReadRoom::new(),
            places: PLACES,
            past: ReadCounts::default(),
            past_remembered: 0,
            untold: Untold::default(),
        })
    }

    /// Remembers the places of so many keys, 64 bytes each; with none each key is looked up.
    pub fn with_places(mut self, places: usize) -> ReadEnd<V> {
        self.places = places;
        self
    }

    /// What the server is to be asked, by the connection that everything else goes over.
    pub fn asked(&self) -> ReadsAsked {
        let pair = (!self.is_joined).then_some(self.offer);
        ReadsAsked { epoch: self.epoch, known: self.wire.known(), pair }
    }

    /// The server has answered what it was asked at `asked_at`.
    ///
    /// # Errors
    /// [`Refused`]: nothing can be read, and this end is of no use.
    pub fn given(&mut self, given: &ReadsGiven, asked_at: Instant) -> Result<(), Refused> {
        if let Some(answer) = &given.pair {
            setup::check(answer)?;
            self.place.join(&self.wire.pair, &self.offer, answer)?;
            self.is_joined = true;
        }
        self.wire.is_broken |= self.is_joined && given.is_unpaired;
        if given.epoch != self.epoch {
            (self.past, self.past_remembered) = (self.looks(), self.remembered());
            (self.epoch, self.shard) = (given.epoch, None);
            self.wire.pieces.clear();
        }
        for piece in &given.pieces {
            let is_next = piece.at == self.wire.known() && piece.bytes > 0;
            let is_possible = is_next && piece.at.checked_add(piece.bytes).is_some();
            if !is_possible || self.wire.pieces.len() == SHARD_PIECES_MAX {
                return Err(Refused::Impossible);
            }
            self.wire.pieces.push(*piece);
        }
        (self.bytes, self.number) = (given.bytes, given.shard);
        self.is_behind = !given.pieces.is_empty() && self.wire.known() < given.bytes;
        let lease = Duration::from_millis(given.lease_ms.into());
        self.given = Some(Given { asked_at, lease, passed_ns: given.passed_ns });
        if self.shard.is_none() && self.is_joined && !self.wire.pieces.is_empty() {
            self.attach()?;
        }
        Ok(())
    }

    /// Reads what is constant.
    fn attach(&mut self) -> Result<(), Refused> {
        let constants = RemoteShard::constants();
        if self.wire.read(&[constants]).is_err() {
            // The queue pair has failed, or the server will tell of more.
            return Ok(());
        }
        let words = self.wire.landing.words(0, constants.bytes as usize / size_of::<u64>());
        let options = RemoteOptions { epoch: self.epoch, places: self.places };
        let bytes = usize::try_from(self.bytes).map_err(|_| Refused::Impossible)?;
        self.shard = Some(RemoteShard::attach(words, bytes, &options).map_err(|_| Refused::Impossible)?);
        Ok(())
    }

    /// The shard that is read.
    pub fn shard(&self) -> u16 {
        self.number
    }

    /// Whether the queue pair is of no use any more: another end has to be made.
    pub fn is_broken(&self) -> bool {
        self.wire.is_broken
    }

    /// When the server should be asked again: the lease is half over, or there is none, or what it has told is over.
    pub fn asks_at(&self) -> Instant {
        let of = |given: Given| match given.lease {
            _ if self.is_behind => given.asked_at,
            Duration::ZERO => given.asked_at + NO_LEASE,
            lease => given.asked_at + lease / 2,
        };
        self.given.map_or(self.since, of)
    }

    /// Calls this between two looks for a READ that has not come, in place of a pause of the core.
    pub fn with_idle(mut self, idle: fn()) -> ReadEnd<V> {
        self.wire.idle = idle;
        self
    }

    /// What the reads came to.
    pub fn counts(&self) -> ReadCounts {
        self.untold.counts(self.looks())
    }

    /// Of the hits, those of which the key was where it had been before.
    pub fn remembered(&self) -> u64 {
        self.past_remembered + self.shard.as_ref().map_or(0, |shard| shard.counts().remembered)
    }

    fn looks(&self) -> ReadCounts {
        let Counts { hits, misses, doubts } =
            self.shard.as_ref().map(|shard| shard.counts().looks).unwrap_or_default();
        self.past.plus(&ReadCounts::of_looks(hits, misses, &doubts))
    }

    /// Counts a read that is asked for without a try: [`Untold::ask_in_order`].
    pub fn ask_in_order(&mut self) {
        self.untold.ask_in_order();
    }

    /// Whether the server should be told now what was read, as what is read from here on would be forgotten.
    #[inline]
    pub fn has_much_to_tell(&self) -> bool {
        self.untold.is_much()
    }

    /// Gives the operation and value of each request that tells the server of the reads since the last time.
    pub fn tell(&mut self, request: impl FnMut(Op, Vec<u8>)) {
        let looks = self.looks();
        self.untold.tell(looks, request);
    }

    /// Shows `each` what is under a key in a database, as a plain read finds it.
    ///
    /// # Errors
    /// [`Doubt`]: the server has to be asked.
    pub fn get<R>(
        &mut self,
        database: u16,
        key: &[u8],
        each: impl FnOnce(Look<'_>) -> R,
    ) -> Result<R, Doubt> {
        let (Some(given), Some(shard)) = (self.given, &mut self.shard) else {
            self.past.asked[UNREGISTERED] += 1;
            return Err(Doubt::Unregistered);
        };
        let (since, wire, room) = (self.since, &mut self.wire, &mut self.room);
        let ms = |time: Instant| time.duration_since(since).as_millis() as u64;
        let began = Instant::now();
        let times = Times {
            now: ms(began),
            lease_end: ms(given.asked_at + given.lease),
            passed_max: given.passed_max(began),
        };
        let read = Read { leases: true, ..Read::default() };
        let query = Query { database, key, hash: shard.hash(key), read: &read };
        let (mut look, mut list) = RemoteRead::begin(shard, &query, times)?;
        loop {
            wire.read(&list).inspect_err(|doubt| shard.count_doubt(*doubt))?;
            let landing = wire.landing.words(0, LANDING_WORDS);
            match look.landed(shard, &query, landing, ms(Instant::now()), room) {
                Step::Read(next) => list = next,
                Step::Done(Err(doubt)) => {
                    self.is_behind |= doubt == Doubt::Epoch;
                    return Err(doubt);
                }
                Step::Done(Ok(found)) => {
                    if let Look::Hit { report: Some(access), .. } = &found {
                        let (shard, hash, location) = (self.number, access.hash, access.location);
                        self.untold.note(Accessed { shard, hash, location });
                    }
                    return Ok(each(found));
                }
            }
        }
    }
}

impl Given {
    /// How long the server's clock has run by now, at the most.
    fn passed_max(&self, now: Instant) -> u64 {
        // It answered after it was asked.
        let since = now.duration_since(self.asked_at).as_nanos() as u64;
        self.passed_ns.saturating_add(since).saturating_add(since / RATE_SHARE + 1)
    }
}

impl<V: Verbs> Wire<V> {
    fn new(device: &V, domain: &V::Domain, place: &Place) -> Result<Wire<V>, Refused> {
        let bytes = LANDING_WORDS * size_of::<u64>();
        let landing = Buffer::new(bytes).map_err(|error| VerbsError::memory(&error))?;
        let region = device.register(domain, landing.clone(), Access::Local)?;
        let queue = device.completion_queue(2 * READS_MAX as u32)?;
        let options = PairOptions {
            send_queue: &queue,
            receive_queue: &queue,
            shared: None,
            sends: 2 * READS_MAX as u32,
            receives: 1,
            inline_bytes: 0,
        };
        let pair = device.queue_pair(domain, &options)?;
        pair.initialize(place.port, Access::Local)?;
        Ok(Wire {
            pair,
            queue,
            region,
            landing,
            pieces: Vec::new(),
            posted: 0,
            is_broken: false,
            idle: std::hint::spin_loop,
        })
    }

    /// Bytes of the memory, from its start, whose pieces are known.
    fn known(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.at + piece.bytes)
    }

    /// Where a READ finds a part of the shard's memory.
    fn remote(&self, wanted: &RemotePiece) -> Option<Remote> {
        let behind = self.pieces.partition_point(|piece| piece.at <= wanted.at);
        let piece = self.pieces.get(behind.checked_sub(1)?)?;
        let within = wanted.at - piece.at;
        let end = within.checked_add(wanted.bytes.into());
        let is_inside = end.is_some_and(|end| end <= piece.bytes);
        is_inside.then(|| Remote { address: piece.address.wrapping_add(within), key: piece.key })
    }

    /// Posts READs behind one doorbell, and waits until the last has come.
    fn read(&mut self, list: &[RemotePiece]) -> Result<(), Doubt> {
        if self.is_broken {
            return Err(Doubt::Gone);
        }
        let mut from = [Remote { address: 0, key: 0 }; READS_MAX];
        let count = list.len().min(READS_MAX);
        for (from, wanted) in from.iter_mut().zip(list) {
            *from = self.remote(wanted).ok_or(Doubt::Unregistered)?;
        }
        self.posted += 1;
        let pieces: [[Piece<'_, V::Region>; 1]; READS_MAX] = std::array::from_fn(|at| {
            let (at, len) = list.get(at).map_or((0, 0), |piece| (piece.into as usize, piece.bytes as usize));
            [Piece { region: &self.region, at, len }]
        });
        let works: [Work<'_, V::Region>; READS_MAX] = std::array::from_fn(|at| Work {
            id: self.posted,
            action: Action::Read { into: &pieces[at], from: from[at] },
            signaled: at + 1 == count,
            solicited: false,
        });
        let has_come = self.pair.post(&works[..count]).is_ok() && self.wait();
        self.is_broken = !has_come;
        if has_come { Ok(()) } else { Err(Doubt::Gone) }
    }

    /// Looks until the last READ has completed; false: it will not.
    fn wait(&self) -> bool {
        let (mut waited, mut looked_at) = (Duration::ZERO, Instant::now());
        let mut completions = [Completion::NONE; READS_MAX];
        for looks in 1u32.. {
            match self.queue.poll(&mut completions) {
                Err(_) => return false,
                Ok(0) if looks.is_multiple_of(LOOKS) => {
                    waited += looked_at.elapsed().min(WAITED_MAX);
                    looked_at = Instant::now();
                    if waited >= PATIENCE {
                        return false;
                    }
                }
                Ok(0) => (self.idle)(),
                Ok(count) => {
                    let all = &completions[..count];
                    if all.iter().any(|completion| completion.result.is_err()) {
                        return false;
                    }
                    if all.iter().any(|completion| completion.id == self.posted) {
                        // What the device wrote before the completion is seen behind it.
                        fence(Ordering::Acquire);
                        return true;
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_may_run_faster_than_ours_and_has_answered_at_once() {
        let asked_at = Instant::now();
        let given = Given { asked_at, lease: Duration::ZERO, passed_ns: 5_000 };
        let after = |since: Duration| given.passed_max(asked_at + since);
        assert_eq!(after(Duration::ZERO), 5_001);
        assert_eq!(after(Duration::from_nanos(RATE_SHARE)), 5_000 + RATE_SHARE + 2);
        let hour = Duration::from_secs(3600).as_nanos() as u64;
        assert_eq!(after(Duration::from_secs(3600)), 5_001 + hour + hour / RATE_SHARE);
        let late = Given { passed_ns: u64::MAX - 1, ..given };
        assert_eq!(late.passed_max(asked_at + Duration::from_secs(1)), u64::MAX);
    }
}
