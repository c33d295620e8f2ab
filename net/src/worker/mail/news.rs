//! What a shard tells another one that must be there before any answer which was given later: that keys have changed of which clients of the
//! other shard have copies.
//!
//! A ring beside the lanes. Whoever has got an answer of a shard, or of one that has got one of it, finds what it had told before:
//! it is shown at once, and whoever takes an answer looks here first. When there is no room for more, all that was told is replaced by a flag:
//! anything may have changed.

use super::mailbox::{Doorbell, Receiver, Sender, ring};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

/// Pieces of news on the way to one shard, and their bytes.
const PIECES: usize = 16;
const BYTES_MAX: usize = 256 << 10;

/// One shard's way to tell another.
pub(super) struct NewsLane {
    out: Sender<Vec<u8>>,
    come: Receiver<Vec<u8>>,
    /// More was to be told than there was room for.
    lost_out: Arc<AtomicBool>,
    lost_come: Arc<AtomicBool>,
    /// Not shown yet.
    open: Vec<u8>,
    is_lost: bool,
    bell: Arc<Doorbell>,
}

/// The ways among shards with these bells, a set for each shard: by the shard that a way leads to.
pub(super) fn among(bells: &[Arc<Doorbell>]) -> Vec<Vec<Option<NewsLane>>> {
    let mut sets: Vec<Vec<Option<NewsLane>>> =
        bells.iter().map(|_| bells.iter().map(|_| None).collect()).collect();
    for low in 0..bells.len() {
        for high in low + 1..bells.len() {
            let (of_low, of_high) = NewsLane::pair(&bells[low], &bells[high]);
            (sets[low][high], sets[high][low]) = (Some(of_low), Some(of_high));
        }
    }
    sets
}

impl NewsLane {
    /// Both ends of the ways between two shards, with the bells of each.
    fn pair(low: &Arc<Doorbell>, high: &Arc<Doorbell>) -> (NewsLane, NewsLane) {
        let ((low_out, high_come), (high_out, low_come)) = (ring(PIECES), ring(PIECES));
        let (to_high, to_low): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let lane =
            |out, come, lost_out: &Arc<AtomicBool>, lost_come: &Arc<AtomicBool>, bell: &Arc<Doorbell>| {
                NewsLane {
                    out,
                    come,
                    lost_out: lost_out.clone(),
                    lost_come: lost_come.clone(),
                    open: Vec::new(),
                    is_lost: false,
                    bell: bell.clone(),
                }
            };
        let ends = lane(low_out, low_come, &to_high, &to_low, high);
        (ends, lane(high_out, high_come, &to_low, &to_high, low))
    }

    /// Adds news, or that anything may have changed.
    pub(super) fn add(&mut self, news: Option<&[u8]>) {
        match news {
            Some(news) if self.open.len() + news.len() <= BYTES_MAX && !self.is_lost => {
                self.open.extend_from_slice(news);
            }
            _ => {
                self.is_lost = true;
                self.open.clear();
            }
        }
    }

    /// Shows the other shard what was added. True if it must be woken.
    pub(super) fn publish(&mut self) -> bool {
        if self.open.is_empty() && !self.is_lost {
            return false;
        }
        if !self.open.is_empty()
            && let Err(open) = self.out.send(std::mem::take(&mut self.open))
        {
            (self.open, self.is_lost) = (open, true);
            self.open.clear();
        }
        self.out.publish();
        if std::mem::take(&mut self.is_lost) {
            // Release: what the change was made with is seen by whoever sees this.
            self.lost_out.store(true, Release);
        }
        self.bell.ring()
    }

    /// What has come; `None` in it: anything may have changed.
    pub(super) fn next(&mut self) -> Option<Option<Vec<u8>>> {
        if let Some(news) = self.come.receive() {
            return Some(Some(news));
        }
        // Looked at first, as a locked instruction costs more.
        (self.lost_come.load(Acquire) && self.lost_come.swap(false, Acquire)).then_some(None)
    }

    pub(super) fn has_come(&mut self) -> bool {
        !self.come.is_empty() || self.lost_come.load(Acquire)
    }

    /// Memory that it holds, bytes.
    pub(super) fn bytes_held(&self) -> usize {
        self.open.capacity()
    }
}
