//! Answers that shards give together: counts are added up, lists put one behind the other.

use crate::worker::owned::OwnedAnswer;
use std::collections::VecDeque;

/// A connection's parts that several shards answer so.
#[derive(Debug, Default)]
pub(crate) struct Shares(VecDeque<Share>);

#[derive(Debug)]
struct Share {
    /// Of the part, in the queue of the connection.
    sequence: u32,
    /// Shards that have not answered.
    left: u16,
    count: u64,
    words: Vec<u8>,
}

/// Room that is kept while nothing waits.
const SHARES_KEPT: usize = 16;

impl Shares {
    /// The part with this number begins, with what this shard has to say, and waits for so many others.
    pub(super) fn begin(&mut self, sequence: u32, left: u16, count: u64, words: Vec<u8>) {
        self.0.push_back(Share { sequence, left, count, words });
    }

    /// Another shard's answer. With the last one come all together.
    pub(crate) fn add(
        &mut self,
        sequence: u32,
        answer: &OwnedAnswer,
        words: &[u8],
    ) -> Option<(OwnedAnswer, Vec<u8>)> {
        let place = self.0.iter().position(|share| share.sequence == sequence)?;
        let share = &mut self.0[place];
        share.left -= 1;
        if let OwnedAnswer::Published(count) = answer {
            share.count += count;
        }
        share.words.extend_from_slice(words);
        if share.left > 0 {
            return None;
        }
        let share = self.0.remove(place)?;
        if self.0.is_empty() && self.0.capacity() > SHARES_KEPT {
            self.0 = VecDeque::new();
        }
        let whole = match answer {
            OwnedAnswer::Published(_) => OwnedAnswer::Published(share.count),
            _ => OwnedAnswer::Inspected,
        };
        Some((whole, share.words))
    }

    #[inline]
    pub(crate) fn has_memory(&self) -> bool {
        self.0.capacity() > 0
    }

    /// Memory that they hold.
    pub(crate) fn bytes_held(&self) -> usize {
        let words: usize = self.0.iter().map(|share| share.words.capacity()).sum();
        self.0.capacity() * size_of::<Share>() + words
    }
}
