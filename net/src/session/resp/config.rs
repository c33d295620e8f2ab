//! CONFIG: what the server is set to, under Redis' names; some of it can be changed.
//!
//! Most settings are those of the start. To set one of these to what it is already is no error, as many clients do so.

use super::client::Client;
use super::error::Error;
use super::errors::{self, PATTERN_STEPS_MAX};
use super::info;
use super::local::{LocalCall, Subcommand};
use crate::event_classes::EventClasses;
use crate::session::context::Changeable;
use torc_proto::resp::{compose, glob, parse_i64};

pub(super) fn config(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(CONFIG, out) {
        run(client, call, out);
    }
}

const CONFIG: &[Subcommand] = &[
    Subcommand { name: "get", run: get },
    Subcommand { name: "set", run: set },
    Subcommand { name: "resetstat", run: reset },
    Subcommand { name: "rewrite", run: rewrite },
];

/// What Redis' name of a setting stands for here.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    /// Always this.
    Is(&'static str),
    /// A figure of the server, see [`figure`](crate::session::ServerView::figure).
    Figure(&'static str),
    Databases,
    Port,
    EventClasses,
    Changeable(Changeable),
    /// Of all shards; 0 sets it to that of the start, as there is always a limit.
    Memory,
    DebugCommands,
    Cluster,
    /// Whether there is one is told, and not what it is.
    Password,
}

/// Eviction goes by accesses, and takes any key: of Redis' policies that is the nearest.
pub(super) const POLICY: &str = "allkeys-lru";

const SETTINGS: &[(&str, Meaning)] = &[
    ("appendfsync", Meaning::Is("everysec")),
    ("appendonly", Meaning::Is("no")),
    ("bind", Meaning::Is("")),
    ("busy-reply-threshold", Meaning::Figure("script_ms_max")),
    ("cluster-enabled", Meaning::Cluster),
    ("daemonize", Meaning::Is("no")),
    ("databases", Meaning::Databases),
    ("dbfilename", Meaning::Is("")),
    ("dir", Meaning::Is("")),
    ("enable-debug-command", Meaning::DebugCommands),
    ("hash-max-listpack-entries", Meaning::Is("512")),
    ("hz", Meaning::Is("10")),
    ("io-threads", Meaning::Is("1")),
    ("latency-monitor-threshold", Meaning::Changeable(Changeable::EventsFromMs)),
    ("lfu-decay-time", Meaning::Is("1")),
    ("lfu-log-factor", Meaning::Is("10")),
    ("lua-time-limit", Meaning::Figure("script_ms_max")),
    ("maxclients", Meaning::Changeable(Changeable::Connections)),
    ("maxmemory", Meaning::Memory),
    ("maxmemory-clients", Meaning::Figure("client_bytes_max")),
    ("maxmemory-policy", Meaning::Is(POLICY)),
    ("maxmemory-samples", Meaning::Is("5")),
    ("notify-keyspace-events", Meaning::EventClasses),
    ("port", Meaning::Port),
    ("proto-max-bulk-len", Meaning::Figure("value_bytes_max")),
    ("replica-read-only", Meaning::Is("yes")),
    ("replicaof", Meaning::Is("")),
    ("requirepass", Meaning::Password),
    ("save", Meaning::Is("")),
    ("slaveof", Meaning::Is("")),
    ("slowlog-log-slower-than", Meaning::Changeable(Changeable::SlowerThanUs)),
    ("slowlog-max-len", Meaning::Changeable(Changeable::SlowLogMax)),
    ("timeout", Meaning::Changeable(Changeable::IdleSeconds)),
    ("tracking-table-max-keys", Meaning::Figure("tracking_keys_max")),
];

fn value(meaning: Meaning, call: &LocalCall<'_>) -> String {
    let server = call.context.server;
    match meaning {
        Meaning::Is(value) => value.to_owned(),
        Meaning::Figure(name) => server.figure(name).to_string(),
        Meaning::Databases => server.databases().to_string(),
        Meaning::Port => call.context.local.rsplit(':').next().unwrap_or("0").to_owned(),
        Meaning::EventClasses => server.event_classes().to_string(),
        Meaning::Changeable(what) => server.changeable(what).to_string(),
        Meaning::Memory => server.changeable(Changeable::MemoryBytes).to_string(),
        Meaning::Cluster => if call.is_cluster() { "yes" } else { "no" }.to_owned(),
        Meaning::DebugCommands => if server.has_debug_commands() { "yes" } else { "no" }.to_owned(),
        Meaning::Password => if server.has_password() { "(hidden)" } else { "" }.to_owned(),
    }
}

fn get(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let mut steps = PATTERN_STEPS_MAX;
    let mut found: Vec<&(&str, Meaning)> = Vec::new();
    for setting in SETTINGS {
        for pattern in &call.words[2..] {
            match glob::matches(&pattern.to_ascii_lowercase(), setting.0.as_bytes(), &mut steps) {
                Some(true) => {
                    found.push(setting);
                    break;
                }
                Some(false) => {}
                None => return errors::write(Error::PatternTooLong, &[], out),
            }
        }
    }
    compose::map(out, found.len(), client.version);
    for (name, meaning) in found {
        compose::bulk(out, name.as_bytes());
        compose::bulk(out, value(*meaning, call).as_bytes());
    }
}

/// Settings and values, checked as a whole before one is changed: all names before a value, as in Redis.
fn set(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if !call.words.len().is_multiple_of(2) {
        return errors::write(Error::Syntax, &[], out);
    }
    let mut named: Vec<(&str, Meaning, &[u8])> = Vec::new();
    for pair in call.words[2..].chunks(2) {
        let name = String::from_utf8_lossy(&pair[0]).to_lowercase();
        let Some(&(name, meaning)) = SETTINGS.iter().find(|(known, _)| *known == name) else {
            let text = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
            return compose::error(out, text.as_bytes());
        };
        if named.iter().any(|(before, ..)| *before == name) {
            return failed(name, "duplicate parameter", out);
        }
        if is_other(meaning, &pair[1], call) {
            return failed(name, "can't set immutable config", out);
        }
        named.push((name, meaning, &pair[1]));
    }
    let mut changes: Vec<Change> = Vec::new();
    for (name, meaning, word) in named {
        match check(meaning, word, call) {
            Ok(change) => changes.extend(change),
            Err(why) => return failed(name, &why, out),
        }
    }
    for change in changes {
        match change {
            Change::Number(what, number) => call.context.server.change(what, number),
            Change::EventClasses(classes) => call.context.server.set_event_classes(classes),
        }
    }
    compose::simple(out, "OK");
}

fn failed(name: &str, why: &str, out: &mut Vec<u8>) {
    let text = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    compose::error(out, text.as_bytes());
}

/// What is set to what.
enum Change {
    Number(Changeable, i64),
    EventClasses(EventClasses),
}

/// Whether a setting that is fixed would be another one.
fn is_other(meaning: Meaning, word: &[u8], call: &LocalCall<'_>) -> bool {
    let is_so = || value(meaning, call).as_bytes().eq_ignore_ascii_case(word);
    match meaning {
        Meaning::EventClasses | Meaning::Memory | Meaning::Changeable(_) => false,
        // It is never told.
        Meaning::Password => call.context.server.has_password() || !is_so(),
        _ => !is_so(),
    }
}

/// What is to be changed for a setting, if anything.
fn check(meaning: Meaning, word: &[u8], call: &LocalCall<'_>) -> Result<Option<Change>, String> {
    if let Meaning::EventClasses = meaning {
        let classes = EventClasses::parse(&String::from_utf8_lossy(word));
        let wrong = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";
        return classes.map(|classes| Some(Change::EventClasses(classes))).ok_or(wrong.to_owned());
    }
    if let Meaning::Memory = meaning {
        return check_memory(word, call).map(Some);
    }
    let Meaning::Changeable(what) = meaning else { return Ok(None) };
    let number = parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
    check_limits(what, number, call).map(Some)
}

fn check_limits(what: Changeable, number: i64, call: &LocalCall<'_>) -> Result<Change, String> {
    let (least, most) = call.context.server.changeable_limits(what);
    match (least..=most).contains(&number) {
        true => Ok(Change::Number(what, number)),
        false => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

fn check_memory(word: &[u8], call: &LocalCall<'_>) -> Result<Change, String> {
    let what = Changeable::MemoryBytes;
    match memory_bytes(word).ok_or("argument must be a memory value")? {
        0 => Ok(Change::Number(what, call.context.server.changeable_limits(what).1)),
        bytes => check_limits(what, bytes, call),
    }
}

/// Bytes, with Redis' units: `k` is 1,000, `kb` 1,024.
fn memory_bytes(word: &[u8]) -> Option<i64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor = match &unit.to_ascii_lowercase()[..] {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number = number
        .iter()
        .try_fold(0i64, |number, digit| number.checked_mul(10)?.checked_add(i64::from(digit - b'0')));
    number?.checked_mul(factor)
}

fn reset(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let names: Vec<&'static str> = info::STATS.iter().map(|(_, figure)| *figure).collect();
    call.context.server.reset_figures(&names);
    call.context.server.reset_command_times();
    compose::simple(out, "OK");
}

fn rewrite(_: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    compose::error(out, b"ERR The server is running without a config file");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_the_units_of_redis() {
        for (word, bytes) in [
            ("", 0),
            ("mb", 0),
            ("0012", 12),
            ("12", 12),
            ("12b", 12),
            ("3k", 3_000),
            ("3KB", 3 << 10),
            ("5gB", 5 << 30),
        ] {
            assert_eq!(memory_bytes(word.as_bytes()), Some(bytes), "{word}");
        }
        for word in ["-1", "1.5gb", "1tb", "9223372036854775807k", "1 mb"] {
            assert_eq!(memory_bytes(word.as_bytes()), None, "{word}");
        }
    }

    #[test]
    fn settings_are_in_order_and_each_is_named_once() {
        assert!(SETTINGS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
