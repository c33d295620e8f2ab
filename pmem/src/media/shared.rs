//! Volatile memory that other processes read: a memfd that its owner alone can write.
//!
//! ```text
//!   file:     | head | frame 0 | frame 1 | frame 2 |            as long as what is committed, every byte of it allocated
//!   owner:    | head | frame 0 | frame 1 | frame 2 | ......... |   mapped once, as long as the file may become
//!   readers:  the same, read-only
//! ```
//!
//! The owner's mapping is made before the seals: after them nobody maps the file to write it (`F_SEAL_FUTURE_WRITE`), not even
//! its owner, who can only map a second time what it has mapped. Nobody cuts the file off (`F_SEAL_SHRINK`), so what lies below
//! its length can always be read, and no hole can be made in it: memory that was taken stays taken.
//!
//! A read of a hole would allocate a page. So the file has none: it grows as frames are taken, and each is allocated at once.

use memmap2::{Advice, MmapOptions, MmapRaw};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const WORD: usize = size_of::<u64>();
/// Whoever finds these seals reads the file without fear of its end.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;

/// A file as its owner has it.
#[derive(Debug)]
pub struct SharedFile {
    file: File,
    map: MmapRaw,
    head_bytes: usize,
    frame_bytes: usize,
    frames_max: usize,
    frames: AtomicUsize,
}

impl SharedFile {
    /// A file with a head and no frame yet. All lengths are multiples of [`page_bytes`].
    ///
    /// # Panics
    /// If they are not.
    ///
    /// # Errors
    /// Those of `memfd_create`, `fallocate`, `mmap` and `fcntl`: no memory, no address space, no file descriptor; a kernel older
    /// than 5.1, which does not know the seals.
    pub fn create(head_bytes: usize, frame_bytes: usize, frames_max: usize) -> io::Result<SharedFile> {
        let page = page_bytes();
        assert!(head_bytes.is_multiple_of(page) && frame_bytes.is_multiple_of(page), "whole pages");
        let bytes = frame_bytes.checked_mul(frames_max).and_then(|frames| frames.checked_add(head_bytes));
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let file = memfd(libc::MFD_ALLOW_SEALING)?;
        allocate(&file, 0, head_bytes)?;
        let map = MmapOptions::new().len(bytes).no_reserve_swap().map_raw(&file)?;
        // SAFETY: the call takes a number and changes nothing but the file's seals.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // Whoever is given a descriptor to read from cannot open the file anew to make it longer, unless it is the same user.
        file.set_permissions(Permissions::from_mode(0o400))?;
        Ok(SharedFile { file, map, head_bytes, frame_bytes, frames_max, frames: AtomicUsize::new(0) })
    }

    /// Allocates the next frame, all zeros, and returns its number; `None` if the file has all that it may have.
    ///
    /// # Errors
    /// Those of `fallocate`: the machine, or the group that limits the process, has no more memory.
    pub fn take_frame(&self) -> io::Result<Option<usize>> {
        let frame = self.frames();
        if frame == self.frames_max {
            return Ok(None);
        }
        allocate(&self.file, self.head_bytes + frame * self.frame_bytes, self.frame_bytes)?;
        // Relaxed: only the owner asks, and whoever reads the file looks at its length.
        self.frames.store(frame + 1, Ordering::Relaxed);
        Ok(Some(frame))
    }

    /// Frames that it has.
    pub fn frames(&self) -> usize {
        self.frames.load(Ordering::Relaxed)
    }

    pub fn frames_max(&self) -> usize {
        self.frames_max
    }

    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Memory that the file takes, bytes.
    pub fn bytes(&self) -> usize {
        self.head_bytes + self.frames() * self.frame_bytes
    }

    /// The words of the head.
    pub fn head(&self) -> &[AtomicU64] {
        // SAFETY: the mapping begins with the head, at a page, whose bytes were allocated as zeros and stay mapped as long as
        // `self`; they are only ever reached as these words.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.head_bytes / WORD) }
    }

    /// Where the file is mapped. Its committed bytes stay there as long as `self` lives.
    pub fn address(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Where the frames begin, and the length that all may have.
    pub(super) fn frames_range(&self) -> (*mut u8, usize) {
        (self.map.as_mut_ptr().wrapping_add(self.head_bytes), self.frames_max * self.frame_bytes)
    }

    /// Maps a frame a second time, at `address`, in place of what is mapped there.
    ///
    /// # Safety
    /// What is mapped there, as long as a frame, is the caller's, and nobody holds a reference into it.
    pub(super) unsafe fn map_again(&self, frame: usize, address: *mut u8) -> io::Result<()> {
        assert!(frame < self.frames(), "a frame of the file");
        let at = self.head_bytes + frame * self.frame_bytes;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: the frame lies inside the mapping (checked), which is shared: an old length of 0 leaves it as it is, and maps
        // its pages once more. What is replaced is the caller's (it promises).
        let mapped = unsafe {
            let from = self.map.as_mut_ptr().wrapping_add(at).cast();
            libc::mremap(from, 0, self.frame_bytes, flags, address.cast::<libc::c_void>())
        };
        if mapped == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            // The call may have unmapped its target before it failed: others must not get these addresses.
            let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the same part, which is the caller's.
            unsafe { libc::mmap(address.cast(), self.frame_bytes, access, flags, -1, 0) };
            return Err(error);
        }
        // What it has of pages mapped in its own place would count twice. The pages themselves are the file's, and stay.
        // SAFETY: inside the mapping, whose bytes this does not change.
        let _ = unsafe {
            self.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, at, self.frame_bytes)
        };
        Ok(())
    }

    /// A descriptor for somebody who may read the file.
    ///
    /// # Errors
    /// Those of `open`: no `/proc`, no file descriptor.
    pub fn to_read(&self) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?.into())
    }
}

/// A file as others have it: all that is committed can be read at any time, whatever its owner does, or has ended.
#[derive(Debug)]
pub struct SharedView {
    file: OwnedFd,
    map: MmapRaw,
    /// Length of the file, when it was last looked at.
    bytes: AtomicUsize,
}

impl SharedView {
    /// Maps a file that may become `bytes_max` long.
    ///
    /// # Errors
    /// Those of `fcntl`, `fstat` and `mmap`: no address space; [`io::ErrorKind::InvalidInput`] if it is no file that nobody can
    /// cut off.
    pub fn map(file: OwnedFd, bytes_max: usize) -> io::Result<SharedView> {
        // SAFETY: the call takes no argument, and returns a number.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let map = MmapOptions::new().len(bytes_max.max(1)).no_reserve_swap().map_raw_read_only(&file)?;
        // A dump of this process is not the place for all that its server knows. A refusal changes nothing else.
        let _ = map.advise(Advice::DontDump);
        let view = SharedView { file, map, bytes: AtomicUsize::new(0) };
        view.look()?;
        Ok(view)
    }

    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The descriptor, without the mapping.
    pub fn into_file(self) -> OwnedFd {
        self.file
    }

    /// So many words at an offset of the file, bytes; `None` if they are not aligned, or the file is not that long.
    #[inline]
    pub fn words(&self, at: usize, count: usize) -> Option<&[AtomicU64]> {
        let end = at.checked_add(count.checked_mul(WORD)?)?;
        if !at.is_multiple_of(WORD) {
            return None;
        }
        // Relaxed: the length only grows, and the bytes below it are there.
        if end > self.bytes.load(Ordering::Relaxed) && end > self.look().ok()? {
            return None;
        }
        // SAFETY: aligned words inside the mapping and the file (checked), which cannot be cut off (`map`), so they can be read
        // as long as `self` is there. Whoever writes them is another process, or does it through words, too.
        Some(unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(at).cast::<AtomicU64>(), count) })
    }

    /// Where a word would be, for what never faults.
    #[inline]
    pub fn address(&self, at: usize) -> *const u8 {
        self.map.as_ptr().wrapping_add(at)
    }

    /// Bytes of the file that are mapped: it may have grown.
    ///
    /// # Errors
    /// Those of `fstat`.
    #[cold]
    pub fn look(&self) -> io::Result<usize> {
        let bytes = bytes_of(self.file.as_fd())?.min(self.map.len());
        // The length never falls; another thread may have seen more.
        Ok(self.bytes.fetch_max(bytes, Ordering::Relaxed).max(bytes))
    }
}

/// Size of the machine's pages, bytes.
pub fn page_bytes() -> usize {
    // SAFETY: the call takes and returns a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(64 << 10)
}

/// Length of a file, bytes.
///
/// # Errors
/// Those of `fstat`.
pub fn bytes_of(file: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: zeros are a valid value of these numbers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable; the call writes nothing else.
    if unsafe { libc::fstat(file.as_raw_fd(), &raw mut stat) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(stat.st_size).unwrap_or(0))
}

/// Allocates a part of a file, and makes it longer for that.
fn allocate(file: &File, at: usize, len: usize) -> io::Result<()> {
    loop {
        // SAFETY: the call takes numbers, and changes nothing but the file.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, at as libc::off_t, len as libc::off_t) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

pub(super) fn memfd(flags: libc::c_uint) -> io::Result<File> {
    // SAFETY: the name is a C string that lives through the call.
    let fd = unsafe { libc::memfd_create(c"torc".as_ptr(), libc::MFD_CLOEXEC | flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryRange;
    use super::*;
    use std::sync::Arc;

    const PAGE_BYTES: usize = 64 << 10;
    const FRAME: usize = PAGE_BYTES;

    fn file() -> Arc<SharedFile> {
        Arc::new(SharedFile::create(PAGE_BYTES, FRAME, 4).unwrap())
    }

    fn view(file: &SharedFile) -> SharedView {
        SharedView::map(file.to_read().unwrap(), PAGE_BYTES + 4 * FRAME).unwrap()
    }

    fn word(words: Option<&[AtomicU64]>) -> Option<u64> {
        words.map(|words| words[0].load(Ordering::Relaxed))
    }

    #[test]
    fn what_the_owner_writes_is_read_by_others_as_the_file_grows() {
        let file = file();
        let (range, view) = (MemoryRange::of_frames(file.clone()), view(&file));
        assert_eq!(word(view.words(PAGE_BYTES, 1)), None);
        assert_eq!(file.take_frame().unwrap(), Some(0));
        assert_eq!(word(view.words(PAGE_BYTES, 1)), Some(0));
        // SAFETY: a word of a frame that is there, and no reference is held.
        unsafe { range.as_ptr().add(8).cast::<u64>().write(7) };
        file.head()[3].store(9, Ordering::Relaxed);
        assert_eq!(word(view.words(PAGE_BYTES + 8, 1)), Some(7));
        assert_eq!(word(view.words(24, 1)), Some(9));
        assert!(view.words(PAGE_BYTES + FRAME, 1).is_none() && view.words(PAGE_BYTES + 4, 1).is_none());
        assert!(view.words(usize::MAX - 7, 1).is_none() && view.words(0, usize::MAX / 4).is_none());
        let rest: Vec<_> = (0..4).map(|_| file.take_frame().unwrap()).collect();
        assert_eq!(rest, [Some(1), Some(2), Some(3), None]);
        assert!(
            view.words(PAGE_BYTES, 4 * FRAME / 8).is_some()
                && view.words(PAGE_BYTES, 4 * FRAME / 8 + 1).is_none()
        );
    }

    #[test]
    fn a_frame_is_mapped_a_second_time() {
        let file = file();
        let range = MemoryRange::of_frames(file.clone());
        let other = MemoryRange::reserve_small_pages(4 * FRAME).unwrap();
        file.take_frame().unwrap();
        let frame = file.take_frame().unwrap().unwrap();
        // SAFETY: words of a frame that is there, and of a range; no reference is held.
        unsafe {
            range.as_ptr().add(frame * FRAME).cast::<u64>().write(5);
            other.map_frame(2 * FRAME, &file, frame).unwrap();
            assert_eq!(other.as_ptr().add(2 * FRAME).cast::<u64>().read(), 5);
            other.as_ptr().add(2 * FRAME).cast::<u64>().write(6);
            assert_eq!(range.as_ptr().add(frame * FRAME).cast::<u64>().read(), 6);
            assert_eq!(other.as_ptr().add(FRAME).cast::<u64>().read(), 0);
            assert!(range.discard(0, FRAME).is_err());
        }
    }

    #[test]
    fn readers_can_neither_write_nor_change_the_length() {
        let file = file();
        file.take_frame().unwrap();
        let fd = file.to_read().unwrap();
        assert!(MmapOptions::new().len(FRAME).map_raw(&fd).is_err());
        let reader = File::from(fd);
        assert!(reader.set_len(0).is_err() && reader.set_len(1 << 30).is_err());
        assert!(file.file.set_len(0).is_err(), "nor can the owner cut it off");
        assert!(allocate(&reader, 1 << 20, FRAME).is_err());
    }

    #[test]
    fn a_file_that_can_be_cut_off_is_not_mapped() {
        let unsealed = memfd(libc::MFD_ALLOW_SEALING).unwrap();
        unsealed.set_len(1 << 20).unwrap();
        assert!(SharedView::map(unsealed.into(), 1 << 20).is_err());
        assert!(SharedView::map(File::open("/proc/self/exe").unwrap().into(), 1 << 20).is_err());
    }

    #[test]
    fn every_byte_is_allocated_and_reading_them_allocates_none() {
        let file = file();
        file.take_frame().unwrap();
        let blocks = || {
            use std::os::unix::fs::MetadataExt;
            file.file.metadata().unwrap().blocks() * 512
        };
        let before = blocks();
        assert!(before as usize >= file.bytes());
        let words = (PAGE_BYTES + FRAME) / 8;
        let sum: u64 =
            view(&file).words(0, words).unwrap().iter().map(|word| word.load(Ordering::Relaxed)).sum();
        assert_eq!((sum, blocks()), (0, before));
    }
}
