//! Pages of a medium that can be slow, kept by the shard that has read them.
//!
//! What is read is brought back to DRAM, so a kept page serves the other items that lie beside it: those that were written at the
//! same time and are read at the same time. The page that was read first goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use torc_pmem::format::geometry::Place;
use torc_pmem::stream::{KeptPage, Moment, Overwrites};

/// What a page takes beside its payload, bytes: its entries in map and line, and the allocator's own.
const ENTRY_BYTES: usize = 128;

#[derive(Debug)]
struct Entry {
    page: Arc<KeptPage>,
    /// Before it was read.
    since: Moment,
}

/// Pages of one shard, in bounded memory.
#[derive(Debug)]
pub(super) struct PageCache {
    overwrites: Overwrites,
    /// By unit.
    pages: HashMap<u64, Entry>,
    /// The units of all of them, in the order in which they came.
    line: VecDeque<u64>,
    bytes: usize,
    bytes_max: usize,
}

impl PageCache {
    /// One that keeps so many bytes; none: nothing.
    pub(super) fn new(overwrites: Overwrites, bytes_max: usize) -> PageCache {
        PageCache { overwrites, pages: HashMap::new(), line: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The page of a place, if it is here and nothing was written over it since it was read.
    pub(super) fn find(&self, place: Place) -> Option<&KeptPage> {
        let entry = self.pages.get(&place.unit())?;
        (!self.overwrites.reached(place, entry.since)).then_some(&*entry.page)
    }

    /// Keeps the page of a place that was read after a moment.
    pub(super) fn keep(&mut self, place: Place, page: &Arc<KeptPage>, since: Moment) {
        let bytes = bytes_of(page);
        // An item that is alone in its page is in DRAM now.
        if page.items < 2 || bytes > self.bytes_max {
            return;
        }
        let entry = Entry { page: page.clone(), since };
        match self.pages.insert(place.unit(), entry) {
            // Another lap's; it keeps its place in the line.
            Some(older) => self.bytes -= bytes_of(&older.page),
            None => self.line.push_back(place.unit()),
        }
        self.bytes += bytes;
        while self.bytes > self.bytes_max
            && let Some(unit) = self.line.pop_front()
        {
            self.bytes -= self.pages.remove(&unit).map_or(0, |entry| bytes_of(&entry.page));
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pages = HashMap::new();
        self.line = VecDeque::new();
        self.bytes = 0;
    }
}

fn bytes_of(page: &KeptPage) -> usize {
    page.payload.len() + ENTRY_BYTES
}
