//! How often clients of Redis were answered an error, by the error's code: its first word.

use std::sync::OnceLock;
use torc_engine::stats::Counter;

/// Most codes that are told apart, over all shards, too: scripts make up their own.
pub(crate) const ERROR_CODES_MAX: usize = 128;
/// The server's own, which are always told apart.
const OWN: [&str; 16] = [
    "ERR",
    "BUSY",
    "BUSYKEY",
    "CROSSSLOT",
    "EXECABORT",
    "INVALIDOBJ",
    "LOADING",
    "MOVED",
    "NOAUTH",
    "NOPROTO",
    "NOSCRIPT",
    "OOM",
    "TIMEOUT",
    "TRYAGAIN",
    "WRONGPASS",
    "WRONGTYPE",
];
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
        let own = OWN.map(|code| (OnceLock::from(Box::from(code)), Counter::default()));
        let others = (OWN.len()..ERROR_CODES_MAX).map(|_| Default::default());
        ErrorCodes { codes: own.into_iter().chain(others).collect(), others: Counter::default() }
    }
}

impl ErrorCodes {
    /// An error with this code was answered.
    pub(super) fn count(&self, code: &[u8]) {
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
        let told = |codes: &ErrorCodes| {
            let mut all = Vec::new();
            add_codes(&mut all, codes.each());
            all
        };
        let named = |code: &str, count| (code.to_owned(), count);
        assert_eq!(told(&codes), [named("ERR", 2), named("A_B_C", 1)]);
        for number in 0..1000 {
            codes.count(format!("E{number}").as_bytes());
        }
        codes.count(b"ERR");
        let all = told(&codes);
        let left = (ERROR_CODES_MAX - OWN.len() - 1) as u64;
        assert_eq!(
            (all.first(), all.last()),
            (Some(&named("ERR", 3)), Some(&named(OTHER_CODES, 1000 - left)))
        );
        codes.count(b"OOM");
        assert!(told(&codes).contains(&named("OOM", 1)), "the server's own have their places");
        // Those of another shard.
        let mut both = all.clone();
        let new: Vec<String> = (0..ERROR_CODES_MAX).map(|number| format!("N{number}")).collect();
        add_codes(&mut both, ["ERR"].into_iter().chain(new.iter().map(String::as_str)).map(|code| (code, 1)));
        assert_eq!((both.len(), &both[0]), (ERROR_CODES_MAX, &named("ERR", 4)));
        let sum = |codes: &[(String, u64)]| codes.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(sum(&both), sum(&all) + 1 + ERROR_CODES_MAX as u64);
    }
}
