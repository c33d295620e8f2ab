//! Random commands on few keys, put to memcached itself and to a session over a shard: leases, stale items, tokens,
//! modes, expiry and the fetched mark; and lines that are wrong.
//!
//! `TORC_TEST_COMMANDS` is how many commands there are, `TORC_TEST_SEED` which ones.
//!
//! Method: after each command `me` tells both sides' tokens, so that later commands can name one that is right, too
//! low or too high. Answers are compared without tokens, and with times to live to 20 seconds. What is documented as
//! different is not asked. Without memcached 1.6.18 the test is skipped, loudly.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use support::memcached::{Memcached, PATIENCE, VERSION};
use support::{Connection, shard, shown};
use torc_engine::Shard;
use torc_net::session::Protocol;

const NOW: u64 = 1_800_000_000_000;
const COMMANDS: u64 = 100_000;
/// Of two things that are wrong memcached names an empty value before its token.
const NOT_A_NUMBER: &[u8] = b"CLIENT_ERROR cannot increment";
/// Keys; the last one never has a placeholder, which `gat` meets in another way.
const KEYS: [&str; 3] = ["a", "b", "plain"];

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

/// A command in which `{right}`, `{low}` and `{high}` stand for tokens.
fn command(random: &mut Random, key: &str) -> String {
    let value = random.of(&["500", "12x", "", "700"]);
    let bytes = value.len();
    let exptime = random.of(&["0", "100", "500", "1000", "-1", "4294967295", "2147483648", "4294967296"]);
    match random.below(26) {
        0..6 => format!("mg {key}{}\r\n", get_flags(random, key)),
        6..9 => format!("ms {key} {bytes}{}\r\n{value}\r\n", set_flags(random)),
        9..11 => format!("md {key}{}\r\n", flags(random, &["C", "I", "I", "T", "q", "k", "O7"])),
        11..13 => format!("ma {key}{}\r\n", count_flags(random)),
        13 => {
            let verb = random.of(&["set", "add", "replace", "append", "prepend"]);
            format!("{verb} {key} {} {exptime} {bytes}\r\n{value}\r\n", random.below(3))
        }
        14 => format!("cas {key} 1 {exptime} {bytes} {}\r\n{value}\r\n", token(random)),
        15 => format!("delete {key}\r\n"),
        16 => format!("touch {key} {exptime}\r\n"),
        17 => format!("{} {key} 1\r\n", random.of(&["incr", "decr"])),
        18 if key == KEYS[2] => format!("gat {exptime} {key}\r\n"),
        20..22 => wrong(random, key),
        22 => {
            let verb = random.of(&["set", "add", "replace", "append", "prepend"]);
            format!("{verb} {key} {} {exptime} {bytes} noreply\r\n{value}\r\n", random.below(3))
        }
        23 => format!("{} {} none {}\r\n", random.of(&["get", "bget", "gat 100"]), KEYS[2], KEYS[2]),
        24 => {
            let delta = random.of(&["0", "00", "1 noreply", "0 x"]);
            format!("{} {key} {delta}\r\n", random.of(&["incr", "decr"]))
        }
        // The name of the last key in base64, which memcached gives back as it was set.
        25 => format!("mg cGxhaW4= b{}\r\n", flags(random, &["v", "t", "f", "O7", "q", "u"])),
        _ => format!("mg {key} v t f h u\r\n"),
    }
}

/// A line that is not quite one: each is refused, or means the same to both.
fn wrong(random: &mut Random, key: &str) -> String {
    const LINES: [&str; 61] = [
        "get",
        "gets",
        "gat",
        "gat x {key}",
        "mg",
        "mg {key} v v",
        "mg {key} Z",
        "mg {key} T",
        "mg {key} Tx",
        "mg {key} N1.5",
        "mg {key} O0123456789012345678901234567890",
        "mg none O01234567890123456789012345678901",
        "mg {key} O1 O2",
        "mg !!! b",
        "mg {long} v",
        "me",
        "me {long}",
        "md",
        "md {key} Z",
        "md {key} q q",
        "md {key} Cx",
        "md {long}",
        "ma",
        "ma {key} MX",
        "ma {key} MID",
        "ma {key} Dx",
        "ma {key} D-1",
        "ma {key} Jx",
        "ma {long}",
        "incr",
        "incr {key}",
        "incr {key} x",
        "incr {key} -1",
        "incr {key} 1 2 3",
        "incr {key} 18446744073709551616",
        "decr {key} 1.5",
        "touch",
        "touch {key}",
        "touch {key} x",
        "touch {key} 1 2 3",
        "delete",
        "delete {key} 1",
        "delete {key} a b",
        "delete {key} a b c",
        "get {long}",
        "get none {long}",
        "set {key}",
        "add {key} 0 0",
        "verbosity",
        "verbosity x",
        "verbosity 0 0 0",
        "flush_all x",
        "flush_all 0 0 0",
        "cache_memlimit",
        "cache_memlimit 7",
        "stats nonsense",
        "stats detail",
        "slabs reassign 1 1",
        "slabs reassign x 1",
        "lru tune 90 90 1 1",
        "mx {key}",
    ];
    let line = random.of(&LINES).replace("{long}", &"k".repeat(251)).replace("{key}", key);
    format!("{line}{}", random.of(&["\r\n", "\n"]))
}

fn token(random: &mut Random) -> &'static str {
    random.of(&["{right}", "{right}", "{low}", "{high}"])
}

/// Some of the flags, in any order.
fn flags(random: &mut Random, letters: &[&str]) -> String {
    let mut chosen: Vec<&str> = letters.iter().copied().filter(|_| random.one_in(2)).collect();
    let mut text = String::new();
    while !chosen.is_empty() {
        let letter = chosen.remove(random.below(chosen.len()));
        let argument = match letter {
            "C" => random.of(&["{right}", "{right}", "{low}", "{low}", "{high}", "0"]),
            "T" | "N" => random.of(&["0", "100", "500", "1000", "5000"]),
            "R" => random.of(&["0", "300", "2000", "-1"]),
            "F" => random.of(&["0", "7"]),
            "M" => random.of(&["E", "A", "P", "R", "S"]),
            _ => "",
        };
        if !text.contains(&format!(" {letter}")) {
            text += &format!(" {letter}{argument}");
        }
    }
    text
}

fn get_flags(random: &mut Random, key: &str) -> String {
    let vivify = key != KEYS[2] && random.one_in(2);
    if !vivify {
        return flags(random, &["v", "t", "c", "f", "h", "k", "s", "O7", "q", "u", "T", "R"]);
    }
    // What `t` tells of a placeholder is its time to live in the end.
    let end = if random.one_in(2) { " t" } else { "" };
    let others = flags(random, &["v", "c", "f", "h", "k", "s", "O7", "q", "u", "T", "R"]);
    let ttl = random.of(&["100", "500", "5000"]);
    if random.one_in(2) { format!(" N{ttl}{others}{end}") } else { format!("{others} N{ttl}{end}") }
}

fn set_flags(random: &mut Random) -> String {
    flags(random, &["C", "I", "T", "F", "M", "q", "k", "c", "O7"])
}

fn count_flags(random: &mut Random) -> String {
    let end = if random.one_in(2) { " t" } else { "" };
    // memcached tells that a counter was made in spite of `q`, and pads one that becomes shorter.
    let others = match random.one_in(3) {
        true => flags(random, &["N", "T", "D1", "C", "v", "k", "c"]) + " J500",
        false => flags(random, &["T", "D1", "C", "v", "k", "c", "q", "O7"]),
    };
    format!("{others}{end}")
}

/// The answer without tokens, and with times to live to 20 seconds.
fn comparable(answer: &[u8]) -> String {
    let text = answer.escape_ascii().to_string();
    let mut words: Vec<String> = text.split(' ').map(str::to_string).collect();
    for word in &mut words {
        let (number, end) = match word.split_once("\\r\\n") {
            Some((number, end)) => (number.to_string(), format!("\\r\\n{end}")),
            None => (word.clone(), String::new()),
        };
        let Some((letter, Ok(value))) =
            number.split_at_checked(1).map(|(letter, value)| (letter, value.parse::<u64>()))
        else {
            continue;
        };
        match letter {
            "c" => *word = format!("c#{end}"),
            "t" => *word = format!("t{}{end}", value.div_ceil(20) * 20),
            _ => {}
        }
    }
    words.join(" ")
}

/// The token and the fetched mark that `me` tells.
fn facts(answer: &[u8]) -> Option<(u64, bool)> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let cas = text.split(" cas=").nth(1)?.split(' ').next()?.parse().ok()?;
    Some((cas, text.contains("fetch=yes")))
}

fn filled(command: &str, token: u64) -> Vec<u8> {
    let number = |token: u64| token.to_string();
    command
        .replace("{right}", &number(token))
        .replace("{low}", &number(token - 1))
        .replace("{high}", &number(token + 1))
        .into_bytes()
}

/// Sends bytes and reads all that is answered; `mn` behind them tells where that ends.
fn ask(stream: &mut UnixStream, request: &[u8]) -> Vec<u8> {
    const END: &[u8] = b"MN\r\n";
    stream.write_all(&[request, b"mn\r\n"].concat()).expect("a request is sent");
    let (mut answer, mut buffer, begun) = (Vec::new(), [0; 4096], Instant::now());
    while !answer.ends_with(END) {
        assert!(begun.elapsed() < PATIENCE, "memcached does not answer {}", shown(request));
        match stream.read(&mut buffer) {
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => panic!("reading from memcached: {error}"),
        }
    }
    answer.truncate(answer.len() - END.len());
    answer
}

/// Both sides, with the last commands for whoever looks for a difference.
struct Pair {
    memcached: UnixStream,
    connection: Connection,
    shard: Shard,
    past: Vec<String>,
}

impl Pair {
    fn step(&mut self, command: &str, key: &str, tokens: (u64, u64)) -> (u64, u64) {
        let theirs = ask(&mut self.memcached, &filled(command, tokens.0));
        let ours = self.ours(&filled(command, tokens.1));
        self.past.push(format!("{}-> {}", shown(&filled(command, tokens.0)), shown(&theirs)));
        let past = self.past[self.past.len().saturating_sub(8)..].join("\n");
        if !(ours.starts_with(b"EX") && theirs.starts_with(NOT_A_NUMBER)) {
            assert_eq!(comparable(&ours), comparable(&theirs), "{past}");
        }
        let me = format!("me {key}\r\n");
        let (theirs, ours) =
            (facts(&ask(&mut self.memcached, me.as_bytes())), facts(&self.ours(me.as_bytes())));
        assert_eq!(ours.map(|facts| facts.1), theirs.map(|facts| facts.1), "there, and fetched:\n{past}");
        (theirs.map_or(2, |facts| facts.0), ours.map_or(2, |facts| facts.0))
    }

    fn ours(&mut self, request: &[u8]) -> Vec<u8> {
        self.connection.send(request, &mut self.shard, NOW)
    }
}

#[test]
fn random_commands_are_answered_as_memcached_answers_them() {
    let Some(memcached) = Memcached::start("commands") else {
        eprintln!("SKIPPED: memcached {VERSION} is not installed, so no commands were compared with it");
        return;
    };
    let connection = Connection::new(Some(Protocol::Memcache));
    let mut pair = Pair { memcached: memcached.connect(), connection, shard: shard(NOW), past: Vec::new() };
    let mut tokens = [(2, 2); KEYS.len()];
    let from_environment = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let seed = from_environment("TORC_TEST_SEED", 1);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1));
    eprintln!("seed {seed}");
    for _ in 0..from_environment("TORC_TEST_COMMANDS", COMMANDS) {
        let at = random.below(KEYS.len());
        let command = command(&mut random, KEYS[at]);
        tokens[at] = pair.step(&command, KEYS[at], tokens[at]);
    }
}
