//! Random scripts, beside redis-server: replies and errors byte for byte, and what is there afterwards.
//!
//! Skipped, loudly, where there is no redis-server 7.0.

#[path = "support/random.rs"]
mod random;
#[path = "support/random_scripts.rs"]
mod random_scripts;
#[path = "support/redis.rs"]
mod redis;
mod servers;

use random::Random;
use random_scripts::{plain, script};
use redis::Redis;
use servers::{address, config, end, start};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::Duration;
use torc_net::transport::choice::TransportChoice;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, parse};

const SCRIPTS: usize = 3000;
const KEYS: [&str; 6] = ["k1", "k2", "k3", "k4", "k5", "k6"];
const SEED: u64 = 0x5EED_0000_0000_0001;

/// Commands, and what their arguments are: `k`ey, `v`alue, `n`umber, tim`e`, `w`ord, bit `o`peration; capitals are there sometimes.
const COMMANDS: [&str; 42] = [
    "get k",
    "set kv",
    "set kvW",
    "setnx kv",
    "getset kv",
    "append kv",
    "strlen k",
    "getrange knn",
    "setrange knv",
    "getdel k",
    "getex kWe",
    "mget kkK",
    "mset kvkv",
    "msetnx kvkv",
    "del kK",
    "exists kkK",
    "incr k",
    "decr k",
    "incrby kn",
    "decrby kn",
    "incrbyfloat kn",
    "setbit knn",
    "getbit kn",
    "bitcount kN",
    "bitpos kn",
    "expire ke",
    "pexpire ke",
    "persist k",
    "ttl k",
    "type k",
    "rename kk",
    "renamenx kk",
    "copy kkW",
    "echo v",
    "ping V",
    "nope k",
    "bitfield kw",
    "object wk",
    "touch kK",
    "unlink k",
    "bitop okkK",
    "bitop okk",
];
const NUMBERS: [&str; 12] = ["0", "1", "-1", "7", "8", "64", "'x'", "''", "1.5", "'1.5'", "100000", "-100"];
/// Long ago or long hence, as both clocks are not one.
const TIMES: [&str; 6] = ["100000", "-100", "0", "'x'", "1.5", "100000000"];
const OPERATIONS: [&str; 6] = ["'AND'", "'or'", "'XOR'", "'NOT'", "'what'", "1"];
const WORDS: [&str; 10] = [
    "'NX'",
    "'XX'",
    "'GET'",
    "'KEEPTTL'",
    "'REPLACE'",
    "'encoding'",
    "'PERSIST'",
    "'get'",
    "'EX'",
    "'refcount'",
];
const WRONG: [&str; 4] = ["nil", "true", "{}", "function() end"];

fn argument(random: &mut Random, kind: u8) -> Option<String> {
    if random.below(40) == 0 {
        return Some(random.of(&WRONG).to_owned());
    }
    if kind.is_ascii_uppercase() && random.below(2) == 0 {
        return None;
    }
    Some(match kind.to_ascii_lowercase() {
        b'k' => format!("'{}'", random.of(&KEYS)),
        b'v' => plain(random).to_owned(),
        b'e' => random.of(&TIMES).to_owned(),
        b'n' => random.of(&NUMBERS).to_owned(),
        b'o' => random.of(&OPERATIONS).to_owned(),
        _ => random.of(&WORDS).to_owned(),
    })
}

fn call(random: &mut Random) -> String {
    let (name, shape) = random.of(&COMMANDS).split_once(' ').expect("a shape");
    let mut text = format!("redis.{}('{name}'", if random.below(3) == 0 { "call" } else { "pcall" });
    for kind in shape.bytes() {
        if let Some(argument) = argument(random, kind) {
            let _ = write!(text, ", {argument}");
        }
    }
    text + ")"
}

/// Sends a request and reads its answer.
fn ask(stream: &mut (impl Read + Write), words: &[&str]) -> Vec<u8> {
    let mut request = Vec::new();
    compose::request(&mut request, words);
    stream.write_all(&request).expect("an open connection");
    let (mut input, mut more) = (Vec::new(), [0; 4096]);
    loop {
        if let Parsed::Complete { consumed, .. } = parse(&input) {
            input.truncate(consumed);
            return input;
        }
        match stream.read(&mut more) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            count => {
                let count = count.expect("an answer in time");
                assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&input));
                input.extend_from_slice(&more[..count]);
            }
        }
    }
}

#[test]
fn random_scripts_do_what_they_do_in_redis() {
    let Some(redis) = Redis::start("scripts") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; scripts were not compared with it");
        return;
    };
    // The time of a script is no matter here.
    let ours = start(torc_net::server::ServerConfig {
        script_time_max: Duration::from_secs(10),
        ..config(TransportChoice::Epoll, 2)
    });
    let mut theirs = redis.connect();
    let mut stream = servers::connect(address(&ours));
    let mut random = Random(SEED);
    let mut failures = String::new();
    for number in 0..SCRIPTS {
        if number % 500 == 250 {
            let hello = ["HELLO", if number % 1000 == 250 { "3" } else { "2" }];
            ask(&mut theirs, &hello);
            ask(&mut stream, &hello);
        }
        let text = script(&mut random, &call);
        let named = if number % 2 == 0 { 6 } else { 2 };
        let count = named.to_string();
        let mut words = vec!["EVAL", &text, &count];
        words.extend(&KEYS[..named]);
        words.push("argument");
        let (expected, got) = (ask(&mut theirs, &words), ask(&mut stream, &words));
        if expected != got {
            let _ = writeln!(failures, "{text}\n  redis {:?}\n  torc  {:?}", lossy(&expected), lossy(&got));
        }
        for key in KEYS {
            let look = ["GET", key];
            let (expected, got) = (ask(&mut theirs, &look), ask(&mut stream, &look));
            if expected != got {
                let _ = writeln!(failures, "{key} behind {text}: {:?} {:?}", lossy(&expected), lossy(&got));
                ask(&mut theirs, &["FLUSHALL"]);
                ask(&mut stream, &["FLUSHALL"]);
            }
        }
    }
    end(ours);
    assert!(failures.is_empty(), "{failures}");
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
