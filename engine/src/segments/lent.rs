//! Bytes of the arena that somebody outside the shard still reads.

use super::Segments;
use crate::chain::ChainList;
use std::ops::Range;

/// Bytes lent out of the arena: to a send, to another shard. Their segment is pinned, that is neither moved
/// nor reused, until the `Lent` comes back through [`crate::Shard::release`].
#[derive(Debug)]
#[must_use = "a lent slice pins its segment until it is released"]
pub struct Lent {
    bytes: *const u8,
    len: u32,
    pub(crate) segment: u32,
    /// The shard that lent it, so that a release finds its way home.
    pub shard: u16,
}

// SAFETY: the bytes are only read, are not written while the segment is pinned, and stay mapped: an arena with
// pinned segments is never unmapped, even if its shard goes (`Drop` of `Segments`).
unsafe impl Send for Lent {}

impl Lent {
    pub(super) fn new(bytes: &[u8], segment: u32, shard: u16) -> Lent {
        let len = u32::try_from(bytes.len()).expect("a segment is shorter than 4 GiB");
        Lent { bytes: bytes.as_ptr(), len, segment, shard }
    }

    /// Where the bytes are; a mapping that lent something keeps its addresses for itself.
    pub(super) fn address(&self) -> *const u8 {
        self.bytes
    }

    /// The lent bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: made from a slice of the arena, which stays mapped and unwritten while this pins its segment.
        unsafe { std::slice::from_raw_parts(self.bytes, self.len as usize) }
    }
}

/// A value in chunks, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'s> {
    segments: &'s Segments,
    list: ChainList<'s>,
}

impl<'s> Chain<'s> {
    pub(crate) fn new(segments: &'s Segments, list: ChainList<'s>) -> Chain<'s> {
        Chain { segments, list }
    }

    /// Length of the value in bytes.
    pub fn len(&self) -> u64 {
        self.list.value_bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slices of the value, in order.
    pub fn slices(&self) -> impl Iterator<Item = &'s [u8]> + 's {
        let segments = self.segments;
        self.list.locations().map(move |at| segments.chunk(at))
    }

    /// Lends the slices that cover `range` of the value, in order. Bytes beyond the value are not there.
    pub fn lend(&self, range: Range<u64>) -> impl Iterator<Item = Lent> + 's {
        let segments = self.segments;
        let mut start = 0u64;
        self.list.locations().filter_map(move |at| {
            let chunk = segments.chunk(at);
            let from = range.start.saturating_sub(start).min(chunk.len() as u64) as usize;
            let to = range.end.saturating_sub(start).min(chunk.len() as u64) as usize;
            start += chunk.len() as u64;
            (from < to).then(|| segments.lend(at, &chunk[from..to]))
        })
    }
}
