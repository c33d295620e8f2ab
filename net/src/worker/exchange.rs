//! What needs more than a look-up on the own shard: other shards' keys, all shards, long values.

use super::connection::{Connection, Delivered, Upload, UploadPlace, WaitState, end_options};
use super::core::{Core, Destination, Room};
use super::mail::{Address, Ask, Back, Letter, What};
use super::owned::{Options, OwnedAnswer, OwnedOutcome, OwnedPart, OwnedReply, OwnedWork, fill_command};
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Once, Session};
use crate::transport::ConnId;
use torc_engine::command::{Body, Millis, Op, Refusal, UploadId, Write};
use torc_engine::slots::slot_of;

/// A value that a client of another shard sends to this one.
#[derive(Debug)]
pub(crate) struct ForeignUpload {
    place: Result<UploadId, Refusal>,
    op: Op<'static>,
    key: Vec<u8>,
    once: Option<Once>,
}

/// Letters taken from one shard in a turn.
const LETTERS_MAX: usize = 256;
/// Bits of a scan's cursor that belong to the shard's own; the shard is above them.
const CURSOR_BITS: u32 = 48;

impl Core {
    /// Delivers other shards' answers and executes their requests.
    pub(super) fn read_mail(&mut self) {
        for shard in 0..self.mail.shards() {
            while let Some(back) = self.mail.peer(shard).and_then(|peer| peer.next_answer()) {
                self.deliver(back);
            }
            self.serve(shard);
        }
        for _ in 0..self.stalled.len() {
            let Some(id) = self.stalled.pop_front() else { break };
            self.advance_one(id);
        }
    }

    fn advance_one(&mut self, id: ConnId) {
        let Some(mut conn) = self.connections.take(id) else { return };
        self.advance(&mut conn);
        self.connections.put(conn);
        self.mark_dirty(id);
    }

    fn deliver(&mut self, back: Back) {
        let id = back.to.conn;
        #[cfg(test)]
        if back.reply.is_some() && self.strikes(super::core::Bug::LostAnswer) {
            return back.reply.into_iter().for_each(|reply| self.discard(reply));
        }
        self.pool.give(back.buffer);
        let Some(mut conn) = self.connections.take(id) else {
            back.reply.into_iter().for_each(|reply| self.discard(reply));
            return;
        };
        match back.reply {
            None => conn.slices_under_way -= 1,
            Some(reply) => match conn.answered(back.to.sequence, reply) {
                Delivered::Kept { asked_ns } => self.forwarded.add(asked_ns),
                Delivered::NotNeeded(reply) => self.discard(reply),
            },
        }
        #[cfg(test)]
        if self.strikes(super::core::Bug::SwappedAnswers) {
            conn.swap_two_answers();
        }
        self.advance(&mut conn);
        self.connections.put(conn);
        self.mark_dirty(id);
    }

    /// Asks another shard for a keyed command. False: it has no place for the answer yet.
    pub(super) fn ask_keyed(&mut self, shard: u16, from: Address, op: Op<'static>, part: &OwnedPart) -> bool {
        let bytes = self.pool.copy(&[part.key(), part.value()]);
        let (key_end, once, deadline) = (part.key().len(), part.once, part.reply.deadline());
        self.ask(shard, Ask { from, what: What::Keyed(op), bytes, key_end, once, deadline })
    }

    /// The state of a part that so many shards have been asked for.
    pub(super) fn asked(&self, shards: u16) -> WaitState {
        WaitState::Asked { shards, asked_ns: self.turn_began_ns }
    }

    fn ask(&mut self, shard: u16, ask: Ask) -> bool {
        match self.mail.peer(shard).filter(|peer| peer.has_place()) {
            Some(peer) => {
                peer.ask(ask);
                self.stats.forwarded.add(1);
                true
            }
            None => {
                self.pool.give(ask.bytes);
                false
            }
        }
    }

    /// Every shard forgets everything; only this one, if a Redis client speaks to it as to a node of a cluster.
    pub(super) fn begin_flush(
        &mut self,
        conn: &Connection,
        from: Address,
        at: Option<Millis>,
    ) -> Option<WaitState> {
        let alone = conn.on_shard_port && matches!(conn.session, Session::Resp(_));
        let others = if alone { 0 } else { self.mail.shards() - 1 };
        let shards = self.mail.shards();
        let places = (0..shards).all(|shard| self.mail.peer(shard).is_none_or(|peer| peer.has_place()));
        if others > 0 && !places {
            return None;
        }
        self.shard.flush(at, self.now);
        self.stats.request(CommandClass::Flush, OutcomeClass::Done);
        if others == 0 {
            return Some(WaitState::Ready(OwnedReply::plain(OwnedAnswer::Flushed)));
        }
        let number = self.number;
        for shard in (0..shards).filter(|&shard| shard != number) {
            let bytes = self.pool.copy(&[]);
            self.ask(shard, Ask::plain(from, What::Flush { at }, bytes));
        }
        Some(self.asked(others))
    }

    /// One step of a scan, at the shard that the cursor names. On a shard's own port only that shard is walked.
    pub(super) fn begin_scan(
        &mut self,
        conn: &Connection,
        from: Address,
        cursor: u64,
        count: u32,
    ) -> Option<WaitState> {
        let shard = match (cursor, conn.on_shard_port) {
            (0, true) => self.number,
            _ => (cursor >> CURSOR_BITS) as u16,
        };
        let local = cursor & ((1 << CURSOR_BITS) - 1);
        self.stats.request(CommandClass::Scan, OutcomeClass::Done);
        if shard == self.number {
            let keys = self.pool.take();
            return Some(WaitState::Ready(self.scan(local, count, conn.on_shard_port, keys)));
        }
        if shard >= self.mail.shards() || conn.on_shard_port {
            return Some(WaitState::Ready(OwnedReply::plain(OwnedAnswer::Scanned { cursor: 0 })));
        }
        let bytes = self.pool.copy(&[]);
        let what = What::Scan { cursor: local, count };
        self.ask(shard, Ask::plain(from, what, bytes)).then(|| self.asked(1))
    }

    fn scan(&mut self, local: u64, count: u32, only_here: bool, mut keys: Vec<u8>) -> OwnedReply {
        let next = self.shard.scan(0, local, count, self.now, &mut keys);
        let here = u64::from(self.number) << CURSOR_BITS;
        let cursor = match next {
            0 if only_here || self.number + 1 == self.mail.shards() => 0,
            0 => here + (1 << CURSOR_BITS),
            next => here | next,
        };
        OwnedReply::with(OwnedAnswer::Scanned { cursor }, keys)
    }

    /// Adds a slice to a value that is received here. False: it goes the long way.
    pub(super) fn append_upload(&mut self, conn: &mut Connection, data: &[u8]) -> bool {
        #[cfg(test)]
        if conn.upload.is_some() && self.strikes(super::core::Bug::LostSlice) {
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

    /// Begins the queue's next part, which is one of a long value.
    pub(super) fn begin_value_part(
        &mut self,
        conn: &mut Connection,
        place: usize,
        from: Address,
    ) -> Option<WaitState> {
        match conn.queue[place].part.work {
            OwnedWork::ValueBegin { op, bytes } => self.begin_value(conn, place, from, op, bytes),
            OwnedWork::ValueData => self.begin_slice(conn, place, from),
            work => {
                self.end_value(conn, place, from, end_options(work), matches!(work, OwnedWork::ValueAbort))
            }
        }
    }

    fn begin_value(
        &mut self,
        conn: &mut Connection,
        place: usize,
        from: Address,
        op: Op<'static>,
        bytes: u64,
    ) -> Option<WaitState> {
        let part = &conn.queue[place].part;
        let upload_place = match self.destination(conn, part.key()) {
            Destination::Here => match self.shard.upload_begin(bytes, self.now) {
                Ok(id) => UploadPlace::Here(id),
                Err(refusal) => UploadPlace::Refused(refusal),
            },
            Destination::There(shard) => {
                let key = self.pool.copy(&[part.key()]);
                let what = What::UploadBegin { op, bytes };
                let ask = Ask { key_end: key.len(), once: part.once, ..Ask::plain(from, what, key) };
                if !self.ask(shard, ask) {
                    return None;
                }
                conn.slices_under_way += 1;
                UploadPlace::There(shard)
            }
            Destination::Moved(_) => {
                let slot = slot_of(part.key());
                let (shard, epoch) = (self.shared.slots.owner(slot), self.shared.slots.epoch());
                UploadPlace::Moved { slot, shard, epoch }
            }
        };
        let part = &conn.queue[place].part;
        let (key, echo) = (self.pool.copy(&[part.key()]), self.pool.copy(&[part.echo()]));
        let once = part.once;
        self.abandon_upload(conn);
        conn.upload = Some(Upload { place: upload_place, op, key, echo, once });
        Some(WaitState::Silent)
    }

    fn begin_slice(&mut self, conn: &mut Connection, place: usize, from: Address) -> Option<WaitState> {
        let Some(UploadPlace::There(shard)) = conn.upload.as_ref().map(|upload| upload.place) else {
            let waiting = std::mem::replace(&mut conn.queue[place].state, WaitState::Silent);
            debug_assert!(matches!(waiting, WaitState::Deferred));
            let data = self.pool.copy(&[conn.queue[place].part.value()]);
            self.append_upload(conn, &data);
            self.pool.give(data);
            return Some(WaitState::Silent);
        };
        let bytes = self.pool.copy(&[conn.queue[place].part.value()]);
        if !self.ask(shard, Ask::plain(from, What::UploadData, bytes)) {
            return None;
        }
        conn.slices_under_way += 1;
        Some(WaitState::Silent)
    }

    fn end_value(
        &mut self,
        conn: &mut Connection,
        place: usize,
        from: Address,
        options: Option<Options>,
        abort: bool,
    ) -> Option<WaitState> {
        let Some(upload) = conn.upload.take() else {
            return Some(WaitState::Ready(OwnedReply::plain(OwnedAnswer::Local)));
        };
        let state = match upload.place {
            UploadPlace::There(shard) => {
                let bytes = self.pool.copy(&[]);
                let what = if abort { What::UploadAbort } else { What::UploadEnd(options) };
                // Its owner looks at the deadline: whatever comes of that, it lets go of the value.
                let deadline = conn.queue[place].part.reply.deadline();
                if !self.ask(shard, Ask { deadline, ..Ask::plain(from, what, bytes) }) {
                    conn.upload = Some(upload);
                    return None;
                }
                self.asked(1)
            }
            UploadPlace::Here(id) if abort => {
                self.shard.upload_abort(id);
                WaitState::Ready(OwnedReply::plain(OwnedAnswer::Local))
            }
            _ if abort => WaitState::Ready(OwnedReply::plain(OwnedAnswer::Local)),
            UploadPlace::Here(id) if conn.queue[place].part.reply.deadline().is_over(self.now) => {
                self.shard.upload_abort(id);
                self.too_late(conn.queue[place].part.work)
            }
            UploadPlace::Here(id) => {
                let op = with_upload(upload.op, options, id);
                let room = Room { bytes: self.pool.copy(&[&upload.key]), key_end: upload.key.len() };
                WaitState::Ready(self.perform_owned(op, upload.once, room))
            }
            UploadPlace::Refused(refusal) => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                WaitState::Ready(refused(refusal))
            }
            UploadPlace::Moved { slot, shard, epoch } => {
                self.stats.request(CommandClass::Write, OutcomeClass::Moved);
                WaitState::Ready(OwnedReply::plain(OwnedAnswer::Moved { slot, shard, epoch }))
            }
        };
        conn.queue[place].part.adopt(&upload.key, &upload.echo);
        self.pool.give(upload.key);
        self.pool.give(upload.echo);
        Some(state)
    }

    /// Lets go of a value that will never be whole.
    pub(super) fn abandon_upload(&mut self, conn: &mut Connection) {
        let Some(upload) = conn.upload.take() else { return };
        match upload.place {
            UploadPlace::Here(id) => self.shard.upload_abort(id),
            UploadPlace::There(shard) => self.abort_at(shard, conn.id),
            UploadPlace::Refused(_) | UploadPlace::Moved { .. } => {}
        }
        self.pool.give(upload.key);
        self.pool.give(upload.echo);
    }

    fn abort_at(&mut self, shard: u16, conn: ConnId) {
        if let Some(peer) = self.mail.peer(shard) {
            peer.forget(conn);
        }
    }

    /// Executes what another shard asks: in batches, with the same stages as a round.
    fn serve(&mut self, shard: u16) {
        let mut letters = std::mem::take(&mut self.letters);
        for _ in 0..LETTERS_MAX {
            match self.mail.peer(shard).and_then(|peer| peer.next_letter()) {
                Some(Letter::Ask(ask)) => letters.push(ask),
                Some(Letter::Release(lent)) => self.shard.release(lent),
                Some(Letter::Forget(conn)) => self.forget_upload(shard, conn),
                None => break,
            }
        }
        let keyed = |ask: &&Ask| matches!(ask.what, What::Keyed(_));
        for ask in letters.iter().filter(keyed) {
            self.shard.prefetch_bucket(self.shard.hash(0, &ask.bytes[..ask.key_end]));
        }
        for ask in letters.iter().filter(keyed) {
            self.shard.prefetch_item(self.shard.hash(0, &ask.bytes[..ask.key_end]));
        }
        self.stats.served_for_others.add(letters.len() as u64);
        for ask in letters.drain(..) {
            let back = self.answer(shard, ask);
            if let Some(peer) = self.mail.peer(shard) {
                peer.answer(back);
            }
        }
        self.letters = letters;
    }

    fn answer(&mut self, shard: u16, ask: Ask) -> Back {
        let Ask { from: to, what, bytes, key_end, once, deadline } = ask;
        let upload = (shard, to.conn);
        let over = deadline.is_over(self.now);
        // The answer travels in the buffer of the request, so that no shard's stock flows to another.
        let reply = match what {
            What::Keyed(op) if over => {
                self.stats.request(CommandClass::of(&op), OutcomeClass::Refused);
                too_late(bytes)
            }
            What::Keyed(op) => self.perform_owned(op, once, Room { bytes, key_end }),
            What::UploadBegin { op, bytes: length } => {
                self.forget_upload(shard, to.conn);
                let place = self.shard.upload_begin(length, self.now);
                let key = self.pool.copy(&[&bytes]);
                self.foreign_uploads.insert(upload, ForeignUpload { place, op, key, once });
                return Back { to, reply: None, buffer: bytes };
            }
            What::UploadData => {
                if let Some(foreign) = self.foreign_uploads.get_mut(&upload)
                    && let Ok(id) = foreign.place
                    && let Err(refusal) = self.shard.upload_append(id, &bytes, self.now)
                {
                    foreign.place = Err(refusal);
                }
                return Back { to, reply: None, buffer: bytes };
            }
            What::UploadEnd(_) if over => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                self.forget_upload(shard, to.conn);
                too_late(bytes)
            }
            What::UploadEnd(options) => self.end_foreign(upload, options, bytes),
            What::UploadAbort => {
                self.forget_upload(shard, to.conn);
                OwnedReply::with(OwnedAnswer::Local, bytes)
            }
            What::Flush { at } => {
                self.shard.flush(at, self.now);
                OwnedReply::with(OwnedAnswer::Flushed, bytes)
            }
            What::Scan { cursor, count } => self.scan(cursor, count, false, bytes),
        };
        Back { to, reply: Some(reply), buffer: Vec::new() }
    }

    fn end_foreign(
        &mut self,
        upload: (u16, ConnId),
        options: Option<Options>,
        mut bytes: Vec<u8>,
    ) -> OwnedReply {
        let Some(foreign) = self.foreign_uploads.remove(&upload) else {
            return refused(Refusal::OutOfMemory);
        };
        let reply = match foreign.place {
            Ok(id) => {
                bytes.extend_from_slice(&foreign.key);
                let room = Room { bytes, key_end: foreign.key.len() };
                self.perform_owned(with_upload(foreign.op, options, id), foreign.once, room)
            }
            Err(refusal) => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                refused(refusal)
            }
        };
        self.pool.give(foreign.key);
        reply
    }

    fn forget_upload(&mut self, shard: u16, conn: ConnId) {
        let Some(foreign) = self.foreign_uploads.remove(&(shard, conn)) else { return };
        if let Ok(id) = foreign.place {
            self.shard.upload_abort(id);
        }
        self.pool.give(foreign.key);
    }
}

fn refused(refusal: Refusal) -> OwnedReply {
    OwnedReply::plain(OwnedAnswer::Outcome(OwnedOutcome::Refused(refusal)))
}

fn too_late(mut bytes: Vec<u8>) -> OwnedReply {
    bytes.clear();
    OwnedReply::with(OwnedAnswer::DeadlineExceeded, bytes)
}

/// The write of a value that has arrived.
fn with_upload(op: Op<'static>, options: Option<Options>, id: UploadId) -> Op<'static> {
    let op = options.map_or(op, |options| options.apply(op));
    match fill_command(&[], op, &[]).op {
        Op::Write(write) => Op::Write(Write { value: Body::Upload(id), ..write }),
        other => other,
    }
}

#[cfg(test)]
mod tests;
