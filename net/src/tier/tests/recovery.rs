//! What shards are told after a start, while they serve and write.

use super::*;
use torc_engine::command::WriteMode;
use torc_pmem::media::sim::Random;

/// What a command on a key that is not known yet comes to.
#[derive(Debug, PartialEq)]
enum Said {
    Value(Option<Vec<u8>>),
    Done(bool),
    Waits,
}

impl Running {
    fn say(&mut self, key: &[u8], op: Op<'_>) -> Said {
        let owner = self.owner(key);
        let hash = self.shards[owner].hash(0, key);
        loop {
            let ticket = match self.shards[owner].execute(&Command { database: 0, key, op }, hash, NOW) {
                Outcome::Pending(Ticket::UNKNOWN) => return Said::Waits,
                Outcome::Pending(ticket) => ticket,
                Outcome::Item(found) => {
                    let Value::Inline(value) = found.value else { panic!("a short value") };
                    return Said::Value(Some(value.to_vec()));
                }
                Outcome::Miss if matches!(op, Op::Read(_)) => return Said::Value(None),
                Outcome::Miss | Outcome::NotStored { .. } => return Said::Done(false),
                Outcome::Stored { .. } | Outcome::Deleted { .. } => return Said::Done(true),
                other => panic!("{other:?}"),
            };
            self.bring_back(owner, hash, ticket).expect("it can be read");
        }
    }

    /// Waits until everything was read, though nothing was taken of it.
    fn wait_until_read(&self) {
        let end = Instant::now() + PATIENCE;
        while self.figures.recovery_progress() < 1.0 {
            assert!(Instant::now() < end, "tables are read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn set(value: &[u8]) -> Op<'_> {
    Op::Write(Write::set(value))
}

#[test]
fn commands_at_once_after_a_start_with_any_number_of_shards_agree_with_a_model() {
    let medium = Gated::new();
    let (mut random, mut model) = (Random(11), HashMap::<Vec<u8>, Vec<u8>>::new());
    for (round, shards) in [2, 1, 3, 2, 5, 1].into_iter().enumerate() {
        let reads_wait = round % 2 == 0;
        let mut running = begin(medium.clone(), shards, 8 << 20, reads_wait);
        let mut touched = std::collections::HashSet::new();
        for number in 0..1500 {
            let key = key(random.below(300) as u32);
            let value = format!("round {round} number {number}").into_bytes();
            let recovering = running.shards[running.owner(&key)].is_recovering();
            let is = model.get(&key).cloned();
            let add = Op::Write(Write { mode: WriteMode::Add, ..Write::set(&value) });
            let (op, after) = match random.below(5) {
                0 | 1 => (Op::Read(Read::default()), None),
                2 => (set(&value), Some(value.clone())),
                3 => (add, Some(value.clone())),
                _ => (Op::Delete(Delete::default()), None),
            };
            let said = running.say(&key, op);
            let may_be_unknown = recovering && !touched.contains(&key);
            let wanted = match op {
                Op::Read(_) => Said::Value(is.clone()),
                Op::Write(Write { mode: WriteMode::Set, .. }) => Said::Done(true),
                Op::Write(_) => Said::Done(is.is_none()),
                _ => Said::Done(is.is_some()),
            };
            let may_miss = may_be_unknown && !reads_wait && said == Said::Value(None);
            assert!(
                said == wanted || may_be_unknown && said == Said::Waits || may_miss,
                "{op:?} of {key:?} in round {round}: {said:?}, not {wanted:?}"
            );
            if said == Said::Done(true) {
                touched.insert(key.clone());
                match after {
                    Some(value) => model.insert(key, value),
                    None => model.remove(&key),
                };
            }
            match random.below(40) {
                0 => running.save(),
                1 => _ = running.learn(random.below(u64::from(shards)) as usize),
                _ => {}
            }
        }
        running.learn_all();
        for number in 0..300 {
            let key = key(number);
            assert_eq!(running.say(&key, Op::Read(Read::default())), Said::Value(model.get(&key).cloned()));
        }
        running.save();
        if round % 3 == 0 {
            running.stop();
        }
    }
}

#[test]
fn what_is_told_late_of_what_was_freed_meanwhile_is_not_taken() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let value = |seed: u64| -> Vec<u8> {
        let mut random = Random(seed);
        std::iter::repeat_with(|| random.next() as u8).take(3000).collect()
    };
    let mut running = start(medium.clone(), 1);
    let mut numbers = 0..;
    // As full as it gets.
    while running.figures.freed.load(Relaxed) < 3 {
        for number in numbers.by_ref().take(10) {
            running.set(&key(number), &value(u64::from(number)));
        }
        running.save();
    }
    let count = numbers.start;
    running.stop();
    let mut running = begin(medium, 1, 8 << 20, true);
    running.wait_until_read();
    let before = running.figures.freed.load(Relaxed);
    let mut places = Vec::new();
    while running.figures.freed.load(Relaxed) < before + 8 {
        for number in numbers.by_ref().take(10) {
            running.set(&key(number), &value(u64::from(number)));
        }
        running.hand_over();
        while let Reply::Leave { stream, below, places: left } = running.next(0) {
            places.extend(left);
            running.freed[0].insert(stream, below);
            running.ports[0].left(stream, Vec::new());
        }
    }
    running.learn_all();
    let shard = &running.shards[0];
    let ticket = |number: u32| {
        let (key, op) = (&key(number)[..], Op::Read(Read::default()));
        let hash = shard.hash(0, key);
        (hash, shard.ticket_for(&Command { database: 0, key, op }, hash, NOW))
    };
    let (left, there): (Vec<_>, Vec<_>) = (0..count)
        .map(ticket)
        .partition(|(hash, _)| places.iter().any(|leaving: &Leaving| leaving.record.hash == *hash));
    assert!(left.len() > 20, "{}", left.len());
    assert!(left.iter().all(|(_, ticket)| ticket.is_none()), "{left:?}");
    assert!(
        there.iter().filter(|(_, ticket)| ticket.is_some()).count() > 100,
        "what was not freed was taken"
    );
}

#[test]
fn a_medium_that_fails_while_it_is_read_makes_the_rest_miss_and_tells_deletions_of_it() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = start(medium.clone(), 1);
    for number in 0..200 {
        running.set(&key(number), b"value");
        running.save();
    }
    running.stop();
    medium.sim.fail(Call::Read, 60, libc::EIO);
    let mut running = begin(medium.clone(), 1, 8 << 20, true);
    running.learn_all();
    assert!(running.figures.damaged.load(Relaxed) > 0);
    let found = (0..200).filter(|number| running.get(&key(*number)).is_some()).count();
    assert!((1..200).contains(&found), "{found}");
    let lost = (0..200).find(|number| running.get(&key(*number)).is_none()).unwrap();
    running.execute(&key(lost), Op::Delete(Delete::default()));
    running.save();
    running.stop();
    let mut after = start(medium, 1);
    assert_eq!(after.get(&key(lost)), None, "it was deleted");
    assert!((0..200).filter(|number| after.get(&key(*number)).is_some()).count() > found);
}

#[test]
fn what_recovery_has_no_room_for_is_gone_and_a_deletion_of_it_is_told() {
    let medium = Gated::with(Config { bytes: 16 << 20, ..CONFIG });
    let mut running = start_with(medium.clone(), 1, 32 << 20);
    const COUNT: u32 = 30_000;
    for (first, value) in (0..COUNT).step_by(500).flat_map(|first| [(first, b"older"), (first, b"newer")]) {
        (first..first + 500).for_each(|number| running.set(&key(number), value));
        running.save();
    }
    running.stop();
    let mut small = start_with(medium.clone(), 1, 1 << 20);
    let is_lost = |number: &u32| {
        let (key, op) = (&key(*number)[..], Op::Read(Read::default()));
        let hash = small.shards[0].hash(0, key);
        small.shards[0].ticket_for(&Command { database: 0, key, op }, hash, NOW).is_none()
    };
    let lost: Vec<u32> = (0..COUNT).filter(is_lost).collect();
    assert!(lost.len() > 100 && lost.len() < COUNT as usize, "{} lost", lost.len());
    let found = (0..COUNT).step_by(37).filter_map(|number| small.get(&key(number)));
    assert!(found.into_iter().all(|value| value == b"newer"));
    lost.iter().take(100).for_each(|number| small.execute(&key(*number), Op::Delete(Delete::default())));
    small.save();
    small.stop();
    let mut large = start_with(medium, 1, 32 << 20);
    for number in lost.into_iter().take(100) {
        assert_eq!(large.get(&key(number)), None, "{number} was deleted");
    }
}

#[test]
fn more_deletions_than_recovery_can_remember_make_older_items_miss_and_nothing_comes_back() {
    let medium = Gated::with(Config { streams: 1, ..CONFIG });
    let mut running = start_with(medium.clone(), 1, 32 << 20);
    (0..100).for_each(|number| running.set(&key(number), b"old"));
    running.save();
    for number in 0..9000 {
        running.set(&key(number), b"gone");
        if number >= 50 {
            running.execute(&key(number), Op::Delete(Delete::default()));
        }
        if number % 1000 == 999 {
            running.save();
        }
    }
    running.set(b"new", b"new");
    running.save();
    running.stop();
    for (memory_bytes, still, deleted) in [(32 << 20, 50, 8), (1 << 20, 0, 7), (32 << 20, 48, 6)] {
        let mut after = start_with(medium.clone(), 1, memory_bytes);
        assert_eq!(after.get(b"new").as_deref(), Some(&b"new"[..]));
        let found = (0..9000).filter_map(|number| after.get(&key(number)));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), still);
        assert!(found.iter().all(|value| value == b"gone"));
        // What misses may be there all the same, so its deletion is told.
        after.execute(&key(deleted), Op::Delete(Delete::default()));
        after.save();
        after.stop();
    }
}
