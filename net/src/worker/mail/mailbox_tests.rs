//! The ring and the doorbell, one thread at a time and two.

use super::mailbox::{Doorbell, ring};
use std::collections::VecDeque;

#[test]
fn messages_arrive_in_order_when_published() {
    let (mut sender, mut receiver) = ring(4);
    for number in 0..4 {
        sender.send(number).unwrap();
    }
    assert_eq!(sender.send(4), Err(4));
    assert_eq!(receiver.receive(), None);
    assert!(sender.publish());
    assert!(!sender.publish());
    assert_eq!(std::iter::from_fn(|| receiver.receive()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(receiver.is_empty());
}

#[test]
fn what_is_left_is_dropped() {
    let counter = std::sync::Arc::new(());
    let (mut sender, mut receiver) = ring(8);
    (0..5).for_each(|_| sender.send(counter.clone()).unwrap());
    sender.publish();
    (0..2).for_each(|_| sender.send(counter.clone()).unwrap());
    drop(receiver.receive());
    drop((sender, receiver));
    assert_eq!(std::sync::Arc::strong_count(&counter), 1);
}

#[test]
fn a_ring_is_a_bounded_queue() {
    // Steps of a small generator: what a `VecDeque` with a bound does, the ring does.
    let (mut sender, mut receiver) = ring(8);
    let (mut model, mut unpublished) = (VecDeque::new(), VecDeque::new());
    let mut state = 1u64;
    for number in 0..if cfg!(miri) { 500 } else { 10_000 } {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match state >> 61 {
            0..4 => {
                let full = model.len() + unpublished.len() == 8;
                assert_eq!(sender.send(number).is_err(), full);
                unpublished.extend((!full).then_some(number));
            }
            4 | 5 => {
                assert_eq!(sender.publish(), !unpublished.is_empty());
                model.append(&mut unpublished);
            }
            _ => assert_eq!(receiver.receive(), model.pop_front()),
        }
    }
}

#[test]
fn two_threads_lose_and_repeat_nothing() {
    const MESSAGES: usize = if cfg!(miri) { 200 } else { 100_000 };
    let (mut sender, mut receiver) = ring(64);
    let sending = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let mut message = number;
            while let Err(back) = sender.send(message) {
                sender.publish();
                message = back;
                std::thread::yield_now();
            }
            sender.publish();
        }
    });
    for expected in 0..MESSAGES {
        let message = loop {
            match receiver.receive() {
                Some(message) => break message,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(message, expected);
    }
    sending.join().unwrap();
}

#[test]
fn one_ring_of_the_bell_wakes_a_sleeper() {
    let bell = Doorbell::default();
    assert!(!bell.ring());
    bell.announce_sleep();
    assert!(bell.ring());
    assert!(!bell.ring());
    bell.announce_sleep();
    bell.awake();
    assert!(!bell.ring());
}
