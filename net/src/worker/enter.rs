//! Clients that prove who they are: see [`gate`](super::gate).

#[cfg(test)]
use super::bug::Bug;
use super::connection::{Connection, Phase};
use super::state::WorkerState;
use crate::metrics::{CloseReason, CommandClass, OutcomeClass};
use crate::session::{Answer, Part};

impl WorkerState {
    /// Looks at a password. False: its answer waits.
    #[cold]
    pub(super) fn begin_enter(
        &mut self,
        conn: &mut Connection,
        part: &Part<'_>,
        (user, password): (&[u8], &[u8]),
        read_ns: u64,
    ) -> bool {
        if !conn.queue.is_empty() {
            return false;
        }
        let is_through = match conn.waits_until {
            0 => self.shared.users.admit(user, password),
            until if self.ticks < until => {
                self.ask_later(conn);
                return false;
            }
            _ => false,
        };
        #[cfg(test)]
        let is_through = is_through || conn.waits_until == 0 && self.strikes(Bug::OpenGate);
        if !is_through && conn.waits_until == 0 {
            return self.put_off(conn);
        }
        conn.waits_until = 0;
        let outcome = if is_through { OutcomeClass::Done } else { OutcomeClass::Refused };
        self.stats.request(CommandClass::Local, outcome);
        self.stats.auth_successes.add(u64::from(is_through));
        let is_let_in = is_through;
        #[cfg(test)]
        let is_let_in = is_let_in || self.has(Bug::MistakenGate);
        conn.session.entered(is_let_in);
        self.finish(conn, part, &[], read_ns, Answer::Entered(is_through));
        true
    }

    /// Lets the answer to a wrong password wait. True: there is none.
    fn put_off(&mut self, conn: &mut Connection) -> bool {
        self.stats.auth_failures.add(1);
        if self.gate.is_told(self.ticks) {
            tracing::warn!(shard = self.number, peer = %conn.peer, "a client gave a wrong password; others within 10 s are not told");
        }
        match self.gate.put_off(self.ticks) {
            Some(at) => {
                conn.waits_until = at;
                #[cfg(test)]
                if self.has(Bug::HastyGate) {
                    conn.waits_until = 1;
                }
                #[cfg(test)]
                if self.has(Bug::LostTry) {
                    return false;
                }
                self.ask_later(conn);
                false
            }
            None => {
                conn.phase = Phase::Finishing(CloseReason::Unauthenticated);
                true
            }
        }
    }

    /// Whether a client that has given no password may keep so much input, or has had its time to give one.
    pub(super) fn is_out_of_patience(&self, conn: &Connection) -> bool {
        let ms_max = self.settings.auth_ms_max;
        self.settings.limits.has_password
            && ms_max > 0
            && conn.phase == Phase::Open
            && self.ticks.saturating_sub(conn.accepted_at) > ms_max
            && conn.session.is_locked()
    }
}
