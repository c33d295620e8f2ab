//! The table at the shard that owns the keys: who is in it, and when it is there.

use super::table::{Table, Tracker};
use super::{LEAVING_PLACES, TABLE_SHARE, Tracks, Writer};
use crate::transport::ConnId;
use crate::worker::connection::Connection;
use crate::worker::holds::Holder;
use crate::worker::state::WorkerState;
use std::time::Duration;
use torc_engine::command::{Command, Millis};

impl WorkerState {
    /// Looks whether anybody is told, and how: when a turn begins, and whenever somebody may have begun since.
    #[inline]
    pub(in crate::worker) fn look_for_trackers(&mut self) {
        if self.trackers.has_table || self.shared.trackers.any() {
            self.look_after_table();
        }
    }

    #[cold]
    fn look_after_table(&mut self) {
        let is_wanted = self.shared.trackers.any();
        if is_wanted != self.trackers.has_table {
            self.trackers.has_table = is_wanted;
            match is_wanted {
                true => {
                    let keys_max = (self.settings.tracking_keys_max / usize::from(self.mail.shards())).max(1);
                    let bytes_max = self.shard.memory_bytes() / TABLE_SHARE;
                    let table = Table::new(self.mail.shards(), keys_max, bytes_max as usize);
                    self.shard.listen(Box::new(table));
                }
                false => self.shard.listen_no_more::<Table>(),
            }
            self.count_tracked();
        }
        let (shards, now) = (0..self.mail.shards(), self.now);
        if now >= self.shard.flushes_at() {
            // It is told when it is done.
            self.shard.maintain(now, 0);
        }
        let Some(table) = self.shard.listener_mut::<Table>() else { return };
        table.expire(now);
        table.broadcasts.clear();
        if self.shared.broadcasts.any() {
            table.broadcasts.extend(shards.filter(|shard| self.shared.broadcasts.has(*shard)));
        }
    }

    /// The changes that follow are made by this client, and answered at this place of its queue; `None`: at once.
    #[inline]
    pub(in crate::worker) fn write_as(
        &mut self,
        (shard, conn): (u16, ConnId),
        place: impl FnOnce() -> Option<u32>,
    ) {
        self.notices.watched.of_client(shard, conn);
        if self.trackers.has_table
            && let Some(table) = self.shard.listener_mut::<Table>()
        {
            table.writer = Some(Writer { holder: Holder { shard, conn }, place: place() });
        }
    }

    /// Puts a key into the table that is about to be read.
    pub(in crate::worker) fn track(
        &mut self,
        holder: Holder,
        tracks: Tracks,
        command: &Command<'_>,
        hash: u64,
    ) {
        if tracks == Tracks::No {
            return;
        }
        #[cfg(test)]
        if self.strikes(crate::worker::bug::Bug::UntrackedRead) {
            return;
        }
        self.look_for_trackers();
        let expiry = self.shard.expiry_of(command.database, command.key, hash);
        let item_hash = self.shard.item_hash(command.database, hash);
        if let Some(table) = self.shard.listener_mut::<Table>() {
            let tracker = Tracker { holder, no_loop: tracks == Tracks::NotOwn };
            table.add(tracker, item_hash, command.key, expiry);
        }
        self.count_tracked();
    }

    /// A client, of this shard or another, is gone.
    pub(in crate::worker) fn untrack(&mut self, holder: Holder) {
        if let Some(table) = self.shard.listener_mut::<Table>() {
            table.leave(holder);
        }
    }

    /// Takes clients that are gone out of the table. Whether there may be more of them.
    pub(in crate::worker) fn go_on_untracking(&mut self) -> bool {
        if !self.trackers.has_table {
            return false;
        }
        let more =
            self.shard.listener_mut::<Table>().is_some_and(|table| table.go_on_leaving(LEAVING_PLACES));
        self.count_tracked();
        more
    }

    fn count_tracked(&mut self) {
        let table = self.shard.listener_mut::<Table>();
        let (keys, items) = table.as_ref().map_or((0, 0), |table| table.figures());
        let forced = table.map_or(0, |table| std::mem::take(&mut table.forced));
        self.stats.tracked_keys.set(keys as u64);
        self.stats.tracked_items.set(items as u64);
        self.stats.tracked_keys_forced.add(forced);
    }

    /// Memory of the table, and of what is known of clients, bytes.
    pub(in crate::worker) fn tracking_bytes(&mut self) -> usize {
        if !self.trackers.has_table && !self.trackers.is_any() {
            return 0;
        }
        let table = self.shard.listener_mut::<Table>().map_or(0, |table| table.bytes_held());
        self.trackers.bytes_held() + table
    }

    /// How long it is until the time of the next tracked key is over.
    pub(in crate::worker) fn until_tracked_end(&mut self) -> Option<Duration> {
        if !self.trackers.has_table {
            return None;
        }
        let flush = self.shard.flushes_at();
        let end = self.shard.listener_mut::<Table>()?.next_end().unwrap_or(Millis::MAX).min(flush);
        (end < Millis::MAX).then(|| Duration::from_millis(end.saturating_sub(self.now)))
    }

    /// Whether a connection's read is put into the table. Steps are no reads of the client's, but for those of a command that only reads,
    /// and those that a script ends with.
    pub(in crate::worker) fn tracks(
        &self,
        conn: &Connection,
        command: &Command<'_>,
        is_step: bool,
    ) -> Tracks {
        let is_step = is_step
            && conn.joint.as_ref().is_none_or(|run| !run.only_reads())
            && conn.fetched.as_ref().is_none_or(|fetched| !fetched.has_ended());
        match &conn.tracking {
            Some(tracking) if tracking.wanted.reads() && !is_step && !command.op.changes() => {
                if tracking.wanted.mode.no_loop { Tracks::NotOwn } else { Tracks::Yes }
            }
            _ => Tracks::No,
        }
    }
}
