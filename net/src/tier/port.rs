//! A shard's end of the tier.
//!
//! When the tier is out of use the shard lets go of it, and may be given another one: the port stays, what links it to the
//! tier's threads changes.

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
use std::sync::mpsc::{Receiver, Sender, channel};
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
    /// `None`: the tier is out of use, and the shard has let go of it.
    link: Option<Box<Link>>,
    /// The next one comes here.
    links: Receiver<Link>,
    figures: Arc<TierFigures>,
}

/// What a shard has of the threads of a tier.
#[derive(Debug)]
pub(crate) struct Link {
    jobs: Sender<Job>,
    replies: Receiver<Reply>,
    told: Receiver<Told>,
    is_rung: Arc<AtomicBool>,
    reads: Reads,
}

/// Where a shard is linked to a tier, and to another one when that is out of use.
pub(crate) type Socket = Sender<Link>;

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

impl Link {
    /// Both ends for one shard.
    pub(super) fn new(
        shard: u16,
        waker: Arc<dyn Waker>,
        jobs: Sender<Job>,
        read_by: ReadBy,
    ) -> (Link, Mailbox) {
        let (mailbox, Inbox { replies, fetched, told, is_rung }) = Mailbox::new(waker);
        let reads = match read_by {
            ReadBy::Own(reader) => Reads::Own(Box::new(reader)),
            ReadBy::Threads { fetchers, overwrites, cache_bytes } => {
                let pages = Pages::new(shard, fetchers, fetched, &overwrites, cache_bytes);
                Reads::Threads(Box::new(pages))
            }
        };
        (Link { jobs, replies, told, is_rung, reads }, mailbox)
    }

    fn next(&mut self) -> Option<Reply> {
        if let Ok(reply) = self.replies.try_recv() {
            return Some(reply);
        }
        match &mut self.reads {
            Reads::Own(_) => None,
            Reads::Threads(pages) => pages.next().map(Reply::Fetched),
        }
    }
}

impl Port {
    /// One that is linked to nothing yet.
    pub(crate) fn new(shard: u16, figures: Arc<TierFigures>) -> (Port, Socket) {
        let (socket, links) = channel();
        (Port { shard, link: None, links, figures }, socket)
    }

    /// Whether the tier is out of use, for this shard at least.
    pub(crate) fn is_out(&self) -> bool {
        self.link.is_none() || self.figures.is_latched()
    }

    /// Lets go of a tier that is out of use: nothing of it is named or waited for. `version`: the highest that was given out.
    pub(crate) fn let_go(&mut self, version: u64) {
        if self.link.is_some() {
            self.figures.drew(version);
            self.link = None;
        }
    }

    /// Takes the tier that is to be used from now on, if there is one. `version` as in [`Port::let_go`].
    pub(crate) fn take_link(&mut self, version: u64) -> bool {
        let Some(link) = self.links.try_iter().last() else { return false };
        self.figures.drew(version);
        self.link = Some(Box::new(link));
        true
    }

    pub(crate) fn figures(&self) -> &TierFigures {
        &self.figures
    }

    /// The highest version that may be given out.
    pub(crate) fn ceiling(&self) -> u64 {
        if self.link.is_some() { self.figures.ceiling() } else { u64::MAX }
    }

    /// A look for replies begins: the next one wakes the shard.
    pub(crate) fn begin_look(&self) {
        self.link.iter().for_each(|link| link.is_rung.store(false, Ordering::SeqCst));
    }

    pub(crate) fn next(&mut self) -> Option<Reply> {
        self.link.as_mut()?.next()
    }

    /// What recovery has found next.
    pub(crate) fn next_told(&self) -> Option<Told> {
        self.link.as_ref()?.told.try_recv().ok()
    }

    fn say(&self, job: Job) {
        if let Some(link) = &self.link {
            // Only a storage thread that has panicked is gone.
            let _ = link.jobs.send(job);
        }
    }

    /// Hands changes over. The batch comes back as [`Reply::Saved`].
    pub(crate) fn save(&self, mut batch: Box<SaveBatch>) {
        batch.shard = self.shard;
        self.say(Job::Save(batch));
    }

    /// The places that [`Reply::Leave`] named are forgotten, but for those of what is to `stay`.
    pub(crate) fn left(&self, stream: u16, stay: Vec<Leaving>) {
        self.say(Job::Left { shard: self.shard, stream, stay });
    }

    /// No place is named any more that [`Reply::Moved`] or [`Reply::Packed`] has told to be an old one.
    pub(crate) fn moved(&self, stream: u16) {
        self.say(Job::Moved { shard: self.shard, stream });
    }

    /// What is handed over from now on comes in the order of its worth, as an end is near. [`Reply::Full`] tells of what there is
    /// no room for.
    pub(crate) fn begin_rest(&self) {
        self.say(Job::Rest);
    }

    /// The shard ends, with all its changes saved or not.
    pub(crate) fn end(&self, is_saved: bool) {
        self.say(Job::Ended { shard: self.shard, is_saved });
    }

    /// Reads the item at a place.
    pub(crate) fn fetch(&mut self, hash: u64, place: u64) -> Fetched<'_> {
        let is_latched = self.figures.is_latched();
        let Some(link) = self.link.as_mut().filter(|_| !is_latched) else { return Fetched::Gone };
        let place = Place::from_bits(place);
        let (item, of): (_, fn(_) -> _) = match &mut link.reads {
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
        match self.link.as_ref().map(|link| &link.reads) {
            Some(Reads::Threads(pages)) => pages.cached_bytes(),
            _ => 0,
        }
    }

    /// Keeps no page any more.
    pub(crate) fn forget_pages(&mut self) {
        if let Some(Reads::Threads(pages)) = self.link.as_mut().map(|link| &mut link.reads) {
            pages.clear();
        }
    }
}
