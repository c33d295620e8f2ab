//! Redis' databases on a tier: what each showed is there again after a stop and after a kill, and what was flushed is not.

use super::*;

const KEYS: usize = 4_000;

fn select(redis: &mut Redis, database: usize) {
    assert_eq!(redis.run(&["SELECT", &database.to_string()]), Answer::Ok);
}

/// Each of some databases has keys of its own: their numbers begin at another one.
fn fill(redis: &mut Redis, database: usize) {
    select(redis, database);
    set_all(redis, database * KEYS..(database + 1) * KEYS);
}

fn found(redis: &mut Redis, database: usize, of: usize) -> usize {
    select(redis, database);
    count_all(redis, of * KEYS..(of + 1) * KEYS)
}

/// How many keys were dropped, as the medium was too slow for what memory had no room for: only under `none`, where nobody waits for it.
fn missed(server: &Server, durability: &str) -> usize {
    if durability != "--durability=none" {
        return 0;
    }
    wait_until_saved(server);
    server.metric("torc_demotions_missed_total", "") as usize
}

#[test]
fn databases_are_what_they_were_after_a_kill() {
    come_back("--durability=always", "--memory=32m", kill);
}

#[test]
fn databases_are_what_they_were_after_a_stop() {
    for (durability, memory) in [("interval:100ms", "32m"), ("none", "32m"), ("none", "64m")] {
        come_back(&format!("--durability={durability}"), &format!("--memory={memory}"), |server| {
            let evicted = server.metric("torc_evictions_total", "");
            assert!(memory == "32m" || evicted == 0.0, "{memory} has room for all: {evicted} are gone");
            stop(server);
        });
    }
}

/// Fills databases, swaps two and flushes one, and looks at them after an end and another start.
fn come_back(durability: &str, memory: &str, end: impl Fn(Server)) {
    for shards in [["--shards=1", "--shards=2"], ["--shards=2", "--shards=1"]] {
        let (_folder, path) = tier_file();
        let tier = format!("--tier={}", path.display());
        let begin =
            |shards: &str| Server::start(&[&tier, durability, shards, memory, "--tier-size=128m", UNHURRIED]);
        let server = begin(shards[0]);
        let mut redis = Redis::connect(&server);
        for database in 0..4 {
            fill(&mut redis, database);
        }
        assert_eq!(redis.run(&["SWAPDB", "0", "1"]), Answer::Ok);
        select(&mut redis, 2);
        assert_eq!(redis.run(&["FLUSHDB"]), Answer::Ok);
        drop(redis);
        let lost = missed(&server, durability);
        end(server);
        let server = begin(shards[1]);
        let mut redis = Redis::connect(&server);
        wait_until_recovered(&server);
        let mut all = 0;
        for (database, of, keys) in [(0, 1, KEYS), (1, 0, KEYS), (2, 2, 0), (3, 3, KEYS), (0, 0, 0)] {
            let found = found(&mut redis, database, of);
            let what =
                format!("{durability}, {memory}: {found} in database {database} of the keys that {of} had");
            assert!((keys.saturating_sub(lost)..=keys).contains(&found), "{what}, {lost} were dropped");
            if keys > 0 || database == 2 {
                select(&mut redis, database);
                assert_eq!(redis.run(&["DBSIZE"]), Answer::Integer(found as i64), "{what}");
            }
            all += found;
        }
        assert!(all + lost >= 3 * KEYS, "{durability}, {memory}: {all} there, {lost} were dropped");
        // What was flushed does not come back when the database is filled again.
        fill(&mut redis, 2);
        let lost = missed(&server, durability);
        let found = found(&mut redis, 2, 2);
        assert!(found + lost >= KEYS, "{durability}, {memory}: {found} found, {lost} were dropped");
    }
}
