//! The whole loop against an echo in this process and against small servers that behave as told.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    codec::{memcache::Memcache, raw::Raw, raw::RawSource, resp::Resp},
    echo,
    workload::{
        Mixed, Sweep,
        keys::KeyPicker,
        mix::{Mix, Operation},
        objects::Objects,
    },
};

/// Serves each connection in a thread of its own: `serve(bytes so far unanswered) -> replies`.
fn fake_server(serve: impl Fn(&mut Vec<u8>) -> Vec<u8> + Clone + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, serve) = (stream.unwrap(), serve.clone());
            thread::spawn(move || {
                let (mut unanswered, mut inbox) = (Vec::new(), [0; 4096]);
                while let Ok(bytes @ 1..) = stream.read(&mut inbox) {
                    unanswered.extend_from_slice(&inbox[..bytes]);
                    let replies = serve(&mut unanswered);
                    if stream.write_all(&replies).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Address::Tcp(address)
}

/// memcached's answers to gets: keys that end in an even digit are there.
fn even_keys(unanswered: &mut Vec<u8>) -> Vec<u8> {
    let mut replies = Vec::new();
    while let Some(end) = unanswered.iter().position(|&byte| byte == b'\n') {
        let line: Vec<u8> = unanswered.drain(..=end).collect();
        let last = line[line.len() - 3];
        if last.is_multiple_of(2) {
            replies.extend_from_slice(b"VALUE k 0 2\r\nhi\r\n");
        }
        replies.extend_from_slice(b"END\r\n");
    }
    replies
}

#[test]
fn an_echo_answers_every_request_of_a_counted_load() {
    let address: SocketAddr = echo::start_in_thread(echo::Engine::Epoll);
    let raw = Raw { request_bytes: 43, reply_bytes: 64 };
    let mut plan = Plan::closed(3, 7);
    plan.duration = Some(Duration::from_millis(100));
    plan.warmup = Duration::from_millis(20);
    let servers = [Address::Tcp(address)];
    let figures = drive(&plan, &servers, &raw, &mut RawSource(raw), None).unwrap();
    assert!(figures.tally.done > 0);
    assert_eq!(figures.unanswered, 0);
    assert!(figures.seconds >= 0.1);
}

#[test]
fn hits_and_misses_are_counted_and_a_sweep_ends() {
    let server = [fake_server(even_keys)];
    let objects = Objects::new(1_000, 16, 2).unwrap();
    for window in [false, true] {
        let mut sweep = Sweep::new(&Memcache, &objects, Operation::Get, 0..objects.count());
        let plan = Plan { window, ..Plan::closed(4, 16) };
        let figures = drive(&plan, &server, &Memcache, &mut sweep, None).unwrap();
        // Of 1000 hexadecimal numbers the last digits 0 2 4 6 8 b d f are even bytes; a c e are odd.
        let even = (0..1_000u32).filter(|n| format!("{n:x}").as_bytes().last().unwrap() % 2 == 0);
        let even = even.count() as u64;
        assert_eq!((figures.tally.hits, figures.tally.misses), (even, 1_000 - even));
        assert_eq!(figures.tally.value_bytes, 2 * even);
    }
}

#[test]
fn a_stall_shows_in_every_request_of_the_open_loop_that_was_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(200);
    let started = Instant::now();
    let server = [fake_server(move |unanswered| {
        // One pause, 100 ms after the start; everything that is due meanwhile has to wait.
        let since = started.elapsed();
        if since > Duration::from_millis(100) && since < Duration::from_millis(150) {
            thread::sleep(STALL);
        }
        even_keys(unanswered)
    })];
    let objects = Objects::new(100, 16, 2).unwrap();
    let mut load = Mixed::new(&Memcache, &objects, KeyPicker::uniform(100, 1), Mix::READS, u64::MAX);
    let mut plan = Plan::closed(1, 1);
    plan.pace = Pace::Open { rate: 1_000.0 };
    plan.duration = Some(Duration::from_millis(600));
    let figures = drive(&plan, &server, &Memcache, &mut load, None).unwrap();
    // About 600 requests were due. A closed loop would show one slow request; here those due in the
    // first half of the stall waited for at least its other half.
    assert!(figures.operations + figures.unanswered >= 500, "{figures}");
    assert!(figures.latency_us.p90 >= 100_000.0, "{figures}");
    assert!(figures.latency_us.max >= 150_000.0, "{figures}");
}

#[test]
fn long_values_pass_in_small_pieces() {
    let mut request = Vec::new();
    Resp.set(&mut request, &[0; 16], &[0; 1_000_000]);
    let server = [fake_server(move |unanswered| {
        let whole = unanswered.len() / request.len();
        unanswered.drain(..whole * request.len());
        b"+OK\r\n".repeat(whole)
    })];
    let objects = Objects::new(5, 16, 1_000_000).unwrap();
    let mut sweep = Sweep::new(&Resp, &objects, Operation::Set, 0..objects.count());
    let plan = Plan { turn_bytes: 10_000, ..Plan::closed(1, 1) };
    let figures = drive(&plan, &server, &Resp, &mut sweep, None).unwrap();
    assert_eq!(figures.tally.done, 5);
}

#[test]
fn what_a_server_does_wrong_is_an_error_that_says_so() {
    let objects = Objects::new(10, 16, 2).unwrap();
    let run = |server: Address| {
        let mut sweep = Sweep::new(&Memcache, &objects, Operation::Get, 0..objects.count());
        let figures = drive(&Plan::closed(1, 1), &[server], &Memcache, &mut sweep, None);
        figures.unwrap_err().to_string()
    };
    let nonsense = run(fake_server(|_| b"nonsense\r\n".to_vec()));
    assert!(nonsense.contains("no memcache: 'nonsense'"), "{nonsense}");
    let extra = run(fake_server(|_| b"END\r\nEND\r\n".to_vec()));
    assert!(extra.contains("1 replies more than requests"), "{extra}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closing = Address::Tcp(listener.local_addr().unwrap());
    thread::spawn(move || drop(listener.accept()));
    assert!(run(closing).contains("closed by the server"));
}
