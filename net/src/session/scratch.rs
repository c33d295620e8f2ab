//! Bytes that parsing has to make: what a request says in another form than the engine wants it, such as a
//! key in base64. They live as long as the parts of the turn; almost no request needs any.

use bumpalo::Bump;

/// Append-only memory of one turn of the loop. Reset at its end; the memory is kept and used again.
#[derive(Debug, Default)]
pub struct Scratch {
    bump: Bump,
}

impl Scratch {
    /// Copies `bytes`; the copy lives until [`Scratch::reset`].
    pub fn keep(&self, bytes: &[u8]) -> &[u8] {
        self.bump.alloc_slice_copy(bytes)
    }

    /// Forgets everything. The borrow checker holds it back until no part refers to it any more.
    pub fn reset(&mut self) {
        self.bump.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn kept_bytes_stay_until_reset_and_memory_is_used_again() {
        let mut scratch = Scratch::default();
        for round in 0..100u8 {
            let one = scratch.keep(&[round; 250]);
            let two = scratch.keep(b"two");
            assert_eq!((one, two), (&[round; 250][..], &b"two"[..]));
            scratch.reset();
        }
        assert!(scratch.bump.allocated_bytes() < 4096, "one small chunk is enough for 100 rounds");
    }
}
