//! What a crash has left in the rest of a ring, where no batch begins.

use std::sync::Arc;

use torc_pmem::format::record::{Kind, Record};
use torc_pmem::media::sim::{Random, Sim};
use torc_pmem::recover::Event;
use torc_pmem::stream::StreamWriter;
use torc_pmem::tier::{Run, Tier};

use crate::script::config;

const RING_BLOCKS: u64 = 32;
const BATCH_BLOCKS: u64 = 4;
/// Superblocks and checkpoints, before the ring.
const BLOCKS_BEFORE: usize = 4;

fn begun(sim: &Arc<Sim>) -> (Run, StreamWriter) {
    let tier = Tier::open(sim.clone()).unwrap();
    let (end, _) = tier.recover(0, &mut |_| {}).unwrap();
    let run = tier.begin().unwrap();
    let writer = run.writer(&end).unwrap();
    (run, writer)
}

/// Adds an item of a key, which has a slot of its own; the key is its version, too.
fn add(writer: &mut StreamWriter, key: u64, bytes: &[u8]) {
    let record = Record { hash: key, version: key, expiry: 0, space: 0, slot: key as u16, kind: Kind::Item };
    writer.add(&record, bytes).unwrap();
}

fn commit_a_block(writer: &mut StreamWriter, key: u64) {
    let mut records = Vec::new();
    while writer.wants_room() {
        let oldest = writer.oldest(&mut records).unwrap().unwrap();
        writer.free(oldest);
    }
    add(writer, key, b"small");
    writer.commit().unwrap();
}

/// A batch of three blocks is cut off where a ring ends, but for its last block; the next run writes a batch of one block
/// there. Once the batch behind that, at the start of the ring, is damaged, what ends before it has to be looked for, and the
/// foot of the three blocks is met first.
#[test]
fn the_foot_of_a_batch_that_was_cut_off_is_not_taken_for_one() {
    let sim = Arc::new(Sim::new(config(1, 8).bytes, 512));
    Tier::create(&(sim.clone() as Arc<_>), config(1, 8)).unwrap();
    let (run, mut writer) = begun(&sim);
    for key in 1..=RING_BLOCKS - BATCH_BLOCKS {
        commit_a_block(&mut writer, key);
    }
    let mut random = Random(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(9000).collect();
    add(&mut writer, 100, &noise);
    writer.write().unwrap();
    drop(run);
    let point = sim.crash_point();
    assert_eq!(point.undrained(), 24);
    let sim = Arc::new(Sim::of_image(point.image(|piece| piece >= 16), 512));

    let (_run, mut writer) = begun(&sim);
    for key in [200, 300, 400] {
        commit_a_block(&mut writer, key);
    }
    writer.close().unwrap();
    let block = BLOCKS_BEFORE * 4096;
    (block..block + 4096).for_each(|at| sim.rot(at, |byte| byte ^ 0xFF));

    let (mut told, mut lost) = (Vec::new(), 0);
    let tier = Tier::open(sim).unwrap();
    tier.recover(0, &mut |event| match event {
        Event::Record { record, .. } => told.push(record.hash),
        Event::Lost(_) => lost += 1,
        Event::Part { .. } => unreachable!("there are no snapshots"),
    })
    .unwrap();
    assert_eq!((lost, &told[..2]), (1, &[400, 200][..]), "{told:?}");
    assert!(!told.contains(&100) && told.contains(&(RING_BLOCKS - BATCH_BLOCKS)), "{told:?}");
}
