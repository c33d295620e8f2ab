//! A shard that stands still, wherever it is just then, keeps no other from its memory: readers hold nothing.
//!
//! In a process of its own, as the stall is a signal whose handler sleeps.

mod servers;

use servers::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};

/// Of the smallest server: that of `--memory 16m`.
const MEMORY_BYTES: u64 = 16 << 20;
const VALUE_BYTES: usize = 3000;
const CLIENTS: u64 = 8;
const STALLS: u32 = 20;
const STALL: Duration = Duration::from_millis(50);

extern "C" fn stand_still(_: libc::c_int) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: STALL.as_nanos() as libc::c_long };
    // SAFETY: `time` is valid, and nobody wants to know what is left of it; it may be called in a handler (signal-safety(7)).
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

fn handle(signal: libc::c_int) {
    // SAFETY: all zeros are a `sigaction`: no mask, no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = stand_still as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` is valid, and its handler does only what a handler may.
    let set = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// The thread of the second shard.
fn thread() -> libc::pid_t {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let is_it = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim_end() == "torc-shard-1")
    };
    let path = tasks.map(|entry| entry.unwrap().path()).find(|path| is_it(path)).expect("a second shard");
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

/// Writes keys of both shards, and reads them back, until the time is over. Says how much.
fn write_all(stream: TcpStream, client: u64, is_over: &AtomicBool, written: &AtomicU64) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let value = "v".repeat(VALUE_BYTES);
    let mut answer = String::new();
    for number in (0..4000_u64).cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // The read is of a key that is written anew just then, or just gone.
        let other = number.wrapping_sub(7) % 4000;
        let request =
            format!("set {client}-{number} 0 0 {VALUE_BYTES}\r\n{value}\r\nget {client}-{other}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let begin = Instant::now();
        let mut line = || {
            answer.clear();
            reader.read_line(&mut answer).unwrap();
            answer.trim_end().to_owned()
        };
        assert_eq!(line(), "STORED", "{client}-{number}");
        match line().as_str() {
            "END" => {}
            head => {
                assert!(head.starts_with("VALUE "), "{head}");
                assert_eq!((line(), line()), (value.clone(), "END".into()));
            }
        }
        assert!(begin.elapsed() < PATIENCE / 2, "it is locked");
        written.fetch_add(1, Ordering::Relaxed);
    }
}

fn attack(server: &Server) {
    let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let thread = thread();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (stream, is_over, written) = (connect(address(server)), &is_over, &written);
            scope.spawn(move || write_all(stream, client, is_over, written));
        }
        for _ in 0..STALLS {
            std::thread::sleep(STALL / 5);
            // SAFETY: the thread is one of this process, and a shard's lives as long as its server.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1) };
            assert_eq!(sent, 0);
            std::thread::sleep(STALL);
        }
        // On a machine that is busy enough may not have been written yet.
        wait_until("memory was written over often", || {
            written.load(Ordering::Relaxed) * VALUE_BYTES as u64 > 3 * MEMORY_BYTES
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let reads = sum(server, |stats| stats.sibling_hits.read() + stats.sibling_misses.read());
    assert!(reads > 0, "shards read each other's keys");
    let refused: u64 = server.stats().iter().map(|stats| stats.shard.refused_memory.read()).sum();
    assert_eq!(refused, 0, "nobody was refused");
}

#[test]
fn a_shard_that_stands_still_keeps_no_other_from_its_memory() {
    handle(libc::SIGUSR1);
    for config in kinds().into_iter().filter(|config| config.shards == 2) {
        eprintln!("{}", config.transport);
        let server = start(ServerConfig { memory_bytes: MEMORY_BYTES, ..config });
        attack(&server);
        end(server);
    }
}
