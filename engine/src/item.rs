//! The one encoding of an item: in DRAM, on media, on a replication stream, under a one-sided read.
//!
//! ```text
//!  byte 0               8       9         10          12              16
//!  +--------------------+-------+---------+-----------+---------------+
//!  | version u64        | state | present | key u16   | value u32     |   lengths in bytes
//!  +--------------------+-------+---------+-----------+---------------+
//!  [ expiry u64 ][ token u64 ][ checksum u64 ][ flags u32 ][ space u16 ]  each only if announced
//!  key ... value ... padding to 8 bytes
//! ```
//!
//! All numbers are little endian. Fields are absolute and self-contained: nothing refers to the segment that
//! holds the item. State, presence and lengths are one aligned word, the only one that changes in place once an item
//! can be found (therefore outside any checksum); every other change writes a new item.
//!
//! The value of a *chain head* is a list (see `chain.rs`); a *chunk* holds a slice of such a value
//! behind the same key. The checksum is written by the tier, never in DRAM.

use crate::bytes::Bytes;
use crate::bytes_mut::{BytesMut, Words};
use crate::meta::{Meta, Millis};

/// Bytes before the optional fields.
pub const HEADER_BYTES: usize = 16;
/// Items begin at multiples of this.
pub const ALIGN: usize = 8;
/// Longest key the encoding can hold.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// Bits of the state byte.
pub mod state {
    /// Removed or superseded.
    pub const DEAD: u8 = 1;
    /// Kept although invalidated, until somebody brings the new value.
    pub const STALE: u8 = 2;
    /// Somebody has been asked to bring the new value.
    pub const LEASE_GIVEN: u8 = 4;
    /// Read at least once.
    pub const FETCHED: u8 = 8;
    /// An empty item that stands for one being fetched.
    pub const PLACEHOLDER: u8 = 16;
}

/// Bits of the presence byte.
pub mod present {
    pub const EXPIRY: u8 = 1;
    pub const TOKEN: u8 = 2;
    pub const CHECKSUM: u8 = 4;
    pub const FLAGS: u8 = 8;
    /// The key space, if it is not 0.
    pub const SPACE: u8 = 16;
    pub const CHAIN_HEAD: u8 = 32;
    pub const CHUNK: u8 = 64;
}

/// Where the word of state, presence and lengths lies from the start of an item.
pub(crate) const STATE_WORD_OFFSET: usize = 8;

/// What is written in front of key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    pub version: u64,
    pub state: u8,
    /// `CHAIN_HEAD` or `CHUNK`; the other bits follow from the options.
    pub kind: u8,
    pub expiry: Option<Millis>,
    pub token: Option<u64>,
    pub flags: u32,
    pub space: u16,
}

impl Header {
    /// Bytes of header and options.
    #[inline]
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + options_len(self.present())
    }

    /// Bytes of the whole item, padding included.
    #[inline]
    pub fn item_len(&self, key_bytes: usize, value_bytes: usize) -> usize {
        (self.bytes() + key_bytes + value_bytes).next_multiple_of(ALIGN)
    }

    /// What a client may know of an item with this header; `value_bytes` as in [`ItemRef::meta`].
    #[inline]
    pub(crate) fn meta(&self, value_bytes: u64) -> Meta {
        Meta {
            version: self.version,
            token: self.token.unwrap_or(self.version),
            flags: self.flags,
            expiry: self.expiry,
            value_bytes,
            stale: self.state & state::STALE != 0,
            fetched: self.state & state::FETCHED != 0,
            lease: crate::meta::Lease::None,
        }
    }

    /// Writes an item to its room.
    ///
    /// # Panics
    /// If `out` is shorter than the item or the lengths do not fit their fields; callers check both.
    #[inline]
    pub(crate) fn write_item(&self, key: &[u8], value: Bytes<'_>, out: BytesMut<'_>) {
        let mut words = out.whole_words();
        self.push(key, value.len(), &mut words);
        words.push(value);
        words.pad();
    }

    /// Writes an item without its value to its room, and returns where the value belongs. The padding is written.
    ///
    /// # Panics
    /// As [`Header::write_item`].
    pub(crate) fn write(&self, key: &[u8], value_bytes: usize, out: BytesMut<'_>) -> usize {
        let len = self.item_len(key.len(), value_bytes);
        out.slice(len - ALIGN..len).zero();
        let mut words = out.whole_words();
        self.push(key, value_bytes, &mut words);
        words.keep_rest();
        self.bytes() + key.len()
    }

    #[inline(always)]
    fn push(&self, key: &[u8], value_bytes: usize, words: &mut Words<'_>) {
        let key_len = u16::try_from(key.len()).expect("keys are checked against the limit");
        let value_len = u32::try_from(value_bytes).expect("inline values are shorter than a segment");
        words.push_u64(self.version);
        words.push_u64(state_word(self.state, self.present(), key_len, value_len));
        if let Some(expiry) = self.expiry {
            words.push_u64(expiry);
        }
        if let Some(token) = self.token {
            words.push_u64(token);
        }
        if self.flags != 0 {
            words.push_short(u64::from(self.flags), 4);
        }
        if self.space != 0 {
            words.push_short(u64::from(self.space), 2);
        }
        words.push(Bytes::from(key));
    }

    #[inline]
    fn present(&self) -> u8 {
        let bit = |there: bool, bit: u8| if there { bit } else { 0 };
        self.kind
            | bit(self.expiry.is_some(), present::EXPIRY)
            | bit(self.token.is_some(), present::TOKEN)
            | bit(self.flags != 0, present::FLAGS)
            | bit(self.space != 0, present::SPACE)
    }
}

/// Bytes of the options that a presence byte announces.
#[inline]
fn options_len(present: u8) -> usize {
    /// By the low five bits.
    const OPTIONS: [u8; 32] = {
        let mut table = [0; 32];
        let mut bits = 0;
        while bits < 32 {
            table[bits] = ((bits as u8 & 1) + ((bits as u8 >> 1) & 1) + ((bits as u8 >> 2) & 1)) * 8
                + ((bits as u8 >> 3) & 1) * 4
                + ((bits as u8 >> 4) & 1) * 2;
            bits += 1;
        }
        table
    };
    OPTIONS[(present & 31) as usize] as usize
}

/// State, presence and lengths, which are one word so that they change together.
#[inline]
fn state_word(state: u8, present: u8, key_len: u16, value_len: u32) -> u64 {
    u64::from(state) | u64::from(present) << 8 | u64::from(key_len) << 16 | u64::from(value_len) << 32
}

/// Bytes of an item, padding included, by its word of state, presence and lengths.
#[inline]
pub(crate) fn len_by(state_word: u64) -> usize {
    let (present, key, value) =
        ((state_word >> 8) as u8, (state_word >> 16) as u16, (state_word >> 32) as u32);
    (HEADER_BYTES + options_len(present) + key as usize + value as usize).next_multiple_of(ALIGN)
}

/// An item in memory. `bytes` begins at the item and may reach beyond it.
#[derive(Debug, Clone, Copy)]
pub struct ItemRef<'s> {
    bytes: Bytes<'s>,
    /// The first 16 bytes, loaded once.
    version: u64,
    word: u64,
}

impl<'s> ItemRef<'s> {
    /// # Panics
    /// If `bytes` is shorter than a header: locations in the index only point at whole items.
    #[inline]
    pub fn new(bytes: Bytes<'s>) -> ItemRef<'s> {
        // The farther one first: one check is enough.
        let word = bytes.word(STATE_WORD_OFFSET);
        ItemRef { bytes, version: bytes.word(0), word }
    }

    #[inline]
    pub fn version(&self) -> u64 {
        self.version
    }

    #[inline]
    pub fn state(&self) -> u8 {
        self.word as u8
    }

    #[inline]
    pub fn present(&self) -> u8 {
        (self.word >> 8) as u8
    }

    #[inline]
    pub fn is(&self, state: u8) -> bool {
        self.state() & state != 0
    }

    #[inline]
    pub fn key_len(&self) -> usize {
        (self.word >> 16) as u16 as usize
    }

    #[inline]
    pub fn value_len(&self) -> usize {
        (self.word >> 32) as usize
    }

    #[inline]
    fn key_at(&self) -> usize {
        HEADER_BYTES + options_len(self.present())
    }

    #[inline]
    pub fn key(&self) -> Bytes<'s> {
        let at = self.key_at();
        self.bytes.slice(at..at + self.key_len())
    }

    #[inline]
    pub fn value(&self) -> Bytes<'s> {
        let at = self.value_at();
        self.bytes.slice(at..at + self.value_len())
    }

    /// Where the value lies from the start of the item.
    #[inline]
    pub fn value_at(&self) -> usize {
        self.key_at() + self.key_len()
    }

    /// All of it, as it is written elsewhere.
    pub fn encoded(&self) -> Bytes<'s> {
        self.bytes.slice(0..self.item_len())
    }

    /// Bytes of the whole item, padding included.
    #[inline]
    pub fn item_len(&self) -> usize {
        (self.value_at() + self.value_len()).next_multiple_of(ALIGN)
    }

    #[inline]
    fn option_u64(&self, bit: u8) -> Option<u64> {
        if self.present() & bit == 0 {
            return None;
        }
        let before = (self.present() & (bit - 1) & 7).count_ones() as usize;
        Some(self.bytes.word(HEADER_BYTES + before * 8))
    }

    #[inline]
    pub fn expiry(&self) -> Option<Millis> {
        self.option_u64(present::EXPIRY)
    }

    /// The explicit token, if a client set one.
    #[inline]
    pub fn explicit_token(&self) -> Option<u64> {
        self.option_u64(present::TOKEN)
    }

    /// What clients see as CAS.
    #[inline]
    pub fn token(&self) -> u64 {
        self.explicit_token().unwrap_or(self.version)
    }

    #[inline]
    pub fn flags(&self) -> u32 {
        if self.present() & present::FLAGS == 0 {
            return 0;
        }
        let space = if self.present() & present::SPACE != 0 { 2 } else { 0 };
        // Bytes of the header stand before them in any case.
        (self.bytes.word(self.key_at() - space - 8) >> 32) as u32
    }

    /// The key space.
    #[inline]
    pub fn space(&self) -> u16 {
        if self.present() & present::SPACE == 0 {
            return 0;
        }
        (self.bytes.word(self.key_at() - 8) >> 48) as u16
    }

    /// Neither dead nor expired nor flushed away.
    #[inline]
    pub fn is_live(&self, now: Millis, flushed: u64) -> bool {
        if self.is(state::DEAD) || self.version <= flushed {
            return false;
        }
        self.expiry().is_none_or(|expiry| expiry > now)
    }

    /// The header as it would be written again.
    #[inline]
    pub fn header(&self) -> Header {
        Header {
            version: self.version,
            state: self.state(),
            kind: self.present() & (present::CHAIN_HEAD | present::CHUNK),
            expiry: self.expiry(),
            token: self.explicit_token(),
            flags: self.flags(),
            space: self.space(),
        }
    }

    /// What a client may know; `value_bytes` is given, as a chain head's own value is a list.
    #[inline]
    pub fn meta(&self, value_bytes: u64) -> Meta {
        Meta {
            version: self.version,
            token: self.token(),
            flags: self.flags(),
            expiry: self.expiry(),
            value_bytes,
            stale: self.is(state::STALE),
            fetched: self.is(state::FETCHED),
            lease: crate::meta::Lease::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes_mut::bytes_of;

    #[test]
    fn every_combination_of_options_reads_back() {
        for bits in 0..16 {
            let header = Header {
                version: 0x0102_0304_0506_0708,
                state: state::FETCHED,
                kind: 0,
                expiry: (bits & 1 != 0).then_some(77),
                token: (bits & 2 != 0).then_some(88),
                flags: if bits & 4 != 0 { 99 } else { 0 },
                space: if bits & 8 != 0 { 513 } else { 0 },
            };
            let mut words = vec![u64::MAX; header.item_len(3, 5) / 8];
            let out = BytesMut::of(&mut words);
            let value_at = header.write(b"key", 5, out);
            out.slice(value_at..value_at + 5).copy_from_slice(b"value");
            let bytes = bytes_of(&words);
            header.write_item(b"key", Bytes::from(b"value"), BytesMut::of(&mut words));
            assert_eq!(bytes, bytes_of(&words));
            let item = ItemRef::new(Bytes::from(&bytes[..]));
            assert_eq!(item.header(), header);
            assert_eq!(item.key().to_vec(), b"key");
            assert_eq!(item.value().to_vec(), b"value");
            assert_eq!(item.item_len(), bytes.len());
            assert_eq!(item.token(), header.token.unwrap_or(header.version));
        }
    }

    #[test]
    fn without_options_a_header_is_sixteen_bytes() {
        assert_eq!(Header::default().bytes(), 16);
        assert_eq!(Header::default().item_len(16, 64), 96);
    }
}
