//! The keys of a script that have changed since it read them, for a client that keeps copies.

use super::known::Known;
use crate::worker::tracking::add_word;
use std::collections::BTreeMap;
use torc_engine::words;

/// The keys of a script, if its client keeps copies, and whether it is told of each behind the reply.
#[derive(Debug, Default)]
pub(super) struct Told {
    keys: BTreeMap<Box<[u8]>, bool>,
    bytes: usize,
}

impl Told {
    pub(super) fn new(keeps_copies: bool, known: &Known) -> Told {
        if !keeps_copies {
            return Told::default();
        }
        let keys: BTreeMap<_, _> = known.keys().map(|(_, key)| (key.clone(), false)).collect();
        let bytes = keys.keys().map(|key| key.len() + size_of::<(Box<[u8]>, bool)>()).sum();
        Told { keys, bytes }
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// Keys have changed, as [`words`]; none means all. Whether they are the script's.
    pub(super) fn note(&mut self, keys: &[u8]) -> bool {
        if keys.is_empty() {
            self.keys.values_mut().for_each(|is_told| *is_told = true);
            return false;
        }
        let mut are_own = true;
        for key in words::each(keys) {
            are_own &= self.note_key(key);
        }
        are_own
    }

    pub(super) fn note_key(&mut self, key: &[u8]) -> bool {
        self.keys.get_mut(key).map(|is_told| *is_told = true).is_some()
    }

    /// Those to be told of, as [`words`].
    pub(super) fn list(&self) -> Vec<u8> {
        let mut keys = Vec::new();
        self.keys.iter().filter(|(_, is_told)| **is_told).for_each(|(key, _)| add_word(key, &mut keys));
        keys
    }
}
