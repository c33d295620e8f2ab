//! What becomes of keys, told as it happens.
//!
//! A shard tells each [`Listener`] of every change to a key, in the order in which it makes them: whatever keeps a copy
//! (a tier, a replica, a client's cache) can be kept right by listening alone. Without a listener a change costs the test
//! whether there is one, and a read nothing.

use crate::bytes::Bytes;
use crate::command::Value;
use crate::item::ItemRef;

/// Why a key changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A command stored an item, or changed one.
    Written,
    /// A command removed the item, or gave it an end that is over.
    Deleted,
    /// Its time was over, and the shard has met it just now.
    Expired,
    /// It went because room was needed. One that was not in DRAM has no key and no version here, but its hash.
    Evicted,
    /// Every item with a version up to the change's is gone. There is no key; items found later are not told again.
    Flushed,
    /// Databases have other spaces: one was flushed, or two were swapped. There is no key. What is in a space that no database has any
    /// more is gone, and is not told again.
    Spaces,
    /// The item, or one of its chunks, lies at another place, in DRAM or out of it.
    Moved,
}

/// A change to a key.
#[derive(Debug, Clone, Copy)]
pub struct Change<'s> {
    pub cause: Cause,
    pub space: u16,
    pub key: Bytes<'s>,
    pub hash: u64,
    /// [`Cause::Written`], [`Cause::Deleted`], [`Cause::Flushed`]: drawn for this change, larger than all before (a flush under a tier may
    /// have the last one drawn). [`Cause::Spaces`]: that of the table, larger than that of any table before; all shards have the same, so
    /// one that was drawn elsewhere, or before a flush that was due, may be lower than the last one of this shard. Else that of the item.
    pub version: u64,
    /// The item as it is now, or was last, if it is known: not of a flush, nor of a key that had none and got one that was over.
    pub item: Option<(ItemRef<'s>, Value<'s>)>,
}

/// Who is told. It must be quick, as the shard waits.
pub trait Listener: std::any::Any + std::fmt::Debug + Send {
    fn changed(&mut self, change: &Change<'_>);
}
