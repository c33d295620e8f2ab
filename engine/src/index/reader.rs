//! The index, as others than its owner read it.

use super::geometry::Geometry;
use super::table::{BUCKET_BYTES, Head};
use super::{PROBE_BUCKETS, SLOTS_PER_BUCKET, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use torc_pmem::media::memory::MemoryRange;

/// Why what was not found may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsure {
    /// Items changed places while they were looked at.
    Moved,
    /// Something is elsewhere.
    Elsewhere,
}

/// Reads the index of a shard while its owner changes it.
#[derive(Debug, Clone)]
pub(crate) struct IndexReader {
    range: Arc<MemoryRange>,
    geometry: Arc<Geometry>,
}

/// Where a slot is, to be loaded again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotWord<'i>(&'i AtomicU64);

impl SlotWord<'_> {
    /// Whether the slot still names the item that it named when it was `slot`. If it does, all of that item's bytes are seen.
    #[inline]
    pub(crate) fn still_names(self, slot: Slot) -> bool {
        #[cfg(test)]
        if crate::steps::has(crate::steps::Fault::SlotAgain) {
            return true;
        }
        #[cfg(test)]
        crate::steps::step();
        // R5 of `reader.rs`.
        Slot::from_bits(self.0.load(Ordering::Acquire)).names_same(slot)
    }
}

impl IndexReader {
    pub(super) fn new(range: Arc<MemoryRange>, geometry: Arc<Geometry>) -> IndexReader {
        IndexReader { range, geometry }
    }

    /// Starts to fetch the home of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(geometry) = self.geometry.look() {
            let bucket = geometry.home(hash) * BUCKET_BYTES;
            crate::prefetch::line(self.range.as_ptr().wrapping_add(bucket));
        }
    }

    /// The first slot with the tag of `hash`, likely the item itself.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<Slot> {
        let home = self.geometry.look()?.home(hash);
        let wanted = Slot::wanted(hash);
        (0..SLOTS_PER_BUCKET).map(|number| self.slot(home, number)).find(|slot| slot.matches(wanted))
    }

    /// Shows `visit` every slot that may be that of an item with this hash, until it gives something.
    ///
    /// # Errors
    /// [`Unsure`] if no slot gave anything, and yet the item may be there.
    #[inline]
    pub(crate) fn find<R>(
        &self,
        hash: u64,
        mut visit: impl FnMut(SlotWord<'_>, Slot) -> Option<R>,
    ) -> Result<Option<R>, Unsure> {
        // R1 to R3 of `reader.rs`.
        let geometry = self.geometry.look().ok_or(Unsure::Moved)?;
        let home = geometry.home(hash);
        let reach = Head(self.word(home, 0).load(Ordering::Acquire)).reach();
        let wanted = Slot::wanted(hash);
        for bucket in home..=home + reach.min(PROBE_BUCKETS) {
            for number in 0..SLOTS_PER_BUCKET {
                let slot = self.slot(bucket, number);
                if slot.matches(wanted)
                    && let Some(found) = visit(SlotWord(self.word(bucket, 1 + number)), slot)
                {
                    return Ok(Some(found));
                }
            }
        }
        // R9: a miss counts only if no item has gone meanwhile from a place not yet looked at to one looked at before.
        fence(Ordering::Acquire);
        let geometry_stays = self.geometry.is_still(&geometry);
        #[cfg(test)]
        let geometry_stays = geometry_stays || crate::steps::has(crate::steps::Fault::GeometryAgain);
        if !geometry_stays {
            return Err(Unsure::Moved);
        }
        // Nothing was elsewhere all the time, as the geometry stays.
        let elsewhere = geometry.elsewhere;
        #[cfg(test)]
        let elsewhere = elsewhere && !crate::steps::has(crate::steps::Fault::ElsewhereUnseen);
        if elsewhere { Err(Unsure::Elsewhere) } else { Ok(None) }
    }

    #[inline]
    fn slot(&self, bucket: usize, number: usize) -> Slot {
        // Relaxed: whoever takes it for an item loads it again (R5), and whoever finds none has a fence behind it (R9).
        Slot::from_bits(self.word(bucket, 1 + number).load(Ordering::Relaxed))
    }

    /// # Panics
    /// If the table cannot have such a bucket.
    #[inline]
    fn word(&self, bucket: usize, word: usize) -> &AtomicU64 {
        #[cfg(test)]
        crate::steps::step();
        let at = bucket * BUCKET_BYTES + word * size_of::<u64>();
        assert!(at + size_of::<u64>() <= self.range.len(), "a word of the table");
        // SAFETY: an aligned word inside the range (checked), which was zeroed by the kernel and stays mapped as long as `self`.
        // The owner writes it as an atomic word too (`Table::store`), and no reference but to such words is ever made to it.
        unsafe { AtomicU64::from_ptr(self.range.as_ptr().add(at).cast()) }
    }
}
