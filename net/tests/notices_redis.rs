//! Changes of keys as messages, put to redis-server and to servers of ours: the same events in the same order, on the same channels.
//!
//! Skipped, loudly, where there is no redis-server 7.0.

#[path = "support/redis.rs"]
mod redis;
mod servers;

use redis::{Redis, frames_until};
use servers::*;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use torc_net::event_classes::EventClasses;
use torc_net::server::ServerConfig;
use torc_proto::resp::compose;

const CLASSES: &str = "KEg$xenm";

const COMMANDS: &str = "SET k v
SET k v
SET k v EX 100
SET k v NX
SETEX k 10 v
PSETEX j 10000 v
SETNX k v
SETNX n v
SET n x XX GET
SET g x GET
GETSET n y
GETSET nn y
APPEND n z
APPEND n2 z
SETRANGE n 1 q
SETRANGE n3 1 q
INCR c
DECR c
INCRBY c 3
DECRBY c 3
INCRBYFLOAT c 1.5
MSET a 1 b 2
MGET a nope1 nope2
GET nope
EXISTS nope a
TTL nope
PTTL nope
TYPE nope
STRLEN nope
GETRANGE nope 0 1
TOUCH nope a
DEL a nope b
UNLINK n2
GETDEL n3
GETDEL n3
GETEX n
GETEX n EX 100
GETEX n PERSIST
GETEX n PERSIST
GETEX n EXAT 1
GETEX n
EXPIRE c 100
EXPIRE c 100 NX
PEXPIRE c 100000
PERSIST c
PERSIST c
EXPIRE c -1
EXPIRE c 1
PEXPIREAT j 1
EXPIREAT k 99999999999
SET {s}1 v
BITOP OR {s}bits {s}1 {s}1
BITOP AND {s}bits {s}1 {s}nope
BITOP XOR {s}bits {s}nope {s}nobody
BITOP NOT {s}bits {s}nope
LCS {s}1 {s}bits
LCS {s}nope {s}1 LEN
SELECT 1
SET other v
GET none
DEL other
SELECT 0
FLUSHDB
SET k v
FLUSHALL";

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose::request(&mut bytes, words);
    bytes
}

/// What a subscriber has got by now.
fn heard<S: Read + Write>(stream: &mut S, number: usize) -> Vec<String> {
    let marker = format!("marker:{number}:");
    stream.write_all(&request(&["PING", &marker])).expect("an open connection");
    frames_until(stream, &marker)
}

fn ask<S: Read + Write>(stream: &mut S, words: &str) {
    stream.write_all(&request(&words.split(' ').collect::<Vec<_>>())).expect("an open connection");
    stream.write_all(&request(&["ECHO", "end of it"])).expect("an open connection");
    frames_until(stream, "end of it");
}

#[test]
fn changes_of_keys_are_told_as_by_redis() {
    let Some(redis) = Redis::start("notices") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; events were not compared with it");
        return;
    };
    let (mut their_writer, mut their_listener) = (redis.connect(), redis.connect());
    ask(&mut their_writer, &format!("CONFIG SET notify-keyspace-events {CLASSES}"));
    for config in kinds() {
        let kind = format!("{}, {} shards", config.transport, config.shards);
        let event_classes = EventClasses::parse(CLASSES).expect("letters");
        let server = start(ServerConfig { event_classes, ..config });
        // Several, so that some are clients of other shards than the writer.
        let mut writer = connect(address(&server));
        let mut listeners: Vec<_> = (0..4).map(|_| connect(address(&server))).collect();
        for listener in &mut listeners {
            listener.write_all(&request(&["PSUBSCRIBE", "__key*"])).expect("an open connection");
            heard(listener, 0);
        }
        their_listener.write_all(&request(&["PSUBSCRIBE", "__key*"])).expect("an open connection");
        heard(&mut their_listener, 0);
        for words in COMMANDS.lines() {
            ask(&mut their_writer, words);
            ask(&mut writer, words);
            let expected = heard(&mut their_listener, 1);
            for listener in &mut listeners {
                let (begun, mut seen) = (Instant::now(), Vec::new());
                while seen.len() < expected.len() && begun.elapsed() < PATIENCE {
                    seen.extend(heard(listener, 1));
                }
                // Keys of several shards may be told in another order.
                let [mut seen, mut expected] = [seen, expected.clone()];
                if words.starts_with('M') || words.starts_with("DEL") || words.starts_with("TOUCH") {
                    seen.sort_unstable();
                    expected.sort_unstable();
                }
                assert_eq!(seen, expected, "{kind}: {words}");
            }
        }
        for listener in &mut listeners {
            assert_eq!(heard(listener, 2), Vec::<String>::new(), "{kind}: nothing is told late");
        }
        ask(&mut writer, "SET brief v PX 20");
        std::thread::sleep(Duration::from_millis(50));
        ask(&mut writer, "GET brief");
        for listener in &mut listeners {
            let (begun, mut seen) = (Instant::now(), Vec::new());
            while !seen.iter().any(|frame: &String| frame.contains("__keyevent@0__:expired")) {
                assert!(begun.elapsed() < Duration::from_secs(10), "{kind}: {seen:?}");
                seen.extend(heard(listener, 3));
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        end(server);
    }
}

/// Whichever shard its client speaks to: items of about as long a time to live share segments, and these would stay for long.
#[test]
fn a_key_that_has_expired_is_told_of_when_it_is_asked_for() {
    for config in kinds() {
        let kind = format!("{}, {} shards", config.transport, config.shards);
        let event_classes = EventClasses::parse("Ex").expect("letters");
        let server = start(ServerConfig { event_classes, ..config });
        let (mut client, mut listener) = (connect(address(&server)), connect(address(&server)));
        listener.write_all(&request(&["PSUBSCRIBE", "*expired"])).expect("an open connection");
        heard(&mut listener, 0);
        let begun = Instant::now();
        (0..200).for_each(|number| ask(&mut client, &format!("SET stays{number} v PX 14000")));
        (0..20).for_each(|number| ask(&mut client, &format!("SET brief{number} v PX 50")));
        std::thread::sleep(Duration::from_millis(100));
        (0..20).for_each(|number| ask(&mut client, &format!("GET brief{number}")));
        let mut seen = Vec::new();
        while seen.len() < 20 {
            assert!(begun.elapsed() < Duration::from_secs(9), "{kind}: {seen:?}");
            seen.extend(heard(&mut listener, 1));
        }
        assert!(seen.iter().all(|frame| frame.contains("brief")), "{kind}: {seen:?}");
        end(server);
    }
}
