//! Moves to RDMA and back, without hardware: each call has one answer, each change is done once, and RDMA carries again in the end.

use super::world::{Says, World};
use crate::Transport;
use crate::core::peer::{Over, State};
use std::time::Duration;
use torc_rdma::Cause;

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SECOND: Duration = Duration::from_secs(1);

/// Counts all keys up and waits for the answers.
fn count_all(world: &mut World) {
    KEYS.iter().for_each(|key| world.count(key));
    for _ in 0..400 {
        world.turn();
        if world.open_calls() == 0 {
            break;
        }
        world.now += Duration::from_millis(10);
    }
    assert_eq!((world.open_calls(), &world.errors[..]), (0, &[][..]));
}

/// Of the seed and both shards.
fn carriers(world: &mut World) -> [Over; 3] {
    [0, 1, 2].map(|index| world.carries(index))
}

/// Whether the shards are, and the seed if it is connected.
fn is_all_over_rdma(world: &mut World) -> bool {
    let seed_is_idle = world.core.peer_mut(0).state == State::Idle;
    let connections = if seed_is_idle { 2 } else { 3 };
    let carriers = carriers(world);
    world.told().connections == connections
        && carriers[usize::from(seed_is_idle)..].iter().all(|over| *over == Over::Rdma)
}

#[test]
fn connections_go_over_rdma_before_they_serve() {
    let mut world = World::new(1, |_| {});
    count_all(&mut world);
    assert_eq!(carriers(&mut world), [Over::Rdma; 3]);
    let told = world.told();
    assert_eq!((told.connections, told.moves, told.fallbacks), (3, 3, vec![]));
    // One over TCP and one over RDMA for each.
    assert_eq!(world.hellos, 6);
}

#[test]
fn a_server_without_rdma_and_a_client_that_does_not_want_it_stay_on_tcp() {
    for (server_has_rdma, transport) in [(false, Transport::Auto), (true, Transport::Socket)] {
        let mut world = World::new(2, |config| config.transport = transport);
        world.server_has_rdma = server_has_rdma;
        count_all(&mut world);
        world.run(100 * SECOND);
        assert_eq!(carriers(&mut world), [Over::Socket; 3]);
        assert_eq!((world.told().fallbacks, world.hellos), (vec![], 3), "nobody asked, and nobody tries");
    }
}

/// Whatever goes wrong, TCP serves without an error; when it goes, RDMA does again.
#[test]
fn each_failure_falls_back_is_counted_and_is_tried_again() {
    type Break = fn(&mut World);
    let all: [(Break, &str); 7] = [
        (|world| world.says = Says::No, "refused"),
        (|world| world.says = Says::Nothing, "no_answer"),
        (|world| world.says = Says::Nonsense, "no_answer"),
        (|world| world.says = Says::End, "no_answer"),
        (|world| world.path = false, "no_answer"),
        (|world| world.device = Some(Cause::Link), "link"),
        (|world| world.device = Some(Cause::Memlock), "memlock"),
    ];
    for (at, (breaks, cause)) in all.into_iter().enumerate() {
        let mut world = World::new(at as u64, |_| {});
        breaks(&mut world);
        count_all(&mut world);
        assert_eq!(carriers(&mut world), [Over::Socket; 3], "{at}");
        let told = world.told();
        assert!(told.connections == 0 && told.fallbacks.iter().all(|(name, _)| *name == cause), "{told:?}");
        // It is tried again, more and more seldom, and nobody notices.
        let hellos = world.hellos;
        for _ in 0..60 {
            count_all(&mut world);
            world.run(5 * SECOND);
        }
        let tries: u64 = world.told().fallbacks.iter().map(|(_, count)| count).sum();
        assert!((3..150).contains(&tries) && world.hellos - hellos < 100, "{at}: {tries} {}", world.hellos);
        (world.says, world.path, world.device) = (Says::Yes, true, None);
        world.run(61 * SECOND);
        count_all(&mut world);
        assert!(is_all_over_rdma(&mut world), "{at}");
        assert!(KEYS.iter().all(|key| world.counted(key) == 62), "{at}");
    }
}

/// The server's device goes, so its hellos no longer tell of RDMA, and comes back.
#[test]
fn a_server_that_had_rdma_is_asked_again() {
    let mut world = World::new(6, |_| {});
    count_all(&mut world);
    world.server_has_rdma = false;
    (0..3).for_each(|index| world.close(index, Some(Cause::Ended)));
    for _ in 0..10 {
        count_all(&mut world);
        world.run(5 * SECOND);
    }
    assert_eq!(carriers(&mut world)[1..], [Over::Socket; 2]);
    world.server_has_rdma = true;
    world.run(61 * SECOND);
    count_all(&mut world);
    assert!(is_all_over_rdma(&mut world), "{:?}", world.told());
}

#[test]
fn rdma_or_nothing_says_why_there_is_nothing() {
    let mut world = World::new(3, |config| config.transport = Transport::Rdma);
    world.server_has_rdma = false;
    world.count("a");
    world.run(5 * SECOND);
    assert_eq!(world.open_calls(), 1, "TCP does not serve");
    assert!(
        world.core.peer_mut(0).last_error.contains("does not serve over RDMA") || world.told().last.is_some()
    );
    world.server_has_rdma = true;
    world.run(5 * SECOND);
    assert_eq!((world.open_calls(), world.carries(0)), (0, Over::Rdma));
}

/// Calls come without end, so that something is always owed: nothing more is sent until the scout has its place.
#[test]
fn a_scout_that_is_ready_gets_its_place_under_load() {
    let mut world = World::new(4, |_| {});
    world.path = false;
    count_all(&mut world);
    (world.path, world.lazy) = (true, true);
    for step in 0..400 {
        world.count(KEYS[step % 6]);
        world.count(KEYS[(step + 1) % 6]);
        world.turn();
        world.pass(10);
    }
    assert_eq!((&carriers(&mut world)[1..], &world.errors[..]), (&[Over::Rdma; 2][..], &[][..]));
}

/// One request is never answered, so its connection is never quiet: the others do not wait for that.
#[test]
fn a_scout_that_waits_in_vain_gives_up() {
    let mut world = World::new(5, |_| {});
    world.credit = 4096;
    world.path = false;
    count_all(&mut world);
    (world.path, world.mute) = (true, Some("a"));
    world.count("a");
    for _ in 0..50 {
        KEYS[1..].iter().for_each(|key| world.count(key));
        world.run(SECOND);
        world.run(SECOND);
        assert_eq!(world.open_calls(), 1);
    }
    let stays = carriers(&mut world)[1..].iter().filter(|over| **over == Over::Socket).count();
    assert_eq!((stays, &world.errors[..]), (1, &[][..]));
}

/// Everything at once, under many seeds.
#[test]
fn calls_are_answered_once_in_their_order_whatever_happens_to_rdma() {
    for seed in 1..400 {
        let mut world = World::new(seed, |config| config.rdma.retry_max = Duration::from_secs(2));
        let mut asked = [0u64; KEYS.len()];
        for step in 0..300 {
            for _ in 0..world.random(4) {
                let key = world.random(KEYS.len() as u64) as usize;
                asked[key] += 1;
                world.count(KEYS[key]);
            }
            match world.random(40) {
                0 => world.path = !world.path,
                1 => world.device = if world.device.is_some() { None } else { Some(Cause::Link) },
                2 => {
                    let all = [Says::Yes, Says::No, Says::Nothing, Says::Nonsense, Says::End];
                    world.says = all[world.random(5) as usize];
                }
                3 => {
                    let index = world.random(6) as usize;
                    world.close(index, Some(Cause::Ended));
                }
                4 => world.pass(3000),
                // Who has never heard of it does not try.
                5 if step > 100 => world.server_has_rdma = !world.server_has_rdma,
                _ => {}
            }
            world.turn();
            world.pass(30);
        }
        (world.says, world.path, world.device, world.server_has_rdma) = (Says::Yes, true, None, true);
        world.run(30 * SECOND);
        assert_eq!((world.open_calls(), &world.errors[..]), (0, &[][..]), "seed {seed}");
        for (key, asked) in KEYS.iter().zip(asked) {
            assert_eq!(world.counted(key), asked, "seed {seed}, {key}");
            let answers = world.answers.remove(key.as_bytes()).unwrap_or_default();
            let whole: Vec<u64> = (1..=asked).collect();
            assert_eq!(answers, whole, "seed {seed}, {key}: each once, in order");
        }
        count_all(&mut world);
        world.run(3 * SECOND);
        assert!(is_all_over_rdma(&mut world), "seed {seed}");
    }
}
