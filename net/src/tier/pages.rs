//! A shard's reads of a medium that can be slow: those under way, and the pages that it keeps.
//!
//! ```text
//!   fetch --kept?--> the item, at once
//!     |--under way?--> waits for the same read
//!     `--> the page is read --> all who wait for it, and the cache
//! ```
//!
//! A page is believed if nothing was written over its place since before it was read. That is known from the stream's end, so
//! nobody has to be told to forget a page. A read during which the place was written over is begun again for those who wait.

use super::cache::PageCache;
use super::fetch::{Fetch, Fetchers, READS};
use super::mailbox::FETCHED_MAX;
use super::messages::{Arrived, FetchedPage};
use super::open::PAGE_BYTES;
use async_channel::Receiver;
use std::collections::HashMap;
use std::sync::Arc;
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::{KeptPage, Moment, Overwrites};

/// What pages under way to each of so many shards take, bytes: those that wait there, and its part of those that are being read, each as it
/// is on the medium and as it was. One that a long item has for itself takes more, for the moment that it is under way.
pub(crate) fn fetch_pages_bytes(shards: u16) -> u64 {
    u64::from(PAGE_BYTES) * (FETCHED_MAX as u64 + 2 * READS as u64 / u64::from(shards))
}

/// A read that is under way.
#[derive(Debug)]
struct Flight {
    /// Before it began.
    since: Moment,
    asked: Vec<(u64, u64)>,
}

/// The reads that are under way for a shard, of each page one at most.
#[derive(Debug)]
struct Flights {
    shard: u16,
    fetchers: Fetchers,
    overwrites: Overwrites,
    /// By the unit of the page.
    flights: HashMap<u64, Flight>,
}

impl Flights {
    /// Has the page of a place read for who asks, unless it is being read already.
    fn ask(&mut self, hash: u64, place: Place) {
        let asked = (hash, place.to_bits());
        match self.flights.get_mut(&place.unit()) {
            Some(flight) => flight.asked.push(asked),
            None => self.begin(vec![asked], place),
        }
    }

    fn begin(&mut self, asked: Vec<(u64, u64)>, place: Place) {
        let since = self.overwrites.now(place);
        self.flights.insert(place.unit(), Flight { since, asked });
        self.fetchers.fetch(Fetch { shard: self.shard, place });
    }

    /// Takes out the read of a page that has come. `None`: what it gave may have been there before something else was written, which
    /// those may mean who asked later, so it is begun again.
    fn land(&mut self, place: Place) -> Option<Flight> {
        let flight = self.flights.remove(&place.unit())?;
        if self.overwrites.reached(place, flight.since) {
            self.begin(flight.asked, place);
            return None;
        }
        Some(flight)
    }
}

#[derive(Debug)]
pub(super) struct Pages {
    fetched: Receiver<FetchedPage>,
    flights: Flights,
    cache: PageCache,
}

impl Pages {
    pub(super) fn new(
        shard: u16,
        fetchers: Fetchers,
        fetched: Receiver<FetchedPage>,
        overwrites: &Overwrites,
        cache_bytes: usize,
    ) -> Pages {
        let cache = PageCache::new(overwrites.clone(), cache_bytes);
        let (overwrites, flights) = (overwrites.clone(), HashMap::new());
        Pages { fetched, flights: Flights { shard, fetchers, overwrites, flights }, cache }
    }

    /// Memory that the kept pages take, bytes.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The kept page of a place. `None`: it will arrive for who asks.
    pub(super) fn fetch(&mut self, hash: u64, place: Place) -> Option<&KeptPage> {
        let found = self.cache.find(place);
        if found.is_none() {
            self.flights.ask(hash, place);
        }
        found
    }

    /// The next page that was read.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        loop {
            let FetchedPage { place, page } = self.fetched.try_recv().ok()?;
            let Some(Flight { since, asked }) = self.flights.land(place) else { continue };
            let page = page.map(Arc::new);
            if let Ok(page) = &page {
                self.cache.keep(place, page, since);
            }
            return Some(Arrived { asked, page });
        }
    }

    /// Keeps nothing of what was read.
    pub(super) fn clear(&mut self) {
        self.cache.clear();
    }
}

#[cfg(test)]
mod tests;
