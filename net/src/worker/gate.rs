//! Clients that prove who they are.
//!
//! A right password is answered at once. A wrong one is answered [`DELAY_MS`] later at the earliest, and those of a shard one after the
//! other, [`LINE_MS`] apart: so neither one connection nor many try passwords fast and hear of it. Only those wait who were wrong. Who
//! would wait for more than [`LINE_MS_MAX`] is closed instead.

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
    /// Which are told in the log.
    told: Seldom,
}

/// What clients can bring about is told in the log now and then.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    silent_until: Millis,
}

impl Seldom {
    pub(super) fn is_due(&mut self, now: Millis) -> bool {
        let is_due = now >= self.silent_until;
        if is_due {
            self.silent_until = now + LOG_MS;
        }
        is_due
    }
}

impl Gate {
    /// When a wrong password is answered; `None`: too many wait.
    pub(super) fn put_off(&mut self, now: Millis) -> Option<Millis> {
        let at = self.line_end.max(now + DELAY_MS);
        (at - now <= LINE_MS_MAX).then(|| {
            self.line_end = at + LINE_MS;
            at
        })
    }

    pub(super) fn is_told(&mut self, now: Millis) -> bool {
        self.told.is_due(now)
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
