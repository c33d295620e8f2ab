//! Bytes that are written word by word.
//!
//! Others read a shard's memory while its owner writes it, so every store is one of an aligned 64-bit word: whoever looks
//! sees a word from before or from after, never half of it. Stores are relaxed; what makes a whole item visible is the
//! store that publishes it in the index.

use crate::bytes::Bytes;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// Room for bytes, in memory that only one thread writes. What shares a word with them keeps its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BytesMut<'s> {
    start: *mut u8,
    len: usize,
    life: PhantomData<&'s mut [u64]>,
}

impl<'s> BytesMut<'s> {
    /// # Safety
    /// For `'s` all words that the bytes lie in are mapped and initialised, only this thread writes them, and no
    /// reference covers them.
    #[inline]
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> BytesMut<'s> {
        BytesMut { start, len, life: PhantomData }
    }

    /// All bytes of some words.
    #[cfg(test)]
    pub(crate) fn of(words: &'s mut [u64]) -> BytesMut<'s> {
        // SAFETY: they are the caller's alone for `'s`, and used through the pointer only.
        unsafe { BytesMut::new(words.as_mut_ptr().cast(), size_of_val(words)) }
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Where they begin.
    #[inline]
    pub(crate) fn as_mut_ptr(self) -> *mut u8 {
        self.start
    }

    /// # Panics
    /// If the part is not inside.
    #[inline]
    #[must_use]
    pub(crate) fn slice(self, range: Range<usize>) -> BytesMut<'s> {
        assert!(range.start <= range.end && range.end <= self.len, "a slice lies inside its bytes");
        BytesMut { start: self.start.wrapping_add(range.start), len: range.end - range.start, ..self }
    }

    #[inline]
    pub(crate) fn copy_from_slice(self, bytes: &[u8]) {
        self.copy_from(Bytes::from(bytes));
    }

    /// Fills all of it with as many other bytes, which lie elsewhere.
    ///
    /// # Panics
    /// If the lengths differ.
    pub(crate) fn copy_from(self, bytes: Bytes<'_>) {
        assert_eq!(bytes.len(), self.len, "as many bytes as there is room for");
        if self.len == 0 {
            return;
        }
        let mut words = self.words();
        words.push(bytes);
        words.keep_rest();
    }

    pub(crate) fn zero(self) {
        static ZEROS: [u8; 4096] = [0; 4096];
        for at in (0..self.len).step_by(ZEROS.len()) {
            let len = (self.len - at).min(ZEROS.len());
            self.slice(at..at + len).copy_from_slice(&ZEROS[..len]);
        }
    }

    /// Changes the word that is the eight bytes at `at`.
    ///
    /// # Panics
    /// If they are not inside, or are no word.
    #[inline]
    pub(crate) fn change_word(self, at: usize, change: impl FnOnce(u64) -> u64) {
        assert!(at <= self.len && self.len - at >= WORD, "a word lies inside its bytes");
        let to = self.start.wrapping_add(at);
        assert!((to as usize).is_multiple_of(WORD), "a word is aligned");
        // SAFETY: one of the words that `new` promises (checked), and aligned.
        let word = unsafe { AtomicU64::from_ptr(to.cast()) };
        word.store(change(word.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Begins to write at the start, which is that of a word.
    ///
    /// # Panics
    /// If it is not.
    #[inline]
    pub(crate) fn whole_words(self) -> Words<'s> {
        assert!((self.start as usize).is_multiple_of(WORD), "a word is aligned");
        Words { next: self.start.cast(), left: self.len, carry: 0, bits: 0, life: PhantomData }
    }

    /// Begins to write at the start.
    #[inline]
    pub(crate) fn words(self) -> Words<'s> {
        let before = self.start as usize % WORD;
        let mut words = Words {
            next: self.start.wrapping_sub(before).cast(),
            left: self.len,
            carry: 0,
            bits: before as u32 * 8,
            life: PhantomData,
        };
        if before > 0 {
            words.carry = words.load() & low(words.bits);
        }
        words
    }
}

/// Writes bytes one behind the other. What does not fill a word waits for more.
pub(crate) struct Words<'s> {
    next: *mut u64,
    /// Bytes that there is room for.
    left: usize,
    /// The low `bits` bits of the next word.
    carry: u64,
    bits: u32,
    life: PhantomData<&'s mut [u64]>,
}

impl Words<'_> {
    /// The next word, as it is in memory.
    #[inline]
    fn load(&self) -> u64 {
        // SAFETY: the word is one of those that `BytesMut::new` promises, as it holds a byte of the room or one before it.
        unsafe { AtomicU64::from_ptr(self.next) }.load(Ordering::Relaxed)
    }

    /// # Safety
    /// The next word holds a byte of the room.
    #[inline]
    unsafe fn store(&mut self, word: u64) {
        // SAFETY: the word is one of those that `BytesMut::new` promises (see above).
        unsafe { AtomicU64::from_ptr(self.next) }.store(word, Ordering::Relaxed);
        self.next = self.next.wrapping_add(1);
    }

    /// Takes room for `bytes` bytes.
    #[inline]
    fn take(&mut self, bytes: usize) {
        assert!(bytes <= self.left, "bytes are written inside their room");
        self.left -= bytes;
    }

    #[inline]
    pub(crate) fn push_u64(&mut self, number: u64) {
        self.take(WORD);
        // SAFETY: eight more bytes have room (checked), so the next word is the room's.
        unsafe { self.store(self.carry | number << self.bits) };
        self.carry = if self.bits == 0 { 0 } else { number >> (u64::BITS - self.bits) };
    }

    /// Writes the low `bytes` bytes of a number whose other bits are zeros; fewer than eight.
    #[inline]
    pub(crate) fn push_short(&mut self, number: u64, bytes: usize) {
        self.take(bytes);
        // SAFETY: they have room (checked).
        unsafe { self.join(number, bytes) };
    }

    /// As [`Words::push_short`], for bytes whose room is taken.
    ///
    /// # Safety
    /// It is.
    #[inline]
    unsafe fn join(&mut self, number: u64, bytes: usize) {
        self.carry |= number << self.bits;
        let before = self.bits;
        self.bits += bytes as u32 * 8;
        if self.bits >= u64::BITS {
            // SAFETY: the word holds the first of these bytes, which have room (the caller promises).
            unsafe { self.store(self.carry) };
            self.bits -= u64::BITS;
            self.carry = number >> (u64::BITS - before);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, mut bytes: Bytes<'_>) {
        self.take(bytes.len());
        if self.bits > 0 && !bytes.is_empty() {
            // Fills the word that waits, so that all others are copied as they are.
            let first = (WORD - self.bits as usize / 8).min(bytes.len());
            // SAFETY: all of them have room (checked).
            unsafe { self.join(bytes.slice(0..first).number(), first) };
            bytes = bytes.behind(first);
        }
        let words = bytes.len() / WORD;
        if words > 0 {
            // SAFETY: so many words are read inside `bytes`, and have room (checked); no word waits, so the next one is
            // the room's.
            unsafe { copy_words(bytes.as_ptr(), self.next, words) };
            self.next = self.next.wrapping_add(words);
            bytes = bytes.behind(words * WORD);
        }
        if !bytes.is_empty() {
            // SAFETY: as above.
            unsafe { self.join(bytes.number(), bytes.len()) };
        }
    }

    /// Ends with zeros up to the end of the last word.
    #[inline]
    pub(crate) fn pad(mut self) {
        if self.bits > 0 {
            // SAFETY: bytes wait for this word, so it holds some of the room, or of what lies before it.
            unsafe { self.store(self.carry) };
        }
    }

    /// Ends, and leaves what lies behind in the last word as it is.
    #[inline]
    pub(crate) fn keep_rest(mut self) {
        if self.bits > 0 {
            let behind = self.load() & !low(self.bits);
            // SAFETY: as in `pad`.
            unsafe { self.store(self.carry | behind) };
        }
    }
}

/// Copies words from any address to aligned ones.
///
/// # Safety
/// `count` words are readable from `from` on, and are what [`BytesMut::new`] promises from `to` on; they do not overlap.
#[inline]
unsafe fn copy_words(from: *const u8, to: *mut u64, count: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if count >= STREAM_WORDS_MIN {
        // SAFETY: the caller's promise is the same.
        return unsafe { stream_words(from, to, count) };
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if count >= STRING_WORDS_MIN {
        // SAFETY: as the caller promises. The instruction stores aligned words, or several at once, but never a part of one;
        // the direction flag is clear in Rust code.
        unsafe {
            std::arch::asm!("rep movsq", inout("rcx") count => _, inout("rsi") from => _, inout("rdi") to => _,
                options(nostack, preserves_flags));
        }
        return;
    }
    let from = from.cast::<u64>();
    // SAFETY: called for numbers below `count`, so inside both (the caller promises).
    let copy = |number: usize| unsafe {
        let word = from.add(number).read_unaligned();
        AtomicU64::from_ptr(to.add(number)).store(word, Ordering::Relaxed);
    };
    let mut done = 0;
    while count - done >= 4 {
        copy(done);
        copy(done + 1);
        copy(done + 2);
        copy(done + 3);
        done += 4;
    }
    while done < count {
        copy(done);
        done += 1;
    }
}

/// As [`copy_words`], past the caches: so much is in none of them at its new place, and would have to be read there first.
///
/// # Safety
/// As for [`copy_words`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn stream_words(from: *const u8, to: *mut u64, count: usize) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_sfence, _mm_stream_si64, _mm_stream_si128};
    let from = from.cast::<u64>();
    // SAFETY: every address is that of words below `count` (the caller promises). Stores are of one or two aligned words, which no
    // reader sees a part of, as each word is aligned and written at once.
    unsafe {
        let first = usize::from(!(to as usize).is_multiple_of(16));
        if first > 0 {
            _mm_stream_si64(to.cast(), from.cast::<i64>().read_unaligned());
        }
        let mut done = first;
        while count - done >= 8 {
            let (from, to) = (from.add(done), to.add(done));
            for pair in [0, 2, 4, 6] {
                _mm_stream_si128(to.add(pair).cast(), _mm_loadu_si128(from.add(pair).cast()));
            }
            done += 8;
        }
        while done < count {
            _mm_stream_si64(to.add(done).cast(), from.add(done).cast::<i64>().read_unaligned());
            done += 1;
        }
        // Whoever publishes them later relies on the order of stores, which streamed ones do not keep by themselves.
        _mm_sfence();
    }
}

/// From so many words on they are written past the caches: 8 KiB.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STREAM_WORDS_MIN: usize = 1024;
/// From so many words on the processor's own copying is faster than a loop.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const STRING_WORDS_MIN: usize = 64;

/// A mask of the low bits of a word, fewer than all.
#[inline]
fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(target_endian = "big")]
compile_error!("words are assembled as little-endian machines have them");

/// The bytes of some words.
#[cfg(test)]
pub(crate) fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_go_anywhere_and_touch_nothing_else() {
        let source: Vec<u8> = (1..=40).collect();
        for start in 0..17 {
            for len in 0..40 {
                let mut words = [0xEEEE_EEEE_EEEE_EEEE_u64; 8];
                BytesMut::of(&mut words).slice(start..start + len).copy_from_slice(&source[..len]);
                let mut expected = [0xEE; 64];
                expected[start..start + len].copy_from_slice(&source[..len]);
                assert_eq!(bytes_of(&words), expected, "{len} bytes at {start}");
                BytesMut::of(&mut words).slice(start..start + len).zero();
                expected[start..start + len].fill(0);
                assert_eq!(bytes_of(&words), expected, "{len} zeros at {start}");
            }
        }
    }

    #[test]
    fn long_bytes_of_any_length_go_anywhere_and_touch_nothing_else() {
        let source: Vec<u8> = (0..9000u32).map(|number| (number % 251) as u8).collect();
        for start in [0, 1, 8, 9, 16, 23] {
            for (from, len) in [(0, 8192), (3, 8200), (8, 8255), (1, 8999)] {
                let mut words = [0xEEEE_EEEE_EEEE_EEEE_u64; 1200];
                BytesMut::of(&mut words).slice(start..start + len).copy_from_slice(&source[from..from + len]);
                let mut expected = [0xEE; 9600];
                expected[start..start + len].copy_from_slice(&source[from..from + len]);
                assert_eq!(bytes_of(&words), expected, "{len} bytes at {start} from {from}");
            }
        }
    }

    #[test]
    fn pieces_are_written_one_behind_the_other_and_padded() {
        let mut words = [u64::MAX; 5];
        let mut writer = BytesMut::of(&mut words).words();
        writer.push_u64(0x0807_0605_0403_0201);
        writer.push_short(0x000B_0A09, 3);
        writer.push_u64(0x1312_1110_0F0E_0D0C);
        writer.push(Bytes::from(&[20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]));
        writer.push_short(31, 1);
        writer.pad();
        let mut expected: Vec<u8> = (1..=31).collect();
        expected.extend([0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(bytes_of(&words), expected);
    }

    /// Miri calls anything but words a data race here.
    #[test]
    fn a_reader_of_words_meets_none_that_is_half_written() {
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };
        let words: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: the words outlive the scope, and this thread alone writes them.
                let room = unsafe { BytesMut::new(words.as_ptr().cast_mut().cast(), size_of_val(&words)) };
                for round in 0..ROUNDS {
                    let byte = round as u8;
                    room.slice(0..16).copy_from_slice(&[byte; 16]);
                    room.change_word(16, |_| u64::from_ne_bytes([byte; 8]));
                    let mut writer = room.slice(24..32).whole_words();
                    writer.push(Bytes::from(&[byte; 5]));
                    writer.push(Bytes::from(&[byte; 3]));
                    writer.pad();
                }
            });
            for _ in 0..ROUNDS {
                for word in &words {
                    let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
                    assert!(bytes.iter().all(|&byte| byte == bytes[0]), "{bytes:?}");
                }
            }
        });
    }

    #[test]
    #[should_panic(expected = "inside their room")]
    fn no_byte_is_written_beyond_the_room() {
        let mut words = [0; 2];
        BytesMut::of(&mut words).slice(0..12).words().push(Bytes::from(&[1; 13]));
    }
}
