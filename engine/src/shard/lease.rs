//! Memory that somebody elsewhere reads, and until when: see `segments/leases.rs` and [`crate::remote`].

use super::Shard;
use crate::remote::RemoteMemory;
use crate::segments::{LeaseLimits, Revoke};
use crate::shared::Published;
use std::sync::atomic::{AtomicU64, Ordering};

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

    /// The memory that readers elsewhere may be shown ([`crate::remote`]); `None` if this shard's is no file.
    pub fn remote_memory(&self) -> Option<RemoteMemory> {
        self.segments.file().map(|file| RemoteMemory::of(file))
    }

    /// What readers elsewhere were told of this memory, where it is and by which keys it is read, is over when this changes.
    pub fn set_epoch(&self, epoch: u64) {
        if let Some(file) = self.segments.file() {
            file.epoch()[0].store(epoch, Ordering::Release);
        }
    }

    /// Where it shows readers elsewhere when the server's clock began.
    pub(crate) fn clock_word(&self) -> Option<Published<[AtomicU64; 1]>> {
        self.segments.file().map(|file| file.clock())
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
