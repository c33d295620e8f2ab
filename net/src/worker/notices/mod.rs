//! What clients are told of keys: changes as messages (Redis' keyspace notifications), events as lines (memcached's `watch`).
//!
//! The shard that owns a key notes what a command has done to it ([`names`]), and which keys went by themselves ([`gone`]). At the end of
//! the turn it tells its own subscribers and every other shard that has some. Nothing is noted while no class is wanted or nobody is
//! subscribed to anything, or watches: then a command costs one look at a byte of this shard.

mod gone;
mod names;
mod owner;
mod watched;

use super::mail::Address;
use crate::event_classes::EventClasses;
use crate::transport::ConnId;
use torc_engine::Shard;
use torc_engine::command::{Command, Expiry, Millis, Op, Outcome, Read};
use torc_engine::shard::Glance;
use torc_engine::words;
use torc_proto::memcache::Watched;
use watched::WatchedEvents;

/// Bytes of notices that wait for a place at another shard; beyond that they are dropped, and counted.
const NOTICES_BYTES_MAX: usize = 4 << 20;
/// Nobody waits for the answer to a notice.
const NOBODY: Address = Address { conn: ConnId { index: u32::MAX, generation: u32::MAX }, sequence: 0 };

/// What a shard has to tell.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// Something is to be noted.
    is_on: bool,
    /// None while nobody could hear of it.
    classes: EventClasses,
    pub(super) watched: WatchedEvents,
    /// Of each notice the event, the key and the database (two bytes), as words.
    waiting: Vec<u8>,
    /// They wait for a place at another shard.
    is_stopped: bool,
    dropped: u64,
}

impl Notices {
    #[inline]
    pub(super) fn are_off(&self) -> bool {
        !self.is_on
    }

    /// Whether all reads, or those of keys that are not there, are noted: then their shard has to be asked.
    #[inline]
    pub(super) fn has_misses(&self) -> bool {
        self.classes.has(EventClasses::MISS) || self.watched.has(Watched::FETCHERS)
    }

    /// Whether it is told which keys have expired: the shard of one that is asked for has to meet it then.
    #[inline]
    pub(super) fn has_expired(&self) -> bool {
        self.classes.has(EventClasses::EXPIRED)
    }

    /// Whether some could be told at once.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        !self.waiting.is_empty() && !self.is_stopped || !self.watched.is_empty()
    }

    fn note(&mut self, class: EventClasses, event: &str, database: u16, key: &[u8]) {
        if !self.classes.has(class) {
            return;
        }
        if self.waiting.len() + key.len() > NOTICES_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        for word in [event.as_bytes(), key, &database.to_le_bytes()] {
            words::begin(word.len() as u32, &mut self.waiting);
            self.waiting.extend_from_slice(word);
        }
    }

    /// Executes a command and notes what it has done.
    #[cold]
    pub(super) fn execute<'s>(
        &mut self,
        shard: &'s mut Shard,
        command: &Command<'_>,
        hash: u64,
        now: Millis,
    ) -> Outcome<'s> {
        let persists = matches!(command.op, Op::Read(Read { expiry: Expiry::Never, .. }));
        // Commands alone count as hits and misses, however many listen.
        let before = match persists || self.classes.has(EventClasses::NEW) || self.watched.are_of_items() {
            true => shard.glance(command, hash, now),
            false => Glance::Unknown,
        };
        let outcome = shard.execute(command, hash, now);
        names::note(self, command, &outcome, before, now);
        if self.watched.are_of_items() {
            self.watched.note(command, &outcome, before, now);
        }
        outcome
    }

    /// Memory of what waits.
    pub(super) fn bytes_held(&self) -> usize {
        self.waiting.capacity() + self.watched.bytes_held()
    }
}

#[cfg(test)]
mod tests;
