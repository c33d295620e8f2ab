//! The commands of RESP: one row each, and the quick way from a name to its row.
//!
//! A row says what COMMAND tells clients, which arguments are keys, and how the command is worked off. Lookup is a
//! perfect hash over the name in lower case, made at compile time.

use super::reply_kind::Kind;
use super::row::{Keys, Queueing, Row, Run, ScriptKind, Values};
use super::{
    bits, clients, cluster, compare, config, connection, counters, debug, dump, expiry, hot_keys, info,
    introspection, joint, keyspace, memory, messages, object, observe, scripting, several, strings, watch,
};
use crate::session::messages::Channels;
use torc_proto::resp::Arguments;
use torc_proto::resp::request::inline_word;

const NONE: Keys = Keys::NONE;
const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
const TWO: Keys = Keys { first: 1, last: 2, step: 1 };
const FROM_TWO: Keys = Keys { first: 2, last: -1, step: 1 };
const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };

const EVAL: ScriptKind = ScriptKind { by_digits: false, read_only: false };
const EVALSHA: ScriptKind = ScriptKind { by_digits: true, read_only: false };
const EVAL_RO: ScriptKind = ScriptKind { by_digits: false, read_only: true };
const EVALSHA_RO: ScriptKind = ScriptKind { by_digits: true, read_only: true };

macro_rules! rows {
    ($($name:literal $arity:literal [$($flag:literal)*] $keys:ident $group:literal $since:literal
       $values:expr, $run:expr, $summary:literal;)*) => {
        pub(super) const NAMES: &[&str] = &[$($name),*];

        /// Every command. GET and SET in their usual form are found before anybody looks here.
        pub(super) static ROWS: [Row; NAMES.len()] = [$(Row {
            name: $name, arity: $arity, flags: &[$($flag),*], keys: $keys, group: $group,
            since: $since, summary: $summary, values: $values, run: $run,
        }),*];
    };
}

/// The numbers of those that are found before anybody looks here.
pub(super) const GET: usize = 0;
pub(super) const SET: usize = 1;

use Run::{Chooses, Enters, Listens, Local, Mixed, Parts, Queue, Quit, Store};
use Values::{Pairs, Streamed};

rows! {
    "get" 2 ["readonly" "fast"] ONE "string" "1.0.0"
        Values::None, Parts(strings::value), "The value of a key";
    "set" -3 ["write" "denyoom"] ONE "string" "1.0.0"
        Streamed(2), Store(strings::set), "Store a value, with conditions and expiry";
    "setex" 4 ["write" "denyoom"] ONE "string" "2.0.0"
        Streamed(3), Store(strings::setex), "Store a value that expires after seconds";
    "psetex" 4 ["write" "denyoom"] ONE "string" "2.6.0"
        Streamed(3), Store(strings::psetex), "Store a value that expires after milliseconds";
    "setnx" 3 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Streamed(2), Store(strings::setnx), "Store a value if there is none";
    "getset" 3 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Streamed(2), Store(strings::getset), "Store a value and give the old one";
    "append" 3 ["write" "denyoom" "fast"] ONE "string" "2.0.0"
        Streamed(2), Store(strings::append), "Put bytes behind a value";
    "getdel" 2 ["write" "fast"] ONE "string" "6.2.0"
        Values::None, Parts(strings::getdel), "The value of a key, which is removed";
    "getex" -2 ["write" "fast"] ONE "string" "6.2.0"
        Values::None, Parts(strings::getex), "The value of a key, with a new expiry";
    "mget" -2 ["readonly" "fast"] ALL "string" "1.0.0"
        Values::None, Run::Keys(several::check, several::mget), "The values of several keys";
    "mset" -3 ["write" "denyoom"] PAIRS "string" "1.0.1"
        Pairs, Run::Keys(several::check_pairs, several::mset), "Store several values; not atomic over shards";
    "msetnx" -3 ["write" "denyoom"] PAIRS "string" "1.0.1"
        Pairs, Run::Joint(joint::msetnx, Kind::Jointly), "Store several values if no key has one";
    "msetex" -4 ["write" "denyoom" "movablekeys"] NONE "string" "8.4.0"
        Pairs, Run::Joint(joint::msetex, Kind::Jointly), "Store several values with an expiry, if all keys have one, or none";
    "lcs" -3 ["readonly"] TWO "string" "7.0.0"
        Values::None, Run::Joint(compare::lcs, Kind::Compared), "What two values have in common, in this order";
    "strlen" 2 ["readonly" "fast"] ONE "string" "2.2.0"
        Values::None, Parts(strings::strlen), "Length of a value in bytes";
    "getrange" 4 ["readonly"] ONE "string" "2.4.0"
        Values::None, Parts(strings::getrange), "Part of a value";
    "substr" 4 ["readonly"] ONE "string" "1.0.0"
        Values::None, Parts(strings::getrange), "Part of a value, the old name of GETRANGE";
    "setrange" 4 ["write" "denyoom"] ONE "string" "2.2.0"
        Streamed(3), Store(strings::setrange), "Overwrite part of a value";
    "incr" 2 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Values::None, Parts(counters::incr), "Add one to a counter";
    "decr" 2 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Values::None, Parts(counters::decr), "Take one from a counter";
    "incrby" 3 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Values::None, Parts(counters::incrby), "Add to a counter";
    "decrby" 3 ["write" "denyoom" "fast"] ONE "string" "1.0.0"
        Values::None, Parts(counters::decrby), "Take from a counter";
    "incrbyfloat" 3 ["write" "denyoom" "fast"] ONE "string" "2.6.0"
        Values::None, Parts(counters::incrbyfloat), "Add a fraction to a counter";
    "delifeq" 3 ["write" "fast"] ONE "string" "9.0.0"
        Values::None, Parts(strings::delifeq), "Remove a key if it has this value (Valkey)";
    "getbit" 3 ["readonly" "fast"] ONE "bitmap" "2.2.0"
        Values::None, Parts(bits::getbit), "A bit of a value";
    "setbit" 4 ["write" "denyoom"] ONE "bitmap" "2.2.0"
        Values::None, Parts(bits::setbit), "Change a bit of a value";
    "bitcount" -2 ["readonly"] ONE "bitmap" "2.6.0"
        Values::None, Parts(bits::bitcount), "How many bits of a value are set";
    "bitpos" -3 ["readonly"] ONE "bitmap" "2.8.7"
        Values::None, Parts(bits::bitpos), "The first bit of a value that is set, or is not";
    "bitfield" -2 ["write" "denyoom"] ONE "bitmap" "3.2.0"
        Values::None, Parts(bits::bitfield), "Look at integers in a value, and change them";
    "bitfield_ro" -2 ["readonly" "fast"] ONE "bitmap" "6.0.0"
        Values::None, Parts(bits::bitfield_ro), "Look at integers in a value";
    "bitop" -4 ["write" "denyoom"] FROM_TWO "bitmap" "2.6.0"
        Values::None, Run::Joint(bits::bitop, Kind::Combined), "Combine the bits of several values, and store them";
    "del" -2 ["write"] ALL "generic" "1.0.0"
        Values::None, Run::Keys(several::check, several::del), "Remove keys";
    "unlink" -2 ["write" "fast"] ALL "generic" "4.0.0"
        Values::None, Run::Keys(several::check, several::del), "Remove keys; the same as DEL here";
    "exists" -2 ["readonly" "fast"] ALL "generic" "1.0.0"
        Values::None, Run::Keys(several::check, several::exists), "How many of the keys are there";
    "touch" -2 ["readonly" "fast"] ALL "generic" "3.2.1"
        Values::None, Run::Keys(several::check, several::touch), "Mark keys as used, and count them";
    "rename" 3 ["write"] TWO "generic" "1.0.0"
        Values::None, Run::Joint(joint::rename, Kind::Renamed), "Give what a key has to another one";
    "renamenx" 3 ["write" "fast"] TWO "generic" "1.0.0"
        Values::None, Run::Joint(joint::renamenx, Kind::RenamedFlag), "The same, if that one has nothing";
    "copy" -3 ["write" "denyoom"] TWO "generic" "6.2.0"
        Values::None, Run::Joint(joint::copy, Kind::Jointly), "Give a copy of what a key has to another one";
    "move" 3 ["write" "fast"] ONE "generic" "1.0.0"
        Values::None, Run::Joint(joint::move_to, Kind::Jointly), "Give what a key has to another database";
    "type" 2 ["readonly" "fast"] ONE "generic" "1.0.0"
        Values::None, Parts(keyspace::type_of), "The type of a key: string or none";
    "object" -2 [] NONE "generic" "2.2.3"
        Values::None, Parts(object::object), "Facts of a value";
    "dump" 2 ["readonly"] ONE "generic" "2.6.0"
        Values::None, Parts(dump::dump), "A value in Redis' own format";
    "restore" -4 ["write" "denyoom"] ONE "generic" "2.6.0"
        Values::None, Parts(dump::restore), "Store a value that was dumped";
    "keys" 2 ["readonly"] NONE "generic" "1.0.0"
        Values::None, Parts(keyspace::keys), "All keys that match a pattern; bounded, SCAN is not";
    "randomkey" 1 ["readonly"] NONE "generic" "1.0.0"
        Values::None, Parts(keyspace::random_key), "One of the keys";
    "scan" -2 ["readonly"] NONE "generic" "2.8.0"
        Values::None, Parts(keyspace::scan), "Walk over all keys step by step";
    "expire" -3 ["write" "fast"] ONE "generic" "1.0.0"
        Values::None, Parts(expiry::expire), "Let a key expire after seconds";
    "pexpire" -3 ["write" "fast"] ONE "generic" "2.6.0"
        Values::None, Parts(expiry::pexpire), "Let a key expire after milliseconds";
    "expireat" -3 ["write" "fast"] ONE "generic" "1.2.0"
        Values::None, Parts(expiry::expireat), "Let a key expire at a second of the Unix epoch";
    "pexpireat" -3 ["write" "fast"] ONE "generic" "2.6.0"
        Values::None, Parts(expiry::pexpireat), "Let a key expire at a millisecond of the Unix epoch";
    "ttl" 2 ["readonly" "fast"] ONE "generic" "1.0.0"
        Values::None, Parts(expiry::ttl), "Seconds that a key has left";
    "pttl" 2 ["readonly" "fast"] ONE "generic" "2.6.0"
        Values::None, Parts(expiry::pttl), "Milliseconds that a key has left";
    "expiretime" 2 ["readonly" "fast"] ONE "generic" "7.0.0"
        Values::None, Parts(expiry::expiretime), "The second at which a key expires";
    "pexpiretime" 2 ["readonly" "fast"] ONE "generic" "7.0.0"
        Values::None, Parts(expiry::pexpiretime), "The millisecond at which a key expires";
    "persist" 2 ["write" "fast"] ONE "generic" "2.2.0"
        Values::None, Parts(expiry::persist), "Let a key never expire";
    "flushall" -1 ["write"] NONE "server" "1.0.0"
        Values::None, Parts(keyspace::flush), "Remove every key of all databases";
    "flushdb" -1 ["write"] NONE "server" "1.0.0"
        Values::None, Parts(keyspace::flush_database), "Remove every key of a database";
    "swapdb" 3 ["write" "fast"] NONE "server" "4.0.0"
        Values::None, Parts(keyspace::swap), "Give two databases each other's keys";
    "dbsize" 1 ["readonly" "fast"] NONE "server" "1.0.0"
        Values::None, Parts(keyspace::dbsize), "Number of keys of the database";
    "info" -1 ["loading" "stale"] NONE "server" "1.0.0"
        Values::None, Local(info::info), "Figures of the server in sections";
    "time" 1 ["loading" "stale" "fast"] NONE "server" "2.6.0"
        Values::None, Local(introspection::time), "Seconds of the Unix epoch, and microseconds";
    "config" -2 [] NONE "server" "2.0.0"
        Values::None, Local(config::config), "What the server is set to";
    "memory" -2 [] NONE "server" "4.0.0"
        Values::None, Mixed(memory::parts, memory::memory), "What keys and the server take";
    "slowlog" -2 [] NONE "server" "2.2.12"
        Values::None, Local(observe::slow_log), "Requests that took long";
    "latency" -2 [] NONE "server" "2.8.13"
        Values::None, Local(observe::latency), "What commands and turns took";
    "hotkeys" -2 [] NONE "server" "8.6.0"
        Values::None, Local(hot_keys::hot_keys), "The keys that are asked for most";
    "monitor" 1 ["admin" "noscript" "loading" "stale"] NONE "server" "1.0.0"
        Values::None, Parts(observe::monitor), "Show what all clients ask for";
    "debug" -2 ["admin" "noscript" "loading" "stale"] NONE "server" "1.0.0"
        Values::None, Mixed(debug::parts, debug::debug), "For tests; refused without --enable-debug-command";
    "role" 1 ["noscript" "loading" "stale" "fast"] NONE "server" "2.8.12"
        Values::None, Local(observe::role), "Always that of a primary";
    "lastsave" 1 ["loading" "stale" "fast"] NONE "server" "1.0.0"
        Values::None, Local(observe::last_save), "When the server started";
    "wait" 3 ["noscript"] NONE "generic" "3.0.0"
        Values::None, Local(observe::wait), "How many replicas have a change: none";
    "command" -1 ["loading" "stale"] NONE "server" "2.8.13"
        Values::None, Local(introspection::command), "What commands there are";
    "ping" -1 ["fast"] NONE "connection" "1.0.0"
        Values::None, Parts(connection::ping), "Answers PONG, or the message";
    "echo" 2 ["loading" "stale" "fast"] NONE "connection" "1.0.0"
        Values::None, Parts(connection::echo), "Answers the message";
    "hello" -1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE "connection" "6.0.0"
        Values::None, Enters(connection::hello), "Choose RESP2 or RESP3";
    "auth" -2 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE "connection" "1.0.0"
        Values::None, Enters(connection::auth), "Give a password";
    "quit" -1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE "connection" "1.0.0"
        Values::None, Quit, "Close the connection";
    "reset" 1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE "connection" "6.2.0"
        Values::None, Chooses(connection::reset), "Make the connection as new";
    "select" 2 ["loading" "stale" "fast"] NONE "connection" "1.0.0"
        Values::None, Chooses(connection::select), "Choose the database";
    "client" -2 [] NONE "connection" "2.4.0"
        Values::None, Mixed(clients::parts, connection::client), "Names and facts of this connection";
    "multi" 1 ["noscript" "loading" "stale" "fast" "allow_busy"] NONE "transactions" "1.2.0"
        Values::None, Queue(Queueing::Begin), "Queue the commands that follow";
    "exec" 1 ["noscript" "loading" "stale" "skip_slowlog"] NONE "transactions" "1.2.0"
        Values::None, Queue(Queueing::Run), "Run all queued commands, and nobody else's in between";
    "discard" 1 ["noscript" "loading" "stale" "fast" "allow_busy"] NONE "transactions" "2.0.0"
        Values::None, Queue(Queueing::Drop), "Forget the queued commands";
    "watch" -2 ["noscript" "loading" "stale" "fast" "allow_busy"] ALL "transactions" "2.2.0"
        Values::None, Run::Keys(several::check, watch::watch), "EXEC does nothing if a key changes before it";
    "unwatch" 1 ["noscript" "loading" "stale" "fast" "allow_busy"] NONE "transactions" "2.2.0"
        Values::None, Parts(watch::unwatch), "Watch no key any more";
    "eval" -3 ["noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] NONE "scripting" "2.6.0"
        Pairs, Run::Script(EVAL), "Run a script";
    "evalsha" -3 ["noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] NONE "scripting" "2.6.0"
        Pairs, Run::Script(EVALSHA), "Run a script that is known, by its SHA-1";
    "eval_ro" -3 ["readonly" "noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] NONE "scripting" "7.0.0"
        Pairs, Run::Script(EVAL_RO), "Run a script that changes nothing";
    "evalsha_ro" -3 ["readonly" "noscript" "stale" "skip_monitor" "no_mandatory_keys" "movablekeys"] NONE "scripting" "7.0.0"
        Pairs, Run::Script(EVALSHA_RO), "The same, by its SHA-1";
    "script" -2 [] NONE "scripting" "2.6.0"
        Pairs, Local(scripting::script), "The scripts that are known";
    "cluster" -2 [] NONE "cluster" "3.0.0"
        Values::None, Mixed(cluster::parts, cluster::cluster), "Which shard owns which slot";
    "readonly" 1 ["loading" "stale" "fast"] NONE "cluster" "3.0.0"
        Values::None, Local(cluster::accepted), "Accepted; every shard is a primary";
    "readwrite" 1 ["loading" "stale" "fast"] NONE "cluster" "3.0.0"
        Values::None, Local(cluster::accepted), "Accepted; every shard is a primary";
    "subscribe" -2 ["pubsub" "noscript" "loading" "stale"] NONE "pubsub" "2.0.0"
        Values::None, Listens { begins: true, of: Channels::Named }, "Get the messages of channels";
    "unsubscribe" -1 ["pubsub" "noscript" "loading" "stale"] NONE "pubsub" "2.0.0"
        Values::None, Listens { begins: false, of: Channels::Named }, "Get them no longer";
    "psubscribe" -2 ["pubsub" "noscript" "loading" "stale"] NONE "pubsub" "2.0.0"
        Values::None, Listens { begins: true, of: Channels::Matching }, "Get the messages of all channels that match patterns";
    "punsubscribe" -1 ["pubsub" "noscript" "loading" "stale"] NONE "pubsub" "2.0.0"
        Values::None, Listens { begins: false, of: Channels::Matching }, "Get them no longer";
    "ssubscribe" -2 ["pubsub" "noscript" "loading" "stale"] ALL "pubsub" "7.0.0"
        Values::None, Listens { begins: true, of: Channels::Sharded }, "Get the messages of sharded channels";
    "sunsubscribe" -1 ["pubsub" "noscript" "loading" "stale"] ALL "pubsub" "7.0.0"
        Values::None, Listens { begins: false, of: Channels::Sharded }, "Get them no longer";
    "publish" 3 ["pubsub" "loading" "stale" "fast"] NONE "pubsub" "2.0.0"
        Pairs, Parts(messages::publish), "Send a message to the subscribers of a channel";
    "spublish" 3 ["pubsub" "loading" "stale" "fast"] ONE "pubsub" "7.0.0"
        Pairs, Parts(messages::publish_sharded), "Send a message to the subscribers of a sharded channel";
    "pubsub" -2 [] NONE "pubsub" "2.8.0"
        Values::None, Parts(messages::pubsub), "What subscriptions there are";
    "asking" 1 ["fast"] NONE "cluster" "3.0.0"
        Values::None, Local(cluster::accepted), "Accepted; no slot is on the move";
}

/// The row of a command, whatever its case.
#[inline]
pub(super) fn lookup(name: &[u8]) -> Option<(usize, &'static Row)> {
    let index = SLOTS[hash(pack(name)?, MULTIPLIER)] as usize;
    let row = ROWS.get(index)?;
    row.name.as_bytes().eq_ignore_ascii_case(name).then_some((index, row))
}

/// Longest name that a row may have, bytes.
const NAME_BYTES_MAX: usize = 16;

/// The name in lower case, as a number.
#[inline]
fn pack(name: &[u8]) -> Option<u128> {
    let mut bytes = [0; NAME_BYTES_MAX];
    bytes.get_mut(..name.len())?.copy_from_slice(name);
    // The OR changes other bytes than letters, too, so a hit is compared byte by byte.
    Some(u128::from_le_bytes(bytes) | LOWER)
}

const LOWER: u128 = u128::from_le_bytes([0x20; NAME_BYTES_MAX]);
const SLOT_BITS: u32 = 10;
const EMPTY: u8 = u8::MAX;

const fn hash(name: u128, multiplier: u64) -> usize {
    let folded = (name as u64) ^ ((name >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
}

/// An odd number under which no two names share a slot, found by trying.
const MULTIPLIER: u64 = {
    let mut multiplier = 0x9E37_79B9_7F4A_7C15u64;
    while slots(multiplier).1 {
        multiplier = multiplier.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(2) | 1;
    }
    multiplier
};

static SLOTS: [u8; 1 << SLOT_BITS] = slots(MULTIPLIER).0;

/// Number of the row in each slot, and whether two met in one.
const fn slots(multiplier: u64) -> ([u8; 1 << SLOT_BITS], bool) {
    let mut slots = [EMPTY; 1 << SLOT_BITS];
    let mut row = 0;
    while row < NAMES.len() {
        let name = NAMES[row].as_bytes();
        let mut packed = [0; NAME_BYTES_MAX];
        let mut at = 0;
        while at < name.len() {
            packed[at] = name[at];
            at += 1;
        }
        let slot = hash(u128::from_le_bytes(packed) | LOWER, multiplier);
        if slots[slot] != EMPTY {
            return (slots, true);
        }
        slots[slot] = row as u8;
        row += 1;
    }
    (slots, false)
}

/// The row of a request's command.
#[inline]
pub(super) fn row_of(frame: &[u8], arguments: &Arguments) -> Option<(usize, &'static Row)> {
    let name = arguments.spans.first()?.of(frame);
    if arguments.escaped { lookup(&inline_word(name)) } else { lookup(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        assert_eq!((ROWS[GET].name, ROWS[SET].name), ("get", "set"));
        for (index, row) in ROWS.iter().enumerate() {
            assert!(row.name.len() <= NAME_BYTES_MAX);
            for name in [row.name.to_uppercase(), row.name.to_lowercase()] {
                assert_eq!(lookup(name.as_bytes()).map(|(at, _)| at), Some(index), "{name}");
            }
        }
    }

    /// `docs/commands.md` says of every command of Redis whether it is there.
    #[test]
    fn the_table_of_all_commands_is_true() {
        let text = include_str!("../../../../docs/commands.md");
        // What follows is about other things.
        let table = text.split("\n## ").next().unwrap_or_default();
        let mut told = Vec::new();
        for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| command")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let is_there = lookup(cells[1].as_bytes()).is_some();
            assert_eq!(is_there, cells[2] == "there", "{line}");
            assert!(["there", "not there", "planned"].contains(&cells[2]), "{line}");
            told.push(cells[1].to_lowercase());
        }
        assert!(told.is_sorted(), "in order");
        for row in &ROWS {
            assert!(told.iter().any(|name| name == row.name), "{} is not told of", row.name);
        }
    }

    #[test]
    fn what_is_no_name_is_not_found() {
        let unknown: [&[u8]; 8] =
            [b"", b"ge", b"gett", b"get\0", b"g\x05t", b"\x47\x45\x34", b"incrbyfloatincrbyfloat", b"mult1"];
        for name in unknown {
            assert!(lookup(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn values_and_keys_lie_within_the_fewest_arguments() {
        for row in &ROWS {
            let fewest = row.arity.unsigned_abs() as usize;
            assert!(row.keys.of(fewest).all(|index| index < fewest), "{}", row.name);
            if let Values::Streamed(index) = row.values {
                assert!(index < fewest, "{}", row.name);
            }
            assert_eq!(matches!(row.values, Values::Streamed(_)), matches!(row.run, Run::Store(_)));
        }
    }

    #[test]
    fn keys_go_on_behind_those_that_are_done() {
        for keys in [NONE, ONE, TWO, ALL, FROM_TWO, PAIRS] {
            for (count, done) in (1..8).flat_map(|count| (0..8).map(move |done| (count, done))) {
                assert!(keys.behind(done, count).eq(keys.of(count).skip(done)), "{keys:?} {count} {done}");
            }
        }
    }
}
