//! Files in memory that are passed to another process, and their mappings.

use crate::words::{WORDS_BYTES, Words};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const _: () = {
    assert!(size_of::<Words>() <= WORDS_BYTES);
    // [N-SHM-4]
    assert!(std::mem::offset_of!(Words, written) == 0);
    assert!(std::mem::offset_of!(Words, taken) == 64);
    assert!(std::mem::offset_of!(Words, sleep) == 128);
};

/// Seals of a file that both sides may write: nobody can cut it, so no access to a mapping of it can fail.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
/// And nobody else gets to write it: mappings that are there stay writable, new ones cannot be, and neither can the file.
const SEALS_ONE_WRITER: libc::c_int = SEALS | libc::F_SEAL_FUTURE_WRITE;

/// Who may write through a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    ReadWrite,
}

/// A file of this length, in memory.
pub(crate) fn create(name: &CStr, bytes: usize) -> io::Result<OwnedFd> {
    // SAFETY: `name` is a string that ends with zero.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just opened `fd` and nobody else knows it.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let len = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: ftruncate takes no pointers.
    match unsafe { libc::ftruncate(fd, len) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Seals a file; `one_writer`: its writable mapping must be there already.
pub(crate) fn seal(file: BorrowedFd<'_>, one_writer: bool) -> io::Result<()> {
    let seals = if one_writer { SEALS_ONE_WRITER } else { SEALS };
    // SAFETY: the command takes a number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a file has at least this length, and nobody can cut it.
///
/// # Errors
/// What it lacks.
pub(crate) fn check(file: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    // SAFETY: the command takes no argument.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server's file can be cut"));
    }
    // SAFETY: a `stat` of zeros is a valid one; the call writes one.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    if unsafe { libc::fstat(file.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    match u64::try_from(stat.st_size).is_ok_and(|len| len >= bytes as u64) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the server's file is too short")),
    }
}

/// The mapping of one ring's file: words, then the ring.
#[derive(Debug)]
pub(crate) struct Map {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the memory is no thread's, and is changed through atomics, or by the one `End` that owns the mapping.
unsafe impl Send for Map {}

impl Map {
    /// Maps a file that is this long, and cannot be cut.
    pub(crate) fn new(file: BorrowedFd<'_>, bytes: usize, access: Access) -> io::Result<Map> {
        assert!(bytes > WORDS_BYTES, "a ring's file has words and a ring");
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice: nothing of ours lies there.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        match start {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            start => Ok(Map { start: start.cast(), bytes }),
        }
    }

    #[inline]
    pub(crate) fn words(&self) -> &Words {
        // SAFETY: the mapping begins with a page for them, aligned to one; they are atomics, for which any bytes are a value,
        // and which another process may change. `store` on words that are mapped to be read only is never called: see `End`.
        unsafe { &*self.start.cast::<Words>() }
    }

    /// Where the ring begins.
    #[inline]
    pub(crate) fn ring(&self) -> *mut u8 {
        self.start.wrapping_add(WORDS_BYTES)
    }

    pub(crate) fn ring_bytes(&self) -> usize {
        self.bytes - WORDS_BYTES
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody has a reference into it any more: they borrow `self`.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}
