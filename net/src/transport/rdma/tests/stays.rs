//! Connections that are there, and do little.

use super::receives::PULL_BYTES;
use super::*;
use std::io::Write;

/// Answers are counted when they are handed to the device, whether anything of them has completed or not.
#[test]
fn what_is_posted_is_counted() {
    under_seeds(|mut world, _| {
        let (conn, mut client) = world.paired();
        let posted = |world: &World<Epoll>| world.rdma.config.stats.pair_posted.read();
        assert_eq!(posted(&world), 0);
        for number in 1..=10 {
            world.send(conn, vec![7; 100]);
            assert_eq!(posted(&world), number, "one message each");
            client.drain(&mut Vec::new());
            (0..20).for_each(|_| drop(world.turn()));
        }
        // What it returns of credits, and the ping that its end waits for, are requests, too.
        for number in 0..200u8 {
            client.write_all(&[number]).unwrap();
            let buffer = world.until("a byte", |_, event| match event {
                Event::Received { buffer, .. } => Some(buffer),
                event => panic!("{event:?}"),
            });
            world.rdma.recycle(buffer);
        }
        let returned = posted(&world) - 10;
        assert!((1..200).contains(&returned), "{returned}");
        let before = posted(&world);
        world.send(conn, vec![7; 100]);
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
        assert_eq!(posted(&world) - before, 2);
    });
}

/// Whether the shard would sleep, if it were for the queue pairs.
fn is_idle(world: &mut World<Epoll>) -> bool {
    let rdma = &mut world.rdma;
    let has_completions = rdma.hub.as_mut().is_some_and(Hub::has_completions);
    !has_completions && rdma.touched.is_empty() && rdma.pending.is_empty()
}

/// Turns without an event until it is so for long; whether it came to that.
fn settles(world: &mut World<Epoll>) -> bool {
    let mut quiet = 0;
    (0..TURNS_MAX).any(|_| {
        quiet = if world.turn().is_empty() && is_idle(world) { quiet + 1 } else { 0 };
        quiet == 200
    })
}

/// A shard whose worker holds all room for what clients lend sleeps until some comes back, and then goes on.
#[test]
fn who_waits_for_room_does_not_keep_the_shard_awake() {
    under_seeds(|mut world, _| {
        let (conn, mut client) = world.paired();
        let bytes: Vec<u8> = (0..20 * PULL_BYTES).map(|at| (at / 5) as u8).collect();
        client.write_all(&bytes).unwrap();
        let (mut held, mut got) = (Vec::new(), Vec::new());
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            let events = world.turn();
            quiet = if events.is_empty() && is_idle(&mut world) { quiet + 1 } else { 0 };
            for event in events {
                let Event::Received { buffer, len, .. } = event else { panic!("{event:?}") };
                got.extend_from_slice(world.rdma.received(buffer, len));
                held.push(buffer);
            }
            if quiet == 200 {
                if held.is_empty() {
                    break;
                }
                // Not all at once: the last that is needed may be any.
                world.rdma.recycle(held.remove(0));
                quiet = 0;
            }
        }
        assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
        world.nothing_is_left();
    });
}

/// That a client asks whether the server is there is no sign that it takes its answers.
#[test]
fn what_a_client_says_is_not_what_it_takes() {
    under_seeds(|mut world, _| {
        let (conn, mut client) = world.paired();
        world.send(conn, vec![7; 2 << 20]);
        assert!(settles(&mut world), "the client's receives are full");
        let taken = world.rdma.taken(conn);
        for _ in 0..10 {
            client.end.ping().expect("it is there");
            (0..20).for_each(|_| drop(world.turn()));
            // It answers pings, and reads nothing.
            client.end.has_news(false);
        }
        assert_eq!(world.rdma.taken(conn), taken);
        client.drain(&mut Vec::new());
        (0..100).for_each(|_| drop(world.turn()));
        assert!(world.rdma.taken(conn) > taken);
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
    });
}
