//! A pair of rings against queues, and against another side that says anything.

use super::*;
use crate::full_fence;
use crate::pair::Pair;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::os::fd::AsFd;

const RING: usize = RING_BYTES_MIN;

fn pair(request_bytes: usize, answer_bytes: usize) -> (End, End) {
    let Pair { end, files: [server, client] } = Pair::new(request_bytes, answer_bytes).unwrap();
    let client = End::map((client.as_fd(), request_bytes), (server.as_fd(), answer_bytes)).unwrap();
    (client, end)
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Write(usize),
    Publish,
    Take(usize),
    Sleep,
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let step = prop_oneof![
        (0..2 * RING).prop_map(Step::Write),
        Just(Step::Publish),
        (0..2 * RING).prop_map(Step::Take),
        Just(Step::Sleep),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..200)
}

/// One direction as a queue: what is written, and how much of it is shown.
#[derive(Default)]
struct Model {
    bytes: VecDeque<u8>,
    shown: usize,
    next: u8,
}

proptest! {
    /// What goes in comes out, in both directions, whatever the steps are; and who sleeps is rung for.
    #[test]
    fn a_pair_of_rings_is_two_bounded_queues(steps in steps()) {
        let (client, server) = pair(RING, 2 * RING);
        let mut ends = [client, server];
        let capacity = [RING, 2 * RING];
        let mut models = [Model::default(), Model::default()];
        let mut asleep = [false, false];
        for (is_server, step) in steps {
            let (me, other) = (usize::from(is_server), usize::from(!is_server));
            match step {
                Step::Write(len) => {
                    let model = &mut models[me];
                    let bytes: Vec<u8> = (0..len).map(|at| model.next.wrapping_add(at as u8)).collect();
                    let room = ends[me].room().unwrap();
                    prop_assert_eq!(room, capacity[me] - model.bytes.len());
                    let count = ends[me].write(&bytes);
                    prop_assert_eq!(count, len.min(room));
                    model.next = model.next.wrapping_add(count as u8);
                    model.bytes.extend(&bytes[..count]);
                }
                Step::Publish => {
                    ends[me].publish();
                    models[me].shown = models[me].bytes.len();
                    full_fence();
                    prop_assert_eq!(ends[me].must_ring(), asleep[other]);
                    if asleep[other] {
                        ends[other].wake();
                        asleep[other] = false;
                    }
                }
                Step::Take(max) => {
                    let waiting = ends[me].waiting().unwrap();
                    let model = &mut models[other];
                    prop_assert_eq!(waiting, model.shown);
                    let mut out = vec![1];
                    let count = ends[me].take(max, &mut out);
                    prop_assert_eq!(count, waiting.min(max));
                    prop_assert!(out[1..].iter().copied().eq(model.bytes.drain(..count)));
                    model.shown -= count;
                    full_fence();
                    prop_assert!(!ends[me].must_ring(), "nobody waits for room");
                }
                Step::Sleep => {
                    ends[me].announce_sleep(false);
                    asleep[me] = true;
                }
            }
        }
    }

    /// Whatever the other side tells, it is refused or within the ring; positions never run backwards.
    #[test]
    fn words_of_the_other_side_are_checked(told in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 1..50)) {
        let (client, mut server) = pair(RING, RING);
        let mut out = Vec::new();
        let mut before = (0, 0);
        for (written, taken, near) in told {
            let near = |position: u64, seen: u64| if near { seen.wrapping_add(position % (3 * RING as u64)).wrapping_sub(RING as u64) } else { position };
            client.own.words().written.0.store(near(written, before.0), Ordering::Relaxed);
            client.own.words().taken.0.store(near(taken, before.1), Ordering::Relaxed);
            if let Ok(waiting) = server.waiting() {
                prop_assert!(waiting <= RING && server.written_there >= before.0);
                out.clear();
                prop_assert!(server.take(usize::MAX, &mut out) == waiting);
            }
            if let Ok(room) = server.room() {
                prop_assert!(room <= RING && server.taken_there >= before.1 && server.taken_there <= server.written);
                server.write(&vec![7; room / 2]);
                server.publish();
            }
            prop_assert!((before.1..=server.written).contains(&server.taken_there()));
            before = (server.written_there, server.taken_there);
        }
    }
}

#[test]
fn positions_that_cannot_be_are_named() {
    let (mut client, mut server) = pair(RING, RING);
    client.write(&[1; 100]);
    client.publish();
    assert_eq!(server.waiting(), Ok(100));
    let tell = |written: u64| client.own.words().written.0.store(written, Ordering::Relaxed);
    tell(99);
    assert_eq!(server.waiting(), Err(Broken::Backwards));
    tell(RING as u64 + 1);
    assert_eq!(server.waiting(), Err(Broken::TooFar));
    tell(u64::MAX);
    assert_eq!(server.waiting(), Err(Broken::TooFar));
    client.own.words().taken.0.store(1, Ordering::Relaxed);
    assert_eq!(server.room(), Err(Broken::TooFar), "nothing was written to be taken");
}

#[test]
fn the_servers_file_cannot_be_written_by_others_nor_either_be_cut() {
    let Pair { end: _end, files: [server, client] } = Pair::new(RING, RING).unwrap();
    let bytes = WORDS_BYTES + RING;
    assert!(Map::new(server.as_fd(), bytes, Access::ReadWrite).is_err());
    assert!(Map::new(server.as_fd(), bytes, Access::Read).is_ok());
    for file in [server, client] {
        let file = std::fs::File::from(file);
        assert!(file.set_len(0).is_err() && file.set_len(2 * bytes as u64).is_err());
    }
}

#[test]
fn a_side_that_waits_for_room_is_rung_for_when_there_is_some() {
    let (mut client, mut server) = pair(RING, RING);
    let room = server.room().unwrap();
    assert_eq!(server.write(&vec![1; RING + 1]), room);
    server.publish();
    server.announce_sleep(true);
    assert_eq!(client.waiting(), Ok(RING));
    client.take(1, &mut Vec::new());
    full_fence();
    assert!(client.must_ring());
    assert_eq!(server.room(), Ok(1));
}
