//! The threads that read items from a medium that can be slow.

use super::TierFigures;
use super::port::{Mailbox, Reply, read};
use super::storage::run_on;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use torc_pmem::stream::Reader;

/// Threads: reads wait for the medium, not for each other.
pub(super) const THREADS: usize = 4;

/// An item that a shard wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) shard: u16,
    pub(super) hash: u64,
    pub(super) place: u64,
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
                while let Ok(Fetch { shard, hash, place }) = next() {
                    let item = read(&mut reader, place, &figures).map(<[u8]>::to_vec);
                    mailboxes[usize::from(shard)].send(Reply::Fetched { hash, place, item });
                }
            })
        })
        .collect()
}
