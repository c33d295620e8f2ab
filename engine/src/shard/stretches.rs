//! What becomes of a long value's extents when a part of it changes: pure arithmetic, no memory.
//!
//! Only what a change touches is written anew; everything else is kept where it lies. Neighbours of the change that
//! are short are written with it, so that a value that grows by small pieces stays a short list: a neighbour is
//! taken along if it is at most twice as long as what is written anyway and saves a chunk. So the lengths at a grown
//! end fall geometrically, and a byte is copied as often as they double until a chunk is full.

use crate::chain::{ChainList, EXTENT_LEN_MAX, Extent};
use std::ops::Range;

/// Shorter gaps are written as zeros, longer ones are holes.
const GAP_BYTES_MIN: u64 = 4096;

/// A value as it is before a change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'s> {
    /// Inline, with so many bytes; or none, with 0.
    Plain(u64),
    Chain(ChainList<'s>),
}

impl Shape<'_> {
    /// Length of the value, bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Shape::Plain(len) => *len,
            Shape::Chain(list) => list.value_bytes(),
        }
    }
}

/// A stretch of a value as it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stretch {
    /// Extents of the old list, by number.
    Keep(Range<usize>),
    /// So many zeros that are stored nowhere.
    Hole(u64),
    /// Bytes of the new value that are written into new chunks.
    Fresh(Range<u64>),
    /// All chunks of an upload.
    Upload,
}

/// The stretches when the bytes from `offset` to `end` are written, in chunks of `chunk_bytes`.
pub(super) fn range(shape: Shape<'_>, offset: u64, end: u64, chunk_bytes: u64) -> Vec<Stretch> {
    let len = shape.len();
    let gap = offset.saturating_sub(len);
    match shape {
        Shape::Chain(list) if offset == end && gap == 0 => vec![Stretch::Keep(0..list.len())],
        Shape::Plain(_) if gap < GAP_BYTES_MIN => vec![Stretch::Fresh(0..end.max(len))],
        Shape::Plain(_) => vec![Stretch::Fresh(0..len), Stretch::Hole(gap), Stretch::Fresh(offset..end)],
        Shape::Chain(list) if offset < len => overwrite(list, offset, end),
        Shape::Chain(list) if gap < GAP_BYTES_MIN => {
            let run = short_run(list.extents().rev(), end - len, chunk_bytes);
            vec![Stretch::Keep(0..list.len() - run.extents), Stretch::Fresh(len - run.bytes..end)]
        }
        Shape::Chain(list) => {
            vec![Stretch::Keep(0..list.len()), Stretch::Hole(gap), Stretch::Fresh(offset..end)]
        }
    }
}

/// The stretches when `offset..end` is written and begins inside the value.
fn overwrite(list: ChainList<'_>, offset: u64, end: u64) -> Vec<Stretch> {
    let mut extents = list.extents().enumerate();
    let mut at = 0;
    // What lies before the first extent that is touched.
    let mut keep = 0;
    let mut from = offset;
    let mut hole_before = 0;
    for (number, extent) in extents.by_ref() {
        at += extent.len();
        if at > offset {
            let begin = at - extent.len();
            keep = number;
            match extent.location() {
                Some(_) => from = begin,
                None => hole_before = offset - begin,
            }
            break;
        }
    }
    // From the same extent on to the last one that is touched.
    let (mut rest, mut last_is_hole) = (keep + 1, hole_before > 0 || list.extent(keep).location().is_none());
    for (number, extent) in extents {
        if at >= end {
            break;
        }
        at += extent.len();
        (rest, last_is_hole) = (number + 1, extent.location().is_none());
    }
    let (to, hole_after) = if at > end && last_is_hole { (end, at - end) } else { (at.max(end), 0) };
    vec![
        Stretch::Keep(0..keep),
        Stretch::Hole(hole_before),
        Stretch::Fresh(from..to),
        Stretch::Hole(hole_after),
        Stretch::Keep(rest..list.len()),
    ]
}

/// The stretches when `added` bytes are put behind or before the value.
pub(super) fn join(shape: Shape<'_>, added: u64, before: bool, chunk_bytes: u64) -> Vec<Stretch> {
    match (shape, before) {
        (Shape::Plain(len), _) => vec![Stretch::Fresh(0..len + added)],
        (Shape::Chain(list), false) => {
            let len = list.value_bytes();
            let run = short_run(list.extents().rev(), added, chunk_bytes);
            vec![Stretch::Keep(0..list.len() - run.extents), Stretch::Fresh(len - run.bytes..len + added)]
        }
        (Shape::Chain(list), true) => {
            let run = short_run(list.extents(), added, chunk_bytes);
            vec![Stretch::Fresh(0..added + run.bytes), Stretch::Keep(run.extents..list.len())]
        }
    }
}

/// The stretches when an upload of `added` bytes is put behind or before the value.
pub(super) fn join_upload(shape: Shape<'_>, added: u64, before: bool) -> Vec<Stretch> {
    let old = match shape {
        Shape::Plain(len) if before => Stretch::Fresh(added..added + len),
        Shape::Plain(len) => Stretch::Fresh(0..len),
        Shape::Chain(list) => Stretch::Keep(0..list.len()),
    };
    if before { vec![Stretch::Upload, old] } else { vec![old, Stretch::Upload] }
}

/// The stretches, with the chunks of an upload in place of the bytes in `new`.
pub(super) fn with_upload(stretches: Vec<Stretch>, new: Range<u64>) -> Vec<Stretch> {
    let split = |stretch: Stretch| match stretch {
        Stretch::Fresh(range) if range.start <= new.start && new.end <= range.end => [
            Some(Stretch::Fresh(range.start..new.start)),
            Some(Stretch::Upload),
            Some(Stretch::Fresh(new.end..range.end)),
        ],
        other => [Some(other), None, None],
    };
    stretches.into_iter().flat_map(split).flatten().collect()
}

struct Run {
    extents: usize,
    bytes: u64,
}

/// How many chunks, the nearest to a change of `added` bytes first, are written anew with it.
fn short_run(nearest: impl Iterator<Item = Extent>, added: u64, chunk_bytes: u64) -> Run {
    let mut run = Run { extents: 0, bytes: 0 };
    for extent in nearest {
        let len = extent.len();
        let bytes = added + run.bytes;
        let saves = (bytes + len).div_ceil(chunk_bytes) == bytes.div_ceil(chunk_bytes);
        if extent.location().is_none() || len > 2 * bytes || !saves {
            break;
        }
        run = Run { extents: run.extents + 1, bytes: run.bytes + len };
    }
    run
}

/// Number of extents that the stretches come to; `upload`: those of the upload.
pub(super) fn extents(stretches: &[Stretch], upload: usize, chunk_bytes: u64) -> usize {
    let of = |stretch: &Stretch| match stretch {
        Stretch::Keep(range) => range.len(),
        Stretch::Hole(len) => len.div_ceil(EXTENT_LEN_MAX) as usize,
        Stretch::Fresh(range) => (range.end - range.start).div_ceil(chunk_bytes) as usize,
        Stretch::Upload => upload,
    };
    stretches.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Bytes;
    use crate::bytes_mut::{BytesMut, bytes_of};
    use crate::chain::{ListWriter, list_bytes};

    const CHUNK: u64 = 1000;

    /// A list: positive lengths are chunks, negative ones holes.
    fn list(lengths: &[i64]) -> Vec<u8> {
        let mut words = vec![0; list_bytes(lengths.len()) / 8];
        let mut writer = ListWriter::new(words.len() * 8);
        for (number, &len) in lengths.iter().enumerate() {
            let extent = match u64::try_from(len) {
                Ok(len) => Extent::chunk(number as u64, number as u64 * 8, len as usize),
                Err(_) => Extent::hole(len.unsigned_abs()),
            };
            writer.push(BytesMut::of(&mut words), extent);
        }
        writer.finish(BytesMut::of(&mut words), 1, 100, 0);
        bytes_of(&words)
    }

    fn drop_empty(stretches: Vec<Stretch>) -> Vec<Stretch> {
        let empty = |stretch: &Stretch| match stretch {
            Stretch::Keep(range) => range.is_empty(),
            Stretch::Fresh(range) => range.is_empty(),
            Stretch::Hole(len) => *len == 0,
            Stretch::Upload => false,
        };
        stretches.into_iter().filter(|stretch| !empty(stretch)).collect()
    }

    #[test]
    fn a_range_touches_the_chunks_that_it_lies_in_and_no_others() {
        use Stretch::*;
        let bytes = list(&[1000, 1000, 1000, -5000, 1000]);
        let shape = Shape::Chain(ChainList::new(Bytes::from(&bytes[..])));
        let stretches = |offset, end| drop_empty(range(shape, offset, end, CHUNK));
        assert_eq!(stretches(1500, 1501), [Keep(0..1), Fresh(1000..2000), Keep(2..5)]);
        assert_eq!(stretches(0, 1001), [Fresh(0..2000), Keep(2..5)]);
        assert_eq!(stretches(2999, 3001), [Keep(0..2), Fresh(2000..3001), Hole(4999), Keep(4..5)]);
        assert_eq!(
            stretches(4000, 4001),
            [Keep(0..3), Hole(1000), Fresh(4000..4001), Hole(3999), Keep(4..5)]
        );
        assert_eq!(stretches(3000, 8000), [Keep(0..3), Fresh(3000..8000), Keep(4..5)]);
        assert_eq!(stretches(7999, 8001), [Keep(0..3), Hole(4999), Fresh(7999..9000)]);
        assert_eq!(stretches(8500, 9500), [Keep(0..4), Fresh(8000..9500)]);
        assert_eq!(stretches(9000, 9500), [Keep(0..5), Fresh(9000..9500)]);
        assert_eq!(stretches(100_000, 100_001), [Keep(0..5), Hole(91_000), Fresh(100_000..100_001)]);
        assert_eq!(
            drop_empty(range(Shape::Plain(10), 7000, 7001, CHUNK)),
            [Fresh(0..10), Hole(6990), Fresh(7000..7001)]
        );
    }

    #[test]
    fn a_value_that_grows_by_small_pieces_stays_a_short_list() {
        for before in [false, true] {
            let (mut lengths, mut copied) = (vec![1000i64, 1000], 0);
            for _ in 0..20_000 {
                let bytes = list(&lengths);
                let chain = ChainList::new(Bytes::from(&bytes[..]));
                let mut next: Vec<i64> = Vec::new();
                for stretch in join(Shape::Chain(chain), 7, before, CHUNK) {
                    match stretch {
                        Stretch::Keep(range) => next.extend(&lengths[range]),
                        Stretch::Fresh(range) => {
                            copied += range.end - range.start;
                            let len = (range.end - range.start) as i64;
                            next.extend(
                                (0..len / 1000).map(|_| 1000).chain((len % 1000 > 0).then_some(len % 1000)),
                            );
                        }
                        other => panic!("{other:?}"),
                    }
                }
                lengths = next;
                // Twice as many as full chunks, and those that are growing.
                assert!(lengths.len() as i64 <= 2 * lengths.iter().sum::<i64>() / 1000 + 10, "{lengths:?}");
            }
            assert_eq!(lengths.iter().sum::<i64>(), 2000 + 7 * 20_000);
            assert!(copied < 8 * 7 * 20_000, "{copied} bytes copied");
        }
    }
}
