//! What shards and the tier's threads say to each other.

use super::save::SaveBatch;
use std::ops::RangeInclusive;
use std::sync::Arc;
use torc_engine::shard::Known;
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::Record;
use torc_pmem::recover::Positions;
use torc_pmem::stream::{KeptPage, Miss};

/// What the tier's threads say to a shard.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The batch is on the medium, with the places of its items; or the tier is latched, and it is not.
    Saved(Box<SaveBatch>),
    /// These places will hold something else, as will all of the stream below a position. To be answered with
    /// [`left`](super::port::Port::left).
    Leave { stream: u16, below: u64, places: Vec<Leaving> },
    /// What was to stay lies elsewhere. To be answered with [`moved`](super::port::Port::moved).
    Moved { stream: u16, moves: Vec<Moved> },
    /// What lay in a journal lies in its stream now. To be answered with [`moved`](super::port::Port::moved).
    Packed { stream: u16, moves: Vec<Moved> },
    /// Of these slots the tier takes no more items, as they would be written over those that were offered before in this stop.
    Full(RangeInclusive<u16>),
    /// A page that somebody waits for.
    Fetched(Arrived),
}

/// What shards say to the storage thread.
#[derive(Debug)]
pub(super) enum Job {
    Save(Box<SaveBatch>),
    /// The shard has forgotten the places of the stream's oldest batch, but for those of what is to stay.
    Left {
        shard: u16,
        stream: u16,
        stay: Vec<Leaving>,
    },
    /// The shard knows where that lies now.
    Moved {
        shard: u16,
        stream: u16,
    },
    /// What the shard hands over from now on comes in the order of its worth: what is first is not to be written over.
    Rest,
    Ended {
        shard: u16,
        is_saved: bool,
    },
}

/// An item of a batch that is written over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leaving {
    pub(crate) record: Record,
    pub(crate) place: u64,
}

/// Where an item of a shard lies now; `None`: nowhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) hash: u64,
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

/// What a stream says of keys of one shard, newest first.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) stream: u16,
    pub(crate) known: Vec<Known>,
    /// Slots of which nothing more comes.
    pub(crate) ended: Option<RangeInclusive<u16>>,
    /// Part of the stream could not be read.
    pub(crate) is_damaged: bool,
    pub(super) positions: Positions,
}

impl Told {
    /// Leaves out what lies below a position up to which the stream has been freed.
    pub(crate) fn without_freed(mut self, freed: u64) -> Told {
        let positions = self.positions;
        let is_there = |place: u64| positions.of(Place::from_bits(place)) >= freed;
        if freed > 0 {
            self.known.retain(|known| known.place.is_none_or(is_there));
        }
        self
    }
}

/// What a thread has read.
#[derive(Debug)]
pub(super) struct FetchedPage {
    /// Of any item of it.
    pub(super) place: Place,
    pub(super) page: Result<KeptPage, Miss>,
}

/// A page, and who asked for it.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Hashes and places, each once.
    pub(crate) asked: Vec<(u64, u64)>,
    pub(crate) page: Result<Arc<KeptPage>, Miss>,
}
