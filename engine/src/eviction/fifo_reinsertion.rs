//! FIFO-Reinsertion, also known as CLOCK or second chance: one queue; an item that was read since it was last
//! written or moved goes round once more.

use super::{Eviction, QueueLengths, Verdict};
use crate::segments::Queue;

#[derive(Debug, Default)]
pub struct FifoReinsertion;

impl Eviction for FifoReinsertion {
    fn frequency_max(&self) -> u8 {
        1
    }

    fn admit(&mut self, _hash: u64) -> Queue {
        Queue::Main
    }

    fn trial(&self) -> Queue {
        Queue::Main
    }

    fn victim(&self, _lengths: QueueLengths) -> Queue {
        Queue::Main
    }

    fn verdict(&self, _queue: Queue, frequency: u8) -> Verdict {
        if frequency > 0 { Verdict::Keep(Queue::Main, frequency - 1) } else { Verdict::Drop }
    }

    fn dropped(&mut self, _queue: Queue, _hash: u64) {}

    fn resize(&mut self, _items: u64) {}

    fn bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_item_goes_round_once() {
        let algorithm = FifoReinsertion;
        assert_eq!(algorithm.verdict(Queue::Main, 1), Verdict::Keep(Queue::Main, 0));
        assert_eq!(algorithm.verdict(Queue::Main, 0), Verdict::Drop);
    }
}
