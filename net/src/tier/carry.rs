//! A second chance: what of a stream's oldest batch lies on the medium alone and was read lately is read there and added again.
//!
//! ```text
//!   Leave --> shards: what stays? --> Left --> read, free --> waiting --> in a batch --> written: Moved --> shards --> Moved
//! ```
//!
//! Until its shard has heard of the new place it reads the old one, so nothing more is freed meanwhile. A later change of the
//! same key is handed over later, and added later: that is why what is carried is added before everything else.

use super::TierFigures;
use super::mailbox::Shards;
use super::messages::{Leaving, Moved, Reply};
use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{RECORD_BYTES, Record};
use torc_pmem::stream::{Miss, Reader};

/// What is carried takes this share of the largest batch at most, whatever else stays.
const CARRY_SHARE: usize = 2;
/// What an item takes beside its own bytes, at most: its record, its length, zeros behind it.
const BESIDE_BYTES: usize = RECORD_BYTES + 4 + 7;

/// What a stream carries on.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// Read, and not added.
    waiting: VecDeque<(u16, Leaving, Vec<u8>)>,
    waiting_bytes: usize,
    /// Added and not written, or not to be had; by shard.
    added: Vec<(u16, Moved)>,
    /// Shards that have not heard where their items lie.
    moving: Vec<u16>,
}

impl Carrying {
    /// Reads what shards want to stay, of a stream with so long batches. Returns whether there is something to add.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        mut wanted: Vec<(u16, Leaving)>,
        batch_bytes: usize,
        figures: &TierFigures,
    ) -> bool {
        wanted.sort_unstable_by_key(|(_, leaving)| leaving.place);
        for of_page in wanted.chunk_by(|one, other| unit(one) == unit(other)) {
            let page = reader.page(Place::from_bits(of_page[0].1.place));
            figures.reads.fetch_add(of_page.len() as u64, Relaxed);
            for &(shard, leaving) in of_page {
                let item = page
                    .as_ref()
                    .ok()
                    .and_then(|page| page.item(Place::from_bits(leaving.place).ordinal()).ok());
                let bytes = item.map_or(0, <[u8]>::len) + BESIDE_BYTES;
                let has_room = (self.waiting_bytes + bytes) * CARRY_SHARE <= batch_bytes;
                match item.filter(|_| has_room) {
                    Some(item) => {
                        self.waiting_bytes += bytes;
                        self.waiting.push_back((shard, leaving, item.to_vec()));
                    }
                    None => self.put(shard, &leaving, None),
                }
            }
            match page {
                Ok(_) => {}
                Err(Miss::Corrupt(_)) => _ = figures.corrupt.fetch_add(of_page.len() as u64, Relaxed),
                Err(Miss::Media(error)) => {
                    figures.read_errors.fetch_add(of_page.len() as u64, Relaxed);
                    tracing::warn!("--tier: {error}");
                }
            }
        }
        !self.waiting.is_empty()
    }

    /// What is to be added next.
    pub(super) fn next(&self) -> Option<(&Record, &[u8])> {
        self.waiting.front().map(|(_, leaving, item)| (&leaving.record, &item[..]))
    }

    /// That was added, and lies here when the batch is written.
    pub(super) fn added(&mut self, place: Option<u64>, figures: &TierFigures) {
        let Some((shard, leaving, item)) = self.waiting.pop_front() else { return };
        self.waiting_bytes -= item.len() + BESIDE_BYTES;
        self.put(shard, &leaving, place);
        figures.carried.fetch_add(1, Relaxed);
    }

    fn put(&mut self, shard: u16, leaving: &Leaving, to: Option<u64>) {
        self.added.push((shard, Moved { hash: leaving.record.hash, from: leaving.place, to }));
    }

    /// The batch is written: shards are told.
    pub(super) fn tell(&mut self, stream: u16, shards: &Shards) {
        for shard in 0..shards.count() {
            let own = self.added.iter().filter(|(of, _)| *of == shard);
            let moves: Vec<Moved> = own.map(|(_, moved)| *moved).collect();
            if !moves.is_empty() && shards.send(shard, Reply::Moved { stream, moves }) {
                self.moving.push(shard);
            }
        }
        self.added.clear();
    }

    /// A shard has heard where its items lie.
    pub(super) fn heard(&mut self, shard: u16) {
        if let Some(at) = self.moving.iter().position(|moving| *moving == shard) {
            self.moving.swap_remove(at);
        }
    }

    /// A shard hears nothing more.
    pub(super) fn ended(&mut self, shard: u16) {
        self.moving.retain(|moving| *moving != shard);
    }

    /// Whether shards read items where they have lain before.
    pub(super) fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// Whether all was added, and some of it is not written.
    pub(super) fn is_added(&self) -> bool {
        self.waiting.is_empty() && !self.added.is_empty()
    }

    /// Whether something is to be added or to be told.
    pub(super) fn is_under_way(&self) -> bool {
        !self.waiting.is_empty() || !self.added.is_empty()
    }
}

fn unit((_, leaving): &(u16, Leaving)) -> u64 {
    Place::from_bits(leaving.place).unit()
}
