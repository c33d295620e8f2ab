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

#[test]
fn databases_are_what_they_were_after_a_kill_and_after_a_stop() {
    for (durability, kills) in [("always", true), ("interval:100ms", false), ("none", false)] {
        for shards in [["--shards=1", "--shards=2"], ["--shards=2", "--shards=1"]] {
            let (_folder, path) = tier_file();
            let durability = format!("--durability={durability}");
            let tier = format!("--tier={}", path.display());
            let begin = |shards: &str| {
                Server::start(&[&tier, &durability, shards, "--memory=32m", "--tier-size=128m"])
            };
            let server = begin(shards[0]);
            let mut redis = Redis::connect(&server);
            for database in 0..4 {
                fill(&mut redis, database);
            }
            assert_eq!(redis.run(&["SWAPDB", "0", "1"]), Answer::Ok);
            select(&mut redis, 2);
            assert_eq!(redis.run(&["FLUSHDB"]), Answer::Ok);
            if kills {
                kill(server);
            } else {
                drop(redis);
                stop(server);
            }
            let server = begin(shards[1]);
            let mut redis = Redis::connect(&server);
            wait_until_recovered(&server);
            for (database, of, expected) in [(0, 1, KEYS), (1, 0, KEYS), (2, 2, 0), (3, 3, KEYS), (0, 0, 0)] {
                let found = found(&mut redis, database, of);
                assert_eq!(found, expected, "{durability}: database {database} of the keys that {of} had");
            }
            for (database, keys) in [(0, KEYS), (1, KEYS), (2, 0), (3, KEYS)] {
                select(&mut redis, database);
                assert_eq!(redis.run(&["DBSIZE"]), Answer::Integer(keys as i64), "{durability}: {database}");
            }
            // What was flushed does not come back when the database is filled again.
            fill(&mut redis, 2);
            assert_eq!(found(&mut redis, 2, 2), KEYS);
        }
    }
}
