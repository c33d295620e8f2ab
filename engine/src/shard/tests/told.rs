//! What a listener is told.

use super::*;
use std::sync::{Arc, Mutex};

type Told = Arc<Mutex<Vec<(Cause, Vec<u8>, u64)>>>;

#[derive(Debug)]
struct Ear(Told);

impl Listener for Ear {
    fn changed(&mut self, change: &Change<'_>) {
        self.0.lock().unwrap().push((change.cause, change.key.to_vec(), change.version));
    }
}

fn listened(memory_bytes: u64) -> (Shard, Told) {
    let (mut shard, told) = (shard_of(memory_bytes), Told::default());
    shard.listen(Box::new(Ear(told.clone())));
    (shard, told)
}

fn take(told: &Told) -> Vec<(Cause, Vec<u8>, u64)> {
    std::mem::take(&mut *told.lock().unwrap())
}

/// Once deletions, and expiries that a command gave, drew no version: nothing could order them against a write.
#[test]
fn every_way_to_remove_an_item_by_command_draws_a_version_and_is_told() {
    let over = Expiry::At(NOW - 1);
    let expire = Expire { expiry: over, condition: ExpireCondition::Always, leases: false };
    let count = Arithmetic {
        delta: Delta::Increment(1),
        initial: None,
        expiry: over,
        compare: None,
        token: None,
        leases: false,
    };
    let removals = [
        Op::Delete(Delete::default()),
        Op::Expire(expire),
        Op::Read(Read { expiry: over, ..Read::default() }),
        Op::Write(Write { expiry: over, ..Write::set(b"2") }),
        Op::Arithmetic(count),
    ];
    let (mut shard, told) = listened(8 << 20);
    let mut newest = 0;
    for op in removals {
        set(&mut shard, b"k", b"1");
        let version = match ask(&mut shard, b"k", op, NOW) {
            Outcome::Deleted { version, .. } => Some(version),
            Outcome::Touched { meta } | Outcome::Stored { meta, .. } | Outcome::Counter { meta, .. } => {
                Some(meta.version)
            }
            Outcome::Item(_) => None,
            other => panic!("{other:?}"),
        };
        let told = take(&told);
        let [(Cause::Written, _, written), (Cause::Deleted, key, deleted)] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(newest < *written && written < deleted && key == b"k", "{told:?}");
        assert!(version.is_none_or(|version| version == *deleted), "the answer has the version, too");
        newest = *deleted;
    }
}

#[test]
fn every_cause_is_told_once() {
    let (mut shard, told) = listened(8 << 20);
    let brief = Write { expiry: Expiry::At(NOW + 500), ..Write::set(b"v") };
    ask(&mut shard, b"brief", Op::Write(brief), NOW);
    let written = take(&told)[0].2;
    assert_eq!(get(&mut shard, b"brief", NOW + 500), None);
    assert_eq!(take(&told), [(Cause::Expired, b"brief".to_vec(), written)]);
    // Nine of ten items go, so the others are moved together.
    (0..2_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 100]));
    for number in (0..2_000u32).filter(|number| !number.is_multiple_of(10)) {
        ask(&mut shard, &number.to_le_bytes(), Op::Delete(Delete::default()), NOW);
    }
    take(&told);
    drain(&mut shard, NOW);
    let moved = take(&told);
    assert!(moved.len() >= 100 && moved.iter().all(|(cause, ..)| *cause == Cause::Moved), "{}", moved.len());
    shard.flush(None, NOW + 5_000);
    let flushed = take(&told);
    assert!(matches!(flushed[..], [(Cause::Flushed, ..)]) && flushed[0].2 > moved[0].2);
    drain(&mut shard, NOW + 5_000);
    assert_eq!(take(&told), [], "what a flush has forgotten is told with the flush");
    (0..90_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 100]));
    let evicted = take(&told).into_iter().filter(|(cause, ..)| *cause == Cause::Evicted).count();
    let stats = shard.stats();
    assert_eq!(evicted as u64, stats.evictions.read() + stats.index_evictions.read());
    assert!(evicted > 10_000);
}
