//! Pages that are read from the tier: once for all who ask, kept in bounded memory, and never older than what was written.

use super::redis::{Answer, Redis};
use super::{count_all, key, kill, set_all, start, tier_file, value, wait_until_saved};
use crate::harness::Server;

fn line_of(redis: &mut Redis, name: &str) -> String {
    let Answer::Bulk(text) = redis.run(&["INFO", "stats"]) else { panic!("a text") };
    let text = String::from_utf8(text).expect("a text");
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}")).into()
}

#[test]
fn pages_are_read_once_for_their_items_and_kept_in_the_memory_that_they_were_given() {
    const KEYS: usize = 20_000;
    let (_folder, path) = tier_file();
    let server = start(&path, &["--memory=64m", "--tier-size=64m"]);
    set_all(&mut Redis::connect(&server), 0..KEYS);
    wait_until_saved(&server);
    kill(server);
    let metric = |server: &Server, name: &str| server.metric(&format!("torc_tier_{name}"), "");
    for (cache, shards) in [("1m", "--shards=1"), ("1m", "--shards=2"), ("0", "--shards=1")] {
        let server = start(&path, &["--memory=64m", shards, &format!("--tier-cache={cache}")]);
        let mut redis = Redis::connect(&server);
        assert_eq!(count_all(&mut redis, 0..KEYS), KEYS);
        let [reads, hits, misses, bytes] =
            ["reads_total", "cache_hits_total", "cache_misses_total", "cache_bytes"]
                .map(|name| metric(&server, name));
        assert_eq!(hits + misses, KEYS as f64, "{cache}");
        assert!(reads <= misses && misses <= KEYS as f64);
        if cache == "0" {
            assert_eq!((hits, bytes), (0.0, 0.0));
            // Those of a pipeline wait for the same page all the same.
            assert!(reads < KEYS as f64 / 4.0, "{reads}");
        } else {
            assert!(reads < KEYS as f64 / 10.0, "{reads} reads of pages with some 30 items each");
            assert!(bytes > 0.0 && bytes <= f64::from(1 << 20), "{bytes}");
        }
        assert_eq!(line_of(&mut redis, "tier_cache_hits:"), hits.to_string());
        assert_eq!(line_of(&mut redis, "tier_cache_bytes:"), bytes.to_string());
        kill(server);
    }
}

/// A place is written over many times, by newer copies of the same keys among others, while its pages are kept.
#[test]
fn no_page_that_is_kept_gives_an_older_copy_when_the_tier_is_written_over() {
    const KEYS: usize = 20_000;
    let (_folder, path) = tier_file();
    for (transport, shards) in [("uring", "--shards=2"), ("epoll", "--shards=1")] {
        let _ = std::fs::remove_file(&path);
        let transport = format!("--transport={transport}");
        let arguments = [&*transport, shards, "--memory=32m", "--tier-size=24m", "--tier-cache=2m"];
        let server = start(&path, &arguments);
        let mut redis = Redis::connect(&server);
        // The round in which each key was written last.
        let mut written = vec![0; KEYS];
        let long = |number: usize, round: usize| [value(number), value(number + round * KEYS)].concat();
        for round in 1..=10 {
            // Others in each round, and some in all of them.
            let now: Vec<usize> =
                (0..KEYS).filter(|number| number % 7 == round % 7 || number % 5 == 0).collect();
            for some in now.chunks(100) {
                let sets = some.iter().map(|&n| vec![b"SET".to_vec(), key(n).into(), long(n, round)]);
                redis.ask_all(&sets.collect::<Vec<_>>());
            }
            now.iter().for_each(|&number| written[number] = round);
            wait_until_saved(&server);
            let mut gone = 0;
            for first in (0..KEYS).step_by(100) {
                let gets = (first..first + 100).map(|number| vec![b"GET".to_vec(), key(number).into()]);
                for (answer, number) in redis.ask_all(&gets.collect::<Vec<_>>()).into_iter().zip(first..) {
                    let is_right = match (&answer, written[number]) {
                        (Answer::Nil, last) => {
                            gone += usize::from(last == round);
                            true
                        }
                        (Answer::Bulk(bytes), round) => round > 0 && *bytes == long(number, round),
                        _ => false,
                    };
                    assert!(is_right, "key {number} in round {round}");
                }
            }
            assert_eq!(gone, 0, "of {} that were written just now", now.len());
        }
        let freed = server.metric("torc_tier_freed_batches_total", "");
        assert!(freed > 50.0, "it was written around, {freed} batches");
        let hits = server.metric("torc_tier_cache_hits_total", "");
        assert!(hits > 1000.0, "{hits} items were found in pages that were kept");
        assert_eq!(server.metric("torc_tier_corrupt_total", ""), 0.0, "nothing was damaged");
        kill(server);
    }
}
