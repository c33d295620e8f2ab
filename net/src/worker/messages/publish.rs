//! A message on its way to all subscribers.

use super::matches;
use super::table::Subscriptions;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Channels, Part, Push};
use crate::transport::ConnId;
use crate::worker::connection::Connection;
use crate::worker::mail::{Ask, AskBytes, What};
use crate::worker::state::WorkerState;

impl WorkerState {
    pub(super) fn begin_publish(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (sharded, name, message): (bool, &[u8], &[u8]),
        read_ns: u64,
    ) -> bool {
        let moved = if sharded { self.moved(conn, name) } else { None };
        let answer = moved.or_else(|| (!self.shared.subscribers.any()).then_some(Answer::Published(0)));
        if let Some(answer) = answer {
            self.finish_messages(conn, part, answer, read_ns);
            return true;
        }
        // Who gets the message may look for what its publisher has done before.
        if !conn.queue.is_empty() && !conn.only_publishes {
            return false;
        }
        let length = name.len() + message.len();
        if !self.has_room_at_listeners(conn, length) {
            return false;
        }
        let bytes = AskBytes { key: name, value: message, ..AskBytes::default() };
        // First, as a publisher's own message may take the next place in its queue.
        let count = self.give_message(sharded, name, message, Some(conn));
        let others = self.ask_listeners(conn, What::Publish { sharded }, bytes);
        if others == 0 {
            self.finish_messages(conn, part, Answer::Published(count), read_ns);
            return true;
        }
        self.stats.request(CommandClass::Messages, OutcomeClass::Done);
        let sequence = conn.next_address().sequence;
        conn.shares.begin(sequence, others, count, Vec::new());
        self.wait_for(conn, part, read_ns, (others, 0), None);
        conn.only_publishes = true;
        true
    }

    /// Whether each other shard that has subscribers has room for a request of so many bytes. If one has not, the connection goes
    /// on when it has.
    pub(super) fn has_room_at_listeners(&mut self, conn: &mut Connection, length: usize) -> bool {
        for shard in (0..self.mail.shards()).filter(|&shard| self.shared.subscribers.has(shard)) {
            let number = self.lane_of(conn, shard);
            let Some(lane) = self.mail.lane(number) else { continue };
            if lane.has_room_for(length) {
                continue;
            }
            if !conn.marks.stalled {
                conn.marks.stalled = true;
                lane.wait(conn.id);
            }
            return false;
        }
        true
    }

    /// Asks each other shard that has subscribers, and [room](Self::has_room_at_listeners). Says how many.
    pub(super) fn ask_listeners(&mut self, conn: &mut Connection, what: What, bytes: AskBytes<'_>) -> u16 {
        let (from, number) = (conn.next_address(), self.number);
        let mut asked = 0;
        for shard in (0..self.mail.shards()).filter(|&shard| shard != number) {
            #[cfg(test)]
            if asked > 0 && self.strikes(crate::worker::bug::Bug::UntoldShard) {
                continue;
            }
            if self.shared.subscribers.has(shard) && self.ask(conn, shard, &Ask::plain(from, what), bytes) {
                asked += 1;
            }
        }
        asked
    }

    /// Gives a message to this shard's subscribers, its publisher among them if that is a client of this shard. Says how many have got
    /// it.
    pub(in crate::worker) fn give_message(
        &mut self,
        sharded: bool,
        name: &[u8],
        message: &[u8],
        mut publisher: Option<&mut Connection>,
    ) -> u64 {
        let Some(subscriptions) = self.subscriptions.take() else { return 0 };
        let mut bytes = self.pool.take();
        let (of, kind) = match sharded {
            true => (Channels::Sharded, &b"smessage"[..]),
            false => (Channels::Named, &b"message"[..]),
        };
        let mut count = 0;
        let receivers = subscriptions.receivers(of, name);
        if !receivers.is_empty() {
            let push = Push::new(&[kind, name, message], &mut bytes);
            count += self.push_to_all(receivers, push, publisher.as_deref_mut());
        }
        if !sharded {
            count += self.give_to_matching(&subscriptions, (name, message), &mut bytes, publisher);
        }
        self.subscriptions = Some(subscriptions);
        self.pool.give(bytes);
        self.stats.messages_delivered.add(count);
        count
    }

    fn give_to_matching(
        &mut self,
        subscriptions: &Subscriptions,
        (name, message): (&[u8], &[u8]),
        bytes: &mut Vec<u8>,
        mut publisher: Option<&mut Connection>,
    ) -> u64 {
        let mut count = 0;
        for (pattern, receivers) in subscriptions.all(Channels::Matching) {
            if matches(pattern, name) {
                bytes.clear();
                let push = Push::new(&[b"pmessage", pattern, name, message], bytes);
                count += self.push_to_all(receivers, push, publisher.as_deref_mut());
            }
        }
        count
    }

    fn push_to_all(
        &mut self,
        receivers: &[ConnId],
        push: Push<'_>,
        mut publisher: Option<&mut Connection>,
    ) -> u64 {
        let mut count = 0;
        for &id in receivers {
            let taken = match &mut publisher {
                Some(conn) if conn.id == id => self.push_to(conn, push),
                _ => self.push(id, push),
            };
            count += u64::from(taken);
        }
        count
    }
}
