//! What a client may read, and what it may not, case by case; keys that are replaced ([N-RDMA-19]).

use super::*;
use torc_proto::native::{PairEnd, ReadablePiece};

const MEMORY: u64 = 4 << 20;

fn ready() -> (Network, Owner, Device, ReadEnd<Device>) {
    let (network, mut owner, client, _) = world(1, Weather::default(), MEMORY);
    owner.set(b"key", b"value");
    owner.get(b"key");
    owner.register();
    let mut end = end(&client, step);
    owner.give(&mut end).expect("it may read");
    (network, owner, client, end)
}

/// A connection of a client of its own.
fn another(conn: u64) -> Asker {
    Asker { conn, client: conn }
}

fn value() -> Get {
    Ok(Some(b"value".to_vec()))
}

#[test]
fn all_that_was_registered_before_the_first_asks_is_read() {
    let (_network, owner, _, mut end) = ready();
    assert_eq!(get(&mut end, b"key"), value());
    assert_eq!(get(&mut end, b"key"), value());
    assert_eq!(get(&mut end, b"none"), Ok(None));
    assert_eq!((end.counts().hits, end.counts().misses, end.remembered()), (2, 1, 1));
    assert_eq!(owner.pairs.read(), 1);
}

#[test]
fn keys_that_were_replaced_end_and_read_nothing_from_then_on() {
    let (_network, mut owner, client, mut reader) = ready();
    assert_eq!(get(&mut reader, b"key"), value());
    owner.replace_keys(true);
    owner.register();
    assert_eq!(get(&mut reader, b"key"), value(), "the shard holds them: it has not turned");
    owner.turn();
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Epoch), "readers are told before the keys end");
    assert!(!reader.is_broken() && reader.asks_at() <= Instant::now());
    owner.register();
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Gone));
    assert!(reader.is_broken());
    let mut other = end(&client, step);
    owner.give(&mut other).expect("it may read");
    assert_eq!(get(&mut other, b"key"), value());
    // Who asks in time goes on by the same queue pair.
    owner.replace_keys(false);
    owner.give(&mut other).expect("it may read");
    owner.registrar.old_for = Duration::ZERO;
    owner.register();
    assert_eq!(get(&mut other, b"key"), value());
    assert_eq!((other.counts().hits, other.is_broken()), (2, false));
}

#[test]
fn who_is_made_to_leave_is_told_and_reads_nothing() {
    let (_network, mut owner, client, mut reader) = ready();
    assert_eq!(get(&mut reader, b"key"), value());
    owner.readers.revoker().revoke();
    assert_eq!(owner.pairs.read(), 0);
    owner.give(&mut reader).expect("an answer");
    assert!(reader.is_broken());
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Gone));
    let mut other = end(&client, step);
    owner.give(&mut other).expect("it may read");
    assert_eq!(get(&mut other, b"key"), value());
    owner.readers.close(CONN);
    assert_eq!(owner.pairs.read(), 0);
    assert_eq!(get(&mut other, b"key"), Err(Doubt::Gone), "the connection by which it asked is gone");
}

#[test]
fn who_is_made_to_leave_reads_nothing_though_nobody_has_told_it() {
    let (_network, owner, _, mut reader) = ready();
    assert_eq!(get(&mut reader, b"key"), value());
    owner.readers.revoker().revoke();
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Gone));
    assert!(reader.is_broken());
}

#[test]
fn a_lease_counts_from_when_it_was_asked_for() {
    let (_network, mut owner, client, _) = ready();
    let mut reader = end(&client, step);
    let given = owner.answer(&reader.asked()).expect("an answer");
    assert!(given.lease_ms > 0);
    // The answer took as long as the lease.
    let asked_at = Instant::now() - Duration::from_millis(given.lease_ms.into());
    reader.given(&given, asked_at).expect("it can be read");
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Late));
    assert!(!reader.is_broken() && reader.asks_at() <= Instant::now());
    owner.give(&mut reader).expect("another one");
    assert_eq!(get(&mut reader, b"key"), value());
}

#[test]
fn nothing_rests_for_who_has_no_queue_pair() {
    let (_network, mut owner, _, _reader) = ready();
    let given = |owner: &Owner| owner.shard.stats().read_leases_given.read();
    let before = given(&owner);
    let asked = ReadsAsked { epoch: 0, known: 0, pair: None };
    let answer = owner.readers.give(another(100), &asked, &mut owner.shard, NOW, 0).expect("an answer");
    assert!(answer.is_unpaired && answer.lease_ms == 0 && !answer.pieces.is_empty());
    assert_eq!(given(&owner), before);
    // Nor when the client's end cannot be.
    let asked = ReadsAsked { pair: Some(PairEnd::default()), ..asked };
    assert!(owner.readers.give(another(100), &asked, &mut owner.shard, NOW, 0).is_err());
    assert_eq!(owner.pairs.read(), 1);
}

#[test]
fn a_device_that_is_given_up_is_let_go_and_another_one_has_other_keys() {
    let (_network, mut owner, client, mut reader) = ready();
    assert_eq!(get(&mut reader, b"key"), value());
    let before = owner.state.replace(None).expect("it was open");
    assert!(Arc::strong_count(&before) > 1);
    owner.turn();
    assert_eq!((Arc::strong_count(&before), owner.pairs.read()), (1, 0));
    let device = before.device.clone();
    drop(before);
    assert_eq!(owner.give(&mut reader), Err(PairRefusal::Gone));
    assert_eq!(get(&mut reader, b"key"), Err(Doubt::Gone));
    owner.open(&device);
    let mut other = end(&client, step);
    owner.give(&mut other).expect("it may read");
    assert_eq!(get(&mut other, b"key"), value());
}

#[test]
fn no_more_queue_pairs_are_made_than_may_be() {
    let (_network, mut owner, client, _reader) = ready();
    for conn in 100..103 {
        let asked = end(&client, step).asked();
        owner.readers.give(another(conn), &asked, &mut owner.shard, NOW, 0).expect("there is room");
    }
    let asked = end(&client, step).asked();
    let refused = owner.readers.give(another(103), &asked, &mut owner.shard, NOW, 0);
    assert_eq!(refused.err(), Some(PairRefusal::Full));
    // In place of its own it gets another one.
    owner.readers.give(another(102), &asked, &mut owner.shard, NOW, 0).expect("an answer");
    assert_eq!(owner.pairs.read(), 4);
}

#[test]
fn a_client_has_so_many_queue_pairs_by_all_of_its_connections() {
    let (_network, mut owner, client, _reader) = ready();
    let mut give = |conn, of| {
        let asked = end(&client, step).asked();
        let asker = Asker { conn, client: of };
        let given = owner.readers.give(asker, &asked, &mut owner.shard, NOW, 0);
        (given.map(|given| given.is_unpaired), owner.pairs.read())
    };
    assert_eq!(give(100, ASKER.client), (Ok(false), 2));
    assert_eq!(give(101, ASKER.client), (Err(PairRefusal::TooMany), 2));
    assert_eq!(give(100, ASKER.client), (Ok(false), 2), "another one in its place");
    assert_eq!(give(102, 0), (Ok(false), 3), "nobody's");
    owner.readers.close(100);
    let mut give = |conn| {
        let asked = end(&client, step).asked();
        let asker = Asker { conn, client: ASKER.client };
        owner.readers.give(asker, &asked, &mut owner.shard, NOW, 0).map(drop)
    };
    assert_eq!((give(101), give(103)), (Ok(()), Err(PairRefusal::TooMany)));
    owner.readers.revoker().revoke();
    let asked = end(&client, step).asked();
    let given = owner.readers.give(another(ASKER.client), &asked, &mut owner.shard, NOW, 0);
    assert!(given.is_ok(), "those that were taken away do not count");
}

#[test]
fn ends_that_cannot_be_are_told_apart_from_a_device_that_gives_nothing() {
    let (_network, mut owner, client, _reader) = ready();
    let good = end(&client, step).asked();
    let own = good.pair.expect("the first time");
    let cases = [
        (PairEnd { version_min: 2, version_max: 9, ..own }, PairRefusal::Version),
        (PairEnd { mtu: 3, ..own }, PairRefusal::Peer),
    ];
    for (pair, why) in cases {
        let asked = ReadsAsked { pair: Some(pair), ..good };
        let refused = owner.readers.give(another(100), &asked, &mut owner.shard, NOW, 0);
        assert_eq!(refused.err(), Some(why));
    }
    assert_eq!(owner.pairs.read(), 1);
}

/// Answers of a server that means harm.
fn wild(random: &mut Random, pair: Option<PairEnd>) -> ReadsGiven {
    let number = |random: &mut Random| match random.below(4) {
        0 => random.below(1 << 16),
        1 => u64::MAX - random.below(1 << 16),
        2 => random.below(u64::MAX),
        _ => 0,
    };
    let mut at = 0u64;
    let pieces = (0..random.below(5)).map(|_| {
        let bytes = number(random);
        let piece = ReadablePiece {
            at: if random.below(3) > 0 { at } else { number(random) },
            bytes,
            address: number(random),
            key: random.below(1 << 32) as u32,
        };
        at = at.wrapping_add(bytes);
        piece
    });
    let pieces = pieces.collect();
    ReadsGiven {
        epoch: random.below(3),
        bytes: number(random),
        passed_ns: number(random),
        lease_ms: number(random) as u32,
        shard: number(random) as u16,
        is_unpaired: random.below(8) == 0,
        pair,
        pieces,
    }
}

#[test]
fn a_server_that_tells_of_what_cannot_be_is_refused_or_read_in_vain() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let (_network, mut owner, client, _) =
            world(seed, Weather { retry_delay: 1, ..Weather::default() }, 2 << 20);
        let mut end = end(&client, step);
        let asked = end.asked();
        let given = owner.readers.give(ASKER, &asked, &mut owner.shard, NOW, 0).expect("an answer");
        for _ in 0..4 {
            let mut pair = given.pair.filter(|_| random.below(4) > 0);
            if let Some(pair) = pair.as_mut().filter(|_| random.below(4) == 0) {
                (pair.number, pair.mtu) = (random.below(1 << 32) as u32, random.below(1 << 14) as u32);
            }
            let mut given = if random.below(2) == 0 { given.clone() } else { wild(&mut random, pair) };
            if random.below(4) == 0 {
                given.pieces.iter_mut().for_each(|piece| piece.address = piece.address.wrapping_add(8));
            }
            if end.given(&given, Instant::now()).is_err() {
                break;
            }
            assert!(!matches!(get(&mut end, b"key"), Ok(Some(_))), "seed {seed}");
        }
    }
}

#[test]
fn pieces_without_end_are_refused() {
    let (_network, _owner, client, _) = world(1, Weather::default(), MEMORY);
    let mut end = end(&client, step);
    let mut given = ReadsGiven { epoch: 1, bytes: u64::MAX, ..ReadsGiven::default() };
    for round in 0.. {
        let from = round * 1024;
        let piece = |at| ReadablePiece { at, bytes: 1, address: 0, key: 0 };
        given.pieces = (from..from + 1024).map(piece).collect();
        if end.given(&given, Instant::now()).is_err() {
            assert!(round >= 64);
            break;
        }
        assert!(round < 64 && end.asks_at() <= Instant::now(), "there is more to be told");
    }
}

#[test]
fn a_server_without_a_lease_to_give_is_not_asked_at_once() {
    let (_network, _owner, client, _) = world(1, Weather::default(), MEMORY);
    let mut end = end(&client, step);
    assert!(end.asks_at() <= Instant::now());
    end.given(&ReadsGiven { bytes: u64::MAX, ..ReadsGiven::default() }, Instant::now()).expect("nothing");
    assert!(end.asks_at() > Instant::now());
}
