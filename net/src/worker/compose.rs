//! Answers in the protocol's words: those whose turn it is, and those that can be written before theirs.

use super::connection::{Connection, Phase};
use super::owned::Kept;
use super::pool::Pool;
use super::queue::{Asked, Waiting};
use super::state::WorkerState;
use super::view::View;
use super::view::context;
use crate::session::{Answer, Part, ReplyKind, Work};
use torc_engine::command::Millis;

impl WorkerState {
    /// Composes the answer to the part that was first in the queue, and was read by the turn of `read_ns`.
    pub(super) fn compose_first(
        &mut self,
        conn: &mut Connection,
        (reply, read_ns): (ReplyKind, u64),
        (key, echo): (&[u8], &[u8]),
        answer: &Answer<'_>,
    ) {
        if matches!(reply, ReplyKind::Step) {
            return conn.take_step(answer).into_iter().for_each(|lent| self.release(lent));
        }
        if conn.phase != Phase::Open {
            return;
        }
        if !matches!(reply, ReplyKind::Push(_)) {
            self.turn.waited.add(read_ns);
            conn.answered += 1;
            self.note_waited(conn, &reply, (key, echo), read_ns);
        }
        conn.output.prepare(|| self.pool.take());
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        conn.session.compose(reply, key, echo, answer, &context, &mut conn.output);
        self.count_errors(conn);
    }

    /// Composes another shard's answer before its turn.
    pub(super) fn compose_behind(
        &mut self,
        conn: &mut Connection,
        (asked, sequence): (&Asked, u32),
        (key, echo): (&[u8], &[u8]),
        answer: &Answer<'_>,
    ) {
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        let words = conn.queue.words(|| self.pool.take());
        let before = words.len();
        conn.output.apart(words, |out| conn.session.compose(asked.reply, key, echo, answer, &context, out));
        conn.queue.fill_composed(sequence, before, asked.read_ns);
        self.count_errors(conn);
    }

    /// Writes all answers whose turn has come.
    pub(super) fn compose_ready(&mut self, conn: &mut Connection) {
        loop {
            let sequence = conn.queue.first();
            let Some(waiting) = conn.queue.pop_ready() else { break };
            match waiting {
                Waiting::Asked(_) => {}
                Waiting::Composed(_) if conn.phase != Phase::Open => {}
                Waiting::Composed(composed) => {
                    conn.output.prepare(|| self.pool.take());
                    conn.output.tail().extend_from_slice(conn.queue.words_of(&composed));
                    self.turn.waited.add_many(composed.read_ns, u64::from(composed.parts));
                    conn.answered += u64::from(composed.parts);
                }
                Waiting::Kept(kept) => {
                    let reply = (kept.reply, kept.read_ns);
                    self.compose_first(conn, reply, (kept.key(), kept.echo()), &kept.answer());
                    if kept.closes && conn.phase == Phase::Open {
                        self.end_by_answer(conn, &kept.reply);
                    }
                    self.drop_kept(kept);
                }
            }
            self.tell_behind(conn, sequence);
        }
        conn.queue.unused_words().into_iter().for_each(|words| self.pool.give(words));
    }

    /// Frees what a kept answer holds, after it was composed or because nobody wants it.
    #[expect(clippy::boxed_local, reason = "it is taken out of its box here")]
    pub(super) fn drop_kept(&mut self, kept: Box<Kept>) {
        let (bytes, chain) = kept.into_parts();
        self.pool.give(bytes);
        self.discard(chain);
    }
}

/// Puts an answer behind others that are not there yet: composed if its words are free, else as it is.
pub(super) fn wait_behind(
    conn: &mut Connection,
    part: &Part<'_>,
    (key, answer, read_ns): (&[u8], Answer<'_>, u64),
    pool: &mut Pool,
    (now, view): (Millis, &View),
) {
    let free = conn.session.free(&part.reply).is_some() && !matches!(part.work, Work::Close);
    if !free || !conn.queue.composes() || answer.is_lent() {
        return conn.queue.keep(Kept::take_over(part, read_ns, key, answer, pool));
    }
    let context = context(conn.number, &conn.peer, &conn.local, now, view);
    let words = conn.queue.words(|| pool.take());
    let before = words.len();
    conn.output.apart(words, |out| conn.session.compose(part.reply, key, part.echo, &answer, &context, out));
    conn.queue.composed(before, read_ns, conn.tracking.is_some());
}

#[cfg(test)]
mod tests {
    use crate::session::{Answer, Protocol, Scratch};
    use crate::worker::testing::{CONN, NOW, resp, with_client};
    use torc_engine::command::Outcome;

    #[test]
    fn a_command_of_which_several_values_fail_has_failed_once() {
        let mut state = with_client(Protocol::Resp);
        let mut conn = state.connections.take(CONN).expect("it is there");
        for failing in [0, 1, 3] {
            let input = resp(&["MGET", "a", "b", "c", "d"]);
            let (scratch, mut parts) = (Scratch::default(), Vec::new());
            conn.session.parse(&input, &scratch, NOW, &state.settings.limits, &mut parts, 64);
            for (place, part) in parts.iter().enumerate() {
                let fails = place >= parts.len() - failing;
                let answer =
                    if fails { Answer::Busy { limit: "a-limit" } } else { Answer::Outcome(Outcome::Miss) };
                state.compose(&mut conn, part, &[], &answer);
            }
            let failed = conn.output.take_errors().map_or(0, |errors| errors.failed.len());
            assert_eq!((parts.len(), failed), (4, failing.min(1)));
        }
        state.connections.put(conn);
    }
}
