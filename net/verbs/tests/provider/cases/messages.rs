use crate::ends::{Wanted, connect, end, path, pattern, peer};
use crate::world::{World, completion};
use torc_verbs::completion::{Completion, Done};
use torc_verbs::seam::{Access, CompletionQueue, PairOptions, QueuePair, SharedReceives, Verbs};
use torc_verbs::work::{Action, DOORBELL_MAX, Payload, Work};

pub(crate) fn messages_of_every_length_come_as_they_were<W: World>(world: &W) {
    const HALF: usize = 1 << 20;
    let ends = connect(world, &Wanted { memory_bytes: 2 * HALF, ..Wanted::default() });
    for (id, len) in [0, 1, 7, 64, 1000, 4096, 5000, HALF].into_iter().enumerate() {
        let from = id % 2;
        let (sender, receiver) = (&ends[from], &ends[1 - from]);
        let bytes = pattern(len, id as u8);
        sender.memory.write(3, &bytes[..len.min(HALF - 3)]);
        let len = len.min(HALF - 3);
        receiver.memory.write(HALF, &vec![0xee; len + 1]);
        receiver.receive(id as u64, HALF, len + 1);
        let immediate = (id % 3 == 0).then_some(0x0102_0304 + id as u32);
        let pieces = [sender.piece(3, len)];
        let payload = match len <= 64 && id % 2 == 1 && sender.pair.inline_bytes() >= 64 {
            true => Payload::Inline(&bytes[..len]),
            false => Payload::Pieces(&pieces),
        };
        sender.post(100 + id as u64, Action::Send { payload, immediate });
        let done = receiver.received(world, id as u64);
        assert_eq!(done, Ok(Done::Received { len: len as u32, immediate }));
        assert_eq!(receiver.memory.bytes(HALF, len), bytes[..len], "{len} bytes");
        assert_eq!(receiver.memory.bytes(HALF + len, 1), [0xee], "behind {len} bytes");
        assert_eq!(sender.sent(world, 100 + id as u64), Ok(Done::Sent));
    }
}

pub(crate) fn a_message_is_gathered_and_scattered<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    let bytes = pattern(300, 7);
    ends[0].memory.write(1000, &bytes[..100]);
    ends[0].memory.write(9000, &bytes[100..250]);
    ends[0].memory.write(5000, &bytes[250..]);
    let receives = [ends[1].piece(0, 33), ends[1].piece(4096, 67), ends[1].piece(512, 400)];
    ends[1].pair.post_receive(1, &receives).expect("posted");
    let pieces = [ends[0].piece(1000, 100), ends[0].piece(9000, 150), ends[0].piece(5000, 50)];
    ends[0].post(2, Action::Send { payload: Payload::Pieces(&pieces), immediate: None });
    assert_eq!(ends[1].received(world, 1), Ok(Done::Received { len: 300, immediate: None }));
    let memory = &ends[1].memory;
    assert_eq!([memory.bytes(0, 33), memory.bytes(4096, 67), memory.bytes(512, 200)].concat(), bytes);
    assert_eq!(memory.bytes(33, 1), [0]);
    assert_eq!(memory.bytes(712, 1), [0]);
}

pub(crate) fn messages_come_in_their_order_over_doorbells<W: World>(world: &W) {
    const COUNT: usize = 3 * DOORBELL_MAX + 1;
    let ends = connect(world, &Wanted::default());
    for id in 0..COUNT {
        ends[1].receive(id as u64, 64 * id, 64);
        ends[0].memory.write(64 * id, &[id as u8; 64]);
    }
    let pieces: Vec<_> = (0..COUNT).map(|id| [ends[0].piece(64 * id, 64 - id % 7)]).collect();
    let works: Vec<_> = (0..COUNT)
        .map(|id| {
            let action = Action::Send { payload: Payload::Pieces(&pieces[id]), immediate: Some(id as u32) };
            Work { id: id as u64, action, signaled: id == COUNT - 1, solicited: false }
        })
        .collect();
    ends[0].pair.post(&works).expect("posted");
    for id in 0..COUNT {
        let len = (64 - id % 7) as u32;
        let done = Done::Received { len, immediate: Some(id as u32) };
        assert_eq!(ends[1].received(world, id as u64), Ok(done));
        assert_eq!(ends[1].memory.bytes(64 * id, 1), [id as u8]);
    }
    // One completion for all.
    assert_eq!(ends[0].sent(world, COUNT as u64 - 1), Ok(Done::Sent));
    assert_eq!(ends[0].sends.poll(&mut [Completion::NONE]), Ok(0));
}

pub(crate) fn pairs_share_their_receives<W: World>(world: &W) {
    let wanted = Wanted::default();
    let server = end(world, 1, &wanted);
    assert!(server.device.limits().shared_receives > 0, "a shared queue");
    let shared = server.device.shared_receives(&server.domain, 16).expect("a shared queue");
    for id in 0..8 {
        shared.post(id, &[server.piece(64 * id as usize, 64)]).expect("posted");
    }
    let options = PairOptions {
        send_queue: &server.sends,
        receive_queue: &server.receives,
        shared: Some(&shared),
        sends: 8,
        receives: 0,
        inline_bytes: 0,
    };
    let mut clients = Vec::new();
    for _ in 0..2 {
        let pair = server.device.queue_pair(&server.domain, &options).expect("a queue pair");
        assert!(pair.post_receive(9, &[server.piece(0, 8)]).is_err(), "receives of its own");
        let client = end(world, 0, &wanted);
        let (ours, theirs) = (path(world, 1, wanted.change_path), path(world, 0, wanted.change_path));
        pair.initialize(ours.port, Access::Local).expect("initialized");
        client.pair.initialize(theirs.port, Access::Local).expect("initialized");
        let peer_of_pair = peer(world, 0, &client.device, client.pair.number());
        pair.ready_to_receive(&ours, &peer_of_pair).expect("ready");
        let peer_of_client = peer(world, 1, &server.device, pair.number());
        client.pair.ready_to_receive(&theirs, &peer_of_client).expect("ready");
        pair.ready_to_send(&ours).expect("ready");
        client.pair.ready_to_send(&theirs).expect("ready");
        clients.push((client, pair));
    }
    for round in 0..4 {
        for (number, (client, pair)) in clients.iter().enumerate() {
            client.memory.write(0, &[16 * round + number as u8 + 1; 32]);
            client.send(u64::from(round), 0, 32);
            let completion = completion(world, &server.receives);
            assert_eq!(completion.result, Ok(Done::Received { len: 32, immediate: None }));
            assert_eq!(completion.pair, pair.number(), "whose message it is");
            let bytes = server.memory.bytes(64 * completion.id as usize, 32);
            assert_eq!(bytes, [16 * round + number as u8 + 1; 32]);
            assert_eq!(client.sent(world, u64::from(round)), Ok(Done::Sent));
        }
    }
}

pub(crate) fn a_message_waits_for_a_receive<W: World>(world: &W) {
    let ends = connect(world, &Wanted::default());
    ends[0].memory.write(0, b"patience");
    ends[0].send(1, 0, 8);
    for _ in 0..200 {
        world.turn(world.now());
    }
    assert_eq!(ends[0].sends.poll(&mut [Completion::NONE]), Ok(0));
    ends[1].receive(2, 0, 8);
    assert_eq!(ends[1].received(world, 2), Ok(Done::Received { len: 8, immediate: None }));
    assert_eq!(ends[0].sent(world, 1), Ok(Done::Sent));
    assert_eq!(ends[1].memory.bytes(0, 8), b"patience");
}

pub(crate) fn a_queue_that_is_full_says_so_and_has_room_again<W: World>(world: &W) {
    let ends = connect(world, &Wanted { sends: 8, ..Wanted::default() });
    let pieces = [ends[0].piece(0, 64)];
    let post = |id: u64| {
        let action = Action::Send { payload: Payload::Pieces(&pieces), immediate: None };
        ends[0].pair.post(&[Work { id, action, signaled: true, solicited: false }])
    };
    // Nobody receives yet, so nothing ends. A device may have made the queue longer.
    let mut posted = 0;
    let error = loop {
        match post(posted) {
            Ok(()) => posted += 1,
            Err(error) => break error,
        }
        assert!(posted < 64, "a queue of 8 is full at last");
    };
    assert!(error.posted == 0 && error.error.is_full(), "{error}");
    assert!(posted >= 8);
    for id in 0..posted {
        ends[1].receive(id, 0, 64);
    }
    for id in 0..posted {
        assert_eq!(ends[0].sent(world, id), Ok(Done::Sent));
    }
    ends[1].receive(posted, 0, 64);
    post(posted).expect("room");
    assert_eq!(ends[0].sent(world, posted), Ok(Done::Sent));
}
