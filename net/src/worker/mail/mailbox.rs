//! Mailboxes between shards: a bounded ring for each ordered pair, and a doorbell for each shard.
//!
//! ```text
//!   Sender                                              Receiver
//!   send: writes slot[tail]                             receive: takes slot[head]
//!   publish: tail -->  [ | | |x|x|x| | ]  <-- head
//!   ring the doorbell if the other side sleeps          before it sleeps: say so, then look once more
//! ```
//!
//! One thread sends, one receives, so there is no locked instruction on either path. A batch is written first
//! and becomes visible with one store. Positions count up without end; a slot is `position % capacity`.
//!
//! Sleeping is Dekker's protocol: the receiver writes "asleep", then reads the rings; the sender writes the
//! ring, then reads "asleep". A sequentially consistent fence between the two steps on both sides makes it
//! impossible that both read the old value, so no message is slept over. `net/tests/mailbox_orders.rs` compiles this file
//! with loom's words instead of the standard ones, and walks through all interleavings.
//!
//! Non-goals: several senders, blocking, growing.

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};
use crossbeam_utils::CachePadded;
use std::mem::MaybeUninit;

struct Shared<T> {
    /// Next position to take: written by the receiver.
    head: CachePadded<AtomicUsize>,
    /// Next position to write: written by the sender.
    tail: CachePadded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is touched by the sender alone while its position is outside head..tail and by the receiver
// alone while inside; the stores of head and tail hand it over. `T: Send` allows the value to change threads.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: both sides are gone, and the last owner of an Arc has synchronised with them.
        let (mut head, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        while head != tail {
            let slot = &self.slots[head % self.slots.len()];
            // SAFETY: positions from head to tail hold values that nobody has taken.
            slot.with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// A ring for at least `capacity` messages (rounded up to a power of two) from one thread to another.
pub(super) fn ring<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(1).next_power_of_two();
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let sender = Sender { shared: shared.clone(), tail: 0, published: 0, head_seen: 0 };
    (sender, Receiver { shared, head: 0, tail_seen: 0 })
}

/// The sending side.
pub(super) struct Sender<T> {
    shared: Arc<Shared<T>>,
    /// Next position to write.
    tail: usize,
    /// Positions before it are visible to the receiver.
    published: usize,
    /// The receiver's head when last looked at.
    head_seen: usize,
}

impl<T: Send> Sender<T> {
    /// Writes a message that [`Sender::publish`] will show.
    ///
    /// # Errors
    /// The ring is full: the message comes back.
    pub(super) fn send(&mut self, message: T) -> Result<(), T> {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            // Acquire: pairs with the receiver's release of the head, after it took the value out.
            self.head_seen = self.shared.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(message);
            }
        }
        let slot = &self.shared.slots[self.tail % capacity];
        slot.with_mut(|slot| {
            // SAFETY: the position is not yet published and its former value has been taken (see `head_seen`),
            // so this thread alone touches the slot.
            unsafe { (*slot).write(message) };
        });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Makes all that was sent visible. True if there was anything: then ring the receiver's [`Doorbell`].
    pub(super) fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        // Release: pairs with the receiver's acquire of the tail.
        self.shared.tail.store(self.tail, Ordering::Release);
        self.published = self.tail;
        true
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // What was written and not published would otherwise never be dropped.
        self.shared.tail.store(self.tail, Ordering::Release);
    }
}

/// The receiving side.
pub(super) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Next position to take.
    head: usize,
    /// The sender's tail when last looked at.
    tail_seen: usize,
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest message.
    #[inline]
    pub(super) fn receive(&mut self) -> Option<T> {
        if self.head == self.tail_seen && !self.look() {
            return None;
        }
        let slot = &self.shared.slots[self.head % self.shared.slots.len()];
        // SAFETY: the position is before the published tail and has not been taken, so it holds a value and
        // the sender leaves it alone until the head has passed it.
        let message = slot.with_mut(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        // Release: pairs with the sender's acquire of the head.
        self.shared.head.store(self.head, Ordering::Release);
        Some(message)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&mut self) -> bool {
        self.head == self.tail_seen && !self.look()
    }

    fn look(&mut self) -> bool {
        // Acquire: pairs with the sender's release of the tail; the slots before it are written.
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        self.head != self.tail_seen
    }
}

/// Whether a receiver sleeps: one for all rings that lead to it.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    asleep: CachePadded<AtomicBool>,
    /// The receiver looks at its express lanes, too.
    express: AtomicBool,
}

impl Doorbell {
    /// The receiver says that it is about to sleep. It must look at its rings once more afterwards.
    pub(super) fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// The receiver is awake again.
    pub(super) fn awake(&self) {
        // Relaxed: a sender that still sees "asleep" wakes once too often, nothing worse.
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// A sender has published in an express lane.
    pub(super) fn open_express(&self) {
        // Relaxed: `ring` comes behind it, as behind what was published.
        self.express.store(true, Ordering::Relaxed);
    }

    /// Whether anybody ever has.
    #[inline]
    pub(super) fn is_express(&self) -> bool {
        self.express.load(Ordering::Relaxed)
    }

    /// The sender asks, after it has published, whether the receiver has to be woken. One sender is told yes.
    pub(super) fn ring(&self) -> bool {
        // Pairs with the fence in `announce_sleep`.
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}
