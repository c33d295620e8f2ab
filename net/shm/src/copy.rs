//! Copies out of memory that another process may be writing.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Copies bytes. Each is read once: what was copied does not change any more. The loads are relaxed atomics, as whoever writes
/// there may do so at any time.
///
/// # Safety
/// The bytes from `start` on are mapped and readable, those from `to` on are writable and nobody else's, for the call.
#[inline]
pub(crate) unsafe fn copy(start: *const u8, len: usize, to: *mut u8) {
    let head = start.align_offset(8).min(len);
    let words_end = head + (len - head) / 8 * 8;
    // SAFETY: `at` is below `len`, so inside of what the caller promises of both.
    let byte = |at: usize| unsafe {
        let byte = (*start.add(at).cast::<AtomicU8>()).load(Ordering::Relaxed);
        to.add(at).write(byte);
    };
    (0..head).for_each(byte);
    for at in (head..words_end).step_by(8) {
        // SAFETY: as for a byte, for the eight from `at` on, which is below `words_end`; aligned to 8 from `head` on.
        unsafe {
            let word = (*start.add(at).cast::<AtomicU64>()).load(Ordering::Relaxed);
            to.add(at).cast::<u64>().write_unaligned(word);
        }
    }
    (words_end..len).for_each(byte);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_length_at_every_alignment_is_copied() {
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..16 {
            for len in 0..100 {
                let mut out = vec![7; 3 + len + 3];
                // SAFETY: both lie inside of their vectors.
                unsafe { super::copy(bytes.as_ptr().add(start), len, out.as_mut_ptr().add(3)) };
                assert_eq!(out[3..3 + len], bytes[start..start + len]);
                assert_eq!((&out[..3], &out[3 + len..]), (&[7; 3][..], &[7; 3][..]));
            }
        }
    }
}
