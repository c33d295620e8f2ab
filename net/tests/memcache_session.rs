//! memcached's protocol through a session, over the model and over a real shard.
//!
//! Goal: every wire vector is answered as it says, however the bytes arrive. Method: each case is replayed
//! whole for every place at which its bytes can be cut in two, and once byte by byte.

mod support;

use proptest::prelude::*;
use std::path::Path;
use support::model::Model;
use support::vectors::{Case, Numbers, Step, read_folder};
use support::{Connection, Store, shard, shown};
use torc_net::session::Protocol;

const NOW: u64 = 1_800_000_000_000;

/// Where the bytes of a case are cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Nowhere,
    At(usize),
    Everywhere,
}

fn cases() -> Vec<(String, Case)> {
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/memcache"))
}

fn replay(name: &str, case: &Case, store: &mut impl Store, cut: Cut) {
    let mut connection = Connection::new(Some(Protocol::Memcache));
    let mut numbers = Numbers::new();
    let mut now = NOW;
    let mut sent = 0;
    for step in &case.steps {
        match step {
            Step::Wait(ms) => now += ms,
            Step::Close => assert!(connection.closed, "{name}: not closed, cut {cut:?}"),
            Step::Exchange { send, expect, .. } => {
                let bytes = send.fill(&numbers);
                let mut answer = Vec::new();
                for piece in pieces(&bytes, sent, cut) {
                    answer.extend(connection.send(piece, store, now));
                }
                sent += bytes.len();
                assert!(
                    expect.matches(&answer, &mut numbers),
                    "{name}, cut {cut:?}:\nsent     {}\nexpected {}\nanswered {}",
                    shown(&bytes),
                    shown(&expect.fill(&open(&numbers))),
                    shown(&answer),
                );
            }
        }
    }
}

/// Numbers for showing what was expected.
fn open(numbers: &Numbers) -> Numbers {
    let mut numbers = numbers.clone();
    for name in ["cas", "first", "second", "old", "new"] {
        numbers.entry(name.into()).or_insert_with(|| format!("<{name}>").into_bytes());
    }
    numbers
}

fn pieces(bytes: &[u8], sent_before: usize, cut: Cut) -> Vec<&[u8]> {
    match cut {
        Cut::Everywhere => bytes.chunks(1).collect(),
        Cut::At(at) if (sent_before + 1..sent_before + bytes.len()).contains(&at) => {
            let (first, second) = bytes.split_at(at - sent_before);
            vec![first, second]
        }
        _ => vec![bytes],
    }
}

#[test]
fn every_vector_is_answered_by_the_model() {
    for (name, case) in cases() {
        replay(&name, &case, &mut Model::default(), Cut::Nowhere);
    }
}

#[test]
fn every_vector_is_answered_by_a_shard() {
    for (name, case) in cases() {
        replay(&name, &case, &mut shard(NOW), Cut::Nowhere);
    }
}

#[test]
fn it_does_not_matter_where_the_bytes_are_cut() {
    for (name, case) in cases() {
        let bytes = case.bytes_sent();
        // Long values are all the same inside: every cut of short cases, about a hundred of long ones.
        let stride = if bytes > 2000 { bytes / 97 } else { 1 };
        for at in (1..bytes).step_by(stride) {
            replay(&name, &case, &mut Model::default(), Cut::At(at));
        }
        if bytes <= 70_000 {
            replay(&name, &case, &mut Model::default(), Cut::Everywhere);
        }
    }
}

#[test]
fn a_refused_value_is_never_buffered() {
    let mut connection = Connection::new(Some(Protocol::Memcache));
    let mut store = Model::default();
    connection.send(b"set a 0 0 5000000\r\n", &mut store, NOW);
    for _ in 0..50 {
        assert_eq!(connection.send(&[b'x'; 100_000], &mut store, NOW), b"");
        assert_eq!(connection.buffered(), 0);
    }
    assert_eq!(connection.send(b"\r\nget a\r\n", &mut store, NOW), b"END\r\n");
}

#[test]
fn the_first_bytes_tell_memcached_from_others() {
    let mut connection = Connection::new(None);
    assert_eq!(connection.send(b"se", &mut Model::default(), NOW), b"");
    assert_eq!(connection.send(b"t a 0 0 1\r\nx\r\n", &mut Model::default(), NOW), b"STORED\r\n");
}

#[test]
fn statistics_are_named_as_memcached_names_them() {
    let mut connection = Connection::new(Some(Protocol::Memcache));
    let general = connection.send(b"stats\r\n", &mut Model::default(), NOW);
    let general = String::from_utf8(general).expect("text");
    let names = [
        "pid",
        "uptime",
        "time",
        "version",
        "curr_items",
        "bytes",
        "curr_connections",
        "get_hits",
        "get_misses",
        "cmd_get",
        "cmd_set",
        "evictions",
        "limit_maxbytes",
        "threads",
    ];
    for name in names {
        assert!(general.lines().any(|line| line.starts_with(&format!("STAT {name} "))), "{name}: {general}");
    }
    assert!(general.contains("STAT uptime 1799999999\r\n") && general.ends_with("END\r\n"), "{general}");
    let settings = connection.send(b"stats settings\r\nstats slabs\r\n", &mut Model::default(), NOW);
    let settings = String::from_utf8(settings).expect("text");
    assert!(
        settings.starts_with("STAT maxbytes ") && settings.contains("STAT active_slabs 0\r\n"),
        "{settings}"
    );
    let version = connection.send(b"version\r\n", &mut Model::default(), NOW);
    assert!(version.starts_with(b"VERSION 1.6.18 (torc ") && version.ends_with(b")\r\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, in any pieces: the answers are those of the bytes in one piece.
    #[test]
    fn garbage_is_answered_the_same_in_any_pieces(
        bytes in proptest::collection::vec(pick(), 0..60).prop_map(|parts| parts.concat()),
        size in 1usize..50,
    ) {
        let answers = |size: usize| {
            let mut connection = Connection::new(Some(Protocol::Memcache));
            let mut store = Model::default();
            let mut out = Vec::new();
            for piece in bytes.chunks(size) {
                out.extend(connection.send(piece, &mut store, NOW));
            }
            (out, connection.closed)
        };
        prop_assert_eq!(answers(size), answers(bytes.len().max(1)));
    }
}

/// Pieces that make requests now and then.
fn pick() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "get ",
        "gets ",
        "set ",
        "add ",
        "append ",
        "cas ",
        "incr ",
        "delete ",
        "touch ",
        "mg ",
        "ms ",
        "md ",
        "ma ",
        "me ",
        "mn\r\n",
        "a ",
        "b ",
        "YQ== ",
        "0 ",
        "1 ",
        "2 ",
        "5 ",
        "-1 ",
        "20000 ",
        "noreply",
        " v ",
        " k",
        " q",
        " b",
        " N30",
        " I",
        " C1",
        " Oab",
        " MA",
        "\r\n",
        "\r\n",
        "\r\n",
        "\n",
        "12\r\n",
        "x\r\n",
        "flush_all",
        "\0",
        "version\r\n",
        "quit\r\n",
        "stats items\r\n",
    ]);
    prop_oneof![
        40 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => (1usize..30_000).prop_map(|length| vec![b'v'; length]),
    ]
}
