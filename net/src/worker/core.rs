//! The worker without its transport: shard, connections, mail, and how a part is executed.

use super::connection::{Connection, Connections, Phase, WaitState, Waiting, closes, is_protocol_refusal};
use super::durations::Durations;
use super::mail::{Address, Mail};
use super::owned::{OwnedAnswer, OwnedPart, OwnedReply, OwnedWork, fill_command};
use super::pool::Pool;
use super::view::View;
use super::{Prepared, Span};
use crate::metrics::{CloseReason, CommandClass, OutcomeClass, WorkerStats};
use crate::server::Shared;
use crate::session::native::outcomes::{Lookup, Outcomes};
use crate::session::{
    Answer, ComposeContext, Limits, Once, Parsed, Part, Protocol, ReplyKind, Scratch, ServerView, Session,
    Work,
};
use crate::transport::ConnId;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use torc_engine::Shard;
use torc_engine::command::{Body, Command, Millis, Op, Outcome, Write};
use torc_engine::slots::slot_of;

/// What a listener is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenerKind {
    /// Pinned to one protocol.
    pub(crate) protocol: Option<Protocol>,
    /// The shard's own port.
    pub(crate) shard_port: bool,
}

/// What a worker is told once.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// By number, as the transport names them.
    pub(crate) listeners: Vec<ListenerKind>,
    pub(crate) connections_max: usize,
    pub(crate) output_bytes_max: usize,
    pub(crate) queue_parts_max: usize,
    /// Longest input that is no request yet, bytes.
    pub(crate) input_bytes_max: usize,
    /// 0: never.
    pub(crate) idle_ms_max: u64,
    pub(crate) slow_ms_max: u64,
    pub(crate) drain_ms_max: u64,
    /// For the outcomes of numbered changes.
    pub(crate) outcomes_bytes_max: usize,
}

/// What a core is made of.
pub(crate) struct CoreParts {
    pub(crate) shard: Shard,
    pub(crate) mail: Mail,
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: u16,
    pub(crate) settings: Settings,
    pub(crate) now: Millis,
}

/// State of one worker apart from its transport.
pub(crate) struct Core {
    pub(super) shard: Shard,
    pub(super) number: u16,
    pub(super) mail: Mail,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) settings: Settings,
    pub(super) view: View,
    pub(super) connections: Connections,
    pub(super) outcomes: Outcomes,
    pub(super) pool: Pool,
    pub(super) now: Millis,
    /// When the turn began, by the clock's nanoseconds.
    pub(super) turn_began_ns: u64,
    /// Requests that this turn read and answered.
    pub(super) answered: u64,
    /// Requests of earlier turns that this one answered.
    pub(super) waited: Durations,
    /// Requests that other shards answered in this turn.
    pub(super) forwarded: Durations,
    pub(super) round: u64,
    /// Connections to look after at the end of the turn.
    pub(super) dirty: Vec<ConnId>,
    /// Connections with input that a round has left.
    pub(super) left: VecDeque<ConnId>,
    /// Connections that wait for a place at another shard.
    pub(super) stalled: VecDeque<ConnId>,
    /// Connections to be closed as too slow.
    pub(super) too_slow: Vec<ConnId>,
    pub(super) foreign_uploads: HashMap<(u16, ConnId), super::exchange::ForeignUpload>,
    pub(super) letters: Vec<super::mail::Ask>,
    pub(super) connections_total: u64,
    pub(super) sweep_at: usize,
    pub(super) swept_at: Millis,
    pub(super) draining_since: Option<Millis>,
    pub(super) drain_turns: u32,
    pub(super) drained: bool,
    /// Turns since all shards were seen to be drained.
    pub(super) turns_since_all: u32,
    pub(super) accept_failure_logged: bool,
    #[cfg(test)]
    bug: (Bug, u64),
}

/// A bug that the simulator puts in, to see that it is caught.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Bug {
    #[default]
    None,
    /// Now and then another shard's answer is dropped.
    LostAnswer,
    /// Now and then two answers that are ready change places.
    SwappedAnswers,
    /// Expiry stands still.
    MissedExpiry,
    /// Now and then a slice of a long value is dropped.
    LostSlice,
}

/// One in so many chances for a bug is taken.
#[cfg(test)]
const BUG_EVERY: u64 = 50;

/// Sessions whose changes are remembered, in one shard.
const ONCE_SESSIONS_MAX: usize = 4096;

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Core {
        let CoreParts { shard, mail, shared, number, settings, now } = parts;
        Core {
            stats: shared.worker_stats[number as usize].clone(),
            view: View::new(shared.clone(), number),
            shard,
            number,
            mail,
            shared,
            connections: Connections::default(),
            outcomes: Outcomes::new(
                ONCE_SESSIONS_MAX,
                crate::session::native::CREDIT as usize,
                settings.outcomes_bytes_max,
            ),
            settings,
            pool: Pool::default(),
            now,
            turn_began_ns: 0,
            answered: 0,
            waited: Durations::default(),
            forwarded: Durations::default(),
            round: 0,
            dirty: Vec::new(),
            left: VecDeque::new(),
            stalled: VecDeque::new(),
            too_slow: Vec::new(),
            foreign_uploads: HashMap::new(),
            letters: Vec::new(),
            connections_total: 0,
            sweep_at: 0,
            swept_at: now,
            draining_since: None,
            drain_turns: 0,
            drained: false,
            turns_since_all: 0,
            accept_failure_logged: false,
            #[cfg(test)]
            bug: (Bug::None, 0),
        }
    }

    #[cfg(test)]
    pub(crate) fn put_in(&mut self, bug: Bug) {
        self.bug = (bug, 0);
    }

    /// Whether the simulator's bug strikes here.
    #[cfg(test)]
    pub(super) fn strikes(&mut self, bug: Bug) -> bool {
        self.bug.1 += u64::from(self.bug.0 == bug);
        self.bug.0 == bug && self.bug.1.is_multiple_of(BUG_EVERY)
    }

    pub(super) fn begin_turn(&mut self, began_ns: u64, now: Millis) {
        self.mail.awake();
        self.turn_began_ns = began_ns;
        #[cfg(test)]
        if self.bug.0 == Bug::MissedExpiry {
            return;
        }
        self.now = now;
    }

    pub(super) fn begin_round(&mut self) {
        self.round += 1;
        self.stats.rounds.add(1);
    }

    pub(super) fn is_in_round(&mut self, id: ConnId) -> bool {
        let round = self.round;
        self.connections.find(id).is_some_and(|conn| conn.round == round)
    }

    pub(super) fn mark_in_round(&mut self, id: ConnId) {
        let round = self.round;
        self.connections.find(id).into_iter().for_each(|conn| conn.round = round);
    }

    /// Whether bytes for this connection can be parsed where they are.
    pub(super) fn takes_in_place(&mut self, id: ConnId) -> bool {
        self.connections.find(id).is_some_and(|conn| conn.is_parsed() && conn.input.is_empty())
    }

    /// Puts received bytes behind the connection's input; they are dropped if it is not read any more.
    pub(super) fn append_input(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.connections.find(id).filter(|conn| conn.phase == Phase::Open) else { return };
        if conn.input.capacity() == 0 {
            conn.input = self.pool.take();
        }
        conn.input.extend_from_slice(bytes);
    }

    /// Takes the input if it is worth parsing.
    pub(super) fn take_input(&mut self, id: ConnId) -> Option<Vec<u8>> {
        let conn = self.connections.find(id).filter(|conn| conn.is_parsed())?;
        let worth = !conn.input.is_empty() && conn.input.len() >= conn.input_needed;
        worth.then(|| std::mem::take(&mut conn.input))
    }

    /// Keeps what was not parsed of bytes in the transport's buffer.
    pub(super) fn keep_rest(&mut self, span: &Span, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        let input = self.pool.copy(&[rest]);
        self.keep(span, input);
    }

    /// Gives the input back to its connection, without what was parsed of it.
    pub(super) fn keep_input(&mut self, span: &Span, mut input: Vec<u8>) {
        input.drain(..span.parsed.consumed);
        if input.is_empty() {
            return self.pool.give(input);
        }
        self.keep(span, input);
    }

    fn keep(&mut self, span: &Span, input: Vec<u8>) {
        let limit = self.settings.input_bytes_max;
        let Some(conn) = self.connections.find(span.conn).filter(|conn| conn.phase == Phase::Open) else {
            return self.pool.give(input);
        };
        if span.cut {
            conn.input_needed = 0;
            self.left.push_back(span.conn);
        } else {
            conn.input_needed = input.len() + span.parsed.missing.max(1);
        }
        let endless = !span.cut && input.len() > limit;
        conn.input = input;
        if endless {
            conn.phase = Phase::Finishing(CloseReason::Garbage);
            self.mark_dirty(span.conn);
        }
    }

    /// Connections whose input goes on to be parsed.
    pub(super) fn take_left(&mut self) -> impl Iterator<Item = ConnId> + '_ {
        self.left.drain(..)
    }

    pub(super) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.connections.find(id).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    #[inline]
    pub(super) fn parse<'a>(
        &mut self,
        id: ConnId,
        bytes: &'a [u8],
        scratch: &'a Scratch,
        parts: &mut Vec<Part<'a>>,
        parts_max: usize,
    ) -> Parsed {
        match self.connections.find(id) {
            Some(conn) => {
                conn.session.parse(bytes, scratch, self.now, &self.settings.limits, parts, parts_max)
            }
            None => Parsed { consumed: bytes.len(), missing: 0 },
        }
    }

    /// Hash and owner of a key; starts to fetch its bucket.
    #[inline]
    pub(super) fn prepare(&self, key: &[u8]) -> Prepared {
        let shard = self.owner(key);
        let hash = self.shard.hash(0, key);
        if shard == self.number {
            self.shard.prefetch_bucket(hash);
        }
        Prepared { hash, shard }
    }

    #[inline]
    pub(super) fn prefetch_item(&self, prepared: Prepared) {
        if prepared.shard == self.number {
            self.shard.prefetch_item(prepared.hash);
        }
    }

    #[inline]
    fn owner(&self, key: &[u8]) -> u16 {
        if self.mail.is_alone() { self.number } else { self.shared.slots.owner(slot_of(key)) }
    }

    /// Executes parts of one connection in order. The fast way, for keys of this shard while nothing waits, is
    /// all in here; every other part goes by the connection's queue.
    pub(super) fn execute(&mut self, id: ConnId, parts: &[Part<'_>], prepared: &[Prepared]) {
        let Some(mut conn) = self.connections.take(id) else { return };
        conn.output.prepare(|| self.pool.take());
        let mut answered = 0;
        for (part, prepared) in parts.iter().zip(prepared) {
            if conn.phase != Phase::Open {
                break;
            }
            let direct = conn.queue.is_empty() && conn.output.bytes() <= self.settings.output_bytes_max;
            match &part.work {
                Work::Keyed(command) if direct && prepared.shard == self.number => {
                    self.execute_keyed(&mut conn, part, command, prepared.hash);
                    answered += 1;
                }
                Work::ValueData(data) if direct && self.append_upload(&mut conn, data) => {}
                Work::Local if direct => {
                    self.stats.request(CommandClass::Local, OutcomeClass::Done);
                    self.compose(&mut conn, part.reply, &[], part.echo, &Answer::Local);
                    answered += 1;
                }
                _ => {
                    conn.enqueue(OwnedPart::copy(part, &mut self.pool), self.turn_began_ns);
                    self.advance(&mut conn);
                }
            }
        }
        self.answered += answered;
        self.count_errors(&mut conn);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(id);
        }
        self.connections.put(conn);
    }

    #[inline]
    fn execute_keyed(&mut self, conn: &mut Connection, part: &Part<'_>, command: &Command<'_>, hash: u64) {
        let answer =
            perform(&mut self.shard, &mut self.outcomes, &self.stats, command, hash, part.once, self.now);
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        conn.session.compose(part.reply, command.key, part.echo, &answer, &context, &mut conn.output);
    }

    fn compose(&self, conn: &mut Connection, reply: ReplyKind, key: &[u8], echo: &[u8], answer: &Answer<'_>) {
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        conn.session.compose(reply, key, echo, answer, &context, &mut conn.output);
    }

    /// Begins what waits in the connection's queue as far as it may be begun, and composes what is ready.
    pub(super) fn advance(&mut self, conn: &mut Connection) {
        loop {
            // One at a time, so that the output grows by its answer before the next is begun.
            let begun = conn.has_room(self.settings.output_bytes_max) && self.begin_next(conn);
            let mut composed = 0;
            while let Some(waiting) = conn.pop_ready() {
                composed += 1;
                self.finish_part(conn, waiting);
            }
            if !begun && composed == 0 {
                self.count_errors(conn);
                return;
            }
        }
    }

    fn count_errors(&self, conn: &mut Connection) {
        if let Some(counts) = conn.output.errors().take()
            && let Some(protocol) = conn.session.protocol()
        {
            self.stats.errors_answered(protocol, counts);
        }
    }

    fn finish_part(&mut self, conn: &mut Connection, waiting: Waiting) {
        let Waiting { part, state, read_ns } = waiting;
        if let WaitState::Ready(reply) = state {
            if conn.phase == Phase::Open {
                self.waited.add(read_ns);
                conn.output.prepare(|| self.pool.take());
                self.compose(conn, part.reply, part.key(), part.echo(), &reply.answer());
                if closes(&part) {
                    self.stats.protocol_refusals.add(u64::from(is_protocol_refusal(&part.reply)));
                    conn.phase = Phase::Finishing(CloseReason::Answered);
                }
            }
            self.discard(reply);
        }
        self.pool.give(part.into_bytes());
    }

    /// Begins the first part that is not begun. False: there is none, or no place for it yet.
    fn begin_next(&mut self, conn: &mut Connection) -> bool {
        let place = conn.begun;
        let Some((address, waiting)) = conn.next_deferred() else { return false };
        let (work, once) = (waiting.part.work, waiting.part.once);
        let over = waiting.part.reply.deadline().is_over(self.now);
        let state = match work {
            OwnedWork::Keyed(_) | OwnedWork::Flush { .. } | OwnedWork::Local if over => {
                Some(self.too_late(work))
            }
            OwnedWork::Keyed(op) => self.begin_keyed(conn, place, address, op, once),
            OwnedWork::Flush { at } => self.begin_flush(conn, address, at),
            OwnedWork::Scan { cursor, count } => self.begin_scan(conn, address, cursor, count),
            OwnedWork::Local | OwnedWork::Close => {
                self.stats.request(CommandClass::Local, OutcomeClass::Done);
                Some(WaitState::Ready(OwnedReply::plain(OwnedAnswer::Local)))
            }
            OwnedWork::ValueBegin { .. }
            | OwnedWork::ValueData
            | OwnedWork::ValueEnd(_)
            | OwnedWork::ValueAbort => self.begin_value_part(conn, place, address),
        };
        let Some(state) = state else {
            self.stalled.push_back(conn.id);
            return false;
        };
        conn.begin(state);
        true
    }

    fn begin_keyed(
        &mut self,
        conn: &Connection,
        place: usize,
        address: Address,
        op: Op<'static>,
        once: Option<Once>,
    ) -> Option<WaitState> {
        let part = &conn.queue[place].part;
        match self.destination(conn, part.key()) {
            Destination::Here => {
                let bytes = self.pool.copy(&[part.key(), part.value()]);
                let room = Room { bytes, key_end: part.key().len() };
                Some(WaitState::Ready(self.perform_owned(op, once, room)))
            }
            Destination::There(shard) => self.ask_keyed(shard, address, op, part).then(|| self.asked(1)),
            Destination::Moved(answer) => {
                self.stats.request(CommandClass::of(&op), OutcomeClass::Moved);
                Some(WaitState::Ready(OwnedReply::plain(answer)))
            }
        }
    }

    /// The answer to a part whose deadline was over before it was begun.
    pub(super) fn too_late(&self, work: OwnedWork) -> WaitState {
        let class = match work {
            OwnedWork::Keyed(op) => CommandClass::of(&op),
            OwnedWork::Flush { .. } => CommandClass::Flush,
            OwnedWork::ValueEnd(_) => CommandClass::Write,
            _ => CommandClass::Local,
        };
        self.stats.request(class, OutcomeClass::Refused);
        WaitState::Ready(OwnedReply::plain(OwnedAnswer::DeadlineExceeded))
    }

    /// Executes a command here and takes its answer over; its value goes to `room`, which may hold the command.
    pub(super) fn perform_owned(&mut self, op: Op<'static>, once: Option<Once>, room: Room) -> OwnedReply {
        let (key, value) = room.bytes.split_at(room.key_end);
        let hash = self.shard.hash(0, key);
        let command = fill_command(key, op, value);
        let answer =
            perform(&mut self.shard, &mut self.outcomes, &self.stats, &command, hash, once, self.now);
        let mut bytes = room.bytes;
        bytes.clear();
        match answer {
            Answer::Outcome(outcome) => OwnedReply::take_over(outcome, bytes),
            Answer::Busy { limit } => OwnedReply::with(OwnedAnswer::Busy { limit }, bytes),
            _ => OwnedReply::with(OwnedAnswer::OutcomeUnknown, bytes),
        }
    }

    /// Where a key of this connection is served.
    pub(super) fn destination(&self, conn: &Connection, key: &[u8]) -> Destination {
        if self.mail.is_alone() {
            return Destination::Here;
        }
        let slot = slot_of(key);
        let shard = self.shared.slots.owner(slot);
        if shard == self.number {
            Destination::Here
        } else if conn.on_shard_port && !matches!(conn.session, Session::Memcache(_)) {
            Destination::Moved(OwnedAnswer::Moved { slot, shard, epoch: self.shared.slots.epoch() })
        } else {
            Destination::There(shard)
        }
    }
}

/// A buffer with a key and a value in it, and room for an answer.
pub(super) struct Room {
    pub(super) bytes: Vec<u8>,
    pub(super) key_end: usize,
}

/// Where a key is served.
pub(super) enum Destination {
    Here,
    There(u16),
    /// Elsewhere, and the client is told so.
    Moved(OwnedAnswer),
}

/// Executes a command on the shard, once if it is a numbered change.
///
/// The seam of a second tier is here. No shard gives [`Outcome::Pending`] yet, and one that did would be answered
/// as having no place to wait. With a tier the part waits in its connection's queue as one that another shard has
/// been asked for ([`WaitState::Asked`]): the ticket takes the place of the shard, the answer is
/// delivered as mail is ([`Core::read_mail`]), and the command is executed again from its lookup. For another
/// shard's request the answer ([`super::mail::Back`]) is sent when that has happened: its place is reserved
/// already. Nothing is recorded of a pending change, so a repeat of it finds nothing and waits, too.
#[inline]
fn perform<'s>(
    shard: &'s mut Shard,
    outcomes: &mut Outcomes,
    stats: &WorkerStats,
    command: &Command<'_>,
    hash: u64,
    once: Option<Once>,
    now: Millis,
) -> Answer<'s> {
    let outcome = match once {
        None => shard.execute(command, hash, now),
        Some(once) => match outcomes.lookup(once) {
            Lookup::New => {
                let outcome = shard.execute(command, hash, now);
                outcomes.record(once, &outcome);
                stats.outcomes_bytes.set(outcomes.bytes() as u64);
                outcome
            }
            Lookup::Repeat(stored) => {
                drop_upload(shard, command);
                stored.outcome()
            }
            Lookup::Unknown => {
                drop_upload(shard, command);
                return Answer::OutcomeUnknown;
            }
        },
    };
    stats.request(CommandClass::of(&command.op), OutcomeClass::of(&outcome));
    match outcome {
        Outcome::Pending(_) => Answer::Busy { limit: "max-waiting" },
        outcome => Answer::Outcome(outcome),
    }
}

/// A long value that came again for a change that is not done again.
#[cold]
fn drop_upload(shard: &mut Shard, command: &Command<'_>) {
    if let Op::Write(Write { value: Body::Upload(id), .. }) = command.op {
        shard.upload_abort(id);
    }
}

#[inline]
fn context<'c>(
    connection: u64,
    peer: &'c str,
    local: &'c str,
    now: Millis,
    view: &'c View,
) -> ComposeContext<'c> {
    ComposeContext { now, server: view as &dyn ServerView, connection, peer, local }
}
