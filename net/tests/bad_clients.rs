//! Clients that do everything wrong, beside one that does everything right and must notice nothing; on every
//! transport, with one shard and with two.

mod servers;

use servers::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use torc_net::metrics::CloseReason;
use torc_net::server::{Server, ServerConfig};
use torc_net::session::Protocol;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{Op, Options};

/// A well-behaved client whose every answer is checked.
struct Witness {
    stream: TcpStream,
    count: u32,
}

impl Witness {
    fn new(server: &Server) -> Witness {
        Witness { stream: connect(address(server)), count: 0 }
    }

    /// A few keys, so that every shard is asked.
    fn check(&mut self) {
        for key in 0..4 {
            self.count += 1;
            let value = self.count.to_string();
            let set = format!("SET w{key} {value}\r\n");
            let set: Vec<&str> = set.split_whitespace().collect();
            exchange(&mut self.stream, &resp(&set), b"+OK\r\n");
            let expected = format!("${}\r\n{value}\r\n", value.len());
            exchange(&mut self.stream, &resp(&["GET", &format!("w{key}")]), expected.as_bytes());
        }
    }
}

fn resp(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| request.extend(format!("${}\r\n{word}\r\n", word.len()).bytes()));
    request
}

/// Runs a scenario on every kind of server, with a witness around it, and drains the server.
fn on_each(change: impl Fn(&mut ServerConfig), scenario: impl Fn(&Server, &mut Witness)) {
    for mut config in kinds() {
        change(&mut config);
        eprintln!("{} with {} shards", config.transport, config.shards);
        let server = start(config);
        let mut witness = Witness::new(&server);
        witness.check();
        scenario(&server, &mut witness);
        witness.check();
        drop(witness);
        end(server);
    }
}

#[test]
fn garbage_is_answered_with_an_error_or_closed() {
    let garbage: &[&[u8]] = &[
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n$-7\r\n",
        b"*1\r\nGET\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$99999999999999\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x80\x01\x00\x00\x00\x00\x00\x00",
        b"set a 0 0 -1\r\n",
        b"set a 0 0 99999999999999999999\r\n",
        b"mg\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
    ];
    on_each(
        |_| {},
        |server, witness| {
            for bytes in garbage {
                let mut stream = connect(address(server));
                // The server may have closed before all was written.
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(Shutdown::Write);
                read_to_close(&mut stream);
                witness.check();
            }
        },
    );
}

#[test]
fn a_frame_without_end_is_bounded() {
    on_each(
        |config| config.frame_bytes_max = 16 << 10,
        |server, witness| {
            let starts: [&[u8]; 3] = [b"", b"*2\r\n$3\r\nGET\r\n$", b"get "];
            for start in starts {
                let mut stream = connect(address(server));
                let _ = stream.write_all(start);
                for _ in 0..64 {
                    if stream.write_all(&[b'a'; 4096]).is_err() {
                        break;
                    }
                }
                let _ = stream.shutdown(Shutdown::Write);
                read_to_close(&mut stream);
                witness.check();
            }
        },
    );
}

#[test]
fn a_request_byte_by_byte_is_a_request() {
    on_each(
        |_| {},
        |server, witness| {
            let mut stream = connect(address(server));
            for byte in resp(&["SET", "drip", "drop"]) {
                stream.write_all(&[byte]).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
            expect(&mut stream, b"+OK\r\n");
            exchange(&mut stream, &resp(&["GET", "drip"]), b"$4\r\ndrop\r\n");
            witness.check();
        },
    );
}

#[test]
fn a_client_that_leaves_half_way_leaves_nothing() {
    let halves: &[&[u8]] = &[
        b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$10\r\n01234",
        b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$1000000\r\n01234",
        b"set h 0 0 500000\r\n0123456789",
        b"get h",
        b"",
    ];
    on_each(
        |_| {},
        |server, witness| {
            for bytes in halves {
                let mut stream = connect(address(server));
                stream.write_all(bytes).unwrap();
                drop(stream);
                witness.check();
            }
            wait_until("only the witness is left", || sum(server, |stats| stats.connections.read()) == 1);
            exchange(&mut witness.stream, &resp(&["GET", "h"]), b"$-1\r\n");
        },
    );
}

#[test]
fn a_client_that_never_reads_is_parked_and_then_closed() {
    on_each(
        |config| {
            config.output_bytes_max = 64 << 10;
            config.slow_client_timeout = Some(Duration::from_millis(500));
        },
        |server, witness| {
            let value = "v".repeat(10_000);
            for key in ["n0", "n1", "n2", "n3"] {
                exchange(&mut witness.stream, &resp(&["SET", key, &value]), b"+OK\r\n");
            }
            let mut stream = connect(address(server));
            stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
            let requests: Vec<u8> =
                ["n0", "n1", "n2", "n3"].iter().flat_map(|key| resp(&["GET", key])).collect();
            for _ in 0..5000 {
                if stream.write_all(&requests).is_err() {
                    break;
                }
            }
            wait_until("it is parked", || sum(server, |stats| stats.parks.read()) > 0);
            witness.check();
            wait_until("it is closed", || closes(server, CloseReason::Slow) == 1);
            wait_until("it is gone", || sum(server, |stats| stats.connections.read()) == 1);
            assert_eq!(sum(server, |stats| stats.parked.read()), 0);
        },
    );
}

#[test]
fn a_slow_reader_gets_every_answer_in_order() {
    on_each(
        |config| config.output_bytes_max = 64 << 10,
        |server, witness| {
            let mut stream = connect(address(server));
            let mut sender = stream.try_clone().unwrap();
            const COUNT: usize = 3000;
            let writing = std::thread::spawn(move || {
                for number in 0..COUNT {
                    let value = format!("{number:05}").repeat(200);
                    sender.write_all(&resp(&["SET", &format!("s{}", number % 7), &value])).unwrap();
                    sender.write_all(&resp(&["GET", &format!("s{}", number % 7)])).unwrap();
                }
            });
            std::thread::sleep(Duration::from_millis(300));
            for number in 0..COUNT {
                let value = format!("{number:05}").repeat(200);
                expect(&mut stream, format!("+OK\r\n$1000\r\n{value}\r\n").as_bytes());
            }
            writing.join().unwrap();
            witness.check();
        },
    );
}

#[test]
fn large_values_pass_whole_and_small_ones_beside_them() {
    on_each(
        |_| {},
        |server, witness| {
            let value: Vec<u8> = (0..3_000_000u32).map(|i| (i ^ (i >> 8)) as u8).collect();
            for key in ["l0", "l1", "l2", "l3"] {
                let mut stream = connect(address(server));
                let head = format!("*3\r\n$3\r\nSET\r\n$2\r\n{key}\r\n${}\r\n", value.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&value[..1_000_000]).unwrap();
                witness.check();
                stream.write_all(&value[1_000_000..]).unwrap();
                exchange(&mut stream, b"\r\n", b"+OK\r\n");
                stream.write_all(&resp(&["GET", key])).unwrap();
                expect(&mut stream, format!("${}\r\n", value.len()).as_bytes());
                let mut answer = vec![0; value.len()];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer == value, "{key} came back changed");
                expect(&mut stream, b"\r\n");
                // It goes while an answer is on its way.
                stream.write_all(&resp(&["GET", key])).unwrap();
            }
        },
    );
}

#[test]
fn more_connections_than_allowed_are_told_so() {
    on_each(
        |config| config.connections_max = 8,
        |server, witness| {
            let mut clients: Vec<TcpStream> = (0..7).map(|_| connect(address(server))).collect();
            clients.iter_mut().for_each(|client| exchange(client, &resp(&["PING"]), b"+PONG\r\n"));
            for _ in 0..3 {
                let mut refused = connect(address(server));
                let answer = read_to_close(&mut refused);
                assert_eq!(String::from_utf8_lossy(&answer), "-ERR max number of clients reached\r\n");
            }
            assert_eq!(closes(server, CloseReason::TooMany), 3);
            witness.check();
            clients.clear();
            wait_until("places are free", || sum(server, |stats| stats.connections.read()) == 1);
            exchange(&mut connect(address(server)), &resp(&["PING"]), b"+PONG\r\n");
        },
    );
}

#[test]
fn silent_clients_are_closed_if_asked_for() {
    on_each(
        |config| config.idle_timeout = Some(Duration::from_millis(1500)),
        |server, witness| {
            let mut silent = connect(address(server));
            exchange(&mut silent, &resp(&["PING"]), b"+PONG\r\n");
            wait_until("it is closed", || {
                witness.check();
                closes(server, CloseReason::Idle) == 1
            });
            assert!(read_to_close(&mut silent).is_empty());
        },
    );
}

#[test]
fn a_drain_answers_what_came_and_closes() {
    for config in kinds() {
        let server = start(config);
        let mut stream = connect(address(&server));
        let mut idle = connect(address(&server));
        exchange(&mut idle, &resp(&["PING"]), b"+PONG\r\n");
        let mut requests = Vec::new();
        for number in 0..100 {
            requests.extend(resp(&["SET", &format!("d{number}"), "x"]));
        }
        stream.write_all(&requests).unwrap();
        wait_until("they came", || sum(&server, |stats| stats.received_bytes.read()) > requests.len() as u64);
        server.drain();
        assert_eq!(read_to_close(&mut stream), b"+OK\r\n".repeat(100));
        assert!(read_to_close(&mut idle).is_empty());
        assert_eq!(server.join(), Ok(()));
        let refused = TcpStream::connect(address(&server)).is_err();
        assert!(refused, "nobody listens any more");
    }
}

/// What is sent, and how the error that comes back is counted.
fn bad_input() -> Vec<(Vec<u8>, Protocol, &'static str)> {
    let native = |op, flags, key: &[u8], value: &[u8]| {
        let mut bytes = Vec::new();
        compose_request(&mut bytes, op, flags, 1, &Options::NONE, key, value).expect("short parts");
        bytes
    };
    let mut unknown_op = native(Op::Ping, 0, b"", b"");
    unknown_op[1] = 0x7F;
    let long = "x".repeat(300);
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (text("*1\r\n+PING\r\n"), Protocol::Resp, "malformed"),
        (resp(&["NOTHING"]), Protocol::Resp, "unknown_command"),
        (resp(&["GET"]), Protocol::Resp, "arguments"),
        (resp(&["SELECT", "99"]), Protocol::Resp, "arguments"),
        (resp(&["SET", "k", "v", "EX", "0"]), Protocol::Resp, "arguments"),
        (resp(&["GET", &long]), Protocol::Resp, "key"),
        (resp(&["SET", "k", &"v".repeat(200_000)]), Protocol::Resp, "value_too_long"),
        (text("*99999\r\n"), Protocol::Resp, "limit"),
        (text("nothing\r\n"), Protocol::Memcache, "unknown_command"),
        (text("incr k x\r\n"), Protocol::Memcache, "arguments"),
        (text("mg k Z\r\n"), Protocol::Memcache, "arguments"),
        (text(&format!("get {long}\r\n")), Protocol::Memcache, "key"),
        (text("set k 0 0 4\r\nlong??"), Protocol::Memcache, "malformed"),
        (
            text(&format!("set k 0 0 200000\r\n{}\r\n", "v".repeat(200_000))),
            Protocol::Memcache,
            "value_too_long",
        ),
        (text(&format!("get{}\r\n", " k".repeat(101))), Protocol::Memcache, "limit"),
        (text(&"x".repeat(3000)), Protocol::Memcache, "limit"),
        (unknown_op, Protocol::Native, "unknown_command"),
        (native(Op::Get, 1 << 15, b"k", b""), Protocol::Native, "arguments"),
        (native(Op::Get, 0, b"", b""), Protocol::Native, "key"),
        (native(Op::Set, 0, b"k", &[0; 200_000]), Protocol::Native, "value_too_long"),
        (native(Op::Ping, 0, b"", &[0; 20_000]), Protocol::Native, "limit"),
        ([native(Op::Ping, 0, b"", b""), vec![0; 16]].concat(), Protocol::Native, "malformed"),
    ]
}

#[test]
fn every_error_is_counted_by_protocol_and_kind() {
    on_each(
        |config| {
            config.key_bytes_max = 200;
            config.value_bytes_max = 100_000;
            config.value_bytes_inline = 16 << 10;
            config.frame_bytes_max = 16 << 10;
            config.arguments_max = 100;
        },
        |server, witness| {
            let errors = |protocol, kind: &str| sum(server, |stats| stats.errors(protocol, kind));
            let all = || sum(server, |stats| stats.figure("protocol_errors").unwrap_or_default());
            for (bytes, protocol, kind) in bad_input() {
                let shown = bytes[..bytes.len().min(60)].escape_ascii().to_string();
                let before = (errors(protocol, kind), all());
                let mut stream = connect(address(server));
                // The server may have closed before all was written.
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Write);
                read_to_close(&mut stream);
                assert_eq!(
                    (errors(protocol, kind), all()),
                    (before.0 + 1, before.1 + 1),
                    "{shown} as {kind}"
                );
            }
            witness.check();
            // One that waits behind other shards' answers.
            let before = errors(Protocol::Memcache, "unknown_command");
            let mut stream = connect(address(server));
            exchange(&mut stream, b"get a b c d e f g h\r\nnothing\r\nmn\r\n", b"END\r\nERROR\r\nMN\r\n");
            assert_eq!(errors(Protocol::Memcache, "unknown_command"), before + 1);
        },
    );
}

/// Once a connection was closed without a word when more than two frames of it were not parsed yet.
#[test]
fn several_values_that_the_limits_allow_are_stored_and_those_that_they_do_not_are_refused_by_name() {
    on_each(
        |config| config.value_bytes_max = 4 << 20,
        |server, _| {
            let mset = |count: usize| {
                let value = "v".repeat(60_000);
                let keys: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
                let mut words = vec!["MSET"];
                keys.iter().for_each(|key| words.extend([key.as_str(), value.as_str()]));
                resp(&words)
            };
            let mut stream = connect(address(server));
            exchange(&mut stream, &mset(60), b"+OK\r\n");
            exchange(&mut stream, &resp(&["STRLEN", "m59"]), b":60000\r\n");
            let refused = b"-ERR values together exceed maximum allowed size (--max-value)\r\n";
            exchange(&mut stream, &mset(100), refused);
            exchange(&mut stream, &resp(&["EXISTS", "m99"]), b":0\r\n");
        },
    );
}
