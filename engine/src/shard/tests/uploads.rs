//! Values that are received in slices.

use super::*;

#[test]
fn uploads_are_bounded_and_an_aborted_one_leaves_nothing() {
    let mut shard = shard_of(4 << 20);
    let id = shard.upload_begin(0, b"k", 200_000, NOW).unwrap();
    shard.upload_append(id, &[1; 150_000], NOW).unwrap();
    shard.upload_abort(id);
    assert_eq!(shard.stats().bytes_live.read(), 0);
    assert_eq!(shard.upload_begin(0, b"k", 2 << 20, NOW), Err(Refusal::OutOfMemory));
    let id = shard.upload_begin(0, b"k", 100, NOW).unwrap();
    assert_eq!(shard.upload_append(id, &[1; 101], NOW), Err(Refusal::ValueTooLarge));
    let short = shard.upload_begin(0, b"k", 100, NOW).unwrap();
    let write = Write { value: Body::Upload(short), ..Write::set(b"") };
    assert!(matches!(ask(&mut shard, b"k", Op::Write(write), NOW), Outcome::Refused(Refusal::ValueTooLarge)));
}

#[test]
fn a_late_upload_id_touches_nobody_elses_upload() {
    let mut shard = shard();
    let late = shard.upload_begin(0, b"k", 10, NOW).unwrap();
    shard.upload_abort(late);
    let other = shard.upload_begin(0, b"k", 4, NOW).unwrap();
    assert_eq!(shard.upload_append(late, b"late", NOW), Err(Refusal::OutOfMemory));
    shard.upload_abort(late);
    shard.upload_append(other, b"mine", NOW).unwrap();
    ask(&mut shard, b"k", Op::Write(Write { value: Body::Upload(other), ..Write::set(b"") }), NOW);
    assert_eq!(get(&mut shard, b"k", NOW).unwrap(), b"mine");
}

#[test]
fn an_upload_may_have_a_flush_in_its_middle() {
    let mut shard = shard();
    let upload = shard.upload_begin(0, b"k", 30_000, NOW).unwrap();
    shard.upload_append(upload, &[1; 20_000], NOW).unwrap();
    shard.flush(None, NOW);
    shard.upload_append(upload, &[2; 10_000], NOW).unwrap();
    ask(&mut shard, b"k", Op::Write(Write { value: Body::Upload(upload), ..Write::set(b"") }), NOW);
    shard.audit().unwrap();
    assert_eq!(get(&mut shard, b"k", NOW).unwrap().len(), 30_000);
    ask(&mut shard, b"k", Op::Delete(Delete::default()), NOW);
    shard.audit().unwrap();
    assert_eq!(shard.stats().bytes_live.read(), 0);
}

#[test]
fn values_that_fill_a_segment_go_with_it_however_many_come_at_once() {
    const LEN: usize = 60_000;
    let mut shard = shard();
    let mut stored = vec![None; 20];
    for round in 0..40u32 {
        let now = NOW + u64::from(round) * 1000;
        let keys = (0..20u32).filter(|key| (key / (round % 3 + 1) + round) % 2 == 0);
        let begin = |key: u32| (key, shard.upload_begin(0, &key.to_le_bytes(), LEN as u64, now).unwrap());
        let ids: Vec<(u32, UploadId)> = keys.map(begin).collect();
        for _ in 0..LEN / 5000 {
            ids.iter().for_each(|&(_, id)| shard.upload_append(id, &[round as u8; 5000], now).unwrap());
        }
        for (key, id) in ids {
            let write = Write { value: Body::Upload(id), ..Write::set(b"") };
            ask(&mut shard, &key.to_le_bytes(), Op::Write(write), now);
            stored[key as usize] = Some(vec![round as u8; LEN]);
        }
        while shard.maintain(now, 100) {}
    }
    for (key, value) in (0..20u32).zip(stored) {
        assert!(get(&mut shard, &key.to_le_bytes(), NOW + 40_000) == value);
    }
    // The heads share segments.
    let (moved, written) = (shard.stats().relocations.read(), shard.stats().writes.read());
    assert!(moved < 3 * written, "{moved} chunks and heads were moved, {written} values of 8 chunks written");
    drain(&mut shard, NOW + 40_000);
    assert_eq!(shard.segments.pinned(), 0);
}

#[test]
fn a_value_that_waits_for_a_tier_leaves_others_their_room_and_is_not_given_up_for_them() {
    const LEN: u64 = 300_000;
    let mut shard = shard_of(4 << 20);
    let begin = |shard: &mut Shard, now| shard.upload_begin(0, b"k", LEN, now);
    let whole = |shard: &mut Shard, now| {
        let id = begin(shard, now)?;
        shard.upload_append(id, &[1; LEN as usize], now).map(|()| id)
    };
    let waiting = [(); 3].map(|()| whole(&mut shard, NOW).unwrap());
    assert_eq!(whole(&mut shard, NOW), Err(Refusal::OutOfMemory), "a quarter of the memory is under way");
    assert!(!shard.waits_for_room(0, b"k", LEN), "nobody knows how long that takes");
    waiting.iter().for_each(|&id| shard.upload_waits(id, true));
    let coming = [(); 3].map(|()| whole(&mut shard, NOW).unwrap());
    assert_eq!(whole(&mut shard, NOW), Err(Refusal::OutOfMemory), "nearly half of it is pinned");
    assert!(shard.waits_for_room(0, b"k", LEN) && !shard.waits_for_room(0, b"k", 3 << 20));
    // Those that come from clients stand still by now.
    let late = NOW + 2000;
    whole(&mut shard, late).unwrap();
    let under_way =
        |shard: &Shard, ids: &[UploadId]| ids.iter().filter(|id| shard.is_under_way(**id)).count();
    assert_eq!((under_way(&shard, &waiting), under_way(&shard, &coming)), (3, 2));
    waiting.iter().for_each(|&id| shard.upload_waits(id, false));
    assert!(whole(&mut shard, late).is_ok());
    assert!(under_way(&shard, &waiting) < 3, "now they stand still, too");
    for id in waiting.into_iter().chain(coming) {
        shard.upload_waits(id, true);
        shard.upload_abort(id);
    }
    assert!(!shard.waits_for_room(0, b"k", 1_500_000), "nothing is left of them");
    shard.audit().unwrap();
}
