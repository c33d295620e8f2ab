//! Memory that is full, given back and used again.

use super::*;

#[test]
fn a_full_shard_keeps_taking_and_stays_in_its_memory() {
    let mut shard = shard_of(4 << 20);
    for number in 0..200_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[number as u8; 100]);
        let stats = shard.stats();
        assert!(stats.bytes_segments.read() + stats.bytes_index.read() <= 4 << 20);
    }
    assert!(shard.stats().evictions.read() > 100_000);
    assert!(shard.stats().items.read() > 20_000);
    assert_eq!(get(&mut shard, &199_999u32.to_le_bytes(), NOW).unwrap(), [199_999u32 as u8; 100]);
    assert_eq!(shard.stats().index_evictions.read(), 0);
}

#[test]
fn expired_segments_are_reused_within_a_second() {
    let mut shard = shard_of(4 << 20);
    for number in 0..20_000u32 {
        let write = Write { expiry: Expiry::At(NOW + 5_000), ..Write::set(&[1; 100]) };
        ask(&mut shard, &number.to_le_bytes(), Op::Write(write), NOW);
    }
    let used = shard.stats().bytes_segments.read();
    while shard.maintain(NOW + 4_000, 1000) {}
    assert_eq!(shard.stats().bytes_expired.read(), 0);
    while shard.maintain(NOW + 6_000, 1000) {}
    while shard.maintain(NOW + 7_000, 1000) {}
    assert!(used > 1 << 20);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
    assert_eq!(shard.stats().bytes_live.read(), 0);
    assert_eq!(shard.stats().items.read(), 0);
    assert_eq!(shard.stats().expirations.read(), 20_000);
}

#[test]
fn a_flush_forgets_at_once_and_gives_the_memory_back() {
    let mut shard = shard();
    for number in 0..10_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 100]);
    }
    shard.flush(None, NOW + 1);
    assert_eq!(shard.stats().items.read(), 0);
    assert_eq!(get(&mut shard, &5u32.to_le_bytes(), NOW + 1), None);
    set(&mut shard, b"new", b"value");
    while shard.maintain(NOW + 2_000, 1000) {}
    while shard.maintain(NOW + 3_000, 1000) {}
    assert_eq!(shard.stats().bytes_segments.read(), 64 << 10);
    assert_eq!(get(&mut shard, b"new", NOW + 3_000).unwrap(), b"value");

    shard.flush(Some(NOW + 5_000), NOW + 3_000);
    assert!(get(&mut shard, b"new", NOW + 4_999).is_some());
    assert!(get(&mut shard, b"new", NOW + 5_000).is_none());
}

#[test]
fn the_index_grows_inside_the_memory() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..ShardConfig::new(3 << 20) };
        let mut shard = Shard::new(config).unwrap();
        let buckets = shard.index.buckets();
        for number in 0..150_000u32 {
            set(&mut shard, &number.to_le_bytes(), b"v");
            if number % 1000 == 0 {
                shard.audit().unwrap();
                shard.maintain(NOW + u64::from(number), 0);
            }
        }
        assert!(shard.index.buckets() > 4 * buckets, "the index has grown");
        let stats = shard.stats();
        let told =
            stats.bytes_segments_max.read() + stats.bytes_index.read() + stats.bytes_bookkeeping.read();
        assert!(told <= 3 << 20, "{told} bytes of 3 MiB");
    }
}

#[test]
fn a_segment_more_than_half_dead_is_compacted() {
    let mut shard = shard();
    for number in 0..10_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 100]);
    }
    for number in (0..10_000u32).filter(|number| number % 5 != 0) {
        ask(&mut shard, &number.to_le_bytes(), Op::Delete(Delete::default()), NOW);
    }
    drain(&mut shard, NOW);
    let stats = shard.stats();
    assert!(stats.bytes_segments.read() < 2 * stats.bytes_live.read());
    assert_eq!(stats.items.read(), 2_000);
    assert!((0..2_000u32).all(|number| get(&mut shard, &(number * 5).to_le_bytes(), NOW).is_some()));
}

#[test]
fn a_half_dead_segment_waits_for_more_of_it_to_die_and_an_empty_one_does_not() {
    let mut shard = shard();
    let fill = |shard: &mut Shard, from: u32| {
        (from..from + 2000).for_each(|number| set(shard, &number.to_le_bytes(), &[1; 100]));
    };
    let delete = |shard: &mut Shard, number: u32| {
        ask(shard, &number.to_le_bytes(), Op::Delete(Delete::default()), NOW);
    };
    shard.maintain(NOW, 1000);
    fill(&mut shard, 0);
    (0..2000).filter(|number| number % 5 != 0).for_each(|number| delete(&mut shard, number));
    assert!(!shard.maintain(NOW, 1000));
    assert_eq!((shard.stats().relocations.read(), shard.stats().segments_compacted.read()), (0, 0));
    (0..2000).filter(|number| number % 5 == 0).for_each(|number| delete(&mut shard, number));
    while shard.maintain(NOW, 1000) {}
    let compacted = shard.stats().segments_compacted.read();
    assert!(compacted >= 3, "{compacted}");
    assert_eq!(shard.stats().relocations.read(), 0);
    fill(&mut shard, 2000);
    (2000..4000).filter(|number| number % 5 != 0).for_each(|number| delete(&mut shard, number));
    while shard.maintain(NOW + 1000, 1000) {}
    assert!(shard.stats().relocations.read() > 0);
    shard.audit().unwrap();
}
