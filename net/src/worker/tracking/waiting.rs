//! What a client that keeps copies waits for: when a key changes whose value is on its way, the answer may be the value as it was, so the client
//! is told again right behind it. Behind all that it waits for would be too late: an answer between them may have seen a later change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use torc_engine::by_hash::Same;
use torc_engine::words;

/// The commands about one key that are begun and not answered, in the order of their places in the client's queue.
///
/// ```text
///   last_of: hash of a key --> its last command --before--> the one before it of the same hash --before--> ...
/// ```
///
/// A change is noted from the last command about its key on, back to the first one that has been told of it: over all changes each command is
/// met once for each key that is to be told behind it.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    commands: VecDeque<Command>,
    /// How many commands were before the first of these.
    ended: u64,
    last_of: HashMap<u64, u64, BuildHasherDefault<Same>>,
    /// All may have changed since the commands before this one were begun.
    all_before: u64,
    /// Bytes of what is to be told behind them.
    bytes: usize,
}

#[derive(Debug)]
struct Command {
    sequence: u32,
    /// Of its key.
    hash: u64,
    /// The number of the command before it whose key has this hash, from the first ever begun on; it may be answered.
    before: Option<u64>,
    /// Keys, as [`words`].
    told: Vec<u8>,
    /// Its key, if it has changed it.
    changed: Option<Box<[u8]>>,
}

impl Command {
    /// The keys to be told behind it.
    fn into_told(self) -> Vec<u8> {
        let Command { mut told, changed, .. } = self;
        if let Some(key) = changed.filter(|key| words::each(&told).all(|told| *told != **key)) {
            super::add_word(&key, &mut told);
        }
        told
    }
}

/// What is to be told behind an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    /// Keys, as [`words`].
    Keys(Vec<u8>),
    All,
}

impl Waiting {
    /// A command has got the next place.
    pub(in crate::worker) fn begin(&mut self, sequence: u32, hash: u64) {
        let before = self.last_of.insert(hash, self.ended + self.commands.len() as u64);
        self.commands.push_back(Command { sequence, hash, before, told: Vec::new(), changed: None });
    }

    /// The key with this hash has changed. Returns how many commands were looked at.
    pub(super) fn note(&mut self, hash: u64, key: &[u8]) -> usize {
        let (mut looks, mut number) = (0, self.last_of.get(&hash).copied());
        while let Some(at) = number.and_then(|number| number.checked_sub(self.ended))
            && let Some(command) = self.commands.get_mut(at as usize)
        {
            looks += 1;
            // Those before it have it, too. Two keys that share a hash are both told.
            if words::each(&command.told).any(|told| told == key) {
                break;
            }
            let before = command.told.len();
            super::add_word(key, &mut command.told);
            self.bytes += command.told.len() - before;
            number = command.before;
        }
        looks
    }

    /// The command at a place has changed its key. False: it is answered, or is none about one key.
    pub(super) fn note_at(&mut self, sequence: u32, key: &[u8]) -> bool {
        let Some(first) = self.commands.front().map(|command| command.sequence) else { return false };
        let behind_first = |command: &Command| command.sequence.wrapping_sub(first);
        let found = self.commands.binary_search_by_key(&sequence.wrapping_sub(first), behind_first);
        let Some(command) = found.ok().and_then(|at| self.commands.get_mut(at)) else { return false };
        if command.changed.is_none() {
            self.bytes += key.len();
            command.changed = Some(key.into());
        }
        true
    }

    /// Every key may have changed.
    pub(super) fn note_all(&mut self) {
        self.all_before = self.ended + self.commands.len() as u64;
    }

    /// What stands at a place is answered. Returns what is to be told behind it.
    pub(super) fn end(&mut self, sequence: u32) -> Behind {
        // Sequence numbers wrap around.
        let is_past = |command: &Command| command.sequence.wrapping_sub(sequence) as i32 <= 0;
        let mut behind = Behind::Nothing;
        while self.commands.front().is_some_and(is_past)
            && let Some(command) = self.commands.pop_front()
        {
            self.bytes -= command.told.len() + command.changed.as_ref().map_or(0, |key| key.len());
            if let Entry::Occupied(last) = self.last_of.entry(command.hash)
                && *last.get() == self.ended
            {
                last.remove();
            }
            self.ended += 1;
            let is_before = command.sequence != sequence;
            behind = match command.into_told() {
                _ if is_before => Behind::Nothing,
                _ if self.ended <= self.all_before => Behind::All,
                told if told.is_empty() => Behind::Nothing,
                told => Behind::Keys(told),
            };
        }
        behind
    }

    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        self.commands.capacity() * size_of::<Command>()
            + self.last_of.capacity() * size_of::<(u64, u64)>()
            + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(waiting: &mut Waiting, sequence: u32) -> Vec<Vec<u8>> {
        match waiting.end(sequence) {
            Behind::Keys(keys) => words::each(&keys).map(<[u8]>::to_vec).collect(),
            other => {
                assert_eq!(other, Behind::Nothing);
                Vec::new()
            }
        }
    }

    #[test]
    fn a_change_is_told_behind_the_answers_about_its_key_alone() {
        let mut waiting = Waiting::default();
        let first = u32::MAX - 1;
        for (place, hash) in [7, 8, 7].into_iter().enumerate() {
            waiting.begin(first.wrapping_add(place as u32), hash);
        }
        waiting.note(7, b"k");
        waiting.note(7, b"k");
        waiting.note(7, b"other");
        waiting.begin(first.wrapping_add(4), 7);
        assert_eq!(told(&mut waiting, first), [b"k".to_vec(), b"other".to_vec()]);
        assert_eq!(told(&mut waiting, first.wrapping_add(1)), [b""; 0]);
        assert_eq!(told(&mut waiting, first.wrapping_add(2)).len(), 2);
        assert_eq!(told(&mut waiting, first.wrapping_add(3)), [b""; 0]);
        assert_eq!(told(&mut waiting, first.wrapping_add(4)), [b""; 0]);
        assert_eq!((waiting.bytes, waiting.commands.len(), waiting.last_of.len()), (0, 0, 0));
    }

    #[test]
    fn all_is_told_behind_each_answer_that_was_waited_for_then() {
        let mut waiting = Waiting::default();
        (0..3).for_each(|place| waiting.begin(place, 7));
        assert_eq!(waiting.end(0), Behind::Nothing);
        waiting.note(7, b"k");
        waiting.note_all();
        waiting.begin(3, 7);
        waiting.note(7, b"k");
        assert_eq!([1, 2].map(|place| waiting.end(place)), [Behind::All, Behind::All]);
        assert_eq!(told(&mut waiting, 3), [b"k"]);
        assert_eq!((waiting.bytes, waiting.last_of.len()), (0, 0));
    }

    /// Whatever is told and however often: looks grow with what is told behind commands, not with all that wait.
    #[test]
    fn a_change_looks_at_those_commands_alone_that_are_to_be_told() {
        let mut waiting = Waiting::default();
        (0..1000).for_each(|place| waiting.begin(place, (place % 500).into()));
        for hash in 0..500u64 {
            assert_eq!(waiting.note(hash, &hash.to_le_bytes()), 2);
            assert_eq!(waiting.note(hash, &hash.to_le_bytes()), 1, "it is there");
        }
        assert_eq!(waiting.note(1000, b"k"), 0, "nobody waits for it");
        // Behind answers that are gone there is nothing.
        (0..500).for_each(|place| assert_eq!(told(&mut waiting, place).len(), 1));
        waiting.begin(1000, 7);
        assert_eq!(waiting.note(7, b"k"), 2);
        assert_eq!(told(&mut waiting, 507), [7u64.to_le_bytes().to_vec(), b"k".to_vec()]);
    }
}
