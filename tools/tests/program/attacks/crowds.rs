//! Attacks by sheer numbers: of clients that leave, of requests that are begun and not finished.

use super::floods::{all_ok, connect, crowd, gets, push, request, set, set_values};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Waves of 1,000 clients that ask for a small value 3,000 times each, read nothing and leave; the last one stays.
pub(super) fn small_gets_in_waves(server: SocketAddr) -> Vec<TcpStream> {
    set_values(server, "small", 10, 100);
    let requests = gets("small", 10, 3000);
    for _ in 0..3 {
        drop(crowd(server, clients(1000), &requests));
    }
    crowd(server, clients(1000), &requests)
}

/// Thousands of clients that send most of a value of 60 KB.
pub(super) fn half_sent_sets(server: SocketAddr) -> Vec<TcpStream> {
    let whole = set("half", 60_000);
    crowd(server, clients(4000), &whole[..58_000])
}

/// Thousands of clients that send the first few kilobytes of a value, each far less than what a hoarder holds; and as many
/// that leave a single byte unparsed behind a long value.
pub(super) fn beginnings(server: SocketAddr) -> Vec<TcpStream> {
    let mut streams = crowd(server, clients(3000) / 2, &set("begun", 60_000)[..6_000]);
    let whole = [set("whole", 50_000), b"*".to_vec()].concat();
    streams.extend(crowd(server, clients(3000) / 2, &whole));
    std::thread::sleep(Duration::from_millis(500));
    streams
}

/// Long commands at once: values of MSETs without an end, lists of keys without an end, and long values of many keys that
/// nobody reads, while another client forgets everything again and again and must be answered.
pub(super) fn commands_of_many_keys(server: SocketAddr) -> Vec<TcpStream> {
    set_values(server, "many", 60, 200_000);
    let value = vec![b'm'; 60_000];
    let pairs = (0..60).map(|_| [&b"key"[..], &value]);
    let mset = request(&[&[&b"MSET"[..]][..], &pairs.collect::<Vec<_>>().concat()].concat());
    let keys = [b"*60000\r\n$4\r\nMGET\r\n".to_vec(), b"$1\r\na\r\n".repeat(59_000)].concat();
    let names: Vec<_> = (0..60).map(|n| format!("many{n}")).collect();
    let multi_get = format!("get {}\r\n", names.join(" ")).repeat(20);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.extend(crowd(server, clients(1000) / 50, multi_get.as_bytes()));
        streams.extend(crowd(server, clients(1000) / 50, &mset[..mset.len() - 100_000]));
        streams.extend(crowd(server, clients(1000) / 50, &keys));
        all_ok(server, &[request(&[b"FLUSHALL"]), set("flushed", 1 << 20)])
            .expect("a flush beside long commands");
    }
    streams
}

/// Clients that ask for many long values, wherever those are, and read nothing, while another one writes values of 1 MB, each of
/// which must be stored.
pub(super) fn long_values_beside_writers(server: SocketAddr) -> Vec<TcpStream> {
    const VALUES: usize = 100;
    set_values(server, "long", VALUES, 300_000);
    let mut streams = crowd(server, 1, &gets("long", VALUES, 1000));
    streams.extend(crowd(server, 40, &gets("long", VALUES, 2)));
    for first in 0..20 {
        let keys: Vec<_> = (0..5).map(|n| gets("long", VALUES, 5 * first + n + 1)).collect();
        streams.extend(keys.iter().flat_map(|keys| crowd(server, 1, keys)));
        all_ok(server, &[set(&format!("mb{}", first % 5), 1 << 20)])
            .expect("a value of 1 MB beside those that are lent");
    }
    streams
}

/// 100 long values that drip a byte now and then, and others that begin all the time, while another client sets values of 1 MB, each
/// of which must be stored.
pub(super) fn dripping_uploads(server: SocketAddr) -> Vec<TcpStream> {
    let drip = |number: usize| {
        let mut stream = connect(server);
        let head = format!("*3\r\n$3\r\nSET\r\n$4\r\nd{number:03}\r\n${}\r\n", 8 << 20);
        push(&mut stream, &[head.as_bytes(), &[b'd'; 100_000]].concat());
        stream
    };
    let mut streams: Vec<_> = (0..100).map(drip).collect();
    let end = Instant::now() + Duration::from_secs(4);
    let mut number = 0;
    while Instant::now() < end {
        streams.iter_mut().for_each(|stream| push(stream, b"d"));
        all_ok(server, &[set(&format!("mb{}", number % 5), 1 << 20)])
            .expect("a value of 1 MB beside those that drip");
        streams.extend((0..5).map(|more| drip(100 + 5 * number + more)));
        number += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    streams
}

/// As many clients as are wanted, or as this process may have sockets.
fn clients(wanted: usize) -> usize {
    wanted.min(super::raise_file_limit().saturating_sub(100))
}
