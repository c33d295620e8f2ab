//! Freed segments whose memory somebody may still read: they rest until the leases that were given before have ended.
//!
//! Eviction has to work further ahead for that. So as long as leases are asked for, as many segments as may rest are kept free, or at
//! rest, beyond those that writers need next; and no lease is given before half of them are. When so many rest no lease is given either,
//! and those that run end within a second. If there is nothing left to write to before that, readers are made to leave: a write
//! waits for nobody.

use super::leases::Leases;
use super::{LeaseLimits, Phase, RELOCATION_RESERVE, Revoke, Segments};

/// What became of leases and of segments that rested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RestCounts {
    pub(crate) given: u64,
    pub(crate) refused: u64,
    pub(crate) revoked: u64,
}

impl Segments {
    /// From now on leases may be given, and freed segments rest. `readers` is called when they have to leave.
    pub(crate) fn let_lease(&mut self, limits: LeaseLimits, readers: Box<dyn Revoke>) {
        if let Some(mut before) = self.leases.take() {
            before.revoke();
            while let Some(segment) = self.resting.pop_front(&mut self.headers) {
                self.reuse(segment);
            }
        }
        self.leases = Some(Box::new(Leases::new(limits, readers)));
    }

    /// Gives a lease at this time, milliseconds; returns its length. `None`: too little is free for segments to rest.
    pub(crate) fn lease(&mut self, now: u64) -> Option<u64> {
        self.pass(now);
        let leases = self.leases.as_mut()?;
        leases.ask();
        let resting_max = leases.resting_max(self.count_max);
        self.keep_room_to_rest();
        let is_room = self.available() > RELOCATION_RESERVE + resting_max / 2;
        let leases = self.leases.as_mut().filter(|_| is_room && self.resting.len() < resting_max);
        let given = leases.map(|leases| leases.give());
        *(if given.is_some() { &mut self.rest_counts.given } else { &mut self.rest_counts.refused }) += 1;
        given
    }

    /// It is so late, by the clock of leases, milliseconds.
    #[inline]
    pub(crate) fn pass(&mut self, now: u64) {
        if let Some(leases) = &mut self.leases {
            leases.pass(now);
            self.end_rests();
        }
    }

    /// Segments that rest.
    pub(crate) fn resting(&self) -> usize {
        self.resting.len()
    }

    pub(crate) fn rest_counts(&self) -> RestCounts {
        self.rest_counts
    }

    /// Whether eviction is to go on ahead of need, so that segments can rest.
    pub(crate) fn lacks_room_to_rest(&self) -> bool {
        self.ahead > self.kept_ahead
    }

    pub(super) fn begin_rest(&mut self, segment: u32) {
        self.headers[segment as usize].phase = Phase::Resting;
        self.resting.push_back(&mut self.headers, segment);
        self.leases.iter_mut().for_each(|leases| leases.begin_rest());
        self.end_rests();
    }

    /// Makes segments free that have rested; and all of them, if there is nothing else to write to.
    pub(crate) fn end_rests(&mut self) {
        let Some(mut leases) = self.leases.take() else { return };
        while self.resting.len() > 0 {
            if !leases.end_rest() {
                if self.available() > RELOCATION_RESERVE {
                    break;
                }
                leases.revoke();
                self.rest_counts.revoked += 1;
                continue;
            }
            if let Some(segment) = self.resting.pop_front(&mut self.headers) {
                self.reuse(segment);
            }
        }
        self.leases = Some(leases);
        self.keep_room_to_rest();
    }

    /// What rests is free soon, so it counts for what is kept free ahead.
    fn keep_room_to_rest(&mut self) {
        let Some(leases) = self.leases.as_ref() else { return };
        let wanted = if leases.is_asked() { leases.resting_max(self.count_max) } else { 0 };
        self.ahead = self.kept_ahead + wanted.saturating_sub(self.resting.len());
    }
}
