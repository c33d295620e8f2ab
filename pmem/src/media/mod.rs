//! Media: where bytes lie.
//!
//! [`memory`] is what shards have their items in, [`shared`] the same where other processes read it. The others are siblings behind one seam, [`Medium`], which a tier
//! is written to:
//!
//! | medium | survives a crash | reached by |
//! |---|---|---|
//! | [`volatile`] | no | copying |
//! | [`mod@file`] | yes | system calls, past the kernel's page cache where the file system lets them |
//! | [`dax`] | yes | copying into mapped persistent memory |
//! | [`sim`] | what was drained, and what chance keeps of the rest | copying, under a seed |

mod block;
pub mod dax;
pub mod error;
pub mod file;
pub mod layout;
pub mod memory;
pub mod shared;
pub mod sim;
mod touched;
pub mod volatile;
mod words;

use std::os::fd::BorrowedFd;

pub use block::{BLOCK_BYTES, Block, blocks_of, bytes, bytes_mut, zeroed};
pub use error::MediaError;
use layout::Layout;

/// A range of bytes that a tier lies on. Calls block; many threads may call at once. A read of a block that is being
/// written gets any mixture of its bytes.
pub trait Medium: std::fmt::Debug + Send + Sync {
    /// What it is and how it is reached, in words for a log or a start banner.
    fn describe(&self) -> String;

    /// Size, bytes.
    fn bytes(&self) -> u64;

    /// Whether bytes that were drained survive the end of the process and a loss of power.
    fn is_persistent(&self) -> bool;

    /// Memory of the process that the medium takes by being mapped, bytes.
    fn resident_bytes(&self) -> u64 {
        0
    }

    /// The file that it is, if that may be read past the kernel's page cache by whoever opens it again.
    fn direct_file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The files of the media that it is made of, if all may be read so, and where its bytes lie in them.
    fn direct_files(&self) -> Option<(Vec<BorrowedFd<'_>>, &Layout)> {
        None
    }

    /// What it is made of, if that is several media.
    fn members(&self) -> Vec<MemberFigures> {
        Vec::new()
    }

    /// Whether a piece smaller than a block costs less than a block.
    fn is_byte_addressable(&self) -> bool;

    /// Writes blocks to byte `at`, a multiple of [`BLOCK_BYTES`]. Reads find them at once; a crash may keep any part of
    /// them until [`Medium::drain`] has returned.
    ///
    /// # Errors
    /// After an error any part may have been written.
    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError>;

    /// Returns when everything that was written before is safe.
    ///
    /// # Errors
    /// After an error nothing is known of what was written since the last call that succeeded: calling again proves
    /// nothing, as the kernel forgets what it could not write.
    fn drain(&self) -> Result<(), MediaError>;

    /// As [`Medium::drain`], of some bytes from `at` on alone; of more, where that costs nothing.
    ///
    /// # Errors
    /// As [`Medium::drain`].
    fn drain_range(&self, _at: u64, _bytes: u64) -> Result<(), MediaError> {
        self.drain()
    }

    /// Reads blocks from byte `at`, a multiple of [`BLOCK_BYTES`].
    ///
    /// # Errors
    /// After an error `out` holds anything.
    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError>;
}

/// One of several media that a medium is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFigures {
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Bytes that were written to it since it was opened.
    pub written_bytes: u64,
    /// Calls to it that have failed.
    pub failures: u64,
}

/// Refuses what does not lie inside a medium.
pub(crate) fn check(at: u64, blocks: usize, size: u64) -> Result<(), MediaError> {
    let bytes = (blocks * BLOCK_BYTES) as u64;
    let inside =
        at.is_multiple_of(BLOCK_BYTES as u64) && at.checked_add(bytes).is_some_and(|end| end <= size);
    if inside { Ok(()) } else { Err(MediaError::Outside { at, bytes, size }) }
}
