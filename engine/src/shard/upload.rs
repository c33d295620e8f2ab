//! Long values, received in slices.

use super::place::Linked;
use super::{Key, Shard, Weight, out_of_memory};
use crate::chain::{Extent, ListWriter, ORDINAL_BYTES, Upload, list_bytes};
use crate::command::{Body, Millis, Refusal, UploadId};
use crate::item::{Header, present};
use crate::segments::{CLASS_CHUNK, RELOCATION_RESERVE};

/// Chunks that fill a segment.
const CHUNKS: usize = 8;

impl Shard {
    /// Begins to receive a value of `bytes` bytes, to be stored by a command with [`Body::Upload`] for the same key of the database.
    /// For values that are too long to come whole: what came in slices is no number to who counts, however short it is.
    ///
    /// # Errors
    /// [`Refusal::KeyTooLarge`], [`Refusal::ValueTooLarge`], or [`Refusal::OutOfMemory`] if too much is under way already.
    pub fn upload_begin(
        &mut self,
        database: u16,
        key: &[u8],
        bytes: u64,
        now: Millis,
    ) -> Result<UploadId, Refusal> {
        self.upload_begin_in((Some(database), self.spaces.of(database)), key, bytes, now)
    }

    fn upload_begin_in(
        &mut self,
        (database, space): (Option<u16>, u16),
        key: &[u8],
        bytes: u64,
        now: Millis,
    ) -> Result<UploadId, Refusal> {
        let key = Key { bytes: key, space, hash: 0 };
        self.check(key, bytes)?;
        let header = self.chunk_header(key, 0);
        let (chunks, cost) = self.upload_cost(key, bytes);
        if header.item_len(key.bytes.len(), list_bytes(chunks as usize)) > self.item_bytes_max() {
            return Err(Refusal::ValueTooLarge);
        }
        if !self.may_begin(cost, cost.div_ceil(chunks.max(1)), now) {
            return Err(out_of_memory(&self.stats));
        }
        let upload = Upload {
            id: UploadId(0),
            database,
            space,
            key: key.bytes.into(),
            bytes,
            cost,
            taken: 0,
            received: 0,
            chain: self.clock.next(now),
            extents: Vec::with_capacity(chunks as usize),
            own: None,
            room: 0,
            room_at: 0,
            lends: false,
            returns: false,
            moved_at: now,
            waits: false,
        };
        self.uploads.begin(upload).ok_or_else(|| out_of_memory(&self.stats))
    }

    /// The chunks of a value of `bytes` bytes, and the memory that they take.
    pub(super) fn upload_cost(&self, key: Key<'_>, bytes: u64) -> (u64, u64) {
        let chunks = bytes.div_ceil(self.chunk_bytes(key) as u64);
        let beside = self.chunk_header(key, 0).bytes() + key.bytes.len() + ORDINAL_BYTES;
        (chunks, bytes + chunks * beside as u64)
    }

    /// Says whether the rest of a value under way, or its end, waits for a tier: then it does not count as one that stands still, nor
    /// among those that share their part of the memory; and others may wait for its room.
    pub fn upload_waits(&mut self, id: UploadId, waits: bool) {
        self.uploads.wait(id, waits);
    }

    /// Adds the next bytes of a value under way.
    ///
    /// # Errors
    /// [`Refusal::OutOfMemory`]; [`Refusal::ValueTooLarge`] if there are more bytes than were announced, or its room is lent:
    /// these bytes are not the next. The upload is gone then.
    pub fn upload_append(&mut self, id: UploadId, mut bytes: &[u8], now: Millis) -> Result<(), Refusal> {
        let Some(mut upload) = self.uploads.take(id) else {
            return Err(Refusal::OutOfMemory);
        };
        let mut result = Ok(());
        if bytes.len() as u64 > upload.bytes - upload.received || upload.lends {
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
            self.discard(&upload.extents);
        } else {
            self.uploads.put_back(upload);
        }
        result
    }

    /// Ends an upload without storing it.
    pub fn upload_abort(&mut self, id: UploadId) {
        if let Some(upload) = self.uploads.take(id) {
            self.uploads.end(&upload);
            self.discard(&upload.extents);
        }
    }

    /// Bytes of data in a chunk of this key at most: [`CHUNKS`] fill a segment.
    pub(super) fn chunk_bytes(&self, key: Key<'_>) -> usize {
        let header = self.chunk_header(key, 0);
        self.segments.segment_bytes() / CHUNKS - header.bytes() - key.bytes.len() - ORDINAL_BYTES
    }

    pub(super) fn chunk_header(&self, key: Key<'_>, chain: u64) -> Header {
        Header { version: chain, kind: present::CHUNK, space: key.space, ..Header::default() }
    }

    pub(super) fn next_chunk(&mut self, upload: &mut Upload, now: Millis) -> Result<(), Refusal> {
        let left = upload.bytes - upload.received;
        let key = Key { bytes: &upload.key, space: upload.space, hash: 0 };
        let data = left.min(self.chunk_bytes(key) as u64) as usize;
        let chunk = self.upload_cost(key, data as u64).1;
        if !self.may_take(upload, chunk, now) {
            return Err(out_of_memory(&self.stats));
        }
        let before = upload.own;
        if before.is_some() || !self.first_chunks_share(upload) {
            upload.own = self.own_segment(before, left, now);
        }
        let extent =
            self.add_chunk(key, (upload.chain, upload.extents.len() as u64), data, upload.own, now)?;
        self.uploads.take_memory(upload, self.memory_taken(before, upload.own, chunk));
        upload.extents.push(extent);
        upload.room_at = self.data_at(extent).unwrap_or_default();
        upload.room = data;
        upload.moved_at = now;
        Ok(())
    }

    /// The segment of its own into which the next chunk of a value goes, if `left` more bytes of it fill most of one. Of
    /// values that share segments some chunks die before others, and the rest have to be moved; a segment of its own goes
    /// with its value.
    pub(super) fn own_segment(&mut self, own: Option<u32>, left: u64, now: Millis) -> Option<u32> {
        let chunk = self.segments.segment_bytes() / CHUNKS;
        let kept = own.filter(|&own| self.segments.has_room(own, chunk.min(left as usize + chunk / 8)));
        if kept.is_none() && left < (chunk * (CHUNKS - 1)) as u64 {
            return None;
        }
        // Before the segment is taken: as long as nothing pins it, a job may free it.
        self.keep_pace(chunk, now);
        kept.or_else(|| self.segments.take_own(self.eviction.trial(), CLASS_CHUNK, now, RELOCATION_RESERVE))
    }

    /// Adds a chunk for `data` bytes, pinned until it has a head; to the value's `own` segment if there is room.
    pub(super) fn add_chunk(
        &mut self,
        key: Key<'_>,
        (chain, ordinal): (u64, u64),
        data: usize,
        own: Option<u32>,
        now: Millis,
    ) -> Result<Extent, Refusal> {
        let header = self.chunk_header(key, chain);
        let value_bytes = ORDINAL_BYTES + data;
        let len = header.item_len(key.bytes.len(), value_bytes);
        let at = match own.filter(|&own| self.segments.has_room(own, len)) {
            Some(own) => self.segments.append_to(own, len, None),
            None => match self.segments.take_place(self.eviction.trial(), len) {
                Some(at) => at,
                None => self.append(self.eviction.trial(), CLASS_CHUNK, len, None, now)?,
            },
        };
        let out = self.segments.bytes_mut(at, len);
        let value_at = header.write(key.bytes, value_bytes, out);
        out.slice(value_at..value_at + ORDINAL_BYTES).copy_from_slice(&ordinal.to_le_bytes());
        self.enter(at, &Weight::of(&self.segments.item(at)));
        self.segments.pin_to_fill(at);
        Ok(Extent::chunk(ordinal, at, data))
    }

    /// Chunks that will have no head die.
    pub(super) fn discard(&mut self, extents: &[Extent]) {
        for at in extents.iter().filter_map(|extent| extent.location()) {
            self.kill_one(at);
            self.segments.unpin_filled(at);
        }
    }

    /// Length of the value that a body is or will be.
    pub(super) fn body_bytes(&self, body: Body<'_>) -> u64 {
        match body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Upload(id) => self.uploads.find(id).map_or(0, |upload| upload.bytes),
        }
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
        let upload = self.complete(id, key)?;
        let result = self.write_head(key, header, &upload, now);
        if result.is_err() {
            self.discard(&upload.extents);
        }
        let at = result?;
        // The chain is as old as its head, not as its first byte: a flush may lie between.
        self.settle_chunks(&upload.extents, header.version, 0);
        let old = self.link(key, at, false);
        Ok(Linked { at, old })
    }

    /// Writes a head for the chunks of an upload.
    fn write_head(
        &mut self,
        key: Key<'_>,
        header: Header,
        upload: &Upload,
        now: Millis,
    ) -> Result<u64, Refusal> {
        let header = Header { kind: present::CHAIN_HEAD, ..header };
        let list_bytes = list_bytes(upload.extents.len());
        if header.item_len(key.bytes.len(), list_bytes) > self.item_bytes_max() {
            return Err(Refusal::ValueTooLarge);
        }
        let at = self.room(key, &header, list_bytes, now)?;
        let item = self.segments.bytes_mut(at, header.item_len(key.bytes.len(), list_bytes));
        let value_at = header.write(key.bytes, list_bytes, item);
        let list = item.slice(value_at..value_at + list_bytes);
        let mut writer = ListWriter::new(list_bytes);
        upload.extents.iter().for_each(|&extent| writer.push(list, extent));
        writer.finish(list, header.version, upload.extents.len() as u64, 0);
        Ok(at)
    }

    /// Takes an upload for this key, all of whose bytes have come.
    pub(super) fn complete(&mut self, id: UploadId, key: Key<'_>) -> Result<Upload, Refusal> {
        let upload = self.uploads.take(id).ok_or(Refusal::OutOfMemory)?;
        self.uploads.end(&upload);
        let is_keys = (upload.space, &upload.key[..]) == (key.space, key.bytes);
        if upload.received != upload.bytes || !is_keys {
            self.discard(&upload.extents);
            return Err(Refusal::ValueTooLarge);
        }
        Ok(upload)
    }

    /// Uploads bytes as one value.
    pub(super) fn upload_whole(
        &mut self,
        key: Key<'_>,
        bytes: &[u8],
        now: Millis,
    ) -> Result<UploadId, Refusal> {
        let id = self.upload_begin_in((None, key.space), key.bytes, bytes.len() as u64, now)?;
        self.upload_append(id, bytes, now)?;
        Ok(id)
    }
}
