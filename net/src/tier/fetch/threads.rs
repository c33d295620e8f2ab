//! Threads that read, each one page at a time.

use super::FetchParts;
use crate::tier::weight::run_on;
use std::io;
use std::thread::JoinHandle;

/// So many wait for the medium, and not for each other.
pub(super) const THREADS: usize = 16;

pub(super) fn start(parts: &FetchParts) -> io::Result<Vec<JoinHandle<()>>> {
    (0..THREADS)
        .map(|number| {
            let mut parts = parts.clone();
            std::thread::Builder::new().name(format!("torc-fetch-{number}")).spawn(move || {
                run_on(&parts.cpus);
                while let Ok(fetch) = parts.fetches.recv_blocking() {
                    let page = parts.read(fetch);
                    parts.mailboxes[usize::from(fetch.shard)].give(page);
                }
            })
        })
        .collect()
}
