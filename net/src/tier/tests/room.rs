//! Room that is made in a stream.

use super::*;

/// Hands over what a shard has, and leaves what it is told to, until that is saved or nothing more is said.
fn save_alone(running: &mut Running, shard: usize, patience: Duration) -> bool {
    running.hand_over();
    loop {
        match running.next_within(shard, patience) {
            Some(Reply::Leave { stream, .. }) => running.ports[shard].left(stream, Vec::new()),
            told => return told.is_some(),
        }
    }
}

#[test]
fn room_is_made_when_places_are_left_and_waits_for_no_shard_that_has_ended() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = start(medium, 2);
    let keys = |running: &Running, shard| {
        let owned: Vec<_> = (0..4000).map(key).filter(|key| running.owner(key) == shard).collect();
        owned.into_iter()
    };
    let (mut first, second) = (keys(&running, 0), keys(&running, 1));
    let value = value_of(0, 3000);
    // The oldest batch has items of both.
    for key in second.take(5).chain(first.by_ref().take(5)) {
        running.set(&key, &value);
    }
    running.save();
    let mut save = |running: &mut Running, patience| {
        first.by_ref().take(10).for_each(|key| running.set(&key, &value));
        assert!(first.len() > 400, "there are keys left");
        save_alone(running, 0, patience)
    };
    // The tier is full, and a batch goes that has items of the second shard. It is asked, and does not answer.
    while !matches!(running.next_within(1, Duration::ZERO), Some(Reply::Leave { .. })) {
        save(&mut running, MOMENT);
    }
    save(&mut running, MOMENT);
    let freed = running.figures.freed.load(Relaxed);
    (0..3).for_each(|_| _ = save(&mut running, MOMENT));
    assert_eq!(running.figures.freed.load(Relaxed), freed, "the second shard may still read there");
    running.ports[1].end(true);
    assert!((0..20).all(|_| save(&mut running, PATIENCE)));
    assert!(running.figures.freed.load(Relaxed) > freed);
}

/// The ring wrote what came last over what had come first.
#[test]
fn what_comes_first_before_an_end_is_not_written_over_by_what_comes_later() {
    for (streams, shards) in [(1, 1), (2, 2), (2, 3)] {
        let medium = Gated::with(Config { streams, ..CONFIG });
        let mut running = start(medium.clone(), shards);
        let old: Vec<_> = (10_000..12_000).map(key).collect();
        for some in old.chunks(100) {
            some.iter().for_each(|key| running.set(key, &value_of(1, 3000)));
            running.save();
        }
        running.ports.iter().for_each(Port::begin_rest);
        let long = value_of(9, 100_000);
        running.set(b"long", &long);
        let mut told = Vec::new();
        for number in 0..3000 {
            // Shards offer no more of what there is no room for.
            if !running.is_full(&key(number)) {
                running.set(&key(number), &value_of(u64::from(number), 3000));
                told.push(number);
            }
            if number % 20 == 0 {
                running.save();
            }
        }
        running.save();
        // What was there before comes back in place of these, if nothing is told of them.
        let newest = &old[1900..];
        newest.iter().for_each(|key| running.set(key, b"newer"));
        running.save();
        assert_eq!(running.shards.iter().map(Shard::unsaved).sum::<usize>(), 0);
        running.stop();
        let mut after = start(medium, 1);
        assert!(after.get(b"long") == Some(long), "with {streams} streams");
        let has = |number: &u32| match after.get(&key(*number)) {
            Some(found) => found == value_of(u64::from(*number), 3000),
            None => false,
        };
        let has: Vec<bool> = told.iter().map(has).collect();
        let kept = has.iter().take_while(|has| **has).count();
        let medium_has = (CONFIG.bytes - 100_000) / 3000;
        assert!(kept as u64 > medium_has * 7 / 10, "{kept} of {}, with {streams} streams", told.len());
        assert!(told.len() < kept + 200, "{} were told, {kept} were kept", told.len());
        assert!(newest.iter().all(|key| after.get(key).is_none_or(|found| found == b"newer")));
    }
}
