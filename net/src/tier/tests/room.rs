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
