//! A page: items that are compressed, checked and read together.
//!
//! ```text
//!  | header 64 bytes | payload, LZ4 or as it is | zeros to the next unit |
//!  payload: | item, padded to 8 bytes | item | ... | lengths, 4 bytes each |
//! ```
//!
//! The header's checksum is verified before its lengths are used, the payload's before anything is decompressed.

use thiserror::Error;

use super::UNIT_BYTES;
use super::fields::{Fields, Writer, checksum, is_sealed};

/// Bytes of a page's header.
pub const HEADER_BYTES: usize = 64;
/// Items begin at multiples of this in a page.
pub const ALIGN: usize = 8;
/// Bytes of an item's length.
pub const LENGTH_BYTES: usize = 4;
const MAGIC: [u8; 4] = *b"TPG1";

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As it is.
    Raw = 0,
    /// An LZ4 block.
    Lz4 = 1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    pub stream: u16,
    pub compression: Compression,
    /// Its position, which is its sequence number.
    pub position: u64,
    /// Everything below this position was drained before the page was written.
    pub drained: u64,
    pub volume: u64,
    /// Bytes of the payload.
    pub raw: u32,
    /// Bytes that the payload takes on the medium.
    pub stored: u32,
    pub items: u16,
    /// The run that wrote it, its lowest 32 bits: a run that a crash has cut off may have written another page of the same
    /// position.
    pub generation: u32,
    /// Of the payload as it is on the medium.
    pub payload_checksum: u64,
}

/// Why a page gives nothing.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum BadPage {
    #[error("the page's header is damaged, or there is no page")]
    Header,
    #[error("the page belongs elsewhere")]
    Misplaced,
    #[error("the page's payload is damaged")]
    Payload,
    #[error("the page's payload cannot be decompressed")]
    Compression,
    #[error("the page has no such item")]
    Item,
}

impl PageHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Writer::new();
        out.put(&MAGIC);
        out.u16(self.stream);
        out.put(&[self.compression as u8, 0]);
        out.u64(self.position);
        out.u64(self.drained);
        out.u64(self.volume);
        out.u32(self.raw);
        out.u32(self.stored);
        out.u16(self.items);
        out.u16(0);
        out.u32(self.generation);
        out.u64(self.payload_checksum);
        out.sealed()
    }

    /// # Errors
    /// [`BadPage::Header`].
    pub fn decode(bytes: &[u8]) -> Result<PageHeader, BadPage> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(BadPage::Header)?;
        let mut fields = Fields::new(bytes);
        if fields.array() != MAGIC || !is_sealed(bytes) {
            return Err(BadPage::Header);
        }
        let stream = fields.u16();
        let compression = match fields.u8() {
            0 => Compression::Raw,
            1 => Compression::Lz4,
            _ => return Err(BadPage::Header),
        };
        fields.u8();
        let (position, drained, volume) = (fields.u64(), fields.u64(), fields.u64());
        let (raw, stored, items, _) = (fields.u32(), fields.u32(), fields.u16(), fields.u16());
        let generation = fields.u32();
        let payload_checksum = fields.u64();
        Ok(PageHeader {
            stream,
            compression,
            position,
            drained,
            volume,
            raw,
            stored,
            items,
            generation,
            payload_checksum,
        })
    }

    /// Units from the header to the next page.
    pub fn units(&self) -> u64 {
        (HEADER_BYTES as u64 + u64::from(self.stored)).div_ceil(UNIT_BYTES as u64)
    }

    /// Verifies the payload that lies at the start of `stored`, and gives it as it was before it was compressed; `room` is
    /// used if it was. `raw_max` bounds what a page may hold, bytes.
    ///
    /// # Errors
    /// [`BadPage::Payload`], [`BadPage::Compression`].
    pub fn open<'b>(
        &self,
        stored: &'b [u8],
        room: &'b mut Vec<u8>,
        raw_max: usize,
    ) -> Result<&'b [u8], BadPage> {
        let stored = self.verify(stored)?;
        let raw = self.raw as usize;
        match self.compression {
            Compression::Raw => Ok(stored),
            Compression::Lz4 if raw > raw_max => Err(BadPage::Compression),
            Compression::Lz4 => {
                room.resize(raw, 0);
                match lz4_flex::block::decompress_into(stored, room) {
                    Ok(bytes) if bytes == raw => Ok(room),
                    _ => Err(BadPage::Compression),
                }
            }
        }
    }

    /// Verifies the payload that lies at the start of `stored`, and gives it.
    ///
    /// # Errors
    /// [`BadPage::Payload`].
    pub fn verify<'b>(&self, stored: &'b [u8]) -> Result<&'b [u8], BadPage> {
        let stored = stored.get(..self.stored as usize).ok_or(BadPage::Payload)?;
        let is_right = checksum(stored) == self.payload_checksum;
        if is_right { Ok(stored) } else { Err(BadPage::Payload) }
    }
}

/// An item of a payload with so many.
///
/// # Errors
/// [`BadPage::Item`].
pub fn item(payload: &[u8], items: u16, ordinal: u16) -> Result<&[u8], BadPage> {
    let lengths_at = payload.len().checked_sub(usize::from(items) * LENGTH_BYTES).ok_or(BadPage::Item)?;
    let (bytes, lengths) = payload.split_at(lengths_at);
    let (lengths, _) = lengths.as_chunks::<LENGTH_BYTES>();
    let len = |length: &[u8; LENGTH_BYTES]| u32::from_le_bytes(*length) as usize;
    let own = lengths.get(usize::from(ordinal)).ok_or(BadPage::Item)?;
    let before = lengths[..usize::from(ordinal)].iter().map(|length| len(length).next_multiple_of(ALIGN));
    let start: usize = before.sum();
    bytes.get(start..start + len(own)).ok_or(BadPage::Item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_found_by_their_number_and_no_length_reaches_outside() {
        let mut payload = b"first\0\0\0second..".to_vec();
        payload.extend([5, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(item(&payload, 2, 0), Ok(&b"first"[..]));
        assert_eq!(item(&payload, 2, 1), Ok(&b"second.."[..]));
        assert_eq!(item(&payload, 2, 2), Err(BadPage::Item));
        assert_eq!(item(&payload, 200, 0), Err(BadPage::Item));
        payload[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(item(&payload, 2, 1), Err(BadPage::Item));
        payload[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(item(&payload, 2, 0), Err(BadPage::Item));
    }

    #[test]
    fn a_header_comes_back_and_every_damaged_byte_is_found() {
        let header = PageHeader {
            stream: 1,
            compression: Compression::Lz4,
            position: 2,
            drained: 3,
            volume: 4,
            raw: 5,
            stored: 6,
            items: 7,
            generation: 9,
            payload_checksum: 8,
        };
        assert_eq!(PageHeader::decode(&header.encode()), Ok(header));
        for at in 0..HEADER_BYTES {
            let mut bad = header.encode();
            bad[at] ^= 0x80;
            assert_eq!(PageHeader::decode(&bad), Err(BadPage::Header), "byte {at}");
        }
    }
}
