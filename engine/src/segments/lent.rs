//! Bytes of the arena that somebody outside the shard still reads.

use super::Segments;
use super::header::NO_SEGMENT;
use crate::bytes::Bytes;
use crate::chain::{ChainList, Extent};
use std::cell::RefCell;
use std::ops::Range;

/// What holes are lent from, a slice of it at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Bytes lent out of the arena: to a send, to another shard. Their segment is pinned, that is neither moved
/// nor reused, until the `Lent` comes back through [`crate::Shard::release`]. Zeros that are stored nowhere pin nothing.
#[derive(Debug)]
#[must_use = "a lent slice pins its segment until it is released"]
pub struct Lent {
    start: *const u8,
    len: u32,
    pub(crate) segment: u32,
    /// The shard that lent it, so that a release finds its way home.
    pub shard: u16,
}

// SAFETY: the bytes are only read. They are the static zeros, or those of an item in a pinned segment: such a
// segment is not reused, a value's bytes are never written again, and an arena with pinned segments is never unmapped,
// even if its shard goes (`Drop` of `Segments`).
unsafe impl Send for Lent {}

impl Lent {
    pub(super) fn new(bytes: Bytes<'_>, segment: u32, shard: u16) -> Lent {
        let len = u32::try_from(bytes.len()).expect("a segment is shorter than 4 GiB");
        Lent { start: bytes.as_ptr(), len, segment, shard }
    }

    /// The lent bytes.
    #[inline]
    pub fn bytes(&self) -> Bytes<'_> {
        // SAFETY: made from the static zeros, or from a value in the arena, which stays mapped and unwritten there
        // while this pins its segment.
        unsafe { Bytes::new(self.start, self.len as usize) }
    }
}

/// A value in chunks, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'s> {
    source: Source<'s>,
}

#[derive(Debug, Clone, Copy)]
enum Source<'s> {
    /// In the shard's memory.
    Stored { segments: &'s Segments, list: ChainList<'s> },
    /// In another shard's memory, lent as a whole.
    Lent(&'s LentChain),
}

/// A chained value that a shard has lent to another as a whole. Its slices can be handed on once.
#[derive(Debug, Default)]
pub struct LentChain {
    /// Each slice with its offset in the value; `None`: handed on.
    slices: Vec<(u64, RefCell<Option<Lent>>)>,
    len: u64,
}

impl LentChain {
    /// Lends all of a chain.
    pub fn of(chain: &Chain<'_>) -> LentChain {
        let mut lent = LentChain::default();
        for slice in chain.lend(0..chain.len()) {
            let offset = lent.len;
            lent.len += u64::from(slice.len);
            lent.slices.push((offset, RefCell::new(Some(slice))));
        }
        lent
    }

    /// The value. A slice that is lent from it is handed on, and is not here any more.
    pub fn chain(&self) -> Chain<'_> {
        Chain { source: Source::Lent(self) }
    }

    /// What was not handed on, to be released.
    pub fn into_rest(self) -> impl Iterator<Item = Lent> {
        self.slices.into_iter().filter_map(|(_, slice)| slice.into_inner())
    }

    /// Hands on the part of a slice that lies in `range`.
    fn hand_on(offset: u64, slice: &RefCell<Option<Lent>>, range: &Range<u64>) -> Option<Lent> {
        let mut lent = slice.take()?;
        let (from, to) = within(offset, lent.len as usize, range);
        if from >= to {
            slice.replace(Some(lent));
            return None;
        }
        lent.start = lent.bytes().slice(from..to).as_ptr();
        lent.len = (to - from) as u32;
        Some(lent)
    }
}

/// The part of a slice at `offset` that lies in `range`, counted from the slice's start.
fn within(offset: u64, len: usize, range: &Range<u64>) -> (usize, usize) {
    let from = range.start.saturating_sub(offset).min(len as u64) as usize;
    let to = range.end.saturating_sub(offset).min(len as u64) as usize;
    (from, to)
}

impl<'s> Chain<'s> {
    pub(crate) fn new(segments: &'s Segments, list: ChainList<'s>) -> Chain<'s> {
        Chain { source: Source::Stored { segments, list } }
    }

    /// Length of the value in bytes.
    pub fn len(&self) -> u64 {
        match self.source {
            Source::Stored { list, .. } => list.value_bytes(),
            Source::Lent(chain) => chain.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slices of a value in the shard's own memory, in order. A value that another shard has lent can only
    /// be lent on.
    pub fn slices(&self) -> impl Iterator<Item = Bytes<'s>> + 's + use<'s> {
        let stored = match self.source {
            Source::Stored { segments, list } => Some((segments, list)),
            Source::Lent(_) => None,
        };
        debug_assert!(stored.is_some(), "slices of a lent chain");
        stored
            .into_iter()
            .flat_map(|(segments, list)| list.extents().flat_map(move |extent| slices(segments, extent)))
    }

    /// Lends the slices that cover `range` of the value, in order. Bytes beyond the value are not there.
    pub fn lend(&self, range: Range<u64>) -> impl Iterator<Item = Lent> + 's {
        let (stored, lent) = match self.source {
            Source::Stored { segments, list } => (Some((segments, list)), None),
            Source::Lent(chain) => (None, Some(chain)),
        };
        let lent_range = range.clone();
        let stored = stored.into_iter().flat_map(move |(segments, list)| {
            let range = range.clone();
            let mut offset = 0u64;
            let extents = list.extents().filter_map(move |extent| {
                let at = offset;
                offset += extent.len();
                (at < range.end && offset > range.start).then(|| (at, extent, range.clone()))
            });
            extents.flat_map(move |(at, extent, range)| lend_extent(segments, extent, at, range))
        });
        let lent = lent.into_iter().flat_map(|chain| &chain.slices);
        stored.chain(lent.filter_map(move |(offset, slice)| LentChain::hand_on(*offset, slice, &lent_range)))
    }
}

/// The bytes of an extent; a hole's are many slices of the same zeros.
fn slices(segments: &Segments, extent: Extent) -> impl Iterator<Item = Bytes<'_>> {
    let mut left = extent.len();
    std::iter::from_fn(move || {
        let slice = match extent.location() {
            Some(at) => segments.chunk(at),
            None => Bytes::from(&ZEROS[..left.min(ZEROS.len() as u64) as usize]),
        };
        left = left.checked_sub(slice.len() as u64).filter(|_| left > 0)?;
        Some(slice)
    })
}

/// Lends the part of an extent at `offset` that lies in `range`.
fn lend_extent(
    segments: &Segments,
    extent: Extent,
    offset: u64,
    range: Range<u64>,
) -> impl Iterator<Item = Lent> {
    let mut at = offset;
    slices(segments, extent).filter_map(move |slice| {
        let (from, to) = within(at, slice.len(), &range);
        at += slice.len() as u64;
        let slice = (from < to).then(|| slice.slice(from..to))?;
        Some(match extent.location() {
            Some(chunk) => segments.lend(chunk, slice),
            None => Lent::new(slice, NO_SEGMENT, segments.shard),
        })
    })
}
