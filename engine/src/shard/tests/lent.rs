//! Bytes that are read from outside while the shard goes on.

use super::*;

#[test]
fn lent_bytes_stay_while_everything_around_them_is_evicted() {
    let mut shard = shard_of(2 << 20);
    let long = vec![0xAB; 100_000];
    set(&mut shard, b"long", &long);
    let Outcome::Item(found) = ask(&mut shard, b"long", Op::Read(Read::default()), NOW) else {
        panic!("there")
    };
    let Value::Chained(chain) = found.value else { panic!("chained") };
    let lent: Vec<Lent> = chain.lend(0..u64::MAX).collect();
    for number in 0..5_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 2000]);
    }
    assert!(lent.iter().all(|lent| lent.bytes().to_vec().iter().all(|&byte| byte == 0xAB)));
    lent.into_iter().for_each(|lent| shard.release(lent));
    set(&mut shard, b"after", b"x");
}

#[test]
fn lent_bytes_outlive_their_shard() {
    let mut shard = shard();
    set(&mut shard, b"long", &[0xCD; 100_000]);
    let lent = lend_all(&mut shard, b"long", NOW);
    drop(shard);
    assert!(lent.iter().all(|lent| lent.bytes().to_vec().iter().all(|&byte| byte == 0xCD)));
}

#[test]
#[should_panic(expected = "lent bytes go back to the shard that lent them")]
fn lent_bytes_go_home() {
    let (mut one, mut other) = (shard(), shard());
    set(&mut one, b"long", &[0xCD; 100_000]);
    for lent in lend_all(&mut one, b"long", NOW) {
        other.release(lent);
    }
}

#[test]
fn when_everything_is_lent_writes_are_refused_until_it_comes_back() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig::new(1 << 20);
        let config = ShardConfig { now: NOW, segment_bytes: 64 << 10, eviction, ..config };
        let mut shard = Shard::new(config).unwrap();
        let mut lent = Vec::new();
        let refused = (0..100u32).any(|number| {
            let outcome = ask(&mut shard, &number.to_le_bytes(), Op::Write(Write::set(&[1; 50_000])), NOW);
            if matches!(outcome, Outcome::Refused(Refusal::OutOfMemory)) {
                return true;
            }
            lent.extend(lend_all(&mut shard, &number.to_le_bytes(), NOW));
            false
        });
        assert!(refused, "a shard of 1 MiB cannot hold 5 MB that nobody gives back");
        shard.audit().unwrap();
        assert!(shard.stats().refused_memory.read() > 0);
        lent.drain(..).for_each(|lent| shard.release(lent));
        set(&mut shard, b"after", &[2; 50_000]);
        assert_eq!(get(&mut shard, b"after", NOW).unwrap(), [2; 50_000]);
    }
}

#[test]
fn what_was_lent_at_a_flush_is_free_once_it_is_back() {
    let mut shard = shard();
    set(&mut shard, b"long", &[3; 100_000]);
    let lent = lend_all(&mut shard, b"long", NOW);
    shard.flush(None, NOW);
    drain(&mut shard, NOW);
    assert!(shard.stats().segments_pinned.read() > 0);
    lent.into_iter().for_each(|lent| shard.release(lent));
    drain(&mut shard, NOW + 10_000);
    assert_eq!(shard.stats().bytes_segments.read(), 0);
}
