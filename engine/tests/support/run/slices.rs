//! Values under way into the shard and out of it.

use super::super::VALUE_BYTES_MAX;
use super::{Run, pattern};
use std::collections::VecDeque;
use torc_engine::command::{Command, Found, Op, Outcome, Read, Refusal, UploadId, Value};
use torc_engine::segments::Lent;

/// Lent values held at a time, at most.
const LENT_MAX: usize = 5;

pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) received: usize,
}

/// What was lent, with the bytes that it was lent as.
pub(super) type LentValues = VecDeque<(Vec<Lent>, Vec<u8>)>;

impl Run {
    pub(super) fn begun(&mut self, key: &[u8], len: usize) -> Option<UploadId> {
        let (database, key) = super::split(key);
        match self.shard.upload_begin(database, key, len as u64, self.now) {
            Ok(id) => Some(id),
            Err(Refusal::ValueTooLarge) => {
                assert!(len as u64 > VALUE_BYTES_MAX);
                None
            }
            Err(refusal) => {
                assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                None
            }
        }
    }

    pub(super) fn upload_begin(&mut self, key: usize, slot: usize, len: usize) {
        if self.uploads[slot].is_some() {
            return;
        }
        self.written += 1;
        let value = pattern(self.written, len);
        let key = self.keys[key % self.keys.len()].clone();
        self.uploads[slot] = self.begun(&key, len).map(|id| Upload { id, key, value, received: 0 });
    }

    pub(super) fn upload_feed(&mut self, slot: usize, len: usize) {
        let Some(upload) = &mut self.uploads[slot] else { return };
        let from = upload.received;
        let to = (from + len).min(upload.value.len());
        match self.shard.upload_append(upload.id, &upload.value[from..to], self.now) {
            Ok(()) => upload.received = to,
            Err(refusal) => {
                assert!(!self.exact && refusal == Refusal::OutOfMemory, "{refusal:?}");
                self.uploads[slot] = None;
            }
        }
    }

    pub(super) fn lend(&mut self, key: &[u8], from: u64, to: u64) {
        let Some(entry) = self.model.live(key, self.now).filter(|entry| !entry.placeholder) else { return };
        let (value, from, to) = (entry.value.clone(), from.min(to), from.max(to));
        if self.lent.len() >= LENT_MAX {
            self.release();
        }
        let hash = super::hash(&self.shard, key);
        let (database, key) = super::split(key);
        let op = Op::Read(Read { peek: true, ..Read::default() });
        let outcome = self.shard.execute(&Command { database, key, op }, hash, self.now);
        if let Outcome::Item(Found { value: Value::Chained(chain), .. }) = outcome {
            let lent: Vec<Lent> = chain.lend(from..to).collect();
            let end = |at: u64| (at as usize).min(value.len());
            self.lent.push_back((lent, value[end(from)..end(to)].to_vec()));
        }
    }

    pub(super) fn release(&mut self) {
        let Some((lent, expected)) = self.lent.pop_front() else { return };
        let bytes: Vec<u8> = lent.iter().flat_map(|lent| lent.bytes().to_vec()).collect();
        assert!(bytes == expected, "lent bytes have changed");
        lent.into_iter().for_each(|lent| self.shard.release(lent));
    }
}
