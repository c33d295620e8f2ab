//! Who is told of what scripts change, and of what they have read: transactions that watch keys, and clients that keep copies.

use crate::client::{Client, KEYS, on_each};
use crate::servers::address;

/// Commands that come to nothing are no changes.
#[test]
fn what_a_script_has_not_changed_counts_as_unchanged() {
    on_each(|server| {
        let (mut one, mut other) = (Client::new(address(server)), Client::new(address(server)));
        for key in ["a", "b", "c", "d"] {
            for (before, script, changes) in [
                (Some("1"), "redis.call('setnx', KEYS[1], 2)", false),
                (Some("1"), "redis.pcall('incrby', KEYS[1], 'x')", false),
                (Some("1"), "redis.call('getex', KEYS[1])", false),
                (Some("1"), "redis.call('persist', KEYS[1])", false),
                (Some("1"), "redis.call('expire', KEYS[1], 100, 'XX')", false),
                (None, "redis.call('del', KEYS[1])", false),
                (None, "redis.call('set', KEYS[1], 1) redis.call('del', KEYS[1])", true),
                (Some("1"), "redis.call('set', KEYS[1], 1)", true),
                (Some("1"), "redis.call('expire', KEYS[1], 100)", true),
                (Some("1"), "redis.call('getex', KEYS[1], 'EX', 100)", true),
                (Some("1"), "redis.call('del', KEYS[1])", true),
                (None, "redis.call('append', KEYS[1], 'x')", true),
            ] {
                other.ask(&["DEL", key]);
                if let Some(value) = before {
                    other.ask(&["SET", key, value]);
                }
                one.ask(&["WATCH", key]);
                other.eval(script, &[key], &[]);
                one.ask(&["MULTI"]);
                one.ask(&["PING"]);
                let expected = if changes { "*-1\r\n" } else { "*1\r\n+PONG\r\n" };
                assert_eq!(one.ask(&["EXEC"]), expected, "{script} on {before:?}");
            }
        }
    });
}

/// The keys that a client is told of when others have changed all of them.
fn told_after(client: &mut Client, other: &mut Client, asked: &[&[&str]]) -> Vec<String> {
    for words in asked {
        client.ask(words);
    }
    for key in KEYS {
        other.ask(&["SET", key, "changed"]);
    }
    client.send(&["PING", "the end"]);
    let mut told = Vec::new();
    loop {
        let frame = client.receive();
        if frame.contains("the end") {
            told.sort_unstable();
            told.dedup();
            return told;
        }
        assert!(frame.starts_with(">2\r\n$10\r\ninvalidate\r\n"), "{frame}");
        told.extend(KEYS.iter().filter(|key| frame.contains(**key)).map(|key| (*key).to_owned()));
    }
}

#[test]
fn keys_that_a_script_reads_are_those_of_its_client() {
    const READ: &str = "return redis.call('get', KEYS[1])";
    on_each(|server| {
        let (mut client, mut other) = (Client::new(address(server)), Client::new(address(server)));
        client.ask(&["HELLO", "3"]);
        client.ask(&["CLIENT", "TRACKING", "ON"]);
        for key in KEYS {
            assert_eq!(told_after(&mut client, &mut other, &[&["EVAL", READ, "1", key]]), [key]);
            assert_eq!(told_after(&mut client, &mut other, &[&["EVAL_RO", READ, "1", key]]), [key]);
            let exec: [&[&str]; 3] = [&["MULTI"], &["EVAL", READ, "1", key], &["EXEC"]];
            assert_eq!(told_after(&mut client, &mut other, &exec), [key]);
            assert!(told_after(&mut client, &mut other, &[]).is_empty(), "it is told once");
            // It has read nothing.
            for script in ["return redis.call('set', KEYS[1], 'x')", "return redis.call('ping')"] {
                let told = told_after(&mut client, &mut other, &[&["EVAL", script, "1", key]]);
                assert!(told.is_empty(), "{script}: {told:?}");
            }
        }
        let all: Vec<&str> = ["EVAL", READ, "8"].into_iter().chain(KEYS).collect();
        assert_eq!(told_after(&mut client, &mut other, &[&all]), KEYS);
        let named = "return redis.call('get', 'key3')";
        assert_eq!(told_after(&mut client, &mut other, &[&["EVAL", named, "0"]]), ["key3"]);
        // What it changes itself it is told of at once, as it has read that, too.
        let both = "redis.call('get', KEYS[1]) return redis.call('set', KEYS[1], 'x')";
        client.send(&["EVAL", both, "1", "key1"]);
        client.send(&["PING", "the end"]);
        let mut frames = vec![client.receive()];
        while !frames.iter().any(|frame| frame.contains("the end")) {
            frames.push(client.receive());
        }
        assert!(frames.iter().any(|frame| frame.contains("invalidate")), "{frames:?}");
        told_after(&mut client, &mut other, &[]);
        client.ask(&["CLIENT", "TRACKING", "OFF"]);
        client.ask(&["CLIENT", "TRACKING", "ON", "OPTIN"]);
        assert!(told_after(&mut client, &mut other, &[&["EVAL", READ, "1", "key2"]]).is_empty());
        let caching: [&[&str]; 2] = [&["CLIENT", "CACHING", "YES"], &["EVAL", READ, "1", "key2"]];
        assert_eq!(told_after(&mut client, &mut other, &caching), ["key2"]);
    });
}
