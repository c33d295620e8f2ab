//! A client that keeps copies beside redis-server: what it is told, and in which order, of what it changes itself and of what another
//! client does.
//!
//! Method: random pipelines, a ping with a number behind each; all frames until the pong are compared, byte for byte and in their order,
//! but for news that stand next to each other: of several keys Redis tells in their order, and ours shard by shard. Skipped, loudly, where there is no redis-server 7.0. TORC_DIFFERENTIAL_COMMANDS says how many pipelines there are for
//! each kind of server.
//!
//! Left out, as `docs/commands.md` has it otherwise: prefixes (Redis tells them at the end of its turn), what all shards do (FLUSHALL,
//! SWAPDB), and scripts that read what they have written.

#[path = "support/random.rs"]
mod random;
#[path = "support/redis.rs"]
mod redis;
mod servers;

use random::Random;
use redis::{Redis, next_frames_until};
use servers::*;
use std::io::{Read, Write};
use torc_proto::resp::compose;

const STEPS: usize = 3000;
const KEYS: usize = 6;

type Words = Vec<String>;

const READS: [&str; 12] = [
    "GET K",
    "GET K",
    "GET K",
    "MGET K J",
    "STRLEN K",
    "EXISTS K J",
    "GETRANGE K 0 1",
    "TTL K",
    "BITCOUNT K",
    "LCS K J",
    "EVAL|return redis.call('get', KEYS[1])|1|K",
    "EVAL_RO|return {redis.call('get', KEYS[1]), redis.call('strlen', KEYS[2])}|2|K|J",
];
const CHANGES: [&str; 32] = [
    "SET K 5",
    "SET K 5",
    "SET K 5 GET",
    "SET K 5 NX",
    "SET K 5 XX KEEPTTL",
    "SET K 5 EX 1000",
    "SETNX K 5",
    "GETSET K 7",
    "GETDEL K",
    "GETEX K PERSIST",
    "GETEX K EX 1000",
    "INCR K",
    "DECRBY K 3",
    "INCRBYFLOAT K 1.5",
    "APPEND K 1",
    "SETRANGE K 1 9",
    "SETBIT K 3 1",
    "BITFIELD K SET u8 0 50 GET u8 0",
    "DEL K",
    "UNLINK K J",
    "MSET K 1 J 2",
    "MSETNX K 1 J 2",
    "EXPIRE K 1000",
    "PERSIST K",
    "COPY K J REPLACE",
    "RENAME K J",
    "RENAMENX K J",
    "BITOP NOT K J",
    "MOVE K 1",
    "EVAL|return redis.call('set', KEYS[1], '5')|1|K",
    "EVAL|local v = redis.call('get', KEYS[1]) redis.call('set', KEYS[1], '6') return v|1|K",
    "EVAL|redis.call('get', KEYS[1]) redis.call('del', KEYS[2]) return 1|2|K|J",
];
const MODES: [&str; 4] = ["", " NOLOOP", " OPTIN", " OPTOUT"];

/// A command about random keys.
fn command(random: &mut Random, templates: &[&str]) -> Words {
    let template = random.of(templates);
    let separator = if template.contains('|') { '|' } else { ' ' };
    let first = random.below(KEYS);
    // Another one: who changes one key twice is told of it once or twice.
    let second = (first + 1 + random.below(KEYS - 1)) % KEYS;
    let word = |word: &str| match word {
        "K" => format!("key{first}"),
        "J" => format!("key{second}"),
        word => word.to_owned(),
    };
    template.split(separator).map(word).collect()
}

fn words(line: &str) -> Words {
    line.split(' ').map(str::to_owned).collect()
}

fn any(random: &mut Random) -> Words {
    if random.below(2) == 0 { command(random, &READS) } else { command(random, &CHANGES) }
}

/// What the client sends at a time.
fn pipeline(random: &mut Random, mode: &str) -> Vec<Words> {
    let commands: Vec<Words> = (0..1 + random.below(5)).map(|_| any(random)).collect();
    let mut pipeline = Vec::new();
    match random.below(10) {
        0..3 => pipeline.extend([words("MULTI")].into_iter().chain(commands).chain([words("EXEC")])),
        _ => {
            for command in commands {
                match mode {
                    " OPTIN" if random.below(2) == 0 => pipeline.push(words("CLIENT CACHING YES")),
                    " OPTOUT" if random.below(4) == 0 => pipeline.push(words("CLIENT CACHING NO")),
                    _ => {}
                }
                pipeline.push(command);
            }
        }
    }
    pipeline
}

/// A connection, and what was read of it beyond its last pong.
struct Client<S> {
    stream: S,
    input: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Client<S> {
        Client { stream, input: Vec::new() }
    }

    /// The frames that it gets for a pipeline.
    fn ask(&mut self, pipeline: &[Words], number: usize) -> Vec<String> {
        let mut request = Vec::new();
        for words in pipeline {
            compose::request(&mut request, &words.iter().map(String::as_str).collect::<Vec<_>>());
        }
        self.stream.write_all(&request).expect("an open connection");
        let marker = format!("marker:{number}");
        let mut ping = Vec::new();
        compose::request(&mut ping, &["PING", &marker]);
        self.stream.write_all(&ping).expect("an open connection");
        let mut frames = next_frames_until(&mut self.stream, &marker, &mut self.input);
        // Keys of several shards that one command changes.
        frames
            .chunk_by_mut(|a, b| a.starts_with('>') && b.starts_with('>'))
            .for_each(<[String]>::sort_unstable);
        frames
    }
}

#[test]
fn a_client_that_keeps_copies_is_told_as_by_redis() {
    let Some(redis) = Redis::start("tracking") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; what is told was not compared with it");
        return;
    };
    let steps = std::env::var("TORC_DIFFERENTIAL_COMMANDS").ok().and_then(|count| count.parse().ok());
    for (config, seed) in kinds().into_iter().zip(1..) {
        let (kind, shards) = (config.transport, config.shards);
        let server = start(config);
        let mut random = Random(seed);
        let (mut ours, mut our_other) =
            (Client::new(connect(address(&server))), Client::new(connect(address(&server))));
        let (mut theirs, mut their_other) = (Client::new(redis.connect()), Client::new(redis.connect()));
        let mut mode = "";
        for number in 0..steps.unwrap_or(STEPS) {
            if number % 200 == 0 {
                mode = random.of(&MODES);
                let begin = ["HELLO 3", "CLIENT TRACKING OFF", "FLUSHALL"].map(words);
                let begin = [&begin[..], &[words(&format!("CLIENT TRACKING ON{mode}"))]].concat();
                ours.ask(&begin, number);
                theirs.ask(&begin, number);
            }
            let shown = |what: &[Words]| format!("{kind}, {shards} shards,{mode}, step {number}: {what:?}");
            let asked = pipeline(&mut random, mode);
            assert_eq!(ours.ask(&asked, number), theirs.ask(&asked, number), "{}", shown(&asked));
            if random.below(2) == 0 {
                let change = [command(&mut random, &CHANGES)];
                let answers = [our_other.ask(&change, number), their_other.ask(&change, number)];
                assert_eq!(answers[0], answers[1], "{}", shown(&change));
                let told = ours.ask(&[], number);
                assert_eq!(told, theirs.ask(&[], number), "by another: {}", shown(&change));
            }
        }
        end(server);
    }
}
