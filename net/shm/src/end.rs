//! One side of a pair of rings: it writes to its own, and takes what the other side has written to the other.
//!
//! ```text
//!   own file    [ words: written, taken, sleep ][ ring: what this side says ]      written here, read there
//!   other file  [ words: written, taken, sleep ][ ring: what the other says ]      written there, read here
//! ```
//!
//! Positions count bytes since the beginning and never wrap; the place in a ring is the position modulo its length, a power of
//! two. Each side keeps its positions to itself and only tells them; what the other tells is checked ([`Broken`]), so that whatever
//! stands there, no access leaves a ring and no byte is taken twice. Bytes are copied out before anybody looks at them.

use crate::copy;
use crate::map::{Access, Map};
use crate::sleep::{Ringer, Sleeper, is_asleep};
use crate::sync::Ordering;
use crate::words::WORDS_BYTES;
use std::io;
use std::os::fd::BorrowedFd;

/// Shortest and longest ring, bytes.
pub const RING_BYTES_MIN: usize = 4 << 10;
pub const RING_BYTES_MAX: usize = 1 << 30;

/// The other side has told a position that cannot be: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a position in shared memory has run backwards")]
    Backwards,
    #[error("a position in shared memory is ahead of what there is")]
    TooFar,
}

/// One side.
#[derive(Debug)]
pub struct End {
    own: Map,
    other: Map,
    /// Position behind the last byte that was written to the own ring.
    written: u64,
    /// How far the other side has taken that, as it told last.
    taken_there: u64,
    /// Position behind the last byte that was taken out of the other ring.
    taken: u64,
    /// How far the other side has written there, as it told last.
    written_there: u64,
    sleeper: Sleeper,
    ringer: Ringer,
}

impl End {
    /// A side that owns `own` (mapped to be written) and reads `other`.
    pub(crate) fn new(own: Map, other: Map) -> End {
        assert!(own.ring_bytes().is_power_of_two() && other.ring_bytes().is_power_of_two());
        End {
            own,
            other,
            written: 0,
            taken_there: 0,
            taken: 0,
            written_there: 0,
            sleeper: Sleeper::default(),
            ringer: Ringer::default(),
        }
    }

    /// Maps both files: `own` to be written.
    pub(crate) fn map(own: (BorrowedFd<'_>, usize), other: (BorrowedFd<'_>, usize)) -> io::Result<End> {
        let own = Map::new(own.0, WORDS_BYTES + own.1, Access::ReadWrite)?;
        Ok(End::new(own, Map::new(other.0, WORDS_BYTES + other.1, Access::Read)?))
    }

    /// Memory of both files, bytes.
    pub fn bytes_mapped(&self) -> usize {
        2 * WORDS_BYTES + self.own.ring_bytes() + self.other.ring_bytes()
    }

    /// Bytes that the other side has written and that were not taken.
    ///
    /// # Errors
    /// It tells a position that cannot be.
    #[inline]
    pub fn waiting(&mut self) -> Result<usize, Broken> {
        // Acquire: S3, pairs with W2; the bytes before the position are there.
        let written = self.other.words().written.0.load(Ordering::Acquire);
        if written < self.written_there {
            return Err(Broken::Backwards);
        }
        if written - self.taken > self.other.ring_bytes() as u64 {
            return Err(Broken::TooFar);
        }
        self.written_there = written;
        Ok((written - self.taken) as usize)
    }

    /// Takes at most `max` of the bytes that the last [`End::waiting`] saw, behind what `out` holds.
    #[inline]
    pub fn take(&mut self, max: usize, out: &mut Vec<u8>) -> usize {
        let count = ((self.written_there - self.taken) as usize).min(max);
        out.reserve(count);
        // SAFETY: there is room for `count` bytes behind those that it holds, and they are its own.
        let taken = unsafe { self.take_to(out.as_mut_ptr().add(out.len()), count) };
        // SAFETY: reserved, and initialised by the copy.
        unsafe { out.set_len(out.len() + taken) };
        taken
    }

    /// Takes as many of those bytes as `room` has room for.
    #[inline]
    pub fn take_into(&mut self, room: &mut [u8]) -> usize {
        // SAFETY: what a reference promises.
        unsafe { self.take_to(room.as_mut_ptr(), room.len()) }
    }

    /// # Safety
    /// `max` bytes from `to` on are writable, and nobody else's.
    #[inline]
    unsafe fn take_to(&mut self, to: *mut u8, max: usize) -> usize {
        let count = ((self.written_there - self.taken) as usize).min(max);
        let size = self.other.ring_bytes();
        let at = self.taken as usize & (size - 1);
        let first = count.min(size - at);
        // SAFETY: both lie in the ring, which is mapped as long as `self.other` is, and cannot be cut: `at` is below its size,
        // `first` reaches to its end at most, and `count` is at most its size (`waiting`). The room is what the caller promises.
        unsafe {
            copy::copy(self.other.ring().add(at), first, to);
            copy::copy(self.other.ring(), count - first, to.add(first));
        }
        if count > 0 {
            self.taken += count as u64;
            // Release: pairs with the acquire in `room`; the bytes are copied before they may be written over.
            self.own.words().taken.0.store(self.taken, Ordering::Release);
            self.ringer.has_taken = true;
        }
        count
    }

    /// Bytes that can be written.
    ///
    /// # Errors
    /// The other side tells a position that cannot be.
    #[inline]
    pub fn room(&mut self) -> Result<usize, Broken> {
        // Acquire: pairs with the release in `take`.
        let taken = self.other.words().taken.0.load(Ordering::Acquire);
        if taken < self.taken_there {
            return Err(Broken::Backwards);
        }
        if taken > self.written {
            return Err(Broken::TooFar);
        }
        self.taken_there = taken;
        Ok(self.room_known())
    }

    /// Bytes that can be written as far as is known: no less than what the last [`End::room`] said, without what was written since.
    #[inline]
    pub fn room_known(&self) -> usize {
        self.own.ring_bytes() - (self.written - self.taken_there) as usize
    }

    /// Writes as many of the bytes as there is room for by the last [`End::room`]; [`End::publish`] shows them. Says how many.
    ///
    /// # Safety
    /// The bytes are readable, and neither written nor unmapped, for the call.
    #[inline]
    pub unsafe fn write_from(&mut self, bytes: *const u8, len: usize) -> usize {
        let size = self.own.ring_bytes();
        let count = self.room_known().min(len);
        let at = self.written as usize & (size - 1);
        let first = count.min(size - at);
        // SAFETY: the source is what the caller promises. Both places lie in the own ring (as in `take`), which is mapped to be
        // written, and which nobody but this side writes; the other side does not read there, by its own position, or reads what
        // it must not believe.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes, self.own.ring().add(at), first);
            std::ptr::copy_nonoverlapping(bytes.add(first), self.own.ring(), count - first);
        }
        self.written += count as u64;
        count
    }

    /// [`End::write_from`] for bytes that nobody else changes.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        // SAFETY: what a reference promises.
        unsafe { self.write_from(bytes.as_ptr(), bytes.len()) }
    }

    /// Shows what was written to the other side: W2. [`End::must_ring`] must follow.
    #[inline]
    pub fn publish(&mut self) {
        // Release: pairs with the acquire in `waiting`.
        self.own.words().written.0.store(self.written, Ordering::Release);
        self.ringer.has_written = true;
    }

    /// What the other side has taken of what was written, as far as that can be.
    pub fn taken_there(&self) -> u64 {
        let taken = self.other.words().taken.0.load(Ordering::Relaxed);
        taken.clamp(self.taken_there, self.written)
    }

    /// W4: whether the other side has to be woken. A [`crate::full_fence`] must lie between [`End::publish`] or [`End::take`] and
    /// this.
    #[inline]
    pub fn must_ring(&mut self) -> bool {
        self.ringer.must_ring(self.other.words())
    }

    /// Whether the other side looks by itself, as far as it has told.
    #[inline]
    pub fn is_other_awake(&self) -> bool {
        !is_asleep(self.other.words())
    }

    /// S1: says that this side is about to sleep; `for_room`: it has more to write than there is room for. A
    /// [`crate::full_fence`] and another look must follow.
    #[inline]
    pub fn announce_sleep(&mut self, for_room: bool) {
        self.sleeper.announce(self.own.words(), for_room);
    }

    /// S5: after the bell was heard, or when this side has found something.
    #[inline]
    pub fn wake(&mut self) {
        self.sleeper.wake(self.own.words());
    }
}

#[cfg(test)]
mod tests;
