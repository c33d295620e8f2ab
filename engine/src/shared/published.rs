//! Words that one thread writes and others read.

use crossbeam_utils::CachePadded;
use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words in memory that somebody keeps: the heap, or a file that is mapped. A clone shows the same words.
pub(crate) struct Published<T: ?Sized> {
    words: NonNull<T>,
    keep: Arc<dyn Any + Send + Sync>,
}

// SAFETY: it gives shared references to words that any thread may use, and keeps them as an `Arc` does.
unsafe impl<T: ?Sized + Sync> Send for Published<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for Published<T> {}

impl<T: ?Sized + 'static> Published<T> {
    /// What `find` finds in what is kept.
    pub(crate) fn of<K: Send + Sync + 'static>(
        keep: &Arc<K>,
        find: impl FnOnce(&K) -> Option<&T>,
    ) -> Option<Published<T>> {
        let words = NonNull::from(find(keep)?);
        Some(Published { words, keep: keep.clone() })
    }
}

impl<const N: usize> Published<[AtomicU64; N]> {
    /// Zeros on the heap, with nothing else in their cache lines.
    pub(crate) fn zeros() -> Self {
        let padded: CachePadded<[AtomicU64; N]> = CachePadded::new([const { AtomicU64::new(0) }; N]);
        let Some(words) = Published::of(&Arc::new(padded), |padded| Some(&**padded)) else {
            unreachable!("they are all of it")
        };
        words
    }
}

impl Published<[AtomicU64]> {
    /// So many zeros on the heap.
    pub(crate) fn zeros_of(count: usize) -> Self {
        let all: Box<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let Some(words) = Published::of(&Arc::new(all), |all| Some(&**all)) else {
            unreachable!("they are all of it")
        };
        words
    }
}

impl<T: ?Sized> Deref for Published<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: made from a reference into what `keep` keeps (`of`): while there is this `Arc`, nobody can move it, drop it, or
        // have it for himself.
        unsafe { self.words.as_ref() }
    }
}

impl<T: ?Sized> Clone for Published<T> {
    fn clone(&self) -> Self {
        Published { words: self.words, keep: self.keep.clone() }
    }
}

impl<T: ?Sized> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("words", &self.words.as_ptr().cast::<()>()).finish_non_exhaustive()
    }
}

/// Loads a word with acquire order, also where it is mapped read-only: there only a relaxed load is sure not to write.
#[inline]
pub(crate) fn acquire(word: &AtomicU64) -> u64 {
    let loaded = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_same_words_and_keep_them() {
        let words = Published::<[AtomicU64; 4]>::zeros();
        let other = words.clone();
        words[3].store(7, Ordering::Release);
        drop(words);
        assert_eq!(acquire(&other[3]), 7);
        assert_eq!(Published::zeros_of(3).len(), 3);
        assert!(Published::of(&Arc::new(0u8), |_| None::<&[AtomicU64]>).is_none());
    }
}
