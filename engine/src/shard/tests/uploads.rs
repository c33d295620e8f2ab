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
