//! Reads of a client's own while what it reads is flushed, swapped, moved, evicted, taken to a tier, or goes with its device.

use crate::history::{History, Reader, Redis, read_while};
use crate::link::{at_wire, serves_over_tcp, wire_script};
use crate::reads::{get, versioned};
use crate::wire::{Devices, PATIENCE, Wire, address, local, nothing_is_left, start, sum, wait_until};
use std::time::{Duration, Instant};
use torc_net::server::{Server, ServerConfig};
use torc_net::tier::{Durability, ReadsChoice, Snapshots, TierConfig, TierPath};

const KEYS: usize = 8;
/// Between two changes, so that there is something to read.
const PAUSE: Duration = Duration::from_millis(8);

/// A figure of the stores.
fn figure(server: &Server, name: &str) -> u64 {
    let figures = server.stats();
    let of_shard = figures.iter().flat_map(|stats| stats.shard.figures().collect::<Vec<_>>());
    of_shard.filter(|figure| figure.name == name).map(|figure| figure.value).sum()
}

fn readable(devices: &Devices, change: impl FnOnce(&mut ServerConfig)) -> Server {
    start(devices, |config| {
        config.rdma.reads = true;
        change(config);
    })
}

pub(crate) fn what_was_flushed_is_not_read(devices: &Devices) {
    let server = readable(devices, |_| {});
    let (history, mut redis) = (History::new(KEYS), Redis::new(&server));
    let all = (&server, devices);
    let (counts, _) = read_while(all, Duration::from_secs(4), (&history, false), |round| {
        match round % 24 {
            7 => history.clear(|| redis.ask(&["FLUSHALL"])),
            15 => history.clear(|| redis.ask(&["FLUSHDB"])),
            23 => history.clear(|| redis.ask(&["FLUSHALL", "ASYNC"])),
            _ => {
                let (key, version) = (round % KEYS, history.draw());
                history.change([(key, Some(version))].into_iter(), || redis.set(key, version));
            }
        }
        std::thread::sleep(PAUSE);
    });
    assert!(counts.hits > 100 && counts.misses > 20, "{counts:?}");
}

pub(crate) fn databases_that_are_swapped_are_read_as_clients_see_them(devices: &Devices) {
    let server = readable(devices, |_| {});
    let (history, mut redis, mut other) = (History::new(KEYS), Redis::new(&server), Redis::new(&server));
    other.ask(&["SELECT", "1"]);
    // What the keys are in database 0, and in database 1.
    let mut versions = [[None; KEYS]; 2];
    let all = (&server, devices);
    let (counts, _) = read_while(all, Duration::from_secs(4), (&history, false), |round| {
        let (key, version) = (round % KEYS, history.draw());
        match round % 12 {
            11 => {
                versions.swap(0, 1);
                history.change(versions[0].into_iter().enumerate(), || redis.ask(&["SWAPDB", "0", "1"]));
            }
            5 => {
                history.change([(key, None)].into_iter(), || redis.ask(&["DEL", &History::name(key)]));
                versions[0][key] = None;
            }
            odd if odd % 2 == 1 => {
                other.set(key, version);
                versions[1][key] = Some(version);
            }
            _ => {
                history.change([(key, Some(version))].into_iter(), || redis.set(key, version));
                versions[0][key] = Some(version);
            }
        }
        std::thread::sleep(PAUSE);
    });
    assert!(counts.hits > 100, "{counts:?}");
}

pub(crate) fn an_index_that_grows_is_read_meanwhile(devices: &Devices) {
    const ITEMS_AT_ONCE: usize = 400;
    let server = readable(devices, |_| {});
    let (history, mut redis) = (History::new(KEYS), Redis::new(&server));
    let before = figure(&server, "index_buckets");
    let all = (&server, devices);
    let (counts, _) = read_while(all, Duration::from_secs(5), (&history, false), |round| {
        let items = (0..ITEMS_AT_ONCE).map(|number| {
            vec![b"SET".to_vec(), format!("more:{round}:{number}").into_bytes(), b"value".to_vec()]
        });
        redis.all(&items.collect::<Vec<_>>());
        let (key, version) = (round % KEYS, history.draw());
        history.change([(key, Some(version))].into_iter(), || redis.set(key, version));
    });
    let grown = figure(&server, "index_buckets") as f64 / before as f64;
    println!("the index has grown by {grown}, {} items", figure(&server, "items"));
    assert!(grown > 4.0 && counts.hits > 100, "{grown}, {counts:?}");
}

/// Memory is written over within a lease: leases are refused, or everybody is made to leave. Nobody reads what was written over, and when
/// it is over reads need no asking again.
pub(crate) fn readers_under_pressure_ask_and_read_on(devices: &Devices) {
    let server = readable(devices, |config| config.memory_bytes = 48 << 20);
    let (history, mut redis) = (History::new(KEYS), Redis::new(&server));
    let all = (&server, devices);
    let (counts, broken) = read_while(all, Duration::from_secs(6), (&history, true), |round| {
        let noise = (0..32).map(|number| {
            vec![b"SET".to_vec(), format!("noise:{round}:{number}").into_bytes(), vec![7; 16 << 10]]
        });
        redis.all(&noise.collect::<Vec<_>>());
        let (key, version) = (round % KEYS, history.draw());
        history.change([(key, Some(version))].into_iter(), || redis.set(key, version));
    });
    let [evictions, given, refused, revoked] =
        ["evictions", "read_leases_given", "read_leases_refused", "read_leases_revoked"]
            .map(|name| figure(&server, name));
    println!(
        "{evictions} evictions; leases: {given} given, {refused} refused, {revoked} revoked; {counts:?}"
    );
    assert!(evictions > 100 && refused + revoked > 0 && (revoked > 0 || broken == 0), "{broken} broken");
    let local = local(devices);
    let mut reader = Reader::new(&server, &local);
    redis.set(0, 1);
    wait_until("it is read again", || {
        assert!(reader.get(b"key:0") == Some(versioned(1)));
        reader.counts().hits > 100
    });
}

pub(crate) fn what_is_on_a_tier_is_asked_for(devices: &Devices) {
    const ITEMS: u64 = 5000;
    let server = readable(devices, |config| {
        (config.memory_bytes, config.client_memory_bytes) = (20 << 20, Some(3 << 20));
        config.tier = Some(TierConfig {
            path: TierPath::Memory,
            bytes: Some(64 << 20),
            // Nothing is lost that was answered.
            durability: Durability::Always,
            cache_bytes: 0,
            journal_bytes: 0,
            snapshots: Snapshots {
                a_lap: 0,
                memory_bytes: 0,
                least_bytes: 0,
                dead_percent: 0,
                share_percent: 0,
            },
            reads_wait: false,
            resets: true,
            index_percent: 10,
            reads: ReadsChoice::Threads,
            cpus: Vec::new(),
        });
    });
    let mut redis = Redis::new(&server);
    let value = |number: u64| [versioned(number), vec![number as u8; 3000]].concat();
    let name = |number: u64| format!("item:{number}").into_bytes();
    for number in 0..ITEMS / 50 {
        let sets = (number * 50..).take(50).map(|number| vec![b"SET".to_vec(), name(number), value(number)]);
        redis.all(&sets.collect::<Vec<_>>());
    }
    wait_until("some is on the tier alone", || figure(&server, "tier_only_items") > 100);
    let local = local(devices);
    let mut reader = Reader::new(&server, &local);
    for round in 0..2 {
        for number in (0..ITEMS).step_by(40) {
            assert!(reader.get(&name(number)) == Some(value(number)), "item {number} in round {round}");
        }
        assert_eq!(reader.get(b"none"), None);
        // What was read just now is in memory.
        for _ in 0..50 {
            assert!(reader.get(&name(0)) == Some(value(0)));
        }
    }
    let counts = reader.counts();
    let elsewhere = counts.causes().find(|(cause, _)| *cause == "elsewhere").map_or(0, |(_, count)| count);
    println!("{} on the tier alone; {counts:?}", figure(&server, "tier_only_items"));
    assert!(elsewhere > 20 && counts.hits > 50, "{elsewhere} elsewhere, {counts:?}");
}

pub(crate) fn a_device_that_goes_ends_reads_and_comes_back(devices: &Devices) {
    let server = readable(devices, |config| config.rdma.down_timeout = Duration::from_millis(500));
    let mut redis = Redis::new(&server);
    for round in 0..2 {
        let client = local(devices);
        redis.set(0, round);
        let mut reader = wait_for_reader(&server, &client);
        let until = Instant::now() + PATIENCE;
        while reader.counts().hits < 50 {
            assert!(reader.get(b"key:0") == Some(versioned(round)) && Instant::now() < until);
        }
        reader.wire.ask_reads(&mut reader.end);
        let mut down = wire_script("down", "a").spawn().expect("bash");
        let since = Instant::now();
        let why = loop {
            // As long as it reads what it finds is right; there is nobody to ask.
            match get(&mut reader.end, b"key:0") {
                Ok(found) => assert!(found == Some(versioned(round))),
                // Its lease may be over before a READ has failed.
                Err(why) if why == "gone" || why == "late" => break why,
                Err(_) => {}
            }
            assert!(since.elapsed() < PATIENCE, "it reads for ever");
        };
        println!("round {round}: {why} after {:?}", since.elapsed());
        assert!(get(&mut reader.end, b"key:0").is_err());
        assert!(down.wait().expect("a child").success());
        let mut removing = wire_script("remove", "a").spawn().expect("bash");
        wait_until("nobody holds the device", || removing.try_wait().expect("a child").is_some());
        serves_over_tcp(&server);
        redis.set(0, 100);
        drop(reader);
        nothing_is_left_of_readers(&server);
        at_wire("up", "a");
        at_wire("add", "a");
    }
    drop(redis);
    let client = local(devices);
    drop(wait_for_reader(&server, &client));
    nothing_is_left(&server);
}

fn nothing_is_left_of_readers(server: &Server) {
    wait_until("their queue pairs are gone", || {
        sum(server, |stats| stats.pairs.read() + stats.read_pairs.read()) == 0
    });
}

/// When the device is there, or is there again.
fn wait_for_reader<'l>(server: &Server, local: &'l torc_rdma::Local) -> Reader<'l> {
    wait_until("a queue pair", || Wire::at(address(server), local).is_ok());
    Reader::new(server, local)
}
