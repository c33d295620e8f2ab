//! What both tables have in common: which home a hash has, and which hashes a home.

/// A table that cannot grow beyond this has small pages: the unused part of a huge one would be missed.
pub(super) const SMALL_PAGES_BYTES: usize = 64 << 20;

/// No free slot within reach of the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A growth under way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growing {
    /// Number of homes before.
    pub(super) homes: u64,
    /// Old homes from here on have moved.
    pub(super) boundary: u64,
}

/// The homes of a table, in the order of the hashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Homes {
    pub(super) count: u64,
    pub(super) growing: Option<Growing>,
}

#[inline]
pub(super) fn scale(hash: u64, homes: u64) -> u64 {
    ((u128::from(hash) * u128::from(homes)) >> 64) as u64
}

impl Homes {
    pub(super) fn new(count: usize) -> Homes {
        Homes { count: count as u64, growing: None }
    }

    #[inline]
    pub(super) fn of(self, hash: u64) -> usize {
        if let Some(growing) = self.growing {
            let home = scale(hash, growing.homes);
            if home < growing.boundary {
                return home as usize;
            }
        }
        scale(hash, self.count) as usize
    }

    /// The last hash of the `number`th home from that of `hash` on, which is the first; or of the last one that counts by the
    /// same number of homes.
    pub(super) fn last_hash(self, hash: u64, number: u64) -> u64 {
        let (homes, end) = match self.growing {
            Some(growing) if scale(hash, growing.homes) < growing.boundary => {
                (growing.homes, growing.boundary)
            }
            _ => (self.count, self.count),
        };
        let next = scale(hash, homes).saturating_add(number).min(end);
        // Rounded up: the first hash of the next home, less one.
        let first = (u128::from(next) << 64).div_ceil(u128::from(homes));
        (first - 1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hash_of_a_home_is_followed_by_the_next_home() {
        let growing = Some(Growing { homes: 7, boundary: 4 });
        for homes in [Homes::new(1), Homes::new(13), Homes { count: 9, growing }] {
            let (mut hash, mut before) = (0, None);
            loop {
                let last = homes.last_hash(hash, 1);
                assert!(before < Some(homes.of(hash)) && homes.of(hash) == homes.of(last));
                assert!(homes.last_hash(hash, 2) > last || last == u64::MAX || homes.of(last) == 3);
                before = Some(homes.of(hash));
                let Some(next) = last.checked_add(1) else { break };
                hash = next;
            }
            assert_eq!(before, Some(homes.count as usize - 1));
        }
    }
}
