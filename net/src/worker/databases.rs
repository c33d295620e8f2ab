//! Databases that are flushed and swapped: see [`crate::databases`].
//!
//! Who changes the table tells every shard by mail that there is another one, and the answer comes when all have it.
//!
//! As any command over all shards it is not atomic: for a moment some have the table of before. Each key is in one shard, so whoever
//! has seen it changed sees it so from then on.

use super::connection::Connection;
use super::mail::What;
use super::state::WorkerState;
use crate::databases::Unchanged;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, DatabasesChange, NotFlushed, Part, Session};

impl WorkerState {
    /// Takes the table that the server has now.
    pub(super) fn take_spaces(&mut self) {
        let table = self.shared.databases.take(self.number, self.shard.version());
        #[cfg(test)]
        if self.strikes(super::bug::Bug::UntakenSpaces) {
            return;
        }
        self.shard.set_spaces(&table, self.now);
        self.look_at_watches();
    }

    /// Says what this shard has left of databases that were flushed, once a turn.
    pub(super) fn tell_dropped(&mut self) {
        let version = self.shard.spaces().version;
        if version > self.told_dropped && self.shard.has_dropped_all() {
            self.told_dropped = version;
            self.shared.databases.has_dropped(self.number, version);
        }
    }

    /// Databases are flushed or swapped. A Redis client that speaks to a shard as to a node of a cluster has one database, which is
    /// flushed with all of the shard.
    pub(super) fn begin_databases(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        change: DatabasesChange,
        read_ns: u64,
    ) -> bool {
        if conn.on_shard_port && matches!(conn.session, Session::Resp(_)) {
            return self.change_at_shard(conn, part, change, read_ns);
        }
        let others = self.mail.shards() - 1;
        if others > 0 && !self.has_place_at_each(conn) {
            return false;
        }
        let may_begin_again = (0..self.mail.shards()).all(|shard| !self.shared.is_recovering(shard));
        let version = self.shard.draw_version(self.now);
        match self.shared.databases.change(change, version, may_begin_again) {
            Ok(()) => {}
            Err(Unchanged::Later) => {
                self.ask_later(conn);
                return false;
            }
            Err(Unchanged::Refused(why)) => return self.refuse_change(conn, part, why, read_ns),
        }
        self.take_spaces();
        self.stats.request(CommandClass::Flush, OutcomeClass::Done);
        self.pass_to_others(conn, part, What::Databases, (others, read_ns));
        true
    }

    /// False: it has to be known first what the shard has.
    fn change_at_shard(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        change: DatabasesChange,
        read_ns: u64,
    ) -> bool {
        if let DatabasesChange::Swap { .. } = change {
            return self.refuse_change(conn, part, NotFlushed::Cluster, read_ns);
        }
        if self.shared.is_recovering(self.number) {
            self.wait_to_know_all(conn);
            return false;
        }
        let stats = self.shard.stats();
        let has_keys = |database: usize| {
            let figures = stats.database(database);
            figures.items + figures.only > 0
        };
        if (1..self.shard.spaces().spaces.len()).any(has_keys) {
            return self.refuse_change(conn, part, NotFlushed::NotAlone, read_ns);
        }
        self.begin_flush(conn, part, None, read_ns)
    }

    fn refuse_change(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        why: NotFlushed,
        read_ns: u64,
    ) -> bool {
        self.stats.request(CommandClass::Flush, OutcomeClass::Refused);
        self.finish(conn, part, &[], read_ns, Answer::NotFlushed(why));
        true
    }
}
