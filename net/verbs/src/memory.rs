//! Memory that a device reads and writes on its own.

use crate::copy::{copy_in, copy_out};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Memory that can be registered.
///
/// # Safety
/// The `len` bytes from `start` on are mapped, readable and writable, and stay at their place, as long as the value lives. No
/// reference covers them, but to atomics, while a device, or somebody far away, may change them: any that a posted request or a
/// peer's key names.
pub unsafe trait Memory: Send + Sync + 'static {
    fn start(&self) -> *mut u8;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pages of zeros, for messages. They are a shared mapping, so a `fork` does not move them away from a device.
#[derive(Debug)]
pub struct Buffer {
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory is no thread's, and is changed by relaxed atomics alone.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

// SAFETY: mapped readable and writable in `new`, unmapped in `drop`, and references into it are only made to bytes that nobody writes.
unsafe impl Memory for Buffer {
    fn start(&self) -> *mut u8 {
        self.start
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl Buffer {
    /// # Errors
    /// The system has no such memory, or `len` is 0.
    pub fn new(len: usize) -> io::Result<Arc<Buffer>> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice: nothing of ours lies there.
        match unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) } {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            start => Ok(Arc::new(Buffer { start: start.cast(), len })),
        }
    }

    /// Copies the bytes from `at` on. Each is read once; what a device writes meanwhile may be seen in part.
    ///
    /// # Panics
    /// If the buffer ends before.
    #[inline]
    pub fn read(&self, at: usize, to: &mut [u8]) {
        assert!(self.has(at, to.len()), "reads inside of the buffer");
        // SAFETY: the bytes lie in the mapping, which lives as long as `self`; `to` is ours alone.
        unsafe { copy_out(self.start.add(at), to.len(), to.as_mut_ptr()) };
    }

    /// Writes the bytes from `at` on. A device that reads meanwhile may see a part of them.
    ///
    /// # Panics
    /// If the buffer ends before.
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) {
        assert!(self.has(at, from.len()), "writes inside of the buffer");
        // SAFETY: the bytes lie in the mapping, which is writable and lives as long as `self`.
        unsafe { copy_in(from.as_ptr(), from.len(), self.start.add(at)) };
    }

    /// As [`Buffer::write`], from memory that no reference may cover.
    ///
    /// # Safety
    /// The bytes are readable, and nobody writes them, for the call.
    ///
    /// # Panics
    /// If the buffer ends before.
    #[inline]
    pub unsafe fn write_from(&self, at: usize, from: *const u8, len: usize) {
        assert!(self.has(at, len), "writes inside of the buffer");
        // SAFETY: the source by the caller; the bytes lie in the mapping, which is writable and lives as long as `self`.
        unsafe { copy_in(from, len, self.start.add(at)) };
    }

    /// The bytes themselves.
    ///
    /// # Safety
    /// As long as the reference lives nobody writes them: no request that is posted names them, no peer has a key to them, and
    /// [`Buffer::write`] leaves them alone.
    ///
    /// # Panics
    /// If the buffer ends before.
    #[inline]
    pub unsafe fn quiet_bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(self.has(at, len), "bytes inside of the buffer");
        // SAFETY: they lie in the mapping, which lives as long as `self`, and nobody writes them (the caller).
        unsafe { std::slice::from_raw_parts(self.start.add(at), len) }
    }

    /// Words of the buffer, which a device may write meanwhile.
    ///
    /// # Panics
    /// If the buffer ends before, or `at` is no multiple of 8.
    pub fn words(&self, at: usize, count: usize) -> &[AtomicU64] {
        let bytes = count.checked_mul(size_of::<AtomicU64>()).expect("fewer bytes than there are addresses");
        assert!(
            self.has(at, bytes) && at.is_multiple_of(size_of::<AtomicU64>()),
            "words inside of the buffer"
        );
        // SAFETY: aligned words in the mapping, which begins at a page, holds zeros at first, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.add(at).cast(), count) }
    }

    /// A copy of `len` bytes from `at` on.
    ///
    /// # Panics
    /// If the buffer ends before.
    pub fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(at, &mut bytes);
        bytes
    }

    fn has(&self, at: usize, len: usize) -> bool {
        at <= self.len && len <= self.len - at
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and nobody has a pointer into it any more: who registered it holds it.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_beside_it() {
        let buffer = Buffer::new(100).expect("memory");
        buffer.write(3, b"abcdefghijklmnopqrstuvwxyz");
        assert_eq!(buffer.bytes(2, 28), b"\0abcdefghijklmnopqrstuvwxyz\0");
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn the_end_of_a_buffer_is_kept() {
        Buffer::new(100).expect("memory").write(90, &[0; 11]);
    }

    #[test]
    fn there_is_no_buffer_of_nothing() {
        assert!(Buffer::new(0).is_err());
    }
}
