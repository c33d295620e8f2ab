//! What attackers send. Each returns the connections that are still open when its worst is done.

use crate::harness::PATIENCE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A RESP request.
pub(super) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

pub(super) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Sends what the server takes at once.
pub(super) fn push(stream: &mut TcpStream, mut bytes: &[u8]) {
    stream.set_nonblocking(true).expect("a socket");
    // An error is a full socket, or that the server closed the connection, as it may.
    while let Ok(count @ 1..) = stream.write(bytes) {
        bytes = &bytes[count..];
    }
}

/// Sends requests of one client, each of which must be answered with OK.
pub(super) fn all_ok(server: SocketAddr, requests: &[Vec<u8>]) -> Result<(), String> {
    let mut stream = connect(server);
    for chunk in requests.chunks(64) {
        stream.write_all(&chunk.concat()).map_err(|error| error.to_string())?;
        let mut answers = vec![0; chunk.len() * 5];
        stream.read_exact(&mut answers).map_err(|error| error.to_string())?;
        if answers != b"+OK\r\n".repeat(chunk.len()) {
            return Err(String::from_utf8_lossy(&answers).into_owned());
        }
    }
    Ok(())
}

pub(super) fn set(key: &str, bytes: usize) -> Vec<u8> {
    request(&[b"SET", key.as_bytes(), &vec![b'v'; bytes]])
}

/// Sets `count` keys that begin with `name`.
pub(super) fn set_values(server: SocketAddr, name: &str, count: usize, bytes: usize) {
    for first in (0..count).step_by(16) {
        let sets: Vec<_> =
            (first..count.min(first + 16)).map(|n| set(&format!("{name}{n}"), bytes)).collect();
        all_ok(server, &sets).expect("long values are stored");
    }
}

/// Sets small values of so many bytes together, whose keys begin with `name`.
pub(super) fn fill(server: SocketAddr, name: &str, bytes: usize) {
    for first in (0..bytes / 1000).step_by(64) {
        let sets: Vec<_> = (first..first + 64).map(|n| set(&format!("{name}{n}"), 1000)).collect();
        all_ok(server, &sets).expect("small values are stored");
    }
}

/// Gets of `count` keys in turn, `depth` of them.
pub(super) fn gets(name: &str, count: usize, depth: usize) -> Vec<u8> {
    (0..depth).flat_map(|n| request(&[b"GET", format!("{name}{}", n % count).as_bytes()])).collect()
}

/// 16 values of 60 MB that never end.
pub(super) fn unfinished_setranges(server: SocketAddr) -> Vec<TcpStream> {
    let send = move |number: usize| {
        let mut stream = connect(server);
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a time-out");
        let head = format!("*4\r\n$8\r\nSETRANGE\r\n$2\r\nr{}\r\n$1\r\n0\r\n${}\r\n", number % 10, 60 << 20);
        let mut open = stream.write_all(head.as_bytes()).is_ok();
        let part = vec![b'z'; 1 << 20];
        for _ in 0..58 {
            open = open && stream.write_all(&part).is_ok();
        }
        stream
    };
    let threads: Vec<_> = (0..16).map(|number| std::thread::spawn(move || send(number))).collect();
    threads.into_iter().map(|thread| thread.join().expect("sent")).collect()
}

/// 24 clients that ask 256 deep for values of 240 KB, of which some belong to another shard than theirs.
pub(super) fn long_values_of_other_shards(server: SocketAddr) -> Vec<TcpStream> {
    set_values(server, "f", 8, 240_000);
    let requests = gets("f", 8, 256);
    let streams = crowd(server, 24, &requests);
    std::thread::sleep(Duration::from_millis(500));
    streams
}

/// Rounds of 400 clients that ask for long values 3,000 deep, read nothing and leave.
pub(super) fn long_gets_unread(server: SocketAddr) -> Vec<TcpStream> {
    set_values(server, "big", 10, 200_000);
    let requests = gets("big", 10, 3000);
    for _ in 0..3 {
        drop(crowd(server, 400, &requests));
    }
    crowd(server, 400, &requests)
}

pub(super) fn crowd(server: SocketAddr, clients: usize, requests: &[u8]) -> Vec<TcpStream> {
    let send = |_| {
        let mut stream = connect(server);
        push(&mut stream, requests);
        stream
    };
    (0..clients).map(send).collect()
}

/// A scan that asks for everything at once.
pub(super) fn endless_scan(server: SocketAddr) -> Vec<TcpStream> {
    let mut stream = connect(server);
    stream.write_all(&request(&[b"SCAN", b"0", b"COUNT", b"4000000000"])).expect("sent");
    assert_ne!(stream.read(&mut [0; 100]).expect("an answer"), 0);
    vec![stream]
}

/// One client asks for a byte of each of many long values and reads nothing; others write long values.
pub(super) fn single_bytes_unread(server: SocketAddr) -> Vec<TcpStream> {
    const VALUES: usize = 150;
    set_values(server, "o", VALUES, 300_000);
    let requests: Vec<u8> = (0..200 * VALUES)
        .flat_map(|n| request(&[b"GETRANGE", format!("o{}", n % VALUES).as_bytes(), b"5", b"5"]))
        .collect();
    let streams = crowd(server, 4, &requests);
    for number in 0..5 {
        all_ok(server, &[set(&format!("w{number}"), 1_000_000)]).expect("a long value beside unread bytes");
    }
    streams
}
