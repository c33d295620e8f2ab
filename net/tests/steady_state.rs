//! In the steady state GET and SET allocate nothing, in no protocol and on no transport. In a file of its own,
//! as the allocator is the whole process'.

mod servers;

use servers::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use torc_net::server::ServerConfig;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 8;
const ROUNDS: usize = 400;

struct Traffic {
    name: &'static str,
    requests: Vec<u8>,
    answers: Vec<u8>,
}

/// Eight sets and fifty-six gets of a few keys, which two shards share.
fn traffic() -> Vec<Traffic> {
    let value = "v".repeat(64);
    let mut resp = Traffic { name: "RESP", requests: Vec::new(), answers: Vec::new() };
    let mut text = Traffic { name: "memcached", requests: Vec::new(), answers: Vec::new() };
    for number in 0..64 {
        let key = format!("steady-key-{:02}", number % 8);
        if number < 8 {
            resp.requests
                .extend(format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$64\r\n{value}\r\n", key.len()).bytes());
            resp.answers.extend(b"+OK\r\n");
            text.requests.extend(format!("set {key} 0 0 64\r\n{value}\r\n").bytes());
            text.answers.extend(b"STORED\r\n");
        } else {
            resp.requests.extend(format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).bytes());
            resp.answers.extend(format!("$64\r\n{value}\r\n").bytes());
            text.requests.extend(format!("get {key}\r\n").bytes());
            text.answers.extend(format!("VALUE {key} 0 64\r\n{value}\r\nEND\r\n").bytes());
        }
    }
    vec![resp, text]
}

fn drive(clients: &mut [TcpStream], traffic: &Traffic, answer: &mut [u8], rounds: usize) {
    for _ in 0..rounds {
        clients.iter_mut().for_each(|client| client.write_all(&traffic.requests).unwrap());
        for client in clients.iter_mut() {
            client.read_exact(answer).unwrap();
            assert!(answer == traffic.answers, "{}: a wrong answer", traffic.name);
        }
    }
}

fn allocations(config: ServerConfig, traffic: &Traffic) -> u64 {
    let server = start(config);
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(address(&server))).collect();
    // On a busy machine requests wait, and would be kept.
    let mut quiet = connect(address(&server));
    quiet
        .write_all(b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$23\r\nslowlog-log-slower-than\r\n$2\r\n-1\r\n")
        .unwrap();
    quiet.read_exact(&mut [0; 5]).unwrap();
    let mut answer = vec![0; traffic.answers.len()];
    drive(&mut clients, traffic, &mut answer, ROUNDS);
    let before = ALLOCATIONS.load(Relaxed);
    drive(&mut clients, traffic, &mut answer, ROUNDS);
    let count = ALLOCATIONS.load(Relaxed) - before;
    end(server);
    count
}

#[test]
fn gets_and_sets_allocate_nothing() {
    const REQUESTS: u64 = (CLIENTS * ROUNDS * 64) as u64;
    for config in kinds() {
        for traffic in traffic() {
            let shards = config.shards;
            let count = allocations(config.clone(), &traffic);
            eprintln!("{} over {}, {shards} shards: {count}", traffic.name, config.transport);
            // Segments and expiry keep books now and then; a request must not.
            assert!(
                count < REQUESTS / 1000,
                "{} over {} with {shards} shards: {count} allocations for {REQUESTS} requests",
                traffic.name,
                config.transport
            );
        }
    }
}
