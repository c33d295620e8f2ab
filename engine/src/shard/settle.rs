//! What becomes of an item that a job meets: it moves to the end of a queue, or goes.
//!
//! A chain is one item to eviction. Whichever of its parts is met first is judged by the accesses to the value, and the others
//! follow when they are met. As nobody may see a list change, a chunk that moves takes a new copy of its head with it.
//!
//! What a tier is about to get is not dropped before it is saved. Until then the index names no place of it, so its key would
//! miss, though it was written, or told anew, only just now. It moves to the main queue, where a later round drops it: in the small one it
//! would come to the same end at once, and again, while the main one has what can go. That is bounded, as changes wait while too
//! many are unsaved; and where a command finds no room though all else has gone, all can go, and is counted.

use super::job::Why;
use super::marks::Progress;
use super::{Shard, hash_of};
use crate::bytes_mut::BytesMut;
use crate::chain::{self, ChainList};
use crate::changes::Cause;
use crate::command::Millis;
use crate::eviction::Verdict;
use crate::index::{Place, Slot};
use crate::item::{present, state};
use crate::segments::{CLASS_CHUNK, Queue, class_of};

/// So many chunks move with one new head that they are at least this many times as long as it, if the segment has as many.
const HEAD_SHARE: usize = 8;

impl Shard {
    /// Decides what becomes of one item of the job's segment. A chunk shares the fate of its head.
    pub(super) fn settle(&mut self, at: u64, hash: u64, why: Why, now: Millis) {
        if self.segments.item(at).is(state::DEAD) {
            return;
        }
        let Some((place, slot)) = self.owner(at, hash) else {
            unreachable!("an item that is not dead is in the index, or its head is")
        };
        let item = self.segments.item(slot.location());
        if !item.is_live(now, self.flushed) || !self.spaces.shows(item.space(), item.version()) {
            return self.forget_expired(place, slot, hash);
        }
        let queue = self.queue_of(slot);
        let follows = self.follows(at, slot) && !self.reclaim.force;
        let verdict = match why {
            Why::Compact => Verdict::Keep(queue, slot.frequency()),
            Why::Evict if follows => Verdict::Keep(Queue::Main, slot.frequency()),
            Why::Evict => self.judge(queue, slot, hash),
        };
        let is_judged = why == Why::Evict && !follows;
        if is_judged && slot.frequency() > 0 {
            self.count_elsewhere(hash, slot.frequency());
        }
        match verdict {
            Verdict::Keep(to, frequency) => {
                let slot = slot.with_frequency(frequency);
                self.keep(at, (place, slot), hash, (to, is_judged), now);
            }
            Verdict::Drop => self.evict(place, slot, hash),
        }
    }

    /// What eviction makes of an item, or of a chain.
    fn judge(&self, queue: Queue, slot: Slot, hash: u64) -> Verdict {
        match self.eviction.verdict(queue, self.reclaim.hardened(slot.frequency())) {
            Verdict::Drop if !self.reclaim.drops_unsaved && self.is_being_saved(hash) => {
                Verdict::Keep(Queue::Main, 0)
            }
            verdict => verdict,
        }
    }

    /// Whether a tier that takes everything has not got an item yet. One that takes what eviction would drop is not waited for.
    fn is_being_saved(&self, hash: u64) -> bool {
        self.unsaved.as_ref().filter(|marks| marks.demotion.is_none()).is_some_and(|marks| {
            matches!(marks.progress(hash), Some(Progress::Written | Progress::Saving { is_item: true }))
        })
    }

    /// The slot of an item, or of the head that a chunk belongs to.
    pub(super) fn owner(&self, at: u64, hash: u64) -> Option<(Place, Slot)> {
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

    pub(super) fn queue_of(&self, slot: Slot) -> Queue {
        self.segments.header(self.segments.segment_of(slot.location())).queue
    }

    /// Whether an item goes where its chain has gone. A chain is judged once while eviction goes round, by the first of its
    /// parts that is met: the others, written before, follow. So do chunks that are on trial although their key has proved
    /// itself before.
    pub(super) fn follows(&self, at: u64, owner: Slot) -> bool {
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
        let Some(to) = self.relocate(slot.location(), hash, queue, now) else {
            return self.evict(place, slot, hash);
        };
        let is_moved = at == slot.location() || self.move_chunks(at, (to, hash), queue, now);
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
    fn move_chunks(&mut self, at: u64, (head, hash): (u64, u64), queue: Queue, now: Millis) -> bool {
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
            let Some(to) = self.relocate(from, hash, queue, now) else { return false };
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
        let item = self.segments.item(slot.location());
        let version = item.version();
        self.stats.evictions_unread.add(u64::from(!item.is(state::FETCHED)));
        let queue = self.queue_of(slot);
        self.stats.evictions_unsaved.add(u64::from(self.is_being_saved(hash)));
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

    /// Copies an item, or a chunk of the one with this hash, to the end of a queue and marks the old copy dead, before the caller
    /// publishes the new one; `None` if there is no room.
    fn relocate(&mut self, at: u64, hash: u64, queue: Queue, now: Millis) -> Option<u64> {
        let item = self.segments.item(at);
        let (len, expiry, old_state) = (item.item_len(), item.expiry(), item.state());
        let class =
            if item.present() & present::CHUNK != 0 { CLASS_CHUNK } else { class_of(item.expiry(), now) };
        let to = self.segments.append(queue, class, len, expiry, now, 0).or_else(|| {
            // What one segment held may belong to more classes than there are segments to open for them. Others are not worth it.
            self.is_being_saved(hash).then(|| self.segments.append_to_any(queue, len, expiry))?
        })?;
        self.segments.copy(at, to, len);
        self.segments.set_state(at, old_state | state::DEAD);
        self.segments.discount(at, len, expiry);
        self.reclaim.lost(&mut self.segments, at);
        self.stats.relocations.add(1);
        self.reclaim.moved += len;
        Some(to)
    }
}
