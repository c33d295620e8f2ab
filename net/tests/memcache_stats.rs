//! `stats`: what each request counts, here and in memcached itself.

mod servers;
mod support;

use servers::*;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use support::memcached::{Memcached, VERSION};
use torc_net::server::ServerConfig;

/// Counters that mean the same in both.
const COUNTERS: [&str; 21] = [
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "get_hits",
    "get_misses",
    "get_expired",
    "delete_hits",
    "delete_misses",
    "incr_hits",
    "incr_misses",
    "decr_hits",
    "decr_misses",
    "cas_hits",
    "cas_misses",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "rejected_connections",
    "store_no_memory",
    "store_too_large",
];

type Counts = HashMap<String, u64>;

/// What is sent, and what it adds to which counters; all others stay. `{token}` is that of the item `a`.
const STEPS: &[(&str, &[(&str, u64)])] = &[
    ("flush_all", &[("cmd_flush", 1)]),
    ("set a 0 0 1\r\n5", &[("cmd_set", 1)]),
    ("get a b", &[("cmd_get", 2), ("get_hits", 1), ("get_misses", 1)]),
    ("gat 100 a none", &[("cmd_touch", 2), ("touch_hits", 1), ("touch_misses", 1)]),
    ("touch a 100", &[("cmd_touch", 1), ("touch_hits", 1)]),
    ("touch none 1", &[("cmd_touch", 1), ("touch_misses", 1)]),
    ("incr a 1", &[("incr_hits", 1)]),
    ("incr none 1", &[("incr_misses", 1)]),
    ("decr a 1", &[("decr_hits", 1)]),
    ("decr none 1", &[("decr_misses", 1)]),
    ("cas none 0 0 1 1\r\n5", &[("cmd_set", 1), ("cas_misses", 1)]),
    ("cas a 0 0 1 1\r\n5", &[("cmd_set", 1), ("cas_badval", 1)]),
    ("cas a 0 0 1 {token}\r\n6", &[("cmd_set", 1), ("cas_hits", 1)]),
    ("add a 0 0 1\r\n1", &[("cmd_set", 1)]),
    ("append none 0 0 1\r\n1", &[("cmd_set", 1)]),
    ("ms none 1 C5\r\n1", &[("cmd_set", 1), ("cas_misses", 1)]),
    ("ms a 1 C1\r\n1", &[("cmd_set", 1), ("cas_badval", 1)]),
    ("ms a 1 C{token}\r\n1", &[("cmd_set", 1), ("cas_hits", 1)]),
    ("mg a v", &[("cmd_get", 1), ("get_hits", 1)]),
    ("mg none v", &[("cmd_get", 1), ("get_misses", 1)]),
    ("mg viv N30 v", &[("cmd_get", 1), ("get_hits", 1)]),
    ("mg a T30", &[("cmd_touch", 1), ("touch_hits", 1)]),
    ("ma a MD", &[("decr_hits", 1)]),
    ("ma none", &[("incr_misses", 1)]),
    ("ma none MD C5", &[("decr_misses", 1)]),
    ("md a C5", &[("delete_misses", 1)]),
    ("md a", &[("delete_hits", 1)]),
    ("delete a", &[("delete_misses", 1)]),
    ("set e 0 0 1\r\n1\r\ntouch e -1", &[("cmd_set", 1), ("cmd_touch", 1), ("touch_hits", 1)]),
    ("add big 0 0 {too long}", &[("store_too_large", 1)]),
    ("version", &[]),
];

struct Client<S: Read + Write> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Client<S> {
        Client { stream: BufReader::new(stream) }
    }

    /// All lines of the answers, up to that of the `mn` sent behind.
    fn ask(&mut self, request: &str) -> Vec<String> {
        self.stream.get_mut().write_all(format!("{request}\r\nmn\r\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer");
            match line.trim_end() {
                "MN" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    fn stats(&mut self, what: &str) -> HashMap<String, String> {
        let lines = self.ask(&format!("stats {what}"));
        let words = lines.iter().filter_map(|line| line.strip_prefix("STAT ")?.split_once(' '));
        words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn counts(&mut self) -> Counts {
        let stats = self.stats("");
        let value = |name: &str| stats.get(name).and_then(|value| value.parse().ok());
        COUNTERS
            .iter()
            .map(|name| ((*name).to_owned(), value(name).unwrap_or_else(|| panic!("no {name}: {stats:?}"))))
            .collect()
    }
}

fn check<S: Read + Write>(who: &str, client: &mut Client<S>) {
    let mut before = client.counts();
    for (request, added) in STEPS {
        let mut request = (*request).to_owned();
        if request.contains("{token}") {
            let answer = client.ask("gets a");
            let token = answer[0].rsplit(' ').next().expect("a token");
            request = request.replace("{token}", token);
            before = client.counts();
        }
        if request.contains("{too long}") {
            request = request.replace("{too long}", &format!("2000000\r\n{}", "x".repeat(2_000_000)));
        }
        let answer = client.ask(&request);
        let after = client.counts();
        let differences: Vec<(&str, u64)> = COUNTERS
            .iter()
            .map(|name| (*name, after[*name] - before[*name]))
            .filter(|(_, difference)| *difference > 0)
            .collect();
        let mut expected = added.to_vec();
        expected.sort_by_key(|(name, _)| COUNTERS.iter().position(|counter| counter == name));
        assert_eq!(differences, expected, "{who}: {request:.99} was answered {answer:?}");
        before = after;
    }
    assert_eq!(client.ask("stats reset"), ["RESET"], "{who}");
    let counts = client.counts();
    assert!(counts.values().all(|count| *count == 0), "{who}: {counts:?}");
}

#[test]
fn requests_count_here_as_they_do_in_memcached() {
    for config in kinds() {
        let server = start(ServerConfig { value_bytes_max: 1 << 20, ..config });
        check("torc", &mut Client::new(connect(address(&server))));
    }
    match Memcached::start("stats") {
        Some(memcached) => check("memcached", &mut Client::new(memcached.connect())),
        None => eprintln!("SKIPPED: memcached {VERSION} is not installed, so nothing was compared with it"),
    }
}

#[test]
fn a_get_that_meets_a_flushed_item_is_counted_as_one() {
    let server = start(kinds().remove(0));
    let mut client = Client::new(connect(address(&server)));
    // In one piece, so that nobody clears up in between.
    assert_eq!(client.ask("set f 0 0 1\r\nx\r\nflush_all\r\nget f"), ["STORED", "OK", "END"]);
    let stats = client.stats("");
    assert_eq!((&stats["get_flushed"][..], &stats["get_misses"][..]), ("1", "1"));
}

/// Programs that gather metrics must not see a counter fall.
#[test]
fn a_reset_is_for_stats_alone() {
    let server = start(kinds().remove(0));
    let mut client = Client::new(connect(address(&server)));
    client.ask("get a");
    client.ask("stats reset");
    assert_eq!(client.stats("")["get_misses"], "0");
    assert_eq!(sum(&server, |stats| stats.command_outcome("read", "miss")), 1);
    client.ask("get a");
    let stats = client.stats("");
    assert_eq!((&stats["get_misses"][..], &stats["cmd_get"][..]), ("1", "1"));
    // What is goes on to be.
    assert_eq!(stats["curr_connections"], "1");
    let uptime: u64 = stats["time"].parse().unwrap();
    assert!(uptime > 0);
    assert!(stats["bytes_read"].parse::<u64>().unwrap() < 100);
}

#[test]
fn the_other_statistics_say_what_there_is_to_say() {
    let server = start(kinds().remove(0));
    let mut client = Client::new(connect(address(&server)));
    assert_eq!(client.ask("stats items"), ["END"]);
    client.ask("set a 0 0 5\r\nhello");
    assert_eq!(client.stats("items")["items:1:number"], "1");
    let slabs = client.stats("slabs");
    assert_eq!((&slabs["1:used_chunks"][..], &slabs["active_slabs"][..]), ("1", "1"));
    assert_eq!(slabs["1:cmd_set"], "1");
    assert_eq!(client.ask("stats sizes"), ["STAT sizes_status disabled", "END"]);
    let settings = client.stats("settings");
    assert_eq!(settings["tcpport"], address(&server).port().to_string());
    assert_eq!(settings["item_size_max"], (64 << 20).to_string());
    let connections = client.stats("conns");
    assert_eq!(connections.len(), 4, "{connections:?}");
    assert!(connections.values().any(|value| *value == format!("tcp:{}", address(&server))));
    assert_eq!(client.ask("stats nonsense"), ["ERROR"]);
    assert_eq!(client.ask("cache_memlimit 64\r\ncache_memlimit 64 noreply"), ["OK"]);
}

/// What programs read that gather metrics: the exporter of Prometheus, telegraf, memcached-tool, phpMemcachedAdmin.
const FIELDS: &[(&str, &str)] = &[
    (
        "",
        "pid uptime time version pointer_size rusage_user rusage_system curr_items total_items bytes max_connections curr_connections \
         total_connections rejected_connections connection_structures cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses \
         get_expired get_flushed delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits \
         cas_badval touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors idle_kicks evictions reclaimed \
         bytes_read bytes_written limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us threads \
         conn_yields hash_power_level hash_bytes hash_is_expanding expired_unfetched evicted_unfetched evicted_active \
         slab_reassign_running slabs_moved crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold \
         moves_to_warm moves_within_lru direct_reclaims lru_crawler_starts lru_maintainer_juggles slab_global_page_pool \
         slab_reassign_rescues slab_reassign_evictions_nomem slab_reassign_chunk_rescues slab_reassign_inline_reclaim \
         slab_reassign_busy_items log_worker_dropped log_worker_written log_watcher_skipped log_watcher_sent log_watchers \
         malloc_fails lru_bumps_dropped",
    ),
    (
        "settings",
        "maxbytes maxconns tcpport udpport inter verbosity oldest evictions domain_socket num_threads stat_key_prefix \
         detail_enabled cas_enabled auth_enabled_sasl item_size_max maxconns_fast slab_reassign slab_automove lru_crawler \
         lru_crawler_sleep lru_crawler_tocrawl flush_enabled dump_enabled lru_maintainer_thread hot_lru_pct warm_lru_pct \
         hot_max_factor warm_max_factor temp_lru idle_timeout shutdown_command",
    ),
    (
        "items",
        "items:1:number items:1:age items:1:mem_requested items:1:evicted items:1:evicted_nonzero items:1:evicted_time \
         items:1:outofmemory items:1:tailrepairs items:1:reclaimed items:1:expired_unfetched items:1:evicted_unfetched \
         items:1:crawler_reclaimed items:1:lrutail_reflocked items:1:moves_to_cold items:1:moves_to_warm",
    ),
    (
        "slabs",
        "1:chunk_size 1:chunks_per_page 1:total_pages 1:total_chunks 1:used_chunks 1:free_chunks 1:free_chunks_end \
         1:mem_requested 1:get_hits 1:cmd_set 1:delete_hits 1:incr_hits 1:decr_hits 1:cas_hits 1:cas_badval 1:touch_hits \
         active_slabs total_malloced",
    ),
];

#[test]
fn every_field_is_there_that_programs_read() {
    let server = start(kinds().remove(0));
    let mut client = Client::new(connect(address(&server)));
    let keys: String =
        (0..1000).map(|key| format!("set key{key} 0 0 100\r\n{}\r\n", "v".repeat(100))).collect();
    client.ask(&keys);
    for (what, fields) in FIELDS {
        let stats = client.stats(what);
        for field in fields.split_whitespace() {
            assert!(stats.contains_key(field), "stats {what}: no {field}");
        }
    }
    // What is told of memory fits together.
    let slabs = client.stats("slabs");
    let number = |name: &str| slabs[name].parse::<u64>().expect("a number");
    assert_eq!(number("1:used_chunks") + number("1:free_chunks"), number("1:total_chunks"));
    assert!(number("1:used_chunks") == 1000 && (100..200).contains(&number("1:chunk_size")), "{slabs:?}");
    let allocated = number("1:total_chunks") * number("1:chunk_size");
    assert!(allocated.abs_diff(number("total_malloced")) <= 1 << 20, "{slabs:?}");
    let stats = client.stats("");
    assert!(stats["rusage_user"].parse::<f64>().is_ok_and(|seconds| seconds >= 0.0), "{stats:?}");
}

#[test]
fn connections_of_all_shards_are_told_of() {
    for config in kinds() {
        let server = start(config);
        let others: Vec<_> = (0..10).map(|_| Client::new(connect(address(&server)))).collect();
        let mut client = Client::new(connect(address(&server)));
        wait_until("all are there", || {
            let stats = client.stats("conns");
            let states: Vec<&String> =
                stats.iter().filter(|(name, _)| name.ends_with(":state")).map(|(_, state)| state).collect();
            states.len() == 11 && states.iter().filter(|state| **state == "conn_parse_cmd").count() == 1
        });
        drop(others);
    }
}
