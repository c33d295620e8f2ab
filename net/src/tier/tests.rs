//! The tier's threads on a simulated medium, with shards that a test drives.

mod carry;
mod fails;
mod journal;
mod long;
mod recovery;

use super::save::SaveBatch;
use super::testing::silent;
use super::*;
use crate::clock::MachineClock;
use crate::slots::SlotMap;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use torc_engine::command::{Body, Command, Delete, Millis, Op, Outcome, Read, Ticket, Value, Write};
use torc_engine::{Shard, ShardConfig, version};
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::sim::{Call, Sim};
use torc_pmem::media::{Block, MediaError, Medium};
use torc_pmem::tier::Tier;
use torc_proto::slot::{SLOTS, slot_of};

const NOW: Millis = 1_790_000_000_000;
const CONFIG: Config = Config {
    bytes: 4 << 20,
    page_bytes: 4096,
    batch_bytes: 32 << 10,
    streams: 2,
    journal: JournalConfig::NONE,
    volume: 5,
    hash_seed: 9,
};
/// What is less goes to a journal, if there is one.
const JOURNAL_BYTES: u64 = 8 << 10;
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a thread to do what it must not do.
const MOMENT: Duration = Duration::from_millis(50);

/// A simulated medium whose drains wait while its gate is closed.
#[derive(Debug)]
struct Gated {
    sim: Sim,
    is_open: Mutex<bool>,
    opens: Condvar,
    /// Nothing can be written any more.
    is_broken: AtomicBool,
}

impl Gated {
    fn new() -> Arc<Gated> {
        Gated::with(CONFIG)
    }

    fn with(config: Config) -> Arc<Gated> {
        let gated = Gated {
            sim: Sim::new(config.bytes, 512),
            is_open: Mutex::new(true),
            opens: Condvar::new(),
            is_broken: AtomicBool::new(false),
        };
        let gated = Arc::new(gated);
        let medium: Arc<dyn Medium> = gated.clone();
        Tier::create(&medium, config).unwrap();
        gated
    }

    fn of_image(image: Vec<u8>) -> Arc<Gated> {
        let (is_open, opens) = (Mutex::new(true), Condvar::new());
        Arc::new(Gated { sim: Sim::of_image(image, 512), is_open, opens, is_broken: AtomicBool::new(false) })
    }

    fn set_open(&self, is_open: bool) {
        *self.is_open.lock().unwrap() = is_open;
        self.opens.notify_all();
    }
}

impl Medium for Gated {
    fn describe(&self) -> String {
        self.sim.describe()
    }

    fn bytes(&self) -> u64 {
        self.sim.bytes()
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn is_byte_addressable(&self) -> bool {
        self.sim.is_byte_addressable()
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        if self.is_broken.load(Relaxed) {
            self.sim.fail(Call::Write, 0, libc::EIO);
        }
        self.sim.write(at, blocks)
    }

    fn drain(&self) -> Result<(), MediaError> {
        let held = self.is_open.lock().unwrap();
        let _open = self.opens.wait_while(held, |is_open| !*is_open).unwrap();
        self.sim.drain()
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        self.sim.read(at, out)
    }
}

/// The shards of a server, without the server.
struct Running {
    shards: Vec<Shard>,
    ports: Vec<Port>,
    storage: Storage,
    figures: Arc<TierFigures>,
    /// By hash, where items lie.
    places: HashMap<u64, u64>,
    /// By shard and stream: what was freed since the start.
    freed: Vec<HashMap<u16, u64>>,
}

fn start(medium: Arc<dyn Medium>, shards: u16) -> Running {
    start_with(medium, shards, 8 << 20)
}

/// Starts, and waits until everything is known.
fn start_with(medium: Arc<dyn Medium>, shards: u16, memory_bytes: u64) -> Running {
    let mut running = begin(medium, shards, memory_bytes, true);
    running.learn_all();
    running
}

/// Starts without taking anything of what shards are told.
fn begin(medium: Arc<dyn Medium>, shards: u16, memory_bytes: u64, reads_wait: bool) -> Running {
    let tier = Tier::open(medium).unwrap();
    let slots = SlotMap::even(shards);
    let shard_of = |number: u16| {
        let config = ShardConfig {
            shard: number,
            seed: tier.config().hash_seed,
            segment_bytes: 64 << 10,
            ..ShardConfig::new(memory_bytes)
        };
        let mut shard = Shard::new(config).unwrap();
        shard.remember_changes(slot_of);
        shard.start_above(tier.ceiling());
        shard.begin_recovery((0..SLOTS).filter(|slot| slots.owner(*slot) == number), slot_of, reads_wait);
        shard
    };
    let stores: Vec<Shard> = (0..shards).map(shard_of).collect();
    let figures = Arc::new(TierFigures::default());
    let parts = StorageParts {
        tier,
        wakers: (0..shards).map(|_| silent()).collect(),
        slots,
        durability: Durability::Interval(MOMENT),
        cpus: Vec::new(),
        reads: ReadsChoice::Auto,
        figures: figures.clone(),
        clock: MachineClock::new(),
        cache_bytes: 32 << 10,
        journal_bytes: JOURNAL_BYTES,
    };
    let (storage, ports) = Storage::start(parts).unwrap();
    let freed = vec![HashMap::new(); usize::from(shards)];
    Running { shards: stores, ports, storage, figures, places: HashMap::new(), freed }
}

impl Running {
    fn owner(&self, key: &[u8]) -> usize {
        usize::from(SlotMap::even(self.shards.len() as u16).owner(slot_of(key)))
    }

    /// Takes what a shard is told next; false: there is nothing now.
    fn learn(&mut self, shard: usize) -> bool {
        let Some(told) = self.ports[shard].next_told() else { return false };
        let told = {
            let freed = self.freed[shard].get(&told.stream).copied().unwrap_or_default();
            told.without_freed(freed)
        };
        self.shards[shard].recover(&told.known);
        if told.is_damaged {
            self.shards[shard].leave_untold();
        }
        told.ended.into_iter().for_each(|slots| self.shards[shard].end_slots(slots));
        true
    }

    fn learn_all(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.shards.iter().any(Shard::is_recovering) {
            assert!(Instant::now() < end, "recovery comes to an end");
            if !(0..self.shards.len()).any(|shard| self.learn(shard)) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn execute(&mut self, key: &[u8], op: Op<'_>) {
        let owner = self.owner(key);
        let hash = self.shards[owner].hash(0, key);
        self.shards[owner].execute(&Command { space: 0, key, op }, hash, NOW);
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.execute(key, Op::Write(Write::set(value)));
    }

    fn hand_over(&mut self) {
        for (shard, port) in self.shards.iter_mut().zip(&self.ports) {
            let mut batch = Box::<SaveBatch>::default();
            shard.take_unsaved(|unsaved| batch.take(&unsaved));
            port.save(batch);
        }
    }

    /// What a shard is told next; it must come.
    fn next(&mut self, shard: usize) -> Reply {
        self.next_within(shard, PATIENCE).expect("the shard is told something")
    }

    fn next_within(&mut self, shard: usize, patience: Duration) -> Option<Reply> {
        let end = Instant::now() + patience;
        loop {
            self.ports[shard].begin_look();
            match self.ports[shard].next() {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                found => return found,
            }
        }
    }

    /// Hands everything over, and waits until it is saved.
    fn save(&mut self) {
        while self.shards.iter().any(Shard::has_unsaved) {
            self.hand_over();
            let (mut waiting, end) = (self.shards.len(), Instant::now() + PATIENCE);
            while waiting > 0 {
                assert!(Instant::now() < end, "everything is saved");
                for shard in 0..self.shards.len() {
                    let Some(reply) = self.next_within(shard, Duration::ZERO) else { continue };
                    waiting -= usize::from(matches!(reply, Reply::Saved(_)));
                    self.take(shard, reply);
                }
            }
        }
    }

    fn take_saved(&mut self, shard: usize) {
        loop {
            let reply = self.next(shard);
            let is_saved = matches!(reply, Reply::Saved(_));
            self.take(shard, reply);
            if is_saved {
                return;
            }
        }
    }

    fn tell(&mut self, shard: usize, batch: &SaveBatch) {
        for entry in &batch.entries {
            entry.tell(&mut self.shards[shard]);
            self.places.extend(entry.place.map(|place| (entry.record.hash, place)));
        }
    }

    /// Takes an item that is saved out of memory, if it is on the tier, too.
    fn put_out(&mut self, key: &[u8]) {
        let owner = self.owner(key);
        if let Some(place) = self.places.get(&self.shards[owner].hash(0, key)) {
            self.shards[owner].demote(0, key, *place, NOW);
        }
    }

    /// Does what a worker does, but that all stays that was read.
    fn take(&mut self, shard: usize, reply: Reply) {
        let of_shard = &mut self.shards[shard];
        match reply {
            Reply::Saved(batch) => self.tell(shard, &batch),
            Reply::Leave { stream, below, places } => {
                self.freed[shard].insert(stream, below);
                let places_of = &mut self.places;
                let stays = |leaving: &Leaving| {
                    let Leaving { record: Record { hash, version, expiry, kind, .. }, place } = *leaving;
                    if places_of.get(&hash) == Some(&place) {
                        places_of.remove(&hash);
                    }
                    let is_read = of_shard.accesses_at(hash, place) > 0;
                    let is_carried =
                        is_read && kind == Kind::Item && of_shard.may_be_carried(hash, place, version);
                    is_carried || {
                        match kind {
                            Kind::Chunk => of_shard.leave_chunk(hash, expiry, place, true),
                            _ => of_shard.leave_place(hash, place, true),
                        };
                        false
                    }
                };
                let stay = places.into_iter().filter(stays).collect();
                self.ports[shard].left(stream, stay);
            }
            Reply::Moved { stream, moves } => {
                for moved in moves {
                    of_shard.carried(moved.hash, moved.from, moved.to);
                    // Unless it was saved anew meanwhile.
                    moved.to.map(|place| self.places.entry(moved.hash).or_insert(place));
                }
                self.ports[shard].moved(stream);
            }
            Reply::Packed { stream, moves } => {
                for moved in moves {
                    of_shard.packed(moved.hash, moved.from, moved.to);
                    let place = self.places.get_mut(&moved.hash).filter(|place| **place == moved.from);
                    place.into_iter().zip(moved.to).for_each(|(place, to)| *place = to);
                }
                self.ports[shard].moved(stream);
            }
            other => panic!("{other:?}"),
        }
    }

    fn next_fetched(&mut self, shard: usize, (hash, place): (u64, u64)) -> Option<Vec<u8>> {
        loop {
            match self.next(shard) {
                Reply::Fetched(Arrived { asked, page }) => {
                    assert_eq!(asked, [(hash, place)]);
                    let ordinal = Place::from_bits(place).ordinal();
                    return page.ok().and_then(|page| page.item(ordinal).ok().map(<[u8]>::to_vec));
                }
                other => self.take(shard, other),
            }
        }
    }

    /// What lies at a place, if it can be read.
    fn fetch(&mut self, shard: usize, hash: u64, Ticket(place): Ticket) -> Option<Vec<u8>> {
        match self.ports[shard].fetch(hash, place) {
            Fetched::Item(item) | Fetched::Kept(item) => Some(item.to_vec()),
            Fetched::Gone => None,
            Fetched::Later => self.next_fetched(shard, (hash, place)),
        }
    }

    /// Brings an item back, with its chunks; `None`: it cannot be had.
    fn bring_back(&mut self, shard: usize, hash: u64, ticket: Ticket) -> Option<()> {
        let head = self.fetch(shard, hash, ticket)?;
        let Some(mut returning) = self.shards[shard].promote(hash, ticket, &head, NOW).unwrap() else {
            return Some(());
        };
        assert_eq!(self.shards[shard].start_return(&mut returning, NOW), Ok(true));
        while let Some(chunk) = self.shards[shard].chunk_to_fetch(&mut returning, NOW).ok()? {
            let bytes = self.fetch(shard, chunk.name, chunk.ticket)?;
            self.shards[shard].chunk_back(&mut returning, &chunk, &bytes).ok()?;
        }
        self.shards[shard].end_return(&returning, NOW).ok()
    }

    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        let owner = self.owner(key);
        let hash = self.shards[owner].hash(0, key);
        let get = Command { space: 0, key, op: Op::Read(Read::default()) };
        // It may be carried on while it is fetched.
        while let Outcome::Pending(ticket) = self.shards[owner].execute(&get, hash, NOW) {
            if self.bring_back(owner, hash, ticket).is_none() {
                self.shards[owner].forget_elsewhere(hash, ticket);
            }
        }
        match self.shards[owner].execute(&get, hash, NOW) {
            Outcome::Item(found) => Some(match found.value {
                Value::Inline(value) => value.to_vec(),
                Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
            }),
            Outcome::Miss => None,
            other => panic!("{other:?}"),
        }
    }

    /// Ends in order, if everything is saved.
    fn stop(mut self) {
        for port in &self.ports {
            port.end(true);
        }
        self.ports.clear();
        self.storage.join().unwrap();
    }
}

fn item(hash: u64, version: u64, slot: u16) -> Record {
    Record { hash, version, expiry: 0, space: 0, slot, kind: Kind::Item }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Bytes that do not compress, and that no other number has.
fn value_of(number: u64, length: usize) -> Vec<u8> {
    let mut state = number;
    let next = std::iter::repeat_with(|| {
        // SplitMix64 (Steele and others, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 32) as u8
    });
    number.to_le_bytes().into_iter().chain(next).take(length).collect()
}

#[test]
fn nothing_is_told_to_be_saved_before_it_is_drained() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 1);
    running.set(b"key", b"value");
    medium.set_open(false);
    running.hand_over();
    assert!(running.next_within(0, MOMENT).is_none(), "its drain has not returned");
    medium.set_open(true);
    running.take_saved(0);
    assert_eq!(running.shards[0].unsaved(), 0);
    // What a loss of power leaves.
    let image = medium.sim.crash_point().image(|_| false);
    let mut after = start(Arc::new(Sim::of_image(image, 512)), 1);
    assert_eq!(after.get(b"key").as_deref(), Some(&b"value"[..]));
}

/// A drain is what changes that are answered when they are saved wait for.
#[test]
fn only_streams_that_were_written_are_drained() {
    let mut running = start(Gated::new(), 2);
    let key = (0..).map(key).find(|key| running.owner(key) == 0).unwrap();
    for round in 1..=5 {
        running.set(&key, b"value");
        running.save();
        assert_eq!(running.figures.drains.load(Relaxed), 2 + round, "two at the start, and one a save");
    }
    running.stop();
}

#[test]
fn changes_that_wait_for_too_long_are_counted_as_late() {
    let mut running = start(Gated::new(), 1);
    let now = MachineClock::new().millis();
    for (handed_at, late) in
        [(now + 3_600_000, 0), (now - 3_600_000, 1), (now + 3_600_000, 1), (now - 3_600_000, 2)]
    {
        let mut batch = Box::<SaveBatch>::default();
        batch.push(item(1, 1, 0), b"an item");
        batch.handed_at = handed_at;
        running.ports[0].save(batch);
        assert!(matches!(running.next(0), Reply::Saved(_)));
        assert_eq!(running.figures.late.load(Relaxed), late);
    }
}

#[test]
fn the_last_change_of_each_key_is_found_by_any_number_of_shards() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 2);
    for round in 0..3 {
        for number in 0..100 {
            running.set(&key(number), format!("round {round}").as_bytes());
        }
        running.save();
    }
    (0..10).for_each(|number| running.execute(&key(number), Op::Delete(Delete::default())));
    running.save();
    running.stop();
    for shards in [3, 1, 2] {
        let mut after = start(medium.clone(), shards);
        for number in 0..100 {
            let wanted = (number >= 10).then_some(&b"round 2"[..]);
            assert_eq!(after.get(&key(number)).as_deref(), wanted, "{number} with {shards}");
        }
        after.stop();
    }
    let mut running = start(medium.clone(), 2);
    running.shards.iter_mut().for_each(|shard| shard.flush(None, NOW));
    running.set(b"key 20", b"after");
    running.save();
    running.stop();
    let mut after = start(medium, 1);
    for number in 0..100 {
        assert_eq!(after.get(&key(number)).as_deref(), (number == 20).then_some(&b"after"[..]), "{number}");
    }
}

#[test]
fn versions_start_above_all_that_a_run_before_could_give_out() {
    let medium = Gated::new();
    start(medium.clone(), 1).stop();
    let ceiling = Tier::open(medium.clone()).unwrap().ceiling();
    assert!(ceiling > version::at(MachineClock::new().millis()), "versions were ahead of the clock");
    let mut running = start(medium, 1);
    running.set(b"key", b"value");
    let mut versions = Vec::new();
    running.shards[0].take_unsaved(|unsaved| {
        versions.push(unsaved.version);
        true
    });
    assert!(versions[0] > ceiling, "{versions:?} {ceiling}");
}

#[test]
fn the_ceiling_rises_durably_with_the_versions_that_are_given_out() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 1);
    let ahead = version::at(MachineClock::new().millis() + 3_600_000);
    assert!(running.figures.ceiling() < ahead);
    let mut batch = Box::<SaveBatch>::default();
    batch.push(item(1, ahead, 0), b"an item");
    running.ports[0].save(batch);
    assert!(matches!(running.next(0), Reply::Saved(_)));
    let end = Instant::now() + PATIENCE;
    while running.figures.ceiling() <= ahead {
        assert!(Instant::now() < end, "it rises");
        std::thread::sleep(Duration::from_millis(1));
    }
    let image = medium.sim.crash_point().image(|_| false);
    assert!(Tier::open(Arc::new(Sim::of_image(image, 512))).unwrap().ceiling() > ahead);
}

/// Hands over what a shard has, and leaves what it is told to, until that is saved or nothing more is said.
fn save_alone(running: &mut Running, shard: usize, patience: Duration) -> bool {
    running.hand_over();
    loop {
        match running.next_within(shard, patience) {
            Some(Reply::Leave { stream, .. }) => running.ports[shard].left(stream, Vec::new()),
            told => return told.is_some(),
        }
    }
}

#[test]
fn room_is_made_when_places_are_left_and_waits_for_no_shard_that_has_ended() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = start(medium, 2);
    let keys = |running: &Running, shard| {
        let owned: Vec<_> = (0..4000).map(key).filter(|key| running.owner(key) == shard).collect();
        owned.into_iter()
    };
    let (mut first, second) = (keys(&running, 0), keys(&running, 1));
    let value = value_of(0, 3000);
    // The oldest batch has items of both.
    for key in second.take(5).chain(first.by_ref().take(5)) {
        running.set(&key, &value);
    }
    running.save();
    let mut save = |running: &mut Running, patience| {
        first.by_ref().take(10).for_each(|key| running.set(&key, &value));
        assert!(first.len() > 400, "there are keys left");
        save_alone(running, 0, patience)
    };
    // The tier is full, and a batch goes that has items of the second shard. It is asked, and does not answer.
    while !matches!(running.next_within(1, Duration::ZERO), Some(Reply::Leave { .. })) {
        save(&mut running, MOMENT);
    }
    save(&mut running, MOMENT);
    let freed = running.figures.freed.load(Relaxed);
    (0..3).for_each(|_| _ = save(&mut running, MOMENT));
    assert_eq!(running.figures.freed.load(Relaxed), freed, "the second shard may still read there");
    running.ports[1].end(true);
    assert!((0..20).all(|_| save(&mut running, PATIENCE)));
    assert!(running.figures.freed.load(Relaxed) > freed);
}

#[test]
fn what_recovery_has_no_room_for_is_gone_and_a_deletion_of_it_is_told() {
    let medium = Gated::with(Config { bytes: 16 << 20, ..CONFIG });
    let mut running = start_with(medium.clone(), 1, 32 << 20);
    const COUNT: u32 = 30_000;
    for (first, value) in (0..COUNT).step_by(500).flat_map(|first| [(first, b"older"), (first, b"newer")]) {
        (first..first + 500).for_each(|number| running.set(&key(number), value));
        running.save();
    }
    running.stop();
    let mut small = start_with(medium.clone(), 1, 1 << 20);
    let is_lost = |number: &u32| {
        let (key, op) = (&key(*number)[..], Op::Read(Read::default()));
        let hash = small.shards[0].hash(0, key);
        small.shards[0].ticket_for(&Command { space: 0, key, op }, hash, NOW).is_none()
    };
    let lost: Vec<u32> = (0..COUNT).filter(is_lost).collect();
    assert!(lost.len() > 100 && lost.len() < COUNT as usize, "{} lost", lost.len());
    let found = (0..COUNT).step_by(37).filter_map(|number| small.get(&key(number)));
    assert!(found.into_iter().all(|value| value == b"newer"));
    lost.iter().take(100).for_each(|number| small.execute(&key(*number), Op::Delete(Delete::default())));
    small.save();
    small.stop();
    let mut large = start_with(medium, 1, 32 << 20);
    for number in lost.into_iter().take(100) {
        assert_eq!(large.get(&key(number)), None, "{number} was deleted");
    }
}

#[test]
fn more_deletions_than_recovery_can_remember_make_older_items_miss_and_nothing_comes_back() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = start_with(medium.clone(), 1, 32 << 20);
    (0..100).for_each(|number| running.set(&key(number), b"old"));
    running.save();
    for number in 0..9000 {
        running.set(&key(number), b"gone");
        if number >= 50 {
            running.execute(&key(number), Op::Delete(Delete::default()));
        }
        if number % 1000 == 999 {
            running.save();
        }
    }
    running.set(b"new", b"new");
    running.save();
    running.stop();
    for (memory_bytes, still, deleted) in [(32 << 20, 50, 8), (1 << 20, 0, 7), (32 << 20, 48, 6)] {
        let mut after = start_with(medium.clone(), 1, memory_bytes);
        assert_eq!(after.get(b"new").as_deref(), Some(&b"new"[..]));
        let found = (0..9000).filter_map(|number| after.get(&key(number)));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), still);
        assert!(found.iter().all(|value| value == b"gone"));
        // What misses may be there all the same, so its deletion is told.
        after.execute(&key(deleted), Op::Delete(Delete::default()));
        after.save();
        after.stop();
    }
}
