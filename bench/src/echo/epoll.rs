//! The echo over epoll: receive, count, send; level-triggered, one thread.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use super::Counter;
use crate::{
    error::BenchError,
    generator::epoll::{Epoll, Ready},
};

/// Events taken by one wait, at most.
const EVENTS_A_WAIT: usize = 256;

/// Bytes asked for by one receive.
const INBOX_BYTES: usize = 64 * 1024;

/// The listener's number among the events; connections have their index.
const LISTENER: u64 = u64::MAX;

struct Connection {
    stream: TcpStream,
    counter: Counter,
    blocked: bool,
}

pub(super) fn serve(listener: &TcpListener) -> Result<(), BenchError> {
    listener.set_nonblocking(true).map_err(BenchError::io("preparing the listener"))?;
    let mut epoll = Epoll::new(EVENTS_A_WAIT)?;
    epoll.add(listener, LISTENER)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut inbox = vec![0; INBOX_BYTES];
    loop {
        for at in 0..epoll.wait(None)? {
            let Ready { number, .. } = epoll.ready(at);
            if number as u64 == LISTENER {
                accept(listener, &epoll, &mut connections)?;
                continue;
            }
            let Some(slot) = connections.get_mut(number) else {
                continue;
            };
            let alive =
                slot.as_mut().is_some_and(|connection| turn(connection, &mut inbox, &epoll, number as u64));
            if !alive {
                *slot = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> Result<(), BenchError> {
    while let Ok((stream, _)) = listener.accept() {
        let prepared = stream.set_nonblocking(true).and(stream.set_nodelay(true));
        prepared.map_err(BenchError::io("preparing a connection"))?;
        let free = connections.iter().position(Option::is_none);
        let number = free.unwrap_or(connections.len());
        epoll.add(&stream, number as u64)?;
        let connection = Some(Connection { stream, counter: Counter::default(), blocked: false });
        match connections.get_mut(number) {
            Some(slot) => *slot = connection,
            None => connections.push(connection),
        }
    }
    Ok(())
}

/// One receive and the replies it brings; false when the connection is over.
fn turn(connection: &mut Connection, inbox: &mut [u8], epoll: &Epoll, number: u64) -> bool {
    // While the client does not read its replies, its requests wait in the socket.
    if !connection.blocked {
        match connection.stream.read(inbox) {
            Ok(0) => return false,
            Ok(bytes) => {
                if !connection.counter.take(&inbox[..bytes]) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    let mut blocked = false;
    while connection.counter.owed > 0 {
        match connection.stream.write(connection.counter.due()) {
            Ok(bytes) => connection.counter.owed -= bytes as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                blocked = true;
                break;
            }
            Err(_) => return false,
        }
    }
    if blocked != connection.blocked {
        connection.blocked = blocked;
        return epoll.change(&connection.stream, number, blocked).is_ok();
    }
    true
}
