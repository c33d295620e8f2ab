//! Learning what a medium holds, while commands come.
//!
//! A key has all of its records in one stream of the medium, in the order of their versions, and a stream is told newest first.
//! So what is told first of a key is what counts, and anything that has become of the key since the start counts for more:
//!
//! ```text
//!   told of a key            in DRAM, or named in the index     gone     neither
//!   an item                  nothing                            nothing  the index names its place
//!   that there is none       gone                               gone     gone
//! ```
//!
//! *Gone* are keys that the index does not name, though older records of them may still be told: what had a tombstone or was
//! over, and whatever has left DRAM or the index meanwhile. A key of a slot that has not been told to its end is *unknown* as
//! long as it is none of these. A command that needs to know it is answered with [`Ticket::UNKNOWN`].

use super::unknown::{GONE_SETS, Known, Recovered, Recovery, What};
use super::{Key, Shard};
#[cfg(doc)]
use crate::command::Ticket;
use crate::index::{Elsewhere, Full, Role};
use crate::reader::RECOVERING;
use std::collections::HashSet;

/// Keys that are gone are remembered in this share of a shard's memory, with so many bytes each while a set grows.
const GONE_SHARE: u64 = 4;
const GONE_BYTES: u64 = 32;
/// What is told that is handled together: buckets are fetched meanwhile.
const AHEAD: usize = 32;

impl Shard {
    /// The keys of these slots have items on a medium of which nothing is known yet. `slot_of` gives the slot of a key;
    /// `reads_wait`: whether plain reads of unknown keys wait, or miss.
    pub fn begin_recovery(
        &mut self,
        slots: impl IntoIterator<Item = u16>,
        slot_of: fn(&[u8]) -> u16,
        reads_wait: bool,
    ) {
        let mut recovery = Recovery {
            slot_of,
            unknown: Vec::new(),
            slots: 0,
            reads_wait,
            gone: (0..GONE_SETS).map(|_| HashSet::default()).collect(),
            heads: HashSet::default(),
            gone_count: 0,
            gone_max: (self.memory_bytes / GONE_SHARE / GONE_BYTES) as usize,
            is_cut: false,
            awaited: HashSet::default(),
            heard: Vec::new(),
        };
        slots.into_iter().for_each(|slot| recovery.set_unknown(slot, true));
        self.recovery = Some(Box::new(recovery));
        self.index.expect_more(true);
        self.publish_flushes();
    }

    /// Whether there are slots that have not been told to their end.
    pub fn is_recovering(&self) -> bool {
        self.recovery.is_some()
    }

    /// Takes what is told of keys, newest first.
    ///
    /// # Panics
    /// If a place is not below [`crate::index::PLACES`].
    pub fn recover(&mut self, told: &[Known]) -> Recovered {
        let mut recovered = Recovered::default();
        for known in told.chunks(AHEAD) {
            for known in known {
                self.index.prefetch(known.hash);
                self.index.prefetch_elsewhere(known.hash);
            }
            known.iter().for_each(|known| self.learn(*known, &mut recovered));
        }
        recovered
    }

    fn learn(&mut self, Known { hash, place, what, space }: Known, recovered: &mut Recovered) {
        self.hear(hash);
        let Some(recovery) = &self.recovery else { return };
        if !self.spaces.shows(space, u64::MAX) {
            return;
        }
        if let What::ChunkOf(of) = what {
            return self.learn_chunk(space, hash, of, place);
        }
        let Some(place) = place else { return self.supersede(hash) };
        if recovery.is_gone(hash) || self.index.find_elsewhere(hash).is_some() || self.item_of(hash).is_some()
        {
            return;
        }
        if recovery.is_cut {
            recovered.lost += 1;
            return;
        }
        match self.name_older_place(space, Elsewhere::new(hash, place, Role::Only)) {
            Ok(()) => {
                recovered.items += 1;
                if what == What::Head {
                    self.remember_head(hash);
                }
            }
            Err(Full) => recovered.lost += 1,
        }
    }

    /// Of a key that has no item any more, or one in DRAM alone, nobody looks for chunks.
    fn learn_chunk(&mut self, space: u16, name: u64, of: u64, place: Option<u64>) {
        let has_head = self.index.find_elsewhere(of).is_some_and(|(_, entry)| !entry.is_chunk());
        let is_cut = self.recovery.as_ref().is_some_and(|recovery| recovery.is_cut);
        if let Some(place) = place.filter(|_| has_head && !is_cut && self.chunk_place(name).is_none()) {
            // What there is no room for makes its chain miss.
            let _ = self.name_older_place(space, Elsewhere::new(name, place, Role::Chunk));
        }
    }

    /// The index is expected to name so many items in the end: it grows to that in fewer steps. It may turn out to be wrong.
    pub fn expect(&mut self, items: u64) {
        self.index.expect(items);
    }

    /// Keys of the medium that the index names.
    pub fn elsewhere(&self) -> u64 {
        self.index.elsewhere() - self.index.flushed()
    }

    /// These slots have been told to their end.
    pub fn end_slots(&mut self, slots: impl IntoIterator<Item = u16>) {
        let Some(recovery) = &mut self.recovery else { return };
        slots.into_iter().for_each(|slot| recovery.set_unknown(slot, false));
        recovery.hear_all();
        if recovery.slots == 0 {
            self.end_recovery();
        }
    }

    /// A tier may hold items that were not told: deletions of keys that miss are of interest to it from now on.
    pub fn leave_untold(&mut self) {
        self.mark_lost();
    }

    /// Nothing more is told that counts.
    pub(super) fn end_recovery(&mut self) {
        if self.recovery.take().is_some() {
            self.index.expect_more(false);
            self.index.expect(0);
            self.publish_flushes();
        }
    }

    /// Older records of a key say nothing any more that is about to be in neither DRAM nor index, or is not there.
    #[inline]
    pub(super) fn supersede(&mut self, hash: u64) {
        if self.recovery.is_some() {
            self.remember_gone(hash);
        }
    }

    #[inline(never)]
    fn remember_gone(&mut self, hash: u64) {
        let Some(recovery) = self.recovery.as_mut().filter(|recovery| !recovery.is_cut) else { return };
        recovery.hear(hash);
        recovery.gone_count += usize::from(recovery.gone[Recovery::set_of(hash)].insert(hash));
        self.cut_if_too_many();
    }

    fn remember_head(&mut self, hash: u64) {
        if let Some(recovery) = &mut self.recovery {
            recovery.heads.insert(hash);
        }
        self.cut_if_too_many();
    }

    fn cut_if_too_many(&mut self) {
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.gone_count + recovery.heads.len() > recovery.gone_max {
            recovery.is_cut = true;
            recovery.hear_all();
            (recovery.gone, recovery.gone_count) = (Vec::new(), 0);
            recovery.heads = HashSet::default();
            // What is told from now on is not taken, so deletions of keys that miss are of interest to the tier.
            self.mark_lost();
        }
    }

    /// Somebody waits until more is known of the key with this hash, whose command was answered with [`Ticket::UNKNOWN`]:
    /// [`Shard::take_known`] tells.
    pub fn await_known(&mut self, hash: u64) {
        self.recovery.iter_mut().for_each(|recovery| _ = recovery.awaited.insert(hash));
    }

    /// Whether [`Shard::take_known`] has something to tell.
    pub fn has_known(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| !recovery.heard.is_empty())
    }

    /// Gives `tell` the keys that were waited for and of which more is known now, be it by what was told or by a change. A command may
    /// have to wait again: for the chunks of a long value. When recovery has ended all is known, and nothing is told of it.
    pub fn take_known(&mut self, tell: impl FnMut(u64)) {
        if let Some(recovery) = &mut self.recovery {
            recovery.heard.drain(..).for_each(tell);
        }
    }

    /// More is known of a key.
    #[inline]
    pub(super) fn hear(&mut self, hash: u64) {
        self.recovery.iter_mut().for_each(|recovery| recovery.hear(hash));
    }

    /// Whether a key has a long value of which chunks may still be told.
    pub(super) fn waits_for_chunks(&self, key: Key<'_>) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| {
            recovery.heads.contains(&key.hash) && recovery.is_unknown((recovery.slot_of)(key.bytes))
        })
    }

    /// Whether plain reads of what is not known wait.
    pub(super) fn reads_wait(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.reads_wait)
    }

    /// Whether a command has to wait until more is known of a key that has no item in DRAM or index.
    pub(super) fn waits_to_know(&self, key: Key<'_>, may_miss: bool) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| {
            let waits = !may_miss || recovery.reads_wait;
            waits
                && !recovery.is_cut
                && !recovery.is_gone(key.hash)
                && recovery.is_unknown((recovery.slot_of)(key.bytes))
        })
    }

    /// Tells readers of other threads what flushes have left to see. While not all is known they see nothing.
    pub(super) fn publish_flushes(&self) {
        let flush_at = if self.recovery.is_some() { RECOVERING } else { self.flush_at };
        self.flushes.publish(self.flushed, flush_at);
    }
}
