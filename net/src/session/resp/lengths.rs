//! How long requests and their values may be, and which values are received in slices.

use super::row::{Row, Values};
use crate::session::parsing::Limits;
use torc_proto::resp::request::Arguments;

/// Whether a request of which `have` bytes are here, and which has at least `total`, is longer than allowed. A
/// value that may be long counts for itself: what stands before and behind it must each keep the limit.
pub(super) fn exceeds(
    row: Option<&Row>,
    arguments: &Arguments,
    have: usize,
    total: usize,
    limits: &Limits,
) -> bool {
    let frame_max = limits.frame_bytes_max;
    match values(row, arguments) {
        Values::None => total > frame_max,
        // What is too long is thrown away: see `long_value`.
        Values::Pairs => false,
        Values::Streamed(index) => {
            if let Some(Place { start, len, .. }) = place(arguments, index) {
                let behind = (total as u64).saturating_sub(start as u64 + len + 2);
                let long = row.is_some_and(|row| is_long(row, len, limits));
                start > frame_max || (!long && behind > frame_max as u64)
            } else if let Some((start, len)) = arguments.unfinished {
                start as u64 + len > frame_max as u64
            } else {
                have > frame_max
            }
        }
    }
}

/// Which arguments may be long; none if their number is wrong.
pub(super) fn values(row: Option<&Row>, arguments: &Arguments) -> Values {
    match row {
        Some(row) if row.takes(arguments.announced) => row.values,
        _ => Values::None,
    }
}

/// Longest request of several values, bytes. All of it is buffered, so a command and one value at their limits are the
/// bound, and so are the 32 bits in which the places of arguments are kept.
pub(super) fn pairs_bytes_max(limits: &Limits) -> usize {
    let value_max = usize::try_from(limits.value_bytes_max).unwrap_or(usize::MAX);
    value_max.saturating_add(limits.frame_bytes_max).min(u32::MAX as usize)
}

/// Where an argument is: its number, where its bytes start, and how many they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) start: usize,
    pub(super) len: u64,
}

/// The place of an argument, if its length is here.
pub(super) fn place(arguments: &Arguments, index: usize) -> Option<Place> {
    let (start, len) = match arguments.spans.get(index) {
        Some(span) => (span.start as usize, u64::from(span.len)),
        None if arguments.spans.len() == index => arguments.unfinished?,
        None => return None,
    };
    Some(Place { index, start, len })
}

/// Whether a value of `len` bytes is received in slices, or not at all.
pub(super) fn is_long(row: &Row, len: u64, limits: &Limits) -> bool {
    len > limits.value_bytes_max
        || (matches!(row.values, Values::Streamed(_)) && len > limits.value_bytes_inline as u64)
}

/// The place of an argument that is received in slices, or not at all.
pub(super) fn long_value(row: &Row, arguments: &Arguments, limits: &Limits) -> Option<Place> {
    match row.values {
        Values::Streamed(index) => place(arguments, index).filter(|place| is_long(row, place.len, limits)),
        Values::Pairs => place(arguments, arguments.spans.len())
            .filter(|place| place.start as u64 + place.len > pairs_bytes_max(limits) as u64),
        Values::None => None,
    }
}
