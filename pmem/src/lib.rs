//! Where the bytes of a shard live.
//!
//! ```text
//!   Tier         superblocks: what a medium holds, whether it may be believed
//!     StreamWriter   packs records into pages, pages into batches; drains; frees the oldest
//!     Reader         verifies a page, and gives an item of it
//!     recover        tells what a stream holds, newest first
//!     copy           carries a tier over to another medium
//!   format       the bytes, without a medium
//!   Medium       a file, memory, a simulation
//! ```
//!
//! [`media`] are ranges of bytes with a name for where they come from. [`media::memory`] is the one that shards have their
//! items in: an address range reserved once, whose memory is taken on first touch and given back piece by piece. The
//! others stand behind [`media::Medium`] and carry a [`tier::Tier`]: an append-only ring of batches for each shard, in the
//! format that `docs/format.md` draws.
//!
//! Goals: stable addresses for the life of a shard (index and items speak in offsets), huge pages where they can be had, an
//! honest word about what was got; from a tier never a wrong byte, and never an older copy of what was drained.
//!
//! Non-goals: what an item means. It is bytes with a hash and a version; which of two copies of a key counts, what is
//! worth carrying on when a batch is freed, and when to drain is decided by whoever writes.

pub mod composite;
pub mod copy;
pub mod format;
pub mod media;
pub mod recover;
pub mod stream;
pub mod tier;
