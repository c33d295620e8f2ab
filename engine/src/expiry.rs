//! The calendar of a shard: how many bytes expire in which second.
//!
//! One counter a second, direct-mapped over [`HORIZON_SECONDS`], in memory that is only taken where it is
//! touched: a day of distinct expiries costs 675 KiB. It says exactly how many bytes are expired and not yet
//! reused, whatever became of the items meanwhile. An item that was written longer than the horizon before
//! its expiry is not in the calendar; it is counted when its segment is walked.

use crate::command::Millis;
use std::collections::HashMap;

/// How far ahead the calendar goes: six days.
pub(crate) const HORIZON_SECONDS: u64 = 1 << 19;
/// Counters of one page of the calendar.
const PAGE_SECONDS: u64 = 512;

/// Bytes by the second of their expiry.
#[derive(Debug)]
pub(crate) struct Calendar {
    /// Pages by second / [`PAGE_SECONDS`]; one is allocated when a second of it is first used and dropped
    /// when it has passed.
    pages: HashMap<u64, Box<[u64; PAGE_SECONDS as usize]>>,
    /// Everything before this second is counted as expired.
    second: u64,
    expired: u64,
}

impl Calendar {
    pub(crate) fn new(now: Millis) -> Calendar {
        Calendar { pages: HashMap::new(), second: now / 1000, expired: 0 }
    }

    /// Whether an item is in the calendar, by when it was written and when it ends.
    fn holds(written_at: Millis, expiry: Millis) -> bool {
        expiry.saturating_sub(written_at) / 1000 < HORIZON_SECONDS
    }

    pub(crate) fn add(&mut self, bytes: usize, written_at: Millis, expiry: Millis) {
        if !Calendar::holds(written_at, expiry) {
            return;
        }
        let second = expiry / 1000;
        if second < self.second {
            self.expired += bytes as u64;
            return;
        }
        let page =
            self.pages.entry(second / PAGE_SECONDS).or_insert_with(|| Box::new([0; PAGE_SECONDS as usize]));
        page[(second % PAGE_SECONDS) as usize] += bytes as u64;
    }

    /// Takes out an item that was removed, before or after its expiry.
    pub(crate) fn remove(&mut self, bytes: usize, written_at: Millis, expiry: Millis) {
        if !Calendar::holds(written_at, expiry) {
            return;
        }
        let second = expiry / 1000;
        if second < self.second {
            self.expired = self.expired.saturating_sub(bytes as u64);
        } else if let Some(page) = self.pages.get_mut(&(second / PAGE_SECONDS)) {
            let counter = &mut page[(second % PAGE_SECONDS) as usize];
            *counter = counter.saturating_sub(bytes as u64);
        }
    }

    /// Turns to `now`: what expired in the seconds that have passed counts as expired.
    pub(crate) fn advance(&mut self, now: Millis) {
        let today = now / 1000;
        while self.second < today {
            let page = self.second / PAGE_SECONDS;
            match self.pages.get(&page) {
                Some(counters) => {
                    self.expired += counters[(self.second % PAGE_SECONDS) as usize];
                    self.second += 1;
                    if self.second.is_multiple_of(PAGE_SECONDS) {
                        self.pages.remove(&page);
                    }
                }
                None => self.second = ((page + 1) * PAGE_SECONDS).min(today),
            }
        }
    }

    /// Whether the bytes of such an item are among [`Calendar::expired`].
    pub(crate) fn counts_as_expired(&self, written_at: Millis, expiry: Millis) -> bool {
        Calendar::holds(written_at, expiry) && expiry / 1000 < self.second
    }

    /// Bytes whose time is over and that were not removed.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }

    /// Forgets everything (flush).
    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.expired = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * PAGE_SECONDS as usize * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_expire_with_their_second_and_leave_with_their_item() {
        let mut calendar = Calendar::new(1_000_000);
        calendar.add(100, 1_000_000, 1_005_500);
        calendar.add(50, 1_000_000, 1_900_000);
        calendar.advance(1_005_999);
        assert_eq!(calendar.expired(), 0);
        calendar.advance(1_006_000);
        assert_eq!(calendar.expired(), 100);
        calendar.remove(100, 1_000_000, 1_005_500);
        calendar.remove(50, 1_000_000, 1_900_000);
        calendar.advance(10_000_000);
        assert_eq!(calendar.expired(), 0);
        assert_eq!(calendar.bytes(), 0);
    }

    #[test]
    fn an_item_beyond_the_horizon_is_left_out_both_ways() {
        let mut calendar = Calendar::new(0);
        let far = (HORIZON_SECONDS + 10) * 1000;
        calendar.add(100, 0, far);
        calendar.remove(100, 0, far);
        assert_eq!((calendar.expired(), calendar.bytes()), (0, 0));
    }
}
