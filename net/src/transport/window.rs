//! How much may come from clients in a turn.
//!
//! A client that is read can fill many buffers at once before the worker sees the first of them. While memory is short the
//! window bounds what all clients together bring, so that they wait in their sockets rather than be closed.

/// Buffers of which no more than a part fits into the window are filled in part, with so many bytes at least: all clients are to
/// have their turn, and most requests are short.
const PIECE_BYTES: usize = 2 << 10;
/// A window of fewer pieces lets one of so many bytes in, unless it is closed.
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
            Window::bounded(bytes, buffer_bytes, buffers)
        }
    }

    #[cold]
    fn bounded(bytes: usize, buffer_bytes: usize, buffers: usize) -> Window {
        let (piece, count) = match bytes {
            0 => (MORSEL_BYTES, 0),
            _ if bytes < PIECES_MIN * PIECE_BYTES => (MORSEL_BYTES, 1),
            _ => {
                let piece = (bytes / buffers).max(PIECE_BYTES);
                (piece, bytes / piece)
            }
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
        assert_eq!(Window::of(32 * whole, whole, 64), Window { piece: whole / 2, count: 64 });
        assert_eq!(Window::of(4 * PIECE_BYTES, whole, 64), Window { piece: PIECE_BYTES, count: 4 });
        assert_eq!(Window::of(4 * PIECE_BYTES - 1, whole, 64), Window { piece: MORSEL_BYTES, count: 1 });
        assert_eq!(Window::of(1, 100, 64), Window { piece: 100, count: 1 });
        assert_eq!(Window::of(0, whole, 64).count, 0);
        let mut window = Window { piece: 1, count: 2 };
        assert_eq!([(); 4].map(|()| window.take()), [true, true, false, false]);
    }
}
