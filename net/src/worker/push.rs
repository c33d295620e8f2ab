//! Frames that answer no request, on their way out between answers.

use super::connection::Phase;
use super::owned::Kept;
use super::state::WorkerState;
use crate::session::{Answer, Part, Push, ReplyKind, Work};
use crate::transport::ConnId;

impl WorkerState {
    /// Sends a frame behind the answers of all that the client's requests have done so far. False: the client cannot be
    /// told, since it is gone, its protocol has no such frames, or it does not take what waits for it already.
    #[cfg_attr(not(test), expect(dead_code, reason = "no command subscribes to anything yet"))]
    pub(super) fn push(&mut self, id: ConnId, push: Push<'_>) -> bool {
        let output_bytes_max = self.output_bytes_max();
        let Some(mut conn) = self.connections.take(id) else { return false };
        let room = conn.has_room(output_bytes_max) && conn.session.bytes_held() <= output_bytes_max;
        let taken = room && conn.phase == Phase::Open && conn.session.takes_pushes();
        if taken && conn.queue.is_empty() {
            conn.output.prepare(|| self.pool.take());
            conn.session.push(push, &mut conn.output);
        } else if taken {
            let part = Part { work: Work::Local, reply: ReplyKind::Push, echo: push.bytes(), once: None };
            let kept = Kept::take_over(&part, self.turn.began_ns, &[], Answer::Local, &mut self.pool);
            conn.queue.keep(kept);
        }
        self.budget.charge(&mut conn);
        self.connections.put(conn);
        self.mark_dirty(id);
        taken
    }
}

#[cfg(test)]
mod tests;
