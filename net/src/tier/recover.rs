//! A shard learns what its keys have on the medium.

use crate::slots::SlotMap;
use std::collections::HashSet;
use std::time::Instant;
use torc_engine::Shard;
use torc_engine::command::Millis;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::media::MediaError;
use torc_pmem::recover::{Event, StreamEnd};
use torc_pmem::tier::Tier;
use torc_proto::slot::{SLOTS, slot_of};

/// Keys of a stream that are gone are remembered in this share of a shard's memory, with so many bytes each while the set grows.
const GONE_SHARE: u64 = 4;
const GONE_BYTES: u64 = 32;

/// What a shard has found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// Where streams end: those of which this shard has the first slot.
    pub(crate) ends: Vec<StreamEnd>,
    pub(crate) items: u64,
    /// Items that there was no room for.
    pub(crate) lost: u64,
    pub(crate) damaged: u64,
    /// How long that took, milliseconds.
    pub(crate) took_ms: u64,
}

/// Tells a shard what its keys have on the medium: tables are read, not items. `now`: what is over by then is not told. From
/// then on the shard remembers its changes.
///
/// # Errors
/// The medium's.
pub(crate) fn recover(
    tier: &Tier,
    slots: &SlotMap,
    number: u16,
    shard: &mut Shard,
    now: Millis,
) -> Result<Recovered, MediaError> {
    let mut recovered = Recovered::default();
    let began = Instant::now();
    // First, as it also remembers whether there was room for all.
    shard.remember_changes(slot_of);
    // The store has no items yet, so this memory is free.
    let gone_max = (shard.memory_bytes() / GONE_SHARE / GONE_BYTES) as usize;
    let streams = SlotMap::even(tier.config().streams);
    for (range, stream) in streams.ranges() {
        if !range.clone().any(|slot| slots.owner(slot) == number) {
            continue;
        }
        let (seen, flushes) = (HashSet::new(), Vec::new());
        let mut keys =
            Keys { slots, number, now, shard, seen, gone_max, is_cut: false, flushes, items: 0, lost: 0 };
        let (end, counts) = tier.recover(stream, &mut |event| keys.take(&event))?;
        (recovered.items, recovered.lost) = (recovered.items + keys.items, recovered.lost + keys.lost);
        if slots.owner(*range.start()) == number {
            recovered.damaged += counts.damaged;
            recovered.ends.push(end);
        }
    }
    shard.start_above(tier.ceiling());
    recovered.took_ms = began.elapsed().as_millis() as u64;
    Ok(recovered)
}

/// The keys of a shard in one stream, which is told newest first.
struct Keys<'s> {
    slots: &'s SlotMap,
    number: u16,
    now: Millis,
    shard: &'s mut Shard,
    /// Keys without an item, or without room for it, of which older ones may come; and how many are remembered.
    seen: HashSet<u64>,
    gone_max: usize,
    /// There are more: nobody knows which older items are good.
    is_cut: bool,
    flushes: Vec<Record>,
    items: u64,
    lost: u64,
}

impl Keys<'_> {
    fn take(&mut self, event: &Event) {
        // What may have been lost does not make anything of other streams void: a slot has one.
        let Event::Record { record, place } = event else { return };
        match record.kind {
            Kind::Flush | Kind::FlushAll => self.flushes.push(*record),
            Kind::Chunk => self.take_chunk(record, place.as_ref().map(|place| place.to_bits())),
            Kind::Item | Kind::ChainHead | Kind::Tombstone => {
                if record.slot >= SLOTS || self.slots.owner(record.slot) != self.number {
                    return;
                }
                // What is older is flushed, too, and need not be remembered.
                if self.is_flushed(record) {
                    return;
                }
                let is_over = record.ends_at().is_some_and(|end| end <= self.now);
                match place.filter(|_| !is_over) {
                    Some(_) if self.is_cut => self.lost += 1,
                    Some(place) if !self.seen.contains(&record.hash) => {
                        match self.shard.recovered(record.hash, place.to_bits()) {
                            Ok(is_new) => self.items += u64::from(is_new),
                            Err(_) => {
                                self.lost += 1;
                                self.gone(record.hash);
                            }
                        }
                    }
                    Some(_) => {}
                    None => self.gone(record.hash),
                }
            }
        }
    }

    /// A chunk of a key that has an item, which is newer and has been told. Any other is nobody's.
    fn take_chunk(&mut self, record: &Record, place: Option<u64>) {
        let is_owned = record.slot < SLOTS && self.slots.owner(record.slot) == self.number;
        if !is_owned || self.is_flushed(record) {
            return;
        }
        if let Some(place) = place {
            // What there is no room for makes its chain miss.
            let _ = self.shard.recovered_chunk(record.hash, record.expiry, place);
        }
    }

    /// The key has no item, whatever older ones come.
    fn gone(&mut self, hash: u64) {
        if self.is_cut {
            return;
        }
        self.seen.insert(hash);
        if self.seen.len() > self.gone_max {
            self.is_cut = true;
            self.seen = HashSet::new();
            self.shard.leave_untold();
        }
    }

    fn is_flushed(&self, record: &Record) -> bool {
        self.flushes.iter().any(|flush| {
            let same_space = flush.kind == Kind::FlushAll || flush.space == record.space;
            same_space && record.version <= flush.version && flush.slots().contains(&record.slot)
        })
    }
}
