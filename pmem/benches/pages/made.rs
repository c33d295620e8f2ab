//! What the benches write, and where.

use std::sync::Arc;

use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::sim::Random;
use torc_pmem::media::{Medium, volatile::Volatile};
use torc_pmem::stream::{StreamWriter, Unfit};
use torc_pmem::tier::{Run, Tier};

pub(crate) const PAGE_BYTES: usize = 16 << 10;
pub(crate) const TIER_BYTES: u64 = 256 << 20;

/// Whether figures are wanted; else the bench only has to run.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Bytes that go the way once: a batch when measuring, little when not.
fn bytes_of_a_round() -> usize {
    if is_measuring() { 1 << 20 } else { 64 << 10 }
}

/// Items of so many bytes of which about half can be compressed away.
pub(crate) fn items(len: usize) -> Vec<Vec<u8>> {
    let mut random = Random(len as u64);
    let count = bytes_of_a_round() / len;
    let words = ["session", "user-agent", "expires", "price", "null", "true", "product", "2026-11-"];
    (0..count)
        .map(|_| {
            let mut item = Vec::with_capacity(len + 32);
            while item.len() < len {
                item.extend_from_slice(words[random.below(8) as usize].as_bytes());
                item.extend_from_slice(&random.next().to_le_bytes()[..5]);
            }
            item.truncate(len);
            item
        })
        .collect()
}

pub(crate) fn started() -> (Run, StreamWriter) {
    started_on(Arc::new(Volatile::new(TIER_BYTES).expect("memory")), PAGE_BYTES)
}

/// A tier of pages of so many bytes.
pub(crate) fn started_on(medium: Arc<dyn Medium>, page_bytes: usize) -> (Run, StreamWriter) {
    let config = Config {
        bytes: TIER_BYTES,
        page_bytes: page_bytes as u32,
        batch_bytes: 2 << 20,
        streams: 1,
        journal: JournalConfig::NONE,
        has_snapshots: false,
        volume: 1,
        hash_seed: 1,
    };
    Tier::create(&medium, config).expect("a tier");
    let tier = Tier::open(medium).expect("a tier");
    let (end, _) = tier.recover(0, &mut |_| {}).expect("memory");
    let run = tier.begin().expect("memory");
    let writer = run.writer(&end).expect("memory");
    (run, writer)
}

pub(crate) fn record(hash: u64) -> Record {
    Record { hash, version: hash, expiry: 0, space: 0, slot: hash as u16 & 16383, kind: Kind::Item }
}

/// Adds the items, and writes and drains them as they fill batches.
pub(crate) fn write(writer: &mut StreamWriter, items: &[Vec<u8>]) {
    for (number, item) in items.iter().enumerate() {
        while let Err(refused) = writer.add(&record(number as u64), item) {
            assert_eq!(refused, Unfit::BatchFull);
            writer.commit().expect("room");
        }
    }
    writer.commit().expect("room");
}

/// As [`write`]; what is oldest goes first, if there is no room.
pub(crate) fn write_round(writer: &mut StreamWriter, items: &[Vec<u8>]) {
    make_room(writer);
    write(writer, items);
}

pub(crate) fn make_room(writer: &mut StreamWriter) {
    while writer.wants_room() {
        let found = writer.oldest(&mut Vec::new()).expect("memory").expect("a full ring");
        writer.free(found);
    }
}

/// Writes all of the ring once: memory is slower when it is touched first.
pub(crate) fn touch(writer: &mut StreamWriter, items: &[Vec<u8>]) {
    let bytes: usize = items.iter().map(Vec::len).sum();
    // Items become shorter.
    let rounds = if is_measuring() { 2 * TIER_BYTES as usize / bytes } else { 0 };
    (0..rounds).for_each(|_| write_round(writer, items));
}
