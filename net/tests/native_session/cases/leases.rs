//! Leases, placeholders and stale values.

use super::*;

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
