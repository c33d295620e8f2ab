//! Which items stay when room is needed.
//!
//! Eviction is by segment: the oldest segment of a queue is walked once, and each live item in it is either
//! copied to the end of a queue or dropped. An algorithm decides three things and knows nothing of segments'
//! bytes or of the index: where a new item goes, from which queue the next segment is taken, and what becomes
//! of an item by the accesses that its index slot has counted.

mod fifo_reinsertion;
mod ghost;
mod s3_fifo;

pub use fifo_reinsertion::FifoReinsertion;
pub use s3_fifo::S3Fifo;

use crate::segments::Queue;

/// Share of a shard's memory that a memory of dropped keys may take: as much as it can want, with the smallest items.
const GHOST_SHARE: usize = 4;

/// What becomes of an item of a segment that is being evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Copied to the end of this queue, with this many accesses left.
    Keep(Queue, u8),
    Drop,
}

/// Sealed segments of the two queues.
#[derive(Debug, Clone, Copy)]
pub struct QueueLengths {
    pub small: usize,
    pub main: usize,
}

/// An eviction algorithm. One instance a shard.
pub trait Eviction: std::fmt::Debug + Send {
    /// Accesses beyond this are not counted.
    fn frequency_max(&self) -> u8;

    /// The queue of an item that was not there before.
    fn admit(&mut self, hash: u64) -> Queue;

    /// The queue of bytes whose key is not known yet (chunks of a long value).
    fn trial(&self) -> Queue;

    /// The queue whose oldest segment is evicted next.
    fn victim(&self, lengths: QueueLengths) -> Queue;

    /// The fate of an item with this many accesses in a segment of `queue`.
    fn verdict(&self, queue: Queue, frequency: u8) -> Verdict;

    /// An item of `queue` was dropped.
    fn dropped(&mut self, queue: Queue, hash: u64);

    /// The number of items in the shard, now and then, for algorithms that remember in proportion.
    fn resize(&mut self, items: u64);

    /// Memory that the algorithm holds, bytes.
    fn bytes(&self) -> usize;
}

/// The algorithms, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    #[default]
    S3Fifo,
    FifoReinsertion,
}

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::S3Fifo, Algorithm::FifoReinsertion];

    /// As its paper names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::S3Fifo => "s3-fifo",
            Algorithm::FifoReinsertion => "fifo-reinsertion",
        }
    }

    pub fn by_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// One for a shard that may take `memory_bytes` bytes in all.
    pub(crate) fn instance(self, memory_bytes: usize) -> std::io::Result<Box<dyn Eviction>> {
        Ok(match self {
            Algorithm::S3Fifo => Box::new(S3Fifo::new(memory_bytes / GHOST_SHARE)?),
            Algorithm::FifoReinsertion => Box::new(FifoReinsertion),
        })
    }
}
