//! Memory that somebody elsewhere reads, and until when: see `segments/leases.rs` and [`crate::remote`].

use super::Shard;
use crate::segments::{LeaseLimits, Revoke};

impl Shard {
    /// From now on leases may be given to readers elsewhere, and a freed segment rests until those have ended that were given before.
    /// `readers` is called when they have to leave sooner.
    pub fn let_read_leases(&mut self, limits: LeaseLimits, readers: Box<dyn Revoke>) {
        self.segments.let_lease(limits, readers);
    }

    /// Gives a reader a lease, at the machine's time in milliseconds, which must not step. Returns its length: the reader counts it from
    /// before it asked. `None`: too much rests, or too little is free for it.
    pub fn read_lease(&mut self, now: u64) -> Option<u64> {
        let given = self.segments.lease(now);
        self.publish_rest();
        given
    }

    /// Tells the time of leases, once a turn.
    #[inline]
    pub fn pass_read_leases(&mut self, now: u64) {
        self.segments.pass(now);
    }

    pub(super) fn publish_rest(&self) {
        let (counts, resting) = (self.segments.rest_counts(), self.segments.resting());
        self.stats.read_leases_given.set(counts.given);
        self.stats.read_leases_refused.set(counts.refused);
        self.stats.read_leases_revoked.set(counts.revoked);
        self.stats.segments_resting.set(resting as u64);
        self.stats.bytes_resting.set((resting * self.segments.segment_bytes()) as u64);
    }
}
