//! Items that are not in DRAM, on a medium that is a map from place to bytes.

use super::*;
use crate::index::Elsewhere;
use std::collections::{BTreeSet, HashMap};

#[derive(Default)]
struct Medium {
    items: HashMap<u64, Vec<u8>>,
    next: u64,
}

impl Medium {
    /// Writes an item here and takes it out of DRAM.
    fn demote(&mut self, shard: &mut Shard, key: &[u8]) {
        let hash = shard.hash(0, key);
        let (_, slot) = shard.find(Key { bytes: key, space: 0, hash }).expect("it is in DRAM");
        let item = shard.segments.item(slot.location());
        let bytes = item.encoded().to_vec();
        self.next += 1_000_003;
        let place = self.next % crate::index::PLACES;
        self.items.insert(place, bytes);
        assert!(shard.demote(0, key, place, NOW));
    }

    /// Executes as a worker does: what is pending is fetched, then all begins again. Says whether it was.
    fn ask(&self, shard: &mut Shard, key: &[u8], op: Op<'_>, now: Millis) -> (bool, String) {
        let hash = shard.hash(0, key);
        let mut was_pending = false;
        loop {
            let ticket = match ask(shard, key, op, now) {
                Outcome::Pending(ticket) => ticket,
                Outcome::Item(found) => {
                    return (was_pending, String::from_utf8(bytes_of(found.value)).unwrap());
                }
                outcome => return (was_pending, format!("{outcome:?}").split(' ').next().unwrap().into()),
            };
            was_pending = true;
            match self.items.get(&ticket.0) {
                Some(bytes) => assert!(shard.promote(hash, ticket, bytes, now).unwrap().is_none()),
                None => _ = shard.forget_elsewhere(hash, ticket),
            }
        }
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number}").into_bytes()
}

/// A shard with these keys, all of them on the medium.
fn demoted(count: u32) -> (Shard, Medium) {
    let (mut shard, mut medium) = (shard_of(16 << 20), Medium::default());
    for number in 0..count {
        let expiry = if number % 10 == 3 { Expiry::At(NOW + 1_000) } else { Expiry::Never };
        let value = format!("value-{number}");
        let write = Write { expiry, flags: number, ..Write::set(value.as_bytes()) };
        ask(&mut shard, &key(number), Op::Write(write), NOW);
        medium.demote(&mut shard, &key(number));
    }
    assert_eq!((shard.index.items(), shard.index.elsewhere()), (0, u64::from(count)));
    shard.audit().unwrap();
    (shard, medium)
}

const GET: Op<'static> = Op::Read(Read {
    decides: false,
    expiry: Expiry::Keep,
    vivify: None,
    token: None,
    recache_below_ms: None,
    recache_by_new: false,
    show_old_expiry: false,
    leases: false,
    peek: false,
    uncounted: false,
    inspect: false,
});

#[test]
fn an_item_elsewhere_is_pending_then_here_while_the_index_grows() {
    let (mut shard, medium) = demoted(8_000);
    let buckets = shard.index.buckets();
    (0..20_000u32).for_each(|number| set(&mut shard, &number.to_le_bytes(), b"in DRAM"));
    assert!(2 * shard.index.buckets() > 3 * buckets);
    assert_eq!(shard.index.elsewhere(), 8_000);
    for number in 0..8_000 {
        let answer = medium.ask(&mut shard, &key(number), GET, NOW);
        assert_eq!(answer, (true, format!("value-{number}")));
        assert_eq!(medium.ask(&mut shard, &key(number), GET, NOW), (false, format!("value-{number}")));
        assert_eq!(medium.ask(&mut shard, &key(number + 8_000), GET, NOW), (false, "Miss".into()));
    }
    // Their places are still known: eviction need not write them again.
    assert_eq!((shard.index.items(), shard.index.elsewhere()), (28_000, 8_000));
    shard.audit().unwrap();
}

#[test]
fn a_blind_write_takes_the_place_of_an_item_elsewhere_and_all_others_wait_for_it() {
    let (mut shard, medium) = demoted(4_000);
    let delete = Op::Delete(Delete::default());
    let add = Op::Write(Write { mode: WriteMode::Add, ..Write::set(b"new") });
    let append = Op::Write(Write { mode: WriteMode::Append, ..Write::set(b"+") });
    let keep = Op::Write(Write { expiry: Expiry::Keep, ..Write::set(b"new") });
    for number in 0..4_000 {
        let key = key(number);
        let expected = match number % 6 {
            0 => {
                let answer = medium.ask(&mut shard, &key, Op::Write(Write::set(b"new")), NOW);
                assert_eq!(answer, (false, "Stored".into()));
                "new".into()
            }
            1 => {
                assert_eq!(medium.ask(&mut shard, &key, delete, NOW), (true, "Deleted".into()));
                "Miss".into()
            }
            2 => {
                assert_eq!(medium.ask(&mut shard, &key, add, NOW), (true, "NotStored".into()));
                format!("value-{number}")
            }
            3 => {
                assert_eq!(medium.ask(&mut shard, &key, append, NOW), (true, "Stored".into()));
                format!("value-{number}+")
            }
            4 => {
                assert_eq!(medium.ask(&mut shard, &key, keep, NOW), (true, "Stored".into()));
                "new".into()
            }
            _ => continue,
        };
        assert_eq!(medium.ask(&mut shard, &key, GET, NOW), (false, expected));
    }
    // Those that nobody asked for, and those that were only read.
    let unchanged = (0..4_000).filter(|number| [2, 5].contains(&(number % 6))).count();
    assert_eq!(shard.index.elsewhere(), unchanged as u64);
    shard.audit().unwrap();
}

#[test]
fn what_is_over_flushed_lost_or_another_keys_does_not_come_back() {
    let (mut shard, mut medium) = demoted(100);
    assert_eq!(medium.ask(&mut shard, &key(3), GET, NOW + 1_000), (true, "Miss".into()));
    let lost = ticket(&shard, &key(4)).unwrap();
    medium.items.remove(&lost.0);
    assert_eq!(medium.ask(&mut shard, &key(4), GET, NOW), (true, "Miss".into()));
    let (five, six) = (ticket(&shard, &key(5)).unwrap(), ticket(&shard, &key(6)).unwrap());
    medium.items.insert(five.0, medium.items[&six.0].clone());
    assert_eq!(medium.ask(&mut shard, &key(5), GET, NOW), (true, "Miss".into()));
    for damaged in [&b""[..], &[0xFF; 40], &[0; 15]] {
        let ticket = ticket(&shard, &key(7));
        let Some(ticket) = ticket else { break };
        medium.items.insert(ticket.0, damaged.to_vec());
        assert_eq!(medium.ask(&mut shard, &key(7), GET, NOW), (true, "Miss".into()));
        set(&mut shard, &key(7), b"again");
        medium.demote(&mut shard, &key(7));
    }
    // A late answer for an item that was overwritten meanwhile.
    let (hash, late) = (shard.hash(0, &key(8)), ticket(&shard, &key(8)).unwrap());
    set(&mut shard, &key(8), b"newer");
    shard.promote(hash, late, &medium.items[&late.0], NOW).unwrap();
    assert_eq!(medium.ask(&mut shard, &key(8), GET, NOW), (false, "newer".into()));
    shard.flush(None, NOW);
    assert_eq!(medium.ask(&mut shard, &key(9), GET, NOW), (false, "Miss".into()), "nothing is read for that");
    shard.audit().unwrap();
}

#[test]
fn a_scan_gives_the_keys_in_dram_and_asks_for_the_others() {
    let (mut shard, medium) = demoted(3_000);
    (0..3_000u32).step_by(3).for_each(|number| drop(medium.ask(&mut shard, &key(number), GET, NOW)));
    let (mut cursor, mut keys, mut elsewhere) = (0, Vec::new(), Vec::new());
    loop {
        cursor = shard.scan(0, (cursor, 100), Tells::Keys, NOW, &mut keys, &mut elsewhere);
        if cursor == 0 {
            break;
        }
    }
    let mut seen: BTreeSet<Vec<u8>> = words::each(&keys).map(<[u8]>::to_vec).collect();
    assert_eq!((seen.len(), elsewhere.len()), (1_000, 2_000));
    for (hash, ticket) in elsewhere {
        let item = crate::item::ItemRef::new(crate::bytes::Bytes::from(&medium.items[&ticket.0][..]));
        assert_eq!(shard.hash(0, &item.key().to_vec()), hash);
        seen.insert(item.key().to_vec());
    }
    assert!((0..3_000).all(|number| seen.contains(&key(number))));
}

#[test]
fn a_placeholder_elsewhere_keeps_its_lease_until_it_is_deleted() {
    let (mut shard, mut medium) = (shard_of(8 << 20), Medium::default());
    let read = Read { leases: true, vivify: Some(Expiry::Never), ..Read::default() };
    ask(&mut shard, b"k", Op::Read(read), NOW);
    medium.demote(&mut shard, b"k");
    assert_eq!(medium.ask(&mut shard, b"k", GET, NOW), (true, "Miss".into()));
    let Outcome::Item(found) = ask(&mut shard, b"k", Op::Read(read), NOW) else { panic!("a placeholder") };
    assert_eq!(found.meta.lease, Lease::Given);
    medium.demote(&mut shard, b"k");
    let delete = Op::Delete(Delete { leases: true, ..Delete::default() });
    assert_eq!(medium.ask(&mut shard, b"k", delete, NOW), (true, "Deleted".into()));
    assert_eq!((shard.index.items(), shard.index.elsewhere()), (0, 0));
}

#[test]
fn items_elsewhere_stay_while_those_in_dram_are_evicted() {
    let (mut shard, medium) = demoted(4_000);
    for number in 0..60_000u32 {
        set(&mut shard, &number.to_le_bytes(), &[1; 1000]);
    }
    assert!(shard.stats().evictions.read() > 20_000);
    assert_eq!(shard.index.elsewhere(), 4_000);
    for number in 0..4_000 {
        let answer = medium.ask(&mut shard, &key(number), GET, NOW);
        assert_eq!(answer, (true, format!("value-{number}")));
    }
    shard.audit().unwrap();
}

#[test]
fn an_index_without_room_drops_items_elsewhere_and_knows_which() {
    let mut shard = shard_of(1 << 20);
    let count = 40_000u32;
    for number in 0..count {
        set(&mut shard, &number.to_le_bytes(), b"v");
        shard.demote(0, &number.to_le_bytes(), u64::from(number), NOW);
    }
    let left = shard.index.elsewhere();
    let pending = (0..count).filter(|number| {
        let outcome = ask(&mut shard, &number.to_le_bytes(), GET, NOW);
        assert!(
            matches!(outcome, Outcome::Pending(Ticket(place)) if place == u64::from(*number))
                || matches!(outcome, Outcome::Miss)
        );
        matches!(outcome, Outcome::Pending(_))
    });
    assert_eq!(pending.count() as u64, left);
    assert!(left > u64::from(count) / 4 && left < u64::from(count));
    shard.audit().unwrap();
}

#[test]
fn places_beyond_their_share_take_that_of_a_colder_one_and_a_recovery_keeps_the_newest() {
    let memory_bytes = 8 << 20;
    let config = ShardConfig { places_percent: Some(10), ..ShardConfig::new(memory_bytes) };
    let most = memory_bytes / 10 / crate::index::PLACE_BYTES;
    let hash = |number: u64| (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut shard = Shard::new(ShardConfig { segment_bytes: 64 << 10, ..config.clone() }).unwrap();
    shard.remember_changes(|_| 0);
    shard.begin_recovery([0], |_| 0, true);
    let known: Vec<Known> = (0..2 * most).map(|number| Known::item(hash(number), Some(number))).collect();
    let told = shard.recover(&known);
    assert_eq!(
        (told.items, told.lost, shard.index.elsewhere()),
        (most, most, most),
        "those that were told first"
    );
    assert_eq!(shard.stats().places_lost.read(), most);

    let mut shard = Shard::new(ShardConfig { segment_bytes: 64 << 10, ..config }).unwrap();
    shard.remember_changes(|_| 0);
    for number in 0..2 * most {
        shard.name_newest_place(0, Elsewhere::new(hash(number), number, Role::Only));
        assert!(shard.index.elsewhere() <= most);
    }
    let is_named = |number: &u64| shard.index.find_elsewhere(hash(*number)).is_some();
    let (old, new) = ((0..most).filter(is_named).count(), (most..2 * most).filter(is_named).count());
    assert!(new > 2 * old / 3 && (old + new) as u64 > most * 99 / 100, "{old} old, {new} new of {most}");
    assert_eq!(shard.stats().places_lost.read(), 2 * most - (old + new) as u64);
}
