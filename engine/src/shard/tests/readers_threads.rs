//! Readers on threads of their own, while the owner changes what they read as fast as it can.

use super::*;
use crate::reader::{Look, ReadRoom, ShardReader};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const KEYS: u64 = 64;
const READERS: u64 = 2;
const WRITES: u64 = 60_000;

/// What the owner is doing to a key, as a number that rises: even, it is done and says what; odd, it is under way. A key is
/// gone after every eighth change.
#[derive(Debug)]
struct History([AtomicU64; KEYS as usize]);

impl History {
    fn new() -> History {
        History([const { AtomicU64::new(0) }; KEYS as usize])
    }

    fn begin(&self, key: u64) -> u64 {
        let change = self.0[key as usize].load(Ordering::SeqCst) / 2 + 1;
        self.0[key as usize].store(2 * change - 1, Ordering::SeqCst);
        change
    }

    fn end(&self, key: u64, change: u64) {
        self.0[key as usize].store(2 * change, Ordering::SeqCst);
    }

    /// The changes between which a key is: those that were done at least, and begun at most.
    fn done(&self, key: u64) -> u64 {
        self.0[key as usize].load(Ordering::SeqCst) / 2
    }

    fn begun(&self, key: u64) -> u64 {
        self.0[key as usize].load(Ordering::SeqCst).div_ceil(2)
    }
}

fn is_gone(change: u64) -> bool {
    change.is_multiple_of(8)
}

fn key(number: u64) -> Vec<u8> {
    format!("key-{number}").into_bytes()
}

/// A value that says whose it is, and of which change; of another length each time.
fn value(key: u64, change: u64) -> Vec<u8> {
    let words = [key, change].map(u64::to_le_bytes).concat();
    words.repeat(1 + change as usize % 60)
}

/// One look; says whether it was answered.
fn look(reader: &ShardReader, history: &History, number: u64, hash: u64, room: &mut ReadRoom) -> bool {
    let done = history.done(number);
    let Ok(look) = reader.read((0, &key(number)), hash, &Read::default(), NOW, room) else { return false };
    match look {
        Look::Hit { found, .. } => {
            let read = bytes_of(found.value);
            let change = u64::from_le_bytes(read[8..16].try_into().unwrap());
            assert!(read == value(number, change), "key {number}: a torn or foreign value");
            let begun = history.begun(number);
            assert!((done..=begun).contains(&change), "key {number}: {change} of {done} to {begun}");
        }
        Look::Miss | Look::Expired | Look::Flushed => {
            let begun = history.begun(number);
            assert!((done..=begun).any(is_gone), "key {number}: a miss between {done} and {begun}");
        }
    }
    true
}

/// Nothing is evicted here, so a miss needs a cause; segments are compacted and used again all the time, and the index grows.
#[test]
fn readers_on_other_threads_see_what_is_there() {
    let mut shard = shard_of(16 << 20);
    let (history, done) = (History::new(), AtomicBool::new(false));
    let answered = AtomicU64::new(0);
    let reader = shard.reader();
    let hashes: Vec<u64> = (0..KEYS).map(|number| shard.hash(0, &key(number))).collect();
    std::thread::scope(|scope| {
        for thread in 0..READERS {
            let (reader, history, hashes, done, answered) =
                (reader.clone(), &history, &hashes, &done, &answered);
            scope.spawn(move || {
                let mut room = ReadRoom::new();
                let mut at = thread;
                while !done.load(Ordering::Relaxed) {
                    at += 1;
                    let number = at * 7 % KEYS;
                    let told = look(&reader, history, number, hashes[number as usize], &mut room);
                    answered.fetch_add(u64::from(told), Ordering::Relaxed);
                }
            });
        }
        for write in 0..WRITES {
            let number = write * 5 % KEYS;
            let change = history.begin(number);
            if is_gone(change) {
                ask(&mut shard, &key(number), Op::Delete(Delete::default()), NOW);
            } else {
                set(&mut shard, &key(number), &value(number, change));
            }
            history.end(number, change);
            // Other keys, so that the index grows.
            set(&mut shard, &(write % 20_000).to_le_bytes(), b"another");
            shard.maintain(NOW, 8);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(shard.stats().evictions.read(), 0, "the test wants all keys to fit");
    // How many depends on when the owner's thread has to stand still: in the middle of a change nobody can tell.
    assert!(answered.into_inner() > 0, "none of the looks was answered");
    shard.audit().unwrap();
}
