//! Scripts over two shards and both transports: nobody sees half of one, what is stopped has changed nothing, and attacks stop nobody else.

mod servers;

use servers::*;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

const KEYS: [&str; 8] = ["key0", "key1", "key2", "key3", "key4", "key5", "key6", "key7"];
/// Of one shard, and of the other one where there are two.
const TAGGED: [[&str; 8]; 2] = [
    ["{a}0", "{a}1", "{a}2", "{a}3", "{a}4", "{a}5", "{a}6", "{a}7"],
    ["{b}0", "{b}1", "{b}2", "{b}3", "{b}4", "{b}5", "{b}6", "{b}7"],
];

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { databases: 16, ..config }, scenario);
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        Client { stream: connect(address), input: Vec::new() }
    }

    fn send(&mut self, words: &[&str]) {
        let mut bytes = Vec::new();
        compose::request(&mut bytes, words);
        self.stream.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> String {
        loop {
            if let Parsed::Complete { consumed, .. } = parse(&self.input) {
                let answer = String::from_utf8_lossy(&self.input[..consumed]).into_owned();
                self.input.drain(..consumed);
                return answer;
            }
            read_more(&mut self.stream, &mut self.input);
        }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        self.send(words);
        self.receive()
    }

    fn eval(&mut self, script: &str, keys: &[&str], arguments: &[&str]) -> String {
        let count = keys.len().to_string();
        let words: Vec<&str> = ["EVAL", script, &count]
            .into_iter()
            .chain(keys.iter().copied())
            .chain(arguments.iter().copied())
            .collect();
        self.ask(&words)
    }
}

const SET_ALL: &str = "for _, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end return 1";
const GET_ALL: &str = "return redis.call('mget', unpack(KEYS))";

#[test]
fn nobody_sees_half_of_a_script() {
    on_each(|server| {
        [KEYS, TAGGED[0], TAGGED[1]].into_iter().for_each(|keys| see_no_half(address(server), keys));
    });
}

fn see_no_half(address: SocketAddr, keys: [&'static str; 8]) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    for round in 0..200 {
                        let value = format!("{writer}-{round}");
                        assert_eq!(client.eval(SET_ALL, &keys, &[&value]), ":1\r\n");
                    }
                })
            })
            .collect();
        for reader in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = Client::new(address);
                while !is_over.load(Relaxed) {
                    let answer = match reader {
                        0 => client.eval(GET_ALL, &keys, &[]),
                        _ => {
                            client.send(&["MULTI"]);
                            keys.iter().for_each(|key| client.send(&["GET", key]));
                            client.send(&["EXEC"]);
                            (0..=keys.len()).for_each(|_| drop(client.receive()));
                            client.receive()
                        }
                    };
                    let values: std::collections::HashSet<&str> =
                        answer.split("\r\n").skip(2).step_by(2).filter(|value| !value.is_empty()).collect();
                    assert!(values.len() <= 1, "{answer:?}");
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_over.store(true, Relaxed);
    });
}

/// Reads that ask nobody: who has seen one of its changes sees the others.
#[test]
fn who_has_seen_one_key_of_a_script_sees_the_others() {
    on_each(|server| {
        [KEYS, TAGGED[0], TAGGED[1]].into_iter().for_each(|keys| see_all(address(server), keys));
    });
}

fn see_all(address: SocketAddr, keys: [&'static str; 8]) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut client = Client::new(address);
            for round in 0..400 {
                client.eval(SET_ALL, &keys, &[&round.to_string()]);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::new(address);
                let mut before = 0;
                while !is_over.load(Relaxed) {
                    for key in keys {
                        let answer = client.ask(&["GET", key]);
                        let number: usize =
                            answer.split("\r\n").nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(0);
                        assert!(before <= number, "{key} has {number} behind {before}");
                        before = number;
                    }
                }
            });
        }
        writer.join().unwrap();
        is_over.store(true, Relaxed);
    });
}

/// What a script reads is what it changes: by keys that it was given, and by those that it names itself.
#[test]
fn counts_lose_nothing() {
    const GIVEN: &str =
        "local n = tonumber(redis.call('get', KEYS[1]) or 0) redis.call('set', KEYS[1], n + 1) return n";
    const NAMED: &str = "local n = tonumber(redis.call('get', ARGV[1]) or 0)
        redis.call('set', ARGV[1], n + 1) redis.call('incr', ARGV[2]) redis.call('incr', ARGV[3]) return n";
    on_each(|server| {
        let address = address(server);
        std::thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    for _ in 0..50 {
                        let answer = match number % 2 {
                            0 => client.eval(GIVEN, &["count"], &[]),
                            _ => client.eval(NAMED, &[], &["count", "key1", "key2"]),
                        };
                        assert!(answer.starts_with(':'), "{answer}");
                    }
                });
            }
        });
        let mut client = Client::new(address);
        assert_eq!(client.ask(&["GET", "count"]), "$3\r\n200\r\n");
        assert_eq!(client.ask(&["MGET", "key1", "key2"]), "*2\r\n$3\r\n100\r\n$3\r\n100\r\n");
        wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
    });
}

#[test]
fn a_script_that_is_stopped_has_changed_nothing_and_one_that_fails_has() {
    const LIMIT: &str = "-ERR busy: limit --script-";
    on_each(|server| {
        let mut client = Client::new(address(server));
        let endings = [
            ("while true do end", false),
            ("local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end", false),
            ("return string.find(('a'):rep(50), ('a*'):rep(30) .. 'b')", false),
            ("while true do redis.pcall('incr', KEYS[1]) end", false),
            ("error('x')", true),
            ("return redis.call('nope')", true),
            ("return 1", true),
        ];
        for (ending, stays) in endings {
            let script = format!("{SET_ALL_NO_RETURN} {ending}");
            client.ask(&["DEL", "key0", "key1", "key2", "key3", "key4", "key5", "key6", "key7"]);
            let seen = client.eval("return redis.call('exists', unpack(KEYS))", &KEYS, &[]);
            assert_eq!(seen, ":0\r\n", "nothing is left of the script before");
            let answer = client.eval(&script, &KEYS, &["v"]);
            assert_eq!(answer.starts_with(LIMIT), !stays, "{ending}: {answer}");
            let all: Vec<&str> = ["EXISTS"].into_iter().chain(KEYS).collect();
            let expected = if stays { ":8\r\n" } else { ":0\r\n" };
            assert_eq!(client.ask(&all), expected, "{ending}");
        }
        assert!(sum(server, |stats| stats.scripts_out_of_time.read()) >= 2);
        assert!(sum(server, |stats| stats.scripts_out_of_memory.read()) >= 1);
    });
}

const SET_ALL_NO_RETURN: &str = "for _, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end";

#[test]
fn commands_do_in_scripts_what_they_do_elsewhere() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        let table = [
            ("return redis.call('set', 'k', 'v')", "+OK\r\n"),
            ("return redis.call('get', 'k')", "$1\r\nv\r\n"),
            ("return redis.call('append', 'k', 'w')", ":2\r\n"),
            ("return {redis.call('expire', 'k', 100), redis.call('ttl', 'k')}", "*2\r\n:1\r\n:100\r\n"),
            ("return redis.call('persist', 'k')", ":1\r\n"),
            ("return redis.call('mset', 'a', '1', 'b', '2')", "+OK\r\n"),
            ("return redis.call('mget', 'a', 'b', 'nothing')", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n"),
            ("return redis.call('msetnx', 'b', '1', 'c', '2')", ":0\r\n"),
            ("return redis.call('msetnx', 'c', '1', 'd', '2')", ":1\r\n"),
            ("return redis.call('rename', 'c', 'e')", "+OK\r\n"),
            ("return redis.call('rename', 'c', 'e')", "-ERR no such key"),
            ("return redis.call('copy', 'e', 'f')", ":1\r\n"),
            ("return redis.call('exists', 'c', 'd', 'e', 'f')", ":3\r\n"),
            ("return redis.call('del', 'e', 'f', 'c')", ":2\r\n"),
            ("return redis.call('setbit', 'bits', 7, 1)", ":0\r\n"),
            ("return redis.call('bitcount', 'bits')", ":1\r\n"),
            ("return redis.call('setrange', 'r', 3, 'x')", ":4\r\n"),
            ("return redis.call('getdel', 'r')", "$4\r\n\0\0\0x\r\n"),
            ("return redis.call('set', 'k', 'n', 'get')", "$2\r\nvw\r\n"),
            ("return redis.call('incrbyfloat', 'fl', '0.1')", "$3\r\n0.1\r\n"),
            ("return redis.call('type', 'k')", "+string\r\n"),
            (
                "redis.call('select', 3) redis.call('set', 'there', 1) return redis.call('exists', 'there')",
                ":1\r\n",
            ),
            ("return redis.call('exists', 'there')", ":0\r\n"),
            ("return redis.call('move', 'a', 3)", ":1\r\n"),
            ("redis.call('select', 3) return redis.call('get', 'a')", "$1\r\n1\r\n"),
            ("return redis.call('keys', '*')", "-ERR This Redis command is not allowed from script"),
            ("return redis.call('flushall')", "-ERR This Redis command is not allowed from script"),
            ("return redis.call('config', 'get', '*')", "-ERR This Redis command is not allowed from script"),
            (
                "return redis.call('client', 'reply', 'off')",
                "-ERR This Redis command is not allowed from script",
            ),
            ("return redis.call('ping')", "+PONG\r\n"),
        ];
        for (script, expected) in table {
            let answer = client.eval(script, &[], &[]);
            assert!(answer.starts_with(expected), "{script}: {answer}");
        }
        let long = "x".repeat(100_000);
        assert_eq!(client.eval("return redis.call('set', KEYS[1], ARGV[1])", &["long"], &[&long]), "+OK\r\n");
        assert_eq!(client.ask(&["STRLEN", "long"]), ":100000\r\n");
        assert_eq!(client.eval("return #redis.call('get', KEYS[1])", &["long"], &[]), ":100000\r\n");
        assert_eq!(
            client.eval("return redis.call('setrange', KEYS[1], 99999, 'yz')", &["long"], &[]),
            ":100001\r\n"
        );
        assert_eq!(client.ask(&["GETRANGE", "long", "99998", "-1"]), "$3\r\nxyz\r\n");
    });
}

#[test]
fn scripts_are_known_to_all_shards_until_they_are_flushed() {
    on_each(|server| {
        let address = address(server);
        let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let mut clients: Vec<Client> = (0..8).map(|_| Client::new(address)).collect();
        assert_eq!(
            clients[0].ask(&["EVALSHA", digest, "0"]),
            "-NOSCRIPT No matching script. Please use EVAL.\r\n"
        );
        assert_eq!(clients[0].ask(&["SCRIPT", "LOAD", "return 1"]), format!("$40\r\n{digest}\r\n"));
        for client in &mut clients {
            assert_eq!(client.ask(&["EVALSHA", digest, "0"]), ":1\r\n");
            assert_eq!(client.ask(&["EVALSHA_RO", &digest.to_uppercase(), "0"]), ":1\r\n");
        }
        assert_eq!(clients[1].ask(&["SCRIPT", "SHOW", digest]), "$8\r\nreturn 1\r\n");
        assert_eq!(clients[1].ask(&["SCRIPT", "EXISTS", digest, "x"]), "*2\r\n:1\r\n:0\r\n");
        assert_eq!(clients[2].ask(&["SCRIPT", "FLUSH"]), "+OK\r\n");
        for client in &mut clients {
            assert!(client.ask(&["EVALSHA", digest, "0"]).starts_with("-NOSCRIPT"));
        }
        let refused = [
            (
                &["EVAL_RO", "return redis.call('set', 'k', 1)", "0"][..],
                "-ERR Write commands are not allowed from read-only scripts.",
            ),
            (
                &["EVAL", "#!lua flags=no-writes\nreturn redis.call('set', 'k', 1)", "0"],
                "-ERR Write commands are not allowed from read-only scripts.",
            ),
            (
                &["EVAL_RO", "#!lua\nreturn 1", "0"],
                "-ERR Can not execute a script with write flag using *_ro command.",
            ),
            (&["EVAL", "#!lua flags=x\nreturn 1", "0"], "-ERR Unexpected flag in script shebang: x"),
            (&["EVAL", "return 1", "x"], "-ERR value is not an integer or out of range"),
            (&["EVAL", "return 1", "1"], "-ERR Number of keys can't be greater than number of args"),
            (&["EVAL", "return 1", "-1"], "-ERR Number of keys can't be negative"),
            (&["EVAL", "return +", "0"], "-ERR Error compiling script (new function): user_script:1:"),
            (&["SCRIPT", "KILL"], "-NOTBUSY No scripts in execution right now."),
        ];
        for (words, expected) in refused {
            let answer = clients[3].ask(words);
            assert!(answer.starts_with(expected), "{words:?}: {answer}");
        }
        // Texts that are all different take no more than they may.
        for number in 0..4000 {
            assert_eq!(
                clients[4].eval(&format!("return {number} -- {}", "x".repeat(500)), &[], &[]),
                format!(":{number}\r\n")
            );
        }
        let info = clients[5].ask(&["INFO", "memory"]);
        let known =
            info.lines().find_map(|line| line.strip_prefix("used_memory_scripts_eval:")).expect("a figure");
        assert!(known.trim().parse::<u64>().expect("a number") <= 4 << 20, "{known}");
    });
}

#[test]
fn messages_go_when_their_script_has_ended() {
    on_each(|server| {
        let address = address(server);
        let (mut client, mut subscriber) = (Client::new(address), Client::new(address));
        subscriber.ask(&["SUBSCRIBE", "news"]);
        client.eval("redis.call('publish', 'news', 'never') while true do end", &[], &[]);
        let refused = client.ask(&["EVAL_RO", "return redis.call('publish', 'news', 'x')", "0"]);
        assert!(refused.starts_with("-ERR Write commands are not allowed"), "{refused}");
        let script = "redis.call('publish', 'news', 'one') redis.call('set', KEYS[1], 'v') redis.call('set', KEYS[2], 'v')
            redis.call('publish', 'news', ARGV[1]) return 1";
        let long = "x".repeat(50_000);
        assert_eq!(client.eval(script, &["key1", "key2"], &[&long]), ":1\r\n");
        let message =
            |text: &str| format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n${}\r\n{text}\r\n", text.len());
        assert_eq!(subscriber.receive(), message("one"));
        assert_eq!(client.ask(&["MGET", "key1", "key2"]), "*2\r\n$1\r\nv\r\n$1\r\nv\r\n");
        assert_eq!(subscriber.receive(), message(&long));
    });
}

#[test]
fn scripts_are_commands_of_transactions() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        client.send(&["MULTI"]);
        client.send(&["EVAL", SET_ALL, "2", "key1", "key2", "7"]);
        client.send(&["INCR", "key1"]);
        client.send(&["EVAL", "return redis.call('get', KEYS[1])", "1", "key1"]);
        client.send(&["EVAL", "return redis.call('get', 'elsewhere')", "0"]);
        client.send(&["EXEC"]);
        (0..5).for_each(|_| drop(client.receive()));
        let expected = "*4\r\n:1\r\n:8\r\n$1\r\n8\r\n-ERR in a transaction a script may use those keys alone that it is given\r\n";
        assert_eq!(client.receive(), expected);
    });
}

/// By counts, not by time: each is one request to the shard of its keys.
#[test]
fn scripts_of_one_shard_are_run_there() {
    on_each(|server| {
        let address = address(server);
        let (mut asked, mut elsewhere) = (0, 0);
        for number in 0..20 {
            let mut client = Client::new(address);
            for keys in TAGGED {
                let value = number.to_string();
                assert_eq!(client.eval(SET_ALL, &keys, &[&value]), ":1\r\n");
                assert_eq!(
                    client.eval("return redis.call('get', KEYS[1])", &keys[7..], &[]).split("\r\n").nth(1),
                    Some(&*value)
                );
                asked += 2;
            }
            elsewhere = sum(server, |stats| stats.scripts_sent.read());
        }
        let is_alone = server.stats().len() == 1;
        // Those of one of the two keys are always another shard's.
        assert_eq!(elsewhere, if is_alone { 0 } else { asked / 2 });
        assert_eq!(sum(server, |stats| stats.scripts_sent_back.read()), 0);
        assert_eq!(sum(server, |stats| stats.held_keys.read()), 0);
    });
}

/// Scripts over two shards hold a key; those of one shard wait for it, and never begin to hold it themselves.
#[test]
fn a_hot_key_comes_back_to_speed() {
    const COUNT: &str = "return redis.call('incr', KEYS[1])";
    on_each(|server| {
        let address = address(server);
        std::thread::scope(|scope| {
            for number in 0..16 {
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    for _ in 0..100 {
                        let keys: &[&str] = if number % 4 == 0 { &["{a}0", "{b}0"] } else { &["{a}0"] };
                        assert!(client.eval(COUNT, keys, &[]).starts_with(':'));
                    }
                });
            }
        });
        assert_eq!(Client::new(address).ask(&["GET", "{a}0"]), "$4\r\n1600\r\n");
        assert_eq!(sum(server, |stats| stats.scripts_sent_back.read()), 0);
        wait_until("nothing is held", || {
            sum(server, |stats| stats.held_keys.read() + stats.holds_waiting.read()) == 0
        });
    });
}

/// Many clients whose scripts do not end, and one that wants something else meanwhile.
#[test]
fn attacks_stop_nobody_else_for_long() {
    on_each(|server| {
        let address = address(server);
        let attacks = [
            "while true do end",
            "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s end return t",
            "while true do pcall(string.find, ('a'):rep(50), ('a*'):rep(30) .. 'b') end",
            "local function f() return pcall(f) end return f()",
            "for i = 1, 1e9 do redis.call('set', 'attack' .. i, i) end",
        ];
        let mut attackers: Vec<Client> = (0..20).map(|_| Client::new(address)).collect();
        for (number, client) in attackers.iter_mut().enumerate() {
            client.send(&["EVAL", attacks[number % attacks.len()], "0"]);
        }
        let mut client = Client::new(address);
        let began = Instant::now();
        assert_eq!(client.ask(&["SET", "neighbour", "1"]), "+OK\r\n");
        assert_eq!(client.eval("return redis.call('incr', KEYS[1])", &["neighbour"], &[]), ":2\r\n");
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(15), "{waited:?}");
        for (number, attacker) in attackers.iter_mut().enumerate() {
            let answer = attacker.receive();
            assert!(answer.starts_with("-ERR") || answer == ":1\r\n", "{number}: {answer}");
        }
        // Some that leave half-way.
        for _ in 0..10 {
            Client::new(address).send(&[
                "EVAL",
                "redis.call('incr', KEYS[1]) while true do end",
                "2",
                "key1",
                "key2",
            ]);
        }
        wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
        assert_eq!(client.ask(&["EXISTS", "key1"]), ":0\r\n");
    });
}

/// What a shard runs for clients of another one is bounded in each turn: the rest is run by the shard of these clients.
#[test]
fn attacks_by_way_of_another_shard_stop_nobody_for_long() {
    // All of them together are to be over before a transaction has waited too long.
    let short = Duration::from_millis(100);
    on_each_kind(
        |config| ServerConfig { databases: 16, script_time_max: short, ..config },
        |server| {
            let address = address(server);
            let mut attackers: Vec<Client> = (0..20).map(|_| Client::new(address)).collect();
            for client in &mut attackers {
                client.send(&["EVAL", "redis.call('incr', KEYS[1]) while true do end", "1", "{a}0"]);
            }
            let began = Instant::now();
            assert_eq!(Client::new(address).ask(&["INCR", "{a}1"]), ":1\r\n");
            assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
            for attacker in &mut attackers {
                let answer = attacker.receive();
                assert!(answer.contains("limit --script-time-max reached"), "{answer}");
            }
            for _ in 0..10 {
                Client::new(address).send(&[
                    "EVAL",
                    "redis.call('incr', KEYS[1]) while true do end",
                    "1",
                    "{a}0",
                ]);
            }
            wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
            assert_eq!(Client::new(address).ask(&["EXISTS", "{a}0"]), ":0\r\n");
        },
    );
}

/// Commands that came to nothing counted once as changes: a transaction was not run, and caches were told.
/// A script that named one value thousands of times ended the process, and one that began again for each key had the time of
/// a hundred.
#[test]
fn answers_to_scripts_and_all_their_attempts_are_bounded() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        let long = "v".repeat(1_000_000);
        assert_eq!(client.ask(&["SET", "long", &long]), "+OK\r\n");
        let often =
            "local t = {} for i = 1, 7000 do t[i] = KEYS[1] end return #redis.call('mget', unpack(t))";
        let before = resident_bytes();
        let answer = client.eval(often, &["long"], &[]);
        assert!(answer.contains("limit --script-memory-max reached"), "{answer}");
        assert!(resident_bytes() < before + (200 << 20), "{}", resident_bytes() - before);
        assert_eq!(client.eval("return #redis.call('get', KEYS[1])", &["long"], &[]), ":1000000\r\n");
        let busy =
            "local x = 0 for i = 1, 2e6 do x = x + i end for i = 1, 100 do redis.call('get', 'x' .. i) end";
        let began = Instant::now();
        let answer = client.eval(busy, &[], &[]);
        assert!(answer.contains("limit --script-time-max reached"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    });
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn what_a_script_has_not_changed_counts_as_unchanged() {
    on_each(|server| {
        let (mut one, mut other) = (Client::new(address(server)), Client::new(address(server)));
        for key in ["a", "b", "c", "d"] {
            for (before, script, changes) in [
                (Some("1"), "redis.call('setnx', KEYS[1], 2)", false),
                (Some("1"), "redis.pcall('incrby', KEYS[1], 'x')", false),
                (Some("1"), "redis.call('getex', KEYS[1])", false),
                (Some("1"), "redis.call('persist', KEYS[1])", false),
                (Some("1"), "redis.call('expire', KEYS[1], 100, 'XX')", false),
                (None, "redis.call('del', KEYS[1])", false),
                (None, "redis.call('set', KEYS[1], 1) redis.call('del', KEYS[1])", true),
                (Some("1"), "redis.call('set', KEYS[1], 1)", true),
                (Some("1"), "redis.call('expire', KEYS[1], 100)", true),
                (Some("1"), "redis.call('getex', KEYS[1], 'EX', 100)", true),
                (Some("1"), "redis.call('del', KEYS[1])", true),
                (None, "redis.call('append', KEYS[1], 'x')", true),
            ] {
                other.ask(&["DEL", key]);
                if let Some(value) = before {
                    other.ask(&["SET", key, value]);
                }
                one.ask(&["WATCH", key]);
                other.eval(script, &[key], &[]);
                one.ask(&["MULTI"]);
                one.ask(&["PING"]);
                let expected = if changes { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
                assert_eq!(one.ask(&["EXEC"]), expected, "{script} on {before:?}");
            }
        }
    });
}

/// The keys that a client is told of when others have changed all of them.
fn told_after(client: &mut Client, other: &mut Client, asked: &[&[&str]]) -> Vec<String> {
    for words in asked {
        client.ask(words);
    }
    for key in KEYS {
        other.ask(&["SET", key, "changed"]);
    }
    client.send(&["PING", "the end"]);
    let mut told = Vec::new();
    loop {
        let frame = client.receive();
        if frame.contains("the end") {
            told.sort_unstable();
            told.dedup();
            return told;
        }
        assert!(frame.starts_with(">2\r\n$10\r\ninvalidate\r\n"), "{frame}");
        told.extend(KEYS.iter().filter(|key| frame.contains(**key)).map(|key| (*key).to_owned()));
    }
}

#[test]
fn keys_that_a_script_reads_are_those_of_its_client() {
    const READ: &str = "return redis.call('get', KEYS[1])";
    on_each(|server| {
        let (mut client, mut other) = (Client::new(address(server)), Client::new(address(server)));
        client.ask(&["HELLO", "3"]);
        client.ask(&["CLIENT", "TRACKING", "ON"]);
        for key in KEYS {
            assert_eq!(told_after(&mut client, &mut other, &[&["EVAL", READ, "1", key]]), [key]);
            assert_eq!(told_after(&mut client, &mut other, &[&["EVAL_RO", READ, "1", key]]), [key]);
            let exec: [&[&str]; 3] = [&["MULTI"], &["EVAL", READ, "1", key], &["EXEC"]];
            assert_eq!(told_after(&mut client, &mut other, &exec), [key]);
            assert!(told_after(&mut client, &mut other, &[]).is_empty(), "it is told once");
            // It has read nothing.
            for script in ["return redis.call('set', KEYS[1], 'x')", "return redis.call('ping')"] {
                let told = told_after(&mut client, &mut other, &[&["EVAL", script, "1", key]]);
                assert!(told.is_empty(), "{script}: {told:?}");
            }
        }
        let all: Vec<&str> = ["EVAL", READ, "8"].into_iter().chain(KEYS).collect();
        assert_eq!(told_after(&mut client, &mut other, &[&all]), KEYS);
        let named = "return redis.call('get', 'key3')";
        assert_eq!(told_after(&mut client, &mut other, &[&["EVAL", named, "0"]]), ["key3"]);
        // What it changes itself it is told of at once, as it has read that, too.
        let both = "redis.call('get', KEYS[1]) return redis.call('set', KEYS[1], 'x')";
        client.send(&["EVAL", both, "1", "key1"]);
        client.send(&["PING", "the end"]);
        let mut frames = vec![client.receive()];
        while !frames.iter().any(|frame| frame.contains("the end")) {
            frames.push(client.receive());
        }
        assert!(frames.iter().any(|frame| frame.contains("invalidate")), "{frames:?}");
        told_after(&mut client, &mut other, &[]);
        client.ask(&["CLIENT", "TRACKING", "OFF"]);
        client.ask(&["CLIENT", "TRACKING", "ON", "OPTIN"]);
        assert!(told_after(&mut client, &mut other, &[&["EVAL", READ, "1", "key2"]]).is_empty());
        let caching: [&[&str]; 2] = [&["CLIENT", "CACHING", "YES"], &["EVAL", READ, "1", "key2"]];
        assert_eq!(told_after(&mut client, &mut other, &caching), ["key2"]);
    });
}

/// One LCS at its bound takes long; a script of many is stopped in time all the same.
#[test]
fn commands_that_take_long_count_as_time_of_their_script() {
    on_each(|server| {
        let mut client = Client::new(address(server));
        for (key, byte) in [("key0", 'a'), ("key1", 'b')] {
            let value: String = (0..30_000u32).map(|at| if at * at % 7 < 3 { byte } else { 'c' }).collect();
            client.ask(&["SET", key, &value]);
        }
        let begun = Instant::now();
        let script = "for i = 1, 1000 do redis.call('lcs', KEYS[1], KEYS[2]) end return 'done'";
        let answer = client.eval(script, &["key0", "key1"], &[]);
        assert!(answer.contains("script-time-max"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    });
}
