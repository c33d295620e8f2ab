//! The words at the front of a ring's file: what one side tells the other (`docs/protocol.md`, [N-SHM-4]).

use crate::sync::AtomicU64;

/// Bytes before the ring: a page, so that the ring can be mapped by itself.
pub const WORDS_BYTES: usize = 4096;

/// A word with a cache line of its own.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Line(pub(crate) AtomicU64);

/// What the owner of the file tells. Only it writes them; whoever reads them trusts none.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Words {
    /// Bytes that it has written to its ring since the beginning.
    pub(crate) written: Line,
    /// Bytes that it has taken out of the other side's ring since the beginning.
    pub(crate) taken: Line,
    /// Whether it sleeps: see [`crate::sleep`].
    pub(crate) sleep: Line,
}
