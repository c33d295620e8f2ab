//! Where bytes out of rings lie until the worker has parsed them.

use crate::transport::BufferId;
use crate::transport::window::Window;

/// The buffers of this pool have numbers from here on, so that they are told from those of the sockets.
const FIRST: u16 = 1 << 15;
/// Buffers of a shard, and their size.
pub(crate) const BUFFERS: u16 = 64;
pub(crate) const BUFFER_BYTES: usize = 16 << 10;

/// A buffer is free or the worker's.
pub(super) struct Buffers {
    memory: Vec<Vec<u8>>,
    free: Vec<u16>,
    /// What may come until it is set anew.
    window: Window,
}

impl Buffers {
    pub(super) fn new() -> Buffers {
        Buffers {
            memory: (0..BUFFERS).map(|_| Vec::with_capacity(BUFFER_BYTES)).collect(),
            free: (0..BUFFERS).rev().collect(),
            window: Window::open(BUFFER_BYTES),
        }
    }

    pub(super) fn is_own(buffer: BufferId) -> bool {
        buffer.0 >= FIRST
    }

    #[inline]
    pub(super) fn set_window(&mut self, bytes: usize) {
        self.window = Window::of(bytes, BUFFER_BYTES, usize::from(BUFFERS));
    }

    /// Bytes that a buffer gets, at most.
    pub(super) fn piece_bytes(&self) -> usize {
        self.window.piece
    }

    /// The buffer that was used last, empty.
    pub(super) fn take(&mut self) -> Option<(BufferId, &mut Vec<u8>)> {
        if self.free.is_empty() || !self.window.take() {
            return None;
        }
        let number = self.free.pop()?;
        let memory = &mut self.memory[usize::from(number)];
        memory.clear();
        Some((BufferId(FIRST | number), memory))
    }

    pub(super) fn bytes(&self, buffer: BufferId, len: u32) -> &[u8] {
        &self.memory[usize::from(buffer.0 & !FIRST)][..len as usize]
    }

    pub(super) fn recycle(&mut self, buffer: BufferId) {
        self.free.push(buffer.0 & !FIRST);
    }
}
