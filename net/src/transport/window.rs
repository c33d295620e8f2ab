//! How much may come from clients in a turn.
//!
//! A client that is read can fill many buffers at once before the worker sees the first of them. While memory is short the
//! window bounds what all clients together bring, so that they wait in their sockets rather than be closed.

/// A window of fewer buffers is cut into pieces of so many bytes.
const WHOLE_MIN: usize = 4;
const PIECE_BYTES: usize = 2 << 10;
/// A window of fewer pieces lets one of so many bytes in, unless it is closed: all clients are to have their turn.
const PIECES_MIN: usize = 4;
const MORSEL_BYTES: usize = 512;

/// Receives of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Bytes of each, at most.
    pub(crate) piece: usize,
    pub(crate) count: usize,
}

impl Window {
    /// No bound but the buffers that there are.
    pub(crate) fn open(buffer_bytes: usize) -> Window {
        Window { piece: buffer_bytes, count: usize::MAX }
    }

    /// Receives to so many buffers that bring so many bytes, or about so many if they are few.
    #[inline]
    pub(crate) fn of(bytes: usize, buffer_bytes: usize, buffers: usize) -> Window {
        if bytes >= buffer_bytes * buffers {
            Window::open(buffer_bytes)
        } else {
            Window::bounded(bytes, buffer_bytes)
        }
    }

    #[cold]
    fn bounded(bytes: usize, buffer_bytes: usize) -> Window {
        let (piece, count) = match bytes {
            0 => (MORSEL_BYTES, 0),
            _ if bytes >= WHOLE_MIN * buffer_bytes => (buffer_bytes, bytes / buffer_bytes),
            _ if bytes >= PIECES_MIN * PIECE_BYTES => (PIECE_BYTES, bytes / PIECE_BYTES),
            _ => (MORSEL_BYTES, 1),
        };
        Window { piece: piece.min(buffer_bytes), count }
    }

    /// Takes one receive of it; false: there is none left.
    pub(crate) fn take(&mut self) -> bool {
        let is_left = self.count > 0;
        self.count -= usize::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_window_is_cut_into_pieces() {
        let whole = 16 << 10;
        assert_eq!(Window::of(64 * whole, whole, 64), Window::open(whole));
        assert_eq!(Window::of(64 * whole - 1, whole, 64), Window { piece: whole, count: 63 });
        assert_eq!(Window::of(WHOLE_MIN * whole, whole, 64), Window { piece: whole, count: WHOLE_MIN });
        assert_eq!(Window::of(WHOLE_MIN * whole - 1, whole, 64), Window { piece: PIECE_BYTES, count: 31 });
        assert_eq!(
            Window::of(PIECES_MIN * PIECE_BYTES - 1, whole, 64),
            Window { piece: MORSEL_BYTES, count: 1 }
        );
        assert_eq!(Window::of(1, 100, 64), Window { piece: 100, count: 1 });
        assert_eq!(Window::of(0, whole, 64).count, 0);
        let mut window = Window { piece: 1, count: 2 };
        assert_eq!([(); 4].map(|()| window.take()), [true, true, false, false]);
    }
}
