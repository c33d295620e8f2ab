//! Packing records into a batch, in memory.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use thiserror::Error;

use crate::format::batch::{Bounds, HEAD_BYTES, Head, Part};
use crate::format::page::{ALIGN, Compression, HEADER_BYTES, LENGTH_BYTES, PageHeader};
use crate::format::record::{Entry, RECORD_BYTES, Record};
use crate::format::superblock::Config;
use crate::format::{UNIT_BYTES, checksum, geometry::Place};
use crate::media::{Block, blocks_of, bytes_mut, zeroed};

/// Why a record was not taken.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    #[error("the batch is full: write it, and add the record again")]
    BatchFull,
    #[error("an item of {bytes} bytes is longer than a batch takes, which is {most}")]
    TooLong { bytes: usize, most: usize },
    #[error("a record with bytes behind it must have some, and a mark has none")]
    Kind,
}

/// Lowest and highest slot before there is any.
const NO_SLOTS: (u16, u16) = (u16::MAX, 0);

/// What a batch says of the stream it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) drained: u64,
    pub(super) oldest: u64,
    pub(super) previous: Bounds,
}

/// A batch that is being filled. Pages that are full lie in it as they will lie on the medium.
pub(super) struct Packer {
    config: Config,
    /// `None`: pages stay as they are.
    compression: Option<CompressTable>,
    blocks: Vec<Block>,
    /// Bytes of the batch that are taken by the head and by whole pages; a multiple of a unit.
    used: usize,
    /// Items of the open page, and when it is closed their lengths.
    page: Vec<u8>,
    lengths: Vec<u8>,
    table: Vec<u8>,
    pages: u32,
    /// Bytes of the items and records before they are compressed, and those of the batch that hold nothing.
    raw: usize,
    padding: usize,
    bounds: Bounds,
    /// Position that all before it is drained, as the pages say it.
    drained: u64,
    stream: u16,
    generation: u64,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Packer").field("used", &self.used).field("bounds", &self.bounds).finish()
    }
}

impl Packer {
    /// A batch of a stream, or of a journal, by its number among the rings.
    pub(super) fn new(mut config: Config, stream: u16, generation: u64) -> Packer {
        let compression = match config.page_bytes {
            // A journal's pages are there for a short while.
            _ if stream >= config.streams => None,
            bytes if bytes < 1 << 16 => Some(CompressTable::small()),
            _ => Some(CompressTable::large()),
        };
        if compression.is_none() {
            config.batch_bytes = config.journal.batch_bytes;
        }
        // Compression may write more than it keeps, at the end of the largest batch.
        let room = config.batch_bytes as usize + get_maximum_output_size(config.batch_bytes as usize);
        let page = Vec::with_capacity(config.page_bytes as usize);
        Packer {
            config,
            compression,
            blocks: zeroed(blocks_of(room)),
            used: HEAD_BYTES,
            page,
            lengths: Vec::new(),
            table: Vec::new(),
            pages: 0,
            raw: 0,
            padding: 0,
            bounds: Bounds::default(),
            drained: 0,
            stream,
            generation,
        }
    }

    /// Begins a batch at a position.
    pub(super) fn begin(&mut self, start: u64, drained: u64) {
        self.bounds = Bounds { start, slots: NO_SLOTS, ..Bounds::default() };
        self.drained = drained;
        self.used = HEAD_BYTES;
        (self.pages, self.raw, self.padding) = (0, 0, 0);
        self.page.clear();
        self.lengths.clear();
        self.table.clear();
    }

    pub(super) fn start(&self) -> u64 {
        self.bounds.start
    }

    pub(super) fn records(&self) -> u32 {
        self.bounds.records
    }

    /// Whether there is nothing to be written. A part of a snapshot is written though it may have no records.
    pub(super) fn is_empty(&self) -> bool {
        self.bounds.records == 0 && self.bounds.slots == NO_SLOTS
    }

    /// Fills a batch that is empty with a part of a snapshot.
    pub(super) fn put_part(&mut self, part: Part, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.table.extend_from_slice(&entry.encode()));
        self.bounds = part.bounds(entries.len() as u32, self.bounds);
    }

    /// Bytes of what was added, before it is compressed.
    pub(super) fn raw_bytes(&self) -> usize {
        self.raw
    }

    /// Bytes of the batch that was finished that hold nothing.
    pub(super) fn padding_bytes(&self) -> usize {
        self.padding
    }

    /// Step 1: puts an item into the open page and its record into the table. Returns the position of the page and the
    /// item's number in it; a mark has neither.
    pub(super) fn add(&mut self, record: &Record, bytes: &[u8]) -> Result<Option<(u64, u16)>, Unfit> {
        if record.kind.has_bytes() == bytes.is_empty() {
            return Err(Unfit::Kind);
        }
        let padded = bytes.len().next_multiple_of(ALIGN);
        let room = self.config.batch_bytes as usize - batch_bytes(HEAD_BYTES, 0, 1);
        let most = (room / UNIT_BYTES * UNIT_BYTES - HEADER_BYTES - LENGTH_BYTES) / ALIGN * ALIGN;
        if padded > most {
            return Err(Unfit::TooLong { bytes: bytes.len(), most });
        }
        let closes = !bytes.is_empty() && !self.fits_page(padded);
        let (used, page) = match closes {
            true => (self.used + stored_max(self.page.len() + self.lengths.len()), 0),
            false => (self.used, self.page.len() + self.lengths.len()),
        };
        let page = if bytes.is_empty() { page } else { page + padded + LENGTH_BYTES };
        if batch_bytes(used, page, self.table.len() / RECORD_BYTES + 1) > self.config.batch_bytes as usize {
            return Err(Unfit::BatchFull);
        }
        if closes {
            self.close_page();
        }
        let place = (!bytes.is_empty()).then(|| {
            let ordinal = (self.lengths.len() / LENGTH_BYTES) as u16;
            self.page.extend_from_slice(bytes);
            self.page.resize(self.page.len().next_multiple_of(ALIGN), 0);
            self.lengths.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            (self.bounds.start + (self.used / UNIT_BYTES) as u64, ordinal)
        });
        self.raw += RECORD_BYTES + if place.is_some() { padded + LENGTH_BYTES } else { 0 };
        let page = if place.is_some() { (self.used / UNIT_BYTES) as u32 } else { 0 };
        let ordinal = place.map_or(0, |(_, ordinal)| ordinal);
        self.table
            .extend_from_slice(&Entry { record: *record, page, len: bytes.len() as u32, ordinal }.encode());
        let (bounds, slots) = (&mut self.bounds, record.slots());
        bounds.slots = (bounds.slots.0.min(*slots.start()), bounds.slots.1.max(*slots.end()));
        bounds.version = bounds.version.max(record.version);
        bounds.records += 1;
        Ok(place)
    }

    fn fits_page(&self, padded: usize) -> bool {
        let items = self.lengths.len() / LENGTH_BYTES;
        let payload = self.page.len() + padded + (items + 1) * LENGTH_BYTES;
        // An item that is longer than a page has one of its own.
        items == 0 || HEADER_BYTES + payload <= self.config.page_bytes as usize && items < Place::ORDINALS
    }

    /// Step 2: compresses the open page if that pays, and puts it into the batch under its two checksums.
    fn close_page(&mut self) {
        let items = (self.lengths.len() / LENGTH_BYTES) as u16;
        self.page.extend_from_slice(&self.lengths);
        let raw = self.page.len();
        let page = &mut bytes_mut(&mut self.blocks)[self.used..];
        let (header, payload) = page.split_at_mut(HEADER_BYTES);
        let room = &mut payload[..get_maximum_output_size(raw)];
        let compressed = self
            .compression
            .as_mut()
            .and_then(|table| compress_into_with_table(&self.page, room, table).ok());
        // It pays if it saves an eighth: less is not worth the time of every read.
        let (compression, stored) = match compressed {
            Some(stored) if stored <= raw - raw / 8 => (Compression::Lz4, stored),
            _ => {
                payload[..raw].copy_from_slice(&self.page);
                (Compression::Raw, raw)
            }
        };
        let page = PageHeader {
            stream: self.stream,
            compression,
            position: self.bounds.start + (self.used / UNIT_BYTES) as u64,
            drained: self.drained,
            volume: self.config.volume,
            raw: raw as u32,
            stored: stored as u32,
            items,
            generation: self.generation as u32,
            payload_checksum: checksum(&payload[..stored]),
        };
        header.copy_from_slice(&page.encode());
        let end = stored.next_multiple_of(UNIT_BYTES);
        payload[stored..end].fill(0);
        self.padding += end - stored;
        self.used += HEADER_BYTES + end;
        self.pages += 1;
        self.page.clear();
        self.lengths.clear();
    }

    /// Steps 2 and 3: closes the last page, adds table, head and foot, and gives the whole batch with its bounds.
    pub(super) fn finish(&mut self, context: &Context) -> (&[Block], Bounds) {
        if !self.lengths.is_empty() {
            self.close_page();
        }
        let bytes = bytes_mut(&mut self.blocks);
        let table_end = self.used + self.table.len();
        bytes[self.used..table_end].copy_from_slice(&self.table);
        let blocks = blocks_of(table_end + HEAD_BYTES);
        let end = blocks * size_of::<Block>();
        bytes[table_end..end - HEAD_BYTES].fill(0);
        self.padding += end - HEAD_BYTES - table_end;
        self.bounds.table = (self.used / UNIT_BYTES) as u32;
        self.bounds.units = (end / UNIT_BYTES) as u32;
        let head = Head {
            stream: self.stream,
            pages: self.pages,
            volume: self.config.volume,
            generation: self.generation,
            drained: context.drained,
            oldest: context.oldest,
            bounds: self.bounds,
            previous: context.previous,
            table_checksum: checksum(&self.table),
        };
        bytes[..HEAD_BYTES].copy_from_slice(&head.encode_head());
        bytes[end - HEAD_BYTES..end].copy_from_slice(&head.encode_foot());
        (&self.blocks[..blocks], self.bounds)
    }
}

/// Most bytes that a page with such a payload takes; none has no page.
fn stored_max(payload: usize) -> usize {
    if payload == 0 { 0 } else { (HEADER_BYTES + payload).next_multiple_of(UNIT_BYTES) }
}

/// Most bytes of a batch with so many bytes of head and whole pages, such a payload in its last page, and so many records.
fn batch_bytes(used: usize, payload: usize, records: usize) -> usize {
    used + stored_max(payload) + records * RECORD_BYTES + HEAD_BYTES
}
