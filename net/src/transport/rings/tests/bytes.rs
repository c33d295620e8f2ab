//! What goes through rings, and what becomes of it when a side goes.

use super::*;

#[test]
fn requests_of_any_length_come_in_order_and_a_sleeping_shard_is_woken() {
    on_each(|transport, _, mut client| {
        let sent: Vec<u8> = (0..200_000usize).map(|at| (at / 3) as u8).collect();
        let to_send = sent.clone();
        let writer = thread::spawn(move || {
            for (number, piece) in to_send.chunks(777).enumerate() {
                if number % 50 == 0 {
                    thread::sleep(Duration::from_millis(2));
                }
                write_all(&mut client, piece);
            }
            client
        });
        let mut received = Vec::new();
        let start = Instant::now();
        while received.len() < sent.len() {
            // Long enough that a wake-up that is lost shows.
            received.extend(transport.received(PATIENCE));
            assert!(start.elapsed() < PATIENCE, "{} of {} bytes came", received.len(), sent.len());
        }
        writer.join().unwrap();
        assert!(received == sent);
        assert!(transport.stats.bells_heard.read() > 0);
    });
}

#[test]
fn a_paused_client_is_not_read_and_its_end_is_noticed() {
    on_each(|transport, conn, mut client| {
        transport.rings.pause(conn);
        write_all(&mut client, b"request");
        transport.settle();
        assert!(transport.received(TURN).is_empty());
        transport.rings.resume(conn);
        assert_eq!(transport.received(PATIENCE), b"request");
        transport.rings.pause(conn);
        write_all(&mut client, b"more");
        transport.settle();
        drop(client);
        let closed = (0..TURNS_MAX).any(|_| matches!(transport.turn(TURN)[..], [Event::Closed { .. }]));
        assert!(closed);
        assert_eq!((transport.stats.rings.read(), transport.stats.ring_bytes.read()), (0, 0));
    });
}

#[test]
fn a_piece_to_a_client_that_is_gone_or_takes_nothing_comes_back() {
    for is_gone in [false, true] {
        on_each(|transport, conn, client| {
            transport.send(conn, vec![1; 10 * RING], Notice::Soon);
            transport.settle();
            let taken = transport.rings.taken(conn);
            let client = (!is_gone).then_some(client);
            if client.is_some() {
                transport.rings.close(conn);
            }
            let mut pieces = 0;
            let closed = (0..TURNS_MAX).any(|_| {
                transport.turn(TURN).into_iter().any(|event| match event {
                    Event::Closed { pieces: left, .. } => {
                        pieces += usize::from(!left.is_empty());
                        true
                    }
                    event => panic!("{event:?}"),
                })
            });
            assert_eq!((taken, pieces, closed), (0, 1, true));
        });
    }
}

#[test]
fn what_a_client_takes_of_a_long_send_shows() {
    on_each(|transport, conn, mut client| {
        transport.send(conn, vec![7; 10 * RING], Notice::Soon);
        transport.settle();
        let before = transport.rings.taken(conn);
        client.read_some(100, &mut Vec::new()).unwrap();
        assert_eq!(transport.rings.taken(conn) - before, 100);
    });
}

#[test]
fn nobody_attaches_twice() {
    on_each(|transport, conn, _client| {
        assert!(matches!(transport.rings.attach(conn, b"x", false), Err(NotAttached::Already)));
        let nobody = ConnId { index: 99, generation: 0 };
        assert!(matches!(transport.rings.attach(nobody, b"x", false), Err(NotAttached::NotLocal)));
    });
}
