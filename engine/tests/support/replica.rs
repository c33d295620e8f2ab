//! A copy of a shard, kept by listening alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use torc_engine::changes::{Cause, Change, Listener};
use torc_engine::command::{Meta, Value};
use torc_engine::item::state;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copy {
    pub(crate) version: u64,
    pub(crate) token: u64,
    pub(crate) flags: u32,
    pub(crate) expiry: Option<u64>,
    pub(crate) stale: bool,
    pub(crate) placeholder: bool,
    pub(crate) value: Vec<u8>,
}

#[derive(Debug, Default)]
pub(crate) struct Replica {
    pub(crate) items: HashMap<(u16, Vec<u8>), Copy>,
    /// The newest drawn version that was told.
    version: u64,
    /// That of the newest table of spaces.
    table: u64,
}

/// What the shard is given.
#[derive(Debug)]
struct Ear(Arc<Mutex<Replica>>);

impl Listener for Ear {
    fn changed(&mut self, change: &Change<'_>) {
        self.0.lock().expect("one thread").changed(change);
    }
}

impl Replica {
    /// A copy of a shard that is still empty.
    pub(crate) fn of(shard: &mut torc_engine::Shard) -> Arc<Mutex<Replica>> {
        let replica = Arc::<Mutex<Replica>>::default();
        shard.listen(Box::new(Ear(replica.clone())));
        replica
    }

    fn changed(&mut self, change: &Change<'_>) {
        let key = (change.space, change.key.to_vec());
        let before = self.items.get(&key).map(|copy| copy.version);
        match change.cause {
            Cause::Written => {
                self.rise(change.version);
                self.items.insert(key, copy(change));
            }
            Cause::Deleted => {
                self.rise(change.version);
                // Without an item it was over when it was set, and the key had none before.
                let was_there = self.items.remove(&key).is_some();
                assert_eq!(was_there, change.item.is_some(), "what is deleted was there");
            }
            Cause::Expired => {
                assert_eq!(before, Some(change.version));
                assert!(self.items.remove(&key).is_some_and(|copy| copy.expiry.is_some()));
            }
            Cause::Evicted => {
                assert_eq!(before, Some(change.version));
                self.items.remove(&key);
            }
            Cause::Flushed => {
                self.rise(change.version);
                self.items.retain(|_, copy| copy.version > change.version);
            }
            // What it has of a space that no database shows is never asked for.
            Cause::Spaces => {
                assert!(change.version > self.table, "every table has a version");
                self.table = change.version;
                self.version = self.version.max(change.version);
            }
            Cause::Moved => {
                assert_eq!(before, Some(change.version));
                let (there, moved) = (&self.items[&key], copy(change));
                assert!(there.value == moved.value && there.expiry == moved.expiry, "moved, not changed");
            }
        }
    }

    fn rise(&mut self, version: u64) {
        assert!(version > self.version, "every change draws a version");
        self.version = version;
    }

    /// What a read of a key must find, if it sees placeholders.
    pub(crate) fn live(&self, space: u16, key: &[u8], now: u64) -> Option<&Copy> {
        let copy = self.items.get(&(space, key.to_vec()))?;
        copy.expiry.is_none_or(|expiry| expiry > now).then_some(copy)
    }
}

fn copy(change: &Change<'_>) -> Copy {
    let (item, value) = change.item.expect("an item is there");
    let value = match value {
        Value::Inline(bytes) => bytes.to_vec(),
        Value::Chained(chain) => chain.slices().flat_map(|slice| slice.to_vec()).collect(),
    };
    let Meta { token, flags, expiry, stale, .. } = item.meta(value.len() as u64);
    Copy {
        version: item.version(),
        token,
        flags,
        expiry,
        stale,
        placeholder: item.is(state::PLACEHOLDER),
        value,
    }
}
