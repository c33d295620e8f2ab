//! How much of a mapping is resident.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Memory is counted in pieces of a huge page: where there are such, the kernel takes no less.
const PIECE_BYTES: u64 = 2 << 20;

/// Which pieces of a mapping have been touched.
#[derive(Debug)]
pub(super) struct Touched {
    pieces: Box<[AtomicU64]>,
    count: AtomicUsize,
}

impl Touched {
    pub(super) fn new(bytes: u64) -> Touched {
        let words = bytes.div_ceil(PIECE_BYTES).div_ceil(u64::from(u64::BITS));
        Touched { pieces: (0..words).map(|_| AtomicU64::new(0)).collect(), count: AtomicUsize::new(0) }
    }

    /// Notes an access to bytes of the mapping.
    pub(super) fn note(&self, at: u64, bytes: u64) {
        for piece in at / PIECE_BYTES..(at + bytes).div_ceil(PIECE_BYTES) {
            let (word, bit) = (&self.pieces[(piece / 64) as usize], 1 << (piece % 64));
            // Relaxed: figures. Mostly it has been touched before, and nothing is written.
            if word.load(Relaxed) & bit == 0 && word.fetch_or(bit, Relaxed) & bit == 0 {
                self.count.fetch_add(1, Relaxed);
            }
        }
    }

    /// Bytes of the pieces that were touched.
    pub(super) fn bytes(&self) -> u64 {
        self.count.load(Relaxed) as u64 * PIECE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_counts_once() {
        let touched = Touched::new(200 * PIECE_BYTES);
        touched.note(0, 1);
        touched.note(4096, 4096);
        assert_eq!(touched.bytes(), PIECE_BYTES);
        touched.note(3 * PIECE_BYTES - 1, 2);
        touched.note(200 * PIECE_BYTES - 1, 1);
        assert_eq!(touched.bytes(), 4 * PIECE_BYTES);
    }
}
