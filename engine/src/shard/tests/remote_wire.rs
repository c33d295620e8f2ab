//! A reader elsewhere, and what lies between: READs copy a word at a time, so that an owner may act after each.

use super::readers_steps::{Random, Seen, World, seen_in};
use crate::command::{Millis, Read};
use crate::mapped::LayoutError;
use crate::reader::{Doubt, ReadRoom};
use crate::remote::{LANDING_WORDS, Query, ReadList, RemoteOptions, RemoteRead, RemoteShard, Step, Times};
use crate::segments::Revoke;
use crate::shard::Shard;
use crate::steps::{Fault, has};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use torc_pmem::media::shared::SharedView;

/// Whether the queue pair was destroyed.
#[derive(Debug, Default, Clone)]
pub(super) struct Broken(Rc<Cell<bool>>);

impl Revoke for Broken {
    fn revoke(&mut self) {
        self.0.set(true);
    }
}

/// READs under way.
pub(super) struct Wire {
    view: SharedView,
    broken: Broken,
    landing: Vec<AtomicU64>,
    /// Words that are still to be copied, the next one last: where from, and where to.
    left: Vec<(usize, usize)>,
}

impl Wire {
    fn post(&mut self, list: &ReadList, random: &mut Random) {
        assert!(self.left.is_empty() && !list.is_empty());
        for piece in list.iter().rev() {
            let words = piece.bytes as usize / 8;
            let from = self.left.len();
            self.left.extend(
                (0..words).map(|word| (piece.at as usize + word * 8, piece.into as usize / 8 + word)),
            );
            // Those of one READ in any order: some of them by chance, mostly one behind the other.
            let swaps = [0, 1, 2, words][random.below(4) as usize];
            for _ in 0..swaps {
                let [one, other] = [0, 1].map(|_| from + random.below(words as u64) as usize);
                self.left.swap(one, other);
            }
            if random.below(2) == 0 {
                self.left[from..].reverse();
            }
        }
    }

    /// Copies the next word; `false`: all are copied.
    fn copy(&mut self) -> bool {
        let Some((from, to)) = self.left.pop() else { return false };
        let word = self.view.words(from, 1).expect("nothing is read but what is committed");
        self.landing[to].store(word[0].load(Ordering::Relaxed), Ordering::Relaxed);
        true
    }
}

/// A reader that does one read at a time.
pub(super) struct Far {
    pub(super) shard: RemoteShard,
    wire: Wire,
    room: ReadRoom,
    pub(super) random: Random,
    /// The time of leases, milliseconds, and when the last of them ends.
    pub(super) now: u64,
    pub(super) lease_end: u64,
    under_way: Option<(RemoteRead, u64)>,
}

pub(super) fn attach(shard: &Shard, places: usize) -> Result<(RemoteShard, SharedView), LayoutError> {
    let memory = shard.remote_memory().unwrap();
    let view = SharedView::map(shard.to_read().unwrap().unwrap(), memory.bytes_max() as usize).unwrap();
    let piece = RemoteShard::constants();
    let constants = view.words(piece.at as usize, piece.bytes as usize / 8).unwrap();
    let options = RemoteOptions { epoch: 0, places };
    Ok((RemoteShard::attach(constants, memory.bytes() as usize, &options)?, view))
}

impl Far {
    pub(super) fn new(shard: &Shard, broken: Broken, seed: u64) -> Far {
        let (remote, view) = attach(shard, 64).unwrap();
        let landing = (0..LANDING_WORDS).map(|_| AtomicU64::new(0)).collect();
        let wire = Wire { view, broken, landing, left: Vec::new() };
        let random = Random(seed.wrapping_mul(0x5851_F42D_4C95_7F2D) + 7);
        Far { shard: remote, wire, room: ReadRoom::new(), random, now: 0, lease_end: 0, under_way: None }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Asks for a lease, again while the owner makes room for what will rest.
    pub(super) fn ask(&mut self, owner: &mut Shard, now: Millis) {
        for _ in 0..20 {
            if let Some(length) = owner.read_lease(self.now) {
                self.lease_end = self.now + length;
                return;
            }
            owner.maintain(now, 100);
        }
    }

    /// Begins to look for a key, on a new queue pair if the one before was destroyed.
    pub(super) fn begin(&mut self, key: u64) -> Option<Result<Seen, Doubt>> {
        if self.wire.broken.0.take() {
            self.lease_end = 0;
            self.shard.forget_places();
        }
        self.wire.left.clear();
        let name = World::key(key);
        let query = Query { database: 0, key: &name, hash: self.shard.hash(&name), read: &Read::default() };
        let passed_max = self.random.below(2) * 500_000;
        let times = Times { now: self.now, lease_end: self.lease_end, passed_max };
        match RemoteRead::begin(&mut self.shard, &query, times) {
            Ok((read, list)) => {
                self.wire.post(&list, &mut self.random);
                self.under_way = Some((read, key));
                None
            }
            Err(doubt) => Some(Err(doubt)),
        }
    }

    /// A word is copied; or, if all were, their completion is seen. Returns what the read came to.
    pub(super) fn advance(&mut self) -> Option<Result<Seen, Doubt>> {
        let (mut read, key) = self.under_way.take()?;
        if self.wire.broken.0.get() && !self.wire.left.is_empty() {
            return Some(Err(Doubt::Gone));
        }
        if self.wire.copy() {
            self.under_way = Some((read, key));
            return None;
        }
        if has(Fault::FarLeaseAnew) {
            read.take_lease(self.lease_end);
        }
        let name = World::key(key);
        let query = Query { database: 0, key: &name, hash: self.shard.hash(&name), read: &Read::default() };
        match read.landed(&mut self.shard, &query, &self.wire.landing, self.now, &mut self.room) {
            Step::Read(list) if self.wire.broken.0.get() => {
                assert!(!list.is_empty());
                Some(Err(Doubt::Gone))
            }
            Step::Read(list) => {
                self.wire.post(&list, &mut self.random);
                self.under_way = Some((read, key));
                None
            }
            Step::Done(look) => Some(look.map(|look| seen_in(look).0)),
        }
    }

    /// All of a read, without anybody in between.
    pub(super) fn read(&mut self, key: u64) -> Result<Seen, Doubt> {
        self.begin(key).unwrap_or_else(|| self.finish())
    }

    pub(super) fn finish(&mut self) -> Result<Seen, Doubt> {
        (0..100_000).find_map(|_| self.advance()).expect("a read comes to an end")
    }
}
