//! The index, as others than its owner read it.

use super::geometry::Geometry;
use super::table::{BUCKET_WORDS, Head, TableMemory};
use super::{PROBE_BUCKETS, SLOTS_PER_BUCKET, Slot};
use crate::shared::acquire;
use std::sync::atomic::{AtomicU64, Ordering, fence};

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
pub(crate) struct IndexReader<T> {
    table: T,
    geometry: Geometry,
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
        Slot::from_bits(acquire(self.0)).names_same(slot)
    }
}

impl<T: TableMemory> IndexReader<T> {
    pub(crate) fn new(table: T, geometry: Geometry) -> IndexReader<T> {
        IndexReader { table, geometry }
    }

    /// Which step of growth was the last.
    #[inline]
    pub(crate) fn sequence(&self) -> u64 {
        self.geometry.sequence()
    }

    /// Starts to fetch the home of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Some(geometry) = self.geometry.look() {
            self.table.prefetch_bucket(geometry.home(hash));
        }
    }

    /// The first slot with the tag of `hash`, likely the item itself.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<Slot> {
        let home = self.bucket(self.geometry.look()?.home(hash)).ok()?;
        let wanted = Slot::wanted(hash);
        (0..SLOTS_PER_BUCKET).map(|number| slot_of(home, number)).find(|slot| slot.matches(wanted))
    }

    /// Shows `visit` every slot that may be that of an item with this hash, until it gives something.
    ///
    /// # Errors
    /// [`Unsure`] if no slot gave anything, and yet the item may be there.
    #[inline]
    pub(crate) fn find<R>(
        &self,
        hash: u64,
        visit: impl FnMut(SlotWord<'_>, Slot) -> Option<R>,
    ) -> Result<Option<R>, Unsure> {
        find(&self.table, &self.geometry, hash, visit)
    }

    /// A bucket that the geometry leads to; [`Unsure::Moved`] if there is none, which no owner publishes.
    #[inline]
    fn bucket(&self, number: usize) -> Result<&[AtomicU64; BUCKET_WORDS], Unsure> {
        bucket(&self.table, number)
    }
}

/// As [`IndexReader::find`].
#[inline(always)]
pub(crate) fn find<R>(
    table: &impl TableMemory,
    geometry: &Geometry,
    hash: u64,
    mut visit: impl FnMut(SlotWord<'_>, Slot) -> Option<R>,
) -> Result<Option<R>, Unsure> {
    // R1 to R3 of `reader.rs`.
    let seen = geometry.look().ok_or(Unsure::Moved)?;
    let home = seen.home(hash);
    let words = bucket(table, home)?;
    let reach = reach_of(words);
    let wanted = Slot::wanted(hash);
    let mut looked_at = words;
    for next in 1.. {
        for number in 0..SLOTS_PER_BUCKET {
            let slot = slot_of(looked_at, number);
            if slot.matches(wanted)
                && let Some(found) = visit(SlotWord(&looked_at[1 + number]), slot)
            {
                return Ok(Some(found));
            }
        }
        if next > reach {
            break;
        }
        looked_at = bucket(table, home + next)?;
    }
    // R9: a miss counts only if no item has gone meanwhile from a place not yet looked at to one looked at before.
    fence(Ordering::Acquire);
    let geometry_stays = geometry.is_still(&seen);
    #[cfg(test)]
    let geometry_stays = geometry_stays || crate::steps::has(crate::steps::Fault::GeometryAgain);
    if !geometry_stays {
        return Err(Unsure::Moved);
    }
    // Nothing was elsewhere all the time, as the geometry stays.
    let elsewhere = seen.elsewhere;
    #[cfg(test)]
    let elsewhere = elsewhere && !crate::steps::has(crate::steps::Fault::ElsewhereUnseen);
    if elsewhere { Err(Unsure::Elsewhere) } else { Ok(None) }
}

#[inline]
fn bucket(table: &impl TableMemory, number: usize) -> Result<&[AtomicU64; BUCKET_WORDS], Unsure> {
    #[cfg(test)]
    crate::steps::step();
    table.bucket(number).ok_or(Unsure::Moved)
}

/// How many buckets behind its home an item of this home may lie.
#[inline]
pub(crate) fn reach_of(home: &[AtomicU64; BUCKET_WORDS]) -> usize {
    Head(acquire(&home[0])).reach().min(PROBE_BUCKETS)
}

#[inline]
fn slot_of(bucket: &[AtomicU64; BUCKET_WORDS], number: usize) -> Slot {
    #[cfg(test)]
    crate::steps::step();
    // Relaxed: whoever takes it for an item loads it again (R5), and whoever finds none has a fence behind it (R9).
    Slot::from_bits(bucket[1 + number].load(Ordering::Relaxed))
}
