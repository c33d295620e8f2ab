//! One shard of Torc: keys, values and the memory they live in.
//!
//! Goals: a GET costs one cache line of index and the item's own lines; no allocation and no lock in the
//! steady state; memory as it was given; everything that time does (expiry, eviction, growth) in small steps.
//!
//! Non-goals: sockets, protocols, the clock. Bytes and times come as arguments, so that the same code runs
//! under a simulator.
//!
//! | module | holds |
//! |---|---|
//! | [`command`] | what a shard is asked and answers |
//! | [`bytes`] | bytes that are read without a reference |
//! | [`version`] | the order of changes |
//! | [`changes`] | what becomes of keys, told as it happens |
//! | [`extended`] | floating point numbers of 80 bits, for counters |
//! | [`shard`] | the public face: start reading here |
//! | [`item`] | the encoding of an item |
//! | [`meta`] | what is known of an item beside key and value |
//! | [`index`] | from a hash to an item |
//! | [`spaces`] | which keys a database shows |
//! | [`reader`] | reading a shard without asking it |
//! | [`mapped`] | the same from another process |
//! | [`remote`] | the same from another machine, by RDMA READ |
//! | [`segments`] | the log that items are appended to |
//! | [`eviction`] | what stays when room is needed |
//! | [`stats`] | figures that other threads read |
//! | [`words`] | many keys in one buffer |
//! | [`by_hash`] | tables whose keys are hashes |
//!
//! Unsafe code is in `bytes.rs`, `bytes_mut.rs`, `reserved.rs`, `index/table.rs`, `segments/arena.rs`, `segments/reader.rs`,
//! `segments/lent.rs`, `segments/room.rs`, `shared/published.rs` and `prefetch.rs`; that of mappings is in `torc_pmem::media`.

pub mod bits;
pub mod by_hash;
pub mod bytes;
mod bytes_mut;
mod chain;
pub mod changes;
pub mod command;
pub mod eviction;
mod expiry;
pub mod extended;
pub mod index;
pub mod item;
mod lzf;
pub mod mapped;
pub mod meta;
mod prefetch;
pub mod reader;
pub mod remote;
mod reserved;
pub mod segments;
pub mod shard;
mod shared;
pub mod spaces;
pub mod stats;
#[cfg(test)]
mod steps;
pub mod version;
pub mod words;

pub use shard::{Shard, ShardConfig, StoreError};
