//! What needs more than a look-up on the own shard: other shards' keys, all shards, long values.

use super::connection::{Connection, Phase};
use super::core::{Core, context, perform};
use super::mail::{Answered, AnsweredWith, Ask, AskBytes, AskWhat, Batch, Kind, OwnedAnswered, Posted, What};
use super::owned::{Kept, OwnedAnswer, OwnedPart, fill_command, op_value};
use super::queue::{Asked, Place};
use super::uploads::ForeignUpload;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, FreeReply, Part, Session, Work, lent_cost};
use crate::transport::ConnId;
use torc_engine::command::{Command, Millis, Op};
use torc_engine::segments::LentChain;

/// Batches taken from one shard in a turn.
const BATCHES_MAX: usize = 4;
/// Requests of a batch whose buckets and items are fetched ahead together.
const STAGE_ASKS: usize = 64;
/// Bytes of answers in a batch up to which long values are copied rather than lent while segments are short of pins.
const COPIED_BYTES_MAX: usize = 512 << 10;
/// Bits of a scan's cursor that belong to the shard's own; the shard is above them.
const CURSOR_BITS: u32 = 48;
/// Set aside for the keys of a step of a scan.
const SCAN_ROOM: u32 = 64 << 10;

impl Core {
    /// Delivers other shards' answers and executes their requests.
    pub(super) fn read_mail(&mut self) {
        for shard in 0..self.mail.shards() {
            while let Some(batch) = self.mail.lane(shard).and_then(|lane| lane.next_answered()) {
                self.deliver(shard, batch);
            }
            for _ in 0..BATCHES_MAX {
                let Some(batch) = self.mail.lane(shard).and_then(|lane| lane.next_asked()) else { break };
                self.serve(shard, batch);
            }
        }
        self.resume_stalled();
    }

    /// Composes or keeps the answers of a batch that has come home.
    fn deliver(&mut self, shard: u16, mut batch: Box<Batch>) {
        self.take_released(&mut batch);
        let mut owned = std::mem::take(&mut batch.owned);
        let mut owned_answers = owned.drain(..);
        let mut current: Option<Box<Connection>> = None;
        let mut start = 0;
        for (number, &Answered { with, end }) in batch.answers.iter().enumerate() {
            let bytes = &batch.answer_bytes[start..end as usize];
            start = end as usize;
            let owned = if with == AnsweredWith::Owned { owned_answers.next() } else { None };
            let from = batch.asks[number].from;
            #[cfg(test)]
            if with != AnsweredWith::Nothing && self.strikes(super::bug::Bug::LostAnswer) {
                self.discard(owned.and_then(|(_, chain)| chain));
                continue;
            }
            if current.as_ref().is_none_or(|conn| conn.id != from.conn) {
                self.leave(current.take());
                current = self.connections.take(from.conn);
            }
            let Some(conn) = current.as_mut() else {
                self.discard(owned.and_then(|(_, chain)| chain));
                continue;
            };
            match (with, owned) {
                (AnsweredWith::Words, _) => self.take_words(conn, from.sequence, bytes),
                (_, Some((OwnedAnswer::Later, _))) if conn.queue.is_alone(from.sequence) => {
                    self.ask_again(conn, batch.kind_of(number), batch.bytes_of(number));
                }
                (_, Some(owned)) => {
                    self.take_answer(conn, from.sequence, batch.bytes_of(number), bytes, owned);
                }
                _ => conn.slices_under_way -= 1,
            }
        }
        self.leave(current);
        drop(owned_answers);
        batch.owned = owned;
        if let Some(lane) = self.mail.lane(shard) {
            lane.recycle(batch);
        }
    }

    /// Another shard cannot lend a long value now. Nothing of the connection has been asked since, so that it can ask again
    /// after a while.
    fn ask_again(&mut self, conn: &mut Connection, kind: &Kind, bytes: AskBytes<'_>) {
        let What::Keyed(op) = kind.what else { return };
        let Some(asked) = conn.queue.take_back() else { return };
        let work = Work::Keyed(fill_command(bytes.key, &op, bytes.value));
        let part = Part { work, reply: asked.reply, echo: bytes.echo, once: kind.once };
        conn.deferred.push_front(OwnedPart::copy(&part, asked.read_ns, &mut self.pool));
        self.ask_later(conn);
    }

    /// Ends the delivery to a connection.
    fn leave(&mut self, conn: Option<Box<Connection>>) {
        let Some(mut conn) = conn else { return };
        #[cfg(test)]
        if self.strikes(super::bug::Bug::SwappedAnswers) {
            conn.queue.swap_two_answers();
        }
        self.compose_ready(&mut conn);
        self.advance(&mut conn);
        self.budget.charge(&mut conn);
        let id = conn.id;
        self.connections.put(conn);
        self.mark_dirty(id);
    }

    /// Takes an answer in the protocol's words.
    fn take_words(&mut self, conn: &mut Connection, sequence: u32, words: &[u8]) {
        match conn.queue.answered(sequence, words.len()) {
            Place::None => {}
            Place::Behind(asked) => {
                self.forwarded.add(asked.asked_ns);
                let behind = conn.queue.words(|| self.pool.take());
                let before = behind.len();
                behind.extend_from_slice(words);
                conn.queue.fill_composed(sequence, before, asked.read_ns);
            }
            Place::First(asked) => {
                self.forwarded.add(asked.asked_ns);
                if conn.phase == Phase::Open {
                    conn.output.prepare(|| self.pool.take());
                    conn.output.tail().extend_from_slice(words);
                    self.waited.add(asked.read_ns);
                    conn.answered += 1;
                }
                self.compose_ready(conn);
            }
        }
    }

    fn take_answer(
        &mut self,
        conn: &mut Connection,
        sequence: u32,
        bytes: AskBytes<'_>,
        value: &[u8],
        (answer, chain): (OwnedAnswer, Option<Box<LentChain>>),
    ) {
        let keyed = (bytes.key, bytes.echo);
        let lent = chain.as_ref().map_or(0, |chain| lent_cost(chain.chain().len()));
        match conn.queue.answered(sequence, value.len().max(lent)) {
            Place::None => self.discard(chain),
            Place::Behind(asked) => {
                self.forwarded.add(asked.asked_ns);
                if asked.free && conn.queue.composes() && chain.is_none() {
                    let answer = answer.answer(value, None);
                    return self.compose_behind(conn, (&asked, sequence), keyed, &answer);
                }
                let kept = Kept::copy(&asked, bytes, value, (answer, chain), &mut self.pool);
                conn.queue.fill_kept(sequence, kept);
            }
            Place::First(asked) => {
                self.forwarded.add(asked.asked_ns);
                let answer = answer.answer(value, chain.as_deref());
                self.compose_first(conn, (asked.reply, asked.read_ns), keyed, &answer);
                self.discard(chain);
                self.compose_ready(conn);
            }
        }
    }

    fn take_released(&mut self, batch: &mut Batch) {
        batch.released.drain(..).for_each(|lent| self.shard.release(lent));
    }

    /// Asks another shard for a keyed command. False: it has no place for it yet, and the connection waits in line.
    pub(super) fn ask_keyed(
        &mut self,
        conn: &mut Connection,
        shard: u16,
        part: &Part<'_>,
        (command, hash): (&Command<'_>, u64),
        read_ns: u64,
    ) -> bool {
        let (deadline, room) = (part.reply.deadline(), conn.queue.answer_room());
        // Behind what may change how later answers are written, this is not known yet.
        let free = conn.session.free(&part.reply).filter(|_| conn.queue.composes());
        let (reply, tag) = free.map(FreeReply::untagged).unzip();
        let ask = Ask {
            from: conn.next_address(),
            what: AskWhat::Keyed(&command.op),
            once: part.once,
            reply,
            tag: tag.unwrap_or_default(),
            hash,
            deadline,
            room,
        };
        let bytes = AskBytes { key: command.key, value: op_value(&command.op), echo: part.echo };
        if !self.ask(conn, shard, &ask, bytes) {
            return false;
        }
        self.wait_for(conn, part, read_ns, (1, room));
        true
    }

    /// So many shards have been asked for a part, with room for the value of its answer.
    pub(super) fn wait_for(
        &self,
        conn: &mut Connection,
        part: &Part<'_>,
        read_ns: u64,
        (shards, room): (u16, u32),
    ) {
        let free = conn.session.free(&part.reply).is_some();
        let asked_ns = self.turn_began_ns;
        conn.queue.ask(Asked { reply: part.reply, free, shards, room, read_ns, asked_ns });
    }

    pub(super) fn ask(
        &mut self,
        conn: &mut Connection,
        shard: u16,
        ask: &Ask<'_>,
        bytes: AskBytes<'_>,
    ) -> bool {
        let Some(lane) = self.mail.lane(shard) else { return false };
        if lane.ask(ask, bytes) {
            self.stats.forwarded.add(1);
            return true;
        }
        if !conn.stalled {
            conn.stalled = true;
            lane.wait(conn.id);
        }
        false
    }

    /// Every shard forgets everything; only this one, if a Redis client speaks to it as to a node of a cluster.
    pub(super) fn begin_flush(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        at: Option<Millis>,
        read_ns: u64,
    ) -> bool {
        let alone = conn.on_shard_port && matches!(conn.session, Session::Resp(_));
        let others = if alone { 0 } else { self.mail.shards() - 1 };
        if others > 0
            && let Some(full) = self.mail.shard_without_places(1)
        {
            if let Some(lane) = self.mail.lane(full).filter(|_| !conn.stalled) {
                conn.stalled = true;
                lane.wait(conn.id);
            }
            return false;
        }
        #[cfg(test)]
        let at = if self.strikes(super::bug::Bug::HalfFlush) { Some(Millis::MAX) } else { at };
        self.shard.flush(at, self.now);
        self.stats.request(CommandClass::Flush, OutcomeClass::Done);
        if others == 0 {
            self.finish(conn, part, &[], read_ns, Answer::Flushed);
            return true;
        }
        let (from, number) = (conn.next_address(), self.number);
        for shard in (0..self.mail.shards()).filter(|&shard| shard != number) {
            let bytes = AskBytes { echo: part.echo, ..AskBytes::default() };
            // There is a place: that was looked at before.
            self.ask(conn, shard, &Ask::plain(from, What::Flush { at }), bytes);
        }
        self.wait_for(conn, part, read_ns, (others, 0));
        true
    }

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
        let local = cursor & ((1 << CURSOR_BITS) - 1);
        self.stats.request(CommandClass::Scan, OutcomeClass::Done);
        if shard == self.number {
            let mut keys = self.pool.take();
            let cursor = self.scan(local, count, conn.on_shard_port, &mut keys);
            self.finish(conn, part, &[], read_ns, Answer::Scanned { cursor, keys: &keys });
            self.pool.give(keys);
            return true;
        }
        if shard >= self.mail.shards() || conn.on_shard_port {
            self.finish(conn, part, &[], read_ns, Answer::Scanned { cursor: 0, keys: &[] });
            return true;
        }
        let what = What::Scan { cursor: local, count };
        let ask = Ask { room: SCAN_ROOM, ..Ask::plain(conn.next_address(), what) };
        let asked = self.ask(conn, shard, &ask, AskBytes { echo: part.echo, ..AskBytes::default() });
        if asked {
            self.wait_for(conn, part, read_ns, (1, SCAN_ROOM));
        }
        asked
    }

    /// Appends the keys of a step to `keys`; returns the next cursor.
    fn scan(&mut self, local: u64, count: u32, only_here: bool, keys: &mut Vec<u8>) -> u64 {
        #[cfg(test)]
        let before = keys.len();
        let next = self.shard.scan(0, local, count, self.now, keys, &mut Vec::new());
        #[cfg(test)]
        if self.strikes(super::bug::Bug::BlindScan) {
            keys.truncate(before);
        }
        let here = u64::from(self.number) << CURSOR_BITS;
        match next {
            0 if only_here || self.number + 1 == self.mail.shards() => 0,
            0 => here + (1 << CURSOR_BITS),
            next => here | next,
        }
    }

    /// Executes what another shard asks, with the same stages as a round.
    fn serve(&mut self, shard: u16, mut batch: Box<Batch>) {
        self.take_released(&mut batch);
        self.stats.served_for_others.add(batch.asks.len() as u64);
        for first in (0..batch.asks.len()).step_by(STAGE_ASKS) {
            let stage = first..(first + STAGE_ASKS).min(batch.asks.len());
            // Of what has no key the hash is 0: that fetches a bucket too many.
            batch.asks[stage.clone()].iter().for_each(|ask| self.shard.prefetch_bucket(ask.hash));
            batch.asks[stage.clone()].iter().for_each(|ask| self.shard.prefetch_item(ask.hash));
            for number in stage {
                self.answer(shard, &mut batch, number);
            }
        }
        if let Some(lane) = self.mail.lane(shard) {
            lane.answer(batch);
        }
    }

    /// Writes the answer to a request of a batch behind it.
    fn answer(&mut self, shard: u16, batch: &mut Batch, number: usize) {
        // Taken out, so that the request's bytes can be read while the answer's are written.
        let mut out = std::mem::take(&mut batch.answer_bytes);
        let Posted { from, deadline, .. } = batch.asks[number];
        let over = deadline.is_over(self.now);
        let (with, owned) = match &batch.kind_of(number).what {
            What::Keyed(op) if !over => self.answer_keyed(batch, number, op, &mut out),
            _ => match self.answer_other(batch, number, (shard, from.conn), over, &mut out) {
                (None, _) => (AnsweredWith::Nothing, None),
                (Some(answer), chain) => (AnsweredWith::Owned, Some((answer, chain))),
            },
        };
        batch.answer_bytes = out;
        batch.answered(with, owned);
    }

    /// Executes a command on a key, and writes its answer as far as this shard can.
    #[inline]
    fn answer_keyed(
        &mut self,
        batch: &Batch,
        number: usize,
        op: &Op<'static>,
        out: &mut Vec<u8>,
    ) -> (AnsweredWith, Option<OwnedAnswered>) {
        let Posted { hash, tag, .. } = batch.asks[number];
        let &Kind { once, reply, .. } = batch.kind_of(number);
        let AskBytes { key, value, echo } = batch.bytes_of(number);
        let command = fill_command(key, op, value);
        // The fewer segments may still be pinned, the less is lent: what is not too long is copied first, then the
        // others have to be asked for later.
        let short = self.shard.is_short_of_pins();
        let copied_max = if short { COPIED_BYTES_MAX.saturating_sub(out.len()) } else { 0 };
        if self.would_pin(&command, hash).is_some_and(|length| length > copied_max as u64) {
            return (AnsweredWith::Owned, Some((OwnedAnswer::Later, None)));
        }
        let (outcomes, stats) = (&mut self.outcomes, &self.stats);
        let answer = perform(&mut self.shard, outcomes, stats, &command, hash, once, self.now);
        let Some(reply) = reply.filter(|_| !answer.is_lent()) else {
            return (AnsweredWith::Owned, Some(OwnedAnswer::of(answer, out, copied_max)));
        };
        let context = context(0, "", "", self.now, &self.view);
        self.apart.apart(out, |words| reply.compose(tag, (key, echo), &answer, &context, words));
        if let Some(counts) = self.apart.errors().take() {
            self.stats.errors_answered(reply.protocol(), counts);
        }
        (AnsweredWith::Words, None)
    }

    /// Does what is asked if that is more than a command on a key, or comes too late.
    fn answer_other(
        &mut self,
        batch: &Batch,
        number: usize,
        upload: (u16, ConnId),
        over: bool,
        out: &mut Vec<u8>,
    ) -> (Option<OwnedAnswer>, Option<Box<LentChain>>) {
        let (bytes, &Kind { what, once, .. }) = (batch.bytes_of(number), batch.kind_of(number));
        match what {
            What::Keyed(op) => {
                self.stats.request(CommandClass::of(&op), OutcomeClass::Refused);
                (Some(OwnedAnswer::DeadlineExceeded), None)
            }
            What::UploadBegin { op, bytes: length } => {
                self.forget_upload(upload);
                let place = self.shard.upload_begin(0, bytes.key, length, self.now);
                let key = self.pool.copy(&[bytes.key]);
                self.foreign_uploads.insert(upload, ForeignUpload { place, op, key, once });
                (None, None)
            }
            What::UploadData => {
                if let Some(foreign) = self.foreign_uploads.get_mut(&upload)
                    && let Ok(id) = foreign.place
                    && let Err(refusal) = self.shard.upload_append(id, bytes.value, self.now)
                {
                    foreign.place = Err(refusal);
                }
                (None, None)
            }
            What::UploadEnd(_) if over => {
                self.stats.request(CommandClass::Write, OutcomeClass::Refused);
                self.forget_upload(upload);
                (Some(OwnedAnswer::DeadlineExceeded), None)
            }
            What::UploadEnd(options) => self.end_foreign(upload, options, out),
            What::UploadAbort => {
                self.forget_upload(upload);
                (Some(OwnedAnswer::Local), None)
            }
            What::UploadForget => {
                self.forget_upload(upload);
                (None, None)
            }
            What::Flush { at } => {
                self.shard.flush(at, self.now);
                (Some(OwnedAnswer::Flushed), None)
            }
            What::Scan { cursor, count } => {
                let cursor = self.scan(cursor, count, false, out);
                (Some(OwnedAnswer::Scanned { cursor }), None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
