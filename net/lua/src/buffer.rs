//! Bytes that functions put together: kept by the context, so that an error that is raised while they are handed to Lua leaks none.

use std::cell::Cell;

/// Longer ones are given back when a script has ended, bytes.
const KEPT_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Buffer(Cell<Vec<u8>>);

impl Buffer {
    /// Empties it and fills it anew. Nothing may be raised meanwhile.
    pub(crate) fn fill<R>(&self, fill: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut bytes = self.0.take();
        bytes.clear();
        let result = fill(&mut bytes);
        self.0.set(bytes);
        result
    }

    /// As [`Buffer::fill`], behind what is there.
    pub(crate) fn append(&self, add: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.0.take();
        add(&mut bytes);
        self.0.set(bytes);
    }

    /// What it was filled with last; it is not used beyond the next time.
    pub(crate) fn bytes<'b>(&self) -> &'b [u8] {
        // SAFETY: only `fill` and `trim` change it. Functions use the bytes before they call anything that calls these: the script that they
        // are for does not run meanwhile.
        unsafe { &*self.0.as_ptr() }
    }

    pub(crate) fn trim(&self) {
        let bytes = self.0.take();
        if bytes.capacity() <= KEPT_BYTES {
            self.0.set(bytes);
        }
    }
}
