//! A shard's end of the tier.

use super::TierFigures;
use super::fetch::Fetchers;
use super::mailbox::{Inbox, Mailbox};
use super::messages::{Job, Leaving, Reply, Told};
use super::pages::Pages;
use super::save::SaveBatch;
use crate::transport::Waker;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::{Miss, Overwrites, Reader};

/// What a fetch came to at once.
#[derive(Debug)]
pub(crate) enum Fetched<'p> {
    /// A reply will come.
    Later,
    Item(&'p [u8]),
    /// As `Item`, of a page that was kept.
    Kept(&'p [u8]),
    /// It cannot be read.
    Gone,
}

/// A shard's end.
#[derive(Debug)]
pub(crate) struct Port {
    shard: u16,
    jobs: Sender<Job>,
    replies: Receiver<Reply>,
    told: Receiver<Told>,
    is_rung: Arc<AtomicBool>,
    reads: Reads,
    figures: Arc<TierFigures>,
}

/// Who reads.
#[derive(Debug)]
enum Reads {
    /// The shard itself, from a medium that is as fast as memory.
    Own(Box<Reader>),
    /// Threads, from one that can be slow.
    Threads(Box<Pages>),
}

/// What a shard's port reads by.
pub(super) enum ReadBy {
    Own(Reader),
    /// The threads, with so many bytes of pages that are kept.
    Threads {
        fetchers: Fetchers,
        overwrites: Overwrites,
        cache_bytes: usize,
    },
}

impl Port {
    /// Both ends for one shard.
    pub(super) fn new(
        shard: u16,
        waker: Arc<dyn Waker>,
        jobs: Sender<Job>,
        read_by: ReadBy,
        figures: Arc<TierFigures>,
    ) -> (Port, Mailbox) {
        let (mailbox, Inbox { replies, fetched, told, is_rung }) = Mailbox::new(waker);
        let reads = match read_by {
            ReadBy::Own(reader) => Reads::Own(Box::new(reader)),
            ReadBy::Threads { fetchers, overwrites, cache_bytes } => {
                let pages = Pages::new(shard, fetchers, fetched, &overwrites, cache_bytes);
                Reads::Threads(Box::new(pages))
            }
        };
        (Port { shard, jobs, replies, told, is_rung, reads, figures }, mailbox)
    }

    pub(crate) fn figures(&self) -> &TierFigures {
        &self.figures
    }

    /// A look for replies begins: the next one wakes the shard.
    pub(crate) fn begin_look(&self) {
        self.is_rung.store(false, Ordering::SeqCst);
    }

    pub(crate) fn next(&mut self) -> Option<Reply> {
        if let Ok(reply) = self.replies.try_recv() {
            return Some(reply);
        }
        match &mut self.reads {
            Reads::Own(_) => None,
            Reads::Threads(pages) => pages.next().map(Reply::Fetched),
        }
    }

    /// What recovery has found next.
    pub(crate) fn next_told(&self) -> Option<Told> {
        self.told.try_recv().ok()
    }

    /// Hands changes over. The batch comes back as [`Reply::Saved`].
    pub(crate) fn save(&self, mut batch: Box<SaveBatch>) {
        batch.shard = self.shard;
        // Only a storage thread that has panicked is gone.
        let _ = self.jobs.send(Job::Save(batch));
    }

    /// The places that [`Reply::Leave`] named are forgotten, but for those of what is to `stay`.
    pub(crate) fn left(&self, stream: u16, stay: Vec<Leaving>) {
        let _ = self.jobs.send(Job::Left { shard: self.shard, stream, stay });
    }

    /// No place is named any more that [`Reply::Moved`] or [`Reply::Packed`] has told to be an old one.
    pub(crate) fn moved(&self, stream: u16) {
        let _ = self.jobs.send(Job::Moved { shard: self.shard, stream });
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
        let place = Place::from_bits(place);
        let (item, of): (_, fn(_) -> _) = match &mut self.reads {
            Reads::Own(reader) => {
                self.figures.reads.fetch_add(1, Relaxed);
                (reader.read(place), Fetched::Item)
            }
            Reads::Threads(pages) => match pages.fetch(hash, place) {
                Some(page) => (page.item(place.ordinal()).map_err(Miss::Corrupt), Fetched::Kept),
                None => return Fetched::Later,
            },
        };
        match item {
            Ok(item) => of(item),
            Err(miss) => {
                self.figures.count_miss(&miss);
                Fetched::Gone
            }
        }
    }

    /// Memory that pages take which are kept, bytes.
    pub(crate) fn cached_bytes(&self) -> usize {
        match &self.reads {
            Reads::Own(_) => 0,
            Reads::Threads(pages) => pages.cached_bytes(),
        }
    }

    /// Keeps no page any more.
    pub(crate) fn forget_pages(&mut self) {
        if let Reads::Threads(pages) = &mut self.reads {
            pages.clear();
        }
    }
}
