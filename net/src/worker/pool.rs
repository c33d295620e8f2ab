//! Buffers used again and again: for answers, inputs and messages between shards.

/// Buffers start with this room.
const BYTES_START: usize = 4 << 10;
/// A buffer that grew beyond this is given back to the allocator.
const BYTES_MAX: usize = 64 << 10;
/// Most buffers kept.
const COUNT_MAX: usize = 1024;

/// A bounded stock of empty byte vectors.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    stock: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer with room.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.stock.pop().unwrap_or_else(|| Vec::with_capacity(BYTES_START))
    }

    /// A buffer with a copy of the slices, one behind the other.
    pub(crate) fn copy(&mut self, slices: &[&[u8]]) -> Vec<u8> {
        let mut buffer = self.take();
        slices.iter().for_each(|slice| buffer.extend_from_slice(slice));
        buffer
    }

    #[inline]
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if (BYTES_START..=BYTES_MAX).contains(&buffer.capacity()) && self.stock.len() < COUNT_MAX {
            buffer.clear();
            self.stock.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_large_ones_are_let_go() {
        let mut pool = Pool::default();
        let mut buffer = pool.copy(&[b"one", b"two"]);
        assert_eq!(buffer, b"onetwo");
        let start = buffer.as_ptr();
        pool.give(buffer);
        buffer = pool.take();
        assert!(buffer.is_empty() && buffer.as_ptr() == start);
        pool.give(Vec::with_capacity(BYTES_MAX + 1));
        pool.give(Vec::new());
        assert!(pool.stock.is_empty());
    }
}
