//! Who is told of changes, and telling them: see [`crate::changes`].

use super::{Key, Shard, value_in};
use crate::bytes::Bytes;
use crate::changes::{Cause, Change, Listener};

impl Shard {
    /// From now on this listener is told of every change.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
        self.tells = true;
    }

    /// The first listener of this type.
    pub fn listener_mut<L: Listener>(&mut self) -> Option<&mut L> {
        self.listeners.iter_mut().find_map(|listener| {
            let listener: &mut dyn std::any::Any = listener.as_mut();
            listener.downcast_mut()
        })
    }

    /// Listeners of this type are told no more.
    pub fn listen_no_more<L: Listener>(&mut self) {
        self.listeners.retain(|listener| {
            let listener: &dyn std::any::Any = listener.as_ref();
            !listener.is::<L>()
        });
        self.tells = self.unsaved.is_some() || !self.listeners.is_empty();
    }

    /// Tells of a change to the item that lies, or lay, at a location. Every change is told here, but for a flush.
    #[inline]
    pub(super) fn changed(&mut self, cause: Cause, at: u64, hash: u64, version: u64) {
        if self.tells {
            self.tell(cause, at, hash, version);
        }
    }

    #[cold]
    fn tell(&mut self, cause: Cause, at: u64, hash: u64, version: u64) {
        self.mark(cause, at, hash, version);
        let item = self.segments.item(at);
        let item_and_value = (item, value_in(&self.segments, &item));
        let (space, key) = (item.space(), item.key());
        let change = Change { cause, space, key, hash, version, item: Some(item_and_value) };
        self.listeners.iter_mut().for_each(|listener| listener.changed(&change));
    }

    /// Tells of a change to a key that has no item.
    #[cold]
    pub(super) fn tell_of_missing(&mut self, cause: Cause, key: Key<'_>, version: u64) {
        let Key { bytes, space, hash } = key;
        let change = Change { cause, space, key: Bytes::from(bytes), hash, version, item: None };
        self.listeners.iter_mut().for_each(|listener| listener.changed(&change));
    }
}
