//! The rings of one connection: what it is sending, and how long nothing has come.

use super::buffers::Buffers;
#[cfg(test)]
use super::fault::{self, Fault};
use crate::session::Piece;
use crate::transport::{ConnId, Event, Pieces};
use torc_shm::{Broken, End, full_fence};

/// Turns in which nothing comes before a ring is looked at no more. It tells that it sleeps, and the client rings then.
pub(super) const COLD_TURNS: u32 = 256;

pub(super) struct Ring {
    pub(super) conn: ConnId,
    pub(super) end: End,
    /// The worker wants bytes (not paused).
    pub(super) reading: bool,
    pub(super) closing: bool,
    /// Its client can read the shards itself.
    pub(super) reads_shards: bool,
    /// In the list of those that each turn looks at.
    pub(super) hot: bool,
    pub(super) idle_turns: u32,
    /// In the list of those whose client may have to be woken.
    pub(super) told: bool,
    /// The pieces that are being written, and how many of their bytes are.
    pub(super) sending: Pieces,
    pub(super) sent: usize,
    /// What rings; `None`: it is on its way.
    pub(super) bell: Option<Pieces>,
    /// It has to ring again when it is back.
    pub(super) bell_owed: bool,
}

impl Ring {
    pub(super) fn new(conn: ConnId, end: End, reads_shards: bool) -> Ring {
        Ring {
            conn,
            end,
            reading: true,
            closing: false,
            reads_shards,
            hot: false,
            idle_turns: 0,
            told: false,
            sending: Pieces::default(),
            sent: 0,
            bell: Some(Piece::Bytes(vec![0]).into()),
            bell_owed: false,
        }
    }

    /// One turn's look at this ring: says whether there was anything. If there was nothing for long it is not hot any more.
    pub(super) fn look(&mut self, buffers: &mut Buffers, events: &mut Vec<Event>) -> Result<bool, Broken> {
        let moved = self.move_bytes(buffers, events)?;
        if moved {
            self.idle_turns = 0;
            self.end.wake();
            return Ok(true);
        }
        self.idle_turns += 1;
        if self.idle_turns > COLD_TURNS {
            self.idle_turns = 0;
            #[cfg(test)]
            if fault::has(Fault::ColdUntold) {
                self.hot = false;
                return Ok(false);
            }
            self.announce_sleep();
            full_fence();
            self.hot = self.has_news();
            #[cfg(test)]
            if fault::has(Fault::NoLookBeforeCold) {
                self.hot = false;
            }
        }
        Ok(false)
    }

    /// Writes what waits for room, then takes what has come, a buffer at most. Says whether there was anything.
    fn move_bytes(&mut self, buffers: &mut Buffers, events: &mut Vec<Event>) -> Result<bool, Broken> {
        let conn = self.conn;
        let mut moved = false;
        if !self.sending.is_empty() {
            moved = self.write_on()?;
            if self.has_sent_all() {
                events.push(Event::Sent { conn, pieces: std::mem::take(&mut self.sending) });
            }
        }
        if !self.reading || self.end.waiting()? == 0 {
            return Ok(moved);
        }
        let most = buffers.piece_bytes();
        // Without a buffer the bytes wait for the next turn.
        if let Some((buffer, bytes)) = buffers.take() {
            let len = self.end.take(most, bytes) as u32;
            events.push(Event::Received { conn, buffer, len });
        }
        Ok(true)
    }

    /// Writes what is being sent, as far as there is room. Says whether anything went.
    pub(super) fn write_on(&mut self) -> Result<bool, Broken> {
        let rest = self.sending.bytes() - self.sent;
        // The other side's word is looked at only if what it told before is not enough: it writes there all the time.
        if self.end.room_known() < rest && self.end.room()? == 0 {
            return Ok(false);
        }
        let before = self.sent;
        for bytes in self.sending.rest(before) {
            // SAFETY: `Bytes` are readable, and not written as long as they are lent: the pieces are ours until they are handed
            // back.
            let written = unsafe { self.end.write_from(bytes.as_ptr(), bytes.len()) };
            self.sent += written;
            if written < bytes.len() {
                break;
            }
        }
        self.end.publish();
        Ok(self.sent > before)
    }

    pub(super) fn has_sent_all(&self) -> bool {
        self.sent == self.sending.bytes()
    }

    /// Whether a look would find something to do; a position that cannot be is something.
    pub(super) fn has_news(&mut self) -> bool {
        !self.closing
            && ((self.reading && self.end.waiting() != Ok(0))
                || (!self.sending.is_empty() && self.end.room() != Ok(0)))
    }

    /// Says that nobody looks at this ring until its client rings.
    pub(super) fn announce_sleep(&mut self) {
        let for_room = !self.sending.is_empty();
        #[cfg(test)]
        let for_room = for_room && !fault::has(Fault::RoomUntold);
        self.end.announce_sleep(for_room);
    }
}
