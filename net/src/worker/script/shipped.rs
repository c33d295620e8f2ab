//! Scripts all of whose keys are one other shard's: they are run there.
//!
//! ```text
//!   asker: words --one request, behind which nothing is begun--> owner: runs it at once, writes, answers --> asker: the reply
//!                                                                   | it cannot be done at once: nothing is changed
//!                                                                   v
//!                                                                 asker: holds the keys and runs it itself
//! ```
//!
//! It holds nothing, so it waits for keys that others hold in the line of its lane, as a command does. Were it sent back for that, it would
//! hold its keys itself, and make the next ones wait and hold theirs: under load that would never end.

use super::name_of;
use super::run::Asked;
use crate::session::Part;
#[cfg(test)]
use crate::worker::bug::Bug;
use crate::worker::connection::Connection;
use crate::worker::mail::{Ask, AskBytes, What};
use crate::worker::state::WorkerState;

/// Longer words do not travel, bytes.
const WORDS_BYTES_MAX: usize = 16 << 10;

impl WorkerState {
    /// The shard that is asked to run a script: that of all its keys, unless it is this one, or has sent it back.
    pub(super) fn ships_to(&mut self, conn: &Connection, asked: Asked<'_>) -> Option<u16> {
        let has_begun = conn.script.is_some() || conn.keeps_script || conn.in_transaction;
        if has_begun
            || self.mail.is_alone()
            || self.tier.is_some()
            || conn.is_of_one_shard()
            // What it reads is noted for its client; what it calls is shown, once.
            || conn.tracking.as_ref().is_some_and(|tracking| tracking.reads())
            || self.monitoring.is_on
            || asked.words.len() > WORDS_BYTES_MAX
        {
            return None;
        }
        let mut shards = asked.keys().map(|key| self.owner(key));
        let shard = shards.next()?;
        if shard == self.number || shards.any(|other| other != shard) {
            return None;
        }
        let stays = self.homebound.is_any() && self.homebound.stays(self.shard.key_hash(asked.name()));
        (!stays).then_some(shard)
    }

    /// Asks a shard to run a script. False: it has no place for it yet, and the connection waits in line.
    pub(super) fn ship_script(
        &mut self,
        conn: &mut Connection,
        shard: u16,
        part: &Part<'_>,
        asked: Asked<'_>,
        read_ns: u64,
    ) -> bool {
        let room = conn.queue.answer_room();
        let what = What::Script { script: asked.named, resp3: conn.session.takes_pushes() };
        let ask = Ask {
            database: asked.database,
            // By which its bucket is fetched ahead.
            hash: asked.keys().next().map_or(0, |key| self.shard.key_hash(key)),
            room,
            ..Ask::plain(conn.next_address(), what)
        };
        let bytes = AskBytes { value: asked.words, echo: part.echo, ..AskBytes::default() };
        if !self.ask(conn, shard, &ask, bytes) {
            return false;
        }
        self.stats.scripts_sent.add(1);
        self.wait_for(conn, part, read_ns, (1, room), None);
        // It may be sent back, and what is behind it must not be done before.
        conn.asks_alone = true;
        #[cfg(test)]
        if self.has(Bug::OvertakenScript) {
            conn.asks_alone = false;
        }
        true
    }

    /// A script was sent back. It is the first of the connection's deferred parts.
    #[cold]
    pub(in crate::worker) fn keep_script(&mut self, conn: &mut Connection, words: &[u8]) {
        #[cfg(test)]
        if self.has(Bug::ShuttledScript) {
            return;
        }
        conn.keeps_script = true;
        self.stats.scripts_sent_back.add(1);
        self.homebound.came_back(self.shard.key_hash(name_of(words)));
    }
}
