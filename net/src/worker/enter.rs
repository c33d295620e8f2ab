//! Clients that prove who they are.
//!
//! A right password is answered at once. A wrong one is answered [`DELAY_MS`] later at the earliest, and those of a shard one after the
//! other, [`LINE_MS`] apart: so neither one connection nor many try passwords fast and hear of it. Only those wait who were wrong. Who
//! would wait for more than [`LINE_MS_MAX`] is closed instead.

use super::connection::{Connection, Phase};
use super::state::WorkerState;
use crate::metrics::{CloseReason, CommandClass, OutcomeClass};
use crate::session::{Answer, Part};
use torc_engine::command::Millis;

const DELAY_MS: Millis = 250;
const LINE_MS: Millis = 10;
const LINE_MS_MAX: Millis = 5_000;
/// One in so many milliseconds is told in the log.
const LOG_MS: Millis = 10_000;

/// What a shard remembers of wrong passwords.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// When the next one is answered at the earliest, by the clock of time-outs.
    line_end: Millis,
    /// When the next one is told in the log.
    silent_until: Millis,
}

impl Gate {
    /// When a wrong password is answered; `None`: too many wait.
    fn put_off(&mut self, now: Millis) -> Option<Millis> {
        let at = self.line_end.max(now + DELAY_MS);
        (at - now <= LINE_MS_MAX).then(|| {
            self.line_end = at + LINE_MS;
            at
        })
    }

    fn is_told(&mut self, now: Millis) -> bool {
        let is_told = now >= self.silent_until;
        if is_told {
            self.silent_until = now + LOG_MS;
        }
        is_told
    }
}

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
        let is_through = match conn.refused_until {
            0 => self.shared.users.admit(user, password),
            until if self.ticks < until => {
                self.ask_later(conn);
                return false;
            }
            _ => false,
        };
        if !is_through && conn.refused_until == 0 {
            return self.put_off(conn);
        }
        conn.refused_until = 0;
        let outcome = if is_through { OutcomeClass::Done } else { OutcomeClass::Refused };
        self.stats.request(CommandClass::Local, outcome);
        conn.session.entered(is_through);
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
                conn.refused_until = at;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_passwords_are_answered_late_one_after_the_other_and_not_without_end() {
        let mut gate = Gate::default();
        assert_eq!(
            [gate.put_off(1000), gate.put_off(1000), gate.put_off(1005)],
            [1250, 1260, 1270].map(Some)
        );
        assert_eq!(gate.put_off(9000), Some(9250));
        let answered = (0..1000).filter_map(|_| gate.put_off(9000)).collect::<Vec<_>>();
        assert_eq!(
            (answered.len() as u64, answered.last()),
            ((LINE_MS_MAX - DELAY_MS) / LINE_MS, Some(&14_000))
        );
        assert_eq!(gate.put_off(9010), Some(14_010), "the line goes on as it is answered");
    }

    #[test]
    fn a_flood_of_them_does_not_fill_the_log() {
        let mut gate = Gate::default();
        assert!(gate.is_told(5));
        assert!((0..1000).all(|_| !gate.is_told(6)));
        assert!(gate.is_told(5 + LOG_MS));
    }
}
