//! Copies between memory of ours alone and memory that a device may read or write meanwhile: relaxed atomics there, by words
//! where they are aligned.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Bytes before the first aligned word of the shared side, and where its last one ends.
#[inline]
fn words(shared: *const u8, len: usize) -> (usize, usize) {
    let head = shared.align_offset(8).min(len);
    (head, head + (len - head) / 8 * 8)
}

/// Copies out of shared memory. Each byte is read once.
///
/// # Safety
/// The bytes from `shared` on are mapped and readable, those from `to` on are writable and nobody else's, for the call.
#[inline]
pub(crate) unsafe fn copy_out(shared: *const u8, len: usize, to: *mut u8) {
    let (head, words_end) = words(shared, len);
    // SAFETY: `at` is below `len`, so inside of what the caller promises of both.
    let byte =
        |at: usize| unsafe { to.add(at).write((*shared.add(at).cast::<AtomicU8>()).load(Ordering::Relaxed)) };
    (0..head).for_each(byte);
    for at in (head..words_end).step_by(8) {
        // SAFETY: as for a byte, for the eight from `at` on, which end before `len`; the shared side is aligned to 8 there.
        unsafe {
            let word = (*shared.add(at).cast::<AtomicU64>()).load(Ordering::Relaxed);
            to.add(at).cast::<u64>().write_unaligned(word);
        }
    }
    (words_end..len).for_each(byte);
}

/// Copies into shared memory. Each byte is written once.
///
/// # Safety
/// The bytes from `from` on are readable and nobody writes them, those from `shared` on are mapped and writable, for the call.
#[inline]
pub(crate) unsafe fn copy_in(from: *const u8, len: usize, shared: *mut u8) {
    let (head, words_end) = words(shared, len);
    // SAFETY: `at` is below `len`, so inside of what the caller promises of both.
    let byte = |at: usize| unsafe {
        (*shared.add(at).cast::<AtomicU8>()).store(from.add(at).read(), Ordering::Relaxed);
    };
    (0..head).for_each(byte);
    for at in (head..words_end).step_by(8) {
        // SAFETY: as for a byte, for the eight from `at` on, which end before `len`; the shared side is aligned to 8 there.
        unsafe {
            let word = from.add(at).cast::<u64>().read_unaligned();
            (*shared.add(at).cast::<AtomicU64>()).store(word, Ordering::Relaxed);
        }
    }
    (words_end..len).for_each(byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied_both_ways() {
        let bytes: Vec<u8> = (0..=255).collect();
        for start in 0..16 {
            for len in 0..100 {
                let (mut read, mut written) = (vec![7; len + 6], vec![7; start + len + 3]);
                // SAFETY: all lie inside of their vectors, which nobody else has.
                unsafe {
                    copy_out(bytes.as_ptr().add(start), len, read.as_mut_ptr().add(3));
                    copy_in(bytes.as_ptr().add(start), len, written.as_mut_ptr().add(start));
                }
                assert_eq!(read[3..3 + len], bytes[start..start + len]);
                assert_eq!((&read[..3], &read[3 + len..]), (&[7; 3][..], &[7; 3][..]));
                assert_eq!(written[start..start + len], bytes[start..start + len]);
                assert!(written[..start].iter().chain(&written[start + len..]).all(|&byte| byte == 7));
            }
        }
    }
}
