//! A medium in persistent memory: a file that is mapped past the page cache.
//!
//! Stores reach the file itself. With `MAP_SYNC` the kernel has made the file's blocks durable before it lets a store
//! through, so what is left to do is this process' own: to write cache lines back, and to wait for that. No system call is
//! made for either, nor for reading.
//!
//! A place of the file that is gone, as somebody has cut the file or its memory is broken, is found by the access itself: it
//! ends as an error, and so does everything after it, as what is written may be lost from then on.

mod fault;
mod write_back;

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

use super::file::{Access, FileMedium};
use super::touched::Touched;
use super::words::{load, store};
use super::{Block, MediaError, Medium, check};
use fault::Watched;
use write_back::WriteBack;

/// A medium on a mapped file.
#[derive(Debug)]
pub struct Dax {
    /// Open and locked for as long as the mapping lives.
    file: FileMedium,
    start: NonNull<u8>,
    watched: Watched,
    write_back: WriteBack,
    touched: Touched,
}

// SAFETY: the mapping belongs to this value, may be used on any thread, and is accessed by atomic words alone.
unsafe impl Send for Dax {}
// SAFETY: as above.
unsafe impl Sync for Dax {}

impl Dax {
    /// Opens a file of `bytes` bytes as [`FileMedium::open`] does, and maps it.
    ///
    /// # Errors
    /// Those of [`FileMedium::open`]; [`MediaError::NotDax`] where the file is not in persistent memory, or its file system,
    /// the kernel or the CPU does not let it be reached directly.
    pub fn open(path: &Path, bytes: u64) -> Result<Dax, MediaError> {
        let file = FileMedium::open(path, bytes, Access::Buffered)?;
        Dax::map(file, libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC)
    }

    fn map(file: FileMedium, flags: libc::c_int) -> Result<Dax, MediaError> {
        let path = file.path().to_path_buf();
        let refused = |reason: String| MediaError::NotDax { path: path.clone(), reason };
        let write_back = WriteBack::of_this_cpu().map_err(|reason| refused(reason.into()))?;
        let len = usize::try_from(file.bytes())
            .map_err(|_| refused("it is larger than the address space".into()))?;
        let (protection, descriptor) = (libc::PROT_READ | libc::PROT_WRITE, file.file().as_raw_fd());
        // SAFETY: a new mapping at an address that the kernel picks touches nobody's memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, descriptor, 0) };
        if start == libc::MAP_FAILED {
            return Err(refused(reason(&io::Error::last_os_error())));
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| refused("it was mapped to address 0".into()))?;
        // SAFETY: the new mapping is unmapped by `Dax` alone, and what is read from it is believed only after `look`.
        let watched = unsafe { Watched::new(start.as_ptr(), len) }.inspect_err(|_| {
            // SAFETY: nobody else has got to know of the mapping.
            unsafe { libc::munmap(start.as_ptr().cast(), len) };
        });
        let watched = watched.map_err(|error| refused(format!("its faults cannot be caught: {error}")))?;
        let touched = Touched::new(file.bytes());
        Ok(Dax { file, start, watched, write_back, touched })
    }

    /// Refuses to go on when any access so far has met a place that is gone.
    fn look(&self) -> Result<(), MediaError> {
        let Some(at) = self.watched.first() else { return Ok(()) };
        self.file.check_size()?;
        Err(MediaError::Fault { path: self.file.path().to_path_buf(), at })
    }

    fn at(&self, at: u64) -> *mut u8 {
        self.start.as_ptr().wrapping_add(at as usize)
    }
}

/// What a refusal of the kernel's means to whoever set the machine up.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            "it does not lie in persistent memory, or its file system is not mounted with -o dax".into()
        }
        Some(libc::EINVAL) => "the kernel knows no MAP_SYNC: it needs Linux 4.15 with FS_DAX".into(),
        _ => error.to_string(),
    }
}

impl Drop for Dax {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, of this length, and nobody holds an address into it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.file.bytes() as usize) };
    }
}

impl Medium for Dax {
    fn describe(&self) -> String {
        format!("persistent memory {} (mapped, {})", self.file.path().display(), self.write_back.name())
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn is_persistent(&self) -> bool {
        true
    }

    fn is_byte_addressable(&self) -> bool {
        true
    }

    fn resident_bytes(&self) -> u64 {
        self.touched.bytes()
    }

    fn write(&self, at: u64, blocks: &[Block]) -> Result<(), MediaError> {
        check(at, blocks.len(), self.bytes())?;
        self.look()?;
        self.touched.note(at, size_of_val(blocks) as u64);
        // SAFETY: the target lies inside the mapping (checked), is aligned, and is accessed by `store` and `load` alone.
        unsafe { store(self.at(at), blocks) };
        // SAFETY: the same bytes, which are mapped.
        unsafe { self.write_back.lines(self.at(at), size_of_val(blocks)) };
        // A fence waits for the lines of its own thread alone, and another one may drain.
        write_back::fence();
        self.look()
    }

    fn drain(&self) -> Result<(), MediaError> {
        // What was written below a cut is gone without a fault.
        self.file.check_size()?;
        self.look()
    }

    fn read(&self, at: u64, out: &mut [Block]) -> Result<(), MediaError> {
        check(at, out.len(), self.bytes())?;
        self.look()?;
        self.touched.note(at, size_of_val(out) as u64);
        // SAFETY: as in `write`.
        unsafe { load(self.at(at), out) };
        self.look()
    }
}

#[cfg(test)]
mod tests;
