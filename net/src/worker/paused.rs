//! CLIENT PAUSE: which parts wait for its end.

use super::connection::Connection;
use super::state::WorkerState;
use crate::session::{About, Part, Work};
use crate::tunables::Pause;

impl WorkerState {
    /// Whether a part waits for the end of a pause. What needs no shard never does, so that a client can end one.
    pub(super) fn is_paused_for(&self, part: &Part<'_>) -> bool {
        match self.shared.tunables.paused(self.now) {
            None => false,
            Some(Pause::Changes) => match part.work {
                Work::Script { script, .. } => !script.read_only,
                Work::Transaction { changes } => changes,
                Work::Messages { about: About::Publish { .. }, .. } => true,
                _ => part.wished().is_some(),
            },
            Some(Pause::All) => matches!(
                part.work,
                Work::Keyed(_)
                    | Work::Flush { .. }
                    | Work::Databases(_)
                    | Work::Transaction { .. }
                    | Work::Joint { .. }
                    | Work::Script { .. }
                    | Work::Messages { about: About::Publish { .. }, .. }
                    | Work::Scan { .. }
                    | Work::Walk { .. }
                    | Work::ValueEnd
                    | Work::ValueEndWith { .. }
            ),
        }
    }

    /// A connection waits for the end of a pause: INFO tells of it.
    #[cold]
    pub(super) fn block(&self, conn: &mut Connection) {
        if !conn.is_blocked {
            conn.is_blocked = true;
            self.stats.blocked.add(1);
        }
    }

    pub(super) fn unblock(&self, conn: &mut Connection) {
        if conn.is_blocked {
            conn.is_blocked = false;
            self.stats.blocked.subtract(1);
        }
    }
}
