use crate::ends::{End, Wanted, connect};
use crate::world::{World, wait};
use std::os::fd::AsRawFd;
use torc_verbs::completion::{Completion, Done};
use torc_verbs::seam::{CompletionQueue, QueuePair, Verbs};
use torc_verbs::work::{Action, Payload, Work};

/// Whether the queue's descriptor is readable; a simulated one has none.
fn is_readable(queue: &impl CompletionQueue) -> Option<bool> {
    let mut fd = libc::pollfd { fd: queue.notices()?.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which is writable.
    let ready = unsafe { libc::poll(&raw mut fd, 1, 0) };
    Some(ready == 1)
}

fn send<V: Verbs>(end: &End<V>, id: u64, solicited: bool) {
    let pieces = [end.piece(0, 8)];
    let action = Action::Send { payload: Payload::Pieces(&pieces), immediate: None };
    end.pair.post(&[Work { id, action, signaled: true, solicited }]).expect("posted");
}

fn notice<W: World>(world: &W, queue: &impl CompletionQueue) {
    wait(world, "notice", || (is_readable(queue) != Some(false)).then_some(()));
    wait(world, "notice", || queue.take_notices().expect("a channel").then_some(()));
    assert_ne!(is_readable(queue), Some(true), "it was taken");
}

pub(crate) fn a_queue_that_is_armed_gives_notice_once<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    let queue = &ends[1].receives;
    for id in 0..4 {
        ends[1].receive(id, 0, 8);
    }
    assert_eq!(queue.take_notices(), Ok(false));
    // Not armed: nobody is told.
    send(&ends[0], 0, false);
    assert_eq!(ends[1].received(world, 0), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(queue.take_notices(), Ok(false));
    queue.arm(false).expect("armed");
    assert_eq!(queue.take_notices(), Ok(false));
    send(&ends[0], 1, false);
    notice(world, queue);
    assert_eq!(ends[1].received(world, 1), Ok(Done::Received { len: 8, immediate: None }));
    // Armed once: the next is not told.
    send(&ends[0], 2, false);
    assert_eq!(ends[1].received(world, 2), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(queue.take_notices(), Ok(false));
    for id in 0..3 {
        assert_eq!(ends[0].sent(world, id), Ok(Done::Sent));
    }
}

pub(crate) fn only_what_is_solicited_wakes_who_asked_for_that<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    let queue = &ends[1].receives;
    for id in 0..3 {
        ends[1].receive(id, 0, 8);
    }
    queue.arm(true).expect("armed");
    send(&ends[0], 0, false);
    assert_eq!(ends[1].received(world, 0), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(queue.take_notices(), Ok(false));
    send(&ends[0], 1, true);
    notice(world, queue);
    assert_eq!(ends[1].received(world, 1), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(queue.poll(&mut [Completion::NONE]), Ok(0));
    // A failure wakes everybody.
    queue.arm(true).expect("armed");
    ends[1].pair.fail().expect("failed");
    notice(world, queue);
    assert!(ends[1].received(world, 2).is_err());
}
