//! Clients that do nothing wrong but all at once: each sends a long pipeline and reads its answers. They wait; nobody is closed.

use super::floods::{connect, request};
use super::watch::residents;
use super::{BETWEEN_LOOKS, EACH_ONCE, LOOKS_EVERY, ONE_AT_A_TIME, RESIDENT_MAX};
use super::{closed_by_reason, percent, process, raise_file_limit};
use crate::harness::Server;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::PoisonError;

/// MiB; together they send several times as much.
const MEMORY: usize = 64;
const CLIENTS: usize = 300;
const SETS: usize = 500;
const VALUE_BYTES: usize = 1000;

#[test]
fn bulk_writers_wait_for_memory_and_are_not_closed() {
    all_are_served(&[]);
}

#[test]
fn bulk_writers_wait_for_a_medium_and_are_not_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let tier = format!("--tier={}", folder.path().join("tier").display());
    all_are_served(&[&tier, "--tier-size=512m", "--durability=interval:1s"]);
}

fn all_are_served(more: &[&str]) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    raise_file_limit();
    for &(transport, shards) in EACH_ONCE {
        let arguments =
            [format!("--transport={transport}"), format!("--shards={shards}"), format!("--memory={MEMORY}m")];
        let own: Vec<_> = arguments.iter().map(String::as_str).collect();
        let server = Server::start(&[&own[..], more].concat());
        let resident = residents(process(&server));
        let served = serve_all(server.address());
        let peak = percent(resident.finish().peak(BETWEEN_LOOKS / LOOKS_EVERY.as_secs_f64()), MEMORY);
        let closed = server.metric("torc_connections_closed_total", "memory");
        println!(
            "{transport}, {shards} shards: {served} of {CLIENTS} served, {closed} closed, at most {peak:.1} % resident"
        );
        assert_eq!((served, closed), (CLIENTS, 0.0), "{}", closed_by_reason(&server));
        assert!(peak <= RESIDENT_MAX + percent(BETWEEN_LOOKS as u64, MEMORY), "{peak:.1} % resident");
        drop(server);
        if let Some(tier) = more.iter().find_map(|argument| argument.strip_prefix("--tier=")) {
            std::fs::remove_file(tier).expect("the tier was there");
        }
    }
}

/// How many of the clients get all their answers.
fn serve_all(server: SocketAddr) -> usize {
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| std::thread::spawn(move || client(server, number))).collect();
    let results = clients.into_iter().map(|client| client.join().expect("no panic"));
    let failed: Vec<_> = results.filter_map(Result::err).collect();
    failed.iter().take(3).for_each(|error| println!("{error}"));
    CLIENTS - failed.len()
}

fn client(server: SocketAddr, number: usize) -> io::Result<()> {
    let mut stream = connect(server);
    let value = vec![b'v'; VALUE_BYTES];
    let set = |key: usize| request(&[b"SET", format!("bulk:{number}:{key}").as_bytes(), &value]);
    let pipeline: Vec<u8> = (0..SETS).flat_map(set).collect();
    stream.write_all(&pipeline)?;
    let mut answers = vec![0; SETS * b"+OK\r\n".len()];
    stream.read_exact(&mut answers)?;
    match answers.chunks(5).all(|answer| answer == b"+OK\r\n") {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&answers[..100]).into_owned())),
    }
}
