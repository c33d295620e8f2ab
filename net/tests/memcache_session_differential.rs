//! The wire vectors against memcached itself, so that they say what it does and not what somebody remembers.
//!
//! Method: starts the installed memcached 1.6.18 on a socket in the temporary folder and replays every case;
//! `mn` behind each request tells where its answer ends. Without that release the test is skipped, loudly:
//! the same vectors hold for the session in `memcache_session.rs`.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use support::memcached::{Memcached, PATIENCE, VERSION};
use support::vectors::{Case, Numbers, Peer, Step, Template, read_folder};

/// Ends every answer.
const SENTINEL: &[u8] = b"MN\r\n";

/// Reads until `enough` says so; `None` at the end of the connection.
fn receive(stream: &mut UnixStream, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    while !enough(&bytes) && begun.elapsed() < PATIENCE {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => panic!("reading from memcached: {error}"),
        }
    }
    (bytes, false)
}

fn compared(step: &Step) -> bool {
    matches!(step, Step::Close | Step::Exchange { peer: Peer::Same | Peer::Other(_), .. })
}

/// What is expected of memcached.
fn expected<'t>(expect: &'t Template, peer: &'t Peer) -> Option<&'t Template> {
    match peer {
        Peer::Same => Some(expect),
        Peer::Other(other) => Some(other),
        Peer::NotCompared | Peer::NotSent => None,
    }
}

/// Replays a case; returns how many answers were compared.
fn replay(name: &str, case: &Case, memcached: &Memcached) -> usize {
    let mut stream = memcached.connect();
    stream.write_all(b"flush_all\r\nmn\r\n").expect("a request is sent");
    receive(&mut stream, |bytes| bytes.ends_with(SENTINEL));
    let mut numbers = Numbers::new();
    let mut count = 0;
    for (at, step) in case.steps.iter().enumerate() {
        if !case.steps[at..].iter().any(compared) {
            break;
        }
        match step {
            Step::Wait(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Step::Close => assert!(receive(&mut stream, |_| false).1, "{name}: memcached does not close"),
            Step::Exchange { peer: Peer::NotSent, .. } => break,
            Step::Exchange { send, expect, peer } => {
                let request = send.fill(&numbers);
                stream.write_all(&[&request[..], b"mn\r\n"].concat()).expect("a request is sent");
                let (mut answer, closed) = receive(&mut stream, |bytes| {
                    let answer = bytes.strip_suffix(SENTINEL);
                    answer.is_some_and(|answer| {
                        expected(expect, peer)
                            .is_none_or(|expected| expected.matches(answer, &mut numbers.clone()))
                    })
                });
                if !closed && answer.ends_with(SENTINEL) {
                    answer.truncate(answer.len() - SENTINEL.len());
                }
                if let Some(expected) = expected(expect, peer) {
                    count += 1;
                    assert!(
                        expected.matches(&answer, &mut numbers),
                        "{name}\nsent      {}\nmemcached {}",
                        support::shown(&request),
                        support::shown(&answer),
                    );
                }
                if closed {
                    assert!(matches!(case.steps.get(at + 1), Some(Step::Close)), "{name}: memcached closes");
                }
            }
        }
    }
    count
}

#[test]
fn memcached_itself_answers_the_vectors_as_they_say() {
    let Some(memcached) = Memcached::start("vectors") else {
        eprintln!("SKIPPED: memcached {VERSION} is not installed, so the vectors were not compared with it");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/memcache");
    let count: usize = read_folder(&folder).iter().map(|(name, case)| replay(name, case, &memcached)).sum();
    assert!(count > 60, "only {count} answers were compared");
}
