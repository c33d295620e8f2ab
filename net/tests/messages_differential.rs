//! Random subscriptions, messages and changes of keys of several clients, in both versions of RESP, put to redis-server and to servers of
//! ours.
//!
//! Method: after each command every client pings with a number; what it gets until the pong is compared, as a set of frames: in which
//! order a client gets what it is subscribed to twice, or is told that all its subscriptions are over, is nobody's promise. Skipped,
//! loudly, where there is no redis-server 7.0. TORC_DIFFERENTIAL_COMMANDS says how many commands there are for each kind of server.

#[path = "support/redis.rs"]
mod redis;
mod servers;

use redis::{Redis, next_frames_until};
use servers::*;
use std::io::{Read, Write};
use std::time::Instant;
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

/// A command as its words.
type Words = Vec<Vec<u8>>;

const NAMES: [&[u8]; 10] = [
    b"a",
    b"b",
    b"ab",
    b"",
    b"x1",
    b"news.de",
    b"\xff\x00\r\n",
    "\u{e4}".as_bytes(),
    b"__keyspace@0__:a",
    b"__keyevent@1__:set",
];
const PATTERNS: [&[u8]; 13] = [
    b"*",
    b"a*",
    b"?",
    b"??",
    b"[ab]",
    b"[^a]",
    b"x[0-9]",
    b"news.*",
    b"\\a",
    b"b",
    b"\xff*",
    b"__key*@*__:*",
    b"__keyspace@[01]__:a*",
];
/// Letters of notify-keyspace-events.
const CLASSES: [&str; 10] = ["KEA", "K$", "Eg", "KEg$", "KEn", "", "A", "KEm", "KEAnm", "Kx"];
const KEYS: [&str; 4] = ["a", "ab", "x1", "b"];

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn several(verb: &str, pool: &[&[u8]], count: usize, random: &mut Random) -> Words {
    let mut words = words(verb);
    (0..count).for_each(|_| words.push(pool[random.below(pool.len())].to_vec()));
    words
}

/// What a client sends in one step, and how far its answers are compared.
struct Step {
    commands: Vec<Words>,
    /// Line by line: messages of its own stand in other places of an answer to EXEC.
    by_lines: bool,
    /// What it is not answered, as it wants no answers, is sent ahead, and what another client sends meanwhile.
    meanwhile: Option<(Words, usize, Words)>,
}

impl Step {
    fn of(commands: Vec<Words>) -> Step {
        Step { commands, by_lines: false, meanwhile: None }
    }
}

fn step(random: &mut Random) -> Step {
    match random.below(100) {
        0..62 => Step::of(vec![command(random)]),
        62..70 => {
            let count = random.below(4);
            let inner = (0..count).map(|_| queued(random));
            let commands = [words("MULTI")].into_iter().chain(inner).chain([words("EXEC")]).collect();
            Step { by_lines: true, ..Step::of(commands) }
        }
        70..74 => Step::of(vec![words("CLIENT REPLY SKIP"), command(random)]),
        // Behind a subscription in RESP2 nobody could ask for answers again.
        74..76 => {
            let inner = (0..random.below(4)).map(|_| muted(random));
            let mut commands: Vec<Words> = [words("CLIENT REPLY OFF")].into_iter().chain(inner).collect();
            commands.push(words("CLIENT REPLY ON"));
            Step::of(commands)
        }
        76..78 => {
            let subscriptions = [("SUBSCRIBE", &NAMES[..]), ("PSUBSCRIBE", &PATTERNS)];
            let mut commands = ["RESET", "HELLO 3", "CLIENT REPLY OFF"].map(words).to_vec();
            commands.extend(subscriptions.map(|(verb, pool)| several(verb, pool, 2, random)));
            commands.extend((0..random.below(4)).map(|_| muted(random)));
            commands.push(words("CLIENT REPLY ON"));
            Step::of(commands)
        }
        78..81 => {
            let publish = several("PUBLISH", &NAMES, 2, random);
            let meanwhile = Some((words("CLIENT REPLY OFF"), random.below(CLIENTS), publish));
            Step { meanwhile, ..Step::of(vec![words("CLIENT REPLY ON")]) }
        }
        81..84 => {
            let script = random.of(&[
                "redis.call('publish', ARGV[1], ARGV[2]) return 'said'",
                "redis.call('spublish', ARGV[1], ARGV[2]) return 'said'",
                "return redis.pcall('subscribe', ARGV[1])",
                "return redis.pcall('psubscribe', ARGV[1])",
                "return redis.pcall('unsubscribe')",
            ]);
            let mut command = words("EVAL");
            command.extend([script.as_bytes().to_vec(), b"0".to_vec()]);
            command.extend(several("", &NAMES, 2, random).split_off(1));
            Step::of(vec![command])
        }
        84..87 => {
            let mut command = words("CONFIG SET notify-keyspace-events");
            command.push(random.of(&CLASSES).into());
            Step::of(vec![command])
        }
        87..89 => Step::of(vec![words(random.of(&["SELECT 0", "SELECT 1", "SELECT 15", "SELECT 16"]))]),
        _ => {
            let key = random.of(&KEYS);
            let change = random.of(&[
                "SET KEY 1",
                "SET KEY 2 EX 100",
                "SETNX KEY 3",
                "DEL KEY",
                "APPEND KEY 1",
                "INCR KEY",
                "EXPIRE KEY 100",
                "PERSIST KEY",
                "GETDEL KEY",
                "SETRANGE KEY 0 1",
                "GET KEY",
                "EXPIRE KEY -1",
                "SETEX KEY 100 1",
            ]);
            Step::of(vec![words(&change.replace("KEY", key))])
        }
    }
}

/// One of which no answer is wanted.
fn muted(random: &mut Random) -> Words {
    match random.of(&["PUBLISH", "SPUBLISH", "UNSUBSCRIBE", "PUNSUBSCRIBE", "PING", "PUBSUB NUMPAT"]) {
        verb @ ("PUBLISH" | "SPUBLISH") => several(verb, &NAMES, 2, random),
        "PUNSUBSCRIBE" => several("PUNSUBSCRIBE", &PATTERNS, 1, random),
        "UNSUBSCRIBE" => several("UNSUBSCRIBE", &NAMES, 1, random),
        other => words(other),
    }
}

/// One that may stand in a transaction, and that no other one there has to do with. None of a key: who subscribes behind a change may
/// still be told of it.
fn queued(random: &mut Random) -> Words {
    let verb = random.of(&["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "SPUBLISH", "PUBSUB NUMPAT"]);
    match verb {
        "PUBSUB NUMPAT" => words(verb),
        "PSUBSCRIBE" => several(verb, &PATTERNS, 1, random),
        "SUBSCRIBE" | "SSUBSCRIBE" => several(verb, &NAMES, 1, random),
        _ => several(verb, &NAMES, 2, random),
    }
}

fn command(random: &mut Random) -> Words {
    let verb = random.of(&[
        "SUBSCRIBE",
        "SUBSCRIBE",
        "PSUBSCRIBE",
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
    match verb {
        "SUBSCRIBE" | "SSUBSCRIBE" => {
            // Now and then many.
            let count = if random.below(20) == 0 { 30 } else { random.below(4) };
            several(verb, &NAMES, count, random)
        }
        "PSUBSCRIBE" | "PUNSUBSCRIBE" => several(verb, &PATTERNS, random.below(4), random),
        "UNSUBSCRIBE" | "SUNSUBSCRIBE" => several(verb, &NAMES, random.below(3), random),
        "PUBLISH" | "SPUBLISH" => {
            let mut words = several(verb, &NAMES, 1, random);
            let len = random.of(&["0", "1", "20", "3000", "40000"]).parse().expect("a number");
            words.push(vec![b'm'; len]);
            words
        }
        "PUBSUB" => {
            let subcommand = random.of(&[
                "PUBSUB CHANNELS",
                "PUBSUB NUMSUB",
                "PUBSUB NUMPAT",
                "PUBSUB SHARDCHANNELS",
                "PUBSUB SHARDNUMSUB",
                "PUBSUB HELP",
                "PUBSUB nonsense",
            ]);
            let pool = if subcommand.ends_with("CHANNELS") { &PATTERNS[..] } else { &NAMES };
            several(subcommand, pool, random.below(3), random)
        }
        "HELLO" => words(random.of(&["HELLO 2", "HELLO 3", "HELLO 3", "HELLO 4"])),
        "CLIENT" => words("CLIENT REPLY ON"),
        "GET" => words("GET nothing"),
        _ => several(verb, &[b"word"], random.below(3), random),
    }
}

/// A connection, and what was read of it beyond its last pong.
struct Client<S> {
    stream: S,
    input: Vec<u8>,
}

/// The frames that a client gets until its pong, sorted.
fn frames<S: Read + Write>(client: &mut Client<S>, number: usize) -> Vec<String> {
    let marker = format!("marker:{number}");
    let mut request = Vec::new();
    compose::request(&mut request, &["PING", &marker]);
    client.stream.write_all(&request).expect("an open connection");
    let mut frames = next_frames_until(&mut client.stream, &marker, &mut client.input);
    frames.sort_unstable();
    frames
}

/// What may differ: the words of a greeting, the order of names, and which of them goes with which count when all subscriptions end.
fn comparable(step: &Step, frames: &[String]) -> Vec<String> {
    let is_greeting = |frame: &str| ["%7\\r", "*14\\r"].iter().any(|head| frame.starts_with(head));
    let without_words = |frame: &String| match is_greeting(frame) {
        true => frame.chars().take(3).collect(),
        false => frame.clone(),
    };
    let frames: Vec<String> = frames.iter().map(without_words).collect();
    let ends_all = |words: &Words| words.len() == 1 && words[0].ends_with(b"UNSUBSCRIBE");
    let by_lines = step.by_lines
        || step.commands.iter().any(ends_all)
        || step.commands.iter().any(|words| words[0] == b"PUBSUB");
    if !by_lines {
        return frames;
    }
    let mut lines: Vec<String> = frames
        .iter()
        .flat_map(|frame| frame.split("\\r\\n").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    lines.sort_unstable();
    lines
}

fn send<S: Write>(client: &mut Client<S>, commands: &[Words]) {
    let mut request = Vec::new();
    commands.iter().for_each(|words| compose::request(&mut request, words));
    client.stream.write_all(&request).expect("an open connection");
}

/// Lets a client take its step, and says what each of them has got then.
fn take<S: Read + Write>(
    step: &Step,
    client: usize,
    number: usize,
    clients: &mut [Client<S>],
) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new(); clients.len()];
    if let Some((ahead, other, command)) = &step.meanwhile
        && *other != client
    {
        send(&mut clients[client], std::slice::from_ref(ahead));
        send(&mut clients[*other], std::slice::from_ref(command));
        all[*other] = frames(&mut clients[*other], number);
    }
    send(&mut clients[client], &step.commands);
    // Whoever has asked is answered first: then all subscribers have the message.
    for who in (client..clients.len()).chain(0..client) {
        all[who].extend(frames(&mut clients[who], number));
        all[who].sort_unstable();
    }
    all
}

#[test]
fn random_subscriptions_and_messages_are_answered_as_by_redis() {
    let Some(redis) = Redis::start("messages") else {
        eprintln!("SKIPPED: no redis-server 7.0 is installed; messages were not compared with it");
        return;
    };
    let steps = std::env::var("TORC_DIFFERENTIAL_COMMANDS").ok().and_then(|count| count.parse().ok());
    for (config, seed) in kinds().into_iter().zip(1..) {
        let (kind, shards) = (config.transport, config.shards);
        let server = start(ServerConfig { ..config });
        let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        let mut ours: Vec<_> =
            (0..CLIENTS).map(|_| Client { stream: connect(address(&server)), input: Vec::new() }).collect();
        let mut theirs: Vec<_> =
            (0..CLIENTS).map(|_| Client { stream: redis.connect(), input: Vec::new() }).collect();
        for command in ["FLUSHALL", "CONFIG SET notify-keyspace-events KEA"].map(words) {
            let step = Step::of(vec![command]);
            take(&step, 0, 0, &mut ours);
            take(&step, 0, 0, &mut theirs);
        }
        for number in 0..steps.unwrap_or(STEPS) {
            let (client, step) = (random.below(CLIENTS), step(&mut random));
            let expected = take(&step, client, number, &mut theirs);
            let got = take(&step, client, number, &mut ours);
            for (who, (mut got, expected)) in got.into_iter().zip(expected).enumerate() {
                // Changes of keys are told a moment later.
                let begun = Instant::now();
                while got.len() < expected.len() && begun.elapsed() < PATIENCE {
                    got.extend(frames(&mut ours[who], number));
                    got.sort_unstable();
                }
                let words: Vec<_> = step.commands.iter().flatten().map(|word| shown(word)).collect();
                assert_eq!(
                    comparable(&step, &got),
                    comparable(&step, &expected),
                    "{kind}, {shards} shards: client {who} after {client} in step {number}: {words:?}"
                );
            }
        }
        end(server);
    }
}

fn shown(word: &[u8]) -> String {
    word.escape_ascii().to_string().chars().take(60).collect()
}
