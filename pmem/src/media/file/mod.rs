//! A medium in a file, on any file system.
//!
//! The file is made at its full size before it is used, and zeros are written to all of it once: a disk that is full is
//! found at the start, and no later write has to allocate. It is read and written past the kernel's page cache where the
//! file system lets direct I/O in, else through it; either way [`Medium::drain`] is an fdatasync. A lock keeps a second
//! process out for as long as the medium is open.

mod create;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{BLOCK_BYTES, Block, MediaError, Medium, bytes, bytes_mut, check, zeroed};

/// A medium on an open, locked file.
#[derive(Debug)]
pub struct FileMedium {
    file: File,
    path: PathBuf,
    bytes: u64,
    is_direct: bool,
}

/// How a file may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Direct I/O if the file system takes it, else through the page cache.
    Best,
    /// Through the page cache.
    Buffered,
}

impl FileMedium {
    /// Opens a file of `bytes` bytes, a multiple of a block; one that is not there, or empty, or whose making was
    /// interrupted, is made.
    ///
    /// # Errors
    /// The path cannot be opened for reading and writing, is no regular file, is locked by another process, has another
    /// size, or has no room.
    pub fn open(path: &Path, bytes: u64, access: Access) -> Result<FileMedium, MediaError> {
        let (file, is_direct) = match access {
            Access::Best => open_best(path, libc::O_CREAT),
            Access::Buffered => open_with(path, libc::O_CREAT).map(|file| (file, false)),
        }
        .map_err(|source| MediaError::Open { path: path.into(), source })?;
        let medium = FileMedium { file, path: path.into(), bytes, is_direct };
        medium.claim()?;
        medium.create()?;
        Ok(medium)
    }

    /// Opens the file that is there, at the size that it has; what does not fill a block at its end is left alone.
    ///
    /// # Errors
    /// As [`FileMedium::open`], but for the size and the room.
    pub fn open_existing(path: &Path) -> Result<FileMedium, MediaError> {
        let opened = open_best(path, 0);
        let (file, is_direct) = opened.map_err(|source| MediaError::Open { path: path.into(), source })?;
        let mut medium = FileMedium { file, path: path.into(), bytes: 0, is_direct };
        let bytes = medium.claim()?;
        medium.bytes = bytes - bytes % BLOCK_BYTES as u64;
        Ok(medium)
    }

    /// Locks what was opened if it is a file, and gives its size.
    fn claim(&self) -> Result<u64, MediaError> {
        let found = self.file.metadata().map_err(|source| self.cannot_open(source))?;
        if !found.is_file() {
            return Err(MediaError::NotAFile { path: self.path.clone() });
        }
        self.lock()?;
        // Who resizes a tier puts another file in the place of the one that it has locked.
        let named = std::fs::metadata(&self.path).map_err(|source| self.cannot_open(source))?;
        if (named.dev(), named.ino()) != (found.dev(), found.ino()) {
            return Err(MediaError::Replaced { path: self.path.clone() });
        }
        Ok(found.len())
    }

    /// Cuts the file to nothing, so that the next opening makes it anew.
    ///
    /// # Errors
    /// The file system's.
    pub fn empty(self) -> Result<(), MediaError> {
        self.file.set_len(0).and_then(|()| self.file.sync_all()).map_err(|source| self.cannot_open(source))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is reached past the page cache.
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// The file itself, for whoever maps it.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn cannot_open(&self, source: io::Error) -> MediaError {
        MediaError::Open { path: self.path.clone(), source }
    }

    /// Takes the lock of this open file, which the kernel lets go of when the file is closed, however the process ends.
    fn lock(&self) -> Result<(), MediaError> {
        // SAFETY: all zeros is a lock record; its fields are integers.
        let mut whole: libc::flock = unsafe { std::mem::zeroed() };
        whole.l_type = libc::F_WRLCK as libc::c_short;
        whole.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: the descriptor is open, and the record lives through the call.
        if unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_SETLK, &whole) } == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        Err(match source.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => MediaError::Locked { path: self.path.clone() },
            _ => self.cannot_open(source),
        })
    }

    /// Refuses to go on when somebody has cut the file: a write would bring its size back, with holes.
    pub(super) fn check_size(&self) -> Result<(), MediaError> {
        let found = self.file.metadata().map_err(MediaError::Drain)?.len();
        if found < self.bytes { Err(self.shrunk(found)) } else { Ok(()) }
    }

    fn shrunk(&self, found: u64) -> MediaError {
        MediaError::Shrunk { path: self.path.clone(), found, wanted: self.bytes }
    }
}

impl Medium for FileMedium {
    fn describe(&self) -> String {
        let how = if self.is_direct { "direct I/O" } else { "buffered, with fdatasync" };
        format!("file {} ({how})", self.path.display())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn direct_file(&self) -> Option<BorrowedFd<'_>> {
        self.is_direct.then(|| self.file.as_fd())
    }

    fn is_byte_addressable(&self) -> bool {
        false
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        check(at, blocks.len(), self.bytes)?;
        self.check_size()?;
        let bytes = bytes(blocks);
        let failed = |source| MediaError::Io { what: "write", at, bytes: bytes.len() as u64, source };
        self.file.write_all_at(bytes, at).map_err(failed)
    }

    fn drain(&self) -> Result<(), MediaError> {
        self.file.sync_data().map_err(MediaError::Drain)?;
        self.check_size()
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        check(at, out.len(), self.bytes)?;
        let bytes = size_of_val(out) as u64;
        self.file.read_exact_at(bytes_mut(out), at).map_err(|source| match self.check_size() {
            Err(shrunk) => shrunk,
            Ok(()) => MediaError::Io { what: "read", at, bytes, source },
        })
    }
}

/// Opens with direct I/O if that works, and says whether it does. Some file systems take the flag and refuse the reads.
fn open_best(path: &Path, flags: libc::c_int) -> io::Result<(File, bool)> {
    match open_with(path, flags | libc::O_DIRECT) {
        Ok(file) => match file.read_at(bytes_mut(&mut zeroed(1)), 0) {
            Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => {
                Ok((open_with(path, flags)?, false))
            }
            _ => Ok((file, true)),
        },
        Err(refused) if refused.raw_os_error() == Some(libc::EINVAL) => Ok((open_with(path, flags)?, false)),
        Err(error) => Err(error),
    }
}

fn open_with(path: &Path, flags: libc::c_int) -> io::Result<File> {
    // A name that leads to a pipe must not wait for its other end.
    OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags | libc::O_NONBLOCK).open(path)
}

#[cfg(test)]
pub(super) mod tests;
