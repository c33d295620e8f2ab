//! Random commands, put to redis-server itself and to a server of ours with two shards: answers must be the same, but for what
//! [`exceptions`] names.
//!
//! Commands go in pipelines of a few, by several connections in turns, so that transactions, watched keys and databases meet. No expiry
//! ends while the test runs: what time does to a key is compared elsewhere. Without redis-server 7.0 the test is skipped, loudly.
//! `TORC_TEST_COMMANDS` is how many commands there are, `TORC_TEST_SEED` which ones.

mod commands;
mod exceptions;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/random_scripts.rs"]
mod random_scripts;
#[path = "../support/redis.rs"]
mod redis;
mod scripts;
#[path = "../servers/mod.rs"]
mod servers;
mod sessions;

use commands::words;
use random::Random;
use redis::Redis;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use torc_net::server::ServerConfig;
use torc_net::transport::choice::TransportChoice;
use torc_proto::resp::compose;
use torc_proto::resp::reply::{Parsed, Reply, parse};

const COMMANDS: u64 = 100_000;
/// Clients of each server, and the commands that one of them sends together at most.
const CLIENTS: usize = 3;
const PIPELINE: usize = 8;
/// After so many commands everything is flushed.
const FLUSHED_AFTER: u64 = 4_000;
/// Differences that are shown, and the commands before each.
const DIFFERENCES_MAX: usize = 10;
const BEFORE: usize = 40;

/// A command as words.
pub(crate) type Words = Vec<Vec<u8>>;

/// A connection to a server.
struct Client<S> {
    stream: S,
    input: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Client<S> {
        Client { stream, input: Vec::new() }
    }

    /// Sends commands together, and reads an answer to each.
    fn ask(&mut self, commands: &[Words]) -> Vec<Reply> {
        let mut request = Vec::new();
        commands.iter().for_each(|words| compose::request(&mut request, words));
        self.stream.write_all(&request).expect("an open connection");
        commands.iter().map(|_| self.reply()).collect()
    }

    /// The next answer. What the server tells of keys that the client keeps copies of is compared elsewhere.
    fn reply(&mut self) -> Reply {
        loop {
            match parse(&self.input) {
                Parsed::Complete { reply, consumed } => {
                    self.input.drain(..consumed);
                    if !matches!(reply, Reply::Push(_)) {
                        return reply;
                    }
                }
                Parsed::Incomplete => self.read(),
                Parsed::Invalid(why) => panic!("no answer: {why}: {}", self.input.escape_ascii()),
            }
        }
    }

    fn read(&mut self) {
        let mut more = [0; 4096];
        match redis::read_some(&mut self.stream, &mut more) {
            Ok(0) => panic!("the server has closed the connection"),
            Ok(count) => self.input.extend_from_slice(&more[..count]),
            Err(error) => panic!("reading an answer: {error}"),
        }
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

fn shown(words: &Words) -> String {
    let short = |word: &Vec<u8>| word[..word.len().min(100)].escape_ascii().to_string();
    words.iter().map(short).collect::<Vec<_>>().join(" ")
}

fn answer_in_words(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{}", shown(&vec![text.clone()])),
        Reply::Error(text) => format!("-{}", text.escape_ascii()),
        Reply::Bulk(bytes) => format!("{} bytes {}", bytes.len(), shown(&vec![bytes.clone()])),
        Reply::Array(all) => format!("[{}]", all.iter().map(answer_in_words).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}

/// Two servers, and some clients of each.
struct Pair {
    theirs: Vec<Client<UnixStream>>,
    ours: Vec<Client<TcpStream>>,
    /// What was asked and answered since all was flushed.
    past: Vec<String>,
}

impl Pair {
    /// Puts commands to both; what differs, with what came before it.
    fn ask(&mut self, client: usize, commands: &[Words]) -> Result<(), String> {
        let (expected, answers) = (self.theirs[client].ask(commands), self.ours[client].ask(commands));
        for ((words, expected), answer) in commands.iter().zip(&expected).zip(&answers) {
            self.past.push(format!("{client}: {} -> {}", shown(words), answer_in_words(expected)));
            if !exceptions::are_the_same(words, expected, answer) {
                let before = &self.past[self.past.len().saturating_sub(BEFORE)..];
                return Err(format!("{}\n   ours: {}", before.join("\n"), answer_in_words(answer)));
            }
        }
        Ok(())
    }

    /// Begins anew: no keys, no transactions, database 0, and this or that version of the protocol.
    fn reset(&mut self, random: &mut Random) {
        for (theirs, ours) in self.theirs.iter_mut().zip(&mut self.ours) {
            let hello = words(&["HELLO", random.of(&["2", "3"])]);
            let commands = [words(&["RESET"]), words(&["FLUSHALL"]), hello];
            theirs.ask(&commands);
            ours.ask(&commands);
        }
        self.past.clear();
    }
}

/// Plays commands on both sides; what differs.
fn compare(redis: &Redis, ours: SocketAddr, seed: u64, count: u64) -> Vec<String> {
    let theirs = (0..CLIENTS).map(|_| Client::new(redis.connect())).collect();
    let ours = (0..CLIENTS).map(|_| Client::new(servers::connect(ours))).collect();
    let mut pair = Pair { theirs, ours, past: Vec::new() };
    let mut random = Random(seed);
    let (mut done, mut reset_at, mut differences) = (0, FLUSHED_AFTER, Vec::new());
    while done < count && differences.len() < DIFFERENCES_MAX {
        let client = random.below(CLIENTS);
        let commands: Vec<Words> =
            (0..=random.below(PIPELINE)).map(|_| commands::command(&mut random)).collect();
        let asked = pair.ask(client, &commands);
        done += commands.len() as u64;
        if asked.is_err() || done > reset_at {
            pair.reset(&mut random);
            reset_at = done + FLUSHED_AFTER;
        }
        differences.extend(asked.err());
    }
    differences
}

#[test]
fn random_commands_are_answered_as_redis_answers_them() {
    let Some(redis) = Redis::start("differential") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed, so no commands were compared with it");
        return;
    };
    let config = servers::config(TransportChoice::Auto, 2);
    // The time of a script is no matter here.
    let script_time_max = Duration::from_secs(10);
    let server = servers::start(ServerConfig { databases: 16, script_time_max, ..config });
    let seed = from_environment("TORC_TEST_SEED", 1);
    let count = from_environment("TORC_TEST_COMMANDS", COMMANDS);
    let differences = compare(&redis, servers::address(&server), seed, count);
    servers::end(server);
    assert!(differences.is_empty(), "seed {seed}:\n{}", differences.join("\n\n"));
}
