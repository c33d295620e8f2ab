//! A shard's end of a tier whose other end is a test, and what a test says as a shard.

use super::fetch::{Fetch, Fetchers};
use super::mailbox::Mailbox;
use super::messages::{FetchedPage, Job, Reply};
use super::port::{Link, Port, ReadBy, Socket};
use super::save::SaveBatch;
use super::{TierFigures, save::Entry};
use crate::transport::Waker;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use torc_pmem::format::geometry::Place;
use torc_pmem::format::page::{ALIGN, BadPage};
use torc_pmem::format::record::Record;
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::Medium;
use torc_pmem::media::sim::Sim;
use torc_pmem::stream::{KeptPage, Miss};
use torc_pmem::tier::Tier;

/// Where the streams of a tier lie that nobody writes.
const CONFIG: Config = Config {
    bytes: 1 << 20,
    page_bytes: 4096,
    batch_bytes: 16 << 10,
    streams: 1,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 1,
    hash_seed: 1,
};
/// Bytes of pages that a shard keeps.
const CACHE_BYTES: usize = 64 << 10;

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
    shard: u16,
    mailbox: Mailbox,
    jobs: Receiver<Job>,
    fetches: async_channel::Receiver<Fetch>,
    /// Those that were seen and not answered.
    open: RefCell<Vec<Fetch>>,
    figures: Arc<TierFigures>,
    socket: Socket,
}

/// A link, and what stands at its other end.
fn link(shard: u16) -> (Link, Mailbox, Receiver<Job>, async_channel::Receiver<Fetch>) {
    let ((jobs_in, jobs), (fetchers, fetches)) = (channel(), Fetchers::new());
    let medium: Arc<dyn Medium> = Arc::new(Sim::new(CONFIG.bytes, 512));
    Tier::create(&medium, CONFIG).expect("a tier");
    let overwrites = Tier::open(medium).expect("a tier").overwrites();
    let read_by = ReadBy::Threads { fetchers, overwrites, cache_bytes: CACHE_BYTES };
    let (link, mailbox) = Link::new(shard, silent(), jobs_in, read_by);
    (link, mailbox, jobs, fetches)
}

impl Hand {
    /// The end of a shard, with all versions free to be given out.
    pub(crate) fn new(shard: u16) -> (Port, Hand) {
        let figures = Arc::new(TierFigures::default());
        figures.ceiling.store(u64::MAX, Relaxed);
        let (link, mailbox, jobs, fetches) = link(shard);
        let (mut port, socket) = Port::new(shard, figures.clone());
        socket.send(link).expect("the port is there");
        assert!(port.take_link(0));
        (port, Hand { shard, mailbox, jobs, fetches, open: RefCell::default(), figures, socket })
    }

    /// Offers the shard another tier, which is empty.
    pub(crate) fn rearm(&mut self) {
        let (link, mailbox, jobs, fetches) = link(self.shard);
        self.figures.begin_again(1, true);
        self.figures.ceiling.store(u64::MAX, Relaxed);
        self.socket.send(link).expect("the shard is there");
        (self.mailbox, self.jobs, self.fetches) = (mailbox, jobs, fetches);
        self.open.get_mut().clear();
    }

    /// Whether the shard has let go of what it was linked to.
    pub(crate) fn is_let_go(&self) -> bool {
        self.jobs.try_iter().for_each(drop);
        matches!(self.jobs.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
    }

    /// Whether the shard uses the tier that was offered, and whether it tells what memory holds.
    pub(crate) fn rearmed(&self) -> (bool, bool) {
        (self.figures.linked() > 0, self.figures.is_refilling())
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

    /// The streams whose places the shard has left since, and how many items are to stay.
    pub(crate) fn left(&self) -> Vec<(u16, usize)> {
        let job = |job| match job {
            Job::Left { stream, stay, .. } => Some((stream, stay.len())),
            Job::Moved { stream, .. } => Some((stream, usize::MAX)),
            _ => None,
        };
        self.jobs.try_iter().filter_map(job).collect()
    }

    /// The places that were asked for since, of each page one.
    pub(crate) fn fetches(&self) -> Vec<u64> {
        let new: Vec<Fetch> = std::iter::from_fn(|| self.fetches.try_recv().ok()).collect();
        self.open.borrow_mut().extend(&new);
        new.iter().map(|fetch| fetch.place.to_bits()).collect()
    }

    /// Gives a page that was asked for, with these items of it by their places.
    pub(crate) fn give(&self, items: &[(u64, &[u8])]) {
        let last =
            items.iter().map(|(place, _)| Place::from_bits(*place).ordinal()).max().unwrap_or_default();
        let (mut payload, mut lengths) = (Vec::new(), Vec::new());
        for ordinal in 0..=last {
            let item = items.iter().find(|(place, _)| Place::from_bits(*place).ordinal() == ordinal);
            let bytes = item.map_or(&[][..], |(_, bytes)| bytes);
            payload.extend_from_slice(bytes);
            payload.resize(payload.len().next_multiple_of(ALIGN), 0);
            lengths.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
        payload.extend(lengths);
        self.answer(items[0].0, Ok(KeptPage { items: last + 1, payload: payload.into() }));
    }

    /// Lets the read of a page fail.
    pub(crate) fn fail(&self, place: u64) {
        self.answer(place, Err(Miss::Corrupt(BadPage::Payload)));
    }

    fn answer(&self, place: u64, page: Result<KeptPage, Miss>) {
        self.fetches();
        let mut open = self.open.borrow_mut();
        let unit = Place::from_bits(place).unit();
        let asked = open.iter().position(|fetch| fetch.place.unit() == unit).expect("it was asked for");
        let Fetch { place, .. } = open.remove(asked);
        assert!(self.mailbox.give(FetchedPage { place, page }), "the shard is there");
    }

    /// Reads that have failed, as they are counted.
    pub(crate) fn corrupt(&self) -> u64 {
        self.figures.corrupt.load(Relaxed)
    }
}

impl SaveBatch {
    /// A change as a shard hands it over.
    pub(crate) fn push(&mut self, record: Record, item: &[u8]) {
        self.bytes.extend(item);
        self.entries.push(Entry { record, end: self.bytes.len() as u32, place: None, in_journal: None });
    }
}
