//! Threads of which each has many reads of the file under way: glommio executors.
//!
//! Each opens the medium's file once more, past the page cache. What it finds is checked as everywhere; where a read does not give
//! what was asked for, the medium's own call is made instead, which says why.

use super::{Fetch, FetchParts, READS};
use crate::tier::TierFigures;
use crate::tier::mailbox::Mailbox;
use crate::tier::messages::FetchedPage;
use crate::tier::open::PAGE_BYTES;
use crate::tier::weight::run_on;
use async_channel::Receiver;
use glommio::io::{DmaFile, OpenOptions};
use glommio::sync::Semaphore;
use glommio::{LocalExecutorBuilder, Placement};
use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use torc_pmem::format::geometry::Place;
use torc_pmem::media::BLOCK_BYTES;
use torc_pmem::stream::{KeptPage, Miss, Reader};

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
    let Some(file) = parts.reader.medium().direct_file() else {
        return Err("the medium is no file with direct I/O".into());
    };
    let file = file.try_clone_to_owned().map_err(|error| error.to_string())?;
    let (says, heard) = sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("torc-fetch-{number}")).spawn(move || {
        if let Err(why) = run(parts, file, reads, &says) {
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

/// Says when it has begun; whoever starts it waits for that.
fn run(
    parts: FetchParts,
    file: OwnedFd,
    reads: usize,
    says: &SyncSender<Result<(), String>>,
) -> Result<(), String> {
    run_on(&parts.cpus);
    let builder = LocalExecutorBuilder::new(Placement::Unbound);
    let executor = builder.io_memory(reads * READ_BYTES).ring_depth(2 * reads.next_power_of_two()).make();
    executor.map_err(|error| error.to_string())?.run(async {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened = OpenOptions::new().read(true).dma_open(path).await.map_err(|error| error.to_string())?;
        drop(file);
        let _ = says.send(Ok(()));
        serve(parts, opened, reads as u64).await;
        Ok(())
    })
}

/// Reads until nobody can ask any more, and all has been read that was asked for.
async fn serve(parts: FetchParts, file: DmaFile, reads_max: u64) {
    let FetchParts { fetches, mailboxes, reader, figures, .. } = parts;
    let reads = Rc::new(Reads { file, reader: RefCell::new(reader), mailboxes, figures });
    take(fetches, &reads, reads_max).await;
    if let Some(reads) = Rc::into_inner(reads) {
        // It was only read.
        let _ = reads.file.close().await;
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
    file: DmaFile,
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
        let found = self.file.read_at_aligned(ask.at, bytes).await.ok().filter(|found| found.len() == bytes);
        let mut reader = self.reader.borrow_mut();
        if let Some(found) = found
            && let Some(page) = reader.page_in(place, &found)?
        {
            return Ok(page.keep());
        }
        reader.page(place).map(|page| page.keep())
    }
}
