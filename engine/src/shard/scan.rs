//! Walking the keys.

use super::{Shard, hash_of, value_in};
use crate::command::{Millis, Ticket};
use crate::index::{Entry, Role, SCAN_STEP, Slot};
use crate::item::{ItemRef, state};
use crate::words;
use std::ops::ControlFlow;

/// Bits of a hash that a cursor leaves out, so that a shard's number fits above it.
const CURSOR_SHIFT: u32 = SCAN_STEP.ilog2();
/// Most items that a step looks at, whatever its caller asks for: each is a cache miss, so all of them take a fraction of
/// a millisecond. Items that are over and placeholders count, too.
pub(super) const SCAN_ITEMS_MAX: u32 = 1000;
/// A step ends behind so many bytes of keys.
pub(super) const SCAN_BYTES_MAX: usize = 64 << 10;
/// Most homes of the index that a step walks. Empty ones are read as a stream at about 3 ns each, so all of them take 0.2 ms.
/// The index of a shard with 2 GiB begins with as many, so a small cache is walked in one step.
pub(super) const SCAN_HOMES_MAX: usize = 64 << 10;

/// What a scan tells of each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// Its key.
    Keys,
    /// Its key, and behind it [`Meta::to_bytes`](crate::meta::Meta::to_bytes) as a word of its own.
    Items,
}

impl Tells {
    pub(super) fn push(self, item: &ItemRef<'_>, value_bytes: impl FnOnce() -> u64, to: &mut Vec<u8>) {
        words::begin(item.key_len() as u32, to);
        item.key().append_to(to);
        if self == Tells::Items {
            let meta = item.meta(value_bytes()).to_bytes();
            words::begin(meta.len() as u32, to);
            to.extend_from_slice(&meta);
        }
    }
}

impl Shard {
    /// One step over the keys of a database: appends live keys, or [more](Tells), to `keys`, as [`words::each`] reads them, until they are
    /// `count`, the bound of a step is met or there are no more. The rest of the last home comes with them.
    /// Returns the next cursor, 48 bits wide, 0 at the end; a scan begins with 0.
    ///
    /// Every key that is there from the first to the last step is returned at least once; the order is that of
    /// the hashes, which growth does not change.
    ///
    /// Of an item that is not in DRAM nobody knows the key here: `elsewhere` gets its hash and its ticket, and whoever scans
    /// reads it there.
    pub fn scan(
        &self,
        database: u16,
        (cursor, count): (u64, u32),
        tells: Tells,
        now: Millis,
        keys: &mut Vec<u8>,
        elsewhere: &mut Vec<(u64, Ticket)>,
    ) -> u64 {
        // A flush that is due has happened, whether a command has come since or not.
        let flushed = if now >= self.flush_at { u64::MAX } else { self.flushed };
        let hash_of = |slot: Slot| hash_of(&self.secrets, &self.segments.item(slot.location()));
        let (mut found, mut looked_at) = (0, 0);
        let bytes_max = keys.len() + SCAN_BYTES_MAX;
        let next = self.index.scan(cursor << CURSOR_SHIFT, SCAN_HOMES_MAX, hash_of, |entry| {
            looked_at += 1;
            let item = match entry {
                Entry::Item(slot) => Some(self.segments.item(slot.location())),
                // One that is in DRAM, too, is met there. A chunk has no key of its own.
                Entry::Elsewhere(entry) => {
                    if entry.role == Role::Only {
                        elsewhere.push((entry.hash, Ticket(entry.place)));
                        // Likely one more key; and each is a read of the medium.
                        found += 1;
                    }
                    None
                }
            };
            if let Some(item) = item
                && item.space() == self.spaces.of(database)
                && item.is_live(now, flushed)
                && !item.is(state::PLACEHOLDER)
            {
                tells.push(&item, || value_in(&self.segments, &item).len(), keys);
                found += 1;
            }
            if found >= count || looked_at >= SCAN_ITEMS_MAX || keys.len() >= bytes_max {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        next.map_or(0, |hash| hash >> CURSOR_SHIFT)
    }
}
