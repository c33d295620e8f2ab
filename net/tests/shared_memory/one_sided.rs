//! The client library's gets out of the shards' own memory: what they find, their order, and their end.

use super::client::*;
use super::servers::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use torc_client::{Client, Config, Item, OneSidedReads, Transport};
use torc_net::server::{Endpoint, Listen, Server, ServerConfig, SharedMemory};
use torc_net::transport::choice::TransportChoice;

const RING: usize = 16 << 10;

fn with(address: &str, change: impl FnOnce(&mut Config)) -> Client {
    let mut config = Config::new(address);
    config.timeout = PATIENCE;
    config.backoff_min = Duration::from_millis(1);
    change(&mut config);
    Client::with(config).unwrap()
}

/// A client that has connected, and tries gets itself.
fn reader(address: &str) -> Client {
    let client = with(address, |_| {});
    client.ping().wait().unwrap();
    wait_until("it reads itself", || client.one_sided().active);
    client
}

fn unix(path: &std::path::Path) -> String {
    format!("unix:{}", path.display())
}

fn value(client: &Client, key: &str) -> Option<Vec<u8>> {
    client.get(key).wait().unwrap().map(|item| item.value)
}

fn asked(reads: &OneSidedReads, cause: &str) -> u64 {
    reads.asked.iter().find(|(name, _)| *name == cause).map_or(0, |(_, count)| *count)
}

/// What both ways must tell alike.
fn facts(item: Option<Item>) -> Option<Item> {
    item.map(|mut item| {
        if let Some(ms) = item.meta.as_mut().and_then(|meta| meta.remaining_ms.as_mut()) {
            assert!(*ms > 500_000 && *ms <= 600_000, "{ms} ms");
            *ms = 0;
        }
        item
    })
}

/// [N-SHM-12]
#[test]
fn gets_find_what_anybody_has_changed() {
    on_each(RING, |_, path| {
        let reader = reader(&unix(path));
        let other = with(&unix(path), |config| config.transport = Transport::Socket);
        let mut held: Vec<Option<Vec<u8>>> = vec![None; 100];
        let key = |number: usize| format!("key {number}");
        for step in 0..4_000usize {
            let number = step * 7919 % held.len();
            let writer = if step % 2 == 0 { &reader } else { &other };
            match step % 11 {
                0 => {
                    writer.delete(key(number)).wait().unwrap();
                    held[number] = None;
                }
                1..6 => {
                    let value = format!("{step}:{}", "v".repeat(step % 700)).into_bytes();
                    let ttl = Duration::from_secs(600);
                    let set = writer.set(key(number), value.clone()).flags(step as u32 % 3);
                    if step % 4 == 0 {
                        set.ttl(ttl).wait().unwrap()
                    } else {
                        set.wait().unwrap()
                    };
                    held[number] = Some(value);
                }
                _ => {}
            }
            if step % 1999 == 1998 {
                writer.flush().wait().unwrap();
                held.fill(None);
            }
            for number in [number, (step * 31) % held.len()] {
                assert!(value(&reader, &key(number)) == held[number], "step {step}, key {number}");
            }
            if step % 100 == 0 {
                let items = reader.get_many((0..held.len()).map(key)).wait().unwrap();
                let values: Vec<_> = items.into_iter().map(|item| item.map(|item| item.value)).collect();
                assert!(values == held, "step {step}");
            }
        }
        for number in 0..held.len() {
            let key = key(number);
            // What another shard has read is told to the owner later, who is asked until then.
            wait_until("it is read here", || {
                let done = |reads: OneSidedReads| reads.hits + reads.misses;
                let before = done(reader.one_sided());
                reader.get(&key).wait().unwrap();
                done(reader.one_sided()) > before
            });
            let before = reader.one_sided();
            let here = facts(reader.get(&key).with_meta().wait().unwrap());
            assert_eq!(here, facts(other.get(&key).with_meta().wait().unwrap()), "{key}");
            let bare = reader.get(&key).peek().without_value().wait().unwrap();
            assert!(bare.is_none_or(|bare| bare.value.is_empty()));
            let after = reader.one_sided();
            assert!(after.hits + after.misses >= before.hits + before.misses + 2, "{key}: {after:?}");
        }
        let reads = reader.one_sided();
        assert!(reads.hits > 2_000 && reads.misses > 100 && asked(&reads, "lease") > 0, "{reads:?}");
        assert_eq!(other.one_sided(), OneSidedReads::default());
    });
}

/// [N-GEN-5], whichever way they go: [N-SHM-17]
#[test]
fn a_get_behind_an_unanswered_command_on_its_key_sees_it() {
    on_each(RING, |_, path| {
        let client = reader(&unix(path));
        let keys: Vec<String> = (0..50).map(|number| format!("key {number}")).collect();
        for key in &keys {
            client.set(key, "0").wait().unwrap();
            // The first read of an item is always asked for.
            client.get(key).wait().unwrap();
        }
        for step in 1..2_000usize {
            let key = &keys[step % keys.len()];
            let text = step.to_string();
            let set = client.set(key, text.as_str()).send();
            let get = client.get(key).send();
            let many = client.get_many([key, &keys[0]]).send();
            assert_eq!(get.wait().unwrap().unwrap().value, text.as_bytes(), "step {step}");
            let many = futures_executor::block_on(many).unwrap();
            assert_eq!(many[0].as_ref().unwrap().value, text.as_bytes(), "step {step}");
            assert!(set.wait().unwrap().is_done());
            if step % 500 == 0 {
                let flush = client.flush().send();
                let gets: Vec<_> = keys.iter().map(|key| client.get(key).send()).collect();
                gets.into_iter().for_each(|get| assert_eq!(get.wait().unwrap(), None, "behind a flush"));
                flush.wait().unwrap();
                for key in &keys {
                    client.set(key, "0").wait().unwrap();
                    client.get(key).wait().unwrap();
                }
            }
        }
        let reads = client.one_sided();
        assert!(asked(&reads, "order") > 2_000, "{reads:?}");
        let before = reads.hits;
        client.get(&keys[1]).wait().unwrap();
        client.get(&keys[1]).wait().unwrap();
        assert!(client.one_sided().hits > before, "nothing is left of what was answered");
    });
}

/// Values name their key and rise; whoever reads after one was acknowledged sees it or a later one.
#[test]
fn many_threads_never_read_what_was_superseded() {
    const KEYS: usize = 64;
    on_each(RING, |_, path| {
        let client = reader(&unix(path));
        let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
        let done = Arc::new(AtomicBool::new(false));
        let text =
            |key: usize, version: u64| format!("{key}:{version}:{}", "x".repeat(version as usize % 300));
        let writer = {
            let (client, acknowledged, done) =
                (with(&unix(path), |_| {}), acknowledged.clone(), done.clone());
            std::thread::spawn(move || {
                let began = Instant::now();
                let mut version = 0;
                // The readers may leave little time for it.
                while began.elapsed() < Duration::from_secs(1) || version < 30 {
                    version += 1;
                    let sets: Vec<_> = (0..KEYS)
                        .map(|key| client.set(format!("k{key}"), text(key, version)).send())
                        .collect();
                    for (set, key) in sets.into_iter().zip(acknowledged.iter()) {
                        set.wait().unwrap();
                        key.store(version, Ordering::Release);
                    }
                }
                done.store(true, Ordering::Release);
            })
        };
        // More than there are lanes.
        let readers: Vec<_> = (0..20usize)
            .map(|number| {
                let (client, acknowledged, done) = (client.clone(), acknowledged.clone(), done.clone());
                std::thread::spawn(move || {
                    let (mut seen, mut at) = ([0u64; KEYS], number);
                    while !done.load(Ordering::Acquire) {
                        at = (at * 31 + 7) % KEYS;
                        if at % 16 == 0 {
                            std::thread::yield_now();
                        }
                        let least = acknowledged[at].load(Ordering::Acquire).max(seen[at]);
                        let Some(item) = client.get(format!("k{at}")).wait().unwrap() else {
                            assert_eq!(least, 0, "k{at} is missing");
                            continue;
                        };
                        let found = String::from_utf8(item.value).unwrap();
                        let version: u64 = found.split(':').nth(1).unwrap().parse().unwrap();
                        assert!(found == text(at, version), "torn: {found}");
                        assert!(version >= least, "k{at} has {version} after {least}");
                        seen[at] = version;
                    }
                })
            })
            .collect();
        writer.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let reads = client.one_sided();
        assert!(reads.hits > 100, "{reads:?}");
    });
}

/// [N-SHM-14]
#[test]
fn what_has_expired_is_gone_at_its_time() {
    on_each(RING, |_, path| {
        let client = reader(&unix(path));
        let began = Instant::now();
        client.set("key", "value").ttl(Duration::from_millis(300)).wait().unwrap();
        while value(&client, "key").is_some() {
            assert!(began.elapsed() < PATIENCE);
        }
        assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
        assert!(client.one_sided().hits > 100);
    });
}

/// [N-SHM-15], [N-SHM-16]
#[test]
fn the_server_is_told_what_was_read_and_why_it_was_asked() {
    on_each(RING, |server, path| {
        // As good as none.
        let client = with(&unix(path), |config| config.timeout = Duration::MAX);
        client.ping().wait().unwrap();
        assert!(client.one_sided().active, "before anything is answered over rings");
        for number in 0..300 {
            let key = format!("key {number}");
            client.set(&key, "value").wait().unwrap();
            value(&client, &key);
            value(&client, &key);
        }
        // Of another shard's item the owner is told later that it was read.
        let reads = client.one_sided();
        assert!(reads.hits >= 50 && asked(&reads, "lease") >= 300, "{reads:?}");
        assert_eq!(asked(&reads, "order"), 0, "{reads:?}");
        // The first get of an item is asked for, and the second one behind it must not overtake it. The value ahead of both is longer
        // than the ring, so that the first seldom has its answer before the second comes.
        let (long, began) = (vec![b'v'; 12 * RING], Instant::now());
        for number in 0.. {
            let key = format!("new {number}");
            client.set(&key, "value").wait().unwrap();
            let ahead = client.set("long", long.clone()).send();
            let (first, second) = (client.get(&key).send(), client.get(&key).send());
            assert_eq!(first.wait().unwrap().unwrap().value, second.wait().unwrap().unwrap().value);
            ahead.wait().unwrap();
            if asked(&client.one_sided(), "order") >= 50 {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{:?}", client.one_sided());
        }
        let reads = client.one_sided();
        let told = |stats: &dyn Fn(&torc_net::metrics::WorkerStats) -> u64| sum(server, stats);
        wait_until("it was told", || told(&|stats| stats.one_sided_hits.read()) == reads.hits);
        let all: u64 = reads.asked.iter().map(|(_, count)| count).sum();
        wait_until("and why it was asked", || {
            told(&|stats| stats.one_sided_doubts.iter().map(|count| count.read()).sum()) == all
        });
        assert_eq!(told(&|stats| stats.rings_reading.read()), 1);
        drop(client);
        wait_until("its rings are gone", || {
            told(&|stats| stats.rings_reading.read() + stats.rings_hot.read()) == 0
        });
    });
}

#[test]
fn it_can_be_switched_off_on_either_side_and_says_why() {
    on_each(RING, |_, path| {
        let client = with(&unix(path), |config| config.one_sided = false);
        for _ in 0..3 {
            client.set("key", "value").wait().unwrap();
            value(&client, "key");
        }
        assert_eq!(client.transport(), Some(Transport::SharedMemory));
        assert_eq!(client.one_sided(), OneSidedReads::default());
    });
    let rings_alone = |config: &mut ServerConfig| {
        config.shared_memory =
            Some(SharedMemory { ring_bytes: RING, reads: false, ..SharedMemory::default() });
    };
    on_each_with(rings_alone, |_, path| {
        let client = with(&unix(path), |_| {});
        client.set("key", "value").wait().unwrap();
        wait_until("it knows", || client.one_sided().why_not.is_some());
        assert_eq!(value(&client, "key").as_deref(), Some(&b"value"[..]));
        assert!(!client.one_sided().active && client.one_sided().hits == 0);
    });
}

/// Lines of this process' mappings that are of a shard's memory.
fn shards_mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd:torc")).count()
}

#[test]
fn mappings_end_with_the_server_and_come_with_the_next() {
    let _alone = alone();
    let folder = Folder::new();
    let mut config = config(TransportChoice::Auto, 2);
    config.listen.push(Listen { endpoint: Endpoint::Unix(folder.socket()), protocol: None });
    shares(&mut config, RING);
    let start_next = |config: &ServerConfig| -> Server { start(config.clone()) };
    let mut server = start_next(&config);
    let tcp = address(&server);
    config.listen[0].endpoint = Endpoint::Tcp(tcp);
    let client = with(&tcp.to_string(), |_| {});
    for round in 0..3 {
        client.set("key", format!("{round}")).wait().unwrap();
        wait_until("it reads itself", || client.one_sided().active);
        let hits = client.one_sided().hits;
        while client.one_sided().hits < hits + 10 {
            assert_eq!(value(&client, "key"), Some(format!("{round}").into_bytes()));
        }
        end(server);
        wait_until("its memory is gone", || shards_mapped() == 0);
        assert!(!client.one_sided().active);
        server = start_next(&config);
        assert_eq!(value(&client, "key"), None, "round {round}");
    }
    // Without shared memory behind the same address it goes on over the socket.
    end(server);
    config.shared_memory = None;
    let server = start(config);
    client.set("key", "once more").wait().unwrap();
    assert_eq!(value(&client, "key").as_deref(), Some(&b"once more"[..]));
    assert!(!client.one_sided().active && client.transport() == Some(Transport::Socket));
    end(server);
}
