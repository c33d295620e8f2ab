//! Freed segments rest as long as somebody may read them.

use super::*;
use crate::segments::{LeaseLimits, Phase, Revoke};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LEASE_MS: u64 = 100;
/// A lease has ended for sure.
const LATER: u64 = 2 * LEASE_MS;

/// How often readers had to leave.
#[derive(Debug, Default, Clone)]
struct Readers(Arc<AtomicU64>);

impl Revoke for Readers {
    fn revoke(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Readers {
    fn made_to_leave(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A shard of 64 segments, full, whose readers may have leases.
fn shard_with_readers() -> (Shard, Readers) {
    let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, ..ShardConfig::new(4 << 20) };
    let (mut shard, readers) = (Shard::new(config).unwrap(), Readers::default());
    let limits = LeaseLimits { lease_ms: LEASE_MS, resting_percent: 10 };
    shard.let_read_leases(limits, Box::new(readers.clone()));
    fill(&mut shard, 0..6000);
    (shard, readers)
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

/// Asks for a lease until there is one. Returns how often.
fn lease(shard: &mut Shard, now: u64) -> usize {
    let asked = (0..100).take_while(|_| {
        let is_refused = shard.read_lease(now).is_none();
        shard.maintain(NOW, 1000);
        is_refused
    });
    asked.count()
}

#[test]
fn without_a_lease_nothing_rests_and_no_memory_is_kept_for_it() {
    let (mut shard, readers) = shard_with_readers();
    let low = shard.low();
    fill(&mut shard, 6000..9000);
    assert_eq!((shard.segments.resting(), shard.low(), readers.made_to_leave()), (0, low, 0));
}

#[test]
fn a_freed_segment_is_used_again_when_the_leases_have_ended() {
    let (mut shard, readers) = shard_with_readers();
    assert!(lease(&mut shard, 0) > 0, "room is made first");
    fill(&mut shard, 6000..6100);
    let before = resting(&shard);
    assert!(!before.is_empty());
    // Room is made ahead all the same, from other segments.
    fill(&mut shard, 6100..6150);
    let after = resting(&shard);
    assert!(before.iter().all(|segment| after.contains(segment)), "{before:?} {after:?}");
    shard.audit().unwrap();
    shard.pass_read_leases(LATER);
    assert_eq!((resting(&shard), shard.segments.resting()), (vec![], 0));
    fill(&mut shard, 6150..9000);
    assert_eq!(readers.made_to_leave(), 0);
    shard.audit().unwrap();
}

#[test]
fn leases_go_on_while_less_is_freed_than_may_rest() {
    let (mut shard, readers) = shard_with_readers();
    lease(&mut shard, 0);
    for round in 0..100u64 {
        while shard.maintain(NOW, 1000) {}
        assert_eq!(shard.read_lease(round * LATER), Some(LEASE_MS), "round {round}");
        // Two segments a lease.
        fill(&mut shard, round * 120..round * 120 + 120);
    }
    assert_eq!(readers.made_to_leave(), 0);
    shard.audit().unwrap();
}

#[test]
fn no_lease_is_given_while_too_much_rests_and_readers_leave_before_a_write_waits() {
    let (mut shard, readers) = shard_with_readers();
    lease(&mut shard, 0);
    let resting_max = shard.segments.count_max() / 10;
    let mut number = 6000;
    while shard.segments.resting() < resting_max {
        fill(&mut shard, number..number + 10);
        number += 10;
    }
    assert_eq!((shard.read_lease(0), readers.made_to_leave()), (None, 0));
    let evicted = shard.stats().evictions.read();
    while readers.made_to_leave() == 0 {
        fill(&mut shard, number..number + 10);
        number += 10;
    }
    assert_eq!(shard.segments.resting(), 0, "all rest no more");
    let more = (shard.stats().evictions.read() - evicted) / 60;
    assert!(more < 24, "{more} segments were evicted in vain");
    assert_eq!(shard.stats().read_leases_revoked.read(), 0, "it is told once a second");
    shard.maintain(NOW + 1000, 0);
    let stats = shard.stats();
    let told = [&stats.read_leases_given, &stats.read_leases_revoked].map(|count| count.read());
    assert_eq!((told, stats.refused_memory.read()), ([1, 1], 0));
    assert!(stats.read_leases_refused.read() > 0);
    shard.audit().unwrap();
}

#[test]
fn a_flush_of_all_while_there_are_leases_refuses_no_write() {
    let (mut shard, _) = shard_with_readers();
    lease(&mut shard, 0);
    shard.flush(None, NOW);
    for second in 1..5 {
        while shard.maintain(NOW + second * 1000, 1000) {}
    }
    assert!(shard.segments.resting() > 40, "{} segments rest", shard.segments.resting());
    fill(&mut shard, 0..6000);
    assert_eq!(shard.stats().refused_memory.read(), 0);
    shard.audit().unwrap();
}

#[test]
fn readers_leave_when_others_take_their_place() {
    let (mut shard, readers) = shard_with_readers();
    lease(&mut shard, 0);
    fill(&mut shard, 6000..6150);
    assert!(shard.segments.resting() > 0);
    shard.let_read_leases(LeaseLimits::default(), Box::new(Readers::default()));
    assert_eq!((shard.segments.resting(), readers.made_to_leave()), (0, 1));
    shard.audit().unwrap();
}

#[test]
fn the_memory_comes_back_when_nobody_asks_for_leases_any_more() {
    let (mut shard, _) = shard_with_readers();
    let low = shard.low();
    lease(&mut shard, 0);
    assert!(shard.low() > low);
    shard.pass_read_leases(60_000);
    assert_eq!(shard.low(), low);
}
