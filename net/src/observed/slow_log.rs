//! The slow log.

use std::collections::VecDeque;

/// Most requests that may be kept.
pub const SLOW_LOG_MAX: usize = 10_000;
/// Most words that are kept of one, and bytes of one word: as in Redis. The last word tells how many were left out.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;

/// A request that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowEntry {
    pub id: u64,
    /// When it was answered, seconds of the Unix epoch.
    pub second: u64,
    pub us: u64,
    /// What was asked, as far as it is kept.
    pub words: Vec<Vec<u8>>,
    pub peer: String,
    pub name: Vec<u8>,
}

impl SlowEntry {
    /// Clips words to what is kept of them.
    pub fn clipped<W: AsRef<[u8]>>(words: &[W]) -> Vec<Vec<u8>> {
        let kept = if words.len() > WORDS_MAX { WORDS_MAX - 1 } else { words.len() };
        let mut clipped: Vec<Vec<u8>> = words[..kept].iter().map(|word| clip(word.as_ref())).collect();
        if kept < words.len() {
            clipped.push(format!("... ({} more arguments)", words.len() - kept).into_bytes());
        }
        clipped
    }
}

fn clip(word: &[u8]) -> Vec<u8> {
    match word.len().checked_sub(WORD_BYTES_MAX) {
        None | Some(0) => word.to_vec(),
        Some(more) => {
            let more = format!("... ({more} more bytes)");
            [&word[..WORD_BYTES_MAX], more.as_bytes()].concat()
        }
    }
}

/// The newest of them.
#[derive(Debug)]
pub(super) struct SlowLog {
    entries: VecDeque<SlowEntry>,
    next_id: u64,
    max: usize,
}

impl SlowLog {
    pub(super) fn new(max: usize) -> SlowLog {
        SlowLog { entries: VecDeque::new(), next_id: 0, max }
    }

    pub(super) fn add(&mut self, entry: SlowEntry) {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_front(SlowEntry { id, ..entry });
        self.entries.truncate(self.max);
    }

    pub(super) fn newest(&self, count: usize) -> Vec<SlowEntry> {
        self.entries.iter().take(count).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max.min(SLOW_LOG_MAX);
        self.entries.truncate(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(us: u64) -> SlowEntry {
        SlowEntry { id: 0, second: 1, us, words: Vec::new(), peer: String::new(), name: Vec::new() }
    }

    #[test]
    fn the_newest_are_kept_and_numbered_for_good() {
        let mut log = SlowLog::new(3);
        (0..5).for_each(|us| log.add(entry(us)));
        let kept =
            |log: &SlowLog| log.newest(10).iter().map(|entry| (entry.id, entry.us)).collect::<Vec<_>>();
        assert_eq!(kept(&log), [(4, 4), (3, 3), (2, 2)]);
        log.set_max(1);
        assert_eq!(kept(&log), [(4, 4)]);
        log.clear();
        log.add(entry(9));
        assert_eq!(kept(&log), [(5, 9)]);
        log.set_max(0);
        log.add(entry(9));
        assert_eq!((kept(&log), log.len()), (vec![], 0));
        log.set_max(usize::MAX);
        assert_eq!(log.max(), SLOW_LOG_MAX);
    }

    /// Redis' own words.
    #[test]
    fn long_requests_are_cut() {
        let words = SlowEntry::clipped(&[&b"set"[..], b"k", &[b'x'; 130]]);
        assert_eq!(words[2], [&[b'x'; 128][..], b"... (2 more bytes)"].concat());
        assert_eq!(SlowEntry::clipped(&[[b'x'; 128]])[0].len(), 128);
        assert_eq!(SlowEntry::clipped(&vec![b"k"; 32]).len(), 32);
        let many = SlowEntry::clipped(&vec![b"k"; 40]);
        assert_eq!((many.len(), &many[31][..]), (32, &b"... (9 more arguments)"[..]));
    }
}
