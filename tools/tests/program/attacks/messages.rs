//! Clients that subscribe and never read, or to more than there is room for.

use super::floods::{connect, push, request};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const SUBSCRIBERS: usize = 1000;
/// How long the publisher floods.
const FLOOD: Duration = Duration::from_secs(5);

fn subscribe(server: SocketAddr, names: &[Vec<u8>]) -> TcpStream {
    let mut stream = connect(server);
    let words: Vec<&[u8]> = [&b"SUBSCRIBE"[..]].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
    push(&mut stream, &request(&words));
    stream
}

/// A thousand subscribers read nothing while messages of several lengths come as fast as they are taken.
pub(super) fn unread_messages(server: SocketAddr) -> Vec<TcpStream> {
    let subscribers: Vec<TcpStream> =
        (0..SUBSCRIBERS).map(|_| subscribe(server, &[b"flood".to_vec()])).collect();
    let mut publisher = connect(server);
    let (begun, mut length) = (Instant::now(), 10);
    while begun.elapsed() < FLOOD {
        length = if length > 20_000 { 10 } else { length * 4 };
        if !publish(&mut publisher, length) {
            // It holds more than most of the others while they still take what the kernel keeps for them.
            publisher = connect(server);
        }
    }
    subscribers
}

/// Sends some messages, and reads how many have got them. False: the server has closed the connection.
fn publish(publisher: &mut TcpStream, length: usize) -> bool {
    const MESSAGES: usize = 16;
    let requests = request(&[b"PUBLISH", b"flood", &vec![b'm'; length]]).repeat(MESSAGES);
    if publisher.write_all(&requests).is_err() {
        return false;
    }
    let (mut lines, mut answer) = (0, [0; 1024]);
    while lines < MESSAGES {
        match publisher.read(&mut answer) {
            Ok(count @ 1..) => lines += answer[..count].iter().filter(|byte| **byte == b'\n').count(),
            _ => return false,
        }
    }
    true
}

/// A million names, by a hundred clients that read nothing.
pub(super) fn a_million_subscriptions(server: SocketAddr) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for client in 0..100 {
        let mut stream = connect(server);
        for slice in 0..10 {
            let name = |number| format!("{client}:{slice}:{number}").into_bytes();
            let names: Vec<Vec<u8>> = (0..1000).map(name).collect();
            let words: Vec<&[u8]> =
                [&b"SUBSCRIBE"[..]].into_iter().chain(names.iter().map(Vec::as_slice)).collect();
            push(&mut stream, &request(&words));
        }
        streams.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    streams
}
