//! Reads and writes, with their conditions and options.

use super::*;

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
