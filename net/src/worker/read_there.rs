//! Reads of other shards' keys that do not ask their owners: see [`torc_engine::reader`].
//!
//! Only reads that change nothing. Commands of one connection on one key take effect in their order, so a read goes the long
//! way as long as a command on its key may be with another shard ([`Queue::may_have_asked`](super::queue::Queue::may_have_asked)).

use super::connection::Connection;
use super::mail::{Batch, Report};
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Part, Told};
use torc_engine::command::{Command, Op, Outcome};
use torc_engine::reader::{Access, Look};
use torc_proto::native::{Accessed, Accesses, Doubts};

/// Whether a command may be answered without its shard.
#[inline]
pub(super) fn is_plain_read(command: &Command<'_>) -> bool {
    matches!(&command.op, Op::Read(read) if read.is_plain())
}

impl WorkerState {
    /// Answers a part from another shard's memory. False: that shard has to be asked. `read_ns`: when it was read, if it may stand
    /// behind what waits. Without it nothing waits, the caller counts the answer, and asks again with it where this is false.
    #[inline]
    pub(super) fn read_there(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (command, hash): (&Command<'_>, u64),
        shard: u16,
        read_ns: Option<u64>,
    ) -> bool {
        let Op::Read(read) = &command.op else { return false };
        let Some(reader) = self.siblings.readers.get(shard as usize) else { return false };
        let may_have_asked = conn.queue.may_have_asked(hash);
        #[cfg(test)]
        let may_have_asked = may_have_asked && !self.has(super::bug::Bug::EarlyRead);
        if !read.is_plain() || may_have_asked || self.notices.has_misses() {
            return false;
        }
        // Taken out, as the answer lies in it while the worker is changed.
        let mut room = std::mem::take(&mut self.siblings.room);
        let look = reader.read((command.database, command.key), hash, read, self.now, &mut room);
        let told = match look {
            // Its shard removes it and tells of it.
            Ok(Look::Expired) if self.notices.has_expired() || self.shared.broadcasts.any() => false,
            Ok(look) => {
                let outcome = self.count_look(look, shard, !read.uncounted);
                self.stats.request(CommandClass::of(&command.op), OutcomeClass::of(&outcome));
                let answer = Answer::Outcome(outcome);
                match read_ns {
                    Some(read_ns) => self.finish(conn, part, command.key, read_ns, answer),
                    None => self.compose(conn, part, command.key, &answer),
                }
                true
            }
            Err(doubt) => {
                self.stats.sibling_doubts[doubt as usize].add(u64::from(read_ns.is_some()));
                false
            }
        };
        self.siblings.room = room;
        told
    }

    /// Counts a look at another shard as this shard's own, and notes what its owner has to know of it.
    #[inline]
    fn count_look<'r>(&mut self, look: Look<'r>, shard: u16, counts: bool) -> Outcome<'r> {
        let stats = self.shard.stats();
        if let Look::Hit { found, report, .. } = look {
            stats.hits.add(u64::from(counts));
            self.stats.sibling_hits.add(1);
            if let Some(Access { hash, location }) = report
                && let Some(lane) = self.mail.lane(shard)
            {
                lane.report(Report { hash, location });
            }
            return Outcome::Item(found);
        }
        self.stats.sibling_misses.add(1);
        stats.misses.add(u64::from(counts));
        match look {
            Look::Expired if counts => stats.misses_expired.add(1),
            Look::Flushed if counts => stats.misses_flushed.add(1),
            _ => {}
        }
        Outcome::Miss
    }

    /// Counts what a client tells of reads of its own. The numbers may be anything.
    #[cold]
    pub(super) fn take_told(&mut self, told: Told, value: &[u8]) {
        match told {
            Told::Accesses => self.take_accesses(value),
            Told::Doubts => {
                let Doubts(counts) = Doubts::parse(value).unwrap_or_default();
                self.stats
                    .one_sided_doubts
                    .iter()
                    .zip(counts)
                    .for_each(|(counter, count)| counter.add(count));
            }
        }
    }

    fn take_accesses(&mut self, value: &[u8]) {
        let Ok(accesses) = Accesses::parse(value) else { return };
        self.stats.one_sided_hits.add(accesses.hits);
        self.stats.one_sided_misses.add(accesses.misses);
        for Accessed { shard, hash, location } in accesses.entries() {
            if shard == self.number {
                self.shard.count_read(hash, location);
            } else if let Some(lane) = self.mail.lane(shard) {
                lane.report(Report { hash, location });
            }
        }
    }

    /// Counts the accesses that another shard reports.
    pub(super) fn take_reports(&mut self, batch: &mut Batch) {
        batch.reports.iter().for_each(|report| self.shard.prefetch_bucket(0, report.hash));
        batch.reports.drain(..).for_each(|report| self.shard.count_read(report.hash, report.location));
    }
}
