use crate::ends::{Wanted, connect, end, join, path, peer};
use crate::world::{World, wait};
use torc_verbs::completion::{Completion, Done, Failure};
use torc_verbs::path::Peer;
use torc_verbs::seam::{Access, CompletionQueue, PairState, QueuePair};
use torc_verbs::work::{Action, Payload, Remote, Work};

pub(crate) fn a_wrong_key_fails_both_ends_and_flushes_the_rest<W: World>(world: &W) {
    let ends = connect(world, &Wanted { access: Access::RemoteRead, ..Wanted::default() });
    ends[1].receive(7, 0, 64);
    let right = ends[1].remote(0);
    let wrong = Remote { key: right.key ^ 0x0055_5500, ..right };
    let into = [ends[0].piece(0, 64)];
    let read =
        |id, from| Work { id, action: Action::Read { into: &into, from }, signaled: true, solicited: false };
    ends[0].pair.post(&[read(1, wrong), read(2, right)]).expect("posted");
    assert_eq!(ends[0].sent(world, 1), Err(Failure::Access));
    assert_eq!(ends[0].sent(world, 2), Err(Failure::Flushed));
    assert_eq!(ends[0].pair.state(), Ok(PairState::Failed));
    assert_eq!(ends[0].memory.bytes(0, 64), [0; 64]);
    // What is posted to a pair that failed is flushed, too.
    ends[0].send(3, 0, 8);
    assert_eq!(ends[0].sent(world, 3), Err(Failure::Flushed));
    // The other end notices by what it has posted.
    assert!(ends[1].received(world, 7).is_err());
    wait(world, "end of the other end", || (ends[1].pair.state() == Ok(PairState::Failed)).then_some(()));
}

pub(crate) fn a_message_that_is_too_long_fails_both_ends<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    ends[1].receive(1, 0, 100);
    ends[0].memory.write(0, &[9; 101]);
    ends[0].send(2, 0, 101);
    let failed = ends[0].sent(world, 2);
    assert!(matches!(failed, Err(Failure::Invalid | Failure::Remote)), "{failed:?}");
    assert!(ends[1].received(world, 1).is_err());
    assert_eq!(ends[1].memory.bytes(100, 1), [0], "behind the receive");
    assert_eq!(ends[0].pair.state(), Ok(PairState::Failed));
}

pub(crate) fn nobody_receives_and_the_sender_gives_up<W: World>(world: &W) {
    let ends =
        connect(world, &Wanted { change_path: |path| path.not_ready_retries = 2, ..Wanted::default() });
    ends[0].send(1, 0, 8);
    assert_eq!(ends[0].sent(world, 1), Err(Failure::NotReady));
    assert_eq!(ends[0].pair.state(), Ok(PairState::Failed));
}

pub(crate) fn a_pair_that_is_given_up_is_flushed_and_answers_no_more<W: World>(world: &W) {
    let ends = connect(world, &Wanted { change_path: |path| path.retries = 1, ..Wanted::default() });
    for id in 0..3 {
        ends[1].receive(id, 64 * id as usize, 64);
    }
    ends[1].pair.fail().expect("failed");
    for id in 0..3 {
        assert_eq!(ends[1].received(world, id), Err(Failure::Flushed));
    }
    ends[0].memory.write(0, &[1; 64]);
    ends[0].send(1, 0, 64);
    assert_eq!(ends[0].sent(world, 1), Err(Failure::NoAnswer));
    assert_eq!(ends[1].memory.bytes(0, 192), [0; 192], "nothing takes effect after it was given up");
}

pub(crate) fn steps_out_of_order_are_refused<W: World>(world: &W) {
    let wanted = Wanted::default();
    let ends = [end(world, 0, &wanted), end(world, 1, &wanted)];
    let pair = &ends[0].pair;
    let path = path(world, 0, wanted.change_path);
    let other = peer(world, 1, &ends[1].device, ends[1].pair.number());
    assert_eq!(pair.state(), Ok(PairState::Reset));
    assert!(pair.ready_to_receive(&path, &other).is_err());
    assert!(pair.ready_to_send(&path).is_err());
    assert!(pair.initialize(200, Access::Local).is_err(), "a port that is not there");
    pair.initialize(path.port, Access::Local).expect("initialized");
    assert_eq!(pair.state(), Ok(PairState::Initialized));
    assert!(pair.ready_to_send(&path).is_err());
    let payload = Payload::Pieces(&[]);
    let work =
        Work { id: 1, action: Action::Send { payload, immediate: None }, signaled: true, solicited: false };
    assert!(pair.post(&[work]).is_err(), "nothing can be sent yet");
    // What a peer says of itself may be anything.
    for peer in [Peer { number: 1 << 24, ..other }, Peer { first: u32::MAX, ..other }] {
        assert_eq!(pair.ready_to_receive(&path, &peer).map_err(|error| error.errno), Err(libc::EINVAL));
    }
    // And the way is not spoilt by that.
    let again = [end(world, 0, &wanted), end(world, 1, &wanted)];
    join(world, &again, &wanted);
    again[1].receive(1, 0, 8);
    again[0].send(1, 0, 8);
    assert_eq!(again[0].sent(world, 1), Ok(Done::Sent));
    assert_eq!(again[0].pair.state(), Ok(PairState::ReadyToSend));
}

pub(crate) fn a_peer_that_is_not_there_does_not_answer<W: World>(world: &W) {
    let wanted = Wanted { change_path: |path| path.retries = 1, ..Wanted::default() };
    let [sender, receiver] = connect(world, &wanted);
    receiver.receive(1, 0, 8);
    drop(receiver);
    sender.send(2, 0, 8);
    assert_eq!(sender.sent(world, 2), Err(Failure::NoAnswer));
    assert_eq!(sender.sends.poll(&mut [Completion::NONE]), Ok(0));
}
