//! Random commands with nasty arguments.

use super::Words;
use super::random::Random;
use super::{scripts, sessions};

pub(crate) const KEYS: [&str; 12] =
    ["a", "b", "c", "d", "e", "f", "{t}1", "{t}2", "", "\0\r\n", "nobody", "A"];
/// Keys whose values stay short: Redis compares two values by a table of all their bytes.
pub(crate) const SHORT_KEYS: [&str; 4] = ["l1", "l2", "l3", "{t}4"];
pub(crate) const NUMBERS: [&str; 28] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "10",
    "100",
    "-100",
    "255",
    "4096",
    "65535",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "-0",
    "+1",
    "01",
    " 1",
    "1 ",
    "1.0",
    "1e2",
    "0x10",
    "",
    "abc",
    "nan",
    "inf",
];
const FLOATS: [&str; 18] = [
    "0", "1", "-1", "0.1", "-2.5", "1e3", "1.5e-3", "3.0", "5.", ".5", "1e400", "nan", "inf", "-inf",
    "0x1p3", " 1", "1 ", "abc",
];
/// Seconds from now, or since 1970, that end long after the test or before it.
const SECONDS: [&str; 10] = [
    "1000",
    "100000",
    "-1",
    "0",
    "9223372036854775807",
    "9223372036854775",
    "-9223372036854775808",
    "abc",
    "1.5",
    "4102444800",
];
const MILLISECONDS: [&str; 8] = [
    "1000000",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "abc",
    "4102444800000",
    "100000000",
];
const OFFSETS: [&str; 12] =
    ["0", "1", "-1", "5", "-5", "7", "8", "100", "-100", "4000", "abc", "9223372036854775808"];
pub(crate) const WORDS: [&str; 8] =
    ["", "x", "hello", "\0\u{7f}\r\n", "10", "-3", "3.0", "a longer value of some forty-five bytes or so"];
const SMALL: [&str; 6] = ["0", "1", "2", "3", "15", "16"];
const TYPES: [&str; 12] = ["u8", "i8", "u1", "i64", "u63", "u64", "i5", "u16", "i0", "x8", "u", "i65"];

pub(crate) fn words(all: &[&str]) -> Words {
    all.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// One command; now and then with a word too many or too few.
pub(crate) fn command(random: &mut Random) -> Words {
    match random.below(20) {
        0 => scripts::scripted(random),
        1 => changed(random, sessions::sessions),
        _ => any_command(random),
    }
}

/// The same, but for scripts and what is about the session.
pub(crate) fn any_command(random: &mut Random) -> Words {
    changed(random, |random| match random.below(106) {
        0..24 => reads(random),
        24..48 => writes(random),
        48..56 => counters(random),
        56..66 => expiries(random),
        66..77 => bits(random),
        77..82 => compared(random),
        82..92 => several(random),
        92..100 => transactions(random),
        _ => others(random),
    })
}

fn changed(random: &mut Random, command: impl Fn(&mut Random) -> Words) -> Words {
    let mut command = command(random);
    if random.one_in(60) {
        command.pop();
    } else if random.one_in(60) {
        command.push(random.of(&WORDS).as_bytes().to_vec());
    }
    if command.is_empty() { words(&["PING"]) } else { command }
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0..6 => random.of(&WORDS).as_bytes().to_vec(),
        6..9 => random.of(&NUMBERS).as_bytes().to_vec(),
        9 => random.of(&FLOATS).as_bytes().to_vec(),
        10 => vec![b'v'; random.below(300)],
        // Longer than what is kept in one piece.
        _ => (0..20_000 + random.below(50_000)).map(|at| (at % 251) as u8).collect(),
    }
}

fn reads(random: &mut Random) -> Words {
    let key = random.of(&KEYS);
    let (one, other) = (random.of(&OFFSETS), random.of(&OFFSETS));
    match random.below(10) {
        0..4 => words(&["GET", key]),
        4 => words(&["STRLEN", key]),
        5 => words(&[random.of(&["GETRANGE", "SUBSTR"]), key, one, other]),
        6 => words(&["TYPE", key]),
        7 => words(&["OBJECT", "ENCODING", key]),
        8 => words(&["EXISTS", key, random.of(&KEYS), key]),
        _ => words(&["gEt", key]),
    }
}

fn writes(random: &mut Random) -> Words {
    let (key, value) = (random.of(&KEYS), value(random));
    let with = |before: &[&str]| words(before).into_iter().chain([value.clone()]).collect::<Words>();
    match random.below(14) {
        0..5 => {
            let mut command = with(&["SET", key]);
            for _ in 0..random.below(4) {
                command.extend(set_option(random));
            }
            command
        }
        5 => with(&["SETNX", key]),
        6 => with(&["SETEX", key, random.of(&SECONDS)]),
        7 => with(&["PSETEX", key, random.of(&MILLISECONDS)]),
        8 => with(&["GETSET", key]),
        9 | 10 => with(&["APPEND", key]),
        11 => with(&["SETRANGE", key, random.of(&OFFSETS)]),
        12 => words(&["GETDEL", key]),
        _ => {
            let mut command = words(&["GETEX", key]);
            for _ in 0..random.below(3) {
                command.extend(get_option(random));
            }
            command
        }
    }
}

fn set_option(random: &mut Random) -> Words {
    match random.below(12) {
        0..2 => words(&["NX"]),
        2..4 => words(&["XX"]),
        4..6 => words(&["GET"]),
        6 => words(&["KEEPTTL"]),
        7 => words(&["whatever"]),
        _ => time_option(random),
    }
}

fn get_option(random: &mut Random) -> Words {
    if random.one_in(4) { words(&["PERSIST"]) } else { time_option(random) }
}

fn time_option(random: &mut Random) -> Words {
    let (seconds, milliseconds) = (random.of(&SECONDS), random.of(&MILLISECONDS));
    match random.below(5) {
        0 => words(&["EX", seconds]),
        1 => words(&["px", milliseconds]),
        2 => words(&["EXAT", seconds]),
        3 => words(&["PXAT", milliseconds]),
        _ => words(&["EX"]),
    }
}

fn counters(random: &mut Random) -> Words {
    let (key, number) = (random.of(&KEYS), random.of(&NUMBERS));
    match random.below(6) {
        0 => words(&["INCR", key]),
        1 => words(&["DECR", key]),
        2 => words(&["INCRBY", key, number]),
        3 => words(&["DECRBY", key, number]),
        4 => words(&["INCRBYFLOAT", key, random.of(&FLOATS)]),
        _ => words(&["SET", key, random.of(&NUMBERS)]),
    }
}

fn expiries(random: &mut Random) -> Words {
    let key = random.of(&KEYS);
    let mut command = match random.below(10) {
        0 => words(&["EXPIRE", key, random.of(&SECONDS)]),
        1 => words(&["PEXPIRE", key, random.of(&MILLISECONDS)]),
        2 => words(&["EXPIREAT", key, random.of(&SECONDS)]),
        3 => words(&["PEXPIREAT", key, random.of(&MILLISECONDS)]),
        4 => return words(&["PERSIST", key]),
        5 | 6 => return words(&["TTL", key]),
        7 => return words(&["PTTL", key]),
        8 => return words(&["EXPIRETIME", key]),
        _ => return words(&["PEXPIRETIME", key]),
    };
    for _ in 0..random.below(3) {
        command.extend(words(&[random.of(&["NX", "XX", "GT", "lt", "no"])]));
    }
    command
}

fn bits(random: &mut Random) -> Words {
    let (key, offset) = (random.of(&KEYS), random.of(&OFFSETS));
    match random.below(10) {
        8.. => combined(random),
        0..2 => words(&["SETBIT", key, offset, random.of(&["0", "1", "2", "x"])]),
        2 => words(&["GETBIT", key, offset]),
        3 => {
            let mut command = words(&["BITCOUNT", key]);
            command.extend(range(random));
            command
        }
        4 => {
            let mut command = words(&["BITPOS", key, random.of(&["0", "1", "2"])]);
            command.extend(range(random));
            command
        }
        _ => {
            let name = random.of(&["BITFIELD", "BITFIELD", "BITFIELD_RO"]);
            let mut command = words(&[name, key]);
            for _ in 0..random.below(4) {
                command.extend(field(random));
            }
            command
        }
    }
}

/// BITOP.
fn combined(random: &mut Random) -> Words {
    let operation = random.of(&["AND", "OR", "XOR", "NOT", "and", "Not", "what"]);
    let mut command = words(&["BITOP", operation, random.of(&KEYS)]);
    for _ in 0..if random.one_in(3) { 1 } else { random.below(5) } {
        command.extend(words(&[random.of(&KEYS)]));
    }
    command
}

/// LCS, and what changes the values that it compares.
fn compared(random: &mut Random) -> Words {
    let (one, other) = (random.of(&SHORT_KEYS), random.of(&SHORT_KEYS));
    match random.below(8) {
        0 => words(&["SET", one, random.of(&WORDS)]),
        1 => {
            let letters: Vec<u8> = (0..random.below(200)).map(|_| b"abc"[random.below(3)]).collect();
            words(&["SET", one]).into_iter().chain([letters]).collect()
        }
        2 => words(&["DEL", one]),
        _ => {
            let mut command = words(&[random.of(&["LCS", "lcs"]), one, other]);
            for _ in 0..random.below(4) {
                command.extend(match random.below(6) {
                    0..2 => words(&["IDX"]),
                    2 => words(&["len"]),
                    3 => words(&["WITHMATCHLEN"]),
                    4 => words(&["MINMATCHLEN", random.of(&NUMBERS)]),
                    _ => words(&[random.of(&["MINMATCHLEN", "what"])]),
                });
            }
            command
        }
    }
}

fn range(random: &mut Random) -> Words {
    let (one, other) = (random.of(&OFFSETS), random.of(&OFFSETS));
    match random.below(5) {
        0 => Words::new(),
        1 => words(&[one]),
        2 => words(&[one, other]),
        3 => words(&[one, other, "BIT"]),
        _ => words(&[one, other, random.of(&["byte", "bits"])]),
    }
}

fn field(random: &mut Random) -> Words {
    let (kind, offset) = (random.of(&TYPES), random.of(&["0", "1", "#1", "100", "#9", "-1", "x", "#"]));
    match random.below(5) {
        0..2 => words(&["GET", kind, offset]),
        // The least number overflows in what Redis 7.0 reckons.
        2 => words(&["SET", kind, offset, random.of(&NUMBERS[..13])]),
        3 => words(&["INCRBY", kind, offset, random.of(&NUMBERS)]),
        _ => words(&["OVERFLOW", random.of(&["WRAP", "sat", "FAIL", "no"])]),
    }
}

fn several(random: &mut Random) -> Words {
    let (one, other) = (random.of(&KEYS), random.of(&KEYS));
    match random.below(16) {
        0..2 => words(&["MGET", one, other, random.of(&KEYS)]),
        2 => words(&[random.of(&["MSET", "MSETNX"]), one, random.of(&WORDS), other, random.of(&NUMBERS)]),
        3 => words(&["DEL", one, other]),
        4 => words(&["UNLINK", one]),
        5 => words(&["TOUCH", one, other]),
        6..8 => words(&["RENAME", one, other]),
        8 => words(&["RENAMENX", one, other]),
        9..11 => {
            let mut command = words(&["COPY", one, other]);
            if random.one_in(3) {
                command.extend(words(&["DB", random.of(&SMALL)]));
            }
            if random.one_in(3) {
                command.extend(words(&[random.of(&["REPLACE", "no"])]));
            }
            command
        }
        11 | 12 => words(&["MOVE", one, random.of(&SMALL)]),
        13 => words(&["KEYS", random.of(&["*", "[a-c]", "?", "\\a", "{t}*", "[^a]", "nobody"])]),
        14 => words(&["DBSIZE"]),
        _ => words(&["MGET"]),
    }
}

fn transactions(random: &mut Random) -> Words {
    match random.below(8) {
        0..2 => words(&["MULTI"]),
        2..5 => words(&["EXEC"]),
        5 => words(&["DISCARD"]),
        6 => words(&["WATCH", random.of(&KEYS), random.of(&KEYS)]),
        _ => words(&["UNWATCH"]),
    }
}

fn others(random: &mut Random) -> Words {
    match random.below(12) {
        0..3 => words(&["SELECT", random.of(&["0", "0", "1", "15", "16", "-1", "x"])]),
        3 => words(&["SWAPDB", random.of(&SMALL), random.of(&SMALL)]),
        4 => words(&["FLUSHDB"]),
        5 => words(&["PING", random.of(&WORDS)]),
        6 => words(&["ECHO", random.of(&WORDS)]),
        7 => words(&["NOSUCHCOMMAND", random.of(&WORDS), random.of(&KEYS)]),
        8 => words(&["OBJECT", random.of(&["REFCOUNT", "HELP", "no"]), random.of(&KEYS)]),
        9 => words(&["WAIT", "0", "0"]),
        10 => words(&["RESET"]),
        _ => words(&["TYPE", random.of(&KEYS)]),
    }
}
