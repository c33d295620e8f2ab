//! Copying to and from memory that other threads may be copying to at the same time.
//!
//! A read of a place that is being reused meets a write. What it gets is then a mixture that no checksum passes; to be a
//! mixture and nothing worse, both sides go by atomic words.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{BLOCK_BYTES, Block, bytes, bytes_mut};

const WORD: usize = size_of::<u64>();

/// Copies blocks to `target`.
///
/// # Safety
/// `target` is aligned to 8 bytes and valid for writes of that many bytes, which are only accessed by atomic words.
pub(super) unsafe fn store(target: *mut u8, blocks: &[Block]) {
    let target = target.cast::<AtomicU64>();
    for (number, word) in bytes(blocks).chunks_exact(WORD).enumerate() {
        let word = u64::from_ne_bytes(word.try_into().expect("chunks are words"));
        // SAFETY: inside the target, aligned, and accessed by atomics alone (the caller says so).
        unsafe { (*target.add(number)).store(word, Ordering::Relaxed) };
    }
}

/// Copies from `source` to blocks.
///
/// # Safety
/// As [`store`], for reads.
pub(super) unsafe fn load(source: *const u8, out: &mut [Block]) {
    let source = source.cast::<AtomicU64>();
    for (number, word) in bytes_mut(out).chunks_exact_mut(WORD).enumerate() {
        // SAFETY: as in `store`.
        let value = unsafe { (*source.add(number)).load(Ordering::Relaxed) };
        word.copy_from_slice(&value.to_ne_bytes());
    }
}

const _: () = assert!(BLOCK_BYTES.is_multiple_of(WORD));
