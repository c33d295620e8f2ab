//! Media: where the bytes of a shard live.
//!
//! A medium is a range of bytes with a name for where it comes from. [`media::memory`] is the one that
//! volatile data uses: an address range reserved once, whose memory is taken on first touch and given back
//! piece by piece.
//!
//! Goals: stable addresses for the life of a shard (index and items speak in offsets), huge pages where they
//! can be had, an honest word about what was got.
//!
//! Non-goals: what the bytes mean. Items, pages and recovery are the business of whoever writes them.

pub mod media;
