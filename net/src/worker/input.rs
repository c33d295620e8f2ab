//! What a client has sent and nobody has parsed yet.

use super::pool::Pool;

/// Received bytes. An offset passes over those that are parsed; the bytes behind it move only when room is needed.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Parsed up to here.
    start: usize,
}

impl Input {
    pub(crate) fn unparsed(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that it takes.
    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }

    /// What of that is not for unparsed bytes.
    pub(crate) fn waste(&self) -> usize {
        self.bytes.capacity() - self.len()
    }

    /// Puts bytes behind those that are there.
    pub(crate) fn append(&mut self, bytes: &[u8], pool: &mut Pool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.copy(&[bytes]);
            return;
        }
        let no_room = self.bytes.len() + bytes.len() > self.bytes.capacity();
        if no_room && self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.len() + bytes.len() > self.bytes.capacity() {
            // Not doubled: what a long request does not need is missed by others.
            self.bytes.reserve_exact(bytes.len().max(self.bytes.len() / GROWTH_SHARE));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` unparsed bytes are parsed.
    pub(crate) fn pass(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len(), "no more is parsed than there is");
    }

    /// Gives back what it holds beside the unparsed bytes.
    pub(crate) fn shrink(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.shrink_to_fit();
    }

    /// Takes a buffer that fits, if what is not parsed is far shorter than the buffer: the beginning of a request may stay
    /// for long.
    pub(crate) fn fit(&mut self, pool: &mut Pool) {
        if self.bytes.capacity() > KEPT_BYTES && self.len() * FIT_SHARE < self.bytes.capacity() {
            let fitting = Input { bytes: self.unparsed().to_vec(), start: 0 };
            pool.give(std::mem::replace(self, fitting).into_buffer());
        }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// A buffer that is no longer than this always fits.
const KEPT_BYTES: usize = 4 << 10;
/// A longer buffer fits only if it is less than this many times as long as what is in it.
const FIT_SHARE: usize = 2;
/// An input that is full grows by one in so many bytes.
const GROWTH_SHARE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_holds_nothing_but_what_is_not_parsed() {
        let (mut input, mut pool) = (Input::default(), Pool::default());
        input.append(&[1; 30_000], &mut pool);
        input.pass(29_990);
        input.shrink();
        assert_eq!((input.bytes_held(), input.unparsed()), (10, &[1; 10][..]));
    }

    #[test]
    fn bytes_come_out_in_their_order_however_they_are_cut() {
        let (mut input, mut pool) = (Input::default(), Pool::default());
        let (mut sent, mut parsed) = (0u8, 0u8);
        for step in 0..2000usize {
            let bytes: Vec<u8> = (0..step % 37).map(|offset| sent.wrapping_add(offset as u8)).collect();
            sent = sent.wrapping_add(bytes.len() as u8);
            input.append(&bytes, &mut pool);
            let count = input.len().min(step % 41);
            for byte in &input.unparsed()[..count] {
                assert_eq!(*byte, parsed);
                parsed = parsed.wrapping_add(1);
            }
            input.pass(count);
        }
        assert!(input.bytes.capacity() <= 16 << 10, "{}", input.bytes.capacity());
    }

    #[test]
    fn a_long_buffer_is_not_kept_for_a_few_bytes() {
        let (mut input, mut pool) = (Input::default(), Pool::default());
        input.append(&[1; 60_000], &mut pool);
        input.pass(59_999);
        input.fit(&mut pool);
        assert_eq!(input.unparsed(), [1]);
        assert!(input.bytes_held() <= 4 << 10, "{}", input.bytes_held());
        input.append(&[2; 100], &mut pool);
        assert_eq!(input.len(), 101);
    }
}
