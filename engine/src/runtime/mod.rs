//! What a shard's thread stands on: which CPUs there are, pinning to one, and mailboxes to the other shards.

pub mod mailbox;
pub mod pin;
pub mod topology;
