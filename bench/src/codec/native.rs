//! Torc's native protocol: requests without options, answers known by op and status.
//!
//! Answers may come in any order; a load needs only their number, so request ids all are 0.

use torc_proto::native::{
    AnswerHeader, Op, RequestHeader, Status,
    frame::{ANSWER_HEADER_BYTES, REQUEST_HEADER_BYTES},
};

use super::{Codec, Tally};

/// The codec; it has no state.
#[derive(Clone, Copy, Debug)]
pub struct Native;

/// The scanner: a header, collected piece by piece, then the rest of its frame.
#[derive(Debug, Default)]
pub struct Scanner {
    head: [u8; ANSWER_HEADER_BYTES],
    head_len: usize,
    /// Bytes of the frame under way that come behind its header, and the header.
    rest: Option<(u64, AnswerHeader)>,
}

impl Codec for Native {
    type Scanner = Scanner;

    fn name(&self) -> &'static str {
        "native"
    }

    #[inline]
    fn get(&self, out: &mut Vec<u8>, key: &[u8]) {
        push_request(out, Op::Get, key, &[]);
    }

    #[inline]
    fn set(&self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        push_request(out, Op::Set, key, value);
    }

    fn reply_bytes(&self, _key: &[u8], value: &[u8]) -> [usize; 2] {
        let head = ANSWER_HEADER_BYTES;
        [head + value.len(), head]
    }

    #[inline]
    fn scan(&self, scanner: &mut Scanner, mut bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        loop {
            if let Some((left, header)) = &mut scanner.rest {
                let taken = (bytes.len() as u64).min(*left);
                *left -= taken;
                bytes = &bytes[taken as usize..];
                if *left > 0 {
                    return Ok(());
                }
                count(header, tally);
                scanner.rest = None;
            }
            let missing = &mut scanner.head[scanner.head_len..];
            let (piece, rest) = bytes.split_at(bytes.len().min(missing.len()));
            missing[..piece.len()].copy_from_slice(piece);
            scanner.head_len += piece.len();
            bytes = rest;
            if scanner.head_len < ANSWER_HEADER_BYTES {
                return Ok(());
            }
            scanner.head_len = 0;
            let header = AnswerHeader::parse(&scanner.head).map_err(|error| error.to_string())?;
            scanner.rest = Some((header.frame_bytes() - ANSWER_HEADER_BYTES as u64, header));
        }
    }
}

#[inline]
fn count(header: &AnswerHeader, tally: &mut Tally) {
    const GET: u8 = Op::Get as u8;
    match (header.status(), header.op) {
        (Status::Ok, GET) => {
            tally.hits += 1;
            tally.value_bytes += u64::from(header.value_bytes);
        }
        (Status::Miss, GET) => tally.misses += 1,
        (status, _) if status.is_refusal() => {
            tally.refuse(format!("{status:?} ({:#04x})", header.status).as_bytes());
        }
        _ => tally.done += 1,
    }
}

/// Lengths fit: keys have at most 250 bytes, values at most 2^30.
#[inline]
fn push_request(out: &mut Vec<u8>, op: Op, key: &[u8], value: &[u8]) {
    out.reserve(REQUEST_HEADER_BYTES + key.len() + value.len());
    let header = RequestHeader {
        op: op as u8,
        key_bytes: key.len() as u16,
        value_bytes: value.len() as u32,
        ..RequestHeader::default()
    };
    header.compose(out);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use torc_proto::native::{self, FrameLimits, Request};

    use super::*;
    use crate::codec::testing::{refuses, scans_however_cut};

    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };

    fn push_answer(out: &mut Vec<u8>, op: Op, status: Status, value: &[u8]) {
        let header = AnswerHeader { op: op as u8, status: status as u8, ..AnswerHeader::default() };
        let (extensions, key) = (&[][..], &[][..]);
        let answer = native::Answer { header, extensions, key, value };
        answer.compose(out).unwrap();
    }

    #[test]
    fn writes_requests_that_the_protocol_s_own_parser_reads() {
        let mut out = Vec::new();
        Native.get(&mut out, b"key");
        Native.set(&mut out, b"key", b"0123456789");
        let mut input = &out[..];
        for (op, value) in [(Op::Get, &b""[..]), (Op::Set, b"0123456789")] {
            let (request, consumed) = Request::parse(input, &LIMITS).unwrap();
            assert_eq!(request.header.op, op as u8);
            assert_eq!((request.key, request.value), (&b"key"[..], value));
            input = &input[consumed..];
        }
        assert!(input.is_empty());
    }

    #[test]
    fn counts_replies_however_the_stream_is_cut() {
        let mut stream = Vec::new();
        push_answer(&mut stream, Op::Get, Status::Ok, b"hello");
        push_answer(&mut stream, Op::Get, Status::Miss, b"");
        push_answer(&mut stream, Op::Set, Status::Ok, b"");
        push_answer(&mut stream, Op::Get, Status::Ok, b"");
        push_answer(&mut stream, Op::Set, Status::Exists, b"");
        push_answer(&mut stream, Op::Set, Status::OutOfMemory, b"no room");
        let expected = Tally {
            hits: 2,
            misses: 1,
            done: 2,
            refused: 1,
            value_bytes: 5,
            first_refusal: Some("OutOfMemory (0x29)".into()),
        };
        scans_however_cut(&Native, &stream, &expected);
    }

    #[test]
    fn refuses_what_is_no_answer() {
        assert!(refuses(&Native, &[b'-'; ANSWER_HEADER_BYTES]));
        let mut request = Vec::new();
        Native.get(&mut request, b"a key that is long enough");
        assert!(refuses(&Native, &request));
    }

    #[test]
    fn reply_sizes_are_the_real_ones() {
        let mut out = Vec::new();
        push_answer(&mut out, Op::Get, Status::Ok, &[0; 64]);
        assert_eq!(Native.reply_bytes(b"key", &[0; 64]), [out.len(), 24]);
    }
}
