//! Values under way whose next bytes are received where they will stay.
//!
//! An upload lends one room at a time. While it is out nothing is appended: the bytes for the room are those that come next.

use super::Shard;
use crate::command::{Millis, Refusal, UploadId};
use crate::segments::Room;

impl Shard {
    /// Lends room for up to `bytes_max` of the next bytes of a value under way, up to the end of its chunk. `None`: all have
    /// come, or its room is lent already.
    ///
    /// # Errors
    /// As [`Shard::upload_append`].
    pub fn upload_room(
        &mut self,
        id: UploadId,
        bytes_max: u64,
        now: Millis,
    ) -> Result<Option<Room>, Refusal> {
        let mut upload = self.uploads.take(id).ok_or(Refusal::OutOfMemory)?;
        let left = upload.bytes - upload.received;
        let bytes_max = bytes_max.min(left);
        if bytes_max == 0 || upload.lends {
            self.uploads.put_back(upload);
            return Ok(None);
        }
        if upload.room == 0
            && let Err(refusal) = self.next_chunk(&mut upload, now)
        {
            self.uploads.end(&upload);
            self.discard(&upload.extents);
            return Err(refusal);
        }
        let len = bytes_max.min(upload.room as u64) as usize;
        let room = self.segments.lend_room(upload.room_at, len);
        upload.lends = true;
        self.uploads.put_back(upload);
        Ok(Some(room))
    }

    /// Takes a room back whose first `len` bytes were received. The upload may be gone.
    ///
    /// # Panics
    /// If more were received than there was room for, or if another shard lent it.
    pub fn upload_filled(&mut self, id: UploadId, room: Room, len: usize) {
        assert!(len <= room.len(), "a room is filled up to its end");
        if let Some(mut upload) = self.uploads.take(id) {
            upload.lends = false;
            upload.received += len as u64;
            upload.room -= len;
            upload.room_at += len as u64;
            self.uploads.put_back(upload);
        }
        self.release_room(room);
    }

    /// Takes a room back that nothing is known of any more.
    ///
    /// # Panics
    /// If another shard lent it.
    pub fn release_room(&mut self, room: Room) {
        self.segments.take_back_room(room);
    }

    /// Whether a value is under way: it may have been given up for another one.
    pub fn is_under_way(&self, id: UploadId) -> bool {
        self.uploads.find(id).is_some()
    }
}
