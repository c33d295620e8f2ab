//! The steps of a command that gathers values: BITOP, LCS.

use super::gather::Gathering;
use super::{Asked, JointRun, Progress, Step};
use crate::session::{Joint, Jointly, Work};
use crate::worker::connection::Connection;
use crate::worker::owned::{OwnedAnswer, OwnedPart};
use crate::worker::state::WorkerState;
use torc_engine::command::{Command, Expiry, Op, Read, Write, WriteMode};

/// What a value has no memory for.
const CLIENT_MEMORY: &str = "client-memory";

impl WorkerState {
    /// Takes what was lent, asks for the next value, or does what is to be done with all of them.
    pub(super) fn go_on_gathering(
        &mut self,
        conn: &mut Connection,
        run: &mut JointRun,
        asked: Asked<'_>,
        read_ns: u64,
    ) -> Progress {
        match run.step {
            Step::Look => self.gather(conn, run, asked, read_ns),
            Step::Write => self.write_block(conn, run, read_ns),
            Step::Remove => Progress::Ends(OwnedAnswer::Jointly(Jointly::Length(0))),
            Step::Compare => self.compare_on(conn, run),
        }
    }

    fn gather(
        &mut self,
        conn: &mut Connection,
        run: &mut JointRun,
        asked: Asked<'_>,
        read_ns: u64,
    ) -> Progress {
        let Some(gathering) = &mut run.gathering else { return Progress::Ends(OwnedAnswer::OutcomeUnknown) };
        if !self.has_memory_for(gathering.bytes_for_lent()) {
            return Progress::Ends(OwnedAnswer::Busy { limit: CLIENT_MEMORY });
        }
        let bytes_max = self.share.bytes();
        while gathering.taken < bytes_max
            && let Some(lent) = gathering.take_lent()
        {
            self.release(lent);
        }
        if gathering.taken >= bytes_max {
            self.share.take(std::mem::take(&mut gathering.taken));
            return self.in_next_turn(conn);
        }
        if let Some(key) = gathering.next_key(asked.words) {
            let command = Command { database: asked.database, key, op: Op::Read(Read::default()) };
            run.left.push_back(self.step_part(Work::Keyed(command), read_ns));
            return Progress::Goes;
        }
        if let Joint::Compare(_) = asked.joint {
            if !self.has_memory_for(gathering.bytes_for_comparison()) {
                return Progress::Ends(OwnedAnswer::Busy { limit: CLIENT_MEMORY });
            }
            gathering.begin_comparison();
            run.step = Step::Compare;
            self.end_lone(conn);
            return Progress::Goes;
        }
        self.begin_combined(run, asked, read_ns)
    }

    /// All is combined, and is stored.
    fn begin_combined(&mut self, run: &mut JointRun, asked: Asked<'_>, read_ns: u64) -> Progress {
        let combination = run.gathering.as_mut().and_then(Gathering::combination);
        let (Some(combination), Some((database, key))) = (combination, asked.keys().next()) else {
            return Progress::Ends(OwnedAnswer::OutcomeUnknown);
        };
        let len = combination.len();
        if len == 0 {
            self.add_removal(run, asked, read_ns);
            return Progress::Goes;
        }
        run.step = Step::Write;
        if len <= self.settings.limits.value_bytes_inline {
            let value = combination.rest();
            self.add_write(&mut run.left, (database, key), (0, Expiry::Never), value, read_ns);
        } else {
            let command = Command { database, key, op: Op::Write(Write::set(&[])) };
            run.left.push_back(self.step_part(Work::ValueBegin { command, bytes: len as u64 }, read_ns));
        }
        Progress::Goes
    }

    /// Stores the next block, in a turn of its own, or what ends the value.
    fn write_block(&mut self, conn: &mut Connection, run: &mut JointRun, read_ns: u64) -> Progress {
        let Some(combination) = run.gathering.as_mut().and_then(Gathering::combination) else {
            return Progress::Ends(OwnedAnswer::OutcomeUnknown);
        };
        let len = combination.len();
        if let Some(block) = combination.next_block() {
            self.share.take(block.len());
            run.left.push_back(OwnedPart::data(block, read_ns));
            if combination.is_given() {
                let end = Work::ValueEndWith { mode: WriteMode::Set, expiry: Expiry::Never, want_old: false };
                run.left.push_back(self.step_part(end, read_ns));
            }
            return self.in_next_turn(conn);
        }
        Progress::Ends(OwnedAnswer::Jointly(Jointly::Length(len as u64)))
    }

    fn compare_on(&mut self, conn: &mut Connection, run: &mut JointRun) -> Progress {
        let comparison = run.gathering.as_mut().and_then(Gathering::comparison);
        let words_max = self.share.words();
        let mut left = words_max;
        let is_over = comparison.is_none_or(|comparison| comparison.go_on(&mut left));
        self.share.take_words(words_max - left);
        if !is_over {
            return self.in_next_turn(conn);
        }
        let compared = run.gathering.take().map(Gathering::into_compared);
        let (answer, found) = compared.unwrap_or((OwnedAnswer::OutcomeUnknown, Vec::new()));
        run.found = found;
        Progress::Ends(answer)
    }

    fn in_next_turn(&mut self, conn: &mut Connection) -> Progress {
        self.go_on_next_turn(conn);
        Progress::Waits
    }

    /// Whether clients may hold so much more.
    fn has_memory_for(&self, bytes: usize) -> bool {
        bytes == 0 || self.budget.used().saturating_add(bytes) <= self.budget.grant()
    }
}
