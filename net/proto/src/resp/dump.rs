//! Strings as DUMP gives them and RESTORE takes them: those of Redis' RDB format.
//!
//! ```text
//! | type 0 | length, the bytes; or an integer; or LZF | version u16 | CRC64 u64, of all before |
//!
//! length:   00LLLLLL | 01LLLLLL LLLLLLLL | 10000000 u32 big endian | 10000001 u64 big endian
//! integer:  11000000 i8 | 11000001 i16 | 11000010 i32, little endian
//! LZF:      11000011 length of the packed bytes, length of the value, the packed bytes
//! ```
//!
//! The checksum is CRC-64 with the polynomial of Jones, reflected.

use super::number::parse_i64;
use crc::{CRC_64_REDIS, Crc, Digest, Table};

/// The version that is written, and the newest that is read: strings are the same in all.
const VERSION_WRITTEN: u16 = 10;
const VERSION_READ_MAX: u16 = 12;
/// Version and checksum.
pub const FOOTER_BYTES: usize = 10;
/// Longest text that may be kept as an integer, bytes.
const INTEGER_BYTES_MAX: usize = 11;
const STRING: u8 = 0;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A payload while its bytes are written elsewhere.
pub struct Dump(Digest<'static, u64, Table<16>>);

impl Dump {
    /// Begins the payload of a value of `len` bytes; returns with it what stands before the value. `text`: the value, if it is
    /// short enough to be an integer. If it is one, it is left out behind.
    pub fn begin(len: u64, text: Option<&[u8]>) -> (Dump, Vec<u8>, bool) {
        let mut head = vec![STRING];
        let number = text.filter(|text| text.len() <= INTEGER_BYTES_MAX).and_then(parse_i64);
        let number = number.and_then(|number| i32::try_from(number).ok());
        match number {
            Some(number) => integer(number, &mut head),
            None => length(len, &mut head),
        }
        let mut dump = Dump(CRC.digest());
        dump.take(&head);
        (dump, head, number.is_some())
    }

    /// Takes bytes that the payload goes on with.
    pub fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What stands behind the value.
    pub fn end(mut self) -> [u8; FOOTER_BYTES] {
        let version = VERSION_WRITTEN.to_le_bytes();
        self.0.update(&version);
        let mut footer = [0; FOOTER_BYTES];
        footer[..2].copy_from_slice(&version);
        footer[2..].copy_from_slice(&self.0.finalize().to_le_bytes());
        footer
    }
}

fn integer(number: i32, out: &mut Vec<u8>) {
    if let Ok(number) = i8::try_from(number) {
        out.push(0xC0);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xC1);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(0xC2);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn length(len: u64, out: &mut Vec<u8>) {
    match (len, u32::try_from(len)) {
        (..0x40, _) => out.push(len as u8),
        (..0x4000, _) => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        (_, Ok(len)) => {
            out.push(0x80);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// A payload whose checksum is right, whatever its bytes say: for tests of what reads it.
pub(super) fn sealed(body: &[u8]) -> Vec<u8> {
    let mut dump = Dump(CRC.digest());
    dump.take(body);
    [body, &dump.end()].concat()
}

/// The value in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumped<'a> {
    Plain(&'a [u8]),
    Integer(i32),
    /// Packed bytes, and the length of what they come to.
    Lzf(&'a [u8], u64),
}

/// Why a payload is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadDump {
    /// A newer version, or another checksum.
    Footer,
    /// No string, or one that is cut short.
    Format,
}

/// Reads a payload.
///
/// # Errors
/// See [`BadDump`].
pub fn read(payload: &[u8]) -> Result<Dumped<'_>, BadDump> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or(BadDump::Footer)?;
    let [low, high, crc @ ..] = *footer;
    let summed = &payload[..body.len() + 2];
    if u16::from_le_bytes([low, high]) > VERSION_READ_MAX || CRC.checksum(summed) != u64::from_le_bytes(crc) {
        return Err(BadDump::Footer);
    }
    match body.split_first() {
        Some((&STRING, body)) => string(body).ok_or(BadDump::Format),
        _ => Err(BadDump::Format),
    }
}

fn string(body: &[u8]) -> Option<Dumped<'_>> {
    let (&first, rest) = body.split_first()?;
    let whole = |number: i32, rest: &[u8]| rest.is_empty().then_some(Dumped::Integer(number));
    match first {
        0xC0 => {
            rest.split_first_chunk().and_then(|(bytes, rest)| whole(i8::from_le_bytes(*bytes).into(), rest))
        }
        0xC1 => {
            rest.split_first_chunk().and_then(|(bytes, rest)| whole(i16::from_le_bytes(*bytes).into(), rest))
        }
        0xC2 => rest.split_first_chunk().and_then(|(bytes, rest)| whole(i32::from_le_bytes(*bytes), rest)),
        0xC3 => {
            let (packed_len, rest) = read_length(rest)?;
            let (len, rest) = read_length(rest)?;
            (rest.len() as u64 == packed_len).then_some(Dumped::Lzf(rest, len))
        }
        _ => {
            let (len, rest) = read_length(body)?;
            (rest.len() as u64 == len).then_some(Dumped::Plain(rest))
        }
    }
}

fn read_length(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    match (first >> 6, first) {
        (0, _) => Some((first.into(), rest)),
        (1, _) => {
            rest.split_first().map(|(&low, rest)| (u64::from(first & 0x3F) << 8 | u64::from(low), rest))
        }
        (_, 0x80) => rest.split_first_chunk().map(|(len, rest)| (u32::from_be_bytes(*len).into(), rest)),
        (_, 0x81) => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(value: &[u8]) -> Vec<u8> {
        let (mut dump, mut payload, is_integer) = Dump::begin(value.len() as u64, Some(value));
        if !is_integer {
            dump.take(value);
            payload.extend_from_slice(value);
        }
        payload.extend_from_slice(&dump.end());
        payload
    }

    /// What Redis 7.0 says.
    #[test]
    fn payloads_are_those_of_redis() {
        let bits = b"\x01\0\0\0\0\0\0\0\0\0\0\0\x06";
        assert_eq!(dump(bits), [b"\0\r", &bits[..], b"\n\0\x0e\xee\x03\x1d\xe0\xcb\xc6\x14"].concat());
        assert_eq!(dump(b"10"), b"\0\xc0\n\n\0n\x9fWE\x0e\xaec\xbb");
    }

    #[test]
    fn values_come_back() {
        for len in [0, 1, 63, 64, 16_383, 16_384, 70_000] {
            let value: Vec<u8> = (0..len).map(|at| (at * 31) as u8).collect();
            assert_eq!(read(&dump(&value)), Ok(Dumped::Plain(&value)), "{len}");
        }
        for number in [0, -1, 127, -128, 128, 32_767, -32_768, 32_768, i32::MAX, i32::MIN] {
            assert_eq!(read(&dump(number.to_string().as_bytes())), Ok(Dumped::Integer(number)));
        }
        for text in ["2147483648", "-0", "01", "+1"] {
            assert_eq!(read(&dump(text.as_bytes())), Ok(Dumped::Plain(text.as_bytes())));
        }
    }

    #[test]
    fn what_is_no_payload_is_refused() {
        let payload = dump(b"value");
        for cut in 0..payload.len() {
            assert_eq!(read(&payload[..cut]), Err(BadDump::Footer));
        }
        for at in 0..payload.len() {
            let mut changed = payload.clone();
            changed[at] ^= 4;
            assert_eq!(read(&changed), Err(BadDump::Footer), "{at}");
        }
        let sealed = |body: &[u8]| {
            let mut dump = Dump(CRC.digest());
            dump.take(body);
            [body, &dump.end()].concat()
        };
        for body in [
            &b""[..],
            b"\x01\x01a",
            b"\0",
            b"\0\x02a",
            b"\0\x02abc",
            b"\0\xc1\0",
            b"\0\xc4\0",
            b"\0\x82\0",
            b"\0\xc3\x02\x05a",
        ] {
            assert_eq!(read(&sealed(body)), Err(BadDump::Format), "{body:?}");
        }
        assert_eq!(read(&sealed(b"\0\xc3\x02\x05ab")), Ok(Dumped::Lzf(b"ab", 5)));
    }
}
