//! What one call may cost, however large the shard is and whatever is in it.

use super::*;
use crate::segments::{Queue, Room};

const SEGMENT: usize = 64 << 10;

fn keys(count: u32) -> impl Iterator<Item = [u8; 4]> {
    (0..count).map(u32::to_le_bytes)
}

/// Once a write into a shard of hot items moved all of them, several times over.
#[test]
fn a_write_moves_a_few_segments_at_most_when_everything_is_hot() {
    for eviction in crate::eviction::Algorithm::ALL {
        let config = ShardConfig { now: NOW, segment_bytes: SEGMENT, eviction, ..ShardConfig::new(16 << 20) };
        let mut shard = Shard::new(config).unwrap();
        keys(15_000).for_each(|key| set(&mut shard, &key, &[1; 1000]));
        let mut worst = 0;
        for number in 0..3_000u32 {
            if number.is_multiple_of(500) {
                (0..4).for_each(|_| keys(15_000 + number).for_each(|key| drop(get(&mut shard, &key, NOW))));
            }
            let before = shard.stats().relocations.read();
            set(&mut shard, &(15_000 + number).to_le_bytes(), &[2; 1000]);
            worst = worst.max(shard.stats().relocations.read() - before);
        }
        assert!(shard.stats().evictions.read() > 0, "the shard is full");
        // An item of 1000 bytes pays for about 4; where no room is left, the rest of a job and a few whole ones.
        assert!(worst * 1024 <= 6 * SEGMENT as u64, "{eviction:?}: one write moved {worst} items");
        shard.audit().unwrap();
    }
}

/// Once each search for a segment passed over all that were pinned.
#[test]
fn a_search_passes_over_a_bounded_number_of_pinned_segments_and_finds_the_free_one() {
    let mut segments = Segments::new(SEGMENT, 300, 0).unwrap();
    let appended: Vec<u64> =
        (0..202).map(|_| segments.append(Queue::Main, 0, 60 << 10, None, NOW, 1).unwrap()).collect();
    assert_eq!(segments.sealed(Queue::Main), 201);
    appended[..200].iter().for_each(|&at| segments.pin(segments.segment_of(at)));
    let mut searches = 1;
    let found = loop {
        let before = segments.sealed(Queue::Main);
        let found = segments.take_oldest(Queue::Main);
        assert!(before - segments.sealed(Queue::Main) <= crate::segments::PARKED_MAX + 1);
        match found {
            Some(segment) => break segment,
            None => searches += 1,
        }
    };
    assert_eq!((found, searches), (200, 4));
    // Those that are unpinned are the oldest again.
    segments.unpin(7);
    assert_eq!(segments.take_oldest(Queue::Main), Some(7));
    assert_eq!(segments.take_oldest(Queue::Main), None);
}

#[test]
fn segments_that_were_pinned_when_their_turn_came_are_evicted_when_they_are_not() {
    let mut shard = shard_of(8 << 20);
    let mut lent = Vec::new();
    for number in 0..40u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 60_000]);
        lent.extend(lend_all(&mut shard, &number.to_le_bytes(), NOW));
    }
    keys(40_000).for_each(|key| set(&mut shard, &key, &[2; 500]));
    let pinned = shard.segments.pinned();
    assert!(pinned >= 35, "{pinned}");
    lent.into_iter().for_each(|lent| shard.release(lent));
    shard.audit().unwrap();
    keys(40_000).for_each(|key| set(&mut shard, &key, &[3; 500]));
    drain(&mut shard, NOW);
    let stats = shard.stats();
    // All chunks have gone, whether their values had been dropped while they were pinned or not.
    assert!(stats.bytes_payload.read() < stats.items.read() * 505, "{} bytes", stats.bytes_payload.read());
    assert!(stats.bytes_live.read() > stats.bytes_segments.read() / 2);
}

/// Once a flush looked at every segment there is.
#[test]
fn a_flush_is_a_mark_and_its_segments_are_found_in_slices() {
    let mut shard = shard_of(40 << 20);
    keys(32_000).for_each(|key| set(&mut shard, &key, &[1; 1000]));
    assert!(shard.segments.in_use() > 450);
    shard.flush(None, NOW + 1);
    assert_eq!(get(&mut shard, &7u32.to_le_bytes(), NOW + 1), None);
    let queued = |shard: &Shard| shard.segments.headers().iter().filter(|header| header.queued).count();
    assert_eq!(queued(&shard), 0);
    let before = shard.segments.in_use();
    while shard.maintain(NOW + 1, 0) && queued(&shard) < 200 {}
    assert!(queued(&shard) <= 257, "{} in one call", queued(&shard));
    drain(&mut shard, NOW + 1);
    assert!(before > 450 && shard.segments.in_use() == 0);
}

/// Once such a segment was walked item by item.
#[test]
fn a_segment_of_dead_items_is_free_in_a_step() {
    let mut shard = shard_of(8 << 20);
    keys(50_000).for_each(|key| set(&mut shard, &key, b"v"));
    for key in keys(50_000) {
        ask(&mut shard, &key, Op::Delete(Delete::default()), NOW);
    }
    let (steps, segments) = (shard.reclaim.steps(), shard.segments.in_use() as u64);
    drain(&mut shard, NOW);
    assert!(segments > 15 && shard.segments.in_use() == 0);
    assert!(shard.reclaim.steps() - steps <= segments + 1);
}

/// Once the table of segments and the lists of uploads were beside the memory that was given.
#[test]
fn all_tables_are_inside_the_memory_and_told() {
    for memory_bytes in [1 << 20, 8 << 20, 100 << 20] {
        let shard = shard_of(memory_bytes);
        let stats = shard.stats();
        let segments = stats.bytes_segments_max.read() / SEGMENT as u64;
        assert!(stats.bytes_bookkeeping.read() >= segments * 64);
        let told =
            stats.bytes_segments_max.read() + stats.bytes_index.read() + stats.bytes_bookkeeping.read();
        assert!(told <= memory_bytes && memory_bytes - told < 2 * SEGMENT as u64, "{told} of {memory_bytes}");
    }
    let mut shard = shard_of(64 << 20);
    let told = |shard: &mut Shard, second: u64| {
        shard.maintain(NOW + second * 1000, 0);
        shard.stats().bytes_bookkeeping.read()
    };
    let before = told(&mut shard, 1);
    let ids: Vec<UploadId> = (0..4096).map(|_| shard.upload_begin(0, b"k", 4000, NOW).unwrap()).collect();
    assert!(told(&mut shard, 2) >= before + 4096 * 80);
    ids.into_iter().for_each(|id| shard.upload_abort(id));
    let long = shard.upload_begin(0, b"k", 7 << 20, NOW).unwrap();
    assert!(told(&mut shard, 3) >= before + 4096 * 72 + (7 << 20) / 8192 * 16);
    shard.upload_abort(long);
}

fn scan_all(shard: &Shard, count: u32) -> (usize, usize, usize) {
    let (mut cursor, mut steps, mut seen, mut longest) = (0, 0, std::collections::HashSet::new(), 0);
    loop {
        let mut keys = Vec::new();
        cursor = shard.scan(0, (cursor, count), Tells::Keys, NOW, &mut keys, &mut Vec::new());
        steps += 1;
        longest = longest.max(keys.len());
        seen.extend(words::each(&keys).map(<[u8]>::to_vec));
        if cursor == 0 {
            return (steps, seen.len(), longest);
        }
    }
}

/// Once five keys in the index of a server without flags took 157 steps.
#[test]
fn a_scan_of_few_keys_in_a_large_index_is_one_step() {
    let mut shard = shard_of(1 << 30);
    keys(5).for_each(|key| set(&mut shard, &key, b"v"));
    assert_eq!(scan_all(&shard, 10).0, 1);
    let (steps, seen, _) = scan_all(&shard, 2);
    assert!(steps <= 4 && seen == 5, "{steps} steps, {seen} keys");
}

/// Once a client that asked for four billion keys got all that there were in one answer.
#[test]
fn a_step_of_a_scan_is_bounded_in_items_and_bytes_whatever_is_asked_for() {
    use super::super::scan::{SCAN_BYTES_MAX, SCAN_ITEMS_MAX};
    let mut shard = shard_of(64 << 20);
    keys(20_000).for_each(|key| set(&mut shard, &key, b"v"));
    let (steps, seen, longest) = scan_all(&shard, u32::MAX);
    assert_eq!(seen, 20_000);
    assert!(steps >= 20_000 / (SCAN_ITEMS_MAX as usize + 50), "{steps} steps");
    assert!(longest <= (SCAN_ITEMS_MAX as usize + 50) * 8, "{longest} bytes");
    // Keys that are not live are work, too, although none is found.
    let mut found = Vec::new();
    shard.flush(None, NOW);
    assert_ne!(shard.scan(0, (0, 10), Tells::Keys, NOW, &mut found, &mut Vec::new()), 0);
    assert!(found.is_empty());
    let mut shard = shard_of(64 << 20);
    (0..300u32).for_each(|number| set(&mut shard, &number.to_le_bytes().repeat(1000), b"v"));
    let (_, seen, longest) = scan_all(&shard, u32::MAX);
    assert_eq!(seen, 300);
    assert!(longest <= SCAN_BYTES_MAX + 50 * 4004, "{longest} bytes");
}

/// Once an almost empty index cost a division of 128 bits a home.
#[test]
fn a_step_of_a_scan_walks_a_bounded_part_of_an_empty_index() {
    use super::super::scan::SCAN_HOMES_MAX;
    let mut index = crate::index::Index::new(3 * SCAN_HOMES_MAX, 1 << 30).unwrap();
    index.insert(u64::MAX, crate::index::Slot::new(u64::MAX, 0, 8)).unwrap();
    let (mut hash, mut steps, mut seen) = (Some(0), 0, 0);
    while let Some(from) = hash {
        steps += 1;
        hash = index.scan(
            from,
            SCAN_HOMES_MAX,
            |_| u64::MAX,
            |_| {
                seen += 1;
                std::ops::ControlFlow::Continue(())
            },
        );
    }
    assert_eq!((steps, seen), (3, 1));
}

/// The wall clock of a machine may be right only after the server has started.
#[test]
fn a_jump_of_time_by_decades_expires_what_is_over_in_a_bounded_number_of_steps() {
    let mut shard = shard_of(16 << 20);
    for key in keys(2_000) {
        let expiry = if key[0].is_multiple_of(2) {
            Expiry::At(NOW + 60_000 * u64::from(key[0]))
        } else {
            Expiry::Never
        };
        ask(&mut shard, &key, Op::Write(Write { expiry, ..Write::set(b"v") }), NOW);
    }
    let later = NOW + 50 * 365 * 24 * 3600 * 1000;
    keys(2_000).for_each(|key| assert_eq!(get(&mut shard, &key, later).is_some(), !key[0].is_multiple_of(2)));
    drain(&mut shard, later);
}

/// Memory that is not used beside the store is lent to segments, and comes back without a writer that waits.
#[test]
fn what_is_set_aside_is_taken_from_the_segments_and_given_back() {
    let mut shard =
        Shard::new(ShardConfig { segment_bytes: 64 << 10, ..ShardConfig::new(16 << 20) }).unwrap();
    let set = |shard: &mut Shard, number: u64| {
        let key = format!("key{number}");
        let command = Command { database: 0, key: key.as_bytes(), op: Op::Write(Write::set(&[7; 1000])) };
        let hash = shard.hash(0, key.as_bytes());
        assert!(matches!(shard.execute(&command, hash, NOW), Outcome::Stored { .. }), "{number}");
    };
    (0..20_000).for_each(|number| set(&mut shard, number));
    assert!(shard.bytes_held() > 15 << 20, "{}", shard.bytes_held());
    shard.set_aside(8 << 20);
    let mut turns = 0;
    while shard.maintain(NOW, 32) && shard.bytes_held() > 8 << 20 {
        set(&mut shard, 20_000 + turns);
        turns += 1;
    }
    assert!(shard.bytes_held() <= 8 << 20, "{} after {turns} turns", shard.bytes_held());
    shard.audit().unwrap();
    shard.set_aside(0);
    (30_000..50_000).for_each(|number| set(&mut shard, number));
    assert!(shard.bytes_held() > 15 << 20, "{}", shard.bytes_held());
    shard.audit().unwrap();
}

/// Work that cannot be done yet is not waited for in a busy loop.
#[test]
fn a_shard_that_has_to_give_back_what_is_pinned_sleeps_until_it_is_not() {
    let mut shard = shard_of(4 << 20);
    let keys: Vec<Vec<u8>> = (0..30u8).map(|number| vec![b'k', number]).collect();
    keys.iter().for_each(|key| set(&mut shard, key, &[7; 100_000]));
    let lent: Vec<Lent> = keys.iter().flat_map(|key| lend_all(&mut shard, key, NOW)).collect();
    shard.set_aside(2 << 20);
    drain(&mut shard, NOW);
    assert!(shard.bytes_held() > 2 << 20, "{}", shard.bytes_held());
    lent.into_iter().for_each(|lent| shard.release(lent));
    drain(&mut shard, NOW + 4_000);
    assert!(shard.bytes_held() <= 2 << 20, "{}", shard.bytes_held());
}

/// Values under way pin a segment each. That was a small share of the memory when they began, and is nearly all of what clients leave.
#[test]
fn a_writer_finds_room_beside_what_is_pinned_when_memory_is_set_aside() {
    let mut shard = shard_of(16 << 20);
    let rooms: Vec<Room> = (0..16u8)
        .map(|number| {
            let id = shard.upload_begin(0, &[b'u', number], 60_000, NOW).unwrap();
            shard.upload_room(id, 6_000, NOW).unwrap().unwrap()
        })
        .collect();
    (0..20_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[7; 1000]));
    shard.set_aside(15 << 20);
    drain(&mut shard, NOW);
    shard.set_aside(15 << 20 | shard.bytes_free());
    (0..1_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[7; 1000]));
    shard.audit().unwrap();
    let least = (SEGMENTS_MIN + rooms.len()) * shard.segments.segment_bytes();
    let beside = shard.bytes_held() - shard.bytes_free() - shard.index.bytes() as u64;
    assert!(beside >= least as u64, "what writers need is not offered: {beside}");
    rooms.into_iter().for_each(|room| shard.release_room(room));
}

/// An open segment is not reclaimed as long as it takes items; where nothing else is left, it is.
#[test]
fn memory_in_open_segments_is_given_back_as_well() {
    let mut shard = shard_of(2 << 20);
    for round in 0..6 {
        for seconds in [10, 20, 100, 500, 2_000, 8_000, 30_000, 100_000] {
            let key = format!("{seconds}:{round}");
            let expiry = Expiry::At(NOW + seconds * 1000);
            let write = Write { expiry, ..Write::set(&[7; 9_000]) };
            ask(&mut shard, key.as_bytes(), Op::Write(write), NOW);
        }
        set(&mut shard, format!("never:{round}").as_bytes(), &[7; 9_000]);
    }
    set(&mut shard, b"long", &[7; 40_000]);
    shard.set_aside((2 << 20) - (600 << 10));
    drain(&mut shard, NOW);
    assert!(shard.bytes_held() <= 600 << 10, "{}", shard.bytes_held());
}
