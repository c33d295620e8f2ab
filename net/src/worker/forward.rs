//! What a client asks of other shards: their keys, a flush of all.

use super::connection::Connection;
use super::execute::is_step;
use super::mail::{Ask, AskBytes, AskWhat, What};
use super::owned::op_value;
use super::queue::Asked;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, FreeReply, Part, Session};
use torc_engine::command::{Command, Millis};

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
            database: command.database,
            once: part.once,
            reply,
            tag: tag.unwrap_or_default(),
            hash,
            deadline,
            room,
            wish: part.reply.wish(),
            tracks: self.tracks(conn, command, is_step(part)),
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
        conn.only_publishes = false;
        // Who is told behind steps is told behind the reply that they lead to.
        if let (Some(tracking), Some(hash), false) = (&mut conn.tracking, hash, is_step(part)) {
            tracking.waiting.begin(conn.queue.end(), hash);
        }
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
        let lane = self.lane_of(conn, shard);
        self.ask_in(conn, lane, ask, bytes)
    }

    /// The number of the lane in which a connection asks a shard. If its keys are held, nothing may stand before what it asks.
    pub(super) fn lane_of(&self, conn: &Connection, shard: u16) -> u16 {
        if conn.in_transaction { self.mail.express(shard) } else { shard }
    }

    /// Asks in the lane with this number.
    pub(super) fn ask_in(
        &mut self,
        conn: &mut Connection,
        lane: u16,
        ask: &Ask<'_>,
        bytes: AskBytes<'_>,
    ) -> bool {
        let Some(lane) = self.mail.lane(lane) else { return false };
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
        if others > 0 && !self.has_place_at_each(conn) {
            return false;
        }
        #[cfg(test)]
        let at = if self.strikes(super::bug::Bug::HalfFlush) { Some(Millis::MAX) } else { at };
        self.shard.flush(at, self.now);
        self.stats.request(CommandClass::Flush, OutcomeClass::Done);
        self.pass_to_others(conn, part, What::Flush { at }, (others, read_ns));
        true
    }

    /// Whether each shard has a place for another question. If one has not, the connection goes on when it has.
    pub(super) fn has_place_at_each(&mut self, conn: &mut Connection) -> bool {
        let Some(full) = self.mail.shard_without_places(1) else { return true };
        if let Some(lane) = self.mail.lane(full).filter(|_| !conn.marks.stalled) {
            conn.marks.stalled = true;
            lane.wait(conn.id);
        }
        false
    }

    /// Asks all other shards, which have [places](Self::has_place_at_each), to do what this one has done; the answer comes when all
    /// have. Without `others` that is now.
    pub(super) fn pass_to_others(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        what: What,
        (others, read_ns): (u16, u64),
    ) {
        if others == 0 {
            return self.finish(conn, part, &[], read_ns, Answer::Flushed);
        }
        let (from, number) = (conn.next_address(), self.number);
        for shard in (0..self.mail.shards()).filter(|&shard| shard != number) {
            let bytes = AskBytes { echo: part.echo, ..AskBytes::default() };
            let ask = Ask { wish: part.reply.wish(), ..Ask::plain(from, what) };
            self.ask(conn, shard, &ask, bytes);
        }
        self.wait_for(conn, part, read_ns, (others, 0), None);
    }
}

#[cfg(test)]
mod tests;
