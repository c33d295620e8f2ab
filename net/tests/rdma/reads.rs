//! Reads of a shard's memory by the client itself.

use crate::wire::{Devices, PATIENCE, Wire, address, local, pattern, start, sum, wait_until};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_client::{Client, Config, RdmaConfig, Transport};
use torc_proto::native::{Op, ReadsGiven, Status};
use torc_rdma::connect::first;
use torc_rdma::reads::{Look, ReadEnd, Value};
use torc_rdma::verbs::device::Device;

/// The value of a key, if it was found without asking.
pub(crate) fn get(end: &mut ReadEnd<Device>, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let look = end.get(0, key, |look| match look {
        Look::Hit { found, .. } => match found.value {
            Value::Inline(bytes) => Some(bytes.to_vec()),
            Value::Chained(_) => panic!("a reader copies no chain"),
        },
        Look::Miss | Look::Expired | Look::Flushed => None,
    });
    look.map_err(|doubt| doubt.name().to_owned())
}

/// As [`get`], asking the server in doubt, and for what may be read, until it can be told.
pub(crate) fn get_at_last(wire: &mut Wire, end: &mut ReadEnd<Device>, key: &[u8]) -> Option<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match get(end, key) {
            Ok(found) => return found,
            Err(doubt) => assert!(Instant::now() < until, "in doubt for ever: {doubt}"),
        }
        // Who asks is told, and the first that asks makes an item one that others may read.
        wire.ask(Op::Get, key, b"");
        wire.answer();
        if Instant::now() >= end.asks_at() {
            wire.ask_reads(end);
        }
    }
}

pub(crate) fn what_is_written_is_read_without_asking(devices: &Devices) {
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let mut wire = Wire::new(&server, &local);
    let mut end = ReadEnd::new(&local.device, &local.domain, &local.place, first()).expect("an end");
    wire.ask_reads(&mut end);
    for round in 0..50 {
        for number in 0..20 {
            let (key, value) = (format!("key:{number}"), pattern(37 * number, round));
            wire.ask(Op::Set, key.as_bytes(), &value);
            assert_eq!(wire.answer().1, Status::Ok as u8);
            let found = get_at_last(&mut wire, &mut end, key.as_bytes());
            assert!(found.as_ref() == Some(&value), "{key} in round {round}");
        }
        assert_eq!(get_at_last(&mut wire, &mut end, b"none"), None);
        wire.ask(Op::Delete, b"key:3", b"");
        assert_eq!(wire.answer().1, Status::Ok as u8);
        assert_eq!(get_at_last(&mut wire, &mut end, b"key:3"), None);
    }
    let counts = end.counts();
    assert!(counts.hits >= 1000 && counts.misses >= 100, "{counts:?}");
    println!("{counts:?}");
}

/// All of the memory is registered before the client asks for the first time, and nothing more is after that. Leases alone cost turns.
pub(crate) fn a_read_costs_the_shard_no_turn(devices: &Devices) {
    const READS: u64 = 20_000;
    let server = start(devices, |config| config.rdma.reads = true);
    let local = local(devices);
    let mut wire = Wire::new(&server, &local);
    wire.set(b"key", &pattern(100, 1));
    wire.get(b"key");
    std::thread::sleep(Duration::from_millis(300));
    let mut end = ReadEnd::new(&local.device, &local.domain, &local.place, first()).expect("an end");
    wire.ask_reads(&mut end);
    assert_eq!(get(&mut end, b"key"), Ok(Some(pattern(100, 1))));
    let turns = |server: &_| sum(server, |stats| stats.turns.read());
    let (began, before) = (Instant::now(), turns(&server));
    for _ in 0..READS {
        // Twice a second.
        if Instant::now() >= end.asks_at() {
            wire.ask_reads(&mut end);
        }
        assert_eq!(get(&mut end, b"key"), Ok(Some(pattern(100, 1))));
    }
    let (took, turns) = (began.elapsed(), turns(&server) - before);
    println!("{READS} reads in {took:?}, {turns} turns");
    assert_eq!((end.counts().hits, end.remembered()), (READS + 1, READS));
    // What an idle shard does: it looks around some times a second.
    assert!(turns < 1000 + took.as_millis() as u64 / 50, "{turns} turns");
}

pub(crate) fn keys_are_replaced_while_clients_read(devices: &Devices) {
    let server = start(devices, |config| {
        config.rdma.reads = true;
        config.rdma.keys_for = Some(Duration::from_millis(500));
    });
    let local = local(devices);
    let mut wire = Wire::new(&server, &local);
    wire.set(b"key", b"value");
    let new_end = || ReadEnd::new(&local.device, &local.domain, &local.place, first()).expect("an end");
    let (mut end, mut leaked) = (new_end(), new_end());
    let mut other = Wire::new(&server, &local);
    wire.ask_reads(&mut end);
    other.ask_reads(&mut leaked);
    assert_eq!(get_at_last(&mut other, &mut leaked, b"key"), Some(b"value".to_vec()));
    let epoch = leaked.asked().epoch;
    // A lease, and nothing of other keys.
    let mut give_lease = |leaked: &mut ReadEnd<Device>| {
        let (mut value, asked_at) = (Vec::new(), Instant::now());
        leaked.asked().compose(&mut value);
        let (_, status, value) = other.try_do(Op::Reads, b"", &value).expect("it goes on");
        assert_eq!(status, Status::Ok as u8);
        let given = ReadsGiven::parse(&value).expect("what is given");
        leaked.given(&ReadsGiven { epoch, pieces: Vec::new(), ..given }, asked_at).expect("a lease");
    };
    let began = Instant::now();
    let mut is_replaced = false;
    // Keys are replaced every five seconds, the time for which the old ones are good.
    while began.elapsed() < Duration::from_secs(13) {
        assert_eq!(get_at_last(&mut wire, &mut end, b"key"), Some(b"value".to_vec()));
        assert!(!end.is_broken(), "who asks in time goes on");
        std::thread::sleep(Duration::from_millis(20));
        if !is_replaced {
            give_lease(&mut leaked);
            is_replaced = get(&mut leaked, b"key") == Err("epoch".into());
        }
    }
    give_lease(&mut leaked);
    let found = get(&mut leaked, b"key");
    let counts = leaked.counts();
    assert!(is_replaced, "nobody was told that the keys would end: {found:?}, {counts:?}");
    assert!(found.is_err() && leaked.is_broken(), "the old keys are good still: {found:?}, {counts:?}");
    println!("{:?}", end.counts());
}

/// A value of some version: its number, then bytes that belong to it.
pub(crate) fn versioned(version: u64) -> Vec<u8> {
    let mut value = version.to_le_bytes().to_vec();
    value.extend(pattern(version as usize % 700, version as usize));
    value
}

/// Versions of which nothing is left: the key is deleted.
fn is_deletion(version: u64) -> bool {
    version % 8 == 7
}

pub(crate) fn the_library_reads_while_others_write(devices: &Devices) {
    const KEYS: usize = 8;
    let server = start(devices, |config| {
        config.rdma.reads = true;
        config.rdma.keys_for = Some(Duration::from_secs(2));
    });
    let rdma = RdmaConfig { device: Some(devices.client.clone()), reads: true, ..RdmaConfig::default() };
    let config = Config {
        transport: Transport::Rdma,
        rdma,
        timeout: Duration::from_secs(20),
        ..Config::new(address(&server).to_string())
    };
    let reader = Client::with(config.clone()).expect("a thread");
    let writer = Client::with(Config { rdma: RdmaConfig { reads: false, ..config.rdma.clone() }, ..config });
    let writer = writer.expect("a thread");
    let [sent, done] = [(); 2].map(|()| [(); KEYS].map(|()| AtomicU64::new(0)));
    for key in 0..KEYS {
        writer.set(format!("key:{key}"), versioned(0)).wait().expect("an answer");
    }
    reader.get("key:0").wait().expect("an answer");
    wait_until("it reads itself", || reader.one_sided().active);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0u64.. {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let key = round as usize % KEYS;
                let version = sent[key].fetch_add(1, Ordering::SeqCst) + 1;
                let name = format!("key:{key}");
                if is_deletion(version) {
                    writer.delete(name).wait().expect("an answer");
                } else {
                    writer.set(name, versioned(version)).wait().expect("an answer");
                }
                done[key].store(version, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let until = Instant::now() + Duration::from_secs(12);
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            let key = round % KEYS;
            let before = done[key].load(Ordering::SeqCst);
            let found = reader.get(format!("key:{key}")).wait().expect("an answer");
            let versions = before..=sent[key].load(Ordering::SeqCst);
            match found {
                Some(item) => {
                    let version = u64::from_le_bytes(item.value[..8].try_into().expect("8 bytes"));
                    assert!(item.value == versioned(version), "torn");
                    assert!(
                        versions.contains(&version) && !is_deletion(version),
                        "{version} of {versions:?}"
                    );
                }
                None => assert!(versions.clone().any(is_deletion), "missing in {versions:?}"),
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    let reads = reader.one_sided();
    println!("{reads:?}");
    assert!(reads.active && reads.hits > 500, "{reads:?}");
    wait_until("the server was told", || sum(&server, |stats| stats.one_sided_hits.read()) >= reads.hits / 2);
    // The connection ends, and nothing is answered by what was read before.
    drop(server);
    wait_until("it reads no more", || !reader.one_sided().active);
}

pub(crate) fn a_server_that_lets_nobody_read_is_asked(devices: &Devices) {
    let server = start(devices, |_| {});
    let rdma = RdmaConfig { device: Some(devices.client.clone()), reads: true, ..RdmaConfig::default() };
    let config = Config { transport: Transport::Rdma, rdma, ..Config::new(address(&server).to_string()) };
    let client = Client::with(config).expect("a thread");
    client.set("key", "value").wait().expect("an answer");
    for _ in 0..100 {
        assert_eq!(client.get("key").wait().expect("an answer").expect("there").value, b"value");
    }
    assert!(!client.one_sided().active && client.one_sided().hits == 0);
    assert_eq!(client.rdma().connections, 1);
}
