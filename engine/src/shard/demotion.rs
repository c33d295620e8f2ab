//! A tier that takes only what eviction would drop.
//!
//! Changes are not told as they happen. The segments that eviction comes to next are walked ahead of it, and what it would
//! drop of them is *offered*: it is marked as if it had changed, taken, and saved, so that its place stands in the index when
//! eviction comes. Nobody waits for that: what eviction comes to before is dropped, and counted.
//!
//! A long value is offered as a whole when the first of its parts is met, as that is where eviction judges it. It is marked by its
//! head and taken as any long value is, its head last; so one that eviction comes to before it was taken is nowhere, and of its chunks
//! none is named.
//!
//! Of changes a tier is told those that make void what it holds. So when all marks are saved, what it holds is right. What
//! lies in DRAM alone is offered before an orderly end ([`Shard::offer_rest`]).

use super::marks::{Mark, Marks, Progress};
use super::offered::{Demotion, OfferLimits, Walk};
use super::{Shard, hash_of};
use crate::chain::ChainList;
use crate::command::Millis;
use crate::eviction::Verdict;
use crate::index::Slot;
use crate::item::{ItemRef, present, state};
use crate::segments::{Phase, Queue};
use std::ops::RangeInclusive;

/// Share of the segments that are offered ahead of eviction, of each queue.
const AHEAD_SHARE: usize = 16;
/// The same, of long values.
const LONG_AHEAD_SHARE: usize = 4;
const AHEAD: std::ops::RangeInclusive<usize> = 2..=64;

impl Shard {
    /// Offers what eviction would drop next, if memory is nearly full: to be called every turn. Nothing comes of it unless
    /// [`Shard::only_demote`] was called.
    pub fn offer_cold(&mut self, now: Millis, limits: OfferLimits) {
        let Some(mut marks) = self.unsaved.take() else { return };
        let room = self.segments.available();
        if marks.demotion.as_ref().is_some_and(|demotion| room <= self.low() + self.ahead(demotion)) {
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

    /// What is not offered yet stays in DRAM alone, as do long values that are not taken as a whole: what is marked after this is
    /// little, whatever it is of.
    pub fn end_offers(&mut self) {
        let Some(mut marks) = self.unsaved.take() else { return };
        if let Some(demotion) = &mut marks.demotion {
            (demotion.walk, demotion.rest, demotion.is_over) = (None, Some(Vec::new()), true);
            self.give_up_long(&mut marks);
        }
        self.unsaved = Some(marks);
    }

    fn give_up_long(&self, marks: &mut Marks) {
        for (&hash, mark) in marks.by_hash.iter_mut().filter(|(_, mark)| mark.progress == Progress::Written) {
            let is_head = |item: &ItemRef<'_>| item.present() & present::CHAIN_HEAD != 0;
            if let Some(item) = self.item_of(hash).filter(is_head) {
                marks.waiting_bytes -= mark.bytes;
                let slot = item.key().with_copy(marks.slot_of);
                *mark = Mark { bytes: 0, slot, progress: Progress::Gone, ..*mark };
            }
        }
    }

    /// The tier has no room any more for items of these slots that is not taken by what was offered before an orderly end: others stay
    /// in DRAM alone.
    pub fn leave_out(&mut self, slots: RangeInclusive<u16>) {
        if let Some(demotion) = self.unsaved.as_mut().and_then(|marks| marks.demotion.as_mut()) {
            demotion.full.push(slots);
        }
    }

    /// Whether an item of DRAM that loses its place on the tier is told anew. `is_worth`: it was read so often that it may stay.
    pub(super) fn tells_anew(&self, slot: Slot, accesses: u8, is_worth: bool) -> bool {
        let was_read = is_worth && (accesses > 0 || slot.frequency() > 0);
        let Some(marks) = &self.unsaved else { return was_read };
        let Some(demotion) = &marks.demotion else { return was_read };
        if demotion.is_over || demotion.is_full_of(|| self.key_slot(slot.location(), marks)) {
            return false;
        }
        // What is still to be met is offered then.
        let sequence = |segment| self.segments.header(segment).sequence;
        match &demotion.rest {
            Some(rest) => {
                let next = rest.last().map_or(0, |(sequence, _)| *sequence);
                self.has_part_in(slot, |segment| sequence(segment) > next)
            }
            None => {
                was_read && self.has_part_in(slot, |segment| demotion.is_offered(segment, sequence(segment)))
            }
        }
    }

    /// Whether the item, or a part of the long value, lies in such a segment.
    fn has_part_in(&self, slot: Slot, is_such: impl Fn(u32) -> bool) -> bool {
        let at = slot.location();
        let is_in = |at| is_such(self.segments.segment_of(at));
        if is_in(at) || self.segments.item(at).present() & present::CHAIN_HEAD == 0 {
            return is_in(at);
        }
        let list = self.list(at);
        (0..list.len()).filter_map(|number| list.extent(number).location()).any(is_in)
    }

    /// The slot of the key whose item lies at a place.
    fn key_slot(&self, at: u64, marks: &Marks) -> u16 {
        self.segments.item(at).key().with_copy(marks.slot_of)
    }

    /// Segments that are offered ahead of eviction, of each queue: as many more as a long value takes, of which all is written when
    /// eviction comes to its first part.
    fn ahead(&self, demotion: &Demotion) -> usize {
        let count = self.segments.count_max();
        let long = demotion.longest.div_ceil(self.segments.segment_bytes() as u64) as usize;
        (count / AHEAD_SHARE).clamp(*AHEAD.start(), *AHEAD.end()) + long.min(count / LONG_AHEAD_SHARE)
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
            left = left.saturating_sub(self.offer_item(marks, at, now, only_cold));
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
            self.segments.oldest(queue).take(self.ahead(demotion)).find_map(|segment| {
                let sequence = self.segments.header(segment).sequence;
                let is_due = !demotion.is_offered(segment, sequence);
                is_due.then_some(Walk { segment, sequence, done: 0 })
            })
        });
        demotion.idle_at = if next.is_none() { state } else { None };
        next
    }

    /// Marks the item at a place, or the long value that it is a part of. Returns how many items were looked at for it.
    fn offer_item(&self, marks: &mut Marks, at: u64, now: Millis, only_cold: bool) -> usize {
        let part = self.segments.item(at);
        let is_full = |demotion: &Demotion| demotion.is_full_of(|| self.key_slot(at, marks));
        if part.is(state::DEAD) || marks.demotion.as_ref().is_some_and(is_full) {
            return 1;
        }
        let hash = hash_of(&self.secrets, &part);
        // A chunk of a value that is under way has no head yet.
        let Some((_, slot)) = self.owner(at, hash) else { return 1 };
        let item = self.segments.item(slot.location());
        let is_shown = self.spaces.shows(item.space(), item.version());
        let is_taken = !item.is(state::PLACEHOLDER) && item.is_live(now, self.flushed) && is_shown;
        let is_marked = marks.progress(hash) == Some(Progress::Written);
        if !is_taken || is_marked || marks.is_saving_item(hash) || self.index.find_elsewhere(hash).is_some() {
            return 1;
        }
        if only_cold && self.stays(at, slot) {
            return 1;
        }
        let (version, bytes) = (item.version(), self.unsaved_bytes_of(Some(marks), hash, &item));
        marks.note(hash, Mark { version, bytes, space: item.space(), slot: 0, progress: Progress::Written });
        if item.present() & present::CHAIN_HEAD == 0 {
            return 1;
        }
        let list = ChainList::new(item.value());
        marks.demotion.iter_mut().for_each(|demotion| demotion.has_offered_long(list.stored_bytes()));
        1 + list.len()
    }

    /// Whether eviction would keep the item at a place, or the long value that it is a part of.
    fn stays(&self, at: u64, owner: Slot) -> bool {
        let frequency = self.reclaim.hardened(owner.frequency());
        self.follows(at, owner) || self.eviction.verdict(self.queue_of(owner), frequency) != Verdict::Drop
    }
}
