//! Whether a shard looks on for a moment before it sleeps, on clients that are awake.
//!
//! Who is awake when an answer comes may ask again at once. Its bell would ring just while the shard falls asleep, where a wake-up
//! costs most: see `docs/architecture.md`. A look that found nothing makes the next ones rarer, so clients that are awake and ask
//! seldom cost next to nothing; one that found something is followed by others.

/// Looks at one hot ring, at so many fewer of each of several: about 1 us, a fraction of what a sleep and a wake-up cost.
const LOOKS: usize = 64;
/// Sleeps without a look, at most, after one that found nothing.
const PASSES_MAX: u32 = 63;

#[derive(Debug, Default)]
pub(super) struct Linger {
    /// Sleeps that are left until the next look, and how many there are after one that finds nothing.
    passes: u32,
    passes_next: u32,
}

impl Linger {
    /// How often this sleep is put off for a look at all `hot` rings; 0: not at all.
    pub(super) fn looks(&mut self, hot: usize) -> usize {
        match self.passes.checked_sub(1) {
            Some(left) => {
                self.passes = left;
                0
            }
            None => LOOKS / hot.max(1),
        }
    }

    pub(super) fn came_to(&mut self, found: bool) {
        self.passes_next = if found { 0 } else { (2 * self.passes_next + 1).min(PASSES_MAX) };
        self.passes = self.passes_next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_find_nothing_get_rare_and_one_that_finds_something_is_followed_by_others() {
        let mut linger = Linger::default();
        let looks = |linger: &mut Linger, sleeps: usize, found: bool| {
            let due = (0..sleeps).filter(|_| {
                let looks = linger.looks(1) > 0;
                looks.then(|| linger.came_to(found));
                looks
            });
            due.count()
        };
        assert_eq!(looks(&mut linger, 100, true), 100);
        assert_eq!(looks(&mut linger, 6400, false), 5 + 100, "at first more often");
        let soon = (0..64).position(|_| linger.looks(1) > 0);
        assert!(soon.is_some());
        linger.came_to(true);
        assert_eq!(looks(&mut linger, 100, true), 100);
        assert_eq!((linger.looks(50), linger.looks(65)), (1, 0));
    }
}
