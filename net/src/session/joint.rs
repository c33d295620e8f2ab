//! What is done with several keys as one.

use torc_engine::command::Expiry;

/// What is done with several keys as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// Keys get values, if none of them has one.
    SetIfNone,
    /// Keys get values and an expiry; all of them have to have one already, or none.
    Set { condition: Option<IfThere>, expiry: Expiry },
    /// A key of the database `to` gets what another key has: value, flags and expiry.
    Copy {
        to: u16,
        /// Whatever it has.
        replaces: bool,
        /// The other one has nothing then.
        removes: bool,
    },
    /// The first key gets the bits of the values of the others, combined.
    Combine(BitOperation),
    /// What the values of two keys have in common is told.
    Compare(Compare),
}

impl Joint {
    /// Whether it may change something.
    pub fn changes(self) -> bool {
        !matches!(self, Joint::Compare(_))
    }
}

/// What keys have to be that get values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    None,
    All,
}

/// How the bits of several values are combined. A value that is shorter than others has zeros behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitOperation {
    And,
    Or,
    Xor,
    /// Of one value.
    Not,
    /// Those of the first value that no other one has.
    Diff,
    /// Those that another value has, and not the first.
    Diff1,
    /// Those of the first value that another one has, too.
    AndOr,
    /// Those that one value alone has.
    One,
}

/// What is told of a longest common subsequence of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Length,
    Bytes,
    /// Where its stretches lie, from the last to the first.
    Stretches {
        /// Shorter ones are left out.
        bytes_min: u64,
        /// How long each is, too.
        with_lengths: bool,
    },
}

/// Bytes that two values have in common, one behind the other in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins in each of them.
    pub starts: [u32; 2],
    /// At least 1.
    pub len: u32,
}

impl Stretch {
    /// Appends it: three little-endian numbers of four bytes.
    pub fn pack(self, out: &mut Vec<u8>) {
        [self.starts[0], self.starts[1], self.len]
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }

    /// Those that were packed one behind the other.
    pub fn each(packed: &[u8]) -> impl ExactSizeIterator<Item = Stretch> {
        packed.chunks_exact(12).map(|bytes| {
            let number =
                |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            Stretch { starts: [number(0), number(4)], len: number(8) }
        })
    }
}
