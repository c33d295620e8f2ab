//! Random scripts that call random commands.

use super::Words;
use super::commands::{KEYS, SHORT_KEYS, WORDS, any_command, words};
use super::random::Random;
use super::random_scripts::script;

/// What scripts are about, whatever they name: in a transaction they may use no other key.
fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(SHORT_KEYS).chain(WORDS)
}

/// Scripts that EVALSHA names, with their digests.
const KNOWN: [(&str, &str); 4] = [
    ("return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
    ("return {KEYS[1],ARGV[1]}", "bfbf458525d6a0b19200bfd6db3af481156b367b"),
    ("return redis.call('get',KEYS[1])", "fd758d1589d044dd850a6f05d52f2eefd27f033f"),
    ("return redis.call('set',KEYS[1],ARGV[1])", "c686f316aaf1eb01d5a4de1b0b63cd233010e63d"),
];

const HEADS: [&str; 6] = [
    "#!lua\n",
    "#!lua flags=no-writes\n",
    "#!lua flags=allow-oom,allow-stale\n",
    "#!lua flags=what\n",
    "#!lua name=x\n",
    "#!python\n",
];

/// EVAL and its kind.
pub(crate) fn scripted(random: &mut Random) -> Words {
    let (text, digest) = random.of(&KNOWN);
    match random.below(20) {
        0 => words(&["SCRIPT", "LOAD", text]),
        1 => words(&["SCRIPT", "EXISTS", digest, random.of(&KNOWN).1, "x"]),
        2 => words(&["SCRIPT", random.of(&["FLUSH", "EXISTS", "LOAD", "WHAT"])]),
        3 | 4 => {
            let name = random.of(&["EVALSHA", "EVALSHA", "EVALSHA_RO"]);
            words(&[name, digest, random.of(&["1", "1", "0", "2"]), random.of(&KEYS), random.of(&WORDS)])
        }
        5 => words(&["EVALSHA", random.of(&["x", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", ""]), "0"]),
        6 => words(&[
            "EVAL",
            text,
            random.of(&["1", "-1", "3", "x", "9223372036854775808"]),
            random.of(&KEYS),
            "v",
        ]),
        _ => {
            let name = if random.one_in(6) { "EVAL_RO" } else { "EVAL" };
            let head = if random.one_in(8) { random.of(&HEADS) } else { "" };
            let text = head.to_owned() + &script(random, &call);
            let mut command = words(&[name, &text, &keys().count().to_string()]);
            command.extend(keys().map(|key| key.as_bytes().to_vec()));
            command.push(b"argument".to_vec());
            command
        }
    }
}

/// Commands that a script of ours cannot do, or whose answers depend on the clock or may differ.
const LEFT_OUT: [&str; 16] = [
    "object",
    "keys",
    "dbsize",
    "ttl",
    "pttl",
    "expiretime",
    "pexpiretime",
    "move",
    "select",
    "swapdb",
    "flushdb",
    "wait",
    "eval",
    "evalsha",
    "eval_ro",
    "evalsha_ro",
];
/// Those of which that is so with some arguments.
const LEFT_OUT_IF_LONG: [(&str, usize); 3] = [("bitcount", 2), ("bitpos", 2), ("copy", 3)];
/// Commands of several keys.
const OF_KEYS: [&str; 13] = [
    "del", "unlink", "exists", "touch", "mget", "mset", "msetnx", "watch", "bitop", "rename", "renamenx",
    "copy", "lcs",
];

fn is_one_of(word: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether what a command does, and answers, is the same in a script of ours as in one of Redis, and to the millisecond.
fn is_for_scripts(command: &[Vec<u8>]) -> bool {
    let is_left_out =
        |(name, words): &(&str, usize)| is_one_of(&command[0], &[name]) && command.len() > *words;
    let is_left_out = is_one_of(&command[0], &LEFT_OUT) || LEFT_OUT_IF_LONG.iter().any(is_left_out);
    !is_left_out && !command.iter().any(|word| is_one_of(word, &["GT", "LT"]) || word.len() > 2000)
}

/// A call of a random command, as Lua.
fn call(random: &mut Random) -> String {
    let command = loop {
        let command = any_command(random);
        if is_for_scripts(&command) {
            break command;
        }
    };
    let names = if is_one_of(&command[0], &OF_KEYS) { command.len() } else { 2 };
    let words = command.iter().enumerate();
    let arguments: Vec<String> = words.map(|(place, word)| literal(random, word, place < names)).collect();
    format!("redis.{}({})", if random.one_in(3) { "call" } else { "pcall" }, arguments.join(", "))
}

/// A word as Lua says it: a string, or, if it is neither a command nor a key, now and then a number; or something that is no argument.
fn literal(random: &mut Random, word: &[u8], is_name: bool) -> String {
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
    match number {
        _ if random.one_in(150) => random.of(&["nil", "true", "{}"]).to_owned(),
        _ if random.one_in(150) && !is_name => random.of(&["1.5", "1e30", "-0.0", "2^53"]).to_owned(),
        Some(number) if random.one_in(3) && !is_name => format!("{number}"),
        _ => {
            let escaped = |byte: &u8| match byte {
                b' '..=b'~' if !matches!(byte, b'\'' | b'\\') => char::from(*byte).to_string(),
                _ => format!("\\{byte:03}"),
            };
            format!("'{}'", word.iter().map(escaped).collect::<String>())
        }
    }
}
