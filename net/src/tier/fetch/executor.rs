//! Threads of which each has many reads of the file under way: glommio executors.
//!
//! Each opens the medium's file once more, past the page cache; of a medium that is made of several, the file of each. What it finds is checked as everywhere; where a read does not give
//! what was asked for, the medium's own call is made instead, which says why.

use super::{Fetch, FetchParts, READS};
use crate::tier::TierFigures;
use crate::tier::mailbox::Mailbox;
use crate::tier::messages::FetchedPage;
use crate::tier::open::PAGE_BYTES;
use crate::tier::weight::run_on;
use async_channel::Receiver;
use glommio::io::{DmaFile, OpenOptions, ReadResult};
use glommio::sync::Semaphore;
use glommio::{LocalExecutorBuilder, Placement};
use std::cell::RefCell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use torc_pmem::format::geometry::Place;
use torc_pmem::media::layout::{Layout, Piece};
use torc_pmem::media::{BLOCK_BYTES, Medium};
use torc_pmem::stream::{Ask, KeptPage, Miss, Reader};

/// Memory that is set aside for a read, bytes: a page, and a block as pages begin anywhere in one.
const READ_BYTES: usize = PAGE_BYTES as usize + BLOCK_BYTES;

/// Starts a thread for each CPU that they may run on, or one that runs anywhere.
///
/// # Errors
/// Why there can be none, in words.
pub(super) fn start_all(parts: &FetchParts) -> Result<Vec<JoinHandle<()>>, String> {
    let places = match &parts.cpus[..] {
        [] => vec![Vec::new()],
        cpus => cpus.iter().map(|cpu| vec![*cpu]).collect(),
    };
    let reads = READS.div_ceil(places.len());
    let started = places
        .into_iter()
        .zip(0..)
        .map(|(cpus, number)| start(FetchParts { cpus, ..parts.clone() }, number, reads));
    let (threads, refused): (Vec<_>, Vec<_>) = started.partition(Result::is_ok);
    match refused.into_iter().find_map(Result::err) {
        Some(why) if threads.is_empty() => Err(why),
        _ => Ok(threads.into_iter().flatten().collect()),
    }
}

/// Starts one, for so many reads at a time.
fn start(parts: FetchParts, number: usize, reads: usize) -> Result<JoinHandle<()>, String> {
    let (files, layout) = files(&**parts.reader.medium())?;
    let (says, heard) = sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("torc-fetch-{number}")).spawn(move || {
        if let Err(why) = run(parts, files, layout, reads, &says) {
            let _ = says.send(Err(why));
        }
    });
    let thread = thread.map_err(|error| error.to_string())?;
    match heard.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("the executor has ended".into()),
    }
}

/// The medium's files, and where its bytes lie in them if these are several.
fn files(medium: &dyn Medium) -> Result<(Vec<OwnedFd>, Option<Layout>), String> {
    let owned = |file: BorrowedFd<'_>| file.try_clone_to_owned().map_err(|error| error.to_string());
    if let Some((files, layout)) = medium.direct_files() {
        return Ok((files.into_iter().map(owned).collect::<Result<_, _>>()?, Some(layout.clone())));
    }
    match medium.direct_file() {
        Some(file) => Ok((vec![owned(file)?], None)),
        None => Err("the medium is no file with direct I/O".into()),
    }
}

/// Says when it has begun; whoever starts it waits for that.
fn run(
    parts: FetchParts,
    files: Vec<OwnedFd>,
    layout: Option<Layout>,
    reads: usize,
    says: &SyncSender<Result<(), String>>,
) -> Result<(), String> {
    run_on(&parts.cpus);
    let builder = LocalExecutorBuilder::new(Placement::Unbound);
    let executor = builder.io_memory(reads * READ_BYTES).ring_depth(2 * reads.next_power_of_two()).make();
    executor.map_err(|error| error.to_string())?.run(async {
        let mut opened = Vec::new();
        for file in files {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let file = OpenOptions::new().read(true).dma_open(path).await;
            opened.push(file.map_err(|error| error.to_string())?);
        }
        let _ = says.send(Ok(()));
        serve(parts, opened, layout, reads as u64).await;
        Ok(())
    })
}

/// Reads until nobody can ask any more, and all has been read that was asked for.
async fn serve(parts: FetchParts, files: Vec<DmaFile>, layout: Option<Layout>, reads_max: u64) {
    let FetchParts { fetches, mailboxes, reader, figures, .. } = parts;
    let reads = Rc::new(Reads { files, layout, reader: RefCell::new(reader), mailboxes, figures });
    take(fetches, &reads, reads_max).await;
    if let Some(reads) = Rc::into_inner(reads) {
        for file in reads.files {
            // It was only read.
            let _ = file.close().await;
        }
    }
}

async fn take(fetches: Receiver<Fetch>, reads: &Rc<Reads>, reads_max: u64) {
    let places = Rc::new(Semaphore::new(reads_max));
    while let Ok(fetch) = fetches.recv().await {
        // It is never closed.
        let Ok(place) = places.acquire_static_permit(1).await else { return };
        let reads = reads.clone();
        glommio::spawn_local(async move {
            reads.answer(fetch).await;
            drop((reads, place));
        })
        .detach();
    }
    let _ = places.acquire(reads_max).await;
}

struct Reads {
    files: Vec<DmaFile>,
    /// `None`: the medium is one file.
    layout: Option<Layout>,
    reader: RefCell<Reader>,
    mailboxes: Vec<Mailbox>,
    figures: Arc<TierFigures>,
}

impl Reads {
    async fn answer(&self, Fetch { shard, place }: Fetch) {
        self.figures.reads.fetch_add(1, Relaxed);
        let page = self.read(place).await;
        self.mailboxes[usize::from(shard)].give_later(FetchedPage { place, page }).await;
    }

    async fn read(&self, place: Place) -> Result<KeptPage, Miss> {
        let ask = self.reader.borrow().ask(place)?;
        let bytes = ask.blocks * BLOCK_BYTES;
        let piece = self.layout.as_ref().map(|layout| layout.piece(ask.at, bytes as u64));
        let found = match piece {
            None => self.piece(Piece { member: 0, at: ask.at, bytes: bytes as u64 }).await,
            Some(piece) if piece.bytes == bytes as u64 => self.piece(piece).await,
            Some(_) => return self.read_over_an_end(place, ask).await,
        };
        self.page(place, found.as_deref())
    }

    /// Reads what lies in one file.
    async fn piece(&self, Piece { member, at, bytes }: Piece) -> Option<ReadResult> {
        let found = self.files[member].read_at_aligned(at, bytes as usize).await.ok();
        found.filter(|found| found.len() as u64 == bytes)
    }

    /// Reads what lies in several, as it goes over the end of an extent.
    async fn read_over_an_end(&self, place: Place, ask: Ask) -> Result<KeptPage, Miss> {
        let mut all = Vec::with_capacity(ask.blocks * BLOCK_BYTES);
        let layout = self.layout.iter();
        for piece in layout.flat_map(|layout| layout.pieces(ask.at, (ask.blocks * BLOCK_BYTES) as u64)) {
            match self.piece(piece).await {
                Some(found) => all.extend_from_slice(&found),
                None => return self.page(place, None),
            }
        }
        self.page(place, Some(&all))
    }

    /// The page of what was found; what was not is read by the medium's own call.
    fn page(&self, place: Place, found: Option<&[u8]>) -> Result<KeptPage, Miss> {
        let mut reader = self.reader.borrow_mut();
        if let Some(found) = found
            && let Some(page) = reader.page_in(place, found)?
        {
            return Ok(page.keep());
        }
        reader.page(place).map(|page| page.keep())
    }
}
