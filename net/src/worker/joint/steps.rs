//! The steps of a command about several keys, at the shard that the client speaks to.

use super::gather::Gathering;
use super::{Asked, JointRun, Progress, Step};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{IfThere, Joint, Jointly, Part, Push, ReplyKind, Work};
use crate::worker::connection::Connection;
use crate::worker::owned::{OwnedAnswer, OwnedPart};
use crate::worker::state::WorkerState;
use crate::worker::tracking::add_word;
use std::collections::VecDeque;
use torc_engine::command::{Body, Command, Delete, Expiry, Op, Read, Write, WriteMode};
use torc_engine::words;

impl WorkerState {
    /// Begins a command about several keys, or goes on with it. False: it waits.
    pub(in crate::worker) fn begin_joint(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        asked: Asked<'_>,
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        let holds = conn.joint.as_ref().is_none_or(|run| run.step != Step::Compare);
        if holds && !conn.in_transaction {
            match self.hold_for(conn, asked) {
                Progress::Goes => {}
                Progress::Waits => return false,
                Progress::Ends(answer) => {
                    self.finish(conn, part, &[], read_ns, answer.answer(&[], None));
                    return true;
                }
            }
        }
        if conn.joint.is_none() {
            let wants_item = matches!(asked.joint, Joint::Copy { .. });
            let gathering = Gathering::of(asked);
            let left = if gathering.is_some() { VecDeque::new() } else { self.looks(asked, read_ns) };
            conn.joint = Some(Box::new(JointRun { left, wants_item, gathering, ..JointRun::default() }));
        }
        while self.begin_steps(conn, read_ns) {
            let Some(mut run) = conn.joint.take() else { return true };
            match self.next_step(conn, &mut run, asked, read_ns) {
                Progress::Goes => conn.joint = Some(run),
                Progress::Waits => {
                    conn.joint = Some(run);
                    return false;
                }
                Progress::Ends(answer) => {
                    self.end_joint(conn, part, run, (answer, read_ns));
                    return true;
                }
            }
        }
        false
    }

    /// Answers a command about several keys.
    fn end_joint(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        run: Box<JointRun>,
        (answer, read_ns): (OwnedAnswer, u64),
    ) {
        self.end_lone(conn);
        let outcome = match &answer {
            OwnedAnswer::Jointly(Jointly::Done | Jointly::Length(_)) | OwnedAnswer::Compared { .. } => {
                OutcomeClass::Done
            }
            OwnedAnswer::Jointly(Jointly::NotDone | Jointly::NoItem) => OutcomeClass::NotDone,
            _ => OutcomeClass::Refused,
        };
        self.stats.request(CommandClass::Transaction, outcome);
        let JointRun { mut gathering, found, is_told, changed, .. } = *run;
        gathering.iter_mut().for_each(|gathering| _ = self.share.charge(gathering));
        gathering.into_iter().flat_map(Gathering::into_lent).for_each(|lent| self.release(lent));
        self.finish(conn, part, &[], read_ns, answer.answer(&found, None));
        if is_told && let Work::Joint { words, .. } = part.work {
            // A copy from before the change is forgotten, whatever the client has made of the answer.
            self.push_to(conn, Push::keys(words, false));
        }
        for key in words::each(&changed) {
            let mut bytes = self.pool.take();
            add_word(key, &mut bytes);
            self.push_to(conn, Push::keys(&bytes, false));
            self.pool.give(bytes);
        }
    }

    /// Begins the parts of a step. False: some are not begun, or not answered.
    fn begin_steps(&mut self, conn: &mut Connection, read_ns: u64) -> bool {
        while let Some(owned) = conn.joint.as_mut().and_then(|run| run.left.pop_front()) {
            let part = owned.part();
            let prepared = self.prepare_part(&part);
            if !self.begin(conn, &part, prepared, read_ns) {
                if let Some(run) = &mut conn.joint {
                    run.left.push_front(owned);
                }
                return false;
            }
            self.pool.give(owned.into_bytes());
        }
        conn.queue.is_empty()
    }

    /// Holds the keys of a command that is no part of a transaction.
    fn hold_for(&mut self, conn: &mut Connection, asked: Asked<'_>) -> Progress {
        let elsewhere = if conn.transaction.is_none() { self.elsewhere(conn, asked.keys()) } else { None };
        match elsewhere {
            Some(answer) => Progress::Ends(answer),
            None => self.hold_alone(conn, || asked.keys()),
        }
    }

    /// The parts that find out what there is.
    fn looks(&mut self, asked: Asked<'_>, read_ns: u64) -> VecDeque<OwnedPart> {
        let asks_all =
            !matches!(asked.joint, Joint::Copy { replaces: true, .. } | Joint::Set { condition: None, .. });
        let is_item = |place| place == 0 && matches!(asked.joint, Joint::Copy { .. });
        let mut looks = VecDeque::new();
        for (place, (database, key)) in asked.keys().enumerate() {
            if asks_all || is_item(place) {
                let mut read = if is_item(place) { Read::default() } else { Read::LOOK };
                read.decides = true;
                read.uncounted |= matches!(asked.joint, Joint::Copy { removes: true, .. });
                let op = Op::Read(read);
                looks.push_back(self.step_part(Work::Keyed(Command { database, key, op }), read_ns));
            }
        }
        looks
    }

    pub(super) fn step_part(&mut self, work: Work<'_>, read_ns: u64) -> OwnedPart {
        let part = Part { work, reply: ReplyKind::Step, echo: &[], once: None };
        OwnedPart::copy(&part, read_ns, &mut self.pool)
    }

    /// Puts the parts of the next step together, or says how the command ends.
    fn next_step(
        &mut self,
        conn: &mut Connection,
        run: &mut JointRun,
        asked: Asked<'_>,
        read_ns: u64,
    ) -> Progress {
        run.answers = 0;
        if let Some(failed) = run.failed.take() {
            return Progress::Ends(failed);
        }
        match (run.step, asked.joint) {
            (_, Joint::Combine(_) | Joint::Compare(_)) => {
                return self.go_on_gathering(conn, run, asked, read_ns);
            }
            (Step::Look, _) => {
                if let Some(end) = self.end_by_look(run, asked) {
                    return Progress::Ends(OwnedAnswer::Jointly(end));
                }
                run.step = Step::Write;
                self.add_writes(run, asked, read_ns);
            }
            (Step::Write, Joint::Copy { removes: true, .. }) => self.add_removal(run, asked, read_ns),
            (_, _) => return Progress::Ends(OwnedAnswer::Jointly(Jointly::Done)),
        }
        Progress::Goes
    }

    /// The first key is to have nothing any more.
    pub(super) fn add_removal(&mut self, run: &mut JointRun, asked: Asked<'_>, read_ns: u64) {
        run.step = Step::Remove;
        if let Some((database, key)) = asked.keys().next() {
            let op = Op::Delete(Delete::default());
            run.left.push_back(self.step_part(Work::Keyed(Command { database, key, op }), read_ns));
        }
    }

    /// How the command ends by what there is, if it does.
    fn end_by_look(&self, run: &JointRun, asked: Asked<'_>) -> Option<Jointly> {
        if run.wants_item && run.item.is_none() {
            return Some(Jointly::NoItem);
        }
        // To itself: it is there.
        if run.wants_item && asked.ends().is_some_and(|(from, to)| from == to) {
            let replaces = matches!(asked.joint, Joint::Copy { replaces: true, .. });
            return Some(if replaces { Jointly::Done } else { Jointly::NotDone });
        }
        let is_wrong = match asked.joint {
            Joint::Set { condition: Some(IfThere::All), .. } => run.is_missing,
            Joint::Set { condition: None, .. } => false,
            _ => run.is_there,
        };
        is_wrong.then_some(Jointly::NotDone)
    }

    fn add_writes(&mut self, run: &mut JointRun, asked: Asked<'_>, read_ns: u64) {
        let Some((meta, value)) = run.item.take() else {
            let mut pairs = words::each(asked.words);
            let expiry = if let Joint::Set { expiry, .. } = asked.joint { expiry } else { Expiry::Never };
            while let Some((key, value)) = pairs.next().zip(pairs.next()) {
                let key = (asked.database, key);
                self.add_write(&mut run.left, key, (0, expiry), value.to_vec(), read_ns);
            }
            return;
        };
        if let Some((_, to)) = asked.ends() {
            let expiry = meta.expiry.map_or(Expiry::Never, Expiry::At);
            self.add_write(&mut run.left, to, (meta.flags, expiry), value, read_ns);
        }
    }

    /// Adds the parts that give a key a value: one, or those of a long value.
    pub(super) fn add_write(
        &mut self,
        left: &mut VecDeque<OwnedPart>,
        (database, key): (u16, &[u8]),
        (flags, expiry): (u32, Expiry),
        value: Vec<u8>,
        read_ns: u64,
    ) {
        let write = Write { flags, expiry, ..Write::set(&[]) };
        if value.len() <= self.settings.limits.value_bytes_inline {
            let op = Op::Write(write.with_value(Body::Bytes(&value)));
            left.push_back(self.step_part(Work::Keyed(Command { database, key, op }), read_ns));
            return;
        }
        let command = Command { database, key, op: Op::Write(write) };
        let bytes = value.len() as u64;
        left.push_back(self.step_part(Work::ValueBegin { command, bytes }, read_ns));
        left.push_back(OwnedPart::data(value, read_ns));
        let end = Work::ValueEndWith { mode: WriteMode::Set, expiry, want_old: false };
        left.push_back(self.step_part(end, read_ns));
    }
}
