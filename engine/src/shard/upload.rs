//! Long values: received in slices, chained, joined.

use super::write::Linked;
use super::{Shard, out_of_memory};
use crate::chain::{ChainList, LIST_HEAD_BYTES, Upload};
use crate::command::{Body, Millis, Refusal, UploadId};
use crate::item::{Header, present};
use crate::segments::CHUNK_HASH_BYTES;

/// Uploads under way in a shard, at most.
const UPLOADS_MAX: usize = 1 << UPLOADS_BITS;
const UPLOADS_BITS: u32 = 12;
/// Share of the segments that uploads under way may fill: they cannot be evicted.
const UPLOADS_SHARE: u64 = 4;
/// Share of the segments that may be pinned for a new upload to begin: a slow one pins whole segments for a
/// chunk each, and so does a client that takes its long answers slowly.
const PINNED_SHARE: u64 = 2;
/// Chunks of a value after which an append writes it anew instead of adding one more.
const CHUNKS_MAX: usize = 2048;

impl Shard {
    /// Begins to receive a value of `bytes` bytes, to be stored by a write with [`Body::Upload`].
    ///
    /// # Errors
    /// [`Refusal::ValueTooLarge`], or [`Refusal::OutOfMemory`] if too much is under way already.
    pub fn upload_begin(&mut self, bytes: u64, now: Millis) -> Result<UploadId, Refusal> {
        if bytes > self.value_bytes_max {
            return Err(Refusal::ValueTooLarge);
        }
        let segment_bytes = self.segments.segment_bytes() as u64;
        let capacity = self.segments.count_max() as u64 * segment_bytes;
        let under_way: u64 = self.uploads.iter().flatten().map(|upload| upload.bytes).sum();
        let pinned = self.segments.pinned() as u64 * segment_bytes;
        if under_way + bytes > capacity / UPLOADS_SHARE || pinned + bytes > capacity / PINNED_SHARE {
            return Err(out_of_memory(&self.stats));
        }
        let chain = self.clock.next(now);
        let free = self.uploads.iter().position(Option::is_none);
        let place = match free {
            Some(place) => place,
            None if self.uploads.len() < UPLOADS_MAX => {
                self.uploads.push(None);
                self.uploads.len() - 1
            }
            None => return Err(out_of_memory(&self.stats)),
        };
        // The number of the beginning tells a late caller's id from that of the place's next upload.
        let id = UploadId((chain as u32) << UPLOADS_BITS | place as u32);
        let upload = Upload { id, bytes, received: 0, chain, locations: Vec::new(), room: 0, room_at: 0 };
        self.uploads[place] = Some(upload);
        Ok(id)
    }

    /// Adds the next bytes of a value under way.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; [`Refusal::ValueTooLarge`] if there are more bytes than were announced. The
    /// upload is gone then.
    pub fn upload_append(&mut self, id: UploadId, mut bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        let Some(mut upload) = self.upload_take(id) else {
            return Err(Refusal::OutOfMemory);
        };
        let mut result = Ok(());
        if bytes.len() as u64 > upload.bytes - upload.received {
            result = Err(Refusal::ValueTooLarge);
        }
        while result.is_ok() && !bytes.is_empty() {
            if upload.room == 0 {
                result = self.next_chunk(&mut upload, now);
                continue;
            }
            let (now_bytes, rest) = bytes.split_at(bytes.len().min(upload.room));
            self.segments.bytes_mut(upload.room_at, now_bytes.len()).copy_from_slice(now_bytes);
            upload.room -= now_bytes.len();
            upload.room_at += now_bytes.len() as u64;
            upload.received += now_bytes.len() as u64;
            bytes = rest;
        }
        if result.is_err() {
            self.discard(upload);
        } else {
            self.upload_put(upload);
        }
        result
    }

    /// Ends an upload without storing it.
    pub fn upload_abort(&mut self, id: UploadId) {
        if let Some(upload) = self.upload_take(id) {
            self.discard(upload);
        }
    }

    fn upload_take(&mut self, id: UploadId) -> Option<Upload> {
        self.uploads.get_mut(place_of(id))?.take_if(|upload| upload.id == id)
    }

    fn upload_put(&mut self, upload: Upload) {
        let place = place_of(upload.id);
        self.uploads[place] = Some(upload);
    }

    /// Bytes of data in a chunk at most: eight chunks fill a segment.
    fn chunk_bytes(&self) -> usize {
        self.segments.segment_bytes() / 8 - Header::default().len() - CHUNK_HASH_BYTES
    }

    fn next_chunk(&mut self, upload: &mut Upload, now: Millis) -> Result<(), Refusal> {
        let left = upload.bytes - upload.received;
        let data = left.min(self.chunk_bytes() as u64) as usize;
        let header = Header { version: upload.chain, kind: present::CHUNK, ..Header::default() };
        let value_bytes = CHUNK_HASH_BYTES + data;
        let len = header.item_len(0, value_bytes);
        let at = self.chunk_room(len, now)?;
        let out = self.segments.bytes_mut(at, len);
        let value_at = header.write(&[], value_bytes, out);
        self.enter(at);
        self.segments.pin(self.segments.segment_of(at));
        upload.locations.push(at);
        upload.room = data;
        upload.room_at = at + (value_at + CHUNK_HASH_BYTES) as u64;
        Ok(())
    }

    fn discard(&mut self, upload: Upload) {
        for at in upload.locations {
            self.segments.unpin(self.segments.segment_of(at));
            self.kill_one(at);
        }
    }

    /// Length of the value that an upload will be.
    pub(super) fn upload_bytes(&self, id: UploadId) -> u64 {
        let upload = self.uploads.get(place_of(id)).and_then(Option::as_ref);
        upload.filter(|upload| upload.id == id).map_or(0, |upload| upload.bytes)
    }

    /// Ends the upload of a write that is not done.
    pub(super) fn upload_drop(&mut self, body: Body<'_>) {
        if let Body::Upload(id) = body {
            self.upload_abort(id);
        }
    }

    /// Stores a received value under its key. Returns where the head is.
    pub(super) fn commit(
        &mut self,
        key: &[u8],
        hash: u64,
        header: Header,
        id: UploadId,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        // The chain is as old as its head, not as its first byte: a flush may lie between.
        let upload = Upload { chain: header.version, ..self.complete(id)? };
        let list = (upload.bytes, upload.chain, &upload.locations[..]);
        let result = self.store_head(key, hash, header, list, now);
        self.settle_upload(upload, hash, result.is_ok());
        result
    }

    /// Takes an upload all of whose bytes have come.
    fn complete(&mut self, id: UploadId) -> Result<Upload, Refusal> {
        let upload = self.upload_take(id).ok_or(Refusal::OutOfMemory)?;
        if upload.received != upload.bytes {
            self.discard(upload);
            return Err(Refusal::ValueTooLarge);
        }
        Ok(upload)
    }

    /// Chunks that have a head now get its hash and lose their pin; those that have none die.
    fn settle_upload(&mut self, upload: Upload, hash: u64, stored: bool) {
        if !stored {
            return self.discard(upload);
        }
        for at in upload.locations {
            self.adopt(at, upload.chain, hash);
            self.segments.unpin(self.segments.segment_of(at));
        }
    }

    /// Writes into a chunk whose it is.
    fn adopt(&mut self, at: u64, chain: u64, hash: u64) {
        let counted = self.segments.item(at).version() > self.flushed;
        self.segments.bytes_mut(at, 8).copy_from_slice(&chain.to_le_bytes());
        if !counted {
            // Begun before a flush, which has taken it out of the accounts.
            self.enter(at);
        }
        let value_at = self.segments.item(at).value_at() as u64;
        self.segments.bytes_mut(at + value_at, CHUNK_HASH_BYTES).copy_from_slice(&hash.to_le_bytes());
    }

    /// Joins new bytes to a value where one of them or both are long. The old chunks are taken over where they
    /// are, as long as there are not too many.
    pub(super) fn join_chain(
        &mut self,
        key: &[u8],
        hash: u64,
        header: Header,
        added: Body<'_>,
        before: bool,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let added = match added {
            Body::Upload(id) => id,
            Body::Bytes(bytes) => self.upload_slices(&[bytes], now)?,
        };
        let added = self.complete(added)?;
        if self.find(key, hash).is_none() {
            // Room for the new bytes has cost the value its place; alone they are not the value.
            self.discard(added);
            return Err(out_of_memory(&self.stats));
        }
        let chunks = self.chain_chunks(key, hash) + added.locations.len();
        let list_bytes = header.item_len(key.len(), LIST_HEAD_BYTES + chunks * 8);
        let long = chunks > CHUNKS_MAX || list_bytes > self.item_bytes_max();
        if !self.is_chain(key, hash) || long {
            // Short so far, or in too many pieces: written anew, once.
            let old = self.value_copy(key, hash);
            let value = self.upload_slices(&[&old], now).and_then(|value| self.complete(value));
            return match value {
                Ok(value) => self.store_joined(key, hash, header, value, added, before, now),
                Err(refusal) => {
                    self.discard(added);
                    Err(refusal)
                }
            };
        }
        self.join_to_chain(key, hash, header, added, before, now)
    }

    fn is_chain(&self, key: &[u8], hash: u64) -> bool {
        self.find(key, hash)
            .is_some_and(|(_, slot)| self.segments.item(slot.location()).present() & present::CHAIN_HEAD != 0)
    }

    fn chain_chunks(&self, key: &[u8], hash: u64) -> usize {
        self.find(key, hash).map(|(_, slot)| self.segments.item(slot.location())).map_or(0, |item| {
            let chained = item.present() & present::CHAIN_HEAD != 0;
            if chained { ChainList::new(item.value()).locations().count() } else { 0 }
        })
    }

    /// The whole value of a key, copied out.
    pub(super) fn value_copy(&self, key: &[u8], hash: u64) -> Vec<u8> {
        let mut copy = Vec::new();
        if let Some((_, slot)) = self.find(key, hash) {
            match self.found(slot.location()).value {
                crate::command::Value::Inline(bytes) => copy.extend_from_slice(bytes),
                crate::command::Value::Chained(chain) => {
                    chain.slices().for_each(|slice| copy.extend_from_slice(slice))
                }
            }
        }
        copy
    }

    /// Uploads slices as one value.
    pub(super) fn upload_slices(&mut self, slices: &[&[u8]], now: Millis) -> Result<UploadId, Refusal> {
        let bytes = slices.iter().map(|slice| slice.len() as u64).sum();
        let id = self.upload_begin(bytes, now)?;
        for slice in slices {
            self.upload_append(id, slice, now)?;
        }
        Ok(id)
    }

    /// Stores two complete uploads as one value.
    #[expect(clippy::too_many_arguments, reason = "the parts of one item")]
    fn store_joined(
        &mut self,
        key: &[u8],
        hash: u64,
        header: Header,
        value: Upload,
        added: Upload,
        before: bool,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let chain = header.version;
        let bytes = value.bytes + added.bytes;
        let locations = joined(&value.locations, &added.locations, before);
        let result = self.store_head(key, hash, header, (bytes, chain, &locations), now);
        self.settle_upload(Upload { chain, ..value }, hash, result.is_ok());
        self.settle_upload(Upload { chain, ..added }, hash, result.is_ok());
        result
    }

    /// Adds a complete upload to a chain, whose chunks go over to the new head.
    fn join_to_chain(
        &mut self,
        key: &[u8],
        hash: u64,
        header: Header,
        added: Upload,
        before: bool,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        // Room first: making it may move chunks, which changes the list, or drop the value.
        let header = Header { kind: present::CHAIN_HEAD, ..header };
        let chunks = self.chain_chunks(key, hash) + added.locations.len();
        let list_bytes = LIST_HEAD_BYTES + chunks * 8;
        let at = match self.room(key, hash, &header, list_bytes, now) {
            Ok(at) => at,
            Err(refusal) => {
                self.discard(added);
                return Err(refusal);
            }
        };
        let Some((_, slot)) = self.find(key, hash) else {
            self.abandon(at, &header, key, list_bytes);
            self.discard(added);
            return Err(out_of_memory(&self.stats));
        };
        let list = ChainList::new(self.segments.item(slot.location()).value());
        let (bytes, chain) = (list.value_bytes() + added.bytes, list.chain());
        let old: Vec<u64> = list.locations().collect();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        ChainList::write(bytes, chain, &joined(&old, &added.locations, before), &mut scratch);
        self.fill(at, &header, key, &[&scratch]);
        self.scratch = scratch;
        let old = self.link(key, hash, at, true);
        self.settle_upload(Upload { chain, ..added }, hash, true);
        Ok(Linked { at, old })
    }
}

/// The place in the list of uploads.
fn place_of(id: UploadId) -> usize {
    id.0 as usize & (UPLOADS_MAX - 1)
}

fn joined(value: &[u64], added: &[u64], before: bool) -> Vec<u64> {
    let (first, second) = if before { (added, value) } else { (value, added) };
    first.iter().chain(second).copied().collect()
}
