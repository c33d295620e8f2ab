//! Scripts: EVAL and its kind, and SCRIPT.

use super::call::{Call, part};
use super::client::Client;
use super::error::Error;
use super::local::{LocalCall, Subcommand};
use super::reply_kind::Kind;
use super::row::{Row, Run, ScriptKind};
use super::{Session, Turn};
use crate::session::part::{Script, Work};
use crate::session::protocol::Port;
use std::ops::Range;
use torc_engine::words;
use torc_lua::{digits, from_digits};
use torc_proto::resp::{compose, parse_i64};
use torc_proto::slot::slot_of;

/// Of EVAL's arguments the first that may be a key.
const FIRST_KEY: usize = 3;

/// The numbers of those arguments of a script's command that are keys; `told`: the one that says how many.
pub(super) fn keys(row: &Row, count: usize, told: Option<&[u8]>) -> Range<usize> {
    let told = told.filter(|_| matches!(row.run, Run::Script(_))).and_then(parse_i64);
    let keys = told.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(0);
    FIRST_KEY..FIRST_KEY.saturating_add(keys).min(count).max(FIRST_KEY)
}

impl Session {
    /// Appends the part of a script.
    pub(super) fn script<'a>(
        &self,
        call: &Call<'_, 'a>,
        kind: ScriptKind,
        turn: &mut Turn<'_, 'a>,
    ) -> Result<(), Error> {
        let told = call.integer(2)?;
        if told > (call.len() - FIRST_KEY) as i64 {
            return Err(Error::TooManyScriptKeys);
        }
        let keys = u32::try_from(told).map_err(|_| Error::NegativeScriptKeys)?;
        let places = FIRST_KEY..FIRST_KEY + keys as usize;
        places.clone().try_for_each(|index| call.key(index).map(|_| ()))?;
        if self.port == Port::Shard {
            let mut slots = places.map(|index| slot_of(call.argument(index)));
            let first = slots.next();
            if slots.any(|slot| Some(slot) != first) {
                return Err(Error::CrossSlot);
            }
        }
        let mut all = Vec::new();
        for word in std::iter::once(call.argument(1)).chain(call.arguments_from(FIRST_KEY)) {
            words::begin(word.len() as u32, &mut all);
            all.extend_from_slice(word);
        }
        let script = Script { by_digits: kind.by_digits, read_only: kind.read_only, keys };
        let work = Work::Script { script, database: self.database, words: turn.scratch.keep(&all) };
        turn.parts.push(part(work, Kind::Script, &[]));
        Ok(())
    }
}

pub(super) fn script(client: &mut Client, call: &LocalCall<'_>, out: &mut Vec<u8>) {
    if let Some(run) = call.subcommand(SCRIPT, out) {
        run(client, call, out);
    }
}

const SCRIPT: &[Subcommand] = &[
    Subcommand { name: "load", arity: 3, run: load },
    Subcommand { name: "exists", arity: -3, run: exists },
    Subcommand { name: "flush", arity: -2, run: flush },
    Subcommand { name: "kill", arity: 2, run: kill },
    Subcommand { name: "show", arity: 3, run: show },
    Subcommand { name: "debug", arity: 3, run: debug },
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
