//! The RESP session before a store: the wire vectors, each also cut at every place, and what they cannot say.

mod support;
#[path = "support/resp_vectors.rs"]
mod vectors;

use proptest::prelude::*;
use support::{Connection, Store, model::Model};
use torc_engine::command::{Outcome, Refusal};
use torc_net::session::{Answer, ComposeContext, Limits, Output, Port, Protocol, Scratch, Session};
use torc_proto::resp::reply::{Parsed, parse};
use vectors::{Case, cases};

/// Milliseconds since the epoch when a case starts.
const START: u64 = 1_000_000_000;

fn connection() -> Connection {
    Connection::new(Some(Protocol::Resp))
}

/// Plays a case, with each step's bytes sent in the pieces that `cut` makes of them.
fn play(case: &Case, store: &mut impl Store, cut: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> Result<(), String> {
    let mut connection = connection();
    let mut now = START;
    for step in &case.steps {
        now += step.wait_ms;
        let mut received = Vec::new();
        for piece in cut(&step.send) {
            received.extend_from_slice(&connection.send(&piece, store, now));
        }
        if received != step.expect {
            return Err(format!(
                "{}\n     got {}\nexpected {}",
                case.name,
                received.escape_ascii(),
                step.expect.escape_ascii()
            ));
        }
    }
    match connection.closed == case.close {
        true => Ok(()),
        false => Err(format!("{}: closed {}", case.name, connection.closed)),
    }
}

fn assert_all(results: impl Iterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn vectors_hold_with_a_model() {
    assert_all(cases().iter().map(|case| play(case, &mut Model::default(), |bytes| vec![bytes.to_vec()])));
}

#[test]
fn vectors_hold_with_a_shard() {
    assert_all(
        cases().iter().map(|case| play(case, &mut support::shard(START), |bytes| vec![bytes.to_vec()])),
    );
}

#[test]
fn vectors_hold_cut_at_every_place() {
    for case in cases() {
        let longest = case.steps.iter().map(|step| step.send.len()).max().unwrap_or(0);
        // Every place of what is short, a few hundred of what is long.
        for at in (0..longest).step_by(1 + longest / 400) {
            let cut = |bytes: &[u8]| {
                let at = at.min(bytes.len());
                vec![bytes[..at].to_vec(), bytes[at..].to_vec()]
            };
            if let Err(failure) = play(&case, &mut Model::default(), cut) {
                panic!("cut at {at}: {failure}");
            }
        }
    }
}

#[test]
fn vectors_hold_byte_by_byte() {
    let short = |case: &&Case| case.steps.iter().all(|step| step.send.len() < 10_000);
    assert_all(cases().iter().filter(short).map(|case| {
        play(case, &mut Model::default(), |bytes| bytes.iter().map(|&byte| vec![byte]).collect())
    }));
}

/// Parses all of `input` with small steps, and counts the parts.
fn parse_in_steps(input: &[u8], parts_max: usize) -> (usize, usize) {
    let mut session = Session::new(Some(Protocol::Resp), Port::Common);
    let scratch = Scratch::default();
    let (mut at, mut parts_count, mut longest) = (0, 0, 0);
    while at < input.len() {
        let mut parts = Vec::new();
        let parsed = session.parse(&input[at..], &scratch, START, &support::LIMITS, &mut parts, parts_max);
        assert!(parsed.consumed > 0 || parts.len() == parts_max, "no progress at {at}");
        at += parsed.consumed;
        parts_count += parts.len();
        longest = longest.max(parts.len());
    }
    (parts_count, longest)
}

#[test]
fn a_pipeline_stops_at_the_most_parts_and_goes_on() {
    let input = array(&["GET", "k"]).repeat(100);
    assert_eq!(parse_in_steps(&input, 64), (100, 64));
    assert_eq!(parse_in_steps(&input, 1), (100, 1));
    let input = array(&["MGET", "a", "b", "c", "d"]).repeat(10);
    assert_eq!(parse_in_steps(&input, 6), (40, 6));
}

fn array(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    torc_proto::resp::compose::request(&mut bytes, words);
    bytes
}

/// Parses one request and answers each of its parts.
fn answered(session: &mut Session, request: &[&str], answers: &[Answer<'_>]) -> String {
    let input = array(request);
    let scratch = Scratch::default();
    let mut parts = Vec::new();
    let parsed = session.parse(&input, &scratch, START, &support::LIMITS, &mut parts, 64);
    assert_eq!(parsed.consumed, input.len());
    assert_eq!(parts.len(), answers.len());
    let mut out = Output::default();
    let context = ComposeContext { now: START, server: &support::View, connection: 7, peer: "", local: "" };
    for (part, answer) in parts.iter().zip(answers) {
        session.compose(part.reply, &[], part.echo, answer, &context, &mut out);
    }
    String::from_utf8_lossy(out.tail()).into_owned()
}

fn session() -> Session {
    Session::new(Some(Protocol::Resp), Port::Common)
}

const MOVED: Answer<'static> = Answer::Moved { slot: 42, shard: 1, epoch: 1 };
const BUSY: Answer<'static> = Answer::Busy { limit: "max-mailbox" };
const MISS: Answer<'static> = Answer::Outcome(Outcome::Miss);

fn refused(refusal: Refusal) -> Answer<'static> {
    Answer::Outcome(Outcome::Refused(refusal))
}

#[test]
fn a_slot_that_is_elsewhere_is_pointed_to() {
    let moved = "-MOVED 42 127.0.0.1:7201\r\n";
    let mut session = session();
    assert_eq!(answered(&mut session, &["GET", "k"], &[MOVED]), moved);
    assert_eq!(answered(&mut session, &["SET", "k", "v"], &[MOVED]), moved);
    assert_eq!(answered(&mut session, &["MGET", "a", "b"], &[MOVED, MOVED]), moved);
    assert_eq!(answered(&mut session, &["DEL", "a", "b"], &[MISS, MOVED]), moved);
    assert_eq!(answered(&mut session, &["MSET", "a", "1", "b", "2"], &[MOVED, MOVED]), moved);
}

#[test]
fn a_failure_of_one_key_does_not_leak_into_the_next_command() {
    let mut session = session();
    let busy = "-ERR busy: limit --max-mailbox reached\r\n";
    assert_eq!(answered(&mut session, &["MGET", "a", "b"], &[BUSY, MISS]), busy);
    assert_eq!(answered(&mut session, &["MGET", "a", "b"], &[MISS, BUSY]), format!("*2\r\n$-1\r\n{busy}"));
    assert_eq!(answered(&mut session, &["MGET", "a", "b"], &[MISS, MISS]), "*2\r\n$-1\r\n$-1\r\n");
    assert_eq!(answered(&mut session, &["DEL", "a", "b"], &[BUSY, MISS]), busy);
    assert_eq!(answered(&mut session, &["DEL", "a", "b"], &[MISS, MISS]), ":0\r\n");
}

#[test]
fn refusals_are_said_in_the_words_of_the_command() {
    let mut session = session();
    let table: [(&[&str], Refusal, &str); 8] = [
        (&["SET", "k", "v"], Refusal::OutOfMemory, "OOM command not allowed when used memory > 'maxmemory'."),
        (
            &["APPEND", "k", "v"],
            Refusal::ValueTooLarge,
            "ERR string exceeds maximum allowed size (--max-value)",
        ),
        (&["SET", "k", "v"], Refusal::KeyTooLarge, "ERR key longer than --max-key"),
        (&["INCR", "k"], Refusal::NotANumber, "ERR value is not an integer or out of range"),
        (&["INCR", "k"], Refusal::Overflow, "ERR increment or decrement would overflow"),
        (&["INCRBYFLOAT", "k", "1"], Refusal::NotANumber, "ERR value is not a valid float"),
        (&["INCRBYFLOAT", "k", "1"], Refusal::Overflow, "ERR increment would produce NaN or Infinity"),
        (
            &["EXPIRE", "k", "1"],
            Refusal::OutOfMemory,
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
    ];
    for (request, refusal, words) in table {
        assert_eq!(answered(&mut session, request, &[refused(refusal)]), format!("-{words}\r\n"));
    }
    let unknown = answered(&mut session, &["GET", "k"], &[Answer::OutcomeUnknown]);
    assert_eq!(unknown, "-ERR outcome unknown\r\n");
}

#[test]
fn scan_gives_the_keys_that_match() {
    let mut keys = Vec::new();
    for key in ["user:1", "user:2", "", "other"] {
        keys.extend_from_slice(&(key.len() as u32).to_le_bytes());
        keys.extend_from_slice(key.as_bytes());
    }
    let scanned = Answer::Scanned { cursor: 7, keys: &keys };
    let mut session = session();
    let all = answered(&mut session, &["SCAN", "0"], &[scanned]);
    assert_eq!(all, "*2\r\n$1\r\n7\r\n*4\r\n$6\r\nuser:1\r\n$6\r\nuser:2\r\n$0\r\n\r\n$5\r\nother\r\n");
    let scanned = Answer::Scanned { cursor: 0, keys: &keys };
    let some = answered(&mut session, &["SCAN", "7", "match", "user:*", "COUNT", "5"], &[scanned]);
    assert_eq!(some, "*2\r\n$1\r\n0\r\n*2\r\n$6\r\nuser:1\r\n$6\r\nuser:2\r\n");
    let scanned = Answer::Scanned { cursor: 0, keys: &keys };
    let none = answered(&mut session, &["SCAN", "0", "TYPE", "list"], &[scanned]);
    assert_eq!(none, "*2\r\n$1\r\n0\r\n*0\r\n");
}

/// Once such a pattern held a shard for seconds, as each key of a step was looked at for as long as it took, and twice.
#[test]
fn a_pattern_that_takes_too_long_is_refused() {
    let key = [b'a'; 4000];
    let keys = [&(key.len() as u32).to_le_bytes()[..], &key].concat().repeat(16);
    let pattern = format!("*{}b", "a".repeat(2000));
    let refused = "-ERR the pattern takes more than 1048576 steps\r\n";
    let scanned = Answer::Scanned { cursor: 7, keys: &keys };
    assert_eq!(answered(&mut session(), &["SCAN", "0", "MATCH", &pattern], &[scanned]), refused);
    let scanned = Answer::Scanned { cursor: 7, keys: &keys };
    let usual = answered(&mut session(), &["SCAN", "0", "MATCH", "*b*"], &[scanned]);
    assert_eq!(usual, "*2\r\n$1\r\n7\r\n*0\r\n");
    let pattern = format!("*[{}]", "x".repeat(1 << 20));
    let list = ["COMMAND", "LIST", "FILTERBY", "PATTERN", &pattern];
    let mut session = session();
    let mut connection = connection();
    connection.limits.frame_bytes_max = 2 << 20;
    assert_eq!(connection.send(&array(&list), &mut Model::default(), START), refused.as_bytes());
    assert!(
        answered(&mut session, &["COMMAND", "LIST", "FILTERBY", "PATTERN", "g?t"], &[Answer::Local])
            .contains("get")
    );
}

/// Once a request of 600 KB was answered with ten megabytes.
#[test]
fn what_command_tells_of_names_is_bounded() {
    let many = |count: usize| [&["COMMAND", "INFO"][..], &vec!["get"; count]].concat();
    let well = answered(&mut session(), &many(1000), &[Answer::Local]);
    assert!(well.starts_with("*1000\r\n"));
    let refused = answered(&mut session(), &many(1001), &[Answer::Local]);
    assert_eq!(refused, "-ERR more than 1000 names in one command\r\n");
}

#[test]
fn what_the_server_says_of_itself_is_well_formed() {
    let table: [(&[&str], &str); 4] = [
        (&["INFO"], "redis_version:7.0.15\r\n"),
        (&["INFO", "stats", "keyspace"], "keyspace_hits:4\r\n"),
        (&["COMMAND"], "$6\r\nincrby\r\n:3\r\n"),
        (&["COMMAND", "DOCS", "get"], "$6\r\nstring\r\n"),
    ];
    for version in ["2", "3"] {
        let mut session = session();
        answered(&mut session, &["HELLO", version], &[Answer::Local]);
        for (request, part) in table {
            let answer = answered(&mut session, request, &[Answer::Local]);
            assert!(answer.contains(part), "{request:?}: {answer}");
            match parse(answer.as_bytes()) {
                Parsed::Complete { consumed, .. } => assert_eq!(consumed, answer.len(), "{request:?}"),
                other => panic!("{request:?}: {other:?}"),
            }
        }
    }
    let stats = answered(&mut session(), &["INFO", "stats"], &[Answer::Local]);
    assert!(!stats.contains("redis_version"));
}

#[test]
fn a_request_in_drips_asks_for_as_much_as_it_lacks() {
    let words: Vec<String> = (0..1000).map(|number| format!("key:{number:04}")).collect();
    let mut request: Vec<&str> = vec!["MGET"];
    request.extend(words.iter().map(String::as_str));
    let input = array(&request);
    let mut session = session();
    let scratch = Scratch::default();
    let (mut have, mut looks) = (1, 0);
    loop {
        let mut parts = Vec::new();
        let parsed = session.parse(&input[..have], &scratch, START, &support::LIMITS, &mut parts, 1000);
        looks += 1;
        if parsed.consumed > 0 {
            assert_eq!((parsed.consumed, parts.len()), (input.len(), 1000));
            break;
        }
        assert!(parsed.missing > 0 && have + parsed.missing <= input.len());
        have += parsed.missing;
    }
    // A few looks for each argument, none for a byte that tells nothing.
    assert!(looks <= 4 * 1001, "{looks}");
}

#[test]
fn a_client_that_leaves_within_a_value_leaves_nothing_behind() {
    let mut store = support::shard(START);
    let request = array(&["SET", "k", &"v".repeat(100_000)]);
    let mut leaver = connection();
    assert_eq!(leaver.send(&request[..50_000], &mut store, START), b"");
    assert_eq!(leaver.buffered(), 0, "a value under way is not buffered");
    assert_eq!(connection().send(&array(&["GET", "k"]), &mut store, START), b"$-1\r\n");
}

/// Once a range waited in the connection's memory until all of it had come.
#[test]
fn a_long_range_is_received_into_the_shard_slice_by_slice() {
    let mut shard = support::shard(START);
    let mut conn = connection();
    let len = 1 << 19;
    let head = format!("*4\r\n$8\r\nSETRANGE\r\n$1\r\nk\r\n$1\r\n5\r\n${len}\r\n");
    assert_eq!(conn.send(head.as_bytes(), &mut shard, START), b"");
    assert_eq!(conn.send(&vec![b'v'; len / 2], &mut shard, START), b"");
    assert!(shard.held().1 >= len as u64 && conn.buffered() < 1000);
    assert_eq!(conn.send(&vec![b'v'; len / 2], &mut shard, START), b"");
    assert_eq!(conn.send(b"\r\n", &mut shard, START), format!(":{}\r\n", len + 5).as_bytes());
    assert_eq!(shard.held().1, 0);
}

fn rough_requests() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => proptest::sample::select(vec![
            "GET", "SET", "DEL", "MGET", "MSET", "INCR", "APPEND", "SETEX", "GETRANGE", "SETRANGE", "PING", "EXPIRE",
            "TTL", "k", "l", "m", "1", "-1", "100", "EX", "NX", "XX", "GET", "", "HELLO", "3", "FOO", "QUIT",
            "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "PUBSUB", "NUMSUB", "CHANNELS", "RESET", "2",
            "MULTI", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SELECT", "RESET", "RENAME", "COPY", "MOVE", "MSETNX",
            "AUTH", "default", "EVAL", "EVALSHA", "SCRIPT", "LOAD", "return 1", "0", "BITOP", "AND", "NOT", "DIFF", "LCS", "IDX",
            "LEN", "MINMATCHLEN", "MSETEX", "SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITFIELD", "u8", "#1", "i64", "OVERFLOW",
            "INCRBY", "DUMP", "RESTORE", "REPLACE", "GETEX", "GETDEL", "IFEQ", "DELIFEQ", "CLIENT", "TRACKING", "ON", "OFF", "BCAST",
            "PREFIX", "OPTIN", "CACHING", "YES", "TRACKINGINFO", "COMMAND", "GETKEYS",
        ]).prop_map(|word| word.as_bytes().to_vec()),
        1 => (0usize..200).prop_map(|len| vec![b'v'; len]),
        1 => proptest::sample::select(vec![
            &b"\x00\x03abc\n\x00\xd9\xac0=Ar\xa2\xe2"[..], b"\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb",
            b"\x00\xc3\t@d\x01xx\xe0W\x00\x01xx\n\x00]\xb7\xf6c\xbb\x08b_", b"\x00\x03abd\n\x00\xd9\xac0=Ar\xa2\xe2",
        ]).prop_map(<[u8]>::to_vec),
    ];
    let request = prop_oneof![
        8 => proptest::collection::vec(word.clone(), 1..6).prop_map(|words| {
            let mut bytes = Vec::new();
            torc_proto::resp::compose::request(&mut bytes, &words);
            bytes
        }),
        2 => proptest::collection::vec(word, 1..5).prop_map(|words| [words.join(&b' '), b"\r\n".to_vec()].concat()),
        1 => proptest::collection::vec(any::<u8>(), 1..8),
        1 => proptest::sample::select(vec![
            &b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n"[..], b"*2\r\n", b"$3\r\n", b"*1\r\n$999\r\n", b"\r\n",
        ]).prop_map(<[u8]>::to_vec),
    ];
    proptest::collection::vec(request, 1..12).prop_map(|requests| requests.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// The answers do not depend on how the input is cut, nor on what executes the commands.
    #[test]
    fn answers_are_the_same_however_the_input_is_cut(
        input in rough_requests(),
        cuts in proptest::collection::vec(1usize..40, 1..20),
    ) {
        // Small limits, so that values are streamed and refused.
        let limits = Limits { value_bytes_inline: 60, value_bytes_max: 150, key_bytes_max: 20, ..support::LIMITS };
        let mut whole = connection();
        whole.limits = limits;
        let mut model = Model::default();
        let expected = whole.send(&input, &mut model, START);
        let mut drip = connection();
        drip.limits = limits;
        let mut store = Model::default();
        let mut received = Vec::new();
        let mut rest = &input[..];
        for len in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*len).min(rest.len()));
            received.extend_from_slice(&drip.send(piece, &mut store, START));
            rest = behind;
        }
        prop_assert_eq!(
            received.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{}", input.escape_ascii()
        );
        prop_assert_eq!(whole.closed, drip.closed);
        replies_are_well_formed(&expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// With limits that most requests break, answers are still replies, and nothing is kept that was refused.
    #[test]
    fn limits_that_are_always_met_do_no_harm(
        input in rough_requests(),
        piece in 1usize..60,
        frame_bytes_max in 10usize..120,
        arguments_max in 1usize..6,
    ) {
        let mut connection = connection();
        connection.limits = Limits {
            value_bytes_inline: 10,
            value_bytes_max: 50,
            key_bytes_max: 3,
            frame_bytes_max,
            arguments_max,
            databases: 16,
            makes_durable: false,
            has_password: false,
        debug_commands: false,
        };
        let mut model = Model::default();
        for piece in input.chunks(piece) {
            replies_are_well_formed(&connection.send(piece, &mut model, START));
            prop_assert!(connection.closed || connection.buffered() <= 2 * frame_bytes_max + 50 + 60);
        }
    }
}

fn replies_are_well_formed(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match parse(bytes) {
            Parsed::Complete { consumed, .. } => bytes = &bytes[consumed..],
            other => panic!("{other:?}: {}", bytes.escape_ascii()),
        }
    }
}
