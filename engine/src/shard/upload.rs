//! Long values, received in slices.

use super::write::Linked;
use super::{Key, Shard, out_of_memory};
use crate::chain::{EXTENT_BYTES, Extent, LIST_HEAD_BYTES, ListWriter, Upload};
use crate::command::{Body, Millis, Refusal, UploadId};
use crate::item::{Header, present};
use crate::segments::{CHUNK_HASH_BYTES, CLASS_CHUNK};

/// Share of the segments that uploads under way may fill: they cannot be evicted.
const UPLOADS_SHARE: u64 = 4;
/// Share of the segments that may be pinned for a new upload to begin: a slow one pins whole segments for a
/// chunk each, and so does a client that takes its long answers slowly.
const PINNED_SHARE: u64 = 2;

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
        let under_way = self.uploads.bytes();
        let pinned = self.segments.pinned() as u64 * segment_bytes;
        if under_way + bytes > capacity / UPLOADS_SHARE || pinned + bytes > capacity / PINNED_SHARE {
            return Err(out_of_memory(&self.stats));
        }
        let chain = self.clock.next(now);
        let chunks = bytes.div_ceil(self.chunk_bytes() as u64) as usize;
        self.uploads.begin(bytes, chain, chunks).ok_or_else(|| out_of_memory(&self.stats))
    }

    /// Adds the next bytes of a value under way.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; [`Refusal::ValueTooLarge`] if there are more bytes than were announced. The
    /// upload is gone then.
    pub fn upload_append(&mut self, id: UploadId, mut bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        let Some(mut upload) = self.uploads.take(id) else {
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
            self.uploads.end(&upload);
            self.discard(upload);
        } else {
            self.uploads.put_back(upload);
        }
        result
    }

    /// Ends an upload without storing it.
    pub fn upload_abort(&mut self, id: UploadId) {
        if let Some(upload) = self.uploads.take(id) {
            self.uploads.end(&upload);
            self.discard(upload);
        }
    }

    /// Bytes of data in a chunk at most: eight chunks fill a segment.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.segments.segment_bytes() / 8 - Header::default().len() - CHUNK_HASH_BYTES
    }

    fn next_chunk(&mut self, upload: &mut Upload, now: Millis) -> Result<(), Refusal> {
        let left = upload.bytes - upload.received;
        let data = left.min(self.chunk_bytes() as u64) as usize;
        upload.room_at = self.add_chunk(upload, data, now)?;
        upload.room = data;
        Ok(())
    }

    /// Adds a chunk for `data` bytes to an upload, pinned until it has a head. Returns where the data belong.
    pub(super) fn add_chunk(
        &mut self,
        upload: &mut Upload,
        data: usize,
        now: Millis,
    ) -> Result<u64, Refusal> {
        let header = Header { version: upload.chain, kind: present::CHUNK, ..Header::default() };
        let value_bytes = CHUNK_HASH_BYTES + data;
        let len = header.item_len(0, value_bytes);
        let at = self.append(self.eviction.trial(), CLASS_CHUNK, len, None, now)?;
        let out = self.segments.bytes_mut(at, len);
        let value_at = header.write(&[], value_bytes, out);
        self.enter(at);
        self.segments.pin(self.segments.segment_of(at));
        upload.extents.push(Extent::chunk(at, data));
        Ok(at + (value_at + CHUNK_HASH_BYTES) as u64)
    }

    /// The chunks of an upload that will have no head die.
    pub(super) fn discard(&mut self, upload: Upload) {
        for at in upload.locations() {
            self.kill_one(at);
            self.unpin(at);
        }
    }

    /// Length of the value that an upload will be.
    pub(super) fn upload_bytes(&self, id: UploadId) -> u64 {
        self.uploads.find(id).map_or(0, |upload| upload.bytes)
    }

    /// Ends the upload of a write that is not done.
    pub(super) fn upload_drop(&mut self, body: Body<'_>) {
        if let Body::Upload(id) = body {
            self.upload_abort(id);
        }
    }

    /// Stores a received value under its key.
    pub(super) fn commit(
        &mut self,
        key: Key<'_>,
        header: Header,
        id: UploadId,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let upload = self.complete(id)?;
        let result = self.store_head(key, header, &upload, now);
        match result {
            // The chain is as old as its head, not as its first byte: a flush may lie between.
            Ok(_) => self.settle_upload(upload, header.version, key.hash),
            Err(_) => self.discard(upload),
        }
        result
    }

    /// Writes a head for the chunks of an upload, and links it.
    fn store_head(
        &mut self,
        key: Key<'_>,
        header: Header,
        upload: &Upload,
        now: Millis,
    ) -> Result<Linked, Refusal> {
        let header = Header { kind: present::CHAIN_HEAD, ..header };
        let list_bytes = LIST_HEAD_BYTES + upload.extents.len() * EXTENT_BYTES;
        if header.item_len(key.bytes.len(), list_bytes) > self.item_bytes_max() {
            return Err(Refusal::ValueTooLarge);
        }
        let at = self.room(key, &header, list_bytes, now)?;
        let item = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), list_bytes));
        let value_at = header.write(key.bytes, list_bytes, item);
        let list = &mut item[value_at..value_at + list_bytes];
        let mut writer = ListWriter::default();
        upload.extents.iter().for_each(|&extent| writer.push(list, extent));
        writer.finish(list, header.version);
        let old = self.link(key, at, false);
        Ok(Linked { at, old })
    }

    /// Takes an upload all of whose bytes have come.
    pub(super) fn complete(&mut self, id: UploadId) -> Result<Upload, Refusal> {
        let upload = self.uploads.take(id).ok_or(Refusal::OutOfMemory)?;
        self.uploads.end(&upload);
        if upload.received != upload.bytes {
            self.discard(upload);
            return Err(Refusal::ValueTooLarge);
        }
        Ok(upload)
    }

    /// Chunks that have a head now get its chain's number and its hash, and lose their pin.
    pub(super) fn settle_upload(&mut self, upload: Upload, chain: u64, hash: u64) {
        for at in upload.locations() {
            self.adopt(at, chain, hash);
            self.unpin(at);
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

    /// Uploads bytes as one value.
    pub(super) fn upload_whole(&mut self, bytes: &[u8], now: Millis) -> Result<UploadId, Refusal> {
        let id = self.upload_begin(bytes.len() as u64, now)?;
        self.upload_append(id, bytes, now)?;
        Ok(id)
    }
}
