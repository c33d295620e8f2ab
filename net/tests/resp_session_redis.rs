//! The wire vectors of RESP against an installed redis-server: the words that we promise are Redis' own.
//!
//! Skipped, loudly, where there is no redis-server 7.0. Cases with waits are left out: real time is not exact.

#[path = "support/redis.rs"]
mod redis;
mod support;
#[path = "support/resp_vectors.rs"]
mod vectors;

use redis::{Redis, read_some};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use torc_engine::extended::Extended;
use torc_net::session::Protocol;
use vectors::{Case, array, cases};

/// Reads as many bytes as are expected, or less if the server says less. What it says more shows up later.
fn receive(stream: &mut UnixStream, expected: &[u8]) -> Vec<u8> {
    let mut received = vec![0; expected.len()];
    let mut len = 0;
    while len < received.len() {
        match stream.read(&mut received[len..]) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    received.truncate(len);
    received
}

/// Takes whatever is answered to what was sent.
fn drain(stream: &mut UnixStream) -> Vec<u8> {
    let marker = b"all of it is here";
    stream.write_all(&array(&[b"ECHO".to_vec(), marker.to_vec()])).expect("an open connection");
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    let end = b"$17\r\nall of it is here\r\n";
    while !received.ends_with(end) {
        let count = read_some(stream, &mut buffer).expect("an answer");
        assert!(count > 0, "closed");
        received.extend_from_slice(&buffer[..count]);
    }
    received.truncate(received.len() - end.len());
    received
}

fn play(case: &Case, redis: &Redis) -> Result<(), String> {
    let mut cleaner = redis.connect();
    cleaner.write_all(b"FLUSHALL\r\n").map_err(|error| error.to_string())?;
    receive(&mut cleaner, b"+OK\r\n");
    let mut stream = redis.connect();
    for step in &case.steps {
        // A server that closes early does not take all of it.
        let written = stream.write_all(&step.send);
        match &step.redis {
            None if case.close => return Ok(()),
            None => drop(drain(&mut stream)),
            Some(expected) => {
                let received = receive(&mut stream, expected);
                if received != *expected {
                    return Err(format!(
                        "{}\n   redis {}\nexpected {}\n{written:?}",
                        case.name,
                        received.escape_ascii(),
                        expected.escape_ascii()
                    ));
                }
            }
        }
    }
    if case.close {
        let end = read_some(&mut stream, &mut [0]);
        return match end {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(format!("{}: redis does not close: {other:?}", case.name)),
        };
    }
    match &drain(&mut stream)[..] {
        [] => Ok(()),
        more => Err(format!("{}: redis says more: {}", case.name, more.escape_ascii())),
    }
}

#[test]
fn redis_answers_as_the_vectors_say() {
    let Some(redis) = Redis::start("vectors") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; the vectors were not compared with it");
        return;
    };
    let cases: Vec<Case> =
        cases().into_iter().filter(|case| case.steps.iter().all(|step| step.wait_ms == 0)).collect();
    let failures: Vec<String> = cases.iter().filter_map(|case| play(case, &redis).err()).collect();
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() > 60, "{} cases", cases.len());
}

/// Pairs of numbers of many sizes, the same in every run.
fn numbers() -> impl Iterator<Item = (String, String)> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::from_fn(move || {
        let mut number = || {
            let (digits, power) = (random() >> (random() % 64), random() % 48);
            let sign = if random() % 2 == 0 { "-" } else { "" };
            match random() % 3 {
                0 => format!("{sign}{digits}"),
                1 => format!("{sign}{digits}.{}", random() >> (random() % 64)),
                _ => format!("{sign}{digits}e{}", power as i64 - 40),
            }
        };
        Some((number(), number()))
    })
}

#[test]
fn sums_are_those_of_redis() {
    let Some(redis) = Redis::start("sums") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; sums were not compared with it");
        return;
    };
    let mut stream = redis.connect();
    for (one, other) in numbers().take(2_000) {
        let words =
            |words: &[&str]| array(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
        let request = [words(&["SET", "k", &one]), words(&["INCRBYFLOAT", "k", &other])].concat();
        stream.write_all(&request).expect("an open connection");
        let read = |text: &str| Extended::parse(text.as_bytes()).expect("a number");
        let sum = read(&one).plus(read(&other)).to_string();
        let expected = format!("+OK\r\n${}\r\n{sum}\r\n", sum.len());
        let received = receive(&mut stream, expected.as_bytes());
        assert_eq!(
            received.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string(),
            "{one} + {other}"
        );
    }
}

/// An answer of COMMAND INFO without what depends on an order, and without the subcommands.
fn facts(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let lines: Vec<&str> =
        text.split("\r\n").filter(|line| !line.starts_with(['*', '$']) && !line.contains(' ')).collect();
    let mut facts: Vec<String> = lines.iter().map(|line| line.trim_start_matches('+').to_owned()).collect();
    facts.retain(|fact| fact != "notes");
    facts.sort();
    facts
}

/// What COMMAND INFO says of every command and subcommand that Redis has, too.
#[test]
fn facts_of_commands_are_those_of_redis() {
    let Some(redis) = Redis::start("facts") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; facts of commands were not compared with it");
        return;
    };
    let request =
        |words: &[&str]| array(&words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
    let mut stream = redis.connect();
    let mut of_redis = |words: &[&str]| {
        stream.write_all(&request(words)).expect("an open connection");
        drain(&mut stream)
    };
    let ours = |words: &[&str]| {
        let mut connection = support::Connection::new(Some(Protocol::Resp));
        connection.send(&request(words), &mut support::model::Model::default(), 0)
    };
    let named = |answer: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(answer).into_owned();
        text.split("\r\n")
            .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']))
            .map(str::to_owned)
            .collect()
    };
    let mut names = named(&ours(&["COMMAND", "LIST"]));
    for container in ["client", "cluster", "command", "config", "latency", "memory", "object", "slowlog"] {
        let help = named(&ours(&[container, "HELP"]));
        names.extend(
            help[1..]
                .iter()
                .filter(|name| !name.starts_with(' '))
                .map(|name| format!("{container}|{}", name[1..].to_lowercase())),
        );
    }
    let mut compared = 0;
    for name in names {
        let (theirs, ours) = (of_redis(&["COMMAND", "INFO", &name]), ours(&["COMMAND", "INFO", &name]));
        // Later releases have some more. Of a command with subcommands these are compared by themselves.
        if theirs.ends_with(b"$-1\r\n")
            || theirs.windows(name.len() + 1).any(|part| part == format!("{name}|").as_bytes())
        {
            continue;
        }
        assert_eq!(facts(&ours), facts(&theirs), "{name}");
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
}

/// What random commands are made of: few keys, so that they meet, and arguments that are wrong in all ways.
const KEYS: [&str; 4] = ["a", "b", "c", ""];
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "9",
    "15",
    "64",
    "100",
    "-100",
    "1000",
    "4096",
    "-0",
    "01",
    "+1",
    " 1",
    "x",
    "",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "4294967295",
];
/// Long ago or long hence, as both clocks are not one; or none.
const TIMES: [&str; 8] = ["1000000", "-1", "0", "x", "", "01", "1.5", "9223372036854775807"];
const VALUES: [&str; 10] = [
    "",
    "v",
    "12",
    "-7",
    "012",
    "3.25",
    "foobar",
    "\u{7f}\u{0}\u{1}",
    "99999999999999999999",
    "aaaaaaaaaaaaaaaaaaaaaaaa",
];
const TYPES: [&str; 12] = ["u1", "u8", "u63", "u64", "i1", "i8", "i16", "i64", "i65", "u0", "8", ""];
const WORDS: [&str; 30] = [
    "NX", "XX", "GT", "LT", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "BIT", "BYTE",
    "OVERFLOW", "WRAP", "SAT", "FAIL", "SET", "INCRBY", "REPLACE", "ABSTTL", "ENCODING", "REFCOUNT", "FREQ",
    "MATCH", "COUNT", "TYPE", "string", "*", "[a-b]",
];
/// A command, and what its arguments are: `k`ey, `n`umber, tim`e`, `v`alue, `t`ype of an integer, `w`ord; small letters are always there,
/// large ones sometimes.
const SHAPES: [(&str, &str); 41] = [
    ("GET", "k"),
    ("SET", "kvWEWE"),
    ("SETNX", "kv"),
    ("GETSET", "kv"),
    ("APPEND", "kv"),
    ("STRLEN", "k"),
    ("GETRANGE", "knn"),
    ("SUBSTR", "knn"),
    ("SETRANGE", "knv"),
    ("GETDEL", "k"),
    ("GETEX", "kWE"),
    ("MGET", "kkK"),
    ("MSET", "kvKV"),
    ("DEL", "kK"),
    ("EXISTS", "kK"),
    ("TYPE", "k"),
    ("INCR", "k"),
    ("DECR", "k"),
    ("INCRBY", "kn"),
    ("DECRBY", "kn"),
    ("INCRBYFLOAT", "kn"),
    ("SETBIT", "knn"),
    ("GETBIT", "kn"),
    ("BITCOUNT", "kNNW"),
    ("BITPOS", "knNNW"),
    ("BITFIELD", "kwtnN"),
    ("BITFIELD", "kwtnnWTNN"),
    ("BITFIELD_RO", "kWTN"),
    ("EXPIRE", "keW"),
    ("PEXPIRE", "keWW"),
    ("PERSIST", "k"),
    ("OBJECT", "wk"),
    ("DUMP", "kN"),
    ("RESTORE", "kevWN"),
    ("SETEX", "kev"),
    ("TOUCH", "kK"),
    ("UNLINK", "k"),
    ("ECHO", "v"),
    ("SETRANGE", "knv"),
    ("BITFIELD", "kwwwtnn"),
    ("SETBIT", "knN"),
];

/// The next number of a sequence that is the same in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize
}

fn random_command(state: &mut u64) -> Vec<Vec<u8>> {
    let mut pick = |from: &[&str]| from[next(state) % from.len()].to_owned();
    let shapes: Vec<String> = SHAPES.iter().map(|(name, shape)| format!("{name} {shape}")).collect();
    let shape = pick(&shapes.iter().map(String::as_str).collect::<Vec<_>>());
    let (name, shape) = shape.split_once(' ').expect("a name and a shape");
    let mut words = vec![name.to_owned()];
    for part in shape.chars() {
        if part.is_uppercase() && pick(&["no", "no", "yes"]) == "no" {
            continue;
        }
        words.push(match part.to_ascii_lowercase() {
            'k' => pick(&KEYS),
            'n' => pick(&NUMBERS),
            'e' => pick(&TIMES),
            'v' => pick(&VALUES),
            't' => pick(&TYPES),
            _ => pick(&WORDS),
        });
    }
    words.into_iter().map(String::into_bytes).collect()
}

/// Whether the answer to a command has to be that of Redis: not if it depends on time, or differs by right.
fn is_compared(words: &[Vec<u8>], answer: &[u8]) -> bool {
    let is = |name: &str| words[0] == name.as_bytes();
    let has_time = words.iter().any(|word| [&b"EX"[..], b"PX", b"EXAT", b"PXAT"].contains(&&word[..]));
    // Redis keeps what it has appended to as it is, and shares small integers; what it calls them is told of fresh values only.
    let is_called = is("OBJECT");
    // Values here are shorter (`--max-value`).
    let is_too_long = answer.starts_with(b"-ERR string exceeds maximum allowed size");
    // Payloads may be packed.
    !(has_time || is_called || is_too_long || is("DUMP"))
}

#[test]
fn random_commands_are_answered_as_redis_does() {
    let Some(redis) = Redis::start("random") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; random commands were not compared with it");
        return;
    };
    let mut stream = redis.connect();
    let count = std::env::var("TORC_DIFFERENTIAL_COMMANDS").ok().and_then(|count| count.parse().ok());
    let mut state = 0x1234_5678_9ABC_DEF1;
    let mut store = support::shard(1_700_000_000_000);
    let mut connection = support::Connection::new(Some(Protocol::Resp));
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |time| time.as_millis() as u64)
    };
    let mut log: Vec<Vec<Vec<u8>>> = Vec::new();
    for number in 0..count.unwrap_or(30_000) {
        let words = random_command(&mut state);
        let request = array(&words);
        stream.write_all(&request).expect("an open connection");
        let theirs = drain(&mut stream);
        let ours = connection.send(&request, &mut store, now());
        log.push(words.clone());
        if is_compared(&words, &ours) {
            let shown = |words: &[Vec<u8>]| {
                words.iter().map(|word| format!("'{}'", word.escape_ascii())).collect::<Vec<_>>().join(" ")
            };
            let before: Vec<String> = log.iter().rev().take(8).map(|words| shown(words)).collect();
            assert!(
                ours == theirs,
                "{number}: {}\n ours {}\nredis {}\n{before:#?}",
                shown(&words),
                ours.escape_ascii(),
                theirs.escape_ascii()
            );
        } else if ours != theirs {
            // What differs by right must not make what follows differ.
            stream.write_all(&array(&[b"FLUSHALL".to_vec()])).expect("an open connection");
            drain(&mut stream);
            connection.send(&array(&[b"FLUSHALL".to_vec()]), &mut store, now());
        }
    }
}
