//! What was read and lies on the medium alone, over laps.

use super::*;

/// A tier of one stream that some hundred values fill, and a shard with memory for fewer.
fn small(medium: &Arc<Gated>) -> Running {
    start_with(medium.clone(), 1, 2 << 20)
}

#[test]
fn what_is_read_stays_over_laps_though_it_is_on_the_tier_alone() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = small(&medium);
    let (hot, mut next, mut found) = (0..20u32, 1000, 0);
    for number in hot.clone() {
        running.set(&key(number), &value_of(number.into(), 3000));
        (0..7).for_each(|other| running.set(&key(100 + 7 * number + other), &value_of(other.into(), 3000)));
    }
    running.save();
    while running.figures.freed.load(Relaxed) < 500 {
        for _ in 0..400 {
            running.set(&key(next), &value_of(next.into(), 3000));
            next += 1;
            if next % 20 == 0 {
                running.save();
            }
        }
        found = 0;
        for number in hot.clone() {
            let value = running.get(&key(number));
            assert!(value.is_none() || value == Some(value_of(number.into(), 3000)), "{number} at {next}");
            found += u32::from(value.is_some());
            running.put_out(&key(number));
        }
    }
    assert!(running.figures.carried.load(Relaxed) > 50);
    // What comes together now and then is more than half of a batch.
    assert!(found > 15, "{found} of 20 after many laps");
    assert_eq!(running.figures.corrupt.load(Relaxed), 0);
    running.save();
    running.stop();
    let mut after = small(&medium);
    let there = |number: &u32| after.get(&key(*number)) == Some(value_of((*number).into(), 3000));
    assert!(hot.filter(there).count() as u32 >= found - 2);
}

/// Fills a tier until its oldest batch is to be written over, and says that all of it which was read stays.
fn until_left(running: &mut Running, keys: &[Vec<u8>]) {
    keys.iter().for_each(|key| running.set(key, &value_of(7, 3000)));
    running.save();
    for key in keys {
        assert!(running.get(key).is_some());
        running.put_out(key);
    }
    let mut next = 1000;
    loop {
        for _ in 0..10 {
            running.set(&key(next), &value_of(next.into(), 3000));
            next += 1;
        }
        running.hand_over();
        loop {
            match running.next(0) {
                Reply::Saved(batch) => {
                    running.tell(0, &batch);
                    break;
                }
                leave => {
                    let Reply::Leave { ref places, .. } = leave else { panic!("{leave:?}") };
                    let hash = running.shards[0].hash(0, &keys[0]);
                    let is_first = places.iter().any(|leaving| leaving.record.hash == hash);
                    running.take(0, leave);
                    if is_first {
                        return;
                    }
                }
            }
        }
    }
}

#[test]
fn a_change_that_comes_while_an_item_is_carried_on_is_the_last_one() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = small(&medium);
    let keys: Vec<_> = [&b"deleted"[..], b"written", b"kept"].map(<[u8]>::to_vec).into();
    until_left(&mut running, &keys);
    running.set(b"deleted", b"new");
    running.execute(b"deleted", Op::Delete(Delete::default()));
    running.set(b"written", b"new");
    running.save();
    // Until it is told where they lie.
    let end = Instant::now() + PATIENCE;
    while running.figures.carried.load(Relaxed) < 3 {
        assert!(Instant::now() < end, "they are carried on");
        running.set(b"another", b"one");
        running.save();
    }
    for round in 0..2 {
        assert!(running.get(b"deleted").is_none(), "{round}");
        assert!(running.get(b"written").as_deref() == Some(&b"new"[..]), "{round}");
        assert!(running.get(b"kept") == Some(value_of(7, 3000)), "{round}");
        running.stop();
        running = small(&medium);
    }
}

#[test]
fn nothing_more_is_freed_before_a_shard_has_heard_where_its_items_lie() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = small(&medium);
    until_left(&mut running, &[b"kept".to_vec()]);
    let (mut withheld, mut next, mut freed) = (None, 5000, 0);
    for round in 0..40 {
        (next..next + 10).for_each(|number| running.set(&key(number), &value_of(number.into(), 3000)));
        next += 10;
        running.hand_over();
        while let Some(reply) = running.next_within(0, MOMENT) {
            match reply {
                Reply::Moved { .. } => withheld = Some(reply),
                other => running.take(0, other),
            }
        }
        if withheld.is_none() {
            assert!(round < 20, "it is told");
            freed = running.figures.freed.load(Relaxed);
        }
    }
    assert!(running.figures.freed.load(Relaxed) <= freed + 1, "what lies there may be read");
    assert!(running.get(b"kept") == Some(value_of(7, 3000)));
    running.take(0, withheld.expect("told"));
    let end = Instant::now() + PATIENCE;
    while running.figures.freed.load(Relaxed) <= freed + 1 {
        assert!(Instant::now() < end, "it goes on");
        running.set(b"another", b"one");
        running.save();
    }
}

/// Random changes and reads over many laps of a small tier, with losses of power and other numbers of shards: after each save
/// what is found is what was written last, or nothing.
#[test]
fn nothing_older_comes_back_over_laps_with_what_is_carried_on() {
    let mut random = 5u64;
    let mut below = |end: u64| {
        // Xorshift (Marsaglia, 2003).
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    let mut medium = Gated::new();
    let mut running = start_with(medium.clone(), 2, 2 << 20);
    let mut model: HashMap<u32, Vec<u8>> = Default::default();
    let (mut found, mut carried, mut freed) = (0, 0, 0);
    for round in 0..4u64 {
        for step in 0..6000 {
            let number = (below(45) * below(45)) as u32;
            match below(10) {
                0..5 => {
                    let value = value_of(round << 32 | step, 100 + below(3000) as usize);
                    running.set(&key(number), &value);
                    model.insert(number, value);
                }
                5 => {
                    running.get(&key(number));
                    running.execute(&key(number), Op::Delete(Delete::default()));
                    model.remove(&number);
                }
                _ => {
                    let value = running.get(&key(number));
                    assert!(value.is_none() || value.as_ref() == model.get(&number), "{number} in {round}");
                }
            }
            if below(30) == 0 {
                running.save();
                (0..20).for_each(|_| running.put_out(&key((below(45) * below(45)) as u32)));
            }
        }
        running.save();
        carried += running.figures.carried.load(Relaxed);
        freed += running.figures.freed.load(Relaxed);
        assert_eq!(running.figures.corrupt.load(Relaxed), 0);
        let image = medium.sim.crash_point().image(|_| false);
        drop(running);
        medium = Gated::of_image(image);
        running = start_with(medium.clone(), 1 + (round % 3) as u16, 2 << 20);
        for number in 0..2025 {
            let value = running.get(&key(number));
            found += usize::from(value.is_some());
            assert!(value.is_none() || value.as_ref() == model.get(&number), "{number} after {round}");
        }
    }
    assert!(found > 1500 && carried > 50 && freed > 1000, "{found} {carried} {freed}");
}
