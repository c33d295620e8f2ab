//! Threads that read, each one page at a time.

use super::{Fetch, FetchParts};
use crate::tier::messages::FetchedPage;
use crate::tier::weight::run_on;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

/// So many wait for the medium, and not for each other.
pub(super) const THREADS: usize = 16;

pub(super) fn start(parts: &FetchParts) -> io::Result<Vec<JoinHandle<()>>> {
    (0..THREADS)
        .map(|number| {
            let FetchParts { fetches, mailboxes, mut reader, figures, cpus } = parts.clone();
            std::thread::Builder::new().name(format!("torc-fetch-{number}")).spawn(move || {
                run_on(&cpus);
                while let Ok(Fetch { shard, place }) = fetches.recv_blocking() {
                    figures.reads.fetch_add(1, Relaxed);
                    let page = reader.page(place).map(|page| page.keep());
                    mailboxes[usize::from(shard)].give(FetchedPage { place, page });
                }
            })
        })
        .collect()
}
