//! Frames that answer no request, on their way out between answers.
//!
//! A client that does not take what it is sent so is closed: nobody waits for it, and what it has missed it would never know.

use super::budget::{Pressure, SHORT_BYTES};
use super::connection::{Connection, Phase};
use super::owned::Kept;
use super::state::WorkerState;
use crate::session::{Answer, Part, Push, ReplyKind, Work};
use crate::transport::ConnId;

/// While clients hold more than they may, a client that has nothing else waiting is pushed so many bytes.
const OVERDRAWN_BYTES: usize = 2 << 10;

impl WorkerState {
    /// Sends a frame behind the answers of all that the client's requests have done so far. False: the client cannot be
    /// told, since it is gone, its protocol has no such frames, or it does not take what waits for it already.
    pub(super) fn push(&mut self, id: ConnId, push: Push<'_>) -> bool {
        let Some(mut conn) = self.connections.take(id) else { return false };
        let taken = self.push_to(&mut conn, push);
        self.connections.put(conn);
        taken
    }

    /// As [`WorkerState::push`], to a client that was taken out.
    pub(super) fn push_to(&mut self, conn: &mut Connection, push: Push<'_>) -> bool {
        if !self.may_push(conn, push) {
            return false;
        }
        match conn.queue.is_empty() {
            true => self.write_push(conn, push),
            false => self.keep_push(conn, push),
        }
        self.budget.charge(conn);
        true
    }

    /// As [`WorkerState::push_to`], before all answers that the client waits for. False: it cannot be told.
    pub(super) fn push_ahead(&mut self, conn: &mut Connection, push: Push<'_>) -> bool {
        if !self.may_push(conn, push) {
            return false;
        }
        self.write_push(conn, push);
        self.budget.charge(conn);
        true
    }

    /// Whether a client can be told. If it does not take what waits for it, it is to be closed.
    fn may_push(&mut self, conn: &mut Connection, push: Push<'_>) -> bool {
        if conn.phase != Phase::Open || conn.lags || !conn.session.takes_pushes() {
            return false;
        }
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(conn.id);
        }
        conn.lags = !self.takes_more(conn, push.bytes().len());
        !conn.lags
    }

    fn write_push(&mut self, conn: &mut Connection, push: Push<'_>) {
        conn.output.prepare(|| self.pool.take_for(push.bytes().len()));
        conn.session.push(push, &mut conn.output);
    }

    fn keep_push(&mut self, conn: &mut Connection, push: Push<'_>) {
        let reply = ReplyKind::Push(push.about());
        let part = Part { work: Work::Local, reply, echo: push.bytes(), once: None };
        let kept = Kept::take_over(&part, self.turn.began_ns, &[], Answer::Local, &mut self.pool);
        conn.queue.keep(kept);
    }

    /// Whether so many bytes may wait for a client beside what does. Where memory is short, that depends on whether it has taken
    /// what it was sent last.
    fn takes_more(&self, conn: &Connection, bytes: usize) -> bool {
        let held = conn.output.bytes() + conn.queue.content_bytes();
        if self.budget.is_overdrawn() {
            return held == 0 && bytes <= OVERDRAWN_BYTES;
        }
        let max = match self.budget.pressure() {
            _ if !conn.sending => self.settings.subscriber_bytes_max,
            Pressure::None => self.settings.subscriber_bytes_max,
            Pressure::Short => SHORT_BYTES,
            Pressure::Exhausted => 0,
        };
        held <= max
    }
}

#[cfg(test)]
mod tests;
