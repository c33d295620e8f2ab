//! What a shard promises, case by case. The model test is in `engine/tests/model.rs`.

mod accounts;
mod anew;
mod bounds;
mod chains;
mod chunks;
mod chunks_meanwhile;
mod chunks_model;
mod counters;
mod demotion;
mod demotion_long;
mod elsewhere;
mod held;
mod items;
mod leases;
mod lent;
mod long_values;
mod mapped;
mod memory;
mod readers;
mod readers_steps;
mod readers_threads;
mod recovery;
mod remote;
mod remote_steps;
mod remote_wire;
mod rest;
mod reuse;
mod ring;
mod rooms;
mod spaces;
mod told;
mod unsaved;
mod uploads;

use super::*;
use crate::changes::{Cause, Change};
use crate::command::*;
use crate::index::Role;
use crate::item::state;
use crate::segments::Lent;
use crate::words;

const NOW: Millis = 1_700_000_000_000;

fn shard_of(memory_bytes: u64) -> Shard {
    Shard::new(ShardConfig { now: NOW, segment_bytes: 64 << 10, ..ShardConfig::new(memory_bytes) }).unwrap()
}

fn shard() -> Shard {
    shard_of(8 << 20)
}

fn ask<'s>(shard: &'s mut Shard, key: &[u8], op: Op<'_>, now: Millis) -> Outcome<'s> {
    let hash = shard.hash(0, key);
    shard.execute(&Command { database: 0, key, op }, hash, now)
}

fn set(shard: &mut Shard, key: &[u8], value: &[u8]) {
    let outcome = ask(shard, key, Op::Write(Write::set(value)), NOW);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

fn bytes_of(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
    }
}

fn get(shard: &mut Shard, key: &[u8], now: Millis) -> Option<Vec<u8>> {
    match ask(shard, key, Op::Read(Read::default()), now) {
        Outcome::Item(found) => Some(bytes_of(found.value)),
        Outcome::Miss => None,
        other => panic!("{other:?}"),
    }
}

/// What a read of the key would be answered with, if it has to be fetched.
fn ticket(shard: &Shard, key: &[u8]) -> Option<Ticket> {
    shard.ticket_for(&Command { database: 0, key, op: Op::Read(Read::default()) }, shard.hash(0, key), NOW)
}

fn drain(shard: &mut Shard, now: Millis) {
    for second in 1..=3 {
        let steps = (0..10_000).take_while(|_| shard.maintain(now + second * 1000, 1000)).count();
        assert!(steps < 10_000, "maintenance comes to an end");
    }
    shard.audit().unwrap();
}

fn lend_all(shard: &mut Shard, key: &[u8], now: Millis) -> Vec<Lent> {
    match ask(shard, key, Op::Read(Read::default()), now) {
        Outcome::Item(Found { value: Value::Chained(chain), .. }) => chain.lend(0..u64::MAX).collect(),
        other => panic!("{other:?}"),
    }
}
