//! Freed segments rest as long as somebody may read them.

use super::*;
use crate::segments::{Phase, Rest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Readers that are done with all segments below one, and those they were made to leave.
#[derive(Debug, Default, Clone)]
struct Readers {
    done_below: Arc<AtomicU64>,
    made_to_leave: Arc<AtomicU64>,
}

impl Rest for Readers {
    fn begin(&mut self, _number: u64) {}

    fn is_unread(&mut self, number: u64) -> bool {
        number < self.done_below.load(Ordering::Relaxed)
    }

    fn end(&mut self, number: u64) {
        self.made_to_leave.store(number + 1, Ordering::Relaxed);
    }
}

fn fill(shard: &mut Shard, numbers: std::ops::Range<u64>) {
    for number in numbers {
        set(shard, &number.to_le_bytes(), &[7; 1000]);
    }
}

fn resting(shard: &Shard) -> Vec<(usize, u64)> {
    let headers = shard.segments.headers().iter().enumerate();
    let resting = headers.filter(|(_, header)| header.phase == Phase::Resting);
    resting.map(|(segment, header)| (segment, header.sequence)).collect()
}

#[test]
fn a_freed_segment_is_used_again_when_its_readers_are_done() {
    let (mut shard, readers) = (shard(), Readers::default());
    shard.let_rest(Box::new(readers.clone()));
    let mut number = 0;
    while shard.segments.resting() < 3 {
        fill(&mut shard, number..number + 10);
        number += 10;
    }
    let before = resting(&shard);
    // Room is made ahead all the same, from other segments.
    fill(&mut shard, number..number + 20);
    let after = resting(&shard);
    assert!(before.iter().all(|segment| after.contains(segment)), "{before:?} {after:?}");
    shard.audit().unwrap();
    readers.done_below.store(u64::MAX, Ordering::Relaxed);
    shard.maintain(NOW, 0);
    assert_eq!((resting(&shard), shard.segments.resting()), (vec![], 0));
    fill(&mut shard, number..number + 1000);
    assert_eq!(readers.made_to_leave.load(Ordering::Relaxed), 0);
    shard.audit().unwrap();
}

#[test]
fn readers_that_are_never_done_keep_a_twentieth_of_the_segments() {
    let (mut shard, readers) = (shard(), Readers::default());
    shard.let_rest(Box::new(readers.clone()));
    let mut most = 0;
    for round in 0..400 {
        fill(&mut shard, round * 100..round * 100 + 100);
        most = most.max(shard.segments.resting());
    }
    assert_eq!(most, shard.segments.count_max() / 20);
    assert!(readers.made_to_leave.load(Ordering::Relaxed) > 300, "all others were used again");
    shard.audit().unwrap();
}
