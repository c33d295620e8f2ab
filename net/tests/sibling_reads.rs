//! Two shards that read each other's keys without asking, on each transport: what clients see is as if every key had one place.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_net::metrics::WorkerStats;
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

fn on_each(change: impl Fn(ServerConfig) -> ServerConfig, scenario: impl Fn(&Server)) {
    for config in kinds().into_iter().filter(|config| config.shards == 2) {
        eprintln!("{}", config.transport);
        let server = start(change(config));
        scenario(&server);
        end(server);
    }
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut request = Vec::new();
    compose::request(&mut request, words);
    request
}

/// Sends one request and reads the one answer to it, as it is on the wire.
fn ask(stream: &mut TcpStream, words: &[&str]) -> String {
    stream.write_all(&resp(words)).unwrap();
    let mut answer = Vec::new();
    loop {
        read_more(stream, &mut answer);
        if let Parsed::Complete { .. } = parse(&answer) {
            return String::from_utf8(answer).unwrap();
        }
    }
}

fn bulk(value: &str) -> String {
    format!("${}\r\n{value}\r\n", value.len())
}

fn forwarded(server: &Server) -> u64 {
    sum(server, |stats| stats.forwarded.read())
}

fn reads(server: &Server) -> u64 {
    sum(server, |stats: &WorkerStats| stats.sibling_hits.read() + stats.sibling_misses.read())
}

const NULL: &str = "$-1\r\n";
const KEYS: usize = 200;

/// One client at least on each shard.
fn clients(server: &Server) -> Vec<TcpStream> {
    (0..8).map(|_| connect(address(server))).collect()
}

#[test]
fn a_read_is_answered_by_the_shard_that_the_client_speaks_to() {
    on_each(
        |config| config,
        |server| {
            let mut client = connect(address(server));
            let long = "v".repeat(10_000);
            for number in 0..KEYS {
                let value = format!("value-{number}");
                assert_eq!(
                    ask(&mut client, &["SET", &format!("key{number}"), &value, "EX", "100"]),
                    "+OK\r\n"
                );
            }
            assert_eq!(ask(&mut client, &["SET", "long", &long]), "+OK\r\n");
            let (forwarded_before, reads_before) = (forwarded(server), reads(server));
            for number in 0..KEYS {
                let key = format!("key{number}");
                assert_eq!(ask(&mut client, &["GET", &key]), bulk(&format!("value-{number}")));
                assert_eq!(
                    ask(&mut client, &["STRLEN", &key]),
                    format!(":{}\r\n", format!("value-{number}").len())
                );
                assert_eq!(ask(&mut client, &["EXISTS", &key, "none"]), ":1\r\n");
                assert_eq!(ask(&mut client, &["TTL", &key]), ":100\r\n");
                assert_eq!(ask(&mut client, &["GET", &format!("no{number}")]), NULL);
            }
            assert_eq!(forwarded(server), forwarded_before, "no read has hopped");
            // About half of the keys are the other shard's.
            let reads = reads(server) - reads_before;
            assert!((KEYS as u64 * 2..KEYS as u64 * 4).contains(&reads), "{reads} reads");
            let mut memcached = connect(address(server));
            exchange(
                &mut memcached,
                b"get key1 key2 none\r\n",
                b"VALUE key1 0 7\r\nvalue-1\r\nVALUE key2 0 7\r\nvalue-2\r\nEND\r\n",
            );
            assert_eq!(forwarded(server), forwarded_before);
            // What is too long to copy is asked for, and right all the same.
            for mut client in clients(server) {
                assert_eq!(ask(&mut client, &["GET", "long"]), bulk(&long));
            }
        },
    );
}

#[test]
fn a_pipeline_sees_its_own_changes_in_order() {
    on_each(
        |config| config,
        |server| {
            let (mut request, mut answer) = (Vec::new(), String::new());
            for round in 0..3 {
                for number in 0..KEYS {
                    let (key, value) = (format!("key{number}"), format!("{round}-{number}"));
                    let commands: [&[&str]; 6] = [
                        &["GET", &key],
                        &["SET", &key, &value],
                        &["GET", &key],
                        &["APPEND", &key, "x"],
                        &["GET", &key],
                        &["DEL", &key],
                    ];
                    commands.iter().for_each(|words| compose::request(&mut request, words));
                    answer.push_str(&format!("{NULL}+OK\r\n{}", bulk(&value)));
                    answer.push_str(&format!(":{}\r\n{}:1\r\n", value.len() + 1, bulk(&format!("{value}x"))));
                }
                compose::request(&mut request, &["FLUSHALL"]);
                answer.push_str("+OK\r\n");
            }
            for client in &mut clients(server)[..2] {
                let mut writer = client.try_clone().unwrap();
                let request = request.clone();
                let writing = std::thread::spawn(move || writer.write_all(&request).unwrap());
                expect(client, answer.as_bytes());
                writing.join().unwrap();
            }
        },
    );
}

/// A long value goes to its shard in slices that no answer waits for, and a quiet command has no answer: reads stay behind both.
#[test]
fn a_pipeline_sees_its_own_long_values_and_quiet_changes() {
    on_each(
        |config| config,
        |server| {
            let long = "v".repeat(200_000);
            let (mut request, mut answer) = (Vec::new(), String::new());
            for number in 0..20 {
                let key = format!("key{number}");
                let commands: [&[&str]; 5] = [
                    &["SET", &key, "short"],
                    &["SET", &key, &long],
                    &["STRLEN", &key],
                    &["SET", &key, "short"],
                    &["GET", &key],
                ];
                commands.iter().for_each(|words| compose::request(&mut request, words));
                answer.push_str(&format!("+OK\r\n+OK\r\n:{}\r\n+OK\r\n{}", long.len(), bulk("short")));
            }
            let mut client = connect(address(server));
            let mut writer = client.try_clone().unwrap();
            let writing = std::thread::spawn(move || writer.write_all(&request).unwrap());
            expect(&mut client, answer.as_bytes());
            writing.join().unwrap();
            let (mut request, mut answer) = (String::new(), String::new());
            for number in 0..KEYS {
                let key = format!("quiet{number}");
                request += &format!("set {key} 0 0 1 noreply\r\n1\r\nincr {key} 4 noreply\r\nget {key}\r\n");
                request += &format!("touch {key} -1 noreply\r\nget {key}\r\n");
                answer += &format!("VALUE {key} 0 1\r\n5\r\nEND\r\nEND\r\n");
            }
            exchange(&mut connect(address(server)), request.as_bytes(), answer.as_bytes());
        },
    );
}

/// Writes a key over and over on one connection; all others read it, by both shards. What one has seen or was told to be
/// stored, nobody sees undone.
#[test]
fn nobody_reads_what_was_before_once_anybody_has_read_or_written_what_is() {
    const TIME: Duration = Duration::from_millis(1500);
    on_each(
        |config| config,
        |server| {
            // The highest number that was stored, or read by anybody.
            let (seen, done) = (AtomicU64::new(0), AtomicBool::new(false));
            let mut all = clients(server);
            let mut writer = all.pop().unwrap();
            let begin = Instant::now();
            std::thread::scope(|scope| {
                for client in &mut all {
                    let (seen, done) = (&seen, &done);
                    scope.spawn(move || {
                        // Bounded, as a writer that fails ends nobody.
                        while !done.load(Ordering::SeqCst) && begin.elapsed() < 2 * TIME {
                            let least = seen.load(Ordering::SeqCst);
                            let answer = ask(client, &["GET", "number"]);
                            let read =
                                answer.lines().nth(1).map_or(0, |number| number.parse::<u64>().unwrap());
                            assert!(read >= least, "{read} was read after {least}");
                            seen.fetch_max(read, Ordering::SeqCst);
                        }
                    });
                }
                for number in 1.. {
                    assert_eq!(ask(&mut writer, &["SET", "number", &number.to_string()]), "+OK\r\n");
                    seen.fetch_max(number, Ordering::SeqCst);
                    if begin.elapsed() > TIME {
                        break;
                    }
                }
                done.store(true, Ordering::SeqCst);
            });
            assert!(reads(server) > 0, "one of the shards is not the key's");
        },
    );
}

/// A key that has expired for one client has expired for all, whichever shard they ask.
#[test]
fn what_is_over_for_one_is_over_for_all() {
    on_each(
        |config| config,
        |server| {
            let mut all = clients(server);
            for round in 0..30 {
                let key = format!("key{round}");
                assert_eq!(ask(&mut all[0], &["SET", &key, "value", "PX", "5"]), "+OK\r\n");
                let mut over = false;
                let begin = Instant::now();
                while !over || begin.elapsed() < Duration::from_millis(8) {
                    assert!(begin.elapsed() < PATIENCE, "{key} does not end");
                    for client in &mut all {
                        let is_null = ask(client, &["GET", &key]) == NULL;
                        assert!(is_null || !over, "{key} came back");
                        over = is_null;
                    }
                }
            }
        },
    );
}

/// Reads by another shard count: what is asked for often stays while everything else is evicted.
#[test]
fn keys_that_only_others_read_stay_when_room_is_needed() {
    const HOT: usize = 100;
    on_each(
        |config| ServerConfig { memory_bytes: 32 << 20, ..config },
        |server| {
            let mut all = clients(server);
            let value = "v".repeat(1000);
            for number in 0..HOT {
                ask(&mut all[0], &["SET", &format!("hot{number}"), &value]);
            }
            for number in 0..100_000 {
                let client = number % all.len();
                ask(&mut all[client], &["SET", &format!("cold{number}"), &value]);
                if number % 4 == 0 {
                    ask(&mut all[(number / 4) % 8], &["GET", &format!("hot{}", number / 4 % HOT)]);
                }
            }
            let mut there = |kind: &str| {
                (0..HOT)
                    .filter(|number| ask(&mut all[0], &["EXISTS", &format!("{kind}{number}")]) == ":1\r\n")
                    .count()
            };
            let (hot, cold) = (there("hot"), there("cold"));
            assert!(
                hot > HOT * 9 / 10 && cold < HOT / 10,
                "{hot} hot keys and {cold} cold ones of {HOT} are there"
            );
        },
    );
}

/// A meta read of an item that nobody has to fetch does not hop; of a stale one, one client wins the lease and no other.
#[test]
fn meta_reads_are_answered_where_they_come_and_leases_by_the_owner() {
    on_each(
        |config| config,
        |server| {
            let mut all = clients(server);
            for number in 0..40 {
                exchange(&mut all[0], format!("ms k{number} 5 F7\r\nvalue\r\n").as_bytes(), b"HD\r\n");
                exchange(&mut all[1], format!("mg k{number} h v\r\n").as_bytes(), b"VA 5 h0\r\nvalue\r\n");
            }
            // By its connection's shard the item is known to have been read, or its owner says so.
            let before = forwarded(server);
            for client in &mut all {
                for number in 0..40 {
                    let request = format!("mg k{number} h f s v\r\n");
                    exchange(client, request.as_bytes(), b"VA 5 h1 f7 s5\r\nvalue\r\n");
                }
            }
            assert_eq!(forwarded(server), before, "no read has hopped");
            for number in 0..40 {
                exchange(&mut all[2], format!("md k{number} I T60\r\n").as_bytes(), b"HD\r\n");
                let mut won = 0;
                for client in &mut all {
                    client.write_all(format!("mg k{number} s\r\n").as_bytes()).unwrap();
                    let mut answer = [0; 256];
                    let count = loop {
                        match std::io::Read::read(client, &mut answer) {
                            // A process that was stopped meanwhile.
                            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                            read => break read.unwrap(),
                        }
                    };
                    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
                    assert!(answer.contains('X'), "it is stale: {answer}");
                    won += usize::from(answer.contains('W'));
                }
                assert_eq!(won, 1, "one client fetches k{number}");
            }
        },
    );
}
