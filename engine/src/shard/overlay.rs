//! The bytes of a value that changes: what it was, and over that what is new.

use super::Shard;
use super::stretches::Stretch;
use crate::chain::{Extent, ORDINAL_BYTES};
use std::ops::Range;

/// The value that a change begins with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Old {
    /// Bytes in the arena, whose segment is pinned meanwhile; none if there is no value.
    Plain { at: u64, len: u64 },
    /// A chain; its head may move meanwhile, or go.
    Chain { version: u64 },
}

/// A value to be: bytes of the old one, zeros where there are none, and over both of them the new bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overlay<'a> {
    pub(super) old: Old,
    /// Where the old value begins in the new one.
    pub(super) old_at: u64,
    pub(super) new: &'a [u8],
    pub(super) new_at: u64,
}

impl Shard {
    /// Writes the bytes of all fresh stretches.
    pub(super) fn compose_fresh(
        &mut self,
        stretches: &[Stretch],
        fresh: &[Extent],
        overlay: Overlay<'_>,
        head: Option<u64>,
    ) {
        let mut chunks = fresh.iter();
        for stretch in stretches {
            let Stretch::Fresh(range) = stretch else { continue };
            let mut at = range.start;
            while at < range.end {
                let chunk = chunks.next().copied().expect("a chunk for every fresh stretch");
                let data_at = self.data_at(chunk).expect("fresh extents are chunks");
                self.compose(overlay, head, at..at + chunk.len(), data_at);
                at += chunk.len();
            }
        }
    }

    /// Writes a range of the value to be to `to`.
    pub(super) fn compose(&mut self, overlay: Overlay<'_>, head: Option<u64>, range: Range<u64>, to: u64) {
        let Overlay { old, old_at, new, new_at } = overlay;
        let new_end = new_at + new.len() as u64;
        let old_len = match (old, head) {
            (Old::Plain { len, .. }, _) => len,
            (_, Some(head)) => self.list(head).value_bytes(),
            _ => 0,
        };
        let place = |at: u64| to + (at - range.start);
        let gap = common(&range, old_at + old_len..new_at);
        self.segments.bytes_mut(place(gap.start), (gap.end - gap.start) as usize).zero();
        for side in [0..new_at, new_end..u64::MAX] {
            let part = common(&common(&range, side), old_at..old_at + old_len);
            if !part.is_empty() {
                self.copy_old(old, head, part.start - old_at..part.end - old_at, place(part.start));
            }
        }
        let part = common(&range, new_at..new_end);
        if !part.is_empty() {
            let bytes = &new[(part.start - new_at) as usize..(part.end - new_at) as usize];
            self.segments.bytes_mut(place(part.start), bytes.len()).copy_from_slice(bytes);
        }
    }

    /// Where the data of a chunk lie.
    pub(super) fn data_at(&self, extent: Extent) -> Option<u64> {
        let at = extent.location()?;
        Some(at + (self.segments.item(at).value_at() + ORDINAL_BYTES) as u64)
    }

    /// Copies a range of the old value to `to`.
    fn copy_old(&mut self, old: Old, head: Option<u64>, range: Range<u64>, to: u64) {
        let Some(head) = head else {
            let Old::Plain { at, .. } = old else { unreachable!("a chain has a head") };
            return self.segments.copy(at + range.start, to, (range.end - range.start) as usize);
        };
        let mut at = 0;
        for number in 0..self.list(head).len() {
            let extent = self.list(head).extent(number);
            let part = common(&range, at..at + extent.len());
            if !part.is_empty() {
                let (to, len) = (to + (part.start - range.start), (part.end - part.start) as usize);
                match self.data_at(extent) {
                    Some(data) => self.segments.copy(data + (part.start - at), to, len),
                    None => self.segments.bytes_mut(to, len).zero(),
                }
            }
            at += extent.len();
            if at >= range.end {
                return;
            }
        }
    }
}

/// The part of two ranges that is in both; empty, and inside the first one, if there is none.
fn common(range: &Range<u64>, other: Range<u64>) -> Range<u64> {
    let start = other.start.clamp(range.start, range.end);
    start..other.end.clamp(start, range.end)
}
