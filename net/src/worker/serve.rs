//! What other shards ask of this one: each answer is written behind its request.

use super::holds::Holder;
use super::mail::{Address, AnsweredWith, AskBytes, AskKind, Batch, OwnedAnswered, Posted, What};
use super::owned::{OwnedAnswer, fill_command};
use super::perform::perform;
use super::scan::CURSOR_BITS;
use super::script::ScriptAsked;
use super::state::WorkerState;
use super::tier::DURABILITY;
use super::upload::ForeignUpload;
use super::view::context;
use crate::metrics::{CommandClass, OutcomeClass};
use torc_engine::command::{Op, Ticket};
use torc_engine::segments::LentChain;

/// Requests of a batch whose buckets and items are fetched ahead together.
const STAGE_ASKS: usize = 64;
/// Bytes of answers in a batch up to which long values are copied rather than lent while segments are short of pins.
const COPIED_BYTES_MAX: usize = 512 << 10;

impl WorkerState {
    /// Executes what another shard asks, with the same stages as a round.
    pub(super) fn serve(&mut self, lane: u16, mut batch: Box<Batch>) {
        // What clients of the other shard were shown as expired is expired here.
        if batch.now > self.now {
            self.now = batch.now;
            // Nor may a third shard take it for alive when clients of this one ask there.
            self.mail.pass_time(self.now);
        }
        // Its clients may have been told meanwhile that they are subscribed.
        self.look_for_listeners();
        self.look_for_trackers();
        self.take_released(&mut batch);
        self.take_reports(&mut batch);
        self.stats.served_for_others.add(batch.asks.len() as u64);
        if self.has_stopped(lane) {
            self.wait_behind_stopped(lane, batch);
        } else {
            self.serve_on(lane, batch, 0);
        }
    }

    /// Executes a batch from a request on, and sends it home. False: it stops at a request that has to wait.
    pub(super) fn serve_on(&mut self, lane: u16, mut batch: Box<Batch>, served: usize) -> bool {
        for first in (served..batch.asks.len()).step_by(STAGE_ASKS) {
            let stage = first..(first + STAGE_ASKS).min(batch.asks.len());
            // A request without a key has the hash 0, and fetches a bucket that nobody needs.
            for number in stage.clone() {
                self.shard.prefetch_bucket(batch.kind_of(number).database, batch.asks[number].hash);
            }
            for number in stage.clone() {
                self.shard.prefetch_item(batch.kind_of(number).database, batch.asks[number].hash);
            }
            for number in stage {
                if !self.answer(lane, &mut batch, number) {
                    self.stop(lane, batch, number);
                    return false;
                }
            }
        }
        self.send_home(lane, batch);
        true
    }

    /// Writes the answer to a request of a batch behind it. False: an item has to be fetched, or other changes saved, first.
    pub(super) fn answer(&mut self, lane: u16, batch: &mut Batch, number: usize) -> bool {
        // Taken out, so that the request's bytes can be read while the answer's are written.
        let mut out = std::mem::take(&mut batch.answer_bytes);
        let Posted { from, deadline, .. } = batch.asks[number];
        let late = deadline.is_past(self.now);
        let answered = match &batch.kind_of(number).what {
            What::Keyed(op) if !late => self.answer_keyed((lane, batch), number, op, &mut out),
            _ => {
                let answer = self.answer_other((lane, batch), number, from, late, &mut out);
                answer.map(|answer| match answer {
                    (None, _) => (AnsweredWith::Nothing, None),
                    (Some(answer), chain) => (AnsweredWith::Owned, Some((answer, chain))),
                })
            }
        };
        batch.answer_bytes = out;
        if let Some((with, owned)) = answered {
            batch.answered(with, owned);
            return true;
        }
        false
    }

    /// Executes a command on a key, and writes its answer as far as this shard can. `None`: it has to wait.
    #[inline]
    fn answer_keyed(
        &mut self,
        (lane, batch): (u16, &Batch),
        number: usize,
        op: &Op<'static>,
        out: &mut Vec<u8>,
    ) -> Option<(AnsweredWith, Option<OwnedAnswered>)> {
        let Posted { hash, tag, .. } = batch.asks[number];
        let &AskKind { database, once, reply, wish, tracks, .. } = batch.kind_of(number);
        let AskBytes { key, value, echo } = batch.bytes_of(number);
        let command = fill_command(database, key, op, value);
        // The fewer segments may still be pinned, the less is lent: what is not too long is copied first, then the
        // others have to be asked for later.
        let short = self.shard.is_short_of_pins();
        let copied_max = if short { COPIED_BYTES_MAX.saturating_sub(out.len()) } else { 0 };
        if self.would_pin(&command, hash).is_some_and(|length| length > copied_max as u64) {
            return Some((AnsweredWith::Owned, Some((OwnedAnswer::Later, None))));
        }
        if self.refuses(&command, wish) {
            return Some((AnsweredWith::Owned, Some((OwnedAnswer::Busy { limit: DURABILITY }, None))));
        }
        if self.is_held(&command, || wish) || self.is_stopped_by_hold(lane, database, hash) {
            return None;
        }
        let (shard, Address { conn, sequence }) = (self.mail.shard_of(lane), batch.asks[number].from);
        self.write_as((shard, conn), || Some(sequence));
        self.track(Holder { shard, conn }, tracks, &command, hash);
        let (outcomes, stats) = ((&mut self.outcomes, &mut self.notices), &self.stats);
        let answer = match perform(&mut self.shard, outcomes, stats, &command, hash, once, self.now) {
            Ok(answer) => answer,
            // The shard that asks has asked nothing else for that client: see `WorkerState::begin`.
            Err(Ticket::UNKNOWN) => {
                self.stats.tier_recovery_waits.add(1);
                return Some((AnsweredWith::Owned, Some((OwnedAnswer::Later, None))));
            }
            Err(ticket) => {
                let is_there = self.fetch(self.shard.item_hash(database, hash), ticket, None);
                return if is_there { self.answer_keyed((lane, batch), number, op, out) } else { None };
            }
        };
        let Some(reply) = reply.filter(|_| !answer.is_lent()) else {
            return Some((AnsweredWith::Owned, Some(OwnedAnswer::of(answer, out, copied_max))));
        };
        let context = context(0, "", "", self.now, &self.view);
        self.apart.apart(out, |words| reply.compose(tag, (key, echo), &answer, &context, words));
        if let Some(errors) = self.apart.take_errors() {
            self.stats.errors_answered(reply.protocol(), &errors);
        }
        Some((AnsweredWith::Words, None))
    }

    /// Answers a request that is not a command on a key, or that came too late. `None`: it has to wait.
    fn answer_other(
        &mut self,
        (lane, batch): (u16, &Batch),
        number: usize,
        from: Address,
        late: bool,
        out: &mut Vec<u8>,
    ) -> Option<(Option<OwnedAnswer>, Option<Box<LentChain>>)> {
        let (bytes, &AskKind { what, database, once, wish, .. }) =
            (batch.bytes_of(number), batch.kind_of(number));
        let shard = self.mail.shard_of(lane);
        let (upload, holder) = ((shard, from.conn), Holder { shard, conn: from.conn });
        self.write_as((shard, from.conn), || Some(from.sequence));
        Some(match what {
            What::Keyed(op) => {
                self.stats.request(CommandClass::of(&op), OutcomeClass::Refused);
                (Some(OwnedAnswer::DeadlineExceeded), None)
            }
            What::UploadBegin { bytes: length, .. } if self.holds_value(database, bytes.key, length) => {
                return None;
            }
            What::UploadBegin { op, bytes: length } => {
                self.forget_upload(upload);
                let place = self.shard.upload_begin(database, bytes.key, length, self.now);
                let key = self.pool.copy(&[bytes.key]);
                self.foreign_uploads.insert(upload, ForeignUpload { place, op, database, key, once });
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
            What::UploadEnd(options) => return self.end_foreign((lane, upload), (options, wish), out),
            What::UploadAbort => {
                self.forget_upload(upload);
                (Some(OwnedAnswer::Local), None)
            }
            What::UploadForget => {
                self.forget_upload(upload);
                (None, None)
            }
            What::Hold { at_once } => {
                self.request_hold(holder, from.sequence, bytes.value, at_once);
                (None, None)
            }
            What::Granted(grant) => {
                self.take_grant(from.conn, from.sequence, shard, grant);
                (None, None)
            }
            What::Release => {
                self.release_hold(holder);
                (None, None)
            }
            What::Watch => {
                let (answer, _) = OwnedAnswer::of(self.watch(holder, database, bytes.key), out, 0);
                (Some(answer), None)
            }
            What::Unwatch => {
                self.unwatch(holder);
                (None, None)
            }
            What::Databases => {
                self.take_spaces();
                (Some(OwnedAnswer::Flushed), None)
            }
            What::Flush { at } => {
                self.shard.flush(at, self.now);
                (Some(OwnedAnswer::Flushed), None)
            }
            What::Script { script, resp3 } => {
                let asked = ScriptAsked { named: script, database, words: bytes.value };
                (Some(self.serve_script(asked, resp3, out)?), None)
            }
            What::Publish { sharded } => {
                let count = self.give_message(sharded, bytes.key, bytes.value, None);
                (Some(OwnedAnswer::Published(count)), None)
            }
            What::Notice => {
                self.give_notice(database, bytes.value, bytes.key);
                (None, None)
            }
            What::Inspect(inspect) => {
                self.inspect(inspect, bytes.key, out);
                (Some(OwnedAnswer::Inspected), None)
            }
            What::Target(mode) => {
                let target = self.find_target(mode);
                target.into_iter().for_each(|target| self.add_target(target));
                (Some(OwnedAnswer::Target(target)), None)
            }
            What::Untrack => {
                self.untrack(holder);
                (None, None)
            }
            What::Clients { place, of, asker } => {
                let next = self.clients(place, (of, asker), bytes.echo, out);
                let here = u64::from(self.number) << CURSOR_BITS;
                let cursor = self.cursor_behind(here, next.into(), false);
                (Some(OwnedAnswer::Scanned { cursor }), None)
            }
            What::Scan { cursor, count, tells } => {
                let cursor = self.scan_for(lane, database, (cursor, count, tells), out)?;
                (Some(OwnedAnswer::Scanned { cursor }), None)
            }
        })
    }
}
