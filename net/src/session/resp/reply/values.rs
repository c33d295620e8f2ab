//! Values, numbers and times as replies have them.

use crate::session::output::Output;
use crate::session::resp::reply_kind::{Clock, Kind};
use torc_engine::bits::results;
use torc_engine::bytes::Bytes;
use torc_engine::command::{Meta, Millis, Number, Value};
use torc_proto::resp::compose;
use torc_proto::resp::compose::Version;

/// A value as a bulk string: copied if it is in one piece, lent if it is a chain.
pub(super) fn value(value: Value<'_>, out: &mut Output) {
    match value {
        Value::Inline(bytes) => bulk(bytes, out),
        Value::Chained(chain) => {
            compose::bulk_header(out.tail(), chain.len());
            for lent in chain.lend(0..chain.len()) {
                out.lend(lent);
            }
            out.tail().extend_from_slice(b"\r\n");
        }
    }
}

#[inline]
pub(super) fn bulk(bytes: Bytes<'_>, out: &mut Output) {
    let tail = out.tail();
    compose::bulk_begin(tail, bytes.len());
    bytes.append_to(tail);
    tail.extend_from_slice(b"\r\n");
}

/// The bytes `start..=end` of a value, both counted from its end if they are negative.
pub(super) fn range(value: Value<'_>, start: i64, end: i64, out: &mut Output) {
    let Some((from, to)) = absolute_range(start, end, value.len()) else {
        return compose::bulk(out.tail(), &[]);
    };
    match value {
        Value::Inline(bytes) => {
            bulk(bytes.slice(from as usize..to as usize), out);
        }
        Value::Chained(chain) => {
            compose::bulk_header(out.tail(), to - from);
            for lent in chain.lend(from..to) {
                out.lend(lent);
            }
            out.tail().extend_from_slice(b"\r\n");
        }
    }
}

/// First byte and the one behind the last; `None` if nothing is asked for.
fn absolute_range(start: i64, end: i64, len: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let place = |index: i64| match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => len.saturating_sub(index.unsigned_abs()),
    };
    let (from, to) = (place(start), place(end).saturating_add(1).min(len));
    (from < to).then_some((from, to))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn integer(number: Number) -> i64 {
    match number {
        Number::Signed(number) => number,
        Number::Unsigned(number) => signed(number),
        Number::Float(number) => number as i64,
        Number::Extended(number) => number.to_f64() as i64,
    }
}

pub(super) fn float(number: Number, out: &mut Vec<u8>) {
    match number {
        Number::Float(number) => compose::bulk(out, number.to_string().as_bytes()),
        Number::Extended(number) => compose::bulk(out, number.to_string().as_bytes()),
        other => compose::bulk(out, integer(other).to_string().as_bytes()),
    }
}

/// What came of the steps on integers.
pub(super) fn fields(kind: Kind, packed: Bytes<'_>, version: Version, out: &mut Vec<u8>) {
    packed.with_copy(|packed| {
        let results = results(packed);
        if kind == Kind::Fields {
            compose::array(out, results.len());
        }
        results.for_each(|result| match result {
            Some(number) => compose::integer(out, number),
            None => compose::null(out, version),
        });
    });
}

/// -1 without an expiry. Seconds are rounded to the nearest, as in Redis.
pub(super) fn expiry(clock: Clock, meta: &Meta, now: Millis) -> i64 {
    let Some(moment) = meta.expiry else { return -1 };
    let millis = if clock.absolute { moment } else { moment.saturating_sub(now) };
    signed(if clock.seconds { millis.saturating_add(500) / 1000 } else { millis })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_both_ends() {
        let table = [
            (0, -1, 5, Some((0, 5))),
            (0, 0, 5, Some((0, 1))),
            (-3, -1, 5, Some((2, 5))),
            (-1, -3, 5, None),
            (-100, 100, 5, Some((0, 5))),
            (3, 1, 5, None),
            (5, 10, 5, None),
            (0, -100, 5, Some((0, 1))),
            (-100, -100, 5, Some((0, 1))),
            (i64::MIN, i64::MAX, 5, Some((0, 5))),
            (0, -1, 0, None),
        ];
        for (start, end, len, expected) in table {
            assert_eq!(absolute_range(start, end, len), expected, "{start} {end} {len}");
        }
    }

    #[test]
    fn times_left_are_rounded_to_the_nearest_second() {
        let left = Clock { absolute: false, seconds: true };
        let meta = |expiry| Meta { expiry, ..Meta::default() };
        assert_eq!(expiry(left, &meta(None), 0), -1);
        assert_eq!(expiry(left, &meta(Some(10_499)), 0), 10);
        assert_eq!(expiry(left, &meta(Some(10_500)), 0), 11);
        assert_eq!(expiry(left, &meta(Some(5)), 10), 0);
        assert_eq!(expiry(Clock { absolute: true, seconds: false }, &meta(Some(1_234)), 1_000), 1_234);
    }
}
