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
        // Nothing is written yet, and nobody waits for it. What is one of a transaction's commands is done with the others.
        if run.step == Step::Look && conn.is_ghost && conn.transaction.is_some() {
            return Progress::Ends(OwnedAnswer::OutcomeUnknown);
        }
        if run.step != Step::Remove && !self.may_go_on(conn, run) {
            return Progress::Waits;
        }
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
        let mut has_had_its_share = self.share.charge(gathering);
        while !has_had_its_share && let Some(lent) = gathering.take_lent() {
            has_had_its_share = self.share.charge(gathering);
            self.release(lent);
        }
        if has_had_its_share {
            return self.in_next_turn(conn, run);
        }
        if let Some(key) = gathering.next_key(asked.words) {
            let read = Read { decides: matches!(asked.joint, Joint::Combine(_)), ..Read::default() };
            let command = Command { database: asked.database, key, op: Op::Read(read) };
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
            self.share.take(len);
            self.add_write(&mut run.left, (database, key), (0, Expiry::Never), value, read_ns);
        } else {
            let command = Command { database, key, op: Op::Write(Write::set(&[])) };
            run.left.push_back(self.step_part(Work::ValueBegin { command, bytes: len as u64 }, read_ns));
        }
        Progress::Goes
    }

    /// Stores the next block, and what ends the value behind the last one.
    fn write_block(&mut self, conn: &mut Connection, run: &mut JointRun, read_ns: u64) -> Progress {
        let Some(gathering) = &mut run.gathering else { return Progress::Ends(OwnedAnswer::OutcomeUnknown) };
        let Some(combination) = gathering.combination() else {
            return Progress::Ends(OwnedAnswer::OutcomeUnknown);
        };
        let len = combination.len();
        let Some(block) = combination.next_block() else {
            return Progress::Ends(OwnedAnswer::Jointly(Jointly::Length(len as u64)));
        };
        let is_last = combination.is_given();
        gathering.has_done(block.len());
        let has_had_its_share = self.share.charge(gathering);
        run.left.push_back(OwnedPart::data(block, read_ns));
        if is_last {
            let end = Work::ValueEndWith { mode: WriteMode::Set, expiry: Expiry::Never, want_old: false };
            run.left.push_back(self.step_part(end, read_ns));
        }
        if has_had_its_share { self.in_next_turn(conn, run) } else { Progress::Goes }
    }

    fn compare_on(&mut self, conn: &mut Connection, run: &mut JointRun) -> Progress {
        let comparison = run.gathering.as_mut().and_then(Gathering::comparison);
        let words_max = self.share.words();
        let mut left = words_max;
        let is_over = comparison.is_none_or(|comparison| comparison.go_on(&mut left));
        self.share.take_words(words_max - left);
        if !is_over {
            return self.in_next_turn(conn, run);
        }
        let compared = run.gathering.take().map(Gathering::into_compared);
        let (answer, found) = compared.unwrap_or((OwnedAnswer::OutcomeUnknown, Vec::new()));
        run.found = found;
        Progress::Ends(answer)
    }

    /// Whether a command may go on in this turn: it has not had its share of it, and something is left, or it has waited for that.
    fn may_go_on(&mut self, conn: &mut Connection, run: &mut JointRun) -> bool {
        let waits = match run.waits_since {
            Some(turn) => turn == self.share.turn(),
            None => self.share.is_used_up(),
        };
        if waits {
            self.in_next_turn(conn, run);
        } else {
            run.waits_since = None;
        }
        !waits
    }

    fn in_next_turn(&mut self, conn: &mut Connection, run: &mut JointRun) -> Progress {
        run.waits_since = Some(self.share.turn());
        run.gathering.iter_mut().for_each(Gathering::end_turn);
        self.go_on_next_turn(conn);
        Progress::Waits
    }

    /// Whether clients may hold so much more.
    fn has_memory_for(&self, bytes: usize) -> bool {
        bytes == 0 || self.budget.used().saturating_add(bytes) <= self.budget.grant()
    }
}
