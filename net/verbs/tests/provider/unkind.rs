//! What the simulated provider does to whoever trusts too much. Each of these must show under some seed, or tests over it prove little.

use crate::ends::{End, Wanted, connect, end, pattern};
use crate::simulated::Simulated;
use crate::world::{World, completion};
use std::collections::BTreeSet;
use torc_verbs::completion::{Completion, Done, Failure};
use torc_verbs::memory::Buffer;
use torc_verbs::region::Region;
use torc_verbs::seam::{Access, CompletionQueue, QueuePair, Verbs};
use torc_verbs::sim::{Device, Weather};
use torc_verbs::work::{Action, Payload, Work};

const SEEDS: u64 = 50;
const LEN: usize = 256;

fn readable() -> Wanted {
    Wanted { access: Access::RemoteRead, ..Wanted::default() }
}

/// Steps `count` times.
fn turn(world: &Simulated, count: u64) {
    for _ in 0..count {
        world.turn(world.now());
    }
}

/// Takes what a queue has.
fn taken(queue: &impl CompletionQueue) -> Vec<Completion> {
    let mut completions = [Completion::NONE; 64];
    let count = queue.poll(&mut completions).expect("a queue");
    completions[..count].to_vec()
}

fn read(from: &End<Device>, to: &End<Device>, id: u64, len: usize) {
    to.post(id, Action::Read { into: &[to.piece(0, len)], from: from.remote(0) });
}

#[test]
fn a_read_sees_half_of_an_overwrite() {
    let (mut torn, mut old, mut new) = (0, 0, 0);
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        let ends = connect(&world, &readable());
        ends[1].memory.write(0, &[1; LEN]);
        read(&ends[1], &ends[0], 1, LEN);
        turn(&world, 5 * seed);
        ends[1].memory.write(0, &[2; LEN]);
        assert_eq!(ends[0].sent(&world, 1), Ok(Done::Read));
        let seen: BTreeSet<u8> = ends[0].memory.bytes(0, LEN).into_iter().collect();
        match seen.into_iter().collect::<Vec<_>>().as_slice() {
            [1] => old += 1,
            [2] => new += 1,
            [1, 2] => torn += 1,
            other => panic!("bytes of nobody: {other:?}"),
        }
    }
    assert!(torn > 0 && old > 0 && new > 0, "torn {torn}, old {old}, new {new}");
}

#[test]
fn a_write_is_there_in_part_before_it_is_told() {
    let mut seen_in_part = 0;
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        let ends = connect(&world, &Wanted { access: Access::RemoteWrite, ..Wanted::default() });
        ends[0].memory.write(0, &[7; LEN]);
        let pieces = [ends[0].piece(0, LEN)];
        let action =
            Action::Write { payload: Payload::Pieces(&pieces), to: ends[1].remote(0), immediate: None };
        ends[0].post(1, action);
        while taken(&ends[0].sends).is_empty() {
            turn(&world, 1);
            let seen = ends[1].memory.bytes(0, LEN);
            seen_in_part += u64::from(seen.contains(&7) && seen.contains(&0));
        }
    }
    assert!(seen_in_part > 0);
}

#[test]
fn what_is_changed_before_its_completion_is_sent_changed() {
    let changed = (0..SEEDS).filter(|&seed| {
        let world = Simulated::new(seed);
        let ends = connect(&world, &Wanted::default());
        ends[1].receive(1, 0, LEN);
        ends[0].send(2, 0, LEN);
        turn(&world, 5);
        ends[0].memory.write(0, &[3; LEN]);
        assert!(ends[1].received(&world, 1).is_ok());
        ends[1].memory.bytes(0, LEN).contains(&3)
    });
    assert!(changed.count() > 0);
}

#[test]
fn completions_of_two_pairs_come_in_any_order_and_those_of_one_in_theirs() {
    let mut orders = BTreeSet::new();
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        let both = [connect(&world, &readable()), connect(&world, &readable())];
        for id in 0..3 {
            for ends in &both {
                read(&ends[1], &ends[0], id, 8);
            }
        }
        let (mut order, mut last) = (Vec::new(), [None; 2]);
        while order.len() < 6 {
            turn(&world, 1);
            for (which, ends) in both.iter().enumerate() {
                for completion in taken(&ends[0].sends) {
                    assert!(last[which] < Some(completion.id), "in order");
                    last[which] = Some(completion.id);
                    order.push(which);
                }
            }
        }
        orders.insert(order);
    }
    // Of the 20 that there can be.
    assert!(orders.len() > 10, "{orders:?}");
}

#[test]
fn a_completion_may_be_lost_and_then_its_room_is() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        world.network.set_weather(Weather { lost: 200, ..Weather::default() });
        let ends = connect(&world, &Wanted { sends: 4, ..readable() });
        for id in 0..4 {
            read(&ends[1], &ends[0], id, 8);
        }
        turn(&world, 1000);
        let seen = taken(&ends[0].sends).len();
        lost += 4 - seen;
        let action = || Action::Read { into: &[], from: ends[1].remote(0) };
        let room = (0..4).take_while(|&id| {
            let work = Work { id, action: action(), signaled: true, solicited: false };
            ends[0].pair.post(&[work]).is_ok()
        });
        assert_eq!(room.count(), seen);
    }
    assert!(lost > 0);
}

#[test]
fn room_comes_back_only_with_a_completion() {
    let world = Simulated::new(1);
    let ends = connect(&world, &Wanted { sends: 4, ..readable() });
    let into = [ends[0].piece(0, 8)];
    let post = |id, signaled| {
        let action = Action::Read { into: &into, from: ends[1].remote(0) };
        ends[0].pair.post(&[Work { id, action, signaled, solicited: false }])
    };
    for id in 0..3 {
        post(id, false).expect("room");
    }
    turn(&world, 1000);
    post(3, true).expect("room");
    assert!(post(4, true).is_err_and(|error| error.error.is_full()), "three that nobody told of, and one");
    turn(&world, 1000);
    assert!(post(4, true).is_err(), "it is over, but not polled");
    assert_eq!(ends[0].sent(&world, 3), Ok(Done::Read));
    for id in 4..8 {
        post(id, true).expect("room for all again");
    }
}

#[test]
fn a_queue_that_overruns_has_failed() {
    let world = Simulated::new(1);
    let wanted = Wanted { sends: 512, ..readable() };
    let ends = connect(&world, &wanted);
    for id in 0..300 {
        read(&ends[1], &ends[0], id, 0);
    }
    turn(&world, 20_000);
    assert!(ends[0].sends.poll(&mut [Completion::NONE]).is_err());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let world = Simulated::new(seed);
        let both = [connect(&world, &readable()), connect(&world, &readable())];
        let mut trace = Vec::new();
        for id in 0..10 {
            for ends in &both {
                read(&ends[1], &ends[0], id, LEN);
            }
        }
        while trace.len() < 20 {
            turn(&world, 1);
            for ends in &both {
                trace.extend(taken(&ends[0].sends).iter().map(|one| (world.now(), one.id, one.pair)));
            }
        }
        trace
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn no_key_is_used_twice_and_none_is_near_another() {
    let world = Simulated::new(3);
    let end = end(&world, 0, &Wanted::default());
    let mut keys = BTreeSet::new();
    for _ in 0..1000 {
        let memory = Buffer::new(8).expect("memory");
        let region = end.device.register(&end.domain, memory, Access::RemoteRead).expect("a region");
        let key = region.remote_key();
        assert!(keys.insert(key));
        assert!(!keys.contains(&(key + 1)) && !keys.contains(&key.wrapping_sub(1)), "a key can be guessed");
    }
}

#[test]
fn memory_of_another_domain_is_refused() {
    let world = Simulated::new(4);
    let ends = connect(&world, &readable());
    let stranger = end(&world, 1, &readable());
    stranger.memory.write(0, &pattern(64, 1));
    ends[0].post(1, Action::Read { into: &[ends[0].piece(0, 64)], from: stranger.remote(0) });
    assert!(completion(&world, &ends[0].sends).result.is_err());
    assert_eq!(ends[0].memory.bytes(0, 64), [0; 64]);
}

#[test]
fn a_receive_that_a_message_was_coming_into_is_flushed() {
    let mut cut_off = 0;
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        let ends = connect(&world, &Wanted::default());
        ends[1].receive(1, 0, LEN);
        ends[0].memory.write(0, &[9; LEN]);
        ends[0].send(2, 0, LEN);
        turn(&world, seed);
        let seen = ends[1].memory.bytes(0, LEN);
        let is_half = seen.contains(&9) && seen.contains(&0);
        ends[1].pair.fail().expect("failed");
        let received = ends[1].received(&world, 1);
        assert!(!is_half || received == Err(Failure::Flushed), "{received:?}");
        cut_off += u64::from(is_half);
    }
    assert!(cut_off > 0);
}

#[test]
fn a_send_overtakes_a_read_and_its_completion_does_not() {
    let (mut overtaken, mut torn) = (0, 0);
    for seed in 0..SEEDS {
        let world = Simulated::new(seed);
        let ends = connect(&world, &readable());
        ends[1].memory.write(0, &[1; LEN]);
        ends[1].receive(3, LEN, LEN);
        read(&ends[1], &ends[0], 1, LEN);
        ends[0].send(2, LEN, 1);
        // Whoever changes what is read when a message behind the READ comes is too early.
        assert!(ends[1].received(&world, 3).is_ok());
        let mut completions = taken(&ends[0].sends);
        overtaken += u64::from(completions.is_empty());
        ends[1].memory.write(0, &[2; LEN]);
        let mut last = 0;
        while last < 2 {
            turn(&world, 1);
            completions.extend(taken(&ends[0].sends));
            for completion in completions.drain(..) {
                assert_eq!(completion.id, last + 1, "in their order");
                last = completion.id;
            }
        }
        torn += u64::from(ends[0].memory.bytes(0, LEN).contains(&2));
    }
    assert!(overtaken > 0 && torn > 0, "overtaken {overtaken}, torn {torn}");
}
