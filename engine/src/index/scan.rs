//! Walking the entries in the order of their hashes.

use super::{Entry, Index, Slot};
use std::ops::{ControlFlow, RangeInclusive};

/// What [`Index::scan`] returns is a multiple of this, so a cursor can leave out its low bits.
pub const SCAN_STEP: u64 = 1 << 16;
/// Homes of items, and of what is elsewhere, that are walked together, at most.
const HOMES_TOGETHER: u64 = 64;
const HOMES_ELSEWHERE_TOGETHER: u64 = 16;

impl Index {
    /// Visits the entries that count of the hashes from `hash` on, until a visit breaks off or `homes_max` homes of items are done.
    /// What lies close behind, in the order of the hashes, comes with them. Returns the hash to go on from, if there is one. `hash_of` as in
    /// [`Index::grow_step`].
    pub fn scan(
        &self,
        hash: u64,
        homes_max: usize,
        mut hash_of: impl FnMut(Slot) -> u64,
        mut visit: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> Option<u64> {
        let mut homes_left = homes_max;
        let mut flow = ControlFlow::Continue(());
        let mut next = hash;
        while homes_left > 0 && flow.is_continue() {
            let last;
            (last, flow) = self.scan_some(next..=u64::MAX, &mut homes_left, &mut hash_of, &mut visit);
            next = last.checked_add(1)?;
        }
        let mut all = usize::MAX;
        let end = next.checked_next_multiple_of(SCAN_STEP);
        while end.is_none_or(|end| next < end) {
            let rest = next..=end.map_or(u64::MAX, |end| end - 1);
            let (last, _) = self.scan_some(rest, &mut all, &mut hash_of, &mut visit);
            next = last.checked_add(1)?;
        }
        end
    }

    /// Visits the entries of the first of these hashes, some homes. Returns the last hash of them, and whether a visit broke off: the
    /// home is finished then.
    fn scan_some(
        &self,
        hashes: RangeInclusive<u64>,
        homes_left: &mut usize,
        hash_of: &mut impl FnMut(Slot) -> u64,
        visit: &mut impl FnMut(Entry) -> ControlFlow<()>,
    ) -> (u64, ControlFlow<()>) {
        let (first, mut last) = hashes.into_inner();
        last = last.min(self.homes.last_hash(first, HOMES_TOGETHER));
        if self.elsewhere() > 0 {
            last = last.min(self.ordered.homes().last_hash(first, HOMES_ELSEWHERE_TOGETHER));
        }
        let mut flow = ControlFlow::Continue(());
        let homes = self.home(first)..=self.home(last);
        for home in homes.clone() {
            if *homes_left == 0 || flow.is_break() {
                last = self.homes.last_hash(first, (home - homes.start()) as u64);
                break;
            }
            *homes_left -= 1;
            flow = self.scan_home(home, first..=last, hash_of, visit);
        }
        if self.elsewhere() > 0 {
            self.ordered.between(first, last, |entry| {
                if !self.is_flushed(&entry) && visit(Entry::Elsewhere(entry)).is_break() {
                    flow = ControlFlow::Break(());
                }
            });
        }
        (last, flow)
    }

    /// Visits the items of one home that have one of these hashes; breaks off if one of the visits did.
    fn scan_home(
        &self,
        home: usize,
        hashes: RangeInclusive<u64>,
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
        let slots = (home..=last).flat_map(|number| self.table.bucket(number).slots());
        for slot in slots.filter(|slot| !slot.is_empty()) {
            let hash = hash_of(slot);
            if self.home(hash) == home && hashes.contains(&hash) && visit(Entry::Item(slot)).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}
