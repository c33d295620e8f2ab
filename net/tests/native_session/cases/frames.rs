//! Frames: limits, refusals, garbage, slices.

use super::*;
use proptest::prelude::*;

/// [N-HDR-8], [N-MGET-3], [N-ANS-2]
#[test]
fn a_limit_that_is_met_is_named_by_its_setting() {
    let many = keys_value(&[&b"k"[..]; 1025]);
    let long_key = vec![b'k'; LIMITS.key_bytes_max + 1];
    let long_frame = vec![0; LIMITS.frame_bytes_max + 1];
    let long_value = vec![0; LIMITS.value_bytes_max as usize + 1];
    for (op, key, value, setting) in [
        (Op::MultiGet, &b""[..], &many[..], "--max-arguments"),
        (Op::Get, &long_key, b"", "--max-key"),
        (Op::Ping, b"", &long_frame, "--max-frame"),
        (Op::MultiGet, b"", &long_frame, "--max-frame"),
        (Op::Set, b"k", &long_value, "--max-value"),
    ] {
        let got = Client::new().ask(op, 0, &Options::NONE, key, value);
        let words = String::from_utf8(got.value).expect("text");
        assert!(words.ends_with(setting), "{op:?}: {words}");
    }
}

/// [N-HDR-4], [N-HDR-6], [N-HDR-8], [N-HDR-9], [N-EXT-1], [N-EXT-2], [N-EXT-3], [N-GEN-6]: what is refused is skipped, and the next
/// request served.
#[test]
fn a_refused_frame_leaves_the_next_one_alone() {
    let mut unknown_op = request(Op::Set, 0, 1, &Options::NONE, b"key", b"value");
    unknown_op[1] = 0x7E;
    let mut overrun =
        request(Op::Get, 0, 1, &Options { recache_below_ms: Some(1), ..Options::NONE }, b"key", b"");
    overrun[18] = 0xFF;
    let mut odd_extensions = request(Op::Get, 0, 1, &Options::NONE, b"key", b"");
    odd_extensions[10] = 3;
    odd_extensions.extend_from_slice(b"abc");
    let mut unknown_critical = overrun.clone();
    unknown_critical[16..19].copy_from_slice(&[0x0C, 1, 8]);
    let critical_elsewhere = Options { compare: Some(1), critical: 1 << 4, ..Options::NONE };
    let huge = vec![0; LIMITS.value_bytes_max as usize + 1];
    let cases: [(&str, Vec<u8>, Status); 12] = [
        ("operation", unknown_op, Status::UnknownOperation),
        ("overrun", overrun, Status::Malformed),
        ("odd extensions", odd_extensions, Status::Malformed),
        ("unknown critical", unknown_critical, Status::UnknownExtension),
        (
            "critical without meaning",
            request(Op::Get, 0, 1, &critical_elsewhere, b"k", b""),
            Status::UnknownExtension,
        ),
        ("flag", request(Op::Get, 1 << 15, 1, &Options::NONE, b"k", b""), Status::BadArgument),
        ("no key", request(Op::Get, 0, 1, &Options::NONE, b"", b""), Status::KeyTooLong),
        ("long key", request(Op::Set, 0, 1, &Options::NONE, &[b'k'; 251], b"v"), Status::KeyTooLong),
        ("long value", request(Op::Set, 0, 1, &Options::NONE, b"k", &huge), Status::ValueTooLong),
        ("value of a get", request(Op::Get, 0, 1, &Options::NONE, b"k", b"v"), Status::BadArgument),
        ("key of a ping", request(Op::Ping, 0, 1, &Options::NONE, b"k", b"v"), Status::BadArgument),
        ("long ping", request(Op::Ping, 0, 1, &Options::NONE, b"", &huge), Status::ValueTooLong),
    ];
    for (name, bytes, status) in cases {
        let mut client = Client::new();
        let mut wire = bytes;
        wire.extend(request(Op::Ping, 0, 2, &Options::NONE, b"", b"still here"));
        let got = client.raw(&wire);
        let told: Vec<_> = got.iter().map(|got| (got.header.id, got.status())).collect();
        assert_eq!(told, [(1, status), (2, Status::Ok)], "{name}");
        assert_eq!(client.connection.buffered(), 0, "{name}");
    }
}

/// [N-EXT-3]: without the critical bit it is ignored.
#[test]
fn an_extension_without_meaning_is_ignored() {
    let mut client = Client::new();
    client.set(b"k", b"v");
    let options = Options { compare: Some(1), client_flags: Some(1), ..Options::NONE };
    assert_eq!(client.ask(Op::Get, 0, &options, b"k", b"").status(), Status::Ok);
}

/// [N-HDR-2]
#[test]
fn garbage_between_frames_ends_the_connection() {
    let mut client = Client::new();
    let mut wire = request(Op::Ping, 0, 1, &Options::NONE, b"", b"");
    wire.extend_from_slice(b"get k\r\n");
    let got = client.raw(&wire);
    assert_eq!((got[0].header.id, got[0].status()), (1, Status::Ok));
    assert_eq!((got[1].header.id, got[1].header.op, got[1].status()), (0, 0, Status::Malformed));
    assert!(client.connection.closed);
}

/// [N-HDR-1]: a value longer than `value_bytes_inline` streams; every way to cut the bytes gives the same answers.
#[test]
fn bytes_may_come_in_any_slices() {
    let long = (0..40_000_u32).map(|byte| byte as u8).collect::<Vec<_>>();
    let options = Options { client_flags: Some(1), deadline_us: Some(1_000_000), ..Options::NONE };
    let mut wire = request(Op::Set, 0, 1, &options, b"long", &long);
    wire.extend(request(Op::Get, 0, 2, &Options::NONE, b"long", b""));
    wire.extend(request(Op::Set, 0, 3, &Options::NONE, &[b'k'; 300], &long));
    wire.extend(request(Op::MultiGet, 0, 4, &Options::NONE, b"", &keys_value(&[b"long", b"none"])));
    let whole = Client::new().raw(&wire);
    assert_eq!(whole.len(), 5);
    assert_eq!(whole[1].value, long);
    let near_frames = (0..60).chain(40_000..40_200).chain(80_300..wire.len());
    for cut in near_frames {
        let mut client = Client::new();
        let mut got = client.raw(&wire[..cut]);
        got.extend(client.raw(&wire[cut..]));
        assert_eq!(got, whole, "cut at {cut}");
    }
    for step in [1, 7, 4096] {
        let mut client = Client::new();
        let got: Vec<_> = wire.chunks(step).flat_map(|slice| client.raw(slice)).collect();
        assert_eq!(got, whole, "slices of {step}");
    }
}

#[test]
fn the_first_byte_chooses_the_protocol() {
    let mut pinned = Connection::new(Some(Protocol::Native));
    let mut store = backing(NOW);
    let refused = pinned.send(b"PING\r\n", &mut store, NOW);
    assert_eq!(answers(&refused)[0].status(), Status::Malformed);
    assert!(pinned.closed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes behind the magic, cut anywhere: whole answers, no panic, and the session never consumes more than there is.
    #[test]
    fn any_bytes_are_answered_in_whole_frames(
        frames in prop::collection::vec(
            (any::<u8>(), any::<u16>(), 0_u16..300, 0_u16..6, 0_u32..64, prop::collection::vec(any::<u8>(), 0..400)),
            1..8,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut wire = Vec::new();
        for (op, flags, key_bytes, extensions, value_bytes, body) in frames {
            wire.extend_from_slice(&[MAGIC, op & 0x7F]);
            wire.extend_from_slice(&(flags & 0x7F).to_le_bytes());
            wire.extend_from_slice(&7_u32.to_le_bytes());
            wire.extend_from_slice(&key_bytes.to_le_bytes());
            wire.extend_from_slice(&(extensions * 8).to_le_bytes());
            wire.extend_from_slice(&value_bytes.to_le_bytes());
            wire.extend_from_slice(&body);
        }
        let cut = cut.index(wire.len());
        let mut client = Client::new();
        client.raw(&wire[..cut]);
        client.raw(&wire[cut..]);
    }
}

/// [N-DUR-1], [N-DUR-2]: a session whose server keeps nothing refuses at once, also a value that is streamed; nothing is changed.
#[test]
fn durability_is_refused_where_there_is_none_to_be_had() {
    let mut client = Client::new();
    client.set(b"k", b"old");
    let long = vec![b'v'; LIMITS.value_bytes_inline + 1];
    for (op, value) in
        [(Op::Set, &b"new"[..]), (Op::Set, &long), (Op::Append, b"er"), (Op::Delete, b""), (Op::Flush, b"")]
    {
        let key = if op == Op::Flush { &b""[..] } else { b"k" };
        client.connection.limits.makes_durable = true;
        let both = client.ask(op, flags::DURABILITY, &Options::NONE, key, value);
        assert_eq!(both.status(), Status::BadArgument, "{op:?}");
        client.connection.limits.makes_durable = false;
        let got = client.ask(op, flags::DURABLE, &Options::NONE, key, value);
        assert_eq!(got.status(), Status::NotSupported, "{op:?}");
        assert_eq!(client.get(b"k").value, b"old", "{op:?}");
    }
    assert_eq!(client.ask(Op::Set, flags::AT_ONCE, &Options::NONE, b"k", b"new").status(), Status::Ok);
    client.connection.limits.makes_durable = true;
    assert_eq!(client.ask(Op::Append, flags::DURABLE, &Options::NONE, b"k", b"er").status(), Status::Ok);
    assert_eq!(client.get(b"k").value, b"newer");
    let get = client.ask(Op::Get, flags::DURABLE, &Options::NONE, b"k", b"");
    assert_eq!(get.status(), Status::BadArgument, "a look changes nothing");
}
