//! Commands of several keys are handed out in slices: whatever the size of a slice, and however the input is cut, the
//! answers are those of the whole.

mod support;

use support::{Connection, LIMITS, Store, model::Model};
use torc_engine::command::{Command, Op as Do, Outcome, Read};
use torc_net::session::{Parsed, Part, Port, Protocol, Scratch, Session, Work};
use torc_proto::native::frame::compose_request;
use torc_proto::native::keys::push_key;
use torc_proto::native::{Hello, Op, Options, flags};

const NOW: u64 = 1_000_000_000;
const SLICES: [usize; 4] = [1, 2, 3, 128];

/// What is answered to `input`, sent in the pieces that `cut` makes of it.
fn answers(protocol: Protocol, parts_max: usize, input: &[u8], cut: impl Fn(&[u8]) -> Vec<&[u8]>) -> Vec<u8> {
    let mut connection = Connection::new(Some(protocol));
    connection.parts_max = parts_max;
    let mut store = Model::default();
    let answers = cut(input).into_iter().flat_map(|piece| connection.send(piece, &mut store, NOW)).collect();
    assert_eq!(connection.buffered(), 0);
    answers
}

fn assert_the_same_in_slices(protocol: Protocol, input: &[u8]) {
    let whole = answers(protocol, usize::MAX, input, |input| vec![input]);
    for parts_max in SLICES {
        let sliced = answers(protocol, parts_max, input, |input| vec![input]);
        assert_eq!(support::shown(&sliced), support::shown(&whole), "{parts_max}");
        assert!(sliced == whole);
        for at in (0..input.len()).step_by(1 + input.len() / 300) {
            let cut = answers(protocol, parts_max, input, |input| vec![&input[..at], &input[at..]]);
            assert!(cut == whole, "{parts_max}, cut at {at}");
        }
    }
    if input.len() < 10_000 {
        let bytes = answers(protocol, 3, input, |input| input.chunks(1).collect());
        assert!(bytes == whole);
    }
}

fn array(words: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    torc_proto::resp::compose::request(&mut bytes, words);
    bytes
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{number}")).collect()
}

/// `name` with `count` keys, each with `value` behind it if there is one.
fn several(name: &str, count: usize, value: Option<&str>) -> Vec<u8> {
    let keys = keys(count);
    let mut words = vec![name];
    for key in &keys {
        words.push(key);
        words.extend(value);
    }
    array(&words)
}

#[test]
fn resp_commands() {
    let mut input = Vec::new();
    input.extend(array(&["SET", "key:1", "before"]));
    input.extend(several("MGET", 7, None));
    input.extend(several("MSET", 140, Some("value")));
    input.extend(several("MGET", 200, None));
    for name in ["EXISTS", "TOUCH", "DEL", "UNLINK"] {
        input.extend(several("MSET", 9, Some("v")));
        input.extend(several(name, 12, None));
        input.extend(array(&["PING"]));
    }
    input.extend(array(&["MGET", "key:20"]));
    input.extend(array(&["CLIENT", "REPLY", "SKIP"]));
    input.extend(several("MGET", 30, None));
    input.extend(several("MGET", 30, None));
    input.extend(array(&["HELLO", "3"]));
    input.extend(several("MGET", 12, None));
    assert_the_same_in_slices(Protocol::Resp, &input);
}

#[test]
fn inline_resp_commands() {
    let input = b"PING\r\nMSET a 1 b 2 c 3 'd d' 4\r\nmget a b c 'd d' e f\r\n\
        MSET \"a\\x31\" one \"b\\n\" \"t w o\" c \"thr\\\"ee\"\r\n\"mg\\x65t\" a1 \"b\\n\" c \"a\\x31\" x y\nmget \"a\\x31\" b\r\n\
        del a \"a\\x31\" 'it\\'s'\r\nexists a b c\r\nPING\r\n";
    assert_the_same_in_slices(Protocol::Resp, input);
    let answers = answers(Protocol::Resp, 1, input, |input| vec![input]);
    assert!(answers.windows(9).any(|bytes| bytes == b"t w o\r\n$6"), "{}", answers.escape_ascii());
}

#[test]
fn long_lines_of_keys() {
    let line = format!("mset {}\r\nmget {}\r\n", "k v ".repeat(400), "k \"k\\x6b\" ".repeat(400));
    assert_the_same_in_slices(Protocol::Resp, &[line.as_bytes(), b"GET k\r\n"].concat());
}

#[test]
fn long_values_of_mset() {
    let long = "l".repeat(LIMITS.value_bytes_inline + 1);
    let mut input = array(&["MSET", "a", "1", "b", &long, "c", "3", "d", &long]);
    input.extend(array(&["MGET", "a", "b", "c", "d"]));
    assert_the_same_in_slices(Protocol::Resp, &input);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_done() {
    let long_key = "k".repeat(LIMITS.key_bytes_max + 1);
    let long_value = "v".repeat(LIMITS.value_bytes_max as usize + 1);
    let wrong = [
        array(&["MSET", "a", "1", "b", "2", &long_key, "3"]),
        array(&["MSET", "a", "1", "b", "2", "c"]),
        array(&["MSET", "a", "1", "b", &long_value]),
        array(&["MGET", "a", "b", "c", &long_key]),
        format!("mset a 1 b 2 \"{long_key}\\x31\" 3\r\n").into_bytes(),
    ];
    for request in wrong {
        let input = [&request[..], &array(&["EXISTS", "a", "b", "c"])].concat();
        let answers = answers(Protocol::Resp, 1, &input, |input| vec![input]);
        let text = String::from_utf8_lossy(&answers);
        assert!(text.starts_with("-ERR ") && text.ends_with("\r\n:0\r\n"), "{text}");
        assert_eq!(text.matches("\r\n").count(), 2, "{text}");
    }
    let mut session = Session::new(Some(Protocol::Resp), Port::Shard);
    let (input, mut parts, scratch) = (array(&["DEL", "a", "b", "c"]), Vec::new(), Scratch::default());
    let parsed = session.parse(&input, &scratch, NOW, &LIMITS, &mut parts, 1);
    assert_eq!(parsed.consumed, input.len());
    assert!(matches!(parts[..], [Part { work: Work::Local, .. }]), "{parts:?}");
}

#[test]
fn memcache_retrievals() {
    let keys = keys(150).join(" ");
    let mut input = Vec::new();
    for number in (0..150).step_by(2) {
        input.extend(format!("set key:{number} 0 0 2\r\nv{}\r\n", number % 10).into_bytes());
    }
    for line in
        ["get KEYS", "gets KEYS", "gat 100 KEYS", "get a  b   key:2 ", "get  key:2", "mn", "get KEYS KEYS"]
    {
        input.extend(format!("{}\r\n", line.replace("KEYS", &keys)).into_bytes());
        input.extend(format!("{}\n", line.replace("KEYS", "key:3 key:4 x key:6")).into_bytes());
    }
    input.extend(format!("get key:2 key:4 {}\r\nget key:2 key:4\r\n", "k".repeat(251)).into_bytes());
    assert_the_same_in_slices(Protocol::Memcache, &input);
}

fn multi_get(id: u32, request_flags: u16, options: &Options, keys: &[&str]) -> Vec<u8> {
    let (mut value, mut frame) = (Vec::new(), Vec::new());
    keys.iter().for_each(|key| push_key(&mut value, key.as_bytes()).unwrap());
    compose_request(&mut frame, Op::MultiGet, request_flags, id, options, b"", &value).unwrap();
    frame
}

#[test]
fn native_multi_gets() {
    let mut input = Vec::new();
    for key in ["a", "c", "e"] {
        compose_request(&mut input, Op::Set, 0, 1, &Options::NONE, key.as_bytes(), b"value").unwrap();
    }
    let (all, long) = (keys(140), "k".repeat(LIMITS.key_bytes_max + 1));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for request_flags in [0, flags::QUIET_MISS, flags::RETURN_KEY | flags::WANT_META] {
        input.extend(multi_get(7, request_flags, &Options::NONE, &["a", "b", "c", "d", "e", "f"]));
        input.extend(multi_get(u32::MAX, request_flags, &Options::NONE, &["a", &long, "c", "", "x"]));
        input.extend(multi_get(100, request_flags, &Options::NONE, &all));
        input.extend(multi_get(500, request_flags, &Options::NONE, &["a"]));
        input.extend(multi_get(600, request_flags, &Options::NONE, &[]));
        compose_request(&mut input, Op::Ping, 0, 9, &Options::NONE, b"", b"between").unwrap();
    }
    assert_the_same_in_slices(Protocol::Native, &input);
}

/// [N-EXT-6]
#[test]
fn the_deadline_of_a_multi_get_holds_for_its_later_keys() {
    let options = Options { deadline_us: Some(2000), ..Options::NONE };
    let input = multi_get(7, 0, &options, &["a", "b", "c"]);
    let mut session = Session::new(Some(Protocol::Native), Port::Common);
    let scratch = Scratch::default();
    let mut at = 0;
    let mut turn = |now| {
        let mut parts = Vec::new();
        at += session.parse(&input[at..], &scratch, now, &LIMITS, &mut parts, 1).consumed;
        parts.pop().unwrap().work
    };
    assert!(matches!(turn(NOW), Work::Keyed(_)));
    assert!(matches!(turn(NOW + 2), Work::Keyed(_)));
    assert!(matches!(turn(NOW + 3), Work::Local));
    assert_eq!(at, input.len());
}

#[test]
fn a_slice_is_as_long_as_there_is_room() {
    let lines = (several("MGET", 1000, None), [b"get ", keys(1000).join(" ").as_bytes(), b"\r\n"].concat());
    for (protocol, input) in [(Protocol::Resp, &lines.0), (Protocol::Memcache, &lines.1)] {
        let mut session = Session::new(Some(protocol), Port::Common);
        let scratch = Scratch::default();
        let (mut at, mut handed_out) = (0, Vec::new());
        while at < input.len() {
            let mut parts = Vec::new();
            let parsed: Parsed = session.parse(&input[at..], &scratch, NOW, &LIMITS, &mut parts, 128);
            at += parsed.consumed;
            assert_eq!(session.is_within_request(), at < input.len());
            handed_out.push(parts.len());
        }
        assert_eq!(handed_out, [128, 128, 128, 128, 128, 128, 128, 104], "{protocol:?}");
    }
}

#[test]
fn a_command_in_slices_changes_what_the_whole_does() {
    let mut store = Model::default();
    let mut connection = Connection::new(Some(Protocol::Resp));
    connection.parts_max = 2;
    connection.send(&several("MSET", 5, Some("v")), &mut store, NOW);
    assert_eq!(connection.send(&several("DEL", 4, None), &mut store, NOW), b":4\r\n");
    for (key, there) in [("key:0", false), ("key:3", false), ("key:4", true)] {
        let get = torc_engine::command::Command {
            database: 0,
            key: key.as_bytes(),
            op: Do::Read(Default::default()),
        };
        assert_eq!(matches!(store.execute(&get, NOW), Outcome::Item(_)), there, "{key}");
    }
}

/// What a client is told, and whether it is let in, does not depend on how its bytes arrive; and none of them does anything before it is let in.
#[test]
fn passwords_are_taken_however_they_are_cut() {
    let mut hello = Vec::new();
    Hello { version_min: 1, version_max: 1, ..Hello::default() }.compose(&mut hello);
    Hello::compose_credentials(b"default", b"s3cret", &mut hello);
    let mut native = Vec::new();
    for (op, key, value) in
        [(Op::Hello, &b""[..], &hello[..24]), (Op::Hello, b"", &hello), (Op::Set, b"k", b"v")]
    {
        compose_request(&mut native, op, 0, 1, &Options::NONE, key, value).unwrap();
    }
    let streams: [(&[u8], bool); 6] = [
        (b"PING\r\nAUTH no\r\nAUTH s3cret\r\nSET k v\r\n", true),
        (b"*2\r\n$4\r\nAUTH\r\n$6\r\ns3cret\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", true),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$4\r\nAUTH\r\n$2\r\nno\r\nSET k v\r\n", false),
        (b"set a 0 0 14\r\ndefault s3cret\r\nset k 0 0 1\r\nv\r\n", true),
        (b"set k 0 0 10\r\ndefault no\r\nset k 0 0 1\r\nvx\r\n", false),
        (&native, true),
    ];
    for (stream, is_let_in) in streams {
        let told = |cuts: [usize; 2]| {
            let mut store = Model::default();
            let mut connection = Connection::locked(None);
            let [first, second] = cuts;
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            let answers: Vec<u8> =
                pieces.iter().flat_map(|piece| connection.send(piece, &mut store, NOW)).collect();
            let read = Command { database: 0, key: b"k", op: Do::Read(Read::default()) };
            (answers, matches!(store.execute(&read, NOW), Outcome::Item(_)))
        };
        let whole = told([0, 0]);
        assert_eq!(whole.1, is_let_in, "{}", stream.escape_ascii());
        for first in 0..stream.len() {
            for second in [first, first + 1, (first + stream.len()) / 2] {
                assert_eq!(told([first, second]), whole, "{} at {first}, {second}", stream.escape_ascii());
            }
        }
    }
}
