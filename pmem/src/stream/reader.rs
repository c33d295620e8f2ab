//! Reading items back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

use crate::format::UNIT_BYTES;
use crate::format::geometry::{Geometry, Place};
use crate::format::page::{BadPage, HEADER_BYTES, PageHeader, item};
use crate::media::{BLOCK_BYTES, Block, MediaError, Medium, blocks_of, bytes};

/// What the writer of each stream tells whoever reads it: positions behind its last batch, and of the oldest that is still
/// needed.
#[derive(Debug, Clone)]
pub(crate) struct Ends(Arc<[[AtomicU64; 2]]>);

impl Ends {
    pub(crate) fn new(streams: u16) -> Ends {
        Ends((0..streams).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect())
    }

    pub(crate) fn tell(&self, stream: u16, end: u64) {
        self.0[usize::from(stream)][0].store(end, Ordering::Release);
    }

    fn of(&self, stream: u16) -> u64 {
        self.0[usize::from(stream)][0].load(Ordering::Acquire)
    }

    /// Batches below this position may be written over from now on.
    pub(crate) fn free(&self, stream: u16, oldest: u64) {
        // Before anything is written there: whoever has read what was written over sees this.
        self.0[usize::from(stream)][1].store(oldest, Ordering::SeqCst);
    }

    pub(crate) fn oldest(&self, stream: u16) -> u64 {
        self.0[usize::from(stream)][1].load(Ordering::SeqCst)
    }
}

/// Why a place gives no item. To whoever asked it is a miss.
#[derive(Debug, Error)]
pub enum Miss {
    #[error(transparent)]
    Corrupt(#[from] BadPage),
    #[error(transparent)]
    Media(#[from] MediaError),
}

/// A page that was verified.
#[derive(Debug)]
pub struct Page<'r> {
    header: PageHeader,
    payload: &'r [u8],
}

impl Page<'_> {
    /// An item of it, by its number.
    ///
    /// # Errors
    /// [`BadPage::Item`]: it has no such item.
    pub fn item(&self, ordinal: u16) -> Result<&[u8], BadPage> {
        item(self.payload, self.header.items, ordinal)
    }

    /// Bytes of its items, with their lengths.
    pub fn raw_bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// Bytes that they take on the medium.
    pub fn stored_bytes(&self) -> u64 {
        u64::from(self.header.stored)
    }
}

/// Reads items. Each thread that reads has its own; all that are cloned of one count together.
#[derive(Debug)]
pub struct Reader {
    medium: Arc<dyn Medium>,
    geometry: Geometry,
    ends: Ends,
    blocks: Vec<Block>,
    payload: Vec<u8>,
    corrupt: Arc<AtomicU64>,
}

impl Clone for Reader {
    fn clone(&self) -> Reader {
        let corrupt = Arc::clone(&self.corrupt);
        Reader { corrupt, ..Reader::new(Arc::clone(&self.medium), self.geometry, self.ends.clone()) }
    }
}

impl Reader {
    pub(crate) fn new(medium: Arc<dyn Medium>, geometry: Geometry, ends: Ends) -> Reader {
        Reader { medium, geometry, ends, blocks: Vec::new(), payload: Vec::new(), corrupt: Arc::default() }
    }

    /// Reads of this reader and its clones that failed because of what was read.
    pub fn corrupt(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// The bytes of the item at a place, as they were added. Nothing that was read is believed before its checksum holds.
    /// A place that was freed may give another item, though a whole one: the caller compares the key.
    ///
    /// # Errors
    /// [`Miss`].
    pub fn read(&mut self, place: Place) -> Result<&[u8], Miss> {
        match self.fetch(place) {
            Ok((header, skip)) => {
                // Steps 2 to 4.
                let stored = &bytes(&self.blocks)[skip + HEADER_BYTES..];
                let most = self.geometry.config.batch_bytes as usize;
                let opened = header.open(stored, &mut self.payload, most);
                opened.and_then(|payload| item(payload, header.items, place.ordinal())).map_err(Miss::Corrupt)
            }
            Err(miss) => Err(miss),
        }
        .inspect_err(|miss| {
            if let Miss::Corrupt(_) = miss {
                self.corrupt.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// The page of a place, for whoever looks at more than one item of it. What is wrong with it is not counted.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn page(&mut self, place: Place) -> Result<Page<'_>, Miss> {
        let (header, skip) = self.fetch(place)?;
        let stored = &bytes(&self.blocks)[skip + HEADER_BYTES..];
        let most = self.geometry.config.batch_bytes as usize;
        Ok(Page { payload: header.open(stored, &mut self.payload, most)?, header })
    }

    /// Reads the page of a place whole, and returns its header and where in the blocks it begins.
    fn fetch(&mut self, place: Place) -> Result<(PageHeader, usize), Miss> {
        let misplaced = Miss::Corrupt(BadPage::Misplaced);
        let Some((stream, in_ring)) = self.geometry.stream_of(place.unit()) else { return Err(misplaced) };
        let ring = self.geometry.ring(stream);
        let Some(rest_units) = ring.units().checked_sub(in_ring) else { return Err(misplaced) };
        let at = place.unit() * UNIT_BYTES as u64;
        let skip = at as usize % BLOCK_BYTES;
        let most = (rest_units as usize * UNIT_BYTES + skip) / BLOCK_BYTES;
        let mut wanted = self.geometry.config.page_bytes as usize;
        loop {
            // Step 1: one read gets any page but one that a long item has for itself.
            self.blocks.resize(blocks_of(skip + wanted).min(most), Block::ZERO);
            self.medium.read(at - skip as u64, &mut self.blocks)?;
            let found = bytes(&self.blocks).get(skip..).unwrap_or_default();
            // Step 2.
            let header = PageHeader::decode(found)?;
            // A page that should have been written over and is still there was lost by the medium.
            let is_current = header.position.saturating_add(ring.units()) >= self.ends.of(stream);
            let is_in_place = header.stream == stream && header.position % ring.units() == in_ring;
            if !is_in_place || !is_current || header.volume != self.geometry.config.volume {
                return Err(misplaced);
            }
            let page_bytes = HEADER_BYTES + header.stored as usize;
            if page_bytes > self.geometry.config.batch_bytes as usize {
                return Err(BadPage::Header.into());
            }
            if page_bytes <= wanted.max(found.len()) {
                return Ok((header, skip));
            }
            wanted = page_bytes;
        }
    }
}
