//! The echo servers' protocol: a preamble of 8 bytes (request bytes, reply bytes, little-endian
//! `u32` each), then requests without any meaning; each full request brings one full reply.

use super::{Codec, Tally};
use crate::workload::Source;

/// Sizes on the wire of one request and one reply, bytes; both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw {
    pub request_bytes: u32,
    pub reply_bytes: u32,
}

/// Bytes in the preamble of a connection.
pub const PREAMBLE_BYTES: usize = 8;

/// Largest request or reply that an echo takes, bytes: its replies come from one static buffer.
pub const ECHO_BYTES_MAX: u32 = 1 << 20;

impl Raw {
    /// Reads a preamble; `None` if a size is out of bounds.
    pub fn from_preamble(preamble: [u8; PREAMBLE_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = preamble;
        let raw = Self {
            request_bytes: u32::from_le_bytes([a, b, c, d]),
            reply_bytes: u32::from_le_bytes([e, f, g, h]),
        };
        let valid = 1..=ECHO_BYTES_MAX;
        (valid.contains(&raw.request_bytes) && valid.contains(&raw.reply_bytes)).then_some(raw)
    }

    fn push_request(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.request_bytes as usize, b'.');
    }
}

impl Codec for Raw {
    /// Bytes of the reply under way.
    type Scanner = usize;

    fn name(&self) -> &'static str {
        "raw"
    }

    fn open(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request_bytes.to_le_bytes());
        out.extend_from_slice(&self.reply_bytes.to_le_bytes());
    }

    fn get(&self, out: &mut Vec<u8>, _key: &[u8]) {
        self.push_request(out);
    }

    fn set(&self, out: &mut Vec<u8>, _key: &[u8], _value: &[u8]) {
        self.push_request(out);
    }

    fn reply_bytes(&self, _key: &[u8], _value: &[u8]) -> [usize; 2] {
        [self.reply_bytes as usize; 2]
    }

    #[inline]
    fn scan(&self, partial: &mut usize, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
        let total = *partial + bytes.len();
        tally.done += (total / self.reply_bytes as usize) as u64;
        *partial = total % self.reply_bytes as usize;
        Ok(())
    }
}

/// An endless stream of raw requests.
pub struct RawSource(pub Raw);

impl Source for RawSource {
    #[inline]
    fn fill(&mut self, _connection: usize, count: u32, out: &mut Vec<u8>) -> u32 {
        let bytes = self.0.request_bytes as usize * count as usize;
        out.resize(out.len() + bytes, b'.');
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testing::scans_however_cut;

    const RAW: Raw = Raw { request_bytes: 3, reply_bytes: 5 };

    #[test]
    fn counts_replies_however_the_stream_is_cut() {
        let expected = Tally { done: 4, ..Tally::default() };
        scans_however_cut(&RAW, &[0; 23], &expected);
    }

    #[test]
    fn preambles_are_read_back_and_bounded() {
        let mut out = Vec::new();
        RAW.open(&mut out);
        let preamble: [u8; PREAMBLE_BYTES] = out.try_into().unwrap();
        assert_eq!(Raw::from_preamble(preamble), Some(RAW));
        assert_eq!(Raw::from_preamble([0; PREAMBLE_BYTES]), None);
        assert_eq!(Raw::from_preamble([0xff; PREAMBLE_BYTES]), None);
    }

    #[test]
    fn requests_have_their_size() {
        let mut out = Vec::new();
        assert_eq!(RawSource(RAW).fill(0, 7, &mut out), 7);
        assert_eq!(out.len(), 21);
    }
}
