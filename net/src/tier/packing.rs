//! A stream's journal, and what lies in it until the stream has packed it.
//!
//! ```text
//!   committed: Saved, places in the journal --> stream written, drained: Packed --> shards --> Moved --> freed
//! ```
//!
//! Shards name places in the journal until they have heard of those in the stream, so it is not freed before.

use super::mailbox::Shards;
use super::messages::{Moved, Reply};
use super::save::{Entry, InJournal};
use std::collections::VecDeque;
use torc_pmem::format::record::Record;
use torc_pmem::stream::{Figures, Journal, WriteError};

/// A journal that is written.
#[derive(Debug)]
pub(super) struct Packing {
    journal: Journal,
    /// Its number among the rings.
    number: u16,
    /// By shard: what it reads in the journal, and where the stream will have it.
    moves: Vec<Vec<Moved>>,
    /// Positions up to which the stream has what the journal has, each with the shards that have not heard where that lies.
    packed: VecDeque<(u64, Vec<u16>)>,
}

impl Packing {
    pub(super) fn new(journal: Journal, number: u16) -> Packing {
        Packing { journal, number, moves: Vec::new(), packed: VecDeque::new() }
    }

    /// Adds what was added to the batch of the stream that begins at a position.
    pub(super) fn add(&mut self, batch: u64, record: &Record, item: &[u8]) -> Option<InJournal> {
        let place = self.journal.add(batch, record, item)?;
        Some(InJournal { batch, place: place.to_bits() })
    }

    /// Whether it can make safe what was added since it did so last.
    pub(super) fn has_room(&self) -> bool {
        self.journal.has_room()
    }

    /// Makes safe what was added since.
    pub(super) fn commit(&mut self) -> Result<(), WriteError> {
        if self.journal.waits() { self.journal.commit() } else { Ok(()) }
    }

    /// The stream has written what was added.
    pub(super) fn skip(&mut self) {
        self.journal.skip();
    }

    /// An item of a shard is safe, and its shard is told where it lies: in the journal, unless its stream is drained behind it.
    pub(super) fn tell(&mut self, shard: u16, entry: &mut Entry, drained: u64) {
        let Some(InJournal { batch, place }) = entry.in_journal.take() else { return };
        if batch < drained {
            return;
        }
        let shard = usize::from(shard);
        self.moves.resize_with(self.moves.len().max(shard + 1), Vec::new);
        self.moves[shard].push(Moved { hash: entry.record.hash, from: place, to: entry.place });
        entry.place = Some(place);
    }

    /// The stream has drained all that was added: shards are told where that lies now.
    pub(super) fn packed(&mut self, shards: &Shards) {
        let mut waits_for = Vec::new();
        for (shard, moves) in (0..).zip(&mut self.moves) {
            if moves.is_empty() {
                continue;
            }
            let moves = std::mem::take(moves);
            if shards.send(shard, Reply::Packed { stream: self.number, moves }) {
                waits_for.push(shard);
            }
        }
        self.packed.push_back((self.journal.written_up_to(), waits_for));
        self.free();
    }

    /// A shard has heard where its items lie, as it was told first.
    pub(super) fn heard(&mut self, shard: u16) {
        let waited = self.packed.iter_mut().find_map(|(_, waits_for)| {
            let at = waits_for.iter().position(|waited| *waited == shard)?;
            Some(waits_for.swap_remove(at))
        });
        debug_assert!(waited.is_some(), "it was told something");
        self.free();
    }

    /// Parts of the journal that shards have not let go of.
    #[cfg(test)]
    pub(super) fn holds(&self) -> usize {
        self.packed.len()
    }

    /// A shard hears nothing more.
    pub(super) fn ended(&mut self, shard: u16) {
        self.packed.iter_mut().for_each(|(_, waits_for)| waits_for.retain(|waited| *waited != shard));
        self.free();
    }

    fn free(&mut self) {
        while let Some((position, waits_for)) = self.packed.front()
            && waits_for.is_empty()
        {
            self.journal.free_below(*position);
            self.packed.pop_front();
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.journal.figures()
    }

    /// # Errors
    /// The medium's.
    pub(super) fn close(self) -> Result<(), WriteError> {
        self.journal.close()
    }
}
