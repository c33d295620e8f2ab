//! Buffers used again and again: for answers and inputs, and smaller ones for parts that wait or travel.

/// Buffers start with this room.
const LARGE_BYTES: usize = 4 << 10;
/// One of these that has grown.
const LARGE_GROWN: usize = LARGE_BYTES + 1;
const SMALL_BYTES: usize = 256;
/// A buffer that grew beyond this is given back to the allocator.
const BYTES_MAX: usize = 64 << 10;
/// Memory of the large buffers that are kept, at most, and of the small ones.
const STOCK_BYTES: usize = 1 << 20;

/// A bounded stock of empty byte vectors.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    large: Vec<Vec<u8>>,
    large_bytes: usize,
    small: Vec<Vec<u8>>,
    small_bytes: usize,
    /// Memory is short: nobody gets more than it needs.
    is_tight: bool,
}

impl Pool {
    /// From here on copies are as long as what is in them, and buffers that grew are not kept; or both no more.
    pub(crate) fn set_tight(&mut self, is_tight: bool) {
        if is_tight && !self.is_tight {
            self.trim(0);
        }
        self.is_tight = is_tight;
    }

    /// Memory of the stock.
    pub(crate) fn bytes_held(&self) -> usize {
        self.large_bytes + self.small_bytes
    }

    /// Gives back what the stock has beyond so many bytes.
    pub(crate) fn trim(&mut self, bytes: usize) {
        while self.bytes_held() > bytes {
            drop(if self.large.is_empty() { self.take_small() } else { self.take() });
        }
    }

    /// An empty buffer with room for answers.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.large.pop() {
            Some(buffer) => {
                self.large_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(LARGE_BYTES),
        }
    }

    /// An empty buffer with room for so many bytes of answers, and for more only if it is a large one.
    pub(crate) fn take_for(&mut self, bytes: usize) -> Vec<u8> {
        if bytes <= SMALL_BYTES { self.take_small() } else { self.take() }
    }

    /// A buffer with a copy of the slices, one behind the other.
    pub(crate) fn copy(&mut self, slices: &[&[u8]]) -> Vec<u8> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut buffer = if self.is_tight { Vec::with_capacity(bytes) } else { self.take_for(bytes) };
        slices.iter().for_each(|slice| buffer.extend_from_slice(slice));
        buffer
    }

    fn take_small(&mut self) -> Vec<u8> {
        match self.small.pop() {
            Some(buffer) => {
                self.small_bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(SMALL_BYTES),
        }
    }

    #[inline]
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        match buffer.capacity() {
            SMALL_BYTES..LARGE_BYTES if self.small_bytes < STOCK_BYTES => {
                self.small_bytes += buffer.capacity();
                self.small.push(buffer);
            }
            LARGE_GROWN.. if self.is_tight => {}
            LARGE_BYTES..=BYTES_MAX if self.large_bytes < STOCK_BYTES => {
                self.large_bytes += buffer.capacity();
                self.large.push(buffer);
            }
            _ => {}
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

    #[test]
    fn the_stock_is_counted_as_it_is_and_given_back_on_demand() {
        let mut pool = Pool::default();
        for bytes in [SMALL_BYTES, LARGE_BYTES - 1, LARGE_BYTES, BYTES_MAX] {
            pool.give(Vec::with_capacity(bytes));
        }
        assert_eq!(pool.bytes_held(), SMALL_BYTES + LARGE_BYTES - 1 + LARGE_BYTES + BYTES_MAX);
        pool.trim(LARGE_BYTES);
        assert_eq!(pool.bytes_held(), SMALL_BYTES);
        pool.trim(0);
        assert_eq!(pool.bytes_held(), 0);
    }
}
