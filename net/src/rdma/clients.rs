//! How many queue pairs each client has, over all shards, and how often a connection has some made.

use super::lock;
use crate::session::PairRefusal;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Queue pairs are made for a connection so often a second: each keeps its shard, and the device, for some hundred microseconds.
pub(crate) const PAIRINGS_MAX: u8 = 10;

/// By session identity; a client without a session is nobody's.
#[derive(Debug, Default)]
pub(crate) struct PairsByClient(Mutex<HashMap<u64, usize>>);

/// One of a client's queue pairs, which counts as long as this lives.
#[derive(Debug)]
pub(crate) struct Admitted {
    pairs: Arc<PairsByClient>,
    client: u64,
}

impl PairsByClient {
    /// One more for this client, if it may have it.
    pub(crate) fn admit(self: &Arc<Self>, client: u64, most: usize) -> Option<Admitted> {
        if client != 0 {
            let mut pairs = lock(&self.0);
            let count = pairs.entry(client).or_default();
            if *count >= most {
                return None;
            }
            *count += 1;
        }
        Some(Admitted { pairs: self.clone(), client })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.client == 0 {
            return;
        }
        let mut pairs = lock(&self.pairs.0);
        if let Some(count) = pairs.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                pairs.remove(&self.client);
            }
        }
    }
}

/// How often queue pairs were made for a connection in the second that runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pairings {
    second: u32,
    count: u8,
}

impl Pairings {
    /// Whether one more may be made, `now` being milliseconds.
    pub(crate) fn admit(&self, now: u64) -> bool {
        self.at(now).count < PAIRINGS_MAX
    }

    /// One was asked for: what the device was asked for counts, whether it was made or not.
    pub(crate) fn made<T>(&mut self, made: &Result<T, PairRefusal>, now: u64) {
        if matches!(made, Ok(_) | Err(PairRefusal::Device)) {
            *self = self.at(now);
            self.count = self.count.saturating_add(1);
        }
    }

    fn at(&self, now: u64) -> Pairings {
        let second = (now / 1000) as u32;
        if second == self.second { *self } else { Pairings { second, count: 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_others_theirs() {
        let pairs = Arc::<PairsByClient>::default();
        let admit = |client| pairs.admit(client, 2);
        let (one, other, third, neighbour) = (admit(7), admit(7), admit(7), admit(8));
        assert!(one.is_some() && other.is_some() && third.is_none() && neighbour.is_some());
        drop(one);
        let again = admit(7);
        assert!(again.is_some() && admit(7).is_none());
        drop((again, other, third, neighbour));
        assert!(lock(&pairs.0).is_empty());
        let nobodys: Vec<_> = (0..100).map(|_| pairs.admit(0, 1)).collect();
        assert!(nobodys.iter().all(Option::is_some), "who has no session is not counted");
    }

    #[test]
    fn a_connection_has_so_many_made_a_second() {
        let mut pairings = Pairings::default();
        for second in [0, 1, 5] {
            for number in 0..u64::from(PAIRINGS_MAX) {
                assert!(pairings.admit(second * 1000 + 90 * number));
                pairings.made(&Err::<(), _>(PairRefusal::Full), second * 1000 + 90 * number);
                let made = if number % 2 == 0 { Ok(()) } else { Err(PairRefusal::Device) };
                pairings.made(&made, second * 1000 + 90 * number);
            }
            assert!(!pairings.admit(second * 1000 + 999));
        }
    }
}
