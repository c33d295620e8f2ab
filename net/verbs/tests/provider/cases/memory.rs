use crate::ends::{Wanted, connect, pattern};
use crate::world::World;
use torc_verbs::completion::{Completion, Done, Failure};
use torc_verbs::memory::Buffer;
use torc_verbs::region::Region;
use torc_verbs::seam::{Access, CompletionQueue, QueuePair, Verbs};
use torc_verbs::work::{Action, Payload, Piece, Remote, Work};

fn writable() -> Wanted {
    Wanted { access: Access::RemoteWrite, ..Wanted::default() }
}

fn readable() -> Wanted {
    Wanted { access: Access::RemoteRead, ..Wanted::default() }
}

pub(crate) fn a_write_changes_what_it_names_and_tells<W: World>(world: &W) {
    let ends = connect(world, &writable());
    let bytes = pattern(10_000, 3);
    ends[0].memory.write(100, &bytes);
    ends[1].receive(1, 0, 8);
    let pieces = [ends[0].piece(100, 4000), ends[0].piece(4100, 6000)];
    let payload = || Payload::Pieces(&pieces);
    let to = ends[1].remote(20_000);
    ends[0].post(5, Action::Write { payload: payload(), to, immediate: Some(0xdead_beef) });
    let done = Done::WrittenByPeer { len: 10_000, immediate: 0xdead_beef };
    assert_eq!(ends[1].received(world, 1), Ok(done));
    // It is there when that is told, and nothing beside it.
    assert_eq!(ends[1].memory.bytes(20_000, 10_000), bytes);
    assert_eq!(ends[1].memory.bytes(19_999, 1), [0]);
    assert_eq!(ends[1].memory.bytes(30_000, 1), [0]);
    assert_eq!(ends[1].memory.bytes(0, 8), [0; 8], "the receive is not written");
    assert_eq!(ends[0].sent(world, 5), Ok(Done::Written));
    // Without a number it takes no receive, and tells nothing.
    ends[0].post(6, Action::Write { payload: payload(), to: ends[1].remote(40_000), immediate: None });
    assert_eq!(ends[0].sent(world, 6), Ok(Done::Written));
    assert_eq!(ends[1].memory.bytes(40_000, 10_000), bytes);
    assert_eq!(ends[1].receives.poll(&mut [Completion::NONE]), Ok(0));
}

pub(crate) fn reads_of_one_pair_are_done_in_their_order<W: World>(world: &W) {
    let ends = connect(world, &readable());
    let bytes = pattern(9000, 9);
    ends[1].memory.write(1000, &bytes);
    ends[1].memory.write(50_000, &[1; 64]);
    let (item, head) = ([ends[0].piece(0, 4500), ends[0].piece(8192, 4500)], [ends[0].piece(60_000, 64)]);
    let works = [
        Work {
            id: 1,
            action: Action::Read { into: &item, from: ends[1].remote(1000) },
            signaled: false,
            solicited: false,
        },
        Work {
            id: 2,
            action: Action::Read { into: &head, from: ends[1].remote(50_000) },
            signaled: true,
            solicited: false,
        },
    ];
    ends[0].pair.post(&works).expect("posted with one doorbell");
    // The completion of the second says that the first is there, too.
    assert_eq!(ends[0].sent(world, 2), Ok(Done::Read));
    let memory = &ends[0].memory;
    assert_eq!([memory.bytes(0, 4500), memory.bytes(8192, 4500)].concat(), bytes);
    assert_eq!(memory.bytes(60_000, 64), [1; 64]);
    assert_eq!(memory.bytes(4500, 1), [0]);
    assert_eq!(ends[1].receives.poll(&mut [Completion::NONE]), Ok(0), "the peer does not notice");
}

pub(crate) fn what_is_not_granted_is_refused<W: World>(world: &W) {
    type Refused = fn(&Wanted) -> (bool, usize);
    // What the ends grant, whether it is written, and from where on: the memory has 1 << 16 bytes.
    let cases: [(Access, Refused); 4] = [
        (Access::RemoteRead, |_| (true, 0)),
        (Access::RemoteWrite, |_| (false, 0)),
        (Access::RemoteRead, |wanted| (false, wanted.memory_bytes - 63)),
        (Access::Local, |_| (false, 0)),
    ];
    for (access, case) in cases {
        let wanted = Wanted { access, ..Wanted::default() };
        let ends = connect(world, &wanted);
        ends[1].memory.write(0, &[5; 64]);
        let (is_write, at) = case(&wanted);
        let pieces = [ends[0].piece(0, 64)];
        let remote = ends[1].remote(at);
        let action = match is_write {
            true => Action::Write { payload: Payload::Pieces(&pieces), to: remote, immediate: None },
            false => Action::Read { into: &pieces, from: remote },
        };
        ends[0].post(1, action);
        let refused = ends[0].sent(world, 1);
        assert!(matches!(refused, Err(Failure::Access | Failure::Invalid)), "{access:?}: {refused:?}");
        assert_eq!(ends[0].memory.bytes(0, 64), [0; 64]);
        assert_eq!(ends[1].memory.bytes(0, 64), [5; 64]);
    }
}

pub(crate) fn a_key_ends_with_its_region<W: World>(world: &W) {
    let ends = connect(world, &readable());
    let memory = Buffer::new(4096).expect("memory");
    memory.write(0, b"secret");
    let region = ends[1].device.register(&ends[1].domain, memory, Access::RemoteRead).expect("a region");
    let from = Remote { address: region.address(), key: region.remote_key() };
    let into = [ends[0].piece(0, 6)];
    ends[0].post(1, Action::Read { into: &into, from });
    assert_eq!(ends[0].sent(world, 1), Ok(Done::Read));
    assert_eq!(ends[0].memory.bytes(0, 6), b"secret");
    drop(region);
    ends[0].post(2, Action::Read { into: &[ends[0].piece(100, 6)], from });
    let refused = ends[0].sent(world, 2);
    assert!(matches!(refused, Err(Failure::Access | Failure::Invalid)), "{refused:?}");
    assert_eq!(ends[0].memory.bytes(100, 6), [0; 6]);
}

pub(crate) fn a_piece_outside_of_its_region_is_refused<W: World>(world: &W) {
    let wanted = readable();
    let ends = connect(world, &wanted);
    let outside = [(wanted.memory_bytes, 1), (wanted.memory_bytes - 1, 2), (usize::MAX, 2), (1, usize::MAX)];
    for (at, len) in outside {
        let pieces = [Piece { region: &ends[0].region, at, len }];
        let action = Action::Send { payload: Payload::Pieces(&pieces), immediate: None };
        let error = ends[0].pair.post(&[Work { id: 1, action, signaled: true, solicited: false }]);
        assert_eq!(error.map_err(|error| error.error.errno), Err(libc::EINVAL));
        assert!(ends[0].pair.post_receive(1, &pieces).is_err());
    }
    let too_many = [ends[0].piece(0, 1); torc_verbs::work::PIECES_MAX + 1];
    assert!(ends[0].pair.post_receive(1, &too_many).is_err());
    let too_long = vec![0; ends[0].pair.inline_bytes() as usize + 1];
    let action = Action::Send { payload: Payload::Inline(&too_long), immediate: None };
    assert!(ends[0].pair.post(&[Work { id: 1, action, signaled: true, solicited: false }]).is_err());
    // And nothing of all that was posted.
    ends[1].receive(2, 0, 8);
    ends[0].send(3, 0, 8);
    assert_eq!(ends[0].sent(world, 3), Ok(Done::Sent));
    assert_eq!(ends[1].received(world, 2), Ok(Done::Received { len: 8, immediate: None }));
}
