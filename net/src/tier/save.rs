//! What travels between a shard and the storage thread.

use torc_engine::Shard;
use torc_engine::command::Millis;
use torc_engine::shard::{Unsaved, What};
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::spaces::SpaceTable;
use torc_proto::slot::SLOTS;

/// Most records of a batch.
const RECORDS_MAX: usize = 2048;
/// A batch takes no more items when they are so many bytes.
const ITEM_BYTES_MAX: usize = 256 << 10;
/// Memory of a batch, roughly, bytes.
pub(crate) const SAVE_BYTES: usize = ITEM_BYTES_MAX + RECORDS_MAX * size_of::<Entry>();

/// Where an item lies in a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct InJournal {
    pub(super) place: u64,
    /// Where the batch of the stream begins that has it, too.
    pub(super) batch: u64,
}

/// A record, where its item ends in the batch's bytes, and where it lies on the medium when that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(super) end: u32,
    pub(crate) place: Option<u64>,
    /// Where it lies beside that, until its stream is drained.
    pub(super) in_journal: Option<InJournal>,
}

impl Entry {
    /// Tells the shard that it is saved.
    pub(crate) fn tell(&self, shard: &mut Shard) {
        let Record { hash, version, expiry, kind, .. } = self.record;
        match kind {
            Kind::Chunk => shard.saved_chunk(hash, expiry, version, self.place),
            _ => shard.saved(hash, version, kind.has_bytes(), self.place),
        }
    }
}

/// Changes of one shard, in their order.
#[derive(Debug, Default)]
pub(crate) struct SaveBatch {
    pub(crate) shard: u16,
    pub(crate) entries: Vec<Entry>,
    pub(super) bytes: Vec<u8>,
    /// The table of spaces that some of it was changed under: it is to be safe before any of it is written.
    pub(crate) spaces: Option<Box<SpaceTable>>,
    /// What had been taken of the shard's changes with this batch: [`torc_engine::Shard::taken_up_to`].
    pub(crate) up_to: u64,
    /// When it was handed over.
    pub(crate) handed_at: Millis,
    /// How many the storage thread has added.
    pub(crate) added: usize,
}

impl SaveBatch {
    /// Takes a change; false: the batch is full.
    pub(crate) fn take(&mut self, unsaved: &Unsaved<'_>) -> bool {
        if self.entries.len() >= RECORDS_MAX || self.bytes.len() >= ITEM_BYTES_MAX {
            return false;
        }
        let Unsaved { hash, version, expiry, space, slot, what } = *unsaved;
        if let What::Spaces(table) = what {
            self.spaces = Some(Box::new(*table));
            return true;
        }
        let (kind, item, expiry) = match what {
            What::Item(item) => (Kind::Item, Some(item), expiry.unwrap_or(0)),
            What::Head(item) => (Kind::ChainHead, Some(item), expiry.unwrap_or(0)),
            What::Chunk { item, of } => (Kind::Chunk, Some(item), of),
            What::Gone => (Kind::Tombstone, None, 0),
            What::Flushed => (Kind::FlushAll, None, 0),
            What::Spaces(_) => return true,
        };
        item.iter().for_each(|item| item.append_to(&mut self.bytes));
        let record = match kind {
            Kind::FlushAll => Record::flush(None, 0..=SLOTS - 1, version),
            _ => Record { hash, version, expiry, space, slot, kind },
        };
        self.entries.push(Entry { record, end: self.bytes.len() as u32, place: None, in_journal: None });
        true
    }

    /// The bytes of an item.
    pub(crate) fn item(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.entries[before].end);
        &self.bytes[start as usize..self.entries[number].end as usize]
    }

    /// Ready for other changes; the memory is kept.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.spaces = None;
        self.added = 0;
    }
}
