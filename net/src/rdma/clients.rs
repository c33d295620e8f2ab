//! How many queue pairs each client has, over all shards.

use super::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// By session identity; a client without a session is nobody's.
#[derive(Debug, Default)]
pub(crate) struct PairsByClient(Mutex<HashMap<u64, usize>>);

impl PairsByClient {
    /// Whether this client may have one more, which is counted.
    pub(crate) fn admit(&self, client: u64, most: usize) -> bool {
        if client == 0 {
            return true;
        }
        let mut pairs = lock(&self.0);
        let count = pairs.entry(client).or_default();
        let admitted = *count < most;
        *count += usize::from(admitted);
        admitted
    }

    /// One of its queue pairs is gone; of client 0 there is none.
    pub(crate) fn leave(&self, client: u64) {
        if client == 0 {
            return;
        }
        let mut pairs = lock(&self.0);
        if let Some(count) = pairs.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                pairs.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_and_others_theirs() {
        let pairs = PairsByClient::default();
        assert!(pairs.admit(7, 2) && pairs.admit(7, 2) && !pairs.admit(7, 2) && pairs.admit(8, 2));
        pairs.leave(7);
        assert!(pairs.admit(7, 2) && !pairs.admit(7, 2));
        for client in [7, 7, 7, 8, 9] {
            pairs.leave(client);
        }
        assert!(lock(&pairs.0).is_empty());
        assert!((0..100).all(|_| pairs.admit(0, 1)), "who has no session is not counted");
    }
}
