//! Making segments free: eviction, compaction, expiry, flush.
//!
//! One *job* at a time walks one segment from its start to its end, a few items a step. An item that is dead,
//! expired or flushed is left behind; a live one is moved to an open segment or dropped. At the end the
//! segment holds nothing and is free. Two kinds of job:
//!
//! - *compact* keeps every live item. Segments that are more than half dead, or whose items have expired, wait
//!   in a queue for it; the sweep that finds the expired ones passes over all segments once a second. They wait up to a second,
//!   or until segments are few: what dies meanwhile has not to be moved. A segment without live items does not wait.
//! - *evict* asks the eviction algorithm. It is started when few segments are left to take.
//!
//! Writers pay as they go ([`Shard::keep_pace`]): once the free segments run low, every byte written walks
//! [`PACE`] bytes of a job, so nobody waits for a whole segment. Idle turns work ahead ([`Shard::maintain`]).
//!
//! No call takes longer because there are more segments. Where nearly all items are hot, eviction yields less than a
//! [`PACE`]th of what it walks. Then accesses count for less until it yields enough again: for every few segments that it
//! walks in vain, one access less is counted of each item (*hardness*). A command that finds no room waits for
//! [`PATIENT_JOBS`] of these jobs; after that, eviction drops whatever it meets, and after [`SPARING_JOBS`] more also what a tier
//! is about to get.
//!
//! Segments that are pinned when their turn comes leave their queue and return with the last pin. A flush is a mark, and
//! the sweep finds what lies before it.

use super::job::{Job, PACE, Why};
use super::{Shard, hash_of};
use crate::bytes::Bytes;
use crate::changes::{Cause, Change};
use crate::command::Millis;
use crate::eviction::QueueLengths;
use crate::item::state;
use crate::segments::{Phase, Queue, RELOCATION_RESERVE, SegmentHeader, Segments};

/// Items of a job that are handled together: their buckets are fetched meanwhile.
const BATCH: usize = 8;
/// Bytes of a job, dead ones included, that are walked in a step; one item is whatever its length.
const STEP_BYTES: usize = 64 << 10;
/// Items of a job that are handled in a turn, at least, while segments have to go for what is set aside.
const SHRINK_ITEMS: usize = 512;
/// Segment headers that one call of [`Shard::maintain`] looks at.
const SWEEP_HEADERS: usize = 256;
/// Buckets of the index that it looks at for what was flushed.
const SWEEP_BUCKETS: usize = 512;
/// Jobs after which a command that finds no room has eviction drop whatever it meets.
const PATIENT_JOBS: usize = 2;
/// Jobs after those in which it still spares what a tier is about to get.
const SPARING_JOBS: usize = 8;
/// Attempts of a command to find room: jobs, or searches that met nothing but pinned segments.
const ATTEMPTS_MAX: usize = 64;

/// Whether all of a segment's items are dead or expired, or half of them by their bytes have expired.
fn is_spent(header: &SegmentHeader, now: Millis) -> bool {
    header.live_items == 0 || header.expiry_max <= now || header.expiry_mean() <= now
}

/// Whether compacting a sealed segment makes room.
fn is_worth_a_job(segments: &Segments, header: &SegmentHeader, now: Millis) -> bool {
    is_spent(header, now) || header.is_half_dead() || segments.is_flushed(header)
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
        let growing = self.index.is_elsewhere_growing() && self.grow_places_step() || growing;
        let flushing = self.index.flushed() > 0 && self.index.sweep_flushed(SWEEP_BUCKETS);
        let flushing = self.drop_some() || flushing;
        self.stats.tier_only_items.set(self.index.only_elsewhere());
        self.publish_only();
        // Free segments go first; eviction is for what they do not cover.
        let too_many = self.has_too_many_segments() && !self.fit(self.index.bytes());
        let few = too_many || self.segments.available() <= self.low();
        if self.reclaim.job.is_none() && !self.next_job(few, now) && too_many && self.segments.seal_fullest()
        {
            // All that could go lay in open segments.
            self.next_job(true, now);
        }
        // Without a job, what is left to go is pinned. It goes with its pins; no turn need be made for it before.
        let shrinks = (too_many || self.segments.lacks_room_to_rest()) && self.reclaim.job.is_some();
        let mut left = if too_many { SHRINK_ITEMS.max(budget as usize) } else { budget as usize };
        while left > 0 && self.reclaim.job.is_some() {
            self.step(now);
            left = left.saturating_sub(BATCH);
        }
        growing
            || flushing
            || shrinks
            || self.reclaim.job.is_some()
            || self.segments.has_queued()
            || self.sweeping()
    }

    /// Once a second.
    fn tick(&mut self, now: Millis) {
        self.reclaim.second = now / 1000;
        self.reclaim.sweep = 0;
        self.segments.ripen();
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
            match header.phase {
                Phase::Open if header.used > 0 && is_spent(header, now) => self.segments.seal_one(segment),
                Phase::Sealed if is_worth_a_job(&self.segments, header, now) => {}
                _ => continue,
            }
            self.segments.enqueue(segment);
            // No more of its items are expected to die, so it need not wait.
            self.segments.ripen();
        }
    }

    /// Segments to take below which room is made ahead.
    pub(super) fn low(&self) -> usize {
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
            if self.reclaim.job.is_none() && !self.next_job(true, now) {
                return;
            }
            self.reclaim.debt = self.reclaim.debt.saturating_sub(self.step(now).max(1));
        }
    }

    /// Works until a segment can be taken, for [`ATTEMPTS_MAX`] attempts at most. `false`: nothing was found to reclaim.
    /// In the end each job frees its segment, unless that has been pinned since it began.
    #[cold]
    pub(super) fn make_room(&mut self, now: Millis) -> bool {
        for attempt in 0..ATTEMPTS_MAX {
            self.segments.end_rests();
            if self.segments.available() > RELOCATION_RESERVE {
                break;
            }
            self.reclaim.force = attempt >= PATIENT_JOBS;
            self.reclaim.drops_unsaved = attempt >= PATIENT_JOBS + SPARING_JOBS;
            let before = self.segments.available();
            if self.reclaim.job.is_some() || self.next_job(true, now) {
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
        (self.reclaim.force, self.reclaim.drops_unsaved) = (false, false);
        self.segments.available() > RELOCATION_RESERVE
    }

    /// Starts a job: a segment to compact, or, if `evict`, the algorithm's next victim.
    fn next_job(&mut self, evict: bool, now: Millis) -> bool {
        let job = if self.reclaim.force {
            self.victim().or_else(|| self.compactable(true, now))
        } else {
            self.compactable(evict, now).or_else(|| if evict { self.victim() } else { None })
        };
        self.reclaim.job = job;
        self.reclaim.moved = 0;
        job.is_some()
    }

    fn compactable(&mut self, anyway: bool, now: Millis) -> Option<Job> {
        let worth = |segments: &Segments, header: &SegmentHeader| is_worth_a_job(segments, header, now);
        let segment = self.segments.take_queued(anyway, worth)?;
        Some(Job { segment, done: 0, why: Why::Compact })
    }

    fn victim(&mut self) -> Option<Job> {
        self.resize_eviction();
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
        // Dead items need not be looked at one by one.
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
            self.index.prefetch_elsewhere(hash);
            batch[count] = (at, hash);
            count += 1;
        }
        for &(at, hash) in &batch[..count] {
            self.settle(at, hash, job.why, now);
        }
        self.reclaim.job = Some(Job { done, ..job });
        if done >= used {
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

    /// Forgets everything written until now. The items stay where they are, as dead to every reader, and jobs
    /// walk them off.
    pub(super) fn flush_now(&mut self, now: Millis) {
        self.flush_at = Millis::MAX;
        self.void_all(now);
    }

    /// The flush itself; one that is due later stays so.
    pub(super) fn void_all(&mut self, now: Millis) {
        // Nobody can hold a flush back. At the ceiling it does with the last version: what comes after it has a higher one.
        self.flushed = self.clock.next_below_ceiling(now);
        // What a medium held is flushed, too.
        self.end_recovery();
        self.publish_flushes();
        self.mark_flushed();
        self.index.flush_elsewhere();
        for listener in &mut self.listeners {
            let (cause, version, key) = (Cause::Flushed, self.flushed, Bytes::default());
            listener.changed(&Change { cause, space: 0, key, hash: 0, version, item: None });
        }
        self.calendar.clear();
        self.stats.clear_databases();
        self.end_dropping();
        self.segments.flush();
        self.reclaim.sweep = 0;
        self.publish();
    }
}
