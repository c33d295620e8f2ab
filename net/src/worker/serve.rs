//! What other shards ask of this one: each answer is written behind its request.

use super::execute::perform;
use super::mail::{AnsweredWith, AskBytes, AskKind, Batch, OwnedAnswered, Posted, What};
use super::owned::{OwnedAnswer, fill_command};
use super::state::WorkerState;
use super::upload::ForeignUpload;
use super::view::context;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::transport::ConnId;
use torc_engine::command::Op;
use torc_engine::segments::LentChain;

/// Requests of a batch whose buckets and items are fetched ahead together.
const STAGE_ASKS: usize = 64;
/// Bytes of answers in a batch up to which long values are copied rather than lent while segments are short of pins.
const COPIED_BYTES_MAX: usize = 512 << 10;

impl WorkerState {
    /// Executes what another shard asks, with the same stages as a round.
    pub(super) fn serve(&mut self, shard: u16, mut batch: Box<Batch>) {
        // What clients of the other shard were shown as expired is expired here.
        if batch.now > self.now {
            self.now = batch.now;
            // Nor may a third shard take it for alive when clients of this one ask there.
            self.mail.pass_time(self.now);
        }
        self.take_released(&mut batch);
        self.take_reports(&mut batch);
        self.stats.served_for_others.add(batch.asks.len() as u64);
        for first in (0..batch.asks.len()).step_by(STAGE_ASKS) {
            let stage = first..(first + STAGE_ASKS).min(batch.asks.len());
            // A request without a key has the hash 0, and fetches a bucket that nobody needs.
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
    pub(super) fn answer(&mut self, shard: u16, batch: &mut Batch, number: usize) {
        // Taken out, so that the request's bytes can be read while the answer's are written.
        let mut out = std::mem::take(&mut batch.answer_bytes);
        let Posted { from, deadline, .. } = batch.asks[number];
        let late = deadline.is_past(self.now);
        let (with, owned) = match &batch.kind_of(number).what {
            What::Keyed(op) if !late => self.answer_keyed(batch, number, op, &mut out),
            _ => match self.answer_other(batch, number, (shard, from.conn), late, &mut out) {
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
        let &AskKind { space, once, reply, .. } = batch.kind_of(number);
        let AskBytes { key, value, echo } = batch.bytes_of(number);
        let command = fill_command(space, key, op, value);
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

    /// Answers a request that is not a command on a key, or that came too late.
    fn answer_other(
        &mut self,
        batch: &Batch,
        number: usize,
        upload: (u16, ConnId),
        late: bool,
        out: &mut Vec<u8>,
    ) -> (Option<OwnedAnswer>, Option<Box<LentChain>>) {
        let (bytes, &AskKind { what, space, once, .. }) = (batch.bytes_of(number), batch.kind_of(number));
        match what {
            What::Keyed(op) => {
                self.stats.request(CommandClass::of(&op), OutcomeClass::Refused);
                (Some(OwnedAnswer::DeadlineExceeded), None)
            }
            What::UploadBegin { op, bytes: length } => {
                self.forget_upload(upload);
                let place = self.shard.upload_begin(space, bytes.key, length, self.now);
                let key = self.pool.copy(&[bytes.key]);
                self.foreign_uploads.insert(upload, ForeignUpload { place, op, space, key, once });
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
            What::UploadEnd(_) if late => {
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
                let cursor = self.scan(space, cursor, count, false, out);
                (Some(OwnedAnswer::Scanned { cursor }), None)
            }
        }
    }
}
