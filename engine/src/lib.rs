//! One shard of Torc.
pub mod command;
pub mod index;
pub mod item;
mod prefetch;
pub mod segments;
pub mod slots;
pub mod stats;
pub mod version;
