//! The calendar of a shard: how many bytes expire in which second.
//!
//! ```text
//!  pages   | page | page |  -   |  -   | page | ...     a ring; page n holds the seconds from n x 512 on, n modulo its length
//!  page    | 512 counters, one a second |               taken when a second of it is first used, kept for later use
//! ```
//!
//! It says exactly how many bytes are expired and not yet reused, whatever became of the items meanwhile. An item whose
//! expiry is farther ahead than the ring reaches when it is written is not in the calendar; it is counted when its segment
//! is walked. The ring is as long as a 64th of the shard's memory allows, but no shorter than 50 minutes (32 KiB of
//! counters) and no longer than six days (4 MiB, if there are expiries all over them). Pages are kept for later use, so a
//! steady stream of expiries allocates nothing.

use crate::meta::Millis;

/// Counters of one page.
const PAGE_SECONDS: u64 = 512;
const PAGE_BYTES: usize = PAGE_SECONDS as usize * 8;
/// Pages of the ring: it reaches 6 days with the most, 50 minutes with the least.
const PAGES: std::ops::RangeInclusive<usize> = 8..=1024;
/// Share of the memory that all pages may take.
const MEMORY_SHARE: usize = 64;

type Page = [u64; PAGE_SECONDS as usize];

/// Bytes by the second of their expiry.
#[derive(Debug)]
pub(crate) struct Calendar {
    /// By second / [`PAGE_SECONDS`], modulo their number, which is a power of two.
    ring: Box<[Option<Box<Page>>]>,
    /// Pages that are not in use, with what they held last.
    spare: Vec<Box<Page>>,
    /// Pages in use or spare.
    pages: usize,
    /// Everything before this second is counted as expired.
    second: u64,
    expired: u64,
}

impl Calendar {
    pub(crate) fn new(now: Millis, memory_bytes: u64) -> Calendar {
        let fitting = (memory_bytes as usize / MEMORY_SHARE / PAGE_BYTES).max(1);
        let pages = (1usize << fitting.ilog2()).clamp(*PAGES.start(), *PAGES.end());
        let ring = (0..pages).map(|_| None).collect();
        Calendar { ring, spare: Vec::with_capacity(pages), pages: 0, second: now / 1000, expired: 0 }
    }

    /// How far ahead of its writing an item's expiry may be, seconds. Less than the ring by the page that has begun, and
    /// by one for the time since the last [`Calendar::advance`].
    fn horizon_seconds(&self) -> u64 {
        (self.ring.len() as u64 - 2) * PAGE_SECONDS
    }

    /// Whether an item is in the calendar, by when it was written and when it ends.
    fn holds(&self, written_at: Millis, expiry: Millis) -> bool {
        expiry.saturating_sub(written_at) / 1000 < self.horizon_seconds()
    }

    fn place(&self, second: u64) -> usize {
        (second / PAGE_SECONDS) as usize & (self.ring.len() - 1)
    }

    #[inline]
    pub(crate) fn add(&mut self, bytes: usize, written_at: Millis, expiry: Millis) {
        if !self.holds(written_at, expiry) {
            return;
        }
        let second = expiry / 1000;
        if second < self.second {
            self.expired += bytes as u64;
            return;
        }
        if second - self.second >= self.horizon_seconds() + PAGE_SECONDS {
            // The calendar was not turned for long, and the write would be beyond the end of the ring.
            self.advance(written_at);
        }
        let place = self.place(second);
        let page = match &mut self.ring[place] {
            Some(page) => page,
            None => self.begin_page(place),
        };
        page[(second % PAGE_SECONDS) as usize] += bytes as u64;
    }

    #[cold]
    fn begin_page(&mut self, place: usize) -> &mut Page {
        let page = match self.spare.pop() {
            Some(mut page) => {
                page.fill(0);
                page
            }
            None => {
                self.pages += 1;
                Box::new([0; PAGE_SECONDS as usize])
            }
        };
        self.ring[place].insert(page)
    }

    /// Takes out an item that was removed, before or after its expiry.
    #[inline]
    pub(crate) fn remove(&mut self, bytes: usize, written_at: Millis, expiry: Millis) {
        if !self.holds(written_at, expiry) {
            return;
        }
        let second = expiry / 1000;
        if second < self.second {
            self.expired = self.expired.saturating_sub(bytes as u64);
            return;
        }
        let place = self.place(second);
        if let Some(page) = &mut self.ring[place] {
            let counter = &mut page[(second % PAGE_SECONDS) as usize];
            *counter = counter.saturating_sub(bytes as u64);
        }
    }

    /// Turns to `now`: what expired in the seconds that have passed counts as expired. Costs the seconds of the pages
    /// in use, at most once round the ring.
    pub(crate) fn advance(&mut self, now: Millis) {
        let today = now / 1000;
        for _ in 0..=self.ring.len() {
            if self.second >= today {
                return;
            }
            let end = (self.second / PAGE_SECONDS + 1) * PAGE_SECONDS;
            let until = end.min(today);
            let place = self.place(self.second);
            if let Some(page) = &self.ring[place] {
                let first = (self.second % PAGE_SECONDS) as usize;
                self.expired += page[first..][..(until - self.second) as usize].iter().sum::<u64>();
            }
            if until == end {
                self.spare.extend(self.ring[place].take());
            }
            self.second = until;
        }
        // The whole ring has passed, and is empty.
        self.second = self.second.max(today);
    }

    /// Whether the bytes of such an item are among [`Calendar::expired`].
    pub(crate) fn counts_as_expired(&self, written_at: Millis, expiry: Millis) -> bool {
        self.holds(written_at, expiry) && expiry / 1000 < self.second
    }

    /// Bytes whose time is over and that were not removed.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }

    /// Forgets everything (flush).
    pub(crate) fn clear(&mut self) {
        self.spare.extend(self.ring.iter_mut().filter_map(Option::take));
        self.expired = 0;
    }

    /// Memory of the pages and of what leads to them.
    pub(crate) fn bytes(&self) -> usize {
        self.pages * PAGE_BYTES + 2 * size_of_val(&self.ring[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Millis = 1_000_000_000;
    const MEMORY_BYTES: u64 = 4 << 20;

    #[test]
    fn bytes_expire_with_their_second_and_leave_with_their_item() {
        let mut calendar = Calendar::new(NOW, MEMORY_BYTES);
        calendar.add(100, NOW, NOW + 5_500);
        calendar.add(50, NOW, NOW + 900_000);
        calendar.advance(NOW + 5_999);
        assert_eq!(calendar.expired(), 0);
        calendar.advance(NOW + 6_000);
        assert_eq!(calendar.expired(), 100);
        calendar.remove(100, NOW, NOW + 5_500);
        calendar.remove(50, NOW, NOW + 900_000);
        calendar.advance(NOW + 10_000_000);
        assert_eq!(calendar.expired(), 0);
    }

    #[test]
    fn an_item_beyond_the_horizon_is_left_out_both_ways() {
        let mut calendar = Calendar::new(0, MEMORY_BYTES);
        let far = (calendar.horizon_seconds() + 10) * 1000;
        calendar.add(100, 0, far);
        calendar.remove(100, 0, far);
        assert_eq!((calendar.expired(), calendar.pages), (0, 0));
    }

    /// Once every page was allocated when it was begun and freed when it had passed.
    #[test]
    fn a_steady_stream_of_expiries_allocates_no_more_pages_than_it_uses_at_a_time() {
        let mut calendar = Calendar::new(NOW, MEMORY_BYTES);
        for second in 0..100_000 {
            let now = NOW + second * 1000;
            calendar.advance(now);
            calendar.add(10, now, now + 600_000);
            if second == 2_000 {
                calendar.clear();
            }
        }
        assert_eq!(calendar.pages, 3);
        // Of the flushed ones nothing is left; all others have expired but the last 600, and the one that does now.
        assert_eq!(calendar.expired(), (100_000 - 2_001 - 601) * 10);
    }

    #[test]
    fn the_pages_stay_within_their_share_of_the_memory() {
        for (memory_bytes, days) in [(8 << 20, 0), (256 << 20, 6), (64 << 30, 6)] {
            let mut calendar = Calendar::new(NOW, memory_bytes);
            assert_eq!(calendar.horizon_seconds() / 86_400, days);
            (0..700_000).for_each(|second| calendar.add(1, NOW, NOW + second * 1000));
            assert!(calendar.bytes() as u64 <= memory_bytes / 60, "{} of {memory_bytes}", calendar.bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
        #[test]
        fn the_ring_counts_as_a_list_does(
            steps in prop::collection::vec((0u8..6, 0u64..5_000_000, 0usize..1000), 0..200),
        ) {
            let mut calendar = Calendar::new(NOW, 0);
            // Bytes, written at, expiry.
            let (mut items, mut now, mut turned) = (Vec::<(usize, u64, u64)>::new(), NOW, NOW);
            for (what, ms, bytes) in steps {
                match what {
                    0..=2 => {
                        calendar.add(bytes, now, now + ms);
                        // A ring that was about to close has turned.
                        turned = turned.max(calendar.second * 1000);
                        items.push((bytes, now, now + ms));
                    }
                    3 if !items.is_empty() => {
                        let (bytes, written_at, expiry) = items.swap_remove(bytes % items.len());
                        calendar.remove(bytes, written_at, expiry);
                    }
                    4 => now += ms,
                    _ => {
                        calendar.advance(now);
                        turned = now;
                    }
                }
                let over = items.iter().filter(|item| {
                    (item.2 - item.1) / 1000 < 6 * 512 && item.2 / 1000 < turned / 1000
                });
                prop_assert_eq!(calendar.expired(), over.map(|item| item.0 as u64).sum::<u64>());
            }
        }
    }
}
