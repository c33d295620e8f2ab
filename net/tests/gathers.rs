//! BITOP and LCS: commands that gather the values of several keys, over two shards and both transports.

mod servers;

use servers::*;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use torc_net::server::{Server, ServerConfig};

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| config, scenario);
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Lets other threads end when this one does, however it ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Stores a value of any bytes.
fn set(stream: &mut TcpStream, key: &str, value: &[u8]) {
    assert_eq!(ask_raw(stream, &[vec![b"SET", key.as_bytes(), value]]), [b"+OK\r\n"]);
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn random(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    (0..len).map(|_| next()).collect()
}

/// What an operation makes of the bits that values have at each place, by the first and how many of them have it.
fn combined(operation: &str, values: &[&[u8]]) -> Vec<u8> {
    let len = values.iter().map(|value| value.len()).max().unwrap_or_default();
    let byte = |at: usize| {
        let bytes: Vec<u8> = values.iter().map(|value| value.get(at).copied().unwrap_or_default()).collect();
        let rest = || bytes[1..].iter().fold(0, |sum, byte| sum | byte);
        match operation {
            "AND" => bytes.iter().fold(0xFF, |all, byte| all & byte),
            "OR" => bytes[0] | rest(),
            "XOR" => bytes.iter().fold(0, |sum, byte| sum ^ byte),
            "NOT" => !bytes[0],
            "DIFF" => bytes[0] & !rest(),
            "DIFF1" => rest() & !bytes[0],
            "ANDOR" => bytes[0] & rest(),
            _ => (0..8)
                .filter(|bit| bytes.iter().filter(|byte| *byte >> bit & 1 == 1).count() == 1)
                .fold(0, |sum, bit| sum | 1 << bit),
        }
    };
    (0..len).map(byte).collect()
}

const OPERATIONS: [&str; 8] = ["AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE"];

/// Values of all lengths: in one piece, in chunks, of several blocks; some keys have none.
#[test]
fn bits_of_values_of_any_length_are_combined_wherever_their_keys_are() {
    let lengths = [0, 1, 100, 5_000, 200_000, 1_500_000];
    on_each(|server| {
        let mut stream = connect(address(server));
        let values: Vec<Vec<u8>> =
            lengths.iter().enumerate().map(|(seed, len)| random(*len, seed as u64 + 1)).collect();
        for (number, value) in values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
            set(&mut stream, &format!("v{number}"), value);
        }
        for (round, operation) in OPERATIONS.iter().cycle().take(32).enumerate() {
            let count = if *operation == "NOT" { 1 } else { 2 + round % 3 };
            let numbers: Vec<usize> =
                (0..count).map(|at| (round * 5 + at * (1 + round % 2)) % lengths.len()).collect();
            let sources: Vec<&[u8]> = numbers.iter().map(|number| values[*number].as_slice()).collect();
            let expected = combined(operation, &sources);
            let keys: Vec<String> = numbers.iter().map(|number| format!("v{number}")).collect();
            let to = format!("to{round}");
            let asked = ask_line(&mut stream, &format!("BITOP {operation} {to} {}", keys.join(" ")));
            assert_eq!(asked, format!(":{}\r\n", expected.len()));
            let found = ask_raw(&mut stream, &[vec!["GET", &to]]).remove(0);
            let none = if expected.is_empty() { b"$-1\r\n".to_vec() } else { bulk(&expected) };
            assert!(found == none, "{operation} of {numbers:?}");
        }
        // The destination is one of the sources, or the only one.
        ask_line(&mut stream, "BITOP XOR v5 v5 v4");
        let expected = combined("XOR", &[&values[5], &values[4]]);
        assert!(ask_raw(&mut stream, &[vec!["GET", "v5"]])[0] == bulk(&expected));
        assert_eq!(ask_line(&mut stream, "BITOP NOT v1 v1"), ":1\r\n");
        assert_eq!(ask_raw(&mut stream, &[vec!["GET", "v1"]])[0], bulk(&[!values[1][0]]));
    });
}

#[test]
fn what_is_stored_is_new_and_nothing_is_a_deletion() {
    on_each(|server| {
        let mut stream = connect(address(server));
        for to in ["a", "b", "c", "d"] {
            let answers = ask_lines(
                &mut stream,
                &[
                    format!("SET {to} old EX 100"),
                    "SET one abc".into(),
                    format!("BITOP OR {to} one none"),
                    format!("GET {to}"),
                    format!("TTL {to}"),
                    format!("BITOP AND {to} none nobody"),
                    format!("EXISTS {to}"),
                    format!("BITOP NOT {to} none"),
                    "MULTI".into(),
                    "SET two 0".into(),
                    format!("BITOP XOR {to} one two"),
                    format!("LCS {to} one"),
                    "EXEC".into(),
                ],
            );
            let expected = [
                "+OK\r\n",
                "+OK\r\n",
                ":3\r\n",
                "$3\r\nabc\r\n",
                ":-1\r\n",
                ":0\r\n",
                ":0\r\n",
                ":0\r\n",
                "+OK\r\n",
                "+QUEUED\r\n",
                "+QUEUED\r\n",
                "+QUEUED\r\n",
                "*3\r\n+OK\r\n:3\r\n$2\r\nbc\r\n",
            ];
            assert_eq!(answers, expected);
        }
        // Of a script's keys, too; and a script may not do it that may change nothing.
        let script = "redis.call('set', KEYS[1], 'ab') local n = redis.call('bitop', 'not', KEYS[2], KEYS[1]) \
                      return {n, redis.call('lcs', KEYS[1], KEYS[1], 'len'), redis.call('bitop', 'and', KEYS[2], 'nobody')}";
        let eval = |name: &str| -> Vec<Vec<u8>> {
            [name, script, "2", "x", "y"].iter().map(|word| word.as_bytes().to_vec()).collect()
        };
        assert_eq!(ask_raw(&mut stream, &[eval("EVAL")])[0], b"*3\r\n:2\r\n:2\r\n:0\r\n");
        assert_eq!(ask_line(&mut stream, "EXISTS y"), ":0\r\n");
        let refused = String::from_utf8(ask_raw(&mut stream, &[eval("EVAL_RO")]).remove(0)).unwrap();
        assert!(
            refused.starts_with("-ERR Write commands are not allowed from read-only scripts."),
            "{refused}"
        );
    });
}

#[test]
fn stretches_are_told_as_redis_tells_them() {
    on_each(|server| {
        let mut stream = connect(address(server));
        ask_line(&mut stream, "MSET key1 ohmytext key2 mynewtext");
        let both =
            "*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n";
        let long = "*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n";
        let answers = [
            ("LCS key1 key2", "$6\r\nmytext\r\n".to_owned()),
            ("LCS key1 key2 LEN", ":6\r\n".to_owned()),
            ("LCS key1 key2 MINMATCHLEN 4 WITHMATCHLEN", "$6\r\nmytext\r\n".to_owned()),
            ("LCS key1 none", "$0\r\n\r\n".to_owned()),
            ("LCS none key1 IDX", "*4\r\n$7\r\nmatches\r\n*0\r\n$3\r\nlen\r\n:0\r\n".to_owned()),
            ("LCS key1 key2 IDX", format!("*4\r\n$7\r\nmatches\r\n{both}$3\r\nlen\r\n:6\r\n")),
            ("LCS key1 key2 IDX MINMATCHLEN -1", format!("*4\r\n$7\r\nmatches\r\n{both}$3\r\nlen\r\n:6\r\n")),
            (
                "LCS key1 key2 IDX minmatchlen 4 withmatchlen",
                format!("*4\r\n$7\r\nmatches\r\n{long}$3\r\nlen\r\n:6\r\n"),
            ),
        ];
        for (line, expected) in &answers {
            assert_eq!(&ask_line(&mut stream, line), expected, "{line}");
        }
        ask_line(&mut stream, "HELLO 3");
        let map = format!("%2\r\n$7\r\nmatches\r\n{both}$3\r\nlen\r\n:6\r\n");
        assert_eq!(ask_line(&mut stream, "LCS key1 key2 IDX"), map);
    });
}

/// Values as long as may be: others are served meanwhile, and one that is longer is refused.
#[test]
fn long_values_are_compared_in_steps_and_longer_ones_refused() {
    on_each(|server| {
        let (mut stream, mut other) = (connect(address(server)), connect(address(server)));
        let one: Vec<u8> = random(32 << 10, 7).iter().map(|byte| b"ACGT"[usize::from(byte % 4)]).collect();
        let two: Vec<u8> =
            one.iter().enumerate().filter(|(at, _)| at % 7 != 0).map(|(_, byte)| *byte).collect();
        set(&mut stream, "one", &one);
        set(&mut stream, "two", &two);
        assert_eq!(ask_line(&mut stream, "LCS one two LEN"), format!(":{}\r\n", two.len()));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut asked = 0;
                while !is_over.load(Relaxed) {
                    assert_eq!(ask_line(&mut other, "STRLEN one"), ":32768\r\n");
                    asked += 1;
                }
                assert!(asked > 10, "{asked} answers meanwhile");
            });
            let _ending = Ending(&is_over);
            for _ in 0..5 {
                assert!(ask_raw(&mut stream, &[vec!["LCS", "two", "one"]])[0] == bulk(&two));
                let answers = ask_lines(&mut stream, &["MULTI", "LCS one one LEN", "EXEC"]);
                assert_eq!(answers[2], "*1\r\n:32768\r\n");
            }
        });
        ask_line(&mut stream, "APPEND two xxxxxxxxxxxxxxxxx");
        ask_line(&mut stream, "APPEND one x");
        for key in ["one two", "two one", "one one"] {
            let refused = ask_line(&mut stream, &format!("LCS {key} LEN"));
            assert_eq!(refused, "-ERR LCS of a value longer than 32768 bytes\r\n");
        }
        let script = b"return redis.call('lcs', 'one', 'two')".to_vec();
        let answer = ask_raw(&mut stream, &[vec![b"EVAL".to_vec(), script, b"0".to_vec()]]).remove(0);
        assert!(
            answer.starts_with(b"-ERR LCS of a value longer than 32768 bytes"),
            "{}",
            answer.escape_ascii()
        );
    });
}

/// Nothing is held or lent behind a refusal: the same keys are served, and commands come to their ends.
#[test]
fn bits_of_more_than_16_mib_are_refused() {
    let set =
        |config: ServerConfig| ServerConfig { memory_bytes: 512 << 20, value_bytes_max: 64 << 20, ..config };
    on_each_kind(set, |server| {
        let mut stream = connect(address(server));
        ask_lines(&mut stream, &["SETBIT longest 134217727 1", "SETBIT longer 134217728 1", "SET short x"]);
        let refused = "-ERR BITOP of a value longer than 16777216 bytes\r\n";
        for to in ["a", "b", "c", "longer"] {
            assert_eq!(ask_line(&mut stream, &format!("BITOP OR {to} short longer")), refused);
            assert_eq!(ask_line(&mut stream, &format!("BITOP OR {to} longest longer short")), refused);
            assert_eq!(
                ask_line(&mut stream, &format!("BITOP ONE {to} longest short longest")),
                ":16777216\r\n"
            );
            assert_eq!(ask_line(&mut stream, &format!("BITCOUNT {to}")), ":4\r\n");
            ask_line(&mut stream, "SETBIT longer 134217728 1");
        }
        assert_eq!(ask_line(&mut stream, "STRLEN longest"), ":16777216\r\n");
    });
}

/// A command of some hundred bytes keeps a shard and its keys busy no longer than so many bytes take.
#[test]
fn values_that_are_too_long_together_are_refused_and_their_keys_let_go() {
    let memory = |config: ServerConfig| ServerConfig { memory_bytes: 256 << 20, ..config };
    let server = start(memory(kinds().remove(0)));
    let mut stream = connect(address(&server));
    ask_lines(&mut stream, &["SETBIT k 134217727 1", "SET d old"]);
    let refused = "-ERR BITOP of values that are together longer than 536870912 bytes\r\n";
    assert_eq!(ask_line(&mut stream, &format!("BITOP OR d{}", " k".repeat(33))), refused);
    assert_eq!(ask_lines(&mut stream, &["GET d", "STRLEN k"]), ["$3\r\nold\r\n", ":16777216\r\n"]);
    assert_eq!(ask_line(&mut stream, &format!("BITOP OR d{}", " k".repeat(32))), ":16777216\r\n");
    end(server);
}

/// What has no memory is refused, and lets go of what was lent for it.
#[test]
fn what_clients_have_no_memory_for_is_refused_and_pins_nothing() {
    let set = |config: ServerConfig| ServerConfig { client_memory_bytes: Some(4 << 20), ..config };
    on_each_kind(set, |server| {
        let mut stream = connect(address(server));
        let long = random(7 << 20, 3);
        for key in ["a", "b", "c"] {
            self::set(&mut stream, key, &long);
            let refused = "-ERR busy: limit --client-memory reached\r\n";
            assert_eq!(ask_line(&mut stream, &format!("BITOP OR to {key} none")), refused);
            assert_eq!(
                ask_lines(&mut stream, &["MULTI", &format!("BITOP ONE to none {key}"), "EXEC"])[2],
                format!("*1\r\n{refused}")
            );
        }
        let pinned =
            || -> u64 { server.stats().iter().map(|stats| stats.shard.segments_pinned.read()).sum() };
        wait_until("nothing is pinned", || pinned() == 0);
        assert_eq!(ask_line(&mut stream, "EXISTS to"), ":0\r\n");
        self::set(&mut stream, "d", b"short");
        assert_eq!(ask_line(&mut stream, "BITOP NOT to d"), ":5\r\n");
    });
}

/// Two keys that are always written together are always the same.
#[test]
fn all_values_are_of_one_moment() {
    on_each(|server| {
        let address = address(server);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut stream = connect(address);
                    let mut round = 0;
                    while !is_over.load(Relaxed) {
                        round += 1;
                        let value = format!("{writer}-{round}").repeat(1 + round % 40);
                        ask_line(&mut stream, &format!("MSETEX 3 a {value} b {value} c {value}"));
                    }
                });
            }
            let _ending = Ending(&is_over);
            let mut stream = connect(address);
            for _ in 0..300 {
                ask_line(&mut stream, "BITOP XOR to a b");
                assert_eq!(ask_line(&mut stream, "BITCOUNT to"), ":0\r\n");
                let answers =
                    ask_lines(&mut stream, &["MULTI", "LCS b c LEN", "STRLEN b", "STRLEN c", "EXEC"]);
                let numbers: Vec<&str> = answers[4].split("\r\n").skip(1).collect();
                assert!(numbers[0] == numbers[1] && numbers[1] == numbers[2], "{numbers:?}");
            }
        });
    });
}

#[test]
fn who_watches_or_keeps_copies_is_told() {
    on_each(|server| {
        let (mut one, mut other) = (connect(address(server)), connect(address(server)));
        for key in ["a", "b", "c", "d"] {
            for (before, meanwhile, changes) in [
                ("SET k x", "BITOP NOT k k", true),
                ("SET k x", "BITOP NOT other k", false),
                ("SET k x", "BITOP AND k nobody", true),
                ("DEL k", "BITOP AND k nobody", false),
                ("SET k x", "LCS k k", false),
            ] {
                let named = |line: &str| line.replace(" k", &format!(" {key}"));
                ask_line(&mut other, &named(before));
                ask_line(&mut one, &format!("WATCH {key}"));
                ask_line(&mut other, &named(meanwhile));
                let answer = ask_lines(&mut one, &["MULTI", "PING", "EXEC"]).remove(2);
                let expected = if changes { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
                assert_eq!(answer, expected, "{before}, then {meanwhile}");
            }
        }
        ask_line(&mut one, "HELLO 3");
        ask_line(&mut one, "CLIENT TRACKING ON");
        for (key, with) in [("a", "b"), ("b", "c"), ("c", "d")] {
            ask_line(&mut one, &format!("LCS {key} {with}"));
            ask_line(&mut other, &format!("SET {with} 1"));
            let told = format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n{with}\r\n");
            expect(&mut one, told.as_bytes());
        }
        // What BITOP reads is none of the client's reads; what it writes is told.
        ask_line(&mut one, "GET e");
        ask_line(&mut one, "BITOP OR f x y");
        ask_line(&mut other, "SET x 2");
        ask_line(&mut other, "BITOP OR e x y");
        expect(&mut one, b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\ne\r\n");
    });
}

#[test]
fn on_a_shards_port_all_keys_are_of_one_slot() {
    let set = |config: ServerConfig| ServerConfig { shard_port_base: Some(0), ..config };
    on_each_kind(set, |server| {
        let ports = server.shard_addresses();
        let mut streams: Vec<TcpStream> = ports.iter().map(|port| connect(*port)).collect();
        let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
        for stream in &mut streams {
            assert_eq!(ask_line(stream, "BITOP AND {a}1 {b}1"), crossed);
            assert_eq!(ask_line(stream, "BITOP AND {a}1 {a}2 {b}1"), crossed);
            assert_eq!(ask_line(stream, "LCS {a}1 {b}1"), crossed);
        }
        // One of them has the slot.
        for line in ["BITOP OR {a}1 {a}2 {a}3", "LCS {a}1 {a}2 LEN"] {
            let answers: Vec<String> = streams.iter_mut().map(|stream| ask_line(stream, line)).collect();
            let moved = answers.iter().filter(|answer| answer.starts_with("-MOVED ")).count();
            let done = answers.iter().filter(|answer| *answer == ":0\r\n").count();
            assert_eq!((moved, done), (streams.len() - 1, 1), "{answers:?}");
        }
        assert_eq!(
            ask_raw(&mut streams[0], &[words("COMMAND GETKEYS LCS a b LEN")])[0],
            b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
    });
}
