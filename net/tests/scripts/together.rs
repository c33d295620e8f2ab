//! All of a script's changes are seen, or none, and none is lost: within a shard and over two.

use crate::client::{Client, KEYS, SET_ALL, TAGGED, on_each};
use crate::servers::{address, sum, wait_until};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
