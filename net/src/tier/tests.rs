//! The tier's threads on a simulated medium, with shards that a test drives.

mod carry;
mod fails;
mod gated;
mod journal;
mod long;
mod recovery;
mod room;
mod running;
mod saving;
mod snapshots;
mod versions;

use super::save::SaveBatch;
use super::testing::silent;
use super::*;
use crate::clock::MachineClock;
use crate::slots::SlotMap;
use gated::Gated;
use running::{Running, begin, start, start_with};
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use torc_engine::command::{Body, Command, Delete, Millis, Op, Outcome, Read, Ticket, Value, Write};
use torc_engine::{Shard, ShardConfig, version};
use torc_pmem::format::geometry::Place;
use torc_pmem::format::record::{Kind, Record};
use torc_pmem::format::superblock::{Config, JournalConfig};
use torc_pmem::media::sim::{Call, Sim};
use torc_pmem::media::{Block, MediaError, Medium};
use torc_pmem::tier::Tier;
use torc_proto::slot::{SLOTS, slot_of};

const NOW: Millis = 1_790_000_000_000;
const CONFIG: Config = Config {
    bytes: 4 << 20,
    page_bytes: 4096,
    batch_bytes: 32 << 10,
    streams: 2,
    journal: JournalConfig::NONE,
    has_snapshots: false,
    volume: 5,
    hash_seed: 9,
};
/// What is less goes to a journal, if there is one.
const JOURNAL_BYTES: u64 = 8 << 10;
/// Made often, and whatever is superseded.
const SNAPSHOTS: Snapshots = Snapshots {
    a_lap: 4,
    memory_bytes: 64 << 10,
    least_bytes: 16 << 10,
    dead_percent: 0,
    share_percent: 100,
};
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a thread to do what it must not do.
const MOMENT: Duration = Duration::from_millis(50);

fn item(hash: u64, version: u64, slot: u16) -> Record {
    Record { hash, version, expiry: 0, space: 0, slot, kind: Kind::Item }
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// Bytes that do not compress, and that no other number has.
fn value_of(number: u64, length: usize) -> Vec<u8> {
    let mut state = number;
    let next = std::iter::repeat_with(|| {
        // SplitMix64 (Steele and others, 2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 32) as u8
    });
    number.to_le_bytes().into_iter().chain(next).take(length).collect()
}
