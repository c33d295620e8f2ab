//! Who is served at the admin address: as many as there are places, and the newest always.
//!
//! When all places are taken, the oldest connection is closed for a new one. So clients that are silent, slow or deaf keep no
//! probe out, however many they are.

use std::collections::VecDeque;
use tokio::task::AbortHandle;

/// Connections at a time.
const PLACES: usize = 64;

/// The tasks of the connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<AbortHandle>);

impl Places {
    /// Makes room for one more connection.
    pub(super) fn make_room(&mut self) {
        self.0.retain(|task| !task.is_finished());
        while self.0.len() >= PLACES
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }

    pub(super) fn take(&mut self, task: AbortHandle) {
        self.0.push_back(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_for_the_newest() {
        let mut places = Places::default();
        let mut come = || {
            places.make_room();
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            places.take(task.clone());
            task
        };
        let all: Vec<_> = (0..PLACES + 2).map(|_| come()).collect();
        tokio::task::yield_now().await;
        let gone: Vec<_> = (0..all.len()).filter(|&number| all[number].is_finished()).collect();
        assert_eq!(gone, [0, 1]);
    }
}
