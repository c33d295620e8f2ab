//! What subscriptions there are, of all shards.

use super::matches;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::Channels;
use crate::session::{Answer, Inspect, Part};
use crate::worker::connection::Connection;
use crate::worker::mail::{AskBytes, What};
use crate::worker::state::WorkerState;
use torc_engine::words;

impl WorkerState {
    pub(super) fn begin_inspect(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (inspect, name): (Inspect, &[u8]),
        read_ns: u64,
    ) -> bool {
        if !self.has_room_at_listeners(conn, name.len() + part.echo.len()) {
            return false;
        }
        let bytes = AskBytes { key: name, echo: part.echo, ..AskBytes::default() };
        let others = self.ask_listeners(conn, What::Inspect(inspect), bytes);
        let mut found = Vec::new();
        self.inspect(inspect, name, &mut found);
        if others == 0 {
            self.finish_messages(conn, part, Answer::Inspected(&found), read_ns);
            return true;
        }
        self.stats.request(CommandClass::Messages, OutcomeClass::Done);
        conn.shares.begin(conn.queue.end(), others, 0, found);
        self.wait_for(conn, part, read_ns, (others, 0), None);
        true
    }

    /// Appends what this shard has to say.
    pub(in crate::worker) fn inspect(&self, inspect: Inspect, name: &[u8], found: &mut Vec<u8>) {
        let mut add = |word: &[u8]| {
            words::begin(word.len() as u32, found);
            found.extend_from_slice(word);
        };
        let subscriptions = self.subscriptions.as_deref();
        match inspect {
            Inspect::Names { of, filtered } => {
                let names = subscriptions.into_iter().flat_map(|subscriptions| subscriptions.all(of));
                let is_asked = |channel: &[u8]| !filtered || matches(name, channel);
                names.map(|(channel, _)| channel).filter(|channel| is_asked(channel)).for_each(add);
            }
            Inspect::Patterns => {
                let patterns = subscriptions.into_iter().flat_map(|all| all.all(Channels::Matching));
                patterns.for_each(|(pattern, _)| add(pattern));
            }
            Inspect::Counts(of) => {
                for channel in words::each(name) {
                    let count = subscriptions.map_or(0, |all| all.receivers(of, channel).len() as u64);
                    add(&count.to_le_bytes());
                }
            }
        }
    }
}
