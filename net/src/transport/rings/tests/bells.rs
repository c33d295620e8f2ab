//! Who is rung for, and who looks by itself.

use super::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use torc_shm::steps::at_each;

#[test]
fn who_is_awake_costs_no_bell() {
    on_each(|transport, conn, mut client| {
        for number in 0..1000u32 {
            write_all(&mut client, &number.to_le_bytes());
            assert_eq!(transport.received(Duration::ZERO), number.to_le_bytes());
            transport.send(conn, number.to_le_bytes().to_vec(), Notice::WithNext);
            let mut answer = Vec::new();
            client.read_some(usize::MAX, &mut answer).unwrap();
            assert_eq!(answer, number.to_le_bytes());
        }
        let stats = &transport.stats;
        assert_eq!((stats.bells_heard.read(), stats.bells_rung.read()), (0, 0));
    });
}

/// Once a bell that the transport had not reported as sent, when the next was due, would have been the last.
#[test]
fn a_client_that_sleeps_after_each_answer_is_woken_for_each() {
    on_each(|transport, conn, mut client| {
        for number in 0..200u32 {
            assert!(client.may_sleep(false).unwrap());
            transport.send(conn, number.to_le_bytes().to_vec(), Notice::WithNext);
            // The answers come faster than the ends of the bells are reported.
            let start = Instant::now();
            let mut answer = Vec::new();
            client.socket.set_nonblocking(true).unwrap();
            loop {
                transport.turn(Duration::ZERO);
                let mut bell = [0];
                if std::io::Read::read(&mut client.socket, &mut bell).is_ok() {
                    client.end.wake();
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "answer {number}: no bell");
            }
            client.read_some(usize::MAX, &mut answer).unwrap();
            assert_eq!(answer, number.to_le_bytes());
        }
    });
}

#[test]
fn a_bell_that_is_owed_is_rung_when_the_last_one_is_back() {
    on_each(|transport, conn, mut client| {
        // Two sleeps within one turn: the second bell is due before the first is on its way.
        assert!(client.may_sleep(false).unwrap());
        transport.send(conn, b"one".to_vec(), Notice::WithNext);
        transport.rings.may_have_news();
        client.end.wake();
        client.read_some(usize::MAX, &mut Vec::new()).unwrap();
        assert!(client.may_sleep(false).unwrap());
        transport.turn(Duration::ZERO);
        transport.send(conn, b"two".to_vec(), Notice::WithNext);
        transport.rings.may_have_news();
        let mut bells = 0;
        for _ in 0..50 {
            transport.turn(Duration::from_millis(1));
        }
        client.socket.set_nonblocking(true).unwrap();
        while std::io::Read::read(&mut client.socket, &mut [0]).is_ok() {
            bells += 1;
        }
        assert_eq!(bells, 2);
    });
}

#[test]
fn a_ring_gets_cold_and_its_client_rings() {
    on_each(|transport, _, mut client| {
        for round in 0..5u32 {
            for _ in 0..=COLD_TURNS {
                assert!(transport.turn(Duration::ZERO).is_empty());
            }
            client.write_some(b"request").unwrap();
            transport.settle();
            assert!(transport.received(Duration::ZERO).is_empty(), "nobody looks at it");
            client.wake_server();
            assert_eq!(transport.received(PATIENCE), b"request");
            assert_eq!(transport.stats.bells_heard.read(), u64::from(round) + 1);
        }
    });
}

/// A shard that waits for room is told when there is some: without it the rest of an answer would never go.
#[test]
fn a_sleeping_shard_is_woken_for_room() {
    on_each(|transport, conn, mut client| {
        let bytes: Vec<u8> = (0..5 * RING).map(|at| (at / 7) as u8).collect();
        let expected = bytes.clone();
        transport.send(conn, bytes, Notice::Soon);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            let start = Instant::now();
            while received.len() < expected.len() {
                thread::sleep(Duration::from_millis(5));
                client.read_some(usize::MAX, &mut received).unwrap();
                client.wake_server();
                assert!(start.elapsed() < PATIENCE, "{} bytes came", received.len());
            }
            assert!(received == expected);
            client
        });
        let start = Instant::now();
        let sent = (0..TURNS_MAX).any(|_| {
            let events = transport.turn(PATIENCE);
            events.iter().any(|event| matches!(event, Event::Sent { .. }))
        });
        assert!(sent && start.elapsed() < PATIENCE);
        reader.join().unwrap();
    });
}

/// Once the shard slept before it had woken the client for what it wrote when it found room, until its next tick.
#[test]
fn a_client_that_sleeps_within_a_long_answer_is_woken_for_the_next_part() {
    on_each(|transport, conn, mut client| {
        transport.send(conn, vec![7; 4 * RING], Notice::Soon);
        transport.settle();
        client.socket.set_nonblocking(true).unwrap();
        for _ in 0..2 {
            // The shard is awake, so it is not rung for, and finds the room by itself.
            assert_eq!(client.read_some(usize::MAX, &mut Vec::new()), Ok(RING));
            client.wake_server();
            assert!(client.may_sleep(false).unwrap());
            assert!(transport.turn(TURN).is_empty());
            assert!(std::io::Read::read(&mut client.socket, &mut [0]).is_ok(), "no bell");
            client.end.wake();
        }
    });
}

/// A client that is awake may ask at once: its bell would come just while the shard falls asleep.
#[test]
fn a_shard_looks_on_before_it_sleeps_on_a_client_that_is_awake() {
    /// More steps than a turn takes to look once and to go to sleep.
    const LATE: u32 = 30;
    if uring::probe().is_err() {
        return;
    }
    let make = |config| Uring::new(config).unwrap();
    open(make, &|transport: &mut Over, conn, client| {
        transport.settle();
        let client = Rc::new(RefCell::new(client));
        for _ in 0..3 {
            transport.send(conn, b"answer".to_vec(), Notice::WithNext);
            let (asking, steps) = (client.clone(), Cell::new(0));
            at_each(Some(Box::new(move |_| {
                steps.set(steps.get() + 1);
                if steps.get() == LATE {
                    let mut client = asking.borrow_mut();
                    assert!(client.end.is_other_awake(), "it sleeps");
                    client.write_some(b"request").unwrap();
                }
            })));
            let received = transport.received(PATIENCE);
            at_each(None);
            assert_eq!(received, b"request");
        }
        assert_eq!(transport.stats.bells_heard.read(), 0);
    });
}
