//! Subscriptions of this shard's clients, and messages for those of all shards.
//!
//! ```text
//!   PUBLISH at any shard --> no shard has subscribers: 0
//!                        --> clients of this shard get it at once
//!                        --> every other shard that has some is asked by mail --> its clients get it
//!                                                        count <-- counts <--+
//! ```
//!
//! Each shard knows its own clients' subscriptions alone, and tells the others only how many there are
//! ([`Subscribers`](crate::shared::Subscribers)). Mail keeps its order, so a subscriber gets the messages of a publisher in theirs. A
//! message waits for what its publisher has asked other shards before, unless that was messages, too: who hears of a change finds
//! it done.
//!
//! A subscriber that does not take its messages is closed ([`push.rs`](super::push)). What it is subscribed to is charged to it, and
//! taken out bit by bit when it is gone.

mod inspect;
mod publish;
pub(super) mod shares;
pub(super) mod table;

use super::budget::{Pressure, SHORT_BYTES};
use super::connection::Connection;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{About, Answer, Channels, Part};
use torc_engine::words;
use torc_proto::resp::glob;
use torc_proto::slot::slot_of;

/// Names of clients that are gone that are taken out in a turn.
const LEAVING_NAMES: usize = 1000;
/// Steps of matching a name with a pattern, by the bytes of both: a usual one takes two a byte. Beyond that it does not match.
const STEPS_A_BYTE: usize = 16;
const STEPS_MIN: usize = 64;

/// Whether a name matches a pattern. As in Redis, only the empty pattern matches the empty name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.is_empty() {
        return pattern.is_empty();
    }
    let mut steps = STEPS_MIN + STEPS_A_BYTE * (pattern.len() + name.len());
    glob::matches(pattern, name, &mut steps) == Some(true)
}

impl WorkerState {
    /// Begins a part about channels. False: it has to wait.
    pub(super) fn begin_messages(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (about, name, message): (About, &[u8], &[u8]),
        read_ns: u64,
    ) -> bool {
        let answer = match about {
            About::Publish { sharded } => {
                return self.begin_publish(conn, part, (sharded, name, message), read_ns);
            }
            About::Inspect(inspect) => return self.begin_inspect(conn, part, (inspect, name), read_ns),
            About::Subscribe(of) => self.subscribe(conn, of, part.echo),
            About::Unsubscribe(of) => self.unsubscribe(conn, of, part.echo),
            About::UnsubscribeAll(of) => {
                let mut names = Vec::new();
                let left = self.unsubscribe_all(conn, of, Some(&mut names));
                self.finish_messages(conn, part, Answer::Unsubscribed { names: &names, left }, read_ns);
                return true;
            }
            About::Forget => {
                for of in [Channels::Named, Channels::Matching, Channels::Sharded] {
                    self.unsubscribe_all(conn, of, None);
                }
                Answer::Local
            }
        };
        self.finish_messages(conn, part, answer, read_ns);
        true
    }

    fn finish_messages(&mut self, conn: &mut Connection, part: &Part<'_>, answer: Answer<'_>, read_ns: u64) {
        self.stats.request(CommandClass::Messages, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, answer);
    }

    /// Where clients of clusters find a sharded channel, if that is another shard than the one that this client speaks to as to a
    /// node.
    fn moved(&self, conn: &Connection, name: &[u8]) -> Option<Answer<'static>> {
        let slot = slot_of(name);
        let shard = self.shared.slots.owner(slot);
        let moved = conn.on_shard_port && shard != self.number;
        moved.then(|| Answer::Moved { slot, shard, epoch: self.shared.slots.epoch() })
    }

    fn subscribe(&mut self, conn: &mut Connection, of: Channels, name: &[u8]) -> Answer<'static> {
        if of == Channels::Sharded
            && let Some(moved) = self.moved(conn, name)
        {
            return moved;
        }
        let subscribed = self.subscribed(conn);
        let fits = match self.budget.pressure() {
            Pressure::None => true,
            Pressure::Short => conn.subscription_bytes < SHORT_BYTES,
            Pressure::Exhausted => false,
        };
        if !fits {
            return Answer::Busy { limit: "client-memory" };
        }
        if subscribed.total() >= self.settings.subscriptions_max {
            return Answer::Busy { limit: "max-subscriptions" };
        }
        if self.subscriptions.get_or_insert_default().add(conn.id, of, name) {
            self.tell_subscribed(conn);
        }
        Answer::Subscribed(self.subscribed(conn).told(of) as u64)
    }

    fn unsubscribe(&mut self, conn: &mut Connection, of: Channels, name: &[u8]) -> Answer<'static> {
        #[cfg(test)]
        if self.strikes(super::bug::Bug::KeptSubscription) {
            return Answer::Subscribed(self.subscribed(conn).told(of).saturating_sub(1) as u64);
        }
        if let Some(subscriptions) = &mut self.subscriptions {
            subscriptions.remove(conn.id, of, name);
            self.tell_subscribed(conn);
        }
        Answer::Subscribed(self.subscribed(conn).told(of) as u64)
    }

    /// Puts the names down in `names`; returns how many subscriptions are left that are counted with those.
    fn unsubscribe_all(
        &mut self,
        conn: &mut Connection,
        of: Channels,
        mut names: Option<&mut Vec<u8>>,
    ) -> u64 {
        if let Some(subscriptions) = &mut self.subscriptions {
            for name in subscriptions.names_of(conn.id, of) {
                subscriptions.remove(conn.id, of, &name);
                if let Some(names) = &mut names {
                    words::begin(name.len() as u32, names);
                    names.extend_from_slice(&name);
                }
            }
            self.tell_subscribed(conn);
        }
        self.subscribed(conn).told(of) as u64
    }

    fn subscribed(&self, conn: &Connection) -> crate::session::Subscribed {
        self.subscriptions.as_ref().map(|subscriptions| subscriptions.of(conn.id)).unwrap_or_default()
    }

    /// A connection's subscriptions have changed: tells its session, the other shards, and whoever reads figures.
    fn tell_subscribed(&mut self, conn: &mut Connection) {
        let bytes = self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.bytes_of(conn.id));
        conn.subscription_bytes = bytes;
        let subscribed = self.subscribed(conn);
        conn.session.has_subscribed(subscribed);
        self.count_subscriptions();
    }

    fn count_subscriptions(&mut self) {
        let count = self.subscriptions.as_ref().map_or(0, |subscriptions| subscriptions.count());
        self.shared.subscribers.tell(self.number, count);
        self.look_for_listeners();
        self.stats.subscriptions.set(count as u64);
        if count == 0 {
            self.subscriptions = None;
        }
    }

    /// A connection is gone.
    pub(super) fn end_subscriptions(&mut self, conn: &Connection) {
        if let Some(subscriptions) = self.subscriptions.as_mut().filter(|_| conn.subscription_bytes > 0) {
            subscriptions.leave(conn.id);
        }
    }

    /// Takes out what clients were subscribed to that are gone. Whether some of it is left.
    pub(super) fn go_on_leaving(&mut self) -> bool {
        let Some(subscriptions) = &mut self.subscriptions else { return false };
        let before = subscriptions.count();
        let more = subscriptions.go_on_leaving(LEAVING_NAMES);
        if subscriptions.count() != before {
            self.count_subscriptions();
        }
        more
    }
}

#[cfg(test)]
mod tests;
