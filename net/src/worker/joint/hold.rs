//! Keys of one command that is no part of a transaction: of a script, or of a command about several keys.

use super::{Key, Progress};
use crate::session::Answer;
use crate::worker::connection::Connection;
use crate::worker::execute::Destination;
use crate::worker::holds::HeldKey;
use crate::worker::owned::OwnedAnswer;
use crate::worker::state::WorkerState;
use std::collections::HashSet;

impl WorkerState {
    /// How a command ends that names keys which are served elsewhere.
    pub(in crate::worker) fn elsewhere<'k>(
        &self,
        conn: &Connection,
        mut keys: impl Iterator<Item = Key<'k>>,
    ) -> Option<OwnedAnswer> {
        keys.find_map(|(_, key)| match self.destination(conn, key, self.owner(key)) {
            Destination::Moved(Answer::Moved { slot, shard, epoch }) => {
                Some(OwnedAnswer::Moved { slot, shard, epoch })
            }
            _ => None,
        })
    }

    /// Holds keys for one command; each may be named several times. They are asked for when the command comes first.
    pub(in crate::worker) fn hold_alone<'k, K: Iterator<Item = Key<'k>>>(
        &mut self,
        conn: &mut Connection,
        keys: impl FnOnce() -> K,
    ) -> Progress {
        let running = match conn.transaction.take() {
            Some(running) => running,
            None => {
                let mut named = HashSet::new();
                let keys = keys().filter(|key| named.insert(*key));
                let to_hold = |(database, key)| HeldKey { database, is_watched: false, key };
                let running = self.begin_hold(conn, &keys.map(to_hold).collect::<Vec<_>>(), None);
                conn.attempts = running.attempt();
                running
            }
        };
        match self.acquire(conn, running) {
            Ok(Some(running)) => {
                conn.transaction = Some(running);
                conn.in_transaction = true;
                Progress::Goes
            }
            Ok(None) => Progress::Waits,
            Err(why) => Progress::Ends(OwnedAnswer::Exec(why)),
        }
    }
}
