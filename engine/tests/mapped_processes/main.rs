//! A shard that changes as fast as it can, and other processes that read it by nothing but descriptors.
//!
//! The readers are this program, started again. What they may see they learn from a board, which the owner writes: which change of
//! a key is done, and which has begun. A reader that sees something else ends with a panic, and the test with it.

mod board;
mod owner;
mod reader;

use board::Board;
use owner::Owner;
use reader::Readers;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a shard lives; there are some, as an index grows only once.
const LIFE: Duration = Duration::from_secs(4);
const LIVES: u64 = 3;
const READERS: usize = 3;

#[test]
fn readers_in_other_processes_see_nothing_torn_wrong_superseded_or_expired() {
    let _alone = alone();
    let mut told = 0;
    for life in 0..LIVES {
        let mut owner = Owner::new(life, Board::new());
        let mut readers = Readers::start(READERS, &owner);
        let end = Instant::now() + LIFE;
        while Instant::now() < end {
            owner.act_for(Duration::from_millis(100));
            // One stands still, wherever it is, until all memory has been used again.
            let stopped = readers.stop_one();
            owner.turn_over();
            readers.go_on(stopped);
            owner.act_for(Duration::from_millis(20));
            readers.check();
            readers.replace_one(&owner);
        }
        owner.board.stop();
        readers.end();
        let [hits, misses, doubts] = owner.board.told();
        eprintln!("life {life}: {} changes; {hits} hits, {misses} misses, {doubts} doubts", owner.changes);
        owner.check();
        told += hits.min(misses);
    }
    assert!(told > 1000, "the readers have read: {told}");
}

/// One test at a time: one of them looks at what this process has resident, to which every owner adds.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_reader_of_every_byte_takes_no_memory_of_the_owner() {
    let _alone = alone();
    let mut owner = Owner::new(99, Board::new());
    // At first much of a frame was never written.
    for time in [1, 300].map(Duration::from_millis) {
        owner.act_for(time);
        let before = (owner.blocks(), resident());
        reader::walk(&owner);
        assert_eq!(owner.blocks(), before.0);
        let grown = resident().saturating_sub(before.1);
        assert!(grown < 64 << 10, "{grown} bytes more are resident");
    }
}

/// A server whose clock another process does not share is told apart, where this process may make such a thing.
#[test]
fn a_reader_in_another_time_namespace_is_refused() {
    let _alone = alone();
    let owner = Owner::new(98, Board::new());
    match reader::in_another_time_namespace(&owner) {
        Some(is_refused) => assert!(is_refused),
        None => eprintln!("skipped: no time namespace can be made here"),
    }
}

/// Not a test: what a process does that is started as a reader.
#[test]
fn reader_process() {
    reader::main();
}

/// Resident memory of this process that is a file's, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}
