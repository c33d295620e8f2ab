//! Walking the entries in the order of their hashes.

use super::{Entry, Index, Slot, hash_in, scale};
use std::ops::ControlFlow;

impl Index {
    /// Visits the entries that count of the homes from that of `hash` on, until a visit breaks off or `homes_max` homes are done; a
    /// home that was begun is finished. Returns the first hash of the next home, if there is one. `hash_of` as in
    /// [`Index::grow_step`].
    pub fn scan(
        &self,
        hash: u64,
        homes_max: usize,
        mut hash_of: impl FnMut(Slot) -> u64,
        mut visit: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Option<u64> {
        let mut next = Some(hash);
        let mut homes_left = homes_max;
        let mut flow = ControlFlow::Continue(());
        while let Some(hash) = next
            && homes_left > 0
            && flow.is_continue()
        {
            let (homes, end) = self.stretch(hash);
            let mut home = scale(hash, homes);
            while home < end && homes_left > 0 && flow.is_continue() {
                flow = self.scan_home(home as usize, &mut hash_of, &mut visit);
                home += 1;
                homes_left -= 1;
            }
            next = first_hash(home, homes);
        }
        next
    }

    /// The number of homes by which the entries near `hash` are placed, and the first home from which on another number holds.
    fn stretch(&self, hash: u64) -> (u64, u64) {
        match self.growing {
            Some(growing) if scale(hash, growing.homes) < growing.boundary => {
                (growing.homes, growing.boundary)
            }
            _ => (self.homes, self.homes),
        }
    }

    /// Visits the entries of one home, all of them; breaks off if one of the visits did.
    fn scan_home(
        &self,
        home: usize,
        hash_of: &mut impl FnMut(Slot) -> u64,
        visit: &mut impl FnMut(Entry) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        let bucket = self.table.bucket(home);
        // Without a branch for each slot: most homes of a large index may be empty.
        if bucket.head().reach() == 0 && bucket.slots().fold(true, |empty, slot| empty & slot.is_empty()) {
            return flow;
        }
        let last = home + bucket.head().reach();
        for (_, entry) in (home..=last).flat_map(|number| self.table.bucket(number).entries()) {
            if matches!(entry, Entry::Elsewhere(elsewhere) if self.is_flushed(&elsewhere)) {
                continue;
            }
            if self.home(hash_in(entry, hash_of)) == home && visit(entry).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}

/// The smallest hash whose home is `home` of `homes`; `None` if that is beyond all hashes.
fn first_hash(home: u64, homes: u64) -> Option<u64> {
    let scaled = (u128::from(home) << 64).div_ceil(u128::from(homes));
    u64::try_from(scaled).ok()
}
