//! The wire vectors of RESP against an installed redis-server: the words that we promise are Redis' own.
//!
//! Skipped, loudly, where there is no redis-server 7.0. Cases with waits are left out: real time is not exact.

#[path = "support/redis.rs"]
mod redis;
#[path = "support/resp_vectors.rs"]
mod vectors;

use redis::{Redis, read_some};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use torc_engine::extended::Extended;
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
