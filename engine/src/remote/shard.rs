//! What a reader elsewhere keeps of a shard between its reads.

use super::head::Head;
use super::list::RemotePiece;
use super::places::{Chunks, Places};
use crate::mapped::Counts;
use crate::reader::{Doubt, Look};
use crate::shard::hash_key;
use crate::shared::layout::{CONSTANTS, Layout, LayoutError};
use rapidhash::v3::RapidSecrets;
use std::sync::atomic::AtomicU64;

/// So many looks end as something may be elsewhere, and the head is read anew: it may be so no more.
const ELSEWHERE_MAX: u8 = 64;

/// What a reader is told when it says hello, and what it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteOptions {
    /// Of the shard's memory, as it was told with its keys.
    pub epoch: u64,
    /// Keys of which the place is remembered, at most; 64 bytes each.
    pub places: usize,
}

/// What the reads of one reader came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoteCounts {
    pub looks: Counts,
    /// Hits that were found where they were before.
    pub remembered: u64,
    /// Checks that failed, and were tried once more.
    pub failed: u64,
    /// How often the head was read anew.
    pub heads: u64,
}

/// A shard on another machine. One thread uses it; any number of its reads may be under way.
#[derive(Debug)]
pub struct RemoteShard {
    pub(super) layout: Layout,
    pub(super) epoch: u64,
    secrets: RapidSecrets,
    pub(super) head: Head,
    pub(super) chunks: Chunks,
    pub(super) places: Places,
    elsewhere: u8,
    pub(super) counts: RemoteCounts,
}

impl RemoteShard {
    /// What is to be read before anything else: the words that [`RemoteShard::attach`] wants. They are constant.
    pub fn constants() -> RemotePiece {
        RemotePiece { at: 0, bytes: (CONSTANTS * size_of::<u64>()) as u32, into: 0 }
    }

    /// Takes the constants of a file that is `bytes` long, or longer by now.
    ///
    /// # Errors
    /// [`LayoutError`]: it is no shard's, or one of another version, or contradicts itself.
    pub fn attach(
        constants: &[AtomicU64],
        bytes: usize,
        options: &RemoteOptions,
    ) -> Result<RemoteShard, LayoutError> {
        let layout = Layout::read(constants, bytes)?;
        Ok(RemoteShard {
            layout,
            epoch: options.epoch,
            secrets: RapidSecrets::seed(layout.seed),
            head: Head::unknown(),
            chunks: Chunks::new(),
            places: Places::new(options.places),
            elsewhere: 0,
            counts: RemoteCounts::default(),
        })
    }

    /// The shard's number in its server.
    pub fn number(&self) -> u16 {
        self.layout.shard
    }

    /// The hash of a key, whatever database it is of. All shards of a server have the same.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        hash_key(&self.secrets, 0, key)
    }

    /// What the reads came to.
    pub fn counts(&self) -> RemoteCounts {
        self.counts
    }

    /// Counts a read that ends in doubt by itself: what it wanted to read is [not registered](Doubt::Unregistered), or the queue pair is
    /// [gone](Doubt::Gone).
    pub fn count_doubt(&mut self, doubt: Doubt) {
        self.counts.looks.doubts[doubt as usize] += 1;
    }

    /// Its queue pair is another one: leases that were given before are no more.
    #[cfg(test)]
    pub(crate) fn forget_places(&mut self) {
        self.places = Places::new(64);
    }

    pub(super) fn count(&mut self, look: &Result<Look<'_>, Doubt>) {
        match look {
            Ok(Look::Hit { .. }) => self.counts.looks.hits += 1,
            Ok(_) => self.counts.looks.misses += 1,
            Err(doubt) => self.count_doubt(*doubt),
        }
    }

    /// Something was elsewhere when the head was read.
    pub(super) fn count_elsewhere(&mut self) {
        self.elsewhere = (self.elsewhere + 1) % ELSEWHERE_MAX;
        if self.elsewhere == 0 {
            self.head.forget();
        }
    }
}
