//! A shard's reads of a medium that can be slow: those under way, and the pages that it keeps.
//!
//! ```text
//!   fetch --kept?--> the item, at once
//!     |--under way?--> waits for the same read
//!     `--> a thread reads the page --> all who wait for it, and the cache
//! ```
//!
//! A page is believed if nothing was written over its place since before it was read. That is known from the stream's end, so
//! nobody has to be told to forget a page. A read during which the place was written over is begun again for those who wait.

use super::cache::PageCache;
use super::fetch::{Fetch, Fetchers, THREADS};
use super::open::PAGE_BYTES;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::{KeptPage, Miss, Moment, Overwrites};

/// Pages that were read for a shard and wait there; the threads wait with others.
pub(super) const FETCHED_MAX: usize = 8;
/// What pages under way to a shard take, bytes: those that wait there, and the buffers of the threads, as a page is on the medium and
/// as it was. One that a long item has for itself takes more, for the moment that it is under way.
pub(crate) const FETCH_PAGES_BYTES: usize = (FETCHED_MAX + 2 * THREADS) * PAGE_BYTES as usize;

/// What a thread has read.
#[derive(Debug)]
pub(super) struct FetchedPage {
    /// That of the [`Fetch`].
    pub(super) number: u64,
    pub(super) place: Place,
    pub(super) page: Result<KeptPage, Miss>,
}

/// A page, and who asked for it.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Hashes and places, each once.
    pub(crate) asked: Vec<(u64, u64)>,
    pub(crate) page: Result<Arc<KeptPage>, Miss>,
}

/// A read that is under way.
#[derive(Debug)]
struct Flight {
    number: u64,
    since: Moment,
    asked: Vec<(u64, u64)>,
}

/// The reads that are under way for a shard.
#[derive(Debug)]
struct Flights {
    shard: u16,
    fetchers: Fetchers,
    overwrites: Overwrites,
    /// By the unit of the page.
    flights: HashMap<u64, Flight>,
    /// How many there were.
    count: u64,
}

impl Flights {
    /// Has a page read, unless it is being read already.
    fn ask(&mut self, mut asked: Vec<(u64, u64)>, place: Place) {
        if let Some(flight) = self.flights.get_mut(&place.unit()) {
            // A read that began before something else was written there may give what was there before.
            if !self.overwrites.reached(place, flight.since) {
                return flight.asked.append(&mut asked);
            }
            asked.append(&mut flight.asked);
        }
        self.count += 1;
        let (number, since) = (self.count, self.overwrites.now(place));
        self.flights.insert(place.unit(), Flight { number, since, asked });
        self.fetchers.fetch(Fetch { shard: self.shard, number, place });
    }

    /// Takes out the read that has given a page; `None`: nobody waits for that any more.
    fn land(&mut self, number: u64, place: Place) -> Option<Flight> {
        let is_awaited = self.flights.get(&place.unit()).is_some_and(|flight| flight.number == number);
        if is_awaited { self.flights.remove(&place.unit()) } else { None }
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
        Pages { fetched, flights: Flights { shard, fetchers, overwrites, flights, count: 0 }, cache }
    }

    /// Memory that the kept pages take, bytes.
    pub(super) fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The kept page of a place. `None`: it will arrive for who asks.
    pub(super) fn fetch(&mut self, hash: u64, place: Place) -> Option<&KeptPage> {
        let found = self.cache.find(place);
        if found.is_none() {
            self.flights.ask(vec![(hash, place.to_bits())], place);
        }
        found
    }

    /// The next page that was read.
    pub(super) fn next(&mut self) -> Option<Arrived> {
        loop {
            let FetchedPage { number, place, page } = self.fetched.try_recv().ok()?;
            let Some(Flight { since, asked, .. }) = self.flights.land(number, place) else { continue };
            if self.flights.overwrites.reached(place, since) {
                self.flights.ask(asked, place);
                continue;
            }
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
