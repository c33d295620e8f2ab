//! Whether it is worth asking all shards at once for the keys of a transaction.

/// Credit at most: after so many that were given, half as many that are refused are tried again at once.
const CREDIT_MAX: u8 = 16;
/// Without credit, one in so many tries.
const TRIES_ONE_IN: u8 = 16;

/// How well it goes. To ask at once saves as many round trips as there are shards but one; to be refused costs one, and messages: it is worth
/// it as long as about half are given their keys.
#[derive(Debug)]
pub(in crate::worker) struct Chances {
    credit: u8,
    left_out: u8,
}

impl Default for Chances {
    fn default() -> Chances {
        Chances { credit: CREDIT_MAX, left_out: 0 }
    }
}

impl Chances {
    /// Whether the next transaction asks at once.
    pub(in crate::worker) fn are_good(&mut self) -> bool {
        self.left_out = if self.credit > 0 { 0 } else { (self.left_out + 1) % TRIES_ONE_IN };
        self.left_out == 0
    }

    /// One that asked at once was given all its keys, or not.
    pub(in crate::worker) fn learn(&mut self, is_given: bool) {
        self.credit = if is_given { CREDIT_MAX.min(self.credit + 1) } else { self.credit.saturating_sub(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_mostly_asks_seldom_and_comes_back() {
        let mut chances = Chances::default();
        let tries = (0..1_000).filter(|_| chances.are_good().then(|| chances.learn(false)).is_some()).count();
        assert_eq!(
            tries,
            usize::from(CREDIT_MAX) + (1_000 - usize::from(CREDIT_MAX)) / usize::from(TRIES_ONE_IN)
        );
        while !chances.are_good() {}
        chances.learn(true);
        assert!(chances.are_good());
    }

    #[test]
    fn half_that_are_given_are_enough() {
        let mut chances = Chances::default();
        for number in 0..1_000 {
            assert!(chances.are_good(), "{number}");
            chances.learn(number % 2 == 0);
        }
    }
}
