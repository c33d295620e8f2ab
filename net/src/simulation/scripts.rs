//! Commands that a simulated client runs by scripts: what is answered is what the commands themselves are.

use super::action::{Action, parts};
use super::speech::{array, in_transaction, resp_words};
use super::world::World;
use crate::transport::sim::Random;
use std::ops::Range;
use torc_lua::{digest, digits};

/// Scripts that are not told all keys, that are named by their digests, and that are sent within a transaction if their answer can be told there; percent.
const UNTOLD_PERCENT: u32 = 20;
const DIGEST_PERCENT: u32 = 40;
const TRANSACTION_PERCENT: u32 = 25;
/// Values that a group is given by a script and that are long, percent, and their bytes, at most.
const LONG_PERCENT: u32 = 15;
const LONG_BYTES: usize = 9_000;
/// How often clients count keys up in place of what else they do with keys of others, percent.
const TALLY_PERCENT: u32 = 50;
/// A longer request is no script's: scripts and their arguments are not received in slices.
const REQUEST_BYTES_MAX: usize = 60 << 10;

/// Runs a command, without its keys, with one key ahead, and with the keys of a group, ahead or not.
pub(super) const ANY: &str = "return redis.call(unpack(ARGV))";
const ONE: &str = "return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))";
const SET_ALL: &str =
    "local r = {} for i, k in ipairs(KEYS) do r[i] = redis.call('set', k, ARGV[1]) end return r";
const SET_NAMED: &str =
    "local r = {} for i = 2, #ARGV do r[i - 1] = redis.call('set', ARGV[i], ARGV[1]) end return r";
const GET_ALL: &str = "local r = {} for i, k in ipairs(KEYS) do r[i] = redis.call('get', k) end return r";
/// Values are added to by reading and writing them, so that whoever comes between is forgotten.
const TALLY_ALL: &str = "local r = {} for i, k in ipairs(KEYS) do r[i] = (redis.call('get', k) or 0) + 1 \
    redis.call('set', k, r[i]) end return #r == 1 and r[1] or r";
const TALLY_NAMED: &str = "local r = {} for i, k in ipairs(ARGV) do r[i] = (redis.call('get', k) or 0) + 1 \
    redis.call('set', k, r[i]) end return #r == 1 and r[1] or r";
const GET_NAMED: &str = "local r = {} for i, k in ipairs(ARGV) do r[i] = redis.call('get', k) end return r";

/// How often clients run scripts, percent.
pub(super) fn percent(world: &World) -> u32 {
    // What scripts run with takes more than clients may hold there, or is lent.
    if world.lends || world.tight { 0 } else { world.scripts_percent }
}

/// A client's habit to run scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    random: Random,
    percent: u32,
    /// Of all keys that it names, one alone may be left out.
    on_shard_port: bool,
    /// What is counted is no tier's: a crash may bring back the number before.
    may_tally: bool,
    /// Scripts that its server has got by SCRIPT LOAD.
    loaded: Vec<&'static str>,
}

/// How a script was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    /// It was told all keys, else it names some while it runs.
    pub(super) is_told_all: bool,
    /// SCRIPT LOAD comes before.
    loads: bool,
    /// It is a transaction's.
    is_within: bool,
}

impl Script {
    /// Answers before the one that counts.
    pub(super) fn answers_before(self) -> usize {
        usize::from(self.loads) + 2 * usize::from(self.is_within)
    }

    /// A transaction's answer has the script's within.
    pub(super) fn answers_within(self, action: &Action) -> bool {
        self.is_within && !matches!(action, Action::CountWatched { .. })
    }
}

impl Scripts {
    pub(super) fn new(world: &World, client: usize, on_shard_port: bool) -> Scripts {
        let percent = percent(world);
        let random = Random::new(world.scripts_seed ^ client as u64);
        let may_tally = percent > 0 && world.tier.is_none();
        Scripts { random, percent, on_shard_port, may_tally, loaded: Vec::new() }
    }

    /// The connection is gone, and perhaps the server.
    pub(super) fn forget(&mut self) {
        self.loaded.clear();
    }

    /// Whether a group is to be given a long value, and of how many bytes.
    pub(super) fn long_bytes(&mut self) -> Option<usize> {
        let is_long = self.percent > 0 && self.random.chance(LONG_PERCENT);
        is_long.then(|| self.random.below(LONG_BYTES))
    }

    /// Which keys of so many are to be counted up now, one or all.
    pub(super) fn tallies(&mut self, keys: usize) -> Option<Range<usize>> {
        if !self.may_tally || !self.random.chance(TALLY_PERCENT) {
            return None;
        }
        let one = self.random.below(2 * keys);
        Some(if one < keys { one..one + 1 } else { 0..keys })
    }

    /// A script that does the same, and its request. `None`: the client sends the commands.
    pub(super) fn instead(&mut self, action: &Action) -> Option<(Script, Vec<u8>)> {
        if self.percent == 0 || !can_be_one(action) || !self.random.chance(self.percent) {
            return None;
        }
        let named = action.keys();
        let is_group = match action {
            Action::SetTogether { .. } | Action::GetTogether { .. } => true,
            Action::Tally { keys } => keys.len() > 1,
            _ => false,
        };
        let counts = matches!(action, Action::CountWatched { .. });
        let is_within = counts || is_group && self.random.chance(TRANSACTION_PERCENT);
        // In a transaction all keys are to be told.
        let may_be_untold = !is_within && (!self.on_shard_port || named.len() == 1);
        let is_told_all = !may_be_untold || !self.random.chance(UNTOLD_PERCENT);
        let told = match is_told_all {
            true => named.len(),
            false => [0, named.len() - 1][self.random.below(2)],
        };
        let (text, arguments) = call(action, is_told_all);
        let by_digest = self.random.chance(DIGEST_PERCENT);
        let loads = by_digest && !self.loaded.contains(&text);

        let mut request = Vec::new();
        if loads {
            request = array(&["SCRIPT", "LOAD", text]);
        }
        let name = match by_digest {
            true => ["EVALSHA".into(), digits(&digest(text.as_bytes())).to_vec()],
            false => ["EVAL".into(), text.into()],
        };
        let told = named.into_iter().take(told).map(|key| parts(key).1.into()).collect::<Vec<_>>();
        let words = [&name[..], &[told.len().to_string().into()], &told, &arguments].concat();
        let commands = if is_within { in_transaction([words].into_iter()) } else { vec![words] };
        request.extend(commands.iter().flat_map(|words| array(words)));
        if request.len() > REQUEST_BYTES_MAX {
            return None;
        }
        self.loaded.extend(loads.then_some(text));
        Some((Script { is_told_all, loads, is_within }, request))
    }
}

fn can_be_one(action: &Action) -> bool {
    let is_about_keys = !action.keys().is_empty();
    is_about_keys && !matches!(action, Action::WatchCount { .. })
}

/// The script for it, and its arguments.
fn call(action: &Action, is_told_all: bool) -> (&'static str, Vec<Vec<u8>>) {
    let name = |key: &String| parts(key).1.as_bytes().to_vec();
    match action {
        Action::SetTogether { value, .. } if is_told_all => (SET_ALL, vec![value.clone()]),
        Action::SetTogether { keys, value } => {
            (SET_NAMED, [value.clone()].into_iter().chain(keys.iter().map(name)).collect())
        }
        Action::GetTogether { .. } if is_told_all => (GET_ALL, Vec::new()),
        Action::GetTogether { keys } => (GET_NAMED, keys.iter().map(name).collect()),
        Action::Tally { .. } if is_told_all => (TALLY_ALL, Vec::new()),
        Action::Tally { keys } => (TALLY_NAMED, keys.iter().map(name).collect()),
        _ => {
            let mut words = resp_words(action);
            let is_one = is_told_all && action.keys().len() == 1;
            if is_one {
                words.remove(1);
            }
            (if is_one { ONE } else { ANY }, words)
        }
    }
}
