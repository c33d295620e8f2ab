//! A shard's end of a tier whose other end is a test, and what a test says as a shard.

use super::fetch::{Fetch, Fetchers};
use super::port::{Mailbox, Port, Reply};
use super::save::SaveBatch;
use super::storage::Job;
use super::{TierFigures, save::Entry};
use crate::transport::Waker;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use torc_pmem::format::record::Record;

struct Silent;

impl Waker for Silent {
    fn wake(&self) {}
}

/// For a shard that looks without being woken.
pub(crate) fn silent() -> Arc<dyn Waker> {
    Arc::new(Silent)
}

/// What stands for the tier's threads.
pub(crate) struct Hand {
    mailbox: Mailbox,
    jobs: Receiver<Job>,
    fetches: Receiver<Fetch>,
    figures: Arc<TierFigures>,
}

impl Hand {
    /// The end of a shard, with all versions free to be given out.
    pub(crate) fn new(shard: u16) -> (Port, Hand) {
        let figures = Arc::new(TierFigures::default());
        figures.ceiling.store(u64::MAX, Relaxed);
        let ((jobs_in, jobs), (fetchers, fetches)) = (channel(), Fetchers::new());
        let (port, mailbox) = Port::new(shard, silent(), jobs_in, fetchers, None, figures.clone());
        (port, Hand { mailbox, jobs, fetches, figures })
    }

    pub(crate) fn set_ceiling(&self, version: u64) {
        self.figures.ceiling.store(version, Relaxed);
    }

    /// `is_void`: nothing of the tier can come back.
    pub(crate) fn latch(&self, is_void: bool) {
        self.figures.void.store(is_void, Relaxed);
        self.figures.latched.store(true, Relaxed);
    }

    pub(crate) fn say(&self, reply: Reply) {
        assert!(self.mailbox.send(reply), "the shard is there");
    }

    /// The batches that were handed over since.
    // Boxed as they travel.
    #[allow(clippy::vec_box)]
    pub(crate) fn saves(&self) -> Vec<Box<SaveBatch>> {
        let job = |job| match job {
            Job::Save(batch) => Some(batch),
            _ => None,
        };
        self.jobs.try_iter().filter_map(job).collect()
    }

    /// The streams whose places the shard has left since.
    pub(crate) fn left(&self) -> Vec<u16> {
        let job = |job| match job {
            Job::Left { stream, .. } => Some(stream),
            _ => None,
        };
        self.jobs.try_iter().filter_map(job).collect()
    }

    /// Hashes and places that were asked for since.
    pub(crate) fn fetches(&self) -> Vec<(u64, u64)> {
        self.fetches.try_iter().map(|fetch| (fetch.hash, fetch.place)).collect()
    }
}

impl SaveBatch {
    /// A change as a shard hands it over.
    pub(crate) fn push(&mut self, record: Record, item: &[u8]) {
        self.bytes.extend(item);
        self.entries.push(Entry { record, end: self.bytes.len() as u32, place: None });
    }
}
