//! The memory orders of the mailboxes between shards: all interleavings, and all stale values that weak memory may show.

use mailbox::{Doorbell, ring};
use sync::Arc;

mod sync {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
}

#[path = "../src/worker/mail/mailbox.rs"]
mod mailbox;

#[test]
fn mailbox_hands_over_every_message_in_order() {
    loom::model(|| {
        let (mut sender, mut receiver) = ring(2);
        let sending = loom::thread::spawn(move || {
            for number in 0..3 {
                let mut message = Box::new(number);
                while let Err(back) = sender.send(message) {
                    message = back;
                    loom::thread::yield_now();
                }
                sender.publish();
            }
        });
        for expected in 0..3 {
            let message = loop {
                match receiver.receive() {
                    Some(message) => break message,
                    None => loom::thread::yield_now(),
                }
            };
            assert_eq!(*message, expected);
        }
        sending.join().unwrap();
    });
}

#[test]
fn mailbox_message_is_never_slept_over() {
    loom::model(|| {
        let (mut sender, mut receiver) = ring(2);
        let bell = Arc::new(Doorbell::default());
        let event = Arc::new(loom::sync::Notify::new());
        let (other_bell, other_event) = (bell.clone(), event.clone());
        let sending = loom::thread::spawn(move || {
            sender.send(7).unwrap();
            if sender.publish() && other_bell.ring() {
                other_event.notify();
            }
        });
        let message = loop {
            if let Some(message) = receiver.receive() {
                break message;
            }
            bell.announce_sleep();
            if receiver.is_empty() {
                // Loom reports a deadlock if nobody wakes it.
                event.wait();
            }
            bell.awake();
        };
        assert_eq!(message, 7);
        sending.join().unwrap();
    });
}

#[test]
fn mailbox_message_in_an_express_lane_is_never_slept_over() {
    loom::model(|| {
        let (mut sender, mut receiver) = ring(2);
        let bell = Arc::new(Doorbell::default());
        let event = Arc::new(loom::sync::Notify::new());
        let (other_bell, other_event) = (bell.clone(), event.clone());
        let sending = loom::thread::spawn(move || {
            other_bell.open_express();
            sender.send(7).unwrap();
            if sender.publish() && other_bell.ring() {
                other_event.notify();
            }
        });
        let message = loop {
            if bell.is_express()
                && let Some(message) = receiver.receive()
            {
                break message;
            }
            bell.announce_sleep();
            if !bell.is_express() || receiver.is_empty() {
                event.wait();
            }
            bell.awake();
        };
        assert_eq!(message, 7);
        sending.join().unwrap();
    });
}
