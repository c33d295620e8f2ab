//! One shard of Torc.
pub mod command;
pub mod segments;
