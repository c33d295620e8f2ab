//! A worker that has just worked looks for more before it sleeps: `--spin`.
//!
//! Falling asleep and being woken cost both sides more than a request does. A worker that spins has not announced that it
//! sleeps, so other shards need no system call to reach it either. It spins only after work, and only so long: an idle
//! worker sleeps.

/// How long a worker looks for more, and whether it does.
#[derive(Debug)]
pub(super) struct Spin {
    /// 0: it sleeps at once.
    ns: u64,
    /// Something was found since the time was counted last.
    found: bool,
    until_ns: u64,
    looking: bool,
}

impl Spin {
    pub(super) fn new(ns: u64) -> Spin {
        Spin { ns, found: false, until_ns: 0, looking: false }
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.ns > 0
    }

    /// Whether the worker would sleep if it did not spin: only news can be worth a turn.
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }

    /// The transport or another shard had something.
    pub(super) fn found(&mut self) {
        self.found = true;
    }

    /// Whether the worker looks once more rather than sleeps. `may_wait`: it has nothing to do.
    pub(super) fn goes_on(&mut self, may_wait: bool, now_ns: u64) -> bool {
        if std::mem::take(&mut self.found) {
            self.until_ns = now_ns + self.ns;
        }
        self.looking = may_wait && now_ns < self.until_ns;
        self.looking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_from_the_last_work_on_and_no_longer() {
        let mut spin = Spin::new(100);
        assert!(!spin.goes_on(true, 5), "there was no work");
        spin.found();
        assert!(spin.goes_on(true, 10) && spin.goes_on(true, 109));
        assert!(!spin.goes_on(true, 110) && !spin.goes_on(true, 1_000));
        spin.found();
        assert!(spin.goes_on(true, 2_000) && spin.goes_on(true, 2_099) && !spin.goes_on(true, 2_100));
    }

    #[test]
    fn a_worker_with_something_to_do_does_not_look() {
        let mut spin = Spin::new(100);
        spin.found();
        assert!(!spin.goes_on(false, 10) && !spin.is_looking());
        assert!(spin.goes_on(true, 20) && spin.is_looking(), "the time goes on");
        assert!(!spin.goes_on(true, 110));
    }
}
