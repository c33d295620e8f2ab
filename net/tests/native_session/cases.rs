//! Each clause's promise as bytes in and bytes out, over whatever store the module around this one gives.
//!
//! Method: requests are composed with the codec, whose bytes have vectors of their own; answers are parsed and compared.

use super::Backing;
use crate::support::{Connection, LIMITS};
use proptest::prelude::*;
use torc_net::session::{Protocol, native::CREDIT};
use torc_proto::native::extension::ItemMeta;
use torc_proto::native::frame::compose_request;
use torc_proto::native::{
    Answer, AnswerHeader, Change, Expiry, FrameLimits, Hello, HelloAnswer, Initial, ItemFacts, MAGIC, Op,
    Options, Status, Topology, flags, keys, marks,
};

const NOW: u64 = 1_790_000_000_000;

/// One answer, owned.
#[derive(Debug, PartialEq)]
struct Got {
    header: AnswerHeader,
    facts: ItemFacts,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Got {
    fn status(&self) -> Status {
        self.header.status()
    }
}

fn answers(mut bytes: &[u8]) -> Vec<Got> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let (answer, consumed) =
            Answer::parse(bytes, &FrameLimits { value_bytes_max: u32::MAX }).expect("whole answers");
        answers.push(Got {
            header: answer.header,
            facts: ItemFacts::parse(answer.extensions).expect("known extensions"),
            key: answer.key.to_vec(),
            value: answer.value.to_vec(),
        });
        bytes = &bytes[consumed..];
    }
    answers
}

/// A connection with the store behind it.
struct Client {
    connection: Connection,
    store: Backing,
    now: u64,
    id: u32,
}

impl Client {
    fn new() -> Client {
        Client { connection: Connection::new(None), store: super::backing(NOW), now: NOW, id: 0 }
    }

    fn raw(&mut self, bytes: &[u8]) -> Vec<Got> {
        answers(&self.connection.send(bytes, &mut self.store, self.now))
    }

    fn all(&mut self, op: Op, flags: u16, options: &Options, key: &[u8], value: &[u8]) -> Vec<Got> {
        self.id += 1;
        let bytes = request(op, flags, self.id, options, key, value);
        self.raw(&bytes)
    }

    /// The one answer to one request.
    fn ask(&mut self, op: Op, flags: u16, options: &Options, key: &[u8], value: &[u8]) -> Got {
        let mut all = self.all(op, flags, options, key, value);
        assert_eq!(all.len(), 1, "{all:?}");
        let got = all.remove(0);
        assert_eq!((got.header.id, got.header.op), (self.id, op as u8));
        got
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Got {
        self.ask(Op::Set, 0, &Options::NONE, key, value)
    }

    fn get(&mut self, key: &[u8]) -> Got {
        self.ask(Op::Get, 0, &Options::NONE, key, b"")
    }

    fn hello(&mut self, session: u64, boot_id: u64) -> Got {
        let mut value = Vec::new();
        Hello { version_min: 1, version_max: 1, features: 0, session, boot_id }.compose(&mut value);
        self.ask(Op::Hello, 0, &Options::NONE, b"tests", &value)
    }
}

fn request(op: Op, flags: u16, id: u32, options: &Options, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compose_request(&mut bytes, op, flags, id, options, key, value).expect("lengths that fit");
    bytes
}

/// [N-GEN-3], [N-GET-1], [N-SET-5]
#[test]
fn a_plain_hit_is_24_bytes_and_the_value() {
    let mut client = Client::new();
    let stored = client.set(b"k", b"value");
    assert_eq!((stored.status(), stored.value.len()), (Status::Ok, 0));
    let bytes = request(Op::Get, 0, 9, &Options::NONE, b"k", b"");
    let raw = client.connection.send(&bytes, &mut client.store, NOW);
    assert_eq!(raw.len(), 24 + 5);
    let hit = &answers(&raw)[0];
    assert_eq!((hit.status(), &hit.value[..], hit.header.id), (Status::Ok, &b"value"[..], 9));
    assert_eq!(hit.header.token, stored.header.token);
    assert_eq!(client.get(b"nothing").status(), Status::Miss);
}

/// [N-EXT-8], [N-GET-2], [N-EXT-5], [N-ANS-5], [N-GEN-2]
#[test]
fn flags_expiry_and_meta_come_back() {
    let mut client = Client::new();
    let options = Options { client_flags: Some(77), expiry: Some(Expiry::In(5000)), ..Options::NONE };
    client.ask(Op::Set, 0, &options, b"k", b"abc");
    assert_eq!(client.get(b"k").facts, ItemFacts { client_flags: 77, ..ItemFacts::default() });
    client.now += 1000;
    let asked = flags::WANT_META | flags::NO_VALUE | flags::RETURN_KEY | flags::PEEK;
    let got = client.ask(Op::Get, asked, &Options::NONE, b"k", b"");
    let item = got.facts.item.expect("want-meta");
    assert_eq!((item.remaining_ms, item.value_bytes), (Some(4000), 3));
    assert_eq!((&got.key[..], &got.value[..], got.facts.client_flags), (&b"k"[..], &b""[..], 77));
    assert_eq!(got.header.marks & marks::FETCHED, marks::FETCHED);
    let touch = Options { expiry: Some(Expiry::Never), ..Options::NONE };
    let touched = client.ask(Op::Get, flags::WANT_META, &touch, b"k", b"");
    assert!(matches!(touched.facts.item, Some(ItemMeta { remaining_ms: None, .. })));
    let gone = Options { expiry: Some(Expiry::At(client.now)), ..Options::NONE };
    client.ask(Op::Expire, 0, &gone, b"k", b"");
    assert_eq!(client.get(b"k").status(), Status::Miss);
}

/// [N-SET-2], [N-SET-3], [N-SET-4]
#[test]
fn conditions_of_writes_hold() {
    let mut client = Client::new();
    let none = Options::NONE;
    assert_eq!(client.ask(Op::Replace, 0, &none, b"k", b"1").status(), Status::NotStored);
    assert_eq!(client.ask(Op::Append, 0, &none, b"k", b"1").status(), Status::NotStored);
    assert_eq!(client.ask(Op::Add, 0, &none, b"k", b"b").status(), Status::Ok);
    assert_eq!(client.ask(Op::Add, 0, &none, b"k", b"x").status(), Status::NotStored);
    client.ask(Op::Append, 0, &none, b"k", b"c");
    let token = client.ask(Op::Prepend, 0, &none, b"k", b"a").header.token;
    assert_eq!(client.get(b"k").value, b"abc");
    let compare = |token| Options { compare: Some(token), token: Some(50), ..Options::NONE };
    assert_eq!(client.ask(Op::Set, 0, &compare(token - 1), b"k", b"x").status(), Status::Exists);
    assert_eq!(client.ask(Op::Set, 0, &compare(1), b"nothing", b"x").status(), Status::Miss);
    let swapped = client.ask(Op::Set, 0, &compare(token), b"k", b"new");
    assert_eq!((swapped.status(), swapped.header.token), (Status::Ok, 50));
    let late = client.ask(Op::Set, flags::INVALIDATE, &compare(49), b"k", b"older");
    assert_eq!(late.status(), Status::Ok);
    assert_eq!(client.get(b"k").header.marks & marks::STALE, marks::STALE);
    let vivify = Options { vivify: Some(Expiry::In(9)), ..Options::NONE };
    assert_eq!(client.ask(Op::Append, 0, &vivify, b"fresh", b"1").status(), Status::Ok);
}

/// [N-SET-5], [N-DEL-1], [N-ANS-5]
#[test]
fn old_values_come_back_when_asked_for() {
    let mut client = Client::new();
    let options = Options { client_flags: Some(5), ..Options::NONE };
    let token = client.ask(Op::Set, 0, &options, b"k", b"first").header.token;
    let set = client.ask(Op::Set, flags::WANT_OLD, &Options::NONE, b"k", b"second");
    assert_eq!((&set.value[..], set.facts.client_flags), (&b"first"[..], 5));
    assert!(set.header.marks & marks::OLD != 0 && set.header.token > token);
    let deleted = client.ask(Op::Delete, flags::WANT_OLD, &Options::NONE, b"k", b"");
    assert_eq!((&deleted.value[..], deleted.header.token), (&b"second"[..], set.header.token));
    assert_eq!(client.ask(Op::Delete, 0, &Options::NONE, b"k", b"").status(), Status::Miss);
}

/// [N-GET-3], [N-GET-4], [N-GET-5], [N-DEL-2]
#[test]
fn leases_go_to_one_reader() {
    let mut client = Client::new();
    let vivify = Options { vivify: Some(Expiry::In(30_000)), ..Options::NONE };
    let lease = |got: &Got| got.header.marks & (marks::WON | marks::GIVEN);
    assert_eq!(lease(&client.ask(Op::Get, 0, &vivify, b"k", b"")), marks::WON);
    assert_eq!(lease(&client.ask(Op::Get, 0, &vivify, b"k", b"")), marks::GIVEN);
    assert_eq!(client.get(b"k").status(), Status::Miss);
    client.set(b"k", b"fetched");
    client.ask(Op::Delete, flags::STALE, &Options::NONE, b"k", b"");
    let plain = client.get(b"k");
    assert_eq!((plain.header.marks & marks::STALE, &plain.value[..]), (marks::STALE, &b"fetched"[..]));
    let first = client.ask(Op::Get, flags::LEASES, &Options::NONE, b"k", b"");
    let second = client.ask(Op::Get, flags::LEASES, &Options::NONE, b"k", b"");
    assert_eq!((lease(&first), lease(&second)), (marks::WON, marks::GIVEN));
    let expiring = Options { expiry: Some(Expiry::In(100)), ..Options::NONE };
    client.ask(Op::Set, 0, &expiring, b"k", b"new");
    let recache = Options { recache_below_ms: Some(1000), ..Options::NONE };
    assert_eq!(lease(&client.ask(Op::Get, 0, &recache, b"k", b"")), marks::WON);
}

/// [N-SET-6]
#[test]
fn a_placeholder_is_seen_only_by_who_compares() {
    let mut client = Client::new();
    let vivify = Options { vivify: Some(Expiry::In(30_000)), ..Options::NONE };
    let gone = Options { expiry: Some(Expiry::In(0)), ..Options::NONE };
    let token = client.ask(Op::Get, 0, &vivify, b"k", b"").header.token;
    assert_eq!(client.ask(Op::Replace, 0, &Options::NONE, b"k", b"v").status(), Status::NotStored);
    assert_eq!(client.ask(Op::Append, 0, &Options::NONE, b"k", b"v").status(), Status::NotStored);
    assert_eq!(client.ask(Op::Expire, 0, &gone, b"k", b"").status(), Status::Miss);
    let compare = Options { compare: Some(token), ..Options::NONE };
    assert_eq!(client.ask(Op::Set, 0, &compare, b"k", b"fetched").status(), Status::Ok);
    assert_eq!(client.ask(Op::Set, 0, &compare, b"k", b"too late").status(), Status::Exists);
    assert_eq!(client.get(b"k").value, b"fetched");
    client.ask(Op::Get, 0, &vivify, b"other", b"");
    assert_eq!(client.ask(Op::Add, 0, &Options::NONE, b"other", b"v").status(), Status::Ok);
}

/// [N-SET-7]
#[test]
fn a_stale_value_is_not_joined() {
    let mut client = Client::new();
    client.set(b"k", b"new");
    let compare = Options { compare: Some(1), ..Options::NONE };
    assert_eq!(client.ask(Op::Append, flags::INVALIDATE, &compare, b"k", b"old").status(), Status::Exists);
    assert_eq!(client.ask(Op::Set, flags::INVALIDATE, &compare, b"k", b"old").status(), Status::Ok);
    assert_eq!(client.get(b"k").value, b"old");
}

/// [N-DEL-3]
#[test]
fn a_deletion_ends_a_lease_that_it_cannot_see() {
    let mut client = Client::new();
    let vivify = Options { vivify: Some(Expiry::In(30_000)), ..Options::NONE };
    for flags in [0, flags::STALE, flags::VALUE_ONLY, flags::WANT_OLD] {
        let token = client.ask(Op::Get, 0, &vivify, b"k", b"").header.token;
        assert_eq!(client.ask(Op::Delete, flags, &Options::NONE, b"k", b"").status(), Status::Miss);
        let compare = Options { compare: Some(token), ..Options::NONE };
        assert_eq!(client.ask(Op::Set, 0, &compare, b"k", b"stale").status(), Status::Miss);
    }
}

/// [N-EXP-1]
#[test]
fn conditions_of_expire_hold() {
    let mut client = Client::new();
    client.set(b"k", b"v");
    let mut expire = |condition: u16, expiry| {
        let options = Options { expiry, ..Options::NONE };
        client.ask(Op::Expire, condition << flags::CONDITION_SHIFT, &options, b"k", b"").status()
    };
    assert_eq!(expire(2, Some(Expiry::In(10))), Status::Untouched);
    assert_eq!(expire(1, Some(Expiry::In(1000))), Status::Ok);
    assert_eq!(expire(3, Some(Expiry::In(10))), Status::Untouched);
    assert_eq!(expire(6, Some(Expiry::In(10))), Status::Ok);
    assert_eq!(expire(5, Some(Expiry::In(20))), Status::Ok);
    assert_eq!(expire(0, None), Status::BadArgument);
    assert_eq!(expire(7, Some(Expiry::In(10))), Status::BadArgument);
}

/// [N-NUM-1], [N-NUM-2], [N-NUM-3]
#[test]
fn counters_count_in_three_types() {
    let mut client = Client::new();
    let initial =
        |number| Options { initial: Some(Initial { number, expiry: Expiry::Never }), ..Options::NONE };
    let mut count = |op, key: &[u8], step: u64, options: &Options| {
        let got = client.ask(op, 0, options, key, &step.to_le_bytes());
        (got.status(), got.value.try_into().map_or(0, u64::from_le_bytes))
    };
    assert_eq!(count(Op::Increment, b"u", 1, &Options::NONE).0, Status::Miss);
    assert_eq!(count(Op::Increment, b"u", 1, &initial(u64::MAX)), (Status::Ok, u64::MAX));
    assert_eq!(count(Op::Increment, b"u", 3, &Options::NONE), (Status::Ok, 2));
    assert_eq!(count(Op::Decrement, b"u", 9, &Options::NONE), (Status::Ok, 0));
    assert_eq!(count(Op::AddSigned, b"i", 1, &initial(i64::MAX as u64)).0, Status::Ok);
    assert_eq!(count(Op::AddSigned, b"i", 1, &Options::NONE).0, Status::Overflow);
    assert_eq!(count(Op::AddSigned, b"i", -2_i64 as u64, &Options::NONE), (Status::Ok, i64::MAX as u64 - 2));
    assert_eq!(count(Op::AddFloat, b"f", 0, &initial(1.5_f64.to_bits())), (Status::Ok, 1.5_f64.to_bits()));
    assert_eq!(
        count(Op::AddFloat, b"f", 0.25_f64.to_bits(), &Options::NONE),
        (Status::Ok, 1.75_f64.to_bits())
    );
    assert_eq!(count(Op::AddFloat, b"f", f64::NAN.to_bits(), &Options::NONE).0, Status::BadArgument);
    client.set(b"t", b"text");
    let got = client.ask(Op::Increment, 0, &Options::NONE, b"t", &1_u64.to_le_bytes());
    assert_eq!(got.status(), Status::NotANumber);
    assert_eq!(client.ask(Op::Increment, 0, &Options::NONE, b"t", b"1").status(), Status::BadArgument);
    assert_eq!(client.get(b"f").value, b"1.75");
}

/// [N-NUM-4]
#[test]
fn counters_keep_their_expiry_unless_told_and_compare_tokens() {
    let mut client = Client::new();
    let minute = Options { expiry: Some(Expiry::In(60_000)), ..Options::NONE };
    let token = client.ask(Op::Set, 0, &minute, b"n", b"1").header.token;
    let step = 1_u64.to_le_bytes();
    let kept = client.ask(Op::Increment, flags::WANT_META, &Options::NONE, b"n", &step);
    assert_eq!(kept.facts.item.unwrap().remaining_ms, Some(60_000));
    let hour = Options { expiry: Some(Expiry::In(3_600_000)), token: Some(77), ..Options::NONE };
    let changed = client.ask(Op::AddSigned, flags::WANT_META, &hour, b"n", &step);
    assert_eq!((changed.facts.item.unwrap().remaining_ms, changed.header.token), (Some(3_600_000), 77));
    let compare = |token| Options { compare: Some(token), ..Options::NONE };
    assert_eq!(client.ask(Op::Decrement, 0, &compare(token), b"n", &step).status(), Status::Exists);
    assert_eq!(client.ask(Op::Decrement, 0, &compare(77), b"n", &step).status(), Status::Ok);
    assert_eq!(client.get(b"n").value, b"2");
}

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

fn keys_value(list: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::new();
    for key in list {
        keys::push_key(&mut value, key).expect("short keys");
    }
    value
}

/// [N-MGET-1], [N-MGET-2], [N-MGET-3]
#[test]
fn a_multi_get_answers_each_key_under_its_own_id() {
    let mut client = Client::new();
    client.set(b"a", b"1");
    client.set(b"c", b"3");
    let long = vec![b'x'; 251];
    client.id = u32::MAX - 2;
    let value = keys_value(&[b"a", b"b", b"c", &long, b"e"]);
    let got = client.all(Op::MultiGet, 0, &Options::NONE, b"", &value);
    let told: Vec<_> = got.iter().map(|got| (got.header.id, got.status())).collect();
    assert_eq!(
        told,
        [
            (u32::MAX - 1, Status::Ok),
            (u32::MAX, Status::Miss),
            (0, Status::Ok),
            (1, Status::KeyTooLong),
            (2, Status::Miss)
        ]
    );
    assert!(got.iter().all(|got| got.header.op == Op::MultiGet as u8));
    client.id = 10;
    let got = client.all(Op::MultiGet, flags::QUIET_MISS, &Options::NONE, b"", &value);
    assert_eq!(got.iter().map(|got| got.header.id).collect::<Vec<_>>(), [11, 13, 14, 15]);
    for bad in [&b""[..], b"\x05\0abc", &keys_value(&[&b"k"[..]; 1025])] {
        let got = client.ask(Op::MultiGet, 0, &Options::NONE, b"", bad);
        assert_eq!(got.status(), Status::BadArgument);
    }
}

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

/// [N-FLUSH-1]
#[test]
fn a_flush_is_done_at_once_or_at_its_time() {
    let mut client = Client::new();
    client.set(b"k", b"v");
    let later = Options { expiry: Some(Expiry::In(1000)), ..Options::NONE };
    assert_eq!(client.ask(Op::Flush, 0, &later, b"", b"").status(), Status::Ok);
    assert_eq!(client.get(b"k").status(), Status::Ok);
    client.now += 1000;
    assert_eq!(client.get(b"k").status(), Status::Miss);
    client.set(b"k", b"v");
    assert_eq!(client.all(Op::Flush, flags::QUIET_OK, &Options::NONE, b"", b""), []);
    assert_eq!(client.get(b"k").status(), Status::Miss);
    let never = Options { expiry: Some(Expiry::Never), ..Options::NONE };
    assert_eq!(client.ask(Op::Flush, 0, &never, b"", b"").status(), Status::BadArgument);
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

/// [N-GET-6]
#[test]
fn a_placeholder_has_the_token_that_its_reader_gives() {
    let mut client = Client::new();
    let options = Options { vivify: Some(Expiry::Never), token: Some(77), ..Options::NONE };
    let won = client.ask(Op::Get, 0, &options, b"k", b"");
    assert_eq!((won.status(), won.header.marks & marks::WON, won.header.token), (Status::Ok, marks::WON, 77));
    let given = client.ask(Op::Get, 0, &Options { token: Some(78), ..options }, b"k", b"");
    assert_eq!((given.header.marks & marks::GIVEN, given.header.token), (marks::GIVEN, 77));
    let compare = |token| Options { compare: Some(token), ..Options::NONE };
    assert_eq!(client.ask(Op::Set, 0, &compare(78), b"k", b"x").status(), Status::Exists);
    assert_eq!(client.ask(Op::Set, 0, &compare(77), b"k", b"fetched").status(), Status::Ok);
    assert_eq!(client.get(b"k").value, b"fetched");
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
    let mut store = super::backing(NOW);
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
