//! How connections end.

use super::*;
use crate::transport::sim::Random;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::Write;

fn leave(client: &Client) {
    SockRef::from(&client.socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What was handed over is not lost because nothing follows it.
#[test]
fn what_was_sent_comes_before_the_end() {
    under_seeds(|mut world, seed| {
        let (conn, mut client) = world.paired();
        let bytes: Vec<u8> = (0..30_000 + seed as usize).map(|at| (at / 3) as u8).collect();
        world.send(conn, bytes.clone());
        world.until("all is sent", |_, event| matches!(event, Event::Sent { .. }).then_some(()));
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
        let mut got = Vec::new();
        client.drain(&mut got);
        assert!(got == bytes, "{} bytes of {} came", got.len(), bytes.len());
        assert_eq!(world.rdma.config.stats.pairs_failed(), 0);
        world.nothing_is_left();
    });
}

/// A client that does not let it be delivered does not keep its place.
#[test]
fn a_client_that_is_gone_does_not_hold_up_its_end() {
    under_seeds(|mut world, _| {
        let (conn, client) = world.paired();
        world.send(conn, vec![7; 10_000]);
        world.until("all is sent", |_, event| matches!(event, Event::Sent { .. }).then_some(()));
        world.network.set_link(&world.clients.clone(), false);
        world.rdma.close(conn);
        let since = Instant::now();
        while world.rdma.conns.count() > 0 {
            assert!(since.elapsed() < Duration::from_secs(10));
            world.turn();
        }
        drop(client);
        world.nothing_is_left();
    });
}

/// The worker has one connection at a place: the next may come as soon as the socket is gone, however much is under way.
#[test]
fn a_place_is_used_again_only_after_its_end_was_told() {
    under_seeds(|mut world, _| {
        let (conn, mut client) = world.paired();
        client.write_all(&vec![1; 100_000]).unwrap();
        // A part of it is being read.
        for _ in 0..TURNS_MAX {
            world.turn();
            if world.rdma.conns.find(conn).is_some_and(|it| it.read.is_some()) {
                break;
            }
        }
        world.network.set_link(&world.clients.clone(), false);
        leave(&client);
        drop(client);
        let mut is_closed = false;
        for _ in 0..50 {
            let _next = TcpStream::connect(world.address).unwrap();
            for event in world.turn() {
                match event {
                    Event::Closed { conn: closed, .. } => is_closed |= closed == conn,
                    Event::Accepted { conn: next, .. } => {
                        assert!(next.index != conn.index || is_closed, "{next:?} while {conn:?} is there");
                    }
                    Event::Received { buffer, .. } => world.rdma.recycle(buffer),
                    _ => {}
                }
            }
        }
        assert!(is_closed);
    });
}

/// Whatever clients do, at any moment: every connection ends once, no event comes behind its end, and all memory comes back.
#[test]
fn all_comes_back_however_connections_end() {
    under_seeds(|mut world, seed| {
        let mut random = Random::new(seed);
        let mut clients: BTreeMap<u32, (ConnId, Option<Client>)> = BTreeMap::new();
        let (mut held, mut sending) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            if clients.len() < 3 && random.chance(20) && held.is_empty() && clients.is_empty() {
                for _ in 0..3 {
                    let (conn, client) = world.paired();
                    clients.insert(conn.index, (conn, Some(client)));
                }
            }
            let chosen = clients.values_mut().nth(random.below(3));
            if let Some((conn, client)) = chosen {
                match (random.below(8), client.as_mut()) {
                    (0..3, Some(client)) => {
                        let most = 1 << random.below(17);
                        let count = 1 + random.below(most);
                        let _ = client.end.write(&vec![9; count]);
                    }
                    (3, Some(client)) => client.drain(&mut Vec::new()),
                    (4, Some(_)) if !sending.contains(conn) => {
                        sending.push(*conn);
                        world.rdma.send(
                            *conn,
                            Piece::Bytes(vec![3; 1 + random.below(50_000)]).into(),
                            Notice::Soon,
                        );
                    }
                    (5, _) if random.chance(30) => world.rdma.close(*conn),
                    (6, Some(_)) if random.chance(30) => drop(client.take()),
                    (7, _) if random.chance(50) => world.rdma.pause(*conn),
                    _ => world.rdma.resume(*conn),
                }
            }
            for event in world.turn() {
                match event {
                    Event::Received { conn, buffer, .. } => {
                        assert!(clients.contains_key(&conn.index), "something comes behind the end");
                        held.push(buffer);
                    }
                    Event::Sent { conn, .. } => sending.retain(|other| *other != conn),
                    Event::Closed { conn, .. } => {
                        assert!(clients.remove(&conn.index).is_some(), "it ends once");
                        sending.retain(|other| *other != conn);
                    }
                    event => panic!("{event:?}"),
                }
            }
            if let Some(hub) = &world.rdma.hub
                && hub.completions.is_empty()
            {
                assert!(hub.memory.is_full(), "others have no receives");
            }
            while !held.is_empty() && random.chance(60) {
                let buffer = held.swap_remove(random.below(held.len()));
                world.rdma.recycle(buffer);
            }
        }
        clients.values().for_each(|(conn, _)| world.rdma.close(*conn));
        let since = Instant::now();
        while !clients.is_empty() {
            assert!(since.elapsed() < Duration::from_secs(10));
            for event in world.turn() {
                match event {
                    Event::Received { buffer, .. } => held.push(buffer),
                    Event::Closed { conn, .. } => drop(clients.remove(&conn.index)),
                    _ => {}
                }
            }
        }
        held.into_iter().for_each(|buffer| world.rdma.recycle(buffer));
        world.nothing_is_left();
    });
}

/// When the device goes, so do its connections and all that was made of it; with the next, clients are paired again.
#[test]
fn a_device_that_goes_is_let_go() {
    under_seeds(|mut world, seed| {
        let before = world.device.values();
        let (conn, mut client) = world.paired();
        client.write_all(&vec![5; 40_000]).unwrap();
        world.send(conn, vec![1; 20_000]);
        let mut held = Vec::new();
        for _ in 0..seed * 3 {
            for event in world.turn() {
                if let Event::Received { buffer, .. } = event {
                    held.push(buffer);
                }
            }
        }
        world.rdma.config.device.replace(None);
        world.until("its end", |_, event| match event {
            Event::Received { buffer, .. } => {
                held.push(buffer);
                None
            }
            Event::Closed { .. } => Some(()),
            _ => None,
        });
        assert!(matches!(world.rdma.pair(conn, &Default::default()), Err(NotPaired::Gone)));
        held.into_iter().for_each(|buffer| world.rdma.recycle(buffer));
        for _ in 0..3 {
            assert!(world.turn().is_empty());
        }
        assert!(world.rdma.hub.is_none());
        // The world's own value, and none that was made of it.
        assert!(world.device.values() < before, "{} of {before}", world.device.values());
        world.open();
        let (conn, _client) = world.paired();
        world.rdma.close(conn);
        world.until("the end", |_, event| matches!(event, Event::Closed { .. }).then_some(()));
        world.nothing_is_left();
    });
}
