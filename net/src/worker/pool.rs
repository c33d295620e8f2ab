//! Buffers used again and again: for answers and inputs, and smaller ones for parts that wait or travel.

/// Buffers start with this room.
const LARGE_BYTES: usize = 4 << 10;
const SMALL_BYTES: usize = 256;
/// A buffer that grew beyond this is given back to the allocator.
const BYTES_MAX: usize = 64 << 10;
/// Most buffers kept of each kind.
const LARGE_COUNT: usize = 1024;
const SMALL_COUNT: usize = 8192;

/// A bounded stock of empty byte vectors.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    large: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer with room for answers.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| Vec::with_capacity(LARGE_BYTES))
    }

    /// A buffer with a copy of the slices, one behind the other.
    pub(crate) fn copy(&mut self, slices: &[&[u8]]) -> Vec<u8> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut buffer = if bytes <= SMALL_BYTES { self.take_small() } else { self.take() };
        slices.iter().for_each(|slice| buffer.extend_from_slice(slice));
        buffer
    }

    fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
    }

    #[inline]
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let (stock, count) = match buffer.capacity() {
            SMALL_BYTES..LARGE_BYTES => (&mut self.small, SMALL_COUNT),
            LARGE_BYTES..=BYTES_MAX => (&mut self.large, LARGE_COUNT),
            _ => return,
        };
        if stock.len() < count {
            buffer.clear();
            stock.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_large_ones_are_let_go() {
        let mut pool = Pool::default();
        let small = pool.copy(&[b"one", b"two"]);
        assert_eq!(small, b"onetwo");
        let large = pool.copy(&[&[7; SMALL_BYTES + 1]]);
        let (small_at, large_at) = (small.as_ptr(), large.as_ptr());
        pool.give(small);
        pool.give(large);
        let (small, large) = (pool.copy(&[]), pool.take());
        assert!(small.is_empty() && small.as_ptr() == small_at);
        assert!(large.is_empty() && large.as_ptr() == large_at);
        pool.give(Vec::with_capacity(BYTES_MAX + 1));
        pool.give(Vec::new());
        assert!(pool.large.is_empty() && pool.small.is_empty());
    }
}
