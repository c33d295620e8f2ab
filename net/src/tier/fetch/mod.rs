//! Reads of pages from a medium that can be slow, for shards that must not wait for it.
//!
//! | who reads | where |
//! |---|---|
//! | `executor.rs`: a thread over io_uring, for each of `--storage-cpus` if there are some | a file with direct I/O, if the kernel grants io_uring |
//! | `threads.rs`: many that wait for the medium | elsewhere |

mod executor;
mod threads;

use super::TierFigures;
use super::mailbox::Mailbox;
use super::messages::FetchedPage;
use async_channel::{Receiver, Sender, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::Reader;

/// Reads of the medium at a time.
pub(super) const READS: usize = 32;

/// `--tier-reads`: who reads a tier on a file for the shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadsChoice {
    /// An executor over io_uring where that can be, else threads.
    #[default]
    Auto,
    Uring,
    Threads,
}

/// A page that a shard wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) shard: u16,
    /// Of any item of it.
    pub(super) place: Place,
}

/// Where shards ask. Who reads ends when nobody can ask any more.
#[derive(Debug, Clone)]
pub(super) struct Fetchers(Sender<Fetch>);

impl Fetchers {
    pub(super) fn new() -> (Fetchers, Receiver<Fetch>) {
        let (sender, receiver) = unbounded();
        (Fetchers(sender), receiver)
    }

    pub(super) fn fetch(&self, fetch: Fetch) {
        // Only readers that have panicked are gone.
        let _ = self.0.try_send(fetch);
    }
}

/// What whoever reads is given.
#[derive(Clone)]
pub(super) struct FetchParts {
    pub(super) fetches: Receiver<Fetch>,
    /// By shard.
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) reader: Reader,
    pub(super) figures: Arc<TierFigures>,
    /// Where it runs; empty: anywhere.
    pub(super) cpus: Vec<usize>,
}

impl FetchParts {
    /// Reads a page.
    pub(super) fn read(&mut self, Fetch { place, .. }: Fetch) -> FetchedPage {
        self.figures.reads.fetch_add(1, Relaxed);
        FetchedPage { place, page: self.reader.page(place).map(|page| page.keep()) }
    }
}

/// Starts to read. Returns the threads, and who reads, in words.
///
/// # Errors
/// A thread cannot be started, or io_uring is wanted and cannot be had.
pub(super) fn start(parts: FetchParts, choice: ReadsChoice) -> io::Result<(Vec<JoinHandle<()>>, String)> {
    let refusal = match choice {
        ReadsChoice::Threads => "--tier-reads threads".to_owned(),
        ReadsChoice::Auto | ReadsChoice::Uring => match executor::start_all(&parts) {
            Ok(threads) => return Ok((threads, "io_uring (glommio)".into())),
            Err(why) if choice == ReadsChoice::Uring => {
                return Err(io::Error::other(format!("--tier-reads uring: {why}")));
            }
            Err(why) => why,
        },
    };
    Ok((threads::start(&parts)?, format!("{} threads: {refusal}", threads::THREADS)))
}

#[cfg(test)]
mod tests;
