//! Room in the arena that somebody outside the shard still fills.

use super::Segments;

/// Room for the next bytes of a value under way, which a transport lets the kernel write. Its segment is pinned, that is
/// neither moved nor reused, until the `Room` comes back through [`crate::Shard::upload_filled`]: also when the value is
/// given up meanwhile.
#[derive(Debug)]
#[must_use = "room pins its segment until it comes back"]
pub struct Room {
    start: *mut u8,
    len: u32,
    at: u64,
}

// SAFETY: whoever has the room may write it from any thread: it lies in a pinned segment, which is not reused, behind
// an item that nobody can find yet, and an arena with pinned segments is never unmapped, even if its shard goes (`Drop` of
// `Segments`).
unsafe impl Send for Room {}

impl Room {
    /// Where it begins, for calls that take a pointer and a length, as those of the kernel do. It may be written, but
    /// no reference may be made to it: others copy words of the arena at any time.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Bytes that fit; never 0.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty room")]
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

impl Segments {
    /// Pins the segment of `at` and lends the room there.
    ///
    /// # Panics
    /// If it is not inside the arena.
    pub(crate) fn lend_room(&mut self, at: u64, len: usize) -> Room {
        self.pin_to_fill(at);
        let start = self.arena.bytes_mut(at, len).as_mut_ptr();
        Room { start, len: u32::try_from(len).expect("a segment is shorter than 4 GiB"), at }
    }

    /// # Panics
    /// If another arena lent it.
    pub(crate) fn take_back_room(&mut self, room: Room) {
        assert!(self.arena.contains(room.start), "room goes back to the shard that lent it");
        self.unpin_filled(room.at);
    }
}
