//! What is counted, where counting has gone wrong before.

use super::*;

/// Once only one item of those that growth of the index found no place for was taken out of the accounts.
#[test]
fn all_items_that_growth_of_the_index_loses_leave_the_accounts() {
    use crate::index::{PROBE_BUCKETS, SLOTS_PER_BUCKET};
    let mut shard = shard();
    // From 256 homes to 320: these are of the homes 0 and 1 before, and all of home 1 after.
    let at = |hundredths: u64| ((u128::from(hundredths) << 64) / 32_000) as u64;
    let candidates = |shard: &Shard, range: std::ops::Range<u64>, count: usize| -> Vec<[u8; 4]> {
        let keys = (0..u32::MAX).map(u32::to_le_bytes);
        keys.filter(|key| range.contains(&shard.hash(0, key))).take(count).collect()
    };
    let mut crowd = candidates(&shard, at(100)..at(124), (PROBE_BUCKETS + 1) * SLOTS_PER_BUCKET);
    crowd.extend(candidates(&shard, at(126)..at(199), SLOTS_PER_BUCKET));
    crowd.iter().for_each(|key| set(&mut shard, key, b"v"));
    assert_eq!((shard.index.buckets(), shard.stats().index_evictions.read()), (256 + PROBE_BUCKETS, 0));
    let others = candidates(&shard, at(16_000)..u64::MAX, 400);
    others.iter().for_each(|key| set(&mut shard, key, b"v"));
    while shard.maintain(NOW, 1000) {}
    assert_eq!(shard.index.buckets(), 320 + PROBE_BUCKETS);
    assert_eq!(shard.stats().index_evictions.read(), SLOTS_PER_BUCKET as u64);
    shard.audit().unwrap();
    let left = crowd.iter().chain(&others).filter(|key| get(&mut shard, &key[..], NOW).is_some()).count();
    assert_eq!(left, crowd.len() + others.len() - SLOTS_PER_BUCKET);
}

/// Once the sum that the mean is made from overflowed, where segments are large and expiries far.
#[test]
fn the_mean_expiry_of_the_largest_segment_with_the_farthest_expiries_is_far() {
    let config = ShardConfig { now: NOW, segment_bytes: 16 << 20, ..ShardConfig::new(256 << 20) };
    let mut shard = Shard::new(config).unwrap();
    for expiry in [Millis::MAX, Millis::MAX - 1, 1 << 62, NOW + (1 << 45)] {
        for number in 0..5u32 {
            let write = Write { expiry: Expiry::At(expiry), ..Write::set(&[1; 4_000_000]) };
            ask(&mut shard, &number.to_le_bytes(), Op::Write(write), NOW);
        }
        for header in shard.segments.headers().iter().filter(|header| header.live_items > 0) {
            // The weight of an item counts up to 2^31 s.
            assert!(header.expiry_mean() >= NOW + (1 << 31) * 999, "{header:?}");
        }
        shard.maintain(NOW + 1000, 0);
        assert_eq!(shard.stats().segments_compacted.read(), 0, "nothing has expired");
    }
}
