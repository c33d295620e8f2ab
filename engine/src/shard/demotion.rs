//! A tier that takes only what eviction would drop.
//!
//! Changes are not told as they happen. The segments that eviction comes to next are walked ahead of it, and what it would
//! drop of them is *offered*: it is marked as if it had changed, taken, and saved, so that its place stands in the index when
//! eviction comes. Nobody waits for that: what eviction comes to before is dropped, and counted.
//!
//! Of changes a tier is told those that make void what it holds. So when all marks are saved, what it holds is right. What
//! lies in DRAM alone is offered before an orderly end ([`Shard::offer_rest`]).

use super::marks::{Mark, Marks, Progress};
use super::offered::{Demotion, OfferLimits, Walk};
use super::{Shard, hash_of};
use crate::command::Millis;
use crate::eviction::Verdict;
use crate::index::Slot;
use crate::item::{present, state};
use crate::segments::{Phase, Queue};

/// Share of the segments that are offered ahead of eviction, of each queue.
const AHEAD_SHARE: usize = 16;
const AHEAD: std::ops::RangeInclusive<usize> = 2..=64;

impl Shard {
    /// Offers what eviction would drop next, if memory is nearly full: to be called every turn. Nothing comes of it unless
    /// [`Shard::only_demote`] was called.
    pub fn offer_cold(&mut self, now: Millis, limits: OfferLimits) {
        let Some(mut marks) = self.unsaved.take() else { return };
        if marks.demotion.is_some() && self.segments.available() <= self.low() + self.ahead() {
            self.offer(&mut marks, now, limits, true);
        }
        self.unsaved = Some(marks);
    }

    /// Offers everything that lies in DRAM alone, what was written or kept by eviction last first. To be called again until it
    /// returns false: all was offered. Nothing may be written or maintained meanwhile, or some is passed over.
    pub fn offer_rest(&mut self, now: Millis, limits: OfferLimits) -> bool {
        let Some(mut marks) = self.unsaved.take() else { return false };
        let mut goes_on = false;
        if let Some(demotion) = &mut marks.demotion {
            if demotion.rest.is_none() {
                demotion.walk = None;
                demotion.rest = Some(self.written());
            }
            goes_on = self.offer(&mut marks, now, limits, false);
        }
        self.unsaved = Some(marks);
        goes_on
    }

    /// What is not offered yet stays in DRAM alone.
    pub fn end_offers(&mut self) {
        if let Some(demotion) = self.unsaved.as_mut().and_then(|marks| marks.demotion.as_mut()) {
            (demotion.walk, demotion.rest) = (None, Some(Vec::new()));
        }
    }

    /// Whether an item of DRAM that loses its place on the tier, where it was read so often, is told anew.
    pub(super) fn tells_anew(&self, slot: Slot, accesses: u8) -> bool {
        let was_read = accesses > 0 || slot.frequency() > 0;
        let Some(demotion) = self.unsaved.as_ref().and_then(|marks| marks.demotion.as_ref()) else {
            return was_read;
        };
        match &demotion.rest {
            // Those that were saved before the end may lose their places to the others; in the end all stays as it is.
            Some(rest) => !rest.is_empty() || demotion.walk.is_some(),
            // What is still to be offered is told then.
            None => {
                let segment = self.segments.segment_of(slot.location());
                let is_offered = demotion.is_offered(segment, self.segments.header(segment).sequence);
                is_offered && was_read
            }
        }
    }

    fn ahead(&self) -> usize {
        (self.segments.count_max() / AHEAD_SHARE).clamp(*AHEAD.start(), *AHEAD.end())
    }

    /// Segments that hold something, in the order of their opening.
    fn written(&self) -> Vec<(u64, u32)> {
        let headers = self.segments.headers().iter().zip(0..);
        let is_written = |phase| !matches!(phase, Phase::Free | Phase::Resting | Phase::Retired);
        let mut written: Vec<_> = headers
            .filter(|(header, _)| is_written(header.phase) && header.live_items > 0)
            .map(|(header, segment)| (header.sequence, segment))
            .collect();
        written.sort_unstable();
        written
    }

    /// Returns whether there is more to offer.
    fn offer(&self, marks: &mut Marks, now: Millis, limits: OfferLimits, only_cold: bool) -> bool {
        let mut left = limits.items;
        while left > 0 && marks.len() < limits.marks && marks.waiting_bytes() < limits.bytes {
            let Some(demotion) = &mut marks.demotion else { return false };
            let Some(mut walk) = demotion.walk.take().or_else(|| self.next_walk(demotion)) else {
                return false;
            };
            let header = self.segments.header(walk.segment);
            let is_same = header.sequence == walk.sequence && header.phase != Phase::Free;
            if !is_same || walk.done >= header.used {
                demotion.set_offered(walk.segment, walk.sequence);
                continue;
            }
            let at = self.segments.start(walk.segment) + u64::from(walk.done);
            walk.done += self.segments.item(at).item_len() as u32;
            demotion.walk = Some(walk);
            self.offer_item(marks, at, header.queue, now, only_cold);
            left -= 1;
        }
        true
    }

    /// The next segment to be offered.
    fn next_walk(&self, demotion: &mut Demotion) -> Option<Walk> {
        if let Some(rest) = &mut demotion.rest {
            return rest.pop().map(|(sequence, segment)| Walk { segment, sequence, done: 0 });
        }
        let jobs = self.stats.segments_evicted.read() + self.stats.segments_compacted.read();
        let state = Some((self.segments.opened(), jobs));
        if demotion.idle_at == state {
            return None;
        }
        let next = [Queue::Small, Queue::Main].into_iter().find_map(|queue| {
            self.segments.oldest(queue).take(self.ahead()).find_map(|segment| {
                let sequence = self.segments.header(segment).sequence;
                let is_due = !demotion.is_offered(segment, sequence);
                is_due.then_some(Walk { segment, sequence, done: 0 })
            })
        });
        demotion.idle_at = if next.is_none() { state } else { None };
        next
    }

    fn offer_item(&self, marks: &mut Marks, at: u64, queue: Queue, now: Millis, only_cold: bool) {
        let item = self.segments.item(at);
        let is_plain = item.present() & (present::CHAIN_HEAD | present::CHUNK) == 0;
        let is_taken = is_plain && !item.is(state::DEAD) && !item.is(state::PLACEHOLDER);
        if !is_taken || !item.is_live(now, self.flushed) {
            return;
        }
        let hash = hash_of(&self.secrets, &item);
        let Some((_, slot)) = self.index.find(hash, |slot| slot.location() == at) else { return };
        let frequency = self.reclaim.hardened(slot.frequency());
        let stays = only_cold && self.eviction.verdict(queue, frequency) != Verdict::Drop;
        let is_told =
            matches!(marks.progress(hash), Some(Progress::Written | Progress::Saving { is_item: true }));
        if stays || is_told || self.index.find_elsewhere(hash).is_some() {
            return;
        }
        let (version, bytes) = (item.version(), item.item_len() as u64);
        marks.note(hash, Mark { version, bytes, space: item.space(), slot: 0, progress: Progress::Written });
    }
}
