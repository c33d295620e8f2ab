//! A shard whose memory other processes may read, and a reader of its file.

use super::*;
use crate::mapped::MappedShard;
use crate::reader::{Doubt, Look, Place, ReadRoom};
use crate::segments::Phase;
use crate::steps::{Fault, interrupt, put_in};
use std::cell::{Cell, RefCell};
use std::os::fd::AsRawFd;
use std::rc::Rc;

const SEGMENT: usize = 64 << 10;

fn mapped_shard_of(memory_bytes: u64) -> (Shard, MappedShard) {
    let config = ShardConfig {
        now: NOW,
        segment_bytes: SEGMENT,
        shared_memory: true,
        seed: 7,
        shard: 3,
        ..ShardConfig::new(memory_bytes)
    };
    let shard = Shard::new(config).unwrap();
    let reader = MappedShard::open(shard.to_read().unwrap().unwrap()).unwrap();
    (shard, reader)
}

fn look(reader: &MappedShard, key: &[u8], now: Millis) -> Result<Option<Vec<u8>>, Doubt> {
    let mut room = ReadRoom::new();
    match reader.read((0, key), reader.hash(key), &Read::default(), now, &mut room)? {
        Look::Hit { found, .. } => Ok(Some(bytes_of(found.value))),
        Look::Miss | Look::Expired | Look::Flushed => Ok(None),
    }
}

/// Memory that the file takes of the machine, by the kernel's word.
fn blocks(shard: &Shard) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let fd = shard.to_read().unwrap().unwrap();
    std::fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap().blocks() * 512
}

#[test]
fn another_mapping_shows_what_the_owner_has() {
    let (mut shard, reader) = mapped_shard_of(8 << 20);
    assert_eq!(reader.number(), 3);
    assert_eq!(reader.hash(b"key"), shard.key_hash(b"key"));
    assert_eq!(look(&reader, b"key", NOW), Ok(None));
    set(&mut shard, b"key", b"value");
    assert_eq!(look(&reader, b"key", NOW), Ok(Some(b"value".to_vec())));
    set(&mut shard, b"key", b"another value");
    assert_eq!(look(&reader, b"key", NOW), Ok(Some(b"another value".to_vec())));
    ask(&mut shard, b"key", Op::Delete(Delete::default()), NOW);
    assert_eq!(look(&reader, b"key", NOW), Ok(None));
    let write = Write { expiry: Expiry::At(NOW + 5), ..Write::set(b"short") };
    ask(&mut shard, b"key", Op::Write(write), NOW);
    assert_eq!(look(&reader, b"key", NOW + 4), Ok(Some(b"short".to_vec())));
    assert_eq!(look(&reader, b"key", NOW + 5), Ok(None));
    set(&mut shard, b"long", &[7; 100_000]);
    assert_eq!(look(&reader, b"long", NOW), Err(Doubt::Long));
    shard.flush(Some(NOW + 2), NOW + 1);
    assert_eq!(look(&reader, b"key", NOW + 2), Err(Doubt::Flush));
    shard.flush(None, NOW + 2);
    assert_eq!(look(&reader, b"key", NOW + 2), Ok(None));
    let counts = reader.counts();
    assert_eq!((counts.hits, counts.misses), (3, 4));
    assert_eq!(counts.doubts[Doubt::Long as usize] + counts.doubts[Doubt::Flush as usize], 2);
    assert_eq!(reader.clone().counts(), Default::default());
}

/// Where a key is found.
fn place_of(reader: &MappedShard, key: &[u8]) -> Place {
    let mut room = ReadRoom::new();
    match reader.read((0, key), reader.hash(key), &Read::default(), NOW, &mut room) {
        Ok(Look::Hit { place, .. }) => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_place_leads_to_the_item_that_was_there_or_to_nothing() {
    let (mut shard, reader) = mapped_shard_of(1 << 20);
    let again = |place: &Place, key: &[u8], now| {
        let mut room = ReadRoom::new();
        match reader.read_again(place, (0, key), &Read::default(), now, &mut room) {
            Ok(Look::Hit { found, .. }) => Some(bytes_of(found.value)),
            Err(Doubt::Gone) => None,
            other => panic!("{other:?}"),
        }
    };
    let write = Write { expiry: Expiry::At(NOW + 5), ..Write::set(b"value") };
    ask(&mut shard, b"key", Op::Write(write), NOW);
    let place = place_of(&reader, b"key");
    assert_eq!(again(&place, b"key", NOW + 4), Some(b"value".to_vec()));
    assert_eq!(again(&place, b"another", NOW), None);
    assert_eq!(again(&place, b"key", NOW + 5), None, "expired");
    set(&mut shard, b"key", b"new");
    assert_eq!(again(&place, b"key", NOW), None, "overwritten");
    let place = place_of(&reader, b"key");
    ask(&mut shard, b"key", Op::Delete(Delete::default()), NOW);
    assert_eq!(again(&place, b"key", NOW), None, "deleted");
    set(&mut shard, b"key", b"new");
    let place = place_of(&reader, b"key");
    shard.flush(None, NOW);
    assert_eq!(again(&place, b"key", NOW), None, "flushed");
    set(&mut shard, b"key", b"new");
    let place = place_of(&reader, b"key");
    (0..2000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 3000]));
    assert_eq!(again(&place, b"key", NOW), None, "its memory was used again");
}

#[test]
fn no_read_with_a_side_effect_is_done_here() {
    let (mut shard, reader) = mapped_shard_of(8 << 20);
    set(&mut shard, b"key", b"value");
    let read = Read { expiry: Expiry::At(NOW + 1), ..Read::default() };
    let mut room = ReadRoom::new();
    assert!(reader.read((0, b"key"), reader.hash(b"key"), &read, NOW, &mut room).is_err());
}

/// The index takes frames of the file, of which some were segments before.
#[test]
fn the_index_grows_in_frames_and_the_file_stays_in_its_memory() {
    let (mut shard, reader) = mapped_shard_of(4 << 20);
    // All frames are segments at first.
    (0..2000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 3000]));
    let (begun, segments) = (shard.index.bytes(), shard.segments.count());
    let mut evicted = 0;
    for number in 0..400_000u32 {
        set(&mut shard, &number.to_le_bytes(), b"v");
        if number % 10_000 == 0 {
            shard.audit().unwrap();
            shard.maintain(NOW, 100);
            assert!(blocks(&shard) <= 4 << 20, "{} bytes", blocks(&shard));
            assert!(shard.bytes_held() <= 4 << 20, "{} bytes", shard.bytes_held());
        }
        evicted += u32::from(look(&reader, &(number / 2).to_le_bytes(), NOW) == Ok(None));
    }
    let counts = reader.counts();
    assert_eq!(counts.doubts, [0; Doubt::ALL.len()], "nobody interrupts the owner");
    assert!(shard.index.bytes() > 4 * begun, "the index has grown");
    assert!(shard.segments.count() < segments, "in frames that were segments");
    assert!(evicted > 1000 && counts.hits > 100_000, "{evicted} of {counts:?}");
    assert!(blocks(&shard) > 3 << 20, "the memory is used: {}", blocks(&shard));
    let newest = 399_999u32.to_le_bytes();
    assert_eq!(look(&reader, &newest, NOW), Ok(Some(b"v".to_vec())));
}

#[test]
fn memory_that_is_set_aside_later_is_not_taken_from_a_file_that_cannot_give_it_back() {
    let (mut shard, _) = mapped_shard_of(4 << 20);
    (0..50_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 100]));
    let held = shard.bytes_held();
    shard.set_aside(2 << 20);
    while shard.maintain(NOW + 1000, 1000) {}
    assert_eq!((shard.bytes_held(), shard.bytes_free()), (held, 0));
    shard.audit().unwrap();
}

#[test]
fn too_little_memory_is_refused_as_ever() {
    for memory_bytes in [0, 64 << 10, 400 << 10] {
        let config =
            ShardConfig { segment_bytes: SEGMENT, shared_memory: true, ..ShardConfig::new(memory_bytes) };
        assert!(matches!(Shard::new(config), Err(StoreError::TooSmall { .. })), "{memory_bytes}");
    }
}

/// Deletes all that lies in the segment of a key, and lets the index have its memory.
fn give_to_index(shard: &mut Shard, key: &[u8]) {
    let (_, slot) = shard.find(Key { bytes: key, space: 0, hash: shard.hash(0, key) }).unwrap();
    let segment = shard.segments.segment_of(slot.location());
    shard.segments.seal_one(segment);
    for number in 0..400u32 {
        let key = number.to_le_bytes();
        let found = shard.find(Key { bytes: &key, space: 0, hash: shard.hash(0, &key) });
        if found.is_some_and(|(_, slot)| shard.segments.segment_of(slot.location()) == segment) {
            ask(shard, &key, Op::Delete(Delete::default()), NOW);
        }
    }
    while shard.segments.header(segment).phase != Phase::Free {
        shard.maintain(NOW, 1000);
    }
    // Others may be free, too, and go first.
    while shard.segments.item(slot.location()).version() != 0 {
        shard.segments.limit(shard.segments.count_max() - 1);
        let bytes = shard.index.bytes();
        shard.give_frame();
        assert_eq!(shard.index.bytes(), bytes + SEGMENT);
    }
}

/// Reads a key while, at a step of the reader, the index gets the memory of its segment. Returns whether there was such a step.
fn read_while_the_index_takes_it(step: u32) -> Result<bool, String> {
    let (mut shard, reader) = mapped_shard_of(1 << 20);
    (0..400u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), &[1; 3000]));
    let (key, shard) = (390u32.to_le_bytes(), Rc::new(RefCell::new(shard)));
    let left = Rc::new(Cell::new(step));
    let other = {
        let (shard, left) = (shard.clone(), left.clone());
        move || {
            if left.get() == 1 {
                give_to_index(&mut shard.borrow_mut(), &key);
            }
            left.set(left.get().saturating_sub(1));
        }
    };
    let told = interrupt(other, || look(&reader, &key, NOW));
    match told {
        Ok(Some(value)) if value != [1; 3000] => Err(format!("step {step}: a torn value")),
        Ok(None) if left.get() > 0 => Err(format!("step {step}: it was there")),
        _ => Ok(left.get() == 0),
    }
}

#[test]
fn a_segment_becomes_memory_of_the_index_while_it_is_read() {
    let steps = (1..).take_while(|&step| read_while_the_index_takes_it(step).unwrap()).count();
    assert!(steps > 20, "{steps} steps of a read");
    put_in(Some(Fault::ChunkEarly));
    let shown = (1..=steps as u32).any(|step| read_while_the_index_takes_it(step).is_err());
    put_in(None);
    assert!(shown, "nobody misses a generation that was not raised");
}
