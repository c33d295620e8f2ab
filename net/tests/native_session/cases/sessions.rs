//! What goes beyond one request: pipelines, hello, numbered changes, deadlines.

use super::*;

/// [N-GEN-4], [N-HDR-5]: as many as the client likes, under ids that the server does not look at.
#[test]
fn a_long_pipeline_is_answered_in_full() {
    let mut client = Client::new();
    client.set(b"k", b"v");
    let mut wire = Vec::new();
    for number in 0..5_000_u32 {
        wire.extend(request(Op::Get, 0, number / 2, &Options::NONE, b"k", b""));
    }
    let got = client.raw(&wire);
    assert!(got.iter().map(|got| got.header.id).eq((0..5_000).map(|number| number / 2)));
    assert!(got.iter().all(|got| got.value == b"v"));
}

/// [N-QUIET-1], [N-QUIET-2], [N-QUIET-3], [N-NOOP-1]
#[test]
fn quiet_requests_are_done_without_a_word() {
    let mut client = Client::new();
    assert_eq!(client.all(Op::Set, flags::QUIET_OK, &Options::NONE, b"k", b"v"), []);
    assert_eq!(client.all(Op::Get, flags::QUIET_MISS, &Options::NONE, b"none", b""), []);
    assert_eq!(client.all(Op::Delete, flags::QUIET_MISS, &Options::NONE, b"none", b""), []);
    assert_eq!(client.all(Op::Add, flags::QUIET_OK, &Options::NONE, b"k", b"v").len(), 1);
    assert_eq!(client.ask(Op::Noop, 0, &Options::NONE, b"", b"").status(), Status::Ok);
    assert_eq!(client.get(b"k").value, b"v");
    let got = client.ask(Op::Get, flags::QUIET_OK, &Options::NONE, b"k", b"");
    assert_eq!(got.status(), Status::BadArgument);
}

/// [N-SHM-8]: who does not know of shared memory is told nothing of it, and gets the answer of before.
#[test]
fn where_memory_is_shared_is_told_to_who_can_use_it() {
    let mut client = Client::new();
    let plain = client.hello(7, 0);
    assert_eq!(plain.value.len(), HelloAnswer::BYTES);
    let mut value = Vec::new();
    let features = FEATURE_SHARED_MEMORY | 1 << 31;
    Hello { version_min: 1, version_max: 1, features, session: 7, boot_id: 0 }.compose(&mut value);
    let got = client.ask(Op::Hello, 0, &Options::NONE, b"", &value);
    let hello = HelloAnswer::parse(&got.value).expect("a hello answer");
    assert_eq!(hello.features, FEATURE_SHARED_MEMORY);
    assert_eq!(HelloAnswer::shared_memory_path(&got.value), Some("/run/torc.sock"));
}

/// [N-SHM-1], [N-SHM-7]
#[test]
fn an_attach_that_cannot_be_is_refused_and_the_connection_goes_on() {
    let mut client = Client::new();
    let mut ask = |value: &[u8]| client.ask(Op::Attach, 0, &Options::NONE, b"", value).status();
    assert_eq!(ask(b"short"), Status::BadArgument);
    assert_eq!(ask(&[2, 0, 9, 0, 0, 0, 0, 0]), Status::UnsupportedVersion);
    // The store behind these tests shares nothing.
    assert_eq!(ask(&[1, 0, 9, 0, 0, 0, 0, 0, 7]), Status::NotSupported);
    let keyed = client.ask(Op::Attach, 0, &Options::NONE, b"key", &[1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(keyed.status(), Status::BadArgument);
    client.set(b"k", b"v");
}

/// [N-HELLO-1], [N-HELLO-2], [N-PING-1], [N-STAT-1], [N-TOPO-2]
#[test]
fn the_server_tells_of_itself() {
    let mut client = Client::new();
    let got = client.hello(7, 0);
    let hello = HelloAnswer::parse(&got.value).expect("a hello answer");
    assert_eq!((hello.version, hello.credit, hello.session, hello.boot_id), (1, CREDIT, 7, 42));
    assert_eq!((hello.key_bytes_max, hello.value_bytes_max, hello.now_ms), (250, 1 << 20, NOW));
    let mut value = Vec::new();
    Hello { version_min: 2, version_max: 9, ..Hello::default() }.compose(&mut value);
    let refused = client.ask(Op::Hello, 0, &Options::NONE, b"", &value);
    assert_eq!(refused.status(), Status::UnsupportedVersion);
    assert_eq!(client.ask(Op::Hello, 0, &Options::NONE, b"", b"short").status(), Status::BadArgument);
    assert_eq!(client.ask(Op::Ping, 0, &Options::NONE, b"", b"echo").value, b"echo");
    let map = client.ask(Op::Topology, 0, &Options::NONE, b"", b"");
    let map = Topology::parse(&map.value).expect("a slot map");
    assert_eq!((map.owner(0), map.owner(16_383), map.shards[0].port), (Some(0), Some(0), 7200));
    let lines = client.ask(Op::Statistics, 0, &Options::NONE, b"server", b"").value;
    assert!(lines.split(|&byte| byte == b'\n').any(|line| line == b"items 3"));
    assert_eq!(client.ask(Op::Statistics, 0, &Options::NONE, b"weather", b"").status(), Status::Miss);
}

/// [N-EXT-6]: counted from when the first byte came, not from when the frame was whole.
#[test]
fn a_passed_deadline_is_not_executed() {
    let mut client = Client::new();
    let deadline = |us| Options { deadline_us: Some(us), ..Options::NONE };
    let at_once = client.ask(Op::Set, 0, &deadline(0), b"k", b"v");
    assert_eq!(at_once.status(), Status::DeadlineExceeded);
    assert_eq!(client.ask(Op::Set, 0, &deadline(1), b"k", b"v").status(), Status::Ok);
    for (waited_ms, status) in [(3, Status::Ok), (4, Status::DeadlineExceeded)] {
        let bytes = request(Op::Set, 0, 5, &deadline(2_500), b"slow", b"v");
        let (first, rest) = bytes.split_at(20);
        assert_eq!(client.raw(first), []);
        client.now += 1;
        assert_eq!(client.raw(&rest[..1]), []);
        client.now += waited_ms - 1;
        assert_eq!(client.raw(&rest[1..])[0].status(), status, "after {waited_ms} ms");
    }
}

/// [N-ONCE-2], [N-ONCE-1], [N-HELLO-4]
#[test]
fn numbered_changes_need_a_session_that_the_server_remembers() {
    let mut client = Client::new();
    let numbered = |number, repeat| Options { change: Some(Change { number, repeat }), ..Options::NONE };
    let status =
        |client: &mut Client, options: &Options| client.ask(Op::Set, 0, options, b"k", b"v").status();
    assert_eq!(status(&mut client, &numbered(1, false)), Status::BadArgument);
    client.hello(7, 0);
    assert_eq!(status(&mut client, &numbered(0, false)), Status::BadArgument);
    assert_eq!(status(&mut client, &numbered(1, false)), Status::Ok);
    client.hello(7, 42);
    assert_eq!(status(&mut client, &numbered(1, true)), Status::Ok);
    client.hello(7, 41);
    assert_eq!(status(&mut client, &numbered(2, true)), Status::OutcomeUnknown);
    assert_eq!(status(&mut client, &numbered(3, false)), Status::Ok);
    client.hello(8, 0);
    assert_eq!(status(&mut client, &numbered(1, true)), Status::Ok);
}

/// [N-ONCE-6]
#[test]
fn a_repeat_says_that_an_old_value_may_be_lost() {
    let mut client = Client::new();
    client.hello(7, 0);
    let options = Options { change: Some(Change { number: 1, repeat: true }), ..Options::NONE };
    let got = client.ask(Op::Set, flags::WANT_OLD, &options, b"k", b"v");
    assert_eq!(got.header.marks, marks::OLD_LOST);
}
