//! What is written, when it is safe, and what a later start finds of it.

use super::*;
use crate::clock::Clock;

#[test]
fn nothing_is_told_to_be_saved_before_it_is_drained() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 1);
    running.set(b"key", b"value");
    medium.set_open(false);
    running.hand_over();
    assert!(running.next_within(0, MOMENT).is_none(), "its drain has not returned");
    medium.set_open(true);
    running.take_saved(0);
    assert_eq!(running.shards[0].unsaved(), 0);
    // What a loss of power leaves.
    let image = medium.sim.crash_point().image(|_| false);
    let mut after = start(Arc::new(Sim::of_image(image, 512)), 1);
    assert_eq!(after.get(b"key").as_deref(), Some(&b"value"[..]));
}

/// A drain is what changes that are answered when they are saved wait for.
#[test]
fn only_streams_that_were_written_are_drained() {
    let mut running = start(Gated::new(), 2);
    let key = (0..).map(key).find(|key| running.owner(key) == 0).unwrap();
    for round in 1..=5 {
        running.set(&key, b"value");
        running.save();
        assert_eq!(running.figures.drains.load(Relaxed), 2 + round, "two at the start, and one a save");
    }
    running.stop();
}

#[test]
fn changes_that_wait_for_too_long_are_counted_as_late() {
    let mut running = start(Gated::new(), 1);
    let now = MachineClock::new().millis();
    for (handed_at, late) in
        [(now + 3_600_000, 0), (now - 3_600_000, 1), (now + 3_600_000, 1), (now - 3_600_000, 2)]
    {
        let mut batch = Box::<SaveBatch>::default();
        batch.push(item(1, 1, 0), b"an item");
        batch.handed_at = handed_at;
        running.ports[0].save(batch);
        assert!(matches!(running.next(0), Reply::Saved(_)));
        assert_eq!(running.figures.late.load(Relaxed), late);
    }
}

#[test]
fn the_last_change_of_each_key_is_found_by_any_number_of_shards() {
    let medium = Gated::new();
    let mut running = start(medium.clone(), 2);
    for round in 0..3 {
        for number in 0..100 {
            running.set(&key(number), format!("round {round}").as_bytes());
        }
        running.save();
    }
    (0..10).for_each(|number| running.execute(&key(number), Op::Delete(Delete::default())));
    running.save();
    running.stop();
    for shards in [3, 1, 2] {
        let mut after = start(medium.clone(), shards);
        for number in 0..100 {
            let wanted = (number >= 10).then_some(&b"round 2"[..]);
            assert_eq!(after.get(&key(number)).as_deref(), wanted, "{number} with {shards}");
        }
        after.stop();
    }
    let mut running = start(medium.clone(), 2);
    running.shards.iter_mut().for_each(|shard| shard.flush(None, NOW));
    running.set(b"key 20", b"after");
    running.save();
    running.stop();
    let mut after = start(medium, 1);
    for number in 0..100 {
        assert_eq!(after.get(&key(number)).as_deref(), (number == 20).then_some(&b"after"[..]), "{number}");
    }
}
