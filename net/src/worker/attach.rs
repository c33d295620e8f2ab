//! Connections that go on by something else than their socket, and those that do through rings in shared memory.

use super::attaching::{Attaching, Wants};
use super::connection::{Connection, Phase};
use super::state::WorkerState;
use super::view::context;
use crate::metrics::{CloseReason, CommandClass, OutcomeClass};
use crate::session::{Answer, AttachRefusal, Part, Piece, ReplyKind, Shares};
use crate::transport::{NotAttached, Transport};
use torc_shm::WORDS_BYTES;

impl WorkerState {
    /// A client asks for rings. It is answered when nothing else is due to it: its socket says nothing more then.
    #[cold]
    pub(super) fn begin_attach(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        reads: bool,
        read_ns: u64,
    ) -> bool {
        if conn.attaching.is_some() || conn.ring_bytes > 0 {
            self.refuse_attach(AttachRefusal::Already);
            self.finish(conn, part, &[], read_ns, Answer::Attach(Err(AttachRefusal::Already)));
        } else {
            let wants = Wants::Rings { reads };
            conn.attaching = Some(Box::new(Attaching { reply: part.reply, wants, read_ns }));
        }
        true
    }

    /// Lets a client that has asked for it go on otherwise, if nothing is due to it any more.
    #[cold]
    pub(super) fn move_if_idle(&mut self, conn: &mut Connection, transport: &mut impl Transport) {
        if !conn.is_idle() || conn.phase != Phase::Open {
            return;
        }
        let Some(attaching) = conn.attaching.take() else { return };
        conn.answered += 1;
        self.turn.waited.add(attaching.read_ns);
        match attaching.wants {
            Wants::Rings { reads } => self.attach(conn, (attaching.reply, reads), transport),
            Wants::Pair(client) => self.pair(conn, (attaching.reply, &client), transport),
        }
    }

    fn attach(
        &mut self,
        conn: &mut Connection,
        (reply, reads): (ReplyKind, bool),
        transport: &mut impl Transport,
    ) {
        let ring_bytes = self.settings.ring_bytes;
        let why = if ring_bytes == 0 {
            AttachRefusal::Off
        } else if !self.budget.admits_rings(2 * (WORDS_BYTES + ring_bytes)) {
            AttachRefusal::Memory
        } else {
            let answer = self.compose_attach(conn, reply, &Answer::Attach(Ok(Shares { ring_bytes, reads })));
            match transport.attach(conn.id, &answer, reads) {
                Ok(bytes) => {
                    conn.ring_bytes = bytes;
                    self.budget.rings += bytes;
                    self.stats.request(CommandClass::Local, OutcomeClass::Done);
                    return;
                }
                Err(NotAttached::Broken(error)) => {
                    tracing::info!(shard = self.number, peer = %conn.peer, "a client got no rings: {error}");
                    return self.close(conn, CloseReason::Client, transport);
                }
                Err(NotAttached::Failed(error)) => {
                    tracing::info!(shard = self.number, peer = %conn.peer, "a client got no rings: {error}");
                    AttachRefusal::Kernel
                }
                Err(NotAttached::Off) => AttachRefusal::Off,
                Err(NotAttached::Already) => AttachRefusal::Already,
                Err(NotAttached::NotLocal) => AttachRefusal::NotLocal,
                Err(NotAttached::Forbidden) => AttachRefusal::User,
            }
        };
        self.refuse_attach(why);
        let words = self.compose_attach(conn, reply, &Answer::Attach(Err(why)));
        conn.output.prepare(|| self.pool.take());
        conn.output.tail().extend_from_slice(&words);
    }

    fn refuse_attach(&self, why: AttachRefusal) {
        self.stats.request(CommandClass::Local, OutcomeClass::Refused);
        self.stats.attach_refused(why);
    }

    /// The answer by itself: the connection's output is empty.
    pub(super) fn compose_attach(
        &self,
        conn: &mut Connection,
        reply: ReplyKind,
        answer: &Answer<'_>,
    ) -> Vec<u8> {
        let context = context(conn.number, &conn.peer, &conn.local, self.now, &self.view);
        conn.session.compose(reply, &[], &[], answer, &context, &mut conn.output);
        match conn.output.take(Vec::new) {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => Vec::new(),
        }
    }
}
