//! Reading items back.

use std::sync::Arc;
use thiserror::Error;

use super::ends::Ends;
use crate::format::UNIT_BYTES;
use crate::format::geometry::{Geometry, Place};
use crate::format::page::{BadPage, HEADER_BYTES, PageHeader, item};
use crate::media::{BLOCK_BYTES, Block, MediaError, Medium, blocks_of, bytes};

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

    /// The page apart from its reader.
    pub fn keep(&self) -> KeptPage {
        KeptPage { items: self.header.items, payload: self.payload.into() }
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

/// A page that was verified, as it was before it was compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPage {
    pub items: u16,
    pub payload: Box<[u8]>,
}

impl KeptPage {
    /// As [`Page::item`].
    ///
    /// # Errors
    /// [`BadPage::Item`]: it has no such item.
    pub fn item(&self, ordinal: u16) -> Result<&[u8], BadPage> {
        item(&self.payload, self.items, ordinal)
    }
}

/// What to read of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The first byte, a multiple of a block.
    pub at: u64,
    pub blocks: usize,
}

/// Where the page of a place lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    stream: u16,
    /// The unit of the stream's ring.
    in_ring: u64,
    ring_units: u64,
    /// Its first block, bytes from the start of the medium, and where in that it begins.
    at: u64,
    skip: usize,
    /// From there to the end of the ring.
    blocks_most: usize,
}

impl Span {
    fn ask(self, page_bytes: usize) -> Ask {
        Ask { at: self.at, blocks: blocks_of(self.skip + page_bytes).min(self.blocks_most) }
    }
}

/// Reads items. Each thread that reads has its own.
#[derive(Debug)]
pub struct Reader {
    medium: Arc<dyn Medium>,
    geometry: Geometry,
    ends: Ends,
    blocks: Vec<Block>,
    payload: Vec<u8>,
}

impl Clone for Reader {
    fn clone(&self) -> Reader {
        Reader::new(Arc::clone(&self.medium), self.geometry, self.ends.clone())
    }
}

impl Reader {
    pub(crate) fn new(medium: Arc<dyn Medium>, geometry: Geometry, ends: Ends) -> Reader {
        Reader { medium, geometry, ends, blocks: Vec::new(), payload: Vec::new() }
    }

    /// What it reads.
    pub fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    /// The bytes of the item at a place, as they were added. Nothing that was read is believed before its checksum holds.
    /// A place that was freed may give another item, though a whole one: the caller compares the key.
    ///
    /// # Errors
    /// [`Miss`].
    pub fn read(&mut self, place: Place) -> Result<&[u8], Miss> {
        let (header, skip) = self.fetch(place)?;
        // Steps 2 to 4.
        let stored = &bytes(&self.blocks)[skip + HEADER_BYTES..];
        let most = self.geometry.config.batch_bytes as usize;
        let payload = header.open(stored, &mut self.payload, most)?;
        Ok(item(payload, header.items, place.ordinal())?)
    }

    /// The page of a place, for whoever looks at more than one item of it.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn page(&mut self, place: Place) -> Result<Page<'_>, Miss> {
        let (header, skip) = self.fetch(place)?;
        let stored = &bytes(&self.blocks)[skip + HEADER_BYTES..];
        let most = self.geometry.config.batch_bytes as usize;
        Ok(Page { payload: header.open(stored, &mut self.payload, most)?, header })
    }

    /// What to read for the page of a place, for whoever reads the medium otherwise.
    ///
    /// # Errors
    /// [`BadPage::Misplaced`]: there are no pages.
    pub fn ask(&self, place: Place) -> Result<Ask, Miss> {
        self.span(place).map(|span| span.ask(self.geometry.config.page_bytes as usize))
    }

    /// As [`Reader::page`], from bytes that were [asked for](Reader::ask) and read elsewhere. `None`: the page is longer than that,
    /// and has to be read by [`Reader::page`].
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn page_in<'r>(&'r mut self, place: Place, found: &'r [u8]) -> Result<Option<Page<'r>>, Miss> {
        let span = self.span(place)?;
        let found = found.get(span.skip..).unwrap_or_default();
        let header = self.check(span, found)?;
        let most = self.geometry.config.batch_bytes as usize;
        let Some(stored) = found.get(HEADER_BYTES..).filter(|stored| stored.len() >= header.stored as usize)
        else {
            return Ok(None);
        };
        Ok(Some(Page { payload: header.open(stored, &mut self.payload, most)?, header }))
    }

    fn span(&self, place: Place) -> Result<Span, Miss> {
        let misplaced = Miss::Corrupt(BadPage::Misplaced);
        let Some((stream, in_ring)) = self.geometry.stream_of(place.unit()) else { return Err(misplaced) };
        let ring_units = self.geometry.ring(stream).units();
        let Some(rest_units) = ring_units.checked_sub(in_ring) else { return Err(misplaced) };
        let at = place.unit() * UNIT_BYTES as u64;
        let skip = at as usize % BLOCK_BYTES;
        let blocks_most = (rest_units as usize * UNIT_BYTES + skip) / BLOCK_BYTES;
        Ok(Span { stream, in_ring, ring_units, at: at - skip as u64, skip, blocks_most })
    }

    /// Step 2 for what was found at a place.
    fn check(&self, span: Span, found: &[u8]) -> Result<PageHeader, Miss> {
        let header = PageHeader::decode(found)?;
        // A page that should have been written over and is still there was lost by the medium.
        let is_current = header.position.saturating_add(span.ring_units) >= self.ends.of(span.stream);
        let is_in_place = header.stream == span.stream && header.position % span.ring_units == span.in_ring;
        if !is_in_place || !is_current || header.volume != self.geometry.config.volume {
            return Err(BadPage::Misplaced.into());
        }
        if HEADER_BYTES + header.stored as usize > self.geometry.config.batch_bytes as usize {
            return Err(BadPage::Header.into());
        }
        Ok(header)
    }

    /// Reads the page of a place whole, and returns its header and where in the blocks it begins.
    fn fetch(&mut self, place: Place) -> Result<(PageHeader, usize), Miss> {
        let span = self.span(place)?;
        let mut wanted = self.geometry.config.page_bytes as usize;
        self.give_back(wanted);
        loop {
            // Step 1: one read gets any page but one that a long item has for itself.
            self.blocks.resize(span.ask(wanted).blocks, Block::ZERO);
            self.medium.read(span.at, &mut self.blocks)?;
            let found = bytes(&self.blocks).get(span.skip..).unwrap_or_default();
            let header = self.check(span, found)?;
            let page_bytes = HEADER_BYTES + header.stored as usize;
            if page_bytes <= wanted.max(found.len()) {
                return Ok((header, span.skip));
            }
            wanted = page_bytes;
        }
    }

    /// Gives the memory back that a page took which a long item had for itself.
    fn give_back(&mut self, page_bytes: usize) {
        // A page begins at a unit and may end in one block more.
        let blocks = blocks_of(page_bytes) + 1;
        self.blocks.truncate(blocks);
        self.blocks.shrink_to(blocks);
        self.payload.truncate(page_bytes);
        self.payload.shrink_to(page_bytes);
    }
}
