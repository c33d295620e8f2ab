//! The commands of RESP: one row each, and the quick way from a name to its row.
//!
//! A row says what COMMAND tells clients, what a later ACL needs (class and key positions), and how the
//! command is worked off. Lookup is a perfect hash over the name in lower case, made at compile time.

use super::call::{Call, Error, Plan, Position};
use super::{cluster, connection, counters, expiry, introspection, keyspace, local, several, strings};
use crate::session::Part;

/// One command.
#[derive(Debug)]
pub(super) struct Row {
    /// In lower case.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least as many.
    pub arity: i32,
    pub flags: &'static [&'static str],
    pub keys: Keys,
    pub class: Class,
    pub group: &'static str,
    /// The version of Redis that had it first.
    pub since: &'static str,
    pub summary: &'static str,
    pub values: Values,
    pub run: Run,
}

impl Row {
    /// Whether `count` arguments, the name among them, are as many as the command takes.
    pub(super) fn takes(&self, count: usize) -> bool {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        (self.arity >= 0 && count == self.arity) || (self.arity < 0 && count >= -self.arity)
    }
}

/// Where the keys are among the arguments: first, last (negative: from the end), step; zeros for no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    pub first: i32,
    pub last: i32,
    pub step: i32,
}

impl Keys {
    /// The numbers of the arguments that are keys, of `count` arguments with the name.
    pub(super) fn of(self, count: usize) -> impl ExactSizeIterator<Item = usize> {
        self.behind(0, count)
    }

    /// As [`Keys::of`], without the first `done` keys.
    pub(super) fn behind(self, done: usize, count: usize) -> impl ExactSizeIterator<Item = usize> {
        let place = |at: i32| usize::try_from(at).unwrap_or(count.saturating_sub(at.unsigned_abs() as usize));
        // Without keys the step is zero.
        let end = if self.step > 0 { place(self.last) + 1 } else { 0 };
        // Counted, not skipped: the next slice of a long request must not walk over all that were before.
        let step = (self.step as usize).max(1);
        (place(self.first) + done * step..end.min(count)).step_by(step)
    }
}

const NONE: Keys = Keys { first: 0, last: 0, step: 0 };
const ONE: Keys = Keys { first: 1, last: 1, step: 1 };
const ALL: Keys = Keys { first: 1, last: -1, step: 1 };
const PAIRS: Keys = Keys { first: 1, last: -1, step: 2 };

/// What a principal must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Look at keys.
    Read,
    /// Change keys.
    Write,
    /// The connection's own affairs.
    Connection,
    /// Ask about the server.
    Server,
    /// Touch every key of a server at once.
    Dangerous,
}

/// Which arguments may be values, that is long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    None,
    /// The argument with this number; received in slices if it is long.
    Streamed(usize),
    /// Every second argument, from the third on; buffered.
    Pairs,
}

/// How a command is worked off.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// Appends its parts.
    Parts(for<'r, 'a> fn(&Call<'r, 'a>, &mut Vec<Part<'a>>) -> Result<(), Error>),
    /// Goes from key to key, a few at a time. The first function says what is wrong with the whole; if nothing is, the
    /// second appends the parts of one key, given the number of its argument and its place among the keys.
    Keys(
        for<'r, 'a> fn(&Call<'r, 'a>) -> Result<(), Error>,
        for<'r, 'a> fn(&Call<'r, 'a>, usize, Position, &mut Vec<Part<'a>>),
    ),
    /// Stores one value: what is said before the value makes the plan.
    Store(for<'r, 'a> fn(&Call<'r, 'a>) -> Result<Plan<'a>, Error>),
    /// Needs no shard; run when its answer is composed.
    Local(fn(&mut super::Session, &local::LocalCall<'_>, &mut Vec<u8>)),
    /// Answers `+OK`, then the connection is closed.
    Quit,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Parts(_) => "Parts",
            Run::Keys(..) => "Keys",
            Run::Store(_) => "Store",
            Run::Local(_) => "Local",
            Run::Quit => "Quit",
        })
    }
}

macro_rules! rows {
    ($($name:literal $arity:literal [$($flag:literal)*] $keys:ident $class:ident $group:literal $since:literal
       $values:expr, $run:expr, $summary:literal;)*) => {
        const NAMES: &[&str] = &[$($name),*];

        /// Every command. GET and SET in their usual form are found before anybody looks here.
        pub(super) static ROWS: [Row; NAMES.len()] = [$(Row {
            name: $name, arity: $arity, flags: &[$($flag),*], keys: $keys, class: Class::$class, group: $group,
            since: $since, summary: $summary, values: $values, run: $run,
        }),*];
    };
}

use Run::{Local, Parts, Quit, Store};
use Values::{Pairs, Streamed};

rows! {
    "get" 2 ["readonly" "fast"] ONE Read "string" "1.0.0"
        Values::None, Parts(strings::value), "The value of a key";
    "set" -3 ["write" "denyoom"] ONE Write "string" "1.0.0"
        Streamed(2), Store(strings::set), "Store a value, with conditions and expiry";
    "setex" 4 ["write" "denyoom"] ONE Write "string" "2.0.0"
        Streamed(3), Store(strings::setex), "Store a value that expires after seconds";
    "psetex" 4 ["write" "denyoom"] ONE Write "string" "2.6.0"
        Streamed(3), Store(strings::psetex), "Store a value that expires after milliseconds";
    "setnx" 3 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Streamed(2), Store(strings::setnx), "Store a value if there is none";
    "getset" 3 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Streamed(2), Store(strings::getset), "Store a value and give the old one";
    "append" 3 ["write" "denyoom" "fast"] ONE Write "string" "2.0.0"
        Streamed(2), Store(strings::append), "Put bytes behind a value";
    "getdel" 2 ["write" "fast"] ONE Write "string" "6.2.0"
        Values::None, Parts(strings::getdel), "The value of a key, which is removed";
    "getex" -2 ["write" "fast"] ONE Write "string" "6.2.0"
        Values::None, Parts(strings::getex), "The value of a key, with a new expiry";
    "mget" -2 ["readonly" "fast"] ALL Read "string" "1.0.0"
        Values::None, Run::Keys(several::check, several::mget), "The values of several keys";
    "mset" -3 ["write" "denyoom"] PAIRS Write "string" "1.0.1"
        Pairs, Run::Keys(several::check_pairs, several::mset), "Store several values; not atomic over shards";
    "strlen" 2 ["readonly" "fast"] ONE Read "string" "2.2.0"
        Values::None, Parts(strings::strlen), "Length of a value in bytes";
    "getrange" 4 ["readonly"] ONE Read "string" "2.4.0"
        Values::None, Parts(strings::getrange), "Part of a value";
    "substr" 4 ["readonly"] ONE Read "string" "1.0.0"
        Values::None, Parts(strings::getrange), "Part of a value, the old name of GETRANGE";
    "setrange" 4 ["write" "denyoom"] ONE Write "string" "2.2.0"
        Streamed(3), Store(strings::setrange), "Overwrite part of a value";
    "incr" 2 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Values::None, Parts(counters::incr), "Add one to a counter";
    "decr" 2 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Values::None, Parts(counters::decr), "Take one from a counter";
    "incrby" 3 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Values::None, Parts(counters::incrby), "Add to a counter";
    "decrby" 3 ["write" "denyoom" "fast"] ONE Write "string" "1.0.0"
        Values::None, Parts(counters::decrby), "Take from a counter";
    "incrbyfloat" 3 ["write" "denyoom" "fast"] ONE Write "string" "2.6.0"
        Values::None, Parts(counters::incrbyfloat), "Add a fraction to a counter";
    "del" -2 ["write"] ALL Write "generic" "1.0.0"
        Values::None, Run::Keys(several::check, several::del), "Remove keys";
    "unlink" -2 ["write" "fast"] ALL Write "generic" "4.0.0"
        Values::None, Run::Keys(several::check, several::del), "Remove keys; the same as DEL here";
    "exists" -2 ["readonly" "fast"] ALL Read "generic" "1.0.0"
        Values::None, Run::Keys(several::check, several::exists), "How many of the keys are there";
    "touch" -2 ["readonly" "fast"] ALL Read "generic" "3.2.1"
        Values::None, Run::Keys(several::check, several::touch), "Mark keys as used, and count them";
    "type" 2 ["readonly" "fast"] ONE Read "generic" "1.0.0"
        Values::None, Parts(keyspace::type_of), "The type of a key: string or none";
    "scan" -2 ["readonly"] NONE Read "generic" "2.8.0"
        Values::None, Parts(keyspace::scan), "Walk over all keys step by step";
    "expire" -3 ["write" "fast"] ONE Write "generic" "1.0.0"
        Values::None, Parts(expiry::expire), "Let a key expire after seconds";
    "pexpire" -3 ["write" "fast"] ONE Write "generic" "2.6.0"
        Values::None, Parts(expiry::pexpire), "Let a key expire after milliseconds";
    "expireat" -3 ["write" "fast"] ONE Write "generic" "1.2.0"
        Values::None, Parts(expiry::expireat), "Let a key expire at a second of the Unix epoch";
    "pexpireat" -3 ["write" "fast"] ONE Write "generic" "2.6.0"
        Values::None, Parts(expiry::pexpireat), "Let a key expire at a millisecond of the Unix epoch";
    "ttl" 2 ["readonly" "fast"] ONE Read "generic" "1.0.0"
        Values::None, Parts(expiry::ttl), "Seconds that a key has left";
    "pttl" 2 ["readonly" "fast"] ONE Read "generic" "2.6.0"
        Values::None, Parts(expiry::pttl), "Milliseconds that a key has left";
    "expiretime" 2 ["readonly" "fast"] ONE Read "generic" "7.0.0"
        Values::None, Parts(expiry::expiretime), "The second at which a key expires";
    "pexpiretime" 2 ["readonly" "fast"] ONE Read "generic" "7.0.0"
        Values::None, Parts(expiry::pexpiretime), "The millisecond at which a key expires";
    "persist" 2 ["write" "fast"] ONE Write "generic" "2.2.0"
        Values::None, Parts(expiry::persist), "Let a key never expire";
    "flushall" -1 ["write"] NONE Dangerous "server" "1.0.0"
        Values::None, Parts(keyspace::flush), "Remove every key";
    "flushdb" -1 ["write"] NONE Dangerous "server" "1.0.0"
        Values::None, Parts(keyspace::flush), "Remove every key";
    "dbsize" 1 ["readonly" "fast"] NONE Read "server" "1.0.0"
        Values::None, Local(introspection::dbsize), "Number of keys";
    "info" -1 ["loading" "stale"] NONE Server "server" "1.0.0"
        Values::None, Local(super::info::info), "Figures of the server in sections";
    "command" -1 ["loading" "stale"] NONE Server "server" "2.8.13"
        Values::None, Local(introspection::command), "What commands there are";
    "ping" -1 ["fast"] NONE Connection "connection" "1.0.0"
        Values::None, Parts(connection::ping), "Answers PONG, or the message";
    "echo" 2 ["loading" "stale" "fast"] NONE Connection "connection" "1.0.0"
        Values::None, Parts(connection::echo), "Answers the message";
    "hello" -1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE Connection "connection" "6.0.0"
        Values::None, Local(connection::hello), "Choose RESP2 or RESP3";
    "auth" -2 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE Connection "connection" "1.0.0"
        Values::None, Local(connection::auth), "Log in; there is no password yet";
    "quit" -1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE Connection "connection" "1.0.0"
        Values::None, Quit, "Close the connection";
    "reset" 1 ["noscript" "loading" "stale" "fast" "no_auth" "allow_busy"] NONE Connection "connection" "6.2.0"
        Values::None, Local(connection::reset), "Make the connection as new";
    "select" 2 ["loading" "stale" "fast"] NONE Connection "connection" "1.0.0"
        Values::None, Local(connection::select), "Choose the database; there is only 0";
    "client" -2 [] NONE Connection "connection" "2.4.0"
        Values::None, Local(connection::client), "Names and facts of this connection";
    "cluster" -2 [] NONE Server "cluster" "3.0.0"
        Values::None, Local(cluster::cluster), "Which shard owns which slot";
    "readonly" 1 ["loading" "stale" "fast"] NONE Connection "cluster" "3.0.0"
        Values::None, Local(connection::accepted), "Accepted; every shard is a primary";
    "readwrite" 1 ["loading" "stale" "fast"] NONE Connection "cluster" "3.0.0"
        Values::None, Local(connection::accepted), "Accepted; every shard is a primary";
    "asking" 1 ["fast"] NONE Connection "cluster" "3.0.0"
        Values::None, Local(connection::accepted), "Accepted; no slot is on the move";
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
    // Not only letters change, so a hit is compared byte by byte.
    Some(u128::from_le_bytes(bytes) | LOWER)
}

const LOWER: u128 = u128::from_le_bytes([0x20; NAME_BYTES_MAX]);
const SLOT_BITS: u32 = 9;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(row.name.len() <= NAME_BYTES_MAX);
            for name in [row.name.to_uppercase(), row.name.to_lowercase()] {
                assert_eq!(lookup(name.as_bytes()).map(|(at, _)| at), Some(index), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_name_is_not_found() {
        let unknown: [&[u8]; 8] =
            [b"", b"ge", b"gett", b"get\0", b"g\x05t", b"\x47\x45\x34", b"incrbyfloatincrbyfloat", b"multi"];
        for name in unknown {
            assert!(lookup(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn values_and_keys_lie_within_the_fewest_arguments() {
        for row in &ROWS {
            let fewest = row.arity.unsigned_abs() as usize;
            assert!(row.keys.first < row.arity.abs().max(1), "{}", row.name);
            if let Values::Streamed(index) = row.values {
                assert!(index < fewest, "{}", row.name);
            }
            assert_eq!(matches!(row.values, Values::Streamed(_)), matches!(row.run, Run::Store(_)));
        }
    }

    #[test]
    fn keys_go_on_behind_those_that_are_done() {
        for keys in [NONE, ONE, ALL, PAIRS] {
            for (count, done) in (1..8).flat_map(|count| (0..8).map(move |done| (count, done))) {
                assert!(keys.behind(done, count).eq(keys.of(count).skip(done)), "{keys:?} {count} {done}");
            }
        }
    }
}
