//! Which keys have commands that are without an answer: a get of one of these is asked for, so that commands of this client on one
//! key take effect in the order in which they were sent ([N-GEN-5]), whichever way they go.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use torc_proto::native::Op;

/// Keys are told apart by so many places. Two of one place only make each other's gets go by request.
const PLACES: usize = 4096;

/// Commands without an answer, by the place of their key.
#[derive(Debug)]
pub(crate) struct Order {
    places: Box<[AtomicU32]>,
    /// Those that are about no key: they count as being about every one.
    all: AtomicU32,
    secrets: RapidSecrets,
}

/// A command without an answer. It is dropped when the answer is there, or can come no more.
#[derive(Debug)]
pub(crate) struct Ticket {
    order: Arc<Order>,
    /// `None`: every key.
    place: Option<usize>,
}

impl Order {
    pub(crate) fn new(seed: u64) -> Order {
        let places = (0..PLACES).map(|_| AtomicU32::new(0)).collect();
        Order { places, all: AtomicU32::new(0), secrets: RapidSecrets::seed(seed) }
    }

    /// A command is about to be sent.
    pub(crate) fn enter(self: &Arc<Order>, op: Op, key: &[u8]) -> Ticket {
        let ticket = Ticket { order: self.clone(), place: op.is_keyed().then(|| self.place(key)) };
        // Relaxed: it orders what this thread does next, or who hears of it from this thread.
        ticket.counter().fetch_add(1, Ordering::Relaxed);
        ticket
    }

    /// Whether every command on the key has its answer.
    #[inline]
    pub(crate) fn is_free(&self, key: &[u8]) -> bool {
        let place = &self.places[self.place(key)];
        // Acquire: what is read next is read after those answers.
        self.all.load(Ordering::Acquire) == 0 && place.load(Ordering::Acquire) == 0
    }

    #[inline]
    fn place(&self, key: &[u8]) -> usize {
        rapidhash_v3_seeded(key, &self.secrets) as usize % PLACES
    }
}

impl Ticket {
    fn counter(&self) -> &AtomicU32 {
        self.place.map_or(&self.order.all, |place| &self.order.places[place])
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_free_when_all_commands_on_it_have_their_answers() {
        let order = Arc::new(Order::new(7));
        let (first, second) = (order.enter(Op::Set, b"key"), order.enter(Op::Get, b"key"));
        assert!(!order.is_free(b"key") && order.is_free(b"other"));
        drop(first);
        assert!(!order.is_free(b"key"));
        drop(second);
        assert!(order.is_free(b"key"));
        for op in [Op::Flush, Op::Noop, Op::Statistics] {
            let all = order.enter(op, b"");
            assert!(!order.is_free(b"key") && !order.is_free(b"other"), "{op:?}");
            drop(all);
            assert!(order.is_free(b"key"));
        }
    }
}
