//! Values that are received where they will stay.

use super::*;
use crate::segments::Room;

const LEN: usize = 100_000;

/// What the kernel does with room.
fn fill(room: &Room, bytes: &[u8]) {
    assert!(bytes.len() <= room.len());
    // SAFETY: the room has space for them (checked), and nobody else writes it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr(), bytes.len()) };
}

fn begin(shard: &mut Shard) -> UploadId {
    shard.upload_begin(0, b"key", LEN as u64, NOW).unwrap()
}

fn stored(shard: &mut Shard, id: UploadId) -> Outcome<'_> {
    ask(shard, b"key", Op::Write(Write { value: Body::Upload(id), ..Write::set(&[]) }), NOW)
}

#[test]
fn appended_and_received_bytes_are_one_value() {
    let value: Vec<u8> = (0..LEN).map(|at| (at / 7 % 251) as u8).collect();
    for step in [1000, 8191, 1 << 20] {
        let mut shard = shard();
        let id = begin(&mut shard);
        let (mut at, mut appends) = (0, true);
        while at < LEN {
            let end = LEN.min(at + step);
            if appends {
                shard.upload_append(id, &value[at..end], NOW).unwrap();
                at = end;
            } else {
                let room = shard.upload_room(id, (end - at) as u64, NOW).unwrap().unwrap();
                let len = room.len().div_ceil(2);
                fill(&room, &value[at..at + len]);
                shard.upload_filled(id, room, len);
                at += len;
            }
            appends = !appends && step < LEN;
        }
        assert!(shard.upload_room(id, 1, NOW).unwrap().is_none(), "all have come");
        assert!(matches!(stored(&mut shard, id), Outcome::Stored { .. }));
        assert!(get(&mut shard, b"key", NOW).unwrap() == value, "steps of {step}");
        drain(&mut shard, NOW);
        assert_eq!(shard.segments.pinned(), 0);
    }
}

#[test]
fn room_is_lent_once_and_bytes_that_are_not_the_next_end_the_upload() {
    let mut shard = shard();
    let id = begin(&mut shard);
    let room = shard.upload_room(id, 10, NOW).unwrap().unwrap();
    assert_eq!(room.len(), 10);
    assert!(shard.upload_room(id, 10, NOW).unwrap().is_none());
    assert_eq!(shard.upload_append(id, b"x", NOW), Err(Refusal::ValueTooLarge));
    assert!(!shard.is_under_way(id));
    shard.upload_filled(id, room, 10);
    assert_eq!(shard.upload_room(id, 10, NOW).unwrap_err(), Refusal::OutOfMemory);
    drain(&mut shard, NOW);
    assert_eq!(shard.segments.pinned(), 0);
}

/// The kernel writes when it likes, until the room is back.
#[test]
fn room_of_a_value_that_was_given_up_is_nobody_elses_until_it_is_back() {
    let mut shard = shard();
    let id = begin(&mut shard);
    let room = shard.upload_room(id, LEN as u64, NOW).unwrap().unwrap();
    shard.upload_abort(id);
    let value = |number: u32| (number as u8..=255).cycle().take(5000).collect::<Vec<u8>>();
    for number in 0..8000u32 {
        set(&mut shard, &number.to_le_bytes(), &value(number));
        if number % 100 == 0 {
            shard.maintain(NOW, 100);
            fill(&room, &vec![0xEE; room.len()]);
        }
    }
    let kept = (0..8000u32).filter(|&number| {
        let found = get(&mut shard, &number.to_le_bytes(), NOW);
        assert!(found.as_ref().is_none_or(|found| *found == value(number)), "item {number} was written over");
        found.is_some()
    });
    assert!(kept.count() > 500);
    shard.upload_filled(id, room, 0);
    drain(&mut shard, NOW);
    assert_eq!(shard.segments.pinned(), 0);
}
