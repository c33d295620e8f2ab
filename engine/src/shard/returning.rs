//! Long values that come back to DRAM, chunk by chunk.
//!
//! ```text
//!   Shard::promote, with the head --> Returning
//!        Shard::start_return, when there is room for it
//!        Shard::chunk_to_fetch --> a name and a place, and room in DRAM --> Shard::chunk_back, with the bytes     as often as needed
//!   Shard::end_return --> the head can be found; or Shard::stop_return: nothing has happened
//! ```
//!
//! Until the end nobody can find the value, so an answer begins when all of it is there. Whoever fetches decides how many chunks
//! are on their way at a time. What has come is kept as the chunks of an upload are: pinned, counted among the values that are under
//! way, and given up for others when it stands still.

use super::elsewhere::whole_item;
use super::{Key, Shard};
use crate::chain::{ChainList, Extent, ListWriter, ORDINAL_BYTES, Upload, list_bytes};
use crate::command::{Millis, Ticket, UploadId};
use crate::item::{Header, ItemRef, present};

/// A long value on its way back.
#[derive(Debug)]
pub struct Returning {
    /// Since it was started.
    id: Option<UploadId>,
    hash: u64,
    ticket: Ticket,
    /// Memory that it will take.
    cost: u64,
    /// Its head, encoded.
    head: Box<[u8]>,
    /// Chunks that were asked for and have not come.
    missing: usize,
}

/// A chunk that is to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    pub name: u64,
    pub ticket: Ticket,
    number: usize,
}

/// A value does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl Returning {
    /// Where its head lies.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Chunks that were asked for and have not come.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Its head, as it lies on the medium.
    pub fn bytes(&self) -> &[u8] {
        &self.head
    }

    fn head(&self) -> (ItemRef<'_>, ChainList<'_>) {
        let item = ItemRef::new((&self.head[..]).into());
        (item, ChainList::new(item.value()))
    }

    fn key(&self) -> Key<'_> {
        let (item, _) = self.head();
        let value_at = item.value_at();
        Key { bytes: &self.head[value_at - item.key_len()..value_at], space: item.space(), hash: self.hash }
    }
}

impl Shard {
    /// Whether each chunk of a head from a medium fits into a segment. They may have been longer when it was written.
    pub(super) fn chunks_fit(&self, head: &ItemRef<'_>, list: ChainList<'_>) -> bool {
        let header = Header { kind: present::CHUNK, space: head.space(), ..Header::default() };
        let len = |bytes: u64| header.item_len(head.key_len(), ORDINAL_BYTES + bytes as usize);
        let mut chunks = list.extents().filter(|extent| extent.ordinal().is_some());
        chunks.all(|chunk| len(chunk.len()) <= self.segments.segment_bytes())
    }

    /// Whether a head from a medium is one, and the index names all of its chunks.
    pub(super) fn has_chunks(&self, hash: u64, list: ChainList<'_>) -> bool {
        let (mut bytes, mut stored) = (0, 0);
        for extent in list.extents() {
            bytes += extent.len();
            let Some(ordinal) = extent.ordinal() else { continue };
            stored += extent.len();
            let name = self.chunk_name(hash, list.chain(), ordinal);
            if ordinal >= list.next_ordinal() || self.chunk_place(name).is_none() {
                return false;
            }
        }
        (bytes, stored) == (list.value_bytes(), list.stored_bytes())
    }

    /// What begins to bring a long value back, whose head is `bytes`.
    pub(super) fn returning(
        &self,
        key: Key<'_>,
        ticket: Ticket,
        (bytes, list): (&[u8], ChainList<'_>),
    ) -> Returning {
        let beside = self.chunk_header(key, 0).bytes() + key.bytes.len() + ORDINAL_BYTES;
        let cost = list.stored_bytes() + (list.len() * beside) as u64;
        Returning { id: None, hash: key.hash, ticket, cost, head: bytes.into(), missing: 0 }
    }

    /// A number that changes when a pinned segment is given back: a value that found no memory may find some then.
    pub fn pins_given_back(&self) -> u64 {
        self.segments.unpinned()
    }

    /// Has memory set aside for a value, before its first chunk is asked for. False: too much is under way or pinned now.
    ///
    /// # Errors
    /// [`Lost`]: it is longer than may be under way.
    pub fn start_return(&mut self, returning: &mut Returning, now: Millis) -> Result<bool, Lost> {
        let cost = returning.cost;
        if cost > self.uploads_room_max() {
            return Err(Lost);
        }
        if cost > self.returns_room() {
            return Ok(false);
        }
        let (key, (_, list)) = (returning.key(), returning.head());
        let upload = Upload {
            id: UploadId(0),
            database: None,
            space: key.space,
            key: key.bytes.into(),
            bytes: list.stored_bytes(),
            cost,
            taken: 0,
            received: 0,
            chain: list.chain(),
            extents: Vec::with_capacity(list.len()),
            own: None,
            room: 0,
            room_at: 0,
            lends: false,
            returns: true,
            moved_at: now,
            waits: false,
        };
        returning.id = self.uploads.begin(upload);
        Ok(returning.id.is_some())
    }

    /// The next chunk that is to be fetched; `None`: all were asked for.
    ///
    /// # Errors
    /// [`Lost`]: a chunk is gone, or there is no room for it.
    pub fn chunk_to_fetch(&mut self, returning: &mut Returning, now: Millis) -> Result<Option<Chunk>, Lost> {
        let mut upload = returning.id.and_then(|id| self.uploads.take(id)).ok_or(Lost)?;
        let chunk = self.reserve_chunk(returning, &mut upload, now);
        self.uploads.put_back(upload);
        chunk
    }

    fn reserve_chunk(
        &mut self,
        returning: &mut Returning,
        upload: &mut Upload,
        now: Millis,
    ) -> Result<Option<Chunk>, Lost> {
        let (key, (_, list)) = (returning.key(), returning.head());
        for number in upload.extents.len()..list.len() {
            let extent = list.extent(number);
            let Some(ordinal) = extent.ordinal() else {
                upload.extents.push(Extent::hole(extent.len()));
                continue;
            };
            let name = self.chunk_name(key.hash, upload.chain, ordinal);
            let place = self.chunk_place(name).ok_or(Lost)?;
            // As its head: where the index is full the coldest goes, and a value is gone with its first chunk.
            self.count_elsewhere(name, 1);
            let (len, left) = (extent.len() as usize, upload.bytes - upload.received - upload.room as u64);
            upload.own = self.own_segment(upload.own, left, now);
            let there =
                self.add_chunk(key, (upload.chain, ordinal), len, upload.own, now).map_err(|_| Lost)?;
            upload.extents.push(there);
            upload.room += len;
            upload.moved_at = now;
            returning.missing += 1;
            return Ok(Some(Chunk { name, ticket: Ticket(place), number }));
        }
        Ok(None)
    }

    /// The bytes have come that lay at a chunk's ticket.
    ///
    /// # Errors
    /// [`Lost`]: they are not the chunk's, or the value was given up.
    pub fn chunk_back(&mut self, returning: &mut Returning, chunk: &Chunk, bytes: &[u8]) -> Result<(), Lost> {
        returning.missing -= 1;
        let mut upload = returning.id.and_then(|id| self.uploads.take(id)).ok_or(Lost)?;
        let (extent, key) = (upload.extents[chunk.number], returning.key());
        let is_it = |item: &ItemRef<'_>| {
            let value = item.value();
            item.present() & present::CHUNK != 0
                && key.is_of(item)
                && value.len() as u64 == ORDINAL_BYTES as u64 + extent.len()
                && (item.version(), Some(value.word(0))) == (upload.chain, extent.ordinal())
        };
        let data = whole_item(bytes).filter(is_it).map(|item| item.value().behind(ORDINAL_BYTES));
        if let (Some(data), Some(at)) = (data, self.data_at(extent)) {
            self.segments.bytes_mut(at, data.len()).copy_from(data);
            upload.received += data.len() as u64;
            upload.room -= data.len();
        }
        self.uploads.put_back(upload);
        data.map(drop).ok_or(Lost)
    }

    /// All chunks have come: the value is in DRAM, unless its key has changed meanwhile.
    ///
    /// # Errors
    /// [`Lost`]: there is no room for its head, or the value was given up.
    pub fn end_return(&mut self, returning: &Returning, now: Millis) -> Result<(), Lost> {
        let (key, (item, list)) = (returning.key(), returning.head());
        let upload = returning.id.and_then(|id| self.complete(id, key).ok()).ok_or(Lost)?;
        let mut entry = self.entry_at(key.hash, returning.ticket).filter(|_| self.find(key).is_none());
        if let Some((place, over)) = entry.take_if(|_| !item.is_live(now, self.flushed)) {
            self.index.remove_elsewhere(place, &over);
        }
        let header = item.header();
        let at = match entry.map(|_| self.room(key, &header, list_bytes(list.len()), now)) {
            Some(Ok(at)) => at,
            room => {
                self.discard(&upload.extents);
                return room.map_or(Ok(()), |_| Err(Lost));
            }
        };
        let bytes = list_bytes(list.len());
        let out = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), bytes));
        let value_at = header.write(key.bytes, bytes, out);
        let out = out.slice(value_at..value_at + bytes);
        let mut writer = ListWriter::new(bytes);
        upload.extents.iter().for_each(|&extent| writer.push(out, extent));
        writer.finish(out, list.chain(), list.next_ordinal(), 0);
        upload.locations().for_each(|chunk| self.segments.unpin_filled(chunk));
        self.link_back(key, at, entry.map_or(0, |(_, entry)| entry.frequency));
        Ok(())
    }

    /// A value does not come back.
    pub fn stop_return(&mut self, returning: Returning) {
        returning.id.into_iter().for_each(|id| self.upload_abort(id));
    }
}
