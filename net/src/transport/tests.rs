//! What every transport over sockets keeps to.

mod client;
mod room;

use super::epoll::Epoll;
use super::rings::tests::{attached, listen};
use super::rings::{self, Rings};
use super::sim::Random;
use super::sockets::SocketsConfig;
use super::uring::{self, Uring};
use super::*;
use crate::session::Piece;
use client::{Client, drain};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;
use torc_engine::segments::Room;

/// More than the ring of io_uring holds at first: the others may be named by receives.
const BUFFERS: u16 = 128;
const BUFFER_BYTES: u32 = 1024;
const TURN: Duration = Duration::from_millis(20);
const MIN_WAIT: Duration = Duration::from_micros(50);
/// Turns in which a test must be done.
const TURNS_MAX: usize = 20_000;

/// Runs `check` on a connection of each transport that this machine has, through a socket, through rings and over simulated RDMA.
fn on_each(check: impl Fn(&mut dyn Face, ConnId, Client)) {
    on_each_that(&[false, true], check);
}

/// The same, with those transports of sockets that were told to spin and to wait for batches, or were not.
fn on_each_that(waits: &[bool], check: impl Fn(&mut dyn Face, ConnId, Client)) {
    on_sockets_that(waits, |transport, conn, client| check(transport, conn, Client::Socket(client)));
    over_rings(|config| Epoll::new(config).unwrap(), &check);
    (0..rdma::tests::SEEDS).for_each(|seed| over_pair(seed, |config| Epoll::new(config).unwrap(), &check));
    if uring::probe().is_ok() {
        over_rings(|config| Uring::new(config).unwrap(), &check);
        over_pair(1, |config| Uring::new(config).unwrap(), &check);
    }
}

/// On a connection through a socket: for what rings do not have, such as an end of one side, or room.
fn on_sockets(check: impl Fn(&mut dyn Face, ConnId, TcpStream)) {
    on_sockets_that(&[false, true], check);
}

fn on_sockets_that(waits: &[bool], check: impl Fn(&mut dyn Face, ConnId, TcpStream)) {
    over_socket(false, |config| Epoll::new(config).unwrap(), &check);
    beside_rings(|config| Epoll::new(config).unwrap(), &check);
    if uring::probe().is_ok() {
        waits.iter().for_each(|&waits| over_socket(waits, |config| Uring::new(config).unwrap(), &check));
        beside_rings(|config| Uring::new(config).unwrap(), &check);
    }
}

fn config(listeners: Vec<OwnedFd>) -> SocketsConfig {
    let (buffers, buffer_bytes, min_wait) = (BUFFERS, BUFFER_BYTES, Duration::ZERO);
    SocketsConfig { listeners, buffers, buffer_bytes, spins: true, min_wait }
}

fn over_socket<T: Transport>(
    waits: bool,
    make: impl Fn(SocketsConfig) -> T,
    check: &impl Fn(&mut dyn Face, ConnId, TcpStream),
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let min_wait = if waits && uring::has_min_wait() { MIN_WAIT } else { Duration::ZERO };
    let mut transport = make(SocketsConfig { spins: waits, min_wait, ..config(vec![listener.into()]) });
    let client = TcpStream::connect(address).unwrap();
    let conn = accept(&mut transport);
    check(&mut transport, conn, client);
}

/// A socket of a transport that has another client with rings.
fn beside_rings<T: Transport>(
    make: impl Fn(SocketsConfig) -> T,
    check: &impl Fn(&mut dyn Face, ConnId, TcpStream),
) {
    let (path, unix) = listen();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sockets = make(config(vec![listener.into(), unix.into()]));
    let mut transport = Rings::new(sockets, rings::tests::config());
    let (_, _neighbour) = attached(&mut transport, &path);
    std::fs::remove_file(path).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let conn = accept(&mut transport);
    check(&mut transport, conn, client);
}

fn over_rings<T: Transport>(
    make: impl Fn(SocketsConfig) -> T,
    check: &impl Fn(&mut dyn Face, ConnId, Client),
) {
    let (path, listener) = listen();
    let mut transport = Rings::new(make(config(vec![listener.into()])), rings::tests::config());
    let (conn, client) = attached(&mut transport, &path);
    std::fs::remove_file(path).unwrap();
    check(&mut transport, conn, Client::Rings(client));
}

fn over_pair<T: Transport>(
    seed: u64,
    make: impl Fn(SocketsConfig) -> T,
    check: &impl Fn(&mut dyn Face, ConnId, Client),
) {
    let mut world = rdma::tests::World::new(seed, make);
    let (conn, client) = world.paired();
    check(&mut world.rdma, conn, Client::Pair(Box::new(client)));
}

/// [`Transport`], as far as the tests need it, behind a pointer.
trait Face {
    fn turn(&mut self, wait: Duration) -> Vec<Event>;
    fn may_have_news(&mut self) -> bool;
    fn send_all(&mut self, conn: ConnId, pieces: Pieces, notice: Notice);
    fn pause(&mut self, conn: ConnId);
    fn resume(&mut self, conn: ConnId);
    fn set_receive_window(&mut self, bytes: usize);
    fn taken(&self, conn: ConnId) -> u64;
    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room>;
    fn recall(&mut self, conn: ConnId);
    fn received(&self, buffer: BufferId, len: u32) -> Vec<u8>;
    fn recycle(&mut self, buffer: BufferId);
    fn close(&mut self, conn: ConnId);
    fn name(&self) -> &'static str;
    fn wake(&self);
}

impl<T: Transport> Face for T {
    fn turn(&mut self, wait: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        Transport::turn(self, Some(wait), &mut events).unwrap();
        events
    }

    fn may_have_news(&mut self) -> bool {
        Transport::may_have_news(self)
    }

    fn send_all(&mut self, conn: ConnId, pieces: Pieces, notice: Notice) {
        Transport::send(self, conn, pieces, notice);
    }

    fn pause(&mut self, conn: ConnId) {
        Transport::pause(self, conn);
    }

    fn resume(&mut self, conn: ConnId) {
        Transport::resume(self, conn);
    }

    fn set_receive_window(&mut self, bytes: usize) {
        Transport::set_receive_window(self, bytes);
    }

    fn taken(&self, conn: ConnId) -> u64 {
        Transport::taken(self, conn)
    }

    fn receive_into(&mut self, conn: ConnId, room: Room, last: bool) -> Result<(), Room> {
        Transport::receive_into(self, conn, room, last)
    }

    fn recall(&mut self, conn: ConnId) {
        Transport::recall(self, conn);
    }

    fn received(&self, buffer: BufferId, len: u32) -> Vec<u8> {
        Transport::received(self, buffer, len).to_vec()
    }

    fn recycle(&mut self, buffer: BufferId) {
        Transport::recycle(self, buffer);
    }

    fn close(&mut self, conn: ConnId) {
        Transport::close(self, conn);
    }

    fn name(&self) -> &'static str {
        Transport::name(self)
    }

    fn wake(&self) {
        Transport::waker(self).wake();
    }
}

impl dyn Face + '_ {
    fn send(&mut self, conn: ConnId, bytes: Vec<u8>, notice: Notice) {
        self.send_all(conn, Piece::Bytes(bytes).into(), notice);
    }
}

fn accept(transport: &mut dyn Face) -> ConnId {
    for _ in 0..TURNS_MAX {
        for event in transport.turn(TURN) {
            if let Event::Accepted { conn, .. } = event {
                return conn;
            }
        }
    }
    panic!("nobody was accepted");
}

#[test]
fn pieces_arrive_whole_and_in_order_however_they_are_sent() {
    on_each(|transport, conn, mut client| {
        let mut random = Random::new(11);
        let (mut sent, mut received, mut stops) = (Vec::new(), Vec::new(), 0);
        // Rings and receives hold little, so fewer fill them as often.
        let count = if matches!(client, Client::Socket(_)) { 1000 } else { 100 };
        for number in 0..count {
            let mut pieces = Pieces::default();
            for _ in 0..if random.chance(50) { 1 } else { 1 + random.below(PIECES_MAX) } {
                let len = 1 + random.below(20_000);
                let bytes: Vec<u8> = (0..len).map(|at| (number * 31 + at) as u8).collect();
                sent.extend_from_slice(&bytes);
                pieces.push(Piece::Bytes(bytes));
            }
            let notice = if random.chance(80) { Notice::WithNext } else { Notice::Soon };
            transport.send_all(conn, pieces, notice);
            let reported = (0..TURNS_MAX).any(|turn| {
                if turn > 2 {
                    // The socket is full: only now the client reads.
                    stops += usize::from(turn == 3);
                    drain(&mut client, false, &mut received);
                }
                let events = transport.turn(Duration::from_millis(1));
                assert!(events.len() <= 1, "{events:?}");
                matches!(events[..], [Event::Sent { .. }])
            });
            assert!(reported, "piece {number} is not reported");
        }
        transport.close(conn);
        let closed = (0..TURNS_MAX).any(|_| matches!(transport.turn(TURN)[..], [Event::Closed { .. }]));
        assert!(closed);
        drain(&mut client, true, &mut received);
        assert!(received == sent, "what arrived is not what was sent");
        assert!(stops > 1, "the socket was never full");
    });
}

#[test]
fn a_piece_to_a_client_that_is_gone_comes_back() {
    on_each(|transport, conn, client| {
        client.break_off();
        transport.send(conn, vec![1; 1000], Notice::WithNext);
        let (mut pieces, mut closed) = (0, false);
        for _ in 0..TURNS_MAX {
            for event in transport.turn(TURN) {
                match event {
                    Event::Sent { .. } => pieces += 1,
                    Event::Closed { pieces: left, .. } => {
                        pieces += usize::from(!left.is_empty());
                        closed = true;
                    }
                    _ => {}
                }
            }
            if closed {
                break;
            }
        }
        assert_eq!((pieces, closed), (1, true));
    });
}

#[test]
fn a_send_that_nothing_depends_on_does_not_end_the_wait() {
    on_sockets(|transport, conn, mut client| {
        for _ in 0..8 {
            transport.send(conn, b"answer".to_vec(), Notice::WithNext);
            // One turn, one event: had the send ended the wait, the turn would not have seen the request.
            let asking = thread::spawn(move || {
                let mut answer = [0; 6];
                client.read_exact(&mut answer).unwrap();
                client.write_all(b"request").unwrap();
                client
            });
            let events = transport.turn(Duration::from_secs(20));
            client = asking.join().unwrap();
            let received = events.iter().any(|event| matches!(event, Event::Received { .. }));
            let sent = events.iter().any(|event| matches!(event, Event::Sent { .. }));
            assert!(received && sent, "{events:?}");
        }
    });
}

#[test]
fn a_wake_up_brings_the_report_of_a_send_with_it() {
    on_each(|transport, conn, _client| {
        for _ in 0..3 {
            transport.send(conn, b"answer".to_vec(), Notice::WithNext);
            transport.wake();
            let events = transport.turn(Duration::from_secs(20));
            let woken = events.iter().any(|event| matches!(event, Event::Woken));
            let sent = events.iter().any(|event| matches!(event, Event::Sent { .. }));
            assert!(woken && sent, "{events:?}");
        }
    });
}

/// Turns until the connection is closed. The pieces that came back.
fn closed(transport: &mut dyn Face, conn: ConnId) -> usize {
    for _ in 0..TURNS_MAX {
        for event in transport.turn(TURN) {
            if let Event::Closed { conn: closed, mut pieces } = event {
                assert_eq!(closed, conn);
                return pieces.drain().count();
            }
        }
    }
    panic!("it is not closed");
}

#[test]
fn a_paused_client_that_is_gone_is_closed() {
    on_each(|transport, conn, client| {
        transport.pause(conn);
        (0..3).for_each(|_| drop(transport.turn(TURN)));
        client.break_off();
        assert_eq!(closed(transport, conn), 0);
    });
}

#[test]
fn a_paused_client_that_has_ended_its_side_gets_its_answers() {
    on_sockets(|transport, conn, mut client| {
        transport.pause(conn);
        (0..3).for_each(|_| drop(transport.turn(TURN)));
        client.write_all(b"request").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        for _ in 0..5 {
            let events = transport.turn(TURN);
            assert!(!events.iter().any(|event| matches!(event, Event::Closed { .. })), "{events:?}");
        }
        transport.send(conn, b"answer".to_vec(), Notice::Soon);
        transport.resume(conn);
        let ended = (0..TURNS_MAX).any(|_| {
            let mut events = transport.turn(TURN).into_iter();
            events.any(|event| matches!(event, Event::Ended { .. }))
        });
        assert!(ended);
        transport.close(conn);
        closed(transport, conn);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"answer");
    });
}

#[test]
fn a_client_is_read_and_watched_again_however_often_it_was_paused() {
    on_each(|transport, conn, mut client| {
        for number in 0..100u8 {
            transport.pause(conn);
            if number % 3 == 0 {
                transport.turn(Duration::ZERO);
            }
            transport.resume(conn);
            client.write_all(&[number]).unwrap();
            let received = (0..TURNS_MAX).any(|_| {
                let mut events = transport.turn(TURN).into_iter();
                events.any(|event| match event {
                    Event::Received { buffer, .. } => {
                        transport.recycle(buffer);
                        true
                    }
                    _ => false,
                })
            });
            assert!(received, "byte {number} does not come");
        }
        transport.close(conn);
        assert_eq!(closed(transport, conn), 0);
    });
}

/// The lengths of what comes in a turn with such a window. Those who have no room turn again.
fn received_in(transport: &mut dyn Face, window: usize) -> Vec<usize> {
    transport.set_receive_window(window);
    let mut lengths = Vec::new();
    for event in transport.turn(TURN) {
        if let Event::Received { buffer, len, .. } = event {
            transport.recycle(buffer);
            lengths.push(len as usize);
        }
    }
    lengths
}

/// It may have thousands of clients, all of which send as much as they can.
#[test]
fn a_client_brings_no_more_than_the_window_lets_in() {
    on_sockets(|transport, _, mut client| {
        let buffers = usize::from(BUFFERS) * BUFFER_BYTES as usize;
        let sent = buffers + 20 * BUFFER_BYTES as usize;
        client.write_all(&vec![7; sent]).unwrap();
        thread::sleep(TURN);
        // Buffers that the kernel has already are filled first.
        let mut left = sent;
        for _ in 0..20 {
            left -= received_in(transport, 0).iter().sum::<usize>();
        }
        assert!(left >= sent - buffers, "{left} of {sent}");
        let mut came = 0;
        while came < left / 2 {
            let lengths = received_in(transport, 1);
            assert!(lengths.len() <= 1 && lengths.iter().all(|len| *len <= 512), "{lengths:?}");
            came += lengths.iter().sum::<usize>();
        }
        for _ in 0..TURNS_MAX {
            if came == left {
                return;
            }
            came += received_in(transport, usize::MAX).iter().sum::<usize>();
        }
        panic!("{came} of {left}");
    });
}

#[test]
fn what_a_client_takes_of_a_long_send_shows() {
    on_each(|transport, conn, mut client| {
        let mut pieces = Pieces::default();
        (0..PIECES_MAX).for_each(|_| pieces.push(Piece::Bytes(vec![7; 1 << 20])));
        transport.send_all(conn, pieces, Notice::Soon);
        // Until the socket is full.
        let mut before = u64::MAX;
        while before != transport.taken(conn) {
            before = transport.taken(conn);
            (0..10).for_each(|_| drop(transport.turn(TURN)));
        }
        let moved = (0..TURNS_MAX).any(|_| {
            drain(&mut client, false, &mut Vec::new());
            transport.turn(TURN);
            transport.taken(conn) != before
        });
        assert!(moved);
    });
}

/// A worker that spins makes no system call while there is no news: news that it overlooked would wait until it sleeps.
#[test]
fn news_show_without_a_turn() {
    on_each_that(&[true], |transport, conn, mut client| {
        let seen = |transport: &mut dyn Face| {
            let start = Instant::now();
            while !transport.may_have_news() {
                assert!(start.elapsed() < Duration::from_secs(20), "nothing shows");
                thread::yield_now();
            }
        };
        for round in 0..20 {
            (0..3).for_each(|_| drop(transport.turn(Duration::ZERO)));
            client.write_all(b"request").unwrap();
            seen(transport);
            // What is seen of simulated RDMA may be on its way yet.
            let turns = if matches!(client, Client::Pair(_)) { TURNS_MAX } else { 1 };
            let received = |event| match event {
                Event::Received { buffer, .. } => Some(buffer),
                _ => None,
            };
            let buffer = (0..turns).find_map(|_| transport.turn(TURN).into_iter().find_map(received));
            transport.recycle(buffer.unwrap_or_else(|| panic!("round {round}: no request")));
            transport.send(conn, b"answer".to_vec(), Notice::WithNext);
            // Into a ring it has gone by now.
            assert!(
                transport.may_have_news() || !matches!(client, Client::Socket(_)),
                "the answer has to go out"
            );
            (0..3).for_each(|_| drop(transport.turn(Duration::ZERO)));
            client.read_exact(&mut [0; 6]).unwrap();
            transport.wake();
            seen(transport);
            let woken = (0..TURNS_MAX)
                .any(|_| transport.turn(Duration::ZERO).iter().any(|event| matches!(event, Event::Woken)));
            assert!(woken);
        }
    });
}
