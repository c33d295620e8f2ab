//! What a client that keeps copies waits for: when a key changes whose value is on its way, the answer may be the value as it was, so the client
//! is told again right behind it. Behind all that it waits for would be too late: an answer between them may have seen a later change.

use std::collections::VecDeque;
use torc_engine::words;

/// The commands about one key that are begun and not answered, in the order of their places in the client's queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    commands: VecDeque<Command>,
    /// Bytes of what is to be told behind them.
    bytes: usize,
}

#[derive(Debug)]
struct Command {
    sequence: u32,
    /// Of its key.
    hash: u64,
    /// Keys, as [`words`].
    told: Vec<u8>,
}

impl Waiting {
    /// A command has got the next place.
    pub(in crate::worker) fn begin(&mut self, sequence: u32, hash: u64) {
        self.commands.push_back(Command { sequence, hash, told: Vec::new() });
    }

    /// The key with this hash has changed.
    pub(super) fn note(&mut self, hash: u64, key: &[u8]) {
        for command in self.commands.iter_mut().filter(|command| command.hash == hash) {
            // Its key is there already, but for two keys that share a hash.
            if !words::each(&command.told).any(|told| told == key) {
                let before = command.told.len();
                super::add_word(key, &mut command.told);
                self.bytes += command.told.len() - before;
            }
        }
    }

    /// What stands at a place is answered. Returns the keys that are to be told behind it.
    pub(super) fn end(&mut self, sequence: u32) -> Vec<u8> {
        // Sequence numbers wrap around.
        let is_past = |command: &Command| command.sequence.wrapping_sub(sequence) as i32 <= 0;
        let mut told = Vec::new();
        while self.commands.front().is_some_and(is_past)
            && let Some(command) = self.commands.pop_front()
        {
            self.bytes -= command.told.len();
            told = if command.sequence == sequence { command.told } else { Vec::new() };
        }
        told
    }

    /// Memory that it takes.
    pub(super) fn bytes_held(&self) -> usize {
        self.commands.capacity() * size_of::<Command>() + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(waiting: &mut Waiting, sequence: u32) -> Vec<Vec<u8>> {
        words::each(&waiting.end(sequence)).map(<[u8]>::to_vec).collect()
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
        assert_eq!((waiting.bytes, waiting.commands.len()), (0, 0));
    }
}
