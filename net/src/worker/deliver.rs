//! Mail that has come: other shards' answers go to the connections that asked.

use super::connection::{Connection, Phase};
use super::mail::{Answered, AnsweredWith, AskBytes, AskKind, Batch, What};
use super::owned::{Kept, OwnedAnswer, OwnedPart, fill_command};
use super::queue::Place;
use super::script::name_of;
use super::state::WorkerState;
use crate::session::{Part, Work, lent_cost};
use torc_engine::segments::LentChain;

/// Batches taken from one shard in a turn.
const BATCHES_MAX: usize = 4;

impl WorkerState {
    /// Delivers other shards' answers and executes their requests.
    pub(super) fn read_mail(&mut self) {
        for lane in 0..self.mail.lanes() {
            while let Some(batch) = self.mail.lane(lane).and_then(|lane| lane.next_answered()) {
                self.deliver(lane, batch);
            }
            for _ in 0..BATCHES_MAX {
                let Some(batch) = self.mail.lane(lane).and_then(|lane| lane.next_asked()) else { break };
                self.serve(lane, batch);
            }
        }
        self.resume_stalled();
    }

    /// Composes or keeps the answers of a batch that has come home.
    fn deliver(&mut self, lane: u16, mut batch: Box<Batch>) {
        // What had changed before these answers were given is told before them.
        self.tell_news(None);
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
            // Its address may be another shard's.
            if with == AnsweredWith::Nothing && batch.kind_of(number).what.is_notice() {
                continue;
            }
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
            conn.is_untrue |= batch.is_untrue && self.is_untrue(batch.kind_of(number).wish);
            match (with, owned) {
                (AnsweredWith::Words, _) => {
                    let AskBytes { key, echo, .. } = batch.bytes_of(number);
                    self.take_words(conn, from.sequence, (key, echo), bytes);
                }
                (_, Some((OwnedAnswer::Later, _))) if conn.queue.is_alone(from.sequence) => {
                    self.ask_again(conn, batch.kind_of(number), batch.bytes_of(number));
                }
                (_, Some((answer @ (OwnedAnswer::Published(_) | OwnedAnswer::Inspected), _))) => {
                    self.take_share(conn, from.sequence, batch.bytes_of(number), (&answer, bytes));
                }
                (_, Some((OwnedAnswer::Target(target), _))) => {
                    if let What::Target(mode) = batch.kind_of(number).what {
                        self.take_target(conn, (mode, from.sequence), batch.bytes_of(number), target);
                    }
                }
                (_, Some((OwnedAnswer::Scanned { cursor }, _))) if conn.walk.is_some() => {
                    self.walked(conn, batch.kind_of(number), batch.bytes_of(number), (cursor, bytes));
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
        if let Some(lane) = self.mail.lane(lane) {
            lane.recycle(batch);
        }
    }

    /// Another shard cannot lend a long value now, or run a script at once. The connection has asked nothing since, so it can ask again
    /// later, or run the script itself, without changing the order of its requests.
    fn ask_again(&mut self, conn: &mut Connection, kind: &AskKind, bytes: AskBytes<'_>) {
        let work = match kind.what {
            What::Keyed(op) => Work::Keyed(fill_command(kind.database, bytes.key, &op, bytes.value)),
            What::Script { script, .. } => {
                Work::Script { script, database: kind.database, words: bytes.value }
            }
            _ => return,
        };
        let Some(asked) = conn.queue.take_back() else { return };
        let part = Part { work, reply: asked.reply, echo: bytes.echo, once: kind.once };
        conn.deferred.push_front(OwnedPart::copy(&part, asked.read_ns, &mut self.pool));
        match kind.what {
            What::Script { .. } => self.keep_script(conn, bytes.value),
            _ => self.ask_later(conn),
        }
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
    pub(super) fn take_words(
        &mut self,
        conn: &mut Connection,
        sequence: u32,
        keyed: (&[u8], &[u8]),
        words: &[u8],
    ) {
        match conn.queue.answered(sequence, words.len()) {
            Place::None => {}
            Place::Behind(asked) => {
                self.turn.forwarded.add(asked.asked_ns);
                self.note_waited(conn, &asked.reply, keyed, asked.read_ns);
                let behind = conn.queue.words(|| self.pool.take());
                let before = behind.len();
                behind.extend_from_slice(words);
                conn.queue.fill_composed(sequence, before, asked.read_ns);
            }
            Place::First(asked) => {
                self.turn.forwarded.add(asked.asked_ns);
                if conn.phase == Phase::Open {
                    conn.output.prepare(|| self.pool.take());
                    conn.output.tail().extend_from_slice(words);
                    self.turn.waited.add(asked.read_ns);
                    conn.answered += 1;
                    self.note_waited(conn, &asked.reply, keyed, asked.read_ns);
                }
                self.tell_behind(conn, sequence);
                self.compose_ready(conn);
            }
        }
    }

    /// Takes an answer that several shards give together.
    fn take_share(
        &mut self,
        conn: &mut Connection,
        sequence: u32,
        bytes: AskBytes<'_>,
        (answer, words): (&OwnedAnswer, &[u8]),
    ) {
        match conn.shares.add(sequence, answer, words) {
            Some((whole, words)) => self.take_answer(conn, sequence, bytes, &words, (whole, None)),
            // It only counts the shard.
            None => self.take_answer(conn, sequence, bytes, &[], (OwnedAnswer::Inspected, None)),
        }
    }

    pub(super) fn take_answer(
        &mut self,
        conn: &mut Connection,
        sequence: u32,
        bytes: AskBytes<'_>,
        value: &[u8],
        (answer, chain): (OwnedAnswer, Option<Box<LentChain>>),
    ) {
        let key = if matches!(answer, OwnedAnswer::Script) { name_of(bytes.value) } else { bytes.key };
        let keyed = (key, bytes.echo);
        let lent = chain.as_ref().map_or(0, |chain| lent_cost(chain.chain().len()));
        match conn.queue.answered(sequence, value.len().max(lent)) {
            Place::None => self.discard(chain),
            Place::Behind(asked) => {
                self.turn.forwarded.add(asked.asked_ns);
                if asked.free && conn.queue.composes() && chain.is_none() {
                    let answer = answer.answer(value, None);
                    self.note_waited(conn, &asked.reply, keyed, asked.read_ns);
                    return self.compose_behind(conn, (&asked, sequence), keyed, &answer);
                }
                let kept = Kept::copy(&asked, bytes, value, (answer, chain), &mut self.pool);
                conn.queue.fill_kept(sequence, kept);
            }
            Place::First(asked) => {
                self.turn.forwarded.add(asked.asked_ns);
                let answer = answer.answer(value, chain.as_deref());
                self.compose_first(conn, (asked.reply, asked.read_ns), keyed, &answer);
                self.discard(chain);
                self.tell_behind(conn, sequence);
                self.compose_ready(conn);
            }
        }
    }

    pub(super) fn take_released(&mut self, batch: &mut Batch) {
        batch.released.drain(..).for_each(|lent| self.shard.release(lent));
    }
}

#[cfg(test)]
mod tests;
