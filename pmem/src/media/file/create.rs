//! Making the file of a medium.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::FileMedium;
use crate::media::{BLOCK_BYTES, Block, MediaError, bytes, bytes_mut, zeroed};

/// Zeros are written in pieces of so many blocks, 1 MiB.
const PIECE_BLOCKS: usize = 256;

impl FileMedium {
    /// Brings a new file to its size; leaves one alone that has it. A file that is shorter and whose first block is zero
    /// was being made when the process ended: whoever uses a medium writes that block last.
    pub(super) fn create(&self) -> Result<(), MediaError> {
        let found = self.file.metadata().map_err(|source| self.cannot_open(source))?.len();
        let wanted = self.bytes;
        let is_whole = wanted > 0 && wanted.is_multiple_of(BLOCK_BYTES as u64);
        if !is_whole || found > wanted || (found < wanted && !self.begins_with_zeros(found)?) {
            return Err(MediaError::Size { path: self.path.clone(), found, wanted });
        }
        if found == wanted {
            return Ok(());
        }
        let made = self.reserve().and_then(|()| self.fill(found / BLOCK_BYTES as u64 * BLOCK_BYTES as u64));
        made.map_err(|source| {
            // What it took is given back; if not even that works, the first error is the one to tell.
            let _ = self.file.set_len(0);
            MediaError::Full { path: self.path.clone(), wanted, source }
        })
    }

    fn begins_with_zeros(&self, found: u64) -> Result<bool, MediaError> {
        let mut first = zeroed(1);
        if found >= BLOCK_BYTES as u64 {
            let failed = |source| MediaError::Io { what: "read", at: 0, bytes: BLOCK_BYTES as u64, source };
            self.file.read_exact_at(bytes_mut(&mut first), 0).map_err(failed)?;
        }
        Ok(found == 0 || found >= BLOCK_BYTES as u64 && bytes(&first).iter().all(|byte| *byte == 0))
    }

    /// Asks for the room before anything is written, so that a file system that is too small is not filled first.
    fn reserve(&self) -> io::Result<()> {
        // SAFETY: all zeros is a record of integers, which the call fills.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, and the record lives through the call.
        if unsafe { libc::fstatvfs(self.file.as_raw_fd(), &raw mut room) } == 0 {
            let free = (room.f_bavail as u64).saturating_mul(room.f_frsize as u64);
            let taken = self.file.metadata()?.len();
            if free < self.bytes - taken {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let length =
            libc::off_t::try_from(self.bytes).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // The size stays, so that a file whose zeros are not yet written is not taken for a whole one.
        // SAFETY: the descriptor is open.
        match unsafe { libc::fallocate(self.file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, length) } {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // Where it cannot be reserved, writing finds out.
                refused if matches!(refused.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(()),
                refused => Err(refused),
            },
        }
    }

    /// Writes zeros from byte `from` to the end, and makes file and name durable.
    fn fill(&self, from: u64) -> io::Result<()> {
        let zeros = vec![Block::ZERO; PIECE_BLOCKS];
        let mut at = from;
        while at < self.bytes {
            let piece = bytes(&zeros).len().min((self.bytes - at) as usize);
            self.file.write_all_at(&bytes(&zeros)[..piece], at)?;
            at += piece as u64;
        }
        self.file.sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(std::path::Path::new(".")))?.sync_all()
    }
}
