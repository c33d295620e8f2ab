//! The process runs out of file descriptors: clients that are there are served, the others come in when there
//! are descriptors again. In a file of its own, as the limit is the whole process'.

mod servers;

use servers::*;
use socket2::{Domain, Socket, Type};
use std::net::TcpStream;
use torc_net::server::ServerConfig;

fn limit_files(count: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = count.min(limit.rlim_max);
    // SAFETY: `limit` is readable.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// Takes every descriptor that is left.
fn take_all() -> Vec<Socket> {
    std::iter::from_fn(|| Socket::new(Domain::IPV4, Type::STREAM, None).ok()).collect()
}

#[test]
fn clients_wait_while_descriptors_are_short() {
    const CLIENTS: usize = 10;
    // Before the start: the kernel's accepts keep the limit that they were begun under.
    limit_files(200);
    for config in kinds() {
        let server = start(ServerConfig { connections_max: 50, ..config });
        let mut first = connect(address(&server));
        exchange(&mut first, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
        let mut held = take_all();
        let sockets = held.split_off(held.len() - CLIENTS);
        let mut clients: Vec<TcpStream> = Vec::new();
        for socket in sockets {
            // The kernel completes the connection whether or not the server accepts it.
            socket.connect(&address(&server).into()).unwrap();
            clients.push(socket.into());
        }
        wait_until("accepting fails", || sum(&server, |stats| stats.accept_failures.read()) > 0);
        exchange(&mut first, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
        drop(held);
        for client in &mut clients {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            exchange(client, b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n");
        }
        drop((first, clients));
        end(server);
    }
}
