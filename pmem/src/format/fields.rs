//! Numbers in bytes, little endian, and the checksum.

/// CRC-64/XZ: polynomial 0x42F0E1EBA9EA3693 reflected, begun with and inverted by all ones.
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    digest.write(bytes);
    digest.sum64()
}

/// What the block begins with that says what a medium is.
pub(super) const MAGIC: [u8; 8] = *b"TORCTIER";
pub(super) const BYTE_ORDER: u32 = 0x0A0B_0C0D;

/// Reads fields one behind the other. What lies beyond the end reads as zeros.
#[derive(Debug)]
pub(super) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Fields<'b> {
        Fields(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        if let Some((first, rest)) = self.0.split_first_chunk() {
            (array, self.0) = (*first, rest);
        } else {
            self.0 = &[];
        }
        array
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

/// Writes fields one behind the other.
#[derive(Debug)]
pub(super) struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    pub(super) fn new() -> Writer<N> {
        Writer { bytes: [0; N], at: 0 }
    }

    /// # Panics
    /// If more is written than there is room: layouts are constants, and every one is written in a test.
    pub(super) fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..][..field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn finish(self) -> [u8; N] {
        self.bytes
    }

    /// The bytes with zeros up to the last eight, which are the checksum of all before them.
    pub(super) fn sealed(mut self) -> [u8; N] {
        let sum = checksum(&self.bytes[..N - 8]);
        self.bytes[N - 8..].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// Whether the last eight bytes are the checksum of all before them.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.split_last_chunk().is_some_and(|(covered, sum)| checksum(covered) == u64::from_le_bytes(*sum))
}
