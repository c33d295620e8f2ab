//! Headers and whole frames.
//!
//! The layouts are drawn in `docs/protocol.md`, section 2. Both headers agree in bytes 0, 1 and 4 to 15.

use super::{Invalid, MAGIC, Op, Options, ParseError, Status};

/// Length of a request's header ([N-HDR-1]).
pub const REQUEST_HEADER_BYTES: usize = 16;
/// Length of an answer's header.
pub const ANSWER_HEADER_BYTES: usize = 24;
/// The bit that makes a request's operation its answer's.
pub const ANSWER_BIT: u8 = 0x80;

/// What a parser of whole frames accepts; all other lengths are bounded by their 16-bit fields.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Longest value, bytes.
    pub value_bytes_max: u32,
}

/// The fixed part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// Code of the operation, which may be unknown: see [`Op::from_wire`].
    pub op: u8,
    pub flags: u16,
    pub id: u32,
    pub key_bytes: u16,
    pub extension_bytes: u16,
    pub value_bytes: u32,
}

impl RequestHeader {
    /// Reads a header from the start of `input`. After an `Ok` the length of the frame is known, whatever else is wrong with it.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<RequestHeader, ParseError> {
        let Some(raw) = input.first_chunk::<REQUEST_HEADER_BYTES>() else {
            return Err(incomplete_header(input, REQUEST_HEADER_BYTES));
        };
        let low = u64::from_le_bytes([raw[0], raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], raw[7]]);
        let high = u64::from_le_bytes([raw[8], raw[9], raw[10], raw[11], raw[12], raw[13], raw[14], raw[15]]);
        if low as u8 != MAGIC {
            return Err(Invalid::Magic(low as u8).into());
        }
        let op = (low >> 8) as u8;
        if op & ANSWER_BIT != 0 {
            return Err(Invalid::Direction(op).into());
        }
        Ok(RequestHeader {
            op,
            flags: (low >> 16) as u16,
            id: (low >> 32) as u32,
            key_bytes: high as u16,
            extension_bytes: (high >> 16) as u16,
            value_bytes: (high >> 32) as u32,
        })
    }

    /// Appends the 16 bytes.
    #[inline]
    pub fn compose(&self, out: &mut Vec<u8>) {
        let low = u64::from(MAGIC)
            | u64::from(self.op) << 8
            | u64::from(self.flags) << 16
            | u64::from(self.id) << 32;
        let mut raw = [0; REQUEST_HEADER_BYTES];
        raw[..8].copy_from_slice(&low.to_le_bytes());
        raw[8..].copy_from_slice(&self.lengths().to_le_bytes());
        out.extend_from_slice(&raw);
    }

    /// Bytes before the value: header, extensions and key.
    #[inline]
    pub fn head_bytes(&self) -> usize {
        REQUEST_HEADER_BYTES + usize::from(self.extension_bytes) + usize::from(self.key_bytes)
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        self.head_bytes() as u64 + u64::from(self.value_bytes)
    }

    fn lengths(&self) -> u64 {
        u64::from(self.key_bytes) | u64::from(self.extension_bytes) << 16 | u64::from(self.value_bytes) << 32
    }
}

/// A whole request; all slices point into the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub header: RequestHeader,
    /// Still encoded: see [`Options::parse`].
    pub extensions: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads one frame from the start of `input` and says how many bytes it takes. A value over the limit is
    /// reported as soon as the header is there.
    #[inline]
    pub fn parse(input: &'a [u8], limits: &FrameLimits) -> Result<(Request<'a>, usize), ParseError> {
        let header = RequestHeader::parse(input)?;
        check_value(header.value_bytes, limits)?;
        let (parts, consumed) = Sections::split(
            input,
            REQUEST_HEADER_BYTES,
            header.extension_bytes,
            header.key_bytes,
            header.value_bytes,
        )?;
        Ok((Request { header, extensions: parts.extensions, key: parts.key, value: parts.value }, consumed))
    }

    /// Reads header, extensions and key; the value follows in the input, as far as it is there already.
    /// For values that are received in slices.
    pub fn parse_head(input: &'a [u8]) -> Result<(Request<'a>, usize), ParseError> {
        let header = RequestHeader::parse(input)?;
        let (parts, consumed) =
            Sections::split(input, REQUEST_HEADER_BYTES, header.extension_bytes, header.key_bytes, 0)?;
        Ok((Request { header, extensions: parts.extensions, key: parts.key, value: &[] }, consumed))
    }
}

/// Appends a request. Errors: a key over 65,535 bytes, a value over 4 GiB; nothing is appended then.
#[inline]
pub fn compose_request(
    out: &mut Vec<u8>,
    op: Op,
    flags: u16,
    id: u32,
    options: &Options,
    key: &[u8],
    value: &[u8],
) -> Result<(), Invalid> {
    let value_bytes = u32::try_from(value.len())
        .map_err(|_| Invalid::ValueTooLong { value_bytes: value.len() as u64, limit: u32::MAX.into() })?;
    compose_request_head(out, op, flags, id, options, key, value_bytes)?;
    out.extend_from_slice(value);
    Ok(())
}

/// Appends all of a request but its value, which the caller sends behind it.
#[inline]
pub fn compose_request_head(
    out: &mut Vec<u8>,
    op: Op,
    flags: u16,
    id: u32,
    options: &Options,
    key: &[u8],
    value_bytes: u32,
) -> Result<(), Invalid> {
    let key_bytes = u16::try_from(key.len())
        .map_err(|_| Invalid::KeyTooLong { key_bytes: key.len(), limit: usize::from(u16::MAX) })?;
    let extension_bytes = options.encoded_bytes();
    RequestHeader { op: op as u8, flags, id, key_bytes, extension_bytes, value_bytes }.compose(out);
    if extension_bytes != 0 {
        options.compose(out);
    }
    out.extend_from_slice(key);
    Ok(())
}

/// The fixed part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnswerHeader {
    /// Code of the request's operation, without [`ANSWER_BIT`].
    pub op: u8,
    /// Code of the status: see [`Status::from_wire`].
    pub status: u8,
    /// Bits of [`super::marks`].
    pub marks: u8,
    pub id: u32,
    pub key_bytes: u16,
    pub extension_bytes: u16,
    pub value_bytes: u32,
    pub token: u64,
}

impl AnswerHeader {
    /// Reads a header from the start of `input`.
    #[inline]
    pub fn parse(input: &[u8]) -> Result<AnswerHeader, ParseError> {
        let Some(raw) = input.first_chunk::<ANSWER_HEADER_BYTES>() else {
            return Err(incomplete_header(input, ANSWER_HEADER_BYTES));
        };
        if raw[0] != MAGIC {
            return Err(Invalid::Magic(raw[0]).into());
        }
        if raw[1] & ANSWER_BIT == 0 {
            return Err(Invalid::Direction(raw[1]).into());
        }
        Ok(AnswerHeader {
            op: raw[1] & !ANSWER_BIT,
            status: raw[2],
            marks: raw[3],
            id: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
            key_bytes: u16::from_le_bytes([raw[8], raw[9]]),
            extension_bytes: u16::from_le_bytes([raw[10], raw[11]]),
            value_bytes: u32::from_le_bytes([raw[12], raw[13], raw[14], raw[15]]),
            token: u64::from_le_bytes([
                raw[16], raw[17], raw[18], raw[19], raw[20], raw[21], raw[22], raw[23],
            ]),
        })
    }

    /// Appends the 24 bytes.
    #[inline]
    pub fn compose(&self, out: &mut Vec<u8>) {
        let low = u64::from(MAGIC)
            | u64::from(self.op | ANSWER_BIT) << 8
            | u64::from(self.status) << 16
            | u64::from(self.marks) << 24
            | u64::from(self.id) << 32;
        let lengths = u64::from(self.key_bytes)
            | u64::from(self.extension_bytes) << 16
            | u64::from(self.value_bytes) << 32;
        let mut raw = [0; ANSWER_HEADER_BYTES];
        raw[..8].copy_from_slice(&low.to_le_bytes());
        raw[8..16].copy_from_slice(&lengths.to_le_bytes());
        raw[16..].copy_from_slice(&self.token.to_le_bytes());
        out.extend_from_slice(&raw);
    }

    /// The status, unknown ones taken as [N-ANS-3] says.
    pub fn status(&self) -> Status {
        Status::from_wire(self.status)
    }

    /// Bytes before the value.
    pub fn head_bytes(&self) -> usize {
        ANSWER_HEADER_BYTES + usize::from(self.extension_bytes) + usize::from(self.key_bytes)
    }

    /// Bytes of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        self.head_bytes() as u64 + u64::from(self.value_bytes)
    }
}

/// A whole answer; all slices point into the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    pub header: AnswerHeader,
    /// Still encoded: see [`super::ItemFacts::parse`].
    pub extensions: &'a [u8],
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads one frame from the start of `input` and says how many bytes it takes.
    #[inline]
    pub fn parse(input: &'a [u8], limits: &FrameLimits) -> Result<(Answer<'a>, usize), ParseError> {
        let header = AnswerHeader::parse(input)?;
        check_value(header.value_bytes, limits)?;
        let (parts, consumed) = Sections::split(
            input,
            ANSWER_HEADER_BYTES,
            header.extension_bytes,
            header.key_bytes,
            header.value_bytes,
        )?;
        Ok((Answer { header, extensions: parts.extensions, key: parts.key, value: parts.value }, consumed))
    }

    /// Appends the frame; the three lengths of `header` are overwritten with those of the slices. Errors as
    /// for requests; nothing is appended then.
    pub fn compose(&self, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let too_long = |limit: usize| Invalid::KeyTooLong { key_bytes: self.key.len(), limit };
        let header = AnswerHeader {
            key_bytes: u16::try_from(self.key.len()).map_err(|_| too_long(usize::from(u16::MAX)))?,
            extension_bytes: u16::try_from(self.extensions.len()).map_err(|_| Invalid::ExtensionOverrun)?,
            value_bytes: u32::try_from(self.value.len()).map_err(|_| Invalid::ValueTooLong {
                value_bytes: self.value.len() as u64,
                limit: u32::MAX.into(),
            })?,
            ..self.header
        };
        header.compose(out);
        out.extend_from_slice(self.extensions);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        Ok(())
    }
}

struct Sections<'a> {
    extensions: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Sections<'a> {
    /// The sum of the lengths cannot overflow: 24 + 2 x (2^16 - 1) + 2^32 - 1 on 64 bits, checked for smaller ones.
    #[inline]
    fn split(
        input: &'a [u8],
        header_bytes: usize,
        extension_bytes: u16,
        key_bytes: u16,
        value_bytes: u32,
    ) -> Result<(Sections<'a>, usize), ParseError> {
        if !extension_bytes.is_multiple_of(8) {
            return Err(Invalid::ExtensionLength(extension_bytes).into());
        }
        let key_at = header_bytes + usize::from(extension_bytes);
        let value_at = key_at + usize::from(key_bytes);
        let end = usize::try_from(value_bytes)
            .ok()
            .and_then(|bytes| value_at.checked_add(bytes))
            .ok_or(Invalid::ValueTooLong { value_bytes: value_bytes.into(), limit: usize::MAX as u64 })?;
        let Some(frame) = input.get(..end) else {
            return Err(ParseError::Incomplete { missing: end - input.len() });
        };
        let (head, value) = frame.split_at(value_at);
        let (head, key) = head.split_at(key_at);
        let (_, extensions) = head.split_at(header_bytes);
        Ok((Sections { extensions, key, value }, end))
    }
}

fn check_value(value_bytes: u32, limits: &FrameLimits) -> Result<(), Invalid> {
    if value_bytes > limits.value_bytes_max {
        return Err(Invalid::ValueTooLong {
            value_bytes: value_bytes.into(),
            limit: limits.value_bytes_max.into(),
        });
    }
    Ok(())
}

#[cold]
fn incomplete_header(input: &[u8], header_bytes: usize) -> ParseError {
    match input.first() {
        Some(&first) if first != MAGIC => Invalid::Magic(first).into(),
        _ => ParseError::Incomplete { missing: header_bytes - input.len() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { value_bytes_max: 1 << 20 };

    /// [N-HDR-1]
    #[test]
    fn a_request_is_whole_only_with_its_last_byte() {
        let mut bytes = Vec::new();
        compose_request(&mut bytes, Op::Set, 0, 7, &Options::default(), b"key", b"value").unwrap();
        assert_eq!(bytes.len(), 16 + 3 + 5);
        for end in 0..bytes.len() {
            match Request::parse(&bytes[..end], &LIMITS) {
                Err(ParseError::Incomplete { missing }) => {
                    assert!(missing >= 1 && end + missing <= bytes.len())
                }
                other => panic!("{end}: {other:?}"),
            }
        }
        let (request, consumed) = Request::parse(&bytes, &LIMITS).unwrap();
        assert_eq!((request.key, request.value, consumed), (&b"key"[..], &b"value"[..], bytes.len()));
    }

    /// [N-HDR-2]
    #[test]
    fn the_first_byte_alone_can_be_refused() {
        assert_eq!(Request::parse(b"G", &LIMITS), Err(Invalid::Magic(b'G').into()));
        assert_eq!(Answer::parse(b"*", &LIMITS), Err(Invalid::Magic(b'*').into()));
    }

    #[test]
    fn a_frame_of_the_other_direction_is_refused() {
        let mut bytes = Vec::new();
        RequestHeader { op: Op::Get as u8, ..Default::default() }.compose(&mut bytes);
        bytes.extend_from_slice(&[0; 8]);
        assert_eq!(Answer::parse(&bytes, &LIMITS), Err(Invalid::Direction(0x10).into()));
        bytes[1] |= ANSWER_BIT;
        assert_eq!(Request::parse(&bytes, &LIMITS), Err(Invalid::Direction(0x90).into()));
    }

    /// [N-HDR-8]
    #[test]
    fn a_value_over_the_limit_is_known_from_the_header() {
        let mut bytes = Vec::new();
        RequestHeader { op: Op::Set as u8, value_bytes: u32::MAX, ..Default::default() }.compose(&mut bytes);
        assert!(matches!(
            Request::parse(&bytes, &LIMITS),
            Err(ParseError::Invalid(Invalid::ValueTooLong { .. }))
        ));
        assert_eq!(RequestHeader::parse(&bytes).unwrap().frame_bytes(), 16 + u64::from(u32::MAX));
    }

    #[test]
    fn a_key_that_does_not_fit_its_length_field_is_not_composed() {
        let mut bytes = Vec::new();
        let key = vec![b'k'; 65_536];
        let composed = compose_request(&mut bytes, Op::Get, 0, 0, &Options::default(), &key, b"");
        assert_eq!(composed, Err(Invalid::KeyTooLong { key_bytes: 65_536, limit: 65_535 }));
        assert!(bytes.is_empty());
    }
}
