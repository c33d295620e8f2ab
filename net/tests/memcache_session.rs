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
use torc_engine::command::{Found, Meta, Outcome, Refusal, Value};
use torc_net::session::{Answer, ComposeContext, Output, Port, Protocol, Scratch, Session, Work};

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
        settings.starts_with("STAT maxbytes ") && settings.contains("STAT active_slabs 1\r\n"),
        "{settings}"
    );
    let version = connection.send(b"version\r\n", &mut Model::default(), NOW);
    assert!(version.starts_with(b"VERSION 1.6.18 (torc ") && version.ends_with(b")\r\n"));
}

/// Parses one request and answers its parts with what is given, in order.
fn answered(session: &mut Session, request: &str, answers: &[Answer<'_>]) -> String {
    let scratch = Scratch::default();
    let mut parts = Vec::new();
    let parsed = session.parse(request.as_bytes(), &scratch, NOW, &support::LIMITS, &mut parts, 64);
    assert_eq!((parsed.consumed, parts.len()), (request.len(), answers.len()), "{request}");
    let context = ComposeContext { now: NOW, server: &support::View, connection: 1, peer: "", local: "" };
    let mut out = Output::default();
    for (part, answer) in parts.iter().zip(answers) {
        let key = match &part.work {
            Work::Keyed(command) => command.key,
            _ => &[],
        };
        session.compose(part.reply, key, part.echo, answer, &context, &mut out);
    }
    String::from_utf8(std::mem::take(out.tail())).expect("text")
}

#[test]
fn limits_and_refusals_are_said_in_one_line() {
    let session = &mut Session::new(Some(Protocol::Memcache), Port::Common);
    let busy = || Answer::Busy { limit: "queue-length" };
    let refused = |refusal| Answer::Outcome(Outcome::Refused(refusal));
    let said = "SERVER_ERROR busy: limit --queue-length reached\r\n";
    for request in
        ["get a\r\n", "set a 0 0 1\r\nx\r\n", "mg a q\r\n", "incr a 1\r\n", "flush_all\r\n", "md a q k\r\n"]
    {
        assert_eq!(answered(session, request, &[busy()]), said, "{request}");
    }
    assert_eq!(answered(session, "delete a noreply\r\n", &[busy()]), "");
    let full = "SERVER_ERROR out of memory storing object\r\n";
    assert_eq!(answered(session, "set a 0 0 1\r\nx\r\n", &[refused(Refusal::OutOfMemory)]), full);
    assert_eq!(answered(session, "ms a 1 q\r\nx\r\n", &[refused(Refusal::OutOfMemory)]), full);
    assert_eq!(answered(session, "mg a N3 q\r\n", &[refused(Refusal::OutOfMemory)]), full);
    let large = "SERVER_ERROR object too large for cache\r\n";
    assert_eq!(answered(session, "append a 0 0 1\r\nx\r\n", &[refused(Refusal::ValueTooLarge)]), large);
}

#[test]
fn a_retrieval_that_fails_for_one_key_ends_there() {
    let session = &mut Session::new(Some(Protocol::Memcache), Port::Common);
    let found = || {
        let meta = Meta { flags: 3, value_bytes: 2, ..Meta::default() };
        Answer::Outcome(Outcome::Item(Found { meta, value: Value::Inline(b"hi".into()) }))
    };
    let miss = || Answer::Outcome(Outcome::Miss);
    let busy = || Answer::Busy { limit: "queue-length" };
    let failed = "SERVER_ERROR busy: limit --queue-length reached\r\n";
    let hit = "VALUE a 3 2\r\nhi\r\n";
    assert_eq!(answered(session, "get a a a\r\n", &[found(), busy(), found()]), format!("{hit}{failed}"));
    assert_eq!(answered(session, "get a a a\r\n", &[busy(), busy(), miss()]), failed);
    assert_eq!(answered(session, "get a a\r\n", &[miss(), busy()]), failed);
    assert_eq!(answered(session, "get a a\r\n", &[miss(), found()]), format!("{hit}END\r\n"));
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

/// One whole request on one of few keys, and how much time passes before it.
fn request() -> impl Strategy<Value = (u64, String)> {
    let key = prop::sample::select(vec!["a", "b", "c"]);
    let value = prop_oneof![
        4 => prop::sample::select(vec!["", "5", "99", "18446744073709551615", "text"]).prop_map(String::from),
        1 => (100usize..40_000).prop_map(|length| "v".repeat(length)),
    ];
    let exptime = prop::sample::select(vec!["0", "0", "0", "1", "2", "60", "-1"]);
    let store = prop::sample::select(vec!["set", "set", "add", "replace", "append", "prepend"]);
    let short = prop::sample::select(vec![
        "get K\r\n",
        "get K a b c\r\n",
        "gat E K\r\n",
        "delete K\r\n",
        "incr K 7\r\n",
        "decr K 30\r\n",
        "touch K E\r\n",
        "mg K v t f s k\r\n",
        "mg K u\r\n",
        "mg K v N2 t\r\n",
        "mg K v R2 t\r\n",
        "mg K TE v\r\n",
        "mg K q\r\n",
        "md K\r\n",
        "md K q\r\n",
        "md K I\r\n",
        "md K I TE\r\n",
        "md K x\r\n",
        "md K C5\r\n",
        "ma K v t\r\n",
        "ma K MD D3 v\r\n",
        "ma K N60 J4 v t\r\n",
        "ma K TE v t\r\n",
        "ma K C5\r\n",
        "ms K 1 C5\r\n9\r\n",
        "ms K 1 E5 TE\r\n9\r\n",
        "ms K 1 C4 I\r\n8\r\n",
        "ms K 1 MA N60\r\n7\r\n",
        "ms K 1 MP s\r\n6\r\n",
        "ms K 1 ME F3\r\n6\r\n",
        "ms K 1 MR C5\r\n6\r\n",
        "ms K 1 T2 q\r\n4\r\n",
        "ma K E5 v\r\n",
        "md K I E5\r\n",
    ]);
    let wait = prop::sample::select(vec![0, 0, 0, 0, 1, 500, 999, 1000, 1500]);
    let text = prop_oneof![
        3 => (short, key.clone(), exptime.clone())
            .prop_map(|(text, key, exptime)| text.replace('K', key).replace('E', exptime)),
        2 => (store, key, exptime, value).prop_map(|(store, key, exptime, value)| {
            format!("{store} {key} 3 {exptime} {}\r\n{value}\r\n", value.len())
        }),
        1 => prop::sample::select(vec!["flush_all\r\n".to_string(), "flush_all 1\r\n".to_string()]),
    ];
    (wait, text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// The engine under this protocol is the plainest thing that could be right. `h` is left out: a shard
    /// counts accesses by key, so an overwritten item may count as read where the model's does not.
    #[test]
    fn a_shard_answers_any_script_as_the_model_does(script in proptest::collection::vec(request(), 1..60)) {
        let mut over_shard = Connection::new(Some(Protocol::Memcache));
        let mut over_model = Connection::new(Some(Protocol::Memcache));
        let (mut shard, mut model) = (shard(NOW), Model::default());
        let mut now = NOW;
        for (wait, request) in &script {
            now += wait;
            let expected = over_model.send(request.as_bytes(), &mut model, now);
            let answered = over_shard.send(request.as_bytes(), &mut shard, now);
            prop_assert_eq!(shown(&answered), shown(&expected), "to {}", shown(request.as_bytes()));
        }
    }
}
