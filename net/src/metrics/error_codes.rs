//! How often clients of Redis were answered an error, by the error's code: its first word.

use std::sync::OnceLock;
use torc_engine::stats::Counter;

/// Most codes that are told apart, over all shards, too: scripts make up their own. As many as Redis 7.4 has.
pub(crate) const ERROR_CODES_MAX: usize = 128;
/// Longer codes are not told apart, bytes.
const CODE_BYTES_MAX: usize = 64;
/// The name of all those that are not told apart.
pub(crate) const OTHER_CODES: &str = "ERRORSTATS_OVERFLOW";

/// Figures of a worker: see [`super::WorkerStats`].
#[derive(Debug)]
pub(super) struct ErrorCodes {
    codes: Box<[(OnceLock<Box<str>>, Counter)]>,
    others: Counter,
}

impl Default for ErrorCodes {
    fn default() -> ErrorCodes {
        let codes = (0..ERROR_CODES_MAX).map(|_| Default::default()).collect();
        ErrorCodes { codes, others: Counter::default() }
    }
}

impl ErrorCodes {
    /// An error with this code was answered.
    pub(super) fn count(&self, code: &[u8]) {
        if code.len() > CODE_BYTES_MAX {
            return self.others.add(1);
        }
        let code = shown(code);
        // Written by this thread alone.
        let place = self.codes.iter().find(|(known, _)| *known.get_or_init(|| code.clone()) == code);
        place.map_or(&self.others, |(_, count)| count).add(1);
    }

    /// All codes, with their numbers.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, u64)> {
        let known = self.codes.iter().map_while(|(code, count)| code.get().map(|code| (&**code, count)));
        known.chain([(OTHER_CODES, &self.others)]).map(|(code, count)| (code, count.read()))
    }
}

/// A code as it can stand in a line of INFO.
fn shown(code: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(code);
    text.chars().map(|letter| if matches!(letter, '#' | ':' | '\r' | '\n') { '_' } else { letter }).collect()
}

/// Adds numbers of errors to others; codes beyond [`ERROR_CODES_MAX`] are not told apart.
pub(crate) fn add_codes<'c>(all: &mut Vec<(String, u64)>, codes: impl Iterator<Item = (&'c str, u64)>) {
    for (code, count) in codes.filter(|(_, count)| *count > 0) {
        let is_full = all.len() >= ERROR_CODES_MAX && !all.iter().any(|(known, _)| known == code);
        let code = if is_full { OTHER_CODES } else { code };
        match all.iter_mut().find(|(known, _)| known == code) {
            Some((_, sum)) => *sum += count,
            None => all.push((code.to_owned(), count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_counted_and_no_more_told_apart_than_there_are_places() {
        let codes = ErrorCodes::default();
        (0..2).for_each(|_| codes.count(b"ERR"));
        codes.count(b"A:B#C");
        codes.count(&[b'x'; CODE_BYTES_MAX + 1]);
        let told = |codes: &ErrorCodes| {
            let mut all = Vec::new();
            add_codes(&mut all, codes.each());
            all
        };
        let named = |code: &str, count| (code.to_owned(), count);
        assert_eq!(told(&codes), [named("ERR", 2), named("A_B_C", 1), named(OTHER_CODES, 1)]);
        for number in 0..1000 {
            codes.count(format!("E{number}").as_bytes());
        }
        codes.count(b"ERR");
        let all = told(&codes);
        assert_eq!((all.len(), &all[0]), (ERROR_CODES_MAX + 1, &named("ERR", 3)));
        assert_eq!(all.last(), Some(&named(OTHER_CODES, 1 + 1000 - (ERROR_CODES_MAX as u64 - 2))));
        // Those of another shard.
        let mut both = all.clone();
        add_codes(&mut both, [("ERR", 1), ("NEW", 5)].into_iter());
        assert_eq!((both.len(), both[0].1), (all.len(), 4));
        assert_eq!(both.last().map(|(_, count)| *count), all.last().map(|(_, count)| count + 5));
    }
}
