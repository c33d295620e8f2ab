//! Gets and sets without flags and extensions, and their answers, in one pass: nearly all of the traffic.
//!
//! The same as what `request.rs` and `compose.rs` do with them, without the detours of the general case; whatever is
//! not plain is left to those. A test holds both to the same parts and bytes.

use super::reply_kind::{Kind, ReplyKind};
use crate::session::deadline::Deadline;
use crate::session::output::Output;
use crate::session::parsing::Limits;
use crate::session::part::{self, Part, Work};
use torc_engine::command::{Command, Found, Lease, Meta, Op as Do, Outcome, Read, Value, Write};
use torc_proto::native::frame::REQUEST_HEADER_BYTES;
use torc_proto::native::{AnswerHeader, Op, RequestHeader, Status, marks};

/// The part of a whole, plain get or set at the start of `input`, and the bytes that it takes.
#[inline]
pub(super) fn request<'a>(input: &'a [u8], limits: &Limits) -> Option<(Part<'a>, usize)> {
    let header = RequestHeader::parse(input).ok()?;
    let key_bytes = usize::from(header.key_bytes);
    let value_bytes = header.value_bytes as usize;
    let fits = key_bytes.wrapping_sub(1) < limits.key_bytes_max
        && value_bytes <= limits.value_bytes_inline
        && header.value_bytes as u64 <= limits.value_bytes_max
        && header.head_bytes() <= limits.frame_bytes_max;
    if header.flags != 0 || header.extension_bytes != 0 || !fits {
        return None;
    }
    let (key, behind) = input[REQUEST_HEADER_BYTES..].split_at_checked(key_bytes)?;
    let value = behind.get(..value_bytes)?;
    let op = if header.op == Op::Get as u8 && value_bytes == 0 {
        Do::Read(Read::default())
    } else if header.op == Op::Set as u8 {
        Do::Write(Write::set(value))
    } else {
        return None;
    };
    let (kind, deadline) = (Kind::Outcome, Deadline::NONE);
    let reply = ReplyKind { id: header.id, flags: 0, op: header.op, repeat: false, kind, deadline };
    let part = Part {
        work: Work::Keyed(Command { database: 0, key, op }),
        reply: part::ReplyKind::Native(reply),
        echo: &[],
        once: None,
    };
    Some((part, REQUEST_HEADER_BYTES + key_bytes + value_bytes))
}

/// Answers a request without flags, if the answer is a header and perhaps a value. Says whether it did.
#[inline]
pub(super) fn answer(reply: &ReplyKind, outcome: &Outcome<'_>, out: &mut Output) -> bool {
    if reply.flags != 0 {
        return false;
    }
    match outcome {
        Outcome::Item(Found { meta, value: Value::Inline(value) }) if meta.flags == 0 => {
            let tail = out.tail();
            tail.reserve(24 + value.len());
            header(reply, Status::Ok, meta, value.len()).compose(tail);
            value.append_to(tail);
        }
        Outcome::Stored { meta, old: None } => {
            let marks = 0;
            AnswerHeader { marks, ..header(reply, Status::Ok, meta, 0) }.compose(out.tail());
        }
        Outcome::Miss => header(reply, Status::Miss, &Meta::default(), 0).compose(out.tail()),
        _ => return false,
    }
    true
}

#[inline]
fn header(reply: &ReplyKind, status: Status, meta: &Meta, value_bytes: usize) -> AnswerHeader {
    AnswerHeader {
        op: reply.op,
        status: status as u8,
        marks: marks_of(meta),
        id: reply.id,
        key_bytes: 0,
        extension_bytes: 0,
        // An inline value is shorter than a segment.
        value_bytes: value_bytes as u32,
        token: meta.token,
    }
}

/// The item's marks, by its facts.
#[inline]
pub(super) fn marks_of(meta: &Meta) -> u8 {
    let lease = match meta.lease {
        Lease::None => 0,
        Lease::Won => marks::WON,
        Lease::Given => marks::GIVEN,
    };
    lease | (u8::from(meta.stale) * marks::STALE) | (u8::from(meta.fetched) * marks::FETCHED)
}

#[cfg(test)]
mod tests {
    use super::super::{Session, compose};
    use super::*;
    use torc_engine::bytes::Bytes;
    use torc_engine::command::Lease;
    use torc_proto::native::frame::compose_request;
    use torc_proto::native::{Expiry, Options, flags};

    const LIMITS: Limits = Limits {
        key_bytes_max: 8,
        value_bytes_max: 40,
        value_bytes_inline: 16,
        frame_bytes_max: 64,
        arguments_max: 4,
        databases: 16,
        makes_durable: true,
        has_password: false,
        debug_commands: false,
    };

    /// Each frame that this way takes gives the same part and length as the general way; all others are left to that.
    #[test]
    fn plain_requests_are_read_as_all_others() {
        let mut taken = 0;
        for op in Op::ALL {
            for flags in [0, flags::WANT_META] {
                for key in [&b""[..], b"k", b"eightlen", b"nine long"] {
                    for value in [&b""[..], b"value", &[7; 16], &[7; 17], &[7; 41]] {
                        for options in
                            [Options::NONE, Options { expiry: Some(Expiry::Never), ..Options::NONE }]
                        {
                            let mut bytes = Vec::new();
                            compose_request(&mut bytes, op, flags, 9, &options, key, value).unwrap();
                            for end in [bytes.len(), bytes.len() - 1, 15] {
                                taken += usize::from(same(&bytes[..end]));
                            }
                        }
                    }
                }
            }
        }
        // Get: two keys; set: two keys and three values.
        assert_eq!(taken, 2 + 2 * 3);
    }

    fn same(bytes: &[u8]) -> bool {
        let Some((part, length)) = request(bytes, &LIMITS) else { return false };
        let mut parts = Vec::new();
        let general = Session::default().frame(bytes, 0, 0, &LIMITS, &mut parts);
        assert_eq!(general, Ok(length));
        assert_eq!(format!("{parts:?}"), format!("{:?}", [part]));
        true
    }

    #[test]
    fn plain_answers_are_written_as_all_others() {
        let meta = |flags, stale, lease| Meta {
            token: 5,
            version: 5,
            flags,
            stale,
            lease,
            fetched: stale,
            ..Meta::default()
        };
        let item = |meta| Outcome::Item(Found { meta, value: Value::Inline(Bytes::from(b"value")) });
        let old =
            Some(Found { meta: meta(0, false, Lease::None), value: Value::Inline(Bytes::from(b"old")) });
        let mut taken = 0;
        for outcome in [
            item(meta(0, false, Lease::None)),
            item(meta(0, true, Lease::Won)),
            item(meta(0, false, Lease::Given)),
            item(meta(7, false, Lease::None)),
            Outcome::Stored { meta: meta(7, true, Lease::None), old: None },
            Outcome::Stored { meta: meta(0, false, Lease::None), old },
            Outcome::Miss,
            Outcome::Exists,
        ] {
            for flags in [0, flags::RETURN_KEY, flags::QUIET_MISS, flags::WANT_META] {
                let (kind, deadline) = (Kind::Outcome, Deadline::NONE);
                let reply = ReplyKind { id: 9, flags, op: 0x20, repeat: false, kind, deadline };
                let (mut plain, mut general) = (Output::default(), Output::default());
                if answer(&reply, &outcome, &mut plain) {
                    compose::outcome(&reply, b"key", &outcome, 0, &mut general);
                    assert_eq!(plain.tail(), general.tail(), "{outcome:?}");
                    taken += 1;
                } else {
                    assert!(plain.is_empty());
                }
            }
        }
        assert_eq!(taken, 5);
    }
}
