//! The words of a shard that others than its owner read, and where they lie.
//!
//! Readers of the same process find them on the heap. Where other processes read a shard, too, they lie in the head of the file
//! that has its memory ([`file::ShardFile`]), as [`layout`] draws.

pub(crate) mod file;
pub(crate) mod layout;
mod published;

pub(crate) use published::{Published, acquire};
