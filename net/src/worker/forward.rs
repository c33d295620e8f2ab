//! What a client asks of other shards: their keys, a flush of all, a step of a scan.

use super::connection::Connection;
use super::mail::{Ask, AskBytes, AskWhat, What};
use super::owned::op_value;
use super::queue::Asked;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, FreeReply, Part, Session};
use torc_engine::command::{Command, Millis};

/// Bits of a scan's cursor that belong to the shard's own; the shard is above them.
const CURSOR_BITS: u32 = 48;
/// Set aside for the keys of a step of a scan.
const SCAN_ROOM: u32 = 64 << 10;

impl WorkerState {
    /// Asks another shard for a keyed command. False: it has no place for it yet, and the connection waits in line.
    pub(super) fn ask_keyed(
        &mut self,
        conn: &mut Connection,
        shard: u16,
        part: &Part<'_>,
        (command, hash): (&Command<'_>, u64),
        read_ns: u64,
    ) -> bool {
        let (deadline, room) = (part.reply.deadline(), conn.queue.answer_room());
        // Behind a part that may change how later answers are written, nobody knows yet how this one is.
        let free = conn.session.free(&part.reply).filter(|_| conn.queue.composes());
        let (reply, tag) = free.map(FreeReply::untagged).unzip();
        let ask = Ask {
            from: conn.next_address(),
            what: AskWhat::Keyed(&command.op),
            space: command.space,
            once: part.once,
            reply,
            tag: tag.unwrap_or_default(),
            hash,
            deadline,
            room,
        };
        let bytes = AskBytes { key: command.key, value: op_value(&command.op), echo: part.echo };
        if !self.ask(conn, shard, &ask, bytes) {
            return false;
        }
        self.wait_for(conn, part, read_ns, (1, room), Some(hash));
        true
    }

    /// Puts a part into the queue that `shards` shards were asked for, with `room` bytes for the value of the answer. It is
    /// about the key of `hash`, or about any key.
    pub(super) fn wait_for(
        &self,
        conn: &mut Connection,
        part: &Part<'_>,
        read_ns: u64,
        (shards, room): (u16, u32),
        hash: Option<u64>,
    ) {
        let free = conn.session.free(&part.reply).is_some();
        let asked_ns = self.turn.began_ns;
        conn.queue.ask(Asked { reply: part.reply, free, shards, room, read_ns, asked_ns }, hash);
    }

    pub(super) fn ask(
        &mut self,
        conn: &mut Connection,
        shard: u16,
        ask: &Ask<'_>,
        bytes: AskBytes<'_>,
    ) -> bool {
        let Some(lane) = self.mail.lane(shard) else { return false };
        if lane.ask(ask, bytes) {
            self.stats.forwarded.add(1);
            return true;
        }
        if !conn.marks.stalled {
            conn.marks.stalled = true;
            lane.wait(conn.id);
        }
        false
    }

    /// Every shard forgets everything; only this one, if a Redis client speaks to it as to a node of a cluster.
    pub(super) fn begin_flush(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        at: Option<Millis>,
        read_ns: u64,
    ) -> bool {
        let alone = conn.on_shard_port && matches!(conn.session, Session::Resp(_));
        let others = if alone { 0 } else { self.mail.shards() - 1 };
        if others > 0
            && let Some(full) = self.mail.shard_without_places(1)
        {
            if let Some(lane) = self.mail.lane(full).filter(|_| !conn.marks.stalled) {
                conn.marks.stalled = true;
                lane.wait(conn.id);
            }
            return false;
        }
        #[cfg(test)]
        let at = if self.strikes(super::bug::Bug::HalfFlush) { Some(Millis::MAX) } else { at };
        self.shard.flush(at, self.now);
        self.stats.request(CommandClass::Flush, OutcomeClass::Done);
        if others == 0 {
            self.finish(conn, part, &[], read_ns, Answer::Flushed);
            return true;
        }
        let (from, number) = (conn.next_address(), self.number);
        for shard in (0..self.mail.shards()).filter(|&shard| shard != number) {
            let bytes = AskBytes { echo: part.echo, ..AskBytes::default() };
            // There is a place: that was looked at before.
            self.ask(conn, shard, &Ask::plain(from, What::Flush { at }), bytes);
        }
        self.wait_for(conn, part, read_ns, (others, 0), None);
        true
    }

    /// One step of a scan, at the shard that the cursor names. On a shard's own port only that shard is walked.
    pub(super) fn begin_scan(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (cursor, count): (u64, u32),
        read_ns: u64,
    ) -> bool {
        let shard = match (cursor, conn.on_shard_port) {
            (0, true) => self.number,
            _ => (cursor >> CURSOR_BITS) as u16,
        };
        let (space, local) = (part.work.space(), cursor & ((1 << CURSOR_BITS) - 1));
        self.stats.request(CommandClass::Scan, OutcomeClass::Done);
        if shard == self.number {
            let mut keys = self.pool.take();
            let cursor = self.scan(space, local, count, conn.on_shard_port, &mut keys);
            self.finish(conn, part, &[], read_ns, Answer::Scanned { cursor, keys: &keys });
            self.pool.give(keys);
            return true;
        }
        if shard >= self.mail.shards() || conn.on_shard_port {
            self.finish(conn, part, &[], read_ns, Answer::Scanned { cursor: 0, keys: &[] });
            return true;
        }
        let what = What::Scan { cursor: local, count };
        let ask = Ask { space, room: SCAN_ROOM, ..Ask::plain(conn.next_address(), what) };
        let asked = self.ask(conn, shard, &ask, AskBytes { echo: part.echo, ..AskBytes::default() });
        if asked {
            self.wait_for(conn, part, read_ns, (1, SCAN_ROOM), None);
        }
        asked
    }

    /// Appends the keys of a step to `keys`; returns the next cursor.
    pub(super) fn scan(
        &mut self,
        space: u16,
        local: u64,
        count: u32,
        only_here: bool,
        keys: &mut Vec<u8>,
    ) -> u64 {
        #[cfg(test)]
        let before = keys.len();
        let next = self.shard.scan(space, local, count, self.now, keys, &mut Vec::new());
        #[cfg(test)]
        if self.strikes(super::bug::Bug::BlindScan) {
            keys.truncate(before);
        }
        let here = u64::from(self.number) << CURSOR_BITS;
        match next {
            0 if only_here || self.number + 1 == self.mail.shards() => 0,
            0 => here + (1 << CURSOR_BITS),
            next => here | next,
        }
    }
}

#[cfg(test)]
mod tests;
