//! Long values, which come in slices: for this shard, on to another one, and from another one.

use super::connection::Connection;
use super::execute::Destination;
use super::mail::{Ask, AskBytes, What};
use super::owned::{Options, OwnedAnswer, fill_command, strip_op};
use super::perform::perform;
use super::state::WorkerState;
use super::tier::DURABILITY;
use super::upload::{Upload, UploadPlace};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Part, Wish, Work};
use crate::transport::ConnId;
use torc_engine::command::{Body, Command, Op, Outcome, Refusal, UploadId, Write};
use torc_engine::segments::LentChain;
use torc_proto::slot::slot_of;

impl WorkerState {
    /// Adds a slice to a value that this shard receives. False: the value is for another shard, or there is none.
    pub(super) fn append_upload(&mut self, conn: &mut Connection, data: &[u8]) -> bool {
        #[cfg(test)]
        if conn.upload.is_some() && self.strikes(super::bug::Bug::LostSlice) {
            return true;
        }
        let Some(upload) = &mut conn.upload else { return false };
        match upload.place {
            UploadPlace::Here(id) => {
                if let Err(refusal) = self.shard.upload_append(id, data, self.now) {
                    upload.place = UploadPlace::Refused(refusal);
                }
                true
            }
            UploadPlace::Refused(_) | UploadPlace::Moved { .. } => true,
            UploadPlace::There(_) => false,
        }
    }

    /// Begins a part of a long value. False: its shard has no place for it yet.
    pub(super) fn begin_value_part(&mut self, conn: &mut Connection, part: &Part<'_>, read_ns: u64) -> bool {
        match &part.work {
            Work::ValueBegin { command, bytes } => self.begin_value(conn, part, command, *bytes),
            Work::ValueData(data) => self.begin_slice(conn, data),
            Work::ValueEndWith { mode, expiry, want_old } => {
                let options = Options { mode: *mode, expiry: *expiry, want_old: *want_old };
                self.end_value(conn, part, What::UploadEnd(Some(options)), read_ns)
            }
            Work::ValueAbort => self.end_value(conn, part, What::UploadAbort, read_ns),
            _ => self.end_value(conn, part, What::UploadEnd(None), read_ns),
        }
    }

    fn begin_value(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        command: &Command<'_>,
        bytes: u64,
    ) -> bool {
        self.abandon_upload(conn);
        let op = strip_op(command.op);
        let place = match self.destination(conn, command.key, self.owner(command.key)) {
            Destination::Here if self.holds_value(command.database, command.key, bytes) => {
                self.hold(conn);
                return false;
            }
            Destination::Here => {
                match self.shard.upload_begin(command.database, command.key, bytes, self.now) {
                    Ok(id) => UploadPlace::Here(id),
                    Err(refusal) => UploadPlace::Refused(refusal),
                }
            }
            Destination::There(shard) => {
                let what = What::UploadBegin { op, bytes };
                let ask = Ask {
                    database: command.database,
                    once: part.once,
                    ..Ask::plain(conn.next_address(), what)
                };
                if !self.ask(conn, shard, &ask, AskBytes { key: command.key, ..AskBytes::default() }) {
                    return false;
                }
                conn.slices_under_way += 1;
                UploadPlace::There(shard)
            }
            Destination::Moved(_) => {
                let slot = slot_of(command.key);
                let (shard, epoch) = (self.shared.slots.owner(slot), self.shared.slots.epoch());
                UploadPlace::Moved { slot, shard, epoch }
            }
        };
        let (key, echo) = (self.pool.copy(&[command.key]), self.pool.copy(&[part.echo]));
        conn.upload = Some(Upload { place, op, database: command.database, key, echo, once: part.once });
        true
    }

    fn begin_slice(&mut self, conn: &mut Connection, data: &[u8]) -> bool {
        let Some(UploadPlace::There(shard)) = conn.upload.as_ref().map(|upload| upload.place) else {
            self.append_upload(conn, data);
            return true;
        };
        let ask = Ask::plain(conn.next_address(), What::UploadData);
        let asked = self.ask(conn, shard, &ask, AskBytes { value: data, ..AskBytes::default() });
        conn.slices_under_way += usize::from(asked);
        asked
    }

    fn end_value(&mut self, conn: &mut Connection, part: &Part<'_>, what: What, read_ns: u64) -> bool {
        let abort = matches!(what, What::UploadAbort);
        let Some(upload) = conn.upload.take() else {
            self.finish(conn, part, &[], read_ns, Answer::Local);
            return true;
        };
        // The end of a value is answered with the key, and repeats what came with its beginning.
        let echo = if part.echo.is_empty() { &upload.echo[..] } else { part.echo };
        let part = &Part { work: part.work, reply: part.reply, echo, once: upload.once };
        let deadline = part.reply.deadline();
        match upload.place {
            UploadPlace::There(shard) => {
                let room = conn.queue.answer_room();
                let wish = part.reply.wish();
                let ask = Ask { deadline, room, wish, ..Ask::plain(conn.next_address(), what) };
                if !self.ask(conn, shard, &ask, AskBytes { key: &upload.key, value: &[], echo }) {
                    conn.upload = Some(upload);
                    return false;
                }
                self.wait_for(conn, part, read_ns, (1, room), Some(self.shard.key_hash(&upload.key)));
            }
            UploadPlace::Here(id) if abort => {
                self.shard.upload_abort(id);
                self.finish(conn, part, &upload.key, read_ns, Answer::Local);
            }
            _ if abort => self.finish(conn, part, &upload.key, read_ns, Answer::Local),
            UploadPlace::Here(id) if deadline.is_past(self.now) => {
                self.shard.upload_abort(id);
                self.refuse_late(conn, part, read_ns);
            }
            UploadPlace::Here(id) => {
                let op = with_upload(upload.op, end_options(what), id);
                let command = Command { database: upload.database, key: &upload.key, op };
                let hash = self.shard.key_hash(command.key);
                let wish = part.reply.wish();
                if self.refuses(&command, wish) {
                    self.shard.upload_abort(id);
                    self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                    self.finish(conn, part, &upload.key, read_ns, Answer::Busy { limit: DURABILITY });
                } else if self.is_held(&command, || wish) {
                    self.shard.upload_waits(id, true);
                    self.hold(conn);
                    conn.upload = Some(upload);
                    return false;
                } else if self.holds.blocks(command.database, hash) && !conn.in_transaction {
                    self.wait_for_key(conn);
                    conn.upload = Some(upload);
                    return false;
                } else if !self.perform_here(conn, part, &command, hash, read_ns) {
                    conn.upload = Some(upload);
                    return false;
                }
            }
            UploadPlace::Refused(refusal) => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                self.finish(conn, part, &upload.key, read_ns, Answer::Outcome(Outcome::Refused(refusal)));
            }
            UploadPlace::Moved { slot, shard, epoch } => {
                self.stats.request(CommandClass::Write, OutcomeClass::Moved);
                self.finish(conn, part, &upload.key, read_ns, Answer::Moved { slot, shard, epoch });
            }
        }
        self.pool.give(upload.key);
        self.pool.give(upload.echo);
        true
    }

    /// Lets go of a value that will never be whole.
    pub(super) fn abandon_upload(&mut self, conn: &mut Connection) {
        let Some(upload) = conn.upload.take() else { return };
        match upload.place {
            UploadPlace::Here(id) => self.shard.upload_abort(id),
            UploadPlace::There(shard) => self.abort_at(shard, conn),
            UploadPlace::Refused(_) | UploadPlace::Moved { .. } => {}
        }
        self.pool.give(upload.key);
        self.pool.give(upload.echo);
    }

    fn abort_at(&mut self, shard: u16, conn: &mut Connection) {
        #[cfg(test)]
        if self.has(super::bug::Bug::KeptUpload) {
            return;
        }
        // Behind its beginning.
        let lane = if conn.in_transaction { self.mail.express(shard) } else { shard };
        if let Some(lane) = self.mail.lane(lane) {
            lane.ask_anyway(&Ask::plain(conn.next_address(), What::UploadForget));
            conn.slices_under_way += 1;
        }
    }

    /// `None`: it has to wait.
    pub(super) fn end_foreign(
        &mut self,
        (lane, upload): (u16, (u16, ConnId)),
        (options, wish): (Option<Options>, Wish),
        out: &mut Vec<u8>,
    ) -> Option<(Option<OwnedAnswer>, Option<Box<LentChain>>)> {
        let Some(foreign) = self.foreign_uploads.remove(&upload) else {
            return Some((Some(OwnedAnswer::refused(Refusal::OutOfMemory)), None));
        };
        let answer = match foreign.place {
            Ok(id) => {
                let op = with_upload(foreign.op, options, id);
                let command = Command { database: foreign.database, key: &foreign.key, op };
                let hash = self.shard.key_hash(command.key);
                if self.refuses(&command, wish) {
                    self.shard.upload_abort(id);
                    return Some((Some(OwnedAnswer::Busy { limit: DURABILITY }), None));
                }
                if self.is_held(&command, || wish) || self.is_stopped_by_hold(lane, foreign.database, hash) {
                    self.foreign_uploads.insert(upload, foreign);
                    return None;
                }
                let (outcomes, once) = ((&mut self.outcomes, &mut self.notices), foreign.once);
                match perform(&mut self.shard, outcomes, &self.stats, &command, hash, once, self.now) {
                    Ok(answer) => {
                        let (answer, chain) = OwnedAnswer::of(answer, out, 0);
                        (Some(answer), chain)
                    }
                    Err(ticket) => {
                        let hash = self.shard.item_hash(foreign.database, hash);
                        self.foreign_uploads.insert(upload, foreign);
                        let is_there = self.fetch(hash, ticket, None);
                        return if is_there {
                            self.end_foreign((lane, upload), (options, wish), out)
                        } else {
                            None
                        };
                    }
                }
            }
            Err(refusal) => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                (Some(OwnedAnswer::refused(refusal)), None)
            }
        };
        self.pool.give(foreign.key);
        Some(answer)
    }

    pub(super) fn forget_upload(&mut self, upload: (u16, ConnId)) {
        let Some(foreign) = self.foreign_uploads.remove(&upload) else { return };
        if let Ok(id) = foreign.place {
            self.shard.upload_abort(id);
        }
        self.pool.give(foreign.key);
    }
}

/// The options that stand behind a value, if there are any.
fn end_options(what: What) -> Option<Options> {
    match what {
        What::UploadEnd(options) => options,
        _ => None,
    }
}

/// The write of a value that has arrived.
fn with_upload(op: Op<'static>, options: Option<Options>, id: UploadId) -> Op<'static> {
    let op = options.map_or(op, |options| options.apply(op));
    match fill_command(0, &[], &op, &[]).op {
        Op::Write(write) => Op::Write(Write { value: Body::Upload(id), ..write }),
        Op::SetRange { offset, .. } => Op::SetRange { offset, value: Body::Upload(id) },
        other => other,
    }
}

#[cfg(test)]
mod tests;
