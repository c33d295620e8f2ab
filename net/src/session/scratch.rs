//! Bytes that parsing has to make: what a request says in another form than the engine wants it, such as a
//! key in base64. They live as long as the parts of the turn; almost no request needs any.

use super::calls::{Calls, Fate, NO_COMMAND};
use bumpalo::Bump;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Append-only memory of one turn of the loop. Reset at its end; the memory is kept and used again.
#[derive(Debug, Default)]
pub struct Scratch {
    bump: Bump,
    /// Somebody is to be shown what is parsed.
    is_noting: Cell<bool>,
    /// What was parsed: for each request its database, the length of its words (16 and 32 bits), and these as they are shown.
    notes: RefCell<Vec<u8>>,
    /// Where requests are counted, if they are.
    calls: Option<Arc<Calls>>,
}

impl Scratch {
    /// Copies `bytes`; the copy lives until [`Scratch::reset`].
    pub fn keep(&self, bytes: &[u8]) -> &[u8] {
        self.bump.alloc_slice_copy(bytes)
    }

    /// Requests whose parts it keeps are counted there.
    pub(crate) fn counting(calls: Arc<Calls>) -> Scratch {
        Scratch { calls: Some(calls), ..Scratch::default() }
    }

    /// Counts a request for the command of this number.
    pub(crate) fn count(&self, command: u8, fate: Fate) {
        self.count_many(command, fate, 1);
    }

    /// As [`Scratch::count`], of several or none.
    pub(crate) fn count_many(&self, command: u8, fate: Fate, requests: u64) {
        if let Some(calls) = self.calls.as_ref().filter(|_| requests > 0 && command != NO_COMMAND) {
            calls.add(usize::from(command), fate, requests);
        }
    }

    /// Whether requests are to be [noted](Scratch::note).
    #[inline]
    pub fn is_noting(&self) -> bool {
        self.is_noting.get()
    }

    pub fn set_noting(&self, is_noting: bool) {
        self.is_noting.set(is_noting);
    }

    /// Notes a request, whose words `show` writes.
    pub(crate) fn note(&self, database: u16, show: impl FnOnce(&mut Vec<u8>)) {
        let mut notes = self.notes.borrow_mut();
        notes.extend_from_slice(&database.to_le_bytes());
        let at = notes.len();
        notes.extend_from_slice(&[0; 4]);
        show(&mut notes);
        let len = (notes.len() - at - 4) as u32;
        notes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// What was noted, with the databases; it is forgotten.
    pub(crate) fn notes(&self) -> Vec<(u16, Vec<u8>)> {
        let mut notes = Vec::new();
        self.take_notes(|database, words| notes.push((database, words.to_vec())));
        notes
    }

    /// Hands out what was noted, and forgets it.
    pub(crate) fn take_notes(&self, mut take: impl FnMut(u16, &[u8])) {
        let mut notes = self.notes.take();
        let mut rest = &notes[..];
        while let Some((&[d0, d1, l0, l1, l2, l3], behind)) = rest.split_first_chunk::<6>() {
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (words, behind) = behind.split_at(len.min(behind.len()));
            take(u16::from_le_bytes([d0, d1]), words);
            rest = behind;
        }
        notes.clear();
        *self.notes.borrow_mut() = notes;
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
