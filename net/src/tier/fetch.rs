//! The threads that read pages from a medium that can be slow.

use super::TierFigures;
use super::mailbox::Mailbox;
use super::messages::FetchedPage;
use super::weight::run_on;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::Reader;

/// Threads, and so reads of the medium at a time: they wait for the medium, not for each other.
pub(super) const THREADS: usize = 16;

/// A page that a shard wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) shard: u16,
    /// Of any item of it.
    pub(super) place: Place,
}

/// Where shards ask. The threads end when nobody can ask any more.
#[derive(Debug, Clone)]
pub(super) struct Fetchers(Sender<Fetch>);

impl Fetchers {
    pub(super) fn new() -> (Fetchers, Receiver<Fetch>) {
        let (sender, receiver) = channel();
        (Fetchers(sender), receiver)
    }

    pub(super) fn fetch(&self, fetch: Fetch) {
        // Only threads that have panicked are gone.
        let _ = self.0.send(fetch);
    }
}

/// Starts the threads.
///
/// # Errors
/// A thread cannot be started.
pub(super) fn start(
    fetches: Receiver<Fetch>,
    mailboxes: &[Mailbox],
    reader: &Reader,
    figures: &Arc<TierFigures>,
    cpus: &[usize],
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let fetches = Arc::new(Mutex::new(fetches));
    (0..THREADS)
        .map(|number| {
            let (fetches, mailboxes) = (fetches.clone(), mailboxes.to_vec());
            let (mut reader, figures, cpus) = (reader.clone(), figures.clone(), cpus.to_vec());
            std::thread::Builder::new().name(format!("torc-fetch-{number}")).spawn(move || {
                run_on(&cpus);
                // One thread at a time waits for the next fetch, and lets go of the lock with it.
                let next = || fetches.lock().unwrap_or_else(PoisonError::into_inner).recv();
                while let Ok(Fetch { shard, place }) = next() {
                    figures.reads.fetch_add(1, Relaxed);
                    let page = reader.page(place).map(|page| page.keep());
                    mailboxes[usize::from(shard)].give(FetchedPage { place, page });
                }
            })
        })
        .collect()
}
