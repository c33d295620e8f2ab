//! Long values of this shard that are received where they will stay, past the transport's buffers.
//!
//! ```text
//!   head of the value --buffer--> session, which begins the upload and takes what is in the buffer of it
//!   middle of the value --------> room in the segment: lent, filled, lent on
//!   its end, and what follows --buffer--> session
//! ```

use super::connection::{Connection, Phase};
use super::state::WorkerState;
use super::upload::UploadPlace;
use crate::transport::{ConnId, Transport};
use torc_engine::segments::Room;

/// [`Settings::room_bytes_min`](super::Settings::room_bytes_min) of a server: fewer bytes are copied sooner than room
/// is made for them.
pub(crate) const ROOM_BYTES_MIN: u64 = 2 << 10;

impl WorkerState {
    /// Lends room for the next bytes of a value under way, if nothing of the connection is still to be parsed before them.
    pub(super) fn lend_room(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        let Some(upload) = &mut conn.upload else { return };
        let UploadPlace::Here(id) = upload.place else { return };
        let left = conn.session.value_left();
        let is_next = conn.arrivals == 0 && conn.input.is_empty() && conn.deferred.is_empty();
        let is_read = conn.phase == Phase::Open && !conn.parked && !conn.paused && !conn.ended;
        #[cfg(test)]
        let is_next = is_next || self.bugs.bug() == super::bug::Bug::OvertakenInput;
        if left < self.settings.room_bytes_min || !is_next || !is_read || conn.receives_into.is_some() {
            return;
        }
        match self.shard.upload_room(id, left, self.now) {
            Ok(Some(room)) => {
                let last = room.len() as u64 == left;
                #[cfg(test)]
                self.bugs.lends(id, &room);
                match transport.receive_into(conn.id, room, last) {
                    Ok(()) => conn.receives_into = Some(id),
                    Err(room) => {
                        #[cfg(test)]
                        self.bugs.comes_back(&room);
                        self.shard.upload_filled(id, room, 0);
                    }
                }
            }
            Ok(None) => {}
            Err(refusal) => upload.place = UploadPlace::Refused(refusal),
        }
    }

    /// The transport gives room back, with the first `len` bytes of what came next.
    pub(super) fn filled(&mut self, id: ConnId, room: Room, len: u32) {
        self.stats.received_bytes.add(u64::from(len));
        let conn = self.connections.find(id);
        let lent = conn.and_then(|conn| {
            conn.count_received(len, self.ticks);
            conn.session.value_passed(u64::from(len));
            conn.receives_into.take()
        });
        #[cfg(test)]
        if self.bugs.comes_back(&room) {
            return self.mark_dirty(id);
        }
        match lent {
            Some(upload) => self.shard.upload_filled(upload, room, len as usize),
            None => self.shard.release_room(room),
        }
        self.mark_dirty(id);
    }

    /// Asks for room back whose value was given up for another one, as it pins a segment for nothing.
    pub(super) fn recall_room(&self, conn: &Connection, transport: &mut impl Transport) {
        if conn.receives_into.is_some_and(|upload| !self.shard.is_under_way(upload)) {
            transport.recall(conn.id);
        }
    }
}
