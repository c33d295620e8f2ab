//! Walking the keys.

use super::{Shard, hash_key};
use crate::command::Millis;
use crate::index::Slot;
use crate::item::state;

/// Bits of a hash that a cursor leaves out, so that a shard's number fits above it.
const CURSOR_SHIFT: u32 = 16;

impl Shard {
    /// One step over the keys: appends at least `count` live keys to `keys`, if there are as many, each as its
    /// length (`u32`, little endian) and its bytes. Returns the next cursor, 48 bits wide, 0 at the end; a scan
    /// begins with 0.
    ///
    /// Every key that is there from the first to the last step is returned at least once; the order is that of
    /// the hashes, which growth does not change.
    pub fn scan(&self, cursor: u64, count: u32, now: Millis, keys: &mut Vec<u8>) -> u64 {
        // A flush that is due has happened, whether a command has come since or not.
        let flushed = if now >= self.flush_at { u64::MAX } else { self.flushed };
        let hash_of = |slot: Slot| hash_key(&self.secrets, self.segments.item(slot.location()).key());
        let mut hash = cursor << CURSOR_SHIFT;
        let mut found = 0;
        // Empty homes count as well, so that a step over an almost empty index ends.
        let mut homes_left = u64::from(count).saturating_mul(10).max(100);
        loop {
            let next = self.index.scan_step(hash, hash_of, |slot| {
                let item = self.segments.item(slot.location());
                if item.is_live(now, flushed) && !item.is(state::PLACEHOLDER) {
                    keys.extend_from_slice(&(item.key_len() as u32).to_le_bytes());
                    keys.extend_from_slice(item.key());
                    found += 1;
                }
            });
            homes_left -= 1;
            let Some(next) = next else { return 0 };
            let cursor = next.div_ceil(1 << CURSOR_SHIFT);
            if cursor >= 1 << (u64::BITS - CURSOR_SHIFT) {
                return 0;
            }
            hash = cursor << CURSOR_SHIFT;
            if found >= count || homes_left == 0 {
                return cursor;
            }
        }
    }
}
