//! DEBUG SLEEP: a client is answered late, and others wait as in a pause. No thread stops.

use super::connection::Connection;
use super::state::WorkerState;
use crate::metrics::{CommandClass, OutcomeClass};
use crate::session::{Answer, Part};

impl WorkerState {
    /// Lets a client sleep, or goes on with that. False: it sleeps.
    #[cold]
    pub(super) fn begin_sleep(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        ms: u64,
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        // Among the commands of a transaction nobody sleeps: its keys are held.
        if !conn.in_transaction && conn.waits_until == 0 {
            conn.waits_until = self.ticks + ms.max(1);
            self.shared.tunables.pause(self.now, self.now + ms, true);
        }
        if self.ticks < conn.waits_until {
            self.ask_later(conn);
            return false;
        }
        conn.waits_until = 0;
        self.stats.request(CommandClass::Local, OutcomeClass::Done);
        self.finish(conn, part, &[], read_ns, Answer::Local);
        true
    }
}
