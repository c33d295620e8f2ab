//! A shard's end of the tier.

use super::TierFigures;
use super::fetch::{Fetch, Fetchers};
use super::save::SaveBatch;
use super::storage::Job;
use crate::transport::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::stream::{Miss, Reader};

/// What the tier's threads say to a shard.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The batch is on the medium, with the places of its items; or the tier is latched, and it is not.
    Saved(Box<SaveBatch>),
    /// These places will hold something else. To be answered with [`Port::left`].
    Leave { stream: u16, places: Vec<Leaving> },
    /// The item at a place; `None`: it cannot be read.
    Fetched { hash: u64, place: u64, item: Option<Vec<u8>> },
}

/// What lies at a place that will hold something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) hash: u64,
    pub(crate) place: u64,
    /// It is a chunk, of the key with this hash.
    pub(crate) chunk_of: Option<u64>,
}

impl Leaving {
    pub(super) fn of(record: &Record, place: u64) -> Leaving {
        let chunk_of = (record.kind == Kind::Chunk).then_some(record.expiry);
        Leaving { hash: record.hash, place, chunk_of }
    }
}

/// What a fetch came to at once.
#[derive(Debug)]
pub(crate) enum Fetched<'p> {
    /// A reply will come.
    Later,
    Item(&'p [u8]),
    /// It cannot be read.
    Gone,
}

/// Items that were fetched for a shard and wait there; the threads wait with others.
const FETCHED_MAX: usize = 16;

/// Replies to one shard, for the tier's threads.
#[derive(Clone)]
pub(super) struct Mailbox {
    replies: Sender<Reply>,
    fetched: SyncSender<Reply>,
    waker: Arc<dyn Waker>,
    /// The shard was woken, and has not looked since.
    is_rung: Arc<AtomicBool>,
}

impl Mailbox {
    /// False: the shard has ended. Waits, with an item that was fetched, while many others wait.
    pub(super) fn send(&self, reply: Reply) -> bool {
        let is_sent = match reply {
            Reply::Fetched { .. } => self.fetched.send(reply).is_ok(),
            _ => self.replies.send(reply).is_ok(),
        };
        // SeqCst, as below: either the shard sees the reply in this look, or it is woken for another.
        if is_sent && !self.is_rung.swap(true, Ordering::SeqCst) {
            self.waker.wake();
        }
        is_sent
    }
}

/// A shard's end.
#[derive(Debug)]
pub(crate) struct Port {
    shard: u16,
    jobs: Sender<Job>,
    fetchers: Fetchers,
    replies: Receiver<Reply>,
    fetched: Receiver<Reply>,
    is_rung: Arc<AtomicBool>,
    /// On a medium that is as fast as memory the shard reads for itself.
    reader: Option<Reader>,
    figures: Arc<TierFigures>,
}

impl Port {
    /// Both ends for one shard.
    pub(super) fn new(
        shard: u16,
        waker: Arc<dyn Waker>,
        jobs: Sender<Job>,
        fetchers: Fetchers,
        reader: Option<Reader>,
        figures: Arc<TierFigures>,
    ) -> (Port, Mailbox) {
        let ((sender, replies), (fetched_in, fetched)) = (channel(), sync_channel(FETCHED_MAX));
        let is_rung = Arc::new(AtomicBool::new(false));
        let mailbox = Mailbox { replies: sender, fetched: fetched_in, waker, is_rung: is_rung.clone() };
        (Port { shard, jobs, fetchers, replies, fetched, is_rung, reader, figures }, mailbox)
    }

    pub(crate) fn figures(&self) -> &TierFigures {
        &self.figures
    }

    /// A look for replies begins: the next one wakes the shard.
    pub(crate) fn begin_look(&self) {
        self.is_rung.store(false, Ordering::SeqCst);
    }

    pub(crate) fn next(&self) -> Option<Reply> {
        self.replies.try_recv().or_else(|_| self.fetched.try_recv()).ok()
    }

    /// Hands changes over. The batch comes back as [`Reply::Saved`].
    pub(crate) fn save(&self, mut batch: Box<SaveBatch>) {
        batch.shard = self.shard;
        // Only a storage thread that has panicked is gone.
        let _ = self.jobs.send(Job::Save(batch));
    }

    /// The places that [`Reply::Leave`] named are forgotten.
    pub(crate) fn left(&self, stream: u16) {
        let _ = self.jobs.send(Job::Left { shard: self.shard, stream });
    }

    /// The shard ends, with all its changes saved or not.
    pub(crate) fn end(&self, is_saved: bool) {
        let _ = self.jobs.send(Job::Ended { shard: self.shard, is_saved });
    }

    /// Reads the item at a place.
    pub(crate) fn fetch(&mut self, hash: u64, place: u64) -> Fetched<'_> {
        if self.figures.is_latched() {
            return Fetched::Gone;
        }
        let Some(reader) = &mut self.reader else {
            self.fetchers.fetch(Fetch { shard: self.shard, hash, place });
            return Fetched::Later;
        };
        read(reader, place, &self.figures).map_or(Fetched::Gone, Fetched::Item)
    }
}

/// Reads the item at a place, and counts what comes of it.
pub(super) fn read<'r>(reader: &'r mut Reader, place: u64, figures: &TierFigures) -> Option<&'r [u8]> {
    use std::sync::atomic::Ordering::Relaxed;
    figures.reads.fetch_add(1, Relaxed);
    match reader.read(Place::from_bits(place)) {
        Ok(item) => Some(item),
        Err(Miss::Corrupt(_)) => {
            figures.corrupt.fetch_add(1, Relaxed);
            None
        }
        Err(Miss::Media(error)) => {
            figures.read_errors.fetch_add(1, Relaxed);
            tracing::warn!("--tier: {error}");
            None
        }
    }
}
