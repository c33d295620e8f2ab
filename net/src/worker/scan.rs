//! Steps of a scan: at this shard or another, over keys in DRAM and on the tier.

use super::connection::Connection;
use super::mail::{Ask, AskBytes, What};
use super::state::WorkerState;
use super::step::{Scanner, Step};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Part};
use torc_engine::shard::Tells;

/// Bits of a scan's cursor that belong to the shard's own; the shard is above them.
pub(super) const CURSOR_BITS: u32 = 48;
/// Set aside for the keys of a step of a scan.
pub(super) const SCAN_ROOM: u32 = 64 << 10;

impl WorkerState {
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
        let (database, local) = (part.work.database(), cursor & ((1 << CURSOR_BITS) - 1));
        if shard == self.number {
            let Some(step) = self.step_here(conn, database, (local, count, Tells::Keys)) else {
                return false;
            };
            self.stats.request(CommandClass::Scan, OutcomeClass::Done);
            let answer = Answer::Scanned { cursor: step.cursor, keys: &step.keys };
            self.finish(conn, part, &[], read_ns, answer);
            self.pool.give(step.keys);
            return true;
        }
        self.stats.request(CommandClass::Scan, OutcomeClass::Done);
        if shard >= self.mail.shards() || conn.on_shard_port {
            self.finish(conn, part, &[], read_ns, Answer::Scanned { cursor: 0, keys: &[] });
            return true;
        }
        if self.waits_to_scan(shard) {
            self.ask_later(conn);
            return false;
        }
        let what = What::Scan { cursor: local, count, tells: Tells::Keys };
        let ask = Ask { database, room: SCAN_ROOM, ..Ask::plain(conn.next_address(), what) };
        let asked = self.ask(conn, shard, &ask, AskBytes { echo: part.echo, ..AskBytes::default() });
        if asked {
            self.wait_for(conn, part, read_ns, (1, SCAN_ROOM), None);
        }
        asked
    }

    /// One step at this shard. `None`: something has to be known or fetched first.
    pub(super) fn step_here(
        &mut self,
        conn: &mut Connection,
        database: u16,
        from: (u64, u32, Tells),
    ) -> Option<Step> {
        let step = match conn.scans.take() {
            Some(step) => *step,
            None if self.waits_to_scan(self.number) => {
                self.wait_to_know_all(conn);
                return None;
            }
            None if !self.may_scan() => {
                self.hold(conn);
                return None;
            }
            None => {
                let keys = self.pool.take();
                self.scan(database, from, conn.is_of_one_shard(), keys, Scanner::Client(conn.id))
            }
        };
        if step.missing > 0 {
            conn.scans = Some(Box::new(step));
            conn.waits_for_tier = true;
            return None;
        }
        Some(step)
    }

    /// The cursor behind a step at this shard that came to `next`, 0 at its end.
    pub(super) fn cursor_behind(&self, here: u64, next: u64, only_here: bool) -> u64 {
        match next {
            0 if only_here || self.number + 1 == self.mail.shards() => 0,
            0 => here + (1 << CURSOR_BITS),
            next => here | next,
        }
    }

    /// One step for another shard, whose keys are appended to `out`. `None`: some are being fetched.
    pub(super) fn scan_for(
        &mut self,
        shard: u16,
        database: u16,
        from: (u64, u32, Tells),
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let step = match self.take_step(shard) {
            Some(step) => step,
            None if !self.may_scan() => return None,
            None => {
                let keys = self.pool.take();
                self.scan(database, from, false, keys, Scanner::Shard(shard))
            }
        };
        if step.missing > 0 {
            self.keep_step(shard, step);
            return None;
        }
        out.extend_from_slice(&step.keys);
        let cursor = step.cursor;
        self.pool.give(step.keys);
        Some(cursor)
    }

    /// Walks on from a place of this shard.
    fn scan(
        &mut self,
        database: u16,
        (local, count, tells): (u64, u32, Tells),
        only_here: bool,
        mut keys: Vec<u8>,
        scanner: Scanner,
    ) -> Step {
        let mut elsewhere = Vec::new();
        let next = self.shard.scan(database, (local, count), tells, self.now, &mut keys, &mut elsewhere);
        #[cfg(test)]
        if self.strikes(super::bug::Bug::BlindScan) {
            keys.clear();
        }
        let here = u64::from(self.number) << CURSOR_BITS;
        let cursor = self.cursor_behind(here, next, only_here);
        let mut step = Step { database, tells, cursor, keys, missing: 0 };
        self.fetch_keys(&elsewhere, &mut step, scanner);
        step
    }
}
