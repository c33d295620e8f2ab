//! Durability request by request, in the native protocol: what was answered as durable is there after a kill, whatever the
//! server's own setting is.

use super::rearm::{SUPERBLOCKS, latch, limit, rearms};
use super::{kill, start, tier_file};
use crate::harness::Server;
use std::time::{Duration, Instant};
use torc_client::{Client, Config, Done, Error, Expiry, Status};

/// Nothing of it is saved by itself while a test runs.
const LONG: &str = "--durability=interval:1h";

fn client(server: &Server) -> Client {
    let mut config = Config::new(server.address().to_string());
    config.timeout = Duration::from_secs(30);
    Client::with(config).expect("a thread")
}

fn long(seed: usize) -> Vec<u8> {
    (0..700_000).map(|byte| ((byte / 7) ^ seed) as u8).collect()
}

#[test]
fn what_was_answered_as_durable_is_there_after_a_kill() {
    // Straight to the shards, and all by one port, so that most requests are forwarded.
    for arguments in [
        ["--shards=1", "--shard-port-base=off"],
        ["--shards=3", "--shard-port-base=0"],
        ["--shards=3", "--shard-port-base=off"],
    ] {
        let (_folder, path) = tier_file();
        let arguments = [&arguments[..], &["--memory=96m", "--tier-size=64m", LONG]].concat();
        let server = start(&path, &arguments);
        let torc = client(&server);
        torc.set("flushed", "value").durable().wait().expect("stored");
        torc.flush().durable().wait().expect("flushed");
        let key = |number: usize| format!("key {number}");
        let pending: Vec<_> =
            (0..200).map(|number| torc.set(key(number), key(number)).durable().send()).collect();
        for answer in pending {
            assert!(answer.wait().expect("an answer").is_done());
        }
        // Others, that nobody has asked to be safe: what is saved beside them may be, too.
        torc.set("not asked", "value").wait().expect("stored");
        for number in 0..50 {
            assert!(torc.delete(key(number)).durable().wait().expect("an answer").is_done());
            assert_eq!(
                torc.increment(format!("count {number}"), 1).initial(41, Expiry::Never).wait(),
                Ok(Some(41))
            );
            assert_eq!(torc.increment(format!("count {number}"), 1).durable().wait(), Ok(Some(42)));
        }
        torc.append(key(60), "!").durable().wait().expect("joined");
        assert!(torc.touch(key(61), Duration::from_secs(1000)).durable().wait().expect("touched").is_done());
        for number in 0..3 {
            torc.set(format!("long {number}"), long(number)).durable().wait().expect("stored");
        }
        let begun = Instant::now();
        torc.set("last", "one").durable().wait().expect("stored");
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not wait for the interval");
        kill(server);
        let server = start(&path, &arguments);
        let torc = client(&server);
        let value = |key: String| torc.get(key).wait().expect("an answer").map(|item| item.value);
        assert_eq!(value("flushed".into()), None);
        for number in 0..200 {
            let has = match number {
                0..50 => None,
                60 => Some(b"key 60!".to_vec()),
                _ => Some(key(number).into_bytes()),
            };
            assert_eq!(value(key(number)), has, "{number}");
        }
        assert!((0..50).all(|number| value(format!("count {number}")) == Some(b"42".to_vec())));
        assert!((0..3).all(|number| value(format!("long {number}")) == Some(long(number))));
        let meta = torc.get(key(61)).with_meta().wait().expect("an answer").and_then(|item| item.meta);
        assert!(
            meta.and_then(|meta| meta.remaining_ms).is_some_and(|ms| (900_000..=1_000_000).contains(&ms))
        );
        assert_eq!(value("last".into()), Some(b"one".to_vec()));
    }
}

#[test]
fn who_asks_for_durability_where_there_is_none_is_refused_and_nothing_is_changed() {
    let (_folder, path) = tier_file();
    let file = format!("--tier={}", path.display());
    for arguments in
        [&[][..], &["--tier=memory", "--tier-size=64m"], &[&file, "--tier-size=64m", "--durability=none"]]
    {
        let server = Server::start(arguments);
        let torc = client(&server);
        let refused = torc.set("key", "value").durable().wait();
        assert!(matches!(refused, Err(Error::Refused { status: Status::NotSupported, .. })), "{refused:?}");
        assert_eq!(torc.get("key").wait(), Ok(None));
        assert!(torc.set("key", "value").at_once().wait().expect("an answer").is_done());
        let cli = |words: &[&str]| {
            let address = server.address().to_string();
            let output = crate::harness::finish(
                crate::harness::torc().args(["cli", "--server", &address]).args(words),
            );
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let answer = cli(&["set", "key", "other", "durable"]);
        assert!(answer.contains("NotSupported"), "{answer}");
        assert!(cli(&["delete", "key", "at-once"]).starts_with("deleted"));
    }
}

#[test]
fn a_tier_that_is_out_of_use_makes_nothing_durable_and_holds_nobody_who_does_not_ask() {
    for (durability, shards) in [(LONG, "--shards=1"), ("--durability=always", "--shards=2")] {
        let (_folder, path) = tier_file();
        let arguments = [durability, shards, "--shard-port-base=off", "--memory=64m", "--tier-size=64m"];
        let server = start(&path, &arguments);
        let torc = client(&server);
        limit(&server, SUPERBLOCKS);
        // It fails after the change was done, and its client is cut off; the library asks again, and is refused then.
        let failed = torc.set("first", "value").durable().wait();
        assert!(matches!(&failed, Ok(_) | Err(Error::Busy { .. } | Error::OutcomeUnknown)), "{failed:?}");
        latch(&server, SUPERBLOCKS);
        for key in ["one", "two", "three", "four"] {
            let busy = torc.set(key, "value").durable().wait();
            assert_eq!(busy.map(|_| ()), Err(Error::Busy { limit: "durability".into() }), "{durability}");
            assert_eq!(torc.get(key).wait(), Ok(None));
            assert_eq!(torc.set(key, "value").at_once().wait().map(|answer| answer.done), Ok(Done::Done));
            let plain = torc.set(key, "plain").wait();
            assert_eq!(plain.is_ok(), durability == LONG, "{plain:?}");
        }
        let busy = torc.set("long", long(1)).durable().wait();
        assert_eq!(busy.map(|_| ()), Err(Error::Busy { limit: "durability".into() }));
        assert!(torc.set("long", long(1)).at_once().wait().is_ok());
        limit(&server, libc::RLIM_INFINITY);
        rearms(&server);
        for key in ["one", "two", "three", "four"] {
            assert!(torc.set(key, "durable").durable().wait().expect("an answer").is_done());
        }
        kill(server);
        let server = start(&path, &arguments);
        let torc = client(&server);
        for key in ["one", "two", "three", "four"] {
            let found = torc.get(key).wait().expect("an answer").map(|item| item.value);
            assert_eq!(found, Some(b"durable".to_vec()), "{durability}");
        }
    }
}
