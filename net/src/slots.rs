//! Which shard owns which slot.

use torc_proto::slot::SLOTS;

/// An owner for each slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotMap {
    owners: Box<[u16]>,
    epoch: u64,
}

impl SlotMap {
    /// Equal, contiguous ranges.
    ///
    /// # Panics
    /// If `shards` is 0.
    pub fn even(shards: u16) -> SlotMap {
        assert!(shards > 0, "a slot map needs a shard");
        let owner = |slot: u16| (u32::from(slot) * u32::from(shards) / u32::from(SLOTS)) as u16;
        SlotMap { owners: (0..SLOTS).map(owner).collect(), epoch: 1 }
    }

    /// # Panics
    /// If `slot` is not below [`SLOTS`].
    #[inline]
    pub fn owner(&self, slot: u16) -> u16 {
        self.owners[slot as usize]
    }

    /// Rises with every change of the map.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Runs of slots with one owner, in order.
    pub fn ranges(&self) -> Vec<(std::ops::RangeInclusive<u16>, u16)> {
        let mut ranges = Vec::new();
        let mut first = 0u16;
        for slot in 1..=SLOTS {
            if slot == SLOTS || self.owner(slot) != self.owner(first) {
                ranges.push((first..=slot - 1, self.owner(first)));
                first = slot;
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_map_covers_every_slot_once() {
        for shards in [1, 2, 3, 7, 64] {
            let ranges = SlotMap::even(shards).ranges();
            assert_eq!(ranges.len(), shards as usize);
            assert_eq!(ranges.iter().map(|(range, _)| range.len()).sum::<usize>(), SLOTS as usize);
        }
    }
}
