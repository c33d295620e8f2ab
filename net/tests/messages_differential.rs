//! Random subscriptions and messages of several clients, in both versions of RESP, put to redis-server and to servers of ours.
//!
//! Method: after each command every client pings with a number; what it gets until the pong is compared, as a set of frames: in which
//! order a client gets what it is subscribed to twice, or is told that all its subscriptions are over, is nobody's promise. Skipped,
//! loudly, where there is no redis-server 7.0.

#[path = "support/redis.rs"]
mod redis;
mod servers;

use redis::{Redis, frames_until};
use servers::*;
use std::io::{Read, Write};
use torc_net::server::ServerConfig;
use torc_proto::resp::compose;

const STEPS: usize = 4000;
const CLIENTS: usize = 5;

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

const NAMES: [&str; 7] = ["a", "b", "ab", "", "x1", "news.de", "\u{e4}"];
const PATTERNS: [&str; 8] = ["*", "a*", "?", "[ab]", "x[0-9]", "news.*", "\\a", "b"];

fn command(random: &mut Random) -> Vec<String> {
    let verb = random.of(&[
        "SUBSCRIBE",
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
        "PUBLISH",
        "PUBLISH",
        "PUBLISH",
        "PUBLISH",
        "SPUBLISH",
        "SPUBLISH",
        "PUBSUB",
        "PUBSUB",
        "HELLO",
        "RESET",
        "GET",
        "ping",
        "CLIENT",
    ]);
    let mut words = vec![verb.to_owned()];
    match verb {
        "SUBSCRIBE" | "SSUBSCRIBE" => (0..random.below(4)).for_each(|_| words.push(random.of(&NAMES).into())),
        "PSUBSCRIBE" => (0..random.below(3)).for_each(|_| words.push(random.of(&PATTERNS).into())),
        "UNSUBSCRIBE" | "SUNSUBSCRIBE" => {
            (0..random.below(3)).for_each(|_| words.push(random.of(&NAMES).into()))
        }
        "PUNSUBSCRIBE" => (0..random.below(3)).for_each(|_| words.push(random.of(&PATTERNS).into())),
        "PUBLISH" | "SPUBLISH" => {
            words.push(random.of(&NAMES).into());
            let len = random.of(&["0", "1", "20", "3000", "40000"]).parse().expect("a number");
            words.push("m".repeat(len));
        }
        "PUBSUB" => {
            let subcommand = random.of(&[
                "CHANNELS",
                "NUMSUB",
                "NUMPAT",
                "SHARDCHANNELS",
                "SHARDNUMSUB",
                "HELP",
                "nonsense",
            ]);
            words.push(subcommand.into());
            let pool = if subcommand.ends_with("CHANNELS") { &PATTERNS[..] } else { &NAMES };
            (0..random.below(3)).for_each(|_| words.push(random.of(pool).into()));
        }
        "HELLO" => words.push(random.of(&["2", "3", "3", "4"]).into()),
        "CLIENT" => words.extend(["REPLY".to_owned(), "ON".into()]),
        "GET" => words.push("nothing".into()),
        _ => (0..random.below(3)).for_each(|_| words.push("word".into())),
    }
    words
}

/// The frames that a client gets until its pong, sorted.
fn frames<S: Read + Write>(stream: &mut S, number: usize) -> Vec<String> {
    let marker = format!("marker:{number}");
    let mut request = Vec::new();
    compose::request(&mut request, &["PING", &marker]);
    stream.write_all(&request).expect("an open connection");
    let mut frames = frames_until(stream, &marker);
    frames.sort_unstable();
    frames
}

/// What may differ: the words of a greeting, the order of names, and which of them goes with which count when all subscriptions end.
fn comparable(words: &[String], frames: &[String]) -> Vec<String> {
    if words[0] == "HELLO" {
        return frames.iter().map(|frame| frame.chars().take(3).collect()).collect();
    }
    let ends_all = words.len() == 1 && words[0].ends_with("UNSUBSCRIBE");
    if !ends_all && words[0] != "PUBSUB" {
        return frames.to_vec();
    }
    let mut lines: Vec<String> = frames
        .iter()
        .flat_map(|frame| frame.split("\\r\\n").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn random_subscriptions_and_messages_are_answered_as_by_redis() {
    let Some(redis) = Redis::start("messages") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; messages were not compared with it");
        return;
    };
    for (config, seed) in kinds().into_iter().zip(1..) {
        let (kind, shards) = (config.transport, config.shards);
        let server = start(ServerConfig { ..config });
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut ours: Vec<_> = (0..CLIENTS).map(|_| connect(address(&server))).collect();
        let mut theirs: Vec<_> = (0..CLIENTS).map(|_| redis.connect()).collect();
        for step in 0..STEPS {
            let (client, words) = (random.below(CLIENTS), command(&mut random));
            let mut request = Vec::new();
            compose::request(&mut request, &words);
            ours[client].write_all(&request).expect("an open connection");
            theirs[client].write_all(&request).expect("an open connection");
            // Whoever has asked is answered first: then all subscribers have the message.
            for who in (client..CLIENTS).chain(0..client) {
                let [ours, theirs] = [frames(&mut ours[who], step), frames(&mut theirs[who], step)];
                let [ours, theirs] = [ours, theirs].map(|frames| comparable(&words, &frames));
                assert_eq!(
                    ours, theirs,
                    "{kind}, {shards} shards: client {who} after {client} in step {step}: {words:?}"
                );
            }
        }
        end(server);
    }
}
