//! The answers that a connection waits for, in their order.
//!
//! ```text
//!   first                                                       end
//!   [ Asked | Composed | Asked | Composed ... | Asked | Kept ]
//!              |                   |
//!              v                   v
//!            [ bytes in the protocol's words, one behind the other ]
//! ```
//!
//! An answer may have to wait behind a question to another shard. If its words depend on no other answer, it is composed at
//! once, and only copied when its turn comes. Else it is kept as it is ([`Kept`]). Behind a kept answer, and behind a question
//! whose answer may change the words of the next, every answer is kept.

use super::owned::Kept;
use crate::session::ReplyKind;
use std::collections::VecDeque;

/// One place of the queue. A part that another shard answers has a place of its own; composed neighbours share one.
#[derive(Debug)]
pub(crate) enum Waiting {
    Asked(Asked),
    Composed(Composed),
    Kept(Box<Kept>),
}

/// A part that other shards have been asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) reply: ReplyKind,
    /// The words of no other answer depend on this one's.
    pub(crate) free: bool,
    /// Shards that have not answered yet.
    pub(crate) shards: u16,
    /// Bytes set aside for the answer.
    pub(crate) room: u32,
    /// The turns that read the part, and that asked; nanoseconds.
    pub(crate) read_ns: u64,
    pub(crate) asked_ns: u64,
}

/// Answers in the protocol's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Composed {
    start: u32,
    len: u32,
    pub(crate) parts: u32,
    /// The turn that read them, nanoseconds.
    pub(crate) read_ns: u64,
}

/// Where another shard's answer stands in the queue of its connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// Nothing is before it: it can be composed.
    First(Asked),
    Behind(Asked),
    /// More shards are to answer, or nobody waits for it.
    None,
}

/// Memory of a place, bytes.
pub(super) const PLACE_BYTES: usize = size_of::<Waiting>();

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Sequence number of the front; they wrap around.
    first: u32,
    /// The composed answers, and how many of these bytes are still needed.
    words: Vec<u8>,
    words_needed: usize,
    /// Places behind which nothing is composed: kept answers, and questions whose answers are not free.
    bound: usize,
    /// Bytes set aside for other shards' answers.
    room: usize,
    /// What the kept answers cost.
    kept_bytes: usize,
    /// A set of bits, by the hashes of all keys that other shards were asked about since the queue was empty.
    asked_keys: u64,
    /// The longest value in another shard's recent answers, bytes.
    value_bytes_high: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Places.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Sequence number of the front.
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    /// Sequence number of the next place.
    pub(crate) fn end(&self) -> u32 {
        self.first.wrapping_add(self.waiting.len() as u32)
    }

    /// Where the answer to what is done now waits; `None`: nothing is before it.
    pub(crate) fn next_place(&self) -> Option<u32> {
        (!self.is_empty()).then(|| self.end())
    }

    /// Bytes of the answers that wait, and of those that may come.
    pub(crate) fn content_bytes(&self) -> usize {
        self.kept_bytes + self.words_needed + self.room
    }

    /// Memory that it holds.
    #[inline]
    pub(crate) fn bytes_held(&self) -> usize {
        let places = self.waiting.capacity() * PLACE_BYTES;
        places + self.kept_bytes + self.words.capacity() + self.room
    }

    /// Bytes to set aside for the value of another shard's answer.
    pub(crate) fn answer_room(&self) -> u32 {
        self.value_bytes_high.clamp(ROOM_MIN, ROOM_MAX) as u32
    }

    /// Whether another shard may have been asked about a key with this hash, and not have answered.
    #[inline]
    pub(crate) fn may_have_asked(&self, hash: u64) -> bool {
        !self.waiting.is_empty() && self.asked_keys & bit_of(hash) != 0
    }

    /// A part is begun at other shards, about the key of `hash` or about any.
    // Inlined: else the processor reads in wide pieces what it has just written in narrow ones, which is slow.
    #[inline(always)]
    pub(crate) fn ask(&mut self, asked: Asked, hash: Option<u64>) {
        let before = if self.waiting.is_empty() { 0 } else { self.asked_keys };
        self.asked_keys = before | hash.map_or(u64::MAX, bit_of);
        self.room += asked.room as usize;
        self.bound += usize::from(!asked.free);
        self.waiting.push_back(Waiting::Asked(asked));
    }

    /// Whether free answers may be composed before their turn.
    pub(crate) fn composes(&self) -> bool {
        self.bound == 0
    }

    /// Where answers are composed before their turn, with room from `spare` if there is none yet. [`Queue::composed`] or
    /// [`Queue::fill_composed`] takes what was appended.
    #[inline]
    pub(crate) fn words(&mut self, spare: impl FnOnce() -> Vec<u8>) -> &mut Vec<u8> {
        if self.words.capacity() == 0 {
            self.words = spare();
        }
        &mut self.words
    }

    /// The words from `before` on are the answer to a part that is behind all others; `alone`: it has a place of its own.
    #[inline]
    pub(crate) fn composed(&mut self, before: usize, read_ns: u64, alone: bool) {
        let end = self.words.len();
        self.words_needed += end - before;
        if let Some(Waiting::Composed(last)) = self.waiting.back_mut()
            && !alone
            && last.start as usize + last.len as usize == before
            && last.read_ns == read_ns
        {
            last.len += (end - before) as u32;
            last.parts += 1;
            return;
        }
        let (start, len) = (before as u32, (end - before) as u32);
        self.waiting.push_back(Waiting::Composed(Composed { start, len, parts: 1, read_ns }));
    }

    /// The words from `before` on are another shard's answer.
    pub(crate) fn fill_composed(&mut self, sequence: u32, before: usize, read_ns: u64) {
        let len = self.words.len() - before;
        self.words_needed += len;
        let composed = Composed { start: before as u32, len: len as u32, parts: 1, read_ns };
        if let Some(waiting) = self.at(sequence) {
            *waiting = Waiting::Composed(composed);
        }
    }

    /// Keeps an answer behind all others.
    pub(crate) fn keep(&mut self, kept: Box<Kept>) {
        self.bound += 1;
        self.kept_bytes += kept.cost();
        self.waiting.push_back(Waiting::Kept(kept));
    }

    /// Keeps another shard's answer.
    pub(crate) fn fill_kept(&mut self, sequence: u32, kept: Box<Kept>) {
        let cost = kept.cost();
        if let Some(waiting) = self.at(sequence) {
            *waiting = Waiting::Kept(kept);
            self.bound += 1;
            self.kept_bytes += cost;
        }
    }

    /// Another shard has answered a part, with a value of `bytes` bytes. A first part leaves the queue; a part behind
    /// others stays, and its place must be filled.
    #[inline]
    pub(crate) fn answered(&mut self, sequence: u32, bytes: usize) -> Place {
        let Some(Waiting::Asked(asked)) = self.at(sequence) else { return Place::None };
        asked.shards -= 1;
        if asked.shards > 0 {
            return Place::None;
        }
        let asked = *asked;
        self.room -= asked.room as usize;
        self.bound -= usize::from(!asked.free);
        let fading = self.value_bytes_high - self.value_bytes_high / 8;
        self.value_bytes_high = bytes.max(fading);
        if sequence != self.first {
            return Place::Behind(asked);
        }
        self.pass();
        Place::First(asked)
    }

    /// Whether a part that another shard was asked for is all that waits, but for pushes behind it.
    pub(crate) fn is_alone(&self, sequence: u32) -> bool {
        let is_push = |waiting: &Waiting| matches!(waiting, Waiting::Kept(kept) if kept.is_push());
        sequence == self.first && self.waiting.iter().skip(1).all(is_push)
    }

    /// Takes the part back that is [alone](Queue::is_alone), as if no shard had been asked for it.
    pub(crate) fn take_back(&mut self) -> Option<Asked> {
        let &Waiting::Asked(asked) = self.waiting.front()? else { return None };
        if !self.is_alone(self.first) {
            return None;
        }
        self.pass();
        self.room -= asked.room as usize;
        self.bound -= usize::from(!asked.free);
        Some(asked)
    }

    /// Takes the front if it is answered.
    #[inline]
    pub(crate) fn pop_ready(&mut self) -> Option<Waiting> {
        match self.waiting.front()? {
            Waiting::Asked(_) => None,
            _ => self.pop(),
        }
    }

    /// Takes the front, whatever it is.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.pass()?;
        match &waiting {
            Waiting::Asked(asked) => {
                self.room -= asked.room as usize;
                self.bound -= usize::from(!asked.free);
            }
            Waiting::Composed(composed) => self.words_needed -= composed.len as usize,
            Waiting::Kept(kept) => {
                self.bound -= 1;
                self.kept_bytes -= kept.cost();
            }
        }
        Some(waiting)
    }

    fn pass(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.first = self.first.wrapping_add(1);
        Some(waiting)
    }

    /// The words of an answer that was taken.
    pub(crate) fn words_of(&self, composed: &Composed) -> &[u8] {
        // The buffer may be gone that an answer without words had its place in.
        if composed.len == 0 {
            return &[];
        }
        &self.words[composed.start as usize..][..composed.len as usize]
    }

    /// The buffer of the words, if nothing in it is needed any more; moves the words together if few of them are.
    pub(crate) fn unused_words(&mut self) -> Option<Vec<u8>> {
        if self.words_needed == 0 && self.words.capacity() > 0 {
            return Some(std::mem::take(&mut self.words));
        }
        if self.words.len() > WORDS_UNUSED_MAX + 2 * self.words_needed {
            self.move_together();
        }
        None
    }

    fn move_together(&mut self) {
        let mut words = Vec::with_capacity(self.words_needed);
        for waiting in &mut self.waiting {
            if let Waiting::Composed(composed) = waiting {
                let start = words.len() as u32;
                if composed.len > 0 {
                    words.extend_from_slice(&self.words[composed.start as usize..][..composed.len as usize]);
                }
                composed.start = start;
            }
        }
        self.words = words;
    }

    fn at(&mut self, sequence: u32) -> Option<&mut Waiting> {
        self.waiting.get_mut(sequence.wrapping_sub(self.first) as usize)
    }

    /// Sequence numbers of what other shards are to answer.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> Vec<u32> {
        let places = self.waiting.iter().zip(0u32..);
        let asked = places.filter(|(waiting, _)| matches!(waiting, Waiting::Asked(_)));
        asked.map(|(_, place)| self.first.wrapping_add(place)).collect()
    }

    /// What [`super::bug::Bug::SwappedAnswers`] does.
    #[cfg(test)]
    pub(crate) fn swap_two_answers(&mut self) {
        let answered = |place: &usize| !matches!(self.waiting[*place], Waiting::Asked(_));
        let places: Vec<usize> = (0..self.waiting.len()).filter(answered).take(2).collect();
        if let [first, second] = places[..] {
            self.waiting.swap(first, second);
        }
    }
}

/// One of 64 bits, by bits of a hash that neither homes nor tags are made of.
#[inline]
fn bit_of(hash: u64) -> u64 {
    1 << (hash >> 20 & 63)
}

/// Bytes that are set aside at least, and at most, for the value of an answer.
const ROOM_MIN: usize = 512;
const ROOM_MAX: usize = 256 << 10;
/// Words that are not needed any more are kept up to this, bytes.
const WORDS_UNUSED_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests;
