//! Making segments free: eviction, compaction, expiry, flush.
//!
//! One *job* at a time walks one segment from its start to its end, a few items a step. An item that is dead,
//! expired or flushed is left behind; a live one is moved to an open segment or dropped. At the end the
//! segment holds nothing and is free. Two kinds of job:
//!
//! - *compact* keeps every live item. Segments that are more than half dead, or whose items have expired, wait
//!   in a queue for it; the sweep that finds the expired ones passes over all segments once a second.
//! - *evict* asks the eviction algorithm. It is started when few segments are left to take.
//!
//! Writers pay as they go ([`Shard::keep_pace`]): once the free segments run low, every byte written walks
//! [`PACE`] bytes of a job, so nobody waits for a whole segment. Idle turns work ahead ([`Shard::maintain`]).
//!
//! Nothing here depends on the number of segments. Where eviction yields less than a [`PACE`]th of what it walks, as
//! nearly all items are hot, accesses count for less until it does (*hardness*: every few segments walked without yield
//! take one access from whatever is met then), and a command that finds no room is patient for [`PATIENT_JOBS`] only.
//! Segments that are pinned when their turn comes leave their queue
//! and return with the last pin. A flush is a mark, and the sweep finds what lies before it.

use super::{Shard, hash_of};
use crate::bytes::Bytes;
use crate::bytes_mut::BytesMut;
use crate::chain::{self, ChainList};
use crate::changes::{Cause, Change};
use crate::command::Millis;
use crate::eviction::{QueueLengths, Verdict};
use crate::index::{FREQUENCY_MAX, Place, Slot};
use crate::item::{present, state};
use crate::segments::{CLASS_CHUNK, Phase, Queue, RELOCATION_RESERVE, Segments, class_of};

/// Bytes of a job to walk for each byte written while segments are few. In the long run eviction is made to
/// yield that much.
const PACE: usize = 4;
/// Items of a job that are handled together: their buckets are fetched meanwhile.
const BATCH: usize = 8;
/// Bytes of a job, dead ones included, that are walked in a step; one item is whatever its length.
const STEP_BYTES: usize = 64 << 10;
/// Items of a job that are handled in a turn, at least, while segments have to go for what is set aside.
const SHRINK_ITEMS: usize = 512;
/// Segment headers that one call of [`Shard::maintain`] looks at.
const SWEEP_HEADERS: usize = 256;
/// Share of the shard's bytes that the shortfall must reach before an access counts for one less: 1/4. With less of
/// it, and so with a fixed number of segments in a large shard, traces whose hot items come in waves lose hits (0.4
/// points with 1/51).
const HARDENING_SHARE: usize = 4;
/// The same, at least, segments' worth.
const HARDENING_SEGMENTS_MIN: usize = 16;
/// Chunks that move with one new head are so many times as long as the head, at least, if there are as many in the segment.
const HEAD_SHARE: usize = 8;
/// Jobs after which a command that finds no room has eviction drop whatever it meets.
const PATIENT_JOBS: usize = 2;
/// Attempts of a command to find room: jobs, or searches that met nothing but pinned segments.
const ATTEMPTS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Evict,
    Compact,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    segment: u32,
    /// Bytes of it that are done.
    done: u32,
    why: Why,
}

/// Jobs, and what leads to them.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    job: Option<Job>,
    /// Bytes that the job has moved elsewhere.
    moved: usize,
    /// Bytes that eviction has walked beyond [`PACE`] times what it has yielded.
    shortfall: usize,
    /// Accesses that every item has less for it.
    hardness: u8,
    /// Whatever eviction meets is dropped.
    force: bool,
    /// Steps of jobs so far: as long as it stays, no item has moved.
    steps: u64,
    /// Bytes that writers owe.
    debt: usize,
    second: u64,
    /// Next header of the sweep; none is under way if it is beyond them.
    sweep: usize,
}

impl Reclaim {
    /// Changes with every step that may have moved items.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// An item of this segment died.
    #[inline]
    pub(super) fn lost(&self, segments: &mut Segments, at: u64) {
        let segment = segments.segment_of(at);
        let header = segments.header(segment);
        if header.phase == Phase::Sealed && !header.queued && header.is_half_dead() {
            segments.enqueue(segment);
        }
    }

    /// An eviction job has walked `used` bytes of a shard of `segments` segments.
    fn evicted(&mut self, used: usize, segments: usize, segment_bytes: usize) {
        let yielded = used - self.moved.min(used);
        self.shortfall = (self.shortfall + used).saturating_sub(PACE * yielded);
        let patience = (segments / HARDENING_SHARE).max(HARDENING_SEGMENTS_MIN);
        let hardness = self.shortfall / (patience * segment_bytes);
        self.hardness = hardness.min(usize::from(FREQUENCY_MAX)) as u8;
    }

    /// What an item's accesses count for while eviction yields too little.
    fn hardened(&self, frequency: u8) -> u8 {
        if self.force { 0 } else { frequency.saturating_sub(self.hardness) }
    }
}

impl Shard {
    /// Does background work for at most `budget` items: expiry, compaction, eviction ahead, growth of the
    /// index. Returns whether there is more to do. To be called every turn, and once a second when idle.
    pub fn maintain(&mut self, now: Millis, budget: u32) -> bool {
        if now >= self.flush_at {
            self.flush_now(now);
        }
        if now / 1000 != self.reclaim.second {
            self.tick(now);
        }
        self.sweep(now);
        self.segments.end_rests();
        let growing = self.index.is_growing() && self.grow_step();
        // Free segments go first; eviction is for what they do not cover.
        let over = self.is_over() && !self.fit(self.index.bytes());
        if self.reclaim.job.is_none() {
            self.next_job(over || self.segments.available() <= self.low());
        }
        let mut left = if over { SHRINK_ITEMS.max(budget as usize) } else { budget as usize };
        while left > 0 && self.reclaim.job.is_some() {
            self.step(now);
            left = left.saturating_sub(BATCH);
        }
        growing || over || self.reclaim.job.is_some() || self.segments.has_queued() || self.sweeping()
    }

    /// Once a second.
    fn tick(&mut self, now: Millis) {
        self.reclaim.second = now / 1000;
        self.reclaim.sweep = 0;
        self.calendar.advance(now);
        self.fit(self.index.bytes());
        self.publish();
    }

    fn sweeping(&self) -> bool {
        self.reclaim.sweep < self.segments.headers().len()
    }

    /// Looks for segments that time or a flush has emptied.
    fn sweep(&mut self, now: Millis) {
        let first = self.reclaim.sweep;
        let last = (first + SWEEP_HEADERS).min(self.segments.headers().len());
        self.reclaim.sweep = last;
        for segment in first as u32..last as u32 {
            let header = self.segments.header(segment);
            if header.pins.get() > 0 || header.queued {
                continue;
            }
            let over = header.live_items == 0 || header.expiry_max <= now;
            let half_over = header.expiry_mean() <= now;
            match header.phase {
                Phase::Open if header.used > 0 && (over || half_over) => self.segments.seal_one(segment),
                Phase::Sealed
                    if over || half_over || header.is_half_dead() || self.segments.is_flushed(header) => {}
                _ => continue,
            }
            self.segments.enqueue(segment);
        }
    }

    /// An item's bytes are not needed any more where they are.
    pub(super) fn unpin(&mut self, at: u64) {
        self.segments.unpin(self.segments.segment_of(at));
    }

    /// Segments to take below which room is made ahead.
    fn low(&self) -> usize {
        RELOCATION_RESERVE + (self.segments.count_max() / 64).clamp(1, 4) + self.segments.ahead()
    }

    /// Lets a writer of `bytes` pay its share of the room it takes.
    #[inline]
    pub(super) fn keep_pace(&mut self, bytes: usize, now: Millis) {
        if self.segments.available() > self.low() {
            return;
        }
        self.pay(bytes, now);
    }

    fn pay(&mut self, bytes: usize, now: Millis) {
        self.reclaim.debt = (self.reclaim.debt + bytes * PACE).min(self.segments.segment_bytes());
        while self.reclaim.debt > 0 {
            if self.reclaim.job.is_none() && !self.next_job(true) {
                return;
            }
            self.reclaim.debt = self.reclaim.debt.saturating_sub(self.step(now).max(1));
        }
    }

    /// Works until a segment can be taken, for [`ATTEMPTS_MAX`] attempts at most. `false`: nothing was found to reclaim.
    /// After [`PATIENT_JOBS`] each job frees its segment, unless that has been pinned since it began.
    #[cold]
    pub(super) fn make_room(&mut self, now: Millis) -> bool {
        for attempt in 0..ATTEMPTS_MAX {
            self.segments.end_rests();
            if self.segments.available() > RELOCATION_RESERVE {
                break;
            }
            self.reclaim.force = attempt >= PATIENT_JOBS;
            let before = self.segments.available();
            if self.reclaim.job.is_some() || self.next_job(true) {
                while self.reclaim.job.is_some() {
                    self.step(now);
                }
            }
            if self.segments.available() <= before {
                // Everything was kept or is pinned. What could go may lie in open segments, or hang on a head that
                // does.
                self.segments.seal_fullest();
            }
        }
        self.reclaim.force = false;
        self.segments.available() > RELOCATION_RESERVE
    }

    /// Starts a job: a segment to compact, or, if `evict`, the algorithm's next victim.
    fn next_job(&mut self, evict: bool) -> bool {
        let job = if self.reclaim.force {
            self.victim().or_else(|| self.compactable())
        } else {
            self.compactable().or_else(|| if evict { self.victim() } else { None })
        };
        self.reclaim.job = job;
        self.reclaim.moved = 0;
        job.is_some()
    }

    fn compactable(&mut self) -> Option<Job> {
        let segment = self.segments.take_queued()?;
        Some(Job { segment, done: 0, why: Why::Compact })
    }

    fn victim(&mut self) -> Option<Job> {
        self.eviction.resize(self.index.items());
        self.fit(self.index.bytes());
        let lengths = QueueLengths {
            small: self.segments.sealed(Queue::Small),
            main: self.segments.sealed(Queue::Main),
        };
        let first = self.eviction.victim(lengths);
        let second = if first == Queue::Small { Queue::Main } else { Queue::Small };
        let segment = self.segments.take_oldest(first).or_else(|| self.segments.take_oldest(second))?;
        Some(Job { segment, done: 0, why: Why::Evict })
    }

    /// Handles the next few items of the job; returns the bytes walked.
    fn step(&mut self, now: Millis) -> usize {
        let Some(job) = self.reclaim.job else { return 0 };
        self.reclaim.steps += 1;
        let start = self.segments.start(job.segment);
        let header = self.segments.header(job.segment);
        let used = header.used;
        let mut batch = [(0u64, 0u64); BATCH];
        let mut count = 0;
        // Of nothing but dead items there is nothing to see.
        let mut done = if header.live_items == 0 { used } else { job.done };
        let enough = job.done.saturating_add(STEP_BYTES as u32).min(used);
        while done < enough && count < BATCH {
            let at = start + u64::from(done);
            let item = self.segments.item(at);
            done += item.item_len() as u32;
            if item.is(state::DEAD) {
                continue;
            }
            let hash = hash_of(&self.secrets, &item);
            self.index.prefetch(hash);
            batch[count] = (at, hash);
            count += 1;
        }
        for &(at, hash) in &batch[..count] {
            self.settle(at, hash, job.why, now);
        }
        self.reclaim.job = Some(Job { done, ..job });
        if done == used {
            self.finish(job);
        }
        (done - job.done) as usize
    }

    fn finish(&mut self, job: Job) {
        self.reclaim.job = None;
        match job.why {
            Why::Evict => {
                let used = self.segments.header(job.segment).used as usize;
                self.reclaim.evicted(used, self.segments.count_max(), self.segments.segment_bytes());
                self.stats.segments_evicted.add(1);
            }
            Why::Compact => self.stats.segments_compacted.add(1),
        }
        self.segments.end_draining(job.segment);
    }

    /// Decides what becomes of one item of the job's segment. A chunk shares the fate of its head.
    fn settle(&mut self, at: u64, hash: u64, why: Why, now: Millis) {
        if self.segments.item(at).is(state::DEAD) {
            return;
        }
        let Some((place, slot)) = self.owner(at, hash) else {
            unreachable!("an item that is not dead is in the index, or its head is")
        };
        if !self.segments.item(slot.location()).is_live(now, self.flushed) {
            return self.forget_over(place, slot, hash);
        }
        let queue = self.queue_of(slot);
        let follows = self.follows(at, slot) && !self.reclaim.force;
        let verdict = match why {
            Why::Compact => Verdict::Keep(queue, slot.frequency()),
            Why::Evict if follows => Verdict::Keep(Queue::Main, slot.frequency()),
            Why::Evict => self.eviction.verdict(queue, self.reclaim.hardened(slot.frequency())),
        };
        let is_judged = why == Why::Evict && !follows;
        match verdict {
            Verdict::Keep(to, frequency) => {
                let slot = slot.with_frequency(frequency);
                self.keep(at, (place, slot), hash, (to, is_judged), now);
            }
            Verdict::Drop => self.evict(place, slot, hash),
        }
    }

    /// The slot of an item, or of the head that a chunk belongs to.
    fn owner(&self, at: u64, hash: u64) -> Option<(Place, Slot)> {
        let item = self.segments.item(at);
        if item.present() & present::CHUNK == 0 {
            return self.index.find(hash, |slot| slot.location() == at);
        }
        self.index.find(hash, |slot| {
            let head = self.segments.item(slot.location());
            head.present() & present::CHAIN_HEAD != 0
                && ChainList::new(head.value()).chain() == item.version()
        })
    }

    fn queue_of(&self, slot: Slot) -> Queue {
        self.segments.header(self.segments.segment_of(slot.location())).queue
    }

    /// Whether an item goes where its chain has gone. A chain is judged once while eviction goes round, by the first of its
    /// parts that is met: the others, written before, follow. So do chunks that are on trial although their key has proved
    /// itself before.
    fn follows(&self, at: u64, owner: Slot) -> bool {
        let head = self.segments.item(owner.location());
        if head.present() & present::CHAIN_HEAD == 0 {
            return false;
        }
        let own = self.segments.header(self.segments.segment_of(at));
        own.queue != self.queue_of(owner) || own.sequence <= ChainList::new(head.value()).judged()
    }

    /// Moves an item to the end of a queue, or a chunk and with it a new copy of its head, which its slot names. What
    /// finds no room goes.
    fn keep(
        &mut self,
        at: u64,
        (place, slot): (Place, Slot),
        hash: u64,
        (queue, is_judged): (Queue, bool),
        now: Millis,
    ) {
        let opened = self.segments.opened();
        let Some(to) = self.relocate(slot.location(), queue, now) else {
            return self.evict(place, slot, hash);
        };
        let is_moved = at == slot.location() || self.move_chunks(at, to, queue, now);
        let item = self.segments.item(to);
        let (version, len, is_head) =
            (item.version(), item.item_len(), item.present() & present::CHAIN_HEAD != 0);
        if is_head && is_judged {
            chain::set_judged(self.list_mut(to), opened);
        }
        let slot = Slot::new(hash, to, len).with_frequency(slot.frequency());
        self.index.replace(place, slot);
        if is_moved {
            self.changed(Cause::Moved, to, hash, version);
        } else {
            self.evict(place, slot, hash);
        }
    }

    /// Moves the chunk at `at`, and others of its chain that lie in the same segment if the list is long, so that heads
    /// stay a small share of what moves. `head` is the new one, which nobody can find yet. `false`: there is no room.
    fn move_chunks(&mut self, at: u64, head: u64, queue: Queue, now: Millis) -> bool {
        let segment = self.segments.segment_of(at);
        let lens = (self.segments.item(head).item_len(), self.segments.item(at).item_len());
        let mut left = (lens.0 * HEAD_SHARE).div_ceil(lens.1);
        let list = ChainList::new(self.segments.item(head).value());
        let (first, count) = (list.position(at).expect("a head lists its chunks"), list.len());
        for number in first..count {
            let extent = ChainList::new(self.segments.item(head).value()).extent(number);
            let Some(from) = extent.location().filter(|&from| self.segments.segment_of(from) == segment)
            else {
                continue;
            };
            let Some(to) = self.relocate(from, queue, now) else { return false };
            chain::set_location(self.list_mut(head), number, to);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        true
    }

    /// The list of a head that nobody can find yet.
    fn list_mut(&mut self, head: u64) -> BytesMut<'_> {
        let item = self.segments.item(head);
        let (value_at, len) = (item.value_at() as u64, item.value_len());
        self.segments.bytes_mut(head + value_at, len)
    }

    fn evict(&mut self, place: Place, slot: Slot, hash: u64) {
        let version = self.segments.item(slot.location()).version();
        let queue = self.queue_of(slot);
        self.remove(place, slot, hash, Cause::Evicted, version);
        self.eviction.dropped(queue, hash);
        self.stats.evictions.add(1);
    }

    /// Drops the item at a location that the index names.
    pub(super) fn drop_item(&mut self, at: u64) {
        let hash = hash_of(&self.secrets, &self.segments.item(at));
        if let Some((place, slot)) = self.index.find(hash, |slot| slot.location() == at) {
            self.evict(place, slot, hash);
        }
    }

    /// Copies an item to the end of a queue and marks the old copy dead, before the caller publishes the new one; `None` if
    /// there is no room.
    fn relocate(&mut self, at: u64, queue: Queue, now: Millis) -> Option<u64> {
        let item = self.segments.item(at);
        let (len, expiry, old_state) = (item.item_len(), item.expiry(), item.state());
        let class =
            if item.present() & present::CHUNK != 0 { CLASS_CHUNK } else { class_of(item.expiry(), now) };
        let to = self.segments.append(queue, class, len, expiry, now, 0)?;
        self.segments.copy(at, to, len);
        self.segments.set_state(at, old_state | state::DEAD);
        self.segments.discount(at, len, expiry);
        self.reclaim.lost(&mut self.segments, at);
        self.stats.relocations.add(1);
        self.reclaim.moved += len;
        Some(to)
    }

    /// Forgets everything written until now. The items stay where they are, as dead to every reader, and jobs
    /// walk them off.
    pub(super) fn flush_now(&mut self, now: Millis) {
        self.flush_at = Millis::MAX;
        self.flushed = self.clock.next(now);
        if let Some(listener) = &mut self.listener {
            let (cause, version, key) = (Cause::Flushed, self.flushed, Bytes::default());
            listener.changed(&Change { cause, space: 0, key, hash: 0, version, item: None });
        }
        self.calendar.clear();
        for gauge in [&self.stats.items, &self.stats.bytes_live, &self.stats.bytes_payload] {
            gauge.set(0);
        }
        self.segments.flush();
        self.reclaim.sweep = 0;
        self.publish();
    }
}
