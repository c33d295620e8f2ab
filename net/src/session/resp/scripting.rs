//! Scripts: EVAL and its kind, and SCRIPT.

use super::client::Client;
use super::local::{LocalCall, Subcommand};
use super::row::{Row, Run};
use std::ops::Range;
use torc_lua::{digits, from_digits};
use torc_proto::resp::{compose, parse_i64};

/// Of EVAL's arguments the first that may be a key.
pub(super) const FIRST_KEY: usize = 3;

/// The numbers of those arguments of a script's command that are keys; `told`: the one that says how many.
pub(super) fn keys(row: &Row, count: usize, told: Option<&[u8]>) -> Range<usize> {
    let told = told.filter(|_| matches!(row.run, Run::Script(_))).and_then(parse_i64);
    let keys = told.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(0);
    FIRST_KEY..FIRST_KEY.saturating_add(keys).min(count).max(FIRST_KEY)
}

pub(super) fn script(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(SCRIPT, out) {
        run(client, call, out);
    }
}

const SCRIPT: &[Subcommand] = &[
    Subcommand { name: "load", run: load },
    Subcommand { name: "exists", run: exists },
    Subcommand { name: "flush", run: flush },
    Subcommand { name: "kill", run: kill },
    Subcommand { name: "show", run: show },
    Subcommand { name: "debug", run: debug },
];

fn load(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    match call.context.server.load_script(call.word(2)) {
        Ok(digest) => compose::bulk(out, &digits(&digest)),
        Err(why) => compose::error(out, &why),
    }
}

fn exists(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    let asked = call.words.get(2..).unwrap_or_default();
    compose::array(out, asked.len());
    for word in asked {
        let is_known = from_digits(word).is_some_and(|digest| call.context.server.has_script(&digest));
        compose::integer(out, is_known.into());
    }
}

fn flush(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if call.words.len() > 3 || call.words.len() == 3 && !call.is(2, "sync") && !call.is(2, "async") {
        return compose::error(out, b"ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    }
    call.context.server.flush_scripts();
    compose::simple(out, "OK");
}

/// A script is over before anybody is heard: it is stopped in time.
fn kill(_: &mut Client, _: &LocalCall<'_>, out: &mut Vec<u8>) {
    compose::error(out, b"NOTBUSY No scripts in execution right now.");
}

fn show(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    match from_digits(call.word(2)).and_then(|digest| call.context.server.script_text(&digest)) {
        Some(text) => compose::bulk(out, &text),
        None => compose::error(out, b"NOSCRIPT No matching script. Please use EVAL."),
    }
}

fn debug(_: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    match call.is(2, "no") {
        true => compose::simple(out, "OK"),
        false => compose::error(out, b"ERR there is no debugger for scripts"),
    }
}
