//! Transactions over two shards and both transports: nobody sees half of one, and clients that leave half-way leave nothing held.

mod servers;

use servers::*;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use torc_net::server::{Server, ServerConfig};
use torc_proto::resp::compose;

/// Keys of both shards.
const KEYS: usize = 8;
const ROUNDS: usize = 300;

fn on_each(scenario: impl Fn(&Server)) {
    on_each_kind(|config| ServerConfig { databases: 16, ..config }, scenario);
}

fn requests(lines: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        compose::request(&mut bytes, &words);
    }
    bytes
}

/// The commands between MULTI and EXEC; the answer of EXEC.
fn run(stream: &mut TcpStream, commands: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> =
        ["MULTI".to_owned()].into_iter().chain(commands).chain(["EXEC".to_owned()]).collect();
    ask_lines(stream, &lines).pop().expect("an answer")
}

fn all(command: &str, value: &str) -> impl Iterator<Item = String> {
    let (command, value) = (command.to_owned(), value.to_owned());
    (0..KEYS).map(move |key| format!("{command} key{key} {value}").trim_end().to_owned())
}

#[test]
fn nobody_sees_half_of_a_transaction() {
    on_each(|server| {
        let address = address(server);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|writer| {
                    scope.spawn(move || {
                        let mut stream = connect(address);
                        for round in 0..ROUNDS {
                            let answer = run(&mut stream, all("SET", &format!("{writer}-{round}")));
                            assert_eq!(answer, format!("*{KEYS}\r\n{}", "+OK\r\n".repeat(KEYS)));
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut stream = connect(address);
                while !is_over.load(Relaxed) {
                    let answer = run(&mut stream, all("GET", ""));
                    let values: Vec<&str> = answer.split("\r\n").skip(2).step_by(2).collect();
                    let values = values.iter().filter(|value| !value.is_empty());
                    let different: std::collections::HashSet<_> = values.collect();
                    assert!(different.len() <= 1, "{answer:?}");
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_over.store(true, Relaxed);
        });
    });
}

/// Reads of another shard's keys do not ask it. What was written together is there for whoever has seen some of it.
#[test]
fn who_has_seen_one_key_of_a_transaction_sees_the_others() {
    on_each(|server| {
        let address = address(server);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut stream = connect(address);
                for round in 0..2 * ROUNDS {
                    run(&mut stream, all("SET", &round.to_string()));
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut stream = connect(address);
                    let mut before = 0;
                    while !is_over.load(Relaxed) {
                        for key in 0..KEYS {
                            let answer = ask_line(&mut stream, &format!("GET key{key}"));
                            let digits = answer.split("\r\n").nth(1).unwrap_or_default();
                            let number: usize = digits.parse().unwrap_or(0);
                            assert!(before <= number, "key{key} has {number} behind {before}");
                            before = number;
                        }
                    }
                });
            }
            writer.join().unwrap();
            is_over.store(true, Relaxed);
        });
    });
}

#[test]
fn counts_that_are_watched_lose_nothing() {
    on_each(|server| {
        let address = address(server);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let mut stream = connect(address);
                    let mut done = 0;
                    while done < 50 {
                        let read = ask_lines(&mut stream, &["WATCH count", "GET count"]).remove(1);
                        let number: u32 =
                            read.split("\r\n").nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(0);
                        let answer = run(&mut stream, [format!("SET count {}", number + 1)].into_iter());
                        done += u32::from(answer == "*1\r\n+OK\r\n");
                    }
                });
            }
        });
        assert_eq!(ask_line(&mut connect(address), "GET count"), "$3\r\n200\r\n");
    });
}

#[test]
fn what_changes_a_watched_key_is_what_redis_says() {
    on_each(|server| {
        let (mut one, mut other) = (connect(address(server)), connect(address(server)));
        let cases = [
            ("SET k 1", "SET k 2", true),
            ("SET k 1", "GET k", false),
            ("SET k 1", "DEL k", true),
            ("DEL k", "DEL k", false),
            ("DEL k", "SETNX k 1", true),
            ("SET k 1", "EXPIRE k 100", true),
            ("SET k 1", "PERSIST k", false),
            ("SET k 1", "FLUSHALL", true),
            ("SET k 1", "FLUSHDB", true),
            ("DEL k", "FLUSHALL", false),
            ("SET k 1", "SWAPDB 0 3", true),
            ("DEL k", "SWAPDB 0 3", false),
            ("SET k 1", "RENAME k l", true),
            ("SET k 1", "COPY k l", false),
        ];
        for key in ["a", "b", "c", "d"] {
            for (before, meanwhile, changes) in cases {
                ask_line(&mut other, "FLUSHALL");
                let named = |line: &str| line.replace(" k", &format!(" {key}"));
                ask_line(&mut other, &named(before));
                ask_line(&mut one, &format!("WATCH {key}"));
                ask_line(&mut other, &named(meanwhile));
                let answer = run(&mut one, ["PING".to_owned()].into_iter());
                let expected = if changes { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
                assert_eq!(answer, expected, "{before}, then {meanwhile}");
            }
            // What comes back to what it was has changed all the same; and what is over.
            ask_line(&mut one, &format!("WATCH {key}"));
            ask_lines(&mut other, &[format!("SET {key} 1"), format!("DEL {key}")]);
            assert_eq!(run(&mut one, ["PING".to_owned()].into_iter()), "*-1\r\n");
            ask_line(&mut other, &format!("SET {key} 1 PX 30"));
            ask_line(&mut one, &format!("WATCH {key}"));
            std::thread::sleep(std::time::Duration::from_millis(60));
            assert_eq!(run(&mut one, ["PING".to_owned()].into_iter()), "*-1\r\n");
            ask_lines(&mut one, &[format!("WATCH {key}"), "UNWATCH".into()]);
            ask_line(&mut other, &format!("SET {key} 1"));
            assert_eq!(run(&mut one, ["PING".to_owned()].into_iter()), "*1\r\n+PONG\r\n");
        }
    });
}

#[test]
fn values_of_any_length_go_to_other_keys_and_databases() {
    on_each(|server| {
        let mut stream = connect(address(server));
        for length in [0, 5, 5_000, 300_000] {
            let value = "v".repeat(length);
            for to in 0..6 {
                assert_eq!(ask_line(&mut stream, "FLUSHALL"), "+OK\r\n");
                let set = [format!("SET from {value} EX 100"), format!("COPY from to{to}")];
                assert_eq!(ask_lines(&mut stream, &set), ["+OK\r\n", ":1\r\n"]);
                assert_eq!(ask_line(&mut stream, &format!("RENAMENX from to{to}")), ":0\r\n");
                assert_eq!(ask_line(&mut stream, &format!("RENAME from to{to}")), "+OK\r\n");
                assert_eq!(ask_line(&mut stream, "EXISTS from"), ":0\r\n");
                assert_eq!(ask_line(&mut stream, &format!("MOVE to{to} 3")), ":1\r\n");
                assert_eq!(ask_line(&mut stream, "DBSIZE"), ":0\r\n");
                let there =
                    ["SELECT 3".into(), format!("GET to{to}"), format!("TTL to{to}"), "SELECT 0".into()];
                let answers = ask_lines(&mut stream, &there);
                assert_eq!(answers[1], format!("${length}\r\n{value}\r\n"));
                assert_eq!(answers[2], ":100\r\n");
            }
        }
        let pairs =
            |from: usize| (from..from + 8).map(|key| format!("m{key} {key}")).collect::<Vec<_>>().join(" ");
        assert_eq!(ask_line(&mut stream, &format!("MSETNX {}", pairs(0))), ":1\r\n");
        assert_eq!(ask_line(&mut stream, &format!("MSETNX {}", pairs(7))), ":0\r\n");
        assert_eq!(ask_line(&mut stream, "EXISTS m7 m8 m14"), ":1\r\n", "nothing of it is done");
        assert_eq!(ask_line(&mut stream, "RENAME nothing m1"), "-ERR no such key\r\n");
    });
}

#[test]
fn clients_that_leave_half_way_leave_nothing_held() {
    on_each(|server| {
        let address = address(server);
        let lines: Vec<String> = ["MULTI".to_owned()].into_iter().chain(all("INCR", "")).collect();
        let mut queued = requests(&lines);
        // A thousand that never come to EXEC, and some that do not wait for it.
        let idle: Vec<TcpStream> = (0..200)
            .map(|_| {
                let mut stream = connect(address);
                stream.write_all(&queued).unwrap();
                stream
            })
            .collect();
        queued.extend(requests(&["EXEC".into()]));
        for round in 0..100 {
            let mut stream = connect(address);
            stream.write_all(&queued[..queued.len() - round % 3]).unwrap();
        }
        drop(idle);
        let mut stream = connect(address);
        let counts = || {
            let answer = run(&mut connect(address), all("INCRBY", "0"));
            answer.split("\r\n").skip(1).take(KEYS).map(str::to_owned).collect::<Vec<_>>()
        };
        wait_until("nothing is held", || sum(server, |stats| stats.held_keys.read()) == 0);
        let counts = counts();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        assert_eq!(ask_line(&mut stream, "SET key1 x"), "+OK\r\n");
        // Watchers are gone with their connections, and bounded.
        let many = (0..20_000).map(|key| format!("w{key}")).collect::<Vec<_>>();
        let mut watcher = connect(address);
        let answers = ask_lines(
            &mut watcher,
            &many.chunks(500).map(|keys| format!("WATCH {}", keys.join(" "))).collect::<Vec<_>>(),
        );
        assert_eq!(answers[0], "+OK\r\n");
        assert_eq!(answers.last().unwrap(), "-ERR too many watched keys\r\n");
        drop(watcher);
        wait_until("nothing is watched", || sum(server, |stats| stats.watched_keys.read()) == 0);
    });
}
