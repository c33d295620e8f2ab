//! The head of a shard's file, as a reader elsewhere has it.
//!
//! A READ may read its words in any order, so one of the whole head says nothing of which words belong together. It is read thrice: the
//! words of the second READ are those of a sequence that the first and the third have found the same, and even. From then on
//! a single word tells whether they still hold: the sequence, read again.

use crate::index::Geometry;
use crate::reader::{Doubt, Flushes};
use crate::shared::Published;
use crate::shared::layout::{HEAD, HEAD_WORDS};
use crate::spaces::SpaceWords;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

type Words = [AtomicU64; HEAD_WORDS];

/// Where the sequences are.
const GEOMETRY: usize = HEAD.geometry.start;
const FLUSHES: usize = HEAD.flushes.end - 1;
const SPACES: usize = HEAD.spaces.start;

/// Words that belong together, and were so at some moment.
#[derive(Debug)]
pub(super) struct Head {
    words: Arc<Words>,
    is_known: bool,
    pub(super) geometry: Geometry,
    pub(super) flushes: Flushes,
    pub(super) spaces: SpaceWords,
}

impl Head {
    pub(super) fn unknown() -> Head {
        let words: Arc<Words> = Arc::new([const { AtomicU64::new(0) }; HEAD_WORDS]);
        let geometry = Published::of(&words, |words| words[HEAD.geometry].try_into().ok());
        let flushes = Published::of(&words, |words| words[HEAD.flushes].try_into().ok());
        let spaces = Published::of(&words, |words| words[HEAD.spaces].try_into().ok());
        let (Some(geometry), Some(flushes), Some(spaces)) = (geometry, flushes, spaces) else {
            unreachable!("the head has all of them")
        };
        Head {
            words,
            is_known: false,
            geometry: Geometry::new(geometry),
            flushes: Flushes::published(flushes),
            spaces: SpaceWords::published(spaces),
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// When the clock began, as it was.
    #[cfg(test)]
    pub(super) fn began(&self) -> u64 {
        self.words[HEAD.clock].load(Ordering::Relaxed)
    }

    /// Something of it has changed: it is read before the next look.
    pub(super) fn forget(&mut self) {
        self.is_known = false;
    }

    /// Takes the words of three READs, one behind the other.
    ///
    /// # Errors
    /// Something was changing meanwhile.
    pub(super) fn take(&mut self, [first, second, third]: [&Words; 3]) -> Result<(), Doubt> {
        let of = |words: &Words, number: usize| words[number].load(Ordering::Relaxed);
        let sequences = [(GEOMETRY, Doubt::Index), (FLUSHES, Doubt::Flush), (SPACES, Doubt::Flush)];
        for (number, doubt) in sequences {
            let sequence = of(second, number);
            let stays = of(first, number) == sequence && of(third, number) == sequence;
            #[cfg(test)]
            let stays = stays || crate::steps::has(crate::steps::Fault::FarHeads);
            if !stays || !sequence.is_multiple_of(2) {
                return Err(doubt);
            }
        }
        for (word, landed) in self.words.iter().zip(second) {
            word.store(landed.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.is_known = true;
        Ok(())
    }
}

/// Words of a head that was read last. Each stands for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) epoch: u64,
    /// When the server's clock began, nanoseconds since the Unix epoch.
    pub(super) began: u64,
    /// Sequences.
    pub(super) geometry: u64,
    pub(super) flushes: u64,
    pub(super) spaces: u64,
}

impl Closing {
    pub(super) fn of(words: &Words) -> Closing {
        let of = |number: usize| words[number].load(Ordering::Relaxed);
        Closing {
            epoch: of(HEAD.epoch),
            began: of(HEAD.clock),
            geometry: of(GEOMETRY),
            flushes: of(FLUSHES),
            spaces: of(SPACES),
        }
    }
}
