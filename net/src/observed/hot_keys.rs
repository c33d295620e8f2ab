//! Which keys are asked for most: the Space-Saving sketch (Metwally, Agrawal and El Abbadi, 2005) over a sample of requests.
//!
//! One request in [`SAMPLE`] is counted, chosen at random. A sketch has [`ENTRIES`] keys; one that is not among them takes the place of
//! the one that was counted least, and its count: so what is told of a key is too much by [`HotKey::over`] at most, and a key that has more
//! than one in [`ENTRIES`] of the requests is among them. Counts are halved every [`HALVED_MS`], so that what was hot once is forgotten.

use torc_engine::command::Millis;

/// One request of so many is counted, on average.
pub const SAMPLE: u32 = 128;
/// Keys of a sketch.
const ENTRIES: usize = 64;
/// Milliseconds after which counts are halved.
const HALVED_MS: Millis = 10_000;
/// Bytes that are kept of a key.
const KEY_BYTES_MAX: usize = 256;

/// A key that is asked for much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotKey {
    pub database: u16,
    /// Its first bytes, at most 256.
    pub key: Vec<u8>,
    /// Sampled requests, of those that are not forgotten.
    pub count: u64,
    /// So many of them may have been for other keys.
    pub over: u64,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    hot: HotKey,
}

/// A shard's sketch.
#[derive(Debug)]
pub(crate) struct HotKeys {
    entries: Vec<Entry>,
    /// Sampled requests, of those that are not forgotten.
    total: u64,
    /// Requests until the next one that is counted.
    skip: u32,
    random: u64,
    halved_at: Millis,
    has_changed: bool,
}

impl Default for HotKeys {
    fn default() -> HotKeys {
        let (skip, random) = (SAMPLE, 0x9E37_79B9_7F4A_7C15);
        HotKeys { entries: Vec::new(), total: 0, skip, random, halved_at: 0, has_changed: false }
    }
}

impl HotKeys {
    /// Of the next `count` requests, the number of one that is counted; `None`: none is. To be called until then.
    #[inline]
    pub(crate) fn next(&mut self, count: usize, from: usize) -> Option<usize> {
        let left = (count - from) as u32;
        if self.skip > left {
            self.skip -= left;
            return None;
        }
        Some(from + self.draw() - 1)
    }

    /// How many requests it was until this one. Draws when the next one is.
    #[cold]
    fn draw(&mut self) -> usize {
        // Marsaglia's xorshift (2003): any spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        std::mem::replace(&mut self.skip, 1 + (self.random >> 32) as u32 % (2 * SAMPLE - 1)) as usize
    }

    /// Counts a request.
    #[cold]
    pub(crate) fn count(&mut self, hash: u64, database: u16, key: &[u8], now: Millis) {
        if now.saturating_sub(self.halved_at) >= HALVED_MS {
            self.halve(now);
        }
        (self.total, self.has_changed) = (self.total + 1, true);
        let known =
            self.entries.iter_mut().find(|entry| entry.hash == hash && entry.hot.database == database);
        if let Some(known) = known {
            known.hot.count += 1;
            return;
        }
        let key = &key[..key.len().min(KEY_BYTES_MAX)];
        if self.entries.len() < ENTRIES {
            self.entries.push(Entry { hash, hot: HotKey { database, key: key.to_vec(), count: 1, over: 0 } });
        } else if let Some(least) = self.entries.iter_mut().min_by_key(|entry| entry.hot.count) {
            (least.hash, least.hot.database) = (hash, database);
            least.hot.key.clear();
            least.hot.key.extend_from_slice(key);
            least.hot.over = least.hot.count;
            least.hot.count += 1;
        }
    }

    fn halve(&mut self, now: Millis) {
        self.halved_at = now;
        self.total /= 2;
        for entry in &mut self.entries {
            entry.hot.count /= 2;
            entry.hot.over /= 2;
        }
        self.entries.retain(|entry| entry.hot.count > 0);
    }

    /// What is known, if it has changed since it was last taken: the keys, and the sampled requests of all keys.
    pub(crate) fn take(&mut self) -> Option<(Vec<HotKey>, u64)> {
        std::mem::take(&mut self.has_changed)
            .then(|| (self.entries.iter().map(|entry| entry.hot.clone()).collect(), self.total))
    }
}

/// The keys of several shards together, the hottest first.
pub(crate) fn together<'k>(of_shards: impl Iterator<Item = &'k [HotKey]>) -> Vec<HotKey> {
    let mut all: Vec<HotKey> = Vec::new();
    for hot in of_shards.flatten() {
        match all.iter_mut().find(|known| (known.database, &known.key) == (hot.database, &hot.key)) {
            Some(known) => {
                known.count += hot.count;
                known.over += hot.over;
            }
            None => all.push(hot.clone()),
        }
    }
    all.sort_by_key(|hot| std::cmp::Reverse(hot.count));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream in which key 0 has a tenth of all requests, and the others are all different.
    #[test]
    fn a_key_that_is_asked_for_much_is_found_among_many() {
        let mut sketch = HotKeys::default();
        for number in 0..10_000u64 {
            let key = if number % 10 == 0 { 0 } else { number };
            sketch.count(key, 0, &key.to_le_bytes(), 1);
        }
        let (keys, total) = sketch.take().unwrap();
        assert!(sketch.take().is_none(), "nothing is new");
        let hottest = keys.iter().max_by_key(|hot| hot.count - hot.over).unwrap();
        assert_eq!((hottest.key.as_slice(), total, keys.len()), (&0u64.to_le_bytes()[..], 10_000, ENTRIES));
        assert!(hottest.count >= 1000 && hottest.count - hottest.over <= 1000, "{hottest:?}");
        assert_eq!(keys.iter().map(|hot| hot.count).sum::<u64>(), total, "each request is counted once");
    }

    #[test]
    fn what_was_hot_once_is_forgotten() {
        let mut sketch = HotKeys::default();
        (0..8).for_each(|_| sketch.count(1, 0, b"old", HALVED_MS));
        (0..4).for_each(|round| sketch.count(2, 0, b"new", HALVED_MS * (2 + round)));
        let (keys, _) = sketch.take().unwrap();
        assert!(keys.iter().all(|hot| hot.key == b"new"), "{keys:?}");
    }

    #[test]
    fn one_request_of_so_many_is_sampled_however_they_come() {
        let expected = 640_000 / SAMPLE as usize;
        for batch in [1, 3, 64, 1000] {
            let mut sketch = HotKeys::default();
            let mut sampled = 0;
            for _ in 0..640_000 / batch {
                let mut from = 0;
                while let Some(place) = sketch.next(batch, from) {
                    assert!((from..batch).contains(&place));
                    (sampled, from) = (sampled + 1, place + 1);
                }
            }
            let about = expected * 9 / 10..expected * 11 / 10;
            assert!(about.contains(&sampled), "{sampled} of batches of {batch}");
        }
    }

    #[test]
    fn shards_are_added_up() {
        let hot = |key: &[u8], count| HotKey { database: 0, key: key.to_vec(), count, over: 1 };
        let (one, other) = ([hot(b"a", 5), hot(b"b", 4)], [hot(b"b", 3)]);
        let all = together([&one[..], &other[..]].into_iter());
        assert_eq!(all, [HotKey { over: 2, ..hot(b"b", 7) }, hot(b"a", 5)]);
    }
}
