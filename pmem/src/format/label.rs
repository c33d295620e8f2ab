//! The label of a member: what lies on a medium that is one of several which a tier lies on.
//!
//! There are two, the same, in the first two blocks of the medium, where a medium with a tier of its own has its superblocks. They
//! begin and end as those do, so that a program that knows no members names their format.

use super::fields::{BYTE_ORDER, Fields, MAGIC, Writer, is_sealed};
use crate::media::BLOCK_BYTES;

/// The format of a medium that is a member. The tier that lies over the members has one of its own.
pub const MEMBER_FORMAT: u32 = 3;
/// Blocks at the start of a member that hold its label.
pub const LABELS: u64 = 2;
/// Most members of a tier.
pub const MEMBERS_MAX: u16 = 16;

/// Bytes of a label before its zeros.
const FIELDS_BYTES: usize = 48;
const CHECKSUM_BYTES: usize = 8;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// A number that the members of this tier have and no others, drawn by chance.
    pub set: u64,
    /// Its number among them, from 0, and how many there are.
    pub number: u16,
    pub of: u16,
    /// What goes to one member before the next has its turn, bytes: a multiple of a block.
    pub extent_bytes: u32,
    /// Size of the member, bytes.
    pub bytes: u64,
}

impl Label {
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut out = Writer::new();
        out.put(&MAGIC);
        out.u32(BYTE_ORDER);
        out.u32(MEMBER_FORMAT);
        out.u16(self.number);
        out.u16(self.of);
        out.u32(self.extent_bytes);
        out.u64(self.set);
        out.u64(self.bytes);
        out.sealed()
    }

    /// The label that a block is, if it is whole and one that may be.
    pub fn decode(block: &[u8]) -> Option<Label> {
        let mut fields = Fields::new(block);
        let is_one = fields.array() == MAGIC && fields.u32() == BYTE_ORDER && fields.u32() == MEMBER_FORMAT;
        let (number, of, extent_bytes) = (fields.u16(), fields.u16(), fields.u32());
        let label = Label { number, of, extent_bytes, set: fields.u64(), bytes: fields.u64() };
        let is_possible = number < of
            && (2..=MEMBERS_MAX).contains(&of)
            && extent_bytes > 0
            && extent_bytes.is_multiple_of(BLOCK_BYTES as u32)
            && label.bytes >= LABELS * BLOCK_BYTES as u64 + u64::from(extent_bytes);
        (is_one && is_possible && is_sealed(block)).then_some(label)
    }

    /// Whether a block is what a crash may leave of the first label that is written over zeros.
    pub fn is_torn(block: &[u8]) -> bool {
        let between = FIELDS_BYTES..block.len().saturating_sub(CHECKSUM_BYTES);
        block.get(between).is_some_and(|zeros| zeros.iter().all(|byte| *byte == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label =
        Label { set: 0x1122_3344_5566_7788, number: 1, of: 3, extent_bytes: 4 << 20, bytes: 1 << 30 };

    #[test]
    fn a_label_is_what_the_format_says() {
        let block = LABEL.encode();
        assert_eq!(&block[..12], b"TORCTIER\x0D\x0C\x0B\x0A");
        assert_eq!(block[12..24], [3, 0, 0, 0, 1, 0, 3, 0, 0, 0, 0x40, 0]);
        assert_eq!(block[24..32], 0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(block[32..40], (1_u64 << 30).to_le_bytes());
        assert_eq!(Label::decode(&block), Some(LABEL));
        assert!(Label::is_torn(&block));
    }

    #[test]
    fn what_is_damaged_or_cannot_be_is_no_label() {
        for byte in [0, 9, 13, 17, 30, 2000, 4090] {
            let mut block = LABEL.encode();
            block[byte] ^= 1;
            assert_eq!(Label::decode(&block), None, "byte {byte}");
        }
        let bad = [
            Label { number: 3, ..LABEL },
            Label { number: 0, of: 1, ..LABEL },
            Label { of: MEMBERS_MAX + 1, ..LABEL },
            Label { extent_bytes: 0, ..LABEL },
            Label { extent_bytes: 6000, ..LABEL },
            Label { bytes: 4 << 20, ..LABEL },
        ];
        bad.iter().for_each(|bad| assert_eq!(Label::decode(&bad.encode()), None, "{bad:?}"));
        assert_eq!(Label::decode(&[]), None);
        assert!(!Label::is_torn(&[]));
        let mut other = LABEL.encode();
        other[100] = 1;
        assert!(!Label::is_torn(&other));
    }
}
